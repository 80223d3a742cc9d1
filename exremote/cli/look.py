"""The commands that look at what the tool knows and holds. They change nothing, and only `verify --on-host`
asks hosts.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote import health
from exremote.cli import afar
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    known_connector,
    now,
    repository_path,
    site_if_any,
    speaking,
)
from exremote.cli.inside import total_sizes
from exremote.cli.meanwhile import forgotten_since, still_true
from exremote.cli.missed import gone, unchecked
from exremote.connector import Connector
from exremote.errors import EXIT_OK, IntegrityError, RepositoryError, UsageError
from exremote.inventory import find_name, near
from exremote.ntbackup import PARTS
from exremote.report import size_text
from exremote.repository import Repository, Snapshot
from exremote.script import ScriptLibrary
from exremote.wording import count_text

MOMENTS = ("%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%dT%H:%M:%S")
"""How a moment is written on the command line."""


def moment(text: str) -> datetime:
    """Given a day or a moment of the command line, return it, in UTC. Raise BadParameter if it is none."""
    for form in MOMENTS:
        with suppress(ValueError):
            return datetime.strptime(text, form).replace(tzinfo=UTC)
    raise typer.BadParameter(
        f"{text!r} is no day such as 2026-03-24, and no moment such as 2026-03-24T10:15:00Z."
    )


KINDS = (
    "file_tree",
    "named_file",
    "registry_key",
    "service",
    "found_service",
    "api_directory",
    "directory_object",
    "check",
)
"""What a connector is made of, in the one order of kinds."""


class SnapshotState(StrEnum):
    """What `snapshots` says of one."""

    DONE = "done"
    INCOMPLETE = "incomplete"
    DAMAGED = "damaged"


def snapshots(
    hosts: Annotated[
        list[str] | None,
        typer.Argument(metavar="HOST", help="Only of these hosts, groups (of the inventory) or tag:NAME."),
    ] = None,
    connector: Annotated[
        str | None, typer.Option("--connector", metavar="NAME", help="Only of this connector.")
    ] = None,
    state: Annotated[
        SnapshotState | None, typer.Option("--state", help="Only those that are in this state.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option("--since", metavar="DAY", parser=moment, help="Only those made then (UTC) or later."),
    ] = None,
    before: Annotated[
        datetime | None,
        typer.Option("--before", metavar="DAY", parser=moment, help="Only those made earlier (UTC)."),
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="Of each host and connector, only the newest complete one.")
    ] = False,
    sizes: Annotated[
        bool, typer.Option("--sizes", help="Also the bytes that a snapshot alone holds, and the sums.")
    ] = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the snapshots that the repository holds."""
    with speaking(as_json, looks=True) as report:
        place = Repository.open(repository_path(repository, inventory))
        every = place.snapshots()
        wanted = wanted_hosts(hosts or (), {s.host for s in every}, inventory)
        if connector is not None:
            held = {s.connector for s in every}
            connector = known_connector(connector, {*Connector.load_all(), *PARTS, *held})
        found = [
            s
            for s in every
            if (not hosts or s.host.casefold() in wanted)
            and connector in (None, s.connector)
            and (since is None or s.created >= since)
            and (before is None or s.created < before)
        ]
        if latest:
            newest = {place.latest(s.host, s.connector, s.kind, now=now()) for s in found}
            found = [s for s in found if s in newest]
        found.sort(key=lambda s: (s.host.casefold(), s.created, s.id))
        rows = [snapshot_row(place, s) for s in found]
        rows = [row for row in rows if state in (None, row["state"])]
        columns = [
            "host",
            "connector",
            "id",
            "created",
            "state",
            "files",
            "size",
            "last_seen_unchanged",
            "health",
            "kind",
        ]
        if sizes:
            columns.insert(columns.index("size") + 1, "alone")
            alone, named, kept = total_sizes(place)
            for row in rows:
                own = alone.get((row["host"], row["id"]))
                row |= {"alone_bytes": own, "alone": None if own is None else size_text(own)}
        # When a host was last seen as it is there is what one looks for; the rest is in the id, or in `show`.
        spare: tuple[str, ...] = ("created", "files", "size", "health", "kind", "connector")
        if any(row["kind"] == "safety" for row in rows):  # nobody is to take one for a backup
            spare = ("created", "files", "size", "health", "connector", "last_seen_unchanged", "kind")
        if sizes:  # then it is what they hold that is asked for
            spare = ("created", "files", "health", "kind", "connector", "last_seen_unchanged", "size")
        title = f"Snapshots in {place.path}"
        report.rows(title, columns, rows, style_by="state", nothing="no snapshots", spare=spare)
        if sizes:
            report.line(f"all snapshots together: {size_text(named)}, kept in {size_text(kept)}")


def wanted_hosts(names: Sequence[str], held: Collection[str], inventory: Path | None) -> set[str]:
    """Given names, the hosts of a repository and an inventory if there is one, return hosts, case folded.

    A host that left the inventory still has its snapshots. Raise UsageError for a name that fits nothing.
    """
    wanted: set[str] = set()
    site = None if all(find_name(held, name) for name in names) else site_if_any(inventory)
    for name in names:
        if find_name(held, name):
            wanted.add(name.casefold())
        elif site is not None:
            wanted.update(host.name.casefold() for host in site.select([name]))
        else:
            raise UsageError(
                f"The repository has no host {name}, and there is no inventory to know groups and tags from.",
                near(name, held),
            )
    return wanted


def snapshot_row(place: Repository, snapshot: Snapshot) -> dict[str, Any]:
    """Given a snapshot, return its row; a damaged one is shown as that, never as good."""
    row: dict[str, Any] = {
        "host": snapshot.host,
        "connector": snapshot.connector,
        "id": snapshot.id,
        "created": snapshot.created,
        "kind": snapshot.kind,
        "state": "done" if snapshot.complete else "incomplete",
        "last_seen_unchanged": None,
    }
    try:
        manifest = snapshot.manifest
        checks = place.checks(snapshot)
    except RepositoryError as error:
        return row | {
            "state": "damaged",
            "files": None,
            "size": None,
            "health": None,
            "missing": [],
            "damage": error.message,
        }
    damage = place.damage_in(snapshot)
    size = sum(e.size for e in manifest.entries)
    away = sum(e.size for e in manifest.elsewhere)
    verdicts = [verdict_of(f) for f in manifest.findings]
    return row | {
        "last_seen_unchanged": checks[-1].at if checks else None,
        "files": len(manifest.entries),
        "size": size_text(size) + (f" + {size_text(away)} on the host" if away else ""),
        "bytes": size,
        "health": str(max(verdicts, key=health.rank, default=health.Verdict.OK)),
        "bytes_on_host": away,
        "missing": [{"path": o.path, "reason": o.reason} for o in manifest.missing],
        "state": "damaged" if damage else row["state"],
        "damage": damage,
    }


def verdict_of(finding: Mapping[str, object]) -> health.Verdict:
    """Given a finding as a manifest has it, return its verdict; one that nobody here knows is unknown, and
    one that the site had accepted is well.
    """
    if finding.get("accepted"):
        return health.Verdict.OK
    try:
        return health.Verdict(str(finding.get("verdict")))
    except ValueError:
        return health.Verdict.UNKNOWN


def verify(
    snapshot: Annotated[
        str | None,
        typer.Argument(
            metavar="SNAPSHOT", help="A snapshot's id or its beginning, or a host; none means all."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Names and sizes only; without it every byte is read.")
    ] = False,
    on_host: Annotated[
        bool,
        typer.Option(
            "--on-host", help="Also what stays on hosts: each .bkf there is hashed and walked again."
        ),
    ] = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hold the repository against its manifests. Exit code 13 if anything is damaged.

    A .bkf that stays on its host is looked at only with --on-host; else it is named as not looked at.
    """
    with speaking(as_json, looks=True) as report:
        place = Repository.open(repository_path(repository, inventory))
        every = place.snapshots()
        chosen: list[Snapshot | None] = [None]
        if snapshot and (host := find_name({s.host for s in every}, snapshot)):
            chosen = [s for s in every if s.host == host]
        elif snapshot:
            chosen = [place.find(snapshot)]
        noted = place.noted_damage()
        found = [problem for one in chosen for problem in place.verify(one, quick=quick)]
        looked = [s for s in chosen if s is not None] or every
        forgotten = forgotten_since(place, looked)
        if found:
            found = still_true(place, found, forgotten)
        for s in forgotten:
            report.note(f"note: {s.host}/{s.id} was forgotten while it was verified")
        problems = [
            {"place": p.place, "problem": p.message, "expected": p.expected, "actual": p.actual}
            for p in found
        ]
        if not snapshot:
            problems += gone(place, every) + unchecked(place, every)
        try:
            place.note_damage(noted, {p.sha256 for p in found if p.sha256}, all_read=not (snapshot or quick))
        except RepositoryError as error:
            report.note(f"note: what is damaged could not be noted for the next backup: {error.text}")
        count = len(looked) - len(forgotten)
        files, code = afar.distant_of([s for s in looked if s not in forgotten]), EXIT_OK
        rows = afar.unseen(place, files)
        if on_host and files:
            from exremote.cli import onhost  # the wire is loaded by what asks hosts alone

            rows, code = onhost.look_again(report, place, files, inventory, bool(problems))
            problems += afar.problems_of(rows)
        if as_json:
            answer = {"repository": place.path, "snapshots": count, "quick": quick, "problems": problems}
            report.json({**answer, "elsewhere": rows})
        elif problems:
            labelled = [
                p | {key: f"{key} {p[key]}" if p[key] else "" for key in ("expected", "actual")}
                for p in problems
            ]
            columns, below = ["place", "problem", "expected", "actual"], ["expected", "actual"]
            report.sentences("Damage", columns, labelled, below=below, style_by="")
        how = "names and sizes" if quick else "every byte"
        for sentence in afar.told(rows):
            report.line(sentence)
        if problems:
            report.note(
                f"{count_text(len(problems), 'problem')}: do not trust what is named here. `exremote backup` "
                "brings damaged contents anew that a host still has, and mends all snapshots that name them; "
                "others come from another copy of the repository: `exremote copy --repository COPY --to "
                f"{place.path}`."
            )
            raise typer.Exit(IntegrityError.exit_code)
        left = sum(row["state"] == afar.UNSEEN for row in rows)
        but = f" in the repository; {count_text(left, 'file')} on hosts not looked at" if left else ""
        if not count:
            report.note("there is no snapshot to verify: `exremote backup` makes them")
        report.line(f"{count_text(count, 'snapshot')} verified ({how}): no damage{but}")
        if left and not on_host:
            report.note(f"note: `{afar.AGAIN}` looks at what stays on hosts")
        if code:
            raise typer.Exit(code)


def connectors(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One connector: show its items.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the connectors that exremote knows, and what each is made of."""
    with speaking(as_json, looks=True) as report:
        known = Connector.load_all()
        if name is None:
            rows = [
                {
                    "name": c.name,
                    "title": c.title,
                    "exchange": c.exchange,
                    "services": [s.name for s in c.services],
                    "items": [i.id for i in c.items()],
                    "checks": len(c.checks),
                }
                for c in known.values()
            ]
            columns = ["name", "title", "exchange", "services", "items", "checks"]
            report.rows("Connectors", columns, rows, below=["services", "items"])
            return
        data = known[known_connector(name, known)].model_dump(mode="json", by_alias=True)
        if as_json:
            report.json(data)
            return
        columns = ["kind", "item", "where", "sure", "source"]
        report.rows(data["title"], columns, list(parts_of(data)), below=["where", "source"])


def parts_of(connector: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Given a connector as plain values, yield a row for each thing that it is made of."""
    for kind in KINDS:
        for item in connector[kind]:
            places = ("path", "paths", "class_name", "title", "program", "names")
            yield {
                "kind": kind.replace("_", " "),
                "item": item.get("id") or item.get("name"),
                "where": next((item[key] for key in places if item.get(key)), ""),
                "sure": item["sure"],
                "source": item["source"],
            }


def scripts(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="One script: print its text.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show the PowerShell scripts that exremote runs on a host: all are bundled, none is put together."""
    with speaking(as_json, looks=True) as report:
        library = ScriptLibrary.load()
        if name is not None:
            asked = name.casefold().removesuffix(".ps1")
            script = next((s for s in library if s.name.casefold() == asked), None)
            if script is None:
                remedy = near(asked, [s.name for s in library]) or "`exremote scripts` lists them."
                raise UsageError(f"There is no script {name}.", remedy)
            if as_json:
                report.json(
                    {
                        "name": script.name,
                        "effect": script.effect,
                        "sha256": script.digest,
                        "text": script.text,
                    }
                )
            else:
                report.line(script.text.rstrip("\n"))
            return
        rows = [
            {
                "name": s.name,
                "effect": str(s.effect),
                "what": s.synopsis,
                "rights": s.rights,
                "errors": list(s.errors),
                "sha256": s.digest,
            }
            for s in library
        ]
        report.rows("Scripts", ["name", "effect", "what"], rows)
        report.note("Read changes nothing; Converge changes something and may be repeated; Once may not.")

"""The commands that keep a repository: forget, prune, unlock. They ask no host."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote.cli import afar
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    journal_folders,
    now,
    repository_path,
    speaking,
)
from exremote.cli.journaling import journaled
from exremote.cli.underway import wanted_by_recoveries, wanted_by_undoing
from exremote.errors import (
    PlanRefused,
    RepositoryError,
    RepositoryLocked,
    SnapshotNotFound,
    UsageError,
)
from exremote.journal import Journal
from exremote.report import Report, has_terminal, is_terminal, size_text
from exremote.repository import (
    NEWEST,
    WHOLE,
    Fate,
    KeepPolicy,
    LockState,
    Repository,
    Snapshot,
    age_text,
    break_lock,
    waiting,
)
from exremote.runner import distant_runs, living_runs
from exremote.wording import count_text

HostOption = Annotated[
    list[str] | None, typer.Option("--host", metavar="HOST", help="Only of this host; may be repeated.")
]
ConnectorOption = Annotated[
    list[str] | None,
    typer.Option("--connector", metavar="NAME", help="Only of this connector; may be repeated."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
SnapshotsArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="SNAPSHOT", help="Ids or their beginnings, or HOST/ and that."),
]


LATER = "the host's next backup takes it away, once it has proven a newer one"


class SnapshotKind(StrEnum):
    """What kinds of snapshots there are; a restore makes those of safety."""

    FULL = "full"
    TABLES = "tables"
    SAFETY = "safety"


_UNITS = {
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}


def duration(text: str) -> timedelta:
    """Given `14d`, `36h`, `8w`, `1y` or a sum like `1y6w`, return it. Raise UsageError if it is none."""
    parts = re.findall(r"([0-9]{1,5})([hdwy])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(
            f"{text!r} is no duration.", "Write 36h, 14d, 8w, 1y, or a sum such as 1y6w (a year is 365 days)."
        )
    return sum((int(number) * _UNITS[unit] for number, unit in parts), timedelta())


def approve(question: str, yes: bool, look: str) -> None:
    """Given what is about to be done, ask the person. Raise PlanRefused if the answer is not yes.

    `look` says how to find out, without a terminal, what would be done.
    """
    if yes:
        return
    if not has_terminal():
        raise PlanRefused("Nothing was changed: there is no terminal to ask at.", f"{look}, then use --yes.")
    # Into a pipe only whole lines arrive: who reads there would wait, and not know that he is waited for.
    sys.stderr.write(f"{question} [y/N]{' ' if is_terminal(sys.stderr) else chr(10)}")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise PlanRefused("Nothing was changed: the answer was not yes.", "Answer y, or use --yes.")


def taken(report: Report, journal: Journal) -> Callable[[str], None]:
    """Given a report and a journal, return what tells both whose dead lock was taken over."""

    def tell(who: str) -> None:
        journal.event("lock-taken-over", was=who)
        report.note(f"note: took over the lock of {who}: that process is gone")

    return tell


def chosen_snapshots(
    place: Repository, names: Sequence[str], hosts: Sequence[str], connectors: Sequence[str]
) -> list[Snapshot]:
    """Given names, or hosts and connectors, or nothing for all, return the snapshots, oldest first.

    Raise UsageError if both are given, SnapshotNotFound if a name, host or connector has none.
    """
    if names and (hosts or connectors):
        raise UsageError(
            "Name snapshots, or choose them with --host and --connector; not both.",
            "Leave one of them out.",
        )
    if names:
        found = {s.path: s for s in map(place.find, names)}
        return sorted(found.values(), key=lambda s: (s.created, s.id))
    everything = place.snapshots()
    for word, wanted, known in (
        ("host", hosts, {s.host.casefold() for s in everything}),
        ("connector", connectors, {s.connector.casefold() for s in everything}),
    ):
        for name in wanted:
            if name.casefold() not in known:
                raise SnapshotNotFound(
                    f"there is no snapshot of the {word} {name}.",
                    path=place.path,
                    remedy="exremote snapshots lists them.",
                )
    folded_hosts, folded = {h.casefold() for h in hosts}, {c.casefold() for c in connectors}
    return [
        s
        for s in everything
        if (not hosts or s.host.casefold() in folded_hosts)
        and (not connectors or s.connector.casefold() in folded)
    ]


def forget(
    names: SnapshotsArgument = None,
    last: Annotated[
        int, typer.Option("--keep-last", min=0, metavar="N", help="Keep the newest N complete ones.")
    ] = 0,
    daily: Annotated[
        int,
        typer.Option("--keep-daily", min=0, metavar="N", help="Keep the last state of each of N days (UTC)."),
    ] = 0,
    weekly: Annotated[int, typer.Option("--keep-weekly", min=0, metavar="N", help="The same for weeks.")] = 0,
    monthly: Annotated[
        int, typer.Option("--keep-monthly", min=0, metavar="N", help="The same for months.")
    ] = 0,
    within: Annotated[
        str | None,
        typer.Option(
            "--keep-within",
            metavar="DURATION",
            help="Keep all that were true so long before the newest: 36h, 14d, 8w, 1y.",
        ),
    ] = None,
    hosts: HostOption = None,
    connectors: ConnectorOption = None,
    kind: Annotated[
        SnapshotKind | None, typer.Option("--kind", help="Only snapshots of this kind.", show_choices=True)
    ] = None,
    prune_too: Annotated[
        bool, typer.Option("--prune", help="Then delete what nothing names any more.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Show what would go, and why the others stay.")
    ] = False,
    yes: YesOption = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take snapshots out: by a keep policy, or by name. Never the newest complete one. `prune` frees room.

    The policy holds for each host, connector and kind (full, tables alone, safety) by itself; --kind has
    another one for each. It counts complete snapshots only, and days on which a run found nothing changed
    count for the snapshot that they confirmed. An incomplete snapshot stays while no complete one is newer, a
    damaged one until it is named, what a recovery under way stands on until that is through, and what is from
    before one that left its machine half recovered.
    """
    with speaking(as_json) as report:
        policy = KeepPolicy(last, daily, weekly, monthly, duration(within) if within is not None else None)
        if names and kind is not None:
            raise UsageError(
                "Name snapshots, or choose them with --kind; not both.", "Leave one of them out."
            )
        if names and not policy.empty:
            raise UsageError("Name snapshots, or give a keep policy; not both.", "Leave one of them out.")
        if not names and policy.empty:
            raise UsageError(
                "Without a policy nothing is forgotten.",
                "Give at least one of --keep-last, --keep-daily, --keep-weekly, --keep-monthly, "
                "--keep-within, or name snapshots.",
            )
        place = Repository.open(repository_path(repository, inventory))

        remedies: dict[str, str] = {}

        def fates() -> list[Fate]:
            chosen = chosen_snapshots(place, names or (), hosts or (), connectors or ())
            chosen = [s for s in chosen if kind in (None, s.kind)]
            decided = named_fates(place, chosen) if names else place.fates(policy, chosen, now())
            wanted = wanted_by_recoveries(place) | wanted_by_undoing(place, chosen)
            remedies.update({name: then for name, (_, then) in wanted.items()})
            return [
                replace(f, kept=(*f.kept, wanted[name][0]))
                if (name := f"{f.snapshot.host}/{f.snapshot.id}") in wanted
                else f
                for f in decided
            ]

        planned = fates()
        going = [f.snapshot for f in planned if not f.kept]
        if names and len(going) < len(planned):
            kept = {f"{f.snapshot.host}/{f.snapshot.id}": f.kept[-1] for f in planned if f.kept}
            then = dict.fromkeys(remedies.get(name, FIRST_BACK_UP) for name in kept)
            said = "; ".join(f"{name} is {why}" for name, why in kept.items())
            raise PlanRefused(f"Nothing was changed: of its host and connector, {said}.", " ".join(then))
        if dry_run or not (going or prune_too):
            show_fates(report, place, planned, dry_run=dry_run, pruned=None)
            return
        if not as_json:
            show_fates(report, place, planned, dry_run=False, pruned=None)
        if going:
            some = f"{len(going)} of {count_text(len(planned), 'snapshot')}"
            approve(f"Forget {some}?", yes, "Look with --dry-run")
        command = [f"{s.host}/{s.id}" for s in going]
        away = afar.distant_of(going)
        pruned = None
        with journaled([place.runs_folder], "forget", command, report.note) as journal:
            told = taken(report, journal)
            with place.lock("exremote forget", name=WHOLE, run=journal.run_id, since=now(), on_takeover=told):
                # Looked at again under the lock: what was approved, and still may go.
                approved = {s.path for s in going}
                planned = [f for f in fates() if f.snapshot.path in approved or f.kept]
                for fate in planned:
                    if not fate.kept:
                        s = fate.snapshot
                        # Before the deed, too: killed in between, nobody would know why it is gone.
                        journal.event("forgetting", host=s.host, connector=s.connector, snapshot=s.id)
                        place.forget(s, journal.run_id)
                        journal.event("forgotten", host=s.host, connector=s.connector, snapshot=s.id)
                if prune_too:
                    pruned = pruning(place, journal)
        if as_json:
            show_fates(report, place, planned, dry_run=False, pruned=pruned)
        else:
            gone = sum(not f.kept for f in planned)
            freed = f"; {count_text(pruned['objects'], 'object')} pruned, {pruned['size']}" if pruned else ""
            report.line(f"{count_text(gone, 'snapshot')} forgotten{freed}")
        for one in away:
            report.note(f"note: {one.file.place} is still on {one.snapshot.host}; {LATER}")


FIRST_BACK_UP = "Back the host up first; then an older one can go."


def named_fates(place: Repository, chosen: Sequence[Snapshot]) -> list[Fate]:
    """Given snapshots that were named, return what becomes of each: all go but the newest complete ones.

    One whose files are gone is no such: the one before it stays, and why.
    """
    kept: dict[Path, str] = {}
    for host, connector, kind in {(s.host, s.connector, s.kind) for s in chosen}:
        newest = place.latest(host, connector, kind, now=now())
        reliable = place.reliable(host, connector, kind, now=now())
        if newest is not None and reliable is not None:
            why = "" if newest == reliable else f", {newest.id} being damaged ({place.damage(newest)})"
            kept[reliable.path] = NEWEST + why
    return [Fate(s, (kept[s.path],) if s.path in kept else ()) for s in chosen]


def show_fates(
    report: Report, place: Repository, fates: Sequence[Fate], *, dry_run: bool, pruned: dict[str, Any] | None
) -> None:
    """Given what becomes of snapshots, show those that go and why the others stay."""
    rows: list[dict[str, Any]] = []
    for fate in fates:
        s = fate.snapshot
        hurt = fate.damage or s.damage or place.damage_in(s)
        state = "damaged" if hurt else "done" if s.complete else "incomplete"
        rows.append(
            {
                "fate": "stays" if fate.kept else "goes",
                "host": s.host,
                "connector": s.connector,
                "id": s.id,
                "created": s.created,
                "kind": s.kind,
                "state": state,
                "why": list(fate.kept),
                "damage": fate.damage,
            }
        )
    if report.as_json:
        parts = {fate: [r for r in rows if r["fate"] == fate] for fate in ("goes", "stays")}
        report.json({"repository": place.path, "dry_run": dry_run, **parts, "pruned": pruned})
        return
    columns = ["fate", "host", "connector", "id", "created", "state", "why", "kind"]
    title, spare = f"Snapshots in {place.path}", ["created", "kind", "state"]
    report.rows(title, columns, rows, nothing="no snapshots", spare=spare, below=["why"])
    for row in rows:
        if row["damage"]:
            report.note(f"damaged: {row['host']}/{row['id']}: {row['damage']}")
    going = sum(not f.kept for f in fates)
    of = f"of {count_text(len(fates), 'snapshot')}"
    if not going:
        report.line(f"none {of} goes: each has a reason to stay" if fates else "there is nothing to forget")
    elif dry_run:
        report.line(f"{going} {of} would go, and {len(fates) - going} stay; nothing was changed")
    else:
        report.line(f"{going} {of} {'is' if going == 1 else 'are'} to go, and {len(fates) - going} stay")


def prune(
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", "-n", help="Count only; what a run is working on counts, too."),
    ] = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete what no snapshot names: contents, what killed runs left, checks of forgotten snapshots."""
    with speaking(as_json) as report:
        place = Repository.open(repository_path(repository, inventory))
        if dry_run:
            answer = counted(place, apply=False)
        else:
            with journaled([place.runs_folder], "prune", [], report.note) as journal:
                told = taken(report, journal)
                with place.lock(
                    "exremote prune", name=WHOLE, run=journal.run_id, since=now(), on_takeover=told
                ):
                    answer = pruning(place, journal)
        if as_json:
            on_hosts = [
                {"host": host, "place": k.place, "bytes": k.size} for host, k in waiting(place.distant)
            ]
            report.json({"repository": place.path, "dry_run": dry_run, **answer, "on_hosts": on_hosts})
            return
        verb = "would go" if dry_run else "deleted"
        report.line(f"{count_text(answer['objects'], 'object')} {verb}, {answer['size']}")
        if answer["leftovers"]:
            left = size_text(answer["leftover_bytes"])
            report.line(f"{count_text(answer['leftovers'], 'leftover')} of ended runs {verb}, {left}")
        for host, old in waiting(place.distant):
            report.line(f"{old.place} on {host}, {size_text(old.size)}: no snapshot names it; {LATER}")
        kept = answer["kept_objects"]
        stay = "stays" if kept == 1 else "stay"
        report.line(f"{count_text(kept, 'object')} {stay}, {size_text(answer['kept_bytes'])}")


def pruning(place: Repository, journal: Journal) -> dict[str, Any]:
    """Given a repository whose whole lock is held, delete what nothing names, and note how much it was."""
    answer = counted(place, apply=True)
    journal.event("pruned", **answer)
    return answer


def counted(place: Repository, *, apply: bool) -> dict[str, Any]:
    """Given a repository, return how much nothing names; with `apply` it is deleted."""
    alive = living_runs(place.runs_folder)
    unused = place.prune(alive) if apply else place.unused(alive)
    return {
        "objects": len(unused.objects),
        "bytes": unused.object_bytes,
        "size": size_text(unused.object_bytes),
        "leftovers": len(unused.leftovers),
        "leftover_bytes": unused.leftover_bytes,
        "checks": len(unused.checks),
        "kept_objects": unused.kept,
        "kept_bytes": unused.kept_bytes,
    }


def unlock(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="LOCK", help="Locks like host-EXCH01, or runs; none means all."),
    ] = None,
    yes: YesOption = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the repository's locks and remove those that nobody holds. It asks about other machines' locks.

    A lock of a process that is gone on this machine is removed; one of a living process here never is
    (exit code 11). Of another machine or container nobody can know: its last sign of life is shown. Its runs
    are shown, too: as long as one counts as alive, nobody clears what it left here, or at hosts.
    """
    with speaking(as_json) as report:
        place = Repository.open(repository_path(repository, inventory))
        runs = [lock for folder in journal_folders(place) for lock in distant_runs(folder)]
        there = {lock.name: lock for lock in (*place.locks(), *runs)}
        unknown = [name for name in names or () if name not in there]
        if unknown:
            raise UsageError(
                f"There is no lock {unknown[0]}.", "`exremote unlock` shows those that there are."
            )
        chosen = [there[name] for name in names or sorted(there)]
        rows = [lock_row(lock) for lock in chosen]
        doubtful = [lock for lock in chosen if not lock.ours]
        alive = [lock for lock in chosen if lock.ours and not lock.dead]
        columns = ["lock", "holder", "last_sign_of_life", "age", "state"]
        if not as_json:
            below = ["holder"]
            report.rows(f"Locks of {place.path}", columns, rows, nothing="no locks", below=below)
        removed = [lock.name for lock in chosen if lock.dead and break_lock(lock)]
        try:
            if doubtful:
                some = count_text(len(doubtful), "lock")
                question = f"Remove {some} whose holder nobody here can see?"
                approve(question, yes, "See above what there is")
                removed += [lock.name for lock in doubtful if break_lock(lock)]
        finally:
            if removed:
                with (
                    suppress(RepositoryError),
                    journaled([place.runs_folder], "unlock", removed, report.note),
                ):
                    pass
            if as_json:
                report.json({"repository": place.path, "locks": rows, "removed": removed})
            elif removed:
                report.line(f"removed: {', '.join(removed)}")
        if alive:
            who = "; ".join(str(lock_row(lock)["holder"]) for lock in alive)
            raise RepositoryLocked(
                f"held by {who}: that process is alive.",
                path=alive[0].path,
                owner=who,
                remedy="Wait for it, or end that process.",
            )


def lock_row(lock: LockState) -> dict[str, Any]:
    """Given a lock, return its row."""
    state = (
        "its process is gone" if lock.dead else "alive" if lock.ours else "of another machine or container"
    )
    age = (now() - lock.touched).total_seconds()
    return {
        "lock": lock.name,
        "holder": lock.owner.describe() if lock.owner else "a process that left no readable name",
        "last_sign_of_life": lock.touched,
        "age": f"{age_text(age)} ago",
        "state": state if lock.owner else "nobody can tell",
    }

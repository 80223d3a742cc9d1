"""The commands that carry snapshots elsewhere: copy, export. They change nothing where they take from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote.cli import afar
from exremote.cli.common import (
    SNAPSHOT_HELP,
    InventoryOption,
    JsonOption,
    RepositoryOption,
    now,
    path_from,
    repository_path,
    speaking,
)
from exremote.cli.journaling import journaled
from exremote.cli.keep import (
    ConnectorOption,
    HostOption,
    SnapshotsArgument,
    chosen_snapshots,
    taken,
)
from exremote.cli.underway import doubts_about, ends_doubt
from exremote.errors import (
    EXIT_INCOMPLETE,
    EXIT_OK,
    IntegrityError,
    RepositoryError,
    RepositoryLocked,
    UsageError,
)
from exremote.journal import Journal
from exremote.recover import Doubt, doubt_about
from exremote.report import Report, size_text
from exremote.repository import Composed, Repository, Snapshot, Standing, export
from exremote.restore.folders import folders_in
from exremote.wording import count_text


def copy(
    to: Annotated[
        Path,
        typer.Option(
            "--to", metavar="REPOSITORY", parser=path_from, help="The other repository; made with `init`."
        ),
    ],
    names: SnapshotsArgument = None,
    hosts: HostOption = None,
    connectors: ConnectorOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show what would be copied.")] = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy snapshots to another repository, with their checks; only contents that it lacks are copied.

    Each is read whole and held against its manifest, here before and there after. A damaged one is refused
    and named, the others go on, and the exit code is 13. What `verify` found damaged there is replaced. What
    may be of a half recovered machine goes along only by name: the other repository knows of no recovery.
    """
    with speaking(as_json) as report:
        place = Repository.open(repository_path(repository, inventory))
        other = Repository.open(to)
        if real(place.path) == real(other.path):
            raise UsageError("That is one and the same repository.", "Name another one with --to.")
        chosen = chosen_snapshots(place, names or (), hosts or (), connectors or ())
        chosen, passed = (chosen, []) if names else undoubted(place, chosen)
        for note in passed:
            report.note(f"note: {note}")
        with ExitStack() as stack:
            work = None
            if not dry_run:
                command = ["--to", str(other.path), *(f"{s.host}/{s.id}" for s in chosen)]
                journal = stack.enter_context(journaled([other.runs_folder], "copy", command, report.note))
                run, told = journal.run_id, taken(report, journal)
                journal.event("copying", source=place.path, source_id=place.id)
                lock = other.lock("exremote copy", name="copy", run=run, since=now(), on_takeover=told)
                stack.enter_context(lock)
                with suppress_read_only():
                    name = f"copy-{run}"
                    stack.enter_context(place.lock("exremote copy", name=name, run=run, since=now()))
                work = Copying(place, other, journal, report)
            counted: set[str] = set()
            rows = [one_copy(place, other, s, counted) if work is None else work(s) for s in chosen]
            refused = [r for r in rows if r["state"] == "refused"]
            if as_json:
                code = IntegrityError.exit_code if refused else EXIT_OK
                head = {"repository": place.path, "to": other.path, "dry_run": dry_run}
                report.json({**head, "snapshots": rows, "exit_code": code})
            else:
                columns = ["state", "host", "connector", "id", "sent", "checks", "message"]
                title = f"Copied to {other.path}" if work else f"To be copied to {other.path}"
                report.rows(
                    title,
                    columns,
                    rows,
                    style_by="state",
                    nothing="no snapshots",
                    spare=["checks", "connector"],
                    below=["message"],
                )
            here = [s for s, row in zip(chosen, rows, strict=True) if row["state"] != "refused"]
            if away := afar.distant_of(here):
                report.note(
                    f"note: {count_text(len(away), 'file')} of these snapshots stay on their hosts: their "
                    "description is copied, their contents are not"
                )
            if refused:
                some = f"{len(refused)} of {count_text(len(rows), 'snapshot')}"
                report.note(
                    f"{some} were refused; docs/repository.md says what to do when something is damaged."
                )
                raise typer.Exit(IntegrityError.exit_code)


def undoubted(place: Repository, snapshots: Sequence[Snapshot]) -> tuple[list[Snapshot], list[str]]:
    """Given snapshots that nobody named, return those that go to another repository, and for each host a
    sentence about those that do not, for it may have been half recovered when they were made: the other
    repository knows nothing of recoveries, and would take them for the newest of a whole server.
    """
    every = doubts_about(place, {s.host for s in snapshots})
    found: list[Snapshot] = []
    passed: dict[str, list[Doubt]] = {}
    for snapshot in snapshots:
        doubts = every.get(snapshot.host, ()) if snapshot.kind != "safety" else ()
        doubt = doubt_about(snapshot, place.last_true(snapshot, now()), doubts)
        if doubt is None:
            found.append(snapshot)
        else:
            passed.setdefault(snapshot.host, []).append(doubt)
    return found, [_not_copied(host, doubts) for host, doubts in passed.items()]


def _not_copied(host: str, doubts: Sequence[Doubt]) -> str:
    last = doubts[-1]
    then = f"; {ends_doubt(last, host)}" if last.until is None else ""
    return (
        f"not copied: {count_text(len(doubts), 'snapshot')} of {host}, for it may have been half recovered "
        f"then (recovery {last.recovery}: {last.why}). What is named is copied all the same{then}"
    )


def real(path: Path) -> Path:
    """Given a path, return where it leads, as far as the system says."""
    return Path(os.path.realpath(path))  # resolve() refuses a link that leads to itself


@contextmanager
def suppress_read_only() -> Iterator[None]:
    """Let a lock be taken where one can be: on a volume that is read-only nobody forgets anything either."""
    try:
        yield
    except RepositoryLocked:
        raise
    except RepositoryError:
        return


def one_copy(place: Repository, other: Repository, snapshot: Snapshot, counted: set[str]) -> dict[str, Any]:
    """Given a snapshot, return the row that says what a copy would do with it, and do nothing.

    Contents that are in `counted` would come with another snapshot before; those of this one are put there.
    """
    row: dict[str, Any] = {
        "host": snapshot.host,
        "connector": snapshot.connector,
        "id": snapshot.id,
        "state": "would be copied",
        "sent_files": 0,
        "sent_bytes": 0,
        "sent": "",
        "checks": 0,
        "message": "",
    }
    try:
        standing = other.standing(snapshot)
        if standing == Standing.SAME:
            return row | {"state": "unchanged"}
        lacking = {sha256: size for sha256, size in other.lacking(snapshot).items() if sha256 not in counted}
        checks = place.checks(snapshot, parts=True)
    except RepositoryError as error:
        return row | refusal(error, snapshot)
    counted.update(lacking)
    if standing == Standing.DAMAGED:
        row["state"] = "would be mended"
    return row | sent(len(lacking), sum(lacking.values())) | {"checks": len(checks)}


def refusal(error: RepositoryError, snapshot: Snapshot) -> dict[str, Any]:
    """Given an error, return the columns that say it if it is about that snapshot; else raise it."""
    if isinstance(error, IntegrityError) or Path(error.path).is_relative_to(snapshot.path):
        return {"state": "refused", "message": error.text}
    raise error


def sent(files: int, size: int) -> dict[str, Any]:
    """Given files and bytes, return the columns that say so."""
    return {
        "sent_files": files,
        "sent_bytes": size,
        "sent": f"{count_text(files, 'file')}, {size_text(size)}",
    }


class Copying:
    """Copies one snapshot after another; reads what they share once on each side."""

    def __init__(self, place: Repository, other: Repository, journal: Journal, report: Report) -> None:
        self._place = place
        self._other = other
        self._journal = journal
        self._report = report
        self._here = place.verifier()
        self._there = other.verifier()

    def __call__(self, snapshot: Snapshot) -> dict[str, Any]:
        """Given a snapshot, copy it. Return its row; a damaged one is refused there, and nothing else."""
        row = one_copy(self._place, self._other, snapshot, set())
        done = {"would be copied": "copied", "would be mended": "mended"}.get(row["state"])
        if done is not None:
            row |= self._copy(snapshot, done)
        if row["state"] in ("copied", "mended", "unchanged"):
            row |= self._add_checks(snapshot)
        fields = {key: row[key] for key in ("host", "connector", "state", "sent_bytes", "message")}
        self._journal.event("snapshot", snapshot=snapshot.id, **fields)
        return row

    def _add_checks(self, snapshot: Snapshot) -> dict[str, Any]:
        try:
            return {"checks": self._other.add_checks(snapshot, self._place.checks(snapshot, parts=True))}
        except IntegrityError as error:
            return refusal(error, snapshot)

    def _copy(self, snapshot: Snapshot, done: str) -> dict[str, Any]:
        if not self._report.as_json:
            self._report.note(f"{snapshot.host}/{snapshot.id}")
        moved = [0, 0]

        def count(files: int, size: int) -> None:
            moved[0] += files
            moved[1] += size

        problem = next(self._here.snapshot(snapshot), None)
        if problem is not None:
            return {
                "state": "refused",
                "message": f"damaged here: {problem.place} {problem.message}",
                **sent(0, 0),
            }
        try:
            there = self._other.receive(snapshot, self._journal.run_id, count)
        except RepositoryError as error:
            return {**refusal(error, snapshot), **sent(*moved)}
        for problem in self._there.snapshot(there):
            aside = self._other.reject(there)
            message = f"not what was copied, and put aside in {aside}: {problem.place} {problem.message}"
            return {"state": "refused", "message": message, **sent(*moved)}
        for name in self._other.mend(there):
            self._report.note(f"{name} is mended, too: it names contents that came anew")
        return {"state": done, **sent(*moved)}


def _folders(snapshot: Snapshot | Composed) -> dict[str, tuple[str, ...]]:
    """Return the folders of a snapshot's trees, by item, as their listings have them."""
    found = {}
    for item in snapshot.manifest.trees:
        with suppress(IntegrityError):  # the listing is damaged: the export says so of it
            found[item] = folders_in(snapshot, item, ())
    return found


def export_snapshot(
    snapshot: Annotated[str, typer.Argument(metavar="SNAPSHOT", help=SNAPSHOT_HELP)],
    into: Annotated[
        Path,
        typer.Option("--into", metavar="FOLDER", parser=path_from, help="A new or empty folder."),
    ],
    items: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="ID", help="Only the files of this item; may be repeated."),
    ] = None,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a snapshot as plain files under the host's own names, with times and attributes, all verified.

    A damaged file is left out and named, the others are written, and the exit code is 13. A name that this
    system does not take lies under `renamed`. A .bkf that stays on its host is named, and the code is 3.
    """
    with speaking(as_json) as report:
        place = Repository.open(repository_path(repository, inventory))
        found = place.pick_current(snapshot, now())
        over = found.tables if isinstance(found, Composed) else None
        if real(into).is_relative_to(real(place.path)):
            raise UsageError(f"{into} lies in the repository.", "Name a folder outside it.")
        manifest = found.manifest
        done = export(found, into, items or (), lambda files, size: None, _folders(found))
        away = [] if items else afar.unseen(place, afar.distant_of([whole_of(found)]))
        code = IntegrityError.exit_code if done.damaged else EXIT_INCOMPLETE if away else EXIT_OK
        roots = {item: tree.root for item, tree in manifest.trees.items() if not items or item in items}
        if as_json:
            report.json(
                {
                    "snapshot": f"{found.host}/{found.id}",
                    "tables": None if over is None else f"{over.host}/{over.id}",
                    "into": into,
                    "complete": found.complete,
                    "files": done.files,
                    "bytes": done.bytes,
                    "documents": done.documents,
                    "roots": roots,
                    "renamed": [{"path": path, "at": at} for path, at in done.renamed],
                    "damaged": [{"path": p, "expected": e, "actual": a} for p, e, a in done.damaged],
                    "elsewhere": away,
                    "exit_code": code,
                }
            )
        else:
            files = f"{count_text(done.files, 'file')}, {size_text(done.bytes)}" if done.files else "no files"
            documents = count_text(done.documents, "document")
            report.line(f"{files}, and {documents}, in {into}; each is what was saved")
            for item, root in roots.items():
                report.line(f"files/{item} belongs in {root}")
            if over is not None:
                report.line(f"the tables among them are newer, of {over.host}/{over.id}")
            for path, at in done.renamed:
                report.line(f"renamed: {path} is {at}")
            if not found.complete:
                report.note(
                    f"note: the snapshot is incomplete; `exremote show {found.id}` says what is missing"
                )
        for path, expected, actual in done.damaged:
            report.note(f"damaged, not written: {path} (expected {expected}, is {actual})")
        for row in away:
            report.note(
                f"not written: {row['place']} stays on {_whose(row)}, its content is not in the repository; "
                f"copy it from there ({size_text(row['bytes'])}, SHA-256 {row['sha256']})"
            )
        if code:
            raise typer.Exit(code)


def _whose(row: dict[str, Any]) -> str:
    """Given a file whose content is not in the repository, return what it stays on, in words."""
    return "that share" if afar.where(row["place"]) == "share" else str(row["host"])


def whole_of(snapshot: Snapshot | Composed) -> Snapshot:
    """Given a snapshot, return it, without newer tables if some lie over it."""
    return snapshot.full if isinstance(snapshot, Composed) else snapshot

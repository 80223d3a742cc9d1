"""What stays on hosts, looked at there: each .bkf hashed and walked once more. It changes no host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from exremote.cli.afar import BAD, UNSEEN, Distant
from exremote.cli.common import load_inventory, now
from exremote.cli.running import Run, on_hosts
from exremote.connector import Connector
from exremote.errors import EXIT_INCOMPLETE, EXIT_OK, IntegrityError, RepositoryError, ScriptFailed
from exremote.facts import TapeFile
from exremote.folding import folded
from exremote.inventory import Host, find_name
from exremote.mtf import Tape, walk
from exremote.report import Report
from exremote.repository import Look, Repository
from exremote.runner import Outcome, State, exit_code
from exremote.session import Session
from exremote.wording import count_text


def look_again(
    report: Report, place: Repository, files: Sequence[Distant], inventory: Path | None, damaged: bool
) -> tuple[list[dict[str, Any]], int]:
    """Given files that stay on hosts, have each hashed and walked there. Return a row for each, and the exit
    code; `damaged`: the repository is. Raise InventoryError, UsageError.
    """
    site = load_inventory(inventory, list(Connector.load_all()))
    rows: dict[str, dict[str, Any]] = {}
    hosts: dict[str, Host] = {}
    for one in files:
        name = find_name(site.hosts, one.snapshot.host)
        if name is None:
            rows[_key(one)] = one.row(UNSEEN, f"the inventory has no host {one.snapshot.host}")
        else:
            hosts[name] = site.hosts[name]

    def work(run: Run) -> Callable[[Host, Session], Outcome]:
        def look(host: Host, session: Session) -> Outcome:
            began, left, bad = now(), 0, 0
            for one in files:
                if folded(one.snapshot.host) == folded(host.name):
                    run.stage(host.name, f"reading {one.file.place}")
                    rows[_key(one)] = row = _look(session, one, lambda: run.moved(host.name, 0, 0))
                    left += row["state"] == UNSEEN
                    bad += row["state"] in BAD
                    if row["state"] != UNSEEN:
                        _record(report, place, run, one, row)
            said = [f"{count_text(bad, 'file')} damaged or missing"] if bad else []
            said += [f"{count_text(left, 'file')} could not be read"] if left else []
            state = State.INCOMPLETE if bad or left else State.DONE
            code = IntegrityError.exit_code if bad else EXIT_INCOMPLETE if left else EXIT_OK
            return Outcome(host.name, state, code, "; ".join(said), (now() - began).total_seconds())

        return look

    strangers = EXIT_INCOMPLETE if rows else EXIT_OK

    def code_of(ended: Sequence[Outcome]) -> int:
        bad = damaged or any(row["state"] in BAD for row in rows.values())
        return IntegrityError.exit_code if bad else exit_code(ended) or strangers

    outcomes = on_hosts(
        "verify",
        list(hosts.values()),
        work,
        report=report,
        repository=place,
        parallel=site.parallel,
        ends_with=code_of,
    )
    why = {folded(outcome.host): outcome.message for outcome in outcomes}
    for one in files:
        rows.setdefault(_key(one), one.row(UNSEEN, why.get(folded(one.snapshot.host), "")))
    return [rows[_key(one)] for one in files], code_of(outcomes)


def _key(one: Distant) -> str:
    return folded(f"{one.snapshot.host}/{one.snapshot.id}/{one.file.place}")


def _look(session: Session, one: Distant, going_on: Callable[[], None]) -> dict[str, Any]:
    """Given a file that stays on its host, read it there. Return its row. Raise HostError."""

    def watched(pieces: Iterable[bytes | int]) -> Tape:
        def each() -> Iterator[bytes | int]:
            for piece in pieces:
                going_on()
                yield piece

        return walk(each())

    try:
        file, tape = session.read_tape(one.file.place, watched)
    except ScriptFailed as error:
        return one.row(UNSEEN, error.text)
    return judged(one, file, tape)


def judged(one: Distant, file: TapeFile, tape: Tape) -> dict[str, Any]:
    """Given what the manifest says of a file, and what was found in its place, return its row."""
    if not file.exists:
        return one.row("missing", "is not there")
    said = []
    if file.size != one.file.size:
        said.append(f"has {file.size} bytes instead of {one.file.size}")
    if file.sha256 != one.file.sha256:
        said.append("is not what was saved")
    said += [fault.text for fault in tape.faults[:1]]
    if not said:
        return one.row("whole")
    return one.row("damaged", "; ".join(said), expected=one.file.sha256, actual=file.sha256)


def _record(report: Report, place: Repository, run: Run, one: Distant, row: dict[str, Any]) -> None:
    try:
        run.journal.event("looked-at", host=one.snapshot.host, place=row["place"], state=row["state"])
        look = Look(run.journal.run_id, now(), one.file.place, row["state"], row["said"])
        place.distant.record(one.snapshot, look)
    except RepositoryError as error:
        report.note(f"note: what was found could not be noted for `status`: {error.text}")

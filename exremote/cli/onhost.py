"""What stays on hosts, looked at there: each .bkf hashed and walked once more. It changes no host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exremote.cli.common import load_inventory, now
from exremote.cli.running import Run, on_hosts
from exremote.connector import Connector
from exremote.errors import EXIT_INCOMPLETE, EXIT_OK, IntegrityError, RepositoryError, ScriptFailed
from exremote.facts import TapeFile
from exremote.inventory import Host, find_name
from exremote.mtf import Tape, walk
from exremote.report import Report, size_text
from exremote.repository import Elsewhere, Look, Repository, Snapshot, age_text
from exremote.runner import Outcome, State, exit_code
from exremote.session import Session
from exremote.wording import count_text

UNSEEN = "not looked at"
BAD = ("damaged", "missing")
AGAIN = "exremote verify --on-host"


@dataclass(frozen=True, slots=True)
class Distant:
    """One file that stays on a host."""

    snapshot: Snapshot
    """whose it is"""
    file: Elsewhere
    """what the manifest says of it"""

    def row(self, state: str, said: str = "", **more: str) -> dict[str, Any]:
        """Given what was found, return what is told of it."""
        s, f = self.snapshot, self.file
        known = {"host": s.host, "snapshot": s.id, "place": f.place, "bytes": f.size, "sha256": f.sha256}
        return {**known, "state": state, "said": said, **more}


def distant_of(snapshots: Sequence[Snapshot]) -> list[Distant]:
    """Given snapshots, return what of them stays on hosts; of one that cannot be read nobody knows."""
    found = []
    for snapshot in snapshots:
        try:
            found += [Distant(snapshot, one) for one in snapshot.manifest.elsewhere]
        except RepositoryError:
            continue
    return found


def unseen(place: Repository, files: Sequence[Distant]) -> list[dict[str, Any]]:
    """Given files that stay on hosts, return a row for each that says that nobody looked at it now."""
    return [one.row(UNSEEN, last_look(place, one)) for one in files]


def last_look(place: Repository, one: Distant) -> str:
    """Given a file that stays on its host, return in words when somebody last looked at it."""
    try:
        look = place.distant.looks(one.snapshot).get(one.file.place)
    except RepositoryError as error:
        return error.message
    if look is None:
        return "whole when it was saved"
    age = age_text((now() - look.at).total_seconds())
    return f"{look.state} {age} ago" + (f": {look.said}" if look.said else "")


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
                if one.snapshot.host.casefold() == host.name.casefold():
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
    why = {outcome.host.casefold(): outcome.message for outcome in outcomes}
    for one in files:
        rows.setdefault(_key(one), one.row(UNSEEN, why.get(one.snapshot.host.casefold(), "")))
    return [rows[_key(one)] for one in files], code_of(outcomes)


def _key(one: Distant) -> str:
    return f"{one.snapshot.host}/{one.snapshot.id}/{one.file.place}".casefold()


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


def problems_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Given what was found on hosts, return the problems among it, as `verify` tells them."""
    return [
        {
            "place": f"{row['host']}: {row['place']}",
            "problem": row["said"],
            "expected": row.get("expected", ""),
            "actual": row.get("actual", ""),
        }
        for row in rows
        if row["state"] in BAD
    ]


def told(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Given what was found on hosts, or not looked at, return the sentences that are no problem."""
    well = [row for row in rows if row["state"] == "whole"]
    lines = [f"{row['host']}: {row['place']} ({size_text(row['bytes'])}): whole" for row in well]
    left = [row for row in rows if row["state"] == UNSEEN]
    lines += [
        f"{row['host']}: {row['place']} ({size_text(row['bytes'])}): {UNSEEN}"
        + (f" ({row['said']})" if row["said"] else "")
        for row in left
    ]
    return lines

"""The journal: what happened in a run, written as it happens. It never judges, never changes a written line.

One event a line, JSON. Each event carries its number `n` and the SHA-256 of the line before it (`previous`),
so a line that is changed, added or taken out breaks the chain. The number and digest of the last line stand
beside the journal (`RUN.head`), so that lines cut off at the end are missed too. A torn last line is what a
killed process leaves: it is tolerated in reading, and said.

Only plain values are accepted as fields: a secret has no way to become text here.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, BinaryIO

from exremote.errors import RepositoryError

RUN_STARTED = "run-started"
RUN_ENDED = "run-ended"
HOST_ENDED = "host-ended"
DEADLINE_PASSED = "deadline-passed"
SHELL_OPENED = "shell-opened"
SHELL_CLOSED = "shell-closed"
SNAPSHOT_COMMITTED = "committed"
SNAPSHOT_CHECKED = "unchanged"
SNAPSHOT_FORGOTTEN = ("forgetting", "forgotten")
"""Said before and after: a process may be killed between the deed and the word."""

FIRST_PREVIOUS = "0" * 64
"""What stands as the digest before the first line."""

_FIRST_LINE = 1 << 16
"""Bytes of a first line that are looked at for its verb."""
_WHOLE_AT_MOST = 1 << 26
"""Bytes of a journal that are looked at in one piece."""
UNSYNCED_EVENTS = 64
"""How many chatty events may wait for the disk together."""

_RESERVED = frozenset({"n", "at", "kind", "previous"})
_RUN_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,79}")
_HEAD = re.compile(r"([0-9a-f]{64}) ([0-9]{12})\n")
_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NOINHERIT", 0)


def new_run_id(now: datetime) -> str:
    """Given the moment, return a name for a run that begins now: it sorts by time and is not used twice."""
    return f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def run_moment(run_id: str) -> datetime | None:
    """Given a run's name, return when it began, to the second; None if it is none of ours."""
    with suppress(ValueError):
        return datetime.strptime(run_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of a journal."""

    n: int
    """from 0"""
    at: datetime
    """UTC"""
    kind: str
    """`run-started`, `step-finished`, ..."""
    fields: Mapping[str, object]
    """what the writer said"""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A journal, read back."""

    path: Path
    """the journal"""
    run_id: str
    """as in its first line; the file's name if that cannot be read"""
    verb: str
    """backup, health, ..."""
    command: tuple[str, ...]
    """the verb, and the hosts or what else it was for"""
    started: datetime | None
    """UTC"""
    ended: datetime | None
    """UTC; None if it never said that it ended: it is running, or it was killed"""
    outcome: str
    """as given to `close`; empty if it never ended"""
    hosts: tuple[str, ...]
    """the hosts that events name, in their order"""
    count: int
    """good lines from the start on"""
    intact: bool
    """the chain holds from the first line to the head"""
    torn: bool
    """the last line is half written; it does not count, and is no damage"""
    problem: str
    """what is wrong and where; empty if intact"""
    start: Mapping[str, object] = field(default_factory=dict)
    """all that its first event says"""
    digest: str = FIRST_PREVIOUS
    """SHA-256 of the last good line"""

    @property
    def events(self) -> Iterator[Event]:
        """Read the good lines again, one at a time."""
        if not self.count:
            return
        with self.path.open("rb") as file:
            for _, line in zip(range(self.count), file, strict=False):
                yield _event(_parse(line))


class Journal:
    """A journal that is being written. One run has one, and all its threads write to it."""

    def __init__(self, path: Path, head: Path, run_id: str, now: Callable[[], datetime]) -> None:
        self.path = path
        """the file"""
        self.run_id = run_id
        """the name of the run"""
        self._now = now
        self._writing = threading.Lock()
        self._syncing = threading.Lock()
        self._count = 0
        self._size = 0
        self._previous = FIRST_PREVIOUS
        self._synced = 0
        self._closed = False
        self._broken = False
        with _said(path):
            self._file = os.open(path, _FLAGS, 0o600)
            try:
                self._head = os.open(head, _FLAGS, 0o600)
            except OSError:
                os.close(self._file)
                raise

    @classmethod
    def create(
        cls,
        folder: Path,
        run_id: str,
        verb: str,
        command: Sequence[str],
        now: Callable[[], datetime],
        **more: Any,
    ) -> Journal:
        """Given the folder of journals and what is being run, begin one. `now` is the clock.

        `more` is what else its first event says.

        Return it with its first event on the disk. Raise RepositoryError if it cannot be written, or exists.
        """
        if not _RUN_ID.fullmatch(run_id):
            raise ValueError(f"not the name of a run: {run_id!r}")
        journal = cls(folder / f"{run_id}.jsonl", folder / f"{run_id}.head", run_id, now)
        journal.event(RUN_STARTED, run=run_id, verb=verb, command=list(command), **more)
        return journal

    def event(self, kind: str, /, *, sync: bool = True, **fields: object) -> None:
        """Given what happened, append it. `sync=False` is for chatty events: the disk gets a few at a time.

        After return the line survives the death of the process; with `sync`, that of the machine too.
        Raise RepositoryError if it cannot be written, ValueError or TypeError if a field is no plain value.
        """
        if clash := _RESERVED & fields.keys():
            raise ValueError(f"fields of an event that have a meaning already: {sorted(clash)}")
        plain = {name: _plain(value) for name, value in fields.items()}
        with self._writing:
            number = self._append(kind, plain)
        if sync or number - self._synced >= UNSYNCED_EVENTS:
            self._sync(number)

    def shell(self, what: str, host: str, shell_id: str, wire: str) -> None:
        """Given that a shell of a wire is about to be "opened" or was "closed", note it for the clean-up."""
        kinds = {"opened": SHELL_OPENED, "closed": SHELL_CLOSED}
        self.event(kinds[what], host=host, shell_id=shell_id, wire=wire)

    def close(self, outcome: str) -> None:
        """Given how the run ended, append that and close. A second call does nothing."""
        if self._closed:
            return
        try:
            self.event(RUN_ENDED, outcome=outcome)
            with _said(self.path):
                os.fsync(self._head)
        finally:
            with self._writing, self._syncing:
                self._closed = True
                os.close(self._file)
                os.close(self._head)

    def _append(self, kind: str, fields: Mapping[str, object]) -> int:
        if self._closed or self._broken:
            raise RepositoryError("the journal takes no more events.", path=self.path)
        head = {"n": self._count, "at": _stamp(self._now()), "kind": kind, "previous": self._previous}
        line = json.dumps({**head, **fields}, separators=(",", ":"), allow_nan=False).encode("ascii")
        with _said(self.path):
            try:
                _write_all(self._file, line + b"\n")
            except OSError:
                # Half a line in the middle would break the chain for all that follow.
                self._broken = True
                os.ftruncate(self._file, self._size)
                os.lseek(self._file, self._size, os.SEEK_SET)
                self._broken = False
                raise
        self._size += len(line) + 1
        self._count += 1
        self._previous = hashlib.sha256(line).hexdigest()
        return self._count

    def _sync(self, number: int) -> None:
        # Threads that wait here while another one syncs find their line on the disk already.
        with self._syncing:
            if self._synced >= number:
                return
            with self._writing:
                count, previous = self._count, self._previous
            with _said(self.path):
                os.fsync(self._file)
                # The head never says more than the disk has. It has one length: overwritten in one write.
                os.lseek(self._head, 0, os.SEEK_SET)
                _write_all(self._head, f"{previous} {count:012d}\n".encode("ascii"))
            self._synced = count

    @staticmethod
    def read(path: Path, each: Callable[[Event], object] = lambda event: None) -> RunRecord:
        """Given a journal's path, read and check it. Return what it says; damage is told in the record.

        `each` gets every good event on the way: who wants them need not have them read again.
        Raise RepositoryError if it cannot be opened.
        """
        with _said(path):
            return _read(path, each)


def journals(*folders: Path) -> list[Path]:
    """Given folders of journals, return the journals in them, by the moment in their names, newest first."""
    paths: list[Path] = []
    for folder in folders:
        with _said(folder):
            paths += folder.glob("*.jsonl")
    return sorted(paths, key=lambda path: path.name, reverse=True)


def is_of(path: Path, *verbs: str) -> bool:
    """Given a journal and verbs, return whether its first line names one of them; the rest is not read.

    What cannot be read, or is no ordinary file, is of none.
    """
    try:
        with _opened(path) as file:
            first = file.readline(_FIRST_LINE)
    except OSError:
        return False
    return any(f'"verb":"{verb}"'.encode() in first for verb in verbs)


def ended_without(path: Path, *kinds: str) -> bool:
    """Given a journal and kinds of events, return whether it is whole up to its end, and has none of them.

    Told from its bytes: the digests hold, so no line has to be understood. There may be thousands of such
    journals, and who looks for something rare reads the others alone.
    """
    try:
        with _opened(path) as file:
            data = file.read(_WHOLE_AT_MOST + 1)
        claimed = _read_head(path.with_suffix(".head"))
    except OSError:
        return False
    lines = data.split(b"\n")
    if len(data) > _WHOLE_AT_MOST or lines.pop() or not lines or _kind(RUN_ENDED) not in lines[-1]:
        return False
    previous = FIRST_PREVIOUS
    for line in lines:
        if f'"previous":"{previous}"'.encode() not in line:
            return False
        previous = hashlib.sha256(line).hexdigest()
    return claimed == (previous, len(lines)) and not any(_kind(kind) in data for kind in kinds)


def _kind(kind: str) -> bytes:
    return f'"kind":"{kind}"'.encode()


def list_runs(paths: Iterable[Path]) -> list[RunRecord]:
    """Given journals, return what they say, the run that began last first.

    One that cannot be read is listed as that, by its name: it hides no other, and stops nobody.
    """
    return sorted(map(read_run, paths), key=_beginning, reverse=True)


def read_run(path: Path, each: Callable[[Event], object] = lambda event: None) -> RunRecord:
    """Given a journal, return what it says; if the system refuses, a record that says so.

    `each` gets every good event on the way.
    """
    try:
        return Journal.read(path, each)
    except RepositoryError as error:
        return RunRecord(
            path, path.stem, "", (), None, None, "", (), 0, False, False, error.message.rstrip(".")
        )


def _beginning(record: RunRecord) -> tuple[str, str]:
    """Given a run, return what it is sorted by: names tell runs of one second apart, not which was first.

    One whose beginning cannot be read comes first of its second: it is no news.
    """
    beginning = f"{record.started:%Y%m%dT%H%M%S.%f}" if record.started else record.run_id[:15]
    return beginning, record.run_id


def unaccounted(records: Iterable[RunRecord], present: Collection[tuple[str, str]]) -> list[tuple[str, str]]:
    """Given runs, and host and id of each snapshot there is, return what was committed and is gone."""
    events = [event for record in records for event in record.events]
    committed = dict.fromkeys(_snapshot_of(event) for event in events if event.kind == SNAPSHOT_COMMITTED)
    forgotten = {_snapshot_of(event) for event in events if event.kind in SNAPSHOT_FORGOTTEN}
    return [key for key in committed if key not in forgotten and key not in present]


def forgotten_snapshots(records: Iterable[RunRecord]) -> set[tuple[str, str]]:
    """Given runs, return host and id of each snapshot that one of them forgot."""
    return {_snapshot_of(e) for record in records for e in record.events if e.kind in SNAPSHOT_FORGOTTEN}


def _snapshot_of(event: Event) -> tuple[str, str]:
    return str(event.fields.get("host", "")), str(event.fields.get("snapshot", ""))


def checked(records: Iterable[RunRecord]) -> dict[tuple[str, str], list[str]]:
    """Given runs, return which of them found a snapshot unchanged, by its host and id."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for event in record.events:
            if event.kind == SNAPSHOT_CHECKED:
                found.setdefault(_snapshot_of(event), []).append(record.run_id)
    return found


@dataclass(frozen=True, slots=True)
class OpenShell:
    """A shell that a run opened, or was about to."""

    host: str
    """where"""
    id: str
    """as the host knows it"""
    wire: str = field(default="", compare=False)
    """which wire it is of; empty in journals of old"""


def open_shells(events: Iterable[Event]) -> list[OpenShell]:
    """Given the events of a run, return each shell that it opened and did not close, in their order."""
    found: dict[OpenShell, None] = {}
    for event in events:
        if event.kind == SHELL_OPENED:
            found[shell_of(event)] = None
        elif event.kind == SHELL_CLOSED:
            found.pop(shell_of(event), None)
    return list(found)


def shell_of(event: Event) -> OpenShell:
    """Given an event about a shell, return the shell."""
    host, shell_id, wire = (str(event.fields.get(name, "")) for name in ("host", "shell_id", "wire"))
    return OpenShell(host, shell_id, wire)


def _opened(path: Path) -> BinaryIO:
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is not an ordinary file")  # a pipe in its place would never end
    return path.open("rb")


def _read(path: Path, each: Callable[[Event], object]) -> RunRecord:
    previous, count, torn, problem = FIRST_PREVIOUS, 0, False, ""
    first: Event | None = None
    last: Event | None = None
    hosts: dict[str, None] = {}
    digests = {0: FIRST_PREVIOUS}
    claimed = _read_head(path.with_suffix(".head"))
    with _opened(path) as file:
        for line in file:
            if not line.endswith(b"\n"):
                torn = True
                break
            try:
                data = _parse(line)
                event = _event(data)
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
                problem = f"line {count + 1} is not an event"
                break
            if data["n"] != count or data.get("previous") != previous:
                problem = f"line {count + 1} does not follow from the line before it"
                break
            previous = hashlib.sha256(line[:-1]).hexdigest()
            count += 1
            if claimed is not None and claimed[1] == count:
                digests[count] = previous
            first, last = first or event, event
            each(event)
            if isinstance(host := event.fields.get("host"), str):
                hosts[host] = None
    problem = problem or _check_head(claimed, digests, count)
    if first is None or first.kind != RUN_STARTED:
        problem = problem or "there is no first event"
    start = first.fields if first is not None else {}
    command = start.get("command")
    ended = last if last is not None and last.kind == RUN_ENDED else None
    return RunRecord(
        path=path,
        run_id=str(start.get("run", path.stem)),
        verb=str(start.get("verb", "")),
        command=tuple(map(str, command)) if isinstance(command, list) else (),
        started=first.at if first is not None else None,
        ended=ended.at if ended is not None else None,
        outcome=str(ended.fields.get("outcome", "")) if ended is not None else "",
        hosts=tuple(hosts),
        count=count,
        intact=not problem,
        torn=torn,
        problem=problem,
        start=start,
        digest=previous,
    )


def _read_head(path: Path) -> tuple[str, int] | None:
    """Return digest and count of the head, None if there is none; count -1 if it is not of the form."""
    try:
        with _opened(path) as file:
            text = file.read(1000).decode("ascii", "replace")
    except FileNotFoundError:
        return None
    if not text:
        return None
    match = _HEAD.fullmatch(text)
    return (match[1], int(match[2])) if match else ("", -1)


def _check_head(claimed: tuple[str, int] | None, digests: Mapping[int, str], count: int) -> str:
    """Return what is wrong between the head and the lines; empty if nothing is."""
    if claimed is None:
        # The head is written right after the first line: a kill may come between.
        return "the head digest beside it is missing" if count > 1 else ""
    digest, number = claimed
    if number < 0:
        return "the head digest beside it is damaged"
    if number > count:
        return f"lines are missing at the end: the head names {number}, there are {count}"
    if digests.get(number) != digest:
        return f"the head digest beside it is not that of line {number}"
    return ""


def _parse(line: bytes) -> dict[str, object]:
    data = json.loads(line, parse_constant=_no_number)
    if not isinstance(data, dict):
        raise ValueError("not an object")
    for value in data.values():
        if isinstance(value, dict | list):
            _plain(value)  # raises RecursionError for what is nested so deep that no report could write it
    return data


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is no number")


def _event(data: Mapping[str, object]) -> Event:
    number, at, kind = data["n"], data["at"], data["kind"]
    if not isinstance(number, int) or not isinstance(at, str) or not isinstance(kind, str):
        raise ValueError("not an event")
    moment = datetime.fromisoformat(at)
    if moment.tzinfo is None:
        raise ValueError("a time without a zone")
    fields = {name: value for name, value in data.items() if name not in _RESERVED}
    return Event(number, moment.astimezone(UTC), kind, fields)


def _stamp(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("the clock of a journal has a zone")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _plain(value: object) -> object:
    """Given a field's value, return it as JSON knows it. Raise TypeError if that would need guessing."""
    match value:
        case Enum():
            return _plain(value.value)
        case None | bool() | int() | float() | str():
            return value
        case datetime():
            return _stamp(value)
        case os.PathLike():
            return os.fspath(value)
        case Mapping():
            if not all(isinstance(name, str) for name in value):
                raise TypeError("the names inside an event's field are text")
            return {name: _plain(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
    raise TypeError(f"a {type(value).__name__} does not belong into a journal")


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Given the journal, say as a RepositoryError what the system refuses."""
    try:
        yield
    except OSError as error:
        raise RepositoryError(
            f"the journal cannot be used: {error.strerror or error}.",
            path=path,
            remedy="Look at the folder's rights and at the free space of its volume.",
        ) from error

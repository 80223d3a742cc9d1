"""Moves files from here to a folder of a host: only what it lacks, resumable, proved by the host's listing.

The folder is for nothing else: staging, from which others take what arrived whole. It never decides what to
send, and never takes a file for arrived that the host did not read back with the right digest.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exremote.errors import RepositoryError, TransferMismatch
from exremote.facts import FileEntry
from exremote.folding import folded
from exremote.pack import PackWriter, SealedBlock
from exremote.session import Session
from exremote.transfer.board import Board
from exremote.transfer.carrier import Carrier
from exremote.transfer.crew import Crew, work_off
from exremote.transfer.wanted import Progress, reason

SCRIPT = "Write-FilePack"
MOST_PSRP = 32 << 20
"""Bytes, deflated, that one script is sent: PSRP takes no more than 50 MB of base64 for one command.

Source: PSMaximumReceivedDataSizePerCommandMB, 50 by default."""
MOST_WINRS = 4 << 20
"""The same for WinRS, where the far end holds all of it as text."""
_READ = 256 * 1024
_ATTRIBUTES = 0x27 | 0x2000
"""Attributes that can be set: read-only, hidden, system, archive, not indexed."""
_NORMAL = 0x80
_TRIES = 3


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One file that is to lie on the host."""

    path: str
    r"""relative to the folder there, with `\`"""
    source: Path
    """its content, here"""
    size: int
    """bytes"""
    sha256: str
    """of the content"""
    modified_ticks: int
    """last write time that it is to have, in .NET ticks"""
    attributes: int = 0x20
    """FileAttributes that it is to have; those that cannot be set are left out"""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of them."""

    sent_files: int = 0
    """Files that travelled; the others were there already."""
    sent_bytes: int = 0
    """Their bytes, before compression."""
    failed: tuple[tuple[str, str], ...] = ()
    """Path and reason of each file that the host could not write."""


@dataclass(slots=True, eq=False)
class _Pending:
    """One file on its way."""

    file: Outgoing
    place: int = 0
    """what of it is there already, in bytes"""
    sent: bool = False
    """whether anything of it travelled"""
    ended: bool = False
    """whether a script that ended well ended it, too: time and attributes are as good as it gets"""
    counted: bool = False
    """whether it was seen there, as it is to be"""
    seen: int = 0
    """the most of it that was ever found there, in bytes"""
    tries: int = 0
    """how often it was sent to its end, or refused as not what was sent"""

    @property
    def left(self) -> int:
        """Return how many bytes are to be sent."""
        return self.file.size - self.place

    def split(self, most: int) -> None:
        """It is sent as one: a host whose file has a hole cannot tell how far it came."""


class _Push:
    """One errand: files of one folder."""

    def __init__(self, carrier: Carrier, root: str, files: Iterable[Outgoing], progress: Progress) -> None:
        self.session = carrier.session
        self.root = root
        self.progress = progress
        self.failed: dict[str, str] = {}
        self.sent_files = self.sent_bytes = 0
        self.board: Board[_Pending] = Board(())
        self._carrier = carrier
        self._crew: Crew | None = None
        self._pending = [_Pending(file) for file in files]
        self._lock = threading.Lock()

    def run(self, fresh: bool) -> Pushed:
        """Send what is not there. `fresh`: the folder is new, and need not be looked at first."""
        if not fresh:
            self._pending = self.lacking(self.session, self._pending)
        while self._pending:
            self.board = Board(self._pending)
            self._crew = Crew(self._carrier, self.board, self._lane, lambda: self.session.wire)
            self._crew.run()
            self._pending = [one for one in self._pending if one.file.path not in self.failed]
            self._pending = self.lacking(self.session, self._pending)
        return Pushed(self.sent_files, self.sent_bytes, tuple(self.failed.items()))

    def _lane(self, session: Session) -> None:
        """Given a session, send with it until there is nothing more for it."""
        lane = _Lane(self, session)
        try:
            lane.run()
        finally:
            lane.leave()

    def look(self, session: Session) -> None:
        """Called by each lane between blocks: open another one if that pays. Raise Aborted at the end."""
        if session.wire == "psrp" and self._crew is not None:  # each script of WinRS starts a PowerShell
            self._crew.look()

    def lacking(self, session: Session, some: Sequence[_Pending]) -> list[_Pending]:
        """Given files that may be there, hold what is there against what is to be. Return what lacks."""
        if not some:
            return []
        fact = session.file_tree(self.root)
        found = {folded(entry.path): entry for entry in fact.entries if entry.state == "file"}
        left = []
        for one in some:
            entry = found.get(folded(one.file.path))
            one.place = 0 if entry is None else _begun(one.file, entry)
            if entry is not None and one.place == one.file.size and (one.ended or _dressed(one.file, entry)):
                if one.sent and not one.counted:
                    self._came(one)
                continue
            if one.tries >= _TRIES:
                _unchanged(one.file)
                raise TransferMismatch(
                    self.session.host.name,
                    f"{one.file.path} came to be another file than was sent, {one.tries} times in a row.",
                    "Look at the host's disk; nothing but its staging folder was touched.",
                )
            left.append(one)
        return left

    def _came(self, one: _Pending) -> None:
        with self._lock:
            one.counted = True
            self.sent_files += 1
        self.progress(1, 0)

    def arrived(self, size: int) -> None:
        """Told of bytes that the host has worked off."""
        with self._lock:
            self.sent_bytes += size
        self.progress(0, size)


class _Lane:
    """One stream of files to the host, over one session, in one thread."""

    def __init__(self, errand: _Push, session: Session) -> None:
        self._errand = errand
        self._session = session
        self._board = errand.board
        self._share = self._board.join()
        self._most = MOST_PSRP if session.wire == "psrp" else MOST_WINRS
        self._moved = 0
        self._doubtful: list[_Pending] = []  # sent by the script that runs or broke

    def leave(self) -> None:
        """Give back what was not begun. What was begun is looked at at the end of the errand."""
        self._doubt()
        self._board.leave(self._share)

    def run(self) -> None:
        """Send until there is nothing (worth it) to be had. Raise HostError or RepositoryError."""
        work_off(self._session, self._board, self._share, SCRIPT, self._attempt, lambda: self._moved)

    def _attempt(self) -> None:
        """Send files of the share with one script. Raise HostError when the line breaks."""
        if self._doubtful:  # after a break nobody knows how far the host came
            self._doubt()
            lacking = self._errand.lacking(self._session, self._doubtful)
            left = set(lacking)
            for (
                one
            ) in self._doubtful:  # what the host has for good is headway, though it had no time to say so
                found = one.place if one in left else one.file.size
                self._moved += max(0, found - one.seen)
                one.seen = max(one.seen, found)
            with self._board.changed:
                self._share.spans.extendleft(reversed(lacking))
            self._doubtful = []
        batch: list[_Pending] = []
        with self._board.changed:
            size = 0
            for one in self._share.spans:
                if size >= self._most:
                    break
                batch.append(one)
                size += one.left
        if batch:
            self._send(batch)

    def _doubt(self) -> None:
        """Take what was begun out of the share: how far it came, only a look at the host tells."""
        with self._board.changed:
            if self._share.spans and self._share.spans[0] in self._doubtful:
                self._share.spans.popleft()

    def _send(self, batch: Sequence[_Pending]) -> None:
        paths = [one.file.path for one in batch]
        failures = self._session.write_pack(self._errand.root, paths, self._blocks(batch), self._arrived)
        refused = [(batch[one.index], one) for one in failures if 0 <= one.index < len(batch)]
        wrong = {one for one, _ in refused}
        for one in self._doubtful:
            whole = one.place == one.file.size
            one.ended = whole and one not in wrong
            one.tries += whole or one in wrong
        self._doubtful = []
        for one, failure in refused:
            if failure.error_id != "ExRemote.Damaged":
                self._errand.failed[one.file.path] = reason(failure.error_id, failure.message, "written")
            with self._board.changed:
                if self._share.spans and self._share.spans[0] is one:  # too large for one script
                    self._share.spans.popleft()

    def _blocks(self, batch: Sequence[_Pending]) -> Iterator[SealedBlock]:
        """Yield the pack of files, as much of it as one script may be sent."""
        writer, left = PackWriter(), self._most
        for index, one in enumerate(batch):
            with self._board.changed:
                if not self._share.spans or self._share.spans[0] is not one:
                    break  # another lane has taken it over, and all behind it
                self._doubtful.append(one)
            file = one.file
            attributes = (file.attributes & _ATTRIBUTES) or _NORMAL
            yield from writer.begin(index, one.place, file.modified_ticks, attributes, file.size)
            digest = hashlib.sha256()
            one.sent, one.ended, cut = True, False, False
            for data in _read(file, one.place):
                digest.update(data)
                one.place += len(data)
                for block in writer.data(data):
                    left -= len(block.record)
                    yield block
                self._errand.look(self._session)
                cut = left <= 0 and one.place < file.size
                if cut:
                    break
            if cut:
                break  # it stays the first of the share: the next script goes on with it
            yield from writer.end(file.size, file.modified_ticks, digest.digest())
            with self._board.changed:
                self._share.spans.popleft()
        if writer.waiting:
            yield writer.rest()

    def _arrived(self, size: int) -> None:
        self._moved += size
        self._errand.arrived(size)


def _begun(file: Outgoing, entry: FileEntry) -> int:
    """Given a file and what lies on the host under its name, return how much of that is its beginning."""
    if entry.size == file.size:
        return file.size if entry.sha256 == file.sha256 else 0
    if not 0 < entry.size < file.size:
        return 0
    digest, left = hashlib.sha256(), entry.size
    for data in _read(file, 0):
        digest.update(data[:left])
        left -= min(left, len(data))
        if not left:
            break
    return entry.size if digest.hexdigest() == entry.sha256 else 0


def _dressed(file: Outgoing, entry: FileEntry) -> bool:
    """Given a file and what lies there under its name, return whether its time and attributes are right."""
    same_time = entry.modified_ticks // 10 == file.modified_ticks // 10
    return same_time and (entry.attributes ^ file.attributes) & _ATTRIBUTES == 0


def _read(file: Outgoing, place: int) -> Iterator[bytes]:
    """Given a file and a place in it, yield what comes from there to its end. Raise RepositoryError."""
    try:
        with file.source.open("rb") as stream:
            stream.seek(place)
            while place < file.size and (data := stream.read(min(_READ, file.size - place))):
                place += len(data)
                yield data
    except OSError as error:
        raise RepositoryError(f"cannot be read: {error.strerror}.", path=file.source) from error
    if place < file.size:
        raise _changed(file, f"it has less than its {file.size} bytes")


def _unchanged(file: Outgoing) -> None:
    """Given a file, raise RepositoryError if it is another one here by now: no host is to blame."""
    digest = hashlib.sha256()
    for data in _read(file, 0):
        digest.update(data)
    if digest.hexdigest() != file.sha256:
        raise _changed(file, "its content is another one")


def _changed(file: Outgoing, how: str) -> RepositoryError:
    return RepositoryError(
        f"was changed here since it was read last: {how}.",
        path=file.source,
        remedy="`exremote verify` tells what else of the repository is damaged.",
    )


def push_files(
    session: Session,
    root: str,
    files: Iterable[Outgoing],
    *,
    fresh: bool,
    progress: Progress = lambda files, size: None,
) -> Pushed:
    """Given a folder of the host and files for it, bring what it lacks there, and have it read back.

    `fresh`: the folder is new. Raise ScriptFailed (ExRemote.DiskFull) if there is no room, TransferMismatch
    if a file comes to be another one again and again, another HostError if the host is lost for longer than
    the retry policy allows, RepositoryError if a file cannot be read here.
    """
    with Carrier(session, modern=False) as carrier:
        return _Push(carrier, root, files, progress).run(fresh)

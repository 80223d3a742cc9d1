"""Moves files from here to a folder of a host: only what it lacks, resumable, proved by the host's listing.

The folder is for nothing else: staging, from which others take what arrived whole. It never decides what to
send, and never takes a file for arrived that the host did not read back with the right digest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from exremote.errors import RepositoryError, TransferMismatch
from exremote.facts import FileEntry
from exremote.folding import folded
from exremote.pack import PackWriter, SealedBlock
from exremote.session import Session
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
    tries: int = 0
    """how often it was sent whole and came to be another"""


class _Push:
    """One errand: files of one folder."""

    def __init__(self, session: Session, root: str, files: Iterable[Outgoing], progress: Progress) -> None:
        self._session = session
        self._root = root
        self._progress = progress
        self._pending = [_Pending(file) for file in files]
        self._failed: dict[str, str] = {}
        self._moved = 0
        self._known = False
        self._most = MOST_PSRP if session.wire == "psrp" else MOST_WINRS
        self.sent_files = self.sent_bytes = 0

    def run(self, fresh: bool) -> Pushed:
        """Send what is not there. `fresh`: the folder is new, and need not be looked at first."""
        self._known = fresh
        while self._pending:
            self._session.resume(SCRIPT, self._send, lambda: self._moved)
            for one in self._pending:
                one.tries += 1
            self._look()
        return Pushed(self.sent_files, self.sent_bytes, tuple(self._failed.items()))

    def _look(self) -> None:
        """Hold what is there against what is to be there; what is right is not pending any more."""
        fact = self._session.file_tree(self._root)
        found = {folded(entry.path): entry for entry in fact.entries if entry.state == "file"}
        left = []
        for one in self._pending:
            entry = found.get(folded(one.file.path))
            if entry is not None and (entry.sha256, entry.size) == (one.file.sha256, one.file.size):
                if one.sent:
                    self.sent_files += 1
                    self._progress(1, 0)
                continue
            one.place = 0 if entry is None else _begun(one.file, entry)
            if one.tries >= _TRIES:
                raise TransferMismatch(
                    self._session.host.name,
                    f"{one.file.path} came to be another file than was sent, {one.tries} times in a row.",
                    "Look at the host's disk; nothing but its staging folder was touched.",
                )
            left.append(one)
        self._pending, self._known = left, True

    def _send(self) -> None:
        """Send what is pending, in as many scripts as it takes. Raise HostError when the line breaks."""
        if not self._known:
            self._look()  # after a break nobody knows how far the host came
        self._known = False
        todo = list(self._pending)
        while todo:
            batch: list[_Pending] = []
            size = 0
            while todo and (not batch or size < self._most):
                batch.append(todo.pop(0))
                size += batch[-1].file.size - batch[-1].place
            cut = self._batch(batch)
            if cut is not None:
                todo.insert(0, cut)

    def _batch(self, batch: Sequence[_Pending]) -> _Pending | None:
        """Send files with one script. Return the one that did not go whole: it is too large for one."""
        cut: list[_Pending] = []
        paths = [one.file.path for one in batch]
        failures = self._session.write_pack(self._root, paths, self._blocks(batch, cut), self._arrived)
        for failure in failures:
            if failure.error_id != "ExRemote.Damaged" and 0 <= failure.index < len(batch):
                one = batch[failure.index]
                self._failed[one.file.path] = reason(failure.error_id, failure.message)
                self._pending = [other for other in self._pending if other is not one]
        return cut[0] if cut and cut[0].file.path not in self._failed else None

    def _blocks(self, batch: Sequence[_Pending], cut: list[_Pending]) -> Iterator[SealedBlock]:
        """Yield the pack of files, as much of it as one script may be sent."""
        writer, left = PackWriter(), self._most
        for index, one in enumerate(batch):
            file = one.file
            attributes = (file.attributes & _ATTRIBUTES) or _NORMAL
            yield from writer.begin(index, one.place, file.modified_ticks, attributes, file.size)
            digest = hashlib.sha256()
            one.sent = True
            for data in _read(file, one.place):
                digest.update(data)
                one.place += len(data)
                for block in writer.data(data):
                    left -= len(block.record)
                    yield block
                if left <= 0 and one.place < file.size:
                    cut.append(one)
                    break
            if cut:
                break
            yield from writer.end(file.size, file.modified_ticks, digest.digest())
        if writer.waiting:
            yield writer.rest()

    def _arrived(self, size: int) -> None:
        self._moved += size
        self.sent_bytes += size
        self._progress(0, size)


def _begun(file: Outgoing, entry: FileEntry) -> int:
    """Given a file and what lies on the host under its name, return how much of that is its beginning."""
    if entry.size >= file.size or entry.size <= 0:
        return 0
    digest, left = hashlib.sha256(), entry.size
    for data in _read(file, 0):
        digest.update(data[:left])
        left -= min(left, len(data))
        if not left:
            break
    return entry.size if digest.hexdigest() == entry.sha256 else 0


def _read(file: Outgoing, place: int) -> Iterator[bytes]:
    """Given a file and a place in it, yield what comes from there on. Raise RepositoryError."""
    try:
        with file.source.open("rb") as stream:
            stream.seek(place)
            while data := stream.read(_READ):
                yield data
    except OSError as error:
        raise RepositoryError(f"cannot be read: {error.strerror}.", path=file.source) from error


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
    return _Push(session, root, files, progress).run(fresh)

"""Moves files from here to a folder of a host: only what it lacks, resumable, proved by the host's listing.

The folder is for nothing else: staging, from which others take what arrived whole. It never decides what to
send, and never takes a file for arrived that the host did not read back with the right digest.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from exremote.errors import TransferMismatch
from exremote.facts import WriteFailure
from exremote.folding import folded
from exremote.pack import PackWriter, SealedBlock
from exremote.session import Session
from exremote.transfer.board import Board
from exremote.transfer.carrier import Carrier
from exremote.transfer.crew import Crew, work_off
from exremote.transfer.outgoing import (
    LONGEST_PATH,
    Outgoing,
    Pending,
    Torn,
    piece_of,
    pieces_in,
    take_up,
)
from exremote.transfer.wanted import Progress, reason

SCRIPT = "Write-FilePack"
MOST_PSRP = 32 << 20
"""Bytes, deflated, that one script is sent: PSRP takes no more than 50 MB of base64 for one command.

Source: PSMaximumReceivedDataSizePerCommandMB, 50 by default."""
MOST_WINRS = 4 << 20
"""The same for WinRS, where the far end holds all of it as text."""
_TRIES = 3
_DAMAGED = "ExRemote.Damaged"
_LOCKED = "ExRemote.FileLocked"
_LOCKED_S = 1.0
"""Seconds until a file that another process holds is tried again: a scanner looks at what is new."""


@dataclass(frozen=True, slots=True)
class Pushed:
    """What became of them."""

    sent_files: int = 0
    """Files that travelled; the others were there already."""
    sent_bytes: int = 0
    """Their bytes, before compression."""
    failed: tuple[tuple[str, str], ...] = ()
    """Path and reason of each file that the host could not write."""


class _Push:
    """One errand: files of one folder."""

    def __init__(self, carrier: Carrier, root: str, files: Iterable[Outgoing], progress: Progress) -> None:
        self.session = carrier.session
        self.root = root
        self.progress = progress
        self.failed: dict[str, str] = {}
        self.sent_files = self.sent_bytes = 0
        self.board: Board[Pending] = Board(())
        self._carrier = carrier
        self._crew: Crew | None = None
        self._torn: dict[Torn, None] = {}  # to be joined when all pieces are there
        self.locked = False
        """whether somebody else had a file open: it is tried again a little later"""
        room = LONGEST_PATH - len(root.rstrip("\\")) - 1
        self._pending = [Pending(file, room - len(file.path)) for file in files]
        self._names = {folded(one.file.path) for one in self._pending}
        taken = {piece[0] for name in self._names if (piece := piece_of(name)) is not None}
        for one in self._pending if taken else ():
            one.room = 0 if folded(one.file.path) in taken else one.room
        self._lock = threading.Lock()

    def run(self, fresh: bool) -> Pushed:
        """Send what is not there. `fresh`: the folder is new, and need not be looked at first."""
        pending = self._pending if fresh else self.lacking(self.session, self._pending)
        while pending or self._torn:
            if self.locked:
                self.session.pause(_LOCKED_S)
                self.locked = False
            if pending:
                pending = self._carry(pending)
            else:
                torn, _ = self._torn.popitem()
                pending = [] if torn.file.path in self.failed else self._join(torn)
        return Pushed(self.sent_files, self.sent_bytes, tuple(self.failed.items()))

    def _carry(self, pending: Sequence[Pending]) -> list[Pending]:
        """Given what lacks, have lanes send it. Return what lacks then."""
        self.board = Board(pending)
        self._crew = Crew(self._carrier, self.board, self._lane, lambda: self.session.wire)
        self._crew.run()
        begun = dict.fromkeys(pending)
        for torn in [one.torn for one in pending if one.torn is not None]:
            begun |= dict.fromkeys(torn.pieces())
        return self.lacking(self.session, [one for one in begun if one.name not in self.failed])

    def _join(self, torn: Torn) -> list[Pending]:
        """Given a file whose pieces are all there, have the host join them. Return what lacks then."""
        left: list[Pending] = []
        again = False

        def attempt() -> None:
            nonlocal torn, left, again
            whole = Pending(torn.file, torn.first.room, sent=again, tries=torn.first.tries + again)
            if again:  # nobody knows how far the host came
                left = self.lacking(self.session, [whole])
                if left or whole.torn is None:
                    return
                torn = whole.torn
                self._torn.pop(torn)
            again = True
            first = torn.first
            paths = [one.file.path for one in torn.pieces()]
            failures = self.session.write_pack(self.root, paths, _joining(torn))
            for failure in failures:
                self.refused(torn.file.path, whole.tries, failure)
            if torn.file.path in self.failed:
                return
            whole = Pending(torn.file, first.room, sent=True, ended=not failures, tries=first.tries + 1)
            left = self.lacking(self.session, [whole])

        self.session.resume(SCRIPT, attempt, lambda: len(torn.others))
        return left

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

    def lacking(self, session: Session, some: Sequence[Pending]) -> list[Pending]:
        """Given files that may be there, hold what is there against what is to be. Return what lacks."""
        if not some:
            return []
        fact = session.file_tree(self.root)
        found = {folded(entry.path): entry for entry in fact.entries if entry.state == "file"}
        pieces = pieces_in(found, self._names)
        left = []
        for one in [piece for some_ in some for piece in take_up(some_, pieces)]:
            if one.torn is not None:
                self._torn[one.torn] = None
            if one.look(found):
                if one.sent and not one.counted and one.torn is None:
                    self._came(one)
                continue
            if one.tries:
                one.file.unchanged()
            if one.tries >= _TRIES:
                raise TransferMismatch(
                    self.session.host.name,
                    f"{one.name} came to be another file than was sent, {one.tries} times in a row.",
                    "Look at the host's disk; nothing but its staging folder was touched.",
                )
            left.append(one)
        return left

    def refused(self, name: str, tries: int, failure: WriteFailure) -> None:
        """Given a file that the host did not write, how often it was tried, and why, have it tried again, or
        note that it failed: what is damaged is looked at anyway, and what somebody holds may soon be free.
        """
        if failure.error_id == _LOCKED and tries < _TRIES:
            self.locked = True
        elif failure.error_id != _DAMAGED:
            self.failed[name] = reason(failure.error_id, failure.message, "written")

    def _came(self, one: Pending) -> None:
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
        self._known = 0  # what the host has for good
        self._told = 0  # what it said of the script that runs: it may be lost with a crash
        self._most_known = 0
        self._doubtful: list[Pending] = []  # sent by the script that runs or broke

    def leave(self) -> None:
        """Give back what was not begun. What was begun is looked at at the end of the errand."""
        self._doubt()
        self._board.leave(self._share)

    def run(self) -> None:
        """Send until there is nothing (worth it) to be had. Raise HostError or RepositoryError."""
        work_off(self._session, self._board, self._share, SCRIPT, self._attempt, lambda: self._most_known)

    def _attempt(self) -> None:
        """Send files of the share with one script. Raise HostError when the line breaks."""
        if self._doubtful:  # after a break nobody knows how far the host came
            self._doubt()
            lacking = self._errand.lacking(self._session, self._doubtful)
            self._learn(self._doubtful, set(lacking))
            with self._board.changed:
                self._share.spans.extendleft(reversed(lacking))
            self._doubtful = []
        batch: list[Pending] = []
        with self._board.changed:
            size = 0
            for one in self._share.spans:
                if size >= self._most:
                    break
                batch.append(one)
                size += one.left
        if batch:
            self._send(batch)

    def _learn(self, some: Sequence[Pending], lacking: Container[Pending]) -> None:
        """Given what was begun, and what of it lacks something, note what the host has for good."""
        known = 0
        for one in some:
            there = one.place + (one not in lacking)
            known += max(0, there - one.seen)
            one.seen = max(one.seen, there)
        if known > self._told:
            self._errand.arrived(known - self._told)  # it had no time to say so
        self._known, self._told = self._known + known, 0
        self._note()

    def _doubt(self) -> None:
        """Take what was begun out of the share: how far it came, only a look at the host tells."""
        with self._board.changed:
            if self._share.spans and self._share.spans[0] in self._doubtful:
                self._share.spans.popleft()

    def _send(self, batch: Sequence[Pending]) -> None:
        paths = [one.file.path for one in batch]
        failures = self._session.write_pack(self._errand.root, paths, self._blocks(batch), self._arrived)
        refused = [(batch[one.index], one) for one in failures if 0 <= one.index < len(batch)]
        wrong = {one for one, _ in refused}
        for one in self._doubtful:
            one.ended = not one.left and one not in wrong
            one.tries += not one.left or one in wrong
        self._learn(self._doubtful, {one for one in self._doubtful if not one.ended})
        self._doubtful = []
        for one, failure in refused:
            self._errand.refused(one.name, one.tries, failure)
            with self._board.changed:
                if self._share.spans and self._share.spans[0] is one:  # too large for one script
                    self._share.spans.popleft()

    def _blocks(self, batch: Sequence[Pending]) -> Iterator[SealedBlock]:
        """Yield the pack of files, as much of it as one script may be sent."""
        writer, left = PackWriter(), self._most
        for index, one in enumerate(batch):
            with self._board.changed:
                if not self._share.spans or self._share.spans[0] is not one:
                    break  # another lane has taken it over, and all behind it
                self._doubtful.append(one)
                file, one.seen = one.file, max(one.seen, one.place)
            yield from writer.begin(index, one.place, file.modified_ticks, file.settable, file.size)
            digest = hashlib.sha256()
            one.sent, one.ended, cut = True, False, False
            for data in one.rest():
                digest.update(data)
                for block in writer.data(data):
                    left -= len(block.record)
                    yield block
                self._errand.look(self._session)
                cut = left <= 0 and one.left > 0
                if cut:
                    break
            if cut:
                break  # it stays the first of the share: the next script goes on with it
            with self._board.changed:
                self._share.spans.popleft()
            yield from writer.end(one.file.size, file.modified_ticks, digest.digest())
        if writer.waiting:
            yield writer.rest()

    def _arrived(self, size: int) -> None:
        self._told += size
        self._note()
        self._errand.arrived(size)

    def _note(self) -> None:
        """See how far it came. What was lost and came again is no headway: it could go on for ever."""
        self._most_known = max(self._most_known, self._known + self._told)


def _joining(torn: Torn) -> Iterator[SealedBlock]:
    """Given a file whose pieces are all there, yield the pack that has the host join them."""
    writer, file = PackWriter(), torn.file
    yield from writer.begin(0, torn.first.file.size, file.modified_ticks, file.settable, file.size)
    for index in range(1, len(torn.pieces())):
        yield from writer.join(index)
    yield from writer.end(file.size, file.modified_ticks, bytes.fromhex(torn.tail().digest()))
    yield writer.rest()


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

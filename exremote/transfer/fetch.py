"""One errand: a list of files of one root, fetched over as many lanes as pay, each file judged at its end."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from exremote.errors import TransferMismatch
from exremote.pack import FileBegin, FileEnd, FileError
from exremote.repository import ObjectWriter, Staging
from exremote.session import Session
from exremote.transfer.board import Board
from exremote.transfer.carrier import Carrier
from exremote.transfer.crew import Crew
from exremote.transfer.lane import Lane
from exremote.transfer.wanted import (
    GROWTH,
    READS_OF_A_CHANGING_FILE,
    Fetched,
    Progress,
    Span,
    Wanted,
    reason,
)
from exremote.transport import Kind

LARGE = 8 << 20
"""Bytes from which on a file comes in parts: they may come side by side, and outlive a killed run."""


class Fetch:
    """One errand, from the files that are wanted to files that are done, or failed."""

    def __init__(
        self,
        carrier: Carrier,
        staging: Staging,
        root: str,
        key: str,
        progress: Progress,
        wanted: Iterable[Wanted],
    ) -> None:
        """Given the streams, where partial files lie, the root, a name for this errand, and the files."""
        self.root = root
        """the folder on the host"""
        self.done: dict[str, Fetched] = {}
        """files that are here, by path"""
        self.failed: dict[str, str] = {}
        """files that could not be had, by path: why"""
        self.sent_files = 0
        """files that travelled"""
        self.sent_bytes = 0
        """their bytes, before compression"""
        self._carrier = carrier
        self._staging = staging
        self._key = key
        self._progress = progress
        self._lock = threading.Lock()
        self._wanted = list(wanted)
        self.board = Board([span for one in self._wanted for span in self._spans(one)])
        """who fetches what"""
        self._crew = Crew(carrier, self.board, self._lane, self._wire)

    def run(self) -> None:
        """Fetch all, reading again what changed meanwhile. Raise HostError if the host is lost."""
        self._crew.run()
        for one in self._wanted:
            if one.whole is not None and one.spoiled:
                one.whole.discard()

    def look(self) -> None:
        """Called by each lane between blocks: open another one if that pays. Raise Aborted at the end."""
        self._crew.look()

    def _wire(self) -> Kind:
        return self._carrier.wire_for(self.board.left)

    def _lane(self, session: Session) -> None:
        """Given a session, fetch with it until there is nothing more for it."""
        lane = Lane(self, session)
        try:
            lane.run()
        finally:
            lane.leave()

    # ------------------------------------------------------------ files

    def _spans(self, wanted: Wanted) -> list[Span]:
        """Given a file, return what is to come of it; nothing if a killed run had brought it all."""
        if wanted.expected is None or wanted.size < LARGE:
            return [Span(wanted)]
        wanted.whole = self._staging.assembly(wanted.expected, wanted.size)
        gaps = wanted.whole.gaps()
        if not gaps and not self._joined(wanted):
            return [Span(wanted)]
        return [Span(wanted, start, stop if stop < wanted.size else None) for start, stop in gaps]

    def begin(self, span: Span, event: FileBegin) -> bool:
        """Given the host's first words about a span, open its writer. Return whether it is to be read."""
        wanted = span.wanted
        if wanted.spoiled:
            return False
        if event.size > wanted.size + GROWTH:
            self._fail(wanted, f"has grown from {wanted.size} to {event.size} bytes since it was listed")
            return False
        if wanted.whole is not None and event.size != wanted.size:
            self._spoil(wanted)
            return False
        # After a cut the file may have another size: the first look is the one to hold the end against.
        span.begun = span.begun or event
        if span.writer is None and wanted.whole is not None:
            span.writer = wanted.whole.part(span.place)
        elif span.writer is None:
            span.writer = self._new_writer(wanted)
        return True

    def _new_writer(self, wanted: Wanted) -> ObjectWriter:
        """Given a file that is read from its first byte, return where it goes."""
        key = f"{self._key}-{wanted.reads}-{wanted.path}"
        writer = self._staging.writer(key)
        if writer.size:  # an earlier errand for the same item broke off
            writer.discard()
            writer = self._staging.writer(key)
        return writer

    def arrived(self, size: int) -> None:
        """Told of bytes that were stored."""
        with self._lock:
            self.sent_bytes += size
        self._progress(0, size)

    def part_ended(self, span: Span) -> None:
        """Told that a span is there up to its stop: perhaps the file is whole with it."""
        wanted = span.wanted
        assert wanted.whole is not None
        with self._lock:
            if wanted.spoiled or wanted.path in self.done or wanted.whole.gaps():
                return
            joined = self._joined(wanted)
        if joined:
            self._came(wanted)
        else:
            self._spoil(wanted)

    def file_ended(self, span: Span, event: FileEnd, sound: bool) -> None:
        """Told that the host has sent a file to its end; whether the bytes are those that it sent."""
        wanted, begun = span.wanted, span.begun
        if span.writer is None or begun is None:
            raise AssertionError("the end of a file that did not begin")
        if wanted.whole is not None:
            if not sound or event.size != wanted.size:
                self._spoil(wanted)
            else:
                self.part_ended(span)
            return
        writer = span.writer
        if not sound:
            writer.discard()
            wanted.reads += 1
            if wanted.reads >= READS_OF_A_CHANGING_FILE:
                self._crew.end(self._corrupt(wanted))  # not raised here: the session would try again
            else:
                self.board.add(Span(wanted))
        elif fetched := wanted.judge(begun, event, writer.digest()):
            writer.finish(secret=wanted.secret)
            self.done[wanted.path] = fetched
            self._came(wanted)
        else:
            writer.discard()
            self._once_more(wanted)

    def refused(self, span: Span, event: FileError) -> None:
        """Told why a file cannot be had, or not from where it was to go on: then it changed."""
        wanted = span.wanted
        if span.writer is not None and wanted.whole is None:
            span.writer.discard()
        if event.error_id != "ExRemote.ReadFailed" or span.place == 0:
            self._fail(wanted, reason(event.error_id, event.message))
        elif wanted.whole is not None:
            self._spoil(wanted)
        else:
            wanted.reads, wanted.changes = wanted.reads + 1, wanted.changes + 1
            self._once_more(wanted)

    def _once_more(self, wanted: Wanted) -> None:
        """Given a file that was read in vain, have it read again, unless it was often enough."""
        if why := wanted.worn_out:
            self._fail(wanted, why)
        else:
            self.board.add(Span(wanted))

    def _joined(self, wanted: Wanted) -> bool:
        """Given a file all parts of which are here, put it together. Return whether it is what was listed."""
        assert wanted.whole is not None
        writer: ObjectWriter = wanted.whole.join()
        if writer.digest() != wanted.expected:
            wanted.whole.discard()
            wanted.whole, wanted.reads = None, wanted.reads + 1
            return False
        writer.finish(secret=wanted.secret)
        self.done[wanted.path] = wanted.listed()
        return True

    def _came(self, wanted: Wanted) -> None:
        with self._lock:
            self.sent_files += 1
        self._progress(1, 0)

    def _spoil(self, wanted: Wanted) -> None:
        """Given a file that is not what the listing says, have it read anew, whole and by one lane."""
        with self._lock:
            if wanted.spoiled:
                return
            wanted.spoiled = True
        again = Wanted(
            wanted.path,
            wanted.expected,
            wanted.size,
            wanted.modified_ticks,
            wanted.attributes,
            wanted.secret,
            reads=1,
        )
        self.board.add(Span(again))

    def _fail(self, wanted: Wanted, why: str) -> None:
        with self._lock:
            wanted.spoiled = True
            self.failed[wanted.path] = why

    def _corrupt(self, wanted: Wanted) -> TransferMismatch:
        return TransferMismatch(
            self._carrier.session.host.name,
            f"{wanted.path} arrived with another digest than it has on the host, "
            f"{wanted.reads} times in a row.",
            "Run exremote backup again; if it stays so, look at the host's disk and network card.",
        )

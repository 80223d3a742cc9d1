"""One stream: asks for a pack, and puts what comes where it belongs. It judges no file (the errand does)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import closing
from typing import Protocol

from exremote.errors import (
    AccessDenied,
    HostError,
    LogonRefused,
    QuotaExceeded,
    RemoteTimeout,
    ScriptFailed,
    SessionLost,
    TransferMismatch,
)
from exremote.pack import FileBegin, FileData, FileEnd, FileError, PackError, PackEvent, PackReader
from exremote.session import Session
from exremote.transfer.board import Board
from exremote.transfer.carrier import StepBack
from exremote.transfer.crew import work_off
from exremote.transfer.wanted import Span

SCRIPT = "Read-FilePack"
_RAW_TRIES = 2
"""Attempts over raw streams that may bring nothing, one after the other."""


class Errand(Protocol):
    """What a lane works for."""

    board: Board[Span]
    root: str

    def begin(self, span: Span, event: FileBegin) -> bool:
        """Given the host's first words about a span, return whether it is to be read. Open its writer."""

    def arrived(self, size: int) -> None:
        """Told of bytes that were stored."""

    def part_ended(self, span: Span) -> None:
        """Told that a span is there up to its stop."""

    def file_ended(self, span: Span, event: FileEnd, sound: bool) -> None:
        """Told that the host has sent a file to its end; whether the bytes are those that it sent."""

    def refused(self, span: Span, event: FileError) -> None:
        """Told why a file cannot be had."""

    def look(self) -> None:
        """Called between any two blocks."""


class Lane:
    """One stream of an errand, over one session, in one thread."""

    def __init__(self, errand: Errand, session: Session) -> None:
        self._errand = errand
        self._session = session
        self._board = errand.board
        self._share = self._board.join()
        self._moved = 0
        self._fruitless = 0
        self._digest = hashlib.sha256()
        self._announced = 0
        self._due = 0

    def leave(self) -> None:
        """Give back what was not done. To be called at the end, in every outcome."""
        self._board.leave(self._share)

    def run(self) -> None:
        """Fetch until there is nothing (worth it) to be had. Raise StepBack, HostError or RepositoryError."""
        work_off(self._session, self._board, self._share, SCRIPT, self._attempt, lambda: self._moved)

    def _attempt(self) -> None:
        """Stream the share from where it stands. Raise HostError, or StepBack if it is the wire's fault."""
        before = self._moved
        try:
            self._stream()
        except HostError as error:
            self._fruitless = 0 if self._moved != before else self._fruitless + 1
            if self._session.wire == "raw" and self._blames_wire(error):
                raise StepBack(error.message) from None
            raise

    def _blames_wire(self, error: HostError) -> bool:
        if isinstance(error, LogonRefused):
            return False
        if isinstance(error, ScriptFailed):
            return not error.error_id.startswith("ExRemote.")
        if isinstance(error, QuotaExceeded | AccessDenied | TransferMismatch):
            return True
        return isinstance(error, SessionLost | RemoteTimeout) and self._fruitless >= _RAW_TRIES

    def _stream(self) -> None:
        """Ask for the spans of the share, as one pack, and take what comes."""
        with self._board.changed:
            spans = list(self._share.spans)
        if not spans:
            return
        root, reader, self._due = self._errand.root, PackReader(), 0
        paths = [span.wanted.path for span in spans]
        try:
            with closing(self._session.read_pack(root, paths, start_offset=spans[0].place)) as blocks:
                for plain in blocks:
                    for event in reader.feed(plain):
                        if not self._take(event, spans):
                            return
                    self._errand.look()
            reader.finish()
        except PackError as error:
            # What came before the damage is kept; its digest is still compared at the end.
            raise self._broken(f"is damaged: {error}") from error
        if self._due < len(spans):
            raise self._broken(f"ended after {self._due} of {len(spans)} files")

    def _broken(self, how: str) -> TransferMismatch:
        return TransferMismatch(self._session.host.name, f"the stream of {self._errand.root} {how}")

    def _take(self, event: PackEvent, spans: Sequence[Span]) -> bool:
        """Given an event, take it. Return False if what comes behind it is not wanted from this lane."""
        match event:
            case FileBegin():
                if (span := self._expect(event.index, spans)) is None:
                    return False
                if event.offset != span.place:
                    raise PackError(
                        f"data of {span.wanted.path} starts at {event.offset}, not at {span.place}"
                    )
                self._digest, self._announced = hashlib.sha256(), event.size
                return self._errand.begin(span, event) or self._drop(span)
            case FileData():
                return self._data(spans[self._due], event.data)
            case FileEnd():
                span = spans[self._due]
                sound = self._digest.hexdigest() == event.sha256
                if not sound and self._session.wire == "raw":
                    raise StepBack(f"{span.wanted.path} arrived with another digest than it was sent with")
                self._drop(span)
                self._errand.file_ended(span, event, sound)
            case FileError():
                if (span := self._expect(event.index, spans)) is None:
                    return False
                self._drop(span)
                self._errand.refused(span, event)
            case _:
                pass  # the end of the pack
        return True

    def _expect(self, index: int, spans: Sequence[Span]) -> Span | None:
        """Given the index that the host names, return the span; None if it is another lane's by now."""
        if index != self._due:
            raise PackError(f"file {index} came where {self._due} was due")
        span = spans[index]
        with self._board.changed:
            return span if self._share.spans and self._share.spans[0] is span else None

    def _data(self, span: Span, data: bytes) -> bool:
        """Given the next bytes of a span, store what of them belongs to it. Return whether more is wanted."""
        if span.writer is None:
            raise PackError("data without a file")
        if span.wanted.spoiled:
            return self._drop(span)
        self._digest.update(data)
        with self._board.changed:
            stop = span.stop
        if span.place + len(data) > self._announced:
            raise PackError(f"{span.wanted.path} is longer than it was said to be")
        if stop is not None:
            data = data[: max(0, stop - span.place)]
        span.writer.write(data)
        span.place += len(data)
        self._moved += 1
        self._errand.arrived(len(data))
        if stop is None or span.place < stop:
            return True
        self._drop(span)
        self._errand.part_ended(span)
        return False

    def _drop(self, span: Span) -> bool:
        """Given the first span of the share, take it out. Return False."""
        with self._board.changed:
            self._share.spans.remove(span)
        self._due += 1
        self._moved += 1
        return False

"""The frames of a raw stream, read: the near end of wire/Receive-RawCall.ps1. It never starts anything.

Blocks of bytes are handed on in pieces, each as soon as it is there; objects and errors are whole.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from exremote.transport.payload import untyped
from exremote.transport.scene import shorten
from exremote.transport.wire import Piece, Record, RemoteError, error_name

MARK = b"EXREMOTE RAW 1\r\n"
"""Where the frames begin; a profile or a policy may print something before."""
MAX_PREAMBLE = 65536
MAX_OBJECT = 16 << 20
"""Bytes of one object: none that a script answers in bulk is larger."""
_HEADER = struct.Struct("<cI")
_EPOCH = datetime(1, 1, 1, tzinfo=UTC)


class FrameError(ValueError):
    """What came is not a sequence of frames."""


class FrameReader:
    """Takes standard output in pieces of any size and gives back records, and pieces of bulk."""

    def __init__(self) -> None:
        self.complete = False
        """True once the end was seen: an answer without it was cut."""
        self._head: bytes | None = b""
        self._rest = b""
        self._bulk = 0  # bytes of the block that is being passed on

    def feed(self, data: bytes) -> Iterator[Record | RemoteError]:
        """Given the next bytes, yield what they complete. Raise FrameError."""
        if self._head is not None:
            self._head += data
            start = self._head.find(MARK)
            if start < 0:
                if len(self._head) > MAX_PREAMBLE:
                    raise FrameError("no frames where they were due")
                return
            data, self._head = self._head[start + len(MARK) :], None
        data = self._rest + data if self._rest else data
        place, total, view = 0, len(data), memoryview(data)
        while not self.complete:
            if self._bulk:
                piece = bytes(view[place : place + self._bulk])
                if not piece:
                    break
                place += len(piece)
                self._bulk -= len(piece)
                yield Piece(piece, not self._bulk)
                continue
            if total - place < _HEADER.size:
                break
            kind, length = _HEADER.unpack_from(data, place)
            if kind == b"B":
                place += _HEADER.size
                self._bulk = length
                if not length:
                    yield Piece(b"", True)
                continue
            if kind not in (b"O", b"V", b"E", b"Z") or length > MAX_OBJECT:
                raise FrameError(f"a frame {kind!r} of {length} bytes")
            if total - place < _HEADER.size + length:
                break
            place += _HEADER.size
            yield from self._record(kind, bytes(view[place : place + length]))
            place += length
        self._rest = b"" if self.complete else bytes(view[place:])

    def _record(self, kind: bytes, payload: bytes) -> Iterator[Record | RemoteError]:
        if kind == b"Z":
            self.complete = True
            return
        if kind == b"V":
            yield _value(*_split(payload, 2))
            return
        bag = _bag(payload)
        if kind == b"E":
            yield RemoteError(error_name(str(bag.get("ErrorId") or "")), str(bag.get("Message") or ""))
        else:
            yield bag


def _bag(payload: bytes) -> dict[str, object]:
    """Given the lines of an object, return its properties. Raise FrameError."""
    bag: dict[str, object] = {}
    for line in payload.split(b"\n") if payload else ():
        name, kind, data = _split(line, 3)
        bag[name] = _value(kind, data)
    return bag


def _split(line: bytes, count: int) -> list[str]:
    """Given a line, return its parts. Raise FrameError if there are not so many."""
    parts = line.decode("ascii", "replace").split(":")
    if len(parts) != count:
        raise FrameError(f"a line of {len(parts)} parts: {shorten(line.decode('ascii', 'replace'), 80)}")
    return parts


def _value(kind: str, data: str) -> object:
    """Given KIND and DATA, return the value. Raise FrameError."""
    try:
        value = untyped(kind, data)
        if kind == "t" and isinstance(value, int):
            return _EPOCH + timedelta(microseconds=value // 10)
        return value
    except (ValueError, OverflowError) as error:
        raise FrameError(f"a value that is none: {shorten(str(error), 80)}") from None

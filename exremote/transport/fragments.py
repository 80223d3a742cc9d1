"""PSRP's fragments and messages, read. It joins in linear time, and hands bulk on before it is whole.

A byte array of the pipeline's output is bulk: its bytes come as pieces, each when its fragment is there. All
else comes as whole messages.
"""

from __future__ import annotations

import struct
from binascii import Error as Base64Error
from collections.abc import Iterator

from exremote.transport.receive import exact_base64
from exremote.transport.wire import Piece

PIPELINE_OUTPUT = 0x00041004
ERROR_RECORD = 0x00041005
PIPELINE_STATE = 0x00041006

STATE_STOPPED = 3
STATE_COMPLETED = 4
STATE_FAILED = 5

MAX_MESSAGE = 64 * 1024 * 1024
FRAGMENT = struct.Struct(">QQBI")
_MESSAGE_HEADER = 40
_START, _END = 1, 2
_BOM = b"\xef\xbb\xbf"
_BULK, _BULK_END = b"<BA>", b"</BA>"
_SNIFF = _MESSAGE_HEADER + len(_BOM) + len(_BULK)
"""Bytes of a message that tell whether it is bulk."""


class FramingError(ValueError):
    """What came is not a sequence of PSRP fragments."""


class Joiner:
    """Takes fragments in whatever portions they come and gives back messages, and pieces of bulk."""

    def __init__(self) -> None:
        self._object = -1
        self._number = 0
        self._size = 0
        self._parts: list[bytes] = []
        self._sniffed = False
        self._bulk: _Bulk | None = None

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes] | Piece]:
        """Given whole fragments, yield what they complete: (message type, body), or pieces of bulk.

        Raise FramingError.
        """
        place, view, total = 0, memoryview(data), len(data)
        while place < total:
            if place + FRAGMENT.size > total:
                raise FramingError("half a fragment header")
            object_id, number, flags, length = FRAGMENT.unpack_from(data, place)
            place += FRAGMENT.size
            if place + length > total:
                raise FramingError("half a fragment")
            if flags & _START:
                self._object, self._number, self._size, self._parts = object_id, 0, 0, []
                self._sniffed, self._bulk = False, None
            if object_id != self._object or number != self._number:
                raise FramingError(
                    f"fragment {number} of {object_id}, where {self._number} of {self._object} was due"
                )
            self._number += 1
            self._size += length
            if self._size > MAX_MESSAGE:
                raise FramingError("a message of more than 64 MiB")
            ends = bool(flags & _END)
            yield from self._take(bytes(view[place : place + length]), ends)
            place += length
            if ends:
                self._object, self._parts = -1, []

    def _take(self, data: bytes, ends: bool) -> Iterator[tuple[int, bytes] | Piece]:
        """Given the content of one fragment, yield what it completes. Raise FramingError."""
        if self._bulk is not None:
            yield from self._bulk.feed(data, ends)
            return
        self._parts.append(data)
        if not self._sniffed and (ends or self._size >= _SNIFF):
            self._sniffed = True
            self._parts = [b"".join(self._parts)]
            body = self._parts[0][_MESSAGE_HEADER:].removeprefix(_BOM)
            if self._kind() == PIPELINE_OUTPUT and body.startswith(_BULK):
                self._bulk = _Bulk()
                yield from self._bulk.feed(body[len(_BULK) :], ends)
                return
        if ends:
            message = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
            if len(message) < _MESSAGE_HEADER:
                raise FramingError("a message without a header")
            yield int.from_bytes(message[4:8], "little"), message[_MESSAGE_HEADER:]

    def _kind(self) -> int:
        return int.from_bytes(self._parts[0][4:8], "little")


class _Bulk:
    """The text of one byte array, decoded as it comes."""

    def __init__(self) -> None:
        self._rest = b""
        self._tail: bytes | None = None
        """What came behind the base64; None while it goes on."""

    def feed(self, text: bytes, ends: bool) -> Iterator[Piece]:
        """Given the next part of the text, yield its bytes. Raise FramingError."""
        if self._tail is None:
            text = self._rest + text
            end = text.find(b"<")
            if end >= 0:
                text, self._tail = text[:end], text[end:]
            whole = len(text) if self._tail is not None else len(text) // 4 * 4
            self._rest = text[whole:]
            try:
                data = exact_base64(text[:whole])
            except Base64Error as error:
                raise FramingError(f"a byte array that is no base64: {error}") from None
        else:
            self._tail += text
            data = b""
        if len(self._tail or b"") > len(_BULK_END) or (ends and self._tail != _BULK_END):
            raise FramingError("a byte array without its end")
        if data or ends:
            yield Piece(data, ends)

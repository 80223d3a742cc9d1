"""PSRP's fragments and messages, read. It joins in linear time and never looks into a message."""

from __future__ import annotations

import struct
from collections.abc import Iterator

PIPELINE_OUTPUT = 0x00041004
ERROR_RECORD = 0x00041005
PIPELINE_STATE = 0x00041006

STATE_STOPPED = 3
STATE_COMPLETED = 4
STATE_FAILED = 5

MAX_MESSAGE = 64 * 1024 * 1024
_FRAGMENT = struct.Struct(">QQBI")
_MESSAGE_HEADER = 40
_START, _END = 1, 2


class FramingError(ValueError):
    """What came is not a sequence of PSRP fragments."""


class Joiner:
    """Takes fragments in whatever portions they come and gives back whole messages."""

    def __init__(self) -> None:
        self._object = -1
        self._number = 0
        self._size = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Given whole fragments, yield (message type, body) of each message completed. Raise FramingError."""
        place, view, total = 0, memoryview(data), len(data)
        while place < total:
            if place + _FRAGMENT.size > total:
                raise FramingError("half a fragment header")
            object_id, number, flags, length = _FRAGMENT.unpack_from(data, place)
            place += _FRAGMENT.size
            if place + length > total:
                raise FramingError("half a fragment")
            if flags & _START:
                self._object, self._number, self._size, self._parts = object_id, 0, 0, []
            if object_id != self._object or number != self._number:
                raise FramingError(
                    f"fragment {number} of {object_id}, where {self._number} of {self._object} was due"
                )
            self._number += 1
            self._size += length
            if self._size > MAX_MESSAGE:
                raise FramingError("a message of more than 64 MiB")
            self._parts.append(bytes(view[place : place + length]))
            place += length
            if flags & _END:
                message = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
                self._object, self._parts = -1, []
                if len(message) < _MESSAGE_HEADER:
                    raise FramingError("a message without a header")
                yield int.from_bytes(message[4:8], "little"), message[_MESSAGE_HEADER:]

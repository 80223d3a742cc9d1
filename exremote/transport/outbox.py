"""PSRP's messages for a pipeline's input, cut into fragments, and fragments filled into requests.

It sends nothing. A byte array is written as text once; no tree of elements is built for it.
"""

from __future__ import annotations

import struct
import uuid
from binascii import b2a_base64
from collections.abc import Iterator

from exremote.transport.fragments import FRAGMENT

PIPELINE_INPUT = 0x00041002
END_OF_PIPELINE_INPUT = 0x00041003
_SERVER = 2
_HEADER = struct.Struct("<II16s16s")
_START, _END = 1, 2


def message(kind: int, pool: str, pipeline: str, *body: bytes) -> bytes:
    """Given a message type, the ids of pool and pipeline, and a body in pieces, return the message."""
    head = _HEADER.pack(_SERVER, kind, uuid.UUID(pool).bytes_le, uuid.UUID(pipeline).bytes_le)
    return b"".join((head, *body))


def byte_array(data: bytes | bytearray) -> tuple[bytes, bytes, bytes]:
    """Given bytes, return them as CLIXML, in pieces: half a megabyte is not copied to put a tag around it."""
    return b"<BA>", b2a_base64(data, newline=False), b"</BA>"


class Outbox:
    """Messages on their way out: as many fragments in a request as it holds."""

    def __init__(self, size: int, first: int) -> None:
        """Given the bytes that a request holds, and the number of the first message, be ready."""
        self.number = first
        """of the next message"""
        self._size = size
        self._parts: list[bytes | memoryview] = []
        self._used = 0

    def add(self, text: bytes) -> Iterator[bytes]:
        """Given a message, yield what is to be sent now that it is added."""
        place, fragment, total, view = 0, 0, len(text), memoryview(text)
        while place < total:
            room = self._size - self._used - FRAGMENT.size
            if room <= 0:
                yield self.rest()
                continue
            length = min(room, total - place)
            flags = (_START if fragment == 0 else 0) | (_END if place + length == total else 0)
            self._parts.append(FRAGMENT.pack(self.number, fragment, flags, length))
            self._parts.append(view[place : place + length])
            self._used += FRAGMENT.size + length
            place, fragment = place + length, fragment + 1
        self.number += 1

    def rest(self) -> bytes:
        """Return what waits to be sent, if anything, and let it go."""
        data = b"".join(self._parts)
        self._parts, self._used = [], 0
        return data

"""A file of which only pieces are sent: each with its place, the rest left out. It knows no tape format.

The answer of `Read-TapeBlock`: offset (int64), length (int32), bytes, little-endian, one behind the other.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from exremote.pack.blocks import MAX_BLOCK
from exremote.pack.words import PackError

_HEAD = struct.Struct("<qi")


class PieceReader:
    """Turns plain bytes, cut anywhere, into the bytes of a file and the numbers of those left out between."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._at = 0
        """byte of the file up to which all was told"""

    def read(self, blocks: Iterable[bytes]) -> Iterator[bytes | int]:
        """Given the plain bytes, yield bytes and numbers. Raise PackError if they are no such pieces."""
        for block in blocks:
            self._held += block
            start = 0
            while len(self._held) - start >= _HEAD.size:
                offset, length = _HEAD.unpack_from(self._held, start)
                if offset < 0 or not 0 <= length <= MAX_BLOCK:
                    raise PackError(f"a piece of {length} bytes at {offset}")
                if len(self._held) - start - _HEAD.size < length:
                    break
                start += _HEAD.size
                yield from self._piece(offset, bytes(self._held[start : start + length]))
                start += length
            del self._held[:start]
        if self._held:
            raise PackError("a stream that ends within a piece")

    def rest(self, size: int) -> int:
        """Given the size of the file, return how much of it was left out at its end. Raise PackError."""
        if size < self._at:
            raise PackError(f"pieces up to byte {self._at} of a file of {size}")
        return size - self._at

    def _piece(self, offset: int, data: bytes) -> Iterator[bytes | int]:
        """Given a piece, yield what of it was not told yet: pieces may overlap."""
        if offset > self._at:
            yield offset - self._at
            self._at = offset
        if fresh := data[self._at - offset :]:
            yield fresh
            self._at += len(fresh)

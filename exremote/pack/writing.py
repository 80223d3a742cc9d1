"""Packs on their way to a host: the records of Write-FilePack, in blocks that hold whole ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from exremote.pack.blocks import PLAIN, seal_block

_HEADER = struct.Struct("<cI")
_INDEX = struct.Struct("<I")
_FILE = struct.Struct("<IqqIq")
_END = struct.Struct("<qq32s")
_BLOCK = 128 * 1024
"""Plain bytes of a block at most: half of what a host sends. There each becomes text and bytes, large objects
both, and a shell of WinRM 2.0 has 150 MB."""
_LEAST_DATA = 4096
_POOR = 3
"""After so many blocks that deflate could not shrink, the next one is tried by a sample first."""
_SAMPLE = 2048


class SealedBlock(NamedTuple):
    """One block, as it goes into the pipeline."""

    record: bytes | bytearray
    """flag and bytes; nobody changes them any more"""
    plain: int
    """how many bytes it holds, before it was deflated"""


class PackWriter:
    """Turns files into blocks; each call yields those that are full."""

    def __init__(self) -> None:
        self._buffer = bytearray(PLAIN)
        self._poor = 0

    def begin(
        self, index: int, offset: int, modified_ticks: int, attributes: int, size: int
    ) -> Iterator[SealedBlock]:
        """Given which file it is and from where on its data come, begin it."""
        yield from self._add(b"F", _FILE.pack(index, offset, modified_ticks, attributes, size))

    def data(self, data: bytes) -> Iterator[SealedBlock]:
        """Given the next bytes of the file, take them."""
        view, place = memoryview(data), 0
        while place < len(data):
            room = self._room - _HEADER.size
            if room < min(_LEAST_DATA, len(data) - place):
                yield self.rest()
                continue
            part = view[place : place + room]
            self._buffer += _HEADER.pack(b"D", len(part))
            self._buffer += part
            place += len(part)

    def join(self, index: int) -> Iterator[SealedBlock]:
        """Given which file there is the next piece of this one, have it appended and removed."""
        yield from self._add(b"J", _INDEX.pack(index))

    def end(self, size: int, modified_ticks: int, sha256: bytes) -> Iterator[SealedBlock]:
        """Given size and time of the whole file, and the digest of the data that were given, end it."""
        yield from self._add(b"E", _END.pack(size, modified_ticks, sha256))

    def rest(self) -> SealedBlock:
        """Return what waits, and begin a new block. There must be something."""
        record: bytes | bytearray = self._buffer
        self._buffer = bytearray(PLAIN)
        plain = memoryview(record)[len(PLAIN) :]
        if self._poor < _POOR or _may_shrink(plain):
            record = seal_block(plain, record)
            self._poor = self._poor + 1 if record.startswith(PLAIN) else 0
        return SealedBlock(record, len(plain))

    @property
    def waiting(self) -> bool:
        """Return whether something waits."""
        return len(self._buffer) > len(PLAIN)

    def _add(self, kind: bytes, payload: bytes) -> Iterator[SealedBlock]:
        if self._room < _HEADER.size + len(payload):
            yield self.rest()
        self._buffer += _HEADER.pack(kind, len(payload)) + payload

    @property
    def _room(self) -> int:
        """Return how many bytes the block still takes."""
        return len(PLAIN) + _BLOCK - len(self._buffer)


def _may_shrink(plain: memoryview) -> bool:
    """Given a block, return whether deflate is worth a try, by the look of its middle."""
    middle = max(0, len(plain) - _SAMPLE) // 2
    sample = plain[middle : middle + _SAMPLE]
    return len(zlib.compress(sample, 1)) * 10 <= len(sample) * 9

"""Packs on their way to a host: the records of Write-FilePack, in blocks that hold whole ones."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from exremote.pack.blocks import MAX_BLOCK, seal_block

_HEADER = struct.Struct("<cI")
_FILE = struct.Struct("<IqqIq")
_END = struct.Struct("<qq32s")
_LEAST_DATA = 4096
_POOR, _EACH = 3, 16
"""After so many blocks that deflate could not shrink, only each 16th is tried."""


class SealedBlock(NamedTuple):
    """One block, as it goes into the pipeline."""

    record: bytes
    """flag and bytes"""
    plain: int
    """how many bytes it holds, before it was deflated"""


class PackWriter:
    """Turns files into blocks; each call yields those that are full."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._poor = 0
        self._turn = 0

    def begin(
        self, index: int, offset: int, modified_ticks: int, attributes: int, size: int
    ) -> Iterator[SealedBlock]:
        """Given which file it is and from where on its data come, begin it."""
        yield from self._add(b"F", _FILE.pack(index, offset, modified_ticks, attributes, size))

    def data(self, data: bytes) -> Iterator[SealedBlock]:
        """Given the next bytes of the file, take them."""
        view, place = memoryview(data), 0
        while place < len(data):
            room = MAX_BLOCK - len(self._buffer) - _HEADER.size
            if room < min(_LEAST_DATA, len(data) - place):
                yield self.rest()
                continue
            part = view[place : place + room]
            self._buffer += _HEADER.pack(b"D", len(part)) + part
            place += len(part)

    def end(self, size: int, modified_ticks: int, sha256: bytes) -> Iterator[SealedBlock]:
        """Given size and time of the whole file, and the digest of the data that were given, end it."""
        yield from self._add(b"E", _END.pack(size, modified_ticks, sha256))

    def rest(self) -> SealedBlock:
        """Return what waits, and begin a new block. There must be something."""
        plain = bytes(self._buffer)
        self._buffer.clear()
        self._turn += 1
        if self._poor >= _POOR and self._turn % _EACH:
            return SealedBlock(b"\0" + plain, len(plain))
        record = seal_block(plain)
        self._poor = self._poor + 1 if record[0] == 0 else 0
        return SealedBlock(record, len(plain))

    @property
    def waiting(self) -> bool:
        """Return whether something waits."""
        return bool(self._buffer)

    def _add(self, kind: bytes, payload: bytes) -> Iterator[SealedBlock]:
        if len(self._buffer) + _HEADER.size + len(payload) > MAX_BLOCK:
            yield self.rest()
        self._buffer += _HEADER.pack(kind, len(payload)) + payload

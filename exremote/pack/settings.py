"""Registry values on their way to a host: the records of Set-RegistryValue, in blocks. It shows no data."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from exremote.pack.blocks import MAX_BLOCK, seal_block
from exremote.pack.words import PackError

MOST = 64 << 20
"""Bytes that all values of one call may have; the host holds them in memory."""
_LENGTH = struct.Struct("<i")
_GONE = -1


def seal_settings(values: Iterable[tuple[str, str, int, bytes | None]]) -> Iterator[bytes]:
    """Given key, name, kind and data (None: to be removed) of each value, yield the blocks that carry them.

    Raise PackError if they are more than a host can be sent at once, or a key or name cannot be written.
    """
    records = bytearray()
    for key, name, kind, data in values:
        for text in (key, name):
            units = text.encode("utf-16-le", "surrogatepass")
            records += _LENGTH.pack(len(units)) + units
        records += struct.pack("<ii", kind, _GONE if data is None else len(data)) + (data or b"")
        if len(records) > MOST:
            raise PackError(f"registry values of more than {MOST >> 20} MiB together")
    whole = _LENGTH.pack(len(records)) + records
    for place in range(0, len(whole), MAX_BLOCK):
        yield bytes(seal_block(whole[place : place + MAX_BLOCK]))

"""One block, one stream header, one string, one date: bytes become values. It knows no order of blocks.

Offsets and bits are those of the MTF 1.00a specification and of two readers that agree with it (Layton's
mtf.h, mtf-rs). All numbers are little endian, but for dates.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

HEADER = 52
"""Bytes of the header that all blocks share."""
STREAM = 22
"""Bytes of a stream header."""
KINDS = frozenset({"TAPE", "SSET", "VOLB", "DIRB", "FILE", "CFIL", "ESPB", "ESET", "EOTM", "SFMB"})
"""Descriptor blocks of the specification; others are walked over by their streams."""

CONTINUATION = 1 << 0
"""Block attribute: it goes on from the medium before."""
ABORTED_SET = 1 << 18
"""Block attribute of an ESET: the backup was broken off."""
SOFT_FILEMARKS = 1 << 0
"""TAPE attribute."""
LONG_NAME = 1 << 17
"""DIRB and FILE attribute: the name is in a stream."""
CORRUPT_OBJECT = 1 << 18
"""DIRB and FILE attribute."""
CONTINUED, CSUM_FOLLOWS = 1 << 0, 1 << 5
"""Media attributes of a stream: it goes on from the medium before; a CSUM stream follows."""

_FIELDS = struct.Struct("<4sIHBBQQ8xI4xHHBxH")
_STREAM = struct.Struct("<4sHHQHHH")
_METHODS = ("transfer", "copy", "normal", "differential", "incremental", "daily")
METHOD_BITS = 0x3F


@dataclass(frozen=True, slots=True)
class Block:
    """A descriptor block: the common header, and all of its bytes up to its first stream."""

    kind: str
    """four letters"""
    at: int
    """byte in the file"""
    attributes: int
    """bits"""
    first_event: int
    """bytes from the block's start to its first stream, or to the next block"""
    displayable: int
    """size for a person; what is said here sizes no stream"""
    control: int
    """counts up through a set"""
    unicode: bool
    """how strings are written"""
    data: bytes
    """the whole block"""

    def number(self, offset: int, size: int) -> int:
        """Given where a number lies, return it; 0 if the block is too short to have it."""
        return int.from_bytes(self.data[offset : offset + size], "little")

    def text(self, offset: int) -> str | None:
        """Given where the address of a string lies, return it; None if the address leads out of the block."""
        if len(self.data) < offset + 4:
            return ""
        size, place = struct.unpack_from("<HH", self.data, offset)
        if not size:
            return ""
        if place < HEADER or place + size > len(self.data):
            return None
        raw = self.data[place : place + size]
        return name_of(raw) if self.unicode else raw.decode("cp1252", "replace")

    def date(self, offset: int) -> str:
        """Given where a date lies, return it as ISO text; '' if it is unknown or none."""
        return date_of(self.data[offset : offset + 5])


@dataclass(frozen=True, slots=True)
class Stream:
    """The header of one stream."""

    kind: str
    """four letters"""
    media: int
    """media format attributes"""
    length: int
    """bytes of data behind it"""


def header_of(data: bytes, at: int) -> Block | None:
    """Given at least the first bytes of a block, return it, without its body; None if the checksum is wrong.

    Zeros have a right checksum, and are no block.
    """
    kind, bits, first, _, _, shown, _, control, _, _, strings, check = _FIELDS.unpack_from(data)
    if folded16(data[:50]) != check or not _is_word(kind):
        return None
    return Block(kind.decode(), at, bits, first, shown, control, strings == 2, bytes(data[:HEADER]))


def stream_of(data: bytes) -> Stream | None:
    """Given the bytes of a stream header, return it; None if it is none, or its checksum is wrong."""
    kind, _, media, length, _, _, check = _STREAM.unpack_from(data)
    if folded16(data[:20]) != check or not _is_word(kind):
        return None
    return Stream(kind.decode(), media, length)


def method_of(bits: int) -> str:
    """Given the type bits of a set, return the method in a word."""
    return next((name for bit, name in enumerate(_METHODS) if bits & 1 << bit), "unknown")


def name_of(raw: bytes) -> str:
    """Given UTF-16 text of a block or stream, return it; lone surrogates are kept apart, not lost."""
    return raw.decode("utf-16-le", "replace")


def date_of(raw: bytes) -> str:
    """Given an MTF date, return it as ISO text without a zone (local time); '' if it is unknown or none."""
    if len(raw) < 5 or not any(raw):
        return ""
    bits = int.from_bytes(raw, "big")
    year, month, day = bits >> 26, bits >> 22 & 15, bits >> 17 & 31
    hour, minute, second = bits >> 12 & 31, bits >> 6 & 63, bits & 63
    if not (1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
        return ""
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}"


def folded16(data: bytes) -> int:
    """Given an even number of bytes, return the XOR of their 16-bit words."""
    return _folded(data, 2)


def folded32(data: bytes) -> int:
    """Given bytes, return the XOR of their 32-bit words, the last one filled with zeros."""
    return _folded(data, 4)


def _folded(data: bytes, word: int) -> int:
    """Fold by halves: a loop over words would be a thousand times slower."""
    words = -(-len(data) // word)
    value = int.from_bytes(data, "little")
    while words > 1:
        half = words // 2
        rest = words - half
        value = (value >> 8 * word * rest) ^ (value & (1 << 8 * word * rest) - 1)
        words = rest
    return value


def _is_word(kind: bytes) -> bool:
    return all(48 <= letter <= 57 or 65 <= letter <= 90 for letter in kind)

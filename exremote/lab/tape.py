"""Writes Microsoft Tape Format 1.00a for the simulated ntbackup: whole files, with chosen flaws on demand.

It follows the layout of the published specification and knows nothing of exremote's reader of the format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from operator import xor

FLB = 1024
_MARKS = (FLB - 60) // 4
_METHODS = ("transfer", "copy", "normal", "differential", "incremental", "daily")


@dataclass(frozen=True, slots=True)
class TapeFile:
    """A file that goes onto the tape."""

    name: str
    content: bytes
    folder: str = ""
    """Below the volume, `a\\b`."""
    stray: bool = False
    """Its directory number is nonsense, as in sets that hold no files."""
    corrupt: bool = False
    """It could not be read to its end: CRPT and CFIL say so."""


@dataclass(frozen=True, slots=True)
class TapeSet:
    """One backup set: one device."""

    device: str
    name: str
    files: Sequence[TapeFile] = field(default_factory=tuple)
    method: str = "normal"
    aborted: bool = False


def folded(data: bytes, size: int) -> int:
    """Return the XOR of the words of so many bytes, the last one filled with zeros."""
    data += bytes(-len(data) % size)
    words = struct.unpack(f"<{len(data) // size}{'H' if size == 2 else 'I'}", data)
    return reduce(xor, words, 0)


class TapeWriter:
    """One tape, from its first block on."""

    def __init__(self, media: str, machine: str, when: datetime, *, sums: bool = False) -> None:
        """`sums`: put a checksum behind each stream of content."""
        self._out = bytearray()
        self._machine = machine
        self._when = _date(when)
        self._sums = sums
        self._control = self._number = self._start = 0
        self._marks: list[int] = []
        head = struct.pack("<IIHHHH", 0x1AB, 3, 1, 0, FLB // 512, 0)
        strings = {68: media, 72: "MTF Media Label|1.0|lab", 80: "exremote lab, no real ntbackup"}
        tail = struct.pack("<HH", FLB, 0x0CBE) + self._when + b"\1"
        self._block("TAPE", head + bytes(16) + tail, strings, 0, 0)
        self._pad()
        self._filemark()

    def add(self, one: TapeSet) -> None:
        """Add one set."""
        self._number += 1
        self._start, self._control = len(self._out), 0
        kind = 1 << _METHODS.index(one.method)
        fixed = struct.pack("<IHHHH", kind, 0, 0, 0x0CBE, self._number) + bytes(16)
        fixed += struct.pack("<Q", len(self._out) // FLB) + self._when + bytes([5, 0, 4, 0, 0])
        self._inside("SSET", fixed, {64: one.name, 76: f"{self._machine}\\SYSTEM"})
        volume = struct.pack("<I", 1 << 4) + bytes(12) + self._when
        self._inside("VOLB", volume, {56: one.device, 64: self._machine})
        numbers: dict[str, int] = {}
        for file in one.files:
            if not file.stray and file.folder not in numbers:
                numbers[file.folder] = len(numbers) + 1
                fixed = bytes(4) + self._when * 4 + struct.pack("<II", numbers[file.folder], 0)
                self._inside("DIRB", fixed, {80: file.folder.replace("\\", "\0") + "\0"})
            self._file(file, numbers.get(file.folder, 0x6548_2AE4))
        self._filemark()
        corrupt = sum(file.corrupt for file in one.files)
        fixed = (
            struct.pack("<II", kind, corrupt) + bytes(16) + struct.pack("<HH", 1, self._number) + self._when
        )
        self._block("ESET", fixed, {}, 0, self._control, (1 << 18) if one.aborted else 0)
        self._pad()
        self._filemark()

    def data(self) -> bytes:
        """Return all that was written."""
        return bytes(self._out)

    def _file(self, file: TapeFile, folder: int) -> None:
        fixed = bytes(4) + self._when * 4 + struct.pack("<IIHH", folder, self._control, 0, 0)
        self._inside("FILE", fixed, {84: file.name}, len(file.content), streams=False)
        self._stream("STAN", file.content, 0x20 if self._sums else 0)
        if self._sums:
            self._stream("CSUM", folded(file.content, 4).to_bytes(4, "little"))
        if file.corrupt:
            self._stream("CRPT", b"")
        self._pad()
        if file.corrupt:
            self._inside("CFIL", struct.pack("<IQQH", 1 << 16, 0, len(file.content) // 2, 1), {})

    def _inside(
        self, kind: str, fixed: bytes, strings: dict[int, str], shown: int = 0, *, streams: bool = True
    ) -> None:
        """Write a block of a set; with nothing but padding behind it if it has no streams of its own."""
        place = (len(self._out) - self._start) // FLB
        self._block(kind, fixed, strings, place, self._control, shown=shown)
        self._control += 1
        if streams:
            self._pad()

    def _block(
        self,
        kind: str,
        fixed: bytes,
        strings: dict[int, str],
        place: int,
        control: int,
        bits: int = 0,
        shown: int = 0,
        length: int = 0,
    ) -> None:
        body = bytearray(52) + fixed
        for offset, text in strings.items():
            raw = text.encode("utf-16-le", "surrogatepass")
            struct.pack_into("<HH", body, offset, len(raw), len(body) if raw else 0)
            body += raw
        body += bytes(-len(body) % 4)
        body += bytes(max(0, length - len(body)))
        struct.pack_into("<4sIHBBQQ", body, 0, kind.encode(), bits, len(body), 14, 0, shown, place)
        struct.pack_into("<I", body, 36, control)
        body[48] = 2
        struct.pack_into("<H", body, 50, folded(bytes(body[:50]), 2))
        self._out += body

    def _stream(self, kind: str, data: bytes, media: int = 0) -> None:
        self._out += bytes(-len(self._out) % 4)
        head = struct.pack("<4sHHQHH", kind.encode(), 0, media, len(data), 0, 0)
        self._out += head + struct.pack("<H", folded(head, 2)) + data

    def _pad(self) -> None:
        begins = len(self._out) + -len(self._out) % 4 + 22
        self._stream("SPAD", bytes(-begins % FLB))

    def _filemark(self) -> None:
        here = len(self._out) // FLB
        marks = self._marks[:_MARKS]
        fixed = struct.pack(f"<II{len(marks)}I", _MARKS, len(marks), *marks)
        self._block("SFMB", fixed, {}, here, len(self._marks) + 1, length=FLB)
        self._marks.insert(0, here)


def tape(sets: Iterable[TapeSet], *, media: str, machine: str, when: datetime, sums: bool = False) -> bytes:
    """Return a tape with these sets."""
    writer = TapeWriter(media, machine, when, sums=sums)
    for one in sets:
        writer.add(one)
    return writer.data()


def _date(when: datetime) -> bytes:
    bits = when.year << 26 | when.month << 22 | when.day << 17
    return (bits | when.hour << 12 | when.minute << 6 | when.second).to_bytes(5, "big")

"""Listings of trees, a line an entry; and the outline of a known one, so that a host lists what differs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import pairwise
from math import isqrt
from typing import Literal, Protocol

from exremote.compact import Compact
from exremote.pack.words import MAX_TICKS, PackError, encode_lines

MAX_GROUP = 48 * 1024
"""Bytes of the lines of one group; a host holds them until it knows whether they are the same."""
_PIECE = 1 << 20
_ERROR_ID = re.compile(r"ExRemote\.[A-Za-z]{1,60}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBERS = re.compile(rb"(-1|[0-9]{1,19})\t([0-9]{1,19})\t(-?[0-9]{1,10})\t([^\t\n]+)\t(.+)", re.DOTALL)
_GROUP = re.compile(r"[0-9]{1,9}")
_MARKS = {"excluded": "x", "reparse": "r", "directory": "-", "unhashed": "-"}

TreeState = Literal["file", "directory", "excluded", "reparse", "unreadable", "unhashed"]


class Entry(Protocol):
    """What a line of a listing says."""

    @property
    def path(self) -> str:
        """Relative to the root."""

    @property
    def size(self) -> int:
        """Bytes, or -1."""

    @property
    def modified_ticks(self) -> int:
        """In .NET ticks."""

    @property
    def attributes(self) -> int:
        """As an unsigned number."""

    @property
    def sha256(self) -> str | None:
        """In lower hex digits."""

    @property
    def state(self) -> str:
        """One of `TreeState`."""

    @property
    def error_id(self) -> str:
        """Why it could not be read."""


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One line of a listing."""

    path: str
    """relative to the root, with `\\`, exactly as the host spells it; not yet checked as a path of ours"""
    size: int
    """bytes; -1 for a directory"""
    modified_ticks: int
    """LastWriteTimeUtc in .NET ticks"""
    attributes: int
    """FileAttributes, as an unsigned number"""
    sha256: str | None
    """64 lower hex digits, if state is `file`"""
    state: TreeState
    """what the fourth field said"""
    error_id: str = ""
    """why it could not be read, if state is `unreadable`"""


Row = tuple[str, int, int, int, bytes | None, str, str]
"""The values of an entry as `Compact` keeps them, in the order of its fields; the digest is 32 bytes."""


def entry_of_row(
    path: str, size: int, ticks: int, attributes: int, digest: bytes | None, state: TreeState, error_id: str
) -> TreeEntry:
    """Given the values of a row, return the entry."""
    return TreeEntry(path, size, ticks, attributes, digest.hex() if digest else None, state, error_id)


@dataclass(frozen=True, slots=True)
class Listing:
    """A tree as it was."""

    entries: Sequence[TreeEntry]
    """in the order of the host; of a `Compact` each is made anew when it is looked at"""
    digest: str
    """SHA-256 over the lines that are not left out; equal digests mean equal trees"""


def parse_listing(data: bytes | Iterable[bytes]) -> Listing:
    """Given the text of a listing, whole or in pieces cut anywhere, return its entries and its digest.

    Raise PackError if a line is not of the form, the last line has no end, or a path comes twice.
    """
    digest = hashlib.sha256()
    sorted_so_far = True

    def rows() -> Iterator[Row]:
        nonlocal sorted_so_far
        last, behind = "", set[str]()
        for number, line in enumerate(_lines(_cut(data) if isinstance(data, bytes) else data), 1):
            row = _parse_line(line, number)
            sorted_so_far = sorted_so_far and last < row[0]
            last = row[0]
            if not sorted_so_far:  # what comes again and again, without an end, is known by then
                if last in behind:
                    raise _twice(number, last)
                behind.add(last)
            if row[5] != "excluded":
                digest.update(line)
                digest.update(b"\n")
            yield row

    entries = Compact(entry_of_row, rows())
    if not sorted_so_far:  # as a host never sends it, but for rare letters; else no path can come twice
        seen = set[str]()
        for number, entry in enumerate(entries, 1):
            if entry.path in seen:
                raise _twice(number, entry.path)
            seen.add(entry.path)
    return Listing(entries, digest.hexdigest())


def _twice(number: int, path: str) -> PackError:
    return PackError(f"line {number} of the listing names a path for the second time: {path!r}")


def _cut(data: bytes) -> Iterator[bytes]:
    """Given bytes, return them in pieces, of whose lines few are in memory at a time."""
    return (data[start : start + _PIECE] for start in range(0, len(data), _PIECE))


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest: list[bytes] = []  # pieces of one line, joined once: a line cut a thousand times costs no more
    for piece in pieces:
        head, found, tail = piece.partition(b"\n")
        if not found:
            rest.append(piece)
            continue
        yield b"".join([*rest, head])
        *whole, last = tail.split(b"\n")
        yield from whole
        rest = [last]
    if any(rest):
        raise PackError("the listing ends in the middle of a line")


def _parse_line(line: bytes, number: int) -> Row:
    match = _NUMBERS.fullmatch(line)
    if match is None:
        raise PackError(f"line {number} of the listing does not have its five fields")
    size, ticks, attributes = int(match[1]), int(match[2]), int(match[3]) & 0xFFFFFFFF
    if ticks > MAX_TICKS or size > 2**63 - 1:
        raise PackError(f"line {number} of the listing has a number that is out of range")
    try:
        mark, path = match[4].decode(), match[5].decode()
    except UnicodeDecodeError:
        raise PackError(f"line {number} of the listing is not UTF-8") from None
    state: TreeState
    digest, error_id = None, ""
    if mark == "x":
        state = "excluded"
    elif mark == "r":
        state = "reparse"
    elif mark == "-":
        state = "directory" if size == -1 else "unhashed"
    elif mark.startswith("!") and _ERROR_ID.fullmatch(mark[1:]):
        state, error_id = "unreadable", mark[1:]
    elif _SHA256.fullmatch(mark) and size >= 0:
        state, digest = "file", bytes.fromhex(mark)
    else:
        raise PackError(f"line {number} of the listing has {mark[:80]!r} where a digest or a mark belongs")
    return path, size, ticks, attributes, digest, state, error_id


def row_of(entry: Entry) -> Row:
    """Given what a line says, return the row of its values."""
    digest = bytes.fromhex(entry.sha256) if entry.sha256 else None
    return (
        entry.path,
        entry.size,
        entry.modified_ticks,
        entry.attributes,
        digest,
        entry.state,
        entry.error_id,
    )


def format_entry(entry: Entry) -> bytes:
    """Given what a line says, return the line as a host writes it, with its line feed."""
    mark = entry.sha256 or _MARKS.get(entry.state) or f"!{entry.error_id}"
    attributes = entry.attributes - (entry.attributes >> 31 << 32)
    return f"{entry.size}\t{entry.modified_ticks}\t{attributes}\t{mark}\t{entry.path}\n".encode()


@dataclass(frozen=True, slots=True)
class Outline:
    """A known listing in groups of lines, each with a digest: a host lists the groups that differ."""

    known: Listing
    """the listing"""
    edges: tuple[int, ...]
    """where each group begins, and behind them where the last one ends"""
    text: str
    """as Get-FileTree wants it; empty if there is nothing to hold a tree against"""

    @classmethod
    def of(cls, known: Listing) -> Outline:
        """Given a listing, return its outline: as many groups as there are lines in one, about."""
        edges, lines = [0], []
        most = max(8, isqrt(len(known.entries)))
        digest, size = hashlib.sha256(), 0
        ends = len(known.entries) - 1
        if any(_order(a) >= _order(b) for a, b in pairwise(known.entries)):
            return cls(known, (0,), "")
        for number, entry in enumerate(known.entries):
            line = format_entry(entry)
            size += len(line)
            if entry.state != "excluded":
                digest.update(line)
            if number == ends or number + 1 - edges[-1] >= most or size >= MAX_GROUP:
                edges.append(number + 1)
                lines.append(f"{digest.hexdigest()[:32]}\t{entry.path}")
                digest, size = hashlib.sha256(), 0
        return cls(known, tuple(edges), encode_lines(lines) if lines else "")

    def filled(self, changed: str, received: Listing) -> Listing:
        """Given the groups that a host says differ, and their lines, return the whole listing.

        Raise PackError if there is no such group, or a path comes twice.
        """
        if not changed and not received.entries:
            return self.known
        last = len(self.edges) - 1
        numbers = {int(text) if _GROUP.fullmatch(text) else -1 for text in changed.split(",")}
        if not changed or not all(0 <= number <= last for number in numbers):
            raise PackError(f"a listing of the groups {changed[:80]!r}, where there are {last}")
        kept = (
            entry
            for number, (start, stop) in enumerate(pairwise(self.edges))
            if number not in numbers
            for entry in self.known.entries[start:stop]
        )
        digest = hashlib.sha256()

        def rows() -> Iterator[Row]:
            last = None
            for entry in merge(kept, sorted(received.entries, key=_order), key=_order):
                if entry.path == last:
                    raise PackError(f"the listing names a path for the second time: {last!r}")
                last = entry.path
                if entry.state != "excluded":
                    digest.update(format_entry(entry))
                yield row_of(entry)

        entries = Compact(entry_of_row, rows())
        return Listing(entries, digest.hexdigest())


def _order(entry: TreeEntry) -> bytes:
    """Given an entry, return what hosts sort by: the path, ordinal."""
    return entry.path.encode("utf-16-be", "surrogatepass")

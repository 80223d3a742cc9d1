"""One file that is to be fetched, and what is known of it. It fetches nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from exremote.pack import FileBegin, FileEnd, ticks_to_datetime
from exremote.repository import Assembly, ObjectWriter

READS_OF_A_CHANGING_FILE = 3
"""How often a file is read that is written to at the same time, before it is reported instead."""
GROWTH = 256 << 20
"""Bytes that a file may have more than its listing said; one that grew by more is not read at all."""

_CUT = 1 << 20
"""A file is cut at multiples of this."""

Progress = Callable[[int, int], None]
"""Called with the number of files and of bytes that arrived since the last call, from any thread."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """One file that arrived whole: what the host said of it."""

    sha256: str
    size: int
    modified: datetime
    attributes: int


@dataclass(slots=True, eq=False)
class Wanted:
    """One file to be fetched, and what is known of it so far."""

    path: str
    """relative to the root"""
    expected: str | None
    """digest, by the listing"""
    size: int
    """bytes, by the listing"""
    modified_ticks: int
    """by the listing"""
    attributes: int
    """by the listing"""
    secret: bool
    """whether only its owner may read it here"""
    whole: Assembly | None = None
    """where its parts come together, if it is large and its content is known"""
    spoiled: bool = False
    """it is not what the listing says any more: no use to go on with its parts"""
    suspect: str = ""
    """digest of the last whole read that was not what was expected"""
    reads: int = 0
    """how often it was read to its end"""
    changes: int = 0
    """how often it changed meanwhile, as its size or its time tell"""

    def listed(self) -> Fetched:
        """Return it as the listing has it, for a content that is what the listing says."""
        assert self.expected is not None
        moment = ticks_to_datetime(self.modified_ticks)
        return Fetched(self.expected, self.size, moment, self.attributes)

    def judge(self, begun: FileBegin, ended: FileEnd, digest: str) -> Fetched | None:
        """Given a whole read, return the file if it is no torn one, else None: then it is to be read again.

        Windows tells the time of a file that a service holds open late, so that size and time alone are no
        proof. The digest of the listing is one, and so are two reads that agree.
        """
        self.reads += 1
        if (begun.size, begun.modified_ticks) != (ended.size, ended.modified_ticks):
            self.suspect = ""
            self.changes += 1
            return None
        if digest not in (self.expected, self.suspect):
            self.suspect = digest
            return None
        return Fetched(digest, begun.size, ticks_to_datetime(begun.modified_ticks), begun.attributes)

    @property
    def worn_out(self) -> str:
        """Return why it is not read once more, or '' if it is."""
        if self.changes >= READS_OF_A_CHANGING_FILE:
            return f"changed while it was read, {self.changes} times in a row"
        if self.reads - self.changes >= READS_OF_A_CHANGING_FILE:
            return "its content changes from read to read, though its time does not"
        return ""


GONE = "was gone when it was to be read"


def reason(error_id: str, message: str, deed: str = "read") -> str:
    """Given an error id of the scripts, the host's own words, and what was to be done with the file (read,
    written), return what a person needs to know.
    """
    known = {
        "ExRemote.FileLocked": "is locked by another process",
        "ExRemote.FileMissing": GONE,
        "ExRemote.AccessDenied": f"may not be {deed} by this account",
        "ExRemote.ReadFailed": "could not be read",
        "ExRemote.WriteFailed": "",
    }.get(error_id, f"could not be {deed} ({error_id})")
    return ": ".join(filter(None, (known, message))) or f"could not be {deed}"


@dataclass(slots=True, eq=False)
class Span:
    """A file, or part of one, that is still to come."""

    wanted: Wanted
    place: int = 0
    """where the next byte belongs"""
    stop: int | None = None
    """where it ends; None: with the file"""
    begun: FileBegin | None = None
    """the host's first words about it"""
    writer: ObjectWriter | None = None
    """where it goes"""

    @property
    def left(self) -> int:
        """Return about how many bytes are to come."""
        return max(0, (self.wanted.size if self.stop is None else self.stop) - self.place)

    def split(self, most: int) -> Span | None:
        """Given how many bytes may come another way, cut off about as many; None if it comes as one."""
        if self.wanted.whole is None or most < _CUT:
            return None
        cut = (self.place + self.left - most) // _CUT * _CUT
        if cut < self.place + _CUT:
            return None
        part, self.stop = Span(self.wanted, cut, self.stop), cut
        return part

"""What a walk over a .bkf found, as plain values. It judges no backup: what was asked for is unknown here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

FaultKind = Literal["not a tape", "truncated", "corrupt", "not closed", "aborted", "other medium"]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that makes the file, or a part of it, no good."""

    kind: FaultKind
    """in two words"""
    at: int
    """byte in the file where it was noticed"""
    message: str
    """a sentence that names the part"""

    @property
    def text(self) -> str:
        """Return it for a person."""
        return f"{self.kind} at byte {self.at}: {self.message}"


@dataclass(frozen=True, slots=True)
class Found:
    """One directory or file of a set, told while it is walked over."""

    number: int
    """of its set"""
    kind: Literal["directory", "file", "object"]
    """an object is a FILE block whose directory no directory of the set is: Exchange's sets have them"""
    path: str
    """device, folders and name as far as the tape has them"""
    size: int
    """bytes by the block's own word; -1 for a directory"""
    modified: str
    """local time of the machine, as ISO text; '' if unknown"""
    corrupt: bool = False
    """the tape itself marks it so; told again, after its first mention"""


@dataclass(frozen=True, slots=True)
class DataSet:
    """One backup set."""

    number: int
    """from 1 in the family"""
    name: str
    """the set's name: what the job called it"""
    description: str
    """'' if none"""
    user: str
    """who ran it, by the tape's word"""
    method: str
    """normal, copy, differential, incremental, daily, transfer, or unknown"""
    written: str
    """local time of the machine, as ISO text; '' if unknown"""
    volumes: tuple[str, ...]
    """device names as the set has them; may be empty in a set that holds no files"""
    machine: str
    """whose volumes they are; '' if the set does not say"""
    directories: int
    """how many"""
    files: int
    """how many; objects that are no files of a directory are among them"""
    objects: int
    """files whose directory the set does not have"""
    bytes: int
    """of data streams, as they lie in the file"""
    corrupt_files: int
    """by the end of the set's own count"""
    closed: bool
    """the block that ends it is there and agrees with the one that began it"""


@dataclass(frozen=True, slots=True)
class Tape:
    """All that a walk found."""

    size: int
    """bytes of the file"""
    walked: int
    """bytes up to which every block and stream held together"""
    media_name: str
    """as the medium is called"""
    label: str
    """its description, or media label"""
    software: str
    """what wrote it, by its own word"""
    vendor: int
    """the writer's number"""
    block: int
    """bytes of a format logical block; 0 if there is no tape"""
    sets: tuple[DataSet, ...]
    """in order"""
    blocks: int
    """descriptor blocks that were read"""
    streams: int
    """streams that were read"""
    filemarks: int
    """soft filemarks that were read"""
    faults: tuple[Fault, ...]
    """what is broken; empty: the file is whole"""
    doubts: tuple[str, ...]
    """what the descriptions of the format do not settle; one sentence each"""
    more_faults: int = 0
    """faults beyond those that are listed"""

    @property
    def whole(self) -> bool:
        """Return whether the file ends where its own blocks say it does, with nothing broken on the way."""
        return not self.faults

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values, for a document of a snapshot."""
        plain = {name: getattr(self, name) for name in self.__slots__ if name not in ("sets", "faults")}
        return plain | {
            "whole": self.whole,
            "doubts": list(self.doubts),
            "faults": [{"kind": f.kind, "at": f.at, "message": f.message} for f in self.faults],
            "sets": [
                {name: getattr(s, name) for name in s.__slots__} | {"volumes": list(s.volumes)}
                for s in self.sets
            ],
        }

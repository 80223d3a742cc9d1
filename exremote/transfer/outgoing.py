"""One file on its way to a host, or a piece of one, and what the host has of it. It sends nothing.

A host whose file has a hole cannot tell how far it came. So what another stream sends of a large file lies in
a file of its own there, a piece, until the host joins them. Its name tells where it belongs, also to another
run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from exremote.errors import RepositoryError
from exremote.facts import FileEntry
from exremote.folding import folded

ATTRIBUTES = 0x27 | 0x2000
"""Attributes that can be set: read-only, hidden, system, archive, not indexed."""
_NORMAL = 0x80
LARGEST_PIECE = 64 << 20
"""Bytes of a piece at most: while it is joined, the host has it twice, in the room that plans leave free."""
LEAST_PIECE = 4 << 20
_CUT = 1 << 20
"""A file is cut at multiples of this."""
LONGEST_PATH = 259
"""Characters of a full path that Windows takes."""
NUMBER = len(".exremote-") + 15
"""Characters by which the path of a piece may be longer than the file's."""
_PIECE = re.compile(r"(.+)\.exremote-([0-9]{1,15})", re.DOTALL)
_READ = 256 * 1024


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One file that is to lie on the host."""

    path: str
    r"""relative to the folder there, with `\`"""
    source: Path
    """its content, here"""
    size: int
    """bytes"""
    sha256: str
    """of the content; '' for a piece, which is hashed when that is needed"""
    modified_ticks: int
    """last write time that it is to have, in .NET ticks"""
    attributes: int = 0x20
    """FileAttributes that it is to have; those that cannot be set are left out"""
    start: int = 0
    """where in the source its content begins, in bytes"""

    @property
    def settable(self) -> int:
        """Return those of its attributes that can be set: normal if there are none."""
        return (self.attributes & ATTRIBUTES) or _NORMAL

    def read(self, place: int = 0) -> Iterator[bytes]:
        """Given a place in it, yield what comes from there to its end. Raise RepositoryError."""
        try:
            with self.source.open("rb") as stream:
                stream.seek(self.start + place)
                while place < self.size and (data := stream.read(min(_READ, self.size - place))):
                    place += len(data)
                    yield data
        except OSError as error:
            raise RepositoryError(f"cannot be read: {error.strerror}.", path=self.source) from error
        if place < self.size:
            raise self._changed(f"it has less than its {self.start + self.size} bytes")

    def digest(self) -> str:
        """Return the SHA-256 of its content, as it is here. Raise RepositoryError."""
        digest = hashlib.sha256()
        for data in self.read():
            digest.update(data)
        return digest.hexdigest()

    def beginning(self, entry: FileEntry) -> int | None:
        """Given what lies on the host under its name, return how many bytes of it those are. None: not its.

        Raise RepositoryError.
        """
        if entry.state != "file" or not 0 <= entry.size <= self.size:
            return None
        if entry.size == self.size and self.sha256:
            return entry.size if entry.sha256 == self.sha256 else None
        # Of nothing, nothing has to be hashed.
        same = not entry.size or entry.sha256 == replace(self, size=entry.size).digest()
        return entry.size if same else None

    def unchanged(self) -> None:
        """Raise RepositoryError if it is another one here by now: no host is to blame."""
        if self.sha256 and self.digest() != self.sha256:
            raise self._changed("its content is another one")

    def _changed(self, how: str) -> RepositoryError:
        return RepositoryError(
            f"was changed here since it was read last: {how}.",
            path=self.source,
            remedy="`exremote verify` tells what else of the repository is damaged.",
        )


def piece_at(file: Outgoing, start: int, size: int) -> Outgoing:
    """Given a file, and where in it a piece begins and how large that is, return the piece."""
    return replace(file, path=f"{file.path}.exremote-{start}", start=start, size=size, sha256="")


@dataclass(slots=True, eq=False)
class Pending:
    """One file, or piece of one, on its way. What several lanes see of it changes under the board's lock."""

    file: Outgoing
    """what is sent; it becomes shorter when its end goes another way"""
    room: int = 0
    """by how many characters its path may become longer; 0: it is sent as one"""
    torn: Torn | None = None
    """the file that it is a piece of"""
    place: int = 0
    """what of it is there already, in bytes"""
    sent: bool = False
    """whether anything of it travelled"""
    ended: bool = False
    """whether a script that ended well ended it, too: time and attributes are as good as it gets"""
    counted: bool = False
    """whether it was seen there, as it is to be"""
    seen: int = 0
    """the most of it that was ever known to be there, in bytes, and one more if it was all"""
    tries: int = 0
    """how often it was sent to its end, or refused as not what was sent"""

    @property
    def left(self) -> int:
        """Return how many bytes are to be sent."""
        return self.file.size - self.place

    @property
    def name(self) -> str:
        """Return the path of the file, also for a piece of it."""
        return self.file.path if self.torn is None else self.torn.file.path

    def rest(self) -> Iterator[bytes]:
        """Yield what is still to be sent of it, and move the place along. Raise RepositoryError."""
        for data in self.file.read(self.place):
            ours = data[: self.file.size - self.place]  # its end may have been cut off meanwhile
            if not ours:
                return
            self.place += len(ours)
            yield ours

    def split(self, most: int) -> Pending | None:
        """Given how many bytes may go another way, cut off as many of the last. None: it is too small."""
        size = min(most, LARGEST_PIECE)
        cut = (self.file.size - size + _CUT - 1) // _CUT * _CUT
        if size < LEAST_PIECE or cut >= self.file.size or cut < self.place + LEAST_PIECE:
            return None
        if self.room < NUMBER:
            return None
        torn = self.torn = self.torn or Torn(self.file, self)
        return torn.cut(self, cut)

    def look(self, found: Mapping[str, FileEntry]) -> bool:
        """Given what lies on the host, by folded path, see how far it is there. Return whether it is all."""
        entry = found.get(folded(self.file.path))
        # The first piece may be longer there than it is to be: a run that broke off had joined others to it.
        first = self.torn is not None and self.torn.first is self
        ours = self.torn.file if self.torn is not None and first else self.file
        there = None if entry is None else ours.beginning(entry)
        self.place = min(there or 0, self.file.size)
        if entry is None or there is None or there < self.file.size:
            return False
        return self.torn is not None or self.ended or _dressed(self.file, entry)


@dataclass(slots=True, eq=False)
class Torn:
    """A file that goes to the host in pieces."""

    file: Outgoing
    """as it is to be"""
    first: Pending
    """the piece that has its name"""
    others: list[Pending] = field(default_factory=list)

    def cut(self, piece: Pending, at: int) -> Pending:
        """Given one of its pieces, and a place in that, cut it there. Return the new piece, the end of it."""
        file, start = piece.file, piece.file.start + at
        end = piece_at(self.file, start, file.size - at)
        piece.file = replace(file, size=at, sha256="")
        new = Pending(end, piece.room, self)
        self.others.append(new)
        return new

    def pieces(self) -> list[Pending]:
        """Return all of them, as they follow each other."""
        return [self.first, *sorted(self.others, key=lambda one: one.file.start)]

    def tail(self) -> Outgoing:
        """Return what lies behind the first piece, as one."""
        start = self.first.file.size
        return replace(self.file, start=start, size=self.file.size - start, sha256="")


def take_up(one: Pending, pieces: Mapping[str, list[int]]) -> list[Pending]:
    """Given a file, and where pieces of files begin that lie on the host, return it in these pieces."""
    starts = sorted({at for at in pieces.get(folded(one.file.path), ()) if 0 < at < one.file.size})
    if not starts or one.torn is not None:
        return [one]
    one.torn = Torn(one.file, one)
    for at in reversed(starts):
        one.torn.cut(one, at)
    return one.torn.pieces()


def piece_of(path: str) -> tuple[str, int] | None:
    """Given a path on the host, return the file's, and where in it the piece begins. None: it is no piece."""
    match = _PIECE.fullmatch(path)
    return (match[1], int(match[2])) if match is not None else None


def pieces_in(found: Mapping[str, FileEntry], wanted: Collection[str]) -> dict[str, list[int]]:
    """Given what lies on the host, by folded path, return where pieces begin, by the file's folded path.

    `wanted`: the folded paths of all files; one of these is no piece, whatever its name.
    """
    pieces: dict[str, list[int]] = {}
    for path in found:
        if (piece := piece_of(path)) is not None and path not in wanted:
            pieces.setdefault(piece[0], []).append(piece[1])
    return pieces


def _dressed(file: Outgoing, entry: FileEntry) -> bool:
    """Given a file and what lies there under its name, return whether its time and attributes are right."""
    same_time = entry.modified_ticks // 10 == file.modified_ticks // 10
    return same_time and (entry.attributes ^ file.attributes) & ATTRIBUTES == 0

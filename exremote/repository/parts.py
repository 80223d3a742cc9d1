"""One content on its way in, in parts that may come side by side, and go on after the process was killed.

A part is a file named by the content's digest and the place of its first byte. Parts only grow. What a killed
run left of a content whose digest is known is as good as what this run brings: all of it is held against the
digest when it is whole.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable
from pathlib import Path

from exremote.repository import disk
from exremote.repository.objects import ObjectStore, ObjectWriter

_NAME = re.compile(r"([0-9a-f]{64})-([0-9]{1,18})\.part")


def part_path(folder: Path, sha256: str, start: int) -> Path:
    """Given a content and where a part of it begins, return the part's file."""
    return folder / f"{sha256}-{start}.part"


def parts_in(folder: Path, sha256: str = "") -> list[tuple[Path, str, int]]:
    """Given a folder, return the parts in it, of one content or all: file, digest, where it begins."""
    files = (p for p in sorted(folder.glob(f"{sha256}*.part")) if p.is_file() and not disk.is_link(p))
    found = ((path, _NAME.fullmatch(path.name)) for path in files)
    return [(path, match[1], int(match[2])) for path, match in found if match]


class Assembly:
    """The parts of one content. Threads may write to different parts."""

    def __init__(
        self,
        folder: Path,
        kept: Path,
        store: ObjectStore,
        sha256: str,
        size: int,
        opened: Callable[[ObjectWriter], None],
        closed: Callable[[ObjectWriter], None],
    ) -> None:
        """Given where parts lie, where killed runs left some, and the content, take up what there is."""
        self.sha256 = sha256
        """the content"""
        self.size = size
        """of the whole, in bytes"""
        self._folder = folder
        self._store = store
        self._opened = opened
        self._closed = closed
        self._lock = threading.Lock()
        self._parts: dict[int, ObjectWriter] = {}
        with disk.said(folder, "taking up what a killed run left"):
            for path, _, start in parts_in(kept, sha256):
                with contextlib.suppress(FileNotFoundError):  # another host's was faster
                    disk.move(path, part_path(folder, sha256, start))
        for path, _, start in parts_in(folder, sha256):
            if start < size:
                self._open(start)
            else:
                disk.remove(path)

    def _open(self, start: int) -> ObjectWriter:
        part = ObjectWriter(part_path(self._folder, self.sha256, start), self._store, self._closed)
        self._opened(part)
        self._parts[start] = part
        return part

    def gaps(self) -> list[tuple[int, int]]:
        """Return what is still missing: from where, to where."""
        with self._lock:
            place, missing = 0, []
            for start, part in sorted(self._parts.items()):
                if start > place:
                    missing.append((place, start))
                place = max(place, start + part.size)
            if place < self.size:
                missing.append((place, self.size))
            return missing

    def part(self, place: int) -> ObjectWriter:
        """Given the place of a byte that is missing, return the part it goes to, an old or a new one."""
        with self._lock:
            for start, part in self._parts.items():
                if start + part.size == place and (part.size or start == place):
                    return part
            return self._open(place)

    def join(self) -> ObjectWriter:
        """Put the parts together, now that none is missing. Return the whole, its digest not compared yet."""
        with self._lock:
            (_, whole), *others = sorted(self._parts.items())
            for start, part in others:
                part.close()
                skip = whole.size - start
                for piece in disk.pieces(part.path):
                    if skip < len(piece):
                        whole.write(piece[max(skip, 0) :])
                    skip -= len(piece)
                part.discard()
            self._parts = {0: whole}
            return whole

    def discard(self) -> None:
        """Forget all that there is of it."""
        with self._lock:
            for part in self._parts.values():
                part.discard()
            self._parts = {}

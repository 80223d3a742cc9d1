"""Whether what hosts are about to bring fits the repository's volume, all together. It deletes nothing.

It is a judgement beforehand, by the plans' own numbers: what is not here yet, what snapshots need besides,
and what other hosts of the run are still to bring. A volume that fills up all the same is met where it is
written.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from exremote.compact import Crowd
from exremote.errors import RepositoryError
from exremote.repository import disk
from exremote.repository.parts import parts_in
from exremote.wording import count_text, size_text

CLUSTER = 4096
"""What the last bytes of a file take on a volume."""
LARGE = 8 << 20
"""Bytes from which on a file may come in parts, which lie beside the whole while they are joined."""


@dataclass(frozen=True, slots=True)
class Need:
    """What one host is about to bring, by its plan."""

    contents: Mapping[str, int]
    """Digest and size of each content that the repository lacks."""
    lists: int = 0
    """Bytes of manifests, listings and facts, about."""
    copies: int = 0
    """Bytes of all files of its snapshots, which a volume without hard links takes once more."""


@dataclass(slots=True)
class _Share:
    contents: Crowd
    size: int
    arrived: int = 0

    @property
    def due(self) -> int:
        return max(0, self.size - self.arrived)


@dataclass(slots=True)
class Room:
    """The room on the repository's volume, as the hosts of one run share it. Threads may use one."""

    root: Path
    """Of the repository."""
    path: Path
    """The same, as a person writes it."""
    kept: Path
    """Where parts of contents lie that killed runs left."""
    keep_free: int
    """Bytes that are to stay free."""
    _shares: dict[str, _Share] = field(default_factory=dict)
    _links: bool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def reserve(self, host: str, need: Need) -> None:
        """Given a host and what it needs, set that apart. Raise RepositoryError if it is too much.

        A host that brings no content is let through: the record that nothing changed is worth its few bytes.
        """
        if not need.contents:
            return
        with self._lock:
            fresh, here, joined = self._fresh(host, need.contents)
            copies = 0 if self._can_link() else need.copies
            size = fresh + need.lists + copies
            free = shutil.disk_usage(self.root).free
            due = sum(share.due for name, share in self._shares.items() if name != host)
            room = free - self.keep_free - due
            if size > room:
                raise self._too_small(need, size, free, due, room, here, copies, joined)
            self._shares[host] = _Share(Crowd(need.contents), size)

    def arrived(self, host: str, size: int) -> None:
        """Given bytes that came from a host, count them as free no more: the volume says so itself."""
        with self._lock:
            if share := self._shares.get(host):
                share.arrived += size

    def release(self, host: str) -> None:
        """Given a host that brings no more, give up what was set apart for it."""
        with self._lock:
            self._shares.pop(host, None)

    def _fresh(self, host: str, contents: Mapping[str, int]) -> tuple[int, int, int]:
        """Given contents, return the bytes that they take at most, those that lie here in parts already, and
        those that lie here twice for a while.

        What another host is bringing is kept once; while both bring it, one file of it may lie here twice. A
        large file that came in parts is joined: for a while half of it lies here twice.
        """
        others = [share.contents for name, share in self._shares.items() if name != host]
        kept: dict[str, int] = {}
        with disk.said(self.kept, "looking for what killed runs left"):
            for part, sha256, _ in parts_in(self.kept) if self.kept.is_dir() else ():
                with contextlib.suppress(FileNotFoundError):
                    kept[sha256] = kept.get(sha256, 0) + part.stat().st_size
        total = here = twice = joined = 0
        for sha256, size in contents.items():
            rounded = size + CLUSTER
            if any(sha256 in one for one in others):
                twice = max(twice, rounded)
                continue
            have = min(size, kept.get(sha256, 0))
            here += have
            total += rounded - have
            joined = max(joined, size // 2 if size >= LARGE else 0)
        return total + twice + joined, here, joined

    def _can_link(self) -> bool:
        """Return whether the volume gives a file a second name. It is tried once."""
        if self._links is None:
            one, other = (self.root / "partial" / f"link-{secrets.token_hex(6)}" for _ in range(2))
            try:
                one.touch()
                os.link(one, other)
                self._links = True
            except OSError:
                self._links = False
            finally:
                for path in (one, other):
                    with contextlib.suppress(OSError):
                        path.unlink(missing_ok=True)
        return self._links

    def _too_small(
        self, need: Need, size: int, free: int, due: int, room: int, here: int, copies: int, joined: int
    ) -> RepositoryError:
        besides = f"and {size_text(need.lists)} of lists"
        besides += f", and {size_text(copies)} for copies, as this volume has no hard links" if copies else ""
        besides += f", and {size_text(joined)} while a large file is joined from its parts" if joined else ""
        besides += f"; {size_text(here)} lie here already" if here else ""
        less = f"less {size_text(self.keep_free)} that stay free (keep_free)"
        less += f" and {size_text(due)} that other hosts of this run are bringing" if due else ""
        return RepositoryError(
            f"there is no room for this host, of which nothing was copied: it needs {size_text(size)} "
            f"({count_text(len(need.contents), 'content')} that the repository lacks, {besides}), and there "
            f"are {size_text(max(0, room))}: {size_text(free)} free, {less}.",
            path=self.path,
            remedy="Make room on the volume (`exremote forget --prune`), move the repository to a larger "
            "one, or lower keep_free in the inventory; then `exremote resume` the run.",
        )

"""The objects: each content once, for all hosts, named by its SHA-256. It never knows what a file was for.

A file comes in through a writer into partial/, and gets its name under objects/ only when its data are on the
disk. Finished files wait for that together: a thousand small ones then cost a few commits of the file system
instead of a thousand, and each folder of objects/ is flushed once for many. While they wait they count as
present; a commit settles them first.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import stat
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from exremote.repository import disk
from exremote.repository.damage import DamageNotes

WAITING_FILES = 4096
WAITING_BYTES = 256 << 20
"""How much may wait for the disk together."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(slots=True)
class _Waiting:
    path: Path
    size: int
    secret: bool


class ObjectStore:
    """The folder objects/. All threads of a run share one."""

    def __init__(self, folder: Path, damage: DamageNotes) -> None:
        self.folder = folder
        """objects/"""
        self._folder = str(folder)
        self._damage = damage
        self._gate = threading.Lock()  # guards the table, never held over anything slow
        self._settling = threading.Lock()
        self._waiting: dict[str, _Waiting] = {}
        self._waiting_bytes = 0

    def place(self, sha256: str) -> Path:
        """Given a digest, return where its object is or would be. Raise ValueError if it is no digest."""
        return self.folder / _checked(sha256)[:2] / sha256

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Given a digest and a size, return whether that object is here, in that size, and not bad."""
        with self._gate:
            waiting = self._waiting.get(sha256)
        if waiting is not None:
            return size is None or waiting.size == size
        if self._damage.counts_as_missing(sha256):
            return False
        try:
            # Asked four times for each file of a backup: a Path would take thrice as long to make.
            status = os.lstat(os.path.join(self._folder, _checked(sha256)[:2], sha256))  # noqa: PTH118
        except OSError:
            return False
        if not stat.S_ISREG(status.st_mode):
            return False  # a link would let the repository name a file that lies elsewhere
        found = status.st_size
        # Without a size, an empty file is what a crash of the volume leaves, unless it is the empty file.
        return found == size if size is not None else found > 0 or sha256 == hashlib.sha256().hexdigest()

    def add(self, source: Path, sha256: str, size: int, secret: bool) -> None:
        """Given a whole file of this content, take it over. Raise RepositoryError if the system refuses."""
        with self._gate:
            waiting = self._waiting.get(sha256)
            if waiting is not None:
                waiting.secret |= secret
        if waiting is not None or self.has(sha256, size):
            disk.remove(source)
            if secret and waiting is None:
                self.tighten(sha256)
            return
        with self._gate:
            twin = self._waiting.setdefault(sha256, _Waiting(source, size, secret))
            twin.secret |= secret
            self._waiting_bytes += size if twin.path == source else 0
            enough = len(self._waiting) >= WAITING_FILES or self._waiting_bytes >= WAITING_BYTES
        if twin.path != source:
            disk.remove(source)
        if enough:
            self.settle()

    def settle(self, needed: Iterable[str] | None = None) -> None:
        """Given digests (None: all), return when none of them waits: data on the disk, name in place."""
        with self._settling:
            with self._gate:
                batch = dict(self._waiting)
            if not batch or (needed is not None and not any(sha256 in batch for sha256 in needed)):
                return
            with disk.said(self.folder, "storing files"):
                disk.sync_files([waiting.path for waiting in batch.values()])
                folders = set()
                for sha256, waiting in batch.items():
                    target = self.place(sha256)
                    if target.parent not in folders:
                        disk.make_folder(target.parent)
                        folders.add(target.parent)
                    disk.keep(waiting.path, waiting.secret)
                    disk.replace(waiting.path, target)
                    self._damage.came(sha256)
                    with self._gate:
                        self._waiting_bytes -= self._waiting.pop(sha256).size
                    if waiting.secret:  # it may have become one while it waited
                        self.tighten(sha256)
                disk.sync_folders([*folders, self.folder])

    def tighten(self, sha256: str) -> None:
        """Given the digest of an object, let its owner alone read it, under all its names."""
        disk.keep(self.place(sha256), secret=True)

    def all(self) -> Iterator[Path]:
        """Return everything that lies under objects/, in order: objects, and what should not be there."""
        for folder in sorted(self.folder.iterdir()):
            if folder.is_dir() and not disk.is_link(folder):
                yield from sorted(folder.iterdir())
            else:
                yield folder


def _checked(sha256: str) -> str:
    """Given a digest, return it. Raise ValueError if it is none."""
    if not _SHA256.fullmatch(sha256):
        raise ValueError(f"not a SHA-256: {sha256!r}")
    return sha256


def whole_files(folder: Path) -> list[Path]:
    """Given a folder under partial/, return the files in it that were finished, and links to none."""
    return [done for done in folder.glob("*.done") if done.is_file() and not disk.is_link(done)]


class ObjectWriter:
    """A file on its way in. Opened again by `Staging.writer` with the same key, it goes on where it was."""

    def __init__(self, path: Path, store: ObjectStore, closed: Callable[[ObjectWriter], None]) -> None:
        self.path = path
        """its file, as long as it is not handed over"""
        self._closed = closed
        self._store = store
        self._digest = hashlib.sha256()
        self.size = 0
        """bytes so far"""
        with disk.said(path, "opening a partial file"):
            self._file: int | None = disk.open_to_append(path)
            try:
                for piece in disk.pieces(path) if os.fstat(self._file).st_size else ():
                    self._digest.update(piece)
                    self.size += len(piece)
            except OSError:
                os.close(self._file)
                raise

    def write(self, data: bytes) -> None:
        """Given the next bytes, append them. Raise RepositoryError, size unchanged, if the system refuses."""
        file = self._opened()
        with disk.said(self.path, "storing a file"):
            try:
                disk.write_all(file, data)
            except OSError:
                os.ftruncate(file, self.size)
                raise
        self._digest.update(data)
        self.size += len(data)

    def digest(self) -> str:
        """Return the SHA-256 of all bytes so far."""
        return self._digest.hexdigest()

    def finish(self, secret: bool = False) -> str:
        """Hand the file over to the objects and return its SHA-256. A secret one only its owner may read."""
        self.close()
        sha256 = self.digest()
        with disk.said(self.path, "storing a file"):
            # Under a name of its own, so that a writer with the same key cannot change what waits.
            done = self.path.with_name(f"{secrets.token_hex(8)}.done")
            disk.move(self.path, done)
            self._store.add(done, sha256, self.size, secret)
        return sha256

    def discard(self) -> None:
        """Forget the file. A second call does nothing."""
        self.close()
        with disk.said(self.path, "removing a partial file"):
            disk.remove(self.path)

    def close(self) -> None:
        """Let go of the file and keep it for later."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self._closed(self)

    def _opened(self) -> int:
        if self._file is None:
            raise ValueError("this writer is closed")
        return self._file

"""A snapshot as plain files under the host's own names. It never writes where something is already.

What the system can keep comes with the file: the time always, on Windows the attributes, elsewhere the
read-only one. A file that is secret is its owner's alone.
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from exremote.errors import UsageError
from exremote.repository import disk
from exremote.repository.composed import Composed
from exremote.repository.manifest import (
    FILES,
    MANIFEST,
    MANIFEST_SUM,
    RENAMED,
    SUMS,
    Document,
    Entry,
    Manifest,
)
from exremote.repository.names import UnsafeName, extended, stored_path
from exremote.repository.snapshot import Snapshot

TABLES = "tables/"
"""Where an export puts what newer tables say of themselves."""
READ_ONLY = 0x1
_SETTABLE = 0x1 | 0x2 | 0x4 | 0x20 | 0x2000  # read-only, hidden, system, archive, not indexed


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote."""

    files: int
    """files of the host"""
    bytes: int
    """their sizes together"""
    documents: int
    """registry texts, service states and what else the snapshot says itself"""
    renamed: tuple[tuple[str, str], ...]
    """files whose own name this system does not take: the host's path, and where it lies"""
    damaged: tuple[tuple[str, str, str], ...]
    """files that are not what the manifest says, and are not there: path, expected, actual"""


def export(
    snapshot: Snapshot | Composed,
    into: Path,
    items: Collection[str],
    moved: Callable[[int, int], None],
    folders: Mapping[str, Iterable[str]] | None = None,
) -> Exported:
    """Given a snapshot, write its files into a folder: `files/ITEM/` and the host's path, documents beside.

    Where newer tables lie over it, their files are among the others, and their documents under `tables/`.
    With `items`, only the files of these. `folders`, by item, are made though nothing lies in them. `moved`
    is told of files and bytes. Return what was written; a damaged file is not, and does not stop the others.
    Raise UsageError if the folder is not empty or an item unknown, IntegrityError if the manifest cannot be
    trusted, RepositoryError if the system refuses.
    """
    manifest = snapshot.manifest
    known = {e.item for e in manifest.entries} | set(manifest.trees)
    for item in items:
        if item not in known:
            raise UsageError(f"The snapshot has no item {item}.", f"It has: {', '.join(sorted(known))}.")
    with disk.said(into, "the export", clear=f"delete {into}"):
        if into.exists() and (not into.is_dir() or any(into.iterdir())):
            raise UsageError(
                f"{into} is not an empty folder.", "Name a new folder, or empty this one yourself."
            )
        into = Path(extended(os.path.abspath(into), os.name == "nt"))  # noqa: PTH100 - follow no link
        disk.make_folder(into)
        return _Export(snapshot, into, moved).write(manifest, items, folders or {})


class _Export:
    def __init__(self, snapshot: Snapshot | Composed, into: Path, moved: Callable[[int, int], None]) -> None:
        self._snapshot = snapshot
        self._into = into
        self._moved = moved
        self._sums: list[tuple[str, str]] = []
        self._renamed: list[tuple[str, str]] = []
        self._damaged: list[tuple[str, str, str]] = []

    def write(
        self, manifest: Manifest, items: Collection[str], folders: Mapping[str, Iterable[str]]
    ) -> Exported:
        """Write everything. Return what was written."""
        files = size = 0
        for entry in manifest.entries:
            if items and entry.item not in items:
                continue
            place = self._place(entry)
            if self._copy(entry, self._snapshot.file(entry), place, entry.path):
                self._dress(place, entry)
                self._moved(1, entry.size)
                files, size = files + 1, size + entry.size
        for item, paths in folders.items():
            for path in paths if item in items or not items else ():
                self._folder(item, path)
        documents = self._documents(self._snapshot.path, manifest.documents, "")
        over = self._snapshot.tables if isinstance(self._snapshot, Composed) else None
        if over is not None:
            documents += self._documents(over.path, over.manifest.documents, TABLES)
        text = "".join(f"{digest}  {name}\n" for name, digest in sorted(self._sums))
        disk.write_new(self._into / SUMS, text.encode("utf-8", "surrogatepass"), kept=False)
        return Exported(files, size, documents, tuple(self._renamed), tuple(self._damaged))

    def _documents(self, source: Path, documents: Iterable[Document], below: str) -> int:
        """Given a snapshot's folder and its documents, write these and its manifest. Return how many."""
        count = 0
        for document in documents:
            if document.stored != SUMS:
                name = below + document.stored
                count += self._copy(document, source / document.stored, self._into / name, name)
        for name in (MANIFEST, MANIFEST_SUM):
            disk.make_folder((self._into / (below + name)).parent)
            data = (source / name).read_bytes()
            _, digest = disk.write_new(self._into / (below + name), data, kept=False, sync=False)
            self._sums.append((below + name, digest))
        return count

    def _place(self, entry: Entry) -> Path:
        """Return where a file goes: under its own name, or under the snapshot's where that cannot be."""
        own = Path(self._into, FILES, entry.item, *entry.path.split("\\"))
        try:
            if _is_odd(entry.item, entry.path, entry.stored):
                raise OSError("not a name for a person")
            disk.make_folder(own.parent)
            # Made and held at once: of two names that this system takes for one, the second is told.
            os.close(os.open(own, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except (OSError, UnicodeEncodeError) as error:
            if isinstance(error, OSError) and disk.is_full(error):
                raise
            place = self._into / RENAMED / entry.stored
            disk.make_folder(place.parent)
            disk.write_new(place, b"", kept=False, sync=False)
            self._renamed.append((f"{entry.item}: {entry.path}", place.relative_to(self._into).as_posix()))
            return place
        return own

    def _folder(self, item: str, path: str) -> None:
        """Make a folder, with something in it or not; one that cannot have its own name as the snapshot would
        have it.
        """
        try:
            stored = stored_path(item, path)
        except UnsafeName as error:
            self._renamed.append((f"{item}: {path}", f"not made: {error.message}"))
            return
        try:
            if _is_odd(item, path, stored):
                raise OSError("not a name for a person")
            disk.make_folder(Path(self._into, FILES, item, *path.split("\\")))
        except (OSError, UnicodeEncodeError) as error:
            if isinstance(error, OSError) and disk.is_full(error):
                raise
            place = self._into / RENAMED / stored
            disk.make_folder(place)
            self._renamed.append((f"{item}: {path}", place.relative_to(self._into).as_posix()))

    def _copy(self, file: Entry | Document, source: Path, place: Path, name: str) -> bool:
        """Write one file and hold it against its digest. Return whether it is good; a bad one is not left."""
        digest = hashlib.sha256()
        disk.make_folder(place.parent)
        handle = os.open(place, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o600)
        try:
            for piece in _readable(source, file.size):
                disk.write_all(handle, piece)
                digest.update(piece)
        finally:
            os.close(handle)
        if digest.hexdigest() != file.sha256:
            place.unlink()
            self._damaged.append((name, file.sha256, digest.hexdigest()))
            return False
        shown = place.relative_to(self._into).as_posix()
        self._sums.append((shown, file.sha256))
        return True

    def _dress(self, place: Path, entry: Entry) -> None:
        """Give a file its time and attributes, and its secrecy."""
        with suppress(OSError, OverflowError, ValueError):  # a time that the volume cannot keep
            moment = entry.modified.timestamp()
            os.utime(place, (moment, moment))
        if entry.secret:
            disk.make_private(place, folder=False)
        if sys.platform == "win32":
            import ctypes

            ctypes.WinDLL("kernel32").SetFileAttributesW(str(place), entry.attributes & _SETTABLE or 0x80)
        elif entry.attributes & READ_ONLY:
            place.chmod(stat.S_IMODE(place.stat().st_mode) & ~0o222)


def _is_odd(item: str, path: str, stored: str) -> bool:
    """Return whether nobody could name a path at a prompt, or Windows would drop a dot at its end.

    A snapshot keeps what has an ordinary name under that, but for `%`.
    """
    ordinary = stored.replace("%25", "%") == f"files/{item}/" + path.replace("\\", "/")
    return any(c < " " for c in path) or (os.name == "nt" and not ordinary)


def _readable(source: Path, size: int) -> Iterator[bytes]:
    """Read a file; one that is missing or cannot be read is as good as empty: its digest will say so.

    Of one that has more than its size no more is read than shows that: it could fill the disk.
    """
    read = 0
    with suppress(OSError):
        for piece in disk.pieces(source):
            yield piece
            read += len(piece)
            if read > size:
                return

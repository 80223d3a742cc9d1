"""A snapshot's folder on its way: built under partial/, moved into place. It never decides what is in it."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Collection, Iterable
from pathlib import Path
from types import TracebackType

from exremote.errors import IntegrityError, RepositoryError
from exremote.repository import disk
from exremote.repository.manifest import Document, Entry
from exremote.repository.names import checked_host, checked_word
from exremote.repository.objects import ObjectStore


def home_of(root: Path, host: str) -> Path:
    """Given a repository's root and a host, return the folder of its snapshots, there or not.

    Raise RepositoryError if the host is here already in another spelling.
    """
    checked_host(host)
    snapshots = root / "snapshots"
    if disk.is_link(snapshots / host):
        raise RepositoryError(
            "this is a link, which leads elsewhere: no snapshot is put there.",
            path=snapshots / host,
            remedy="Take the link away, and bring back the folder itself if there was one.",
        )
    for other in snapshots.iterdir() if snapshots.is_dir() else ():
        if other.name != host and other.name.casefold() == host.casefold():
            raise RepositoryError(
                f"{host} is already here as {other.name}.",
                path=snapshots,
                remedy="Write the host's name in the inventory as the repository has it.",
            )
    return snapshots / host


def check_objects(store: ObjectStore, entries: Collection[Entry]) -> None:
    """Given the files of a snapshot to be, raise IntegrityError if one is not here in its size."""
    store.settle(e.sha256 for e in entries)
    for entry in entries:
        if not store.has(entry.sha256, entry.size):
            raise IntegrityError(
                "the repository does not have this file, or in another size.",
                path=store.place(entry.sha256),
                entry=entry.path,
                expected=f"{entry.size} bytes",
                remedy="Run the backup again; it brings the file.",
            )


class Building:
    """One snapshot on its way. If its block fails, nothing of it is left; `finish` puts it in place."""

    def __init__(self, root: Path, store: ObjectStore, run: str) -> None:
        self._root = root
        self._store = store
        self._work = root / "partial" / checked_word(run, "a run") / f"commit-{secrets.token_hex(8)}"
        self._copied: dict[Path, bool] = {}  # and whether it is secret
        self._folders: set[Path] = set()

    def __enter__(self) -> Building:
        disk.make_folder(self._work)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            with contextlib.suppress(OSError):
                disk.remove_tree(self._work)
        disk.leave_folder(self._work.parent)

    def file(self, entry: Entry) -> None:
        """Given a file whose object is in place, name it here. Raise RepositoryError if others read it."""
        target = self._work / entry.stored
        self._make_folder(target.parent)
        source = self._store.place(entry.sha256)
        if entry.secret:
            self._store.tighten(entry.sha256)
        if disk.link_or_copy(source, target):
            self._copied[target] = entry.secret
        if entry.secret and not disk.is_private(target) and not disk.is_private(self._root):
            raise RepositoryError(
                "this volume lets others read a file that only its owner may read.",
                path=target,
                remedy="Put the repository on a volume with file rights, or mount it for its owner alone.",
            )

    def document(self, name: str, data: bytes | Iterable[bytes]) -> Document:
        """Given a file of our own, write it. Return what the manifest says of it."""
        self._make_folder((self._work / name).parent)
        size, digest = disk.write_new(self._work / name, data, kept=True)
        return Document(name, size, digest)

    def finish(self, target: Path) -> None:
        """Given a place under snapshots/, put all of it there, its data on the disk, in one rename."""
        disk.sync_files(self._copied)
        for path, secret in self._copied.items():
            disk.keep(path, secret)
        # The deepest first, so that a name is on the disk before the name of its folder.
        deepest = sorted(self._folders | {self._work}, key=lambda p: len(p.parts), reverse=True)
        disk.sync_folders(deepest)
        disk.make_folder(target.parent)
        disk.move(self._work, target)
        disk.sync_folders([target.parent, target.parent.parent])

    def _make_folder(self, folder: Path) -> None:
        if folder not in self._folders:
            disk.make_folder(folder)
            self._folders.add(folder)
            self._folders.update(p for p in folder.parents if p.is_relative_to(self._root / "partial"))

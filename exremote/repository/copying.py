"""A snapshot of one repository put into another one, as it is. It never changes the one it is taken from.

The folder in the other repository is the same byte for byte, its manifest too: the same id, and the id of the
repository that it was made in. Contents that are there already are not copied; what is known to be damaged
there is replaced.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain
from pathlib import Path

from exremote.errors import IntegrityError, RepositoryError
from exremote.repository import disk
from exremote.repository.building import Building, check_objects, home_of
from exremote.repository.manifest import MANIFEST, MANIFEST_SUM, Document, Entry
from exremote.repository.names import checked_word
from exremote.repository.objects import ObjectStore
from exremote.repository.snapshot import Snapshot, load, read_sum
from exremote.repository.staging import Staging


def lacking(store: ObjectStore, snapshot: Snapshot) -> dict[str, int]:
    """Given a snapshot of another repository, return digests and sizes of the contents this one lacks."""
    return {e.sha256: e.size for e in snapshot.manifest.entries if not store.has(e.sha256, e.size)}


class Standing(StrEnum):
    """What another repository has of a snapshot."""

    ABSENT = "absent"
    SAME = "same"
    DAMAGED = "damaged"


def standing(snapshot: Snapshot, folder: Path, is_damaged: Callable[[str], bool]) -> Standing:
    """Given a snapshot, where another repository would have it, and what is damaged there, say what it has.

    Raise IntegrityError if the snapshot itself is damaged, or another one has its name there.
    """
    manifest = snapshot.manifest
    if not folder.exists():
        return Standing.ABSENT
    if disk.is_link(folder) or disk.is_link(folder.parent):
        return Standing.DAMAGED
    try:
        there = load(folder)
        _ = there.manifest
    except RepositoryError as error:
        if isinstance(error.__cause__, PermissionError):
            raise  # nobody can tell
        return Standing.DAMAGED
    if read_sum(folder / MANIFEST_SUM) != read_sum(snapshot.path / MANIFEST_SUM):
        raise IntegrityError(
            "another snapshot has this one's name in the other repository.",
            path=folder,
            entry=MANIFEST,
            remedy="Look at both with `exremote show`; after `exremote forget` there, copy again.",
        )
    files = chain[Document | Entry](manifest.documents, manifest.entries)
    return Standing.DAMAGED if any(is_damaged(f.sha256) for f in files) else Standing.SAME


def receive(
    root: Path,
    store: ObjectStore,
    snapshot: Snapshot,
    run: str,
    staging: Staging,
    moved: Callable[[int, int], None],
) -> Snapshot:
    """Given a snapshot of another repository, put it into this one, whole, in one rename.

    `moved` is told of files and bytes. A damaged one of its name makes room for it, and is deleted. Return
    the snapshot here. Raise IntegrityError if a file of it is not what its manifest says, RepositoryError if
    it cannot be put here; then there is no half of it.
    """
    manifest = snapshot.manifest
    checked_word(snapshot.connector, "a connector")
    home = home_of(root, snapshot.host)
    for entry in manifest.entries:
        if not store.has(entry.sha256, entry.size):
            _fetch(snapshot, entry, staging)
            moved(1, entry.size)
    check_objects(store, manifest.entries)
    target = home / snapshot.id
    with disk.said(target, "copying the snapshot"), Building(root, store, run) as building:
        for entry in manifest.entries:
            building.file(entry)
        for document in manifest.documents:
            building.document(document.stored, snapshot.document(document))
        digest = read_sum(snapshot.path / MANIFEST_SUM)
        written = building.document(MANIFEST, disk.pieces(snapshot.path / MANIFEST))
        if written.sha256 != digest:
            raise _damaged(snapshot.path / MANIFEST, MANIFEST, digest, written.sha256)
        building.document(MANIFEST_SUM, f"{digest}  {MANIFEST}\n".encode())
        aside = root / "partial" / checked_word(run, "a run") / f"replaced-{secrets.token_hex(8)}"
        with _room_at(target, aside):
            building.finish(target)
    return load(target)


@contextmanager
def _room_at(target: Path, aside: Path) -> Iterator[None]:
    """Given where a snapshot is to be, move a damaged one out of the way for a block; back, if that fails."""
    if target.exists():
        disk.move(target, aside)
    try:
        yield
    except BaseException:
        if aside.exists() and not target.exists():
            disk.move(aside, target)
        raise
    disk.remove_tree(aside)


def _fetch(snapshot: Snapshot, entry: Entry, staging: Staging) -> None:
    source = snapshot.path / entry.stored
    writer = staging.writer(entry.sha256)
    try:
        with disk.said(source, "reading a file to copy"):
            for piece in disk.pieces(source):
                writer.write(piece)
        if writer.digest() != entry.sha256:
            raise _damaged(source, entry.path, entry.sha256, writer.digest())
    except BaseException:
        writer.discard()
        raise
    writer.finish(secret=entry.secret)


def _damaged(path: Path, entry: str, expected: str, actual: str) -> IntegrityError:
    return IntegrityError(
        "this file is not what the manifest says; its snapshot was not copied.",
        path=path,
        entry=entry,
        expected=expected,
        actual=actual,
        remedy="`exremote verify` says what of the snapshot is still good.",
    )

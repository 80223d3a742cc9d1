"""A snapshot of one repository put into another one, as it is. It never changes the one it is taken from.

The folder in the other repository is the same byte for byte, its manifest too: the same id, and the id of the
repository that it was made in. Contents that are there already are not copied.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from exremote.errors import IntegrityError, RepositoryError
from exremote.repository import disk
from exremote.repository.building import Building, check_objects, home_of
from exremote.repository.manifest import MANIFEST, MANIFEST_SUM, Entry
from exremote.repository.names import checked_word
from exremote.repository.objects import ObjectStore
from exremote.repository.snapshot import Snapshot, load, read_sum
from exremote.repository.staging import Staging


def lacking(store: ObjectStore, snapshot: Snapshot) -> dict[str, int]:
    """Given a snapshot of another repository, return digests and sizes of the contents this one lacks."""
    return {e.sha256: e.size for e in snapshot.manifest.entries if not store.has(e.sha256, e.size)}


def is_same(snapshot: Snapshot, folder: Path) -> bool:
    """Given a snapshot and where another repository would have it, return whether it has it.

    Raise IntegrityError if something else, or a damaged one, has its name there.
    """
    expected = read_sum(snapshot.path / MANIFEST_SUM)
    if not folder.exists():
        return False
    try:
        with disk.said(folder, "reading the manifest"):
            same = read_sum(folder / MANIFEST_SUM) == expected == disk.digest_of(folder / MANIFEST)
    except RepositoryError:
        same = False
    if not same:
        raise IntegrityError(
            "what has the snapshot's name in the other repository is damaged, or another one.",
            path=folder,
            entry=MANIFEST,
            remedy="Look at it with `exremote verify`; after `exremote forget` there, copy again.",
        )
    return True


def receive(
    root: Path,
    store: ObjectStore,
    snapshot: Snapshot,
    run: str,
    staging: Staging,
    moved: Callable[[int, int], None],
) -> Snapshot:
    """Given a snapshot of another repository, put it into this one, whole, in one rename.

    `moved` is told of files and bytes. Return the snapshot here. Raise IntegrityError if a file of it is not
    what its manifest says, RepositoryError if it cannot be put here; then there is no half of it.
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
        building.finish(target)
    return load(target)


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

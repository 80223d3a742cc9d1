"""Snapshots: how one is built and read. It never changes one that is in place."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from exremote.errors import IntegrityError
from exremote.repository import disk
from exremote.repository.building import Building, check_objects, home_of
from exremote.repository.manifest import (
    MANIFEST,
    MANIFEST_SUM,
    SUMS,
    Document,
    Entry,
    Head,
    Kind,
    Manifest,
    SnapshotDraft,
    checked_document,
    checked_entry,
    checked_place,
    empty_layout,
    write_manifest,
)
from exremote.repository.names import Distinct, UnsafeName, check_stored, checked_host, checked_word
from exremote.repository.objects import ObjectStore
from exremote.repository.reading import ManifestError, read_head, read_manifest

VOLATILE = ("facts.json", "trees/*")
"""Documents that differ from run to run though nothing changed: times of asking, times of work files."""

ACCESS = "access/*"
"""Documents of what a backup may fail to read and be whole all the same."""

SKEW = timedelta(hours=1)
"""What was made so much later than now was made by a wrong clock."""

_ID = re.compile(r"([0-9]{8}T[0-9]{6}Z)-([A-Za-z0-9][A-Za-z0-9._-]*)-([0-9a-f]{6})")
_LONGEST_HEAD = 65536
_LONGEST_SUM = 1000
_LONGEST_MANIFEST = 1 << 30
"""No host has three million files in its connectors; what is longer would only eat the memory."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One connector of one host at one time, in place."""

    id: str
    """its folder's name: time, connector, six digits of its own"""
    host: str
    """the host's name in the inventory"""
    connector: str
    """the connector's name"""
    created: datetime
    """UTC"""
    kind: Kind
    """`full`, `tables` or `safety`"""
    complete: bool
    """nothing that belongs to it is missing; False if that cannot be read"""
    run: str
    """the run that made it"""
    path: Path
    """its folder"""
    damage: str = ""
    """why its manifest cannot be read; such a snapshot is listed, and is never the latest"""
    _read: list[Manifest] = field(default_factory=list, compare=False, repr=False)

    def file(self, entry: Entry) -> Path:
        """Given one of its files, return where it lies here."""
        return self.path / entry.stored

    def document(self, document: Document) -> bytes:
        """Given one of its documents, read it. Raise IntegrityError if it is not what the manifest says."""
        path = self.path / document.stored
        try:
            data = disk.read_whole(path, document.size)
        except OSError as error:
            raise IntegrityError(
                f"this document cannot be read: {error.strerror or error}.", path=path, entry=document.stored
            ) from error
        actual = hashlib.sha256(data).hexdigest()
        if (len(data), actual) != (document.size, document.sha256):
            raise IntegrityError(
                "this document is not what the manifest says.",
                path=path,
                entry=document.stored,
                expected=document.sha256,
                actual=actual,
                remedy="`exremote verify` says what of the snapshot is still good.",
            )
        return data

    @property
    def manifest(self) -> Manifest:
        """Read the manifest, once. Raise IntegrityError if it is not what was written."""
        if not self._read:
            self._read.append(self.read())
        return self._read[0]

    def read(self) -> Manifest:
        """Read the manifest as it is on the disk now. Raise IntegrityError if it is not what was written."""
        path = self.path / MANIFEST
        expected = read_sum(self.path / MANIFEST_SUM)
        text = _read(path, _LONGEST_MANIFEST, "the manifest")
        actual = hashlib.sha256(text).hexdigest()
        if actual != expected:
            raise IntegrityError(
                "the manifest is not what was written.",
                path=path,
                entry=MANIFEST,
                expected=expected,
                actual=actual,
                remedy="Use another snapshot; exremote verify says what of this one is still good.",
            )
        try:
            manifest = read_manifest(text)
        except ManifestError as error:
            raise IntegrityError(
                f"the manifest cannot be read: {error}.", path=path, entry=MANIFEST
            ) from error
        if _snapshot_of(manifest.head, self.path) != replace(self, damage=""):
            raise IntegrityError(
                "the manifest is of another snapshot.",
                path=path,
                entry=MANIFEST,
                expected=f"{self.host}/{self.id}",
                actual=f"{manifest.head.host}/{manifest.head.id}",
            )
        return manifest


def load(path: Path) -> Snapshot:
    """Given a snapshot's folder, return it by the first line of its manifest. Damage is told, not raised."""
    try:
        head = read_head(disk.first_line(path / MANIFEST, _LONGEST_HEAD))
        if (head.id, head.host) != (path.name, path.parent.name):
            raise ManifestError(f"it is the manifest of {head.host}/{head.id}")
    except (OSError, ManifestError) as error:
        return _damaged(path, f"the manifest cannot be read: {error}")
    return _snapshot_of(head, path)


def _snapshot_of(head: Head, path: Path) -> Snapshot:
    return Snapshot(
        head.id, head.host, head.connector, head.created, head.kind, head.complete, head.run, path
    )


def _damaged(path: Path, damage: str) -> Snapshot:
    match = _ID.fullmatch(path.name)
    assert match is not None
    created = datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return Snapshot(path.name, path.parent.name, match[2], created, "full", False, "", path, damage)


def is_possible(moment: datetime, now: datetime | None) -> bool:
    """Given a moment, and now or None, return whether it can have been: a wrong clock writes later ones."""
    return now is None or moment - now <= SKEW


def connector_of(name: str) -> str:
    """Given the name of a snapshot's folder, return its connector; '' if it is no such name."""
    match = _ID.fullmatch(name)
    return match[2] if match else ""


def is_id(name: str, connector: str | None = None) -> bool:
    """Given the name of a folder, return whether a snapshot (of this connector) can have it."""
    match = _ID.fullmatch(name)
    if match is None or connector not in (None, match[2]):
        return False
    with contextlib.suppress(ValueError):
        datetime.strptime(match[1], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return True
    return False


def read_sum(path: Path) -> str:
    """Given manifest.sha256, return the digest in it. Raise IntegrityError if it has not its form."""
    text = _read(path, _LONGEST_SUM, "the manifest's digest").decode("ascii", "replace")
    match = re.fullmatch(rf"([0-9a-f]{{64}})  {re.escape(MANIFEST)}\n", text)
    if match is None:
        raise IntegrityError(
            "the manifest's digest is damaged.", path=path, entry=MANIFEST_SUM, actual=text[:99]
        )
    return match[1]


def _read(path: Path, most: int, what: str) -> bytes:
    """Given a file of a snapshot's own, read it. Raise IntegrityError if it is not one that we wrote."""
    try:
        return disk.read_whole(path, most)
    except OSError as error:
        if error.errno not in disk.NO_FILE:
            raise disk.refusal(error, path, f"reading {what}") from error
        raise IntegrityError(
            f"{what} cannot be read: {error.strerror}.",
            path=path,
            entry=path.name,
            remedy="Use another snapshot; exremote verify says what of this one is still good.",
        ) from error


def sums_text(manifest: Manifest) -> Iterator[bytes]:
    """Given a manifest, return the text of its SHA256SUMS in pieces."""
    files: list[Document | Entry] = [*(d for d in manifest.documents if d.stored != SUMS), *manifest.entries]
    for file in sorted(files, key=lambda f: f.stored):
        yield f"{file.sha256}  {file.stored}\n".encode()


def read_sums(folder: Path) -> list[tuple[str, str]]:
    """Given a snapshot's folder, return digest and name of each line of its SHA256SUMS.

    Both are empty for a line that is damaged: nobody knows what it said. Raise OSError if there is none.
    """
    found = []
    for line in disk.read_whole(folder / SUMS, _LONGEST_MANIFEST).splitlines():
        sha256, stored = "", ""
        if match := re.fullmatch(r"([0-9a-f]{64})  (.+)", line.decode("utf-8", "replace")):
            with contextlib.suppress(UnsafeName):
                stored, sha256 = check_stored(match[2]), match[1]
        found.append((sha256, stored))
    return found


def same_content(draft: SnapshotDraft, snapshot: Snapshot, volatile: Collection[str] = VOLATILE) -> bool:
    """Given a draft and a snapshot, return whether a restore of either would bring back the same.

    Times, attributes and what was left out on purpose do not count: a backup program that takes away archive
    bits, or a service that touches a file, has not changed it.
    """
    manifest = snapshot.manifest
    head = manifest.head
    if (draft.host, draft.connector, draft.kind, draft.complete) != (
        head.host,
        head.connector,
        head.kind,
        head.complete,
    ):
        return False
    if {o.path for o in draft.missing} != {o.path for o in manifest.missing}:
        return False
    if {i: t.root for i, t in draft.trees.items()} != {i: t.root for i, t in manifest.trees.items()}:
        return False
    documents = {n: hashlib.sha256(d).hexdigest() for n, d in draft.documents.items()}
    kept = {d.stored: d.sha256 for d in manifest.documents if d.stored != SUMS}
    names = {n for n in documents.keys() | kept.keys() if not any(fnmatchcase(n, v) for v in volatile)}
    # Access lists that could not be read this time are no others than those that were.
    names -= {n for n in names - documents.keys() if fnmatchcase(n, ACCESS)}
    if any(documents.get(name) != kept.get(name) for name in names):
        return False
    if len(draft.entries) != len(manifest.entries) or _folders_differ(draft.documents, snapshot):
        return False
    # No place is named twice in either; one set of 100,000 files is enough to hold the other against.
    contents = {_content(entry) for entry in draft.entries}
    return all(_content(entry) in contents for entry in manifest.entries)


def _folders_differ(documents: Mapping[str, bytes], snapshot: Snapshot) -> bool:
    """Return whether a listing of a tree names other folders than the snapshot's: an empty one is no file."""
    listed = {d.stored: d for d in snapshot.manifest.documents if fnmatchcase(d.stored, "trees/*")}
    with contextlib.suppress(IntegrityError):  # a damaged listing is `verify`'s to tell
        return any(
            _folders(snapshot.document(listed[name])) != _folders(text)
            for name, text in documents.items()
            if name in listed
        )
    return False


def _folders(listing: bytes) -> set[bytes]:
    """Given a listing, return the paths of its folders: the lines without a size that say no reason."""
    rows = (line.split(b"\t", 4) for line in listing.split(b"\n") if line.startswith(b"-1\t"))
    return {row[4] for row in rows if len(row) == 5 and row[3] == b"-"}


def _content(entry: Entry) -> tuple[str, str, str, bool]:
    return entry.item, entry.path, entry.sha256, entry.secret


class Commit:
    """Builds one snapshot under partial/ and moves it into place, whole or not at all."""

    def __init__(self, root: Path, repository_id: str, store: ObjectStore, draft: SnapshotDraft) -> None:
        self._root = root
        self._id = repository_id
        self._store = store
        self._draft = draft

    def perform(self) -> Snapshot:
        """Do it. Return the snapshot. Raise RepositoryError if it cannot be; then nothing is in place."""
        home = self._home()
        entries = self._entries()
        check_objects(self._store, entries)
        with disk.said(home, "the snapshot"), Building(self._root, self._store, self._draft.run) as building:
            manifest = self._build(building, entries)
            target = home / manifest.head.id
            building.finish(target)
        found = _snapshot_of(manifest.head, target)
        found._read.append(manifest)
        return found

    def _home(self) -> Path:
        draft = self._draft
        checked_host(draft.host)
        checked_word(draft.connector, "a connector")
        if draft.created.tzinfo is None:
            raise ValueError("the draft's time has no zone")
        if draft.complete and draft.missing:
            raise ValueError("a draft that lacks something is not complete")
        return home_of(self._root, draft.host)

    def _entries(self) -> tuple[Entry, ...]:
        """Return the draft's entries, their places distinct on every file system."""
        layout, distinct = empty_layout(), Distinct()
        for name in (SUMS, *self._draft.documents):
            layout.take(checked_document(name))
        for one in self._draft.elsewhere:
            checked_place(one.place)
        found = []
        for entry in map(checked_entry, self._draft.entries):
            stored = layout.take(distinct.place(entry.stored))
            found.append(entry if stored == entry.stored else replace(entry, stored=stored))
        return tuple(found)

    def _build(self, building: Building, entries: tuple[Entry, ...]) -> Manifest:
        for entry in entries:
            building.file(entry)
        documents = [building.document(name, data) for name, data in self._draft.documents.items()]
        manifest = self._manifest("", entries, tuple(documents))
        sums = building.document(SUMS, sums_text(manifest))
        documents.append(sums)
        manifest = self._manifest(self._new_id(sums.sha256), entries, tuple(documents))
        digest = building.document(MANIFEST, write_manifest(manifest)).sha256
        building.document(MANIFEST_SUM, f"{digest}  {MANIFEST}\n".encode())
        return manifest

    def _new_id(self, sums: str) -> str:
        draft = self._draft
        moment = f"{draft.created.astimezone(UTC):%Y%m%dT%H%M%SZ}"
        attempt = 0
        while True:
            seed = json.dumps([draft.host, draft.connector, draft.run, sums, attempt])
            found = f"{moment}-{draft.connector}-{hashlib.sha256(seed.encode()).hexdigest()[:6]}"
            if not (self._root / "snapshots" / draft.host / found).exists():
                return found
            attempt += 1

    def _manifest(self, id_: str, entries: tuple[Entry, ...], documents: tuple[Document, ...]) -> Manifest:
        draft = self._draft
        head = Head(
            id=id_,
            repository=self._id,
            host=draft.host,
            connector=draft.connector,
            created=draft.created.astimezone(UTC),
            run=draft.run,
            kind=draft.kind,
            complete=draft.complete,
            files=len(entries),
            bytes=sum(e.size for e in entries),
            software=draft.software,
        )
        return Manifest(
            head,
            entries,
            documents,
            dict(draft.trees),
            draft.omitted,
            draft.missing,
            draft.findings,
            draft.elsewhere,
        )

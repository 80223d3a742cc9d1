"""Snapshots: how one is built and read. It never changes one that is in place."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from io import BytesIO
from itertools import chain
from pathlib import Path

from exremote.errors import IntegrityError
from exremote.repository import disk
from exremote.repository.building import Building, check_objects, home_of
from exremote.repository.manifest import (
    MANIFEST,
    MANIFEST_SUM,
    SUMS,
    Content,
    Document,
    Entry,
    Head,
    Kind,
    Manifest,
    SnapshotDraft,
    checked_document,
    checked_entry,
    checked_place,
    compact_entries,
    empty_layout,
    pieces_of,
    write_manifest,
)
from exremote.repository.names import (
    Distinct,
    UnsafeName,
    are_apart,
    check_stored,
    checked_host,
    checked_word,
)
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
        digest = hashlib.sha256()
        lines = _digested(_lines(path, _LONGEST_MANIFEST, "the manifest"), digest.update)
        manifest: Manifest | ManifestError
        try:
            manifest = read_manifest(lines)
        except ManifestError as error:
            manifest = error
        for _ in lines:
            pass  # the digest is of all of it
        if digest.hexdigest() != expected:
            raise IntegrityError(
                "the manifest is not what was written.",
                path=path,
                entry=MANIFEST,
                expected=expected,
                actual=digest.hexdigest(),
                remedy="Use another snapshot; exremote verify says what of this one is still good.",
            )
        if isinstance(manifest, ManifestError):
            raise IntegrityError(
                f"the manifest cannot be read: {manifest}.", path=path, entry=MANIFEST
            ) from manifest
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
    created = datetime.fromisoformat(match[1])
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
        datetime.fromisoformat(match[1])
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
    return b"".join(_lines(path, most, what))


def _lines(path: Path, most: int, what: str) -> Iterator[bytes]:
    """Given a file of a snapshot's own, yield its lines. Raise IntegrityError if we did not write it."""
    try:
        yield from disk.lines(path, most)
    except OSError as error:
        if error.errno not in disk.NO_FILE:
            raise disk.refusal(error, path, f"reading {what}") from error
        raise IntegrityError(
            f"{what} cannot be read: {error.strerror}.",
            path=path,
            entry=path.name,
            remedy="Use another snapshot; exremote verify says what of this one is still good.",
        ) from error


def _digested(lines: Iterable[bytes], update: Callable[[bytes], object]) -> Iterator[bytes]:
    """Given lines, yield them, each told to a digest."""
    for line in lines:
        update(line)
        yield line


def sums_text(manifest: Manifest) -> Iterator[bytes]:
    """Given a manifest, return the text of its SHA256SUMS in pieces."""
    files = chain[Document | Entry]((d for d in manifest.documents if d.stored != SUMS), manifest.entries)
    # No name has a NUL in it, which comes before all else: so they stand in the order of their names.
    for key in sorted(b"\0".join((f.stored.encode(), bytes.fromhex(f.sha256))) for f in files):
        stored, _, digest = key.partition(b"\0")
        yield b"%s  %s\n" % (digest.hex().encode(), stored)


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
    kept = {d.stored: d.sha256 for d in manifest.documents if d.stored != SUMS}
    names = {n for n in draft.documents.keys() | kept.keys() if not any(fnmatchcase(n, v) for v in volatile)}
    # Access lists that could not be read this time are no others than those that were.
    names -= {n for n in names - draft.documents.keys() if fnmatchcase(n, ACCESS)}
    documents = {n: _digest_of(content) for n, content in draft.documents.items() if n in names}
    if any(documents.get(name) != kept.get(name) for name in names):
        return False
    if len(draft.entries) != len(manifest.entries) or _folders_differ(draft.documents, snapshot):
        return False
    return _same_entries(draft.entries, manifest.entries)


def _digest_of(content: Content) -> str:
    digest = hashlib.sha256()
    for piece in pieces_of(content):
        digest.update(piece)
    return digest.hexdigest()


def _same_entries(ours: Sequence[Entry], theirs: Sequence[Entry]) -> bool:
    """Given as many entries as others, in neither of which a place is named twice, return whether a restore
    of either would bring back the same. Mostly they stand in one order, and nothing has to be kept in mind.
    """
    for one, other in zip(ours, theirs, strict=True):
        if (one.item, one.path) != (other.item, other.path):
            break
        if _content(one) != _content(other):
            return False
    else:
        return True
    contents = set(map(_content, ours))
    return all(_content(entry) in contents for entry in theirs)


def _folders_differ(documents: Mapping[str, Content], snapshot: Snapshot) -> bool:
    """Return whether a listing of a tree names other folders than the snapshot's: an empty one is no file."""
    listed = {d.stored: d for d in snapshot.manifest.documents if fnmatchcase(d.stored, "trees/*")}
    with contextlib.suppress(IntegrityError):  # a damaged listing is `verify`'s to tell
        return any(
            _folders(BytesIO(snapshot.document(listed[name])))
            != _folders(chain.from_iterable(map(BytesIO, pieces_of(text))))
            for name, text in documents.items()
            if name in listed
        )
    return False


def _folders(lines: Iterable[bytes]) -> set[bytes]:
    """Given the lines of a listing, return the paths of its folders: those without a size that say no
    reason.
    """
    rows = (line.rstrip(b"\n").split(b"\t", 4) for line in lines if line.startswith(b"-1\t"))
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

    def _entries(self) -> Sequence[Entry]:
        """Return the draft's entries, their places distinct on every file system."""
        layout, distinct = empty_layout(), Distinct()
        for name in (SUMS, *self._draft.documents):
            layout.take(checked_document(name))
        for one in self._draft.elsewhere:
            checked_place(one.place)
        entries = self._draft.entries
        # Documents lie outside the folder of files, so that only files can be in the way of files.
        if are_apart(checked_entry(entry).stored for entry in entries):
            return entries

        def placed() -> Iterator[Entry]:
            for entry in entries:
                stored = layout.take(distinct.place(entry.stored))
                yield entry if stored == entry.stored else replace(entry, stored=stored)

        return compact_entries(placed())

    def _build(self, building: Building, entries: Sequence[Entry]) -> Manifest:
        for entry in entries:
            building.file(entry)
        documents = [building.document(name, pieces_of(d)) for name, d in self._draft.documents.items()]
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

    def _manifest(self, id_: str, entries: Sequence[Entry], documents: tuple[Document, ...]) -> Manifest:
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

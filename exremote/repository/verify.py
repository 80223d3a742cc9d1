"""Every byte against what was written down. It never repairs, and never stops at the first problem."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path

from exremote.compact import Crowd
from exremote.errors import IntegrityError, RepositoryError
from exremote.repository import disk
from exremote.repository.manifest import MANIFEST, MANIFEST_SUM, SUMS, Document, Entry, Manifest
from exremote.repository.mark import MARK
from exremote.repository.names import is_host
from exremote.repository.objects import ObjectStore
from exremote.repository.snapshot import Snapshot, is_id, load, read_sums, sums_text

LONGEST_CHECKS = 1 << 26
"""Bytes of a record of checks; one every minute for a year fits twice."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it was written down."""

    place: str
    """the file, relative to the repository"""
    message: str
    """what is wrong with it, in words"""
    expected: str = ""
    """what it should be"""
    actual: str = ""
    """what it is"""
    sha256: str = ""
    """the content that should be there and is not; empty if it is about something else"""


SMALL = 64 << 10
"""Bytes of a file up to which a verification of one snapshot reads it again under another name: sooner done
than a million digests kept in mind."""


class Verifier:
    """One verification. A file with several names is read once."""

    def __init__(
        self,
        root: Path,
        quick: bool,
        is_damaged: Callable[[str], bool] = lambda sha256: False,
        id_: str = "",
        *,
        alone: bool = False,
    ) -> None:
        """`alone`: one snapshot is verified, and nothing else; so names that its files have elsewhere do not
        count.
        """
        self._root = root
        self._id = id_  # as the mark has it
        self._ids: set[str] = set()  # of the repositories that snapshots were made in
        self._quick = quick
        self._is_damaged = is_damaged  # what an earlier one found; only a quick one needs to be told
        self._kept_from = SMALL if alone else 0
        self._digests: dict[tuple[int, int], str] = {}
        self._absent: set[str] = set()  # objects that are not there, as was said
        self._unseen = False  # there is no objects/, and that was said

    def everything(self, store: ObjectStore) -> Iterator[Problem]:
        """Verify all snapshots, records of checks and objects."""
        homes, problems = self._listed(self._root / "snapshots")
        yield from problems
        for home in homes:
            ours = home.is_dir() and not disk.is_link(home) and is_host(home.name)
            folders, problems = self._listed(home) if ours else ([home], [])
            yield from problems
            for folder in folders:
                if folder is home or disk.is_link(folder) or not folder.is_dir() or not is_id(folder.name):
                    yield self._problem(folder, "does not belong here")
                else:
                    yield from self.snapshot(load(folder))
        for home in sorted((self._root / "checks").glob("*")):
            if disk.is_link(home):
                yield self._problem(home, "does not belong here")
                continue
            for record in sorted(home.glob("*.jsonl")):
                yield from self._checks(record)
        yield from self._mark()
        try:
            for path in store.all():
                yield from self._object(path)
        except OSError as error:
            if not self._unseen:
                yield self._problem(store.folder, _refused(error))

    def _mark(self) -> Iterator[Problem]:
        """The id has no digest; but what is all but the id of a snapshot made here was that id, once."""
        if self._id in self._ids:
            return
        for other in sorted(self._ids):
            alike = sum(a == b for a, b in zip(self._id, other, strict=False))
            if len(other) == len(self._id) > alike > len(other) * 3 // 4:
                yield self._problem(
                    self._root / MARK, "the id is not that of the snapshots made here", other, self._id
                )

    def _listed(self, folder: Path) -> tuple[list[Path], list[Problem]]:
        """Given a folder, return what is in it, in order, and what is wrong with it."""
        try:
            return sorted(folder.iterdir()), []
        except OSError as error:
            return [], [self._problem(folder, _refused(error))]

    def snapshot(self, snapshot: Snapshot, rights: bool = True) -> Iterator[Problem]:
        """Verify one snapshot: manifest, every file in it, nothing besides; with `rights`, who reads it."""
        for name in (MANIFEST, MANIFEST_SUM):
            if disk.is_link(snapshot.path / name):
                yield self._problem(snapshot.path / name, "is not an ordinary file")
        try:
            manifest = snapshot.read()
        except RepositoryError as error:
            yield self._blame(snapshot, error)
            yield from self._by_sums(snapshot)
            return
        self._ids.add(manifest.head.repository)
        yield from self._sums_agree(snapshot, manifest)
        yield from self._files(snapshot.path, manifest)
        yield from self._objects(manifest)
        if rights and not disk.is_private(self._root):
            yield from self._open_secrets(snapshot.path, manifest)

    def _objects(self, manifest: Manifest) -> Iterator[Problem]:
        """The file in the snapshot is a second name of the object: whole, it may be the last one there is."""
        objects = self._root / "objects"
        if self._unseen or not objects.is_dir():
            if not self._unseen:
                self._unseen = True
                yield self._problem(objects, "is missing")
            return
        for entry in manifest.entries:
            path = objects / entry.sha256[:2] / entry.sha256
            try:
                path.lstat()
            except OSError as error:
                if entry.sha256 not in self._absent:
                    self._absent.add(entry.sha256)
                    yield self._problem(path, f"{_refused(error)}, and {manifest.head.id} names it")

    def _blame(self, snapshot: Snapshot, error: RepositoryError) -> Problem:
        """Given why a manifest cannot be trusted, say which file it is: the manifest, or its digest."""
        if not isinstance(error, IntegrityError):
            return self._problem(Path(error.path), error.message.rstrip("."))
        name, message = error.entry, error.message.rstrip(".")
        alike = sum(a == b for a, b in zip(error.expected, error.actual, strict=False))
        if name == MANIFEST and len(error.expected) == 64 and alike > 32:
            # Two digests that have nothing in common agree in four places; these were one, once.
            name, message = MANIFEST_SUM, "the manifest's digest is damaged"
        return self._problem(snapshot.path / name, message, error.expected, error.actual)

    def _sums_agree(self, snapshot: Snapshot, manifest: Manifest) -> Iterator[Problem]:
        digest = hashlib.sha256()
        for line in sums_text(manifest):
            digest.update(line)
        named = {d.stored: d.sha256 for d in manifest.documents}.get(SUMS, "")
        if digest.hexdigest() != named:
            yield self._problem(snapshot.path / MANIFEST, "does not agree with itself about SHA256SUMS")

    def _by_sums(self, snapshot: Snapshot) -> Iterator[Problem]:
        """Without a manifest, say by SHA256SUMS which of the files are still good."""
        try:
            lines = read_sums(snapshot.path)
        except OSError as error:
            yield self._problem(snapshot.path / SUMS, f"cannot be read: {error.strerror}")
            return
        for number, (sha256, stored) in enumerate(lines, 1):
            if not sha256:
                yield self._problem(snapshot.path / SUMS, f"line {number} is damaged")
                continue
            yield from self._file(snapshot.path / stored, None, sha256)

    def _files(self, folder: Path, manifest: Manifest) -> Iterator[Problem]:
        folders: set[str] = set()
        names = Crowd(chain(_named(manifest, folders), (MANIFEST, MANIFEST_SUM)))
        for extra in self._extra(folder, "", names, folders):
            yield self._problem(folder / extra, "is not in the manifest")
        linked = {name for name in folders if disk.is_link(folder / name)}
        for file in chain[Document | Entry](manifest.documents, manifest.entries):
            if linked and not linked.isdisjoint(_parents(file.stored)):
                yield self._problem(folder / file.stored, "lies behind a link, which leads elsewhere")
            else:
                yield from self._file(folder / file.stored, file.size, file.sha256)

    def _open_secrets(self, folder: Path, manifest: Manifest) -> Iterator[Problem]:
        for path in (folder / e.stored for e in manifest.entries if e.secret):
            if path.exists() and not disk.is_private(path):
                yield self._problem(path, "others than its owner may read it")

    def _extra(self, top: Path, under: str, files: Container[str], folders: Container[str]) -> Iterator[str]:
        odd: list[tuple[str, bool]] = []  # of a million names in a folder, only those that matter are kept
        try:
            with os.scandir(top / under) as found:
                for item in found:
                    name = f"{under}/{item.name}" if under else item.name
                    ours = item.is_dir(follow_symlinks=False) and not disk.is_link(Path(item.path))
                    if (ours and name in folders) or name not in files:
                        odd.append((name, ours and name in folders))
        except OSError:
            return  # whatever should be in it is named as missing or unreadable
        for name, is_folder in sorted(odd):
            if is_folder:
                yield from self._extra(top, name, files, folders)
            else:
                yield name

    def _file(self, path: Path, size: int | None, sha256: str) -> Iterator[Problem]:
        try:
            found = path.lstat()
            if not stat.S_ISREG(found.st_mode):
                yield self._problem(path, "is not an ordinary file", sha256=sha256)
            elif size is not None and found.st_size != size:
                yield self._problem(
                    path, "has another size", f"{size} bytes", f"{found.st_size} bytes", sha256
                )
            elif not self._quick:
                actual = self._digest(path, found)
                if actual != sha256:
                    yield self._problem(
                        path, "is damaged: its content is another one", sha256, actual, sha256
                    )
            elif self._is_damaged(sha256):
                yield self._problem(path, "was found damaged by an earlier `exremote verify`", sha256=sha256)
        except FileNotFoundError:
            yield self._problem(path, "is missing", sha256=sha256)
        except OSError as error:
            # Who may not read it knows nothing of its content; a medium that fails does.
            lost = "" if isinstance(error, PermissionError) else sha256
            yield self._problem(path, f"cannot be read: {error.strerror}", sha256=lost)

    def _digest(self, path: Path, found: os.stat_result) -> str:
        if found.st_nlink < 2 or not found.st_ino or found.st_size < self._kept_from:
            return disk.digest_of(path)
        key = (found.st_dev, found.st_ino)
        if key not in self._digests:
            self._digests[key] = disk.digest_of(path)
        return self._digests[key]

    def _object(self, path: Path) -> Iterator[Problem]:
        if not re.fullmatch(r"[0-9a-f]{64}", path.name) or path.parent.name != path.name[:2]:
            yield self._problem(path, "does not belong here")
        else:
            yield from self._file(path, None, path.name)

    def _checks(self, path: Path) -> Iterator[Problem]:
        if not is_id(path.stem):
            yield self._problem(path, "does not belong here")
            return
        try:
            if disk.is_link(path):
                raise OSError(errno.EINVAL, "it is not an ordinary file", str(path))
            lines = disk.read_whole(path, LONGEST_CHECKS).splitlines()
        except OSError as error:
            yield self._problem(path, f"cannot be read: {error.strerror}")
            return
        for number, line in enumerate(lines, 1):
            try:
                read_check(line)
            except ValueError:
                yield self._problem(path, f"line {number} is damaged")

    def _problem(
        self, path: Path, message: str, expected: str = "", actual: str = "", sha256: str = ""
    ) -> Problem:
        try:
            place = path.relative_to(self._root).as_posix()
        except ValueError:
            place = str(path)
        return Problem(place, message, expected, actual, sha256)


def read_check(line: bytes) -> tuple[str, datetime, str]:
    """Given a line of a record of checks, return the run, the moment, and the part of the snapshot that was
    looked at ('' for all). Raise ValueError if it is none.
    """
    try:
        data = json.loads(line)
        part = data.get("part", "")
        if data.keys() - {"part"} != {"run", "at"} or not isinstance(data["run"], str):
            raise ValueError("not a check")
        if part not in ("", "tables"):
            raise ValueError("a check of nothing that there is")
        at = datetime.fromisoformat(data["at"])
        if at.tzinfo is None:
            raise ValueError("a time without a zone")
        return data["run"], at.astimezone(UTC), part
    except (AttributeError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error


def _refused(error: OSError) -> str:
    return "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"


def _named(manifest: Manifest, folders: set[str]) -> Iterator[str]:
    """Given a manifest, yield where each of its files lies; `folders` is told of the folders."""
    for file in chain[Document | Entry](manifest.documents, manifest.entries):
        folder = file.stored.rpartition("/")[0]
        if folder not in folders:
            folders.update(_parents(file.stored))
        yield file.stored


def _parents(stored: str) -> Iterator[str]:
    while "/" in stored:
        stored = stored.rpartition("/")[0]
        yield stored

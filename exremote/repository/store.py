"""The repository: a folder of snapshots, and its promises (docs/repository.md). It never talks to a host.

It is made by `create` alone, never by accident; opened, it only ever adds, but for `forget` and `prune`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import time
import tomllib
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from exremote.errors import IntegrityError, RepositoryError, SnapshotNotFound, plain_path
from exremote.repository import copying, disk, proofs
from exremote.repository.building import home_of
from exremote.repository.composed import Composed, compose, scopes
from exremote.repository.copying import Standing
from exremote.repository.damage import DamageNotes
from exremote.repository.distant import Distant
from exremote.repository.forget import (
    Candidate,
    Fate,
    KeepPolicy,
    Unused,
    find_unused,
    manifest_damage,
    remove,
    remove_unused,
    settle,
)
from exremote.repository.lock import Lock, LockState, hold, list_locks
from exremote.repository.manifest import Kind, SnapshotDraft, stamp
from exremote.repository.mark import FORMAT, MARK, README, lost_mark, markless, no_repository
from exremote.repository.mending import damage_in, mend, settle_notes
from exremote.repository.names import checked_host, checked_word, extended, is_host
from exremote.repository.naming import find_folder, host_and_connector
from exremote.repository.objects import ObjectStore, whole_files
from exremote.repository.parts import parts_in
from exremote.repository.proofs import Proof
from exremote.repository.room import Room
from exremote.repository.snapshot import VOLATILE, Commit, Snapshot, is_id, is_possible, load, same_content
from exremote.repository.staging import Staging
from exremote.repository.verify import LONGEST_CHECKS, Problem, Verifier, read_check

WHOLE = "repository"
"""The name of the lock that excludes all others; `forget` and `prune` hold it."""

_LONGEST_MARK = 1 << 16
_REJECTED = "rejected-"
KEPT = "kept"
"""Under partial/: parts of large files whose content is known, from runs that were killed."""
LEAST_KEPT = 1 << 20
"""Bytes from which on a part is worth keeping."""
KEPT_S = 7 * 86400
"""How long it is kept for a run that may want it."""
_FOLDERS = ("objects", "snapshots", "partial", "checks", "locks", "runs")


@dataclass(frozen=True, slots=True)
class CheckRecord:
    """A run that found a snapshot to be what the host still has."""

    run: str
    """the run"""
    at: datetime
    """UTC"""
    part: str = ""
    """`tables`: of a full snapshot, only the tables were looked at; '' for all of it"""


class Repository:
    """The folder of snapshots. Threads may share one."""

    def __init__(self, root: Path, id_: str) -> None:
        self._root = root
        self.id = id_
        """told in every manifest"""
        self.path = Path(plain_path(str(root)))
        """the folder, as a person writes it"""
        self.runs_folder = root / "runs"
        """the journals"""
        self._damage = DamageNotes(root / "damage")
        self._store = ObjectStore(root / "objects", self._damage)
        self.distant = Distant(root, self.snapshots)
        """what stays on hosts"""

    # ---------------------------------------------------------------- making and opening

    @classmethod
    def create(cls, path: Path, on_open: Callable[[str], None] = lambda why: None) -> Repository:
        """Given a path where nothing is, or an empty folder, make a repository there, for its owner alone.

        Return it. `on_open` is told why others may read it all the same, if the system does not close it.
        Raise RepositoryError if something is there, or the system refuses.
        """
        root = _rooted(path)
        with disk.said(path, "making a repository", clear="delete this folder"):
            if (root / MARK).exists():
                raise RepositoryError("there is a repository already.", path=path, remedy="Use it as it is.")
            if lost_mark(root):
                raise markless(path)
            if root.exists() and (not root.is_dir() or any(root.iterdir())):
                raise RepositoryError(
                    "this is not an empty folder.",
                    path=path,
                    remedy="Name a new folder, or empty this one yourself.",
                )
            disk.make_folder(root)
            if why := disk.make_private(root, folder=True):
                on_open(why)
            for name in _FOLDERS:
                disk.make_folder(root / name)
            disk.write_new(root / "README.txt", README.encode(), kept=False)
            id_ = str(uuid.uuid4())
            # The mark last: a folder without it is not a repository.
            disk.write_new(root / MARK, f'format = {FORMAT}\nid = "{id_}"\n'.encode(), kept=False)
            disk.sync_folders([root, root.parent])
        return cls(root, id_)

    @classmethod
    def open(cls, path: Path) -> Repository:
        """Given a repository's folder, return it. Raise RepositoryError if it is none, or too new."""
        root = _rooted(path)
        try:
            data = tomllib.loads(disk.read_whole(root / MARK, _LONGEST_MARK).decode())
            format_, id_ = data["format"], data["id"]
            if type(format_) is not int or not isinstance(id_, str):
                raise ValueError("format is a number, and id a text")
        except FileNotFoundError:
            raise no_repository(path, root) from None
        except OSError as error:
            raise disk.refusal(error, path, "opening the repository") from error
        except (ValueError, KeyError, RecursionError) as error:
            raise RepositoryError(
                f"{MARK} is not one of ours: {error}.",
                path=path,
                remedy="If this is a repository, bring the file back: format = 1 and the id of any manifest.",
            ) from error
        if format_ != FORMAT:
            raise RepositoryError(
                f"the repository has format {format_}, and this exremote knows {FORMAT}.",
                path=path,
                remedy="Use the exremote that wrote it, or a newer one. Nothing was touched.",
            )
        return cls(root, id_)

    def is_private(self) -> bool:
        """Return whether nobody but its owner has rights in the repository's folder."""
        return disk.is_private(self._root)

    # ---------------------------------------------------------------- objects

    def has(self, sha256: str, size: int | None = None) -> bool:
        """Given a digest and a size, return whether that content is here; one of another size is not."""
        return self._store.has(sha256, size)

    def object_path(self, sha256: str) -> Path:
        """Given a digest, return the object's file; it is in place if the repository has it."""
        path = self._store.place(sha256)
        self._store.settle([sha256])
        return path

    def staging(self, run: str, host: str) -> Staging:
        """Given a run and a host, return where its files lie until they are whole; to be closed."""
        folder = self._root / "partial" / checked_word(run, "a run") / checked_host(host)
        return Staging(folder, self._store, self._root / "partial" / KEPT)

    def room(self, keep_free: int) -> Room:
        """Given how many bytes are to stay free, return the room on the volume for the hosts of one run."""
        return Room(self._root, self.path, self._root / "partial" / KEPT, keep_free)

    def clean_partial(self, keep: Collection[str] = ()) -> list[str]:
        """Given runs to keep, remove what all others left under partial/. Return their names.

        Only for a caller who knows that none of them is running.
        """
        gone = []
        with disk.said(self._root / "partial", "cleaning up"):
            for folder in sorted((self._root / "partial").iterdir()):
                if folder.name not in keep:
                    disk.remove_tree(folder)
                    gone.append(folder.name)
        return gone

    def salvage(self, alive: Callable[[], Collection[str]]) -> list[str]:
        """Given how to learn which runs are alive, keep what others had fetched, and remove their rest.

        So what a killed run brought is not brought again, be it half of a large file. Return their names.
        What was taken out as damaged (`reject`) stays. Who is alive is asked after looking: a run is known
        before it has a folder here.
        """
        partial = self._root / "partial"
        with disk.said(partial, "looking for what killed runs left"):
            found = [f for f in _folders_in(partial) if f.name != KEPT and not f.name.startswith(_REJECTED)]
            living = set(alive())
            dead = [folder for folder in found if folder.name not in living]
            for folder in dead:
                for home in _folders_in(folder):
                    if whole_files(home):
                        Staging(home, self._store, partial / KEPT).close()
                    for path, _, _ in parts_in(home):
                        if path.stat().st_size >= LEAST_KEPT:
                            disk.make_folder(partial / KEPT)
                            disk.replace(path, partial / KEPT / path.name)
                disk.remove_tree(folder)
            for path, _, _ in parts_in(partial / KEPT):
                if time.time() - path.stat().st_mtime > KEPT_S:
                    disk.remove(path)
            disk.leave_folder(partial / KEPT)
        return [folder.name for folder in dead]

    # ---------------------------------------------------------------- snapshots

    def commit(self, draft: SnapshotDraft) -> Snapshot:
        """Given a draft whose files are all here, put it in place as a snapshot, whole, in one rename.

        Return it. Raise RepositoryError if it cannot be: then there is no half of it under snapshots/.
        """
        return Commit(self._root, self.id, self._store, draft).perform()

    def reject(self, snapshot: Snapshot) -> Path:
        """Given a snapshot that was committed and found damaged, take it and its damaged objects out.

        So it is never taken for good, and the next run brings the content again. Return where it lies now.
        """
        with disk.said(snapshot.path, "taking out a damaged snapshot"):
            aside = self._root / "partial" / f"{_REJECTED}{snapshot.id}-{secrets.token_hex(4)}"
            disk.make_folder(aside)
            disk.move(snapshot.path, aside / snapshot.id)
            for entry in snapshot.manifest.entries:
                path = self._store.place(entry.sha256)
                if path.exists() and disk.digest_of(path) != entry.sha256:
                    disk.move(path, aside / entry.sha256)
            disk.sync_folders([snapshot.path.parent])
        return aside

    def snapshots(self, host: str | None = None, connector: str | None = None) -> list[Snapshot]:
        """Given a host and a connector, or neither, return the snapshots, oldest first; damaged ones too."""
        folders = (f for f in self._folders(host) if connector is None or is_id(f.name, connector))
        return sorted(map(load, folders), key=lambda s: (s.created, s.id))

    def home(self, host: str) -> Path:
        """Given a host, return the folder of its snapshots, there or not.

        Raise RepositoryError if the host is here already in another spelling.
        """
        return home_of(self.path, host)

    def latest(
        self,
        host: str,
        connector: str,
        kind: Kind = "full",
        *,
        now: datetime | None = None,
        unless: Callable[[Snapshot], object] = lambda snapshot: None,
    ) -> Snapshot | None:
        """Given a host and a connector, return the newest complete snapshot that nobody knows to be damaged.

        With `now`, one that says it was made later than that comes after all others; `unless` says which ones
        do not count.
        """
        return next((s for s in self._complete(host, connector, kind, now) if not unless(s)), None)

    def reliable(
        self,
        host: str,
        connector: str,
        kind: Kind = "full",
        *,
        now: datetime | None = None,
        unless: Callable[[Snapshot], object] = lambda snapshot: None,
    ) -> Snapshot | None:
        """Given the same as `latest`, return the newest complete snapshot whose files are all there.

        Names and sizes are held against the manifest: it is what another one may be forgotten for.
        """
        complete = self._complete(host, connector, kind, now)
        return next((s for s in complete if not unless(s) and not self.damage(s)), None)

    def _complete(self, host: str, connector: str, kind: Kind, now: datetime | None) -> Iterator[Snapshot]:
        """Return the complete snapshots whose manifests can be trusted, the newest first."""
        found = self.snapshots(host, connector)
        found.sort(key=lambda s: is_possible(s.created, now))
        for snapshot in reversed(found):
            whole = snapshot.complete and not manifest_damage(snapshot) and not self.damage_in(snapshot)
            if whole and snapshot.kind == kind:
                yield snapshot

    def find(self, name: str) -> Snapshot:
        """Given a snapshot's name, or its beginning, or HOST/ before either, return it.

        Raise SnapshotNotFound if there is none, UsageError if there is more than one: then it lists them.
        """
        host = name.strip().rstrip("/").rpartition("/")[0]
        if host and self._has_home(host):  # of hundreds of hosts, the others are not looked at
            with contextlib.suppress(SnapshotNotFound):
                return load(find_folder(name, self._folders(host), self.path))
        return load(find_folder(name, self._folders(None), self.path))

    def pick(self, name: str, now: datetime) -> Snapshot:
        """Given HOST/CONNECTOR, or a HOST with one connector, return its newest; else what `find` finds.

        The newest is the latest complete one, or the newest of all if there is no such. Raise as `find` does.
        """
        meant = host_and_connector(name, self._folders(None))
        if meant is None:
            return self.find(name)
        every = self.snapshots(*meant)
        return self.latest(*meant, now=now) or ([s for s in every if s.kind == "full"] or every)[-1]

    def named(self, name: str) -> Snapshot | Composed:
        """Given a snapshot's name, or HOST/FULL+TABLES as plans have it, return it. Raise as `find` does."""
        head, plus, tables = name.partition("+")
        full = self.find(head)
        return compose(full, self.find(f"{full.host}/{tables}")) if plus else full

    def current(
        self,
        host: str,
        connector: str,
        *,
        now: datetime | None = None,
        full: Snapshot | None = None,
        unless: Callable[[Snapshot], object] = lambda snapshot: None,
    ) -> Composed | None:
        """Given a host and a connector, return what the host had last: the latest full snapshot, with newer
        tables over it. None if there is no complete full one; `full` names another than the latest, and
        `unless` says which tables do not count.

        Newer is what was true later: made, or found unchanged by a run. Raise IntegrityError.
        """
        full = full or self.latest(host, connector, now=now)
        if full is None:
            return None
        since, over = self.last_true(full, now, parts=True), None
        for snapshot in self._complete(host, connector, "tables", now):
            if self.last_true(snapshot, now) <= since:
                break  # nor were those before it
            if not unless(snapshot) and scopes(full.manifest, snapshot.manifest):
                over = snapshot
                break
        return compose(full, over)

    def last_true(self, snapshot: Snapshot, now: datetime | None = None, *, parts: bool = False) -> datetime:
        """Given a snapshot, return when it was last what the host had: made, or found unchanged by a run.

        With `parts`, in part at least. A moment that cannot have been yet does not count.
        """
        moments = [snapshot.created]
        with contextlib.suppress(IntegrityError):  # nobody knows for how long it was true
            moments += [check.at for check in self.checks(snapshot, parts=parts)]
        return max((m for m in moments if is_possible(m, now)), default=snapshot.created)

    def pick_current(self, name: str, now: datetime) -> Snapshot | Composed:
        """Given what `pick` takes, return the same, but for HOST/CONNECTOR what the host had last.

        So it is for readers of contents: newer tables lie over the newest full one. Raise as `find` does.
        """
        meant = host_and_connector(name, self._folders(None))
        found = self.current(*meant, now=now) if meant is not None else None
        return self.pick(name, now) if found is None else found if found.tables else found.full

    def same_content(
        self, draft: SnapshotDraft, snapshot: Snapshot, volatile: Collection[str] = VOLATILE
    ) -> bool:
        """Given a draft and a snapshot, return whether a restore of either would bring back the same."""
        return same_content(draft, snapshot, volatile)

    def _has_home(self, host: str) -> bool:
        """Return whether there is a folder for the host, in just this spelling."""
        snapshots = self._root / "snapshots"
        with disk.said(snapshots, "reading the repository"):
            try:
                return is_host(host) and host in os.listdir(snapshots)  # noqa: PTH208 - on Windows case counts
            except FileNotFoundError:
                raise _no_snapshots(snapshots) from None

    def _folders(self, host: str | None) -> Iterator[Path]:
        snapshots = self._root / "snapshots"
        with disk.said(snapshots, "reading the repository"):
            try:
                homes = [snapshots / checked_host(host)] if host is not None else sorted(snapshots.iterdir())
            except FileNotFoundError:
                raise _no_snapshots(snapshots) from None
            for home in homes:
                if not is_host(home.name) or disk.is_link(home):
                    continue  # not ours; `verify` names it
                if home.is_dir():
                    yield from (f for f in _folders_in(home) if is_id(f.name))
                elif not snapshots.is_dir():
                    raise _no_snapshots(snapshots)

    # ---------------------------------------------------------------- checks and verification

    def record_check(self, snapshot: Snapshot, run: str, at: datetime, part: str = "") -> None:
        """Given a snapshot that a run found to be what the host still has, note that beside it.

        With `part`, the run looked at no more of it than that: such a check says nothing of the rest.
        """
        self.add_checks(snapshot, [CheckRecord(run, at, part)])

    def add_checks(self, snapshot: Snapshot, records: Iterable[CheckRecord]) -> int:
        """Given a snapshot and checks of it, note those that are not noted yet. Return how many.

        Raise SnapshotNotFound if the snapshot was forgotten meanwhile: a check alone saves nothing.
        """
        if not (self._root / "snapshots" / snapshot.host / snapshot.id).is_dir():
            raise SnapshotNotFound(
                f"the snapshot {snapshot.id} is not here any more.",
                path=self.path,
                remedy="Run it again; it makes another one.",
            )
        known = {(r.run, stamp(r.at), r.part) for r in self.checks(snapshot, parts=True)}
        asked = dict.fromkeys((r.run, stamp(r.at), r.part) for r in records)
        lines = [
            json.dumps({"run": run, "at": at} | ({"part": part} if part else {}), separators=(",", ":"))
            for run, at, part in asked
            if (run, at, part) not in known
        ]
        path = self._checks_path(snapshot)
        if lines:
            with disk.said(path, "recording a check"):
                disk.make_folder(path.parent)
                disk.append_line(path, "\n".join(lines).encode())
        return len(lines)

    def checks(self, snapshot: Snapshot, *, parts: bool = False) -> tuple[CheckRecord, ...]:
        """Given a snapshot, return the runs that found it unchanged, in order. A torn line does not count.

        With `parts`, those that looked at a part of it, too. Raise IntegrityError if the record of them
        cannot be read.
        """
        path = self._checks_path(snapshot)
        found = []
        try:
            if any(map(disk.is_link, (path, path.parent))):
                raise OSError(errno.ELOOP, "it is behind a link, which leads elsewhere", str(path))
            lines = disk.read_whole(path, LONGEST_CHECKS).splitlines()
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise IntegrityError(
                f"the record of checks cannot be read: {error.strerror or error}.",
                path=path,
                entry=path.name,
                remedy="Move it away; the next backup begins another one.",
            ) from error
        for line in lines:
            with contextlib.suppress(ValueError):
                found.append(CheckRecord(*read_check(line)))
        return tuple(check for check in found if parts or not check.part)

    def _checks_path(self, snapshot: Snapshot) -> Path:
        return self._root / "checks" / checked_host(snapshot.host) / f"{snapshot.id}.jsonl"

    def record_proof(self, snapshot: Snapshot, proof: Proof) -> None:
        """Given a snapshot and a drill of it, note that beside it. Raise RepositoryError."""
        proofs.record(self._root, snapshot, proof)

    def proofs(self, snapshot: Snapshot) -> tuple[Proof, ...]:
        """Given a snapshot, return its drills, oldest first. Raise IntegrityError if they cannot be read."""
        return proofs.proofs(self._root, snapshot)

    def verifier(self) -> Verifier:
        """Return one that verifies several snapshots and reads what they share once."""
        return Verifier(self._root, quick=False)

    def verify(self, snapshot: Snapshot | None = None, quick: bool = False) -> Iterator[Problem]:
        """Given a snapshot, or None for all and every object, return what is not as it was written down.

        Every byte is read; with `quick`, manifests are, and of the files names and sizes.
        """
        alone = snapshot is not None
        verifier = Verifier(self._root, quick, self._damage.counts_as_missing, self.id, alone=alone)
        return verifier.everything(self._store) if snapshot is None else verifier.snapshot(snapshot)

    def damage_in(self, snapshot: Snapshot) -> str:
        """Given a snapshot, return which of its files `verify` found damaged, in words; '' if none."""
        hurt = damage_in(snapshot, self._damage.counts_as_missing) if self._damage.any_noted else ""
        return hurt or self.distant.damage(snapshot)

    def noted_damage(self) -> set[str]:
        """Return the digests of the contents that are noted as damaged, to begin a verification with."""
        return self._damage.read()

    def note_damage(self, before: Collection[str], found: Collection[str], *, all_read: bool) -> None:
        """Given the notes before a verification, and the digests it found damaged, keep that for later runs.

        `all_read`: whatever it did not find damaged is good. Raise RepositoryError if it cannot be kept.
        """
        settle_notes(self._damage, before, found, all_read=all_read)

    def mend(self, good: Snapshot) -> list[str]:
        """Given a snapshot that was just read back whole, mend others with it; return their names."""
        return mend(self._root, self._damage, good, self.snapshots)

    # ---------------------------------------------------------------- keeping

    def candidates(self, host: str | None = None, connector: str | None = None) -> list[Candidate]:
        """Given a host and a connector, or neither, return the snapshots as a keep policy sees them."""
        return list(map(self._candidate, self.snapshots(host, connector)))

    def _candidate(self, snapshot: Snapshot) -> Candidate:
        damage = manifest_damage(snapshot) or self.damage_in(snapshot)
        seen = tuple[datetime, ...]()
        try:
            seen = tuple(check.at for check in self.checks(snapshot))
        except IntegrityError as error:  # nobody knows for how long it was true
            damage = damage or error.message
        return Candidate(snapshot, damage, seen)

    def damage(self, snapshot: Snapshot) -> str:
        """Given a snapshot, return what of it is not there in its size, in words; empty if all is."""
        problem = next(Verifier(self._root, quick=True).snapshot(snapshot, rights=False), None)
        return f"{problem.place} {problem.message}" if problem else ""

    def fates(
        self, policy: KeepPolicy, chosen: Collection[Snapshot], now: datetime | None = None
    ) -> list[Fate]:
        """Given a policy and snapshots, return what becomes of each; what stays for another was looked at."""
        paths = {s.path for s in chosen}
        candidates = (c for c in self.candidates() if c.snapshot.path in paths)
        return settle(candidates, policy, now, self.damage)

    def forget(self, snapshot: Snapshot, run: str) -> None:
        """Given a snapshot and a run, take it out in one rename and delete it. Needs the whole lock."""
        remove(self._root, self._store, snapshot, run)
        with disk.said(snapshot.path, "forgetting a snapshot"):
            self.distant.forget(snapshot)

    def unused(self, alive: Collection[str] = ()) -> Unused:
        """Given the living runs, return what nothing names. Raise IntegrityError if nobody can tell."""
        return find_unused(self._root, self._store, self.snapshots(), alive)

    def prune(self, alive: Collection[str] = ()) -> Unused:
        """Given the living runs, delete what nothing names; return it. For a holder of the whole lock."""
        unused = self.unused(alive)
        remove_unused(unused)
        return unused

    def standing(self, snapshot: Snapshot) -> Standing:
        """Given a snapshot of another repository, return what this one has of it. Raise IntegrityError."""
        folder = self._root / "snapshots" / checked_host(snapshot.host) / snapshot.id
        return copying.standing(snapshot, folder, self._damage.counts_as_missing)

    def lacking(self, snapshot: Snapshot) -> dict[str, int]:
        """Given a snapshot of another repository, return digests and sizes of what is not here of it."""
        return copying.lacking(self._store, snapshot)

    def receive(
        self, snapshot: Snapshot, run: str, moved: Callable[[int, int], None] = lambda files, size: None
    ) -> Snapshot:
        """Given a snapshot of another repository, put it into this one as it is, in one rename; return it.

        Raise IntegrityError if it is damaged, RepositoryError if it cannot be put here.
        """
        with self.staging(run, snapshot.host) as staging:
            return copying.receive(self._root, self._store, snapshot, run, staging, moved)

    # ---------------------------------------------------------------- lock

    def lock(
        self,
        owner: str,
        name: str = "run",
        *,
        run: str = "",
        since: datetime | None = None,
        on_takeover: Callable[[str], None] = lambda who: None,
    ) -> AbstractContextManager[Lock]:
        """Given who asks and what for, hold that lock for a block. A dead process's, of here, is taken over.

        The lock `repository` excludes all others. `on_takeover` is told whose it was, and the Lock says it.
        Raise RepositoryLocked if a living process, or one of another machine, has it.
        """
        folder = self._root / "locks"
        path = folder / f"{checked_word(name, 'a lock')}.lock"
        whole = folder / f"{WHOLE}.lock"

        def against() -> list[Path]:
            return [p for p in sorted(folder.glob("*.lock")) if p != path] if path == whole else [whole]

        return hold(path, owner, run=run, since=since, on_takeover=on_takeover, against=against)

    def locks(self) -> list[LockState]:
        """Return the locks that lie here, whoever holds them."""
        return list_locks(self._root / "locks")


def _no_snapshots(folder: Path) -> IntegrityError:
    return IntegrityError(
        "the folder of all snapshots is missing.",
        path=folder,
        entry="snapshots",
        remedy="Bring it back from a copy; for a repository that is to be empty, make it again.",
    )


def _folders_in(folder: Path) -> list[Path]:
    """Given a folder of ours, return the folders in it, in order; a link is none: it leads elsewhere."""
    return [f for f in sorted(folder.iterdir()) if f.is_dir() and not disk.is_link(f)]


def _rooted(path: Path) -> Path:
    return Path(extended(os.path.abspath(path), os.name == "nt"))  # noqa: PTH100 - resolve() follows links

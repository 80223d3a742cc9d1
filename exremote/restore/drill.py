"""The drill: a restore into a scratch folder and a scratch registry key of a host that is there for it.

Every file and value is compared with the manifest by what that host reads back; then all is taken away. What
could not be checked is said, and a drill that has such a thing is not green. It touches nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from exremote import regfile
from exremote.connector import below
from exremote.errors import (
    EXIT_BAD_NEWS,
    EXIT_OK,
    ExremoteError,
    HostError,
    IntegrityError,
    PlanRefused,
    RepositoryError,
    RepositoryLocked,
    ScriptFailed,
    TransferMismatch,
)
from exremote.facts import RegistrySetting
from exremote.folding import folded
from exremote.inventory import Host
from exremote.journal import Journal
from exremote.regfile import RegFile
from exremote.repository import Proof, Repository, Snapshot
from exremote.restore.aim import Aim, value_in
from exremote.restore.history import DRILL_CLEARED, DRILLING, drills_left, last_down_s
from exremote.restore.into import hollow, make_hollow, outgoing
from exremote.restore.planning import SPARE, free_on
from exremote.restore.verifying import verify_whole
from exremote.runner import Outcome, State, Stopped, exit_code
from exremote.session import Session
from exremote.transfer import Outgoing, push_files
from exremote.wording import count_text

_SETTABLE = 0x01 | 0x02 | 0x20
_SCRATCH = "exremote-drill"


@dataclass(slots=True)
class Drilled:
    """What a drill of one host's snapshots brought out."""

    host: str
    """whose snapshots they are"""
    snapshots: tuple[str, ...]
    """HOST/ID of each"""
    files: int = 0
    """files that were compared and are equal"""
    bytes: int = 0
    """their sizes together"""
    values: int = 0
    """registry values that were compared and are equal"""
    wrong: list[str] = field(default_factory=list)
    """a sentence for each thing that is not as the manifest says"""
    unchecked: list[str] = field(default_factory=list)
    """a sentence for each thing that could not be checked"""
    transfer_s: float = 0.0
    """how long it took to bring the files there, in seconds"""
    seconds: float = 0.0
    """how long all of it took, in seconds"""
    estimate_s: float | None = None
    """how long a restore would take, by this and by the last time that services stood; None if unknown"""
    broken: ExremoteError | None = None
    """why it did not come to its end"""

    @property
    def green(self) -> bool:
        """Return whether everything was checked and is equal."""
        return not self.said

    @property
    def said(self) -> list[str]:
        """Return a sentence for each thing that keeps it from being green."""
        return [*([self.broken.text] if self.broken is not None else ()), *self.wrong, *self.unchecked]

    @property
    def exit_code(self) -> int:
        """Return what it means for the exit code."""
        if self.broken is not None:
            return self.broken.exit_code
        return EXIT_OK if self.green else EXIT_BAD_NEWS

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "host": self.host,
            "snapshots": list(self.snapshots),
            "green": self.green,
            "files": self.files,
            "bytes": self.bytes,
            "values": self.values,
            "wrong": self.wrong,
            "unchecked": self.unchecked,
            "error": self.broken.text if self.broken is not None else "",
            "transfer_seconds": round(self.transfer_s, 2),
            "seconds": round(self.seconds, 2),
            "estimate_seconds": None if self.estimate_s is None else round(self.estimate_s, 1),
        }


@dataclass(frozen=True, slots=True)
class Subject:
    """What is tried: the snapshots of one host."""

    host: str
    """whose they are"""
    snapshots: tuple[Snapshot, ...]
    """one a connector"""
    aim: Aim
    """what a restore of them wants"""


@dataclass(frozen=True, slots=True)
class DrillErrand:
    """What a drill does on the hosts that are there for it."""

    repository: Repository
    """where the contents come from, and where the record goes"""
    journal: Journal
    """what happened"""
    subjects: Mapping[str, Sequence[Subject]]
    """by the host where they are tried"""
    folders: Mapping[str, str]
    """by the same: the folder that scratch folders are made in"""
    now: Callable[[], datetime]
    """our clock"""
    stage: Callable[[str, str], None]
    """told what a host is doing; raises after an interrupt"""
    moved: Callable[[str, int, int], None]
    """told of files and bytes; raises after an interrupt"""
    expect: Callable[[str, int, int], None]
    """told of files and bytes that will go"""

    def __call__(self, host: Host, session: Session) -> Outcome:
        """Given a host and an open session, try all its subjects, one after another. Return the outcome.

        What is wrong with one subject stops no other. Raise HostError if the host is lost.
        """
        started = self.now()
        self._clear_dead(host, session)
        results: list[Drilled] = []
        for subject in self.subjects[host.name]:
            result = Drilled(subject.host, tuple(f"{s.host}/{s.id}" for s in subject.snapshots))
            try:
                with self._lock(host, subject.host):
                    self._try(host, session, subject, result)
            except Stopped as stopped:
                raise Stopped(" ".join(filter(None, (str(stopped), _tried(results))))) from None
            except (RepositoryError, PlanRefused, ScriptFailed, TransferMismatch) as error:
                result.broken = error
            except ExremoteError as error:
                error.leave(_tried(results))
                raise
            results.append(result)
        seconds = (self.now() - started).total_seconds()
        red = [r for r in results if not r.green]
        if red:
            broken = [r for r in red if r.broken is not None]
            first = (broken or red)[0]
            message = f"{first.host}: {first.said[0]}"
            state = State.FAILED if len(broken) == len(results) else State.INCOMPLETE
            code = drill_code([Outcome(r.host, state, r.exit_code, "") for r in results])
            return Outcome(host.name, state, code, message, seconds, results)
        files, values = sum(r.files for r in results), sum(r.values for r in results)
        message = f"{count_text(files, 'file')} and {count_text(values, 'registry value')} equal"
        return Outcome(host.name, State.DONE, EXIT_OK, message, seconds, results)

    def _lock(self, host: Host, of: str) -> AbstractContextManager[object]:
        """Return the lock of what a drill of a host makes on this one: two would spoil each other."""
        return self.repository.lock(
            "exremote drill",
            name=f"drill-{host.name}-{_plain(of)}",  # as the key is called: two names may share one
            run=self.journal.run_id,
            since=self.now(),
            on_takeover=lambda who: self.journal.event("lock-taken-over", host=host.name, was=who),
        )

    def _clear_dead(self, host: Host, session: Session) -> None:
        """Take away what killed drills left on a host; what cannot be is said, and a drill goes on."""
        for (folder, key), of in drills_left(self.repository.runs_folder, host.name).items():
            try:
                with self._lock(host, of):
                    self.stage(host.name, f"taking away what a drill of {of} left")
                    self._take_away(host, session, folder, key)
            except RepositoryLocked:
                continue  # it is being tried there: that drill takes it away
            except (ScriptFailed, PlanRefused) as error:
                self.journal.event("left-behind", host=host.name, path=folder, error=error.text)

    def _take_away(self, host: Host, session: Session, folder: str, key: str) -> None:
        session.remove_folder(folder)
        session.remove_scratch_key(key)
        self.journal.event(DRILL_CLEARED, host=host.name, folder=folder, key=key)

    def _try(self, host: Host, session: Session, subject: Subject, result: Drilled) -> None:
        began = time.monotonic()
        self.stage(host.name, f"verifying the snapshots of {subject.host}")
        try:
            verify_whole(self.repository, subject.snapshots)
        except IntegrityError as error:
            for snapshot in (s for s in subject.snapshots if str(s.path) == str(error.path)):
                result.seconds = time.monotonic() - began
                self._record(host, snapshot, result, error.text)
            raise
        folder = below(self.folders[host.name], f"{_SCRATCH}-{subject.host}")
        key = rf"HKLM\SOFTWARE\{_SCRATCH}-{_plain(subject.host)}"
        files = outgoing(subject.aim)
        self._room(host, session, folder, files)
        self.journal.event(DRILLING, host=host.name, of=subject.host, folder=folder, key=key)
        try:
            self.stage(host.name, f"bringing the files of {subject.host}")
            session.remove_folder(folder)
            session.remove_scratch_key(key)
            self._files(host, session, folder, files, hollow(subject.aim, files), result)
            self.stage(host.name, f"comparing the registry of {subject.host}")
            for snapshot in subject.snapshots:
                self._registry(session, key, snapshot, result)
        except Stopped as stopped:
            raise Stopped(f"{stopped} {self._clear(host, session, folder, key)}".strip()) from None
        except ExremoteError as error:
            error.leave(self._clear(host, session, folder, key))
            raise
        except BaseException:
            self._clear(host, session, folder, key)
            raise
        result.unchecked += filter(None, [self._clear(host, session, folder, key)])
        down = last_down_s(self.repository.runs_folder, subject.host)
        result.estimate_s = None if down is None else result.transfer_s + down
        result.seconds = time.monotonic() - began
        for snapshot in subject.snapshots:
            self._record(host, snapshot, result, "; ".join(result.said[:3]))
        self.journal.event("drilled", host=host.name, of=subject.host, green=result.green)

    def _record(self, host: Host, snapshot: Snapshot, result: Drilled, said: str) -> None:
        """Note what came of a snapshot; `said` is empty if all of it was checked and is equal."""
        proof = Proof(
            self.journal.run_id,
            self.now(),
            not said,
            host.name,
            result.seconds,
            result.files,
            result.values,
            said,
        )
        self.repository.record_proof(snapshot, proof)

    def _room(self, host: Host, session: Session, folder: str, files: Sequence[Outgoing]) -> None:
        need = sum(file.size for file in files) + SPARE
        free = free_on(folder, session.host_fact())
        if free is not None and need > free:
            raise PlanRefused(
                f"{host.name}: {folder} has {free} bytes free, and {need} are needed for the drill.",
                "Name a folder on a larger drive (drill_folder). Nothing was changed.",
            )

    def _files(
        self,
        host: Host,
        session: Session,
        folder: str,
        files: Sequence[Outgoing],
        folders: Sequence[str],
        result: Drilled,
    ) -> None:
        """Bring the files there, make the folders in which none lies, and hold what the host lists against
        what they are to be.
        """
        self.expect(host.name, len(files), sum(file.size for file in files))
        began = time.monotonic()
        pushed = push_files(
            session,
            folder,
            files,
            fresh=True,
            progress=lambda count, data: self.moved(host.name, count, data),
        )
        result.transfer_s = time.monotonic() - began
        failed = (*pushed.failed, *make_hollow(session, folder, folders))
        result.wrong += [f"{path} could not be written: {reason}" for path, reason in failed]
        self.stage(host.name, f"comparing the files of {result.host}")
        listed = session.file_tree(folder).entries
        dirs = {folded(e.path) for e in listed if e.state == "directory"}
        result.wrong += [f"folder {path} is not there" for path in folders if folded(path) not in dirs]
        there = {folded(e.path): e for e in listed if e.state != "directory"}
        for file in files:
            entry = there.pop(folded(file.path), None)
            if entry is None:
                result.wrong.append(f"{file.path} is not there")
            elif (entry.sha256, entry.size) != (file.sha256, file.size):
                result.wrong.append(f"{file.path} has other content than the manifest says")
            elif entry.modified_ticks // 10 != file.modified_ticks // 10:
                result.wrong.append(f"{file.path} has another time than the manifest says")
            elif (entry.attributes ^ file.attributes) & _SETTABLE:
                result.wrong.append(f"{file.path} has other attributes than the manifest says")
            else:
                result.files += 1
                result.bytes += file.size
        result.wrong += [f"{entry.path} is there, and nobody brought it" for entry in there.values()]

    def _registry(self, session: Session, key: str, snapshot: Snapshot, result: Drilled) -> None:
        """Set a snapshot's registry values below a scratch key, and hold what is exported against them."""
        for item, wanted in _exports(snapshot):
            top = next(iter(wanted.keys), "")
            settings: list[RegistrySetting] = []
            for path, values in wanted.keys.items():
                place = (below(key, snapshot.connector) + "\\" + item + path[len(top) :]).rstrip("\\")
                settings += [RegistrySetting(place, v.name, v.kind, v.data) for v in values.values()]
            if not settings:
                continue
            kept: list[RegistrySetting] = []
            for setting, deed in zip(settings, session.set_registry_values(settings), strict=True):
                if deed.state == "failed":
                    result.unchecked.append(f"{item}, value {setting.name or '(default)'}: {deed.message}")
                else:
                    kept.append(setting)
            export = session.export_registry_key(f"{below(key, snapshot.connector)}\\{item}")
            found = regfile.parse(export.data) if export.exists else RegFile({})
            for setting in kept:
                path = setting.key.replace("HKLM\\", "HKEY_LOCAL_MACHINE\\", 1)
                value = value_in(found, path, setting.name)
                if value is None or (value.kind, value.data) != (setting.kind, setting.data):
                    result.wrong.append(
                        f"{item}, value {setting.name or '(default)'} came back as another one"
                    )
                else:
                    result.values += 1

    def _clear(self, host: Host, session: Session, folder: str, key: str) -> str:
        """Take away what was made, also after an interrupt. Return a sentence about what stays, if any."""
        try:
            with session.insisting(300.0):
                self._take_away(host, session, folder, key)
        except HostError as error:
            with suppress(Exception):
                self.journal.event("left-behind", host=host.name, path=folder, error=error.text)
            return (
                f"{folder} and {key} could not be taken away: {error.said} "
                f"The next drill on {host.name} takes them away."
            )
        return ""


def _tried(results: Sequence[Drilled]) -> str:
    """Given what came of subjects before the drill broke off, return it in a sentence."""
    said = ", ".join(f"{r.host} ({'equal' if r.green else 'not equal, or not checked'})" for r in results)
    return f"Tried before: {said}." if said else ""


def drill_code(outcomes: Sequence[Outcome]) -> int:
    """Given how drills ended, return the exit code: what is red is bad news, however many there are."""
    codes = {o.exit_code for o in outcomes}
    return EXIT_BAD_NEWS if codes <= {0, EXIT_BAD_NEWS} and EXIT_BAD_NEWS in codes else exit_code(outcomes)


def _exports(snapshot: Snapshot) -> Iterator[tuple[str, RegFile]]:
    """Yield item and content of each registry text of a snapshot."""
    for document in snapshot.manifest.documents:
        if document.stored.startswith("registry/") and document.stored.endswith(".reg"):
            yield document.stored[9:-4], regfile.parse(snapshot.document(document))


def _plain(host: str) -> str:
    """Given a host's name, return it as a key's name may be."""
    return "".join(char if char.isascii() and char.isalnum() else "-" for char in host)

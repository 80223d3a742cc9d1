"""What snapshots hold, put into a folder of a host: nothing that is in use is touched, no service stops.

It never writes over a file: the folder is new, or holds nothing but what an earlier try brought.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from exremote.connector import below
from exremote.errors import EXIT_INCOMPLETE, EXIT_OK, PlanRefused
from exremote.facts import TreeFact
from exremote.folding import folded
from exremote.inventory import Host
from exremote.journal import Journal
from exremote.pack import datetime_to_ticks
from exremote.repository import Repository, Snapshot
from exremote.restore.aim import Aim, Content
from exremote.restore.planning import SPARE, free_on
from exremote.restore.verifying import verify_whole
from exremote.runner import Outcome, State
from exremote.session import Session
from exremote.transfer import Outgoing, piece_at, piece_of, push_files
from exremote.wording import count_text

NORMAL = 0x20
"""The attribute of what is no file of the host's own: archive."""


@dataclass(frozen=True, slots=True)
class Laid:
    """What was put into a folder: the detail of its outcome."""

    folder: str
    """the folder on the host"""
    files: int
    """files that lie there, each held against its digest by the host"""
    bytes: int
    """their sizes together"""
    sent_files: int
    """those of them that travelled"""
    failed: tuple[tuple[str, str], ...]
    """path and reason of each that could not be written"""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "folder": self.folder,
            "files": self.files,
            "bytes": self.bytes,
            "sent_files": self.sent_files,
            "failed": [{"path": path, "reason": reason} for path, reason in self.failed],
        }


def outgoing(aim: Aim) -> list[Outgoing]:
    """Given what is wanted, return the files as they lie below one folder: `ITEM` and the host's own path."""
    return [
        Outgoing(
            f"{tree.item}\\{content.path}",
            content.source,
            content.size,
            content.sha256,
            content.modified_ticks,
            content.attributes,
        )
        for tree in aim.trees
        for content in tree.files.values()
        if isinstance(content, Content)
    ]


def hollow(aim: Aim, files: Iterable[Outgoing]) -> list[str]:
    """Given what is wanted and the files of it, return the folders in which none of them lies, likewise."""
    made: set[str] = set()
    for file in files:
        path = folded(file.path)
        while path := path.rpartition("\\")[0]:
            made.add(path)
    wanted = (f"{tree.item}\\{path}" for tree in aim.trees for path in tree.folders)
    return [path for path in wanted if folded(path) not in made]


def make_hollow(session: Session, folder: str, paths: Sequence[str]) -> list[tuple[str, str]]:
    """Given folders in which nothing lies, make them below a folder. Return path and reason of each that
    could not be made. Raise HostError.
    """
    deeds = session.set_folders(folder, paths, True) if paths else []
    return [(deed.path, deed.message or deed.state) for deed in deeds if deed.state == "failed"]


def documents(snapshots: tuple[Snapshot, ...]) -> list[Outgoing]:
    """Given snapshots, return their registry texts and records as files: what a person may want beside."""
    found: dict[str, Outgoing] = {}
    for snapshot in snapshots:
        ticks = datetime_to_ticks(snapshot.created)
        for document in snapshot.manifest.documents:
            if document.stored.startswith("registry/") or document.stored == "services.json":
                path = f"{snapshot.connector}\\{document.stored.replace('/', chr(92))}"
                source = snapshot.path / document.stored
                found[path] = Outgoing(path, source, document.size, document.sha256, ticks, NORMAL)
    return list(found.values())


def in_the_way(there: TreeFact, files: list[Outgoing]) -> str:
    """Given a folder and what is to lie in it, return what is there and is something else, if anything.

    What an earlier try has left is no other: beginnings of the files, and pieces. Raise RepositoryError.
    """
    wanted = {folded(file.path): file for file in files}
    for entry in there.entries:
        if entry.state == "directory":
            continue
        file = wanted.get(folded(entry.path))
        if file is None and (piece := piece_of(folded(entry.path))) is not None:
            whole = wanted.get(piece[0])
            if whole is not None and 0 < piece[1] < whole.size:
                file = piece_at(whole, piece[1], whole.size - piece[1])
        if file is None or file.beginning(entry) is None:
            return entry.path
    return ""


@dataclass(frozen=True, slots=True)
class IntoErrand:
    """What a restore into a folder does with one host."""

    repository: Repository
    """where the contents come from"""
    journal: Journal
    """what happened"""
    work: Mapping[str, tuple[Aim, tuple[Snapshot, ...]]]
    """by host: what is wanted, and the snapshots that it comes from"""
    folder: str
    """the folder on the host"""
    dry_run: bool
    """look, and send nothing"""
    now: Callable[[], datetime]
    """our clock"""
    stage: Callable[[str, str], None]
    """told what a host is doing; raises after an interrupt"""
    moved: Callable[[str, int, int], None]
    """told of files and bytes; raises after an interrupt"""
    expect: Callable[[str, int, int], None]
    """told of files and bytes that will go"""

    def __call__(self, host: Host, session: Session) -> Outcome:
        """Given a host and an open session, put the files there. Return the outcome.

        Raise PlanRefused if something else is in the folder or the room is too small, HostError.
        """
        started = self.now()
        aim, snapshots = self.work[host.name]
        self.stage(host.name, "verifying the snapshot")
        verify_whole(self.repository, snapshots)
        files = outgoing(aim) + documents(snapshots)
        size = sum(file.size for file in files)
        self.stage(host.name, "asking")
        there = session.file_tree(self.folder)
        if strange := in_the_way(there, files):
            raise PlanRefused(
                f"{host.name}: {below(self.folder, strange)} is in the way.",
                "Name a new or an empty folder: nothing is written over.",
            )
        lacking = size - sum(e.size for e in there.entries if e.size > 0)
        free = free_on(self.folder, session.host_fact())
        if free is not None and lacking + SPARE > free:
            raise PlanRefused(
                f"{host.name}: {self.folder} has {free} bytes free, and {lacking + SPARE} are needed.",
                "Name a folder on a larger drive. Nothing was changed.",
            )
        if self.dry_run:
            words = f"would put {count_text(len(files), 'file')} ({size} bytes) into {self.folder}"
            return Outcome(host.name, State.DONE, EXIT_OK, words, (self.now() - started).total_seconds())
        self.journal.event("into", host=host.name, folder=self.folder, files=len(files), bytes=size)
        self.expect(host.name, len(files), lacking)
        pushed = push_files(
            session,
            self.folder,
            files,
            fresh=not there.exists,
            progress=lambda count, data: self.moved(host.name, count, data),
        )
        unmade = make_hollow(session, self.folder, hollow(aim, files))
        failed = (*pushed.failed, *unmade)
        laid = Laid(self.folder, len(files) - len(pushed.failed), size, pushed.sent_files, failed)
        seconds = (self.now() - started).total_seconds()
        if failed:
            path, reason = failed[0]
            what = count_text(len(failed), "file") if not unmade else f"{len(failed)} files or folders"
            message = f"{what} could not be written: {path}: {reason}"
            return Outcome(host.name, State.INCOMPLETE, EXIT_INCOMPLETE, message, seconds, laid)
        message = f"{count_text(laid.files, 'file')} in {self.folder}, each read back there"
        return Outcome(host.name, State.DONE, EXIT_OK, message, seconds, laid)

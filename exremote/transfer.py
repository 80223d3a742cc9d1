"""Moves trees from a host into the repository: knows what is here, streams the rest, resumes at any byte.

It never retries a question (the session does), never decides what to copy (the plan does) and
never stores a file that changed under its hands: such a file is read again, then reported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase

from exremote.errors import TransferMismatch
from exremote.facts import FileEntry, NamedFile
from exremote.pack import (
    FileBegin,
    FileData,
    FileEnd,
    FileError,
    PackEnd,
    PackError,
    PackReader,
    ticks_to_datetime,
)
from exremote.repository import Entry, ObjectWriter, Omission, Repository, Staging, UnsafeName, stored_path
from exremote.session import Session

READS_OF_A_CHANGING_FILE = 3
"""How often a file is read that is written to at the same time, before it is reported instead."""

Progress = Callable[[int, int], None]
"""Called with the number of files and of bytes that arrived since the last call."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of one item."""

    entries: tuple[Entry, ...] = ()
    """Files that the repository holds now."""
    omitted: tuple[Omission, ...] = ()
    """Files left out on purpose, each with the reason."""
    missing: tuple[Omission, ...] = ()
    """Files that should be there and could not be had, each with the reason."""
    sent_files: int = 0
    """Files that travelled; the others were here already."""
    sent_bytes: int = 0
    """Their bytes, before compression."""


@dataclass(slots=True)
class _Wanted:
    """One file to be fetched, and what is known of it so far."""

    path: str
    expected: str | None
    size: int | None
    """Size by the listing; None if the file was asked for by name only."""
    secret: bool
    modified_ticks: int | None = None
    """Time by the listing; None if the file was asked for by name only."""
    suspect: str = ""
    """Digest of a read that the listing's digest contradicts although time and size are the same."""
    reads: int = 0
    begun: FileBegin | None = None


@dataclass(frozen=True, slots=True)
class _Fetched:
    """One file that arrived whole: what the host said of it while it was read."""

    sha256: str
    size: int
    modified: datetime
    attributes: int


@dataclass(slots=True)
class _Fetch:
    """One errand: a list of files of one root, fetched in order, resumable at any byte."""

    session: Session
    staging: Staging
    root: str
    key: str
    progress: Progress
    wanted: list[_Wanted]
    position: int = 0
    writer: ObjectWriter | None = None
    done: dict[str, _Fetched] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    again: list[_Wanted] = field(default_factory=list)
    sent_files: int = 0
    sent_bytes: int = 0

    def run(self) -> None:
        """Fetch what is wanted; read again what changed meanwhile. Raise HostError if the host is lost."""
        while self.wanted:
            try:
                self.session.resume("Read-FilePack", self._stream, self._mark)
            finally:
                self._drop_writer()
            self.wanted, self.again, self.position = self.again, [], 0

    def _mark(self) -> tuple[int, int]:
        """Return how far this errand came; it grows with every block that was stored."""
        return self.position, 0 if self.writer is None else self.writer.size

    def _stream(self) -> None:
        """Ask for the rest from where we stand and store it. Raise HostError when the stream breaks."""
        if self.position >= len(self.wanted):
            return
        offset = 0 if self.writer is None else self.writer.size
        reader = PackReader()
        blocks = self.session.read_pack(
            self.root, [w.path for w in self.wanted], start_index=self.position, start_offset=offset
        )
        ended = False
        try:
            for plain in blocks:
                for event in reader.feed(plain):
                    match event:
                        case FileBegin():
                            self._begin(event)
                        case FileData():
                            self._data(event)
                        case FileEnd():
                            self._end(event)
                        case FileError():
                            self._error(event)
                        case PackEnd():
                            ended = True
        except PackError as error:
            # The writer holds what came before the damage; its digest is still compared at the end.
            raise TransferMismatch(
                self.session.host.name, f"the stream of {self.root} is damaged: {error}"
            ) from error
        if not ended or self.position < len(self.wanted):
            raise TransferMismatch(
                self.session.host.name,
                f"the stream of {self.root} ended after {self.position} of {len(self.wanted)} files",
            )

    def _expect(self, index: int) -> _Wanted:
        """Given the index that the host names, return the file that it must be."""
        if index != self.position:
            raise PackError(f"file {index} came where {self.position} was due")
        return self.wanted[self.position]

    def _begin(self, event: FileBegin) -> None:
        wanted = self._expect(event.index)
        if self.writer is None:
            self.writer = self.staging.writer(f"{self.key}-{wanted.reads}-{self.position}")
        if event.offset != self.writer.size:
            raise PackError(f"data of {wanted.path} starts at {event.offset}, not at {self.writer.size}")
        if wanted.begun is None:
            # After a cut the file may have another size: the first look is the one to hold the end against.
            wanted.begun = event

    def _data(self, event: FileData) -> None:
        if self.writer is None:
            raise PackError("data without a file")
        self.writer.write(event.data)
        self.sent_bytes += len(event.data)
        self.progress(0, len(event.data))

    def _end(self, event: FileEnd) -> None:
        wanted, writer = self.wanted[self.position], self.writer
        if writer is None or wanted.begun is None:
            raise PackError("the end of a file that did not begin")
        begun = wanted.begun
        digest = writer.digest()
        unchanged = (begun.size, begun.modified_ticks) == (event.size, event.modified_ticks)
        wanted.reads += 1
        torn = self._may_be_torn(wanted, event)
        if digest == event.sha256 and unchanged and not torn:
            writer.finish(secret=wanted.secret)
            self.writer = None
            self.done[wanted.path] = _Fetched(
                digest, event.size, ticks_to_datetime(event.modified_ticks), begun.attributes
            )
            self.sent_files += 1
            self.progress(1, 0)
        else:
            self._drop_writer()
            wanted.begun = None
            if wanted.reads < READS_OF_A_CHANGING_FILE:
                self.again.append(wanted)
            elif torn:
                self.failed[wanted.path] = "its content changes from read to read, though its time does not"
            elif unchanged:
                raise TransferMismatch(
                    self.session.host.name,
                    f"{wanted.path} arrived with another digest than it has on the host, "
                    f"{wanted.reads} times in a row.",
                    "Run exremote backup again; if it stays so, look at the host's disk and network card.",
                )
            else:
                self.failed[wanted.path] = f"changed while it was read, {wanted.reads} times in a row"
        self.position += 1

    def _may_be_torn(self, wanted: _Wanted, event: FileEnd) -> bool:
        """Given the end of a file, return whether it may be torn: the listing has another digest.

        Windows tells the time of a file that a service holds open late, so that size and time alone are
        no proof. Two reads that agree are.
        """
        if wanted.expected in (None, event.sha256) or wanted.suspect == event.sha256:
            return False
        if (wanted.size, wanted.modified_ticks) != (event.size, event.modified_ticks):
            return False
        wanted.suspect = event.sha256
        return True

    def _error(self, event: FileError) -> None:
        wanted = self._expect(event.index)
        self._drop_writer()
        self.failed[wanted.path] = _reason(event.error_id, event.message)
        self.position += 1

    def _drop_writer(self) -> None:
        if self.writer is not None:
            with suppress(OSError):
                self.writer.discard()
            self.writer = None


def _reason(error_id: str, message: str) -> str:
    """Given an error id of the scripts and the host's own words, return what a person needs to know."""
    known = {
        "ExRemote.FileLocked": "is locked by another process",
        "ExRemote.FileMissing": "was gone when it was to be read",
        "ExRemote.AccessDenied": "may not be read by this account",
        "ExRemote.ReadFailed": "could not be read",
    }.get(error_id, f"could not be read ({error_id})")
    return f"{known}: {message}" if message else known


def is_secret(path: str, patterns: Sequence[str]) -> bool:
    """Given a relative path and patterns, return whether one matches the file name or the whole path."""
    folded = path.casefold()
    name = folded.rsplit("\\", 1)[-1]
    return any(fnmatchcase(folded if "\\" in p else name, p.casefold()) for p in patterns)


def pull_tree(
    session: Session,
    repository: Repository,
    staging: Staging,
    *,
    item: str,
    root: str,
    listing: Iterable[FileEntry],
    secret: Sequence[str] = (),
    used_by: str = "",
    left_out: str = "left out by the connector's rules",
    progress: Progress = lambda files, size: None,
) -> Copied:
    """Given the listing of a tree, bring what the repository lacks of it here and return its entries.

    A file that the listing could not read is tried once more. `used_by` names the services that
    the connector says work on these files; it is told with each file that is locked. Raise
    HostError if the host is lost for longer than the retry policy allows.
    """
    files: list[FileEntry] = []
    omitted: list[Omission] = []
    refused: list[Omission] = []
    wanted: dict[str, _Wanted] = {}
    for entry in listing:
        match entry.state:
            case "file" | "unreadable" if unsafe := _unsafe(item, entry.path):
                refused.append(Omission(f"{root}\\{entry.path}", unsafe))
            case "file" | "unreadable":
                files.append(entry)
                hidden = is_secret(entry.path, secret)
                have = entry.sha256 is not None and repository.has(entry.sha256, entry.size)
                # One copy of the same content is enough, of this tree and of all hosts together.
                key = entry.sha256 or entry.path
                if not have and key not in wanted:
                    wanted[key] = _Wanted(entry.path, entry.sha256, entry.size, hidden, entry.modified_ticks)
            case "excluded":
                omitted.append(Omission(f"{root}\\{entry.path}", left_out))
            case "reparse":
                omitted.append(Omission(f"{root}\\{entry.path}", "a link to another place; not followed"))
            case "directory" | "unhashed":
                pass
    fetch = _Fetch(session, staging, root, item, progress, list(wanted.values()))
    fetch.run()
    fetch.wanted = [
        # Its twin, the one that was fetched for both, changed since the listing was made.
        _Wanted(e.path, e.sha256, e.size, is_secret(e.path, secret), e.modified_ticks)
        for e in files
        if e.path not in fetch.done
        and e.path not in fetch.failed
        and (e.sha256 is None or not repository.has(e.sha256, e.size))
    ]
    fetch.run()
    entries, missing = _settle(files, fetch, repository, item, root, secret, used_by)
    lacking = (*refused, *missing)
    return Copied(tuple(entries), tuple(omitted), lacking, fetch.sent_files, fetch.sent_bytes)


def _unsafe(item: str, path: str) -> str:
    """Given a path of a listing, return why it is not even asked for; '' if all is well.

    No Windows lists such a name: it comes from a host that lies. Its other files are saved all the same.
    """
    try:
        stored_path(item, path)
    except UnsafeName as error:
        return error.message
    return ""


def _settle(
    files: Sequence[FileEntry],
    fetch: _Fetch,
    repository: Repository,
    item: str,
    root: str,
    secret: Sequence[str],
    used_by: str,
) -> tuple[list[Entry], list[Omission]]:
    """Given the listing and what was fetched, return what the repository holds now and what it lacks."""
    entries: list[Entry] = []
    missing: list[Omission] = []
    for entry in files:
        fetched = fetch.done.get(entry.path)
        sha256 = entry.sha256
        if fetched is None and (sha256 is None or not repository.has(sha256, entry.size)):
            reason = fetch.failed[entry.path]
            if used_by and "locked" in reason:
                reason += f". Services that use it: {used_by}."
            missing.append(Omission(f"{root}\\{entry.path}", reason))
            continue
        if fetched is None:
            assert sha256 is not None
            fetched = _Fetched(sha256, entry.size, ticks_to_datetime(entry.modified_ticks), entry.attributes)
        entries.append(_entry(item, entry.path, fetched, is_secret(entry.path, secret)))
    return entries, missing


def pull_files(
    session: Session,
    repository: Repository,
    staging: Staging,
    *,
    item: str,
    root: str,
    names: Sequence[str],
    known: Sequence[NamedFile] = (),
    secret: bool = False,
    progress: Progress = lambda files, size: None,
) -> Copied:
    """Given single files of one folder, bring what the repository lacks of them; absent ones are missing.

    `known` is what the facts say of them: a file whose content is here already is not read again.
    """
    base = root.rstrip("\\") + "\\"
    have = {
        file.path[len(base) :]: _Fetched(
            file.sha256, file.size, ticks_to_datetime(file.modified_ticks), file.attributes
        )
        for file in known
        if file.exists and file.path.casefold().startswith(base.casefold())
        if repository.has(file.sha256, file.size)
    }
    wanted = [_Wanted(name, None, None, secret) for name in names if name not in have]
    fetch = _Fetch(session, staging, root, item, progress, wanted)
    fetch.run()
    got = {**have, **fetch.done}
    entries = tuple(_entry(item, name, got[name], secret) for name in names if name in got)
    missing = tuple(Omission(f"{root}\\{name}", reason) for name, reason in fetch.failed.items())
    return Copied(entries, (), missing, fetch.sent_files, fetch.sent_bytes)


def _entry(item: str, path: str, fetched: _Fetched, secret: bool) -> Entry:
    """Given a file that the repository holds, return its line of the manifest."""
    return Entry(
        item=item,
        path=path,
        stored=stored_path(item, path),
        size=fetched.size,
        sha256=fetched.sha256,
        modified=fetched.modified,
        attributes=fetched.attributes,
        secret=secret,
    )

"""From a listing to what is wanted, and from what came to the entries of a snapshot. It streams nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice

from exremote.facts import FileEntry, NamedFile
from exremote.folding import folded
from exremote.repository import (
    Entry,
    Omission,
    Repository,
    Staging,
    UnsafeName,
    compact_entries,
    stored_path,
)
from exremote.transfer.carrier import Carrier
from exremote.transfer.fetch import Fetch
from exremote.transfer.wanted import GONE, Fetched, Progress, Wanted

AT_ONCE = 1 << 15
"""Files that one errand fetches: enough to make a round trip more of no account, few enough to be held here
and on the host with all that is known of them on their way."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What became of one item."""

    entries: Sequence[Entry] = ()
    """Files that the repository holds now, each made anew when it is looked at."""
    omitted: tuple[Omission, ...] = ()
    """Files left out on purpose, each with the reason."""
    missing: tuple[Omission, ...] = ()
    """Files that should be there and could not be had, each with the reason."""
    sent_files: int = 0
    """Files that travelled; the others were here already."""
    sent_bytes: int = 0
    """Their bytes, before compression."""


def is_secret(path: str, patterns: Sequence[str]) -> bool:
    """Given a relative path and patterns, return whether one matches the file name or the whole path."""
    whole = folded(path)
    name = whole.rsplit("\\", 1)[-1]
    return any(fnmatchcase(whole if "\\" in p else name, folded(p)) for p in patterns)


def pull_tree(
    carrier: Carrier,
    repository: Repository,
    staging: Staging,
    *,
    item: str,
    root: str,
    listing: Sequence[FileEntry],
    secret: Sequence[str] = (),
    used_by: str = "",
    left_out: str = "left out by the connector's rules",
    moving: bool = False,
    progress: Progress = lambda files, size: None,
) -> Copied:
    """Given the listing of a tree, bring what the repository lacks of it here and return its entries.

    A file that the listing could not read is tried once more. `used_by` names the services that
    the connector says work on these files; it is told with each file that is locked. Where files are
    `moving`, one that is gone when it is to be read is left out. Raise
    HostError if the host is lost for longer than the retry policy allows.
    """
    pull = _Pull(carrier, repository, staging, item, root, listing, secret, progress)
    pull.fetch_what_lacks()
    omitted: list[Omission] = []
    refused: list[Omission] = []
    missing: list[Omission] = []

    def entries() -> Iterator[Entry]:
        for number, entry in enumerate(listing):
            path = f"{root}\\{entry.path}"
            match entry.state:
                case "file" | "unreadable" if unsafe := _unsafe(item, entry.path):
                    refused.append(Omission(path, unsafe))
                case "file" | "unreadable":
                    wanted = _wanted(entry, secret)
                    came = pull.came(number, wanted)
                    if isinstance(came, Fetched):
                        yield _entry(item, entry.path, came, wanted.secret)
                    elif moving and came.startswith(GONE):
                        omitted.append(Omission(path, f"left out: it {came}"))
                    else:
                        missing.append(Omission(path, _why(came, used_by)))
                case "excluded":
                    omitted.append(Omission(path, left_out))
                case "reparse":
                    what = "a link to a folder in another place; exremote does not follow it"
                    refused.append(Omission(path, what))
                case "directory" | "unhashed":
                    pass

    found = compact_entries(entries())
    return Copied(found, tuple(omitted), (*refused, *missing), pull.sent_files, pull.sent_bytes)


class _Pull:
    """The files of one listing on their way, some at a time: of a million, few are in the making at once."""

    def __init__(
        self,
        carrier: Carrier,
        repository: Repository,
        staging: Staging,
        item: str,
        root: str,
        listing: Sequence[FileEntry],
        secret: Sequence[str],
        progress: Progress,
    ) -> None:
        self._carrier = carrier
        self._repository = repository
        self._staging = staging
        self._item = item
        self._root = root
        self._listing = listing
        self._secret = secret
        self._progress = progress
        self._here = bytearray(len(listing))  # 1 for each file that the repository has as it is listed
        self._other: dict[str, Fetched] = {}  # what came and is not as it is listed, by path
        self._failed: dict[str, str] = {}  # by path: why
        self._asked = set[str]()  # contents that are to be fetched next
        self._twins = False  # whether a file waits for another one of its content
        self.sent_files = 0
        """files that travelled"""
        self.sent_bytes = 0
        """their bytes, before compression"""

    def fetch_what_lacks(self) -> None:
        """Bring what the repository lacks. Raise HostError if the host is lost."""
        self._fetch(self._lacking(once=True))
        if self._twins:  # the one that was fetched for both may have changed since the listing was made
            self._fetch(self._lacking(once=False))

    def came(self, number: int, wanted: Wanted) -> Fetched | str:
        """Given a file of the listing, return it as it came; why not, if it did not."""
        if self._here[number]:
            return wanted.listed()
        return self._other.get(wanted.path) or self._failed[wanted.path]

    def _lacking(self, *, once: bool) -> Iterator[tuple[int, Wanted]]:
        """Yield the files that are to be fetched, each with its number. `once`: of those with one content,
        which the repository needs once for all hosts together, the first.
        """
        for number, entry in enumerate(self._listing):
            if self._here[number] or entry.state not in ("file", "unreadable"):
                continue
            if entry.path in self._other or entry.path in self._failed or _unsafe(self._item, entry.path):
                continue
            if entry.sha256 is not None and self._repository.has(entry.sha256, entry.size):
                self._here[number] = 1
            elif once and entry.sha256 in self._asked:
                self._twins = True
            else:
                self._asked.update(filter(None, [entry.sha256]))
                yield number, _wanted(entry, self._secret)

    def _fetch(self, lacking: Iterator[tuple[int, Wanted]]) -> None:
        """Given files to be fetched, bring them, so many at a time."""
        while some := list(islice(lacking, AT_ONCE)):
            self._asked.clear()  # what came of it, the repository has now
            fetch = Fetch(
                self._carrier,
                self._staging,
                self._root,
                self._item,
                self._progress,
                [wanted for _, wanted in some],
            )
            fetch.run()
            for number, wanted in some:
                fetched = fetch.done.get(wanted.path)
                if fetched is not None and wanted.expected is not None and fetched == wanted.listed():
                    self._here[number] = 1
                elif fetched is not None:
                    self._other[wanted.path] = fetched
            self._failed.update(fetch.failed)
            self.sent_files += fetch.sent_files
            self.sent_bytes += fetch.sent_bytes


def pull_files(
    carrier: Carrier,
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

    `known` is what the facts say of them: a file whose content is here already is not read again. Raise
    HostError if the host is lost for longer than the retry policy allows.
    """
    base = root.rstrip("\\") + "\\"
    said = {
        folded(file.path[len(base) :]): file
        for file in known
        if file.exists and folded(file.path).startswith(folded(base))
    }
    have: dict[str, Fetched] = {}
    wanted: list[Wanted] = []
    for name in names:
        file = said.get(folded(name))
        one = Wanted(name, None, 0, 0, 0, secret)
        if file is not None:
            digest = file.sha256 or None
            one = Wanted(name, digest, file.size, file.modified_ticks, file.attributes, secret)
        if one.expected is not None and repository.has(one.expected, one.size):
            have[name] = one.listed()
        else:
            wanted.append(one)
    fetch = Fetch(carrier, staging, root, item, progress, wanted)
    fetch.run()
    got = {**have, **fetch.done}
    entries = tuple(_entry(item, name, got[name], secret) for name in names if name in got)
    missing = tuple(Omission(f"{root}\\{name}", reason) for name, reason in fetch.failed.items())
    return Copied(entries, (), missing, fetch.sent_files, fetch.sent_bytes)


def _wanted(entry: FileEntry, secret: Sequence[str]) -> Wanted:
    """Given a file of a listing, return it as one to be fetched."""
    hidden = is_secret(entry.path, secret)
    return Wanted(
        entry.path, entry.sha256, max(0, entry.size), entry.modified_ticks, entry.attributes, hidden
    )


def _unsafe(item: str, path: str) -> str:
    """Given a path of a listing, return why it is not even asked for; '' if all is well.

    No Windows lists such a name: it comes from a host that lies. Its other files are saved all the same.
    """
    try:
        stored_path(item, path)
    except UnsafeName as error:
        return error.message
    return ""


def _why(reason: str, used_by: str) -> str:
    """Given why a file could not be had, return it with the services that use a locked one."""
    return (
        f"{reason.rstrip('.')}. Services that use it: {used_by}."
        if used_by and "locked" in reason
        else reason
    )


def _entry(item: str, path: str, fetched: Fetched, secret: bool) -> Entry:
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

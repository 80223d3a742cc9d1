"""From a listing to what is wanted, and from what came to the entries of a snapshot. It streams nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from exremote.facts import FileEntry, NamedFile
from exremote.folding import folded
from exremote.repository import Entry, Omission, Repository, Staging, UnsafeName, stored_path
from exremote.transfer.carrier import Carrier
from exremote.transfer.fetch import Fetch
from exremote.transfer.wanted import GONE, Fetched, Progress, Wanted


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
    listing: Iterable[FileEntry],
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
    files: list[FileEntry] = []
    omitted: list[Omission] = []
    refused: list[Omission] = []
    wanted: dict[str, Wanted] = {}
    for entry in listing:
        match entry.state:
            case "file" | "unreadable" if unsafe := _unsafe(item, entry.path):
                refused.append(Omission(f"{root}\\{entry.path}", unsafe))
            case "file" | "unreadable":
                files.append(entry)
                have = entry.sha256 is not None and repository.has(entry.sha256, entry.size)
                # One copy of the same content is enough, of this tree and of all hosts together.
                key = entry.sha256 or entry.path
                if not have and key not in wanted:
                    wanted[key] = _wanted(entry, secret)
            case "excluded":
                omitted.append(Omission(f"{root}\\{entry.path}", left_out))
            case "reparse":
                what = "a link to a folder in another place; exremote does not follow it"
                refused.append(Omission(f"{root}\\{entry.path}", what))
            case "directory" | "unhashed":
                pass
    first = Fetch(carrier, staging, root, item, progress, wanted.values())
    first.run()
    # Their twin, the one that was fetched for both, changed since the listing was made.
    left = [
        _wanted(entry, secret)
        for entry in files
        if entry.path not in first.done and entry.path not in first.failed
        if entry.sha256 is None or not repository.has(entry.sha256, entry.size)
    ]
    second = Fetch(carrier, staging, root, item, progress, left)
    second.run()
    done, failed = first.done | second.done, first.failed | second.failed
    entries: list[Entry] = []
    missing: list[Omission] = []
    for entry in files:
        fetched = done.get(entry.path)
        if fetched is None and entry.sha256 is not None and repository.has(entry.sha256, entry.size):
            fetched = _wanted(entry, secret).listed()
        if fetched is None and moving and failed[entry.path].startswith(GONE):
            omitted.append(Omission(f"{root}\\{entry.path}", f"left out: it {failed[entry.path]}"))
        elif fetched is None:
            missing.append(Omission(f"{root}\\{entry.path}", _why(failed[entry.path], used_by)))
        else:
            entries.append(_entry(item, entry.path, fetched, is_secret(entry.path, secret)))
    return Copied(
        tuple(entries),
        tuple(omitted),
        (*refused, *missing),
        first.sent_files + second.sent_files,
        first.sent_bytes + second.sent_bytes,
    )


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
    return f"{reason}. Services that use it: {used_by}." if used_by and "locked" in reason else reason


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

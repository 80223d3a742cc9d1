"""Names from a host become names of ours. It never lets one leave its folder, never touches the disk.

A name that Windows, Linux or a person at a prompt would stumble over is escaped with `%XX` (UTF-8 bytes),
and `%` itself too, so that `remote_name` gives back the exact name. Only what is longer than a file system
allows is cut, with a digest at its head; the manifest keeps every exact name.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from exremote.compact import Crowd
from exremote.errors import RepositoryError

LONGEST_NAME = 200
"""Bytes of one stored name; ext4 and NTFS allow 255, and an editor wants to add a suffix."""

LONGEST_PATH = 1000
"""Bytes of a stored path below its item; Linux allows 4,096 for the whole."""

_ILLEGAL = re.compile(r'[<>:"|?*%/\\\x00-\x1f\x7f\ud800-\udfff]')
_DEVICE = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$|clock\$) *(\..*)?", re.I | re.S
)
_NO_NAME = frozenset(("", ".", ".."))
_DRIVE = re.compile(r"[A-Za-z]:")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class UnsafeName(RepositoryError, ValueError):
    """A name from a host, or for one, that would lead out of its folder."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"this name is not taken: {why}.", path=repr(name))
        self.name = name


def safe_relative(remote: str) -> str:
    """Given a relative path as a Windows host spells it, return it as a path of ours: `/` between, escaped.

    Raise UnsafeName if it is absolute, has a drive, `..`, an empty part, `/` or NUL: no host has such a file.
    """
    stored = "/".join(map(_escape_part, checked_remote(remote).split("\\")))
    if len(stored.encode()) > LONGEST_PATH:
        # Deeper than a path of ours may be: one flat name, its end kept readable.
        stored = _cut(stored.replace("/", "%5C"), keep_end=True)
    return stored


def checked_remote(remote: str) -> str:
    """Given a relative path as a Windows host spells it, return it. Raise UnsafeName if no host has it."""
    if not remote or "\0" in remote or "/" in remote:
        raise UnsafeName(remote, "no file on a Windows host has it")
    if _DRIVE.match(remote) or remote.startswith("\\"):
        raise UnsafeName(remote, "it is not relative")
    if not _NO_NAME.isdisjoint(remote.split("\\")):
        raise UnsafeName(remote, "it leads out of its folder")
    return remote


def stored_path(item: str, remote: str) -> str:
    """Given an item's id and a relative path of the host, return where a snapshot keeps the file."""
    return f"files/{checked_word(item, 'an item')}/{safe_relative(remote)}"


def remote_name(stored: str) -> str:
    """Given what `safe_relative` returned for a path that was not too long, return the exact remote path."""
    parts = (unquote_to_bytes(part).decode("utf-8", "surrogatepass") for part in stored.split("/"))
    return "\\".join(parts)


def folded(stored: str) -> str:
    """Given a stored path, return the same text for all paths that some file system takes for one."""
    if stored.isascii():
        return stored.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", stored).casefold())


def are_apart(stored: Iterable[str]) -> bool:
    """Given stored paths, return whether each has a place of its own on every system, for file and folders.

    What it takes is a few bytes a path, where `Distinct` and `Places` keep texts: they are needed only if
    this is False.
    """
    folders: dict[str, str] = {}  # by the folded folder, how it is spelt

    def places() -> Iterator[str]:
        for path in stored:
            folder = path.rpartition("/")[0]
            while folder and folders.get(folded(folder)) != folder:
                # Twice the same folder in two spellings: the second one comes up as a twin.
                yield folded(folder)
                folders[folded(folder)] = folder
                folder = folder.rpartition("/")[0]
            yield folded(path)

    return Crowd(places()).all_differ


class Distinct:
    """Makes stored paths differ on file systems that do not tell `A` from `a`, nor two spellings of `ä`."""

    def __init__(self) -> None:
        self._taken: dict[str, set[str]] = {}  # by folder, the folded names in it
        self._given: dict[tuple[str, str], str] = {}
        self._folders: dict[str, str] = {}

    def place(self, stored: str) -> str:
        """Given a stored path, return it, its first characters escaped where another one is in the way."""
        folder, slash, part = stored.rpartition("/")
        if not slash:
            return self._name("", part)
        placed = self._folders.get(folder)
        if placed is None:
            placed = self._folders[folder] = self.place(folder)
        return f"{placed}/{self._name(placed, part)}"

    def _name(self, folder: str, part: str) -> str:
        given = self._given.get((folder, part))
        if given is not None:
            return given
        taken = self._taken.setdefault(folder, set())
        name, count = part, 0
        while folded(name) in taken:
            count += 1
            name = _with_escaped_head(part, count)
        taken.add(folded(name))
        self._given[folder, part] = name
        return name


class Places:
    """The files of one snapshot: no two have one place, and none lies in another one, on any system."""

    def __init__(self, files: Iterable[str], folders: Iterable[str]) -> None:
        self._files = set(map(folded, files))
        self._folders = set(map(folded, folders))

    def take(self, stored: str) -> str:
        """Given a stored path, let a file be there; return it. Raise UnsafeName if one is in its way."""
        place = folded(stored)
        if place in self._files or place in self._folders:
            raise UnsafeName(stored, "another file of the snapshot is there")
        self._files.add(place)
        folder = place.rpartition("/")[0]
        while folder and folder not in self._folders:
            if folder in self._files:
                raise UnsafeName(stored, "it lies in a file of the snapshot")
            self._folders.add(folder)
            folder = folder.rpartition("/")[0]
        return stored


def check_stored(stored: str) -> str:
    """Given a path relative to a snapshot, return it. Raise UnsafeName if it could lead out of it."""
    folder, slash, name = stored.rpartition("/")
    # A thousand files lie in one folder: it is looked at once.
    if not _is_stored_name(name) or (slash and not _is_stored_folder(folder)):
        raise UnsafeName(stored, "it cannot be a path in a snapshot")
    return stored


@lru_cache(4096)
def _is_stored_folder(folder: str) -> bool:
    return all(map(_is_stored_name, folder.split("/")))


def _is_stored_name(name: str) -> bool:
    return (
        name not in _NO_NAME
        and name[-1] not in ". "
        and not _ILLEGAL.search(name.replace("%", ""))
        and not _DEVICE.fullmatch(name)
        and len(name.encode()) <= 255
    )


def is_host(name: str) -> bool:
    """Given a name, return whether it can be a host's: a folder everywhere."""
    return bool(_HOST.fullmatch(name)) and not name.endswith(".") and not _DEVICE.fullmatch(name)


def checked_host(host: str) -> str:
    """Given a host's name, return it. Raise UnsafeName if it cannot be a folder everywhere."""
    if not is_host(host):
        raise UnsafeName(host, "a host's name has letters, digits, `.`, `_`, `-`, and is no device's")
    return host


def checked_word(word: str, what: str) -> str:
    """Given a name of our own making (connector, run, item, lock), return it. Raise UnsafeName if not."""
    if not _is_word(word):
        raise UnsafeName(word, f"{what} has letters, digits, `.`, `_`, `-`")
    return word


@lru_cache(1024)
def _is_word(word: str) -> bool:
    return bool(_WORD.fullmatch(word)) and not word.endswith(".") and not _DEVICE.fullmatch(word)


def extended(path: str, windows: bool) -> str:
    """Given an absolute path, return the form in which Windows allows more than 260 characters."""
    if not windows or path.startswith(("\\\\?\\", "\\\\.\\")):
        return path
    if path.startswith("\\\\"):
        return "\\\\?\\UNC\\" + path[2:]
    return "\\\\?\\" + path


def _escape_part(part: str) -> str:
    escaped = _ILLEGAL.sub(lambda m: _percent(m[0]), part)
    if escaped[-1:] in (".", " "):
        escaped = escaped[:-1] + _percent(escaped[-1])
    if _DEVICE.fullmatch(part):
        escaped = _percent(escaped[0]) + escaped[1:]
    if len(escaped.encode()) > LONGEST_NAME:
        escaped = _cut(escaped)
    return escaped


def _percent(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode("utf-8", "surrogatepass"))


def _with_escaped_head(part: str, count: int) -> str:
    """Given a name and how many attempts failed, return it with so many characters escaped."""
    tokens = re.findall(r"(?:%[0-9A-F]{2})+|.", part, re.S)
    plain_at = [i for i, token in enumerate(tokens) if len(token) == 1]
    if count > len(plain_at):
        return f"{part}%~{count}"  # all of it is escaped already: nothing left but a number
    for i in plain_at[:count]:
        tokens[i] = _percent(tokens[i])
    name = "".join(tokens)
    return name if len(name.encode()) <= LONGEST_NAME + 40 else f"{_cut(part)[: LONGEST_NAME // 2]}%~{count}"


def _cut(text: str, keep_end: bool = False) -> str:
    # `%~` cannot be the start of an escape, so no whole name is ever the same.
    raw = text.encode()
    digest = hashlib.sha256(raw).hexdigest()[:32]
    keep = LONGEST_NAME - len(digest) - 3
    shown = (raw[-keep:] if keep_end else raw[:keep]).decode("utf-8", "ignore")
    return f"%~{digest}~{shown.rstrip('. ')}"

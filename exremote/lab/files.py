"""The files of one simulated host: a case-insensitive tree of drives and shares, with a disk's bad manners.

Content may be generated, so that a machine can have gigabytes of files and hold none of them. It never
touches this system's own disk.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

DIRECTORY = 0x10
ARCHIVE = 0x20
REPARSE = 0x400
CHUNK = 1 << 20


class Missing(Exception):
    """There is no such file or directory."""


class Denied(Exception):
    """The caller may not read it."""


class Locked(Exception):
    """Another process has it open and shares it with nobody."""


class DiskFull(Exception):
    """There is not enough space on the disk."""


class Content(Protocol):
    """What a file holds."""

    @property
    def size(self) -> int:
        """How many bytes."""

    def chunks(self) -> Iterator[bytes]:
        """Yield all of it, from the start."""

    def sha256(self) -> bytes:
        """Return its digest."""


@dataclass(frozen=True, slots=True)
class Fixed:
    """Content that is kept as it is."""

    data: bytes

    @property
    def size(self) -> int:
        """How many bytes."""
        return len(self.data)

    def chunks(self) -> Iterator[bytes]:
        """Yield all of it in pieces."""
        for start in range(0, len(self.data), CHUNK):
            yield self.data[start : start + CHUNK]

    def sha256(self) -> bytes:
        """Return its digest."""
        return hashlib.sha256(self.data).digest()


@lru_cache(maxsize=16)
def _base(seed: int, text: bool) -> bytes:
    """Return the mebibyte that everything generated from this seed is made of."""
    source = random.Random(seed)  # noqa: S311 - content of test files
    if not text:
        return source.randbytes(CHUNK)
    words = [source.randbytes(4).hex() for _ in range(512)]
    return " ".join(source.choices(words, k=CHUNK // 9 + 1)).encode()[:CHUNK]


@lru_cache(maxsize=65536)
def _generated_digest(size: int, seed: int, text: bool) -> bytes:
    digest = hashlib.sha256()
    for chunk in Generated(size, seed, text).chunks():
        digest.update(chunk)
    return digest.digest()


@dataclass(frozen=True, slots=True)
class Generated:
    """Content made when it is read: random bytes, or words. The same for the same size and seed."""

    size: int
    seed: int = 0
    text: bool = False

    def chunks(self) -> Iterator[bytes]:
        """Yield all of it, a mebibyte at a time, each with its number in front."""
        base = _base(self.seed % 16, self.text)
        for number, start in enumerate(range(0, self.size, CHUNK)):
            head = f"{self.seed:08x}{number:08x}".encode()
            want = min(CHUNK, self.size - start)
            yield (head + base[len(head) : want])[:want]

    def sha256(self) -> bytes:
        """Return its digest, calculated once."""
        return _generated_digest(self.size, self.seed, self.text)


@dataclass(frozen=True, slots=True)
class Sparse:
    """Zeros without end, nearly, of which the disk holds none; whoever makes the file knows their digest."""

    size: int
    digest: bytes

    def chunks(self) -> Iterator[bytes]:
        """Yield all of it."""
        zeros = bytes(CHUNK)
        for start in range(0, self.size, CHUNK):
            yield zeros[: self.size - start]

    def sha256(self) -> bytes:
        """Return its digest, as it was told."""
        return self.digest


@dataclass(frozen=True, slots=True)
class Lying:
    """Content about whose digest the host does not tell the truth, always in the same way."""

    truth: Content

    @property
    def size(self) -> int:
        """How many bytes."""
        return self.truth.size

    def chunks(self) -> Iterator[bytes]:
        """Yield all of it."""
        return self.truth.chunks()

    def sha256(self) -> bytes:
        """Return a digest that is not its own."""
        return hashlib.sha256(self.truth.sha256()).digest()


class Growing:
    """Content that is being written."""

    def __init__(self, data: bytes = b"") -> None:
        self._data = bytearray(data)

    @property
    def size(self) -> int:
        """How many bytes, so far."""
        return len(self._data)

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._data += data

    def cut(self, size: int) -> None:
        """Let go what lies behind so many bytes."""
        del self._data[size:]

    def chunks(self) -> Iterator[bytes]:
        """Yield all of it in pieces, as it is when they are taken."""
        for start in range(0, len(self._data), CHUNK):
            yield bytes(self._data[start : start + CHUNK])

    def sha256(self) -> bytes:
        """Return its digest."""
        return hashlib.sha256(bytes(self._data)).digest()  # a live one could not grow meanwhile


@dataclass(slots=True)
class Node:
    """A file, or a directory if it has children."""

    name: str
    modified: int
    """LastWriteTimeUtc.Ticks: 100 ns since the year 1."""
    attributes: int
    content: Content | None = None
    """None: a directory."""
    children: dict[str, Node] = field(default_factory=dict)
    """By lower-case name."""
    locked: bool = False
    """Open elsewhere, without sharing."""
    pinned: bool = False
    """Open elsewhere, shared with readers alone: it can be read, and not moved, written or removed."""
    denied: bool = False
    """No right to read it, or to list it."""
    changing: int = 0
    """So many more readers find it changed between their first and last byte."""
    vanishing: int = 0
    """It is listed, and gone when somebody opens it."""
    closing: bool = False
    """Of a folder: as soon as a file was moved out of it, nothing may be moved into it any more."""
    closed: bool = False
    """Of a folder: nothing may be moved into it."""
    security: str | None = ""
    """The access list as far as it is its own, in SDDL; '' if it inherits all, None if nobody may read it."""
    strayed: bool = False
    """It was moved here, and what it inherits is still that of the folder where it was made."""

    @property
    def is_directory(self) -> bool:
        """Whether this is a directory."""
        return self.content is None

    @property
    def size(self) -> int:
        """Bytes of a file, -1 for a directory."""
        return -1 if self.content is None else self.content.size


@dataclass(frozen=True, slots=True)
class Opened:
    """A file as one reader sees it."""

    content: Content
    modified: int
    """When the file was opened."""
    modified_after: int
    """When the last byte was read."""
    attributes: int


def split(path: str) -> tuple[str, list[str]]:
    r"""Given `C:\a\b` or `\\server\share\a`, return the root (`c:`, `\\server\share`) and the names below.

    Raise Missing for what is neither.
    """
    path = path.replace("/", "\\")
    if path.startswith("\\\\"):
        names = [name for name in path[2:].split("\\") if name]
        if len(names) < 2:
            raise Missing(path)
        return f"\\\\{names[0]}\\{names[1]}".lower(), names[2:]
    if len(path) >= 2 and path[1] == ":" and path[0].isalpha():
        return path[:2].lower(), [name for name in path[2:].split("\\") if name]
    raise Missing(path)


class FileSystem:
    """All drives and shares of one machine."""

    def __init__(self, now: int) -> None:
        """`now`: ticks that new directories carry, and files that are given no time."""
        self.now = now
        self.roots: dict[str, Node] = {}
        self.full = False
        """Whether every disk is full."""

    def add_root(self, root: str) -> Node:
        r"""Add a drive (`C:`) or a share (`\\server\share`) unless it is there."""
        key, _ = split(root + "\\")
        return self.roots.setdefault(key, Node(root, self.now, DIRECTORY))

    def elsewhere(self, root: str) -> tuple[FileSystem, str] | None:
        """Given a root, return whose files are meant by it, and where there; None: our own."""
        return None

    def find(self, path: str) -> Node:
        """Return the node at `path`.

        Raise Missing, or Denied if a directory on the way may not be entered.
        """
        root, names = split(path)
        if there := self.elsewhere(root):
            return there[0].find("\\".join((there[1] + "\\" * (len(there[1]) == 2 and not names), *names)))
        node = self.roots.get(root)
        if node is None:
            raise Missing(path)
        for name in names:
            if node.denied:
                raise Denied(path)
            # Windows ignores dots and blanks at the end of a name.
            child = node.children.get(name.rstrip(". ").lower()) or node.children.get(name.lower())
            if child is None:
                raise Missing(path)
            node = child
        return node

    def get(self, path: str) -> Node | None:
        """Return the node at `path`, or None if it is not there or not to be seen."""
        try:
            return self.find(path)
        except (Missing, Denied):
            return None

    def is_directory(self, path: str) -> bool:
        """Return whether a directory is to be seen there."""
        node = self.get(path)
        return node is not None and node.is_directory

    def is_file(self, path: str) -> bool:
        """Return whether a file is to be seen there."""
        node = self.get(path)
        return node is not None and not node.is_directory

    def make_directory(self, path: str, modified: int | None = None) -> Node:
        """Make a directory and those above it, as far as they are missing. Return it."""
        root, names = split(path)
        if there := self.elsewhere(root):
            return there[0].make_directory("\\".join((there[1], *names)) + "\\", modified)
        node = self.roots.get(root) or self.add_root(root.upper() if root.endswith(":") else root)
        for name in names:
            child = node.children.get(name.lower())
            if child is None:
                child = Node(name, modified or self.now, DIRECTORY)
                node.children[name.lower()] = child
            if not child.is_directory:
                raise Missing(path)
            node = child
        return node

    def write(
        self,
        path: str,
        content: Content | bytes | str,
        *,
        modified: int | None = None,
        attributes: int = ARCHIVE,
    ) -> Node:
        """Write a file, with the directories above it. Return it. Raise Locked, or DiskFull."""
        there = self.elsewhere(split(path)[0])
        if self.full or (there is not None and there[0].full):
            raise DiskFull(path)
        if isinstance(content, str):
            content = content.encode("cp1252")
        if isinstance(content, bytes):
            content = Fixed(content)
        folder, _, name = path.rstrip("\\").rpartition("\\")
        parent = self.make_directory(folder + "\\")
        old = parent.children.get(name.lower())
        if old is not None and (old.locked or old.pinned):
            raise Locked(path)
        node = Node(name if old is None else old.name, modified or self.now, attributes, content)
        if old is not None:
            node.security, node.strayed = old.security, old.strayed
        parent.children[name.lower()] = node
        return node

    def remove(self, path: str) -> None:
        """Remove a file, or a directory with all below it. Raise Missing, Locked or Denied."""
        node = self.find(path)
        if node.locked or node.pinned:
            raise Locked(path)
        if node.denied:
            raise Denied(path)
        folder, _, name = path.rstrip("\\").rpartition("\\")
        del self.find(folder + "\\").children[name.lower()]

    def open(self, path: str) -> Opened:
        """Open a file as one reader does. Raise Missing, Denied or Locked."""
        node = self.find(path)
        if node.vanishing == 1:
            self.remove(path)
            raise Missing(path)
        node.vanishing = max(0, node.vanishing - 1)
        return open_node(node, path)

    def walk(self, path: str) -> Iterator[tuple[str, Node]]:
        """Yield all files and directories below `path` with their relative paths, in no promised order."""
        stack = [("", self.find(path))]
        while stack:
            prefix, node = stack.pop()
            for child in node.children.values():
                yield prefix + child.name, child
                if child.is_directory:
                    stack.append((prefix + child.name + "\\", child))


def open_node(node: Node, path: str) -> Opened:
    """Open a file that was found. Raise Locked, or Denied; a directory is refused that way, too."""
    if node.denied or node.content is None:
        raise Denied(path)
    if node.locked:
        raise Locked(path)
    opened = Opened(node.content, node.modified, node.modified, node.attributes)
    if node.changing > 0:
        node.changing -= 1
        before = node.modified
        node.modified += 10_000_000
        changed = Fixed(b"".join(node.content.chunks())[:-8] + f"{node.modified % 10**8:08d}".encode())
        node.content = changed
        opened = Opened(changed, before, node.modified, node.attributes)
    return opened

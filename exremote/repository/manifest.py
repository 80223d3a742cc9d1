"""What a snapshot says of itself. It never opens the files it names; `reading` reads it back.

The manifest is one JSON object. Its first line holds all but the long lists, so that a thousand snapshots can
be listed without reading their entries; each entry is one line, and no tree of dicts is ever in memory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Literal, cast

from exremote.compact import Compact
from exremote.repository.names import (
    Places,
    UnsafeName,
    check_stored,
    checked_remote,
    checked_word,
    folded,
)

MANIFEST_FORMAT = 1

MANIFEST = "manifest.json"
MANIFEST_SUM = "manifest.sha256"
SUMS = "SHA256SUMS"
FILES = "files"
"""The folder of the host's files."""
RENAMED = "renamed"
"""Where an export puts what the system does not take; nothing else may lie there."""

_PLACE = re.compile(r"[A-Za-z]:\\|\\\\[^\\/:?*.][^\\/:?*]*\\")

Kind = Literal["full", "tables", "safety"]

Content = bytes | Callable[[], Iterable[bytes]]
"""The bytes of a document; or, where they are many, what yields them in pieces whenever it is called."""

_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a snapshot."""

    item: str
    """the item of the connector it belongs to"""
    path: str
    """relative to the item's root, exactly as the host spells it"""
    stored: str
    """relative to the snapshot's folder, with `/`"""
    size: int
    """bytes"""
    sha256: str
    """64 lower hex digits; computed on the host and here, and equal"""
    modified: datetime
    """UTC"""
    attributes: int
    """FileAttributes"""
    secret: bool = False
    """only the owner may read it"""


Row = tuple[str, str, str | None, int, bytes, int, int, bool]
"""The values of an entry as `Compact` keeps them, in the order of its fields: the place is None where nothing
in the path had to be escaped, the digest is 32 bytes, the moment microseconds."""


def row_of(entry: Entry) -> Row:
    """Given an entry, return the row of its values."""
    return (
        entry.item,
        entry.path,
        None if entry.stored == _plain_place(entry.item, entry.path) else entry.stored,
        entry.size,
        bytes.fromhex(entry.sha256),
        (entry.modified - _EPOCH) // _MICROSECOND,
        entry.attributes,
        entry.secret,
    )


def entry_of_row(
    item: str,
    path: str,
    stored: str | None,
    size: int,
    digest: bytes,
    microseconds: int,
    attributes: int,
    secret: bool,
) -> Entry:
    """Given the values of a row, return the entry."""
    place = _plain_place(item, path) if stored is None else stored
    modified = _EPOCH + timedelta(microseconds=microseconds)
    return Entry(item, path, place, size, digest.hex(), modified, attributes, secret)


def _plain_place(item: str, path: str) -> str:
    """Given an item and a path of the host, return where the file lies if nothing has to be escaped."""
    return f"{FILES}/{item}/" + path.replace("\\", "/")


def compact_entries(entries: Iterable[Entry]) -> Compact[Entry]:
    """Given entries, return the same in little memory."""
    return entries if isinstance(entries, Compact) else Compact(entry_of_row, map(row_of, entries))


def joined_entries(parts: Iterable[Sequence[Entry]]) -> Compact[Entry]:
    """Given the entries of several items, return them all, in little memory."""
    return Compact.joined(entry_of_row, map(compact_entries, parts))


@dataclass(frozen=True, slots=True)
class Omission:
    """Something that is not in the snapshot."""

    path: str
    """what, as the host spells it"""
    reason: str
    """why, in words"""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A file that belongs to the snapshot and whose content is not in the repository: it is on its host."""

    item: str
    """the item it belongs to"""
    path: str
    """its name, as the host spells it"""
    place: str
    """its full path on the host"""
    size: int
    """bytes"""
    sha256: str
    """64 lower hex digits; computed on the host alone"""
    modified: datetime
    """UTC"""


@dataclass(frozen=True, slots=True)
class TreeRecord:
    """A file tree as it was on the host."""

    root: str
    """its folder on the host"""
    digest: str
    """of its listing; the next backup asks whether it is the same"""
    files: int
    """how many"""
    bytes: int
    """how many"""


@dataclass(frozen=True, slots=True)
class Document:
    """A file of a snapshot that was not a file on the host: registry text, service states, facts."""

    stored: str
    """relative to the snapshot's folder"""
    size: int
    """bytes"""
    sha256: str
    """64 lower hex digits"""


@dataclass(frozen=True, slots=True)
class SnapshotDraft:
    """What a snapshot is to be; the files are in the repository already."""

    host: str
    """the host's name in the inventory"""
    connector: str
    """the connector's name"""
    created: datetime
    """with a zone"""
    run: str
    """the run that makes it"""
    kind: Kind = "full"
    """`tables` is a snapshot of the mapping tables alone, `safety` of what a restore replaces"""
    complete: bool = True
    """nothing that belongs to it is missing"""
    entries: Sequence[Entry] = ()
    """the files; of a `Compact` each is made anew when it is looked at"""
    omitted: tuple[Omission, ...] = ()
    """left out on purpose"""
    missing: tuple[Omission, ...] = ()
    """should be there and is not"""
    trees: Mapping[str, TreeRecord] = field(default_factory=dict)
    """by item"""
    documents: Mapping[str, Content] = field(default_factory=dict)
    """by path relative to the snapshot's folder"""
    findings: tuple[Mapping[str, object], ...] = ()
    """what health said at the time"""
    elsewhere: tuple[Elsewhere, ...] = ()
    """what stays on the host"""
    software: str = ""
    """exremote and its version"""


@dataclass(frozen=True, slots=True)
class Head:
    """The first line of a manifest: all that a list of snapshots shows."""

    id: str
    """the snapshot's name"""
    repository: str
    """the id of the repository it was made in"""
    host: str
    """the host's name in the inventory"""
    connector: str
    """the connector's name"""
    created: datetime
    """UTC"""
    run: str
    """the run that made it"""
    kind: Kind
    """`full`, `tables` or `safety`"""
    complete: bool
    """nothing that belongs to it is missing"""
    files: int
    """how many entries"""
    bytes: int
    """their sizes together"""
    software: str
    """what made it"""


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that a snapshot says of itself."""

    head: Head
    """who, when, what kind"""
    entries: Sequence[Entry]
    """the files; of a `Compact` each is made anew when it is looked at"""
    documents: tuple[Document, ...]
    """the files of our own, SHA256SUMS among them"""
    trees: Mapping[str, TreeRecord]
    """by item"""
    omitted: tuple[Omission, ...]
    """left out on purpose"""
    missing: tuple[Omission, ...]
    """should be there and is not"""
    findings: tuple[Mapping[str, object], ...]
    """what health said at the time"""
    elsewhere: tuple[Elsewhere, ...] = ()
    """what stays on the host; only its description is in the snapshot"""


def empty_layout() -> Places:
    """Return the places of a snapshot with nothing in it but what every snapshot has."""
    return Places((MANIFEST, MANIFEST_SUM), (FILES, RENAMED))


def checked_document(stored: str) -> str:
    """Given where a document is to lie, return it. Raise UnsafeName if it could lead out of the snapshot."""
    if folded(check_stored(stored)).partition("/")[0] in (FILES, RENAMED):
        raise UnsafeName(stored, "it lies among the files of the host")
    return stored


def checked_file(stored: str) -> str:
    """Given where a file of the host is to lie, return it. Raise UnsafeName if that is not under files/."""
    if not check_stored(stored).startswith(f"{FILES}/"):
        raise UnsafeName(stored, f"it does not lie under {FILES}/")
    return stored


def checked_place(place: str) -> str:
    """Given the full path of a file on a drive or a share, return it. Raise UnsafeName if it is none."""
    root = _PLACE.match(place)
    if root is None:
        raise UnsafeName(place[:200], "it is no full path on a drive or a share")
    checked_remote(place[root.end() :])
    return place


def checked_entry(entry: Entry) -> Entry:
    """Given a file of a snapshot, return it. Raise UnsafeName if a name of it could lead out of a folder."""
    checked_word(entry.item, "an item")
    checked_remote(entry.path)
    checked_file(entry.stored)
    return entry


def write_manifest(manifest: Manifest) -> Iterator[bytes]:
    """Given a manifest, return its text in pieces."""
    head = {"format": MANIFEST_FORMAT, **_fields(manifest.head)}
    yield _line(head)[:-1].encode() + b",\n"
    yield b'"entries":[\n'
    block: list[str] = []
    for number, entry in enumerate(manifest.entries):
        block.append((",\n" if number else "") + _line(_fields(entry)))
        if len(block) == 1000:
            yield "".join(block).encode()
            block.clear()
    yield "".join(block).encode() + b"],\n"
    rest: dict[str, object] = {
        "documents": [_fields(d) for d in manifest.documents],
        "trees": {item: _fields(tree) for item, tree in manifest.trees.items()},
        "omitted": [_fields(o) for o in manifest.omitted],
        "missing": [_fields(o) for o in manifest.missing],
        "findings": [dict(f) for f in manifest.findings],
    }
    if manifest.elsewhere:
        rest["elsewhere"] = [_fields(e) for e in manifest.elsewhere]
    yield json.dumps(rest, indent=0, allow_nan=False)[1:].encode() + b"\n"


def pieces_of(content: Content) -> Iterable[bytes]:
    """Given the content of a document, return its bytes in pieces."""
    return [content] if isinstance(content, bytes) else content()


def stamp(moment: datetime) -> str:
    """Given a zoned moment, return it as the manifest writes it. Raise ValueError if it has no zone."""
    if moment.tzinfo is None:
        raise ValueError("a moment without a zone")
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def _fields(value: object) -> dict[str, object]:
    names = cast("tuple[str, ...]", getattr(type(value), "__slots__"))  # noqa: B009
    found = {name: getattr(value, name) for name in names}
    return {name: stamp(v) if isinstance(v, datetime) else v for name, v in found.items()}


def _line(value: Mapping[str, object]) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)

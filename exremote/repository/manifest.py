"""What a snapshot says of itself. It never opens the files it names.

The manifest is one JSON object. Its first line holds all but the long lists, so that a thousand snapshots can
be listed without reading their entries; each entry is one line, and no tree of dicts is ever in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, cast

MANIFEST_FORMAT = 1

Kind = Literal["full", "tables"]


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


@dataclass(frozen=True, slots=True)
class Omission:
    """Something that is not in the snapshot."""

    path: str
    """what, as the host spells it"""
    reason: str
    """why, in words"""


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
    """`tables` is a snapshot of the mapping tables alone"""
    complete: bool = True
    """nothing that belongs to it is missing"""
    entries: tuple[Entry, ...] = ()
    """the files"""
    omitted: tuple[Omission, ...] = ()
    """left out on purpose"""
    missing: tuple[Omission, ...] = ()
    """should be there and is not"""
    trees: Mapping[str, TreeRecord] = field(default_factory=dict)
    """by item"""
    documents: Mapping[str, bytes] = field(default_factory=dict)
    """by path relative to the snapshot's folder"""
    findings: tuple[Mapping[str, object], ...] = ()
    """what health said at the time"""
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
    """`full` or `tables`"""
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
    entries: tuple[Entry, ...]
    """the files"""
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


_ENTRY_FIELDS = frozenset(Entry.__slots__)


class ManifestError(ValueError):
    """Not a manifest that we can read."""


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
    rest = {
        "documents": [_fields(d) for d in manifest.documents],
        "trees": {item: _fields(tree) for item, tree in manifest.trees.items()},
        "omitted": [_fields(o) for o in manifest.omitted],
        "missing": [_fields(o) for o in manifest.missing],
        "findings": [dict(f) for f in manifest.findings],
    }
    yield json.dumps(rest, indent=0, allow_nan=False)[1:].encode() + b"\n"


def read_head(line: bytes) -> Head:
    """Given the first line of a manifest, return its head. Raise ManifestError if it is none, or too new."""
    try:
        return _head(json.loads(line.rstrip().rstrip(b",") + b"}"))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestError(str(error)) from error


def read_manifest(text: bytes) -> Manifest:
    """Given the text of a manifest, return it. Raise ManifestError if it is not one, or too new."""
    try:
        # Each entry becomes its slotted self while the text is read: no tree of dicts beside it.
        data = json.loads(text, object_hook=_hook)
        return Manifest(
            head=_head(data),
            entries=_entries(data["entries"]),
            documents=tuple(Document(**d) for d in data["documents"]),
            trees={item: TreeRecord(**t) for item, t in data["trees"].items()},
            omitted=tuple(Omission(**o) for o in data["omitted"]),
            missing=tuple(Omission(**o) for o in data["missing"]),
            findings=tuple(data["findings"]),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ManifestError(str(error)) from error


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


def _hook(data: dict[str, object]) -> object:
    if data.keys() == _ENTRY_FIELDS:
        return Entry(**{**data, "modified": datetime.fromisoformat(str(data["modified"]))})  # type: ignore[arg-type]
    return data


def _head(data: Mapping[str, object]) -> Head:
    if data["format"] != MANIFEST_FORMAT:
        raise ManifestError(
            f"it has format {data['format']}, and this exremote reads {MANIFEST_FORMAT}; use a newer one"
        )
    found = {name: data[name] for name in Head.__slots__}
    found["created"] = datetime.fromisoformat(str(data["created"]))
    return Head(**found)  # type: ignore[arg-type]


def _entries(values: list[object]) -> tuple[Entry, ...]:
    if not all(isinstance(value, Entry) for value in values):
        raise ManifestError("an entry without its fields")
    return tuple(cast("list[Entry]", values))

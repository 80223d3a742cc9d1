"""A manifest read back. Nothing that it says is believed before it was looked at; it never opens a file.

Sums that agree prove nothing against somebody who can write to the volume: whoever forges a manifest forges
them too. So every name, path, number and moment is checked here, in this one place. What comes out of here
can be joined to a folder without leaving it, added up, compared and sorted; all else is damage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from math import isfinite
from typing import NoReturn, cast

from exremote.compact import Compact
from exremote.repository.manifest import (
    MANIFEST_FORMAT,
    SUMS,
    Document,
    Elsewhere,
    Entry,
    Head,
    Kind,
    Manifest,
    Omission,
    Row,
    TreeRecord,
    checked_document,
    checked_file,
    checked_place,
    compact_entries,
    empty_layout,
    entry_of_row,
    row_of,
)
from exremote.repository.names import UnsafeName, are_apart, checked_host, checked_remote, checked_word

_LARGEST = 2**63 - 1
_DEEPEST = 16
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ENTRY_FIELDS = frozenset(Entry.__slots__)
_ENTRIES = b'"entries":[\n'


class ManifestError(ValueError):
    """Not a manifest that we can read, or one that no exremote writes: which field, and why."""


def read_head(line: bytes) -> Head:
    """Given the first line of a manifest, return its head. Raise ManifestError if it is none, or too new."""
    return _head(_parsed(_closed(line)))


def _closed(line: bytes) -> bytes:
    """Given the first line of a manifest, return it as an object of its own."""
    return line.rstrip().rstrip(b",") + b"}"


def read_manifest(lines: Iterable[bytes]) -> Manifest:
    """Given the lines of a manifest, return it. Raise ManifestError if it is not one, or too new.

    As exremote writes it, each entry is a line: it becomes bytes of its own at once, and neither the text nor
    a tree of dicts is ever in memory. Whatever is JSON in another form is read as a whole.
    """
    source = iter(lines)
    first, second = next(source, b""), next(source, b"")
    if first.endswith(b",\n") and second == _ENTRIES:
        entries = _streamed(source)
        rest = _parsed(b"{" + b"".join(source))
        if "entries" in rest:
            raise ManifestError("entries: they are there twice")
        data = {**_parsed(_closed(first)), **rest}
    else:
        data = _parsed(b"".join([first, second, *source]), _hook)
        entries = compact_entries(_entries(_list(data, "entries")))
    manifest = Manifest(
        head=_head(data),
        entries=entries,
        documents=tuple(map(_document, _list(data, "documents"))),
        trees=_trees(data),
        omitted=_omissions(data, "omitted"),
        missing=_omissions(data, "missing"),
        findings=tuple(map(_finding, _list(data, "findings"))),
        elsewhere=tuple(map(_elsewhere, _list(data, "elsewhere") if "elsewhere" in data else ())),
    )
    _check_layout(manifest)
    _check_agreement(manifest, read_head(first))
    return manifest


def _streamed(source: Iterator[bytes]) -> Compact[Entry]:
    """Given the lines of the entries and what follows, take up to the end of the list. Return the entries."""

    def rows() -> Iterator[Row]:
        for line in source:
            text = line.rstrip()
            last = text.endswith(b"],")
            if text := text.removesuffix(b"],") if last else text.removesuffix(b","):
                data = _parsed(text)
                if data.keys() != _ENTRY_FIELDS:
                    raise ManifestError("entries: one has not the fields of one")
                yield row_of(_entry(data))
            if last:
                return
        raise ManifestError("entries: the list has no end")

    return Compact(entry_of_row, rows())


class _Fields:
    """The fields of one object of a manifest; each is taken by what it has to be."""

    __slots__ = ("_data", "_what")

    def __init__(self, data: object, what: str = "", fields: Iterable[str] | None = None) -> None:
        self._what = what
        if not isinstance(data, dict) or (fields is not None and data.keys() != set(fields)):
            raise ManifestError(f"{what}: it has not the fields of one")
        self._data: Mapping[str, object] = data

    def refuse(self, why: str, name: str) -> NoReturn:
        """Given why a field is not taken, raise ManifestError."""
        path = self._data.get("path", self._data.get("stored"))  # what a person knows a file by
        what = f"{self._what} {path[:99]!r}" if isinstance(path, str) else self._what
        raise ManifestError(": ".join(part for part in (what, name, why) if part))

    def text(self, name: str, check: Callable[[str], object] | None = None) -> str:
        """Given a field, return its text; `check` raises UnsafeName if it is a name that is not taken."""
        value = self._data.get(name)
        if not isinstance(value, str):
            self.refuse("this is no text", name)
        if check is not None:
            try:
                check(value)
            except UnsafeName as error:
                self.refuse(error.message.rstrip("."), name)
        return value

    def word(self, name: str) -> str:
        """Given a field, return its text, a name of our own making."""
        return self.text(name, _word)

    def count(self, name: str, least: int = 0, most: int = _LARGEST) -> int:
        """Given a field, return its whole number."""
        value = self._data.get(name)
        if type(value) is not int or not least <= value <= most:
            self.refuse("this is no number that it can have", name)
        return value

    def flag(self, name: str) -> bool:
        """Given a field, return whether it is so."""
        value = self._data.get(name)
        if not isinstance(value, bool):
            self.refuse("this is neither true nor false", name)
        return value

    def digest(self, name: str) -> str:
        """Given a field, return its SHA-256."""
        value = self._data.get(name)
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            self.refuse("this is no SHA-256", name)
        return value

    def moment(self, name: str) -> datetime:
        """Given a field, return its moment, in UTC."""
        text = self.text(name)
        try:
            moment = datetime.fromisoformat(text)
            in_utc = moment.astimezone(UTC)
        except (ValueError, OverflowError):
            self.refuse("this is no moment", name)
        if moment.tzinfo is None:
            self.refuse("this is a moment without a zone", name)
        return in_utc


def _word(value: str) -> str:
    return checked_word(value, "it")


def _parsed(text: bytes, hook: Callable[[dict[str, object]], object] | None = None) -> dict[str, object]:
    try:
        data = json.loads(text, object_hook=hook, parse_constant=_no_number)
    except ManifestError:
        raise
    except (ValueError, RecursionError) as error:
        raise ManifestError(str(error)) from error
    if not isinstance(data, dict):
        raise ManifestError("it is not one object")
    return data


def _no_number(text: str) -> NoReturn:
    raise ManifestError(f"{text} is no number")


def _hook(data: dict[str, object]) -> object:
    return _entry(data) if data.keys() == _ENTRY_FIELDS else data


def _head(data: Mapping[str, object]) -> Head:
    fields = _Fields(data)
    # A newer format first: of what it holds beside its number nothing is known here.
    if (found := fields.count("format")) != MANIFEST_FORMAT:
        raise ManifestError(
            f"it has format {found}, and this exremote reads {MANIFEST_FORMAT}; use a newer one"
        )
    kind = fields.text("kind")
    if kind not in ("full", "tables", "safety"):
        fields.refuse("there is no such kind", "kind")
    head = Head(
        id=fields.word("id"),
        repository=fields.text("repository"),
        host=fields.text("host", checked_host),
        connector=fields.word("connector"),
        created=fields.moment("created"),
        run=fields.word("run"),
        kind=cast("Kind", kind),
        complete=fields.flag("complete"),
        files=fields.count("files"),
        bytes=fields.count("bytes"),
        software=fields.text("software"),
    )
    beginning = re.escape(f"{head.created:%Y%m%dT%H%M%SZ}-{head.connector}-")
    if not re.fullmatch(rf"{beginning}[0-9a-f]{{6}}", head.id):
        fields.refuse("it is not made of `created` and `connector`", "id")
    return head


def _entry(data: Mapping[str, object]) -> Entry:
    fields = _Fields(data, "entry")
    return Entry(
        item=fields.word("item"),
        path=fields.text("path", checked_remote),
        stored=fields.text("stored", checked_file),
        size=fields.count("size"),
        sha256=fields.digest("sha256"),
        modified=fields.moment("modified"),
        attributes=fields.count("attributes", -(2**31), 2**32 - 1),
        secret=fields.flag("secret"),
    )


def _document(data: object) -> Document:
    fields = _Fields(data, "document", Document.__slots__)
    return Document(fields.text("stored", checked_document), fields.count("size"), fields.digest("sha256"))


def _trees(data: Mapping[str, object]) -> dict[str, TreeRecord]:
    trees = data.get("trees")
    if not isinstance(trees, dict):
        raise ManifestError("trees: this is no object")
    names = _Fields({name: name for name in trees}, "trees")
    return {names.word(item): _tree(tree, item) for item, tree in trees.items()}


def _tree(data: object, item: str) -> TreeRecord:
    fields = _Fields(data, f"tree {item!r}", TreeRecord.__slots__)
    digest = fields.text("digest")
    return TreeRecord(
        fields.text("root"),
        fields.digest("digest") if digest else "",  # single files have none
        fields.count("files"),
        fields.count("bytes"),
    )


def _omissions(data: Mapping[str, object], name: str) -> tuple[Omission, ...]:
    found = (_Fields(one, name, Omission.__slots__) for one in _list(data, name))
    return tuple(Omission(fields.text("path"), fields.text("reason")) for fields in found)


def _elsewhere(data: object) -> Elsewhere:
    fields = _Fields(data, "elsewhere", Elsewhere.__slots__)
    return Elsewhere(
        fields.word("item"),
        fields.text("path", checked_remote),
        fields.text("place", checked_place),
        fields.count("size"),
        fields.digest("sha256"),
        fields.moment("modified"),
    )


def _finding(data: object) -> Mapping[str, object]:
    if not isinstance(data, dict) or not _is_plain(data, _DEEPEST):
        raise ManifestError("findings: one is no object of plain values")
    return data


def _is_plain(value: object, depth: int) -> bool:
    """Given a value, return whether every report can write it: finite numbers, and nothing too deep."""
    if isinstance(value, dict | list):
        inner = value.values() if isinstance(value, dict) else value
        return depth > 0 and all(_is_plain(one, depth - 1) for one in inner)
    return not isinstance(value, Entry) and (not isinstance(value, float) or isfinite(value))


def _list(data: Mapping[str, object], name: str) -> list[object]:
    found = data.get(name)
    if not isinstance(found, list):
        raise ManifestError(f"{name}: this is no list")
    return found


def _entries(values: list[object]) -> Sequence[Entry]:
    if not all(isinstance(value, Entry) for value in values):
        raise ManifestError("entries: one has not the fields of one")
    return cast("list[Entry]", values)


def _check_layout(manifest: Manifest) -> None:
    """Given a manifest, raise ManifestError if two of its files cannot lie in one folder on every system."""
    layout = empty_layout()
    # Documents lie outside the folder of files, so that only files can be in the way of files.
    apart = are_apart(e.stored for e in manifest.entries)
    for name in chain(
        (d.stored for d in manifest.documents), () if apart else (e.stored for e in manifest.entries)
    ):
        try:
            layout.take(name)
        except UnsafeName as error:
            raise ManifestError(f"stored: {name[:99]!r}: {error.message.rstrip('.')}") from error


def _check_agreement(manifest: Manifest, first_line: Head) -> None:
    """Given a manifest and its first line, raise ManifestError if it contradicts itself.

    Lists of snapshots are made of first lines alone: what they show has to be true.
    """
    head = manifest.head
    if first_line != head:
        raise ManifestError("its first line says something else than the rest")
    if (head.files, head.bytes) != (len(manifest.entries), sum(e.size for e in manifest.entries)):
        raise ManifestError("files, bytes: they are not those of its entries")
    if SUMS not in {d.stored for d in manifest.documents}:
        raise ManifestError(f"documents: {SUMS} is not among them")
    if head.complete and manifest.missing:
        raise ManifestError("complete: something is missing")

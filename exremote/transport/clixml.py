"""CLIXML, the text form of PowerShell objects, as plain Python values. It never holds a whole stream."""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from xml.parsers import expat

MAX_REFERENCES = 10_000
MAX_DEPTH = 64
_ESCAPE = re.compile("_[xX]([0-9A-Fa-f]{4})_")
_SURROGATE = re.compile("[\ud800-\udfff]")
_BOM = b"\xef\xbb\xbf"


class ClixmlError(ValueError):
    """What came is not CLIXML."""


class PsObject(dict[str, object]):
    """The properties of one object; `text` is what its ToString() gave."""

    __slots__ = ("text",)

    def __init__(self, members: dict[str, object], text: str) -> None:
        super().__init__(members)
        self.text = text


def unescape(text: str) -> str:
    """Given a text with _xHHHH_ for characters that XML cannot hold, return it with the characters.

    Half a surrogate pair is no text and becomes U+FFFD.
    """
    if "_x" not in text and "_X" not in text:
        return text
    text = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    if _SURROGATE.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def _moment(text: str) -> datetime:
    """Given a date as .NET writes it, return it in UTC; one without a zone is taken for UTC."""
    moment = datetime.fromisoformat(text)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


_PRIMITIVES: dict[str, Callable[[str], object]] = {
    **dict.fromkeys(("By", "SB", "U16", "I16", "U32", "I32", "U64", "I64"), int),
    **dict.fromkeys(("Sg", "Db", "D"), float),
    **dict.fromkeys(("TS", "G", "Version"), str),
    "B": lambda text: text.strip().lower() == "true",
    "C": lambda text: chr(int(text)),
    "DT": _moment,
    "BA": b64decode,
    "Nil": lambda text: None,
    "SS": lambda text: None,  # nobody sends us secrets; if somebody does, they end here
}
_TEXTS = frozenset({"S", "ToString", "URI", "XD", "SBK"})
_LISTS = frozenset({"LST", "IE", "QUE", "STK"})
_IGNORED = frozenset({"TN", "TNRef", "T"})


class _Node:
    """One open element."""

    __slots__ = ("attributes", "base", "entries", "items", "members", "tag", "text", "to_string")

    def __init__(self, tag: str, attributes: dict[str, str]) -> None:
        self.tag = tag
        self.attributes = attributes
        self.text: list[str] = []
        self.items: list[object] | None = None
        self.entries: dict[object, object] | None = None
        self.members: dict[str, object] = {}
        self.base: tuple[object, ...] = ()
        self.to_string = ""


class ClixmlReader:
    """Takes CLIXML in pieces of any size and gives back each top-level value when it is whole."""

    def __init__(self, *, wrapped: bool, twice: bool = False) -> None:
        """Given whether `Objs` is around the values and whether texts are escaped twice, be ready."""
        self._wrapped = wrapped
        self._times = 2 if twice else 1
        self._inside = not wrapped
        self.ended = False
        self._stack: list[_Node] = []
        self._ready: list[tuple[str, object]] = []
        self._references: dict[str, object] = {}
        parser = self._parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.buffer_size = 65536
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.StartDoctypeDeclHandler = self._doctype

    def feed(self, data: bytes, last: bool = False) -> Iterator[tuple[str, object]]:
        """Given the next piece, yield (stream, value) for what it completes. Raise ClixmlError."""
        try:
            self._parser.Parse(data, last)
        except expat.ExpatError as error:
            raise ClixmlError(f"no CLIXML: {error}") from None
        ready, self._ready = self._ready, []
        yield from ready

    def _doctype(self, *_: object) -> None:
        raise ClixmlError("a DOCTYPE in CLIXML")

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not self._inside:
            if tag != "Objs":
                raise ClixmlError(f"<{tag}> where <Objs> was due")
            self._inside = True
            return
        if len(self._stack) > MAX_DEPTH:
            raise ClixmlError("objects too deep")
        self._stack.append(_Node(tag, attributes))

    def _characters(self, text: str) -> None:
        if self._stack:
            self._stack[-1].text.append(text)

    def _end(self, tag: str) -> None:
        if not self._stack:
            self.ended = True
            return
        node = self._stack.pop()
        if tag in _IGNORED:
            return
        value = self._value(node)
        if self._stack:
            self._join(self._stack[-1], node, value)
        else:
            self._ready.append((node.attributes.get("S", "output").lower(), value))

    def _value(self, node: _Node) -> object:
        """Given a finished element, return what it means."""
        tag = node.tag
        if tag in _TEXTS:
            return self._text("".join(node.text))
        if primitive := _PRIMITIVES.get(tag):
            try:
                return primitive("".join(node.text))
            except (ValueError, Base64Error, OverflowError) as error:
                raise ClixmlError(f"<{tag}>: {error}") from None
        if tag == "Ref":
            return self._references.get(node.attributes.get("RefId", ""))
        if tag == "Obj":
            value = _object(node)
            self._references[node.attributes.get("RefId", "")] = value
            if len(self._references) > MAX_REFERENCES:
                del self._references[next(iter(self._references))]
            return value
        return None  # containers hand their content over in _join

    def _join(self, parent: _Node, node: _Node, value: object) -> None:
        """Given a finished element inside another, put it where it belongs."""
        tag = node.tag
        if tag in ("MS", "Props"):
            parent.members.update(node.members)
        elif tag in _LISTS:
            parent.items = node.items or []
        elif tag == "DCT":
            parent.entries = node.entries or {}
        elif tag == "En":
            if parent.entries is None:
                parent.entries = {}
            key = node.members.get("Key")
            parent.entries[key if isinstance(key, str | int) else str(key)] = node.members.get("Value")
        elif parent.tag in _LISTS:
            if parent.items is None:
                parent.items = []
            parent.items.append(value)
        elif parent.tag in ("MS", "Props", "En"):
            parent.members[self._text(node.attributes.get("N", ""))] = value
        elif tag == "ToString":
            parent.to_string = str(value)
        else:
            parent.base = (value,)

    def _text(self, text: str) -> str:
        for _ in range(self._times):
            text = unescape(text)
        return text


def _object(node: _Node) -> object:
    """Given a finished `Obj`, return a list, a dict, the plain value under it, or its properties."""
    if node.items is not None:
        return node.items
    if node.entries is not None:
        return node.entries
    if node.base:
        return node.base[0]
    return PsObject(node.members, node.to_string)


def decode(data: bytes) -> object:
    """Given one value as PSRP sends it, return it. Raise ClixmlError."""
    if data.startswith(_BOM):
        data = data[len(_BOM) :]
    if not data:
        return None
    for _, value in ClixmlReader(wrapped=False).feed(data, last=True):
        return value
    raise ClixmlError("an empty message")

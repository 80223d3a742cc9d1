"""The bulk formats that travel from a host: blocks, tree listings, file packs. It never reads or writes.

Three layers, each of its own:

- a *block* is one byte array record: a flag and then plain or deflated bytes (`BlockReader`);
- a *listing* is the text of a tree, a line an entry (`parse_listing`);
- a *pack* is many files in one stream (`PackReader`).

All of it comes from a machine that may be broken or hostile: whatever arrives, the answer is values or
`PackError`, in memory bounded by the block, and in time linear in the bytes.
"""

from __future__ import annotations

import base64
import codecs
import hashlib
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

MAX_BLOCK = 262144
"""Plain bytes that one block may hold."""

MAX_MESSAGE = 65536
"""Bytes that the text of an `X` record may hold; a message is a sentence, not a file."""

MAX_TICKS = 3155378975999999999
"""The last moment that .NET (and Python) can name: 9999-12-31T23:59:59.9999999."""

_PLAIN, _DEFLATED, _TEXT = 0, 1, 2
_EPOCH = datetime(1, 1, 1, tzinfo=UTC)
_HEADER = struct.Struct("<cI")
_FILE = struct.Struct("<IqqIq")
_END = struct.Struct("<qq32s")
_COUNT = struct.Struct("<I")
_ERROR_ID = re.compile(r"ExRemote\.[A-Za-z]{1,60}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_NUMBERS = re.compile(rb"(-1|[0-9]{1,19})\t([0-9]{1,19})\t(-?[0-9]{1,10})\t([^\t\n]+)\t(.+)", re.DOTALL)


class PackError(ValueError):
    """What came from the host is not in the format."""


# ---------------------------------------------------------------- blocks


class BlockReader:
    """Turns the blocks of a stream, in pieces cut anywhere, into plain bytes, each as soon as it is there."""

    def __init__(self) -> None:
        self._kind: int | None = None  # None: no block is open
        self._deflated = 0
        self._plain = 0
        self._inflater: zlib._Decompress | None = None
        self._decoder: codecs.IncrementalDecoder | None = None

    @property
    def between(self) -> bool:
        """Whether no block is open: here a stream may end."""
        return self._kind is None

    def feed(self, data: bytes, last: bool) -> bytes:
        """Given the next piece of a block and whether the block ends with it, return the plain bytes.

        Raise PackError if the flag is unknown, the deflate stream is damaged, cut or followed by something,
        or there are more than MAX_BLOCK bytes, plain or deflated (no more than that is ever inflated).
        """
        if self._kind is None:
            if not data:
                if not last:
                    return b""
                raise PackError("an empty record is not a block")
            self._begin(data[0])
            data = data[1:]
        self._deflated += len(data)
        if self._deflated > MAX_BLOCK:
            raise PackError(f"a block of more than {MAX_BLOCK} bytes")
        if self._inflater is not None:
            data = self._inflate(self._inflater, data, last)
        if self._decoder is not None:
            try:
                data = self._decoder.decode(data, last).encode("utf-16-le")
            except UnicodeError:
                raise PackError("a block of text that is no UTF-8") from None
        self._plain += len(data)
        if self._plain > MAX_BLOCK:
            raise PackError(f"a block that is more than {MAX_BLOCK} bytes")
        if last:
            self._kind = self._inflater = self._decoder = None
        return data

    def _begin(self, kind: int) -> None:
        if kind not in (_PLAIN, _DEFLATED, _TEXT):
            raise PackError(f"a block with flag {kind}; 0, 1 or 2 were expected")
        self._kind, self._deflated, self._plain = kind, 0, 0
        self._inflater = None if kind == _PLAIN else zlib.decompressobj(-zlib.MAX_WBITS)
        self._decoder = codecs.getincrementaldecoder("utf-8")() if kind == _TEXT else None

    def _inflate(self, inflater: zlib._Decompress, data: bytes, last: bool) -> bytes:
        """Given the next deflated bytes, return the plain ones, no more than may be. Raise PackError."""
        # A character of two bytes in UTF-16 takes up to three in UTF-8.
        most = MAX_BLOCK // 2 * 3 if self._kind == _TEXT else MAX_BLOCK
        try:
            plain = inflater.decompress(data, most + 1)
        except zlib.error as error:
            raise PackError(f"a block that cannot be inflated: {error}") from None
        if len(plain) > most:
            raise PackError(f"a block that inflates to more than {most} bytes")
        if last and not inflater.eof:
            raise PackError("a deflated block that ends too early")
        if inflater.unused_data:
            raise PackError(f"a deflated block with {len(inflater.unused_data)} bytes behind its end")
        return plain


def seal_block(plain: bytes) -> bytes:
    """Given at most MAX_BLOCK bytes, return the record: deflated if that saves a tenth, else plain.

    Raise PackError if there are more.
    """
    if len(plain) > MAX_BLOCK:
        raise PackError(f"a block of {len(plain)} bytes; at most {MAX_BLOCK} are allowed")
    deflated = _deflate(plain)
    if len(deflated) * 10 <= len(plain) * 9:
        return bytes([_DEFLATED]) + deflated
    return bytes([_PLAIN]) + bytes(plain)


def encode_names(paths: Iterable[str]) -> str:
    """Given relative paths, return them as Read-FilePack wants them: base64 of raw deflate of UTF-8 lines.

    Raise PackError if a path is empty, holds a line feed, or cannot be written as UTF-8.
    """
    names = list(paths)
    for name in names:
        if not name or "\n" in name:
            raise PackError(f"a name that cannot be one line of a list: {name!r}")
    try:
        plain = "\n".join(names).encode()
    except UnicodeEncodeError:
        raise PackError("a name that cannot be written as UTF-8") from None
    return base64.b64encode(_deflate(plain)).decode("ascii")


def _deflate(plain: bytes) -> bytes:
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(plain) + deflater.flush()


# ---------------------------------------------------------------- time


def ticks_to_datetime(ticks: int) -> datetime:
    """Given .NET ticks (100 ns since year 1), return the moment in UTC; the last 100 ns digit is lost.

    Raise PackError if no calendar has that moment.
    """
    if not 0 <= ticks <= MAX_TICKS:
        raise PackError(f"a time that no calendar has: {ticks} ticks")
    return _EPOCH + timedelta(microseconds=ticks // 10)


def datetime_to_ticks(moment: datetime) -> int:
    """Given a zoned moment, return its .NET ticks. Raise PackError if it has no zone."""
    if moment.tzinfo is None:
        raise PackError("a moment without a zone has no ticks")
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * 10_000_000 + since.microseconds * 10


# ---------------------------------------------------------------- listings

TreeState = Literal["file", "directory", "excluded", "reparse", "unreadable", "unhashed"]


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """One line of a listing."""

    path: str
    """relative to the root, with `\\`, exactly as the host spells it; not yet checked as a path of ours"""
    size: int
    """bytes; -1 for a directory"""
    modified_ticks: int
    """LastWriteTimeUtc in .NET ticks"""
    attributes: int
    """FileAttributes, as an unsigned number"""
    sha256: str | None
    """64 lower hex digits, if state is `file`"""
    state: TreeState
    """what the fourth field said"""
    error_id: str = ""
    """why it could not be read, if state is `unreadable`"""


@dataclass(frozen=True, slots=True)
class Listing:
    """A tree as it was."""

    entries: tuple[TreeEntry, ...]
    """in the order of the host"""
    digest: str
    """SHA-256 over the lines that are not left out; equal digests mean equal trees"""


def parse_listing(data: bytes | Iterable[bytes]) -> Listing:
    """Given the text of a listing, whole or in pieces cut anywhere, return its entries and its digest.

    Raise PackError if a line is not of the form, the last line has no end, or a path comes twice.
    """
    digest = hashlib.sha256()
    entries: list[TreeEntry] = []
    seen: set[str] = set()
    for number, line in enumerate(_lines([data] if isinstance(data, bytes) else data), 1):
        entry = _parse_line(line, number)
        if entry.path in seen:
            raise PackError(f"line {number} of the listing names a path for the second time: {entry.path!r}")
        seen.add(entry.path)
        entries.append(entry)
        if entry.state != "excluded":
            digest.update(line)
            digest.update(b"\n")
    return Listing(tuple(entries), digest.hexdigest())


def _lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    rest: list[bytes] = []  # pieces of one line, joined once: a line cut a thousand times costs no more
    for piece in pieces:
        head, found, tail = piece.partition(b"\n")
        if not found:
            rest.append(piece)
            continue
        yield b"".join([*rest, head])
        *whole, last = tail.split(b"\n")
        yield from whole
        rest = [last]
    if any(rest):
        raise PackError("the listing ends in the middle of a line")


def _parse_line(line: bytes, number: int) -> TreeEntry:
    match = _NUMBERS.fullmatch(line)
    if match is None:
        raise PackError(f"line {number} of the listing does not have its five fields")
    size, ticks, attributes = int(match[1]), int(match[2]), int(match[3]) & 0xFFFFFFFF
    if ticks > MAX_TICKS or size > 2**63 - 1:
        raise PackError(f"line {number} of the listing has a number that is out of range")
    try:
        mark, path = match[4].decode(), match[5].decode()
    except UnicodeDecodeError:
        raise PackError(f"line {number} of the listing is not UTF-8") from None
    state: TreeState
    sha256, error_id = None, ""
    if mark == "x":
        state = "excluded"
    elif mark == "r":
        state = "reparse"
    elif mark == "-":
        state = "directory" if size == -1 else "unhashed"
    elif mark.startswith("!") and _ERROR_ID.fullmatch(mark[1:]):
        state, error_id = "unreadable", mark[1:]
    elif _SHA256.fullmatch(mark) and size >= 0:
        state, sha256 = "file", mark
    else:
        raise PackError(f"line {number} of the listing has {mark[:80]!r} where a digest or a mark belongs")
    return TreeEntry(path, size, ticks, attributes, sha256, state, error_id)


# ---------------------------------------------------------------- packs


@dataclass(frozen=True, slots=True)
class FileBegin:
    """A file begins; its data follow."""

    index: int
    """which of the asked-for names, from 0"""
    offset: int
    """where in the file the data begin"""
    modified_ticks: int
    """when it was written last, as it was opened"""
    attributes: int
    """FileAttributes"""
    size: int
    """its size as it was opened"""


@dataclass(frozen=True, slots=True)
class FileData:
    """A piece of the file that is open."""

    data: bytes
    """never empty, never more than was fed"""


@dataclass(frozen=True, slots=True)
class FileEnd:
    """The file that was open is whole."""

    size: int
    """of the whole file as read"""
    modified_ticks: int
    """read again after the last byte; differs from FileBegin's if somebody wrote meanwhile"""
    sha256: str
    """of the whole file as read, from its first byte"""


@dataclass(frozen=True, slots=True)
class FileError:
    """A file could not be read, from the start or half-way; the others go on."""

    index: int
    """which of the asked-for names"""
    error_id: str
    """ExRemote.FileLocked, FileMissing, AccessDenied or ReadFailed"""
    message: str
    """in the host's language"""


@dataclass(frozen=True, slots=True)
class PackEnd:
    """The pack is whole."""

    files: int
    """how many F and X records there were"""


PackEvent = FileBegin | FileData | FileEnd | FileError | PackEnd


class PackReader:
    """Turns the plain bytes of a pack, cut anywhere, into events."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._data_left = 0  # bytes of the D record that is being passed on
        self._open: FileBegin | None = None
        self._received = 0  # data bytes of the open file
        self._last_index = -1
        self._records = 0
        self._complete = False
        self._broken = ""

    @property
    def complete(self) -> bool:
        """Whether the end of the pack was seen."""
        return self._complete

    def feed(self, plain: bytes) -> Iterator[PackEvent]:
        """Given the next bytes, return the events they complete; one not fetched now comes next time.

        Raise PackError, while iterating and ever after, at the first thing that is malformed.
        """
        self._buffer += plain
        return self._drain()

    def finish(self) -> None:
        """Raise PackError if the stream ended before the end of the pack."""
        if self._broken:
            raise PackError(self._broken)
        if not self._complete:
            raise PackError("the pack ended too early")

    def _drain(self) -> Iterator[PackEvent]:
        if self._broken:
            raise PackError(self._broken)
        try:
            while (event := self._next()) is not None:
                yield event
        except PackError as error:
            self._broken = str(error)
            self._buffer.clear()
            raise

    def _next(self) -> PackEvent | None:
        while True:
            if self._data_left:
                data = self._take(min(self._data_left, len(self._buffer)))
                self._data_left -= len(data)
                self._received += len(data)
                return FileData(data) if data else None
            if self._complete and self._buffer:
                raise PackError("bytes behind the end of the pack")
            if len(self._buffer) < _HEADER.size:
                return None
            kind, length = _HEADER.unpack_from(self._buffer)
            self._check_length(kind, length)
            if kind == b"D":
                del self._buffer[: _HEADER.size]
                self._data_left = length
                continue
            if len(self._buffer) < _HEADER.size + length:
                return None
            del self._buffer[: _HEADER.size]
            return self._record(kind, self._take(length))

    def _take(self, count: int) -> bytes:
        data = bytes(memoryview(self._buffer)[:count])
        del self._buffer[:count]  # CPython moves the start, not the bytes
        return data

    def _check_length(self, kind: bytes, length: int) -> None:
        if kind in (b"D", b"E") and self._open is None:
            raise PackError(f"a record {kind.decode()} where no file is open")
        if kind in (b"F", b"Z") and self._open is not None:
            raise PackError(f"a record {kind.decode()} while file {self._open.index} is open")
        fixed = {b"F": _FILE.size, b"E": _END.size, b"Z": _COUNT.size}.get(kind)
        if fixed is not None and length != fixed:
            raise PackError(f"a record {kind.decode()} of {length} bytes; it has {fixed}")
        if kind == b"X" and not _COUNT.size < length <= _COUNT.size + MAX_MESSAGE:
            raise PackError(f"a record X of {length} bytes")
        if fixed is None and kind not in (b"D", b"X"):
            raise PackError(f"a record of unknown type {kind!r}")

    def _record(self, kind: bytes, payload: bytes) -> PackEvent:
        if kind == b"F":
            return self._begin(FileBegin(*_FILE.unpack(payload)))
        if kind == b"E":
            return self._end(*_END.unpack(payload))
        if kind == b"X":
            return self._error(payload)
        (files,) = _COUNT.unpack(payload)
        if files != self._records:
            raise PackError(f"the pack says it has {files} files, and {self._records} came")
        self._complete = True
        return PackEnd(files)

    def _begin(self, begin: FileBegin) -> FileBegin:
        self._count(begin.index)
        if begin.offset < 0 or begin.size < 0:
            raise PackError(f"file {begin.index} has a negative offset or size")
        _check_ticks(begin.modified_ticks)
        self._open, self._received = begin, 0
        return begin

    def _end(self, size: int, ticks: int, digest: bytes) -> FileEnd:
        begin = self._open
        assert begin is not None
        if size != begin.offset + self._received:
            raise PackError(
                f"file {begin.index} ends at {size} bytes, and {begin.offset} + {self._received} were sent"
            )
        _check_ticks(ticks)
        self._open = None
        return FileEnd(size, ticks, digest.hex())

    def _error(self, payload: bytes) -> FileError:
        (index,) = _COUNT.unpack_from(payload)
        if self._open is None:
            self._count(index)
        elif self._open.index == index:
            self._records += 1  # the file broke off half-way: its F was counted, its X is another record
        else:
            raise PackError(f"an error of file {index} while file {self._open.index} is open")
        self._open = None
        try:
            text = payload[_COUNT.size :].decode()
        except UnicodeDecodeError:
            raise PackError(f"the error of file {index} is not UTF-8") from None
        error_id, tab, message = text.partition("\t")
        if not tab or not _ERROR_ID.fullmatch(error_id):
            raise PackError(f"the error of file {index} has no error id")
        return FileError(index, error_id, message)

    def _count(self, index: int) -> None:
        if index <= self._last_index:
            raise PackError(f"file {index} comes after file {self._last_index}")
        self._last_index = index
        self._records += 1


def _check_ticks(ticks: int) -> None:
    if not 0 <= ticks <= MAX_TICKS:
        raise PackError(f"a time that no calendar has: {ticks} ticks")

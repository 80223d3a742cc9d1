"""Packs: many files in one stream, read as events. Memory is bounded by what is fed."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from exremote.pack.words import MAX_TICKS, PackError

MAX_MESSAGE = 65536
"""Bytes that the text of an `X` record may hold; a message is a sentence, not a file."""

_HEADER = struct.Struct("<cI")
_FILE = struct.Struct("<IqqIq")
_END = struct.Struct("<qq32s")
_COUNT = struct.Struct("<I")
_ERROR_ID = re.compile(r"ExRemote\.[A-Za-z]{1,60}")


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
    """All that there was of the file that was open has come."""

    size: int
    """of the whole file, looked at again after the last byte"""
    modified_ticks: int
    """looked at again too; either differs from FileBegin's if somebody wrote meanwhile"""
    sha256: str
    """of the data that were sent"""


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
        if not 0 <= begin.offset <= begin.size:
            raise PackError(f"file {begin.index} has {begin.size} bytes and begins at {begin.offset}")
        _check_ticks(begin.modified_ticks)
        self._open, self._received = begin, 0
        return begin

    def _end(self, size: int, ticks: int, digest: bytes) -> FileEnd:
        begin = self._open
        assert begin is not None
        if size < 0:
            raise PackError(f"file {begin.index} ends with a negative size")
        if begin.offset + self._received != begin.size and begin.size == size:
            raise PackError(
                f"file {begin.index} has {size} bytes, and {begin.offset} + {self._received} were sent"
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

"""The lab's own hand at the two formats in which scripts answer in bulk: blocks, and packs inside blocks.

Written from the description of the formats, not from `exremote.pack`: the two must agree without knowing each
other. It never reads any file of this system.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import zlib
from collections.abc import Iterable, Iterator
from functools import lru_cache

from exremote.lab.files import Opened

BLOCK = 262144
_SAMPLE = 4096


def _deflate(plain: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(plain) + packer.flush()


@lru_cache(maxsize=2)
def bomb(mebibytes: int) -> bytes:
    """Return so many MiB of zeros, deflated, a thousandth in size."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(mebibytes)), packer.flush()])


def seal(plain: bytes) -> bytes:
    """Return one block as a record: deflated if that saves a tenth, else plain."""
    # A host tries the whole block; the lab looks at three places first, for it plays many hosts at once.
    if len(plain) > 16 * _SAMPLE:
        middle = len(plain) // 2
        sample = plain[:_SAMPLE] + plain[middle : middle + _SAMPLE] + plain[-_SAMPLE:]
        if len(_deflate(sample, 1)) > 0.97 * len(sample):
            return b"\0" + plain
    packed = _deflate(plain, 6)
    return b"\1" + packed if len(packed) <= 0.9 * len(plain) else b"\0" + plain


def seal_text(plain: bytes) -> bytes:
    """Return one block of UTF-16 text as a record: deflated UTF-8 if it is whole characters, else as any."""
    try:
        return b"\2" + _deflate(plain.decode("utf-16-le").encode("utf-8"), 6)
    except UnicodeError:
        return seal(plain)


def blocks(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the records that carry a stream of plain bytes."""
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        start = 0
        while size + len(piece) - start >= BLOCK:
            end = start + BLOCK - size
            waiting.append(piece[start:end])
            yield seal(b"".join(waiting))
            waiting, size, start = [], 0, end
        if start < len(piece):
            waiting.append(piece[start:] if start else piece)
            size += len(piece) - start
    if waiting:
        yield seal(b"".join(waiting))


def _record(kind: bytes, *parts: bytes) -> Iterator[bytes]:
    yield kind + struct.pack("<I", sum(len(part) for part in parts))
    yield from parts


def file_records(
    index: int, offset: int, opened: Opened, modified_after: int | None = None
) -> Iterator[bytes]:
    """Yield the records of one file: begin, data from `offset` on, end with the digest of the data."""
    size = opened.content.size
    yield from _record(b"F", struct.pack("<IqqIq", index, offset, opened.modified, opened.attributes, size))
    # A file that is read from its start needs no second digest of what the lab made itself.
    digest = None if offset == 0 else hashlib.sha256()
    place = 0
    for chunk in opened.content.chunks():
        wanted = chunk[max(offset - place, 0) :]
        place += len(chunk)
        if digest is not None:
            digest.update(wanted)
        for start in range(0, len(wanted), 65536):
            yield from _record(b"D", wanted[start : start + 65536])
    sha256 = opened.content.sha256() if digest is None else digest.digest()
    after = opened.modified_after if modified_after is None else modified_after
    yield from _record(b"E", struct.pack("<qq", size, after), sha256)


def failure_record(index: int, error_id: str, message: str) -> Iterator[bytes]:
    """Yield the record of a file that could not be read."""
    yield from _record(b"X", struct.pack("<I", index), f"{error_id}\t{message}".encode())


def end_record(files: int) -> Iterator[bytes]:
    """Yield the record that ends a pack."""
    yield from _record(b"Z", struct.pack("<I", files))


def decode_names(text: str) -> list[str]:
    """Given base64 of raw deflate of names joined by line feeds, return the names. Raise ValueError."""
    try:
        plain = zlib.decompress(base64.b64decode(text, validate=True), -15)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(str(error)) from error
    return plain.decode().split("\n") if plain else []

"""Blocks: a flag, then plain or deflated bytes. What is not whole yet is handed on as far as it is there."""

from __future__ import annotations

import codecs
import zlib

from exremote.pack.words import PackError, deflate

MAX_BLOCK = 262144
"""Plain bytes that one block may hold."""
_PLAIN, _DEFLATED, _TEXT = 0, 1, 2
PLAIN = bytes([_PLAIN])
"""With what a record of plain bytes begins."""


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


def seal_block(plain: bytes | memoryview, unsealed: bytes | bytearray = b"") -> bytes | bytearray:
    """Given at most MAX_BLOCK bytes, return the record: deflated if that saves a tenth, else plain.

    `unsealed`: the plain record, of who has it already. Raise PackError if there are more.
    """
    if len(plain) > MAX_BLOCK:
        raise PackError(f"a block of {len(plain)} bytes; at most {MAX_BLOCK} are allowed")
    deflated = deflate(plain)
    if len(deflated) * 10 <= len(plain) * 9:
        return bytes([_DEFLATED]) + deflated
    return unsealed or PLAIN + plain

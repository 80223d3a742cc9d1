"""The walk through a .bkf: bytes in, in any pieces; at the end what was found. It holds one block at a time.

Data of streams says nothing to it, but for checksums: where the file lies elsewhere, it can be passed over.

Nothing is searched for: where one block ends the next one must begin, so that a hole, a cut or a changed
header cannot be stepped over. Behind the first fault of that kind nothing is read; it says how far it came.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from exremote.mtf.blocks import (
    CONTINUATION,
    CONTINUED,
    CSUM_FOLLOWS,
    HEADER,
    STREAM,
    Block,
    Stream,
    folded32,
    header_of,
    name_of,
    stream_of,
)
from exremote.mtf.sets import Sets
from exremote.mtf.tape import Found, Tape

BLOCKS = (512, 1024)
"""Sizes of a format logical block that are known of disk files."""
_LONGEST_NAME = 1 << 16
_MUCH = 1 << 20


class _Broken(Exception):
    """Nothing behind this place can be told apart from rubbish."""


class Walker:
    """One walk."""

    def __init__(self, on_found: Callable[[Found], None] = lambda found: None) -> None:
        """`on_found` is told of each directory and file, and again of one that the tape calls corrupt."""
        self._held = bytearray()
        self._at = 0  # byte in the file of the first held one
        self._size = 0
        self._broken = False
        self._sets = Sets(on_found)
        self._block: Block | None = None
        self._stream: Stream | None = None
        self._left = 0
        """of the data of that stream"""
        self._kept = bytearray()
        """data that says something itself: a name, a checksum"""
        self._sum: int | None = None
        """of the stream's data, where a checksum follows"""
        self._summed = 0
        self._streams = 0
        self._unsummed = 0
        """streams with a checksum whose data was not at hand"""

    def feed(self, data: bytes) -> None:
        """Given the next bytes, walk on as far as they reach."""
        self._size += len(data)
        if self._broken:
            return
        self._held += data
        try:
            while self._step():
                pass
        except _Broken:
            self._broken = True
            self._held.clear()

    def skip(self, count: int) -> None:
        """Given how many bytes are not at hand, pass over them: a stream's data, or there is no way on."""
        self._size += count
        if self._broken or not count:
            return
        try:
            if self._held or count > self._left:
                raise self._lost()
            if self._sum is not None:
                self._sum, self._unsummed = None, self._unsummed + 1
            self._left -= count
            self._at += count
            if not self._left:
                self._stream_ended()
        except _Broken:
            self._broken = True
            self._held.clear()

    def finish(self) -> Tape:
        """Given that there is no more, return what was found."""
        if not self._broken:
            self._end()
        if self._unsummed:
            self._sets.doubt(
                f"{self._unsummed} streams have checksums that were not held against their data: where the "
                "file lies it was passed over"
            )
        return self._sets.tape(self._size, self._at, self._streams)

    # ------------------------------------------------------------ one step

    def _step(self) -> bool:
        """Take one thing of what is held. Return False where more bytes are needed for it."""
        if self._left:
            return self._data()
        if self._block is None:
            return self._next_block()
        return self._next_stream()

    def _next_block(self) -> bool:
        if len(self._held) < HEADER:
            return False
        head = self._header(self._held)
        if head is None:
            raise self._lost()
        if not self._sets.blocks and head.kind != "TAPE":
            self._sets.fault("not a tape", self._at, f"it begins with {head.kind} instead of TAPE")
            raise _Broken
        if head.first_event < HEADER:
            self._sets.fault("corrupt", self._at, f"{self._called(head)} says it ends before its own header")
            raise _Broken
        if len(self._held) < head.first_event:
            return False
        block = self._whole(head)
        if head.attributes & CONTINUATION:
            what = f"{self._called(head)} goes on from another medium, which is not in this file"
            self._sets.fault("other medium", self._at, what)
        self._sets.block(block)
        if block.kind == "TAPE" and self._sets.flb not in BLOCKS:
            what = f"a format logical block has {self._sets.flb} bytes; 512 and 1024 are known of disk files"
            self._sets.fault("not a tape", self._at, what)
            raise _Broken
        self._take(head.first_event)
        # A soft filemark has no streams: where its first event would be, the next block is.
        self._block = None if block.kind == "SFMB" else block
        return True

    def _next_stream(self) -> bool:
        assert self._block is not None
        gap = -self._at % 4
        need = gap + STREAM
        if len(self._held) < need:
            # A tape of version 1.0 may end without SPAD: then nothing, or less than a header, is left.
            return False
        if not any(self._held[:gap]) and (stream := stream_of(bytes(self._held[gap:need]))) is not None:
            self._take(need)
            self._begin(stream)
            return True
        return self._without_pad()

    def _without_pad(self) -> bool:
        """Take the zeros up to the next block: writers of version 1.0 may leave SPAD out (appendix D)."""
        gap = -self._at % self._sets.flb
        if len(self._held) < gap + HEADER:
            return False
        if any(self._held[:gap]) or self._header(self._held[gap : gap + HEADER]) is None:
            raise self._lost()
        self._take(gap)
        self._ended()
        return True

    def _begin(self, stream: Stream) -> None:
        self._streams += 1
        self._stream, self._left, self._sum, self._summed = stream, stream.length, None, 0
        self._kept.clear()
        if stream.media & CONTINUED:
            what = f"stream {stream.kind} of {self._sets.here} goes on from another medium"
            self._sets.fault("other medium", self._at - STREAM, what)
        if stream.media & CSUM_FOLLOWS:
            self._sum = 0
        if not self._left:
            self._stream_ended()

    def _data(self) -> bool:
        assert self._stream is not None
        count = min(self._left, len(self._held))
        if not count:
            return False
        if self._sum is not None:
            # Words begin where the stream does: what is left of one waits.
            if count < self._left:
                count = min(count, _MUCH) & ~3
                if not count:
                    return False
            self._sum ^= folded32(bytes(self._held[:count]))
        if self._stream.kind in ("PNAM", "FNAM", "CSUM") and len(self._kept) < _LONGEST_NAME:
            self._kept += self._held[: min(count, _LONGEST_NAME - len(self._kept))]
        self._left -= count
        self._take(count)
        if not self._left:
            self._stream_ended()
        return True

    def _stream_ended(self) -> None:
        stream = self._stream
        assert stream is not None
        if stream.kind in ("PNAM", "FNAM"):
            unicode = self._block is None or self._block.unicode
            kept = bytes(self._kept)
            self._sets.named(name_of(kept) if unicode else kept.decode("cp1252", "replace"))
        elif stream.kind == "CSUM":
            if self._last_sum is not None and int.from_bytes(self._kept[:4], "little") != self._last_sum:
                self._sets.fault("corrupt", self._at, f"the checksum of {self._sets.here} is not its data's")
        else:
            self._sets.stream(stream, self._at)
        self._last_sum, self._sum = self._sum, None
        if stream.kind == "SPAD":
            if self._at % self._sets.flb:
                self._sets.fault(
                    "corrupt", self._at, f"{self._sets.here} does not end where a block may begin"
                )
                raise _Broken
            self._ended()

    _last_sum: int | None = None

    def _ended(self) -> None:
        self._block = self._stream = None
        self._sets.block_ended()

    # ------------------------------------------------------------ bytes

    def _take(self, count: int) -> None:
        del self._held[:count]
        self._at += count

    def _header(self, data: bytes | bytearray) -> Block | None:
        return header_of(bytes(data[:HEADER]), self._at)

    def _whole(self, head: Block) -> Block:
        data = bytes(self._held[: head.first_event])
        return Block(
            head.kind,
            head.at,
            head.attributes,
            head.first_event,
            head.displayable,
            head.control,
            head.unicode,
            data,
        )

    def _called(self, block: Block) -> str:
        return f"block {block.kind}"

    def _lost(self) -> _Broken:
        """Say that neither a block nor a stream begins where one must."""
        if not self._sets.blocks:
            self._sets.fault("not a tape", 0, "it does not begin with the header of a tape")
            return _Broken()
        behind = f"behind {self._sets.here}"
        if not any(self._held[:HEADER]):
            what = f"there are zeros {behind} where a block begins: room that was reserved, or lost"
        else:
            what = f"no header with a right checksum {behind}; nothing after it was read"
        self._sets.fault("corrupt", self._at, what)
        return _Broken()

    def _end(self) -> None:
        """Say what the end of the file cut off."""
        sets, rest = self._sets, len(self._held)
        if self._left:
            assert self._stream is not None
            what = f"{self._left - rest} bytes of stream {self._stream.kind} of {sets.here} are missing"
            sets.fault("truncated", self._size, what)
        elif self._block is not None and any(self._held):
            sets.fault("truncated", self._size, f"it ends within a stream header of {sets.here}")
        elif self._block is not None and sets.blocks and not self._may_end_here():
            sets.fault("truncated", self._size, f"it ends before {sets.here} does")
        elif self._block is None and rest and not sets.blocks:
            sets.fault("not a tape", 0, f"it has {self._size} bytes, less than a header")
        elif self._block is None and rest:
            sets.fault("truncated", self._size, f"it ends within a block header behind {sets.here}")
        elif not self._size:
            sets.fault("not a tape", 0, "it is empty")
        if self._left or self._block is not None:
            sets.block_ended()
        self._take(rest)

    def _may_end_here(self) -> bool:
        """Return whether a tape of version 1.0, without SPAD, may end here: zeros up to a block's end."""
        return self._size % self._sets.flb == 0 and self._stream is None


def walk(pieces: Iterable[bytes | int], on_found: Callable[[Found], None] = lambda found: None) -> Tape:
    """Given the bytes of a file in any pieces, walk through them. Return what was found.

    A number stands for so many bytes that are not at hand: they can be data of a stream, and nothing else.
    """
    walker = Walker(on_found)
    for piece in pieces:
        if isinstance(piece, int):
            walker.skip(piece)
            continue
        # A large piece would be moved for each block in it.
        for start in range(0, len(piece), 1 << 16):
            walker.feed(piece[start : start + (1 << 16)])
    return walker.finish()

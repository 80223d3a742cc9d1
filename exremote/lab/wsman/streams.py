"""The two bounded queues between an engine's thread and the requests of a client.

Both count bytes, so that neither side can fill the memory of the endpoint. They know nothing of what they
carry.
"""

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


class Abandoned(Exception):
    """Nobody will read what is being written: the command was stopped or its shell is gone."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One piece of output that is never cut: a PSRP fragment, or some bytes of a console stream."""

    stream: str
    """stdout or stderr."""
    encoded: bytes
    """The data in base64."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What one Receive gets."""

    chunks: list[Chunk]
    done: bool
    """Nothing follows, and the command has ended."""
    exit_code: int
    too_large: int = 0
    """Size of a first chunk that does not fit the budget at all, in bytes of base64; else 0."""


class OutputQueue:
    """Output of one command (or of the shell itself) that waits for Receive."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes of base64 that may wait before a writer blocks."""
        self._limit = limit
        self._chunks: deque[Chunk] = deque()
        self._size = 0
        self._ready = threading.Condition()
        self._done = False
        self._gone = False
        self._hurry = False
        self.exit_code = 0
        self.starving = 0
        """Readers that wait for a first chunk."""

    def put(self, chunk: Chunk, wait_s: float | None = None) -> bool:
        """Add a chunk; wait while the queue is full, but no longer than `wait_s` seconds.

        Return False if there was no room in time. Raise Abandoned if nobody will take it.
        """
        deadline = None if wait_s is None else time.monotonic() + wait_s
        with self._ready:
            while self._size >= self._limit and not (self._gone or self._hurry or self._done):
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return False
                self._ready.wait(left)
            self._append(chunk)
            return True

    def write(self, stream: str, data: bytes, piece: int) -> int:
        """Add some bytes of a console's stream, at most `piece` to a chunk; wait while the queue is full.

        What waits there is added to, as in a pipe, which keeps no bounds of what was written. Return how many
        bytes were taken. Raise Abandoned if nobody will take them.
        """
        with self._ready:
            while self._size >= self._limit and not (self._gone or self._hurry or self._done):
                self._ready.wait()
            last = self._chunks[-1] if self._chunks else None
            waits = b""
            if last is not None and last.stream == stream and len(last.encoded) // 4 * 3 < piece:
                waits = base64.b64decode(last.encoded)
            taken = data[: piece - len(waits)]
            if waits and last is not None:
                self._chunks.pop()
                self._size -= len(last.encoded)
            self._append(Chunk(stream, binascii.b2a_base64(waits + taken, newline=False)))
            return len(taken)

    def overfill(self, chunk: Chunk) -> None:
        """Add a chunk, full or not. Raise Abandoned if nobody will take it."""
        with self._ready:
            self._append(chunk)

    def _append(self, chunk: Chunk) -> None:
        if self._gone or self._done:
            raise Abandoned
        self._chunks.append(chunk)
        self._size += len(chunk.encoded)
        self._ready.notify_all()

    def hurry(self) -> None:
        """Let writers through from now on, full or not: the rest of one object, a last state."""
        with self._ready:
            self._hurry = True
            self._ready.notify_all()

    def finish(self, exit_code: int = 0) -> None:
        """No more will come; what waits can still be taken."""
        with self._ready:
            if not self._done:
                self._done = True
                self.exit_code = exit_code
            self._ready.notify_all()

    def abandon(self) -> None:
        """Drop all; wake readers and writers."""
        with self._ready:
            self._gone = True
            self._chunks.clear()
            self._size = 0
            self._ready.notify_all()

    @property
    def gone(self) -> bool:
        """Whether the queue was abandoned."""
        return self._gone

    @property
    def waiting(self) -> int:
        """Bytes of base64 that wait to be taken."""
        return self._size

    def take(self, budget: int, overhead: int, timeout_s: float, fill: bool) -> Taken | None:
        """Take what fits into `budget` bytes of XML, each chunk with `overhead` bytes around it.

        Wait up to `timeout_s` seconds for the first chunk or the end. Without `fill` take one chunk only.
        Return None if nothing came in time. Raise Abandoned if the queue is gone.
        """
        deadline = time.monotonic() + timeout_s
        with self._ready:
            while not (self._chunks or self._done or self._gone):
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.starving += 1
                self._ready.wait(left)
                self.starving -= 1
            if self._gone:
                raise Abandoned
            taken: list[Chunk] = []
            used = 0
            while self._chunks:
                size = len(self._chunks[0].encoded) + overhead
                if used + size > budget:
                    if not taken:
                        return Taken([], False, 0, too_large=size)
                    break
                used += size
                chunk = self._chunks.popleft()
                self._size -= len(chunk.encoded)
                taken.append(chunk)
                if not fill:
                    break
            self._ready.notify_all()
            return Taken(taken, self._done and not self._chunks, self.exit_code)


class InputQueue(Generic[T]):
    """What a client sends into one command, in order, until it says that this was all."""

    def __init__(self, limit: int) -> None:
        """`limit`: bytes that may wait before Send blocks."""
        self._limit = limit
        self._items: deque[tuple[T, int]] = deque()
        self._size = 0
        self._ready = threading.Condition()
        self._ended = False
        self._error: Exception | None = None

    def put(self, item: T, size: int, timeout_s: float) -> bool:
        """Add an item of `size` bytes. Return False if there was no room for `timeout_s` seconds.

        Input for a command that reads no more is dropped, as Windows does.
        """
        deadline = time.monotonic() + timeout_s
        with self._ready:
            while self._size >= self._limit and not self._ended:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._ready.wait(left)
            if not self._ended:
                self._items.append((item, size))
                self._size += size
                self._ready.notify_all()
            return True

    def end(self) -> None:
        """Nothing more will come."""
        with self._ready:
            self._ended = True
            self._ready.notify_all()

    def drop(self) -> None:
        """Nobody reads any more."""
        with self._ready:
            self._ended = True
            self._items.clear()
            self._size = 0
            self._ready.notify_all()

    def refuse(self, error: Exception) -> None:
        """Nothing more is taken: whoever reads meets the error."""
        self.drop()
        self._error = error

    def __iter__(self) -> Iterator[T]:
        """Yield items as they come; end when the client's input has ended. Raise what `refuse` was given."""
        while True:
            with self._ready:
                while not (self._items or self._ended):
                    self._ready.wait()
                if not self._items:
                    if self._error is not None:
                        raise self._error
                    return
                item, size = self._items.popleft()
                self._size -= size
                self._ready.notify_all()
            yield item

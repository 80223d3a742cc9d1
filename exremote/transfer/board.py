"""Who moves what: loads in order, a share of them for each lane. It moves nothing itself."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Generic, Protocol, Self, TypeVar

LEAST_SHARE = 2 << 20
"""Bytes that a lane takes over from another one at least: less is not worth another script."""


class Load(Protocol):
    """A file, or part of one, that is still to be moved."""

    @property
    def left(self) -> int:
        """Return about how many bytes are to be moved."""

    def split(self, most: int) -> Self | None:
        """Given how many bytes may go to another lane, cut off as many of the last ones. None: it is one."""


L = TypeVar("L", bound=Load)


class Share(Generic[L]):
    """What one lane has to move. Only under the board's lock is it looked at or changed."""

    def __init__(self) -> None:
        self.spans: deque[L] = deque()

    @property
    def left(self) -> int:
        """Return about how many bytes are to be moved."""
        return sum(span.left for span in self.spans)


class Board(Generic[L]):
    """All that is to be moved in one errand, and the lanes that do it."""

    def __init__(self, spans: Iterable[L]) -> None:
        self.changed = threading.Condition(threading.RLock())
        """the lock of the board; it tells when a lane has no more to do"""
        self._open = deque(spans)
        self._shares: list[Share[L]] = []

    def join(self) -> Share[L]:
        """Return the share of a new lane; nothing is in it yet."""
        with self.changed:
            self._shares.append(Share[L]())
            return self._shares[-1]

    def leave(self, share: Share[L]) -> None:
        """Given the share of a lane that ends, take back what it had not done."""
        with self.changed:
            self._shares.remove(share)
            self._open.extendleft(reversed(share.spans))
            share.spans.clear()
            self.changed.notify_all()

    def add(self, span: L) -> None:
        """Given something more to move, keep it for the next lane that has nothing to do."""
        with self.changed:
            self._open.append(span)
            self.changed.notify_all()

    def take(self, share: Share[L], worth: int = LEAST_SHARE) -> bool:
        """Given the share of a lane, put more into it if it is empty. Return whether there is anything in it.

        What nobody has comes first; then half of what the lane with the most has, if that is worth it.
        """
        with self.changed:
            if not share.spans and self._open:
                share.spans, self._open = self._open, deque()
            if not share.spans:
                largest = max(self._shares, key=lambda one: one.left)
                if largest is not share and largest.left >= 2 * max(worth, LEAST_SHARE):
                    self._split(largest, share)
            return bool(share.spans)

    def wait(self, timeout_s: float) -> bool:
        """Wait until nobody has something, or there is some that nobody has. Return whether all is done."""
        with self.changed:
            if self._open:
                return False
            if any(one.spans for one in self._shares):
                self.changed.wait(timeout_s)
            return not self._open and not any(one.spans for one in self._shares)

    @property
    def left(self) -> int:
        """Return about how many bytes are to be moved."""
        with self.changed:
            return sum(span.left for span in self._open) + sum(one.left for one in self._shares)

    def _split(self, largest: Share[L], share: Share[L]) -> None:
        """Given the fullest share and an empty one, move the last half of it."""
        half, moved = largest.left // 2, 0
        while len(largest.spans) > 1 and moved + largest.spans[-1].left <= half:
            span = largest.spans.pop()
            share.spans.appendleft(span)
            moved += span.left
        if (part := largest.spans[-1].split(half - moved)) is not None:
            share.spans.appendleft(part)

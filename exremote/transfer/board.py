"""Who fetches what: spans of files in order, a share of them for each lane. It fetches nothing itself."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from exremote.pack import FileBegin
from exremote.repository import ObjectWriter
from exremote.transfer.wanted import Wanted

LEAST_SHARE = 2 << 20
"""Bytes that a lane takes over from another one at least: less is not worth another script."""
_CUT = 1 << 20
"""A file is cut at multiples of this."""


@dataclass(slots=True, eq=False)
class Span:
    """A file, or part of one, that is still to come."""

    wanted: Wanted
    place: int = 0
    """where the next byte belongs"""
    stop: int | None = None
    """where it ends; None: with the file"""
    begun: FileBegin | None = None
    """the host's first words about it"""
    writer: ObjectWriter | None = None
    """where it goes"""

    @property
    def left(self) -> int:
        """Return about how many bytes are to come."""
        return max(0, (self.wanted.size if self.stop is None else self.stop) - self.place)


class Share:
    """What one lane has to fetch. Only under the board's lock is it looked at or changed."""

    def __init__(self) -> None:
        self.spans: deque[Span] = deque()

    @property
    def left(self) -> int:
        """Return about how many bytes are to come."""
        return sum(span.left for span in self.spans)


class Board:
    """All that is to be fetched in one errand, and the lanes that do it."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self.changed = threading.Condition(threading.RLock())
        """the lock of the board; it tells when a lane has no more to do"""
        self._open = deque(spans)
        self._shares: list[Share] = []

    def join(self) -> Share:
        """Return the share of a new lane; nothing is in it yet."""
        with self.changed:
            self._shares.append(Share())
            return self._shares[-1]

    def leave(self, share: Share) -> None:
        """Given the share of a lane that ends, take back what it had not done."""
        with self.changed:
            self._shares.remove(share)
            self._open.extendleft(reversed(share.spans))
            share.spans.clear()
            self.changed.notify_all()

    def add(self, span: Span) -> None:
        """Given something more to fetch, keep it for the next lane that has nothing to do."""
        with self.changed:
            self._open.append(span)
            self.changed.notify_all()

    def take(self, share: Share, worth: int = LEAST_SHARE) -> bool:
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
        """Return about how many bytes are to come."""
        with self.changed:
            return sum(span.left for span in self._open) + sum(one.left for one in self._shares)

    def _split(self, largest: Share, share: Share) -> None:
        """Given the fullest share and an empty one, move the last half of it."""
        half, moved = largest.left // 2, 0
        while len(largest.spans) > 1 and moved + largest.spans[-1].left <= half:
            span = largest.spans.pop()
            share.spans.appendleft(span)
            moved += span.left
        last = largest.spans[-1]
        if last.wanted.whole is None or half - moved < _CUT:
            return
        cut = (last.place + last.left - (half - moved)) // _CUT * _CUT
        if cut >= last.place + _CUT:
            share.spans.appendleft(Span(last.wanted, cut, last.stop))
            last.stop = cut

"""How fast a line is, and how fast it may be. It sends nothing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

BIG = 64 * 1024
"""Bytes from which on an exchange tells how fast the line is."""
_LATEST = 8
_LOOK_S = 0.25


class Pace:
    """What the exchanges over one line took. Written by the line's thread, read by any."""

    def __init__(self) -> None:
        self.latency_s = float("inf")
        """the fastest exchange so far: what one costs at least, in seconds"""
        self._big: deque[tuple[int, float]] = deque(maxlen=_LATEST)
        self._last = time.monotonic()

    def note(self, size: int, seconds: float) -> None:
        """Given the bytes of an exchange, both ways, and how long it took, remember it."""
        self.latency_s = min(self.latency_s, seconds)
        self._last = time.monotonic()
        if size >= BIG:
            self._big.append((size, seconds))

    @property
    def idle_s(self) -> float:
        """Return for how many seconds nothing went over the line."""
        return time.monotonic() - self._last

    @property
    def known(self) -> bool:
        """Return whether there were enough large answers to tell."""
        return len(self._big) == _LATEST

    @property
    def answer_s(self) -> float:
        """Return how long a large answer took of late, on average, in seconds."""
        big = list(self._big)
        return sum(seconds for _, seconds in big) / max(1, len(big))

    @property
    def rate(self) -> float:
        """Return the bytes a second that came of late."""
        big = list(self._big)
        return sum(size for size, _ in big) / max(1e-6, sum(seconds for _, seconds in big))


class Throttle:
    """Keeps what all hosts of a run send and receive together below a rate."""

    def __init__(self, rate: float) -> None:
        """Given the most bytes a second, be ready."""
        self.rate = rate
        """bytes a second"""
        self._lock = threading.Lock()
        self._free = 0.0

    def take(self, size: int, going_on: Callable[[], None]) -> None:
        """Given bytes that went over the line, wait until the next may; less if `going_on` raises."""
        with self._lock:
            self._free = max(self._free, time.monotonic()) + size / self.rate
            until = self._free
        with suppress(BaseException):  # whoever stops the run will be met where it can be said
            while (left := until - time.monotonic()) > 0:
                going_on()
                time.sleep(min(left, _LOOK_S))

"""How fast a line is, and how fast it may be. It sends nothing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress

BIG = 64 * 1024
"""Bytes from which on an exchange tells how fast the line is."""
GROWS_KB = 150
"""The message that grows to `MOST_KB` by itself."""
MOST_KB = 500
"""The largest message that a host of today takes."""
LEAST_KB = 48
"""The smallest that is asked for: one PSRP fragment, in base64, and what is around it."""
_LATEST = 8
_ENOUGH = 4
_LOOK_S = 0.25
_HELD_S = 0.02


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
        return len(self._big) >= _ENOUGH

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
    """Keeps what goes over its lines, both ways, together below a rate; over it there may be another one."""

    def __init__(self, rate: float, lines: int = 1, upper: Throttle | None = None) -> None:
        """Given the most bytes a second, how many hosts share them, and what holds this one back itself."""
        self.rate = rate
        """bytes a second"""
        self.upper = upper
        """the one over it, which counts the same bytes"""
        self.holds = False
        """whether it made the last exchange wait: then more lines would bring nothing"""
        self._lines = max(1, lines)
        self._lock = threading.Lock()
        self._free = 0.0

    def envelope_kb(self, usual: int) -> int:
        """Given the largest message that is usual, return the largest one under this rate, in KiB.

        What comes at once is what the line carries in about a second: who shares the line is not shut out.
        """
        if self.upper is not None:
            usual = self.upper.envelope_kb(usual)
        share = int(self.rate / self._lines / 1024)
        # 150 grows to 500 where the host takes it.
        most = MOST_KB if usual == GROWS_KB else usual
        return usual if share >= most else max(LEAST_KB, min(usual - 1, share))

    def take(self, size: int, seconds: float, going_on: Callable[[], None]) -> float:
        """Given an exchange that is over, its bytes and how long it took, wait until the next may begin.

        That is less if `going_on` raises. Return how long it was, in seconds.
        """
        began = time.monotonic()
        until = self._reserve(size, began - seconds)
        self.holds = until - began > _HELD_S
        with suppress(BaseException):  # whoever stops the run will be met where it can be said
            while (left := until - time.monotonic()) > 0:
                going_on()
                time.sleep(min(left, _LOOK_S))
        return time.monotonic() - began

    def _reserve(self, size: int, since: float) -> float:
        """Given bytes that went over the line, and since when, return from when on others may."""
        with self._lock:
            self._free = max(self._free, since) + size / self.rate
            until = self._free
        return until if self.upper is None else max(until, self.upper._reserve(size, since))

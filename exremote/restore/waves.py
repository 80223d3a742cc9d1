"""Which host's turn it is: the canary alone, then wave after wave; after a failure no further one begins.

It holds back, and never cuts short: whoever has begun comes to his end.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from exremote.errors import NotBegun

_POLL_S = 0.2


@dataclass(slots=True)
class Waves:
    """The turns of one run's hosts. Thread-safe.

    Hosts have to be begun in the order of the waves: those of a later one wait in their threads.
    """

    order: Sequence[Sequence[str]]
    """names of hosts, wave by wave"""
    kinds: Mapping[str, Sequence[str]]
    """by host, the connectors that are down while it is worked on"""
    at_once: int | None = None
    """how many hosts with one kind of connector may be down at once; None: as many as run"""
    keep_going: bool = False
    """whether the others go on after a failure"""
    going_on: Callable[[], None] = lambda: None
    """called while one waits; raises after an interrupt"""
    _ended: dict[str, bool] = field(default_factory=dict)
    _down: Counter[str] = field(default_factory=Counter)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    @contextmanager
    def turn(self, host: str) -> Iterator[None]:
        """Given a host, wait for its turn, and let the next ones begin behind the body.

        A body that raises has failed. Raise NotBegun if another host failed before this one's turn.
        """
        earlier = self._earlier(host)
        kinds = self.kinds.get(host, ())
        with self._changed:
            while True:
                if not self.keep_going and (bad := next((h for h, ok in self._ended.items() if not ok), "")):
                    raise NotBegun(
                        f"{host}: not begun, for {bad} did not end well.",
                        "Look at that one first; --keep-going goes on all the same.",
                    )
                room = self.at_once is None or all(self._down[kind] < self.at_once for kind in kinds)
                if room and all(name in self._ended for name in earlier):
                    break
                self._changed.wait(_POLL_S)
                self.going_on()
            self._down.update(kinds)
        try:
            yield
        except BaseException:
            self.ended(host, False)
            raise
        finally:
            with self._changed:
                self._down.subtract(kinds)
                self._ended.setdefault(host, True)
                self._changed.notify_all()

    def ended(self, host: str, well: bool) -> None:
        """Given how a host ended, remember it for those that wait."""
        with self._changed:
            self._ended.setdefault(host, well)
            self._changed.notify_all()

    def _earlier(self, host: str) -> list[str]:
        """Return the hosts of the waves before this one's."""
        earlier: list[str] = []
        for wave in self.order:
            if host in wave:
                break
            earlier += wave
        return earlier


def in_waves(hosts: Sequence[str], canaries: Sequence[str], size: int | None) -> list[list[str]]:
    """Given hosts, those that go first one by one, and the size of a wave, return the waves."""
    waves = [[name] for name in canaries]
    rest = [name for name in hosts if name not in canaries]
    step = size or max(1, len(rest))
    return waves + [rest[n : n + step] for n in range(0, len(rest), step)]

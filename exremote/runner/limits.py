"""What bounds a run as a whole: a rate for all its lines, and a moment after which nothing goes on.

It stops nothing itself: whoever works looks at it between any two answers.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field

from exremote.errors import EXIT_INCOMPLETE
from exremote.inventory import Host
from exremote.runner.outcome import Outcome, State
from exremote.session import Throttle


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a run as a whole. Threads may share one."""

    throttle: Throttle | None = None
    """What all lines of the run share."""
    deadline_s: float = math.inf
    """Seconds from the beginning of the run on."""
    said: str = ""
    """The deadline, as the operator wrote it."""
    _began: float = field(default_factory=time.monotonic, repr=False)

    @property
    def left_s(self) -> float:
        """Return the seconds until the deadline; none are left behind it."""
        return max(0.0, self._began + self.deadline_s - time.monotonic())

    @property
    def over(self) -> bool:
        """Return whether the deadline has passed."""
        return self.left_s <= 0

    def throttle_of(self, host: Host) -> Throttle | None:
        """Given a host, return what its lines share: with the run's, and with a rate of its own over it."""
        return self.throttle if host.limit_rate is None else Throttle(host.limit_rate, upper=self.throttle)

    def too_late(self, host: Host) -> Outcome:
        """Given a host whose turn did not come before the deadline, return its outcome."""
        message = f"not begun: the deadline of the run ({self.said}) had passed"
        return Outcome(host.name, State.SKIPPED, EXIT_INCOMPLETE, message)

    def cut_short(self, host: Host) -> Outcome:
        """Given a host that was being worked on at the deadline, return its outcome."""
        message = (
            f"stopped at the deadline of the run ({self.said}); what had come is kept for `exremote resume`"
        )
        return Outcome(host.name, State.INCOMPLETE, EXIT_INCOMPLETE, message)


UNLIMITED = Limits()
"""No limits."""

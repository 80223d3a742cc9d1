"""Many hosts at once: what fails on one never stops another."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from exremote.errors import ExremoteError
from exremote.inventory import Host
from exremote.runner.limits import UNLIMITED, Limits
from exremote.runner.outcome import Outcome, State, failed, interrupted

_LOOK_S = 1.0
"""How often the clock is looked at; on Windows a Ctrl-C is heard no sooner either."""


class _Turns:
    """Whose turn it is: in order, but hosts behind one gateway wait for each other alone."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.waiting = list(hosts)
        self._at_work: Counter[str] = Counter()

    def next(self) -> Host | None:
        """Return the next host that may be worked on now, if any."""
        for number, host in enumerate(self.waiting):
            gateway = host.gateway
            if gateway is None or self._at_work[gateway.name] < gateway.parallel:
                if gateway is not None:
                    self._at_work[gateway.name] += 1
                return self.waiting.pop(number)
        return None

    def done(self, host: Host) -> None:
        """Given a host that was worked on, make room for the next one behind its gateway."""
        if host.gateway is not None:
            self._at_work[host.gateway.name] -= 1


def each_host(
    hosts: Sequence[Host],
    errand: Callable[[Host], Outcome],
    *,
    parallel: int,
    stop: threading.Event,
    limits: Limits = UNLIMITED,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    on_stopping: Callable[[int], None] = lambda count: None,
    on_deadline: Callable[[Sequence[Host], Sequence[Host]], None] = lambda running, waiting: None,
) -> list[Outcome]:
    """Given hosts and what to do with one, do it with `parallel` hosts at a time, fewer behind a gateway.

    Return an outcome for each host, in the hosts' order; an error about one host stops no other.
    When the operator interrupts, hosts that have not begun are skipped, the others are told to
    stop through `stop` and are waited for, so that no shell is left behind; `on_stopping` is told of
    how many. A second interrupt must not come through meanwhile (`interrupts`). At the deadline hosts
    that have not begun are skipped, too; `on_deadline` is told who runs then, and who waited.
    """
    outcomes: dict[str, Outcome] = {}
    turns = _Turns(hosts)
    running: dict[Future[Outcome], Host] = {}
    pool = ThreadPoolExecutor(max_workers=max(1, parallel), thread_name_prefix="host")

    def ended(outcome: Outcome) -> None:
        outcomes[outcome.host] = outcome
        on_outcome(outcome)

    late = False
    try:
        while turns.waiting or running:
            if limits.over and not late:
                late = True
                left, turns.waiting = turns.waiting, []
                on_deadline(list(running.values()), left)
                for host in left:
                    ended(limits.too_late(host))
            while len(running) < max(1, parallel) and (next_ := turns.next()) is not None:
                running[pool.submit(_guarded, errand, next_, stop)] = next_
            done, _ = wait(running, min(_LOOK_S, limits.left_s or _LOOK_S), FIRST_COMPLETED)
            for future in done:
                turns.done(running[future])
                ended(future.result())
                del running[future]
    except KeyboardInterrupt:
        stop.set()
        on_stopping(sum(not future.done() for future in running))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    for future, host in running.items():
        if host.name not in outcomes:
            ended(interrupted(host) if future.cancelled() else future.result())
    for host in hosts:
        if host.name not in outcomes:
            ended(interrupted(host))
    return [outcomes[host.name] for host in hosts]


def _guarded(errand: Callable[[Host], Outcome], host: Host, stop: threading.Event) -> Outcome:
    """Given one host, do the errand; every error that exremote knows becomes an outcome."""
    if stop.is_set():
        return interrupted(host)
    try:
        return errand(host)
    except ExremoteError as error:
        return failed(host, error)
    except Exception as error:
        # A defect of ours with one host must not take the night's other backups with it.
        logging.getLogger(__name__).exception("a defect of exremote, met on %s", host.name)
        message = f"a defect of exremote: {type(error).__name__}; the traceback is on standard error"
        return Outcome(host.name, State.FAILED, ExremoteError.exit_code, message)

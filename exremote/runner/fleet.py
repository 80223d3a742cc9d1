"""Many hosts at once: what fails on one never stops another."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed

from exremote.errors import ExremoteError
from exremote.inventory import Host
from exremote.runner.outcome import Outcome, State, failed, interrupted


def each_host(
    hosts: Sequence[Host],
    errand: Callable[[Host], Outcome],
    *,
    parallel: int,
    stop: threading.Event,
    on_outcome: Callable[[Outcome], None] = lambda outcome: None,
    on_stopping: Callable[[int], None] = lambda count: None,
    executor: Executor | None = None,
) -> list[Outcome]:
    """Given hosts and what to do with one, do it with `parallel` hosts at a time.

    Return an outcome for each host, in the hosts' order; an error about one host stops no other.
    When the operator interrupts, hosts that have not begun are skipped, the others are told to
    stop through `stop` and are waited for, so that no shell is left behind; `on_stopping` is told of
    how many. A second interrupt must not come through meanwhile (`interrupts`).
    """
    outcomes: dict[str, Outcome] = {}
    pool = executor or ThreadPoolExecutor(max_workers=max(1, parallel), thread_name_prefix="host")
    futures: dict[Future[Outcome], Host] = {}
    try:
        futures = {pool.submit(_guarded, errand, host, stop): host for host in hosts}
        for future in as_completed(futures):
            outcome = future.result()
            outcomes[outcome.host] = outcome
            on_outcome(outcome)
    except KeyboardInterrupt:
        stop.set()
        for future in futures:
            future.cancel()
        on_stopping(sum(not future.done() for future in futures))
    finally:
        if executor is None:
            pool.shutdown(wait=True, cancel_futures=True)
    for future, host in futures.items():
        if host.name not in outcomes:
            outcome = interrupted(host) if future.cancelled() else future.result()
            outcomes[host.name] = outcome
            on_outcome(outcome)
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

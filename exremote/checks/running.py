"""Judges what goes on at a host: processes, and what began and has to end. It never asks a host.

What could not be looked at is unknown, never ok.
"""

from __future__ import annotations

from datetime import timedelta

from exremote.checks.expectation import event_ids
from exremote.checks.finding import Finding, Verdict, clock, finding, names, why
from exremote.connector import Check
from exremote.facts import EventCount, HostFacts
from exremote.wording import count_text

MAY_TAKE = timedelta(hours=4)
"""A directory synchronization that began so long ago may still be under way: exremote's bound."""


def ended(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check with two events, return whether each that began (the first) has ended (the second)."""
    if "events" in facts.unavailable or not facts.event_hours:
        return finding(facts, check, Verdict.UNKNOWN, why(facts, "events"), connector)
    begins, ends = (_counted(facts, one) for one in event_ids(check))
    if begins is None:
        words = f"none began in the last {facts.event_hours} hours"
        return finding(facts, check, Verdict.OK, words, connector)
    words = f"begun {count_text(begins.count, 'time')}, last {_time(begins)}; "
    words += f"ended {count_text(ends.count, 'time')}, last {_time(ends)}" if ends else "never ended"
    open_ = begins.count - (ends.count if ends else 0)
    if (ends is None or ends.last < begins.last) and clock(facts) - begins.last < MAY_TAKE:
        words += ": the last may still be under way"
        open_ -= 1
    # One that began before the time that is looked at has only its end in it, and hides one that never ended.
    stuck = open_ > 0 or (ends is not None and ends.last < begins.last <= clock(facts) - MAY_TAKE)
    return finding(facts, check, Verdict(check.severity) if stuck else Verdict.OK, words, connector)


def _counted(facts: HostFacts, wanted: tuple[str, int]) -> EventCount | None:
    return next((e for e in facts.events if (e.source.lower(), e.event_id) == wanted), None)


def _time(event: EventCount) -> str:
    return f"{event.last:%Y-%m-%d %H:%M} UTC"


def with_its_processes(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check with a service, return whether all processes that belong to it run while it does."""
    runs = _runs(facts, check, connector)
    if isinstance(runs, Finding):
        return runs
    missing = [name for name in check.processes if name not in runs]
    words = f"{check.services[0]} runs, and so do {names(runs)}" if runs else f"{check.services[0]} runs"
    words += f"; not running: {names(missing)}" if missing else ""
    return finding(facts, check, Verdict(check.severity) if missing else Verdict.OK, words, connector)


def alone(facts: HostFacts, check: Check, connector: str) -> Finding:
    """Given a check with a service, return whether no process that disturbs it runs while it does."""
    runs = _runs(facts, check, connector)
    if isinstance(runs, Finding):
        return runs
    words = f"{check.services[0]} runs, and {f'so does {names(runs)}' if runs else 'none of them does'}"
    return finding(facts, check, Verdict(check.severity) if runs else Verdict.OK, words, connector)


def _runs(facts: HostFacts, check: Check, connector: str) -> list[str] | Finding:
    """Given a check with a service and processes, return those that run; the finding if the service does
    not, or if nobody knows.
    """
    name = check.services[0]
    service, host = facts.service(name), facts.host_fact
    if service is None or service.state == "Unknown" or (service.exists and not service.state):
        words = why(facts, "services") if service is None else f"the state of {name} is not known"
        return finding(facts, check, Verdict.UNKNOWN, words, connector)
    if not service.exists or service.state != "Running":
        return finding(facts, check, Verdict.OK, f"{name} does not run", connector)
    if host is None or host.processes is None:
        words = (
            why(facts, "host")
            if host is None
            else "which programs run was not asked (behind a gateway only WMI tells)"
        )
        return finding(facts, check, Verdict.UNKNOWN, words, connector)
    found = {one.lower() for one in host.processes}
    return [one for one in check.processes if one.lower() in found]

"""Services that a run stopped and never put back, for it was killed: found in journals, and put back.

It never starts what a run did not stop, and stops nothing but what that run had started.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Literal, Protocol

from exremote.errors import ExremoteError, HostError, ScriptFailed
from exremote.facts import ServiceChange, ServiceState
from exremote.journal import Event, Journal, RunRecord, ended_without, journals, read_run, run_moment
from exremote.repository import read_lock

FOUND = "services-found"
BACK = "services-back"
UNTOLD = "services-untold"
"""Somebody was told that nobody can tell what a run, whose journal is damaged, left standing."""
VERBS = ("restore", "undo", "backup", "drill", "recover", "resume")
"""Those that may stop services."""
LOOK_BACK = timedelta(days=30)
"""How far back killed runs are looked for."""
OURS = timedelta(hours=1)
"""For how long a service that a killed run started is taken for its doing alone: nobody wants a connector
stopped, by a backup at night, that he found running and was glad of."""
TRY_AGAIN = timedelta(days=1)
"""For how long a service that did not start when it was put back is tried again."""
_SETTLED = ("ExRemote.ServiceDisabled", "ExRemote.ServiceMissing")
"""Whoever made it so has decided that it is not to run."""
START_S = 120
"""How long one start may take, in seconds, where nobody says."""


class Heal(Enum):
    """What a run does about services that earlier runs have left down."""

    NO = "no"
    """nothing"""
    SHOW = "show"
    """it says what the deed would put back"""
    YES = "yes"
    """it puts back what killed runs left"""
    AGAIN = "again"
    """that, and what did not start then, which counts against it: nobody else looks at night"""


class ServiceSetter(Protocol):
    """What putting back needs of a session."""

    def set_service(
        self,
        name: str,
        state: Literal["Running", "Stopped"] | None,
        deadline_s: float,
        start_mode: Literal["Automatic", "Manual", "Disabled"] | None = None,
    ) -> ServiceChange:
        """Bring one service to a state and a start mode. Return what became of it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How services were found on a host by a run that did not put them back."""

    run: str
    """the run"""
    services: Mapping[str, tuple[str, str]]
    """state and start mode by short name, in the order of start"""
    started: frozenset[str] = frozenset()
    """those that did not run and that it started, or may have, in lower case"""
    old: bool = False
    """it was killed so long ago that somebody may have seen to them since"""
    again_until: datetime | None = None
    """it was tried and they did not start: till when it is tried again; None: nobody has tried"""


@dataclass(frozen=True, slots=True)
class LeftDown:
    """What runs have not put back."""

    standings: Mapping[str, Sequence[Standing]] = field(default_factory=dict)
    """by host, the newest first"""
    untold: Sequence[RunRecord] = ()
    """runs whose journals are damaged"""
    said: Collection[tuple[str, str]] = ()
    """such a run, and a host of which somebody was told"""

    def standings_of(self, host: str, heal: Heal) -> list[Standing]:
        """Given a host and what is done about it, return what is put back, the newest first."""
        left = self.standings.get(host, ()) if heal is not Heal.NO else ()
        return [standing for standing in left if heal is Heal.AGAIN or standing.again_until is None]

    def untold_of(self, host: str) -> list[str]:
        """Given a host, return the runs of which nobody can tell what they left standing there."""
        return [
            record.run_id
            for record in self.untold
            if (record.started is None or host in record.hosts or host in record.command)
            and (record.run_id, host) not in self.said
        ]


def left_down(folders: Iterable[Path], now: datetime) -> LeftDown:
    """Given folders of journals, return what killed runs have not put back, and what did not start then.

    A run whose process is alive, here or for all we know on another machine, still will.
    """
    tries: dict[tuple[str, str], list[Event]] = {}
    settled: dict[
        str, list[tuple[datetime, set[str]]]
    ] = {}  # by host: when a plan brought which services to run
    standings: list[tuple[str, Standing]] = []
    untold: list[RunRecord] = []
    said: set[tuple[str, str]] = set()
    for path in journals(*folders):
        if (named := run_moment(path.stem)) is not None and now - named > LOOK_BACK:
            break
        if ended_without(path, FOUND, BACK, UNTOLD):
            continue
        events: list[Event] = []
        record = read_run(path, events.append)
        if record.started is not None and record.verb not in VERBS:
            continue
        found: dict[str, Mapping[str, tuple[str, str]]] = {}
        started: dict[str, set[str]] = {}
        last = events[-1].at if events else now
        for event in events:
            host, of = str(event.fields.get("host", "")), str(event.fields.get("of", ""))
            if event.kind == FOUND:
                found[host] = services_in(event.fields.get("services"))
            elif event.kind == BACK:
                tries.setdefault((of, host), []).append(event)
                if of == record.run_id and "unstarted" in event.fields:  # not where it was put back as found
                    brought = started.get(host, set()) - {name.lower() for name in _not_brought(event)}
                    settled.setdefault(host, []).append((event.at, brought))
            elif event.kind == UNTOLD:
                said.add((of, host))
            elif event.kind == "step-started" and (name := _starts(event.fields.get("step"))):
                started.setdefault(host, set()).add(name)
        lock = read_lock(path.with_suffix(".lock"))
        if record.ended is None and lock is not None and lock.owner is not None and not lock.dead:
            continue
        untold += [] if record.intact else [record]
        for host, services in found.items():
            ran = {n.lower() for n, (state, _) in services.items() if state == "Running"}
            own = frozenset(started.get(host, set()) - ran)
            standings.append((host, Standing(record.run_id, services, own, now - last > OURS)))
    left: dict[str, list[Standing]] = {}
    for host, standing in standings:
        since = settled.get(host, [])
        if (still := _still(standing, tries.get((standing.run, host), []), since, now)) is not None:
            left.setdefault(host, []).append(still)
    return LeftDown(left, untold, said)


def _failed(event: Event) -> set[str]:
    """Given that services were put back, return the names of those that were not."""
    failed = event.fields.get("failed")
    return set(map(str, failed)) if isinstance(failed, Mapping) else set()


def _not_brought(event: Event) -> set[str]:
    """Given that a plan was through with the services, return the names of those that it could not start."""
    unstarted = event.fields.get("unstarted")
    return _failed(event) | (set(map(str, unstarted)) if isinstance(unstarted, list) else set())


def _still(
    standing: Standing, tries: Sequence[Event], settled: Sequence[tuple[datetime, set[str]]], now: datetime
) -> Standing | None:
    """Given what a run left, each time that it was put back, and since when which services run by a plan,
    return what of it still stands, if any.
    """
    if not tries:
        return standing
    last = max(tries, key=lambda event: event.at)
    names = _failed(last)
    over = {name for at, brought in settled if at > last.at for name in brought}
    until = min(event.at for event in tries) + TRY_AGAIN
    services = {n: how for n, how in standing.services.items() if n in names and n.lower() not in over}
    return replace(standing, services=services, again_until=until) if services and now < until else None


def would_put_back(standings: Sequence[Standing]) -> list[str]:
    """Given what runs left, return a sentence about each: what is put back before anything else is done."""
    return [
        f"{', '.join(names)}: put back first as {standing.run} had found it"
        for standing in reversed(standings)
        if (names := [name for name, _, _ in _to_set(standing)])
    ]


def as_put_back(services: Iterable[ServiceState], standings: Sequence[Standing]) -> tuple[ServiceState, ...]:
    """Given services as they are, and what runs left, return them as they are once that is put back."""
    found = {service.name.lower(): service for service in services}
    for standing in reversed(standings):
        for name, state, mode in _to_set(standing):
            if (service := found.get(name.lower())) is not None and service.exists:
                known = start_mode(mode) or service.start_mode
                found[name.lower()] = replace(service, state=state, start_mode=known)
    return tuple(found.values())


def _to_set(standing: Standing) -> list[tuple[str, str, str]]:
    """Given what a run left, return name, state and start mode of each service that is brought to them."""
    return [
        (name, state, mode)
        for name, (state, mode) in standing.services.items()
        if state == "Running" or (name.lower() in standing.started and not standing.old)
    ]


def put_back(
    session: ServiceSetter, host: str, standings: Sequence[Standing], journal: Journal
) -> tuple[list[str], list[str]]:
    """Given an open session and what runs left, start what ran, and journal it.

    Return sentences about what was done, and about what could not be. Raise HostError if the host is lost.
    """
    said: list[str] = []
    unpaid: list[str] = []
    for standing in reversed(standings):
        how = _start_again if standing.again_until is not None else _as_found
        failed = how(session, standing, said)
        journal.event(BACK, host=host, of=standing.run, failed=failed)
        unpaid += [
            f"{name} could not be put back as {standing.run} had found it: {reason}"
            for name, reason in failed.items()
        ]
    return said, unpaid


def _as_found(session: ServiceSetter, standing: Standing, said: list[str]) -> dict[str, str]:
    """Given what a killed run left, bring it back as it was. Return why, by name, for each that fails."""
    alone = standing.started if standing.old else frozenset()
    services = {n: how for n, how in standing.services.items() if n.lower() not in alone}
    failed = restart(session, services, started=standing.started)
    if well := [name for name, _, _ in _to_set(standing) if name not in failed]:
        said.append(f"{', '.join(well)}: put back as the killed run {standing.run} had found it")
    said += [
        f"{name}: left as it is now; the killed run {standing.run} had found it {state} ({mode}), and "
        "had started it"
        for name, (state, mode) in standing.services.items()
        if name.lower() in alone
    ]
    return failed


def _start_again(session: ServiceSetter, standing: Standing, said: list[str]) -> dict[str, str]:
    """Given what did not start when it was put back, try again what ran; somebody may have settled it since.

    Return why by name for each that does not start.
    """
    failed: dict[str, str] = {}
    for name, (state, mode) in standing.services.items():
        wanted: Literal["Running"] | None = "Running" if state == "Running" else None
        try:
            # Its start mode is whatever somebody has made of it since.
            change = session.set_service(name, wanted, START_S, None if wanted else start_mode(mode))
            if change.changed:  # else somebody has started it
                said.append(f"{name}: put back as {standing.run} had found it; it could not be before")
        except HostError as error:
            if error.transient:
                raise
            if isinstance(error, ScriptFailed) and error.error_id in _SETTLED:
                said.append(
                    f"{name}: left as it is, though it ran when {standing.run} stopped it: {error.text}"
                )
                continue
            failed[name] = error.text
    return failed


def restart(
    session: ServiceSetter,
    services: Mapping[str, tuple[str, str]],
    deadline_s: float = START_S,
    started: Collection[str] = (),
) -> dict[str, str]:
    """Given services as they were found, in the order of start, bring each that ran to run again, and stop
    each that did not and was `started` since (in lower case); each in its start mode.

    `deadline_s`: how long one start or stop may take, in seconds. Return why, by name, for each that does
    not. Raise HostError if the host is lost.
    """
    failed: dict[str, str] = {}
    stopped = [name for name, (state, _) in services.items() if state != "Running"]
    for name in (*reversed(stopped), *(name for name in services if name not in stopped)):
        wanted = start_mode(services[name][1])
        try:
            if name not in stopped and wanted == "Disabled":
                # It ran though it was not to start any more: as that it is not to be had again at once.
                session.set_service(name, "Running", deadline_s, "Manual")
                session.set_service(name, None, deadline_s, wanted)
            elif name not in stopped:
                session.set_service(name, "Running", deadline_s, wanted)
            elif name.lower() in started:
                session.set_service(name, "Stopped", deadline_s, wanted)
            elif wanted is not None:
                session.set_service(name, None, deadline_s, wanted)
        except HostError as error:
            if error.transient:
                raise
            failed[name] = error.text
    return failed


def tell_left(error: BaseException, services: Mapping[str, tuple[str, str]]) -> None:
    """Given why a deed ended, and that its host is lost, have it say which services may stand there."""
    names = ", ".join(name for name, (state, _) in services.items() if state == "Running")
    if names and isinstance(error, ExremoteError):
        error.leave(
            f"Until then these services may still be stopped there: {names}; the next run that reaches the "
            "host starts them."
        )


def _starts(step: object) -> str:
    """Given a step as an event has it, return the service that it starts, in lower case; empty if none."""
    if not isinstance(step, Mapping) or (step.get("kind"), step.get("will")) != ("start-service", "Running"):
        return ""
    return str(step.get("service", "")).lower()


def start_mode(mode: str) -> Literal["Automatic", "Manual", "Disabled"] | None:
    """Given a start mode in words, return it if it can be set, else None."""
    match mode:
        case "Automatic" | "Manual" | "Disabled":
            return mode
    return None


def services_in(said: object) -> dict[str, tuple[str, str]]:
    """Given what an event says, return the services; nothing of what it does not say rightly."""
    if not isinstance(said, Mapping):
        return {}
    return {
        str(name): (str(pair[0]), str(pair[1]))
        for name, pair in said.items()
        if isinstance(pair, list) and len(pair) == 2
    }

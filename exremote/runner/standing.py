"""Services that a run stopped and never put back, for it was killed: found in journals, and put back.

It never starts what a run did not stop, and stops nothing but what that run had started.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal, Protocol

from exremote.errors import ExremoteError, HostError
from exremote.journal import Journal, journals, read_run
from exremote.repository import read_lock

FOUND = "services-found"
BACK = "services-back"
LOOK_BACK = timedelta(days=30)
"""How far back killed runs are looked for."""
OURS = timedelta(hours=1)
"""For how long a service that a killed run started is taken for its doing alone: nobody wants a connector
stopped, by a backup at night, that he found running and was glad of."""
START_S = 120
"""How long one start may take, in seconds, where nobody says."""


class ServiceSetter(Protocol):
    """What putting back needs of a session."""

    def set_service(
        self,
        name: str,
        state: Literal["Running", "Stopped"] | None,
        deadline_s: float,
        start_mode: Literal["Automatic", "Manual", "Disabled"] | None = None,
    ) -> object:
        """Bring one service to a state and a start mode."""


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


def left_down(folders: Iterable[Path], now: datetime) -> dict[str, list[Standing]]:
    """Given folders of journals, return by host what killed runs have not put back, the newest first.

    A run whose process is alive, here or for all we know on another machine, still will.
    """
    back: set[tuple[str, str]] = set()
    left: dict[str, list[Standing]] = {}
    for folder in folders:
        for record in map(read_run, journals(folder)):
            if record.started is None:
                continue
            if now - record.started > LOOK_BACK:
                break
            if record.verb not in ("restore", "undo", "backup", "drill", "recover", "resume"):
                continue
            found: dict[str, Standing] = {}
            started: dict[str, set[str]] = {}
            last = record.started
            with suppress(OSError, ValueError):  # gone or changed since: no journal stops a run
                for event in record.events:
                    host, last = str(event.fields.get("host", "")), event.at
                    if event.kind == FOUND:
                        found[host] = Standing(record.run_id, services_in(event.fields.get("services")))
                    elif event.kind == BACK:
                        back.add((str(event.fields.get("of", "")), host))
                    elif event.kind == "step-started" and (name := _starts(event.fields.get("step"))):
                        started.setdefault(host, set()).add(name)
            lock = read_lock(folder / f"{record.path.stem}.lock")
            if record.ended is None and lock is not None and lock.owner is not None and not lock.dead:
                continue
            for host, standing in found.items():
                if (standing.run, host) not in back:
                    ran = {n.lower() for n, (state, _) in standing.services.items() if state == "Running"}
                    own = frozenset(started.get(host, set()) - ran)
                    left.setdefault(host, []).append(replace(standing, started=own, old=now - last > OURS))
    return left


def put_back(session: ServiceSetter, host: str, standings: Sequence[Standing], journal: Journal) -> list[str]:
    """Given an open session and what killed runs left, start what ran, and journal it. Return sentences.

    Raise HostError if the host is lost; a service that does not start is said and journaled.
    """
    said = []
    for standing in reversed(standings):
        alone = standing.started if standing.old else frozenset()
        services = {n: how for n, how in standing.services.items() if n.lower() not in alone}
        failed = restart(session, services, started=standing.started)
        for name, reason in failed.items():
            said.append(
                f"{name} could not be put back as the killed run {standing.run} had found it: {reason}"
            )
        touched = [n for n, (s, _) in services.items() if s == "Running" or n.lower() in standing.started]
        if touched and not failed:
            said.append(f"{', '.join(touched)}: put back as the killed run {standing.run} had found it")
        said += [
            f"{name}: left as it is now; the killed run {standing.run} had found it {state} ({mode}), and "
            "had started it"
            for name, (state, mode) in standing.services.items()
            if name.lower() in alone
        ]
        journal.event(BACK, host=host, of=standing.run, failed=failed)
    return said


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
            if name not in stopped:
                session.set_service(name, "Running", deadline_s, wanted if wanted != "Disabled" else None)
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
            f"Until then these services may stand still there: {names}; the next run that reaches the host "
            "starts them."
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

"""Services that a run stopped and never put back, for it was killed: found in journals, and put back.

It never starts what a run did not stop, and never stops anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
            with suppress(OSError, ValueError):  # gone or changed since: no journal stops a run
                for event in record.events:
                    host = str(event.fields.get("host", ""))
                    if event.kind == FOUND:
                        found[host] = Standing(record.run_id, services_in(event.fields.get("services")))
                    elif event.kind == BACK:
                        back.add((str(event.fields.get("of", "")), host))
            lock = read_lock(folder / f"{record.path.stem}.lock")
            if record.ended is None and lock is not None and lock.owner is not None and not lock.dead:
                continue
            for host, standing in found.items():
                if (standing.run, host) not in back:
                    left.setdefault(host, []).append(standing)
    return left


def put_back(session: ServiceSetter, host: str, standings: Sequence[Standing], journal: Journal) -> list[str]:
    """Given an open session and what killed runs left, start what ran, and journal it. Return sentences.

    Raise HostError if the host is lost; a service that does not start is said and journaled.
    """
    said = []
    for standing in reversed(standings):
        failed = restart(session, standing.services)
        for name, reason in failed.items():
            said.append(f"{name}, which the killed run {standing.run} had stopped, does not start: {reason}")
        started = [name for name, (state, _) in standing.services.items() if state == "Running"]
        if started and not failed:
            said.append(f"{', '.join(started)}: put back as the killed run {standing.run} had found it")
        journal.event(BACK, host=host, of=standing.run, failed=failed)
    return said


def restart(
    session: ServiceSetter, services: Mapping[str, tuple[str, str]], deadline_s: float = START_S
) -> dict[str, str]:
    """Given services as they were found, bring each that ran to run again, in its start mode.

    `deadline_s`: how long one start may take, in seconds. Return why, by name, for each that does not. Raise
    HostError if the host is lost.
    """
    failed: dict[str, str] = {}
    for name, (state, mode) in services.items():
        wanted = start_mode(mode)
        try:
            if state == "Running":
                session.set_service(name, "Running", deadline_s, wanted if wanted != "Disabled" else None)
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
        error.remedy = (
            f"{error.remedy} Until then these services may stand still there: {names}; the next run that "
            "reaches the host starts them."
        ).strip()


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

"""Which services a plan stops, and how each is to be in the end. Pure: it asks nobody."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from exremote.changes import ChangePlan, StartService, StopService
from exremote.connector import Connector, Service
from exremote.facts import HostFacts
from exremote.restore.aim import Aim, ServiceAim

_MODES = ("Automatic", "Manual", "Disabled")
"""Start modes that a restore brings back."""


def wanted_services(
    aim: Aim, connectors: Iterable[Connector], facts: HostFacts, exact: bool
) -> dict[str, ServiceAim]:
    """Return how each service is to be: running if the snapshot has it so or it runs now, in the snapshot's
    start mode; of one that the snapshot does not know, as it is found. `exact`: as is said, running or not.
    """
    wanted: dict[str, ServiceAim] = {}
    for service in (s for c in connectors for s in c.services):
        name, found = service.name.lower(), facts.service(service.name)
        if found is None or not found.exists:
            continue
        said = next((state for own, state in aim.services.items() if own.lower() == name), None)
        runs = found.state != "Stopped"
        if said is not None:
            runs = said.state != "Stopped" if exact else runs or said.state == "Running"
        wanted[name] = ServiceAim("Running" if runs else "Stopped", said.start_mode if said else "")
    return wanted


def kinds_down(aim: Aim, connectors: Mapping[str, Connector], plan: ChangePlan | None) -> list[str]:
    """Given what is wanted, all connectors, and the plan, return the connectors that are down meanwhile.

    These are those of the snapshots, and each other one of which a service stops that is its own.
    """
    users: dict[str, list[str]] = {}
    for name, connector in connectors.items():
        for service in connector.services:
            users.setdefault(service.name.lower(), []).append(name)
    stops = plan.stops if plan is not None else ()
    own = (names[0] for stop in stops if len(names := users.get(stop.service.lower(), [])) == 1)
    return list(dict.fromkeys((*aim.connectors, *own)))


def sooner(service: Service, most_s: int) -> Service:
    """Given a service, return it with deadlines of so many seconds at most."""
    deadlines = {n: min(getattr(service, n), most_s) for n in ("stop_deadline_s", "start_deadline_s")}
    return service.model_copy(update=deadlines)


def used_services(users: Sequence[Connector], order: Sequence[Service], facts: HostFacts) -> dict[str, str]:
    """Return the services that have to stop, and why: those of the users, and all that depend on them."""
    used = {service.name.lower(): "" for connector in users for service in connector.services}
    for service in order:  # what is needed comes before what needs it
        state = facts.service(service.name)
        needs = [n for n in (state.depends_on if state is not None else ()) if n.lower() in used]
        if needs:
            used.setdefault(service.name.lower(), f"it needs {', '.join(needs)}")
    return used


def plan_services(
    order: Sequence[Service],
    used: Mapping[str, str],
    users: Sequence[Connector],
    wanted: Mapping[str, ServiceAim],
    facts: HostFacts,
    changed: set[str],
) -> tuple[list[StopService], list[StartService]]:
    """Given the services in the order of start, return what is stopped, in reverse, and what is started."""
    stops: list[StopService] = []
    starts: list[StartService] = []
    for service in order:
        state, name = facts.service(service.name), service.name.lower()
        aim = wanted.get(name)
        if state is None or not state.exists or aim is None:
            continue
        stopped = state.state != "Stopped" and (name in used or aim.state == "Stopped")
        if stopped:
            why = used.get(name) or _why(name, users, changed)
            stops.insert(0, StopService(service.name, service.stop_deadline_s, why))
        running = aim.state == "Running"
        mode = aim.start_mode if aim.start_mode in _MODES and aim.start_mode != state.start_mode else ""
        if stopped or mode or (running and state.state != "Running"):
            will: Literal["Running", "Stopped"] = "Running" if running else "Stopped"
            starts.append(
                StartService(
                    service.name, state.state, state.start_mode, will, mode, service.start_deadline_s
                )
            )
    return stops, starts


def _why(name: str, users: Sequence[Connector], changed: set[str]) -> str:
    """Return which changed items a service works on."""
    items = {
        item.id
        for connector in users
        if name in {service.name.lower() for service in connector.services}
        for item in connector.items()
    }
    return ", ".join(sorted(items & changed))

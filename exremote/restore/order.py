"""In which order services start: as the connector files want it and as the host says they depend. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from exremote.connector import Connector, Service
from exremote.errors import PlanRefused
from exremote.facts import HostFacts


def services_of(connectors: Iterable[Connector]) -> dict[str, Service]:
    """Given connectors, return their services by name in lower case; of one that several share, with the
    longest deadlines.
    """
    found: dict[str, Service] = {}
    for service in (service for connector in connectors for service in connector.services):
        other = found.get(service.name.lower(), service)
        found[service.name.lower()] = service.model_copy(
            update={
                name: max(getattr(service, name), getattr(other, name))
                for name in ("stop_deadline_s", "start_deadline_s", "grace_s")
            }
        )
    return found


def start_order(connectors: Sequence[Connector], facts: HostFacts) -> list[Service]:
    """Given connectors and what the host says of their services, return the services in the order of start.

    Raise PlanRefused if what the files want and what the host says contradict each other.
    """
    services = services_of(connectors)
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name in services:
        sorter.add(name)
        state = facts.service(name)
        for needed in state.depends_on if state is not None else ():
            if needed.lower() in services:
                sorter.add(name, needed.lower())
    for connector in connectors:
        for first, then in pairwise(connector.services):
            sorter.add(then.name.lower(), first.name.lower())
    try:
        return [services[name] for name in sorter.static_order()]
    except CycleError as error:
        names = " -> ".join(services[name].name for name in error.args[1])
        raise PlanRefused(
            f"{facts.host}: the services depend on each other against the connector files' order: {names}.",
            "Look at their dependencies on the host: they are not those that Exchange's setup makes.",
        ) from None

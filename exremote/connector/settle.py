"""A connector as one host has it: services that were only described become real ones. It asks nobody."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

from exremote.connector.model import PLACE, Connector, FoundService, RegistryKey, Service
from exremote.connector.resolve import expand

SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
LONGEST = 60
"""How much of a service's name goes into the name of a document."""


class _State(Protocol):
    """What a host says of a service."""

    @property
    def name(self) -> str: ...
    @property
    def display_name(self) -> str: ...
    @property
    def exists(self) -> bool: ...
    @property
    def image_path(self) -> str: ...


def settle(
    connector: Connector,
    services: Iterable[_State],
    roots: Mapping[str, str | None],
    parts: Collection[str],
) -> Connector:
    """Given a connector, what a host says of its services, its roots and the parts that are wanted, return
    it with the found services among its own, with their keys, and without folders that nobody wants.

    What is settled already stays as it is.
    """
    order = list(connector.services)
    keys = list(connector.registry_keys)
    recorded, searched = list(connector.recorded), list(connector.searched)
    programs = [*connector.programs, *(found.program for found in connector.found_services if found.program)]
    states = list(services)
    for found in connector.found_services:
        here = [state.name for state in states if state.exists and _is(found, state, roots)]
        searched += here
        for name in here:
            if found.after:
                place = next(n for n, service in enumerate(order) if service.name == found.after)
                place += 1 + here.index(name)
                order.insert(place, Service(name=name, why=found.why, source=found.source, sure=found.sure))
            else:
                recorded.append(name)
            keys.append(
                RegistryKey(
                    id=f"{found.id}-{_safe(name)}",
                    path=rf"{SERVICES}\{name}",
                    source=found.source,
                    sure=found.sure,
                )
            )
    trees = tuple(tree for tree in connector.file_trees if not tree.part or tree.part in parts)
    return connector.model_copy(
        update={
            "services": tuple(order),
            "registry_keys": tuple(keys),
            "recorded": tuple(recorded),
            "searched": tuple(searched),
            "programs": tuple(programs),
            "file_trees": trees,
            "found_services": (),
        }
    )


def wanted_names(found: FoundService, roots: Mapping[str, str | None]) -> list[str]:
    """Given a kind of services and the roots, return the names by which they are known: the operator's word
    alone if there is one.
    """
    said = [name for text in found.names if PLACE.search(text) and (name := expand(text, roots))]
    return said or [name for name in found.names if not PLACE.search(name)]


def _is(found: FoundService, state: _State, roots: Mapping[str, str | None]) -> bool:
    """Return whether a service of the host is one of the kind."""
    if found.program:
        others = [name.lower() for name in found.other_than]
        return found.program.lower() in state.image_path.lower() and state.name.lower() not in others
    for name in wanted_names(found, roots):
        long = name.endswith("*") and state.display_name.lower().startswith(name[:-1].lower())
        if long or state.name.lower() == name.lower():
            return True
    return False


def _safe(name: str) -> str:
    """Given a service's name, return one that may be a file's: the same, if it can be."""
    safe = re.sub(r"[^A-Za-z0-9_-]", "-", name)[:LONGEST]
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.lower().encode()).hexdigest()[:8]}"

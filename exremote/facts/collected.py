"""All that one host answered at one time, and its JSON form."""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Self

from exremote.facts.codec import decode, encode, part
from exremote.facts.files import NamedFile, NotesIni, TableText, TreeFact
from exremote.facts.gateway import ApiDirectoryFact, ConnectorObject, EventCount
from exremote.facts.host import HostFact, RegistryValue, ServiceState
from exremote.facts.parse import FactError
from exremote.facts.reasons import remedy_in

FORMAT = 1
"""Version of the JSON form of `HostFacts`."""


@dataclass(frozen=True, slots=True)
class Presence:
    """Whether a connector is on the host: what spoke for it, what is lacking."""

    listed: bool | None
    """True or False as the inventory says; None if the inventory leaves it to be found out."""
    evidence: tuple[str, ...]
    """Signs that were found."""
    missing: tuple[str, ...]
    """Signs that were looked for and not found."""
    state: Literal["present", "partial", "absent", "unknown"] = "unknown"
    """`present`, `partial` (one sign alone, or none of a service), `absent` or `unknown`."""


@dataclass(frozen=True, slots=True)
class HostFacts:
    """All that one host answered at one time."""

    host: str
    """The host's name in the inventory."""
    collected_at: datetime
    """Our clock when the collecting began."""
    host_fact: HostFact | None = None
    """The host itself; None if it could not say."""
    roots: Mapping[str, str | None] = field(default_factory=dict)
    """Roots of the connectors; None where it could not be found out."""
    registry: tuple[RegistryValue, ...] = ()
    """Values that were asked for."""
    services: tuple[ServiceState, ...] = ()
    """Services that were asked for."""
    trees: Mapping[str, TreeFact] = field(default_factory=dict)
    """Trees by the item's id."""
    files: Mapping[str, tuple[NamedFile, ...]] = field(default_factory=dict)
    """Named files by the item's id, in the order of its candidates."""
    looked_at: tuple[NamedFile, ...] = ()
    """Files that are not saved and were looked at all the same: programs of services, signs of a place."""
    tables: tuple[TableText, ...] = ()
    """Mapping tables that were read."""
    notes_ini: NotesIni | None = None
    """The Notes.ini; None if no connector wants one or it could not be asked for."""
    api_directories: Mapping[str, ApiDirectoryFact] = field(default_factory=dict)
    """API gateways' directories by the item's id."""
    connector_objects: tuple[ConnectorObject, ...] = ()
    """Objects of the directory."""
    events: tuple[EventCount, ...] = ()
    """Events of the connectors' sources."""
    event_hours: int = 0
    """How far back the events reach."""
    connectors: Mapping[str, Presence] = field(default_factory=dict)
    """Which connectors are on the host, by name."""
    unavailable: Mapping[str, str] = field(default_factory=dict)
    """Questions that were asked and not answered (`tree conndata`), each with the reason."""
    remedies: Mapping[str, str] = field(default_factory=dict)
    """What can be done about some of these reasons, by the reason."""
    address: str = ""
    """Where it was asked, as the inventory has it; '' if nobody noted that."""

    def remedy(self, text: str) -> str:
        """Given a text that quotes a reason, return what can be done about that; '' if nobody knows."""
        known = next((remedy for reason, remedy in self.remedies.items() if reason in text), "")
        return known or remedy_in(text)

    def service(self, name: str) -> ServiceState | None:
        """Given a short name in any case, return the service's state, or None if it was not asked for."""
        return next((s for s in self.services if s.name.lower() == name.lower()), None)

    def look(self, path: str) -> NamedFile | None:
        """Given a full path in any case, return the file there, or None if nobody looked at it."""
        return next((f for f in self.looked_at if f.path.lower() == path.lower()), None)

    def value(self, key: str, name: str) -> RegistryValue | None:
        """Given key and name in any case, return the registry's value, or None if it was not asked for."""
        wanted = (key.lower(), name.lower())
        return next((v for v in self.registry if (v.key.lower(), v.name.lower()) == wanted), None)

    def to_json(self) -> dict[str, Any]:
        """Return the facts as a JSON object with the version of its form."""
        return {"format": FORMAT, **encode(self)}

    def to_parts(self) -> dict[str, Any]:
        """Return what `to_json` does, for an encoder that asks `part` for all that is below."""
        return {"format": FORMAT, **part(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Given what `to_json` made, return the facts. Raise FactError naming the place that is wrong."""
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            raise FactError("facts file", "format", f"this version reads format {FORMAT}")
        rest = {key: value for key, value in data.items() if key != "format"}
        return typing.cast(Self, decode(cls, rest, "facts"))

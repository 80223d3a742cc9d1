"""What a lost server was, read from its snapshots. It asks no host."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from exremote.connector import Connector, settle
from exremote.errors import IntegrityError
from exremote.facts import FactError, HostFacts
from exremote.folding import folded
from exremote.recover.steps import Original
from exremote.repository import Composed, Snapshot

SETUP_FOLDER = "Services"
"""The value of Exchange's Setup key that names its folder (domain facts: KB 264309)."""
_NAME = re.compile(r"[^\s\\/:*?\"<>|]{1,63}")
_ROOT = re.compile(r"[A-Za-z]:\\")
_FOLDER = re.compile(r"[A-Za-z]:\\[^:*?\"<>|\x00-\x1f]*")
BUILD = ("NewestBuild", "Service Pack Build")
"""Its values that say how new it is."""


def document(snapshot: Snapshot, name: str) -> bytes | None:
    """Given a snapshot and the name of a document, return it, or None. Raise IntegrityError."""
    found = next((d for d in snapshot.manifest.documents if d.stored == name), None)
    return None if found is None else snapshot.document(found)


def is_tape(path: str) -> bool:
    """Return whether a file of a snapshot is what ntbackup wrote."""
    return folded(path).endswith(".bkf")


def original_of(
    connectors: Sequence[Snapshot | Composed],
    system_state: Snapshot | None,
    groups: Snapshot | None,
    known: Mapping[str, Connector],
) -> Original | None:
    """Given the newest snapshots of one host, return what it was; None if none of them says.

    The record beside a System State is the fullest; the facts of a connector's snapshot say what they can.
    Raise IntegrityError if a snapshot cannot be read.
    """
    original: Original | None = None
    for one in sorted(connectors, key=lambda s: s.created, reverse=True):
        full = one.full if isinstance(one, Composed) else one
        facts = _facts(full)
        if facts is None or facts.host_fact is None:
            continue
        original = original or _from_facts(facts, full)
        running, registered = _services(full, facts, known)
        original = replace(
            original,
            services=tuple(dict.fromkeys((*original.services, *running))),
            registered=tuple(dict.fromkeys((*original.registered, *registered))),
        )
    if system_state is not None and (data := document(system_state, "identity.json")) is not None:
        try:
            original = _from_identity(json.loads(data), system_state, original)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise _strange(system_state, f"{type(error).__name__}: {error}") from error
    if (
        groups is not None
        and original is not None
        and (data := document(groups, "identity.json")) is not None
    ):
        try:
            names = tuple(map(str, json.loads(data).get("storage_groups", ())))
        except (ValueError, TypeError, AttributeError) as error:
            raise _strange(groups, f"{type(error).__name__}: {error}") from error
        original = replace(original, storage_groups=names or original.storage_groups)
    if original is not None:
        _possible(original, system_state or groups)
    return original


def _possible(original: Original, snapshot: Snapshot | None) -> None:
    """Raise IntegrityError if a name, a drive or a folder is none: guards and paths are made of them."""
    strange = [] if _NAME.fullmatch(original.computer_name) else [original.computer_name]
    strange += [root for root in original.drives if not _ROOT.fullmatch(root)]
    strange += [f for f in (original.system_root,) if f and not _FOLDER.fullmatch(f)]
    if strange:
        raise IntegrityError(
            f"{original.source} says {strange[0]!r} of its machine, which is no name, drive or folder.",
            path=snapshot.path if snapshot is not None else original.source,
            entry="identity.json",
            remedy="Name another snapshot with --snapshot.",
        )


def _strange(snapshot: Snapshot, why: str) -> IntegrityError:
    return IntegrityError(
        f"what it says of its machine cannot be read: {why}.",
        path=snapshot.path,
        entry="identity.json",
        remedy="Name another snapshot with --snapshot.",
    )


def _facts(snapshot: Snapshot) -> HostFacts | None:
    data = document(snapshot, "facts.json")
    if data is None:
        return None
    try:
        return HostFacts.from_json(json.loads(data))
    except (FactError, ValueError) as error:
        raise IntegrityError(
            f"its facts cannot be read: {error}", path=snapshot.path, entry="facts.json"
        ) from error


def _from_facts(facts: HostFacts, snapshot: Snapshot) -> Original:
    host = facts.host_fact
    assert host is not None
    return Original(
        computer_name=host.computer_name,
        source=f"{snapshot.host}/{snapshot.id}",
        as_of=snapshot.created,
        domain=host.domain,
        os_version=host.os_version,
        service_pack=host.service_pack,
        role={"LanmanNT": "domain controller", "ServerNT": "server"}.get(host.product_type, ""),
        system_root=host.system_root,
        drives=tuple(disk.root for disk in host.disks if disk.kind == "Fixed"),
        exchange_folder=facts.roots.get("exchsrvr") or "",
    )


def _services(
    snapshot: Snapshot, facts: HostFacts, known: Mapping[str, Connector]
) -> tuple[list[str], list[str]]:
    """Return the connector's own services, those that ran and those that were there at all."""
    connector = known.get(snapshot.connector)
    if connector is None:
        return [], []
    # Those too that an administrator gave their names.
    here = settle(connector, facts.services, facts.roots, ())
    own = {service.name.lower() for service in here.services}
    there = [s for s in facts.services if s.exists and s.name.lower() in own]
    return [s.name for s in there if s.state == "Running"], [s.name for s in there]


def _from_identity(data: Mapping[str, Any], snapshot: Snapshot, facts: Original | None) -> Original:
    exchange = data.get("exchange") or {}
    builds = [str(exchange[name]) for name in BUILD if name in exchange]
    drives = tuple(d["root"] for d in data.get("drives", ()) if d.get("kind") == "Fixed")
    return Original(
        computer_name=str(data["computer_name"]),
        source=f"{snapshot.host}/{snapshot.id}",
        as_of=snapshot.created,
        domain=str(data.get("domain", "")),
        os_version=str(data.get("os_version", "")),
        service_pack=str(data.get("service_pack", "")),
        role=str(data.get("role", "")),
        system_root=str(data.get("system_root", "")),
        drives=drives,
        exchange_folder=str(exchange.get(SETUP_FOLDER, "")) or (facts.exchange_folder if facts else ""),
        exchange_build=builds[0] if builds else "",
        services=facts.services if facts else (),
        registered=facts.registered if facts else (),
        storage_groups=tuple(map(str, data.get("storage_groups", ()))),
    )

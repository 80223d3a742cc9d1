"""Which machine a backup of its system is of: recovery needs one that is the same. It judges nothing.

Microsoft wants the same hardware, drives, Windows folder and service packs, and the same computer name (KB
249694, KB 811944); what cannot be had is said to be unknown, with the reason.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from itertools import pairwise
from typing import Any

from exremote.backup.parts import PartFacts
from exremote.errors import ScriptFailed
from exremote.facts import ConnectorObject
from exremote.regfile import REG_DWORD, REG_EXPAND_SZ, REG_SZ, RegFileError, parse
from exremote.session import Session

SETUP = r"HKLM\SOFTWARE\Microsoft\Exchange\Setup"
HOTFIXES = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion\HotFix"
"""Where Windows 2000 and 2003 note the fixes that were installed (R)."""


def identity_of(
    session: Session,
    facts: PartFacts,
    objects: tuple[ConnectorObject, ...],
    why: str,
    others: tuple[Sequence[str], Sequence[str], Sequence[str]] = ((), (), ()),
) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Given an open session, ask what the machine is. Return that as plain values, and registry exports.

    `others`: services beside those of Exchange itself, by short names, beginnings of long ones, and parts of
    command lines.

    Raise HostError if the host is lost.
    """
    host = facts.host_fact
    unknown = {"directory": why} if why else {}
    found: dict[str, Any] = {
        "computer_name": host.computer_name,
        "domain": host.domain,
        "os_version": host.os_version,
        "service_pack": host.service_pack,
        "role": {"LanmanNT": "domain controller", "ServerNT": "server", "WinNT": "workstation"}.get(
            host.product_type, "unknown"
        ),
        "architecture": host.architecture,
        "system_root": host.system_root,
        "drives": [asdict(disk) for disk in host.disks],
        "programs": dict(facts.found.versions),
        "storage_groups": list(facts.groups),
        **_places(host.computer_name, objects),
    }
    exports: dict[str, bytes] = {}

    def ask(what: str, question: Callable[[], Any]) -> Any:
        try:
            return question()
        except ScriptFailed as error:
            unknown[what] = error.message
            return None

    names, titles, programs = others
    wanted = list({name.lower(): name for name in (*_SERVICES, *names)}.values())
    asked = partial(session.service_states, wanted, ["Microsoft Exchange", *titles], programs)
    services = ask("services", asked) or ()
    found["services"] = {
        s.name: {"account": s.account, "start": s.start_mode, "title": s.display_name}
        for s in services
        if s.exists
    }
    for name, key in (("exchange-setup", SETUP), ("hotfixes", HOTFIXES)):
        export = ask(key, partial(session.export_registry_key, key))
        if export is not None and export.exists:
            exports[f"registry/{name}.reg"] = export.data
        elif export is not None:
            unknown[key] = "the host has no such registry key"
    found["hotfixes"] = _hotfixes(exports.get("registry/hotfixes.reg", b""))
    found["exchange"] = _values(exports.get("registry/exchange-setup.reg", b""))
    found["unknown"] = unknown
    return found, exports


_SERVICES = ("MSExchangeSA", "MSExchangeIS", "MSExchangeMTA")


def _places(server: str, objects: tuple[ConnectorObject, ...]) -> dict[str, str]:
    """Given storage groups of the directory, return what their place in it says of the server's."""
    below = f",cn={server},cn=servers,".casefold()
    name = next((o.distinguished_name for o in objects if below in o.distinguished_name.casefold()), "")
    parts = [part.replace("\\,", ",") for part in re.split(r"(?<!\\),", name)]
    found = {"administrative_group": "unknown", "organisation": "unknown"}
    for behind, key in (
        ("CN=Administrative Groups", "administrative_group"),
        ("CN=Microsoft Exchange", "organisation"),
    ):
        for part, following in pairwise(parts):
            if following.casefold() == behind.casefold():
                found[key] = part.partition("=")[2]
    return found


def _values(text: bytes) -> dict[str, str | int]:
    """Given the export of a key, return its texts and numbers, those of keys below it apart."""
    try:
        keys = parse(text).keys if text else {}
    except RegFileError:
        return {}
    own = next((values for key, values in keys.items() if key.casefold().endswith(r"\exchange\setup")), {})
    found: dict[str, str | int] = {}
    for value in own.values():
        if value.kind in (REG_SZ, REG_EXPAND_SZ):
            found[value.name] = value.data.decode("utf-16-le", "replace").removesuffix("\0")
        elif value.kind == REG_DWORD:
            found[value.name] = int.from_bytes(value.data, "little")
    return found


def _hotfixes(text: bytes) -> list[str]:
    """Given the export of the key, return the names below it."""
    try:
        keys = parse(text).keys if text else {}
    except RegFileError:
        return []
    names = {found[1] for key in keys if (found := re.search(r"(?i)\\HotFix\\([^\\]+)$", key))}
    return sorted(names)

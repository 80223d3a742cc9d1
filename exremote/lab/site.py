"""Which hosts the lab has: the standard site, and a form in which tests ask for others.

It builds machines; it starts nothing and listens nowhere.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import cast

from exremote.lab import furnish, older
from exremote.lab.files import Generated
from exremote.lab.machine import WINDOWS_2000, WINDOWS_2003, WINDOWS_2008_R2, Machine, Share, share_of
from exremote.lab.tasks import set_task

_FURNISHERS = {**furnish.FURNISHERS, **older.FURNISHERS}
SYSTEMS = {"2000": WINDOWS_2000, "2003": WINDOWS_2003, "2008r2": WINDOWS_2008_R2}
"""Systems, by the names that a description gives them."""


class SpecText(ValueError):
    """A description of hosts that cannot be understood."""


@dataclass(frozen=True, slots=True)
class Bulk:
    """Many files at once."""

    folder: str = rf"{furnish.CONNDATA}\Tables\bulk"
    files: int = 100
    size: int = 8192
    """Bytes of each."""
    text: bool = False
    """Words, which deflate, instead of random bytes."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class HostSpec:
    """One host of the lab, as a test or the standard site asks for it."""

    name: str
    connectors: tuple[str, ...] = ()
    """Of notes, groupwise, calendar, msmail, ccmail."""
    sick: bool = False
    """Give it what is wrong with EXSICK01, or EXSICK02: of groupwise, msmail and ccmail."""
    down: bool = False
    """Nothing listens there."""
    via: str = ""
    """The host of the lab through which it is reached; empty: it answers itself."""
    os: str = "2003"
    """2000, 2003 or 2008r2."""
    https: bool = False
    winrm: int = 2
    """Quotas of WinRM 2 or 3."""
    clock_offset_s: float = 0.0
    bulk: tuple[Bulk, ...] = ()
    api: str = furnish.API
    """The GroupWise API directory."""
    api_accounts: tuple[tuple[str, str], ...] = ()
    """Who may connect its share, with passwords; empty: everybody."""
    backup_share: str = ""
    r"""A folder on a file server's share that the host sees, `\\\\SERVER\\SHARE\\FOLDER`; empty: none."""
    backup_accounts: tuple[tuple[str, str], ...] = ()
    """Who may connect that share, with passwords; empty: everybody."""
    tasks: tuple[tuple[str, str], ...] = ()
    """Scheduled tasks that an administrator has made: name, and what it runs."""
    latency_s: float | None = None
    bandwidth_bps: int | None = None

    @classmethod
    def from_json(cls, value: object) -> HostSpec:
        """Given what JSON says, return the description. Raise SpecText."""
        known = {field.name for field in fields(cls)}
        if not isinstance(value, dict) or not isinstance(value.get("name"), str) or not set(value) <= known:
            raise SpecText(f"a host is a table with a name and of {', '.join(sorted(known))}, not {value!r}")
        given = dict(value)
        try:
            given["bulk"] = tuple(Bulk(**one) for one in given.get("bulk", ()))
            given["connectors"] = tuple(given.get("connectors", ()))
            for pairs in ("api_accounts", "backup_accounts", "tasks"):
                given[pairs] = tuple((str(one), str(other)) for one, other in given.get(pairs, ()))
            return cls(**given)
        except (TypeError, ValueError) as error:
            raise SpecText(f"host {value['name']}: {error}") from error


STANDARD = (
    HostSpec("EXNOTES01", ("notes", "calendar")),
    HostSpec("EXGW01", ("groupwise",)),
    HostSpec("EXSICK01", ("notes", "groupwise"), sick=True, api=r"\\NWFS02\SYS\GWDOM\WPGATE\API"),
    HostSpec("GW01", os="2008r2", winrm=3),
    HostSpec("EXMSMAIL01", ("msmail",), os="2000", via="GW01"),
    HostSpec("EXCCMAIL01", ("ccmail",), os="2000", via="GW01"),
    HostSpec("EXSICK02", ("msmail", "ccmail"), sick=True, os="2000", via="GW01"),
    HostSpec("EXDOWN01", ("notes",), down=True),
)
"""The site that `exremote-lab up` starts: healthy hosts and sick ones, those with Windows 2000 behind a
gateway, and one that cannot be reached.
"""


def specs_to_json(specs: Sequence[HostSpec]) -> str:
    """Return hosts as JSON text."""
    return json.dumps([asdict(spec) for spec in specs])


def specs_from_json(text: str) -> tuple[HostSpec, ...]:
    """Given JSON text, return the hosts. Raise SpecText."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise SpecText(str(error)) from error
    if not isinstance(value, list) or not value:
        raise SpecText("a site is a list of hosts")
    return tuple(HostSpec.from_json(one) for one in value)


def add_bulk(machine: Machine, bulk: Bulk) -> None:
    """Put many generated files into one folder."""
    for number in range(bulk.files):
        path = rf"{bulk.folder}\bulk{number:06d}.dat"
        seed = zlib.crc32(f"{bulk.seed}:{number}".encode())
        machine.files.write(path, Generated(bulk.size, seed, bulk.text), modified=furnish.when(path))


def build(spec: HostSpec) -> Machine:
    """Return the machine that a description asks for. Raise SpecText for a name that nobody knows."""
    if spec.os not in SYSTEMS:
        raise SpecText(f"{spec.name}: no system {spec.os!r}; there are {', '.join(SYSTEMS)}")
    machine = Machine(spec.name, os=SYSTEMS[spec.os], clock_offset_s=spec.clock_offset_s)
    furnish.exchange(machine)
    for name in spec.connectors:
        if name not in _FURNISHERS:
            raise SpecText(f"{spec.name}: no connector {name!r}; there are {', '.join(_FURNISHERS)}")
        if name == "groupwise":
            furnish.groupwise(machine, spec.api)
        else:
            _FURNISHERS[name](machine)
    if spec.api_accounts:
        machine.shares[share_of(spec.api)] = Share(dict(spec.api_accounts))
    if spec.backup_share:
        machine.files.make_directory(spec.backup_share)
        machine.shares[share_of(spec.backup_share)] = Share(dict(spec.backup_accounts))
    for name, command in spec.tasks:
        set_task(machine, name, command)
    if spec.sick and "groupwise" in spec.connectors:
        furnish.sicken(machine, spec.api)
    if spec.sick:
        older.sicken(machine, spec.connectors)
    for bulk in spec.bulk:
        add_bulk(machine, bulk)
    return machine


def build_machine(name: str, *connectors: str, **options: object) -> Machine:
    """Return a machine for a test: `build_machine("EX01", "notes", os="2008r2")`. Raise SpecText."""
    return build(replace(HostSpec(name, connectors), **cast("dict[str, str]", options)))  # type: ignore[arg-type]

"""What a person does to a machine that replaces a lost one, as the machine alone shows it.

Windows is installed anew, the system state comes back, setup runs in disaster recovery mode, storage groups
are restored. It knows no network and no Wine, and puts no file back that only a backup has.
"""

from __future__ import annotations

import copy
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from exremote.lab import older
from exremote.lab.files import Generated
from exremote.lab.furnish import CONNDATA, EXCHSRVR, NOTES
from exremote.lab.images import can_run, command_of, program_in
from exremote.lab.machine import DISKS, SERVICES, Disk, Machine, OperatingSystem, Service, ticks
from exremote.lab.registry import Registry

SETUP = r"HKLM\SOFTWARE\Microsoft\Exchange\Setup"
LOTUS = r"HKLM\SOFTWARE\Lotus\Notes"
TEMP = r"C:\exremote-recover\restore-temp"
DATABASES = tuple(
    rf"{EXCHSRVR}\Mdbdata\{name}" for name in ("priv1.edb", "priv1.stm", "pub1.edb", "pub1.stm")
)
PLACES = (CONNDATA, NOTES, older.MAILDATA, rf"{EXCHSRVR}\Dxadata", older.CCMCDATA, older.TOOLS)
"""Where the connectors have their files."""
_BASE = ("MSExchangeSA", "MSExchangeIS", "MSExchangeMTA")
_FAMILY = ("notes", "groupwise", "calendar")
_OWN = {
    "notes": ("LME-NOTES",),
    "groupwise": ("MSExchangeGWRtr", "LME-GWISE"),
    "calendar": ("MSExchangeCalCon",),
    "msmail": ("MSExchangeMSMI", *older.MTAS, "MSExchangeDX"),
    "ccmail": ("MSExchangeCCMC",),
}
"""Which services setup makes for a connector."""
_FOLDERS = {
    "notes": re.compile(r"\\(Dxanotes(\\|$)|Mapnotes\.tbl|Temp\\Dxanotes)", re.IGNORECASE),
    "groupwise": re.compile(r"\\(Gwrouter|DxaGwise)(\\|$)", re.IGNORECASE),
}
"""What is one connector's alone, of the folder that the family shares."""
_MADE_BY_SETUP = (CONNDATA, older.MAILDATA, rf"{EXCHSRVR}\Dxadata", older.CCMCDATA)
_NEVER_FRESH = re.compile(
    r"\\(Tables|Temp|Submit|Bad|badfiles|freebusy|bulk)\\|\\lab\d+\.\w+$|\.(seq|ck)$", re.IGNORECASE
)
_FRESH = b"; lab data: as a fresh setup makes it\r\n"
_OLDER_BUILD, _FIRST_BUILD = 7226, 6944


class CannotBe(ValueError):
    """What a person cannot do to a machine as it is; the text says why, and what comes first."""


@dataclass(slots=True)
class Standing:
    """How far the recovery of a new machine has come."""

    pending: Registry | None = None
    """What the restored system state brings at the next start."""
    restored: bool = False
    """Whether a system state has come into force."""
    components: tuple[str, ...] | None = None
    """Connectors that setup put there; None: it has not run."""
    temp: str = ""
    """Where a restored storage group waits for its hard recovery."""
    stale: bool = False
    """Whether the system state that was restored last is an older one."""
    stray: bool = False
    """Whether it cannot start: its Windows folder is another one than the system state's."""


@dataclass(slots=True)
class Changes:
    """What became of a machine's files and services, for whatever else plays it."""

    programs: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)
    """Files that are not there any more."""
    registered: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


def new_windows(lost: Machine, name: str, system: OperatingSystem, drives: Sequence[str] | None) -> Machine:
    """Given the lost machine, return one on which nothing but Windows was installed. Raise CannotBe.

    It is in no domain. What lies on other computers is there as before.
    """
    if not re.fullmatch(r"[A-Za-z0-9-]{1,15}", name):
        raise CannotBe(f"{name!r} is no computer name: 1 to 15 letters, digits and hyphens")
    machine = Machine(name, os=system, clock_offset_s=lost.clock_offset_s, disks=_disks(lost, drives))
    machine.domain = machine.dns_domain = ""
    machine.registry.set(rf"{SERVICES}\Tcpip\Parameters", "Domain", "")
    machine.directory_available = False
    for key, root in lost.files.roots.items():
        if key.startswith("\\\\"):
            machine.files.roots[key] = root
    machine.shares = lost.shares
    return machine


def _disks(lost: Machine, drives: Sequence[str] | None) -> Sequence[Disk]:
    if drives is None:
        return tuple(lost.disks)
    roots = [f"{drive[:1].upper()}:\\" for drive in drives]
    if "C:\\" not in roots or any(not re.fullmatch(r"[A-Za-z](:\\?)?", drive) for drive in drives):
        raise CannotBe(f"drives are letters, C: among them, not {', '.join(drives) or 'none'}")
    known = {disk.root: disk for disk in lost.disks}
    return [known.get(root, replace(DISKS[1], root=root)) for root in roots]


def restore_state(standing: Standing, lost: Machine, stale: bool) -> None:
    """Have ntbackup's window restore the lost machine's system state: it comes into force at the next start.

    `stale`: from an older set, of before the last service pack of Exchange and before the Notes data moved.
    """
    registry = copy.deepcopy(lost.registry)
    if stale:
        for name in ("NewestBuild", "Service Pack Build"):
            registry.set(SETUP, name, _OLDER_BUILD)
        if registry.find(LOTUS) is not None:
            registry.set(LOTUS, "DataPath", r"C:\Lotus\Notes\Data.old" + "\\")
    standing.pending, standing.stale = registry, stale


def boot(machine: Machine, standing: Standing, lost: Machine) -> Changes:
    """Start a machine anew. What its restored system state brings is in force then."""
    changes = Changes()
    if standing.pending is not None:
        if machine.os.system_root.lower() != lost.os.system_root.lower():
            # KB 811944: a system state of C:\Winnt on a Windows in C:\Windows never comes up.
            standing.stray = True
            return changes
        machine.registry, standing.pending, standing.restored = standing.pending, None, True
        machine.name, machine.domain, machine.dns_domain = lost.name, lost.domain, lost.dns_domain
        machine.directory_available, machine.objects = lost.directory_available, lost.objects
        ours = {name.lower() for names in (_BASE, ("MSExchangeCoCo",), *_OWN.values()) for name in names}
        for key, service in lost.services.items():
            if key not in machine.services:
                machine.services[key] = _as_registered(service)
            if key not in ours:
                # Windows' own components come with the state: it has all that Windows protects.
                _program(machine, lost, service.name, changes)
        _drag(machine, lost)
    start(machine)
    return changes


def _drag(machine: Machine, lost: Machine) -> None:
    """Have services drag along those that are there."""
    for key, service in machine.services.items():
        if key in lost.services:
            there = lost.services[key].drags
            service.drags = tuple(name for name in there if name.lower() in machine.services)


def _on_drives(machine: Machine, paths: Sequence[str]) -> None:
    """Raise CannotBe if a path is on a drive that the machine has not."""
    for path in paths:
        if path[:2].lower() not in machine.files.roots:
            raise CannotBe(f"{machine.name} has no drive {path[:2].upper()}, where {path} has to be")


def _as_registered(service: Service) -> Service:
    return Service(service.name, "Stopped", stop_delay_s=service.stop_delay_s, drags=service.drags)


def start(machine: Machine) -> None:
    """Start a machine: services that start by themselves run if they can, all others do not."""
    machine.started = machine.now()
    machine.job, machine.guards = None, []
    machine.connections.clear()
    for key, root in machine.files.roots.items():
        for _, node in () if key.startswith("\\\\") else machine.files.walk(root.name + "\\"):
            node.locked = node.pinned = False
    for service in machine.services.values():
        service.until, service.state = 0.0, "Stopped"
    for service in machine.services.values():
        automatic = machine.registry.number(rf"{SERVICES}\{service.name}", "Start", 9) == 2
        if automatic and can_run(machine, service.name):
            machine.set_service(service.name, "Running")
    machine.hold()


def _program(machine: Machine, lost: Machine, service: str, changes: Changes) -> None:
    path = program_in(command_of(lost, service))
    node = lost.files.get(path)
    if node is None or node.content is None or machine.files.is_file(path):
        return
    machine.files.write(path, node.content, modified=node.modified)
    changes.programs.append(path)


def services_of(lost: Machine, components: Sequence[str]) -> list[str]:
    """Return the services of setup itself and of these connectors, as far as the lost machine had them."""
    names = [*_BASE, *(("MSExchangeCoCo",) if set(components) & set(_FAMILY) else ())]
    names += [name for one in components for name in _OWN[one]]
    return [name for name in names if name.lower() in lost.services]


def set_up(
    machine: Machine,
    standing: Standing,
    lost: Machine,
    had: Sequence[str],
    components: Sequence[str],
    service_pack: bool = True,
) -> Changes:
    """Run setup /disasterrecovery with some of the connectors that the lost machine had. Raise CannotBe.

    `service_pack`: its service pack is installed again, too.
    """
    if wrong := sorted(set(components) - set(had)):
        raise CannotBe(f"{lost.name} had no {', '.join(wrong)}; it had: {', '.join(had) or 'no connector'}")
    if not standing.restored:
        raise CannotBe(
            f"setup finds no server object for {machine.name} in the directory, for disaster recovery: the "
            "system state comes first (act system-state), and a start (act reboot)"
        )
    changes = Changes()
    chosen = services_of(lost, components)
    _on_drives(machine, [*_made_by(components), *(program_in(command_of(lost, name)) for name in chosen)])
    for name in services_of(lost, had):
        key = rf"{SERVICES}\{name}"
        if name not in chosen:
            if machine.services.pop(name.lower(), None) is not None:
                machine.registry.remove(key)
                changes.removed.append(name)
            continue
        _program(machine, lost, name, changes)
        if name.lower() not in machine.services:
            machine.services[name.lower()] = _as_registered(lost.services[name.lower()])
            if (was := lost.registry.find(key)) is not None:
                machine.registry.make(SERVICES).keys[name.lower()] = copy.deepcopy(was)
            changes.registered.append(name)
    _fresh(machine, lost, had, components, changes)
    for name in ("NewestBuild", "Service Pack Build"):
        build = lost.registry.number(SETUP, name) if service_pack else _FIRST_BUILD
        machine.registry.set(SETUP, name, build)
    changes.keys.append(SETUP)
    machine.holds = {path: names for path, names in lost.holds.items() if set(names) & set(chosen)} | {
        path: names for path, names in machine.holds.items() if path in DATABASES
    }
    _drag(machine, lost)
    for name in _BASE:
        machine.set_service(name, "Running")
        changes.running.append(name)
    machine.hold()
    changes.held += [path for path in machine.holds if path not in DATABASES]
    standing.components = tuple(components)
    return changes


def _fresh(
    machine: Machine, lost: Machine, had: Sequence[str], components: Sequence[str], changes: Changes
) -> None:
    """Put folders and files there as a setup makes them: no table and no mail of the old server's."""
    strange = [pattern for name, pattern in _FOLDERS.items() if name in had and name not in components]
    for folder in (rf"{EXCHSRVR}\{name}" for name in ("bin", "Mdbdata", "Mtadata", "Mailroot")):
        machine.files.make_directory(folder, ticks(machine.now()))
        changes.folders.append(folder)
    for place in _made_by(components):
        if not lost.files.is_directory(place):
            continue
        for relative, node in [("", lost.files.find(place)), *sorted(lost.files.walk(place + "\\"))]:
            path = rf"{place}\{relative}".rstrip("\\")
            if any(pattern.search(path) for pattern in strange) or machine.files.get(path) is not None:
                continue
            if node.is_directory and node.name.lower() != "bulk":
                machine.files.make_directory(path, ticks(machine.now()))
                changes.folders.append(path)
            elif not node.is_directory and not _NEVER_FRESH.search(path):
                ini = node.name.lower() == "exchconn.ini" and node.content is not None
                content = node.content if ini and node.content is not None else _FRESH
                machine.files.write(path, content, modified=ticks(machine.now()))
                changes.files.append(path)


def _made_by(components: Sequence[str]) -> Iterator[str]:
    if set(components) & set(_FAMILY):
        yield CONNDATA
    if "msmail" in components:
        yield from (older.MAILDATA, rf"{EXCHSRVR}\Dxadata")
    if "ccmail" in components:
        yield older.CCMCDATA


def restore_groups(machine: Machine, standing: Standing, last_set: bool, mount: bool, temp: str) -> Changes:
    """Have ntbackup's window restore the storage groups. Raise CannotBe.

    Without `last_set` no hard recovery follows: `Restore.env` stays in `temp`, and nothing can be mounted.
    """
    if machine.service_state("MSExchangeIS") != "Running":
        raise CannotBe(
            "the information store does not run, and ntbackup restores through it: setup comes first (act "
            "exchange)"
        )
    if any(path in machine.holds for path in DATABASES):
        raise CannotBe("the databases are mounted: ntbackup refuses until they are dismounted")
    _on_drives(machine, [temp])
    changes = Changes()
    now = ticks(machine.now())
    for number, path in enumerate(DATABASES):
        machine.files.write(path, Generated(65_536 * (number + 1), zlib.crc32(path.encode())), modified=now)
        changes.files.append(path)
    environment = rf"{temp.rstrip(chr(92))}\Restore.env"
    if not last_set:
        machine.files.write(
            environment, b"lab data: a restore that waits for its hard recovery\r\n", modified=now
        )
        changes.files.append(environment)
        standing.temp = environment
        return changes
    for path in {environment, standing.temp} - {""}:
        if machine.files.is_file(path):
            machine.files.remove(path)
            changes.gone.append(path)
    standing.temp = ""
    if mount:
        machine.holds |= dict.fromkeys(DATABASES, ("MSExchangeIS",))
        machine.hold()
        changes.held += DATABASES
    return changes

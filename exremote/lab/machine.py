"""One simulated Exchange host: files, registry, services, directory, event log, clock.

A small world with bad manners.

It knows neither scripts nor the network, and touches nothing of the system that it runs on.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from exremote.lab.files import FileSystem
from exremote.lab.registry import Kind, Registry

if TYPE_CHECKING:
    from exremote.lab.behind import Behind
    from exremote.lab.files import Node
    from exremote.lab.tasks import Task

SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
ENVIRONMENT = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
START_MODES = ("Boot", "System", "Automatic", "Manual", "Disabled")
_EPOCH = datetime(1, 1, 1, tzinfo=UTC)


def ticks(when: datetime) -> int:
    """Return DateTime.Ticks of a zoned time."""
    span = when - _EPOCH
    return (span.days * 86400 + span.seconds) * 10_000_000 + span.microseconds * 10


def from_ticks(value: int) -> datetime:
    """Return the time that ticks stand for, in UTC."""
    return _EPOCH + timedelta(microseconds=value // 10)


def share_of(path: str) -> str:
    r"""Given a UNC path, return its share in lower case, `\\server\share`."""
    return "\\".join(path.lower().split("\\")[:4])


@dataclass(frozen=True, slots=True)
class OperatingSystem:
    """What a host says about itself."""

    version: str
    """As `5.2.3790`."""
    service_pack: str
    name: str
    product_type: str = "ServerNT"
    """WinNT, ServerNT or LanmanNT, as in the registry."""
    architecture: str = "x86"
    powershell: str = "2.0"
    clr: str = "2.0.50727.3662"
    system_root: str = r"C:\WINDOWS"


WINDOWS_2000 = OperatingSystem(
    "5.0.2195", "Service Pack 4", "Microsoft Windows 2000 Server", system_root=r"C:\WINNT"
)
WINDOWS_2003 = OperatingSystem("5.2.3790", "Service Pack 2", "Microsoft Windows Server 2003")
WINDOWS_2008_R2 = OperatingSystem(
    "6.1.7601",
    "Service Pack 1",
    "Windows Server 2008 R2 Standard",
    architecture="AMD64",
    clr="2.0.50727.5420",
    system_root=r"C:\Windows",
)


@dataclass(slots=True)
class Service:
    """What a service is doing. How it is registered stands in the registry, as on Windows."""

    name: str
    state: str = "Running"
    """A name of ServiceControllerStatus."""
    start_delay_s: float = 0.0
    stop_delay_s: float = 0.0
    drags: tuple[str, ...] = ()
    """Services that stop when this one does, declared or not."""
    until: float = 0.0
    """When the state ends by itself, by the monotonic clock; 0: never."""
    stop_ignored: bool = False
    """A stop is taken, and never done."""
    start_exit_code: int = 0
    """Not 0: it stops again while it starts, with this code."""
    crash_after_s: float = 0.0
    """Not 0: so long after it began to run it is gone."""
    denied: bool = False
    """The caller may not start or stop it."""


@dataclass(frozen=True, slots=True)
class DirectoryObject:
    """One object of the configuration partition."""

    class_name: str
    name: str
    """Distinguished name."""
    attributes: Mapping[str, Sequence[str | bytes]]


@dataclass(frozen=True, slots=True)
class LoggedEvents:
    """Events of one source and id in the Application log."""

    source: str
    event_id: int
    level: str
    """Error, Warning or Information."""
    hours_ago: Sequence[float]
    """When each was logged."""
    message: str


@dataclass(frozen=True, slots=True)
class Disk:
    """One drive."""

    root: str
    total: int
    free: int
    kind: str = "Fixed"
    format: str = "NTFS"


DISKS = (Disk("C:\\", 36 * 1024**3, 21 * 1024**3), Disk("D:\\", 136 * 1024**3, 90 * 1024**3))
"""What a machine has unless it is told otherwise."""


@dataclass(slots=True)
class Share:
    r"""A share on another computer, `\\server\share`."""

    accounts: dict[str, str] = field(default_factory=dict)
    """Who may connect, with passwords. Empty: whoever is logged on may."""
    read_only: bool = False
    away: Node | None = None
    """What is on it, as long as its server does not answer."""


@dataclass(slots=True)
class RunningJob:
    """A job of ntbackup that was started on a machine."""

    folder: str
    name: str
    process: int
    ends: float
    """By the monotonic clock; 0: never."""
    killed: bool = False
    """It ends without an exit code."""
    code: int = 0
    tape: str = ""
    """Where it writes; empty: into its folder."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A process that waits, and then starts services, if a command file is still there."""

    due: float
    """When, by the monotonic clock."""
    path: str
    """The command file."""
    services: tuple[str, ...]


class Machine:
    """One host. All methods may be called from several threads while `lock` is held."""

    def __init__(
        self,
        name: str,
        *,
        os: OperatingSystem = WINDOWS_2003,
        clock_offset_s: float = 0.0,
        disks: Sequence[Disk] = DISKS,
    ) -> None:
        """`clock_offset_s`: how wrong its clock is, against this system's."""
        self.name = name.upper()
        self.domain = "LAB"
        self.dns_domain = "lab.example"
        self.os = os
        self.clock_offset_s = clock_offset_s
        self.spoils = 0
        """So many more files that are sent to it are other ones on its disk than were written."""
        self.started = self.now()
        """When it was started, by its own clock."""
        self.lock = threading.RLock()
        self.files = FileSystem(ticks(self.now()))
        self.registry = Registry()
        self.services: dict[str, Service] = {}
        """By lower-case name."""
        self.objects: list[DirectoryObject] = []
        self.directory_available = True
        self.children: dict[str, tuple[str, ...]] = {}
        """By lower-case name of a service: the programs that it runs while it is running."""
        self.programs: set[str] = {"services.exe", "lsass.exe", "svchost.exe"}
        """Programs that run beside services' own."""
        self.events: list[LoggedEvents] = []
        self.event_log_available = True
        self.disks = list(disks)
        self.shares: dict[str, Share] = {}
        r"""By lower-case `\\server\share`.

        A share that is in `files` and not here may be used by everybody.
        """
        self.connections: set[tuple[str, str]] = set()
        """Shell and lower-case share: who has connected which share that needs an account."""
        self.behind: dict[str, Behind] = {}
        """By lower-case name: the hosts that are reached through this one, if it is a gateway."""
        self.administrator = True
        self.job: RunningJob | None = None
        """The job of ntbackup that runs."""
        self.foreign_ntbackup = False
        """Whether somebody else's ntbackup runs."""
        self.held_lists: set[str] = set()
        """Paths in lower case whose access lists nobody may set."""
        self.tasks: dict[str, Task] = {}
        """By lower-case name: scheduled tasks."""
        self.guards: list[Guard] = []
        self.holds: dict[str, tuple[str, ...]] = {}
        """Files that services hold open, and share with nobody, as long as one of them is not stopped."""
        self._furnish()

    def now(self) -> datetime:
        """Return the time on its clock, in UTC."""
        return datetime.now(UTC) + timedelta(seconds=self.clock_offset_s)

    def runs(self, program: str) -> bool:
        """Given the name of a program's file, return whether it runs."""
        own = (
            child
            for name, children in self.children.items()
            if name in self.services and self.services[name].state == "Running"
            for child in children
        )
        return program.lower() in {name.lower() for name in (*self.programs, *own)}

    def _furnish(self) -> None:
        root = self.os.system_root
        for disk in self.disks:
            self.files.add_root(disk.root)
        for folder in (rf"{root}\System32", rf"{root}\Temp", r"C:\Program Files"):
            self.files.make_directory(folder)
        for program in ("services.exe", "svchost.exe", "reg.exe", "net.exe", "lsass.exe"):
            self.files.write(rf"{root}\System32\{program}", b"MZ lab stand-in, no program")
        if int(self.os.version.partition(".")[0]) < 6:
            self.files.write(rf"{root}\System32\ntbackup.exe", b"MZ lab stand-in, no program")
        put = self.registry.set
        windows_nt = r"HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion"
        put(windows_nt, "ProductName", self.os.name)
        put(windows_nt, "CSDVersion", self.os.service_pack)
        version, _, build = self.os.version.rpartition(".")
        put(windows_nt, "CurrentVersion", version)
        put(windows_nt, "CurrentBuildNumber", build)
        put(windows_nt, "SystemRoot", root)
        put(r"HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions", "ProductType", self.os.product_type)
        for name in ("ComputerName", "ActiveComputerName"):
            put(rf"HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\{name}", "ComputerName", self.name)
        put(r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa", "FipsAlgorithmPolicy", 0)
        put(rf"{SERVICES}\Tcpip\Parameters", "Domain", self.dns_domain)
        if int(self.os.version.partition(".")[0]) >= 6:
            put(rf"{SERVICES}\mrxsmb10", "Start", 3)
        put(
            ENVIRONMENT,
            "Path",
            r"%SystemRoot%\system32;%SystemRoot%;%SystemRoot%\System32\Wbem",
            Kind.ExpandString,
        )
        self.add_service("Eventlog", "Event Log", r"%SystemRoot%\system32\services.exe", start="Automatic")
        self.add_service(
            "RpcSs",
            "Remote Procedure Call (RPC)",
            r"%SystemRoot%\system32\svchost.exe -k rpcss",
            start="Automatic",
        )

    def add_service(
        self,
        name: str,
        title: str,
        image: str,
        *,
        depends_on: Sequence[str] = (),
        start: str = "Manual",
        state: str = "Running",
        account: str = "LocalSystem",
        stop_delay_s: float = 0.0,
        drags: Sequence[str] = (),
    ) -> Service:
        """Register a service. Its program file is not made. Return it."""
        key = rf"{SERVICES}\{name}"
        put = self.registry.set
        put(key, "Type", 0x10)
        put(key, "Start", START_MODES.index(start))
        put(key, "ErrorControl", 1)
        put(key, "ImagePath", image, Kind.ExpandString)
        put(key, "DisplayName", title)
        put(key, "ObjectName", account)
        if depends_on:
            put(key, "DependOnService", tuple(depends_on))
        service = Service(name, state, stop_delay_s=stop_delay_s, drags=tuple(drags))
        self.services[name.lower()] = service
        return service

    def service_state(self, name: str) -> str | None:
        """Return what a service does right now, or None if there is none of that name."""
        self.run_guards(time.monotonic())
        service = self.services.get(name.lower())
        if service is None:
            return None
        while service.until and time.monotonic() >= service.until:
            ended, service.until = service.until, 0.0
            if service.state == "StartPending" and not service.start_exit_code:
                self._runs(service, ended)
            elif service.state in ("StartPending", "StopPending", "Running"):
                service.state = "Stopped"
            self.hold()
        return service.state

    def run_guards(self, now: float) -> None:
        """Let the guards whose time has come do what they wait for."""
        due = [guard for guard in self.guards if guard.due <= now]
        self.guards = [guard for guard in self.guards if guard.due > now]
        for guard in due:
            for name in guard.services if self.files.is_file(guard.path) else ():
                if (
                    name.lower() in self.services
                ):  # net start of one that is gone fails, and the next is tried
                    self.set_service(name, "Running")

    def hold(self) -> None:
        """Have services hold their files, or let them go, by what they do right now."""
        for path, names in self.holds.items():
            if self.files.is_file(path):
                busy = [
                    self.services[n.lower()].state != "Stopped" for n in names if n.lower() in self.services
                ]
                self.files.find(path).locked = any(busy)

    def set_service(self, name: str, state: str) -> None:
        """Bring a service to Running or Stopped, after its delay and with those it drags; or to any state.

        Raise KeyError if there is no such service.
        """
        service = self.services[name.lower()]
        delay = {"Stopped": service.stop_delay_s, "Running": service.start_delay_s}.get(state, 0.0)
        changes = self.service_state(name) != state
        if state == "Stopped" and changes and service.stop_ignored:
            service.state, service.until = "StopPending", 0.0
        elif delay and changes:
            service.state = "StopPending" if state == "Stopped" else "StartPending"
            service.until = time.monotonic() + delay
        elif state == "Running" and changes:
            self._runs(service, time.monotonic())
        elif changes:
            service.state, service.until = state, 0.0
        if state == "Stopped":
            for other in service.drags:
                self.set_service(other, state)
        self.hold()

    @staticmethod
    def _runs(service: Service, since: float) -> None:
        """Have a service run from a moment on, for as long as it does, if it does at all."""
        service.state = "Stopped" if service.start_exit_code else "Running"
        dies = service.crash_after_s and service.state == "Running"
        service.until = since + service.crash_after_s if dies else 0.0

    def variable(self, name: str) -> str | None:
        """Return an environment variable of the machine, expanded."""
        drive = self.os.system_root[:2]
        known = {
            "systemroot": self.os.system_root,
            "windir": self.os.system_root,
            "systemdrive": drive,
            "programfiles": rf"{drive}\Program Files",
            "computername": self.name,
            "temp": rf"{self.os.system_root}\Temp",
        }
        if name.lower() in known:
            return known[name.lower()]
        value = self.registry.get(ENVIRONMENT, name)
        return self.expand(value.data) if value is not None and isinstance(value.data, str) else None

    def expand(self, text: str) -> str:
        """Return a text with its %variables% replaced; unknown ones stay."""
        return re.sub("%([^%]+)%", lambda found: self.variable(found.group(1)) or found.group(), text)

    def unplug_share(self, name: str, away: bool) -> None:
        """Have the server of a share go away, or come back. Raise KeyError if there is no such share."""
        key = name.lower()
        share = self.shares[key]
        if away and share.away is None:
            share.away = self.files.roots.pop(key)
        elif not away and share.away is not None:
            self.files.roots[key], share.away = share.away, None

    def may_use(self, path: str, shell_id: str) -> bool:
        """Return whether somebody in this shell gets at a path: always, unless its share needs an account."""
        if not path.startswith("\\\\"):
            return True
        server = path[2:].partition("\\")[0].lower()
        if server in self.behind:
            return (shell_id, server) in self.connections
        key = share_of(path)
        share = self.shares.get(key)
        return share is None or not share.accounts or (shell_id, key) in self.connections

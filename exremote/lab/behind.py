r"""Hosts behind a gateway of the lab: seen from there by their administrative shares, by RPC and by WMI.

The gateway's machine sees the files of such a host as `\\NAME\C$`, once a shell of it has logged on there.
What the scripts of ps_scripts/gateway answer is what the host's own scripts would: one world, two ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from exremote.lab.binding import Arguments
from exremote.lab.files import FileSystem
from exremote.lab.machine import SERVICES, Machine
from exremote.lab.trees import refused
from exremote.lab.wsman.engine import Call, Record

Answer = Callable[[Machine, Arguments, Iterator[object], Call], Iterator[Record]]
_ADMIN = re.compile(r"([a-z])\$")


@dataclass(slots=True)
class Behind:
    """One host behind a gateway."""

    machine: Machine
    accounts: dict[str, str] = field(default_factory=dict)
    """Who may log on there, with passwords."""
    down: bool = False
    """Nothing answers there."""
    wmi: bool = True
    """Whether WMI answers."""
    host: str = ""
    """The lab's name of the host whose machine it is; empty: the machine's."""


class Neighbourhood(FileSystem):
    """The files of a gateway: its own, and the shares of the hosts behind it."""

    def __init__(self, own: FileSystem, behind: Mapping[str, Behind]) -> None:
        super().__init__(own.now)
        self.roots, self._behind = own.roots, behind

    def elsewhere(self, root: str) -> tuple[FileSystem, str] | None:
        r"""Given a root, `\\server\share`, return whose files are meant and where; None: our own."""
        server, _, share = root.removeprefix("\\\\").partition("\\")
        host = self._behind.get(server) if root.startswith("\\\\") else None
        if host is None:
            return self._third(root)
        files = host.machine.files
        if host.down:
            return FileSystem(self.now), "?:"
        if drive := _ADMIN.fullmatch(share):
            return files, f"{drive[1]}:"
        return files, host.machine.os.system_root if share == "admin$" else "?:"

    def _third(self, root: str) -> tuple[FileSystem, str] | None:
        """Given a share of a third computer, return whose world of the lab has it."""
        for host in self._behind.values():
            if root not in self.roots and root in host.machine.files.roots:
                return host.machine.files, root
        return None


def unreachable(name: str) -> Exception:
    """Return what a script ends with if the host does not answer."""
    return refused(
        "ExRemote.TargetUnreachable", f"{name}: The network path was not found.", "ResourceUnavailable"
    )


def _found(machine: Machine, arguments: Arguments) -> Behind | None:
    return machine.behind.get(arguments.text("ComputerName").lower())


def through(answer: Answer) -> Answer:
    """Given what a host answers itself, return what its gateway answers for it."""

    def ask(machine: Machine, arguments: Arguments, source: Iterator[object], call: Call) -> Iterator[Record]:
        name = arguments.text("ComputerName")
        host = _found(machine, arguments)
        if host is None or host.down:
            raise unreachable(name)
        if (call.shell_id, name.lower()) not in machine.connections:
            raise refused("ExRemote.TargetDenied", f"{name}: Access is denied.", "PermissionDenied")
        yield from answer(host.machine, arguments, source, call)

    return ask


def host_fact_through(own: Answer) -> Answer:
    """Given what a host says of itself, return what its gateway finds out: what only WMI tells may miss."""

    def ask(machine: Machine, arguments: Arguments, source: Iterator[object], call: Call) -> Iterator[Record]:
        host = _found(machine, arguments)
        for record in through(own)(machine, arguments, source, call):
            assert isinstance(record, dict)
            record |= {
                "PowerShellVersion": machine.os.powershell,
                "ClrVersion": machine.os.clr,
                "UserName": arguments.text("UserName") or call.user,
                "IsAdministrator": True,
            }
            if not arguments.flag("Wmi"):
                record |= {"Disks": [], "UtcNow": None, "StartedUtc": None, "Processes": []}
            elif host is not None and not host.wmi:
                name = arguments.text("ComputerName")
                message = f"{name}: The RPC server is unavailable."
                raise refused("ExRemote.WmiUnavailable", message, "ResourceUnavailable")
            yield record

    return ask


def host_share(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Test-HostShare: whether administrative shares of a host answer."""
    name = arguments.text("ComputerName")
    for share in arguments.texts("Share"):
        path = rf"\\{name}\{share}"
        may = machine.may_use(path, call.shell_id)
        there = machine.files.is_directory(path) and may
        why = "" if there else "The network path was not found." if may else "Access is denied."
        host = _found(machine, arguments)
        unknown = not there and may and host is not None and not host.down
        yield {"Share": share, "Answers": there, "Unknown": unknown, "Error": why}


def approach(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Test-Approach: what lies between a gateway and a host behind it."""
    name, host = arguments.text("ComputerName"), _found(machine, arguments)
    state = {445: "open", 139: "open", 135: "open" if host is not None and host.wmi else "silent"}
    if host is not None and host.down:
        state = dict.fromkeys(state, "silent")
    smb1 = "installed"
    if int(machine.os.version.partition(".")[0]) >= 6:
        start = machine.registry.number(rf"{SERVICES}\mrxsmb10", "Start", -1)
        smb1 = {-1: "missing", 4: "disabled"}.get(start, "installed")
    parameters = rf"{SERVICES}\LanmanWorkstation\Parameters"
    yield {
        "ComputerName": name,
        "Asker": machine.name,
        "Addresses": ["192.0.2.20"] if host is not None else [],
        "Ports": [f"{port} {how if host is not None else 'unknown'}" for port, how in state.items()],
        "Smb1": smb1,
        "SigningRequired": bool(machine.registry.number(parameters, "RequireSecuritySignature")),
        "LmCompatibility": machine.registry.number(
            r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa", "LmCompatibilityLevel", -1
        ),
    }


def connect(machine: Machine, share: str, user: str, password: str, shell_id: str) -> str | None:
    r"""Given a share of a host behind, log a shell on there. Return why not, '' if it is; None: no such host.

    One log-on is good for all of the host's shares, and for RPC, as with Windows.
    """
    server = share.removeprefix("\\\\").partition("\\")[0].lower()
    host = machine.behind.get(server)
    if host is None:
        return None
    if host.down:
        return "The network path was not found."
    known = {name.lower(): word for name, word in host.accounts.items()}
    if known and known.get(user.lower()) != password:
        return "Logon failure: unknown user name or bad password."
    machine.connections.add((shell_id, server))
    return ""


def put_before(machine: Machine, behind: Mapping[str, Behind]) -> None:
    """Given the machine of a gateway and the hosts behind it, by lower-case name, let it see them."""
    machine.behind = dict(behind)
    machine.files = Neighbourhood(machine.files, machine.behind)


def named(arguments: Mapping[str, object], behind: Mapping[str, Behind]) -> str:
    r"""Given the parameters of a call, return which host behind a gateway it is about; '' if none.

    It says so by name, or by a path that begins with `\\NAME\`.
    """
    for value in arguments.values():
        for text in value if isinstance(value, list | tuple) else [value]:
            if isinstance(text, str):
                server = text.removeprefix("\\\\").partition("\\")[0].lower()
                if server in behind:
                    return behind[server].host or behind[server].machine.name
    return ""

r"""How a call reaches a host that has no WinRM: what its gateway is asked, and what its answer is about.

Scripts that read or change files go there as they are, with `C:\...` as the administrative share
`\\HOST\C$\...`; all others have a body of their own in ps_scripts/gateway/, with the same answer. It asks
nobody, and knows no wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from exremote.credential import Secret as Account
from exremote.inventory import Host
from exremote.script import Script, ScriptLibrary
from exremote.transport import Secret, Value

BODIES = "gateway/"
"""Where the scripts are that ask another computer."""
SHARE_TEST = f"{BODIES}Test-HostShare"
"""The script that says whether the host's shares answer."""
_PATHS = frozenset({"Path", "Staging", "Aside"})
"""Parameters that name places on the host."""
_BY_SHARE = frozenset(
    {
        "Copy-FileTree", "Get-FileFact", "Get-FileSecurity", "Get-FileTree", "Move-FileAside",
        "Move-StagedFile", "Read-FilePack", "Read-TapeBlock",
        "Remove-StagingFolder", "Remove-WorkFile", "Set-FileSecurity", "Set-Folder", "Write-FilePack",
    }
)  # fmt: skip
"""Scripts that touch nothing of a host but files."""
_THIRD = frozenset({"Connect-Share", "Disconnect-Share", "Test-ApiDirectory", "Get-ConnectorObject"})
"""Scripts that are about a third computer: the gateway asks it as the host itself would."""
_DRIVE = re.compile(r"([A-Za-z]):\\(.*)", re.DOTALL)
_SHARE = re.compile(r"\\\\([^\\/]+)\\[^\\/]", re.DOTALL)
_HERE = re.compile(
    r"[?.]|localhost(\..*)?|127\..*|0x.*|\d+|.*:.*|.*\.ipv6-literal\.net", re.IGNORECASE | re.DOTALL
)
"""What stands for a server where whoever reads the path means himself: at a gateway, the gateway."""
WMI_REMEDY = (
    "Set wmi = true at the gateway in the inventory, if the gateway may ask it (TCP 135 and RPC's ports); "
    "else this has to be done on the host by hand."
)
PLACE_REMEDY = "Correct where the path comes from: the inventory, or a setting on the host."


class NoWay(Exception):
    """There is no way to ask this; the text says why."""

    def __init__(self, message: str, remedy: str = "This has to be done on the host by hand.") -> None:
        super().__init__(message)
        self.remedy = remedy


@dataclass(frozen=True, slots=True)
class Route:
    """The way from a gateway to one host."""

    address: str
    """How the gateway knows the host."""
    account: Account | None = None
    """Who we are there; None: who we are at the gateway, handed on by Kerberos or CredSSP."""
    wmi: bool = True
    """Whether WMI may be asked."""

    @classmethod
    def of(cls, host: Host, account: Account | None) -> Route | None:
        """Given a host and its own account, return the way to it; None if it is asked directly."""
        gateway = host.gateway
        if gateway is None:
            return None
        return cls(host.address, account if gateway.second_hop == "credential" else None, gateway.wmi)

    @property
    def admin_share(self) -> str:
        r"""The share that only an administrator of the host may enter, `\\HOST\ADMIN$`."""
        return rf"\\{self.address}\ADMIN$"

    def request(
        self, library: ScriptLibrary, name: str, parameters: Mapping[str, Value]
    ) -> tuple[Script, dict[str, Value]]:
        """Given a script and its parameters, return what the gateway is asked.

        Raise NoWay for what would be done to the gateway itself, or needs a WMI that may not be asked.
        """
        if f"{BODIES}{name}" in library:
            script = library.get(f"{BODIES}{name}")
            own: dict[str, Value] = {"ComputerName": self.address}
            if self.account is not None and script.parameter("Password"):
                own |= {"UserName": self.account.username, "Password": Secret(self.account.password)}
            if script.parameter("Wmi"):
                own["Wmi"] = self.wmi or None
            elif script.parameter("Password") and not self.wmi:
                raise NoWay(
                    f"{name} needs WMI at the host, and the inventory says wmi = false for its gateway.",
                    WMI_REMEDY,
                )
            return script, {**parameters, **own}
        if name not in _BY_SHARE | _THIRD:
            raise NoWay(f"{name} is not possible on a host behind a gateway.")
        return library.get(name), {
            key: self._there(value) if key in _PATHS else value for key, value in parameters.items()
        }

    def no_way(self, path: str) -> str:
        """Given a path on the host, return why the host's shares do not lead there; '' if they do."""
        try:
            self._there(path)
        except NoWay:
            return "no place on the host that its shares lead to"
        return ""

    def by_file(self, library: ScriptLibrary, name: str) -> bool:
        """Given a script, return whether it goes over the host's shares: it cannot tell gone from missing."""
        return f"{BODIES}{name}" not in library and name in _BY_SHARE

    def shares(self, parameters: Mapping[str, Value]) -> list[str]:
        """Given the parameters of a script, return the shares of the host that it goes over."""
        found: dict[str, None] = {}
        for key in _PATHS & parameters.keys():
            value = parameters[key]
            for path in [value] if isinstance(value, str) else cast("Iterable[object]", value or ()):
                if isinstance(path, str) and (drive := _DRIVE.fullmatch(path)):
                    found[f"{drive[1].upper()}$"] = None
        return list(found)

    def answer(self, record: object) -> object:
        """Given a record of an answer, return it as the host itself would say it."""
        if isinstance(record, Mapping):
            return {key: self._here(value) for key, value in record.items()}
        return record

    def _there(self, value: Value) -> Value:
        if isinstance(value, str):
            if drive := _DRIVE.fullmatch(value):
                return rf"\\{self.address}\{drive[1]}$\{drive[2]}"
            share = _SHARE.match(value)
            if share is None or _HERE.fullmatch(share[1]):
                raise NoWay(f"{value[:200]!r} is no place on the host that its shares lead to.", PLACE_REMEDY)
            return value
        if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
            return cast(Value, [self._there(cast(Value, each)) for each in value])
        return value

    def _here(self, value: object) -> object:
        if isinstance(value, list | tuple):
            return [self._here(each) for each in value]
        if not isinstance(value, str):
            return value
        start = rf"\\{self.address}" + "\\"
        if value[: len(start)].casefold() != start.casefold():
            return value
        rest = value[len(start) :]
        return f"{rest[0]}:" + (rest[2:] or "\\") if rest[1:2] == "$" and rest[2:3] in ("", "\\") else value

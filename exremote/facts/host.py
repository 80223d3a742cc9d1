"""What a host says of itself, its registry, its services and its events."""

from __future__ import annotations

import ntpath
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from exremote.facts.parse import FactError, Record, take, texts
from exremote.folding import folded

_BYTES = re.compile("[0-9]{1,19}")
"""A number of bytes; a longer one is no disk, and Python refuses very long ones."""
_MAJOR = re.compile(r"([0-9]{1,4})(?:\.|$)")


@dataclass(frozen=True, slots=True)
class Disk:
    """One ready drive of the host."""

    root: str
    r"""The drive's root, e.g. `C:\`."""
    kind: str
    """`Fixed`, `Removable`, `Network`, as .NET names them."""
    format: str
    """File system, e.g. `NTFS`."""
    total: int
    """Size in bytes."""
    free: int
    """Bytes free for the account that asked."""


@dataclass(frozen=True, slots=True)
class HostFact:
    """What the host is: `Get-HostFact`."""

    computer_name: str
    """NetBIOS name."""
    domain: str
    """Domain or workgroup."""
    os_version: str
    """E.g. `5.2.3790`."""
    service_pack: str
    """As Windows words it; '' if none."""
    product_type: str
    """`WinNT`, `ServerNT`, `LanmanNT` (a domain controller), or ''."""
    architecture: str
    """Of the processor, as Windows words it."""
    powershell_version: str
    """E.g. `2.0`."""
    clr_version: str
    """Version of the .NET runtime that PowerShell runs on."""
    system_root: str
    """The Windows directory."""
    utc_now: datetime | None
    """The host's own clock when it was asked; None if its gateway may not ask WMI, which alone tells."""
    fips_policy: bool
    """True if Windows is told to allow only FIPS 140 algorithms."""
    user_name: str
    """The account that asked."""
    is_administrator: bool
    """True if that account is an administrator of the host."""
    system_path: str
    """The machine's PATH, variables expanded."""
    disks: tuple[Disk, ...]
    """Ready drives."""
    on_path: tuple[str, ...] | None = None
    """Full paths of the files that were looked for in the folders of the PATH; None if none was."""
    started: datetime | None = None
    """When Windows was started, by its own clock; None if that could not be read, or was not asked yet."""
    processes: tuple[str, ...] | None = None
    """Those of the programs that were asked for that run; None if its gateway may not ask WMI, which alone
    tells, and of facts that are older than the question."""

    @property
    def powershell_major(self) -> int | None:
        """Return the first number of PowerShell's version, or None if it does not begin with one."""
        found = _MAJOR.match(self.powershell_version)
        return int(found[1]) if found else None

    def disk_of(self, path: str) -> Disk | None:
        """Given a full path of this host, return the drive that it is on; None if it is on none of them."""
        drive = folded(ntpath.splitdrive(path)[0])
        return next((disk for disk in self.disks if folded(disk.root.rstrip("\\")) == drive), None)

    def goes_by(self, *names: str) -> bool:
        """Given names in DNS or of an inventory, return whether one of them is the host's own.

        A NetBIOS name has 15 letters at most, and is mostly the first part of the name in DNS.
        """
        return folded(self.computer_name) in {folded(name.partition(".")[0])[:15] for name in names}

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Get-HostFact"
        disks = []
        for line in texts(script, record, "Disks"):
            parts = line.split("|")
            if len(parts) != 5 or not (_BYTES.fullmatch(parts[3]) and _BYTES.fullmatch(parts[4])):
                raise FactError(script, "Disks", f"expected root|kind|format|total|free, got {line!r}")
            disks.append(Disk(parts[0], parts[1], parts[2], int(parts[3]), int(parts[4])))
        return cls(
            computer_name=take(script, record, "ComputerName", str),
            domain=take(script, record, "Domain", str),
            os_version=take(script, record, "OSVersion", str),
            service_pack=take(script, record, "ServicePack", str),
            product_type=take(script, record, "ProductType", str),
            architecture=take(script, record, "Architecture", str),
            powershell_version=take(script, record, "PowerShellVersion", str),
            clr_version=take(script, record, "ClrVersion", str),
            system_root=take(script, record, "SystemRoot", str),
            utc_now=take(script, record, "UtcNow", datetime) if record.get("UtcNow", ...) else None,
            fips_policy=take(script, record, "FipsPolicy", bool),
            user_name=take(script, record, "UserName", str),
            is_administrator=take(script, record, "IsAdministrator", bool),
            system_path=take(script, record, "SystemPath", str),
            disks=tuple(disks),
            on_path=texts(script, record, "OnPath"),
            started=take(script, record, "StartedUtc", datetime) if record.get("StartedUtc") else None,
            processes=texts(script, record, "Processes") if record.get("UtcNow", ...) else None,
        )


@dataclass(frozen=True, slots=True)
class RegistryValue:
    """One value of the registry, or that it is not there: `Get-RegistryValue`."""

    key: str
    r"""The key, as it was asked for, e.g. `HKLM\SOFTWARE\Lotus\Notes`."""
    name: str
    """The value's name; '' is the default value."""
    key_exists: bool
    """True if the key is there."""
    exists: bool
    """True if the value is there."""
    kind: str
    """Registry type; '' if not there."""
    text: str
    """The value as text, variables expanded; '' if not there."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Get-RegistryValue"
        return cls(
            key=take(script, record, "Key", str),
            name=take(script, record, "Name", str),
            key_exists=take(script, record, "KeyExists", bool),
            exists=take(script, record, "Exists", bool),
            kind=take(script, record, "Kind", str),
            text=take(script, record, "Text", str),
        )


@dataclass(frozen=True, slots=True)
class ServiceState:
    """One service as it is now, or that it is not there: `Get-ServiceState`."""

    name: str
    """Short name, as it was asked for."""
    exists: bool
    """True if the service is registered."""
    display_name: str
    """Long name."""
    state: str
    """`Running`, `Stopped`, `StartPending`, ...; '' if not there."""
    start_mode: str
    """`Boot`, `System`, `Automatic`, `Manual`, `Disabled` or `Unknown`; '' if not there."""
    account: str
    """The account that it runs under."""
    image_path: str
    """Command line as registered, variables expanded."""
    image_exists: bool
    """True if the program file is there."""
    depends_on: tuple[str, ...]
    """What it depends on, as the host says now."""
    readable: bool = True
    """False if its registration could not be read: then only its names and its state are known."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Get-ServiceState"
        return cls(
            name=take(script, record, "Name", str),
            exists=take(script, record, "Exists", bool),
            display_name=take(script, record, "DisplayName", str),
            state=take(script, record, "State", str),
            start_mode=take(script, record, "StartMode", str),
            account=take(script, record, "Account", str),
            image_path=take(script, record, "ImagePath", str),
            image_exists=take(script, record, "ImageExists", bool),
            depends_on=texts(script, record, "DependsOn"),
            readable=take(script, record, "Readable", bool),
        )

"""The servers of a site with every setting in force; a Host is frozen and printable. It reads no file."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, TypeVar, cast

from exremote.credential import Credential
from exremote.errors import InventoryError, UsageError
from exremote.inventory.accepting import Acceptance

T = TypeVar("T")
Auth = Literal["negotiate", "kerberos", "ntlm", "credssp", "certificate", "basic"]
Encryption = Literal["auto", "always", "never"]
Scheme = Literal["http", "https"]
Wire = Literal["psrp", "winrs"]
Bulk = Literal["auto", "wire"]
SecondHop = Literal["credential", "delegated"]
BackupPart = Literal["connectors", "undelivered-mail", "stopped-copy", "systemstate", "storagegroups"]
JobStart = Literal["wmi", "direct", "system", "task"]
JobMethod = Literal["copy", "normal"]
Setting = str | int | float | bool | tuple[str, ...] | None

BUILT_IN: Final = "built in"
PORTS: Final[Mapping[str, int]] = MappingProxyType({"http": 5985, "https": 5986})


def nothing() -> Mapping[str, str]:
    """Return a mapping with nothing in it, that stays so."""
    return MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long to wait, in seconds."""

    connect_s: float = 30.0
    """For a TCP connection."""
    operation_s: float = 20.0
    """For WinRM to answer one request, if only with "nothing yet"; old servers allow 60 at most."""
    read_s: float = 30.0
    """For bytes of an answer; longer than `operation_s`."""
    script_s: float = 1800.0
    """For one script."""
    host_s: float = 14400.0
    """For everything that one run does with one host."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often, and how long, a transient failure is tried again."""

    attempts: int = 5
    """Tries in all; 1 means never again."""
    total_s: float = 300.0
    """Seconds after which no further try begins."""
    first_wait_s: float = 2.0
    """The longest first wait; it doubles with each try."""


@dataclass(frozen=True, slots=True)
class NtBackup:
    """How ntbackup saves system state and storage groups of a host."""

    folder: str = ""
    r"""Where it writes on the host, `D:\exremote`; '': `exremote` on the drive of Windows."""
    start: JobStart = "wmi"
    """How a job is started: `wmi` makes one that outlives the session; `direct` is for a host without WMI;
    `system` makes a scheduled task of the system; `task` runs one that is there.
    """
    task: str = ""
    """The scheduled task that an administrator made beforehand, for `start = "task"`."""
    storage_groups: tuple[str, ...] = ()
    """Names of the storage groups, as Exchange has them; none: the directory is asked."""
    method: JobMethod = "copy"
    """Of storage groups: `copy` leaves other backups alone; `normal` is what those go on from."""
    windows_set: tuple[str, ...] = ()
    r"""Volumes (`C:\`) that are saved in one job with the System State; none: System State alone."""
    stall_s: float = 1800.0
    """Seconds without growth of the .bkf after which a job is taken to hang, and ended."""
    least_free_gb: float = 2.0
    """Room that the folder's drive must have at least before a job is started."""
    bkf_folder: str = ""
    r"""Where a finished .bkf stays, on the host (`E:\bkf`) or a share; '': it goes into the repository."""
    share_credential: Credential | None = None
    """For the session's second hop to that share; none: the session's own account."""

    @property
    def on_share(self) -> bool:
        """Return whether a .bkf is written to another computer."""
        return self.bkf_folder.startswith("\\\\")

    @property
    def home(self) -> str:
        """Return the folder below which jobs write; '': the built-in one."""
        return self.folder or ("" if self.on_share else self.bkf_folder)

    def folder_on(self, system_root: str, part: str) -> str:
        """Given the folder of Windows and a part, return the folder that the job of this part writes to."""
        home = self.home or f"{system_root[:2]}\\exremote"
        return f"{home.rstrip(chr(92))}\\{part}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """How one WinRM listener is reached. The defaults of the fields are the built-in settings."""

    name: str
    """The name in the inventory, safe as a folder name."""
    address: str
    """A host name or IP address."""
    port: int = PORTS["http"]
    """The TCP port; 5985 for http and 5986 for https unless said otherwise."""
    scheme: Scheme = "http"
    """`http` is sealed by the authentication (see `encryption`); `https` is TLS."""
    path: str = "wsman"
    """The path of the listener's address."""
    auth: Auth = "negotiate"
    """How to authenticate."""
    encryption: Encryption = "auto"
    """Message encryption: `auto` on http and not on https, or always, or never."""
    verify: bool | Path = True
    """Whether the TLS certificate is checked; a PEM file says against which authorities."""
    wire: Wire = "psrp"
    """Which protocol carries the scripts."""
    bulk: Bulk = "auto"
    """How files travel: `auto`: raw where the host takes that and it pays; `wire`: as all else does."""
    streams: int = 3
    """How many streams of files may run side by side, where the line is long."""
    envelope_kb: int = 150
    """The largest message to begin with, in kB; 150, which every WinRM takes, grows to 500 by itself."""
    credential: Credential
    """Who we are there."""
    certificate: Path | None = None
    """The client's certificate (PEM), for `auth = "certificate"`."""
    certificate_key: Path | None = None
    """Its private key (PEM)."""
    deadlines: Deadlines = Deadlines()
    """How long to wait."""
    retry: RetryPolicy = RetryPolicy()
    """How often to try again."""
    origins: Mapping[str, str] = field(default_factory=nothing, hash=False)
    """Where each setting came from: `host`, `group NAME`, `defaults`, `built in` (or `gateway`)."""
    unusable: InventoryError | None = field(default=None, compare=False, repr=False)
    """Why it cannot be asked as the file and this machine are; other hosts can be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway(Endpoint):
    """The host through which a target without WinRM is reached."""

    parallel: int = 4
    """How many of the hosts behind it are worked on at once, however many others are."""
    second_hop: SecondHop = "credential"
    """Who it is at the hosts behind it: as each host's credential, or, handed on, as who we are there."""
    wmi: bool = True
    """Whether it may ask WMI of them (TCP 135 and RPC's ports): for disks, clock and programs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host(Endpoint):
    """One Exchange server, with every setting that is in force for it."""

    api_credential: Credential | None = None
    """For the second hop to the GroupWise API directory; none: the session's own account."""
    gateway: Gateway | None = None
    """Through which host it is reached; then its own credential is for the hop from there."""
    connectors: tuple[str, ...] | None = None
    """The mail connectors on it; none: find out."""
    groups: tuple[str, ...] = ()
    """Its groups, the one that wins first."""
    tags: tuple[str, ...] = ()
    """Its own tags and those of its groups and of the defaults."""
    variables: Mapping[str, str] = field(default_factory=nothing, hash=False)
    """What only the site knows, such as `groupwise_api`."""
    backup: tuple[BackupPart, ...] = ("connectors",)
    """What a backup takes of it; empty: nothing, it is only checked."""
    drill_on: str | None = None
    """The host where its snapshots are tried by `exremote drill`."""
    drill_folder: str | None = None
    """The folder there in which scratch folders are made."""
    recover_address: str | None = None
    """Where the new machine is reached until it has its old name again: ADDRESS or ADDRESS:PORT."""
    recover_credential: Credential | None = None
    """Who we are there: an account of that machine; none: the host's own credential."""
    after: tuple[str, ...] = ()
    """Hosts that are recovered before this one."""
    ntbackup: NtBackup = NtBackup()
    """How system state and storage groups are saved, where `backup` or `--only` names them."""
    probe: bool = False
    """Whether health may write, read back and remove a probe file in the GroupWise API directory."""
    limit_rate: int | None = None
    """Bytes a second that all lines to this host may carry together, both ways; none: as many as come."""

    @property
    def door(self) -> Endpoint:
        """Return whose WinRM answers for it: its gateway's, or its own."""
        return self.gateway or self

    @property
    def own_credential(self) -> Credential | None:
        """Return the credential of the hop from its gateway; None if there is no such hop, or no need."""
        if self.gateway is None or self.gateway.second_hop == "delegated":
            return None
        return self.credential

    @property
    def credentials(self) -> tuple[Credential, ...]:
        """Return each credential that is needed to ask it."""
        share = self.ntbackup.share_credential
        all_of_them = (self.door.credential, self.own_credential, self.api_credential, share)
        return tuple(each for each in all_of_them if each is not None)


DEFAULTS: Final[Mapping[str, Any]] = {
    each.name: each.default for each in fields(Host) if each.default is not MISSING
}


@dataclass(frozen=True, slots=True)
class Group:
    """A name for some hosts, and settings that they share."""

    name: str
    """The name in the inventory."""
    hosts: tuple[str, ...]
    """The names of its hosts, in the file's order."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """The servers of a site."""

    path: Path
    """The file."""
    hosts: Mapping[str, Host]
    """By name, in the file's order."""
    groups: Mapping[str, Group]
    """By name."""
    gateways: Mapping[str, Gateway]
    """By name."""
    repository: Path | None
    """Where snapshots go, if the file says so."""
    parallel: int
    """How many hosts are worked on at once."""
    keep_free: int
    """Bytes that a backup leaves free on the repository's volume."""
    warnings: tuple[str, ...]
    """What is allowed, but should be known: one sentence each."""
    accepted: tuple[Acceptance, ...] = ()
    """The findings that the site lives with."""

    @classmethod
    def load(cls, path: Path, known_connectors: Collection[str] | None = None) -> Inventory:
        """Given a TOML file and the names of the connectors that exist (none: do not check), resolve it.

        Return the inventory. Raise InventoryError naming file, line, key and what was expected.
        """
        from exremote.inventory.reader import Reader  # the reader makes what stands here

        return Reader(path.absolute(), known_connectors).read()

    def select(self, names: Sequence[str]) -> list[Host]:
        """Given names of hosts or groups, or `tag:NAME` (in any case), find the hosts; no names: all.

        Return them once each, in the order asked for. Raise UsageError for a name that fits no host.
        """
        if not names:
            return list(self.hosts.values())
        chosen: dict[str, Host] = {}
        for name in names:
            chosen.update((host.name, host) for host in self._named(name))
        return list(chosen.values())

    def _named(self, name: str) -> list[Host]:
        """Given one name, return its hosts. Raise UsageError if there are none."""
        wanted = name.casefold()
        tags = {f"tag:{tag}" for host in self.hosts.values() for tag in host.tags}
        if host := find_name(self.hosts, name):
            return [self.hosts[host]]
        if group := find_name(self.groups, name):
            if members := self.groups[group].hosts:
                return [self.hosts[member] for member in members]
            raise UsageError(f"No host is in the group {group} of {self.path}.")
        if wanted in {tag.casefold() for tag in tags}:
            tag = wanted.removeprefix("tag:")
            return [host for host in self.hosts.values() if tag in (each.casefold() for each in host.tags)]
        known = [*self.hosts, *self.groups, *sorted(tags)]
        parts = [part.strip() for part in name.split(",")]
        if len(parts) > 1 and all(part.casefold() in (each.casefold() for each in known) for part in parts):
            raise UsageError(f"{name} is no name.", f"Put blanks between names: {' '.join(parts)}")
        raise UsageError(
            f"The inventory {self.path} has no host, group or tag {name}.",
            near(name, known) or "`exremote inventory show` lists what it has.",
        )

    def describe(self, host: Host) -> list[tuple[str, Setting, str]]:
        """Given a host, list what is in force. Return (key, value, origin) each, never a secret."""
        rows = list(_rows(host))
        if host.gateway is not None:
            rows += [(f"gateway.{key}", value, origin) for key, value, origin in _rows(host.gateway)]
        return rows

    def to_json(self, host: Host) -> dict[str, object]:
        """Given a host, return what `describe` lists as values that JSON has."""
        rows = [{"key": key, "value": value, "origin": origin} for key, value, origin in self.describe(host)]
        return {"inventory": str(self.path), "host": host.name, "settings": rows}


def _rows(endpoint: Endpoint) -> Iterator[tuple[str, Setting, str]]:
    """Given a host or gateway, yield key, value and origin of each setting; tables one row a sub-key."""
    for each in fields(endpoint):
        value = getattr(endpoint, each.name)
        if each.name in ("name", "origins", "unusable"):
            continue
        if isinstance(value, Deadlines | NtBackup | RetryPolicy):
            pairs: Iterable[tuple[str, object]] = (
                (sub.name, getattr(value, sub.name)) for sub in fields(value)
            )
        elif isinstance(value, Mapping):
            pairs = value.items()
        else:
            key = "via" if each.name == "gateway" else each.name
            yield key, _printable(value), endpoint.origins.get(key, BUILT_IN)
            continue
        for sub_key, sub_value in pairs:
            key = f"{each.name}.{sub_key}"
            yield key, _printable(sub_value), endpoint.origins.get(key, BUILT_IN)


def _printable(value: object) -> Setting:
    """Given a resolved value, return what `inventory show` prints: a reference, never a secret."""
    if isinstance(value, Credential):
        return value.text
    if isinstance(value, Gateway):
        return value.name
    return str(value) if isinstance(value, Path) else cast(Setting, value)


def find_name(names: Iterable[str], wanted: str) -> str | None:
    """Given names that differ in more than case, return the one that is wanted, as it is written."""
    return next((name for name in names if name.casefold() == wanted.casefold()), None)


def near(name: str, known: Iterable[str]) -> str:
    """Given a name that is not known, return a question with the nearest known ones, or nothing."""
    written = {each.casefold(): each for each in known}
    near = get_close_matches(name.casefold(), written, n=3, cutoff=0.6)
    return f"Did you mean {' or '.join(written[each] for each in near)}?" if near else ""

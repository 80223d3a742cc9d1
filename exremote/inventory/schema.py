"""The file as it is written; `description` is what an error says was expected. It resolves nothing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from exremote.inventory.amounts import RATE_TEXT, SIZE_TEXT
from exremote.inventory.model import (
    Auth,
    BackupPart,
    Bulk,
    Encryption,
    JobMethod,
    JobStart,
    Scheme,
    SecondHop,
    Wire,
)
from exremote.inventory.names import FOLDER_ON_DRIVE

_Seconds = Annotated[float, Field(gt=0, le=604800, allow_inf_nan=False)]
SECONDS = "a number of seconds above 0, at most 604800"
_NAMES = "a list of names"
PEM = "the path of a PEM file"
SOMETHING = r"\S"
"""What a path has at least: blanks alone would name the folder that the inventory lies in."""
TABLE = "a table"
KEEP_FREE = "256M"
"""What a backup leaves free on the repository's volume, unless the file says otherwise."""
_REFERENCE = "a table such as { environment = 'VARIABLE', username = 'DOMAIN\\user' }"


class Table(BaseModel):
    """Any table: no key that we do not know, no conversion, and never a value in a message."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class CredentialTable(Table):
    """A reference to a credential; Credential.refer says which keys go together."""

    environment: str | None = Field(
        default=None, description="the name of the variable that holds the password"
    )
    keyring: str | None = Field(default=None, description="the name of a service in the keyring")
    file: str | None = Field(default=None, description="the path of a file that only its owner may read")
    prompt: Literal[True] | None = Field(default=None, description="true")
    username: str | None = Field(default=None, description="a user name such as 'DOMAIN\\user'")
    username_environment: str | None = Field(
        default=None, description="the name of the variable that holds the user"
    )


class DeadlineTable(Table):
    """See Deadlines."""

    connect_s: _Seconds | None = Field(default=None, description=SECONDS)
    operation_s: _Seconds | None = Field(
        default=None, le=60, description="a number of seconds above 0, at most 60"
    )
    read_s: _Seconds | None = Field(default=None, description=SECONDS)
    script_s: _Seconds | None = Field(default=None, description=SECONDS)
    host_s: _Seconds | None = Field(default=None, description=SECONDS)


class RetryTable(Table):
    """See RetryPolicy."""

    attempts: int | None = Field(default=None, ge=1, le=100, description="a whole number from 1 to 100")
    total_s: _Seconds | None = Field(default=None, description=SECONDS)
    first_wait_s: _Seconds | None = Field(default=None, description=SECONDS)


class NtBackupTable(Table):
    """See NtBackup."""

    folder: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z]:\\[A-Za-z0-9._-]([A-Za-z0-9 ._\\-]*[A-Za-z0-9_-])?$",
        description="the full path of a folder on a drive of the host, in plain letters: 'D:\\exremote'",
    )
    bkf_folder: str | None = Field(
        default=None,
        pattern=r"^([A-Za-z]:\\[A-Za-z0-9._-]([A-Za-z0-9 ._\\-]*[A-Za-z0-9_-])?"
        r"|\\\\[A-Za-z0-9][A-Za-z0-9._-]*(\\[A-Za-z0-9_$-]([A-Za-z0-9 ._$-]*[A-Za-z0-9_$-])?)+)?$",
        description="the full path of a folder in plain letters, on a drive of the host: 'E:\\bkf', or on a "
        "share: '\\\\FS01\\backup$\\exch', or ''",
    )
    share_credential: CredentialTable | None = Field(default=None, description=_REFERENCE)
    start: JobStart | None = Field(default=None, description='"wmi", "direct", "system" or "task"')
    task: str | None = Field(
        default=None,
        pattern=r"^([A-Za-z0-9_]([A-Za-z0-9 ._-]*[A-Za-z0-9_-])?)?$",
        description="the name of a scheduled task, in plain letters",
    )
    storage_groups: (
        tuple[Annotated[str, Field(pattern=r'^[^\\/"\x00-\x1f]*[^\s\\/"\x00-\x1f]$')], ...] | None
    ) = Field(
        default=None, strict=False, description="a list of names of storage groups, without a backslash"
    )
    method: JobMethod | None = Field(default=None, description='"copy" or "normal"')
    windows_set: tuple[Annotated[str, Field(pattern=r"^[A-Za-z]:\\$")], ...] | None = Field(
        default=None, strict=False, description="a list of drives such as ['C:\\']"
    )
    stall_s: _Seconds | None = Field(default=None, description=SECONDS)
    least_free_gb: float | None = Field(
        default=None, ge=0, le=1_000_000, description="a number of GB from 0 to 1000000"
    )


class EndpointTable(Table):
    """What hosts and gateways alike may say; see Endpoint."""

    port: int | None = Field(default=None, ge=1, le=65535, description="a whole number from 1 to 65535")
    scheme: Scheme | None = Field(default=None, description='"http" or "https"')
    path: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._-][A-Za-z0-9._/-]*$",
        description='a path such as "wsman", no leading slash',
    )
    auth: Auth | None = Field(
        default=None, description='"negotiate", "kerberos", "ntlm", "credssp", "certificate" or "basic"'
    )
    encryption: Encryption | None = Field(default=None, description='"auto", "always" or "never"')
    verify: bool | str | None = Field(default=None, description=f"true, false (without quotes), or {PEM}")
    wire: Wire | None = Field(default=None, description='"psrp" or "winrs"')
    bulk: Bulk | None = Field(default=None, description='"auto" or "wire"')
    streams: int | None = Field(default=None, ge=1, le=8, description="a whole number from 1 to 8")
    envelope_kb: int | None = Field(default=None, ge=32, le=8192, description="a number from 32 to 8192")
    credential: CredentialTable | None = Field(default=None, description=_REFERENCE)
    certificate: str | None = Field(default=None, pattern=SOMETHING, description=PEM)
    certificate_key: str | None = Field(default=None, pattern=SOMETHING, description=PEM)
    deadlines: DeadlineTable | None = Field(default=None, description=TABLE)
    retry: RetryTable | None = Field(default=None, description=TABLE)


class SettingsTable(EndpointTable):
    """What defaults, groups and hosts may say."""

    api_credential: CredentialTable | None = Field(default=None, description=_REFERENCE)
    via: str | None = Field(default=None, description='the name of a gateway, or "" for none')
    connectors: tuple[str, ...] | None = Field(default=None, strict=False, description=_NAMES)
    tags: tuple[str, ...] | None = Field(default=None, strict=False, description=_NAMES)
    variables: dict[str, str] | None = Field(default=None, description="a table of texts")
    backup: tuple[BackupPart, ...] | None = Field(
        default=None,
        strict=False,
        description='of "connectors", "undelivered-mail", "stopped-copy", "systemstate", "storagegroups"',
    )
    drill_on: str | None = Field(
        default=None, pattern=SOMETHING, description="the name of a host of this inventory"
    )
    drill_folder: str | None = Field(
        default=None,
        pattern=f"^{FOLDER_ON_DRIVE}$",
        description="the full path of a folder on that host, with single backslashes, such as 'D:\\drill'",
    )
    recover_address: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._:\[\]-]+$",
        description="a host name or IP address, with :PORT if that is another one",
    )
    recover_credential: CredentialTable | None = Field(default=None, description=_REFERENCE)
    after: tuple[str, ...] | None = Field(
        default=None, strict=False, description="a list of names of hosts of this inventory"
    )
    ntbackup: NtBackupTable | None = Field(default=None, description=TABLE)
    probe: bool | None = Field(default=None, description="true or false")
    limit_rate: str | None = Field(default=None, description=f'{RATE_TEXT}, or "" for none')


class GatewayTable(EndpointTable):
    """[gateways.NAME]."""

    parallel: int | None = Field(default=None, ge=1, le=64, description="a whole number from 1 to 64")
    second_hop: SecondHop | None = Field(default=None, description='"credential" or "delegated"')
    wmi: bool | None = Field(default=None, description="true or false")
    address: str | None = Field(
        default=None, description="a host name or IP address, without scheme and port"
    )


class HostTable(SettingsTable):
    """[hosts.NAME]."""

    address: str | None = Field(
        default=None, description="a host name or IP address, without scheme and port"
    )
    groups: tuple[str, ...] = Field(default=(), strict=False, description=_NAMES)


class AcceptTable(Table):
    """[[accept]]: a finding that a site lives with; see Acceptance."""

    check: str = Field(pattern=r"^[a-z][a-z0-9.-]*$", description="the name of a check (docs/checks.md)")
    hosts: tuple[str, ...] | None = Field(
        default=None, strict=False, min_length=1, description="a list of hosts, groups or tag:NAME"
    )
    connectors: tuple[str, ...] | None = Field(default=None, strict=False, min_length=1, description=_NAMES)
    reason: str = Field(pattern=SOMETHING, description="a reason, for whoever reads it")
    until: date = Field(description="the last day, such as 2026-12-31 (without quotes)")


class FileTable(Table):
    """The whole file."""

    repository: str | None = Field(default=None, pattern=SOMETHING, description="the path of a folder")
    parallel: int = Field(default=4, ge=1, le=64, description="a whole number from 1 to 64")
    keep_free: str = Field(default=KEEP_FREE, description=SIZE_TEXT)
    defaults: SettingsTable = Field(default=SettingsTable(), description=TABLE)
    groups: dict[str, SettingsTable] = Field(default={}, description=TABLE)
    hosts: dict[str, HostTable] = Field(default={}, description=TABLE)
    gateways: dict[str, GatewayTable] = Field(default={}, description=TABLE)
    accept: tuple[AcceptTable, ...] = Field(default=(), strict=False, description="tables [[accept]]")


SECTIONS: Final[Mapping[str, type[Table]]] = {
    "defaults": SettingsTable, "groups": SettingsTable, "hosts": HostTable, "gateways": GatewayTable,
}  # fmt: skip
_NESTED: Final[Mapping[str, type[Table]]] = {
    "deadlines": DeadlineTable, "retry": RetryTable, "ntbackup": NtBackupTable,
    "credential": CredentialTable, "api_credential": CredentialTable,
    "recover_credential": CredentialTable,
}  # fmt: skip


def schema_at(where: tuple[str, ...]) -> tuple[type[Table] | None, str]:
    """Given where a key is, return the model of its table and the key's name there.

    Below a list, or a table of free names, it is the list's or table's own key.
    """
    if len(where) < 2:
        return FileTable, where[0] if where else ""
    if where[0] == "accept":
        return (AcceptTable, where[2]) if len(where) > 2 else (FileTable, "accept")
    named = where[0] != "defaults"
    rest = where[2:] if named else where[1:]
    if not rest:
        return None, where[1]
    if len(rest) > 2 and rest[:2] == ("ntbackup", "share_credential"):
        return CredentialTable, rest[2]
    if len(rest) > 1 and rest[0] in _NESTED:
        return _NESTED[rest[0]], rest[1]
    return SECTIONS.get(where[0]), rest[0]

"""From the file to the servers: reads, checks and resolves. It never quotes a value of the file in an error,
since the value may be a secret that landed on the wrong line.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from exremote.credential import Credential, NotPrivate, Place, read_private
from exremote.errors import InventoryError
from exremote.inventory.accepting import resolve
from exremote.inventory.amounts import parse_rate, parse_size
from exremote.inventory.cures import open_quote, place_cure, syntax_cure
from exremote.inventory.files import file_problems
from exremote.inventory.jobs import job_problem
from exremote.inventory.lines import key_lines
from exremote.inventory.model import (
    BUILT_IN,
    DEFAULTS,
    PORTS,
    Deadlines,
    Gateway,
    Group,
    Host,
    Inventory,
    NtBackup,
    RetryPolicy,
    T,
    find_name,
    near,
)
from exremote.inventory.names import (
    HOST_NAME,
    NAME,
    is_address,
    name_problem,
    second_hop_problem,
    split_address,
)
from exremote.inventory.schema import (
    _REFERENCE,
    TABLE,
    CredentialTable,
    EndpointTable,
    FileTable,
    GatewayTable,
    HostTable,
    SettingsTable,
    schema_at,
)

_VARIABLE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_SECRET_KEY = re.compile(r".*password.*|passwd|passphrase|pass|pwd", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ENDLESS_NUMBER = re.compile(r"[0-9_]{4300}")
_SYNTAX_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


PLAIN = ("path", "auth", "encryption", "wire", "bulk", "streams", "envelope_kb")
"""Settings of a listener that are taken as they are said."""


@dataclass(frozen=True, slots=True)
class _Layer:
    """One table that has a say in the settings of a host."""

    origin: str
    where: tuple[str, ...]
    table: EndpointTable


class _Merged:
    """The layers of one host or gateway, the strongest first; notes where each value came from."""

    def __init__(self, name: str, layers: Sequence[_Layer]) -> None:
        self.name = name
        self.layers = layers
        self.origins: dict[str, str] = {}

    def take(self, key: str) -> Any:
        """Given a key, return the value of the strongest layer that has it, else what is built in."""
        for layer in self.layers:
            if key in layer.table.model_fields_set:
                self.origins[key] = layer.origin
                return getattr(layer.table, key)
        self.origins[key] = BUILT_IN
        return DEFAULTS.get(key)

    def table(self, key: str, built_in: Mapping[str, object]) -> dict[str, Any]:
        """Given the key of a table, return its sub-keys, each from the strongest layer that has it."""
        merged = dict(built_in)
        origins = dict.fromkeys(merged, BUILT_IN)
        for layer in reversed(self.layers):
            said = getattr(layer.table, key, None)
            if said is not None:
                own = (
                    said
                    if isinstance(said, dict)
                    else {sub: getattr(said, sub) for sub in said.model_fields_set}
                )
                merged.update(own)
                origins.update(dict.fromkeys(own, layer.origin))
        self.origins.update((f"{key}.{sub}", origin) for sub, origin in origins.items())
        return merged

    def where(self, *key: str) -> tuple[str, ...]:
        """Given a key, return where the value in force is said, or the host's own table."""
        for layer in self.layers:
            table: object = layer.table
            for part in key:
                table = table.get(part) if isinstance(table, dict) else getattr(table, part, None)
            if table is not None:
                return (*layer.where, *key)
        return self.layers[0].where


class Reader:
    """One reading of one file."""

    def __init__(self, path: Path, known_connectors: Collection[str] | None) -> None:
        self.path = path
        self.known_connectors = known_connectors
        self.lines: Mapping[tuple[str, ...], int] = {}
        self.text: Sequence[str] = ()
        self.warnings: list[str] = []

    def read(self) -> Inventory:
        """Read, check and resolve the file. Return the inventory. Raise InventoryError."""
        table = self._parse()
        self._check_names(table)
        gateways = {name: self._gateway(name, each, table) for name, each in table.gateways.items()}
        hosts = {name: self._host(name, each, table, gateways) for name, each in table.hosts.items()}
        self._check_order(hosts)
        groups = {
            name: Group(name, tuple(host.name for host in hosts.values() if name in host.groups))
            for name in table.groups
        }
        site = Inventory(
            path=self.path,
            hosts=MappingProxyType(hosts),
            groups=MappingProxyType(groups),
            gateways=MappingProxyType(gateways),
            repository=self._file(table.repository) if table.repository else None,
            parallel=table.parallel,
            keep_free=self._amount(("keep_free",), table.keep_free, parse_size),
            warnings=tuple(self.warnings),
        )
        accepted = resolve(
            table.accept,
            site.select,
            self.known_connectors,
            lambda w: self.place(w).line,
            self.path,
            self.error,
        )
        return replace(site, accepted=accepted)

    # errors

    def place(self, where: tuple[str, ...]) -> Place:
        """Given where a key is, return file, line (of the nearest table that has one) and dotted key."""
        lines = (self.lines.get(where[:length]) for length in range(len(where), 0, -1))
        line = next((each for each in lines if each is not None), None)
        quoted = (part if re.fullmatch(r"[A-Za-z0-9_-]+", part) else f'"{part}"' for part in where)
        return Place(self.path, line, ".".join(quoted))

    def error(self, where: tuple[str, ...], message: str, remedy: str = "") -> InventoryError:
        """Given where and what, return the error."""
        place = self.place(where)
        return InventoryError(message, file=place.file, line=place.line, key=place.key, remedy=remedy)

    # the file

    def _parse(self) -> FileTable:
        """Read the file and hold it against the schema. Return it. Raise InventoryError."""
        try:
            text = self.path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        except UnicodeDecodeError:
            raise InventoryError("expected UTF-8.", file=self.path) from None
        except OSError as error:
            raise InventoryError(f"cannot be read: {error.strerror}.", file=self.path) from None
        try:
            return self._checked(text, tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            found = _SYNTAX_LINE.search(str(error))
            line = int(found[1]) if found and found[1] else text.rstrip("\n").count("\n") + 1
            opened = open_quote(text)
            line = opened[0] if opened is not None and opened[0] <= line else line
            message, remedy = syntax_cure(text, line, _SYNTAX_LINE.sub("", str(error)))
            raise InventoryError(message, file=self.path, line=line, remedy=remedy) from None
        except RecursionError:
            raise InventoryError("expected TOML: it is nested too deep.", file=self.path) from None
        except ValueError:  # Python reads no number of more than 4,300 digits
            digits = _ENDLESS_NUMBER.search(text)
            place = text.count("\n", 0, digits.start()) + 1 if digits else None
            raise InventoryError("expected TOML: a number is too long.", file=self.path, line=place) from None

    def _checked(self, text: str, document: Mapping[str, Any]) -> FileTable:
        """Given the file's text and what it says, hold it against the schema. Raise InventoryError."""
        self.text = text.split("\n")
        self.lines = key_lines(text)
        self._refuse_passwords(document, ())
        try:
            return FileTable.model_validate(document)
        except ValidationError as error:
            problems = [
                self._problem(each["type"], each["loc"]) for each in error.errors(include_input=False)
            ]
        unique = {(each.line or 0, each.key): each for each in problems}
        first, *others = [unique[key] for key in sorted(unique)]
        if others:
            more = "; ".join(f"line {each.line}: {each.key}: {each.message.rstrip('.')}" for each in others)
            first.remedy = f"{first.remedy} Also wrong: {more}.".strip()
        raise first

    def _problem(self, kind: str, loc: Sequence[str | int]) -> InventoryError:
        """Given kind and place of a violation of the schema, return it as an error of ours."""
        where = tuple(str(part) for part in loc)
        model, key = schema_at(where)
        known = model.model_fields if model else {}
        if kind == "extra_forbidden":
            line = self.text[(self.place(where).line or 1) - 1]
            remedy = place_cure(where, line) or near(key, known) or f"Known here: {', '.join(known)}."
            return self.error(where, "this key is not known.", remedy)
        if key == "variables" and where[-1] != key:
            return self.error(where, "expected a text between quotes.")
        # Below a key that is a list or a union pydantic goes on with its own names; ours end at the key.
        while len(where) > 1 and key in known and where[-1] != key:
            where = where[:-1]
        expected = known[key].description if key in known else TABLE
        return self.error(where, f"expected {expected}.")

    def _refuse_passwords(self, value: object, where: tuple[str, ...]) -> None:
        """Look through the whole file for a key that says password. Raise InventoryError at the first."""
        if isinstance(value, list):
            for each in value:
                self._refuse_passwords(each, where)
        if isinstance(value, dict):
            for key, each in value.items():
                named = isinstance(each, dict) and where in (("groups",), ("hosts",), ("gateways",))
                if _SECRET_KEY.fullmatch(key) and not named:
                    raise self.error(
                        (*where, key),
                        "a password must not stand in the inventory.",
                        "Change that password, and refer to the new one: credential = "
                        "{ environment = 'VARIABLE', ... }, { keyring = 'SERVICE', ... }, "
                        "{ file = 'PATH' } or { prompt = true, ... }.",
                    )
                self._refuse_passwords(each, (*where, key))

    def _check_names(self, table: FileTable) -> None:
        """Given the file, look at every name it makes. Raise InventoryError if one cannot stand."""
        if not table.hosts:
            raise self.error(("hosts",), "expected at least one table [hosts.NAME].")
        taken: dict[str, tuple[str, str]] = {}
        for section in ("groups", "hosts", "gateways"):
            for name in getattr(table, section):
                if problem := name_problem(name):
                    raise self.error((section, name), f"expected {problem}.")
                if name.casefold() in taken:
                    other = ".".join(taken[name.casefold()])
                    raise self.error(
                        (section, name), f"expected a name that differs from {other} in more than case."
                    )
                taken[name.casefold()] = (section, name)
        tables: list[tuple[tuple[str, ...], SettingsTable]] = [(("defaults",), table.defaults)]
        tables += [(("groups", name), each) for name, each in table.groups.items()]
        tables += [(("hosts", name), each) for name, each in table.hosts.items()]
        for where, each in tables:
            self._check_lists(where, each)

    def _check_lists(self, where: tuple[str, ...], table: SettingsTable) -> None:
        """Given a table, look at its tags, connectors and variables. Raise InventoryError."""
        for tag in table.tags or ():
            if not NAME.fullmatch(tag):
                raise self.error((*where, "tags"), f"expected {name_problem('')}.")
        for name in table.connectors or ():
            if self.known_connectors is not None and name not in self.known_connectors:
                known = ", ".join(sorted(self.known_connectors))
                remedy = near(name, self.known_connectors)
                raise self.error((*where, "connectors"), f"expected names of: {known}.", remedy)
        for name, value in (table.variables or {}).items():
            if not _VARIABLE.fullmatch(name):
                expected = "a variable's name in lower case letters, digits and underscores, a letter first"
                raise self.error((*where, "variables", name), f"expected {expected}.")
            if _CONTROL.search(value):
                remedy = (
                    "Write Windows paths between single quotes, where \\t and \\n are no control characters."
                )
                raise self.error((*where, "variables", name), "expected no control characters.", remedy)

    # resolving

    def _file(self, said: str) -> Path:
        """Given a path as the file says it, return it absolute; a relative one begins beside the file."""
        # Not pathlib: resolve() would follow a link that must be seen, expanduser() raises for a wrong name.
        return Path(os.path.abspath(self.path.parent / os.path.expanduser(said)))  # noqa: PTH100, PTH111

    def _amount(self, where: tuple[str, ...], said: str, parse: Callable[[str], int]) -> int:
        """Given where a rate or size is said, and what, return the number. Raise InventoryError."""
        try:
            return parse(said)
        except ValueError:
            model, key = schema_at(where)
            expected = model.model_fields[key].description if model else ""
            raise self.error(where, f"expected {expected}.") from None

    def _rate(self, merged: _Merged) -> int | None:
        """Given the layers of a host, return its rate; an empty text takes away what a group says."""
        said: str = merged.take("limit_rate") or ""
        return self._amount(merged.where("limit_rate"), said, parse_rate) if said else None

    def _gateway(self, name: str, own: GatewayTable, table: FileTable) -> Gateway:
        """Given a gateway's table, resolve it over the defaults. Return it. Raise InventoryError."""
        layers = [
            _Layer("gateway", ("gateways", name), own),
            _Layer("defaults", ("defaults",), table.defaults),
        ]
        merged = _Merged(name, layers)
        found = self._endpoint(merged, direct=True)
        for key in ("parallel", "second_hop", "wmi"):
            said = getattr(own, key)
            merged.origins[key] = BUILT_IN if said is None else "gateway"
            if said is not None:
                found[key] = said
        readable = found["scheme"] == "http" and found["encryption"] == "never" and found["wire"] == "winrs"
        if readable and found.get("second_hop", "credential") == "credential":
            self.warnings.append(
                f"{name}: encryption ({merged.origins['encryption']}): with wire = winrs, passwords of the "
                "hosts behind it are readable on the network, too."
            )
        return Gateway(**found, origins=MappingProxyType(merged.origins))

    def _host(self, name: str, own: HostTable, table: FileTable, gateways: Mapping[str, Gateway]) -> Host:
        """Given a host's table, resolve it over groups and defaults. Return it. Raise InventoryError."""
        layers = [_Layer("host", ("hosts", name), own)]
        for said in own.groups:
            group = find_name(table.groups, said)
            if group is None:
                raise self.error(
                    ("hosts", name, "groups"),
                    f"expected names of [groups.NAME] tables; there is none of {said}.",
                    near(said, table.groups),
                )
            layers.append(_Layer(f"group {group}", ("groups", group), table.groups[group]))
        layers.append(_Layer("defaults", ("defaults",), table.defaults))
        merged = _Merged(name, layers)
        via: str = merged.take("via") or ""
        gateway = find_name(gateways, via) if via else None
        if via and gateway is None:
            raise self.error(
                merged.where("via"),
                f"expected the name of a [gateways.NAME] table; there is none of {via}.",
                near(via, gateways),
            )
        endpoint = self._endpoint(merged, direct=gateway is None)
        if gateway:
            endpoint["unusable"] = gateways[gateway].unusable
            self._check_second_hop(merged, "address", endpoint["address"], gateways[gateway])
        tags = [(tag, layer) for layer in layers for tag in getattr(layer.table, "tags", None) or ()]
        merged.origins["tags"] = ", ".join(dict.fromkeys(layer.origin for _, layer in tags)) or BUILT_IN
        merged.origins["groups"] = "host" if own.groups else BUILT_IN
        connectors: tuple[str, ...] | None = merged.take("connectors")
        return Host(
            **endpoint,
            api_credential=self._credential(merged, "api_credential"),
            gateway=gateways[gateway] if gateway else None,
            connectors=_once(connectors) if connectors is not None else None,
            groups=_once(layer.where[1] for layer in layers[1:-1]),
            tags=_once(tag for tag, _ in tags),
            variables=MappingProxyType(merged.table("variables", {})),
            backup=_once(merged.take("backup")),
            drill_on=self._drill_on(merged, table),
            recover_address=self._recover_address(merged, gateways[gateway] if gateway else None),
            recover_credential=self._credential(merged, "recover_credential"),
            after=self._after(merged, table),
            drill_folder=merged.take("drill_folder"),
            ntbackup=self._ntbackup(merged, via),
            probe=merged.take("probe"),
            limit_rate=self._rate(merged),
            origins=MappingProxyType(merged.origins),
        )

    def _ntbackup(self, merged: _Merged, gateway: str) -> NtBackup:
        """Given the layers and the gateway, return how ntbackup saves the host. Raise InventoryError."""
        said = merged.table("ntbackup", asdict(NtBackup()))
        reference: CredentialTable | None = said["share_credential"]
        if reference is not None:
            where = merged.where("ntbackup", "share_credential")
            said["share_credential"] = self._refer(merged, reference, where)
        found = NtBackup(**said)
        if problem := job_problem(found, gateway):
            expected, remedy = problem
            raise self.error(merged.where("ntbackup"), f"expected {expected}.", remedy)
        return found

    def _drill_on(self, merged: _Merged, table: FileTable) -> str | None:
        """Given the layers, return the host where snapshots are tried, if any. Raise InventoryError."""
        said: str | None = merged.take("drill_on")
        return self._host_named(merged, table, "drill_on", said) if said else None

    def _after(self, merged: _Merged, table: FileTable) -> tuple[str, ...]:
        """Given the layers, return the hosts that are recovered before this one. Raise InventoryError."""
        said: tuple[str, ...] = merged.take("after")
        found = _once(self._host_named(merged, table, "after", name) for name in said)
        if merged.name in found:
            raise self.error(
                merged.where("after"), f"expected other hosts: {merged.name} is the host itself."
            )
        return found

    def _check_order(self, hosts: Mapping[str, Host]) -> None:
        """Given the hosts, raise InventoryError if some come after each other."""
        try:
            TopologicalSorter({name: host.after for name, host in hosts.items()}).prepare()
        except CycleError as error:
            ring: list[str] = list(dict.fromkeys(error.args[1]))
            first = min(ring, key=lambda name: self.place(("hosts", name, "after")).line or 0)
            raise self.error(
                ("hosts", first, "after"),
                f"{', '.join(sorted(ring))} come after each other, so none can be recovered first.",
                "Leave one of them out.",
            ) from None

    def _host_named(self, merged: _Merged, table: FileTable, key: str, said: str) -> str:
        """Given the name of a host as a key says it, return it as its table does. Raise InventoryError."""
        found = find_name(table.hosts, said)
        if found is None:
            raise self.error(
                merged.where(key),
                f"expected the name of a [hosts.NAME] table; there is none of {said}.",
                near(said, table.hosts),
            )
        return found

    def _recover_address(self, merged: _Merged, gateway: Gateway | None) -> str | None:
        """Given the layers, return where the new machine is reached, if they say so. Raise InventoryError."""
        said: str | None = merged.take("recover_address")
        if said is not None:
            try:
                address, _ = split_address(said)
            except ValueError as error:
                raise self.error(merged.where("recover_address"), f"expected {error}.") from error
            if gateway is not None:
                self._check_second_hop(merged, "recover_address", address, gateway)
        return said

    def _check_second_hop(self, merged: _Merged, key: str, address: str, gateway: Gateway) -> None:
        """Given how a gateway finds a host, raise InventoryError if that is the gateway itself, or no way."""
        if problem := second_hop_problem(address, gateway.name, gateway.address):
            raise self.error(merged.where(key), f"expected {problem}.")

    def _endpoint(self, merged: _Merged, *, direct: bool) -> dict[str, Any]:
        """Given the layers, resolve what hosts and gateways share, and hold settings against each other.

        `direct` says whether WinRM goes there at all. Return the fields. Raise InventoryError.
        """
        address = merged.take("address") or merged.name
        if not (is_address(address) or HOST_NAME.fullmatch(address)):
            expected = HostTable.model_fields["address"].description
            raise self.error(merged.where("address"), f"expected {expected}.")
        scheme, port = merged.take("scheme"), merged.take("port")
        verify = merged.take("verify")
        if isinstance(verify, str):
            if verify.strip().lower() in ("", "true", "false", "yes", "no"):
                raise self.error(
                    merged.where("verify"), f"expected {EndpointTable.model_fields['verify'].description}."
                )
            verify = self._file(verify)
        certificate, certificate_key = merged.take("certificate"), merged.take("certificate_key")
        found = {
            "address": address,
            "port": port if merged.origins["port"] != BUILT_IN else PORTS[scheme],
            "scheme": scheme,
            "verify": verify,
            "certificate": self._file(certificate) if certificate else None,
            "certificate_key": self._file(certificate_key) if certificate_key else None,
            **{key: merged.take(key) for key in PLAIN},
        }
        if direct:
            self._check_login(merged, found)
            self._warn(merged, found)
        credential = self._credential(merged, "credential")
        if credential is None and (found["auth"] != "certificate" or not direct):
            raise self.error(
                merged.layers[0].where,
                "expected a credential, here, in a group of it, or in defaults.",
                f"Say credential = {_REFERENCE.removeprefix('a table such as ')}.",
            )
        unusable = self._unusable(merged, found) if direct else None
        deadlines = Deadlines(**merged.table("deadlines", asdict(Deadlines())))
        retry = RetryPolicy(**merged.table("retry", asdict(RetryPolicy())))
        if deadlines.read_s <= deadlines.operation_s:
            key = "read_s" if merged.origins["deadlines.read_s"] != BUILT_IN else "operation_s"
            raise self.error(
                merged.where("deadlines", key),
                f"expected read_s ({deadlines.read_s:g}) to be longer than operation_s "
                f"({deadlines.operation_s:g}), or every quiet operation ends as a timeout.",
            )
        return {
            **found,
            "name": merged.name,
            "credential": credential or Credential(kind="none", host=merged.name),
            "deadlines": deadlines,
            "retry": retry,
            "unusable": unusable,
        }

    def _unusable(self, merged: _Merged, found: Mapping[str, Any]) -> InventoryError | None:
        """Given the settings of one listener, return why it cannot be asked, or None. Other hosts can be."""
        for key, problem in file_problems(found):
            expected = EndpointTable.model_fields[key].description
            return self.error(
                merged.where(key),
                f"expected {expected}; {problem}.",
                "Put the file there, or correct the path: a relative one begins beside the inventory.",
            )
        return None

    def _check_login(self, merged: _Merged, found: Mapping[str, Any]) -> None:
        """Given the settings of one listener, refuse what cannot work, or would show a password."""
        auth, scheme, encryption = found["auth"], found["scheme"], found["encryption"]
        where = merged.where("auth")
        if auth == "kerberos" and is_address(found["address"]):
            raise self.error(
                merged.where("address"),
                f"expected a host name: {merged.name} uses kerberos, which does not work with IP addresses.",
                'Say the full host name as address, or auth = "negotiate".',
            )
        if auth == "certificate":
            if scheme != "https":
                raise self.error(
                    where, f'expected scheme = "https" for {merged.name}: auth is "certificate".'
                )
            for key in ("certificate", "certificate_key"):
                if found[key] is None:
                    raise self.error(
                        where, f'expected {key} = "FILE.pem" for {merged.name}: auth is "certificate".'
                    )
        if auth in ("basic", "certificate") and encryption == "always":
            raise self.error(
                merged.where("encryption"),
                f'expected "auto" for {merged.name}: auth = "{auth}" has no message encryption.',
            )
        if auth == "basic" and scheme == "http" and encryption != "never":
            raise self.error(
                where,
                f'expected scheme = "https" for {merged.name}: basic over http sends the password readable.',
                'Use https or auth = "negotiate"; encryption = "never" says that it may be readable.',
            )

    def _warn(self, merged: _Merged, found: Mapping[str, Any]) -> None:
        """Given the settings of one listener, note what is allowed but should be known."""

        def warn(key: str, sentence: str) -> None:
            self.warnings.append(f"{merged.name}: {key} ({merged.origins[key]}): {sentence}")

        scheme, port = found["scheme"], found["port"]
        if found["verify"] is False:
            warn("verify", "the TLS certificate is not checked, so the host may be anybody.")
        if scheme == "http" and found["encryption"] == "never":
            what = "the password and all data are" if found["auth"] == "basic" else "all data is"
            warn("encryption", f"{what} readable on the network.")
        if port == PORTS["https" if scheme == "http" else "http"]:
            warn("port", f"{port} is not the usual port of {scheme}.")
        if found["auth"] == "certificate":
            with suppress(FileNotFoundError):  # that it is not there is no warning, but an error
                found["certificate_key"].stat()
                try:
                    read_private(found["certificate_key"])
                except NotPrivate as error:
                    warn("certificate_key", f"{found['certificate_key']}: {error}")

    def _credential(self, merged: _Merged, key: str) -> Credential | None:
        """Given the key of a credential, make it. Return it, or none. Raise InventoryError."""
        said: CredentialTable | None = merged.take(key)
        if said is None:
            return None
        return self._refer(merged, said, merged.where(key))

    def _refer(self, merged: _Merged, said: CredentialTable, where: tuple[str, ...]) -> Credential:
        """Given what a credential's table says, make it. Raise InventoryError."""
        try:
            return Credential.refer(
                said.model_dump(exclude_unset=True), self._file, host=merged.name, place=self.place(where)
            )
        except ValueError as error:
            raise self.error(where, f"expected {error}.") from None


def _once(names: Iterable[T]) -> tuple[T, ...]:
    """Given names, return each once, in order."""
    return tuple(dict.fromkeys(names))

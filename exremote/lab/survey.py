"""What the files, registry values and services of a machine's connectors are, as plain values to compare.

It changes nothing on the machine, and asks no script of exremote's: what it says can be held against those.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from exremote.lab.files import Content
from exremote.lab.images import command_of, image_exists
from exremote.lab.machine import SERVICES, START_MODES, Machine
from exremote.lab.registry import Key, Kind
from exremote.lab.reinstalling import PLACES
from exremote.lab.wine import BUILT_IN, KEYS, Prefix, run

Survey = dict[str, dict[str, Any]]
"""`files`: path to SHA-256; `registry`: KEY|name to kind and data; `services`: name to state and the like."""

_ASKING = """
$ErrorActionPreference = 'Stop'
Add-Type -AssemblyName System.ServiceProcess
function Send($Parts) {
    $bytes = [Text.Encoding]::UTF8.GetBytes([string]::Join("`0", [string[]]$Parts))
    Write-Output ('=' + [Convert]::ToBase64String($bytes))
}
function Walk($Key, [string]$Name) {
    if ($null -eq $Key) { return }
    foreach ($value in @($Key.GetValueNames())) {
        $data = $Key.GetValue($value, $null, 'DoNotExpandEnvironmentNames')
        $text = if ($data -is [byte[]]) { [BitConverter]::ToString($data).Replace('-', '') }
        elseif ($data -is [string[]]) { [string]::Join("`n", $data) } else { [string]$data }
        Send @('V', $Name, $value, [string]$Key.GetValueKind($value), $text)
    }
    Send @('K', $Name)
    foreach ($child in @($Key.GetSubKeyNames())) { Walk $Key.OpenSubKey($child) "$Name\\$child" }
}
$root = [Microsoft.Win32.Registry]::LocalMachine
foreach ($key in @(ASKED)) { Walk $root.OpenSubKey($key.Substring(5)) $key }
foreach ($one in [ServiceProcess.ServiceController]::GetServices()) {
    Send @('S', $one.ServiceName, [string]$one.Status)
}
"""


def _keys(machine: Machine) -> list[str]:
    names = [one.name for one in machine.services.values() if one.name.lower() not in BUILT_IN]
    return [*KEYS, *(rf"{SERVICES}\{name}" for name in names)]


def survey(machine: Machine, prefix: Prefix | None) -> Survey:
    """Given a machine, return what its connectors have now. Under Wine its registry is as there afterwards.

    Raise WineTrouble.
    """
    states: dict[str, str] = {}
    if prefix is not None:
        states = _take_over(machine, prefix)
    values: dict[str, Any] = {}
    for path in _keys(machine):
        key = machine.registry.find(path)
        if key is not None:
            values |= _values(path, key)
    files = dict(_files_of(machine) if prefix is None else _files_on_disk(machine, prefix))
    services = {
        one.name: _service(machine, one.name, states.get(one.name.lower(), ""))
        for one in machine.services.values()
        if one.name.lower() not in BUILT_IN
    }
    return {"files": files, "registry": values, "services": services}


def _service(machine: Machine, name: str, state: str) -> dict[str, Any]:
    start = machine.registry.number(rf"{SERVICES}\{name}", "Start", 9)
    command = command_of(machine, name)
    return {
        "state": state or machine.service_state(name),
        "start_mode": START_MODES[start] if 0 <= start <= 4 else "Unknown",
        "image": command,
        "image_exists": image_exists(machine, command),
    }


def _values(path: str, key: Key) -> dict[str, Any]:
    found = {
        f"{path}|{value.name}": [
            value.kind.name,
            value.data.hex()
            if isinstance(value.data, bytes)
            else list(value.data)
            if isinstance(value.data, tuple)
            else value.data,
        ]
        for value in key.values.values()
    }
    for child in key.keys.values():
        found |= _values(rf"{path}\{child.name}", child)
    return found


def _files_of(machine: Machine) -> Iterator[tuple[str, str]]:
    for place in PLACES:
        if machine.files.is_directory(place):
            for relative, node in machine.files.walk(place):
                if node.content is not None:
                    yield rf"{place}\{relative}", _digest(node.content)


def _digest(content: Content) -> str:
    # What the file holds, not what the machine may say that it holds.
    digest = hashlib.sha256()
    for chunk in content.chunks():
        digest.update(chunk)
    return digest.hexdigest()


def _files_on_disk(machine: Machine, prefix: Prefix) -> Iterator[tuple[str, str]]:
    for place in PLACES:
        folder = prefix.path(place)
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file():
                yield "\\".join((place, *path.relative_to(folder).parts)), _digest_of(path)


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _take_over(machine: Machine, prefix: Prefix) -> dict[str, str]:
    """Bring what Wine's registry has into the machine's. Return the states of the services there."""
    asked = ", ".join("'" + key.replace("'", "''") + "'" for key in _keys(machine))
    script = base64.b64encode(_ASKING.replace("ASKED", asked).encode("utf-16-le")).decode()
    said = run(
        [*prefix.engine, "-NoProfile", "-NonInteractive", "-EncodedCommand", script], prefix.folder
    ).decode("ascii", "replace")
    for key in _keys(machine):
        machine.registry.remove(key)
    states: dict[str, str] = {}
    for line in said.splitlines():
        if not line.startswith("="):
            continue
        match base64.b64decode(line[1:]).decode().split("\0"):
            case ["K", key]:
                machine.registry.make(key)
            case ["V", key, name, kind, text]:
                _set(machine, key, name, kind, text)
            case ["S", name, state]:
                states[name.lower()] = state
    return states


def _set(machine: Machine, key: str, name: str, kind: str, text: str) -> None:
    data: str | int | bytes | tuple[str, ...]
    match kind:
        case "DWord" | "QWord":
            data = int(text) & (0xFFFFFFFF if kind == "DWord" else 2**64 - 1)
        case "MultiString":
            data = tuple(text.split("\n")) if text else ()
        case "String" | "ExpandString":
            data = text
        case _:
            kind, data = "Binary", bytes.fromhex(text)
    machine.registry.set(key, name, data, Kind[kind])

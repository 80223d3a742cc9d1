"""How others move files, with their own libraries: pypsrp's `Client`, and the two ways of Ansible.

Ansible's connection plugins are not run; what they do on the wire is done here, as their source says: psrp
stops the last pipeline and starts a new one for each chunk of a quarter of the payload, winrm starts a new
powershell.exe for each 512 KiB. Nothing here is used by exremote.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pypsrp.client import Client
from pypsrp.powershell import PowerShell, PSInvocationState, RunspacePool
from pypsrp.wsman import WSMan
from winrm.protocol import Protocol

from benchmarks.meter import Meter, Used

WINRM_CHUNK = 512 * 1024
READ_CHUNK = (
    "param($Path, $Offset, $Size)\n"
    "$fs = [System.IO.File]::OpenRead($Path); $null = $fs.Seek($Offset, 'Begin')\n"
    "$buffer = New-Object byte[] $Size; $read = $fs.Read($buffer, 0, $Size); $fs.Close()\n"
    "if ($read -gt 0) { [Convert]::ToBase64String($buffer, 0, $read) }\n"
)
_WINRM_SCRIPT = (
    "$path = '{path}'; $buffer_size = {size}; $offset = {offset}\n"
    "$stream = New-Object IO.FileStream($path, 'Open', 'Read', 'ReadWrite')\n"
    "$stream.Seek($offset, 'Begin') > $null; $buffer = New-Object byte[] $buffer_size\n"
    "$read = $stream.Read($buffer, 0, $buffer_size); $bytes = $buffer[0..($read - 1)]\n"
    "[Convert]::ToBase64String($bytes); $stream.Close() > $null\n"
)

Answer = tuple[Used, dict[str, Any]]


def _login(lab: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "port": lab["port"],
        "ssl": False,
        "auth": "ntlm",
        "username": lab["user"],
        "password": lab["password"],
        "no_proxy": True,
    }


def fetch(request: Mapping[str, Any], meter: Meter) -> Answer:
    """Fetch files with pypsrp's `Client.fetch`, one after another, over one client, from connect to close.

    With `warm`, that file is fetched before the count begins: the client is connected then.
    """
    target = Path(request["folder"])
    size = 0
    if not request.get("warm"):
        meter.start()
    with Client("127.0.0.1", **_login(request["lab"])) as client:
        if request.get("warm"):
            client.fetch(request["warm"], str(target / "warm"))
            meter.start()
        for number, path in enumerate(request["paths"]):
            client.fetch(path, str(target / str(number)))
            size += (target / str(number)).stat().st_size
    return meter.stop(), {"files": len(request["paths"]), "bytes": size}


def copy(request: Mapping[str, Any], meter: Meter) -> Answer:
    """Send files with pypsrp's `Client.copy`, one after another, over one client, from connect to close."""
    sources = [Path(name) for name in request["sources"]]
    meter.start()
    with Client("127.0.0.1", **_login(request["lab"])) as client:
        for source in sources:
            client.copy(str(source), rf"{request['root']}\{source.name}")
    return meter.stop(), {"files": len(sources), "bytes": sum(s.stat().st_size for s in sources)}


def ansible_psrp(request: Mapping[str, Any], meter: Meter) -> Answer:
    """Fetch files a pipeline per chunk, the last one stopped first, over one pool, from connect to close."""
    meter.start()
    wsman = WSMan("127.0.0.1", **_login(request["lab"]))
    with wsman, RunspacePool(wsman) as pool:
        # A quarter of the payload where three would fit: 27,648 or 95,232 bytes.
        chunk = int(wsman.max_payload_size / 4 // 1024 * 1024)
        size = _files(request, lambda path, offset: _psrp_chunk(pool, path, offset, chunk))
        if _LAST:
            _stop(_LAST.pop())
    return meter.stop(), {"files": len(request["paths"]), "bytes": size, "chunk": chunk}


_LAST: list[PowerShell] = []


def _psrp_chunk(pool: RunspacePool, path: str, offset: int, size: int) -> bytes:
    if _LAST:
        _stop(_LAST.pop())
    shell = PowerShell(pool)
    shell.add_script(READ_CHUNK).add_argument(path).add_argument(offset).add_argument(size)
    output: Sequence[Any] = shell.invoke()
    _LAST.append(shell)
    return base64.b64decode(output[0]) if output else b""


def _stop(shell: PowerShell) -> None:
    """Stop a pipeline that has ended: so the host forgets it."""
    shell.state = PSInvocationState.RUNNING
    with suppress(Exception):
        shell.stop()


def ansible_winrm(request: Mapping[str, Any], meter: Meter) -> Answer:
    """Fetch files a new powershell.exe per 512 KiB, in one shell, from connect to close."""
    lab = request["lab"]
    meter.start()
    protocol = Protocol(
        f"http://127.0.0.1:{lab['port']}/wsman",
        transport="ntlm",
        username=lab["user"],
        password=lab["password"],
        message_encryption="always",
        proxy=None,
    )
    shell = protocol.open_shell(codepage=65001)

    def chunk(path: str, offset: int) -> bytes:
        text = _WINRM_SCRIPT.format(path=path, size=WINRM_CHUNK, offset=offset)
        encoded = base64.b64encode(text.encode("utf-16-le")).decode()
        options = ["-NoProfile", "-NonInteractive", "-ExecutionPolicy", "Unrestricted"]
        command = protocol.run_command(shell, "PowerShell", [*options, "-EncodedCommand", encoded])
        try:
            output, errors, code = protocol.get_command_output(shell, command)
        finally:
            protocol.cleanup_command(shell, command)
        if code:
            raise RuntimeError(errors.decode("utf-8", "replace"))
        return base64.b64decode(output.strip())

    try:
        size = _files(request, chunk)
    finally:
        protocol.close_shell(shell)
    return meter.stop(), {"files": len(request["paths"]), "bytes": size, "chunk": WINRM_CHUNK}


def _files(request: Mapping[str, Any], chunk: Any) -> int:
    """Fetch each file by its chunks, into a folder. Return the bytes of all."""
    total = 0
    for number, path in enumerate(request["paths"]):
        offset = 0
        with (Path(request["folder"]) / str(number)).open("wb") as file:
            while data := chunk(path, offset):
                file.write(data)
                offset += len(data)
        total += offset
    return total

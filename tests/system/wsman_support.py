"""A small simulated host for the endpoint's tests, and its clients: pypsrp and pywinrm as they are."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import winrm
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan

from exremote.lab.wsman.engine import (
    Call,
    ErrorRecord,
    Long,
    Progress,
    Record,
    ScriptThrew,
    Verbose,
    Warning_,
)
from exremote.lab.wsman.server import Endpoint, Listening

USER = "admin"
PASSWORD = "S3cret-für-das-Labor"
COMPLETED, STOPPED, FAILED = 4, 3, 5
RUNNING = 1
BLOCK = os.urandom(256 * 1024)

closed = threading.Event()
"""Set when the generator of `forever` or `flood` is closed."""
produced: list[int] = [0]
"""Blocks that `flood` has made."""


def run_script(
    text: str, parameters: Mapping[str, object], given: Iterator[object], call: Call
) -> Iterator[Record]:
    """The engine: each script text is one behaviour."""
    match text:
        case "types":
            yield from (
                "text",
                7,
                5_000_000_000,
                Long(3),
                1.5,
                True,
                None,
                b"\x00\xffabc",
                {"A": 1, "B": [1, "z"]},
            )
        case "echo":
            yield {name: repr(value) for name, value in parameters.items()}
        case "input":
            for item in given:
                yield item if isinstance(item, bytes) else repr(item)
        case "streams":
            yield Warning_("careful")
            yield Verbose("talking")
            yield Progress("copying", "half", 50)
            yield ErrorRecord("Lab.NonTerminating", "went wrong", target="C:\\x", category="ObjectNotFound")
            yield "after"
        case "throw":
            yield "before"
            raise ScriptThrew(ErrorRecord("Lab.Terminating", "no further"))
        case "bug":
            raise RuntimeError("a bug in the simulation")
        case "who":
            yield call.user
        case "blocks":
            for _ in range(int(str(parameters["n"]))):
                yield BLOCK
        case "forever" | "flood":
            try:
                while not call.stopping.is_set():
                    if text == "flood":
                        produced[0] += 1
                        yield BLOCK
                    else:
                        call.stopping.wait(0.05)
                        yield "tick"
            finally:
                closed.set()
        case "sleep":
            call.stopping.wait(float(str(parameters["s"])))
            yield "slept"
        case _:
            raise ScriptThrew(ErrorRecord("Lab.UnknownScript", f"not known here: {text[:40]}"))


def run_command(
    command: str,
    arguments: Sequence[str],
    environment: Mapping[str, str],
    stdin: Iterator[bytes],
    stdout: Callable[[bytes], None],
    stderr: Callable[[bytes], None],
    call: Call,
) -> int:
    """The command lines that the host knows."""
    match command:
        case "echo":
            stdout(" ".join(arguments).encode() + b"\r\n")
            return 0
        case "cat":
            for piece in stdin:
                stdout(piece)
            return 0
        case "fail":
            stderr(b"bad\r\n")
            return 3
        case "env":
            stdout("".join(f"{name}={value}\r\n" for name, value in environment.items()).encode())
            return 0
        case "big":
            for _ in range(int(arguments[0])):
                stdout(BLOCK)
            return 0
        case "sleep":
            call.stopping.wait(float(arguments[0]))
            return 0
    raise FileNotFoundError(command)


def connect(endpoint: Endpoint, where: Listening, **changes: Any) -> WSMan:
    """A pypsrp connection."""
    settings: dict[str, Any] = {
        "port": where.port,
        "username": f"LAB\\{USER}",
        "password": PASSWORD,
        "ssl": where.scheme == "https",
        "auth": "negotiate",
        "no_proxy": True,
    }
    if where.scheme == "https":
        settings["cert_validation"] = str(endpoint.certificate_path)
    return WSMan(where.host, **(settings | changes))


def run(pool: RunspacePool, text: str, given: Any = None, **parameters: Any) -> PowerShell:
    """Run one script to its end."""
    shell = PowerShell(pool).add_script(text).add_parameters(parameters)
    shell.invoke(given)
    return shell


def protocol(where: Listening, **changes: Any) -> winrm.Protocol:
    """A pywinrm connection."""
    settings: dict[str, Any] = {
        "transport": "ntlm",
        "username": USER,
        "password": PASSWORD,
        "server_cert_validation": "ignore",
        "proxy": None,
    }
    return winrm.Protocol(endpoint=where.url, **(settings | changes))

"""The lab's process: one host, furnished for the benchmarks, that also knows pypsrp's helper script.

It serves as `exremote-lab up` does: one line of JSON on standard output, then until standard input ends.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Iterator

from pypsrp._utils import get_pwsh_script

from benchmarks.content import HOST, furnish
from exremote.lab.binding import Arguments
from exremote.lab.control import Control
from exremote.lab.files import Missing
from exremote.lab.machine import Machine
from exremote.lab.site import HostSpec
from exremote.lab.world import World
from exremote.lab.wsman.engine import Call, ErrorRecord, Record, ScriptThrew


def fetch(machine: Machine, arguments: Arguments, source: Iterator[object], call: Call) -> Iterator[Record]:
    """Answer pypsrp's fetch.ps1: the whole file as one base64 text, then its SHA-1."""
    path = arguments.text("0")
    try:
        with machine.lock:
            opened = machine.files.open(path)
    except Missing:
        raise ScriptThrew(ErrorRecord("PathMissing", f"The path at '{path}' does not exist")) from None
    data = b"".join(opened.content.chunks())
    if data:
        yield base64.b64encode(data).decode()
    yield hashlib.sha1(data, usedforsecurity=False).hexdigest()


def main() -> None:
    """Serve until standard input ends."""
    sizes = tuple(int(text) for text in sys.argv[1:])
    world = World([HostSpec(HOST, winrm=3)])
    try:
        furnish(world.machine(HOST), sizes)
        world.behaviours[HOST].register(get_pwsh_script("fetch.ps1"), "pypsrp fetch.ps1", fetch)
        control = Control(world)
        said = {
            "control": control.url,
            "token": control.token,
            "inventory": str(world.inventory),
            "user": world.user,
            "password": world.password,
            "port": world.hosts[HOST].port,
        }
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        while sys.stdin.buffer.read(4096):
            pass
        control.close()
    finally:
        world.stop()


if __name__ == "__main__":
    main()

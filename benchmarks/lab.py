"""The lab's process: hosts furnished for the benchmarks, that also know the scripts of other clients.

It serves as `exremote-lab up` does: one line of JSON on standard output, then until standard input ends.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence

from pypsrp._utils import get_pwsh_script

from benchmarks.content import CROWD, HOST, TWINS, furnish, furnish_many, furnish_tree
from benchmarks.peers import READ_CHUNK
from exremote.lab.binding import Arguments
from exremote.lab.control import Control
from exremote.lab.files import Fixed, Missing
from exremote.lab.machine import Machine
from exremote.lab.site import HostSpec
from exremote.lab.world import World
from exremote.lab.wsman.engine import Call, ErrorRecord, Record, ScriptThrew

_CHUNK = re.compile(r"\$path = '([^']*)'; \$buffer_size = (\d+); \$offset = (\d+)\n")


def content(machine: Machine, path: str) -> bytes:
    """Return what a file holds. Raise ScriptThrew if there is none."""
    try:
        with machine.lock:
            opened = machine.files.open(path)
    except Missing:
        raise ScriptThrew(ErrorRecord("PathMissing", f"The path at '{path}' does not exist")) from None
    whole = opened.content
    return whole.data if isinstance(whole, Fixed) else b"".join(whole.chunks())


def fetch(machine: Machine, arguments: Arguments, source: Iterator[object], call: Call) -> Iterator[Record]:
    """Answer pypsrp's fetch.ps1: the whole file as one base64 text, then its SHA-1."""
    data = content(machine, arguments.text("0"))
    if data:
        yield base64.b64encode(data).decode()
    yield hashlib.sha1(data, usedforsecurity=False).hexdigest()


def copy(machine: Machine, arguments: Arguments, source: Iterator[object], call: Call) -> Iterator[Record]:
    """Answer pypsrp's copy.ps1: base64 texts through the pipeline, the SHA-1 last."""
    path = arguments.text("0")
    pieces, last = [], b""
    digest = hashlib.sha1(usedforsecurity=False)
    for item in source:
        if pieces or last:
            digest.update(last)
        pieces.append(last)
        last = base64.b64decode(str(item))
    if digest.hexdigest().encode() != last:
        raise ScriptThrew(ErrorRecord("HashMismatch", "Transport failure, hash mismatch"))
    with machine.lock:
        machine.files.write(path, Fixed(b"".join(pieces)))
    yield path


def read_chunk(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Answer the script of a fetch in chunks: so many bytes from a place on, as one base64 text."""
    start = arguments.number("1", 0)
    data = content(machine, arguments.text("0"))[start : start + arguments.number("2", 0)]
    if data:
        yield base64.b64encode(data).decode()


def with_chunks(machine: Machine, usual: Callable[..., int]) -> Callable[..., int]:
    """Given the command lines that a host knows, return them with `powershell -EncodedCommand` of a chunk."""

    def run(
        text: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdin: Iterator[bytes],
        stdout: Callable[[bytes], None],
        *rest: object,
    ) -> int:
        words = " ".join([text, *arguments]).split()
        script = ""
        if "-EncodedCommand" in words:
            script = base64.b64decode(words[words.index("-EncodedCommand") + 1]).decode("utf-16-le")
        found = _CHUNK.match(script)
        if found is None:
            return usual(text, arguments, environment, stdin, stdout, *rest)
        start = int(found[3])
        stdout(base64.b64encode(content(machine, found[1])[start : start + int(found[2])]) + b"\r\n")
        return 0

    return run


def main() -> None:
    """Serve until standard input ends."""
    many, *sizes = map(int, sys.argv[1:])
    world = World([HostSpec(name, winrm=3) for name in (HOST, *TWINS, CROWD)])
    try:
        furnish(world.machine(HOST), tuple(sizes))
        for name in TWINS:
            furnish_tree(world.machine(name))
        furnish_many(world.machine(CROWD), many)
        known = world.behaviours[HOST]
        known.register(get_pwsh_script("fetch.ps1"), "pypsrp fetch.ps1", fetch)
        known.register(get_pwsh_script("copy.ps1"), "pypsrp copy.ps1", copy)
        known.register(READ_CHUNK, "a chunk, as Ansible reads it", read_chunk)
        site = world.endpoint._service(HOST).site
        assert site.run_command is not None
        site.run_command = with_chunks(world.machine(HOST), site.run_command)
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

"""A simulated host for the tests of transport and session, and how to reach it on both wires."""

from __future__ import annotations

import datetime
import hashlib
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest

from exremote.errors import HostError
from exremote.lab.console import console
from exremote.lab.wsman.engine import Call, ErrorRecord, Long, Record, ScriptThrew
from exremote.lab.wsman.server import Endpoint, Listening, Site
from exremote.script import ScriptLibrary
from exremote.transport import Address, Login, Secret, Transport, WireSettings, connect

USER = "admin"
PASSWORD = "S3cret-für-das-Labor"
BLOCK = b"\0" + os.urandom(262144)
TEXT = "äöü 漢字 😀 _x0041_ _X_ \t\r\n <>&'\" \x7f end"
MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.UTC)


def run_script(
    text: str, given: Mapping[str, object], source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Each text is one behaviour."""
    match text:
        case "echo":
            yield {"Given": repr(sorted(given.items()))}
        case "types":
            yield {
                "U": TEXT,
                "I": 5,
                "L": Long(7),
                "B": True,
                "T": MOMENT,
                "N": None,
                "A": ["ä", "b"],
                "E": [],
            }
            yield from (TEXT, 5 << 40, False, None, b"\0\1\xff")
        case "input":
            yield from source  # type: ignore[misc]
        case "error":
            yield "before"
            yield ErrorRecord("ExRemote.X", "wrong: ü")
            yield "after"
            yield ErrorRecord("ExRemote.Z", "second")
        case "throw":
            yield "before"
            raise ScriptThrew(ErrorRecord("ExRemote.Y", f"thrown {given.get('W', '')}"))
        case "blocks":
            for _ in range(int(str(given["N"]))):
                yield BLOCK
            yield {"Blocks": given["N"]}
        case "sleep":
            call.stopping.wait(30)
        case _:
            raise ScriptThrew(ErrorRecord("CommandNotFoundException", f"{text[:40]} is unknown"))


def add(endpoint: Endpoint, name: str = "EX01", engine: Any = run_script, **settings: Any) -> Listening:
    """Add a host that both wires reach."""
    library = ScriptLibrary.load()
    return endpoint.add(Site(name, run_script=engine, run_command=console(name, engine, library), **settings))


class Shells(list[tuple[str, str]]):
    """What a transport said of its shells."""

    def __call__(self, event: str, shell_id: str) -> None:
        """Note it."""
        self.append((event, shell_id))


def reach(
    where: Listening, wire: str, shells: Shells | None = None, password: str = PASSWORD, **settings: Any
) -> Transport:
    """Return a transport to the host, not open yet."""
    address = Address(where.name, settings.pop("address", where.host), where.port, where.scheme)  # type: ignore[arg-type]
    auth = settings.pop("auth", "ntlm")
    return connect(
        address,
        Login(auth, settings.pop("user", USER), Secret(password)),
        WireSettings(wire=wire, **settings),  # type: ignore[arg-type]
        shells if shells is not None else Shells(),
    )


def sha256(data: bytes) -> str:
    """Return a digest in hex."""
    return hashlib.sha256(data).hexdigest()


_WIRES = ("psrp", "winrs", "raw")
WIRES = pytest.mark.parametrize("wire", _WIRES)


def side_by_side(endpoint: Endpoint, test: Callable[[Listening, str], None]) -> None:
    """Run what mostly waits over all wires at once, each against a host of its own."""
    hosts = {wire: add(endpoint, f"EX-{wire}") for wire in _WIRES}
    try:
        with ThreadPoolExecutor(len(_WIRES)) as pool:
            for done in [pool.submit(test, host, wire) for wire, host in hosts.items()]:
                done.result()
    finally:
        for host in hosts.values():
            endpoint.remove(host.name)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(USER, PASSWORD) as endpoint:
        yield endpoint


@pytest.fixture
def host(endpoint: Endpoint) -> Iterator[Listening]:
    yield add(endpoint)
    endpoint.remove("EX01")


def raises(
    kind: type[HostError], transport: Transport, script: str = "echo", deadline_s: float = 300.0
) -> HostError:
    with pytest.raises(kind) as caught, closing(transport):
        list(transport.run(script, {}, label="Get-It", deadline_s=deadline_s))
    assert PASSWORD not in str(caught.value) + repr(caught.value)
    return caught.value

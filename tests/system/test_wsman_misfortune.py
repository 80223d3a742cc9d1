"""What a hook can do to an exchange, as pypsrp feels it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import requests
from pypsrp.exceptions import AuthenticationError, WinRMError, WinRMTransportError, WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from spnego.exceptions import BadMICError
from wsman_support import BLOCK, PASSWORD, USER, connect, run, run_script

from exremote.lab.wsman.server import Endpoint, Listening, Misfortune, RequestInfo, Site


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Endpoint, Listening]]:
    with Endpoint(USER, PASSWORD) as endpoint:
        yield endpoint, endpoint.add(Site("EX01", run_script))


@pytest.fixture
def pool(opened: tuple[Endpoint, Listening]) -> Iterator[RunspacePool]:
    with connect(*opened) as client:
        pool = RunspacePool(client)
        pool.open()
        yield pool
        opened[0].set_hook("EX01", None)
        opened[0].drop_shell("EX01", pool.shell.id)


Strikes = Callable[[str, Misfortune, str], None]


@pytest.fixture
def strike(opened: tuple[Endpoint, Listening]) -> Strikes:
    """Let a misfortune happen once, to the next request of an action."""

    def strike(action: str, misfortune: Misfortune, phase: str = "request") -> None:
        left = [misfortune]

        def hook(info: RequestInfo) -> Misfortune | None:
            return left.pop() if left and (info.action, info.phase) == (action, phase) else None

        opened[0].set_hook("EX01", hook)

    return strike


@contextmanager
def counted(endpoint: Endpoint, action: str, times: int) -> Iterator[None]:
    before = endpoint.counters("EX01").actions[action]
    yield
    assert endpoint.counters("EX01").actions[action] - before == times


def test_delay(pool: RunspacePool, strike: Strikes) -> None:
    """The request is late, and carried out."""
    strike("Command", Misfortune(delay_s=0.3), "request")
    begun = time.monotonic()
    assert run(pool, "who").output
    assert 0.3 <= time.monotonic() - begun < 0.6


@pytest.mark.parametrize("phase", ["request", "answer"])
def test_close(opened: tuple[Endpoint, Listening], pool: RunspacePool, strike: Strikes, phase: str) -> None:
    """Closed before the work, nothing was done; closed instead of the answer, it was."""
    strike("Command", Misfortune(close=True), phase)
    with counted(opened[0], "Command", 1), pytest.raises(requests.exceptions.ConnectionError):
        run(pool, "who")
    (info,) = [shell for shell in opened[0].shells("EX01") if shell.id == pool.shell.id.upper()]
    assert len(info.commands) == (phase == "answer")


def test_status(pool: RunspacePool, strike: Strikes) -> None:
    """A bare HTTP status."""
    strike("Command", Misfortune(status=503), "request")
    with pytest.raises(WinRMTransportError, match="503"):
        run(pool, "who")
    assert run(pool, "who").output


def test_fault(pool: RunspacePool, strike: Strikes) -> None:
    """A fault of one's choice."""
    strike("Receive", Misfortune(fault=1816, fault_message="Not enough quota"), "request")
    with pytest.raises(WSManFaultError, match="Not enough quota") as caught:
        run(pool, "who")
    assert caught.value.code == 1816


@pytest.mark.parametrize("phase", ["request", "answer"])
def test_cut(pool: RunspacePool, strike: Strikes, phase: str) -> None:
    """The answer ends in the middle."""
    strike("Receive", Misfortune(cut_after=4096), phase)
    with pytest.raises(requests.exceptions.RequestException):
        run(pool, "blocks", n=1)


def test_corruption_goes_unnoticed_below(pool: RunspacePool, strike: Strikes) -> None:
    """One letter of the base64 differs: no layer complains, the data is wrong."""
    strike("Receive", Misfortune(corrupt_at=100_000), "answer")
    (got,) = run(pool, "blocks", n=1).output
    assert got != BLOCK
    assert len(got) == len(BLOCK)


def test_bad_signature(pool: RunspacePool, strike: Strikes) -> None:
    """The client throws the answer away."""
    strike("Receive", Misfortune(bad_mic=True), "answer")
    with pytest.raises((BadMICError, WinRMError)):
        run(pool, "who")


def test_dropped_shell(pool: RunspacePool, strike: Strikes) -> None:
    """Unknown from now on, this request included."""
    shell = PowerShell(pool).add_script("forever")
    shell.begin_invoke()
    strike("Receive", Misfortune(drop_shell=True), "request")
    for _ in range(2):
        with pytest.raises(WSManFaultError) as caught:
            shell.poll_invoke()
        assert caught.value.code == 2150858843


def test_forgotten_authentication(
    opened: tuple[Endpoint, Listening], pool: RunspacePool, strike: Strikes
) -> None:
    """The next sealed request meets a server that does not know the client: a new connection is needed."""
    strike("Command", Misfortune(forget_authentication=True), "answer")
    with pytest.raises((WinRMTransportError, AuthenticationError)):
        run(pool, "who")
    with connect(*opened) as again, RunspacePool(again) as other:
        assert run(other, "who").output


def test_a_hook_that_fails_is_an_internal_fault(
    opened: tuple[Endpoint, Listening], pool: RunspacePool
) -> None:
    """And the endpoint lives on."""

    def hook(info: RequestInfo) -> Misfortune | None:
        raise KeyError("hook")

    opened[0].set_hook("EX01", hook)
    with pytest.raises(WSManFaultError, match="KeyError"):
        run(pool, "who")
    opened[0].set_hook("EX01", None)
    assert run(pool, "who").output


def test_what_a_hook_sees(opened: tuple[Endpoint, Listening]) -> None:
    """The log-on, then every request twice, numbered, with shell, command and size."""
    seen: list[RequestInfo] = []
    opened[0].set_hook("EX01", seen.append)  # returns None: nothing goes wrong
    with connect(*opened) as client, RunspacePool(client) as pool:
        run(pool, "who")
        shell_id = pool.shell.id.upper()
    opened[0].set_hook("EX01", None)
    assert seen.pop(0).action == "Logon"
    assert {info.shell_id for info in seen} == {shell_id}
    assert [info.phase for info in seen] == ["request", "answer"] * (len(seen) // 2)
    numbers = [info.number for info in seen]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == len(seen) // 2
    command = next(info for info in seen if info.action == "Command")
    assert command.command_id
    assert command.size > 1000
    assert command.user == "LAB\\admin"

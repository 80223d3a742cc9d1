"""Command lines over WinRS, asked by pywinrm and by pypsrp."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
from pypsrp.exceptions import WSManFaultError
from pypsrp.shell import Process, SignalCode, WinRS
from winrm import Protocol
from winrm.exceptions import WSManFaultError as PywinrmFault
from wsman_support import BLOCK, PASSWORD, USER, connect, protocol, run_command, run_script

from exremote.lab.wsman.server import Endpoint, Limits, Listening, Site


@pytest.fixture(scope="module")
def opened() -> Iterator[tuple[Endpoint, Listening]]:
    with Endpoint(USER, PASSWORD) as endpoint:
        yield endpoint, endpoint.add(Site("EX01", run_script, run_command))


@pytest.fixture
def client(opened: tuple[Endpoint, Listening]) -> Protocol:
    return protocol(opened[1], operation_timeout_sec=1, read_timeout_sec=5)


def ask(
    client: Protocol, command: str, arguments: tuple[str, ...] = (), stdin: bytes | None = None
) -> tuple[bytes, bytes, int]:
    shell = client.open_shell(env_vars={"LAB": "yes"})
    try:
        running = client.run_command(shell, command, arguments)
        if stdin is not None:
            for start in range(0, len(stdin), 100_000):
                piece = stdin[start : start + 100_000]
                client.send_command_input(shell, running, piece, end=start + 100_000 >= len(stdin))
        answer: tuple[bytes, bytes, int] = client.get_command_output(shell, running)
        client.cleanup_command(shell, running)
        return answer
    finally:
        client.close_shell(shell)


def test_output_and_exit_code(client: Protocol) -> None:
    """Standard output and error are apart, and the exit code comes with them."""
    assert ask(client, "echo", ("hello", "there")) == (b"hello there\r\n", b"", 0)
    assert ask(client, "fail") == (b"", b"bad\r\n", 3)
    assert ask(client, "env") == (b"LAB=yes\r\n", b"", 0)


def test_unknown_command(client: Protocol) -> None:
    """As cmd.exe says it; nothing of this machine is started."""
    out, error, code = ask(client, "/bin/ls")
    assert (out, code) == (b"", 1)
    assert b"is not recognized" in error


def test_stdin(client: Protocol) -> None:
    """Input in pieces, ended, and echoed unchanged."""
    assert ask(client, "cat", stdin=BLOCK) == (BLOCK, b"", 0)


def test_long_commands_pass_through_time_outs(client: Protocol) -> None:
    """pywinrm asks again after each time-out fault."""
    begun = time.monotonic()
    assert ask(client, "sleep", ("1.3",)) == (b"", b"", 0)
    assert time.monotonic() - begun > 1.2


def test_large_output(client: Protocol) -> None:
    """Four megabytes through envelopes of 150 KB."""
    out, _, code = ask(client, "big", ("16",))
    assert code == 0
    assert out == BLOCK * 16


def test_pypsrp_processes(opened: tuple[Endpoint, Listening]) -> None:
    """pypsrp's own WinRS: input, output, two commands in one shell."""
    with connect(*opened) as wsman, WinRS(wsman) as shell:
        cat, echo = Process(shell, "cat"), Process(shell, "echo", ["ü"])
        cat.begin_invoke()
        echo.invoke()
        cat.send(b"one", end=False)
        cat.send(b"two")
        cat.end_invoke()
        assert (cat.stdout, cat.rc) == (b"onetwo", 0)
        assert (echo.stdout, echo.rc) == ("ü\r\n".encode(), 0)
        assert len(opened[0].shells("EX01")[-1].commands) == 2
        cat.signal(SignalCode.TERMINATE)
        assert len(opened[0].shells("EX01")[-1].commands) == 1


def test_stop(opened: tuple[Endpoint, Listening]) -> None:
    """Control-C ends a command at once, with the exit code of Windows."""
    with connect(*opened) as wsman, WinRS(wsman) as shell:
        process = Process(shell, "sleep", ["60"])
        process.begin_invoke()
        begun = time.monotonic()
        process.signal(SignalCode.CTRL_C)
        process.end_invoke()
        assert process.rc == -1073741510
        assert time.monotonic() - begun < 1


def test_quotas_and_unknown_shells(opened: tuple[Endpoint, Listening], client: Protocol) -> None:
    """The same faults as for PowerShell, in pywinrm's words."""
    endpoint, _ = opened
    endpoint.set_limits("EX01", Limits(max_shells_per_user=1))
    shell = client.open_shell()
    with pytest.raises(PywinrmFault) as caught:
        protocol(opened[1]).open_shell()
    assert caught.value.wsman_fault_code == 2150859173
    client.close_shell(shell, close_session=False)
    endpoint.set_limits("EX01", Limits())
    with pytest.raises(PywinrmFault) as caught:
        client.run_command(shell, "echo")
    assert caught.value.wsman_fault_code == 2150858843


def test_wrong_streams(opened: tuple[Endpoint, Listening]) -> None:
    """A Receive that asks for a stream that is not there."""
    with connect(*opened) as wsman, WinRS(wsman) as shell:
        process = Process(shell, "echo")
        process.begin_invoke()
        with pytest.raises(WSManFaultError) as caught:
            shell.receive("stdnone", process.id)
        assert caught.value.code == 87


def test_no_thread_is_left(opened: tuple[Endpoint, Listening]) -> None:
    """A shell that goes takes its commands along."""
    with connect(*opened) as wsman, WinRS(wsman) as shell:
        for _ in range(3):
            Process(shell, "sleep", ["60"]).begin_invoke()
        assert sum(thread.name.startswith("command") for thread in threading.enumerate()) == 3
    assert not any(thread.name.startswith("command") for thread in threading.enumerate())

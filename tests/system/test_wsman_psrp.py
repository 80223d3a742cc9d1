"""PowerShell remoting answered by a function: values, errors, input, stop, quotas, envelopes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from pypsrp.complex_objects import GenericComplexObject
from pypsrp.exceptions import WSManFaultError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan
from wsman_support import (
    BLOCK,
    COMPLETED,
    FAILED,
    PASSWORD,
    RUNNING,
    STOPPED,
    USER,
    closed,
    connect,
    produced,
    run,
    run_script,
)

from exremote.lab.wsman.server import WINRM_2, Endpoint, Limits, Listening, Site

Opened = tuple[Endpoint, Listening]


@pytest.fixture(scope="module")
def opened() -> Iterator[Opened]:
    with Endpoint(USER, PASSWORD) as endpoint:
        yield endpoint, endpoint.add(Site("EX01", run_script))


@pytest.fixture
def pool(opened: Opened) -> Iterator[RunspacePool]:
    opened[0].set_limits("EX01", Limits())
    with connect(*opened) as client, RunspacePool(client, max_runspaces=3) as pool:
        yield pool


def values(thing: Any) -> dict[str, Any]:
    assert isinstance(thing, GenericComplexObject)
    return dict(thing.extended_properties)


def test_values_keep_their_types(pool: RunspacePool) -> None:
    """Strings, Int32, Int64, double, bool, null, byte[] as one object, PSObject."""
    *simple, last = run(pool, "types").output
    assert simple == ["text", 7, 5_000_000_000, 3, 1.5, True, None, b"\x00\xffabc"]
    assert values(last) == {"A": 1, "B": [1, "z"]}
    assert "System.Management.Automation.PSCustomObject" in last.types


def test_parameters(pool: RunspacePool) -> None:
    """Unicode within and beyond the first plane, numbers, lists, bytes, switches."""
    given: dict[str, Any] = {
        "Text": "Zoë Ωμέγα 𝄞 <&> _x0041_ a\r\nb",
        "Number": -3,
        "List": ["a", 1, "ü"],
        "Flag": True,
        "Bytes": b"\x00\x01",
        "Nothing": None,
    }
    got = values(run(pool, "echo", **given).output[0])
    assert got == {name: repr(value) for name, value in given.items()}


def test_errors_and_other_streams(pool: RunspacePool) -> None:
    """A non-terminating error does not end the pipeline; each record is in its stream."""
    shell = run(pool, "streams")
    assert shell.state == COMPLETED
    assert shell.output == ["after"]
    (error,) = shell.streams.error
    assert str(error) == "went wrong"
    assert error.fq_error == "Lab.NonTerminating,Microsoft.PowerShell.Commands.WriteErrorException"
    assert error.target_object == "C:\\x"
    assert [str(record) for record in shell.streams.warning] == ["careful"]
    assert [str(record) for record in shell.streams.verbose] == ["talking"]
    assert shell.streams.progress[0].activity == "copying"


@pytest.mark.parametrize(
    ("text", "error_id", "message"),
    [
        ("throw", "Lab.Terminating", "no further"),
        ("bug", "RuntimeException", "RuntimeError: a bug in the simulation"),
        ("Get-Date", "Lab.UnknownScript", "not known here: Get-Date"),
    ],
)
def test_terminating_errors(pool: RunspacePool, text: str, error_id: str, message: str) -> None:
    """The pipeline fails with the record, the pool lives on."""
    shell = run(pool, text)
    assert shell.state == FAILED
    assert shell.had_errors
    assert (shell.streams.error[-1].fq_error, str(shell.streams.error[-1])) == (error_id, message)
    assert run(pool, "who").output == ["LAB\\admin"]


def test_input(pool: RunspacePool) -> None:
    """Pipeline input arrives in order, byte arrays as they are, 4 MiB of them."""
    pieces: list[Any] = ["ü", 5, b"\x00\xff", *[BLOCK] * 16]
    got = run(pool, "input", (piece for piece in pieces)).output
    assert got == ["'ü'", "5", b"\x00\xff", *[BLOCK] * 16]
    assert run(pool, "input").output == []


def test_long_scripts(pool: RunspacePool) -> None:
    """A script larger than an envelope comes in several pieces."""
    shell = run(pool, "# " + "x" * 1_200_000)
    assert shell.streams.error[0].fq_error == "Lab.UnknownScript"


def test_pipelines_side_by_side(pool: RunspacePool) -> None:
    """Two at once in one pool, read alternately; signals end them on the server."""
    shells = [PowerShell(pool).add_script("sleep").add_parameter("s", 0.2) for _ in range(2)]
    begun = time.monotonic()
    for shell in shells:
        shell.begin_invoke()
    assert [shell.end_invoke() for shell in shells] == [["slept"], ["slept"]]
    assert time.monotonic() - begun < 0.35
    for shell in shells:
        shell.close()


def test_a_pool_of_one_runs_one_after_the_other(opened: Opened) -> None:
    """MaxRunspaces is kept."""
    with connect(*opened) as client, RunspacePool(client) as pool:
        assert pool.get_available_runspaces() == 1
        shells = [PowerShell(pool).add_script("sleep").add_parameter("s", 0.15) for _ in range(2)]
        begun = time.monotonic()
        for shell in shells:
            shell.begin_invoke()
        for shell in shells:
            shell.end_invoke()
        assert time.monotonic() - begun >= 0.3
        pool.max_runspaces = 4
        assert pool.get_available_runspaces() == 4


def test_stop(pool: RunspacePool) -> None:
    """At once, and the generator is closed."""
    closed.clear()
    shell = PowerShell(pool).add_script("forever")
    shell.begin_invoke()
    shell.poll_invoke()
    begun = time.monotonic()
    shell.stop()
    assert time.monotonic() - begun < 1.0
    assert closed.is_set()
    assert shell.state == STOPPED
    assert run(pool, "who").output == ["LAB\\admin"]


def test_a_closed_pool_ends_its_pipelines(opened: Opened) -> None:
    """Delete closes the generators."""
    closed.clear()
    with connect(*opened) as client, RunspacePool(client) as pool:
        PowerShell(pool).add_script("forever").begin_invoke()
    assert closed.wait(1.0)


def test_back_pressure(pool: RunspacePool) -> None:
    """A script that writes without end to a client that does not read holds a few megabytes, no more."""
    closed.clear()
    produced[0] = 0
    shell = PowerShell(pool).add_script("flood")
    shell.begin_invoke()
    time.sleep(0.5)
    assert 5 <= produced[0] <= 20
    shell.poll_invoke()
    assert shell.output[0] == BLOCK
    shell.stop()
    assert closed.is_set()


def test_a_wait_without_output_times_out(opened: Opened) -> None:
    """With the one code that clients take for "ask again"."""
    with connect(*opened) as client, RunspacePool(client) as pool:
        shell = PowerShell(pool).add_script("sleep").add_parameter("s", 1.5)
        shell.begin_invoke()
        with pytest.raises(WSManFaultError) as caught:
            pool._receive(shell.id, timeout=1)
        assert caught.value.code == 2150858793
        assert shell.end_invoke() == ["slept"]


def test_unknown_shell_and_command(opened: Opened, pool: RunspacePool) -> None:
    """2150858843 for both; pypsrp takes it for a dead pool."""
    with connect(*opened) as client:
        gone = RunspacePool(client)
        gone.open()
        assert gone.is_alive()
        assert opened[0].drop_shell("EX01", gone.shell.id)
        with pytest.raises(WSManFaultError) as caught:
            run(gone, "who")
        assert caught.value.code == 2150858843
        assert not gone.is_alive()
    with pytest.raises(WSManFaultError) as caught:
        pool.shell.receive("stdout", command_id="11111111-1111-1111-1111-111111111111")
    assert caught.value.code == 2150858843


def test_shell_quota(opened: Opened) -> None:
    """One shell too many is refused, and a place that becomes free is usable."""
    endpoint, where = opened
    endpoint.set_limits("EX01", Limits(max_shells_per_user=2))
    with connect(endpoint, where) as client, RunspacePool(client), RunspacePool(client) as second:
        with pytest.raises(WSManFaultError) as caught:
            RunspacePool(client).open()
        assert caught.value.code == 2150859173
        second.close()
        with RunspacePool(client):
            pass
    endpoint.set_limits("EX01", Limits())


def test_command_and_operation_quota(opened: Opened, pool: RunspacePool) -> None:
    """Commands that were not terminated count; so do requests in flight."""
    endpoint, _ = opened
    endpoint.set_limits("EX01", Limits(max_commands_per_shell=1))
    shell = run(pool, "who")
    with pytest.raises(WSManFaultError) as caught:
        run(pool, "who")
    assert caught.value.code == 2150859241
    shell.close()
    run(pool, "who")
    endpoint.set_limits("EX01", Limits(max_operations_per_user=0))
    with pytest.raises(WSManFaultError) as caught:
        run(pool, "who")
    assert caught.value.code == 2150859174
    endpoint.set_limits("EX01", Limits())


def test_idle_time_out(opened: Opened) -> None:
    """The client's own wish is kept; a shell that is spoken to stays."""
    with (
        connect(*opened) as client,
        RunspacePool(client, idle_timeout=1) as pool,
        RunspacePool(client) as other,
    ):
        (info,) = [shell for shell in opened[0].shells("EX01") if shell.id == pool.shell.id.upper()]
        assert info.idle_timeout_s == 1.0
        for _ in range(4):
            time.sleep(0.4)
            assert run(pool, "who").output
        time.sleep(1.6)
        assert info.id not in [shell.id for shell in opened[0].shells("EX01")]
        with pytest.raises(WSManFaultError) as caught:
            run(pool, "who")
        assert caught.value.code == 2150858843
        pool.state = 3  # closed, as far as pypsrp has to know
        assert run(other, "who").output


@pytest.mark.parametrize(
    ("limits", "largest", "smallest"),
    [
        (Limits(), 512000, 400000),
        (Limits(fill_answers=False), 48000, 43000),
        (WINRM_2, 153600, 120000),
        (Limits(max_envelope_kb=150), 153600, 120000),
    ],
    ids=["500 KB filled", "one fragment", "WinRM 2.0", "150 KB, client says 500"],
)
def test_envelopes(opened: Opened, limits: Limits, largest: int, smallest: int) -> None:
    """Answers fill the smaller of both sides' envelopes and never exceed it."""
    endpoint, where = opened
    endpoint.set_limits("EX01", limits)
    sizes: list[int] = []
    endpoint.set_hook("EX01", lambda info: sizes.append(info.size) if info.phase == "answer" else None)
    with connect(endpoint, where) as client, RunspacePool(client) as pool:
        assert run(pool, "blocks", n=8).output == [BLOCK] * 8
    endpoint.set_hook("EX01", None)
    endpoint.set_limits("EX01", Limits())
    assert smallest < max(sizes) <= largest


def test_small_envelopes(opened: Opened) -> None:
    """A client that announces little gets fragments that fit."""
    with connect(*opened, max_envelope_size=16384) as client, RunspacePool(client) as pool:
        assert run(pool, "blocks", n=1).output == [BLOCK]


def test_requests_beyond_the_envelope_are_refused(opened: Opened) -> None:
    """A client that does not know the host's limit hears of it."""
    endpoint, where = opened
    endpoint.set_limits("EX01", Limits(max_envelope_kb=150))
    with connect(endpoint, where) as client, RunspacePool(client) as pool:
        with pytest.raises(WSManFaultError) as caught:
            run(pool, "# " + "x" * 200_000)
        assert caught.value.code == 2150858824
    endpoint.set_limits("EX01", Limits())


def test_old_protocol(opened: Opened) -> None:
    """A host of protocol 2.1 keeps pypsrp at 150 KB."""
    endpoint, where = opened
    endpoint.set_limits("EX01", WINRM_2)
    with connect(endpoint, where) as client, RunspacePool(client) as pool:
        assert pool.protocol_version == "2.1"
        assert client.max_envelope_size == 153600
        assert run(pool, "who").output
    endpoint.set_limits("EX01", Limits())


def test_disconnect_and_reconnect(opened: Opened) -> None:
    """The same client finds its pool as it left it."""
    with connect(*opened) as client, RunspacePool(client) as pool:
        pool.disconnect()
        assert opened[0].shells("EX01")[-1].state == "Disconnected"
        pool.connect()
        assert run(pool, "who").output


def test_a_new_client_takes_up_a_pool(opened: Opened) -> None:
    """Enumerate, Connect, and the output of a pipeline that another client has started."""
    with connect(*opened) as first, connect(*opened) as second:
        pool = RunspacePool(first)
        pool.open()
        PowerShell(pool).add_script("sleep").add_parameter("s", 0.1).begin_invoke()
        pool.disconnect()
        (found,) = [other for other in RunspacePool.get_runspace_pools(second) if other.id == pool.id.upper()]
        found.connect()
        (shell,) = found.create_disconnected_power_shells()
        assert shell.connect() == ["slept"]
        found.close()


def test_secure_strings_and_reset(pool: RunspacePool) -> None:
    """Key exchange works; the plain text reaches the script."""
    pool.exchange_keys()
    from pypsrp.complex_objects import ObjectMeta

    secret = pool.serialize("geheim", ObjectMeta("SS"))
    assert values(run(pool, "echo", Secret=secret).output[0]) == {"Secret": "'geheim'"}
    pool.reset_runspace_state()


def test_many_clients_at_once(opened: Opened) -> None:
    """Eight connections, each with its own pool."""
    clients: list[WSMan] = [connect(*opened) for _ in range(8)]
    pools = [RunspacePool(client) for client in clients]
    for pool in pools:
        pool.open()
    shells = [PowerShell(pool).add_script("blocks").add_parameter("n", 4) for pool in pools]
    for shell in shells:
        shell.begin_invoke()
    while any(shell.state == RUNNING for shell in shells):
        for shell in shells:
            if shell.state == RUNNING:
                shell.poll_invoke()
    assert all(shell.output == [BLOCK] * 4 for shell in shells)
    for pool, client in zip(pools, clients, strict=True):
        pool.close()
        client.close()

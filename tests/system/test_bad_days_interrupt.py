"""Bad days for our own process: Ctrl-C and kill -9 in the middle of a transfer.

No half snapshot, no lost one, no shell that stays; the next run brings what the first would have brought.
"""

from __future__ import annotations

import os
import signal
import time

import pytest
from conftest import BULK, NOT_UNDER_WINE, Cli, World, held, wait_for_bytes

BIG = "EXBIG01"
SLOW = 12_000_000
"""Bits per second: the bulk takes about two seconds."""


@pytest.fixture(params=["psrp", "winrs"])
def door(request: pytest.FixtureRequest, cli: Cli, world: World) -> Cli:
    """Return a command line with one earlier snapshot, on either wire."""
    cli.wire = str(request.param)
    if world.engine == "powershell" and cli.wire == "winrs":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['time']}")
    cli.inventory(BIG)
    cli.init()
    cli("backup", "--only", "calendar")
    world.client.reset_counters(BIG)
    return cli


def whole(door: Cli, world: World) -> int:
    """The next run ends well, holds the host's own bytes, and leaves nothing half done.

    Return how many files were here already.
    """
    world.client.set_line(BIG)
    (host,) = door("backup", "--json").json["hosts"]
    found = {path for item, path, *_ in held(door, BIG, "groupwise") if item == "conndata"}
    for number in (0, BULK.files - 1):
        path = rf"Tables\bulk\bulk{number:06d}.dat"
        assert path in found
        stored = door.folder_of(BIG, "groupwise") / "files/conndata" / path.replace("\\", "/")
        remote = rf"{BULK.folder}\bulk{number:06d}.dat"
        assert stored.read_bytes() == world.client.read_file(BIG, remote)
    door("verify")
    left = [p for p in (door.repository / "partial").rglob("*") if p.is_file()]
    assert left == []
    distinct = {sha256 for *_, sha256 in held(door, BIG, "groupwise")}
    return len(distinct) - int(host["sent_files"])


@pytest.mark.not_under_wine("time")
def test_ctrl_c_in_the_middle(door: Cli, world: World) -> None:
    before = door.snapshots()
    world.line(BIG, bandwidth_bps=SLOW)
    with door.started("backup", "--only", "groupwise") as process:
        wait_for_bytes(world, BIG, 1_500_000)
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        assert process.wait(20) == 130
        assert time.monotonic() - start < 10
    assert world.no_shell() == {}
    assert "interrupted" in door.ran[-1].all
    assert "Traceback" not in door.ran[-1].all
    assert door.snapshots() == before
    last = next(r for r in door("runs", "--json").json if r["verb"] == "backup")
    assert (last["exit_code"], last["state"]) == (130, "interrupted")
    assert whole(door, world) >= 4, "what came before the interrupt came again"


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(
    "signals", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT], [signal.SIGTERM, signal.SIGTERM]]
)
def test_sigterm_is_heard_like_ctrl_c_and_a_second_one_changes_nothing(
    cli: Cli, world: World, signals: list[signal.Signals]
) -> None:
    """No shell, lock or partial commit stays, however impatient the operator or the service manager is."""
    if world.engine == "powershell" and signals != [signal.SIGTERM, signal.SIGTERM]:
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['apart']}")
    cli.inventory(BIG)
    cli.init()
    world.client.reset_counters(BIG)
    world.line(BIG, bandwidth_bps=SLOW)
    with cli.started("backup", "--only", "groupwise") as process:
        wait_for_bytes(world, BIG, 1_500_000)
        for number in signals:
            process.send_signal(number)
            time.sleep(0.2)
        assert process.wait(20) == 130
    world.client.set_line(BIG)
    assert world.no_shell() == {}
    assert "Traceback" not in cli.ran[-1].all
    assert "stopping: 1 host" in cli.ran[-1].all
    assert not list((cli.repository / "locks").glob("*"))
    assert not list((cli.repository / "runs").glob("*.lock"))
    last = next(r for r in cli("runs", "--json").json if r["verb"] == "backup")
    assert (last["exit_code"], last["state"]) == (130, "interrupted")


@pytest.mark.not_under_wine("wire")
def test_ctrl_c_while_waiting_for_a_host(cli: Cli) -> None:
    """The patience of the retry policy ends at once."""
    cli.inventory("EXDOWN01", retry="attempts = 20\ntotal_s = 300\nfirst_wait_s = 30")
    with cli.started("health") as process:
        assert process.stderr is not None
        while "trying again" not in process.stderr.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 130


@pytest.mark.not_under_wine("wire")
def test_ctrl_c_in_the_doctor_is_journaled_as_that(cli: Cli, world: World) -> None:
    cli.inventory(BIG)
    world.fault(f"{BIG}:Create:*:delay=30")
    with cli.started("doctor", BIG) as process:
        assert process.stdout is not None
        while "sealing" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    (last,) = cli("runs", "--json").json
    assert (last["verb"], last["exit_code"], last["state"]) == ("doctor", 130, "interrupted")
    assert "interrupted" in cli("runs", last["run"]).out


def test_kill_in_the_middle(door: Cli, world: World) -> None:
    """The shells that it left are deleted by the next run: an old server allows five in all."""
    before = door.snapshots()
    world.line(BIG, bandwidth_bps=SLOW)
    with door.started("backup", "--only", "groupwise") as process:
        wait_for_bytes(world, BIG, 1_500_000)
        process.kill()
        process.wait(10)
    left = world.shells()
    assert len(left.get(BIG, [])) in (1, 2)  # the session's own, and that of a raw stream
    assert door.snapshots() == before
    last = next(r for r in door("runs", "--json").json if r["verb"] == "backup")
    assert (last["exit_code"], last["state"]) == (None, "did not end")
    assert whole(door, world) >= 4, "what came before the kill came again"
    assert world.no_shell() == {}


@pytest.mark.not_under_wine("time")
def test_a_shell_that_nobody_comes_back_for_dies_by_itself(cli: Cli, world: World) -> None:
    """We ask for a short idle time-out: the host forgets us without any help."""
    cli.inventory(BIG)
    cli.init()
    world.line(BIG, bandwidth_bps=SLOW)
    with cli.started("backup") as process:
        wait_for_bytes(world, BIG, 1_000_000)
        process.kill()
        process.wait(10)
    shells = world.client.shells(BIG)
    assert shells
    assert all(shell["idle_timeout_s"] <= 180 for shell in shells)
    for shell in shells:
        world.client.drop_shell(BIG, shell["id"])


@pytest.mark.not_under_wine("time")
def test_killed_again_and_again(cli: Cli, world: World) -> None:
    """At whatever moment: the repository is sound, and the run after the last brings everything."""
    cli.inventory(BIG)
    cli.init()
    world.line(BIG, bandwidth_bps=SLOW)
    for moment in (0.9, 1.4, 2.1):
        with cli.started("backup", "--only", "groupwise") as process:
            time.sleep(moment)
            process.kill()
            process.wait(10)
        cli("verify")
    assert sum(len(ids) for ids in world.shells().values()) <= 4
    cli.snapshots()
    whole(cli, world)

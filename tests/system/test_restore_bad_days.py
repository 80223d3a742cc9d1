"""A restore on a bad day: services that will not, a kill, an interrupt, a damaged snapshot."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CONNDATA, Cli, World
from restore_support import AMAP, DAMAGED, HOST, broken

TABLE = rf"{CONNDATA}\Tables\lab0005.tbl"
INI = rf"{CONNDATA}\Exchconn.ini"
DO = ("--yes", "--grace", "0")


@pytest.fixture
def cli(world: World, tmp_path: Path) -> Iterator[Cli]:
    """Return a command line with a backup of a host that was broken since."""
    cli = broken(world, tmp_path)
    yield cli
    for service in ("MSExchangeCoCo", "LME-NOTES"):
        trouble(world, service)
        world.client.edit(HOST, "set_service", name=service, state="Running")
    assert cli.leaks() == []
    assert world.no_shell() == {}


def trouble(world: World, service: str, **what: object) -> None:
    """Have a service of the host be difficult, or well again."""
    world.client.edit(HOST, "trouble_service", name=service, **what)


def running(cli: Cli) -> set[str]:
    """Return the services of the connectors that run, as the host says."""
    folder = cli.folder / f"facts{len(cli.ran)}"
    cli("health", "--save-facts", str(folder), code=None)
    facts = json.loads((folder / f"{HOST}.json").read_text())
    return {s["name"] for s in facts["services"] if s["state"] == "Running"} & ALL


ALL = {"MSExchangeCoCo", "LME-NOTES", "MSExchangeCalCon"}


def events(cli: Cli, kind: str) -> list[dict[str, Any]]:
    """Return the events of a kind that the newest journal of a restore has so far."""
    for path in sorted((cli.repository / "runs").glob("*.jsonl"), reverse=True):
        lines = [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]
        if lines and lines[0].get("verb") == "restore" and any(e["kind"] == "safety" for e in lines):
            return [e for e in lines if e["kind"] == kind]
    return []


def wait_for_a_stop(cli: Cli) -> None:
    """Wait until a restore is about to stop a service."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if any(e["step"].get("kind") == "stop-service" for e in events(cli, "step-started")):
            return
        time.sleep(0.05)
    raise AssertionError("no service was stopped")


def item(cli: Cli) -> tuple[str, ...]:
    """Return what restores the folder alone: no person is asked then."""
    return ("restore", first(cli), "--item", "conndata")


def first(cli: Cli) -> str:
    """Return HOST/ID of the oldest snapshot of the connector."""
    return f"{HOST}/{cli.folders_of(HOST, 'notes')[0].name}"


@pytest.mark.not_under_wine("time")
def test_a_service_that_will_not_stop_leaves_all_as_it_was(cli: Cli, world: World) -> None:
    trouble(world, "LME-NOTES", stop_ignored=True)
    ran = cli(*item(cli), *DO, "--service-deadline", "2", code=22)
    assert "LME-NOTES" in ran.out
    assert "after 2 s" in ran.out
    trouble(world, "LME-NOTES")
    assert world.read(HOST, AMAP) == DAMAGED
    assert running(cli) >= {"MSExchangeCoCo"}


@pytest.mark.not_under_wine("records")
def test_a_service_that_starts_by_itself_has_nothing_replaced_under_it(cli: Cli, world: World) -> None:
    """Its recovery options, or somebody, started it when the last of them had stopped."""
    world.fault(f"{HOST}:Set-ServiceState:3:delay=4")
    with cli.started(*item(cli), *DO) as process:
        end = time.monotonic() + 60
        while world.struck() == 0 and time.monotonic() < end:
            time.sleep(0.05)
        world.client.edit(HOST, "set_service", name="LME-NOTES", state="Running")
        assert process.wait(60) == 22
    world.client.clear_faults()
    assert "LME-NOTES runs, though it was stopped" in cli.ran[-1].out
    assert "recovery options" in cli.ran[-1].out
    assert world.read(HOST, AMAP) == DAMAGED
    assert running(cli) == ALL


@pytest.mark.not_under_wine("time")
def test_a_service_that_does_not_start_is_said_and_the_others_run(cli: Cli, world: World) -> None:
    trouble(world, "LME-NOTES", start_exit_code=1066)
    ran = cli(*item(cli), *DO, "--service-deadline", "5", code=3)
    assert "service LME-NOTES" in ran.out
    assert "exremote undo" in ran.out
    assert world.read(HOST, AMAP) != DAMAGED
    trouble(world, "LME-NOTES")
    cli(*item(cli), *DO)  # what is left is done: the service is started
    assert running(cli) == ALL


@pytest.mark.not_under_wine("denied")
def test_what_can_be_moved_neither_there_nor_back_is_said_with_its_place(cli: Cli, world: World) -> None:
    """A folder that takes nothing any more, behind the moment when the old file left it: it is not lost."""
    folder = AMAP.rpartition("\\")[0]
    world.client.edit(HOST, "close_folder", path=folder)
    ran = cli(*item(cli), *DO, code=3)
    aside = r"C:\Program Files\Exchsrvr\exremote-aside-conndata\Dxamex\Amap.tbl"
    assert "ExRemote.NotMovedBack" in ran.out
    assert f"What was there is {aside} now" in ran.out
    assert not world.exists(HOST, AMAP)
    assert world.read(HOST, aside) == DAMAGED
    assert running(cli) == ALL  # services are started all the same
    (undo,) = re.findall(r"`(exremote undo \S+)`", ran.out)

    world.client.edit(HOST, "close_folder", path=folder, closing=False)
    cli(*undo.split()[1:], "--yes", "--grace", "0")
    assert world.read(HOST, AMAP) == DAMAGED
    cli(*item(cli), *DO)
    assert world.read(HOST, AMAP) != DAMAGED
    assert not world.exists(HOST, aside)


@pytest.mark.not_under_wine("time")
def test_a_kill_while_services_stand_is_healed_by_the_next_run(cli: Cli, world: World) -> None:
    """The journal knows how they were found; a backup at night puts them back."""
    trouble(world, "MSExchangeCoCo", stop_delay_s=3)
    with cli.started(*item(cli), *DO) as process:
        wait_for_a_stop(cli)
        time.sleep(0.5)
        process.kill()
        process.wait()
    trouble(world, "MSExchangeCoCo")
    time.sleep(3)  # the stop that was asked for comes to its end
    ran = cli("backup", code=None)
    assert f"{HOST}: putting services back as " in ran.err  # a start may take minutes
    assert "put back as the killed run" in ran.err
    assert running(cli) == ALL
    assert "put back" not in cli("backup").err
    killed = next(
        r for r in cli("runs", "--json").json if r["verb"] == "restore" and r["state"] == "did not end"
    )
    assert "resuming" in cli("resume", killed["run"]).err
    assert world.read(HOST, AMAP) != DAMAGED


def test_an_interrupt_puts_the_services_back_before_it_ends(cli: Cli, world: World) -> None:
    trouble(world, "MSExchangeCoCo", stop_delay_s=2)
    with cli.started(*item(cli), *DO) as process:
        wait_for_a_stop(cli)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    trouble(world, "MSExchangeCoCo")
    assert running(cli) == ALL


@pytest.mark.not_under_wine("time")
def test_a_damaged_snapshot_is_never_restored(cli: Cli, world: World) -> None:
    """One flipped bit anywhere; nothing of it reaches the host."""
    folder = cli.folder_of(HOST, "notes")
    victim = next(folder.rglob("Exchconn.ini"))
    data = bytearray(victim.read_bytes())
    data[7] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(bytes(data))
    ran = cli(*item(cli), *DO, code=13)
    assert "nothing of it is restored" in ran.out
    assert world.read(HOST, AMAP) == DAMAGED


@pytest.mark.not_under_wine("disk")
def test_a_disk_that_is_too_small_is_known_before_the_first_stop(cli: Cli, world: World) -> None:
    world.client.edit(HOST, "set_disk", root="C:\\", free=1000)
    ran = cli(*item(cli), *DO, code=4)
    world.client.edit(HOST, "set_disk", root="C:\\", free=20 * 1024**3)
    assert "1000 bytes free" in ran.out
    assert events(cli, "step-started") == []


@pytest.mark.not_under_wine("denied")
def test_a_locked_target_is_one_failure_and_the_rest_is_done(cli: Cli, world: World) -> None:
    world.write(HOST, INI, b"also wrong")
    world.client.edit(HOST, "deny", path=INI)
    world._undo.append(lambda: world.client.edit(HOST, "deny", path=INI, denied=False))
    ran = cli(*item(cli), *DO, code=4)
    assert "Exchconn.ini is there now and could not be saved" in ran.out
    assert world.read(HOST, AMAP) == DAMAGED


@pytest.mark.not_under_wine("time")
def test_a_person_is_needed_and_there_is_none(cli: Cli, world: World) -> None:
    """A plan with a step for a person does not begin without one: no service stands for nobody."""
    world.write(HOST, r"C:\Lotus\Notes\nnotes.dll", b"MZ wrong")
    ran = subprocess.run(
        cli.command("restore", first(cli), *DO),
        env=cli.environment,
        cwd=cli.folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=120,
    )
    assert ran.returncode == 4
    assert "there is no terminal to ask at" in ran.stderr
    assert "--confirmed notes-client" in ran.stderr


@pytest.mark.not_under_wine("wire")
def test_a_host_that_hangs_up_behind_its_refusal_is_quoted(cli: Cli, world: World) -> None:
    """It takes much less than it said, and closes the connection: the refusal counts, not the silence.

    Smaller messages are tried, as far as the patience goes.
    """
    world.write(HOST, TABLE, DAMAGED)
    world.limits(HOST, max_envelope_kb=40)
    ran = cli(*item(cli), *DO, code=22)
    assert "trying again: it refused a message larger than it allows during Write-FilePack (HTTP" in ran.err
    assert "lower envelope_kb for it in the inventory" in ran.out

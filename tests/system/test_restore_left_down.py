"""Services that a killed restore left down: what shows them, puts them back, and if they do not start."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, World
from restore_support import AMAP, DAMAGED, HOST, broken, restore, services

from exremote.repository import Repository

LME = r"HKLM\SYSTEM\CurrentControlSet\Services\LME-NOTES"
ALL = ("MSExchangeCoCo", "LME-NOTES", "MSExchangeCalCon")
pytestmark = pytest.mark.not_under_wine("time")


@pytest.fixture
def cli(world: World, tmp_path: Path) -> Iterator[Cli]:
    """Return a command line with a backup of a host that was broken since."""
    cli = broken(world, tmp_path)
    yield cli
    for service in ALL:
        world.client.edit(HOST, "trouble_service", name=service)
        world.client.edit(HOST, "set_service", name=service, state="Running")
    world.client.edit(HOST, "set_registry", key=LME, name="Start", data=2)
    assert cli.leaks() == []
    assert world.no_shell() == {}


def killed_while_they_stand(cli: Cli, world: World) -> str:
    """Kill a restore when all services stand and nothing was swapped yet. Return its run."""
    world.fault(f"{HOST}:Move-StagedFile:1:delay=20")
    before = world.struck()
    with cli.started(*restore(cli), "--yes", "--grace", "0") as process:
        end = time.monotonic() + 60
        while world.struck() == before:
            assert time.monotonic() < end
            time.sleep(0.05)
        process.kill()
        process.wait()
    world.fault()
    (killed,) = (r["run"] for r in cli("runs", "--json").json if r["state"] == "did not end")
    return str(killed)


def test_a_plan_made_while_they_stand_is_that_of_the_deed(cli: Cli, world: World) -> None:
    """The deed puts them back first; the plan, which changes nothing, is made as if they ran."""
    run = killed_while_they_stand(cli, world)
    shown = cli(*restore(cli), "--dry-run")
    assert f"{HOST}: " in shown.err
    assert f"put back first as {run} had found it" in shown.err
    plan = cli.folder / "plan.json"
    cli(*restore(cli), "--save-plan", str(plan))
    assert {services(cli)[name][0] for name in ALL} == {"Stopped"}
    cli("restore", "--plan", str(plan), "--grace", "0")
    assert world.read(HOST, AMAP) != DAMAGED
    assert {state for state, _ in services(cli).values()} == {"Running"}
    assert "put back" not in cli("backup").err


def test_what_does_not_start_is_tried_again_and_the_backup_is_no_ok(cli: Cli, world: World) -> None:
    run = killed_while_they_stand(cli, world)
    assert f"put back first as {run}" in cli("backup", "--dry-run").err
    world.client.edit(HOST, "trouble_service", name="LME-NOTES", start_exit_code=1066)
    for _ in range(2):
        told = cli("backup", code=3)
        assert f"LME-NOTES could not be put back as {run} had found it: " in told.out
        assert "LME-NOTES" not in told.err.partition("put back as the killed run")[0].rpartition("\n")[2]
    assert services(cli)["MSExchangeCoCo"][0] == "Running"
    newest = next(r["run"] for r in cli("runs", "--json").json if r["verb"] == "backup")
    assert "services that did not start again: LME-NOTES" in cli("runs", newest).out
    world.client.edit(HOST, "trouble_service", name="LME-NOTES")
    assert f"LME-NOTES: put back as {run} had found it; it could not be before" in cli("backup").err
    assert services(cli)["LME-NOTES"] == ("Running", "Automatic")
    assert "put back" not in cli("backup").err


def test_what_somebody_has_disabled_since_stays_so(cli: Cli, world: World) -> None:
    killed_while_they_stand(cli, world)
    world.client.edit(HOST, "trouble_service", name="LME-NOTES", start_exit_code=1066)
    cli("backup", code=3)
    world.client.edit(HOST, "set_registry", key=LME, name="Start", data=4)
    world.client.edit(HOST, "trouble_service", name="LME-NOTES")
    told = cli("backup")
    assert "LME-NOTES: left as it is" in told.err
    assert services(cli)["LME-NOTES"] == ("Stopped", "Disabled")
    assert "LME-NOTES" not in cli("backup").err


def test_a_restore_that_a_later_one_has_overtaken_is_not_resumed(cli: Cli, world: World) -> None:
    """`resume latest` would bring back, unasked, what has been changed for good reasons since."""
    run = killed_while_they_stand(cli, world)
    rows = [r for r in cli("status", HOST, "--json", code=5).json["rows"] if r["state"] == "standing"]
    (message,) = [r["message"] for r in rows]
    assert message.startswith(f"{run} stopped ")
    assert message.endswith(f", and did not start them; run: exremote backup {HOST}")
    assert all(name in message for name in ALL)
    cli(*restore(cli), "--yes", "--grace", "0")
    assert "standing" not in cli("status", HOST).out
    (newest,) = (r["run"] for r in cli("runs", "--json").json[:1])
    refused = cli("resume", run, code=4).err
    assert f"What {run} left is no more to be done: {newest} has changed {HOST} since" in " ".join(
        refused.split()
    )
    assert "there is no run that could be resumed" in cli("resume", "latest", code=12).err
    assert not any(r["resume"] for r in cli("runs", "--json").json)


def test_what_ran_and_was_disabled_runs_again_and_is_disabled(cli: Cli, world: World) -> None:
    """Somebody had disabled it and not stopped it yet."""
    world.client.edit(HOST, "set_registry", key=LME, name="Start", data=4)
    killed_while_they_stand(cli, world)
    assert services(cli)["LME-NOTES"] == ("Stopped", "Disabled")
    cli("backup")
    assert services(cli)["LME-NOTES"] == ("Running", "Disabled")


def test_what_a_later_restore_has_mended_is_owed_no_more(cli: Cli, world: World) -> None:
    """A restore found LME-NOTES disabled, failed, and could not put it back so; the next one makes it run."""
    world.client.edit(HOST, "set_service", name="LME-NOTES", state="Stopped")
    world.client.edit(HOST, "set_registry", key=LME, name="Start", data=4)
    world.fault(f"{HOST}:Set-ServiceState:*:throw=Timeout")
    failed = cli(*restore(cli), "--yes", "--grace", "0", code=22)
    assert "These services did not come back to how they were found: " in failed.out
    assert "LME-NOTES: " in failed.out
    world.client.clear_faults()
    cli(*restore(cli), "--yes", "--grace", "0")
    mended = services(cli)["LME-NOTES"]
    assert mended[0] == "Running"
    assert mended[1] != "Disabled"
    assert "LME-NOTES" not in cli("backup").err
    assert services(cli)["LME-NOTES"] == mended


@pytest.mark.parametrize("line", [0, -1], ids=["first", "last"])
def test_a_damaged_journal_is_said_once(cli: Cli, world: World, line: int) -> None:
    """Nobody can tell what it left; a backup that says nothing of it would look as if nothing stood still."""
    run = killed_while_they_stand(cli, world)
    cli("backup")  # it takes the shell away that only the journal names
    path = cli.repository / "runs" / f"{run}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = lines[line].replace(b'"kind"', b'"kint"')
    path.write_bytes(b"".join(lines))
    sentence = f"the journal of {run} is damaged: whether it left services standing here, nobody can tell"
    assert sentence in cli("backup", code=None).err
    newest = cli("runs", "--json").json[0]["run"]
    assert f"the journal of {run} is damaged" in cli("runs", newest).out
    assert "is damaged" not in cli("backup", code=None).err


def test_nothing_is_put_back_while_another_run_is_at_the_host(cli: Cli, world: World) -> None:
    """It may have stopped them on purpose; a plan is refused then, too, for its look would put them back."""
    killed_while_they_stand(cli, world)
    with Repository.open(cli.repository).lock("exremote backup", name=f"host-{HOST}"):
        assert "exremote backup" in cli(*restore(cli), "--yes", code=11).out
        assert {services(cli)[name][0] for name in ALL} == {"Stopped"}
    cli(*restore(cli), "--yes", "--grace", "0")
    assert {state for state, _ in services(cli).values()} == {"Running"}


def test_what_a_later_restore_has_started_is_not_said_to_be_put_back(cli: Cli, world: World) -> None:
    world.client.edit(HOST, "trouble_service", name="LME-NOTES", start_exit_code=1066)
    cli(*restore(cli), "--yes", "--grace", "0", code=3)
    world.client.edit(HOST, "trouble_service", name="LME-NOTES")
    cli(*restore(cli), "--yes", "--grace", "0")
    assert services(cli)["LME-NOTES"][0] == "Running"
    assert "put back" not in cli("backup").err

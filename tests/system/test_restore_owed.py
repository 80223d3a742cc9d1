"""What a restore that broke off owes its host, and says; how services stand behind one that was killed."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import CONNDATA, Cli, World
from restore_support import AMAP, DAMAGED, HOST, broken, restore, services, wait_for

WORK = rf"{CONNDATA}\left.seq"
LME = r"HKLM\SYSTEM\CurrentControlSet\Services\LME-NOTES"
DO = ("--yes", "--grace", "0")


@pytest.fixture
def cli(world: World, tmp_path: Path) -> Iterator[Cli]:
    """Return a command line with a backup of a host that was broken since, with a work file in it."""
    cli = broken(world, tmp_path)
    world.write(HOST, WORK, b"a work file")
    yield cli
    world.client.edit(HOST, "trouble_service", name="LME-NOTES")
    for service in ("MSExchangeCoCo", "LME-NOTES", "MSExchangeCalCon"):
        world.client.edit(HOST, "set_service", name=service, state="Running")
    world.client.edit(HOST, "set_registry", key=LME, name="Start", data=2)
    assert cli.leaks() == []
    assert world.no_shell() == {}


def disable(world: World) -> None:
    """Have the connector's own service stand still, and not start by itself."""
    world.client.edit(HOST, "set_service", name="LME-NOTES", state="Stopped")
    world.client.edit(HOST, "set_registry", key=LME, name="Start", data=4)


@pytest.mark.not_under_wine("time")
@pytest.mark.parametrize("step", ["Move-StagedFile", "Remove-WorkFile"])
def test_work_files_that_a_broken_restore_left_are_erased_by_the_next(
    cli: Cli, world: World, step: str
) -> None:
    """The file lies in its place already, so that nothing differs: the erasing is owed all the same."""
    world.fault(f"{HOST}:{step}:1:throw=LabFault")
    ran = cli(*restore(cli), *DO, code=None)
    world.fault()
    assert ran.code in (3, 22)
    assert world.read(HOST, AMAP) != DAMAGED
    world.write(HOST, WORK, b"a work file")  # it may have been erased before it broke off
    (run,) = set(re.findall(r"exremote undo (\S+?)`", ran.out))
    assert f"`exremote undo {run}`" in ran.out

    shown = cli(*restore(cli), "--dry-run")
    assert f"{run} broke off before it had erased the work files in {CONNDATA}" in shown.out
    assert f"after it, `exremote undo {run}`" in shown.out
    assert "erase work files" in shown.out
    assert "will stop " in shown.out
    resumed = cli("resume", run, "--json", code=None)
    assert resumed.code == 0 or "resum" in resumed.err
    assert not world.exists(HOST, WORK)
    assert {state for state, _ in services(cli).values()} == {"Running"}
    again = cli(*restore(cli), *DO)
    assert "nothing differs" in again.out

    world.write(HOST, WORK, b"of a connector that runs")
    assert "nothing differs" in cli(*restore(cli), *DO).out  # nothing is owed any more
    assert world.exists(HOST, WORK)


@pytest.mark.not_under_wine("time")
def test_what_an_undo_of_a_broken_restore_takes_from_stays(cli: Cli, world: World) -> None:
    """Two restores broke off: only the first one has saved what was there before both."""
    for damage in (DAMAGED, b"other damage"):
        world.write(HOST, AMAP, damage)
        world.fault(f"{HOST}:Move-StagedFile:1:throw=LabFault")
        cli(*restore(cli), *DO, code=None)
        world.fault()
    safety = lambda: [s["id"] for s in cli.snapshots() if s["kind"] == "safety"]  # noqa: E731
    first, second = sorted(safety())
    ran = cli("forget", "--keep-last", "1", "--kind", "safety", "--yes")
    assert sorted(safety()) == [first, second]
    shown = cli("forget", "--keep-last", "1", "--kind", "safety", "--dry-run", "--json").json
    (why,) = [" ".join(f["why"]) for f in shown["stays"] if f["id"] == first]
    assert f"what {HOST} had before the run " in why
    ran = cli("forget", f"{HOST}/{first}", "--yes", code=4)
    assert "which broke off" in ran.err
    assert "exremote undo" in ran.err
    cli(*restore(cli), *DO)
    cli("forget", "--keep-last", "1", "--kind", "safety", "--yes")
    assert first not in safety(), "a restore that came to its end settles what was left"


@pytest.mark.not_under_wine("time")
def test_a_kill_while_it_waits_for_the_proof_leaves_services_as_they_were_to_be(
    cli: Cli, world: World
) -> None:
    """One of them was disabled: it was to run, it runs, and no later run takes that back."""
    disable(world)
    with cli.started(*restore(cli), "--yes", "--grace", "6") as process:
        wait_for(cli, "step-started", '"prove"')
        process.kill()
        process.wait()
    ran = cli("backup")
    assert "put back" not in ran.err
    assert services(cli)["LME-NOTES"] == ("Running", "Automatic")
    shown = cli(*restore(cli), "--dry-run").out
    assert re.search("^  1. prove: health of notes", shown, re.MULTILINE)
    assert "an undo of this restore" not in shown
    resumed = cli("resume", "latest")
    assert "what was left to prove is proven" in resumed.out
    assert "exremote undo" not in resumed.err  # it has changed nothing
    assert "nothing differs" in cli(*restore(cli), *DO).out


@pytest.mark.not_under_wine("time")
def test_a_kill_between_starts_is_healed_to_what_was_found(cli: Cli, world: World) -> None:
    """What ran runs; what the killed run started is stopped again, and disabled, and all is named."""
    disable(world)
    world.client.edit(HOST, "trouble_service", name="LME-NOTES", start_delay_s=3)
    with cli.started(*restore(cli), *DO) as process:
        wait_for(cli, "step-started", '"start-service"', "LME-NOTES")
        time.sleep(0.5)
        process.kill()
        process.wait()
    world.client.edit(HOST, "trouble_service", name="LME-NOTES")
    time.sleep(3)
    ran = cli("backup", code=None)
    assert re.search("LME-NOTES.*put back as the killed run", ran.err)
    found = services(cli)
    assert found["LME-NOTES"] == ("Stopped", "Disabled")
    assert found["MSExchangeCoCo"][0] == "Running"


@pytest.mark.not_under_wine("time")
def test_an_interrupt_behind_the_change_says_what_is_saved_and_the_ways_on(cli: Cli, world: World) -> None:
    world.client.edit(HOST, "trouble_service", name="LME-NOTES", start_delay_s=2)
    with cli.started(*restore(cli), *DO) as process:
        wait_for(cli, "step-started", '"start-service"')
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    (run,) = set(re.findall(r"exremote undo (\S+?)`", out))
    assert f"saved in {HOST}/" in out
    assert f"`exremote resume {run}`" in out
    told = cli("undo", run, *DO)
    assert world.read(HOST, AMAP) == DAMAGED
    assert "went on where" not in told.err
    (undo,) = re.findall(r"exremote undo (\S+?)`", told.err)  # of the undo, and of nothing else
    assert "went on where" not in cli("undo", undo, "--dry-run").err


@pytest.mark.not_under_wine("apart")
def test_a_damaged_journal_of_a_run_that_broke_off_is_said(cli: Cli, world: World) -> None:
    """Nobody can tell what it owes; a plan that says nothing of it would look whole."""
    world.fault(f"{HOST}:Remove-WorkFile:1:throw=LabFault")
    ran = cli(*restore(cli), *DO, code=22)
    world.fault()
    (run,) = set(re.findall(r"exremote undo (\S+?)`", ran.out))
    path = cli.repository / "runs" / f"{run}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"kind":"safety"', b'"kind":"safetz"'))
    shown = cli(*restore(cli), "--dry-run").out
    assert f"the journal of {run} is damaged: what it left undone here" in shown

"""Several hosts in one restore, taken up again; two runs at once; what a plan file chose."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CONNDATA, Cli, World
from restore_support import wait_for

ONE, OTHER = "EXNOTES01", "EXGW01"
AMAP = rf"{CONNDATA}\Dxamex\Amap.tbl"
DO = ("--yes", "--grace", "0", "--confirmed", "notes-client")
BAD = b"not the table"
NO_STOP = "Set-ServiceState:1:throw=ExRemote.ServiceStuck"


@pytest.fixture
def cli(world: World, tmp_path: Path) -> Iterator[Cli]:
    """Return a command line with a backup of two hosts that were broken since."""
    cli = Cli(world.lab, tmp_path)
    cli.inventory(ONE, OTHER)
    cli.init()
    cli("backup")
    world.write(ONE, AMAP, BAD)
    world.write(OTHER, AMAP, BAD)
    yield cli
    assert cli.leaks() == []
    assert world.no_shell() == {}


def newest(cli: Cli, verb: str) -> dict[str, Any]:
    """Return the newest run of a verb."""
    return next(dict(run) for run in cli("runs", "--json").json if run["verb"] == verb)


def events(cli: Cli, run: str) -> list[tuple[str, str]]:
    """Return kind and host of the events of a run."""
    return [(e["event"], str(e.get("host"))) for e in cli("runs", run, "--json").json["events"]]


@pytest.mark.not_under_wine("apart")
def test_what_a_plan_file_chose_is_chosen_again_by_resume(cli: Cli, world: World) -> None:
    """Another host and one item: neither the snapshot's own host is touched, nor anything done unasked."""
    cli.inventory(ONE, OTHER, "EXSICK01")
    first = f"{ONE}/{cli.folder_of(ONE, 'notes').name}"
    plan = str(cli.folder / "plan.json")
    there = ("--item", "conndata", "--to", "EXSICK01")
    cli("restore", first, *there, "--yes", "--save-plan", plan)
    late = ("--plan", plan, "--service-deadline", "5")
    assert "Leave the other choices out" in cli("restore", *late, code=2).err
    world.fault(f"EXSICK01:{NO_STOP}")
    cli("restore", "--plan", plan, *DO, code=22)
    refused = " ".join(cli("resume", newest(cli, "restore")["run"], code=4).err.split())
    assert "there is no terminal to ask at" in refused
    assert world.read(ONE, AMAP) == BAD
    (told,) = re.findall(r"planned anew, and asked, by exremote (restore .*?) error:", refused)
    again = cli(*shlex.split(told), "--yes", "--dry-run")
    assert again.out.startswith("EXSICK01: plan ")
    assert "exchconn-ini" not in again.out


@pytest.mark.not_under_wine("time")
def test_who_goes_first_goes_first_again_when_it_is_resumed(cli: Cli, world: World) -> None:
    world.fault(f"{OTHER}:{NO_STOP}")
    ran = cli("restore", "--latest", ONE, OTHER, "--canary", OTHER.lower(), *DO, code=3)
    assert f"not begun, for {OTHER} did not end well" in ran.out
    hosts = cli("resume", newest(cli, "restore")["run"], "--json").json["hosts"]
    assert [(host["host"], host["state"]) for host in hosts] == [(OTHER, "done"), (ONE, "done")]
    told = events(cli, newest(cli, "restore")["run"])
    assert told.index(("host-ended", OTHER)) < told.index(("planned", ONE))
    assert BAD not in (world.read(ONE, AMAP), world.read(OTHER, AMAP))


@pytest.mark.not_under_wine("time")
def test_what_still_runs_is_not_undone(cli: Cli, world: World) -> None:
    """One host is through, and the other one would be restored behind the undo."""
    world.client.edit(OTHER, "trouble_service", name="MSExchangeCoCo", stop_delay_s=3)
    try:
        with cli.started("restore", "--latest", ONE, OTHER, "--canary", ONE, *DO) as process:
            wait_for(cli, "step-started", OTHER, "stop-service")
            for name in (newest(cli, "restore")["run"], "latest"):
                refused = " ".join(cli("undo", name, *DO[:3], code=4).err.split())
                assert f"is running still (restore (process {process.pid} on " in refused
            assert process.wait(60) == 0
    finally:
        world.client.edit(OTHER, "trouble_service", name="MSExchangeCoCo")
    assert BAD not in (world.read(ONE, AMAP), world.read(OTHER, AMAP))
    cli("undo", "latest", *DO[:3])
    assert world.read(ONE, AMAP) == world.read(OTHER, AMAP) == BAD


@pytest.mark.not_under_wine("wire")
def test_a_host_that_was_away_when_it_was_planned_is_left_for_resume(cli: Cli, world: World) -> None:
    """The others go on; the journal ends as the command does, and says what is left."""
    world.fault(f"{ONE}:any:*:close")
    cli("restore", "--latest", ONE, OTHER, "--keep-going", *DO, code=3)
    world.client.clear_faults()
    assert (world.read(ONE, AMAP), world.read(OTHER, AMAP) == BAD) == (BAD, False)
    run = newest(cli, "restore")
    assert (run["exit_code"], run["hosts"]) == (3, 2)
    assert f"resuming {run['run']}: restore of 1 host of 2: {ONE}" in cli("resume", run["run"]).err
    assert world.read(ONE, AMAP) != BAD

"""Several hosts in one restore, taken up again; two runs at once; what a plan file chose."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CONNDATA, Cli, World
from restore_support import wait_for

from exremote.repository import Repository

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
    failed = newest(cli, "restore")["run"]
    refused = " ".join(cli("resume", failed, code=4).err.split())
    assert "there is no terminal to ask at" in refused
    assert world.read(ONE, AMAP) == BAD
    (told,) = re.findall(r"planned anew, and asked, by exremote (restore .*?) error:", refused)
    again = cli(*shlex.split(told), "--yes", "--dry-run")
    assert again.out.startswith("EXSICK01: plan ")
    assert "exchconn-ini" not in again.out
    cli("resume", failed, "--yes")
    assert world.read("EXSICK01", AMAP) != BAD


@pytest.mark.not_under_wine("time")
def test_who_goes_first_goes_first_again_when_it_is_resumed(cli: Cli, world: World) -> None:
    world.fault(f"{OTHER}:{NO_STOP}")
    ran = cli("restore", "--latest", ONE, OTHER, "--canary", OTHER.lower(), *DO, code=3)
    assert f"not begun, for {OTHER} did not end well" in ran.out
    told = cli("runs", newest(cli, "restore")["run"], "--json").json["events"]
    ended = {e["host"]: e["state"] for e in told if e["event"] == "host-ended"}
    assert ended == {OTHER: "failed", ONE: "skipped"}
    hosts = cli("resume", newest(cli, "restore")["run"], "--json").json["hosts"]
    assert [(host["host"], host["state"]) for host in hosts] == [(OTHER, "done"), (ONE, "done")]
    first, second = (
        r["run"] for r in reversed(cli("runs", "--json").json) if r["verb"] == "restore" and r["changed"]
    )
    told = events(cli, second)
    assert told.index(("host-ended", OTHER)) < told.index(("planned", ONE))
    assert BAD not in (world.read(ONE, AMAP), world.read(OTHER, AMAP))
    said = " ".join(cli("undo", first, "--dry-run").err.split())
    took_up = f"{second} took up what {first} had left, and changed {OTHER}, {ONE}: `exremote undo {second}` "
    assert took_up in said
    cli("undo", second, *DO[:3])
    assert "took up what" not in cli("undo", first, "--dry-run").err


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


@pytest.mark.not_under_wine("apart")
def test_what_was_undone_since_is_not_resumed(cli: Cli, world: World) -> None:
    """On one host alone, then as a whole: `latest` would restore, unasked, what somebody had taken back."""
    world.fault(f"{OTHER}:Move-StagedFile:1:throw=ExRemote.Unexpected")
    cli("restore", "--latest", ONE, OTHER, "--canary", ONE, *DO, code=3)
    run = newest(cli, "restore")["run"]
    cli("undo", run, "--host", ONE, *DO[:3])
    assert newest(cli, "restore")["resume"] == f"exremote resume {run}"
    cli("undo", run, *DO[:3])
    assert newest(cli, "restore")["resume"] == ""
    refused = " ".join(cli("resume", run, code=4).err.split())
    assert f"{run} was undone since, by {newest(cli, 'undo')['run']}. To do it again: exremote " in refused
    assert "there is no run that could be resumed" in " ".join(cli("resume", "latest", code=12).err.split())
    assert world.read(ONE, AMAP) == world.read(OTHER, AMAP) == BAD


@pytest.mark.not_under_wine("apart")
def test_a_host_that_cannot_be_undone_keeps_no_other_one_back(cli: Cli, world: World) -> None:
    """What was saved of it is gone, or damaged, or it is in no inventory any more."""
    cli("restore", "--latest", ONE, OTHER, *DO)
    run = newest(cli, "restore")["run"]
    (saved,) = (s.path for s in Repository.open(cli.repository).snapshots(ONE) if s.kind == "safety")
    away = saved.rename(cli.folder / "away")
    refused = " ".join(cli("undo", run, "--yes", code=12).err.split())
    assert f"there is no snapshot '{ONE}/{saved.name}'" in refused
    assert f"Nothing was changed; --keep-going goes on without {ONE}." in refused
    assert "--keep-going" not in cli("undo", run, "--host", ONE, "--keep-going", "--yes", code=12).err
    ran = cli("undo", run, "--keep-going", *DO[:3], code=3)
    assert f"{ONE}: everything is left out: " in ran.out
    assert (world.read(ONE, AMAP) == BAD, world.read(OTHER, AMAP)) == (False, BAD)
    away.rename(saved)
    cli.inventory(OTHER)
    refused = " ".join(cli("undo", run, "--dry-run", code=2).err.split())
    assert f"has no host {ONE}." in refused
    assert f"--keep-going goes on without {ONE}." in refused
    cli("undo", run, "--dry-run", "--keep-going", code=3)


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
    refused = " ".join(cli("resume", newest(cli, "restore")["run"], code=4).err.split())
    (again,) = re.findall(r"To do it again: exremote (.*)", refused)
    assert "nothing differs" in cli(*shlex.split(again)).out
    world.fault(f"{ONE}:any:*:close")
    plan = cli.folder / "plan.json"
    said = cli("restore", "--latest", ONE, OTHER, "--save-plan", str(plan), code=3).err
    assert f"no plan is written to {plan}: there is none for {ONE}" in " ".join(said.split())
    assert not plan.exists()


@pytest.mark.not_under_wine("apart")
def test_what_drifted_is_named_before_what_follows_from_it(cli: Cli, world: World) -> None:
    """A file more that differs stops other services: the file is what a person wants to hear of."""
    plan = str(cli.folder / "plan.json")
    first = f"{ONE}/{cli.folder_of(ONE, 'notes').name}"
    cli("restore", first, "--save-plan", plan)
    world.write(ONE, rf"{CONNDATA}\Exchconn.ini", b"drifted")
    said = " ".join(cli("restore", "--plan", plan, "--dry-run", code=4).out.split())
    assert rf"was approved. {CONNDATA}\Exchconn.ini: now it is to be done, too" in said


@pytest.mark.not_under_wine("apart")
def test_a_connector_that_stops_too_counts_as_down(cli: Cli, world: World) -> None:
    """The snapshots are of two kinds; both restores stop what a third one is of, for `Conndata` is shared."""
    big = "EXBIG01"
    cli.inventory(ONE, big)
    cli("backup", big)
    world.write(big, AMAP, BAD)
    names = [
        f"{host}/{cli.folder_of(host, kind).name}" for host, kind in ((ONE, "notes"), (big, "groupwise"))
    ]
    ran = cli("restore", *names, "--item", "conndata", "--down-at-once", "1", *DO)
    assert ran.out.count("stop service MSExchangeCalCon") == 2
    told = events(cli, newest(cli, "restore")["run"])
    first, second = (host for kind, host in told if kind == "planned")
    assert told.index(("host-ended", first)) < told.index(("planned", second))


@pytest.fixture
def drills(cli: Cli) -> Cli:
    """Return the command line with a host on which both are tried."""
    cli.inventory(ONE, OTHER, defaults=f"drill_on = '{OTHER}'\ndrill_folder = 'C:\\drill'")
    return cli


def proofs(cli: Cli, host: str) -> list[bool]:
    """Return of each drill of a host's snapshots whether it was green."""
    files = sorted((cli.repository / "proofs" / host).glob("*.jsonl"))
    return [json.loads(line)["green"] for file in files for line in file.read_text().splitlines()]


def scratch(world: World) -> list[str]:
    """Return what lies in the folder that drills use."""
    return [str(name) for name in world.client.edit(OTHER, "list", path="C:\\drill")]


@pytest.mark.not_under_wine("time")
def test_two_drills_of_one_host_do_not_spoil_each_other(drills: Cli, world: World) -> None:
    world.fault(f"{OTHER}:Set-RegistryValue:1:delay=3")
    with drills.started("drill", "--latest", ONE) as process:
        wait_for(drills, "drilling", safety=False)
        ran = drills("drill", "--latest", ONE, OTHER, code=11)
        assert f"{ONE}: failed: " in ran.out
        assert f"locked by exremote drill (process {process.pid} on " in ran.out
        assert f"{OTHER}\tok\t{OTHER}\t" in ran.out  # and its own snapshots are tried all the same
        assert process.wait(60) == 0
    assert (set(proofs(drills, ONE)), set(proofs(drills, OTHER))) == ({True}, {True})
    assert scratch(world) == []


@pytest.mark.not_under_wine("time")
def test_what_a_killed_drill_left_goes_with_the_next_one_there(drills: Cli, world: World) -> None:
    """It holds what connectors log on with: it does not wait for a drill of the same host."""
    world.fault(f"{OTHER}:Get-FileTree:1:delay=2")
    with drills.started("drill", "--latest", ONE) as process:
        wait_for(drills, "drilling", safety=False)
        end = time.monotonic() + 30
        while f"exremote-drill-{ONE}" not in scratch(world) and time.monotonic() < end:
            time.sleep(0.05)
        process.kill()
        process.wait()
    assert scratch(world) == [f"exremote-drill-{ONE}"]
    drills("drill", "--latest", OTHER)
    assert scratch(world) == []
    assert proofs(drills, ONE) == []


@pytest.mark.not_under_wine("apart")
def test_a_damaged_snapshot_stops_no_other_drill(drills: Cli, world: World) -> None:
    """It is named, it is no proof, and what else was asked for is tried."""
    place = Repository.open(drills.repository)
    only = {e.sha256 for s in place.snapshots(ONE) for e in s.manifest.entries}
    only -= {e.sha256 for s in place.snapshots(OTHER) for e in s.manifest.entries}
    (hurt,) = [s for s in place.snapshots(ONE) if s.connector == "notes"]
    path = next(place.object_path(e.sha256) for e in hurt.manifest.entries if e.sha256 in only and e.size)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    ran = drills("drill", "--latest", ONE, OTHER, "--json", code=13)
    first, other = ran.json["hosts"][0]["drills"]
    assert (first["green"], other["green"]) == (False, True)
    said = r"so nothing of it is restored: \S.* is damaged: its content is another one\. `exremote verify` "
    assert re.search(said, first["error"])
    assert set(proofs(drills, OTHER)) == {True}
    assert proofs(drills, ONE) == [False]
    rows = drills("status", "--json", code=None).json["rows"]
    (message,) = [r["message"] for r in rows if (r["host"], r["connector"]) == (ONE, "notes")]
    (run,) = re.findall(
        r"its last drill was not green: .* is damaged: .*; see `exremote runs (\S+)`", message
    )
    assert "is damaged" in drills("runs", run).out

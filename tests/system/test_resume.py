"""A run that did not end well is taken up again: its command line, for what it left, and nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from conftest import BULK, Cli, World, held, wait_for_bytes

BIG, NEXT = "EXBIG01", "EXNOTES01"
SLOW = 4_000_000


def first_event(cli: Cli, run: str) -> dict[str, Any]:
    text = (cli.repository / "runs" / f"{run}.jsonl").read_text("utf-8")
    return dict(json.loads(text.splitlines()[0]))


@pytest.mark.not_under_wine("time")
def test_a_killed_run_is_resumed_for_the_hosts_that_it_left(cli: Cli, world: World) -> None:
    """From another folder, with no inventory named: the journal knows which."""
    site = cli.inventory(NEXT, BIG)
    cli.init()
    world.client.reset_counters(BIG)
    world.line(BIG, bandwidth_bps=SLOW)
    options = ("--only", "notes", "--only", "groupwise", "--parallel", "2", "--limit-rate", "50M")
    with cli.started("backup", NEXT, BIG, *options, "--inventory", "site.toml") as process:
        wait_for_bytes(world, BIG, 1_500_000)
        (run,) = cli("runs", "--json").json
        assert (run["state"], run["resume"]) == ("running", "")
        refused = cli("resume", run["run"], code=4).err
        assert f"{run['run']} is running still (backup (process {process.pid} on " in " ".join(
            refused.split()
        )
        process.kill()
        process.wait(10)
    (run,) = cli("runs", "--json").json
    assert (run["state"], run["resume"]) == ("did not end", f"exremote resume {run['run']}")
    assert "exremote resume RUN" in cli("runs").err
    said = first_event(cli, run["run"])
    assert said["command"] == ["backup", NEXT, BIG]
    assert said["options"] == list(options)
    assert (said["inventory"], said["repository"]) == (str(site), str(cli.repository))
    world.client.set_line(BIG)
    world.client.reset_counters(NEXT)
    cli.more = {"EXREMOTE_INVENTORY": "", "EXREMOTE_REPOSITORY": str(cli.repository)}
    ran = cli("resume", run["run"][:-3], "--json")
    assert f"resuming {run['run']}: backup of 1 host of 2: {BIG}" in " ".join(ran.err.split())
    (host,) = ran.json["hosts"]
    assert (host["host"], host["state"]) == (BIG, "done")
    assert world.client.counters(NEXT)["requests"] == 0
    distinct = {sha256 for *_, sha256 in held(cli, BIG, "groupwise")}
    assert len(distinct) - int(host["sent_files"]) >= 4, "what came before the kill came again"
    assert not list((cli.repository / "snapshots" / BIG).glob("*-calendar-*")), "--only was forgotten"
    second = next(r for r in cli("runs", "--json").json if r["run"] != run["run"])
    assert first_event(cli, second["run"])["resumes"] == run["run"]
    assert f"which resumes {run['run']}" in " ".join(cli("runs", second["run"]).out.split())
    assert [r["resume"] for r in cli("runs", "--json").json] == ["", ""]
    refused = " ".join(cli("resume", run["run"], code=4).err.split())
    assert f"{run['run']} was resumed already, by {second['run']}." in refused
    refused = " ".join(cli("resume", second["run"], code=4).err.split())
    assert f"There is nothing to resume: all that {second['run']} was to do, it did." in refused


@pytest.mark.not_under_wine("time")
def test_what_a_host_lacked_is_brought_by_resume(cli: Cli, world: World) -> None:
    """An incomplete host, and one that is away, are left; of the three one was well."""
    held_open = r"C:\Program Files\Exchsrvr\Conndata\GWRouter\togwise\held.ndr"
    cli.inventory("EXGW01", NEXT, "EXDOWN01", retry="attempts = 1\ntotal_s = 1\nfirst_wait_s = 0.05")
    cli.init()
    world.lock("EXGW01", held_open)
    states = [h["state"] for h in cli("backup", "--json", code=3).json["hosts"]]
    assert states == ["incomplete", "done", "unreachable"]
    (run,) = cli("runs", "--json").json
    world.restore()
    ran = cli("resume", run["run"], "--json", code=3)
    assert [(h["host"], h["state"]) for h in ran.json["hosts"]] == [
        ("EXGW01", "done"),
        ("EXDOWN01", "unreachable"),
    ]
    first, second = sorted(cli("runs", "--json").json, key=lambda r: r["started"])
    assert (first["resume"], second["resume"]) == ("", f"exremote resume {second['run']}")


@pytest.mark.not_under_wine("local")
def test_a_host_without_room_is_not_begun_to_be_copied_and_resumed_later(cli: Cli, world: World) -> None:
    """The other one, whose contents are here, goes on; so does the first when there is room."""
    cli.inventory(NEXT)
    cli.init()
    cli("backup")
    cli.inventory(BIG, NEXT, top="keep_free = '900T'")
    (big, _) = cli("backup", "--dry-run", "--json").json["hosts"]
    assert "there is no room for this host" in big["warnings"][0]
    world.client.reset_counters(BIG)
    big, well = cli("backup", "--json", code=10).json["hosts"]
    assert (well["state"], [s["state"] for s in well["snapshots"]]) == ("done", ["unchanged"] * 2)
    assert (big["state"], big["exit_code"]) == ("failed", 10)
    size = r"it needs [0-9.]+ MiB \([0-9]+ contents that the repository lacks, and [0-9.]+ [KM]iB of lists\)"
    assert re.search(
        rf"{size}, and there are 0 B: [0-9.]+ GiB free, less 838190.3 GiB that stay free", big["message"]
    )
    assert "`exremote forget --prune`" in big["message"]
    assert world.client.counters(BIG)["bytes_out"] < BULK.files * BULK.size / 2
    assert not list((cli.repository / "partial").iterdir())
    run = next(r for r in cli("runs", "--json").json if r["resume"])
    cli.inventory(BIG, NEXT)
    (big,) = cli("resume", run["run"], "--json").json["hosts"]
    assert (big["host"], big["state"]) == (BIG, "done")
    cli.inventory(BIG, top="keep_free = 'a lot'")
    assert 'keep_free: expected a size such as "500M" or "20G"' in " ".join(cli("backup", code=2).err.split())


@pytest.mark.not_under_wine("local")
def test_what_is_not_resumed(cli: Cli) -> None:
    cli.inventory(NEXT)
    cli.init()
    assert "no run begins with 2019" in " ".join(cli("resume", "2019", code=12).err.split())
    cli("health", NEXT, "--fail-on", "critical")
    cli("backup", "--dry-run")
    runs = {r["verb"]: r for r in cli("runs", "--json").json}
    assert [r["resume"] for r in runs.values()] == ["", ""]
    assert "resume" not in cli("runs").all
    said = " ".join(cli("resume", runs["health"]["run"], code=4).err.split())
    assert f"{runs['health']['run']} is a run of health, which is not resumed (what is: backup" in said
    assert f"exremote health {NEXT}" in said
    said = cli("resume", runs["backup"]["run"], "--json", code=4).json
    assert said["exit_code"] == 4
    assert "it was a dry run" in said["error"]
    journal = cli.repository / "runs" / f"{runs['backup']['run']}.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"--dry-run", b"--dry-fun"))
    said = " ".join(cli("resume", runs["backup"]["run"], code=4).err.split())
    assert "does not say for sure what it was to do" in said

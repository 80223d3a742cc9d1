"""`exremote restore` and `undo`: a plan first, then the host is as the snapshot has it, and back again."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CONNDATA, Cli, World
from terminal_support import Terminal

from exremote.lab.client import LabTrouble

NOTES = r"C:\Lotus\Notes"
AMAP = rf"{CONNDATA}\Dxamex\Amap.tbl"
TABLE = rf"{CONNDATA}\Tables\lab0002.tbl"
DLL = rf"{NOTES}\nnotes.dll"
NEW = rf"{NOTES}\Data\after.nsf"
HOLLOW = rf"{CONNDATA}\Hollow"
KEY = r"HKLM\SOFTWARE\Lotus\Notes"
WORK = ("broken.seq", "broken.ck")
DO = ("--yes", "--confirmed", "notes-client", "--grace", "0")


@pytest.fixture
def cli(world: World, tmp_path: Path) -> Iterator[Cli]:
    """Return a command line with a backup of two healthy hosts."""
    cli = Cli(world.lab, tmp_path)
    cli.inventory("EXNOTES01", "EXGW01")
    cli.init()
    world.client.edit("EXNOTES01", "make_directory", path=HOLLOW)
    cli("backup")
    yield cli
    with contextlib.suppress(LabTrouble):
        world.client.edit("EXNOTES01", "remove_file", path=HOLLOW)
    assert cli.leaks() == []
    assert world.no_shell() == {}


def snapshot_of(cli: Cli, host: str, connector: str) -> str:
    """Return HOST/ID of the only snapshot."""
    return f"{host}/{cli.folder_of(host, connector).name}"


def broken(world: World, host: str = "EXNOTES01") -> dict[str, bytes]:
    """Break a host. Return what its files held before."""
    before = {path: world.read(host, path) for path in (AMAP, TABLE, DLL)}
    world.remove(host, AMAP)
    world.client.edit(host, "remove_file", path=HOLLOW)
    world.write(host, TABLE, b"")
    world.write(host, DLL, b"MZ another version")
    world.write(host, NEW, b"nobody saved this")
    for name in WORK:
        world.write(host, rf"{CONNDATA}\{name}", b"a work file")
    world.set_registry(host, KEY, "Path", "D:\\wrong\\", "C:\\Lotus\\Notes\\")
    world.stop_service(host, "LME-NOTES")
    return before


def run_of(cli: Cli, verb: str) -> str:
    """Return the newest run of a verb."""
    return str(next(r["run"] for r in cli("runs", "--json").json if r["verb"] == verb))


def states(cli: Cli, host: str) -> dict[str, str]:
    """Return the services' states as the host says them now."""
    cli("backup", host, "--only", "notes", code=None)  # a sick host's is incomplete
    folder = cli.folders_of(host, "notes")[-1]
    return {s["name"]: s["state"] for s in json.loads((folder / "services.json").read_text())}


def test_break_restore_prove_undo(cli: Cli, world: World) -> None:
    """The whole way, held against the machine itself."""
    first = snapshot_of(cli, "EXNOTES01", "notes")
    before = broken(world)

    shown = cli("restore", first, "--dry-run").out
    assert f"new {AMAP} (nothing ->" in shown
    assert f"changed {DLL}" in shown
    assert r'REG_SZ "D:\\wrong\\" -> REG_SZ "C:\\Lotus\\Notes\\"' in shown
    assert "will stop " in shown
    assert "MSExchangeCalCon" in shown  # it needs the controller, and is of another connector
    assert "after.nsf" in shown
    assert f"new folder {HOLLOW}\n" in shown
    simulated = world.engine == "simulated"  # under Wine none is worth keeping
    assert ("that are sent inherit of" in shown) is simulated
    assert ("note: access lists were not looked for, so none is set" in shown) is not simulated
    erased = next(line for line in shown.splitlines() if "erase work files" in line)
    assert all(name in erased for name in WORK)  # those of today, not those of the snapshot
    assert world.read("EXNOTES01", DLL) == b"MZ another version"

    if simulated:  # what asks nothing new of an engine is asked of one: Wine's minutes are dear
        refused = cli("restore", first, "--yes", code=4)
        assert "--confirmed notes-client" in refused.err
        assert "there is no terminal" in cli("restore", first, "--confirmed", "notes-client", code=4).err

    report = cli("restore", first, *DO, "--json").json["hosts"][0]
    assert report["state"] == "done", report
    assert report["done"]["files"] == 3
    assert report["done"]["values"] == 1
    assert report["done"]["folders_made"] == 1
    assert report["done"]["sent_files"] in (2, 3)  # one may lie there, of a run that failed
    assert set(WORK) <= set(report["done"]["erased"])
    assert {path: world.read("EXNOTES01", path) for path in before} == before
    assert world.read("EXNOTES01", NEW) == b"nobody saved this"
    assert not world.exists("EXNOTES01", rf"{CONNDATA}\{WORK[0]}")
    assert not world.exists("EXNOTES01", r"C:\Program Files\Exchsrvr\exremote-staging-conndata")
    again = cli("restore", first, *DO)
    assert messages(again.out) == ["nothing differs: nothing to do"]
    assert "exremote undo" not in again.err
    assert states(cli, "EXNOTES01") == {"MSExchangeCoCo": "Running", "LME-NOTES": "Running"}

    run = next(r["run"] for r in cli("runs", "--json").json if r["verb"] == "restore" and steps_of(cli, r))
    undone = cli("undo", run, *DO, "--json").json["hosts"][0]
    assert undone["state"] == "done", undone
    assert not world.exists("EXNOTES01", AMAP)
    assert undone["done"]["folders_removed"] == 1
    erased_then = next(note for note in undone["plan"]["notes"] if "will not be brought back" in note)
    assert f"work files that {run} erased in {CONNDATA} will" in erased_then
    assert all(name in erased_then for name in WORK)
    assert world.read("EXNOTES01", TABLE) == b""
    assert world.read("EXNOTES01", DLL) == b"MZ another version"
    assert states(cli, "EXNOTES01")["LME-NOTES"] == "Stopped"
    if not simulated:
        return
    same = rf"{CONNDATA}\Exchconn.ini"
    world.write("EXNOTES01", same, world.read("EXNOTES01", same))  # nothing but its time
    now = cli("restore", first, "--dry-run").out
    assert re.search(f"\n +time or attributes of {re.escape(same)} \\([0-9a-f]{{12}} stays", now)
    assert r'REG_SZ "D:\\wrong\\" -> REG_SZ "C:\\Lotus\\Notes\\"' in now
    if os.name == "posix":
        with Terminal(cli, "restore", first, columns=80) as terminal:  # of a path nothing is lost there
            *lines, question = terminal.until("[y/N]").replace("\r", "").split("\n")
            plan = lines[next(n for n, line in enumerate(lines) if ": plan " in line) :]
            assert max(map(len, plan)) <= 80
            assert any(line.startswith(f"       new {AMAP} (nothing ->") for line in plan)
            assert any(line.startswith("           ") for line in plan)
            assert question.startswith("restore on EXNOTES01; stops ")
            terminal.answer("n")
            assert terminal.ends() == 4
        # What is saved before a restore is told from a backup on a narrow terminal, too.
        for sizes, column in ((), "kind"), (("--sizes",), "alone"):
            with Terminal(cli, "snapshots", "EXNOTES01", *sizes, columns=80) as terminal:
                shown = terminal.until("left out, for want of width")
                assert column in shown
                assert terminal.ends() == 0
    told = cli("runs", run).out
    assert "saved before: EXNOTES01/" in told

    restored = cli("restore", first, *DO[:-1], "1")
    assert f"`exremote undo {run_of(cli, 'restore')}` brings back" in restored.err
    assert restored.err.count("whether services stay") == 1, "one line, however long it waits"
    assert {path: world.read("EXNOTES01", path) for path in before} == before


def messages(out: str) -> list[str]:
    """Return the messages of the hosts, from a result in a pipe: the fifth column, whatever came of them."""
    rows = [line.split("\t") for line in out.splitlines() if line.startswith("EXNOTES01\t")]
    return [row[4] for row in rows]


def steps_of(cli: Cli, run: dict[str, Any]) -> bool:
    """Return whether a run carried out steps."""
    return any(e["event"] == "step-finished" for e in cli("runs", run["run"], "--json").json["events"])


@pytest.mark.not_under_wine("time")
def test_an_approved_plan_is_carried_out_only_while_the_server_is_the_same(cli: Cli, world: World) -> None:
    first = snapshot_of(cli, "EXNOTES01", "notes")
    broken(world)
    plan = cli.folder / "plan.json"
    cli("restore", first, "--save-plan", str(plan))
    assert "is there already" in cli("restore", first, "--save-plan", str(plan), code=2).err
    assert "the other choices" in cli("restore", first, "--plan", str(plan), code=2).err

    world.write("EXNOTES01", DLL, b"MZ a third version")
    for more in (DO, ("--dry-run",)):  # what the deed would refuse, the look at it says
        drifted = cli("restore", "--plan", str(plan), *more, code=4)
        (message,) = messages(drifted.out)
        assert "not what it was when the plan was approved" in message
        assert re.search(
            rf"approved\. {re.escape(DLL)}: it was \w{{12}} -> \w{{12}}, and now it is \w{{12}} ->", message
        )
        assert f"changed {DLL}" in drifted.out  # the plan as it is now
    run = run_of(cli, "restore")
    assert [r["exit_code"] for r in cli("runs", "--json").json if r["run"] == run] == [4]
    assert world.read("EXNOTES01", DLL) == b"MZ a third version"

    world.write("EXNOTES01", DLL, b"MZ another version")
    world.write("EXNOTES01", TABLE, b"live tables change")  # volatile: no drift
    text = plan.read_text()
    plan.write_text(text.replace(r"D:\\\\wrong", r"E:\\\\wrong"))
    assert "it was edited" in cli("restore", "--plan", str(plan), *DO, code=4).err
    assert text.count('"in_transit": false') == text.count("Amap.tbl") == 1
    for was, will in (('"in_transit": false', '"in_transit": true'), ("Amap.tbl", "Bmap.tbl")):
        plan.write_text(text.replace(was, will))  # what is volatile is no part of the plan's own digest
        assert "it was edited" in cli("restore", "--plan", str(plan), *DO, code=4).err
    plan.write_text(text.replace('"format": 1', '"format": 7'))
    assert "of version 7" in cli("restore", "--plan", str(plan), *DO, code=4).err
    for no_plan in ("[]", "{", '{"hosts": []}'):
        plan.write_text(no_plan)
        assert f"{plan} is no plan" in cli("restore", "--plan", str(plan), *DO, code=2).err
    plan.write_text(text)
    same = cli("restore", "--plan", str(plan), "--dry-run")
    assert messages(same.out) == ["planned; nothing was changed"]
    done = cli("restore", "--plan", str(plan), *DO)
    assert "EXNOTES01: planned\n" in done.err
    assert "nothing differs" not in done.out
    assert "nothing was changed" not in done.all
    assert world.read("EXNOTES01", TABLE) != b"live tables change"


@pytest.mark.not_under_wine("local")
def test_bad_choices_are_refused_with_what_to_do(cli: Cli, world: World) -> None:
    first = snapshot_of(cli, "EXNOTES01", "notes")
    assert "Which snapshot?" in cli("restore", code=2).err
    assert "--into restored: this is no full path" in cli("restore", first, "--into", "restored", code=2).err
    assert "there is no snapshot 'nothing'" in cli("restore", "nothing", code=12).err
    for text in (r"D:\re:s|t", r"D:\..\up", "D:\\drill."):
        for line in (
            ("restore", first, "--into", text),
            ("drill", first, "--on", "EXGW01", "--folder", text),
        ):
            assert f"{line[-2]} {text}: no folder is called so." in cli(*line, code=2).err
    relative = cli("drill", first, "--on", "EXGW01", "--folder", r"re\stage", code=2).err
    assert r"--folder re\stage: this is no full path" in relative
    for option in ("--save-plan", "--plan"):
        told = cli("restore", first, "--into", r"C:\restored", option, "plan.json", code=2).err
        assert f"Leave {option} out; --dry-run says" in told
    early = cli("restore", first, "--into", r"C:\restored", "--canary", "EXNOTES01", code=2).err
    assert "Leave --canary and --wave out" in early
    assert "No snapshot has an item conndatta" in cli("restore", first, "--item", "conndatta", code=2).err
    assert "--latest of which hosts?" in cli("restore", "--latest", code=2).err
    assert f"{first} names a snapshot" in cli("restore", "--latest", first, code=2).err
    assert "has no host" in cli("restore", first, "--to", "EXNONE", "--yes", code=2).err
    strange = cli("restore", first, "--confirmed", "notes-clinet", "--yes", code=2).err
    assert "--confirmed notes-clinet: no step is called so. A person confirms " in strange
    other = snapshot_of(cli, "EXGW01", "groupwise")
    both = cli("restore", first, other, "--to", "EXGW01", "--yes", code=2).err
    assert "takes the snapshots of one host" in both
    assert "there is no terminal" in cli("restore", first, "--to", "EXGW01", code=4).err
    assert "no run begins with" in cli("undo", "20200101", code=12).err
    run = run_of(cli, "backup")
    assert "it changed no server" in cli("undo", run, code=4).err


@pytest.mark.not_under_wine("time")
def test_several_hosts_from_their_newest_the_canary_first(cli: Cli, world: World) -> None:
    """One command; what differs is put back on both, and each is proven."""
    world.write("EXNOTES01", AMAP, b"broken")
    world.write("EXGW01", AMAP, b"broken too")
    ran = cli("restore", "--latest", "EXNOTES01", "EXGW01", "--canary", "EXGW01", *DO, "--json")
    assert [host["state"] for host in ran.json["hosts"]] == ["done", "done"]
    assert world.read("EXNOTES01", AMAP) != b"broken"
    assert world.read("EXGW01", AMAP) != b"broken too"
    events = cli("runs", run_of(cli, "restore"), "--json").json["events"]
    order = [e["host"] for e in events if e["event"] == "planned"]
    assert order == ["EXGW01", "EXNOTES01"]
    run = run_of(cli, "restore")
    strange = cli("undo", run, "--host", "EXNOTES01", "--canary", "EXGW01", "--yes", code=2).err
    assert "--canary EXGW01: nothing is undone there" in strange
    undone = cli("undo", run, "--canary", "EXNOTES01", *DO, "--json").json["hosts"]
    assert [(host["host"], host["state"]) for host in undone] == [("EXNOTES01", "done"), ("EXGW01", "done")]
    assert world.read("EXGW01", AMAP) == b"broken too"
    events = cli("runs", run_of(cli, "undo"), "--json").json["events"]
    kept = [(e["event"], e["host"]) for e in events if e["event"] in ("planned", "host-ended")]
    assert kept.index(("host-ended", "EXNOTES01")) < kept.index(("planned", "EXGW01"))


@pytest.mark.not_under_wine("time")
def test_into_a_folder_where_nothing_is_touched(cli: Cli, world: World) -> None:
    """Files lie there under the host's own names; what is there already is never written over."""
    first = snapshot_of(cli, "EXNOTES01", "notes")
    folder = r"C:\restored"
    assert "would put" in cli("restore", first, "--into", folder, "--dry-run").out
    refused = cli("restore", first, "--into", folder, "--item", "conndata", code=4)
    assert "would put" in refused.out
    assert "there is no terminal to ask at. See what would be put there by --dry-run" in refused.err
    assert not world.exists("EXNOTES01", rf"{folder}\conndata\Dxamex\Amap.tbl")
    line = ("restore", first, "--into", folder, "--item", "conndata", "--yes", "--json")
    report = cli(*line).json["hosts"][0]
    assert report["state"] == "done", report
    assert world.read("EXNOTES01", rf"{folder}\conndata\Dxamex\Amap.tbl") == world.read("EXNOTES01", AMAP)
    again = cli(*line).json["hosts"][0]
    assert again["sent_files"] == 0
    world.write("EXNOTES01", rf"{folder}\conndata\mine.txt", b"mine")
    refused = cli(*line, code=4)
    assert "mine.txt is in the way" in refused.out
    world.client.edit("EXNOTES01", "remove_file", path=rf"{folder}\conndata\mine.txt")
    own = rf"{folder}\conndata\Dxamex\Amap.tbl"
    whole = world.read("EXNOTES01", own)
    world.write("EXNOTES01", own, b"my own, smaller one")
    assert "Amap.tbl is in the way" in cli(*line, code=4).out
    assert world.read("EXNOTES01", own) == b"my own, smaller one"
    world.write("EXNOTES01", own, whole[:-1])  # the beginning that an earlier try left
    assert cli(*line).json["hosts"][0]["sent_files"] == 1
    world.write("EXNOTES01", rf"{folder}\conndata\mine.txt", b"mine")


@pytest.mark.not_under_wine("apart")
def test_what_the_newest_leave_out_is_named_and_counts(cli: Cli, world: World) -> None:
    """Of one connector no snapshot is complete: it is never left out in silence."""
    shutil.rmtree(cli.folder_of("EXNOTES01", "notes"))
    world.lock("EXNOTES01", rf"{NOTES}\nheld.dll")
    cli("backup", "EXNOTES01", "--only", "notes", code=3)
    cli("backup", "EXGW01", "--only", "systemstate")  # no connector, and nothing that a restore brings back
    lacking = snapshot_of(cli, "EXNOTES01", "notes")
    world.write("EXNOTES01", DLL, b"MZ another version")
    ran = cli("restore", "--latest", "EXNOTES01", "EXGW01", *DO, code=3)
    sentence = (
        f"EXNOTES01: notes is left out: none of its snapshots is complete; the newest, {lacking}, lacks "
    )
    assert sentence in ran.out
    assert f"take it as it is: `exremote restore {lacking} --allow-incomplete`.\n" in ran.out
    assert world.read("EXNOTES01", DLL) == b"MZ another version"
    told = cli("runs", run_of(cli, "restore")).out
    assert "EXNOTES01: left notes out: none of its snapshots is complete" in told
    cli.inventory("EXNOTES01", "EXGW01", "EXSICK01")
    line = ("restore", "--latest", "EXSICK01", "EXNOTES01", "--dry-run")
    refused = cli(*line, code=12).err
    assert "there is no complete snapshot of EXSICK01" in refused
    assert "--keep-going goes on without it" in refused
    assert "--keep-going" not in cli("restore", "--latest", "EXSICK01", "--dry-run", code=12).err
    assert (
        "EXSICK01: everything is left out: there is no snapshot of it"
        in cli(*line, "--keep-going", code=3).out
    )
    left = cli("restore", "--latest", "EXNOTES01", "--dry-run", "--json", code=3).json
    assert [(one["connector"], one["snapshot"]) for one in left["left_out"]] == [("notes", lacking)]
    assert left["exit_code"] == 3
    whole = cli("restore", "--latest", "EXNOTES01", "--allow-incomplete", *DO, "--json").json
    assert (whole["left_out"], whole["exit_code"]) == ([], 0)
    assert world.read("EXNOTES01", DLL) != b"MZ another version"
    cli.inventory("EXNOTES01", "EXGW01", defaults="drill_on = 'exgw01'\ndrill_folder = 'C:\\drill'")
    drilled = cli("drill", "--latest", "EXNOTES01", code=5)
    assert sentence in drilled.out
    assert f"`exremote drill {lacking}`" in drilled.out
    for folder in cli.folders_of("EXNOTES01", "calendar"):
        shutil.rmtree(folder)
    assert f"`exremote drill {lacking}`" in cli("drill", "--latest", "EXNOTES01", code=12).err
    cli("backup", "EXGW01", "--only", "groupwise")
    both = cli("drill", "--latest", "EXNOTES01", "EXGW01", code=5)
    assert sentence in both.out
    assert both.out.startswith("EXGW01\tok\t"), "the other one is drilled"


def test_a_drill_proves_what_restores_and_leaves_nothing_behind(cli: Cli, world: World) -> None:
    """Every file and value, on a host that is there for it; the record stays, the scratch does not."""
    top = "drill_on = 'exgw01'\ndrill_folder = 'C:\\drill'"
    cli.inventory("EXNOTES01", "EXGW01", defaults=top)
    if world.engine == "powershell":  # a modern engine says so, and gets what a modern WinRM takes
        world.limits("EXGW01", max_envelope_kb=500)
    report = cli("drill", "--latest", "EXNOTES01", "--json").json
    result = report["hosts"][0]["drills"][0]
    assert (report["hosts"][0]["host"], result["host"], result["green"]) == ("EXGW01", "EXNOTES01", True), (
        result
    )
    manifest = cli.manifest("EXNOTES01", "notes")
    assert result["files"] >= len(manifest["entries"])
    assert result["values"] > 5
    assert not world.exists("EXGW01", r"C:\drill\exremote-drill-EXNOTES01\conndata\Exchconn.ini")
    noted = [
        json.loads(line)
        for path in (cli.repository / "proofs" / "EXNOTES01").glob("*.jsonl")
        for line in path.read_text().splitlines()
    ]
    assert {proof["green"] for proof in noted} == {True}
    assert len(noted) == 2  # one a connector
    cli("verify")


@pytest.mark.not_under_wine("wire")
def test_a_drill_that_finds_something_is_no_green_one(cli: Cli, world: World) -> None:
    """A host that writes other times than it was told, or nothing says where: each in a sentence."""
    assert "Nobody says where" in cli("drill", "EXNOTES01/notes", code=2).err
    assert "in which folder" in cli("drill", "EXNOTES01/notes", "--on", "EXGW01", code=2).err
    world.client.edit("EXGW01", "set_disk", root="D:\\", free=1000)
    small = cli("drill", "EXNOTES01/notes", "--on", "EXGW01", "--folder", "D:\\drill", code=4)
    assert "1000 bytes free" in small.out
    world.client.edit("EXGW01", "set_disk", root="D:\\", free=90 * 1024**3)

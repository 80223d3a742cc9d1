"""A .bkf on a share of a file server, written by a scheduled task; and a task of the system in place of WMI.

Simulated only: Wine has no Task Scheduler that runs a program, and its shares are links without accounts.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Cli, World, manifest_of

from exremote.lab.client import RunningLab, running_lab
from exremote.lab.site import HostSpec

HOST, OTHER, OLD = "EXNOTES01", "EXGW01", "EXOLD01"
PART = "storagegroups"
SHARE = r"\\FS01\backup$"
KEPT = rf"{SHARE}\exch"
TASK = "exremote ntbackup"
RUNS = r"C:\exremote\task\start.cmd"
USER, PASSWORD = r"LAB\bkf-reader", "share-word-that-must-not-show"
FAULTS = r"HKLM\SOFTWARE\winlab\ntbackup"
FOLDER = rf"C:\exremote\{PART}"
COUNT = itertools.count(1)


@pytest.fixture(scope="module")
def engine() -> str:
    """Return the simulated engine."""
    return "simulated"


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    """Return a lab whose hosts see a file server, with a prepared task on each."""
    more: dict[str, Any] = {
        "backup_share": KEPT,
        "backup_accounts": ((USER, PASSWORD),),
        "tasks": ((TASK, RUNS),),
    }
    with running_lab(
        [HostSpec(HOST, ("notes",), **more), HostSpec(OTHER, **more), HostSpec(OLD, os="2000", **more)]
    ) as running:
        yield running


@pytest.fixture
def door(cli: Cli) -> Cli:
    cli.secrets.append(PASSWORD)
    cli.more["SHARE_PASSWORD"] = PASSWORD
    settings(cli)
    cli.init()
    return cli


def table(**said: str) -> str:
    """Return the table ntbackup of a host whose .bkf goes to the share, with other values as `said`; '' is
    none.
    """
    usual = {
        "storage_groups": "['First Storage Group']",
        "least_free_gb": "0.1",
        "start": "'task'",
        "task": f"'{TASK}'",
        "bkf_folder": f"'{KEPT}'",
        "share_credential": f"{{ environment = 'SHARE_PASSWORD', username = '{USER}' }}",
    }
    return "ntbackup = { " + ", ".join(f"{k} = {v}" for k, v in {**usual, **said}.items() if v) + " }"


LOCAL = {"bkf_folder": "", "share_credential": ""}
SYSTEM = {**LOCAL, "start": "'system'", "task": ""}


def settings(cli: Cli, *hosts: str, **said: str) -> None:
    hosts = hosts or (HOST,)
    cli.inventory(*hosts, extra={host: f"connectors = []\n{table(**said)}" for host in hosts})


@pytest.fixture
def flaw(world: World) -> Iterator[Any]:
    """Return how to spoil the host's ntbackup; afterwards it is as good as it was."""
    names: set[str] = set()

    def spoil(name: str, value: int) -> None:
        names.add(name)
        world.client.edit(HOST, "set_registry", key=FAULTS, name=name, data=value)

    yield spoil
    for name in names:
        world.client.edit(HOST, "set_registry", key=FAULTS, name=name, data=0)


@pytest.fixture
def share(world: World) -> Iterator[Any]:
    """Return how to have the file server go away or come back; afterwards it is there, and empty."""

    def away(gone: bool, host: str = HOST) -> None:
        world.client.edit(host, "unplug_share", name=SHARE, away=gone)

    yield away
    for host in (HOST, OTHER):
        away(False, host)
        for name in world.names(host, KEPT):
            world.client.edit(host, "remove_file", path=rf"{KEPT}\{name}")


def tasks(world: World) -> list[str]:
    return list(world.client.edit(HOST, "tasks"))


def newest(cli: Cli, host: str = HOST) -> dict[str, Any]:
    (one,) = manifest_of(cli.folders_of(host, PART)[-1])["elsewhere"]
    return dict(one)


def backup(cli: Cli, *more: str, code: int = 0) -> dict[str, Any]:
    return dict(cli("backup", HOST, "--only", PART, "--json", *more, code=code).json["hosts"][0])


def test_a_prepared_task_writes_the_bkf_to_a_share_where_it_is_proven(
    door: Cli, world: World, share: Any
) -> None:
    host = backup(door)
    assert (host["state"], host["missing"], host["warnings"]) == ("done", [], []), host
    folder, one = door.folder_of(HOST, PART), newest(door)
    manifest, data = manifest_of(folder), world.read(HOST, one["place"])
    assert one["place"] == rf"{KEPT}\{one['path']}" and manifest["complete"]
    assert (len(data), hashlib.sha256(data).hexdigest()) == (one["size"], one["sha256"])
    assert not [e for e in manifest["entries"] if e["path"].endswith(".bkf")]
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    assert f'/F "{one["place"]}"' in job["arguments"] and job["tape"]["whole"]
    assert len((folder / "catalogue.tsv").read_text(encoding="utf-8").splitlines()) > 1
    # Nothing is left but the file on the share, the task, and what that runs.
    assert world.names(HOST, KEPT) == [one["path"]]
    assert world.names(HOST, r"C:\exremote") == ["task"]
    assert tasks(world) == [TASK]

    ran = door("verify", "--on-host", HOST)
    assert f"{one['place']} (" in ran.out and ": whole" in ran.out
    shown = door("show", f"{HOST}/{PART}").out
    assert f"on the share: {one['place']}" in shown and one["sha256"] in shown
    (row,) = door("status", HOST, "--json").json["rows"]
    assert row["state"] == "ok" and "its .bkf stays on the share, whole" in row["message"]
    ran = door("export", f"{HOST}/{PART}", "--into", str(door.folder / "out"), code=3)
    assert f"not written: {one['place']}" in ran.err
    # A plan says where it goes, and what nobody knows.
    assert f"to stay in {KEPT} (room there: unknown)" in door("backup", HOST, "--only", PART, "-n").out


def test_damage_on_the_share_is_found_and_a_share_that_is_away_is_none(
    door: Cli, world: World, share: Any
) -> None:
    backup(door)
    one = newest(door)
    good = world.read(HOST, one["place"])
    share(True)
    ran = door("verify", "--on-host", HOST, "--json", code=3)
    (row,) = ran.json["elsewhere"]
    assert row["state"] == "not looked at" and SHARE in row["said"], row
    (row,) = door("status", HOST, "--json").json["rows"]
    assert row["state"] == "ok", "nobody has seen any damage"
    share(False)
    world.client.edit(HOST, "write_file", path=one["place"], data=good[:-1024])
    ran = door("verify", "--on-host", HOST, "--json", code=13)
    assert [(r["state"]) for r in ran.json["elsewhere"]] == ["damaged"]
    world.client.edit(HOST, "remove_file", path=one["place"])
    ran = door("verify", "--on-host", HOST, "--json", code=13)
    assert [(r["state"]) for r in ran.json["elsewhere"]] == ["missing"]
    world.client.edit(HOST, "write_file", path=one["place"], data=good)
    assert ": whole" in door("verify", "--on-host", HOST).out


def test_an_old_one_goes_from_the_share_when_a_newer_one_was_proven(
    door: Cli, world: World, share: Any, flaw: Any
) -> None:
    backup(door)
    backup(door)
    first, second = (manifest_of(folder)["elsewhere"][0]["path"] for folder in door.folders_of(HOST, PART))
    ran = door("forget", "--keep-last", "1", "--yes")
    assert rf"{KEPT}\{first} is still on" in ran.err
    assert rf"{KEPT}\{first} on" in door("prune").out
    # What somebody put beside it is theirs, whatever its name begins with.
    theirs = [first.replace(".bkf", ".keep.bkf"), f"{first}.sha256"]
    for name in theirs:
        world.write(HOST, rf"{KEPT}\{name}", b"theirs")
    # What is no backup goes from the share at once, and proves nothing.
    flaw("TruncateAt", 50_000)
    backup(door, code=3)
    assert world.names(HOST, KEPT) == sorted([first, second, *theirs])
    flaw("TruncateAt", 0)
    backup(door)
    assert world.names(HOST, KEPT) == sorted([second, newest(door)["path"], *theirs])
    assert door("prune", "--json").json["on_hosts"] == []


def test_a_share_that_goes_away_in_the_middle_is_no_backup_and_loses_none(
    door: Cli, world: World, share: Any, flaw: Any
) -> None:
    flaw("TakesMs", 300_000)
    with door.started("backup", HOST, "--only", PART) as running:
        wait_for(world, KEPT)
        share(True)
        world.client.edit(HOST, "end_job")
        running.wait(60)
    assert running.returncode == 3
    said = door.ran[-1].out
    assert "it ended with exit code 1" in said and "which is no backup, is still on the share" in said
    assert not manifest_of(door.folders_of(HOST, PART)[-1])["complete"]
    # While it is away nothing is started, and why is said.
    host = backup(door, code=3)
    assert SHARE in host["missing"][0]["reason"] and "Nothing was started" in host["missing"][0]["reason"]
    share(False)
    flaw("TakesMs", 0)
    backup(door)
    assert world.names(HOST, KEPT) == [newest(door)["path"]], "the torn one went with the good one"


def begun_and_killed(cli: Cli, world: World, flaw: Any) -> None:
    """Have a run begin a job and be killed; the job ends well without it."""
    flaw("TakesMs", 300_000)
    with cli.started("backup", HOST, "--only", PART) as running:
        while f"{PART}" not in world.names(HOST, r"C:\exremote") or not world.names(HOST, FOLDER):
            assert running.poll() is None
            time.sleep(0.02)
        running.kill()
        running.wait()
    flaw("TakesMs", 0)


def wait_for(world: World, folder: str) -> list[str]:
    end = time.monotonic() + 60
    while not (names := world.names(HOST, folder)):
        assert time.monotonic() < end
        time.sleep(0.02)
    return names


def test_a_share_that_is_away_when_the_job_is_over_leaves_it_for_the_next_run(
    door: Cli, world: World, share: Any, flaw: Any
) -> None:
    begun_and_killed(door, world, flaw)
    (name,) = {n.rpartition(".")[0] for n in world.names(HOST, FOLDER)}
    world.client.edit(HOST, "end_job")
    # It ended well. That its .bkf is not to be seen says nothing about it.
    share(True)
    backup(door, code=3)
    assert f"{name}.cmd" in world.names(HOST, FOLDER)
    share(False)
    host = backup(door)
    assert [step["adopt"] for step in host["plan"]["steps"]] == [True]
    assert newest(door)["path"] == f"{name}.bkf" and world.names(HOST, KEPT) == [f"{name}.bkf"]
    assert world.names(HOST, FOLDER) == []


def test_a_job_of_another_repository_that_is_taken_over_leaves_what_that_has_put_on_the_share(
    door: Cli, world: World, share: Any, flaw: Any
) -> None:
    begun_and_killed(door, world, flaw)
    (name,) = {n.rpartition(".")[0] for n in world.names(HOST, FOLDER)}
    world.client.edit(HOST, "end_job")
    world.client.edit(HOST, "write_file", path=rf"{KEPT}\{name}.bkf", data=b"cut")
    door.repository.rename(door.folder / "first")
    door.init()
    host = backup(door, code=3)
    assert [step["adopt"] for step in host["plan"]["steps"]] == [True]
    assert world.names(HOST, KEPT) == [f"{name}.bkf"]

    # The one that it is noted in sees to it.
    door.repository.rename(door.folder / "second")
    (door.folder / "first").rename(door.repository)
    backup(door)
    assert world.names(HOST, KEPT) == [newest(door)["path"]] != [f"{name}.bkf"]


def test_a_wrong_share_credential_is_tried_once_and_told(door: Cli, world: World, share: Any) -> None:
    door.more["SHARE_PASSWORD"] = "wrong-word"
    settings(door, HOST, OTHER)
    ran = door("backup", "--only", PART, "--json", code=3).json["hosts"]
    said = {host["host"]: host["missing"][0]["reason"] for host in ran}
    refused = [text for text in said.values() if "Logon failure" in text]
    spared = [text for text in said.values() if "it was not tried again, to lock no account" in text]
    assert (len(refused), len(spared)) == (1, 1), said
    assert "share_credential" in refused[0]
    # None at all: the log-on ends at the host, and the remedy is named.
    settings(door, share_credential="")
    reason = backup(door, code=3)["missing"][0]["reason"]
    assert "lets nobody in" in reason and "say share_credential" in reason
    door.more["SHARE_PASSWORD"] = ""
    settings(door)
    assert "SHARE_PASSWORD" in backup(door, code=3)["missing"][0]["reason"]
    assert "ntbackup.share_credential" in door("inventory", "check").out
    assert world.names(HOST, r"C:\exremote") in ([], ["task"]), "nothing was started"


def test_the_doctor_looks_at_what_a_job_needs_and_starts_none(door: Cli, world: World, share: Any) -> None:
    """Program, room, share, task: what is not there has its sentence and its fix."""

    def stage(code: int = 0) -> tuple[str, str]:
        stages = door("doctor", HOST, "--json", code=None).json["hosts"][0]["stages"]
        (one,) = [s for s in stages if s["stage"] == "ntbackup"]
        assert one["exit_code"] == code, one
        return one["verdict"], f"{one['sentence']} -> {one['fix']}"

    verdict, said = stage()
    assert verdict == "ok", said
    assert said.startswith("ntbackup 5.2.") and f"{KEPT} answers, the task {TASK} is there" in said
    world.client.edit(HOST, "set_task", name=TASK, command="")
    verdict, said = stage()
    assert (
        verdict == "warning"
        and rf"no file C:\WINDOWS\Tasks\{TASK}.job" in said
        and "docs/ntbackup.md" in said
    )
    world.client.edit(HOST, "set_task", name=TASK, command=RUNS)
    share(True)
    verdict, said = stage(code=5)
    assert verdict == "failed" and r"\\FS01\backup$: The network path" in said and "is up" in said
    share(False)
    door.more["SHARE_PASSWORD"] = ""
    verdict, said = stage(code=5)
    assert verdict == "failed" and "share_credential is not to be had" in said
    wmi = "backup = ['systemstate']\nntbackup = { least_free_gb = 100000 }"
    door.inventory(HOST, extra={HOST: wmi})
    verdict, said = stage(code=5)
    assert verdict == "failed" and "GB free, and 100000 are asked for" in said
    assert world.names(HOST, r"C:\exremote") in ([], ["task"]), "nothing was started"
    door.inventory(HOST)
    assert stage() == (
        "skipped",
        "the inventory has neither systemstate nor storagegroups in backup of this host -> ",
    )


def test_a_task_that_is_not_there_is_disabled_or_never_begins_is_told(
    door: Cli, world: World, share: Any
) -> None:
    def prepared(**how: object) -> None:
        world.client.edit(HOST, "set_task", **{"name": TASK, "command": RUNS, **how})

    try:
        for how in ({"command": ""}, {"enabled": False}):
            prepared(**how)
            ran = door("backup", HOST, "--only", PART, code=3)
            assert "schtasks.exe ended with 1" in ran.out and "docs/ntbackup.md" in ran.all
        for how in ({"dead": True}, {"command": r"C:\other\start.cmd"}):
            prepared(**how)
            settings(door, stall_s="0.5")
            ran = door("backup", HOST, "--only", PART, code=3)
            assert f"the task {TASK} was started, and has not begun the job" in ran.out
            assert RUNS in ran.all
            assert world.names(HOST, FOLDER) == [], "it will not begin any more"
    finally:
        prepared()
    assert world.names(HOST, KEPT) == []


def test_a_task_of_the_system_is_gone_when_the_job_is_over(door: Cli, world: World, flaw: Any) -> None:
    settings(door, **SYSTEM)
    host = backup(door)
    assert (host["state"], host["plan"]["steps"][0]["start"]) == ("done", "system")
    assert [e["path"] for e in manifest_of(door.folder_of(HOST, PART))["entries"] if e["secret"]]
    assert tasks(world) == [TASK]
    flaw("FailExitCode", 1)
    backup(door, code=3)
    assert tasks(world) == [TASK] and world.names(HOST, FOLDER) == []
    flaw("FailExitCode", 0)
    flaw("HangMs", 300_000)
    settings(door, **SYSTEM, stall_s="0.5")
    assert "it hung" in door("backup", HOST, "--only", PART, code=3).out
    assert tasks(world) == [TASK] and world.names(HOST, FOLDER) == []
    flaw("HangMs", 0)
    # A run that is killed leaves it to the next one, with its job.
    settings(door, **SYSTEM)
    begun_and_killed(door, world, flaw)
    assert len(tasks(world)) == 2
    world.client.edit(HOST, "end_job")
    assert [step["adopt"] for step in backup(door)["plan"]["steps"]] == [True]
    assert tasks(world) == [TASK] and world.names(HOST, FOLDER) == []


def test_windows_2000_has_no_scheduler_to_ask(door: Cli) -> None:
    settings(door, OLD, **SYSTEM)
    ran = door("backup", OLD, "--only", PART, code=3)
    assert "There is no schtasks.exe on this host" in ran.out and 'start = "wmi"' in ran.all


WRONG = {
    "no task": ({"task": ""}, 'expected task = "NAME" beside start = "task"'),
    "task alone": ({"start": "'wmi'", **LOCAL}, 'expected start = "task" beside task'),
    "share without a task": ({"start": "'wmi'", "task": ""}, "has no rights on the network"),
    "share by the system": ({"start": "'system'", "task": ""}, "has no rights on the network"),
    "credential without a share": ({"bkf_folder": "'C:\\bkf'"}, "expected a bkf_folder on a share beside"),
    "a sign of cmd": ({"bkf_folder": r"'\\FS01\a&b'"}, "in plain letters, on a drive of the host"),
    "a way out": ({"bkf_folder": r"'\\FS01\b$\..\x'"}, "in plain letters, on a drive of the host"),
    "this computer": ({"bkf_folder": r"'\\.\b$'"}, "in plain letters, on a drive of the host"),
    "no share": ({"bkf_folder": r"'\\FS01'"}, "in plain letters, on a drive of the host"),
    "task with a path": ({"task": r"'a\b'"}, "expected the name of a scheduled task, in plain letters"),
    "a password": ({"share_credential": "{ password = 'x' }"}, "share_credential.password"),
}


def test_what_does_not_go_together_is_told_with_its_remedy(door: Cli) -> None:
    for how, (said, expected) in WRONG.items():
        settings(door, **said)
        ran = door("inventory", "check", code=2)
        assert expected in ran.err, (how, ran.err)
    for said in (SYSTEM, {}, {**LOCAL, "start": "'task'"}):
        (door.folder / "site.toml").write_text(
            f"[defaults]\ncredential = {{ environment = 'EXREMOTE_LAB_PASSWORD', username = 'x' }}\n"
            f"[gateways.GW]\naddress = 'gw'\n[hosts.{HOST}]\nvia = 'GW'\n{table(**said)}\n",
            encoding="utf-8",
        )
        ran = door("inventory", "check", code=2)
        assert "for a host behind GW: Windows 2000 has no schtasks.exe" in ran.err, ran.err
        assert "Leave start and task out" in ran.err

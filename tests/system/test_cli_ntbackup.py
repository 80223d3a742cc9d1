"""System state and storage groups through the front door: a job of ntbackup, watched, judged, brought home.

Under Wine winlab's ntbackup.exe does the work; it is started directly, for Wine has no WMI.
"""

from __future__ import annotations

import json
import stat
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import Cli, World, manifest_of

from exremote.mtf import walk

HOST = "EXNOTES01"
FAULTS = r"HKLM\SOFTWARE\winlab\ntbackup"
FOLDER = r"C:\exremote"
GROUP = "First Storage Group"


@pytest.fixture
def door(cli: Cli) -> Cli:
    settings(cli)
    cli.init()
    return cli


def settings(cli: Cli, more: str = "", backup: str = "") -> None:
    table = f"storage_groups = ['{GROUP}'], start = 'direct', least_free_gb = 0.1" + more
    lines = [f"ntbackup = {{ {table} }}", f"backup = [{backup}]" if backup else ""]
    cli.inventory(HOST, extra={HOST: "\n".join(lines)})


@pytest.fixture
def flaw(world: World) -> Iterator[Any]:
    """Return how to spoil the host's ntbackup; afterwards it is as good as it was."""
    set_names: list[str] = []

    def spoil(name: str, value: int | str) -> None:
        set_names.append(name)
        world.client.edit(HOST, "set_registry", key=FAULTS, name=name, data=value)

    yield spoil
    for name in set_names:
        world.client.edit(
            HOST, "set_registry", key=FAULTS, name=name, data="" if name in ("Language", "Version") else 0
        )


def document(cli: Cli, part: str, name: str) -> Any:
    return json.loads((cli.folders_of(HOST, part)[-1] / name).read_text(encoding="utf-8"))


def lacks(cli: Cli, part: str) -> list[str]:
    return [
        f"{one['path']}: {one['reason']}" for one in manifest_of(cli.folders_of(HOST, part)[-1])["missing"]
    ]


def test_two_jobs_come_home_whole_and_leave_nothing_behind(door: Cli, world: World) -> None:
    ran = door("backup", HOST, "--only", "systemstate", "--only", "storagegroups", "--json")
    (host,) = ran.json["hosts"]
    assert (host["state"], host["missing"]) == ("done", []), host
    assert [w for w in host["warnings"] if "administrators" not in w] == []
    assert [(s["connector"], s["state"]) for s in host["snapshots"]] == [
        ("systemstate", "new"),
        ("storagegroups", "new"),
    ]
    for part, device in (
        ("systemstate", "System State"),
        ("storagegroups", rf"Microsoft Information Store\{GROUP}"),
    ):
        folder = door.folder_of(HOST, part)
        manifest = manifest_of(folder)
        assert manifest["complete"]
        (bkf,) = [e for e in manifest["entries"] if e["path"].endswith(".bkf")]
        assert bkf["secret"]
        stored = folder / bkf["stored"]
        assert stat.S_IMODE(stored.stat().st_mode) == 0o400
        tape = walk([stored.read_bytes()])
        assert tape.whole
        (one,) = tape.sets
        assert one.volumes[0].endswith(device)
        job = document(door, part, "job.json")
        assert (job["state"], job["exit_code"], job["log"]["language"]) == ("Ended", 0, "English")
        assert job["tape"]["sets"][0]["bytes"] == one.bytes > 0
        assert len((folder / "catalogue.tsv").read_text(encoding="utf-8").splitlines()) > 1
        (bks,) = [e for e in manifest["entries"] if e["path"].endswith(".bks")]
        assert (folder / bks["stored"]).read_bytes().startswith(b"\xff\xfe")
        assert {e["item"] for e in manifest["entries"]} == {part, f"{part}-log"}
    identity = document(door, "systemstate", "identity.json")
    assert identity["computer_name"] == HOST
    assert identity["services"]["MSExchangeIS"]["account"]
    assert identity["exchange"]["NewestBuild"] == 7638
    assert identity["storage_groups"] == []
    assert document(door, "storagegroups", "identity.json")["storage_groups"] == [GROUP]
    assert door("verify").code == 0
    assert "systemstate" in door("snapshots", "--connector", "systemstate").out
    # Nothing is left there: the next job begins in an empty place.
    again = door("backup", HOST, "--only", "systemstate", "--dry-run", "--json").json["hosts"][0]
    assert [step["adopt"] or step["clear"] for step in again["plan"]["steps"]] == [""]


def test_a_log_that_claims_success_over_a_cut_file_is_a_failed_backup(
    door: Cli, world: World, flaw: Any
) -> None:
    flaw("TruncateAt", 50_000)
    ran = door("backup", HOST, "--only", "storagegroups", code=3)
    assert "bytes of stream STAN" in ran.out
    snapshot = door.folders_of(HOST, "storagegroups")[-1]
    assert not manifest_of(snapshot)["complete"]
    job = document(door, "storagegroups", "job.json")
    assert (job["exit_code"], job["log"]["bad"], job["log"]["completed"]) == (0, [], 1)
    assert not job["tape"]["whole"]


def test_a_job_that_hangs_is_ended_and_said_so(door: Cli, world: World, flaw: Any) -> None:
    settings(door, ", stall_s = 0.5")
    flaw("HangMs", 300_000)
    ran = door("backup", HOST, "--only", "storagegroups", code=3)
    assert "it hung" in ran.out
    assert "so it was ended" in ran.out
    manifest = manifest_of(door.folders_of(HOST, "storagegroups")[-1])
    assert not manifest["complete"]
    assert not [e for e in manifest["entries"] if e["path"].endswith(".bkf")]
    flaw("HangMs", 0)
    # Nothing stands in the way of the next one.
    (step,) = door("backup", HOST, "--only", "storagegroups", "-n", "--json").json["hosts"][0]["plan"][
        "steps"
    ]
    assert (step["adopt"], step["clear"]) == (False, "")


@pytest.mark.not_under_wine("jobs")
def test_nothing_written_a_killed_job_an_exit_code_and_an_error_in_the_log_are_failures(
    door: Cli, world: World, flaw: Any
) -> None:
    for name, whys in (
        ("WritesNothing", ["the .bkf: ntbackup has written none"]),
        ("Killed", ["ntbackup: it neither runs nor left an exit code"]),
        ("FailExitCode LogError", ["ntbackup: it ended with exit code 1", "the log: Error: The device"]),
    ):
        for one in name.split():
            flaw(one, 1)
        door("backup", HOST, "--only", "storagegroups", code=3)
        said = lacks(door, "storagegroups")
        assert [reason.startswith(why) for reason, why in zip(said, whys, strict=True)] == [True] * len(
            whys
        ), said
        for one in name.split():
            flaw(one, 0)
    assert not any(manifest_of(folder)["complete"] for folder in door.folders_of(HOST, "storagegroups"))


@pytest.mark.not_under_wine("disk")
def test_a_disk_that_fills_up_under_a_job_is_a_failed_backup(door: Cli, world: World) -> None:
    """There was room for what was asked for; somebody else took it, or the groups have grown."""
    table = f"ntbackup = {{ storage_groups = ['{GROUP}'], least_free_gb = 0.00005 }}"
    door.inventory(HOST, extra={HOST: table})
    world.client.edit(HOST, "set_disk", root="C:\\", free=60_000)
    try:
        door("backup", HOST, "--only", "storagegroups", code=3)
    finally:
        world.client.edit(HOST, "set_disk", root="C:\\", free=21 * 1024**3)
    process, tape, log = lacks(door, "storagegroups")
    assert process == "ntbackup: it ended with exit code 1"
    assert tape.startswith("the .bkf: ") and "bytes of stream STAN" in tape
    assert "on a request to write data to media" in log
    assert world.client.edit(HOST, "list", path=rf"{FOLDER}\storagegroups") == []


@pytest.mark.not_under_wine("jobs")
def test_what_a_log_says_in_an_unknown_language_is_unknown_and_never_well(
    door: Cli, world: World, flaw: Any
) -> None:
    flaw("Language", "German")
    ran = door("backup", HOST, "--only", "storagegroups")
    assert "unknown: the words of its language are not known" in ran.out
    manifest = manifest_of(door.folder_of(HOST, "storagegroups"))
    assert manifest["complete"], "exit code and .bkf are well"
    assert [(f["check"], f["verdict"]) for f in manifest["findings"]] == [("ntbackup.log", "unknown")]
    assert document(door, "storagegroups", "job.json")["log"]["language"] == "unknown"
    flaw("Language", "Japanese")
    flaw("TruncateAt", 50_000)
    door("backup", HOST, "--only", "storagegroups", code=3)
    assert len(lacks(door, "storagegroups")) == 1, "the .bkf alone tells"


@pytest.mark.not_under_wine("jobs")
def test_servers_of_one_windows_with_other_backup_programs_are_told(
    door: Cli, world: World, flaw: Any
) -> None:
    """Which update is the latest is in no source; that a server lacks what another has can be seen."""
    other = "EXGW01"
    door.inventory(HOST, other, extra=dict.fromkeys((HOST, other), "ntbackup = { least_free_gb = 0.1 }"))
    door("backup", other, "--only", "systemstate")
    ran = door("backup", HOST, "--only", "systemstate")
    assert manifest_of(door.folder_of(HOST, "systemstate"))["findings"] == []
    flaw("Version", "5.2.3790.0")
    ran = door("backup", HOST, "--only", "systemstate")
    (told,) = manifest_of(door.folders_of(HOST, "systemstate")[-1])["findings"]
    assert (told["check"], told["verdict"]) == ("ntbackup.version", "warning")
    assert "here ntbackup.exe 5.2.3790.0; ntbackup.exe is 5.2.3790.3959 on EXGW01" in told["evidence"]
    assert "latest update" in told["source"]
    assert told["evidence"] in ran.all


@pytest.mark.not_under_wine("jobs")
def test_a_job_is_never_started_beside_another_one(door: Cli, world: World) -> None:
    world.client.edit(HOST, "set", name="foreign_ntbackup", value=True)
    try:
        ran = door("backup", HOST, "--only", "systemstate", code=3)
    finally:
        world.client.edit(HOST, "set", name="foreign_ntbackup", value=False)
    assert "ntbackup runs already on this host, so nothing was started" in ran.out
    assert door.snapshots() == []


@pytest.mark.not_under_wine("directory")
def test_storage_groups_are_those_of_the_directory_or_the_backup_fails(door: Cli, world: World) -> None:
    door.inventory(HOST, extra={HOST: "backup = ['storagegroups']"})
    door("backup", HOST)
    assert document(door, "storagegroups", "job.json")["sets"] == [
        rf"{HOST}\Microsoft Information Store\First Storage Group",
        rf"{HOST}\Microsoft Information Store\Second, with a comma",
    ]
    identity = document(door, "storagegroups", "identity.json")
    assert (identity["organisation"], identity["administrative_group"]) == (
        "Lab",
        "First Administrative Group",
    )
    assert identity["hotfixes"] == ["KB828092"]
    world.set(HOST, "directory_available", False)
    ran = door("backup", HOST, code=3)
    assert "which storage groups the host has is unknown: the directory does not answer" in ran.out
    assert "say storage_groups = [...]" in ran.out
    assert len(door.folders_of(HOST, "storagegroups")) == 1


@pytest.mark.not_under_wine("jobs")
def test_the_inventory_lists_what_is_saved_and_each_is_a_job_of_its_own(door: Cli, world: World) -> None:
    settings(
        door, ", windows_set = ['C:\\'], folder = 'D:\\save'", "'connectors', 'systemstate', 'storagegroups'"
    )
    door("backup", HOST)
    assert sorted(s["connector"] for s in door.snapshots()) == [
        "calendar",
        "notes",
        "storagegroups",
        "systemstate",
    ]
    job = document(door, "systemstate", "job.json")
    assert job["selection"] == ["C:\\", "D:\\save\\ /Exclude", "SystemState"]
    assert [one["volumes"] for one in job["tape"]["sets"]] == [["C:"], ["System State"]]
    settings(door, "", "'systemstate'")
    ran = door("backup", HOST, "--only", "notes")
    assert "only checked" in ran.out or "skipped" in ran.out
    assert len(door.folders_of(HOST, "notes")) == 1


@pytest.mark.not_under_wine("jobs")
def test_a_run_that_was_killed_leaves_a_job_that_the_next_one_takes_over(
    door: Cli, world: World, flaw: Any
) -> None:
    flaw("TakesMs", 1500)
    with door.started("backup", HOST, "--only", "storagegroups") as running:
        end = time.monotonic() + 60
        while not (names := world.client.edit(HOST, "list", path=rf"{FOLDER}\storagegroups")):
            assert time.monotonic() < end
            time.sleep(0.05)
        running.kill()
        running.wait()
    (name,) = {name.rpartition(".")[0] for name in names}
    flaw("TakesMs", 0)
    ran = door("backup", HOST, "--only", "storagegroups", "--json").json["hosts"][0]
    assert [step["adopt"] for step in ran["plan"]["steps"]] == [True]
    assert document(door, "storagegroups", "job.json")["name"] == name
    assert world.client.edit(HOST, "list", path=rf"{FOLDER}\storagegroups") == []


@pytest.mark.not_under_wine("disk")
def test_room_is_asked_for_before_a_job_starts(door: Cli, world: World) -> None:
    settings(door, ", folder = 'Q:\\save'")
    assert "the host has no drive Q:" in door("backup", HOST, "--only", "systemstate", code=3).out
    door.inventory(HOST, extra={HOST: "ntbackup = { least_free_gb = 500 }"})
    ran = door("backup", HOST, "--only", "systemstate", code=3)
    assert "500000000000 are asked for before a job starts" in ran.out
    assert world.client.edit(HOST, "list", path=FOLDER) == []


@pytest.mark.not_under_wine("jobs")
def test_status_expects_what_the_inventory_lists_and_restore_leaves_it_to_ntbackup(
    door: Cli, world: World
) -> None:
    settings(door, "", "'storagegroups'")
    rows = door("status", "--json", code=5).json["rows"]
    assert [(row["connector"], row["state"]) for row in rows] == [("storagegroups", "missing")]
    door("backup", HOST)
    rows = door("status", "--json").json["rows"]
    assert [(row["connector"], row["state"]) for row in rows] == [("storagegroups", "ok")]
    (snapshot,) = door.snapshots()
    ran = door("restore", snapshot["id"], "--dry-run", code=4)
    assert "only ntbackup restores that" in ran.err


@pytest.mark.not_under_wine("records")
def test_a_start_whose_answer_is_lost_is_not_made_twice(door: Cli, world: World, flaw: Any) -> None:
    world.fault(f"{HOST}:Start-NtBackupJob:1:gone")
    host = door("backup", HOST, "--only", "storagegroups", "--json").json["hosts"][0]
    assert world.struck() == 1
    assert [(s["connector"], s["state"]) for s in host["snapshots"]] == [("storagegroups", "new")]
    assert document(door, "storagegroups", "job.json")["name"] == host["plan"]["steps"][0]["name"]


@pytest.mark.not_under_wine("time")
def test_what_the_repository_has_no_room_for_stays_on_the_host_for_the_next_run(
    door: Cli, world: World
) -> None:
    table = f"ntbackup = {{ storage_groups = ['{GROUP}'], least_free_gb = 0.1 }}"
    door.inventory(HOST, extra={HOST: table}, top="keep_free = '900T'")
    ran = door("backup", HOST, "--only", "storagegroups", "--json", code=3).json["hosts"][0]
    assert "there is no room for this host" in ran["missing"][0]["reason"]
    settings(door)
    again = door("backup", HOST, "--only", "storagegroups", "--json").json["hosts"][0]
    assert [step["adopt"] for step in again["plan"]["steps"]] == [True]
    assert again["missing"] == []

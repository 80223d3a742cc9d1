"""System state and storage groups through the front door: a job of ntbackup, watched, judged, brought home.

Under Wine winlab's ntbackup.exe does the work; it is started directly, for Wine has no WMI.
"""

from __future__ import annotations

import json
import stat
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
        world.client.edit(HOST, "set_registry", key=FAULTS, name=name, data="" if name == "Language" else 0)


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
    assert identity["exchange"]["NewestBuild"] == "7638"
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


def test_an_exit_code_or_an_error_in_the_log_alone_is_enough(door: Cli, world: World, flaw: Any) -> None:
    flaw("FailExitCode", 7)
    door("backup", HOST, "--only", "storagegroups", code=3)
    assert lacks(door, "storagegroups") == ["ntbackup: it ended with exit code 7"]
    flaw("FailExitCode", 0)
    flaw("LogError", 1)
    door("backup", HOST, "--only", "storagegroups", code=3)
    (why,) = lacks(door, "storagegroups")
    assert why.startswith("the log: Error: ")
    assert "The operation did not successfully complete." in why


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
    door("backup", HOST, "--only", "storagegroups")

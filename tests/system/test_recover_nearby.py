"""A lost server whose .bkf is not in the repository: a person brings it, or it is on a share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Cli, manifest_of
from test_recover import Recovery

from exremote.lab.client import RunningLab, running_lab
from exremote.lab.site import HostSpec

HOST = "EXLOST01"
SHARE = r"\\FS02\backup$"
KEPT = rf"{SHARE}\exch"
USER, PASSWORD = "bkf-reader", "share-word-that-must-not-show"
TASK, RUNS = "exremote ntbackup", r"C:\exremote\task\start.cmd"


@pytest.fixture
def lab() -> Iterator[RunningLab]:
    """Return a lab of its own, simulated: under Wine test_recover.py goes the whole way."""
    host = HostSpec(
        HOST, ("notes",), backup_share=KEPT, backup_accounts=((USER, PASSWORD),), tasks=((TASK, RUNS),)
    )
    with running_lab([host]) as running:
        yield running


def test_a_bkf_that_was_on_the_lost_servers_disk_is_asked_for_and_looked_at(
    lab: RunningLab, tmp_path: Path
) -> None:
    cli = Cli(lab, tmp_path / "jump-host")
    cli.inventory(HOST, extra={HOST: r"ntbackup = { bkf_folder = 'D:\bkf', least_free_gb = 0.1 }"})
    cli.init()
    cli("backup", HOST)
    cli("backup", HOST, "--only", "systemstate")
    (one,) = manifest_of(cli.folder_of(HOST, "systemstate"))["elsewhere"]
    good = lab.client.read_file(HOST, one["place"])
    recovery = Recovery(cli, lab)
    rehearsed = cli("recover", HOST, "--rehearse", "--at", "127.0.0.1:9", "--json", code=5).json["rehearsal"]
    (row,) = [r for r in rehearsed if r["what"] == "systemstate"]
    assert row["state"] == "unknown" and one["place"] in row["said"]

    recovery.lose()
    assert one["place"] in cli("recover", HOST, "--at", recovery.at, "--dry-run").out
    recovery.begin()
    due = rf"D:\exremote-recover\systemstate\{one['path']}"
    row = recovery.said("reinstall-windows", code=4)
    assert row["state"] == "failed" and f"neither {due} nor {one['place']}" in row["message"], row
    assert one["sha256"] in row["message"]
    lab.client.edit(HOST, "write_file", path=due, data=good[:-1024])
    assert one["sha256"] in recovery.resume(code=4)["message"]
    # Its disk is in the new machine.
    lab.client.edit(HOST, "write_file", path=one["place"], data=good)
    row = recovery.resume()
    assert row["step"] == "restore-system-state"
    told = lab.client.read_file(HOST, r"D:\exremote-recover\READ-ME.txt").decode("utf-8-sig")
    assert f"{due} (or {one['place']}, if that disk is in it)" in told
    (event,) = [
        e
        for e in recovery.events()
        if e["kind"] == "recovery-step" and (e["step"], e["state"]) == ("bring-files", "done")
    ]
    assert any("read there from end to end" in e["said"] for e in event["evidence"])


def test_a_bkf_on_a_share_is_read_there_by_the_new_machine(lab: RunningLab, tmp_path: Path) -> None:
    cli = Cli(lab, tmp_path / "jump-host", more={"SHARE_PASSWORD": PASSWORD}, secrets=[PASSWORD])
    credential = f"{{ environment = 'SHARE_PASSWORD', username = '{USER}' }}"
    said = f"start = 'task', task = '{TASK}', bkf_folder = '{KEPT}', share_credential = {credential}"
    cli.inventory(HOST, extra={HOST: f"ntbackup = {{ {said}, least_free_gb = 0.1 }}"})
    cli.init()
    cli("backup", HOST)
    cli("backup", HOST, "--only", "systemstate")
    (one,) = manifest_of(cli.folder_of(HOST, "systemstate"))["elsewhere"]
    recovery = Recovery(cli, lab)
    recovery.lose()
    plan = cli("recover", HOST, "--at", recovery.at, "--dry-run").out
    assert f"it is on a share, {one['place']}; the new machine reads it there" in plan
    recovery.begin()
    # A share that is away is not one without the file.
    lab.client.edit(HOST, "unplug_share", name=SHARE, away=True)
    row = recovery.said("reinstall-windows", code=4)
    assert row["state"] == "failed" and "the new machine could not see" in row["message"], row
    assert one["sha256"] in row["message"] and "network path" in row["message"]
    lab.client.edit(HOST, "unplug_share", name=SHARE, away=False)
    assert recovery.resume()["step"] == "restore-system-state"
    told = lab.client.read_file(HOST, r"D:\exremote-recover\READ-ME.txt").decode("utf-8-sig")
    assert f"(or, on its share, {one['place']})" in told
    assert cli.leaks() == []

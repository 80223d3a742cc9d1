"""The commands that carry snapshots elsewhere: copy, export."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from keep_support import AT, Door, backup, contents_of, damage

from exremote.journal import Journal
from exremote.repository import Repository


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


# ---------------------------------------------------------------- copy


def test_copy_carries_all_and_then_only_what_is_new(door: Door, tmp_path: Path) -> None:
    other = Repository.create(tmp_path / "other")
    first, second = backup(door.place, 1), backup(door.place, 2, host="EXCH02")
    door.place.record_check(first, "run7", AT + timedelta(days=1))
    dry = door("copy", "--to", "other", "--dry-run", "--json").json
    assert [r["state"] for r in dry["snapshots"]] == ["would be copied"] * 2
    assert other.snapshots() == []
    assert list(other.runs_folder.iterdir()) == []
    data = door("copy", "--to", "other", "--json").json
    assert [(r["state"], r["sent_files"], r["checks"]) for r in data["snapshots"]] == [
        ("copied", 3, 1),
        ("copied", 1, 0),
    ]
    assert [s.id for s in other.snapshots()] == [first.id, second.id]
    assert other.checks(first) == door.place.checks(first)
    assert list(other.verify()) == []
    door.place.record_check(first, "run8", AT + timedelta(days=2))
    third = backup(door.place, 3)
    text = door("copy", "--to", "other").out
    assert [line.split("\t")[0] for line in text.splitlines()] == ["unchanged", "unchanged", "copied"]
    assert other.checks(first) == door.place.checks(first)
    assert other.latest("EXCH01", "groupwise") == other.find(third.id)
    record = Journal.read(max(other.runs_folder.glob("*.jsonl")))
    assert (record.verb, record.outcome, record.intact) == ("copy", "0", True)
    assert list((other.path / "locks").iterdir()) == list((door.place.path / "locks").iterdir()) == []


def test_copy_of_some(door: Door, tmp_path: Path) -> None:
    other = Repository.create(tmp_path / "other")
    one, two = backup(door.place, 1), backup(door.place, 1, host="EXCH02")
    three = backup(door.place, 1, host="EXCH02", connector="notes")
    door("copy", "--to", "other", "--host", "exch02", "--connector", "notes")
    assert [s.id for s in other.snapshots()] == [three.id]
    door("copy", f"EXCH01/{one.id}", "--to", "other")
    assert {s.id for s in other.snapshots()} == {three.id, one.id}
    assert two.id not in {s.id for s in other.snapshots()}
    for name in ("exch02", "EXCH02/notes"):
        said = door("copy", name, "--to", "other", code=12).err
        assert "an id is wanted" in said
        assert "`exremote snapshots EXCH02` lists them" in said


def test_a_damaged_snapshot_is_refused_and_the_others_go_on(door: Door, tmp_path: Path) -> None:
    other = Repository.create(tmp_path / "other")
    hurt, gone, good = (backup(door.place, day) for day in (1, 2, 3))
    damage(hurt.path / hurt.manifest.entries[0].stored)
    (gone.path / "manifest.sha256").unlink()
    ran = door("copy", "--to", "other", "--json", code=13)
    rows = {r["id"]: r for r in ran.json["snapshots"]}
    assert {i: r["state"] for i, r in rows.items()} == {
        hurt.id: "refused",
        gone.id: "refused",
        good.id: "copied",
    }
    assert "Amap.tbl" in rows[hurt.id]["message"]
    assert "manifest" in rows[gone.id]["message"]
    assert "2 of 3 snapshots were refused" in ran.err
    assert [s.id for s in other.snapshots()] == [good.id]
    assert list(other.verify()) == []


def test_copy_where_forget_works_is_refused_and_the_other_way_round(door: Door, tmp_path: Path) -> None:
    other = Repository.create(tmp_path / "other")
    backup(door.place, 1)
    for place in (other, door.place):
        with place.lock("exremote prune", name="repository"):
            assert "locked by exremote prune" in door("copy", "--to", "other", code=11).err
    with other.lock("exremote backup", name="host-EXCH01"):
        door("copy", "--to", "other")
    assert len(other.snapshots()) == 1


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_copy_killed_in_the_middle_goes_on_where_it_was(door: Door, tmp_path: Path) -> None:
    other = Repository.create(tmp_path / "other")
    first, second = backup(door.place, 1), backup(door.place, 2)
    code = (
        "import os, signal, sys\n"
        "from exremote.cli import main\n"
        "real, seen = os.rename, []\n"
        "def die(source, target):\n"
        f"    if {second.id!r} in str(target): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(source, target)\n"
        "os.rename = die\n"
        "main()\n"
    )
    command = [sys.executable, "-c", code, "copy", "--to", str(other.path)]
    done = subprocess.run(command, env=door.environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert [s.id for s in other.snapshots()] == [first.id]
    assert list(other.verify()) == []
    data = door("copy", "--to", "other", "--json").json
    assert [(r["state"], r["sent_files"]) for r in data["snapshots"]] == [("unchanged", 0), ("copied", 0)]
    door("prune", "--repository", str(other.path))
    assert list(other.verify()) == []
    assert list((other.path / "partial").iterdir()) == []
    assert contents_of(other.find(second.id).path) == contents_of(second.path)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs the right to mount")
def test_a_source_that_is_read_only_can_be_copied_from(door: Door, tmp_path: Path) -> None:
    other = Repository.create(tmp_path / "other")
    backup(door.place, 1)
    mount = f"mount --bind {door.place.path} {door.place.path} && mount -o remount,bind,ro {door.place.path}"
    command = f'{mount} && exec "$@"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", command, "sh", *door.command("copy", "--to", str(other.path))],
        env=door.environment,
        capture_output=True,
        text=True,
    )
    if "mount:" in done.stderr or "unshare" in done.stderr:
        pytest.skip("no right to mount here")
    assert done.returncode == 0, done.stderr
    assert len(other.snapshots()) == 1


# ---------------------------------------------------------------- export


def test_export_writes_plain_files(door: Door) -> None:
    snapshot = backup(door.place, 1, files={"con": b"device", "50%.txt": b"percent"}, complete=False)
    ran = door("export", snapshot.id, "--into", "out")
    assert "5 files" in ran.out
    assert "incomplete" in ran.err
    top = door.folder / "out" / "files" / "conndata"
    assert (top / "con").read_bytes() == b"device"
    assert (top / "50%.txt").read_bytes() == b"percent"
    assert (top / "Dxamex" / "Amap.tbl").stat().st_mtime == AT.timestamp()
    assert (top / "Notes.ini").stat().st_mode & 0o077 == 0
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=door.folder / "out", check=True)
    assert "not an empty folder" in door("export", snapshot.id, "--into", "out", code=2).err
    data = door("export", snapshot.id, "--into", "again", "--item", "conndata", "--json").json
    assert (data["files"], data["complete"], data["damaged"], data["exit_code"]) == (5, False, [], 0)


def test_export_leaves_out_what_is_damaged_and_says_so(door: Door) -> None:
    snapshot = backup(door.place, 1)
    damage(snapshot.path / snapshot.manifest.entries[0].stored)
    ran = door("export", snapshot.id, "--into", "out", "--json", code=13)
    assert [d["path"] for d in ran.json["damaged"]] == ["Dxamex\\Amap.tbl"]
    assert ran.json["files"] == 2
    assert "damaged, not written: Dxamex\\Amap.tbl" in ran.err.replace("\n", "")
    assert not (door.folder / "out/files/conndata/Dxamex/Amap.tbl").exists()
    damage(snapshot.path / "manifest.json")
    door("export", snapshot.id, "--into", "more", code=13)
    assert not (door.folder / "more").exists()

"""The commands that look into snapshots: snapshots, show, diff."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from keep_support import AT, REG, Door, backup, damage


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_snapshots_can_be_chosen_and_weighed(door: Door) -> None:
    for day in range(3):
        backup(door.place, day)
    backup(door.place, 3, complete=False)
    backup(door.place, 4, connector="notes", host="EXCH02")
    hurt = backup(door.place, 5)
    damage(hurt.path / "manifest.json")
    ids = door.ids()

    def listed(*args: str) -> list[int]:
        return [ids.index(row["id"]) for row in door("snapshots", *args, "--json").json]

    assert listed() == [0, 1, 2, 3, 5, 4], "by host, then by time"
    assert listed("exch02") == listed("--connector", "notes") == [4]
    assert listed("--state", "incomplete") == [3]
    assert listed("--state", "damaged") == [5]
    assert listed("--since", "2026-03-24", "--before", "2026-03-25T10:15:00Z") == [2]
    assert listed("--latest") == [2, 4]
    rows = door("snapshots", "--sizes", "--json").json
    own = {e.sha256: e.size for e in door.place.find(ids[0]).manifest.entries[:1]}
    documents = sum(d.size for d in door.place.find(ids[0]).manifest.documents)
    assert rows[0]["alone_bytes"] == sum(own.values()) + documents
    assert rows[4]["alone_bytes"] is None
    text = door("snapshots", "--sizes").out
    assert "all snapshots together:" in text


def test_show_says_all_that_a_snapshot_holds(door: Door) -> None:
    snapshot = backup(door.place, 1, complete=False)
    door.place.record_check(snapshot, "run9", AT + timedelta(days=2))
    text = door("show", snapshot.id[:9]).out
    for part in (
        f"EXCH01/{snapshot.id}",
        "incomplete",
        "3 files",
        "1 check, the last 2026-03-24",
        "conndata",
        "registry/connector.reg",
        "missing: C:\\Conndata\\locked.dat: is locked",
        "omitted: C:\\Conndata\\lab.seq: a work file",
        "finding: warning: service.running: it is slow",
    ):
        assert part in text, part
    assert "Amap.tbl" not in text
    assert "Dxamex\\Amap.tbl" in door("show", snapshot.id, "--files").out
    data = door("show", f"EXCH01/{snapshot.id}", "--json").json
    assert data["items"][0] | {"bytes": 0} == {
        "item": "conndata",
        "files": 3,
        "bytes": 0,
        "secret": 1,
        "root": "",
        "access_lists": None,
    }
    assert "entries" not in data
    entries = door("show", snapshot.id, "--json", "--files").json["entries"]
    assert [e["path"] for e in entries] == [e.path for e in snapshot.manifest.entries]
    damage(snapshot.path / "manifest.json")
    assert "not what was written" in door("show", snapshot.id, code=13).err


def test_diff_names_files_values_and_services(door: Door) -> None:
    first = backup(door.place, 1, files={"gone.tbl": b"1"}, registry=REG + '"a"=dword:1\r\n')
    second = backup(
        door.place,
        2,
        files={"fresh.tbl": b"123"},
        registry=REG + '"a"=dword:2\r\n"B"="x"\r\n',
        state="Stopped",
        complete=False,
    )
    data = door("diff", first.id, second.id, "--json").json
    assert data["differ"] is True
    changes = [(c["what"], c["kind"], c["where"], c["name"], c["old"], c["new"]) for c in data["changes"]]
    key = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Lotus"
    assert changes == [
        ("changed", "file", "conndata", "Dxamex\\Amap.tbl", "1.7 KiB", "1.7 KiB"),
        ("added", "file", "conndata", "fresh.tbl", None, "3 B"),
        ("removed", "file", "conndata", "gone.tbl", "1 B", None),
        ("changed", "registry value", key, "a", "REG_DWORD 1 (0x1)", "REG_DWORD 2 (0x2)"),
        ("added", "registry value", key, "B", None, 'REG_SZ "x"'),
        ("changed", "service", "LME-GWISE", "state", "Running", "Stopped"),
        ("added", "missing", "C:\\Conndata\\locked.dat", "", None, "is locked"),
    ]
    text = door("diff", first.id, second.id).out
    assert "changed\tservice\tLME-GWISE\tstate\tRunning\tStopped" in text
    door("diff", first.id, second.id, "--exit-code", code=5)
    assert door("diff", first.id, first.id, "--exit-code").out == "no difference\n"
    assert door("diff", first.id, first.id, "--json").json["changes"] == []


def test_diff_of_what_it_cannot_read_or_must_not_trust(door: Door) -> None:
    first = backup(door.place, 1, registry="something else")
    second = backup(door.place, 2, host="EXCH02")
    ran = door("diff", first.id, second.id, "--json")
    kinds = {(c["kind"], c["where"]) for c in ran.json["changes"]}
    assert ("document", "registry/connector.reg") in kinds
    assert "is held against EXCH02" in door("diff", first.id, second.id).err
    damage(second.path / "registry" / "connector.reg")
    assert "not what the manifest says" in door("diff", first.id, second.id, code=13).err

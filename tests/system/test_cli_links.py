"""Links that somebody put into a repository: no command reads, writes or deletes what they lead to."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from keep_support import Door, backup, contents_of

from exremote.repository import Repository
from exremote.repository.disk import leads_elsewhere

pytestmark = [
    pytest.mark.skipif(os.name != "posix", reason="links need rights on Windows"),
]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


def test_a_host_that_is_a_link_is_nobody_to_forget_from_or_to_save_to(door: Door) -> None:
    other = Repository.create(door.folder / "other")
    theirs = [backup(other, day, host="EXCH02") for day in (1, 2)]
    mine = backup(door.place, 3)
    place = door.place.path
    (place / "snapshots" / "EXCH02").symlink_to(theirs[0].path.parent)
    (place / "snapshots" / "EXCH01" / theirs[0].id).symlink_to(theirs[0].path)
    before = contents_of(other.path)
    assert [s["id"] for s in door("snapshots", "--json").json] == [mine.id]
    for name in (f"EXCH02/{theirs[0].id}", f"EXCH01/{theirs[0].id}"):
        assert "there is no snapshot" in door("forget", name, "--yes", code=12).err
    door("forget", "--keep-last", "1", "--yes", "--prune")
    assert "is a link" in door("copy", "--repository", str(other.path), "--to", str(place), code=10).err
    told = door("verify", code=13).out
    for name in ("EXCH02", f"EXCH01/{theirs[0].id}"):
        assert f"snapshots/{name}\tdoes not belong here" in told
    (place / "snapshots" / "EXCH02").unlink()
    (place / "snapshots" / "EXCH02").mkdir()
    (place / "snapshots" / "EXCH02" / theirs[0].id).symlink_to(theirs[0].path)
    door("copy", "--repository", str(other.path), "--to", str(place))
    assert sorted(door.ids()) == sorted([mine.id, *(s.id for s in theirs)]), "a link is no copy"
    after = contents_of(other.path)
    assert {name: data for name, data in after.items() if "runs" not in name} == {
        name: data for name, data in before.items() if "runs" not in name
    }


def test_a_record_of_checks_behind_a_link_is_neither_read_nor_written_nor_removed(door: Door) -> None:
    old, new = backup(door.place, 1), backup(door.place, 2)
    outside = door.folder / "outside"
    outside.mkdir()
    for snapshot in (old, new):
        (outside / f"{snapshot.id}.jsonl").write_bytes(b"theirs")
    checks = door.place.path / "checks"
    (checks / "EXCH01").symlink_to(outside)
    before = contents_of(outside)
    good = Repository.create(door.folder / "good")
    door("copy", "--to", str(good.path), code=13)
    assert "behind a link" in door("show", new.id, code=13).err
    assert "checks/EXCH01\tdoes not belong here" in door("verify", code=13).out
    door("forget", old.id, "--yes")
    assert contents_of(outside) == before
    (checks / "EXCH01").unlink()
    (checks / "EXCH01").mkdir()
    (checks / "EXCH01" / f"{new.id}.jsonl").symlink_to(outside / "made-by-nobody")
    assert "behind a link" in door("show", new.id, code=13).err
    assert "is not an ordinary file" in door("verify", code=13).out
    assert contents_of(outside) == before


def test_what_lies_behind_a_folder_of_a_snapshot_that_is_a_link_is_not_mended(door: Door) -> None:
    whole, linked = backup(door.place, 1), backup(door.place, 2)
    good = Repository.create(door.folder / "good")
    door("copy", "--to", str(good.path))
    outside = door.folder / "outside"
    (linked.path / "files" / "conndata").rename(door.folder / "aside")
    (linked.path / "files" / "conndata").symlink_to(outside)
    for name in ("Tables/same.tbl", "Dxamex/Amap.tbl", "Notes.ini"):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_bytes(b"theirs, and precious")
    damaged = whole.path / "files" / "conndata" / "Tables" / "same.tbl"
    damaged.chmod(0o600)
    damaged.write_bytes(b"damaged")
    before = contents_of(outside)
    told = door("verify", code=13).out
    assert f"{linked.id}/files/conndata\tis not in the manifest" in told
    assert f"{linked.id}/files/conndata/Tables/same.tbl\tlies behind a link" in told
    assert "another size" in told
    door("copy", "--repository", str(good.path), "--to", str(door.place.path))
    assert contents_of(outside) == before
    assert damaged.read_bytes() != b"damaged", "the others are mended"
    told = door("verify", code=13).out
    assert "another size" not in told
    assert "lies behind a link" in told


def test_a_junction_of_windows_is_a_link() -> None:
    def status(mode: int, tag: int) -> os.stat_result:
        return cast("os.stat_result", SimpleNamespace(st_mode=mode, st_reparse_tag=tag))

    assert leads_elsewhere(status(0o040777, 0xA0000003)), "a junction, which Python 3.11 calls a folder"
    assert leads_elsewhere(status(0o120777, 0xA000000C))
    assert not leads_elsewhere(status(0o040777, 0))
    assert not leads_elsewhere(status(0o100666, 0x80000013)), "a file that Windows deduplicated"

"""What verify found damaged is mended, as it says: by the next backup, or by a copy of the repository."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NOT_UNDER_WINE, Cli
from keep_support import Door, backup, damage

from exremote.lab.client import RunningLab
from exremote.repository import Repository

pytestmark = pytest.mark.not_under_wine("apart")


HOST = "EXGW01"
TABLE = "files/conndata/Tables/lab0003.tbl"


@pytest.fixture
def saved(lab: RunningLab, engine: str, tmp_path: Path) -> Iterator[Cli]:
    """Return a repository with one snapshot of each of two hosts."""
    if engine == "powershell":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['local']}")
    cli = Cli(lab, tmp_path / "door")
    cli.inventory("EXNOTES01", HOST)
    cli.init()
    cli("backup")
    yield cli
    assert cli.leaks() == []


def rot(path: Path) -> None:
    """Turn one bit over in place; name, size and rights stay."""
    mode = path.stat().st_mode
    damage(path)
    path.chmod(mode)


def links_are_gone(repository: Path) -> None:
    """Make a copy of the repository in its place, as a volume without hard links has it."""
    shutil.copytree(repository, repository.with_name("flat"))
    shutil.rmtree(repository)
    repository.with_name("flat").rename(repository)


@pytest.mark.parametrize("volume", ["linked", "flat"])
def test_a_backup_brings_anew_what_verify_found_damaged(saved: Cli, volume: str) -> None:
    """The rotten file and its object, in the old snapshot too; then all is well again, and unchanged."""
    if volume == "flat":
        links_are_gone(saved.repository)
    old = saved.folder_of(HOST, "groupwise")
    good = (old / TABLE).read_bytes()
    rot(old / TABLE)
    assert "exremote backup" in saved("verify", code=13).err
    (row,) = saved("snapshots", HOST, "--json").json
    assert row["state"] == "damaged"
    ran = saved("backup", HOST)
    assert old.name in ran.out
    assert (old / TABLE).read_bytes() == good
    assert (old / TABLE).stat().st_mode & 0o777 == 0o400
    assert "no damage" in saved("verify").out
    assert "no damage" in saved("verify", "--quick").out
    (host,) = saved("backup", HOST, "--json").json["hosts"]
    assert [s["state"] for s in host["snapshots"]] == ["unchanged"]
    assert host["warnings"] == []


def test_what_the_other_host_shares_is_mended_with_it(saved: Cli) -> None:
    """One content, two hosts: a backup of one is enough."""
    one, two = saved.folder_of(HOST, "groupwise"), saved.folder_of("EXNOTES01", "notes")
    shared = {p.stat().st_ino: p for p in one.rglob("files/**/*") if p.is_file()}
    twin = next(p for p in sorted(two.rglob("files/**/*")) if p.is_file() and p.stat().st_ino in shared)
    rot(twin)
    saved("verify", code=13)
    assert two.name in saved("backup", HOST).out
    assert "no damage" in saved("verify").out


def test_a_damaged_document_is_no_ground_to_call_anything_unchanged(saved: Cli) -> None:
    old = saved.folder_of(HOST, "groupwise")
    rot(old / "services.json")
    saved("verify", old.name, code=13)
    (host,) = saved("backup", HOST, "--json").json["hosts"]
    assert [s["state"] for s in host["snapshots"]] == ["new"]
    assert "no damage" in saved("verify").out


def test_what_is_noted_and_good_is_cleared_by_the_next_verify(saved: Cli) -> None:
    table = saved.folder_of(HOST, "groupwise") / TABLE
    rot(table)
    saved("verify", code=13)
    assert "damaged" in saved("verify", "--quick", code=13).out
    rot(table)
    assert "no damage" in saved("verify").out
    assert "no damage" in saved("verify", "--quick").out
    (host,) = saved("backup", HOST, "--json").json["hosts"]
    assert host["sent_files"] == 0


# ---------------------------------------------------------------- by a copy


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


@pytest.mark.parametrize(
    "name", ["files/conndata/Dxamex/Amap.tbl", "registry/connector.reg", "manifest.json", "manifest.sha256"]
)
def test_a_copy_mends_what_is_damaged_there(door: Door, tmp_path: Path, name: str) -> None:
    other = Repository.create(tmp_path / "other")
    first, second = backup(door.place, 1), backup(door.place, 2)
    door("copy", "--to", "other")
    hurt = other.path / "snapshots" / first.host / first.id / name
    before = hurt.read_bytes()
    rot(hurt)
    hint = door("verify", "--repository", "other", code=13).err
    assert f"exremote copy --repository COPY --to {other.path}" in hint.replace("\n", " ")
    rows = {r["id"]: r for r in door("copy", "--to", "other", "--dry-run", "--json").json["snapshots"]}
    assert rows[first.id]["state"] == "would be mended"
    rows = {r["id"]: r for r in door("copy", "--to", "other", "--json").json["snapshots"]}
    assert {i: r["state"] for i, r in rows.items()} == {first.id: "mended", second.id: "unchanged"}
    assert hurt.read_bytes() == before
    assert "no damage" in door("verify", "--repository", "other").out
    assert list((other.path / "partial").iterdir()) == []


def test_a_copy_mends_a_content_in_all_snapshots_that_name_it(door: Door, tmp_path: Path) -> None:
    other = Repository.create(tmp_path / "other")
    first, second = backup(door.place, 1), backup(door.place, 2)
    door("copy", "--to", "other")
    rot(other.path / "snapshots" / second.host / second.id / "files/conndata/Tables/same.tbl")
    door("verify", "--repository", "other", code=13)
    door("copy", first.id, "--to", "other")
    assert "no damage" in door("verify", "--repository", "other").out


def test_a_source_whose_manifest_is_damaged_is_refused_though_its_name_is_there(
    door: Door, tmp_path: Path
) -> None:
    other = Repository.create(tmp_path / "other")
    snapshot = backup(door.place, 1)
    door("copy", "--to", "other")
    rot(snapshot.path / "manifest.json")
    for more in ([], ["--dry-run"]):
        (row,) = door("copy", "--to", "other", "--json", *more, code=13).json["snapshots"]
        assert row["state"] == "refused"
        assert "manifest" in row["message"]
    assert list(other.verify()) == []


def test_a_dry_run_counts_what_is_shared_once(door: Door, tmp_path: Path) -> None:
    Repository.create(tmp_path / "other")
    for day in (1, 2, 3):
        backup(door.place, day)
    planned = door("copy", "--to", "other", "--dry-run", "--json").json["snapshots"]
    done = door("copy", "--to", "other", "--json").json["snapshots"]
    assert [(r["sent_files"], r["sent_bytes"]) for r in planned] == [
        (r["sent_files"], r["sent_bytes"]) for r in done
    ]


def test_the_newest_whole_one_is_protected_and_not_a_damaged_newer_one(door: Door) -> None:
    """A policy that keeps one keeps the good one; the damaged one goes only by its name."""
    first, second = backup(door.place, 1), backup(door.place, 2)
    rot(second.path / "files/conndata/Dxamex/Amap.tbl")
    door("verify", code=13)
    fates = door("forget", "--keep-last", "1", "--dry-run", "--json").json
    assert {r["id"]: r["state"] for r in fates["stays"]} == {first.id: "done", second.id: "damaged"}
    door("forget", first.id, "--yes", code=4)
    door("forget", second.id, "--yes")

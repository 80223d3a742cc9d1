"""Snapshots carried into another repository, and out into plain files: the same bytes, or a refusal."""

from __future__ import annotations

import hashlib
import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_forget import killed_at
from test_repository_bad_days import backup, contents

from exremote.errors import IntegrityError, RepositoryError, UsageError
from exremote.repository import Entry, Repository, Snapshot, SnapshotDraft, Standing, export, stored_path

AT = datetime(2003, 7, 22, 10, 15, 31, tzinfo=UTC)
POSIX = os.name == "posix"


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Repository, Repository]:
    return Repository.create(tmp_path / "one"), Repository.create(tmp_path / "two")


def damage(path: Path) -> None:
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


# ---------------------------------------------------------------- copying


def test_a_copy_is_the_same_folder_and_can_be_verified(pair: tuple[Repository, Repository]) -> None:
    one, two = pair
    first, second = backup(one, 1), backup(one, 2)
    moved: list[tuple[int, int]] = []
    assert two.standing(first) == Standing.ABSENT
    there = two.receive(first, "copy1", lambda files, size: moved.append((files, size)))
    assert contents(there.path) == contents(first.path)
    assert there.manifest == first.manifest
    assert len(moved) == 3
    assert two.standing(first) == Standing.SAME
    # the second shares one of its three contents with the first
    moved.clear()
    assert list(two.lacking(second)) == [e.sha256 for e in second.manifest.entries[1:]]
    two.receive(second, "copy2", lambda files, size: moved.append((files, size)))
    assert len(moved) == 2
    assert list(two.verify()) == []
    assert two.latest("EXCH01", "groupwise") == two.find(second.id)
    assert list((two.path / "partial").iterdir()) == []
    # a backup goes on there as if it had made them
    assert backup(two, 3).complete


@pytest.mark.skipif(not POSIX, reason="modes")
def test_a_copy_is_read_only_and_for_its_owner_alone(pair: tuple[Repository, Repository]) -> None:
    one, two = pair
    there = two.receive(backup(one, 1), "copy1")
    for path in there.path.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o400)


@pytest.mark.parametrize("name", ["files/c/GWRouter/0.tbl", "services.json", "manifest.json", "SHA256SUMS"])
def test_what_is_damaged_is_not_carried_on(pair: tuple[Repository, Repository], name: str) -> None:
    one, two = pair
    snapshot = backup(one, 1)
    damage(snapshot.path / name)
    with pytest.raises(IntegrityError):
        two.receive(one.find(snapshot.id), "copy1")
    assert two.snapshots() == []
    assert list(two.verify()) == []


def test_a_damaged_one_there_is_replaced(pair: tuple[Repository, Repository]) -> None:
    one, two = pair
    snapshot = backup(one, 1)
    there = two.receive(snapshot, "copy1")
    damage(there.path / "manifest.json")
    assert two.standing(snapshot) == Standing.DAMAGED
    (there.path / "manifest.json").unlink()
    assert two.standing(snapshot) == Standing.DAMAGED
    assert two.receive(snapshot, "copy2") == two.find(snapshot.id)
    assert two.standing(snapshot) == Standing.SAME
    assert list(two.verify()) == []


def test_another_one_of_its_name_there_is_told(pair: tuple[Repository, Repository]) -> None:
    """Its manifest agrees with its own digest: somebody made it on purpose, and it is not ours to replace."""
    one, two = pair
    snapshot = backup(one, 1)
    there = two.receive(snapshot, "copy1")
    text = (there.path / "manifest.json").read_bytes().replace(b"run1", b"run9")
    for name, data in (
        ("manifest.json", text),
        ("manifest.sha256", f"{hashlib.sha256(text).hexdigest()}  manifest.json\n".encode()),
    ):
        (there.path / name).chmod(0o600)
        (there.path / name).write_bytes(data)
    with pytest.raises(IntegrityError, match="another snapshot has this one's name"):
        two.standing(snapshot)


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_mending_killed_at_any_moment_is_done_by_the_next_copy(tmp_path: Path) -> None:
    """At each call of the system that writes: what was good stays so, and the next copy mends the rest."""
    one = Repository.create(tmp_path / "one")
    first, second = backup(one, 1), backup(one, 2)
    moment, killed = 0, True
    while killed:
        moment += 1
        two = Repository.create(tmp_path / str(moment))
        for snapshot in (first, second):
            two.receive(snapshot, "copy0")
        damage(two.find(second.id).path / second.manifest.entries[0].stored)
        found = {p.sha256 for p in two.verify() if p.sha256}
        two.note_damage((), found, all_read=True)

        def mend() -> None:
            two = Repository.open(tmp_path / str(moment))  # noqa: B023
            two.mend(two.receive(second, "copy1"))

        killed = killed_at(mend, moment)
        again = Repository.open(two.path)
        for snapshot in (first, second):
            if again.standing(snapshot) != Standing.SAME:
                again.mend(again.receive(snapshot, "copy2"))
        again.prune()
        assert list(again.verify()) == []
        assert [s.id for s in again.snapshots()] == [first.id, second.id]
        assert list((again.path / "partial").iterdir()) == []
    assert moment > 30


def test_a_host_in_another_spelling_is_refused(pair: tuple[Repository, Repository]) -> None:
    one, two = pair
    backup(two, 1, host="exch01")
    with pytest.raises(RepositoryError, match="already here as exch01"):
        two.receive(backup(one, 1), "copy1")


def test_checks_are_added_once(pair: tuple[Repository, Repository]) -> None:
    one, two = pair
    snapshot = backup(one, 1)
    for day in range(3):
        one.record_check(snapshot, f"run{day}", AT + timedelta(days=day))
    there = two.receive(snapshot, "copy1")
    two.record_check(there, "run1", AT + timedelta(days=1))
    assert two.add_checks(there, one.checks(snapshot)) == 2
    assert two.add_checks(there, one.checks(snapshot)) == 0
    assert sorted(c.run for c in two.checks(there)) == ["run0", "run1", "run2"]
    assert list(two.verify()) == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_copy_killed_at_any_moment_leaves_no_half_snapshot(tmp_path: Path) -> None:
    one = Repository.create(tmp_path / "one")
    first, second = backup(one, 1), backup(one, 2)
    moment, killed = 0, True
    while killed:
        moment += 1
        two = Repository.create(tmp_path / str(moment))
        two.receive(first, "copy0")
        before = contents(two.find(first.id).path)
        killed = killed_at(lambda: two.receive(second, "copy1"), moment)  # noqa: B023
        assert contents(two.find(first.id).path) == before
        assert list(two.verify()) == []
        again = Repository.open(two.path)
        if again.standing(second) == Standing.ABSENT:
            again.receive(second, "copy2")
        again.prune()
        assert list(again.verify()) == []
        assert [s.id for s in again.snapshots()] == [first.id, second.id]
        assert list((again.path / "partial").iterdir()) == []
    assert moment > 30


# ---------------------------------------------------------------- exporting


def odd(repository: Repository, complete: bool = True) -> tuple[Snapshot, dict[str, bytes]]:
    """A snapshot of names that are escaped in it; return it and the content by the host's own path."""
    names = {
        "Dxamex\\Amap.tbl": b"map",
        "leer.txt": b"",
        "100% sicher\\con": b"device",
        "Umlaut ä\\dot.": b"dot",
        "read.only": b"read-only",
        "deep\\" * 40 + "x": b"deep",
        "w" * 240: b"long",
    }
    entries = []
    with repository.staging("run1", "EXCH01") as staging:
        for path, data in names.items():
            writer = staging.writer(path)
            writer.write(data)
            secret = path == "leer.txt"
            sha256 = writer.finish(secret=secret)
            attributes = 33 if path == "read.only" else 32
            place = stored_path("conndata", path)
            entries.append(Entry("conndata", path, place, len(data), sha256, AT, attributes, secret))
    draft = SnapshotDraft(
        "EXCH01",
        "notes",
        AT,
        "run1",
        entries=tuple(entries),
        documents={"registry/a.reg": b"text", "services.json": b"[]"},
    )
    return repository.commit(draft), names


def test_an_export_has_the_hosts_own_names_times_and_bytes(tmp_path: Path) -> None:
    snapshot, names = odd(Repository.create(tmp_path / "r"))
    into = tmp_path / "new" / "out"
    moved: list[int] = []
    done = export(snapshot, into, (), lambda files, size: moved.append(size))
    assert (done.files, done.renamed, done.damaged) == (len(names), (), ())
    assert sum(moved) == done.bytes == sum(map(len, names.values()))
    for path, data in names.items():
        file = into.joinpath("files", "conndata", *path.split("\\"))
        assert file.read_bytes() == data
        assert file.stat().st_mtime == AT.timestamp()
    assert (into / "registry" / "a.reg").read_bytes() == b"text"
    if POSIX:
        assert into.stat().st_mode & 0o777 == 0o700
        assert (into / "files/conndata/leer.txt").stat().st_mode & 0o077 == 0
        assert (into / "files/conndata/read.only").stat().st_mode & 0o222 == 0
        assert (into / "files/conndata/Dxamex/Amap.tbl").stat().st_mode & 0o200
        subprocess.run(
            ["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS", "manifest.sha256"], cwd=into, check=True
        )


def test_an_export_goes_nowhere_where_something_is(tmp_path: Path) -> None:
    snapshot, _ = odd(Repository.create(tmp_path / "r"))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    for into in (tmp_path / "full", tmp_path / "full" / "letter.txt"):
        with pytest.raises(UsageError, match="not an empty folder"):
            export(snapshot, into, (), lambda files, size: None)
    with pytest.raises(UsageError, match=r"no item nothing.*conndata"):
        export(snapshot, tmp_path / "out", ["nothing"], lambda files, size: None)
    assert not (tmp_path / "out").exists()
    assert [p.name for p in (tmp_path / "full").iterdir()] == ["letter.txt"]


def test_a_damaged_file_is_left_out_and_named_and_the_others_come(tmp_path: Path) -> None:
    snapshot, names = odd(Repository.create(tmp_path / "r"))
    damage(snapshot.path / "files/conndata/Dxamex/Amap.tbl")
    (snapshot.path / "files/conndata/read.only").unlink()
    done = export(snapshot, tmp_path / "out", (), lambda files, size: None)
    expected = hashlib.sha256(b"map").hexdigest()
    assert [(p, e) for p, e, _ in done.damaged] == [
        ("Dxamex\\Amap.tbl", expected),
        ("read.only", hashlib.sha256(b"read-only").hexdigest()),
    ]
    assert done.files == len(names) - 2
    assert not (tmp_path / "out/files/conndata/Dxamex/Amap.tbl").exists()


@pytest.mark.skipif(not POSIX, reason="what a POSIX file system refuses")
def test_a_name_that_this_system_does_not_take_lies_under_renamed(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "r")
    long, other = "ä" * 200, "line\nbreak"  # 400 bytes; a name that no list can show
    entries = []
    with repository.staging("run1", "EXCH01") as staging:
        for path in (long, other, "\ud800"):
            writer = staging.writer(path)
            writer.write(path.encode("utf-8", "surrogatepass"))
            sha256 = writer.finish()
            entries.append(Entry("c", path, stored_path("c", path), writer.size, sha256, AT, 32))
    snapshot = repository.commit(SnapshotDraft("EXCH01", "notes", AT, "run1", entries=tuple(entries)))
    done = export(snapshot, tmp_path / "out", (), lambda files, size: None)
    assert (done.files, done.damaged) == (3, ())
    assert [path for path, _ in done.renamed] == [f"c: {long}", f"c: {other}", "c: \ud800"]
    for (path, at), entry in zip(done.renamed, entries, strict=True):
        assert at == f"renamed/{entry.stored}"
        assert (tmp_path / "out" / at).read_bytes() == path[3:].encode("utf-8", "surrogatepass")
    subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path / "out", check=True)

"""Bad days: full disks, kills, flipped bits. Earlier snapshots survive, and no half one is called whole."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exremote.errors import RepositoryError
from exremote.repository import Entry, Repository, Snapshot, SnapshotDraft, stored_path

AT = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
CALLS = ("open", "write", "fsync", "mkdir", "link", "rename", "replace", "chmod")


def backup(repository: Repository, day: int, host: str = "EXCH01") -> Snapshot:
    """What a run does: files in, then a snapshot of them."""
    entries = []
    with repository.staging(f"run{day}", host) as staging:
        for number in range(3):
            path = f"GWRouter\\{number}.tbl"
            writer = staging.writer(path)
            writer.write(b"table %d of day %d" % (number, day if number else 0))
            sha256 = writer.finish(secret=number == 1)
            entries.append(Entry("c", path, stored_path("c", path), writer.size, sha256, AT, 32, number == 1))
    return repository.commit(
        SnapshotDraft(
            host=host,
            connector="groupwise",
            created=AT + timedelta(days=day),
            run=f"run{day}",
            entries=tuple(entries),
            documents={"services.json": b"[]"},
        )
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def count_calls(act: Callable[[], object], stop_at: int, then: Callable[[], None]) -> int:
    """Do something; at the n-th call of the system that writes, let something else happen."""
    seen = 0
    real = {name: getattr(os, name) for name in CALLS}

    def counting(name: str) -> Callable[..., object]:
        def call(*args: object, **more: object) -> object:
            nonlocal seen
            seen += 1
            if seen >= stop_at:
                then()
            return real[name](*args, **more)

        return call

    try:
        for name in CALLS:
            setattr(os, name, counting(name))
        act()
    finally:
        for name in CALLS:
            setattr(os, name, real[name])
    return seen


def no_room() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_moment_leaves_no_half_snapshot(tmp_path: Path) -> None:
    """From each call of the system on there is no room: a sentence, earlier ones intact, no half one."""
    total = count_calls(lambda: backup(Repository.create(tmp_path / "count"), 2), 10**9, no_room)
    assert total > 40
    for moment in range(1, total):
        path = tmp_path / str(moment)
        repository = Repository.create(path)
        first = backup(repository, 1)
        before = contents(first.path)
        opened = Repository.open(path)
        try:
            count_calls(lambda: backup(opened, 2), moment, no_room)  # noqa: B023
        except RepositoryError as error:
            assert "the disk is full" in error.text
            assert "earlier snapshots are intact" in error.text
            assert error.exit_code == 10
        assert contents(first.path) == before
        assert list(repository.verify()) == []
        assert len(repository.snapshots()) in (1, 2)
        again = Repository.open(path)
        second = backup(again, 3)
        assert again.latest("EXCH01", "groupwise") == second
        assert list(again.verify()) == []


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_killed_at_any_moment_leaves_only_partial_files(tmp_path: Path) -> None:
    total = count_calls(lambda: backup(Repository.create(tmp_path / "count"), 2), 10**9, no_room)
    for moment in range(1, total):
        path = tmp_path / str(moment)
        repository = Repository.create(path)
        first = backup(repository, 1)
        before = contents(first.path)
        child = os.fork()
        if child == 0:
            try:
                fresh = Repository.open(path)
                count_calls(lambda: backup(fresh, 2), moment, die)  # noqa: B023
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert contents(first.path) == before
        assert list(repository.verify()) == []
        known = repository.snapshots()
        assert len(known) in (1, 2)
        assert not any(s.damage for s in known)
        again = Repository.open(path)
        second = backup(again, 3)
        assert again.latest("EXCH01", "groupwise") == second
        again.clean_partial()
        assert list(again.verify()) == []


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs the right to mount a small volume"
)
def test_a_volume_that_is_really_full(tmp_path: Path) -> None:
    """No pretence: a volume of 1 MiB, in a mount namespace of its own."""
    script = f"""
import os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_repository_bad_days import backup
from exremote.errors import RepositoryError
from exremote.repository import Repository
repository = Repository.create(Path({str(tmp_path)!r}) / "small" / "r")
first = backup(repository, 1)
try:
    with repository.staging("run2", "EXCH01") as staging:
        writer = staging.writer("big")
        for _ in range(4096):
            writer.write(bytes(1024))
    print("no error")
except RepositoryError as error:
    print(error.text)
print(writer.size == os.fstat(writer._file).st_size if writer._file else "closed")
print(list(repository.verify()), repository.latest("EXCH01", "groupwise") == first)
repository.clean_partial()
print(backup(repository, 3).complete)
"""
    small = tmp_path / "small"
    small.mkdir()
    mount = f'mount -t tmpfs -o size=1m none {small} && exec {sys.executable} -c "$SCRIPT"'
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", mount],
        env={**os.environ, "SCRIPT": script},
        capture_output=True,
        text=True,
    )
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip("no right to mount here")
    lines = done.stdout.splitlines()
    assert "the disk is full" in lines[0], done
    assert lines[1:] == ["closed", "[] True", "True"], done


# ---------------------------------------------------------------- flipped bits


@pytest.fixture(scope="module")
def damaged_ground(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, Snapshot]:
    repository = Repository.create(tmp_path_factory.mktemp("flip") / "r")
    backup(repository, 1, host="EXCH00")
    return repository, backup(repository, 1)


def test_one_flipped_bit_anywhere_is_found_and_its_place_is_named(
    damaged_ground: tuple[Repository, Snapshot],
) -> None:
    repository, snapshot = damaged_ground
    files = [p for p in sorted(snapshot.path.rglob("*")) if p.is_file()]
    assert len(files) == 3 + 1 + 3
    for path in files:
        good = path.read_bytes()
        path.chmod(0o600)
        place = path.relative_to(repository.path).as_posix()
        for at in range(0, len(good), max(1, len(good) // 60)):
            for bit in (0, 5):
                hurt = bytearray(good)
                hurt[at] ^= 1 << bit
                path.write_bytes(hurt)
                problems = list(repository.verify(repository.find(snapshot.id)))
                assert place in [p.place for p in problems], (place, at, bit, problems)
                if path.name != "manifest.sha256":
                    assert [p.place for p in problems] == [place], (place, at, bit, problems)
        path.write_bytes(good)
        path.chmod(0o400)
    assert list(repository.verify()) == []


def test_missing_extra_and_strange_files_are_named(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "r")
    snapshot = backup(repository, 1)
    one, two, three = (snapshot.path / e.stored for e in snapshot.manifest.entries)
    one.unlink()
    two.unlink()
    two.mkdir()
    three.chmod(0o600)
    three.write_bytes(b"short")
    (snapshot.path / "files" / "extra.txt").write_bytes(b"")
    (snapshot.path / "files" / "c" / "folder").mkdir()
    (repository.path / "snapshots" / "stray").write_bytes(b"")
    (repository.path / "snapshots" / "EXCH01" / "20261122T101500Z-x").mkdir()
    (repository.path / "objects" / "ab").mkdir(exist_ok=True)
    (repository.path / "objects" / "ab" / "junk").write_bytes(b"")
    for quick in (True, False):
        problems = {
            (p.place.removeprefix(f"snapshots/EXCH01/{snapshot.id}/"), p.message)
            for p in repository.verify(quick=quick)
        }
        assert problems >= {
            ("files/c/GWRouter/0.tbl", "is missing"),
            ("files/c/GWRouter/1.tbl", "is not an ordinary file"),
            ("files/c/GWRouter/2.tbl", "has another size"),
            ("files/extra.txt", "is not in the manifest"),
            ("files/c/folder", "is not in the manifest"),
            ("snapshots/stray", "does not belong here"),
            ("snapshots/EXCH01/20261122T101500Z-x", "does not belong here"),
            ("objects/ab/junk", "does not belong here"),
        }
        assert len(problems) == (8 if quick else 9)  # the object behind the short file, by its digest


def test_a_missing_manifest_or_digest_is_named_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "r")
    snapshot = backup(repository, 1)
    file = snapshot.path / snapshot.manifest.entries[0].stored
    file.chmod(0o600)
    file.write_bytes(b"x" * 16)
    for name in ("manifest.sha256", "manifest.json", "SHA256SUMS"):
        (snapshot.path / name).unlink()
        places = [p.place.rpartition("/")[2] for p in repository.verify(repository.find(snapshot.id))]
        assert any(place.startswith(("manifest", "SHA256SUMS")) for place in places)
        if name != "SHA256SUMS":
            assert "0.tbl" in places
    assert list(repository.verify()) != []


def test_a_snapshot_under_another_name_is_not_taken_for_it(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "r")
    snapshot = backup(repository, 1)
    moved = snapshot.path.with_name("20261224T101500Z-groupwise-aaaaaa")
    snapshot.path.rename(moved)
    found = repository.find(moved.name)
    assert snapshot.id in found.damage
    assert repository.latest("EXCH01", "groupwise") is None
    assert [p.place for p in repository.verify()] == [f"snapshots/EXCH01/{moved.name}/manifest.json"]


def test_an_object_is_verified_by_its_name(tmp_path: Path) -> None:
    repository = Repository.create(tmp_path / "r")
    with repository.staging("run1", "EXCH01") as staging:
        writer = staging.writer("a")
        writer.write(b"content")
        sha256 = writer.finish()
    path = repository.object_path(sha256)
    path.chmod(0o600)
    path.write_bytes(b"Content")
    (problem,) = repository.verify()
    assert problem.place == f"objects/{sha256[:2]}/{sha256}"
    assert problem.expected == sha256 != problem.actual


def test_a_snapshot_found_damaged_right_after_is_taken_out_and_comes_again(tmp_path: Path) -> None:
    """A rotten object must not spoil every snapshot to come."""
    repository = Repository.create(tmp_path / "r")
    first = backup(repository, 1)
    entry = first.manifest.entries[0]
    path = repository.object_path(entry.sha256)
    path.chmod(0o600)
    path.write_bytes(b"X" * entry.size)
    second = backup(repository, 2)
    assert len(list(repository.verify(second))) == 1
    aside = repository.reject(second)
    assert aside.is_relative_to(repository.path / "partial")
    assert not repository.has(entry.sha256, entry.size)
    third = backup(repository, 2)
    assert list(repository.verify(third)) == []
    assert repository.latest("EXCH01", "groupwise") == third
    assert [s.id for s in repository.snapshots()] == [first.id, third.id]

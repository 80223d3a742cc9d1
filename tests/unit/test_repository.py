"""The promises of docs/repository.md, one test or more for each."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exremote.errors import IntegrityError, RepositoryError, SnapshotNotFound, UsageError
from exremote.repository import (
    Entry,
    Omission,
    Repository,
    Snapshot,
    SnapshotDraft,
    TreeRecord,
    UnsafeName,
    stored_path,
)
from exremote.repository import disk as disk_module

AT = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
POSIX = os.name == "posix"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repository")


def put(
    repository: Repository, path: str, data: bytes, *, item: str = "conndata", secret: bool = False
) -> Entry:
    with repository.staging("run1", "EXCH01") as staging:
        writer = staging.writer(f"{item}:{path}")
        writer.write(data[:3])
        writer.write(data[3:])
        sha256 = writer.finish(secret=secret)
    assert sha256 == hashlib.sha256(data).hexdigest()
    return Entry(item, path, stored_path(item, path), len(data), sha256, AT, 32, secret)


def draft_of(*entries: Entry, **changes: object) -> SnapshotDraft:
    draft = SnapshotDraft(
        host="EXCH01",
        connector="groupwise",
        created=AT,
        run="run1",
        entries=entries,
        omitted=(Omission("C:\\x\\work.tmp", "a work file"),),
        trees={"conndata": TreeRecord("C:\\Conndata", "ab" * 32, len(entries), 9)},
        documents={"registry/connector.reg": b"Windows Registry Editor", "services.json": b"[]\n"},
        findings=({"check": "x", "verdict": "warning"},),
        software="exremote 0.1.0",
    )
    return replace(draft, **changes)  # type: ignore[arg-type]


def sample(repository: Repository, **changes: object) -> Snapshot:
    entries = (
        put(repository, "GWRouter\\Gwise.tbl", b"table one"),
        put(repository, "GWRouter\\Empty.tbl", b""),
        put(repository, "Umlaut ä\\con", b"a device's name"),
        put(repository, "Notes.ini", b"[Notes]\nKey=secret", item="notes", secret=True),
    )
    return repository.commit(draft_of(*entries, **changes))


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


# ---------------------------------------------------------------- made by init, never by accident


def test_a_repository_is_made_only_where_nothing_is(tmp_path: Path) -> None:
    path = tmp_path / "new" / "repository"
    made = Repository.create(path)
    assert Repository.open(path).id == made.id
    assert made.path == path
    assert made.runs_folder.is_dir()
    with pytest.raises(RepositoryError, match="already"):
        Repository.create(path)
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("mine")
    with pytest.raises(RepositoryError, match="not an empty folder"):
        Repository.create(full)
    with pytest.raises(RepositoryError, match="not an empty folder"):
        Repository.create(full / "letter.txt")
    assert [p.name for p in full.iterdir()] == ["letter.txt"]
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o755)
    assert Repository.create(empty).is_private()


def test_opening_never_makes_one(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(RepositoryError, match=r"no repository here.*exremote init"):
            Repository.open(path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_ours_or_too_new_is_refused(repository: Repository) -> None:
    mark = repository.path / "repository.toml"
    for text, sentence in (
        ("format = 2\nid = 'x'\n", "has format 2, and this exremote knows 1"),
        ("title = 'something else'", "not one of ours"),
        ("\x00", "not one of ours"),
    ):
        mark.write_text(text)
        with pytest.raises(RepositoryError, match=sentence):
            Repository.open(repository.path)


def test_a_snapshot_of_a_newer_format_is_never_read_by_guess(repository: Repository) -> None:
    snapshot = sample(repository)
    path = snapshot.path / "manifest.json"
    text = path.read_bytes().replace(b'{"format":1', b'{"format":2', 1)
    path.chmod(0o600)
    path.write_bytes(text)
    found = repository.find(snapshot.id)
    assert "use a newer one" in found.damage
    assert repository.latest("EXCH01", "groupwise") is None


# ---------------------------------------------------------------- 1. complete, named, digests beside


def test_a_manifest_names_every_file_with_size_and_digest(repository: Repository) -> None:
    snapshot = sample(repository)
    named = {f.stored: (f.size, f.sha256) for f in (*snapshot.manifest.entries, *snapshot.manifest.documents)}
    found = {
        name.replace(os.sep, "/"): (len(data), hashlib.sha256(data).hexdigest())
        for name, data in everything(snapshot.path).items()
    }
    manifest = found.pop("manifest.json")
    del found["manifest.sha256"]
    assert named == found
    beside = (snapshot.path / "manifest.sha256").read_text()
    assert beside == f"{manifest[1]}  manifest.json\n"


def test_a_snapshot_is_read_back_as_it_was_written(repository: Repository) -> None:
    written = sample(repository, findings=({"a": {"modified": 1, "stored": [None, "ü"]}},))
    read = Repository.open(repository.path).find(written.id)
    assert read == written
    assert read.manifest == written.manifest
    assert read.manifest.head.repository == repository.id
    assert read.id.startswith("20261122T101500Z-groupwise-")
    assert read.manifest.entries[0].path == "GWRouter\\Gwise.tbl"
    assert read.manifest.head.created == AT
    assert list(repository.verify(read)) == []
    assert list(repository.verify()) == []
    assert list(repository.verify(quick=True)) == []


def test_a_manifest_is_plain_json(repository: Repository) -> None:
    for entries in ((), (put(repository, "a", b"1"),)):
        snapshot = repository.commit(draft_of(*entries, connector=f"c{len(entries)}"))
        data = json.loads((snapshot.path / "manifest.json").read_text("utf-8"))
        assert (data["format"], data["host"], len(data["entries"])) == (1, "EXCH01", len(entries))
        assert snapshot.manifest == repository.find(snapshot.id).manifest


# ---------------------------------------------------------------- 2. nothing changes once in place


def test_a_later_snapshot_changes_no_earlier_one(repository: Repository) -> None:
    first = sample(repository)
    before = everything(first.path)
    sample(repository, created=AT + timedelta(days=1))
    sample(repository)  # same second, same content: a snapshot of its own all the same
    assert everything(first.path) == before
    assert len(repository.snapshots()) == 3
    assert list(repository.verify()) == []


@pytest.mark.skipif(not POSIX, reason="modes")
def test_what_is_in_place_is_read_only_and_for_its_owner_alone(repository: Repository) -> None:
    snapshot = sample(repository)
    assert repository.path.stat().st_mode & 0o777 == 0o700
    for top in (snapshot.path, repository.path / "objects"):
        for path in top.rglob("*"):
            mode = path.stat().st_mode & 0o777
            assert mode == (0o700 if path.is_dir() else 0o400), path
    for path in repository.path.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.skipif(not POSIX, reason="modes")
def test_content_that_becomes_a_secret_is_closed_under_all_its_names(repository: Repository) -> None:
    """Somebody opened the repository for colleagues; then a connector says that this file is a secret."""
    plain = put(repository, "copy.txt", b"the password")
    first = repository.commit(draft_of(plain, connector="notes"))
    object_ = repository.object_path(plain.sha256)
    object_.chmod(0o444)
    repository.path.chmod(0o755)
    secret = put(repository, "Notes.ini", b"the password", secret=True)
    assert object_.stat().st_mode & 0o777 == 0o400
    object_.chmod(0o444)
    second = repository.commit(draft_of(secret))
    for path in (object_, first.path / plain.stored, second.path / secret.stored):
        assert path.stat().st_mode & 0o777 == 0o400
    object_.chmod(0o444)
    assert [(p.place.rpartition("/")[2], p.message) for p in repository.verify(second)] == [
        ("Notes.ini", "others than its owner may read it")
    ]
    repository.path.chmod(0o700)
    assert list(repository.verify(second)) == []


@pytest.mark.skipif(not POSIX, reason="modes")
def test_a_volume_that_cannot_keep_a_secret_gets_none(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(repository, "Notes.ini", b"secret", secret=True)
    repository.object_path(entry.sha256).chmod(0o444)
    repository.path.chmod(0o755)

    def refuse(*args: object, **more: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    with pytest.raises(RepositoryError, match="lets others read"):
        repository.commit(draft_of(entry))
    monkeypatch.undo()
    assert repository.snapshots() == []


def test_on_windows_the_owner_alone_is_in_the_access_list() -> None:
    told = disk_module.access_list("D:\\backup", folder=True)
    assert told == ["D:\\backup", "/inheritance:r", "/grant:r", "*S-1-3-4:(OI)(CI)F", "/q"]
    alone = "D:\\backup OWNER RIGHTS:(OI)(CI)(F)\n\nSuccessfully processed 1 files; Failed 0 files\n"
    open_ = "D:\\backup OWNER RIGHTS:(F)\n          BUILTIN\\Users:(I)(RX)\n"
    assert disk_module.is_private_list(alone)
    assert not disk_module.is_private_list(open_)
    assert not disk_module.is_private_list("D:\\backup\n")


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"SystemRoot": "D:\\Win"}, "D:\\Win\\System32\\icacls.exe"),
        ({"PATH": "."}, "C:\\Windows\\System32\\icacls.exe"),
    ],
)
def test_on_windows_no_program_of_the_current_folder_is_run(environment: dict[str, str], path: str) -> None:
    assert disk_module.icacls_path(environment) == path


@pytest.mark.skipif(not POSIX, reason="modes")
def test_a_new_repository_that_others_may_read_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    Repository.create(tmp_path / "closed", told.append)
    assert told == []
    mkdir, chmod = os.mkdir, os.chmod

    def open_to_all(path: Path, mode: int = 0o777) -> None:
        mkdir(path)
        chmod(path, 0o755)

    with monkeypatch.context() as volume:  # one that keeps no modes
        volume.setattr(os, "mkdir", open_to_all)
        volume.setattr(os, "chmod", lambda path, mode: None)
        made = Repository.create(tmp_path / "open", told.append)
    assert told == ["the volume keeps no file rights"]
    assert not made.is_private()


class Scanner:
    """A virus scanner that holds what is new: so many renames are refused, as Windows says it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, times: int, winerror: int) -> None:
        self.left = times
        for name in ("rename", "replace", "rmdir"):
            real = getattr(os, name)

            def refuse(*args: object, real: Callable[..., None] = real, **more: object) -> None:
                if self.left:
                    self.left -= 1
                    error = PermissionError(13, "The process cannot access the file")
                    error.winerror = winerror  # type: ignore[attr-defined]
                    raise error
                real(*args, **more)

            monkeypatch.setattr(os, name, refuse)


@pytest.mark.parametrize("winerror", [5, 32])
def test_what_a_scanner_holds_for_a_moment_is_renamed_all_the_same(
    repository: Repository, monkeypatch: pytest.MonkeyPatch, winerror: int
) -> None:
    Scanner(monkeypatch, 3, winerror)
    snapshot = sample(repository)
    scanner = Scanner(monkeypatch, 2, winerror)
    repository.forget(snapshot, "run2")
    assert (scanner.left, repository.snapshots(), list(repository.verify())) == (0, [], [])


def test_what_a_scanner_holds_for_long_is_said_after_some_seconds(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = put(repository, "a", b"1")
    Scanner(monkeypatch, 10**6, 5)
    began = time.monotonic()
    with pytest.raises(RepositoryError, match="not permitted"):
        repository.commit(draft_of(entry))
    assert 1.5 < time.monotonic() - began < 10
    monkeypatch.undo()
    assert repository.snapshots() == []


# ---------------------------------------------------------------- 3. digests agree


def test_an_object_is_what_its_name_says(repository: Repository) -> None:
    sample(repository)
    objects = [p for p in (repository.path / "objects").rglob("*") if p.is_file()]
    assert objects
    for path in objects:
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
        assert path.parent.name == path.name[:2]


def test_a_snapshot_of_files_that_are_not_here_is_refused(repository: Repository) -> None:
    here = put(repository, "a", b"content")
    wrong_size = replace(here, path="b", stored="files/conndata/b", size=3)
    absent = replace(here, sha256="0" * 64)
    for entry in (wrong_size, absent):
        with pytest.raises(IntegrityError, match="does not have this file"):
            repository.commit(draft_of(entry))
    assert repository.snapshots() == []


# ---------------------------------------------------------------- 4. what is missing is said


def test_an_incomplete_snapshot_says_so_and_is_never_the_latest(repository: Repository) -> None:
    whole = sample(repository)
    missing = (Omission("C:\\Conndata\\locked.dat", "is locked"),)
    later = sample(repository, created=AT + timedelta(hours=1), complete=False, missing=missing)
    tables = sample(repository, created=AT + timedelta(hours=2), kind="tables")
    assert repository.latest("EXCH01", "groupwise") == whole
    assert repository.latest("EXCH01", "groupwise", kind="tables") == tables
    assert repository.latest("EXCH01", "notes") is None
    assert repository.latest("EXCH02", "groupwise") is None
    read = repository.find(later.id)
    assert (read.complete, read.manifest.missing) == (False, missing)
    with pytest.raises(ValueError, match="not complete"):
        sample(repository, missing=missing)


def test_a_damaged_snapshot_is_listed_and_never_the_latest(repository: Repository) -> None:
    whole = sample(repository)
    for hours, hurt in enumerate((b"", b"{", b"\xff\n"), 1):
        later = sample(repository, created=AT + timedelta(hours=hours))
        path = later.path / "manifest.json"
        path.chmod(0o600)
        path.write_bytes(hurt)
    tail = sample(repository, created=AT + timedelta(hours=9))
    path = tail.path / "manifest.json"
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[:-5] + b"}    ")
    found = repository.snapshots("EXCH01", "groupwise")
    assert [bool(s.damage) for s in found] == [False, True, True, True, False]
    assert repository.latest("EXCH01", "groupwise") == whole
    with pytest.raises(IntegrityError):
        _ = found[-1].manifest


def test_the_same_content_is_a_check_not_a_snapshot(repository: Repository) -> None:
    snapshot = sample(repository)
    entries = snapshot.manifest.entries
    again = draft_of(*entries, created=AT + timedelta(days=1), run="run2")
    touched = replace(entries[0], modified=AT + timedelta(hours=1), attributes=33)
    assert repository.same_content(again, snapshot)
    assert repository.same_content(replace(again, entries=(touched, *entries[1:]), omitted=()), snapshot)
    volatile = {**again.documents, "facts.json": b"{}", "trees/conndata.tsv": b"times"}
    assert repository.same_content(replace(again, documents=volatile), snapshot)
    for different in (
        replace(again, entries=entries[1:]),
        replace(again, entries=(replace(entries[0], sha256="0" * 64), *entries[1:])),
        replace(again, entries=(replace(entries[0], path="x"), *entries[1:])),
        replace(again, entries=(replace(entries[0], secret=True), *entries[1:])),
        replace(again, documents={**again.documents, "services.json": b"[1]"}),
        replace(again, documents={"services.json": b"[]\n"}),
        replace(again, kind="tables"),
        replace(again, complete=False),
        replace(again, trees={"conndata": TreeRecord("D:\\Conndata", "", 0, 0)}),
    ):
        assert not repository.same_content(different, snapshot)

    repository.record_check(snapshot, "run2", AT + timedelta(days=1))
    repository.record_check(snapshot, "run3", AT + timedelta(days=2))
    path = repository.path / "checks" / "EXCH01" / f"{snapshot.id}.jsonl"
    with path.open("ab") as file:
        file.write(b'{"run":"torn')
    repository.record_check(snapshot, "run4", AT + timedelta(days=3))
    assert [(c.run, c.at - AT) for c in repository.checks(snapshot)] == [
        ("run2", timedelta(days=1)),
        ("run3", timedelta(days=2)),
        ("run4", timedelta(days=3)),
    ]
    assert [(p.place.rpartition("/")[0], p.message) for p in repository.verify()] == [
        ("checks/EXCH01", "line 3 is damaged")
    ]
    assert len(repository.snapshots()) == 1


# ---------------------------------------------------------------- 5. a person with no exremote


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_a_person_with_no_exremote_can_check_and_restore(repository: Repository) -> None:
    snapshot = sample(repository)
    subprocess.run(
        ["sha256sum", "--strict", "--quiet", "-c", "manifest.sha256", "SHA256SUMS"],
        cwd=snapshot.path,
        check=True,
    )
    assert (snapshot.path / "files/conndata/GWRouter/Gwise.tbl").read_bytes() == b"table one"
    assert (snapshot.path / "registry/connector.reg").read_bytes() == b"Windows Registry Editor"
    assert len((snapshot.path / "SHA256SUMS").read_bytes().splitlines()) == 6
    assert b"sha256sum -c" in (repository.path / "README.txt").read_bytes()


# ---------------------------------------------------------------- objects


def test_the_same_content_is_kept_once_for_all_hosts(repository: Repository) -> None:
    first = put(repository, "a", b"same content")
    second = put(repository, "b", b"same content")
    snapshots = [
        repository.commit(draft_of(first)),
        repository.commit(draft_of(second, host="EXCH02", connector="notes")),
    ]
    objects = [p for p in (repository.path / "objects").rglob("*") if p.is_file()]
    assert len(objects) == 1
    assert (snapshots[1].path / second.stored).samefile(snapshots[0].path / first.stored)


def test_an_object_of_a_wrong_size_does_not_count_and_is_replaced(repository: Repository) -> None:
    """What a power cut can leave: a file of no bytes, or half of them."""
    entry = put(repository, "a", b"content")
    path = repository.object_path(entry.sha256)
    assert repository.has(entry.sha256, 7)
    for hurt in (b"", b"con"):
        path.chmod(0o600)
        path.write_bytes(hurt)
        assert not repository.has(entry.sha256, 7)
    path.chmod(0o600)
    path.write_bytes(b"")
    assert not repository.has(entry.sha256)
    assert put(repository, "a", b"content") == entry
    assert path.read_bytes() == b"content"
    assert not repository.has("0" * 64, 7)


def test_a_file_that_was_cut_goes_on_where_it_was(repository: Repository) -> None:
    staging = repository.staging("run1", "EXCH01")
    writer = staging.writer("big.bkf")
    writer.write(b"hello ")
    staging.close()
    with Repository.open(repository.path).staging("run1", "EXCH01") as again:
        writer = again.writer("big.bkf")
        assert (writer.size, writer.digest()) == (6, hashlib.sha256(b"hello ").hexdigest())
        writer.write(b"world")
        other = again.writer("other")
        assert other.size == 0
        other.discard()
        other.discard()
        sha256 = writer.finish()
    assert repository.object_path(sha256).read_bytes() == b"hello world"
    assert list((repository.path / "partial").iterdir()) == []


def test_a_finished_file_counts_at_once(repository: Repository) -> None:
    """It waits for the disk together with others, and nobody can tell."""
    with repository.staging("run1", "EXCH01") as staging:
        writer = staging.writer("a")
        writer.write(b"content")
        sha256 = writer.finish()
        assert repository.has(sha256, 7)
        assert not repository.has(sha256, 8)
        same = staging.writer("a")
        assert same.size == 0
        same.write(b"another")
        assert repository.object_path(sha256).read_bytes() == b"content"
        with pytest.raises(ValueError, match="closed"):
            writer.write(b"more")


def test_threads_that_bring_the_same_files_do_not_meet(repository: Repository) -> None:
    errors: list[BaseException] = []

    def work(host: str) -> None:
        try:
            for round_ in range(5):
                entries = []
                with repository.staging("run1", host) as staging:
                    for number in range(20):
                        writer = staging.writer(str(number))
                        writer.write(b"%d" % (number % 7 + round_))
                        sha256 = writer.finish(secret=number % 2 == 0)
                        name = f"f{number}"
                        entries.append(Entry("i", name, stored_path("i", name), writer.size, sha256, AT, 0))
                repository.commit(draft_of(*entries, host=host, created=AT + timedelta(hours=round_)))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(f"EXCH{i:02}",)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(repository.snapshots()) == 30
    assert list(repository.verify()) == []
    assert list((repository.path / "partial").iterdir()) == []


def test_where_links_cannot_be_copies_are(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT, some shares, and NTFS behind the 1,024th name."""

    def refuse(*args: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", refuse)
    snapshot = sample(repository)
    with repository.lock("test"):
        pass
    monkeypatch.undo()
    for entry in snapshot.manifest.entries:
        path = snapshot.path / entry.stored
        assert path.stat().st_nlink == 1
        if POSIX:
            assert path.stat().st_mode & 0o777 == 0o400
    assert list(repository.verify()) == []


def test_partial_may_be_deleted(repository: Repository) -> None:
    snapshot = sample(repository)
    for run in ("old", "mine"):
        staging = repository.staging(run, "EXCH01")
        staging.writer("a").write(b"half")
        staging.close()
    assert repository.clean_partial(keep=["mine"]) == ["old"]
    assert [p.name for p in (repository.path / "partial").iterdir()] == ["mine"]
    shutil.rmtree(repository.path / "partial")
    assert list(repository.verify()) == []
    assert put(repository, "b", b"more")
    assert repository.find(snapshot.id) == snapshot


# ---------------------------------------------------------------- names


def test_names_that_differ_in_case_alone_stay_apart(repository: Repository) -> None:
    entries = [put(repository, name, name.encode()) for name in ("README", "readme", "Dir\\a", "dir\\a")]
    snapshot = repository.commit(draft_of(*entries))
    stored = [e.stored for e in snapshot.manifest.entries]
    assert len({s.casefold() for s in stored}) == 4
    for entry in snapshot.manifest.entries:
        assert (snapshot.path / entry.stored).read_bytes() == entry.path.encode()
    assert list(repository.verify(snapshot)) == []
    assert repository.same_content(draft_of(*entries), snapshot)


def test_a_name_that_leaves_the_snapshot_or_meets_another_is_refused(repository: Repository) -> None:
    entry = put(repository, "a", b"1")
    for stored in ("../a", "/etc/passwd", "files/../../a", "manifest.json", "files/c:/a", "services.json"):
        with pytest.raises(UnsafeName):
            repository.commit(draft_of(replace(entry, stored=stored)))
    with pytest.raises(UnsafeName):
        repository.commit(draft_of(entry, entry))
    for name in ("manifest.json", "SHA256SUMS", "Manifest.JSON", "../x", "files", "registry/../../x"):
        with pytest.raises(UnsafeName):
            repository.commit(draft_of(entry, documents={name: b""}))
    assert repository.snapshots() == []


def test_a_host_that_tries_to_leave_the_repository_is_refused(repository: Repository) -> None:
    entry = put(repository, "a", b"1")
    before = sorted(p.name for p in repository.path.parent.iterdir())
    for host in ("..", "../EXCH01", "a/b", "a\\b", "C:", "nul", "", "x."):
        with pytest.raises(UnsafeName):
            repository.commit(draft_of(entry, host=host))
        with pytest.raises(UnsafeName):
            repository.staging("run1", host)
        with pytest.raises(UnsafeName):
            repository.snapshots(host)
        with pytest.raises(UnsafeName):
            repository.commit(draft_of(entry, connector=host))
        with pytest.raises(UnsafeName):
            repository.staging(host, "EXCH01")
    assert sorted(p.name for p in repository.path.parent.iterdir()) == before


def test_a_host_has_one_spelling(repository: Repository) -> None:
    sample(repository)
    with pytest.raises(RepositoryError, match="already here as EXCH01"):
        sample(repository, host="exch01")


def test_a_snapshot_is_found_by_the_beginning_of_its_name(repository: Repository) -> None:
    first = sample(repository)
    second = sample(repository, host="EXCH02", created=AT + timedelta(days=30))
    assert repository.find(first.id) == first
    assert repository.find("202612") == second
    assert repository.find(f"EXCH02/{second.id[:9]}") == second
    with pytest.raises(UsageError, match="beginning of 2") as caught:
        repository.find("2026")
    assert first.id in caught.value.text
    assert second.id in caught.value.text
    for name in ("", "1999", "EXCH03/", "EXCH01/202612", "../../etc/2026"):
        with pytest.raises(SnapshotNotFound):
            repository.find(name)
    assert [s.host for s in repository.snapshots()] == ["EXCH01", "EXCH02"]
    assert repository.snapshots("EXCH02") == [second]
    assert repository.snapshots(connector="notes") == []


LISTED: list[str] | None = None
"""Folders that were listed, where a test wants to know."""


def _hear(event: str, args: tuple[object, ...]) -> None:
    if LISTED is not None and event in ("os.listdir", "os.scandir"):
        LISTED.append(str(args[0]))


sys.addaudithook(_hear)


def test_of_many_hosts_only_the_one_that_is_named_is_looked_through(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each host of a nightly run is found once: to read all of them each time took a tenth of the run."""
    wanted = sample(repository)
    others = [sample(repository, host=f"OTHER{number}") for number in range(3)]
    listed: list[str] = []
    monkeypatch.setitem(globals(), "LISTED", listed)
    assert repository.find(f"EXCH01/{wanted.id}") == wanted
    assert any(path.endswith("snapshots") for path in listed), "the listing is not heard"
    assert not [path for path in listed if "OTHER" in path]
    assert repository.find(f"other1/{others[1].id}") == others[1]
    assert any("OTHER" in path for path in listed)


def test_salvage_leaves_a_run_that_began_while_it_looked(tmp_path: Path) -> None:
    """Who is alive is asked after the folders were read: a run is known before it has a folder."""
    repository = Repository.create(tmp_path / "repository")
    partial = tmp_path / "repository" / "partial"
    (partial / "killed" / "EX01").mkdir(parents=True)

    def alive() -> list[str]:
        (partial / "new" / "EX01").mkdir(parents=True)
        return ["other"]

    (partial / "other").mkdir()
    assert repository.salvage(alive) == ["killed"]
    assert sorted(f.name for f in partial.iterdir()) == ["new", "other"]


def test_a_folder_is_made_though_its_parent_is_taken_away_meanwhile(tmp_path: Path) -> None:
    """Two hosts of one run: one leaves the run's folder, the other one enters it."""
    shared = tmp_path / "partial" / "run"
    ended = threading.Event()

    def leave() -> None:
        while not ended.is_set():
            disk_module.leave_folder(shared)

    leaver = threading.Thread(target=leave)
    leaver.start()
    try:
        for number in range(3_000):
            disk_module.make_folder(shared / f"commit-{number}")
            disk_module.leave_folder(shared / f"commit-{number}")
    finally:
        ended.set()
        leaver.join()

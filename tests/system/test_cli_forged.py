"""Repositories that somebody forged or broke: nothing leaves its folder, all is named, the rest goes on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keep_support import AT, Door, backup, contents_of, forge, overwrite, text_of, write_manifest

from exremote.errors import IntegrityError, RepositoryError
from exremote.repository import KeepPolicy, Repository, Snapshot, export

POSIX = os.name == "posix"
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "a" / "b" / "c" / "door")


def outside(door: Door) -> dict[str, bytes]:
    """What lies around the repositories and beside what commands may write."""
    top = door.folder.parents[2]
    inside = ("b/c/door/repository/", "b/c/door/other/", "b/c/door/out/", "b/c/door/state/")
    return {name: data for name, data in contents_of(top).items() if not name.startswith(inside)}


# ---------------------------------------------------------------- names that lead out


def entry(**values: object) -> Change:
    return lambda data: data["entries"][0].update(values)


def document(stored: str) -> Change:
    row = {"stored": stored, "size": 6, "sha256": hashlib.sha256(b"pwned\n").hexdigest()}
    return lambda data: data["documents"].append(row)


def tree(item: str) -> Change:
    row = {"root": "C:\\Conndata", "digest": "", "files": 0, "bytes": 0}
    return lambda data: data["trees"].update({item: row})


LEADS_OUT = {
    "path": (entry(path="..\\..\\..\\escaped.txt"), "path"),
    "path-slash": (entry(path="../../../escaped.txt"), "path"),
    "path-drive": (entry(path="C:\\escaped.txt"), "path"),
    "path-share": (entry(path="\\\\server\\share\\x"), "path"),
    "item": (entry(item="../../../escaped"), "item"),
    "item-absolute": (entry(item="/tmp/escaped"), "item"),
    "stored": (entry(stored="../../../../authorized_keys"), "stored"),
    "stored-inside": (entry(stored="files/../../../../../authorized_keys"), "stored"),
    "stored-absolute": (entry(stored="/tmp/authorized_keys"), "stored"),
    "stored-elsewhere": (entry(stored="manifest.json"), "stored"),
    "document": (document("../../../payload"), "stored"),
    "document-absolute": (document("/tmp/payload"), "stored"),
    "document-in-files": (document("Files/conndata/x"), "stored"),
    "document-in-renamed": (document("renamed/x"), "stored"),
    "sha256": (entry(sha256="../" * 21 + "x"), "sha256"),
    "tree": (tree("../../../../escaped"), "trees"),
    "host": (lambda data: data.update(host="../../escaped"), "host"),
    "connector": (lambda data: data.update(connector="../escaped"), "connector"),
    "run": (lambda data: data.update(run="../../escaped"), "run"),
    "id": (lambda data: data.update(id="../../escaped"), "id"),
}


@pytest.fixture
def baited(door: Door) -> Door:
    """What the forged names mean is there to be read and written: nothing but the check stands in the way."""
    inside = door.place.path / "snapshots" / "EXCH01"
    inside.mkdir()
    for folder in (door.place.path, door.folder, door.folder.parent, door.place.path / "snapshots", inside):
        for name in ("payload", "authorized_keys"):
            (folder / name).write_bytes(b"pwned\n")
    return door


@pytest.mark.parametrize("name", ["path", "stored", "document"])
def test_a_manifest_that_leads_out_of_its_folder_is_damage_for_every_command(baited: Door, name: str) -> None:
    door, (change, field) = baited, LEADS_OUT[name]
    other = Repository.create(door.folder / "other")
    good, bad = backup(door.place, 1, host="EXCH02"), backup(door.place, 2)
    forge(bad, change)
    before = outside(door)
    for command in (
        ("show", bad.id),
        ("diff", good.id, bad.id),
        ("export", bad.id, "--into", "out"),
        ("verify", bad.id),
        ("verify", "--quick"),
        ("copy", "--to", "other"),
    ):
        ran = door(*command, code=13)
        assert "manifest.json" in ran.all, command
        assert f"{field}: " in ran.all, command
    assert [s.id for s in other.snapshots()] == [good.id], "the others go on"
    assert not (door.folder / "out").exists()
    rows = {r["id"]: r for r in door("snapshots", "--sizes", "--json").json}
    assert (rows[bad.id]["state"], rows[good.id]["state"]) == ("damaged", "done")
    assert field in rows[bad.id]["damage"]
    door("forget", "--keep-last", "1", "--yes")
    assert {good.id, bad.id} == set(door.ids())
    assert outside(door) == before


@pytest.mark.parametrize("name", LEADS_OUT)
def test_no_name_of_a_manifest_leads_out_of_its_folder(baited: Door, name: str) -> None:
    door, (change, field) = baited, LEADS_OUT[name]
    other, bad = Repository.create(door.folder / "other"), backup(door.place, 2)
    forge(bad, change)
    before, found = outside(door), door.place.find(bad.id)
    for act in (
        lambda: export(found, door.folder / "out", (), lambda files, size: None),
        lambda: other.receive(found, "run9"),
        lambda: other.lacking(found),
    ):
        with pytest.raises(IntegrityError, match=rf"manifest\.json: .*{field}: "):
            act()
    problem, *_ = door.place.verify(found)
    assert (problem.place.rpartition("/")[2], field in problem.message) == ("manifest.json", True)
    assert outside(door) == before
    assert other.snapshots() == []


@pytest.mark.skipif(not POSIX, reason="links need rights on Windows")
def test_a_link_in_the_repository_leads_no_command_out(door: Door, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    for name in ("EXCH01", "run0/EXCH01"):
        (mine / name).mkdir(parents=True)
        for file in ("notes.jsonl", "notes.done"):
            (mine / name / file).write_bytes(b"mine")
    snapshot = backup(door.place, 1)
    place = door.place.path
    (place / "checks" / "EXCH01").symlink_to(mine / "EXCH01")
    (place / "partial" / "run0").symlink_to(mine / "run0")
    (place / "partial" / "run1").mkdir()
    (place / "partial" / "run1" / "EXCH01").symlink_to(mine / "EXCH01")
    object_ = door.place.object_path(snapshot.manifest.entries[0].sha256)
    object_.rename(mine / "object")
    object_.symlink_to(mine / "object")
    before = contents_of(mine)
    assert not door.place.has(object_.name), "who trusts it lets a snapshot depend on a file elsewhere"
    door.place.salvage(lambda: ())
    door("prune")
    assert contents_of(mine) == before
    assert "is not an ordinary file" in door("verify", code=13).out


# ---------------------------------------------------------------- values of a wrong kind


def head(**values: object) -> Change:
    return lambda data: data.update(values)


WRONG = {
    "size-text": entry(size="6"),
    "size-negative": entry(size=-1),
    "size-flag": entry(size=True),
    "size-huge": entry(size=2**63),
    "secret-text": entry(secret="no"),
    "attributes-text": entry(attributes="32"),
    "stored-number": entry(stored=7),
    "sha256-short": entry(sha256="ab"),
    "modified-zoneless": entry(modified="2026-03-22T10:15:00"),
    "modified-impossible": entry(modified="0001-01-01T00:00:00+14:00"),
    "twice": lambda data: data["entries"].append(data["entries"][0]),
    "twice-folded": entry(stored="FILES/CONNDATA/NOTES.INI"),
    "file-in-file": entry(stored="files/conndata/Notes.ini/x"),
    "entries-object": lambda data: data.update(entries={}),
    "entry-text": lambda data: data["entries"].append("x"),
    "trees-list": lambda data: data.update(trees=[]),
    "tree-number": lambda data: data.update(trees={"conndata": 1}),
    "findings-number": lambda data: data.update(findings=[1]),
    "findings-deep": lambda data: data.update(findings=[{"a": json.loads("[" * 400 + "]" * 400)}]),
    "findings-infinite": lambda data: data.update(findings=[{"a": float("inf")}]),
    "missing-number": lambda data: data.update(missing=[{"path": 1, "reason": 2}]),
    "omitted-more": lambda data: data.update(omitted=[{"path": "a", "reason": "b", "more": 1}]),
    "documents-none": lambda data: data.update(documents=None),
    "no-sums": lambda data: data.update(documents=[]),
    "created-zoneless": head(created="2026-03-24T10:15:00"),
    "created-other": head(created="2027-03-24T10:15:00Z"),
    "created-number": head(created=7),
    "files-text": head(files="a"),
    "files-other": head(files=1),
    "bytes-other": head(bytes=1),
    "complete-text": head(complete="false"),
    "complete-and-missing": lambda data: data.update(missing=[{"path": "a", "reason": "b"}]),
    "kind-unknown": head(kind="half"),
    "kind-list": head(kind=["full"]),
    "host-list": head(host=["EXCH01"]),
    "connector-other": head(connector="notes"),
    "format-flag": head(format=True),
    "software-none": head(software=None),
}


@pytest.mark.parametrize("name", ["size-text", "created-zoneless", "findings-number", "trees-list"])
def test_a_value_of_a_wrong_kind_is_one_damaged_snapshot_and_stops_nobody(door: Door, name: str) -> None:
    good, bad = backup(door.place, 1), backup(door.place, 2)
    forge(bad, WRONG[name])
    rows = {r["id"]: r for r in door("snapshots", "--sizes", "--json").json}
    assert {i: r["state"] for i, r in rows.items()} == {good.id: "done", bad.id: "damaged"}
    assert "cannot be read" in rows[bad.id]["damage"]
    for command in (("show", bad.id), ("export", bad.id, "--into", "out"), ("diff", good.id, bad.id)):
        assert "manifest.json" in door(*command, code=13).err
    assert "manifest.json" in door("verify", code=13).out
    data = door("forget", "--keep-last", "1", "--yes", "--json").json
    assert (data["goes"], len(data["stays"])) == ([], 2)
    assert [r["state"] for r in data["stays"]] == ["done", "damaged"]
    door("prune")
    door("export", good.id, "--into", "out")


@pytest.mark.parametrize("name", WRONG)
def test_no_value_of_a_wrong_kind_is_taken(door: Door, name: str) -> None:
    good, bad = backup(door.place, 1), backup(door.place, 2)
    forge(bad, WRONG[name])
    found = door.place.find(bad.id)
    with pytest.raises(IntegrityError, match=r"manifest\.json: the manifest cannot be read: "):
        _ = found.manifest
    assert door.place.latest("EXCH01", "groupwise") == good
    fates = door.place.fates(KeepPolicy(last=1), door.place.snapshots())
    assert {f.snapshot.id: bool(f.damage) for f in fates} == {good.id: False, bad.id: True}
    assert all(f.kept for f in fates)
    problem, *_ = door.place.verify(found)
    assert problem.place.endswith("manifest.json")


@pytest.mark.parametrize("name", ["manifest.json", "manifest.sha256", "services.json"])
@pytest.mark.skipif(not POSIX, reason="needs named pipes")
def test_a_pipe_in_the_place_of_a_file_is_damage_and_keeps_nobody_waiting(door: Door, name: str) -> None:
    good, bad = backup(door.place, 1), backup(door.place, 2, state="Stopped")
    (bad.path / name).unlink()
    os.mkfifo(bad.path / name)
    place = door.place.path
    os.mkfifo(place / "checks" / "pipe.jsonl")
    (place / "checks" / "EXCH01").mkdir()
    os.mkfifo(place / "checks" / "EXCH01" / f"{bad.id}.jsonl")
    os.mkfifo(place / "runs" / "pipe.jsonl")
    os.mkfifo(place / "locks" / "pipe.lock")
    assert door("snapshots", "--json").json[1]["state"] == "damaged"
    assert "is not an ordinary file" in door("verify", code=13).out
    assert "pipe" in door("runs").out
    assert "nobody can tell" in door("unlock", "--yes").out
    door("diff", good.id, bad.id, code=13)
    door("copy", "--to", str(Repository.create(door.folder / "other").path), code=13)
    door("export", bad.id, "--into", "out", code=13)
    assert [r["id"] for r in door("forget", "--keep-last", "1", "--yes", "--json").json["goes"]] == []


def test_a_finding_that_nobody_knows_is_unknown(door: Door) -> None:
    snapshot = backup(door.place, 1)
    forge(snapshot, lambda data: data.update(findings=[{"verdict": "grim"}, {}]))
    assert door("snapshots", "--json").json[0]["health"] == "unknown"
    door("show", snapshot.id)


def test_a_folder_that_no_host_can_have_is_named_and_stops_nobody(door: Door) -> None:
    snapshot = backup(door.place, 1)
    odd = door.place.path / "snapshots" / "no host"
    shutil.copytree(snapshot.path, odd / snapshot.id)
    assert door("show", snapshot.id).out
    assert len(door("snapshots", "--json").json) == 1
    assert "snapshots/no host\tdoes not belong here" in door("verify", code=13).out
    door("forget", "--keep-last", "1", "--yes")


def test_an_unreadable_record_of_checks_is_one_damaged_snapshot(door: Door) -> None:
    good, bad = backup(door.place, 1), backup(door.place, 2)
    (door.place.path / "checks" / "EXCH01" / f"{bad.id}.jsonl").mkdir(parents=True)
    rows = {r["id"]: r["state"] for r in door("snapshots", "--json").json}
    assert rows == {good.id: "done", bad.id: "damaged"}
    data = door("forget", "--keep-last", "1", "--yes", "--json").json
    assert data["goes"] == []
    assert "record of checks" in data["stays"][1]["damage"]
    rows = {r["id"]: r for r in door("copy", "--to", other(door), "--json", code=13).json["snapshots"]}
    assert (rows[good.id]["state"], rows[bad.id]["state"]) == ("copied", "refused")


def other(door: Door) -> str:
    return str(Repository.create(door.folder / "other").path)


@pytest.mark.parametrize(
    "text",
    [
        "format = true\nid = 'x'",
        "format = 1\nid = 7",
        "format = '1'\nid = 'x'",
        "x = " + "[" * 5000,
        "format = 1\nid = '" + "x" * 100_000 + "'",
    ],
)
def test_a_repository_whose_mark_is_damaged_is_told_in_a_sentence(door: Door, text: str) -> None:
    (door.place.path / "repository.toml").write_text(text)
    assert "repository" in door("snapshots", code=10).err


@pytest.mark.parametrize(
    "fields",
    [
        {"steps": "many"},
        {"steps": ["x"], "outcome": "9" * 5000},
        {"number": [1]},
        {"deep": json.loads("[" * 600 + "]" * 600)},
        {"steps": "1e999"},
    ],
)
def test_a_journal_that_somebody_forged_is_shown_or_named(door: Door, fields: dict[str, object]) -> None:
    previous, lines = "0" * 64, b""
    for n, kind in enumerate(("run-started", "planned", "step-finished", "run-ended")):
        event = {"n": n, "at": "2026-03-22T10:15:00Z", "kind": kind, "previous": previous, **fields}
        line = json.dumps(event).encode().replace(b'"1e999"', b"1e999")
        previous, lines = hashlib.sha256(line).hexdigest(), lines + line + b"\n"
    (door.place.runs_folder / "x.jsonl").write_bytes(lines)
    (door.place.runs_folder / "x.head").write_text(f"{previous} {4:012}\n")
    code = 13 if "deep" in fields else 0
    door("runs", "x", code=code)
    json.loads(door("runs", "x", "--json", code=code).out, parse_constant=pytest.fail)
    door("runs")
    files = ("--html", "x.html", "--junit", "x.xml", "--prometheus", "x.prom")
    answer = json.loads(door("report", "x", *files, "--json").out, parse_constant=pytest.fail)
    assert answer["chain"]["intact"] == (code == 0)


# ---------------------------------------------------------------- anything at all

HOSTILE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.sampled_from(
        [
            *("", "..", "../x", "..\\x", "/x", "C:\\x", "\\\\s\\x", "a/b", "con", "full", "0" * 64),
            *("files/x", "files/conndata/../x", "\0", "\ud800", "x" * 5000),
            *("2026-03-22T10:15:00", "0001-01-01T00:00:00+14:00"),
        ]
    ),
    st.text(max_size=20),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=2),
)


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a tree of JSON."""
    found = [path] if path else []
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return found + [p for key, one in inner for p in places(one, (*path, key))]


@pytest.fixture(scope="module")
def forging(tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, Snapshot, Snapshot, Path]:
    folder = tmp_path_factory.mktemp("a") / "b" / "c"
    place = Repository.create(folder / "repository")
    good, bad = backup(place, 1), backup(place, 2)
    return place, good, bad, folder


def use_all(place: Repository, good: Snapshot, bad: Snapshot, folder: Path) -> None:
    """Do all that a repository can do: a bad snapshot is damage at worst, and nothing lies elsewhere."""
    for left in ("other", "out"):
        shutil.rmtree(folder / left, ignore_errors=True)
    again = Repository.open(place.path)
    assert good.id in {s.id for s in again.snapshots()}
    found = again.find(bad.id)
    assert again.latest("EXCH01", "groupwise", now=AT + timedelta(days=9)) in (good, found)
    fates = again.fates(KeepPolicy(last=1, within=timedelta(days=1)), again.snapshots())
    assert any(f.kept and f.snapshot.id == good.id for f in fates) or not found.damage
    list(again.verify())
    list(again.verify(quick=True))
    again.unused()
    other = Repository.create(folder / "other")
    for act in (
        lambda: export(found, folder / "out", (), lambda files, size: None),
        lambda: other.receive(found, "run9"),
        lambda: [found.document(d) for d in found.manifest.documents],
    ):
        with suppress(RepositoryError):
            act()
    assert list(other.verify()) == []
    assert sorted(p.name for p in folder.iterdir() if p.name != "out") == ["other", "repository"]
    assert sorted(p.name for p in folder.parent.iterdir()) == ["c"]


FUZZ = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@FUZZ
@given(data=st.data())
def test_whatever_a_manifest_says_nothing_crashes_and_nothing_leaves_its_folder(
    forging: tuple[Repository, Snapshot, Snapshot, Path], data: st.DataObject
) -> None:
    place, good, bad, folder = forging
    text = (bad.path / "manifest.json").read_bytes()
    try:
        said = json.loads(text)
        for _ in range(data.draw(st.integers(1, 3))):
            *way, last = data.draw(st.sampled_from(places(said)))
            home = said
            for key in way:
                home = home[key]
            if isinstance(home, dict) and data.draw(st.integers(0, 9)) == 0:
                del home[last]
            else:
                home[last] = data.draw(HOSTILE)
        write_manifest(bad, text_of(said))
        use_all(place, good, bad, folder)
    finally:
        write_manifest(bad, text)


@FUZZ
@given(at=st.integers(0, 3000), junk=st.binary(min_size=1, max_size=12), cut=st.booleans())
def test_whatever_bytes_a_manifest_has_nothing_crashes(
    forging: tuple[Repository, Snapshot, Snapshot, Path], at: int, junk: bytes, cut: bool
) -> None:
    place, good, bad, folder = forging
    text = (bad.path / "manifest.json").read_bytes()
    try:
        at %= len(text)
        write_manifest(bad, text[:at] + junk + (b"" if cut else text[at + len(junk) :]))
        use_all(place, good, bad, folder)
    finally:
        write_manifest(bad, text)


@FUZZ
@given(data=HOSTILE, key=st.sampled_from(["owner", "host", "pid", "born", "run", "since", "token", "boot"]))
def test_whatever_a_lock_says_it_is_shown_and_stands(
    forging: tuple[Repository, Snapshot, Snapshot, Path], data: object, key: str
) -> None:
    place, _, _, _ = forging
    path = place.path / "locks" / "run.lock"
    with place.lock("a"):
        said = json.loads(path.read_bytes()) | {key: data}
        overwrite(path, json.dumps(said).encode())
        os.utime(path, (2**40, 2**40))
        (lock,) = place.locks()
        try:
            with place.lock("b"):
                assert lock.dead, "taken over, though nobody said that it is dead"
        except RepositoryError:
            pass
        path.unlink(missing_ok=True)

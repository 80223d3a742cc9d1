"""Bad days on our own disk: locked, not ours, full, damaged. And what a verification finds."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NOT_UNDER_WINE, ROOT, Cli, World

from exremote.lab.client import RunningLab

pytestmark = pytest.mark.not_under_wine("apart")

HOST = "EXGW01"


@pytest.fixture(scope="module")
def kept(lab: RunningLab, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Return a repository with snapshots and a check; each test that damages it mends it."""
    if engine == "powershell":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['local']}")
    cli = Cli(lab, tmp_path_factory.mktemp("kept"))
    cli.inventory("EXNOTES01", HOST)
    cli.init()
    cli("backup")
    cli("backup", HOST)
    yield cli


def flip(path: Path, where: float) -> bytes:
    """Turn one bit of a file over. Return what it held before."""
    old = path.read_bytes()
    place = min(int(len(old) * where), len(old) - 1)
    put(path, old[:place] + bytes([old[place] ^ 1]) + old[place + 1 :])
    return old


def put(path: Path, data: bytes) -> None:
    """Write over a file in place, write-protected or not: hard links show it, too."""
    mode = path.stat().st_mode
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.write(data)
        file.truncate()
    path.chmod(mode)


KINDS = (
    ("manifest.json", 0.0),
    ("manifest.json", 0.5),
    ("manifest.json", 1.0),
    ("manifest.sha256", 0.0),
    ("manifest.sha256", 1.0),
    ("SHA256SUMS", 0.5),
    ("services.json", 0.0),
    ("facts.json", 1.0),
    ("trees/*.tsv", 0.5),
    ("registry/groupwise-connector.reg", 0.0),
    ("files/conndata/Tables/lab0003.tbl", 1.0),
    ("files/exchconn-ini/*", 0.5),
)


@pytest.mark.parametrize(("kind", "where"), KINDS)
def test_one_flipped_bit_is_found_and_named(kept: Cli, kind: str, where: float) -> None:
    """Wherever it is: 13, and the file by its name; snapshots beside it are not accused."""
    folder = kept.folder_of(HOST, "groupwise")
    path = next(p for p in sorted(folder.glob(kind)) if p.is_file())
    old = flip(path, where)
    try:
        ran = kept("verify", "--json", code=13)
        places = [p["place"] for p in ran.json["problems"]]
        assert path.relative_to(kept.repository).as_posix() in places
        # Another snapshot is accused only if it has the very same file, by a hard link.
        others = [p for p in places if p.startswith("snapshots/") and f"/{folder.name}/" not in p]
        assert all((kept.repository / other).samefile(path) for other in others), others
        if kind.startswith("files/"):  # `show` knows what was found, as `snapshots` does
            assert kept("show", f"{HOST}/{folder.name}", "--json").json["state"] == "damaged"
            assert re.search(r"^state +damaged: \S", kept("show", f"{HOST}/{folder.name}").out, re.MULTILINE)
    finally:
        put(path, old)


def test_after_mending_nothing_is_found(kept: Cli) -> None:
    assert "no damage" in kept("verify").out


def test_damage_is_told_to_a_person_too(kept: Cli) -> None:
    """One line a problem, with what it should be; the damaged snapshot is still listed."""
    folder = kept.folder_of(HOST, "groupwise")
    old = flip(folder / "manifest.json", 0.5)
    try:
        ran = kept("verify", code=13)
        assert f"snapshots/{HOST}/{folder.name}/manifest.json" in ran.out
        assert re.search("not (be )?trust", ran.err)
        ran = kept("snapshots", code=None)
        assert ran.code in (0, 13)
        assert "Traceback" not in ran.all
        kept("verify", "2", code=None)
    finally:
        put(folder / "manifest.json", old)


@pytest.mark.parametrize("kind", ["services.json", "files/conndata/Tables/lab0003.tbl", "manifest.json"])
def test_a_missing_file_is_found_even_quickly(kept: Cli, kind: str) -> None:
    path = kept.folder_of(HOST, "groupwise") / kind
    hidden = kept.folder / "hidden"
    path.rename(hidden)
    try:
        ran = kept("verify", "--quick", "--json", code=13)
        assert path.relative_to(kept.repository).as_posix() in [p["place"] for p in ran.json["problems"]]
    finally:
        hidden.rename(path)


def test_a_file_too_many_is_found(kept: Cli) -> None:
    path = kept.folder_of(HOST, "groupwise") / "files/conndata/Tables/stranger.tbl"
    path.write_bytes(b"who am I")
    try:
        assert "stranger.tbl" in kept("verify", code=13).out
    finally:
        path.unlink()


def test_quick_looks_at_names_and_sizes_only(kept: Cli) -> None:
    path = kept.folder_of(HOST, "groupwise") / "files/conndata/Tables/lab0003.tbl"
    old = flip(path, 0.5)
    try:
        assert "names and sizes" in kept("verify", "--quick").out
        put(path, old[:-1])
        kept("verify", "--quick", code=13)
    finally:
        put(path, old)


def test_a_damaged_object_that_no_snapshot_shares_is_found(kept: Cli) -> None:
    """The next backup would build on it."""
    path = next(p for p in sorted((kept.repository / "objects").rglob("*")) if p.is_file())
    old = flip(path, 0.0)
    try:
        assert path.name in kept("verify", code=13).out
    finally:
        put(path, old)


def test_only_the_named_snapshot_is_verified(kept: Cli) -> None:
    """By the beginning of its id, too; damage elsewhere is not its own."""
    bad, good = kept.folder_of(HOST, "groupwise"), kept.folder_of("EXNOTES01", "calendar")
    path = bad / "services.json"
    old = flip(path, 0.5)
    try:
        kept("verify", bad.name, code=13)
        assert re.match("1 snapshots? verified", kept("verify", good.name).out)
        assert re.match("1 snapshots? verified", kept("verify", good.name[:-3]).out)
    finally:
        put(path, old)
    assert "19990101" in kept("verify", "19990101", code=12).err
    assert kept("verify", "2", code=2).err  # the beginning of many


def test_a_journal_that_was_written_in_is_told(kept: Cli) -> None:
    journal = max((kept.repository / "runs").glob("*.jsonl"))
    old = journal.read_bytes()
    put(journal, old.replace(b"EXGW01", b"EXGW02", 1))
    try:
        assert "damaged" in kept("runs").out
        ran = kept("runs", journal.stem, code=13)
        assert journal.stem in ran.err
        assert "this journal is damaged: line" in ran.err
        assert "delete it and its .head" in ran.err
        assert kept("runs", journal.stem, "--json", code=13).json["intact"] is False
    finally:
        put(journal, old)
    kept("runs", journal.stem)


# ------------------------------------------------------------------ no repository, not ours, locked


@pytest.mark.not_under_wine("time")
def test_no_repository_is_made_by_accident(cli: Cli) -> None:
    ran = cli("backup", HOST, code=10)
    assert str(cli.repository) in ran.err
    assert "init" in ran.err
    assert not cli.repository.exists()


@pytest.mark.not_under_wine("time")
def test_a_folder_that_is_not_ours_is_left_alone(cli: Cli) -> None:
    cli.repository.mkdir()
    (cli.repository / "letter.txt").write_text("dear all")
    for verb in ("init", "backup", "verify", "snapshots"):
        assert str(cli.repository) in cli(verb, code=10).err
    assert [p.name for p in cli.repository.iterdir()] == ["letter.txt"]


@pytest.mark.not_under_wine("time")
def test_init_does_not_make_it_twice(cli: Cli) -> None:
    cli("init")
    before = (cli.repository / "repository.toml").read_bytes()
    cli("init", code=10)
    assert (cli.repository / "repository.toml").read_bytes() == before


HOLD = """
import sys, time
from pathlib import Path
from exremote.repository import Repository
with Repository.open(Path(sys.argv[1])).lock("the other run", name=sys.argv[2]):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.not_under_wine("time")
def test_a_host_that_another_run_writes_is_refused_and_others_are_not(cli: Cli) -> None:
    """11, with who holds it. When that process is dead, its lock is taken over."""
    cli.inventory("EXNOTES01", HOST)
    cli.init()
    holder = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(HOLD), str(cli.repository), f"host-{HOST}"],
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        ran = cli("backup", HOST, code=11)
        assert "the other run" in ran.all
        assert str(holder.pid) in ran.all
        cli("backup", "EXNOTES01")
    finally:
        holder.kill()
        holder.wait()
    cli("backup", HOST)


# ------------------------------------------------------------------ no room


def little_room(size: int) -> None:
    """Let no file grow beyond this size: every write behind it fails, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@pytest.mark.not_under_wine("time")
def test_a_disk_that_fills_up(cli: Cli, world: World) -> None:
    """10, one sentence with the place, no half snapshot, the earlier one as it was; with room all is well."""
    cli.inventory("EXBIG01")
    cli.init()
    cli("backup", "--only", "calendar")
    before = cli.snapshots()
    ran = cli("backup", "--only", "groupwise", code=10, before=lambda: little_room(120_000))
    assert "EXBIG01" in ran.all
    assert str(cli.repository) in ran.all
    assert "the disk is full" in ran.all
    assert "earlier snapshots are intact" in ran.all
    assert cli.snapshots() == before
    cli("verify")
    cli("backup", "--only", "groupwise")
    cli("verify")


@pytest.mark.not_under_wine("time")
def test_a_disk_without_room_for_a_journal(cli: Cli) -> None:
    cli.init()
    ran = cli("backup", HOST, code=10, before=lambda: little_room(64))
    assert str(cli.repository) in ran.all
    assert cli.snapshots() == []


@pytest.mark.not_under_wine("time")
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_an_output_that_is_full(cli: Cli) -> None:
    """Standard output on a full disk is an error, no success."""
    cli.init()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            cli.command("snapshots", "--json"),
            env=cli.environment,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode != 0


@pytest.mark.not_under_wine("time")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_repository_that_may_not_be_written(cli: Cli) -> None:
    cli.init()
    runs = cli.repository / "runs"
    runs.chmod(0o500)
    try:
        assert str(cli.repository) in cli("backup", HOST, code=10).err
    finally:
        runs.chmod(0o700)


@pytest.mark.not_under_wine("time")
def test_a_repository_of_a_newer_format_is_not_touched(cli: Cli) -> None:
    cli.init()
    head = cli.repository / "repository.toml"
    text = head.read_text()
    head.chmod(0o600)
    head.write_text(text.replace("format = 1", "format = 99"))
    assert "99" in cli("backup", HOST, code=10).err


@pytest.mark.not_under_wine("time")
def test_a_repository_copied_without_hard_links_is_as_good(cli: Cli, tmp_path: Path) -> None:
    cli.inventory(HOST)
    cli.init()
    cli("backup")
    shutil.copytree(cli.repository, cli.folder / "copy")
    shutil.rmtree(cli.repository)
    (cli.folder / "copy").rename(cli.repository)
    cli("verify")
    (host,) = cli("backup", "--json").json["hosts"]
    assert host["sent_files"] == 0
    assert json.dumps(host)


def test_what_has_no_object_any_more_is_not_called_unchanged(
    lab: RunningLab, engine: str, tmp_path: Path
) -> None:
    """The snapshots still have their files; new ones could not be made of them, and a copy not either."""
    if engine == "powershell":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['local']}")
    cli = Cli(lab, tmp_path)
    cli.inventory(HOST)
    cli.init()
    cli("backup")
    shutil.rmtree(cli.repository / "objects")
    assert [p["place"] for p in cli("verify", "--json", code=13).json["problems"]] == ["objects"]
    (host,) = cli("backup", "--json").json["hosts"]
    assert {s["state"] for s in host["snapshots"]} == {"new"}
    assert host["sent_files"]
    assert any("damaged" in warning for warning in host["warnings"])
    cli("verify")
    (host,) = cli("backup", "--json").json["hosts"]
    assert {s["state"] for s in host["snapshots"]} == {"unchanged"}


def test_a_snapshot_that_somebody_took_away_is_missed(lab: RunningLab, engine: str, tmp_path: Path) -> None:
    if engine == "powershell":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['local']}")
    cli = Cli(lab, tmp_path)
    cli.inventory(HOST)
    cli.init()
    cli("backup")
    taken = cli.folder_of(HOST, "groupwise")
    taken.rename(tmp_path / "taken")
    (problem,) = cli("verify", "--json", code=13).json["problems"]
    assert problem["place"] == f"snapshots/{HOST}/{taken.name}"
    (tmp_path / "taken").rename(taken)
    cli("verify")

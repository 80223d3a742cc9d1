"""The commands that keep a repository: forget, prune, unlock; and what all of its commands refuse."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Cli, World
from keep_support import Door, backup, damage

from exremote.repository import Repository, Snapshot
from exremote.repository.system import this_system

pytestmark = pytest.mark.not_under_wine("apart")

KEEPING = ("show", "diff", "forget", "prune", "copy", "export", "unlock")


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("args", "code", "sentence"),
    [
        (["show"], 2, "SNAPSHOT"),
        (["show", "1999"], 12, "there is no snapshot '1999'"),
        (["show", "../../etc/1999"], 12, "there is no snapshot '../../etc/1999'"),
        (["diff", "2026"], 2, "'B'"),
        (["diff", "2026", "1999"], 2, "is the beginning of 2 snapshots"),
        (["forget"], 2, "Without a policy nothing is forgotten"),
        (["forget", "--keep-last", "0", "--yes"], 2, "Without a policy nothing is forgotten"),
        (["forget", "--keep-last", "-1"], 2, "--keep-last"),
        (["forget", "--keep-daily", "many"], 2, "--keep-daily"),
        (["forget", "--keep-within", "14"], 2, "'14' is no duration"),
        (["forget", "--keep-within", "3m"], 2, "'3m' is no duration"),
        (["forget", "--keep-within", ""], 2, "is no duration"),
        (["forget", "2026", "--keep-last", "1"], 2, "not both"),
        (["forget", "2026", "--host", "EXCH01"], 2, "not both"),
        (["forget", "1999", "--yes"], 12, "there is no snapshot '1999'"),
        (["forget", "--keep-last", "1", "--host", "EXCH09"], 12, "no snapshot of the host EXCH09"),
        (["forget", "--keep-last", "1", "--connector", "lotus"], 12, "no snapshot of the connector lotus"),
        (["prune", "everything"], 2, "unexpected extra argument"),
        (["copy"], 2, "--to"),
        (["copy", "--to", "nowhere"], 10, "exremote init"),
        (["copy", "--to", "repository"], 2, "one and the same repository"),
        (["export", "2026"], 2, "--into"),
        (["export", "1999", "--into", "out"], 12, "there is no snapshot"),
        (["export", "20260323", "--into", "."], 2, "not an empty folder"),
        (["export", "20260323", "--into", "repository/out"], 2, "lies in the repository"),
        (["export", "20260323", "--into", "out", "--item", "x"], 2, "has no item x"),
        (["unlock", "host-EXCH01"], 2, "There is no lock host-EXCH01"),
        (["snapshots", "--state", "good"], 2, "--state"),
        (["snapshots", "--since", "yesterday"], 2, "--since"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_ends_in_a_sentence_and_changes_nothing(
    two_snapshots: Door, args: list[str], code: int, sentence: str
) -> None:
    before = two_snapshots.ids()
    ran = two_snapshots(*args, code=code)
    assert sentence in ran.err.replace("\n", " ")
    assert two_snapshots.ids() == before
    assert not (two_snapshots.folder / "out").exists()
    assert list(two_snapshots.place.runs_folder.iterdir()) == []


@pytest.fixture(scope="module")
def two_snapshots(tmp_path_factory: pytest.TempPathFactory) -> Door:
    """A repository that no test of this kind changes."""
    door = Door(tmp_path_factory.mktemp("bad"))
    backup(door.place, 1)
    backup(door.place, 2)
    return door


@pytest.mark.parametrize("command", KEEPING)
def test_without_a_repository_every_command_says_how_to_name_one(command: str, tmp_path: Path) -> None:
    door = Door(tmp_path)
    shutil.rmtree(door.place.path)
    more = {"show": ["x"], "diff": ["x", "y"], "forget": ["--keep-last", "1"], "copy": ["--to", "y"]}
    more["export"] = ["x", "--into", "y"]
    ran = door(command, *more.get(command, []), code=10)
    assert "exremote init" in ran.err.replace("\n", " ")
    assert not door.place.path.exists()


# ---------------------------------------------------------------- forget and prune


def test_forget_shows_asks_and_takes_out_what_the_policy_leaves(door: Door) -> None:
    for day in range(4):
        backup(door.place, day)
    backup(door.place, 0, host="EXCH02")
    ids = door.ids()
    dry = door("forget", "--keep-last", "2", "--dry-run", "--json").json
    assert {r["id"] for r in dry["goes"]} == set(ids) - {r["id"] for r in dry["stays"]}
    assert len(dry["goes"]) == 2
    assert all(row["why"] for row in dry["stays"])
    assert "2 of 5 snapshots would go" in door("forget", "--keep-last", "2", "-n").out
    ran = door("forget", "--keep-last", "2", code=4)
    assert "there is no terminal to ask at" in ran.err
    door("forget", "--keep-last", "2", code=4, typed="no\n")
    door("forget", "--keep-last", "2", code=4, typed="\n")
    assert door.ids() == ids
    assert list(door.place.runs_folder.iterdir()) == []
    ran = door("forget", "--keep-last", "2", "--host", "exch01", typed="y\n")
    assert "Forget 2 of 4 snapshots? [y/N]\n" in ran.err  # whole lines alone pass a pipe
    assert "2 snapshots forgotten" in ran.out
    gone = [e["snapshot"] for e in door.events("forget") if e["kind"] == "forgotten"]
    assert set(ids) - set(door.ids()) == set(gone) == {r["id"] for r in dry["goes"]}
    door.whole()
    assert "none of 3 snapshots goes" in door("forget", "--keep-last", "2").out


def test_forget_and_prune_at_once_give_the_room_back(door: Door) -> None:
    for day in range(3):
        backup(door.place, day)
    only = [s.manifest.entries[0] for s in door.place.snapshots()[:2]]
    data = door("forget", "--keep-last", "1", "--prune", "--yes", "--json").json
    assert (len(data["goes"]), data["pruned"]["objects"]) == (2, 2)
    assert data["pruned"]["bytes"] == sum(e.size for e in only)
    assert not any(door.place.has(e.sha256) for e in only)
    door.whole()
    assert door("prune", "--json").json["objects"] == 0


def test_the_newest_complete_one_is_never_forgotten(door: Door) -> None:
    old, newest = backup(door.place, 1), backup(door.place, 2)
    later = backup(door.place, 3, complete=False)
    hurt = backup(door.place, 4)
    damage(hurt.path / "manifest.json")
    ran = door("forget", old.id, newest.id, "--yes", code=4)
    assert f"EXCH01/{newest.id} is the newest complete one" in ran.err.replace("\n", " ")
    assert len(door.ids()) == 4
    door("forget", "--keep-last", "1", "--yes")
    assert door.ids() == [newest.id, later.id, hurt.id]
    door("forget", hurt.id, later.id, "--yes")
    assert door.ids() == [newest.id]
    door.whole()


def test_prune_counts_first_and_then_deletes(door: Door) -> None:
    first = backup(door.place, 1)
    backup(door.place, 2)
    door("forget", "--keep-last", "1", "--yes")
    with door.place.staging("killed", "EXCH01") as staging:
        staging.writer("half").write(bytes(1000))
    size = first.manifest.entries[0].size
    dry = door("prune", "--dry-run", "--json").json
    assert (dry["objects"], dry["bytes"], dry["leftovers"], dry["leftover_bytes"]) == (1, size, 1, 1000)
    assert (dry["kept_objects"], dry["dry_run"]) == (3, True)
    assert "1 object would go" in door("prune", "-n").out
    ran = door("prune")
    assert ran.out.splitlines() == [
        "1 object deleted, 1.7 KiB",
        "1 leftover of ended runs deleted, 1000 B",
        "3 objects stay, 3.3 KiB",
    ]
    (pruned,) = [e for e in door.events("prune") if e["kind"] == "pruned"]
    assert (pruned["objects"], pruned["bytes"]) == (1, size)
    assert "0 objects deleted" in door("prune").out
    door.whole()


def test_forget_and_prune_wait_for_nobody_who_works_here(door: Door) -> None:
    backup(door.place, 1)
    backup(door.place, 2)
    before = door.ids()
    with door.place.lock("exremote backup", name="host-EXCH09"):
        for args in (["forget", "--keep-last", "1", "--yes"], ["prune"]):
            ran = door(*args, code=11)
            assert "locked by exremote backup" in ran.err
        door("prune", "--dry-run")
    assert door.ids() == before
    assert door.events("prune")[-1]["outcome"] == "11"
    door("forget", "--keep-last", "1", "--yes")


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
@pytest.mark.parametrize("verb", ["forget", "prune"])
def test_a_killed_one_is_followed_by_one_that_takes_its_lock_over(door: Door, verb: str) -> None:
    backup(door.place, 1)
    newest = backup(door.place, 2)
    code = (
        "import os, signal, sys\n"
        "from exremote.cli import main\n"
        "real = os.unlink\n"
        "def die(path, *a, **m):\n"
        "    if 'objects' in str(path) or 'forgotten' in str(path): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return real(path, *a, **m)\n"
        "os.unlink = die\n"
        "main()\n"
    )
    args = ["forget", "--keep-last", "1", "--yes"]
    if verb == "prune":
        door(*args)
        args = ["prune"]
    done = subprocess.run([sys.executable, "-c", code, *args], env=door.environment, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert door.ids() == [newest.id]
    assert list(door.place.verify()) == []
    ran = door("prune")
    assert f"took over the lock of exremote {verb}" in ran.err
    assert "1 leftover" in ran.out or verb == "prune"
    door.whole()
    assert list((door.place.path / "partial").iterdir()) == []


def test_what_is_forgotten_while_it_is_verified_is_no_damage(door: Door) -> None:
    """Both run for hours where there is much, by clocks of their own."""
    old, new = backup(door.place, 1), backup(door.place, 2)
    code = (
        "import subprocess, sys\n"
        "from exremote.cli import main\n"
        "from exremote.repository import disk\n"
        "real, when = disk.digest_of, sys.argv.pop(1)\n"
        "def slow(path):\n"
        "    if when in str(path):\n"
        "        disk.digest_of = real\n"
        "        args = ['forget', '--keep-last', '1', '--prune', '--yes']\n"
        "        subprocess.run([sys.executable, '-m', 'exremote', *args], check=True, capture_output=True)\n"
        "    return real(path)\n"
        "disk.digest_of = slow\n"
        "main()\n"
    )
    line = [sys.executable, "-c", code, f"{old.id}/files", "verify"]
    done = subprocess.run(line, env=door.environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "1 snapshot verified (every byte): no damage\n"), done
    assert f"EXCH01/{old.id} was forgotten while it was verified" in done.stderr
    assert not (door.place.path / "damage").exists()
    assert door.ids() == [new.id]


# ---------------------------------------------------------------- unlock


def write_lock(door: Door, name: str, **changes: object) -> Path:
    """Write the lock of a process of this machine that is gone, but for `changes`."""
    data = {"owner": "exremote backup", "host": socket.gethostname(), "pid": 2**22 + 1, "born": "x"}
    here = this_system()
    data |= {"run": "run1", "since": "2026-03-22T10:15:00Z", "token": "t"}
    data |= {"machine": here.machine, "boot": here.boot, "space": here.space, **changes}
    path = door.place.path / "locks" / f"{name}.lock"
    path.write_text(json.dumps(data))
    three_hours_ago = time.time() - 3 * 3600 - 60
    os.utime(path, (three_hours_ago, three_hours_ago))
    return path


def test_unlock_removes_what_the_dead_left_and_asks_about_other_machines(door: Door) -> None:
    assert door("unlock").out == "no locks\n"
    dead, far = write_lock(door, "host-EXCH01"), write_lock(door, "host-EXCH02", host="jump2")
    ran = door("unlock", code=4)
    assert "there is no terminal to ask at" in ran.err
    assert "3 hours ago" in ran.out
    assert "process 4194305 on jump2" in ran.out
    assert not dead.exists()
    assert far.exists()
    door("unlock", code=4, typed="n\n")
    assert far.exists()
    older = write_lock(door, "host-EXCH03", machine="", boot="", space="")
    ran = door("unlock", code=4, typed="n\n")
    assert ran.out.count("of another machine or container") == 2
    assert older.exists(), "an older exremote did not say of which system it is"
    assert "removed: host-EXCH02, host-EXCH03" in door("unlock", typed="yes\n").out
    assert not far.exists()
    far = write_lock(door, "repository", host="jump2")
    far.write_text("{")
    data = door("unlock", "repository", "--yes", "--json").json
    assert data["removed"] == ["repository"]
    assert data["locks"][0]["state"] == "nobody can tell"
    assert door.events("unlock")


def test_unlock_asks_about_runs_of_other_machines_which_else_live_for_ever(door: Door) -> None:
    backup(door.place, 1)
    left = door.place.path / "partial" / "20260322T101500Z-abcdef"
    left.mkdir()
    (left / "x.part").write_bytes(b"half a file")
    lock = write_lock(door, left.name, host="jump2")
    lock = lock.rename(door.place.runs_folder / lock.name)
    door("prune")
    assert left.exists(), "for all we know, that run is alive"
    ran = door("unlock", code=4)
    assert "3 hours ago" in ran.out
    assert "on jump2" in ran.out
    assert lock.exists()
    door("unlock", "host-EXCH01", code=2)
    assert door("unlock", left.name, "--yes", "--json").json["removed"] == [left.name]
    assert not lock.exists()
    assert "1 leftover" in door("prune").out
    assert not left.exists()
    assert door("unlock").out == "no locks\n", "neither the dead one nor our own"


def test_unlock_never_takes_a_living_process_its_lock(door: Door) -> None:
    with door.place.lock("exremote backup", name="host-EXCH01"):
        ran = door("unlock", "--yes", code=11)
        assert "that process is alive" in ran.err
        assert [lock.name for lock in door.place.locks()] == ["host-EXCH01"]


def test_a_lock_of_another_machine_is_told_with_its_age(door: Door) -> None:
    write_lock(door, "host-EXCH02", host="jump2")
    ran = door("prune", code=11)
    assert "on jump2" in ran.err
    assert "3 hours ago" in ran.err
    assert "exremote unlock" in ran.err.replace("\n", " ")


# ---------------------------------------------------------------- what another one is forgotten for


def lose(door: Door, snapshot: Snapshot) -> None:
    """Take a file of a snapshot away, under all its names."""
    first = snapshot.manifest.entries[0]
    (snapshot.path / first.stored).unlink()
    door.place.object_path(first.sha256).unlink()


def test_a_snapshot_without_its_files_is_no_reason_to_forget_a_good_one(door: Door) -> None:
    oldest, good, broken = (backup(door.place, day) for day in (1, 2, 3))
    lose(door, broken)
    ran = door("forget", "--keep-last", "1", "--dry-run")
    assert f"damaged: EXCH01/{broken.id}: " in ran.err
    assert "Amap.tbl is missing" in ran.err.replace("\n", " ")
    data = door("forget", "--keep-last", "1", "--prune", "--yes", "--json").json
    assert [r["id"] for r in data["goes"]] == [oldest.id]
    assert {r["id"]: r["state"] for r in data["stays"]} == {good.id: "done", broken.id: "damaged"}
    assert door.ids() == [good.id, broken.id]
    assert list(door.place.verify(good)) == []


@pytest.mark.parametrize(
    "policy", [("--keep-daily", "1"), ("--keep-monthly", "1"), ("--keep-within", "1h"), ("--keep-last", "2")]
)
def test_no_policy_rests_on_snapshots_without_their_files(door: Door, policy: tuple[str, str]) -> None:
    good, *broken = (backup(door.place, day) for day in (1, 2, 3))
    for snapshot in broken:
        lose(door, snapshot)
    door("forget", *policy, "--yes")
    assert door.ids()[0] == good.id


def test_the_newest_one_that_is_all_there_is_not_forgotten_by_name(door: Door) -> None:
    oldest, good, broken = (backup(door.place, day) for day in (1, 2, 3))
    lose(door, broken)
    err = door("forget", good.id, "--yes", code=4).err.replace("\n", " ")
    assert f"EXCH01/{good.id} is the newest complete one, {broken.id} being damaged" in err
    door("forget", broken.id, "--yes")
    door("forget", oldest.id, "--yes")
    assert door.ids() == [good.id]


def test_a_secret_that_others_may_read_is_no_lost_snapshot(door: Door) -> None:
    old, new = backup(door.place, 1), backup(door.place, 2)
    door.place.path.chmod(0o755)
    (new.path / "files/conndata/Notes.ini").chmod(0o444)
    door("forget", "--keep-last", "1", "--yes")
    assert door.ids() == [new.id]
    assert old.id not in door.ids()


def test_a_policy_longer_than_the_calendar_keeps_all(door: Door) -> None:
    backup(door.place, 1)
    backup(door.place, 2)
    door("forget", "--keep-within", "99999y", "--yes")
    assert len(door.ids()) == 2


# ---------------------------------------------------------------- with hosts


def test_a_backup_is_refused_while_the_whole_repository_is_locked(cli: Cli) -> None:
    cli.inventory("EXNOTES01")
    cli.init()
    with Repository.open(cli.repository).lock("exremote prune", name="repository"):
        ran = cli("backup", code=11)
    assert "locked by exremote prune" in ran.all.replace("\n", " ")
    cli("backup")


def test_a_life_of_a_repository(cli: Cli, world: World) -> None:
    """Backup, change, backup, diff, forget, prune, copy, and a backup into the copy sends nothing."""
    cli.inventory("EXNOTES01")
    cli.init()
    cli("backup", "--only", "notes")
    first = Path(cli.folder_of("EXNOTES01", "notes")).name
    world.write("EXNOTES01", r"C:\Program Files\Exchsrvr\Conndata\Dxamex\Amap.tbl", b"another mapping")
    cli("backup", "--only", "notes")
    second = next(s["id"] for s in cli.snapshots() if s["id"] != first)
    changes = cli("diff", first, second, "--json").json["changes"]
    assert [(c["what"], c["kind"], c["name"].lower()) for c in changes] == [
        ("changed", "file", "dxamex\\amap.tbl")
    ]
    cli("forget", "--keep-last", "1", "--prune", "--yes")
    assert [s["id"] for s in cli.snapshots()] == [second]
    cli("verify")
    copy = Repository.create(cli.folder / "copy")
    cli("copy", "--to", str(copy.path))
    cli("verify", "--repository", str(copy.path))
    ran = cli("backup", "--only", "notes", "--repository", str(copy.path), "--json")
    assert [s["state"] for s in ran.json["hosts"][0]["snapshots"]] == ["unchanged"]
    assert ran.json["hosts"][0]["sent_files"] == 0
    cli("export", second, "--into", str(cli.folder / "out"), "--repository", str(copy.path))
    shutil.rmtree(cli.folder / "out")

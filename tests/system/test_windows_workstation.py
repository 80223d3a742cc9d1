"""exremote on a workstation with Windows: CPython for Windows under Wine, against a lab on this machine.

Its paths, locks, hard links, replacing of files, and what it takes for a terminal are those of Windows; the
log-on (SSPI) and access lists only a real one has. tools/windows_python makes such a Python.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import ClassVar

import pytest
from conftest import CONNDATA, ROOT, Cli, World
from warm_door import WarmDoor

from exremote.lab.client import RunningLab, running_lab
from exremote.lab.site import HostSpec
from exremote.repository import Repository

PYTHON = os.environ.get("EXREMOTE_WINDOWS_PYTHON")
pytestmark = pytest.mark.skipif(not PYTHON, reason="EXREMOTE_WINDOWS_PYTHON names no Python for Windows")
HOST = "EXNOTES01"
AMAP = rf"{CONNDATA}\Dxamex\Amap.tbl"
DAMAGED = b"not the table"
DO = ("--yes", "--grace", "0")


def windows(path: PurePath) -> str:
    """Given a path of this machine, return what Wine calls it."""
    return "Z:" + str(path).replace("/", "\\")


@dataclass
class Workstation(Cli):
    """The command line of a workstation with Windows, in a folder of this machine."""

    warm: ClassVar[WarmDoor | None] = None

    def command(self, *args: str) -> list[str]:
        """Return the command line."""
        assert PYTHON is not None
        return [PYTHON, "-m", "exremote", *args]

    @property
    def environment(self) -> dict[str, str]:
        """Return what a command gets, as Windows spells it."""
        usual = super().environment
        return usual | {
            "EXREMOTE_INVENTORY": windows(self.folder / "site.toml"),
            "PYTHONPATH": windows(ROOT),
        }


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    """Run a lab of one host, on this machine."""
    with running_lab((HostSpec(HOST, ("notes", "calendar")),)) as lab:
        yield lab


@pytest.fixture
def world(lab: RunningLab) -> Iterator[World]:
    """Return the lab, without faults and shells after the test."""
    changed = World(lab, "simulated")
    yield changed
    changed.client.clear_faults()
    assert changed.no_shell() == {}


@pytest.fixture
def cli(lab: RunningLab, tmp_path: Path) -> Iterator[Cli]:
    """Return the command line with an inventory and a repository that it made itself."""
    cli = Workstation(lab, tmp_path)
    path = cli.inventory(HOST)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(f"'{cli.repository}'", f"'{windows(cli.repository)}'"), encoding="utf-8")
    cli("init")
    yield cli
    assert cli.leaks() == []


def test_a_night_and_the_repository_is_read_on_linux(cli: Cli, world: World) -> None:
    """Two backups; what Windows wrote is whole to Linux, and as it lies on the host."""
    for name in ("con.tbl", "Aux"):  # to Windows, names of devices
        world.write(HOST, rf"{CONNDATA}\Dxamex\{name}", name.encode())
    (row,) = cli("backup", "--json").json["hosts"]
    assert (row["state"], row["exit_code"]) == ("done", 0)
    assert "notes unchanged" in cli("backup").out
    assert "no damage" in cli("verify").out
    repository = Repository.open(cli.repository)
    (snapshot,) = repository.snapshots(HOST, "notes")
    rights = "others than its owner may read it"  # Wine has no access lists
    assert [p for p in repository.verify(snapshot) if p.message != rights] == []
    saved = {e.path: e for e in snapshot.manifest.entries}
    assert snapshot.file(saved[r"Dxamex\Amap.tbl"]).read_bytes() == world.read(HOST, AMAP)
    assert saved[r"Dxamex\con.tbl"].stored.endswith("Dxamex/%63on.tbl")
    assert snapshot.file(saved[r"Dxamex\Aux"]).read_bytes() == b"Aux"
    cli("export", f"{HOST}/notes", "--into", "out")
    exported = cli.folder / "out" / "files" / "conndata" / "Dxamex" / "Amap.tbl"
    assert exported.read_bytes() == world.read(HOST, AMAP)
    assert "<Task" in cli("schedule", "--every", "1d", "--", "backup").out


def test_restore_and_undo_and_a_task_is_asked_nothing(cli: Cli, world: World) -> None:
    """Standard input is NUL, as a scheduled task's: to Windows a character device, as a console is."""
    cli("backup")
    world.write(HOST, AMAP, DAMAGED)
    world.client.edit(HOST, "write_file", path=r"C:\Lotus\Notes\nnotes.dll", data=b"MZ another")
    assert "there is no terminal" in cli("restore", f"{HOST}/notes", "--grace", "0", code=4).err
    person = ("restore", f"{HOST}/notes", *DO)  # a step of it is for a person
    assert "--confirmed notes-client" in cli(*person, code=4).err
    assert world.read(HOST, AMAP) == DAMAGED
    cli(*person, "--confirmed", "notes-client")
    assert world.read(HOST, AMAP) != DAMAGED
    cli("undo", "latest", *DO, "--confirmed", "notes-client")
    assert world.read(HOST, AMAP) == DAMAGED


def test_a_kill_a_lock_and_a_resume(cli: Cli, world: World) -> None:
    """Of two runs at once one is refused; one that was killed goes on, and its lock is no obstacle."""
    world.fault(f"{HOST}:Read-FilePack:1:delay=12")
    with cli.started("backup") as process:
        end = time.monotonic() + 60
        while world.struck() == 0:
            assert time.monotonic() < end
            time.sleep(0.05)
        refused = cli("backup", code=11).out
        assert windows(cli.repository / "locks") in refused
        assert "\\\\?" not in refused  # the path is one that can be gone to
        process.kill()
        process.wait()
    world.client.clear_faults()
    (killed,) = (r["run"] for r in cli("runs", "--json").json if r["state"] == "did not end")
    assert "resuming" in cli("resume", killed).err
    assert list(Repository.open(cli.repository).snapshots(HOST, "notes"))


def test_the_interpreter_is_the_one_for_windows() -> None:
    """Else all of the above would say nothing."""
    assert PYTHON is not None
    line = "import os, sys; print(os.name, sys.platform, os.sep)"
    done = subprocess.run(
        [PYTHON, "-c", line], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=True
    )
    assert done.stdout.split() == ["nt", "win32", "\\"]

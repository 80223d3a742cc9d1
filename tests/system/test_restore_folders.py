"""Folders in which nothing lies: saved, shown, made again, and removed by an undo while they are empty."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import CONNDATA, Cli, World

from exremote.lab.client import LabTrouble

HOST = "EXNOTES01"
TOP = rf"{CONNDATA}\Hollow"
DEEP = rf"{TOP}\deeper"
DO = ("--item", "conndata", "--yes", "--grace", "0")


@pytest.fixture
def cli(world: World, tmp_path: Path) -> Iterator[Cli]:
    """Return a command line with a backup of a host; its hollow folder came after it."""
    cli = Cli(world.lab, tmp_path)
    cli.inventory(HOST)
    cli.init()
    with contextlib.suppress(LabTrouble):  # an undo of another test may have brought it back
        world.client.edit(HOST, "remove_file", path=TOP)
    cli("backup", "--only", "notes")
    world.client.edit(HOST, "make_directory", path=DEEP)
    yield cli
    with contextlib.suppress(LabTrouble):
        world.client.edit(HOST, "remove_file", path=TOP)
    assert cli.leaks() == []


def is_there(world: World, folder: str) -> bool:
    """Return whether a host has a folder, as its own disk says."""
    above, _, name = folder.rpartition("\\")
    return name in world.client.edit(HOST, "list", path=above)


@pytest.mark.not_under_wine("time")  # test_restore.py goes the same way there, in company
def test_an_empty_folder_comes_back_and_an_undo_takes_only_an_empty_one(cli: Cli, world: World) -> None:
    """No service stops for it, and no file is sent."""
    cli("backup", "--only", "notes")  # an empty folder alone is worth a snapshot
    old, new = (f"{HOST}/{folder.name}" for folder in cli.folders_of(HOST, "notes"))
    world.client.edit(HOST, "remove_file", path=TOP)

    shown = cli("restore", new, "--item", "conndata", "--dry-run").out
    assert "1. make 2 folders of conndata below" in shown
    assert f"new folder {TOP}\n" in shown
    assert f"new folder {DEEP}\n" in shown
    assert "will stop" not in shown
    assert "make" not in cli("restore", old, "--item", "conndata", "--dry-run").out
    assert not is_there(world, TOP)

    made = cli("restore", new, *DO, "--json").json["hosts"][0]
    assert (made["state"], made["done"]["folders_made"], made["done"]["files"]) == ("done", 2, 0), made
    assert is_there(world, DEEP)
    assert "nothing differs" in cli("restore", new, *DO).out
    restored = [r["run"] for r in cli("runs", "--json").json if r["verb"] == "restore"][1]
    world.write(HOST, rf"{TOP}\mine.txt", b"mine")
    shown = cli("undo", restored, "--dry-run").out
    assert f"removed, if it is empty, {DEEP}\n" in shown
    assert f"folder {TOP} stays: Hollow\\mine.txt is in it" in shown
    # Later runs that changed nothing are passed over.
    undone = cli("undo", "latest", "--yes", "--grace", "0", "--json").json["hosts"][0]
    assert f"the newest run that changed a host is {restored}" in cli.ran[-1].err
    assert (undone["state"], undone["done"]["folders_removed"]) == ("done", 1), undone
    assert is_there(world, TOP)
    assert not is_there(world, DEEP)
    assert world.read(HOST, rf"{TOP}\mine.txt") == b"mine"
    told = [(run["verb"], run["changed"]) for run in cli("runs", "--json").json][::-1]
    assert [run for run in told if run[1]] == [("restore", 1), ("undo", 1)], told
    assert "\t1 host\n" in cli("runs").out
    newest = cli("runs", "latest", "--json").json
    assert newest["events"][0]["verb"] == "undo"
    assert "no run that could be resumed" in cli("resume", "latest", code=12).err


@pytest.mark.not_under_wine("time")
def test_what_stands_in_a_folders_place_is_left_and_said(cli: Cli, world: World) -> None:
    cli("backup", "--only", "notes")
    newest = f"{HOST}/{cli.folders_of(HOST, 'notes')[-1].name}"
    world.client.edit(HOST, "remove_file", path=TOP)
    world.write(HOST, TOP, b"a file now")
    shown = cli("restore", newest, "--item", "conndata", "--dry-run").out
    assert f"note: folder {TOP} is not made: it is a file now" in shown
    assert f"note: folder {DEEP} is not made: Hollow is no folder now" in shown
    assert world.read(HOST, TOP) == b"a file now"


@pytest.mark.not_under_wine("time")  # the scripts are the restore's own
def test_empty_folders_are_in_an_export_in_a_folder_of_the_host_and_in_a_drill(
    cli: Cli, world: World
) -> None:
    cli("backup", "--only", "notes")
    newest = f"{HOST}/{cli.folders_of(HOST, 'notes')[-1].name}"
    out = cli.folder / "out"
    cli("export", newest, "--into", str(out))
    assert (out / "files" / "conndata" / "Hollow" / "deeper").is_dir()
    other = cli.folder / "other"
    cli("export", newest, "--into", str(other), "--item", "notes-ini")
    assert not (other / "files" / "conndata").exists()

    into = r"C:\laid"
    cli("restore", newest, "--into", into, "--yes")
    assert world.client.edit(HOST, "list", path=rf"{into}\conndata\Hollow") == ["deeper"]
    world.write(HOST, rf"{into}\conndata\Hollow\deeper\mine.txt", b"mine")
    cli("restore", newest, "--into", into, "--yes", code=4)
    world.client.edit(HOST, "remove_file", path=into)

    cli.inventory(HOST, defaults=f"drill_on = '{HOST}'\ndrill_folder = 'C:\\drill'")
    (proof,) = cli("drill", newest, "--json").json["hosts"][0]["drills"]
    assert proof["green"], proof
    world.fault(f"{HOST}:Set-Folder:1:throw=ExRemote.MakeFailed")
    ran = cli("drill", newest, code=None)
    assert ran.code != 0, ran.all

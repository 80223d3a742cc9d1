"""What Notes.ini names is saved from where it says: the data folder, the ID file; or its lack is told.

The connector reads that file. A snapshot without what it names would be called complete and bring nothing
back.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Ran, World, manifest_of

HOST = "EXNOTES01"
INI = r"C:\Lotus\Notes\Notes.ini"
LOTUS = r"HKLM\SOFTWARE\Lotus\Notes"
LIVE = r"D:\NotesLive"
ID = r"D:\ids\server.id"


@pytest.fixture
def notes(cli: Cli) -> Cli:
    """Return a command line with a repository and one host in its inventory."""
    cli.inventory(HOST)
    cli.init()
    return cli


def says(world: World, *lines: str) -> None:
    """Have the host's Notes.ini say this, besides the two lines that it always has."""
    world.write(HOST, INI, "\r\n".join(["[Notes]", "KitType=1", *lines, ""]).encode())


def live(world: World) -> None:
    """Put the data folder and the ID file where the registry does not look for them."""
    says(world, f"Directory={LIVE}", f"KeyFileName={ID}")
    world.write(HOST, rf"{LIVE}\names.nsf", b"the live address book")
    world.write(HOST, ID, b"the key")


def saved(ran: Ran) -> tuple[Path, dict[str, Any]]:
    """Return folder and manifest of the snapshot of Notes that this run made."""
    (made,) = [s for host in ran.json["hosts"] for s in host["snapshots"] if s["connector"] == "notes"]
    (folder,) = Path(ran.json["repository"]).glob(f"snapshots/{HOST}/{made['id']}")
    return folder, manifest_of(folder)


def missing(ran: Ran) -> dict[str, str]:
    """Return what a run that ended incomplete lacks, and why."""
    (told,) = ran.json["hosts"]
    assert told["state"] == "incomplete"
    manifest = saved(ran)[1]
    assert manifest["complete"] is False
    return {o["path"]: o["reason"] for o in manifest["missing"]}


def findings(ran: Ran, check: str) -> list[dict[str, str]]:
    """Return the findings of one check."""
    return [f for f in ran.json["findings"] if f["check"] == check]


@pytest.mark.not_under_wine("time")
def test_the_data_folder_and_the_id_file_are_those_of_notes_ini(notes: Cli, world: World) -> None:
    live(world)
    folder, manifest = saved(notes("backup", "--only", "notes", "--json"))
    assert manifest["complete"] is True
    roots = {item: tree["root"] for item, tree in manifest["trees"].items()}
    assert (roots["notes-data"], roots["notes-id"]) == (LIVE, r"D:\ids")
    entries = {(e["item"], e["path"]): e for e in manifest["entries"]}
    assert (folder / entries["notes-data", "names.nsf"]["stored"]).read_bytes() == b"the live address book"
    key = entries["notes-id", "server.id"]
    place = folder / key["stored"]
    assert (place.read_bytes(), key["secret"]) == (b"the key", True)
    assert stat.S_IMODE(place.stat().st_mode) & 0o077 == 0
    again = notes("backup", "--only", "notes", "--json").json["hosts"][0]
    assert [s["state"] for s in again["snapshots"]] == ["unchanged"]
    assert again["sent_files"] == 0


@pytest.mark.not_under_wine("time")
def test_health_tells_that_notes_ini_and_the_registry_differ(notes: Cli, world: World) -> None:
    well = notes("health", HOST, "--json", "--all")
    assert [f["verdict"] for f in findings(well, "notes.data-folder")] == ["ok"]
    live(world)
    ran = notes("health", HOST, "--json", "--all")
    (differ,) = findings(ran, "notes.data-folder")
    assert differ["verdict"] == "warning"
    assert LIVE in differ["evidence"]
    assert r"C:\Lotus\Notes\Data" in differ["evidence"]
    assert any(f["evidence"].startswith(LIVE) for f in findings(ran, "tree.present"))
    assert any(ID in f["evidence"] and f["verdict"] == "ok" for f in findings(ran, "file.present"))


@pytest.mark.not_under_wine("judged")
def test_an_id_file_in_the_data_folder_is_a_secret_whatever_it_is_called(notes: Cli, world: World) -> None:
    """A relative name is one below the data folder."""
    says(world, f"Directory={LIVE}", r"KeyFileName=keys\server.key")
    world.write(HOST, rf"{LIVE}\keys\server.key", b"the key")
    _, manifest = saved(notes("backup", "--only", "notes", "--json"))
    found = [(e["item"], e["secret"]) for e in manifest["entries"] if e["path"].endswith("server.key")]
    assert sorted(found) == [("notes-data", True), ("notes-id", True)]


@pytest.mark.not_under_wine("time")
@pytest.mark.parametrize("how", ["gone", "locked"])
def test_an_id_file_that_cannot_be_had_makes_it_incomplete(notes: Cli, world: World, how: str) -> None:
    says(world, r"Directory=C:\Lotus\Notes\Data", f"KeyFileName={ID}")
    if how == "locked":
        world.lock(HOST, ID)
    lacks = missing(notes("backup", "--only", "notes", "--json", code=3))
    assert list(lacks) == [f"file {ID}"]
    assert ("not found" if how == "gone" else "locked by another process") in lacks[f"file {ID}"]
    ran = notes("health", HOST, "--json", code=None)
    verdicts = {f["verdict"] for f in findings(ran, "file.present") if ID in f["evidence"]}
    assert verdicts == {"critical" if how == "gone" else "unknown"}


@pytest.mark.not_under_wine("time")
def test_an_id_file_that_nobody_names_is_unknown_until_the_inventory_does(notes: Cli, world: World) -> None:
    says(world, r"Directory=C:\Lotus\Notes\Data")
    ran = notes("backup", "--only", "notes", "--json", code=3)
    lacks = missing(ran)
    assert list(lacks) == ["file notes-id"]
    assert (
        "the variable notes_id of the inventory, the line KeyFileName= of Notes.ini" in lacks["file notes-id"]
    )
    assert "{" not in ran.json["hosts"][0]["message"]
    world.write(HOST, ID, b"the key")
    notes.inventory(HOST, extra={HOST: f"variables = {{ notes_id = '{ID}' }}"})
    _, manifest = saved(notes("backup", "--only", "notes", "--json"))
    assert manifest["complete"] is True
    assert ("notes-id", "server.id") in {(e["item"], e["path"]) for e in manifest["entries"]}


@pytest.mark.not_under_wine("judged")
def test_a_data_folder_that_is_not_there_or_half_a_path_makes_it_incomplete(notes: Cli, world: World) -> None:
    """The registry's folder is another one: it is not taken for the connector's."""
    says(world, r"Directory=D:\Gone", r"KeyFileName=C:\Lotus\Notes\Data\exchange.id")
    lacks = missing(notes("backup", "--only", "notes", "--json", code=3))
    assert lacks[r"folder D:\Gone"] == r"D:\Gone is not on the host"
    says(world, "Directory=NotesLive", r"KeyFileName=C:\Lotus\Notes\Data\exchange.id")
    lacks = missing(notes("backup", "--only", "notes", "--json", code=3))
    assert list(lacks) == ["folder notes-data"]
    assert "(it says NotesLive, which is no full path)" in lacks["folder notes-data"]


def test_a_folder_that_is_the_root_of_a_drive_is_saved(notes: Cli, world: World) -> None:
    """`D:` alone, without its backslash, is no place that any script takes."""
    world.client.edit(HOST, "set_registry", key=LOTUS, name="DataPath", data="D:\\")
    world._undo.append(
        lambda: world.client.edit(
            HOST, "set_registry", key=LOTUS, name="DataPath", data="C:\\Lotus\\Notes\\Data\\"
        )
    )
    says(world, "Directory=D:\\", "KeyFileName=server.id")
    world.write(HOST, r"D:\server.id", b"the key")
    world.write(HOST, r"D:\mail\one.nsf", b"mail")
    of_windows = (r"System Volume Information\x", r"RECYCLER\S-1\Dc1.nsf", r"$Recycle.Bin\y", "pagefile.sys")
    for path in of_windows:
        world.write(HOST, rf"D:\{path}", b"no part of it")
    folder, manifest = saved(notes("backup", "--only", "notes", "--json"))
    assert manifest["complete"] is True
    assert manifest["trees"]["notes-data"]["root"] == "D:\\"
    entries = {(e["item"], e["path"]): folder / e["stored"] for e in manifest["entries"]}
    assert entries["notes-data", r"mail\one.nsf"].read_bytes() == b"mail"
    assert entries["notes-id", "server.id"].read_bytes() == b"the key"
    assert not [path for _, path in entries if path in of_windows]
    ran = notes("health", HOST, "--json", "--all")
    assert [f["verdict"] for f in findings(ran, "notes.data-folder")] == ["ok"]
    assert any(f["evidence"].startswith("D:\\: ") for f in findings(ran, "tree.present"))
    again = notes("backup", "--only", "notes", "--json").json["hosts"][0]
    assert [s["state"] for s in again["snapshots"]] == ["unchanged"]

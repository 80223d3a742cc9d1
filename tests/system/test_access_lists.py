"""Access lists: saved where they are their own, shown, set again, undone; what cannot be is said.

Simulated only: under Wine all lists are made up from the rights of Unix (test_scripts_engine.py runs both
scripts there), which the backup says instead of keeping them; test_restore.py looks at that on both engines.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import CONNDATA, Cli, World

from exremote.lab.client import LabTrouble

pytestmark = pytest.mark.not_under_wine("lists")

HOST = "EXNOTES01"
BA, SY, EVERYONE = "S-1-5-32-544", "S-1-5-18", "S-1-1-0"
SERVICE = "S-1-5-21-1004336348-1177238915-682003330-1131"
"""A service's account of the lab's domain."""
FOLDER = rf"{CONNDATA}\Closed"
FILE = rf"{FOLDER}\inner\secret.txt"
PLAIN = rf"{FOLDER}\plain.txt"
CLOSED = f"O:{BA}D:P(D;;0x2;;;{EVERYONE})(A;OICI;0x1f01ff;;;{SY})(A;OICI;0x1301bf;;;{SERVICE})"
OWN = f"O:{SERVICE}D:(D;;0x10000;;;{EVERYONE})(A;;0x1200a9;;;{SERVICE})"
OTHER = f"O:{BA}D:(A;;0x1f01ff;;;{EVERYONE})"
DO = ("--item", "conndata", "--yes", "--grace", "0")


def lists(world: World, path: str, host: str = HOST) -> tuple[str, bool]:
    """Return a file's own list, and whether it inherits from where it was made."""
    seen = world.client.edit(host, "security", path=path)
    return seen["list"], seen["strayed"]


def put(world: World, path: str, sddl: str | None, host: str = HOST) -> None:
    world.client.edit(host, "set_security", path=path, list=sddl)


def furnish(world: World) -> None:
    """Make a closed folder with two files in it, one of them with a list of its own."""
    world.write(HOST, FILE, b"secret")
    world.write(HOST, PLAIN, b"plain")
    put(world, FOLDER, CLOSED)
    put(world, FILE, OWN)


@pytest.fixture
def cli(world: World, tmp_path: Path) -> Iterator[Cli]:
    """Return a command line with a backup of a host that has a closed folder."""
    cli = Cli(world.lab, tmp_path)
    cli.inventory(HOST)
    cli.init()
    furnish(world)
    cli("backup", "--only", "notes")
    yield cli
    with contextlib.suppress(LabTrouble):
        world.client.edit(HOST, "remove_file", path=FOLDER)
    assert cli.leaks() == []


def document(cli: Cli, item: str = "conndata") -> str:
    return (cli.folders_of(HOST, "notes")[-1] / "access" / f"{item}.tsv").read_text()


def newest(cli: Cli) -> str:
    return f"{HOST}/{cli.folders_of(HOST, 'notes')[-1].name}"


def run_of(cli: Cli, verb: str) -> str:
    return str(next(r["run"] for r in cli("runs", "--json").json if r["verb"] == verb))


def undone_and_back(cli: Cli, world: World, path: str) -> None:
    """Give a path another list, undo the restore that had made it, and undo that: the list is there again."""
    put(world, path, OTHER)
    cli("undo", run_of(cli, "restore"), "--yes", "--grace", "0")
    assert not world.exists(HOST, PLAIN)
    cli("undo", run_of(cli, "undo"), "--yes", "--grace", "0")
    assert lists(world, path) == (OTHER, False)


def test_saved_changed_restored_and_undone(cli: Cli, world: World) -> None:
    assert f"{CLOSED}\tClosed\n{OWN}\tClosed\\inner\\secret.txt\n" in document(cli)
    assert "plain.txt" not in document(cli)  # what inherits all has no line
    assert cli("backup", "--only", "notes", "--json").json["hosts"][0]["snapshots"][0]["state"] == "unchanged"

    good = newest(cli)
    put(world, FILE, OTHER)
    put(world, FOLDER, "")
    put(world, PLAIN, OTHER)
    shown = cli("restore", good, "--item", "conndata", "--dry-run").out
    assert "1. set 3 access lists of conndata below" in shown
    assert f"{FOLDER}: inherits all -> {CLOSED}\n" in shown
    assert f"{PLAIN}: {OTHER} -> inherits all\n" in shown
    assert "will stop" not in shown
    done = cli("restore", good, *DO, "--json").json["hosts"][0]
    assert (done["state"], done["done"]["access_lists"], done["done"]["files"]) == ("done", 3, 0), done
    assert [lists(world, p)[0] for p in (FOLDER, FILE, PLAIN)] == [CLOSED, OWN, ""]
    run = run_of(cli, "restore")
    assert "nothing differs" in cli("restore", good, *DO).out

    assert "3 access lists set" in cli("undo", run, "--yes", "--grace", "0").out
    assert [lists(world, p)[0] for p in (FOLDER, FILE, PLAIN)] == ["", OTHER, OTHER]

    changed = cli("backup", "--only", "notes", "--json").json["hosts"][0]["snapshots"][0]
    assert changed["state"] == "new"  # a list alone is worth a snapshot
    rows = cli("diff", good, newest(cli), "--json").json["changes"]
    assert ("changed", "access list", "conndata", r"Closed\inner\secret.txt", OWN, OTHER) in {
        tuple(row[key] for key in ("what", "kind", "where", "name", "old", "new")) for row in rows
    }
    items = {item["item"]: item for item in cli("show", good, "--json").json["items"]}
    assert items["conndata"]["access_lists"] == 2
    assert [item["access_lists"] for item in items.values()].count(None) == 0
    out = cli.folder / "out"
    cli("export", good, "--into", str(out))
    assert CLOSED in (out / "access" / "conndata.tsv").read_text()


def test_a_folder_made_again_has_its_list_and_what_was_sent_inherits(cli: Cli, world: World) -> None:
    """A file that is moved keeps what its staging folder handed down, until somebody has it inherit."""
    good = newest(cli)  # later a safety snapshot is newer
    world.client.edit(HOST, "remove_file", path=FOLDER)
    plan = cli.folder / "plan.json"
    shown = cli("restore", good, "--item", "conndata", "--save-plan", str(plan)).out
    assert "set 2 access lists and have 1 file that is sent inherit of conndata" in shown
    assert f"{FOLDER}: nothing is there -> {CLOSED}\n" in shown
    assert "access lists were not looked for" not in shown
    done = cli("restore", "--plan", str(plan), "--yes", "--grace", "0", "--json").json["hosts"][0]
    assert (done["state"], done["done"]["access_lists"]) == ("done", 3), done
    assert lists(world, FOLDER) == (CLOSED, False)
    assert lists(world, FILE) == (OWN, False)
    assert lists(world, PLAIN) == ("", False)
    assert world.read(HOST, FILE) == b"secret"

    # A file that is replaced would lose its list, too: it is set again, by the restore and by the undo.
    world.client.edit(HOST, "write_file", path=FILE, data=b"another")
    shown = cli("restore", good, "--item", "conndata", "--dry-run").out
    assert f"{FILE}: {OWN} -> the same, set anew for the file is sent" in shown
    cli("restore", good, *DO)
    assert lists(world, FILE) == (OWN, False)
    cli("undo", run_of(cli, "restore"), "--yes", "--grace", "0")
    assert (world.read(HOST, FILE), lists(world, FILE)) == (b"another", (OWN, False))

    # What an undo removes it knows the list of: it comes back with the folder.
    world.client.edit(HOST, "remove_file", path=FOLDER)
    cli("restore", good, *DO)
    undone_and_back(cli, world, FOLDER)

    # One that is broken off before the lists leaves files that inherit from elsewhere: the next mends it.
    world.client.edit(HOST, "remove_file", path=FOLDER)
    world.fault(f"{HOST}:Set-FileSecurity:*:throw=ExRemote.Link")
    cli("restore", good, *DO, code=22)
    world.client.clear_faults()
    world.client.edit(HOST, "set_security", path=PLAIN, list="", strayed=True)  # as if nothing had been set
    shown = cli("restore", good, "--item", "conndata", "--dry-run").out
    assert re.search(r" \d+ files: inherits all -> the same, set anew", shown)
    assert shown.count("inherits all -> the same") == 1
    cli("restore", good, *DO)
    assert [lists(world, p) for p in (FOLDER, FILE, PLAIN)] == [(CLOSED, False), (OWN, False), ("", False)]


def test_a_list_that_changed_after_the_plan_is_drift(cli: Cli, world: World) -> None:
    put(world, FILE, OTHER)
    plan = cli.folder / "plan.json"
    cli("restore", newest(cli), "--item", "conndata", "--save-plan", str(plan))
    put(world, FILE, f"O:{BA}D:P")
    refused = cli("restore", "--plan", str(plan), "--yes", "--grace", "0", code=4).all
    assert "is not what it was when the plan was approved" in refused
    assert lists(world, FILE)[0] == f"O:{BA}D:P"
    put(world, FILE, OTHER)
    cli("restore", "--plan", str(plan), "--yes", "--grace", "0")
    assert lists(world, FILE)[0] == OWN


def test_what_cannot_be_set_is_said(cli: Cli, world: World) -> None:
    """An owner, without the right to set one; accounts that nobody there knows; a list that is closed."""
    put(world, FILE, "")
    world.set(HOST, "administrator", False)
    ran = cli("restore", newest(cli), *DO, "--json").json["hosts"][0]
    assert (ran["state"], len(ran["done"]["owners_left"])) == ("done", 1), ran
    assert f"the owner of {FILE} is not set: The owner stays as it is." in ran["message"]
    assert lists(world, FILE)[0] == OWN.replace(f"O:{SERVICE}", f"O:{BA}")
    world.client.edit(HOST, "set", name="administrator", value=True)

    stranger = "S-1-5-21-1-2-3-1001"
    put(world, PLAIN, f"O:{BA}D:P(A;;0x1f01ff;;;{stranger})")
    put(world, FILE, OWN)
    cli("backup", "--only", "notes")
    assert f"(A;;0x1f01ff;;;{stranger})\tClosed\\plain.txt" in document(cli)
    cli.inventory(HOST, "EXSICK01")
    shown = cli("restore", newest(cli), "--item", "conndata", "--to", "EXSICK01", "--dry-run").out
    assert f"the account {stranger} is unknown to this host, so a list that names it is not set" in shown
    assert f"{PLAIN}\n" in shown
    assert f"look at them before you let people in: {PLAIN}\n" in shown  # it is sent, and will inherit
    assert f"{FOLDER}: nothing is there -> {CLOSED}\n" in shown  # the domain's account is known there, too

    put(world, FILE, None)
    shown = cli("restore", newest(cli), "--item", "conndata", "--dry-run").out
    assert f"access lists that could not be read, now or then, are not set: {FILE}" in shown


def test_what_could_not_be_read_makes_no_backup_incomplete(cli: Cli, world: World) -> None:
    before = cli.folders_of(HOST, "notes")
    put(world, FILE, None)
    ran = cli("backup", "--only", "notes", "--json").json["hosts"][0]
    assert ran["state"] == "done", ran
    assert any(f"access lists: {FILE}: this account may not read it" in w for w in ran["warnings"]), ran
    assert "!ExRemote.AccessDenied\tClosed\\inner\\secret.txt\n" in document(cli)
    assert len(cli.folders_of(HOST, "notes")) == len(before) + 1

    # The script says no: what was known of the lists is no other because of that.
    world.fault(f"{HOST}:Get-FileSecurity:*:throw=ExRemote.TooMany")
    ran = cli("backup", "--only", "notes", "--json").json["hosts"][0]
    assert (ran["state"], ran["snapshots"][0]["state"]) == ("done", "unchanged"), ran
    assert any(f"access lists of {CONNDATA}: not looked for" in w for w in ran["warnings"]), ran
    shown = cli("restore", newest(cli), "--item", "conndata", "--dry-run").out
    assert f"access lists of {CONNDATA} cannot be read now, so none is set" in shown

    world.write(HOST, rf"{CONNDATA}\another.txt", b"so there is a new snapshot")
    cli("backup", "--only", "notes")
    omitted = json.loads((cli.folders_of(HOST, "notes")[-1] / "manifest.json").read_text())["omitted"]
    assert any(
        o["path"] == f"access lists of {CONNDATA}" and "not looked for" in o["reason"] for o in omitted
    )
    assert not (cli.folders_of(HOST, "notes")[-1] / "access").exists()
    world.client.clear_faults()

    # So it is with a snapshot of an exremote that knew nothing of them: none is set, and that is said.
    world.client.edit(HOST, "remove_file", path=FOLDER)
    shown = cli("restore", newest(cli), "--item", "conndata", "--dry-run").out
    assert "note: access lists were not looked for, so none is set" in shown
    assert "access list" not in shown.replace("note: access lists were not looked for", "")
    cli("restore", newest(cli), *DO)
    assert lists(world, FOLDER)[0] == ""

    tables = cli("backup", "--only", "tables", "--json").json["hosts"][0]
    assert tables["state"] == "done", tables


def test_a_list_that_was_not_set_or_not_saved_is_not_forgotten(cli: Cli, world: World) -> None:
    """What inherits from its staging folder looks as if it did from where it lies: the journal tells."""
    good = newest(cli)
    world.client.edit(HOST, "write_file", path=PLAIN, data=b"another")
    world.client.edit(HOST, "hold_list", path=PLAIN, held=True)
    assert f"access list of {PLAIN}: " in cli("restore", good, *DO, code=3).all
    world.client.edit(HOST, "hold_list", path=PLAIN, held=False)
    assert lists(world, PLAIN) == ("", True)
    cli("restore", good, *DO)
    assert lists(world, PLAIN) == ("", False)
    assert "nothing differs" in cli("restore", good, *DO).out

    # An undo that only moves a file away knows its list, for an undo of the undo sends it back.
    world.client.edit(HOST, "remove_file", path=PLAIN)
    cli("restore", good, *DO)
    undone_and_back(cli, world, PLAIN)

    # A list that nobody could read before the restore is gone with its file: an undo says so.
    put(world, FILE, None)
    world.client.edit(HOST, "write_file", path=FILE, data=b"another")
    cli("restore", good, *DO)
    said = cli("undo", run_of(cli, "restore"), "--yes", "--grace", "0").all
    assert f"access lists that could not be read, now or then, are not set: {FILE}" in said
    assert f"look at them before you let people in: {FILE}\n" in said

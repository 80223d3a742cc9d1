"""Access lists: saved where they are their own, shown, set again, undone; what cannot be is said.

Simulated only: under Wine all lists are made up from the rights of Unix (test_scripts_engine.py runs both
scripts there), which the backup says instead of keeping them; test_restore.py looks at that on both engines.
"""

from __future__ import annotations

import contextlib
import json
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
    assert json.loads(cli("show", good, "--json").out)

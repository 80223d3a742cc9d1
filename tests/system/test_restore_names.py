"""Names that are two for Windows, however alike they look: neither is lost for the other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import CONNDATA, Cli, World

HOST = "EXNOTES01"
DO = ("--item", "conndata", "--yes", "--grace", "0")
ALIKE = {name: rf"{CONNDATA}\Hollow\{name}" for name in ("Maße.ini", "Masse.ini", "ﬁx.ini", "fix.ini")}


@pytest.fixture
def cli(world: World, tmp_path: Path) -> Iterator[Cli]:
    """Return a command line with a backup of a host that has files of almost the same names."""
    cli = Cli(world.lab, tmp_path)
    cli.inventory(HOST)
    cli.init()
    for name, path in ALIKE.items():
        world.write(HOST, path, name.encode())
    cli("backup", "--only", "notes")
    yield cli
    assert cli.leaks() == []


@pytest.mark.not_under_wine("time")
def test_both_come_back_and_both_are_undone(cli: Cli, world: World) -> None:
    newest = f"{HOST}/{cli.folders_of(HOST, 'notes')[-1].name}"
    for path in ALIKE.values():
        world.write(HOST, path, b"broken")
    shown = cli("restore", newest, "--item", "conndata", "--dry-run").out
    assert all(name in shown for name in ALIKE)

    made = cli("restore", newest, *DO, "--json").json["hosts"][0]
    assert (made["state"], made["done"]["files"]) == ("done", len(ALIKE)), made
    assert {name: world.read(HOST, path).decode() for name, path in ALIKE.items()} == {n: n for n in ALIKE}
    assert "nothing differs" in cli("restore", newest, *DO).out

    undone = cli("undo", "latest", "--yes", "--grace", "0", "--json").json["hosts"][0]
    assert undone["state"] == "done", undone
    assert {world.read(HOST, path) for path in ALIKE.values()} == {b"broken"}


@pytest.mark.not_under_wine("time")
def test_one_that_is_gone_is_not_taken_for_the_other(cli: Cli, world: World) -> None:
    newest = f"{HOST}/{cli.folders_of(HOST, 'notes')[-1].name}"
    world.remove(HOST, ALIKE["Maße.ini"])
    cli("restore", newest, *DO)
    assert world.read(HOST, ALIKE["Maße.ini"]) == "Maße.ini".encode()
    assert world.read(HOST, ALIKE["Masse.ini"]) == b"Masse.ini"
    into = r"C:\laid"
    cli("restore", newest, "--item", "conndata", "--into", into, "--yes")
    assert set(ALIKE) <= set(world.names(HOST, rf"{into}\conndata\Hollow"))
    world.client.edit(HOST, "remove_file", path=into)
    cli.inventory(HOST, defaults=f"drill_on = '{HOST}'\ndrill_folder = 'C:\\drill'")
    (proof,) = cli("drill", newest, "--json").json["hosts"][0]["drills"]
    assert proof["green"], proof

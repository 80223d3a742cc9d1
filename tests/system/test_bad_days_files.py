"""Bad days with files on the host: locked, changing, gone, denied, missing, or named to lead us astray.

What could not be had is named, with the reason; what was torn is never stored; the rest is saved.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

import pytest
from conftest import CONNDATA, Cli, World, manifest_of

from exremote.lab.site import HostSpec

BUSY = rf"{CONNDATA}\Tables\busy.tbl"


def incomplete(cli: Cli, connector: str = "notes", host: str = "EXNOTES01") -> dict[str, str]:
    """Back up; it must end incomplete, in the list and in the manifest. Return what is missing, and why."""
    ran = cli("backup", "--only", connector, "--json", code=3)
    (told,) = ran.json["hosts"]
    assert (told["state"], told["exit_code"]) == ("incomplete", 3)
    assert [s["state"] for s in told["snapshots"]] == ["incomplete"]
    newest = cli.folders_of(host, connector)[-1]
    manifest = manifest_of(newest)
    assert manifest["complete"] is False
    missing = {o["path"]: o["reason"] for o in manifest["missing"]}
    assert {m["what"]: m["reason"] for m in told["missing"]} == missing
    assert not [e for e in manifest["entries"] if rf"{CONNDATA}\{e['path']}" in missing]
    assert len(manifest["entries"]) > 10
    return missing


@pytest.fixture
def notes(cli: Cli) -> Cli:
    """Return a command line with a repository and one host in its inventory."""
    cli.inventory("EXNOTES01")
    cli.init()
    return cli


def test_a_locked_file_is_named_with_who_may_hold_it(notes: Cli, world: World) -> None:
    """The rest is saved. When it is free again, the next snapshot is whole and brings only this file."""
    world.lock("EXNOTES01", BUSY)
    missing = incomplete(notes)
    assert list(missing) == [BUSY]
    assert missing[BUSY].startswith("is locked by another process")
    assert "LME-NOTES" in missing[BUSY]
    assert "MSExchangeCoCo" in missing[BUSY]
    assert BUSY in notes("backup", "--only", "notes", code=3).out
    if world.engine == "simulated":
        world.client.edit("EXNOTES01", "lock_file", path=BUSY, locked=False)
        (host,) = notes("backup", "--only", "notes", "--json").json["hosts"]
        assert host["sent_files"] == 1
        assert [s["state"] for s in host["snapshots"]] == ["new"]


@pytest.mark.not_under_wine("changing")
@pytest.mark.parametrize("times", [1, 2, 3])
def test_a_file_that_changes_for_a_while_is_read_again(notes: Cli, world: World, times: int) -> None:
    world.changing("EXNOTES01", BUSY, times)
    notes("backup", "--only", "notes")
    stored = notes.folder_of("EXNOTES01", "notes") / "files/conndata/Tables/busy.tbl"
    assert stored.read_bytes() == world.client.read_file("EXNOTES01", BUSY)


@pytest.mark.not_under_wine("changing")
def test_a_file_that_never_stands_still_is_reported_and_not_stored(notes: Cli, world: World) -> None:
    world.changing("EXNOTES01", BUSY, 10**6)
    missing = incomplete(notes)
    assert missing == {BUSY: "changed while it was read, 3 times in a row"}
    torn = [p for p in (notes.repository / "objects").rglob("*") if p.is_file() and p.stat().st_size == 16]
    assert torn == []
    assert [p for p in (notes.repository / "partial").rglob("*") if p.is_file()] == []
    notes("verify")


@pytest.mark.not_under_wine("changing")
def test_a_file_that_goes_between_list_and_read(notes: Cli, world: World) -> None:
    """Listed, and gone when it is opened: no crash, and the rest is saved."""
    world.client.edit("EXNOTES01", "write_file", path=BUSY, data=b"soon gone")
    world.client.edit("EXNOTES01", "vanish", path=BUSY)
    ran = notes("backup", "--only", "notes", code=None)
    assert ran.code in (0, 3)
    assert len(manifest_of(notes.folder_of("EXNOTES01", "notes"))["entries"]) > 10


@pytest.mark.not_under_wine("denied")
def test_a_file_that_may_not_be_read(notes: Cli, world: World) -> None:
    world.write("EXNOTES01", BUSY, b"not for you")
    world.deny("EXNOTES01", BUSY)
    assert incomplete(notes)[BUSY].startswith("may not be read by this account")


@pytest.mark.not_under_wine("denied")
def test_a_folder_that_may_not_be_listed(notes: Cli, world: World) -> None:
    """Nobody can say what is in it: the snapshot cannot be whole."""
    folder = rf"{CONNDATA}\Dxanotes"
    world.deny("EXNOTES01", folder)
    missing = incomplete(notes)
    assert any(folder in what for what in missing), missing


@pytest.mark.not_under_wine("denied")
def test_a_registry_key_that_may_not_be_read(notes: Cli, world: World) -> None:
    key = r"HKLM\SOFTWARE\Lotus\Notes"
    world.deny("EXNOTES01", key)
    ran = notes("backup", "--only", "notes", code=None)
    assert ran.code in (3, 22)
    assert "Lotus" in ran.out


@pytest.mark.not_under_wine("time")
def test_folders_and_services_that_are_missing(private: Callable[..., tuple[Cli, World]]) -> None:
    """Health says what is not there; a backup of the rest is not called whole."""
    cli, world = private(HostSpec("EXHALF01", ("notes",)), HostSpec("EXNONE01"))
    cli.inventory("EXHALF01", "EXNONE01", extra={"EXNONE01": 'connectors = ["groupwise"]'})
    for path in (r"C:\Lotus\Notes\Data", rf"{CONNDATA}\Dxanotes"):
        world.client.edit("EXHALF01", "remove_file", path=path)
    ran = cli("health", "EXNONE01", "--json", code=5)
    found = {(f["check"], f["verdict"]) for f in ran.json["findings"]}
    assert ("connector.listed", "critical") in found
    assert any("LME-GWISE" in f["evidence"] for f in ran.json["findings"]), ran.json["findings"]
    cli.init()
    ran = cli("backup", code=3)
    assert re.search(r"EXHALF01: notes lacks .*Lotus.*Data.*is not on the host", ran.out)
    assert {s["state"] for s in cli.snapshots()} == {"incomplete"}


HOSTILE = ((r"..\escape.txt",), (r"x\..\..\..\..\escape.txt",), ("CON", "NUL.txt", "a:b", "com1.tbl"))


@pytest.mark.not_under_wine("records")
@pytest.mark.parametrize("names", HOSTILE)
def test_a_host_that_sends_names_which_lead_astray(
    private: Callable[..., tuple[Cli, World]], names: tuple[str, ...]
) -> None:
    """No file of it comes to lie outside the snapshot, under no name; the host is told of, if refused."""
    cli, world = private(HostSpec("EXEVIL01", ("calendar", "notes")), HostSpec("EXGOOD01", ("calendar",)))
    for name in names:
        remote = rf"{CONNDATA}\Tables\{name}"
        world.client.edit("EXEVIL01", "write_file", path=remote, data=b"escape-canary")
    cli.init()
    ran = cli("backup", code=None)
    assert ran.code in (0, 3)
    assert {p.name for p in cli.folder.iterdir()} <= {"repository", "site.toml", "state"}
    assert {p.name for p in cli.folder.parent.iterdir()} == {cli.folder.name}
    canaries = [p for p in cli.repository.rglob("*") if p.is_file() and p.read_bytes() == b"escape-canary"]
    for path in canaries:
        inside = path.relative_to(cli.repository).parts
        assert inside[0] == "objects" or (inside[0] == "snapshots" and "files" in inside), path
        assert path.name.casefold() not in ("con", "nul.txt", "a:b", "com1.tbl")
    if ".." in names[0]:
        assert ran.code == 3
        assert re.search(r"EXEVIL01.*escape\.txt", ran.out)
        assert canaries == []
        assert "leads out of its folder" in ran.out
        assert len(cli.manifest("EXEVIL01", "notes")["entries"]) > 10, "one lie takes the other files with it"
    else:
        assert ran.code == 0
        assert len(canaries) >= len(names)
    assert ("EXGOOD01", "done") in {(s["host"], s["state"]) for s in cli.snapshots()}
    cli("verify")


HUGE = "6cb118a8f8b3c19385874297e291dcbcdf3a9837ba1ca7b00ace2491adbff551"
"""SHA-256 of 20 GiB of zeros."""


@pytest.mark.not_under_wine("time")
def test_a_file_of_20_gib_is_refused_with_the_numbers(cli: Cli, world: World) -> None:
    """A disk image that somebody parked among the tables: no accident, and nothing of before is lost."""
    path = rf"{CONNDATA}\Tables\image.vhd"
    world.client.edit("EXNOTES01", "write_file", path=path, size=20 << 30, sha256=HUGE)
    world._undo.append(lambda: world.client.edit("EXNOTES01", "remove_file", path=path))
    free = shutil.disk_usage(cli.folder).free
    cli.inventory("EXNOTES01", top=f"keep_free = '{max(0, free - (8 << 30)) >> 20}M'")
    cli.init()
    ran = cli("backup", code=None)
    assert ran.code == 10, ran
    assert "of which nothing was copied: it needs 30.0 GiB" in ran.all
    assert "10.0 GiB while a large file is joined" in ran.all
    assert cli.snapshots() == []
    world.client.edit("EXNOTES01", "remove_file", path=path)
    cli("backup")
    world.client.edit("EXNOTES01", "write_file", path=path, size=20 << 30, sha256=HUGE)

"""A machine in the place of a lost one: what each deed at its console leaves there, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest

from exremote.lab import older
from exremote.lab.furnish import CONNDATA, EXCHSRVR
from exremote.lab.machine import SERVICES, Machine
from exremote.lab.reinstalling import (
    DATABASES,
    LOTUS,
    SETUP,
    TEMP,
    CannotBe,
    Standing,
    boot,
    new_windows,
    restore_groups,
    restore_state,
    set_up,
)
from exremote.lab.site import build_machine
from exremote.lab.survey import survey

ALL = ("notes", "groupwise", "calendar")


@pytest.fixture
def lost() -> Machine:
    return build_machine("EX01", *ALL)


def started(lost: Machine, **options: object) -> tuple[Machine, Standing]:
    """Return a new machine on which the system state of the lost one is in force."""
    machine, standing = new_windows(lost, "TEMP01", lost.os, None), Standing()
    restore_state(standing, lost, bool(options.get("stale")))
    boot(machine, standing, lost)
    return machine, standing


def test_a_new_windows_has_nothing_of_the_old_one_but_other_computers_shares(lost: Machine) -> None:
    machine = new_windows(lost, "temp02", lost.os, None)
    assert machine.name == "TEMP02"
    assert survey(machine, None) == {"files": {}, "registry": {}, "services": {}}
    assert machine.registry.text(rf"{SERVICES}\Tcpip\Parameters", "Domain") == ""
    assert (machine.objects, machine.directory_available) == ([], False)
    assert machine.files.is_directory(r"\\NWFS01\SYS\GWDOM\WPGATE\API\API_IN")
    assert machine.started > lost.started
    assert [disk.root for disk in machine.disks] == ["C:\\", "D:\\"]


@pytest.mark.parametrize("name", ["", "a name", "sixteen-letters-1"])
def test_a_name_that_no_computer_has_is_refused(lost: Machine, name: str) -> None:
    with pytest.raises(CannotBe, match="computer name"):
        new_windows(lost, name, lost.os, None)


@pytest.mark.parametrize("drives", [[], ["D:"], ["C:", "data"]])
def test_drives_are_letters_with_c_among_them(lost: Machine, drives: list[str]) -> None:
    with pytest.raises(CannotBe, match="drives are letters"):
        new_windows(lost, "TEMP01", lost.os, drives)


def test_the_system_state_waits_for_the_start_and_brings_no_program(lost: Machine) -> None:
    machine, standing = new_windows(lost, "TEMP01", lost.os, None), Standing()
    before = machine.started
    restore_state(standing, lost, False)
    assert (machine.name, machine.services.keys() & {"lme-notes"}) == ("TEMP01", set())
    boot(machine, standing, lost)
    was, now = survey(lost, None), survey(machine, None)
    assert machine.name == "EX01"
    assert machine.started > before
    assert now["registry"] == was["registry"]
    assert now["files"] == {}
    assert now["services"].keys() == was["services"].keys()
    for name in ("MSExchangeSA", "MSExchangeIS", "LME-NOTES", "LME-GWISE"):
        assert (now["services"][name]["state"], now["services"][name]["image_exists"]) == ("Stopped", False)
    assert now["services"]["NWCWorkstation"]["state"] == "Running"  # Windows' own
    assert machine.objects == lost.objects


def test_what_happens_to_the_new_registry_does_not_reach_the_lost_one(lost: Machine) -> None:
    machine, _ = started(lost)
    machine.registry.set(LOTUS, "Path", "changed")
    assert lost.registry.text(LOTUS, "Path") == "C:\\Lotus\\Notes\\"


def test_an_older_system_state_differs_and_a_later_one_mends_it(lost: Machine) -> None:
    machine, standing = started(lost, stale=True)
    was, now = survey(lost, None)["registry"], survey(machine, None)["registry"]
    assert {key for key in was if was[key] != now[key]} == {
        rf"{SETUP}|NewestBuild",
        rf"{SETUP}|Service Pack Build",
        rf"{LOTUS}|DataPath",
    }
    restore_state(standing, lost, False)
    boot(machine, standing, lost)
    assert survey(machine, None)["registry"] == was


def test_a_system_state_of_another_windows_folder_never_comes_up(lost: Machine) -> None:
    machine, standing = (
        new_windows(lost, "TEMP01", replace(lost.os, system_root=r"C:\WINNT"), None),
        Standing(),
    )
    boot(machine, standing, lost)
    assert not standing.stray
    restore_state(standing, lost, False)
    boot(machine, standing, lost)
    assert standing.stray


def test_setup_comes_behind_the_system_state_and_knows_what_was_there(lost: Machine) -> None:
    machine, standing = new_windows(lost, "TEMP01", lost.os, None), Standing()
    with pytest.raises(CannotBe, match="no server object for TEMP01"):
        set_up(machine, standing, lost, ALL, ALL)
    machine, standing = started(lost)
    with pytest.raises(CannotBe, match="had no msmail; it had: notes"):
        set_up(machine, standing, lost, ALL, ("msmail",))
    with pytest.raises(CannotBe, match="setup comes first"):
        restore_groups(machine, standing, True, True, TEMP)


def test_setup_makes_folders_without_the_old_servers_tables(lost: Machine) -> None:
    machine, standing = started(lost)
    set_up(machine, standing, lost, ALL, ALL)
    was, now = survey(lost, None), survey(machine, None)
    assert set(now["files"]) < set(was["files"])
    assert not [path for path in now["files"] if "\\Tables\\" in path or path.startswith(r"C:\Lotus")]
    assert machine.files.is_directory(rf"{CONNDATA}\Tables")
    same = [path for path, digest in now["files"].items() if was["files"][path] == digest]
    assert same == [rf"{CONNDATA}\Exchconn.ini"]
    assert now["registry"] == was["registry"]
    states = {name: one["state"] for name, one in now["services"].items()}
    assert states["MSExchangeSA"] == states["MSExchangeIS"] == states["MSExchangeMTA"] == "Running"
    assert states["LME-NOTES"] == states["MSExchangeCoCo"] == "Stopped"
    assert all(one["image_exists"] for one in now["services"].values())


def test_a_connector_that_was_forgotten_has_no_service_until_setup_runs_again(lost: Machine) -> None:
    machine, standing = started(lost)
    set_up(machine, standing, lost, ALL, ("notes",))
    assert not machine.services.keys() & {"lme-gwise", "msexchangegwrtr", "msexchangecalcon"}
    assert machine.registry.find(rf"{SERVICES}\LME-GWISE") is None
    assert not machine.files.is_directory(rf"{CONNDATA}\Gwrouter")
    machine.set_service("MSExchangeCoCo", "Running")
    machine.set_service("MSExchangeCoCo", "Stopped")  # it drags nobody along who is not there
    set_up(machine, standing, lost, ALL, ALL, service_pack=False)
    assert machine.registry.number(SETUP, "Service Pack Build") == 6944
    set_up(machine, standing, lost, ALL, ALL)
    assert survey(machine, None)["registry"] == survey(lost, None)["registry"]
    assert machine.files.is_directory(rf"{CONNDATA}\Gwrouter\badfiles")
    assert set(machine.services["msexchangecoco"].drags) == {"LME-NOTES", "LME-GWISE", "MSExchangeCalCon"}


def test_what_needs_a_drive_that_is_not_there_is_refused() -> None:
    lost = build_machine("EX02", "msmail", "ccmail", os="2000")
    machine, standing = new_windows(lost, "TEMP01", lost.os, ["C:"]), Standing()
    restore_state(standing, lost, False)
    boot(machine, standing, lost)
    with pytest.raises(CannotBe, match="has no drive D:"):
        set_up(machine, standing, lost, ("msmail", "ccmail"), ("msmail", "ccmail"))
    assert not machine.files.is_directory(EXCHSRVR)
    set_up(machine, standing, lost, ("msmail", "ccmail"), ("ccmail",))
    with pytest.raises(CannotBe, match="has no drive E:"):
        restore_groups(machine, standing, True, True, r"E:\temp")


def test_a_post_office_is_empty_after_setup() -> None:
    lost = build_machine("EX02", "msmail", "ccmail", os="2000")
    machine, standing = started(lost)
    set_up(machine, standing, lost, ("msmail", "ccmail"), ("msmail", "ccmail"))
    files = survey(machine, None)["files"]
    assert rf"{older.MAILDATA}\Glb\Process.glb" in files
    assert rf"{older.MAILDATA}\Mbg\lab0001.mbg" not in files
    assert not [path for path in files if path.startswith((older.TOOLS, rf"{older.CCMCDATA}\Submit"))]
    machine.set_service("MSExchangeMSMI", "Running")
    assert machine.files.find(older.HELD[0]).locked


def test_databases_are_mounted_only_behind_the_last_backup_set(lost: Machine) -> None:
    machine, standing = started(lost)
    set_up(machine, standing, lost, ALL, ALL)

    def locked() -> set[bool]:
        return {machine.files.find(path).locked for path in DATABASES}

    restore_groups(machine, standing, False, True, r"C:\Temp")
    assert locked() == {False}
    assert machine.files.is_file(r"C:\Temp\Restore.env")
    restore_groups(machine, standing, True, False, TEMP)
    assert locked() == {False}
    assert not machine.files.is_file(r"C:\Temp\Restore.env")
    restore_groups(machine, standing, True, True, TEMP)
    assert locked() == {True}
    with pytest.raises(CannotBe, match="are mounted"):
        restore_groups(machine, standing, True, True, TEMP)
    boot(machine, standing, lost)
    assert machine.service_state("MSExchangeIS") == "Running"
    assert locked() == {True}
    machine.set_service("MSExchangeIS", "Stopped")
    assert locked() == {False}

"""What nobody could look at is unknown: never well, and no alarm. What counts from an age on, does."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import API, CONNDATA, Cli, Ran, World

from exremote.lab.site import HostSpec

FACTS = Path(__file__).parents[1] / "data" / "facts"
ENVIRONMENT = r"HKLM\SYSTEM\CurrentControlSet\Control\Session Manager\Environment"
SERVICES = r"HKLM\SYSTEM\CurrentControlSet\Services"
PATH = r"%SystemRoot%\system32;%SystemRoot%;%SystemRoot%\System32\Wbem;C:\Lotus\Notes"


def about(ran: Ran, check: str, word: str = "") -> list[tuple[str, str]]:
    """Return verdict and evidence of a check's findings that have a word in them."""
    found = [f for f in ran.json["findings"] if f["check"] == check]
    return [(f["verdict"], f["evidence"]) for f in found if word in f["evidence"]]


def ticks(moment: datetime) -> int:
    """Return a time in .NET ticks."""
    return (moment - datetime(1, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 10


# ------------------------------------------------------------------ services


@pytest.mark.not_under_wine("judged")
def test_what_runs_beside_a_connector_is_looked_at(cli: Cli, world: World) -> None:
    """The connector's own processes have to run, and a client of Notes that is open disturbs it."""
    ran = cli("health", "EXNOTES01", "--json", "--all")
    for check in ("notes.processes", "notes.client-closed"):
        assert [verdict for verdict, _ in about(ran, check)] == ["ok"], check

    def change(name: str, runs: bool) -> None:
        world.client.edit("EXNOTES01", "set_program", name=name, runs=runs)

    change("NLNotes.exe", True)
    world._undo.append(lambda: change("NLNotes.exe", False))
    change("Lsmexnts.exe", False)
    world._undo.append(lambda: change("Lsmexnts.exe", True))
    ran = cli("health", "EXNOTES01", "--json")
    assert about(ran, "notes.client-closed") == [("warning", "LME-NOTES runs, and so does nlnotes.exe")]
    ((verdict, evidence),) = about(ran, "notes.processes")
    assert (verdict, evidence.partition("; ")[2]) == ("warning", "not running: Lsmexnts.exe")


@pytest.mark.not_under_wine("judged")
def test_a_dependency_that_no_connector_names_is_asked_for(cli: Cli, world: World) -> None:
    """The Calendar Connector declares the Information Store; the answer costs no call of its own."""
    ran = cli("health", "EXNOTES01", "--json", "--all")
    assert {verdict for verdict, _ in about(ran, "service.dependencies")} == {"ok"}
    world.client.edit("EXNOTES01", "set_service", name="MSExchangeIS", state="Stopped")
    world._undo.append(
        lambda: world.client.edit("EXNOTES01", "set_service", name="MSExchangeIS", state="Running")
    )
    ran = cli("health", "EXNOTES01", "--json", "--all", code=5)
    ((verdict, evidence),) = about(ran, "service.dependencies", "MSExchangeCalCon is")
    assert (verdict, evidence.partition("; ")[2]) == ("critical", "not running: MSExchangeIS (Stopped)")


@pytest.mark.not_under_wine("denied")
def test_a_service_whose_key_is_closed_leaves_the_others_their_answers(cli: Cli, world: World) -> None:
    world.deny("EXGW01", rf"{SERVICES}\MSExchangeGWRtr")
    ran = cli("health", "EXGW01", "--json", "--all", code=None)
    assert [v for v, _ in about(ran, "service.running", "LME-GWISE")] == ["ok"]
    assert [v for v, _ in about(ran, "service.running", "MSExchangeGWRtr")] == ["ok"]
    for check in ("service.program", "service.start-mode", "service.dependencies"):
        ((verdict, _),) = about(ran, check, "MSExchangeGWRtr: ")
        assert verdict == "unknown", check


@pytest.mark.not_under_wine("time")
def test_the_service_for_netware_is_looked_for(cli: Cli, world: World) -> None:
    ran = cli("health", "EXGW01", "--json", "--all")
    assert about(ran, "groupwise.netware-service") == [
        ("ok", "NWCWorkstation (Gateway Service for NetWare): Running")
    ]
    world.client.edit("EXGW01", "set_service", name="NWCWorkstation", state="Stopped")
    world._undo.append(
        lambda: world.client.edit("EXGW01", "set_service", name="NWCWorkstation", state="Running")
    )
    ((verdict, evidence),) = about(cli("health", "EXGW01", "--json"), "groupwise.netware-service")
    assert (verdict, evidence.endswith(": Stopped")) == ("warning", True)
    said = f"variables = {{ groupwise_api = '{API}', netware_service = 'msexchangegwrtr' }}"
    cli.inventory("EXGW01", extra={"EXGW01": said})
    ran = cli("health", "EXGW01", "--json", "--all")
    assert about(ran, "groupwise.netware-service") == [
        ("ok", "MSExchangeGWRtr (Microsoft Exchange Router for Novell GroupWise): Running")
    ]


@pytest.mark.not_under_wine("local")
def test_a_service_for_netware_that_is_not_found_is_unknown(
    private: Callable[..., tuple[Cli, World]],
) -> None:
    cli, world = private(HostSpec("EXNONE01", ("groupwise",)))
    world.client.edit("EXNONE01", "remove_service", name="NWCWorkstation")
    (found,) = [
        f for f in cli("health", "--json").json["findings"] if f["check"] == "groupwise.netware-service"
    ]
    assert (found["verdict"], found["evidence"]) == ("unknown", "none was found of NWCWorkstation, Novell*")
    assert "netware_service = 'NAME'" in found["remedy"]
    extra = f"variables = {{ groupwise_api = '{API}', netware_service = 'SITENW' }}"
    cli.inventory("EXNONE01", extra={"EXNONE01": extra})
    ((verdict, evidence),) = about(cli("health", "--json"), "groupwise.netware-service")
    assert (verdict, "SITENW" in evidence) == ("warning", True)


@pytest.mark.not_under_wine("time")
def test_a_second_library_on_the_path_is_told(cli: Cli, world: World) -> None:
    def path(text: str) -> None:
        world.client.edit(
            "EXNOTES01", "set_registry", key=ENVIRONMENT, name="Path", data=text, kind="ExpandString"
        )

    ran = cli("health", "EXNOTES01", "--json", "--all")
    assert about(ran, "notes.second-library") == [("ok", "no other nnotes.dll is on the PATH")]
    world.write("EXNOTES01", r"D:\Tools\NNotes.dll", b"MZ")
    world._undo.append(lambda: path(PATH))
    path(rf"{PATH};D:\Nowhere;D:\Tools\;C:\Lotus\Notes\;relative;?|<;C:\lotus\NOTES")
    ran = cli("health", "EXNOTES01", "--json", "--all")
    ((verdict, evidence),) = about(ran, "notes.second-library")
    assert verdict == "warning"
    assert evidence.lower() == r"beside c:\lotus\notes\nnotes.dll: d:\tools\nnotes.dll"


# ------------------------------------------------------------------ the API directory


@pytest.mark.not_under_wine("judged")
def test_an_empty_file_counts_from_an_age_on(cli: Cli, world: World) -> None:
    """Every file is empty when it has just been made; one that stays is the sign of a stuck gateway."""
    world.write("EXGW01", rf"{API}\API_OUT\NEW1.API", b"")
    world.write("EXGW01", rf"{API}\ATT_IN\NEW1.DAT", b"")
    ran = cli("health", "EXGW01", "--json", "--all")
    for check in ("groupwise.api-out-zero-byte", "groupwise.att-in-zero-byte"):
        ((verdict, evidence),) = about(ran, check)
        assert (verdict, "1 file, 0 bytes, 1 empty" in evidence) == ("ok", True)
    old = datetime.now(UTC) - timedelta(minutes=20)
    world.write("EXGW01", rf"{API}\API_OUT\OLD1.API", b"", modified=ticks(old))
    world.write("EXGW01", rf"{API}\API_OUT\OLD2.API", b"x", modified=ticks(old - timedelta(minutes=5)))
    ran = cli("health", "EXGW01", "--json", code=5)
    ((verdict, evidence),) = about(ran, "groupwise.api-out-zero-byte")
    assert verdict == "critical"
    assert evidence.endswith(f"the oldest empty one of {old:%Y-%m-%d %H:%M} UTC")
    assert "3 files, 1 byte, 2 empty" in evidence


@pytest.mark.not_under_wine("changing")
def test_a_file_that_is_fetched_meanwhile_hides_no_queue(cli: Cli, world: World) -> None:
    world.write("EXGW01", rf"{API}\API_OUT\GONE.API", b"")
    world.client.edit("EXGW01", "vanish", path=rf"{API}\API_OUT\GONE.API")
    ran = cli("health", "EXGW01", "--json", "--all")
    assert about(ran, "groupwise.api-out-age") == [("ok", "API_OUT: 0 files, 0 bytes, 0 empty")]


def test_a_probe_file_that_cannot_be_read_is_not_called_gone(cli: Cli, world: World) -> None:
    """Neither by the look nor by the probe, which goes on and says what it could not take away."""
    left = rf"{API}\EXPR0009.TMP"
    world.lock("EXGW01", left)
    for options in ((), ("--probe",)):
        ran = cli("health", "EXGW01", "--json", "--all", *options)
        ((verdict, evidence),) = about(ran, "api.leftovers")
        assert (verdict, "EXPR0009.TMP" in evidence, "removed" in evidence) == ("unknown", True, False)
    assert about(ran, "api.probe", "written, read back, removed")[0][0] == "ok"
    assert world.exists("EXGW01", left)


# ------------------------------------------------------------------ backup


@pytest.mark.not_under_wine("judged")
def test_a_table_that_is_locked_is_unknown_and_not_gone(cli: Cli, world: World) -> None:
    table = rf"{CONNDATA}\Tables\busy.tbl"
    cli.inventory("EXNOTES01")
    cli.init()
    world.write("EXNOTES01", table, b"correlations")
    cli("backup", "--only", "notes")
    world.client.edit("EXNOTES01", "lock_file", path=table)
    world._undo.append(lambda: world.unlock("EXNOTES01", table))
    (host,) = cli("backup", "--only", "notes", "--json", code=3).json["hosts"]
    told = [(f["verdict"], f["evidence"]) for f in host["findings"] if f["check"] == "table.shrunk"]
    assert told == [
        ("unknown", r"Tables\busy.tbl cannot be read (it is locked by another process); it had 12 bytes")
    ]


# ------------------------------------------------------------------ files that say what no host says


@pytest.mark.not_under_wine("local")
@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("trees", "conndata", "entries", 0, "modified_ticks"), 10**30),
        (("trees", "conndata", "entries", 0, "modified_ticks"), -1),
        (("trees", "conndata", "entries", 0, "size"), 10**400),
        (("host_fact", "disks", 0, "free"), 10**400),
        (("host_fact", "disks", 0, "total"), -(10**400)),
        (("collected_at",), "0001-01-01T00:00:00+14:00"),
        (("host_fact", "utc_now"), "9999-12-31T23:59:59-14:00"),
    ],
    ids=str,
)
def test_facts_that_no_host_has_are_refused(cli: Cli, place: tuple[str | int, ...], value: object) -> None:
    facts: Any = json.loads((FACTS / "sick.json").read_text())
    inner = facts
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    (cli.folder / "evil.json").write_text(json.dumps(facts))
    ran = cli("health", "--facts", "evil.json", code=2)
    assert "evil.json holds no recorded facts: facts file: facts." in ran.err
    assert str(place[-1]) in ran.err


@pytest.mark.not_under_wine("local")
def test_a_version_without_end_is_no_version(cli: Cli) -> None:
    facts = json.loads((FACTS / "healthy.json").read_text())
    facts["host_fact"]["powershell_version"] = "9" * 5000
    (cli.folder / "evil.json").write_text(json.dumps(facts))
    ((verdict, evidence),) = about(cli("health", "--facts", "evil.json", "--json"), "host.powershell")
    assert (verdict, len(evidence) < 100) == ("unknown", True)

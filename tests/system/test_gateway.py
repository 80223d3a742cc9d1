"""A host that has no WinRM, through a gateway that has: the whole way, and what can go wrong on it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import BULK, CONNDATA, Cli, World, both_ways, manifest_of

from exremote.credential import Secret
from exremote.inventory import Inventory
from exremote.lab.client import RunningLab, running_lab
from exremote.lab.site import HostSpec
from exremote.session import Session

HOST, OTHER, THIRD, GATEWAY = "EXNOTES02", "EXMSMAIL02", "EXGW02", "GW01"
API = r"\\NWFS05\SYS\GWDOM\WPGATE\API"
NOTES = r"C:\Lotus\Notes"
AMAP = rf"{CONNDATA}\Dxamex\Amap.tbl"
TABLE = rf"{CONNDATA}\Tables\lab0002.tbl"
DLL = rf"{NOTES}\nnotes.dll"
KEY = r"HKLM\SOFTWARE\Lotus\Notes"
WORK = rf"{CONNDATA}\broken.seq"
HOLLOW = rf"{CONNDATA}\Hollow"
EVENTS = {"notes.process-events", "controller.access-list", "notes.events"}
"""Checks of the event log, which Wine cannot open: nothing is said of it then."""
PROCESSES = {"notes.processes", "notes.client-closed"}
"""Checks of what runs, which only WMI tells of another computer: Wine has it not."""
LOCAL = "S-1-5-21-4-5-6-1001"
CLOSED = f"O:S-1-5-32-544D:P(A;OICI;0x1f01ff;;;S-1-5-18)(A;OICI;0x1301bf;;;{LOCAL})"
"""An access list with an account that only one machine knows."""
DO = ("--yes", "--confirmed", "notes-client", "--grace", "0")
simulated = pytest.mark.not_under_wine("accounts")


@pytest.fixture(scope="module")
def lab(engine: str) -> Iterator[RunningLab]:
    """Run a lab of one host with the connector for Lotus Notes behind a gateway; simulated: of another."""
    hosts = both_ways(HostSpec(HOST, ("notes",), os="2000", bulk=(BULK,)), "gateway")
    if engine == "simulated":
        hosts += (HostSpec(OTHER, ("msmail",), os="2000", via=GATEWAY),)
        hosts += (HostSpec(THIRD, ("groupwise", "calendar"), os="2000", via=GATEWAY, api=API),)
    with running_lab(hosts, wine=engine == "powershell") as lab:
        yield lab


@pytest.fixture
def site(cli: Cli, engine: str) -> Cli:
    """Return a command line with that host in its inventory, and a repository."""
    if engine == "powershell":
        cli.gateway = ['second_hop = "delegated"', "wmi = false"]
    cli.inventory(HOST)
    cli.init()
    return cli


def snapshot(site: Cli) -> Path:
    """Return the folder of the newest snapshot of the connector."""
    return site.folders_of(HOST, "notes")[-1]


def alarms(site: Cli) -> set[str]:
    """Return the checks that are not well on the host, as health has them."""
    told = site("health", HOST, "--json", code=None).json
    return {f["check"] for f in told["findings"] if f["verdict"] in ("critical", "unknown")}


def test_back_up_break_restore_undo(site: Cli, world: World) -> None:
    """All of it by shares, RPC and the remote registry, and held against the machine itself."""
    bad = alarms(site)
    end = time.monotonic() + 30
    while "service.dependencies" in bad and time.monotonic() < end:  # Wine's own services start behind it
        time.sleep(1)
        bad = alarms(site)
    # Wine has no directory and no event log, and its gateway may ask no WMI.
    unseen = {"host.clock", "host.disk-space", *PROCESSES}
    assert bad <= (unseen if world.engine == "powershell" else set()) | {
        check
        for check in bad
        if world.engine == "powershell" and (check.startswith(("directory.", "events.")) or check in EVENTS)
    }
    world.client.edit(HOST, "make_directory", path=HOLLOW)
    own = {HOLLOW: CLOSED, DLL: f"O:S-1-5-32-544D:(A;;0x1200a9;;;{LOCAL})"}
    listed = own if world.engine == "simulated" else {}  # Wine makes lists up
    for path, sddl in listed.items():
        world.client.edit(HOST, "set_security", path=path, list=sddl)
    first = site("backup", HOST, "--json").json["hosts"][0]
    assert first["state"] == "done", first
    manifest = manifest_of(snapshot(site))
    assert {e["path"] for e in manifest["entries"]} >= {r"Dxamex\Amap.tbl", r"Tables\lab0002.tbl"}
    services = json.loads((snapshot(site) / "services.json").read_text())
    assert {s["name"]: s["state"] for s in services}["LME-NOTES"] == "Running"
    (exported,) = snapshot(site).glob("*.reg") if list(snapshot(site).glob("*.reg")) else [None]
    if exported is not None:
        assert "Lotus" in exported.read_text(encoding="utf-16")
    again = site("backup", HOST, "--json").json["hosts"][0]
    assert "unchanged" in json.dumps(again)

    before = {path: world.read(HOST, path) for path in (AMAP, TABLE, DLL)}
    world.remove(HOST, AMAP)
    world.client.edit(HOST, "remove_file", path=HOLLOW)
    world.write(HOST, TABLE, b"")
    world.write(HOST, DLL, b"MZ another version")
    world.write(HOST, WORK, b"a work file")
    world.set_registry(HOST, KEY, "Path", "D:\\wrong\\", "C:\\Lotus\\Notes\\")
    world.stop_service(HOST, "LME-NOTES")
    done = site("restore", f"{HOST}/{snapshot(site).name}", *DO, "--json").json["hosts"][0]
    assert done["state"] == "done", done
    assert (done["done"]["files"], done["done"]["values"]) == (3, 1)
    assert done["done"]["folders_made"] == 1
    assert {path: world.read(HOST, path) for path in before} == before
    # By the share, with an account of the host itself that its gateway does not know.
    assert {path: world.client.edit(HOST, "security", path=path)["list"] for path in listed} == listed
    assert not world.exists(HOST, WORK)
    assert not world.exists(HOST, r"C:\Program Files\Exchsrvr\exremote-staging-conndata")

    if world.engine == "powershell":  # an undo is a restore of its own, and Wine's minutes are dear
        return
    run = next(r["run"] for r in site("runs", "--json").json if r["verb"] == "restore")
    undone = site("undo", run, *DO, "--json").json["hosts"][0]
    assert undone["state"] == "done", undone
    assert undone["done"]["folders_removed"] == 1
    assert not world.exists(HOST, AMAP)
    assert world.read(HOST, DLL) == b"MZ another version"
    shown = site("restore", f"{HOST}/{snapshot(site).name}", "--dry-run").out
    assert r'REG_SZ "D:\\wrong\\" -> REG_SZ "C:\\Lotus\\Notes\\"' in shown
    site("restore", f"{HOST}/{snapshot(site).name}", *DO)
    assert {path: world.read(HOST, path) for path in before} == before


@simulated
def test_groupwise_and_the_calendar_go_the_same_way(site: Cli, world: World) -> None:
    """Their tables, the router, and an API directory that is a third machine's."""
    media = "netware_media = 'shelf 3'"
    site.inventory(THIRD, extra={THIRD: f"variables = {{ groupwise_api = '{API}', {media} }}"})
    told = site("health", THIRD, "--json", code=None).json
    assert {f["check"] for f in told["findings"] if f["verdict"] in ("critical", "unknown")} == set()
    first = site("backup", THIRD, "--json").json["hosts"][0]
    assert {s["connector"] for s in first["snapshots"]} == {"groupwise", "calendar"}
    assert "groupwise unchanged" in site("backup", THIRD).out
    table = rf"{CONNDATA}\DxaGwise\Mapgwise.tbl"
    before = world.read(THIRD, table)
    world.write(THIRD, table, b"not the table")
    world.write(THIRD, WORK, b"a work file")
    world.stop_service(THIRD, "LME-GWISE")
    done = site("restore", "--latest", THIRD, *DO, "--json").json["hosts"][0]
    assert done["state"] == "done", done
    assert world.read(THIRD, table) == before
    assert not world.exists(THIRD, WORK)
    told = site("health", THIRD, "--json", code=None).json
    assert {f["check"] for f in told["findings"] if f["verdict"] in ("critical", "unknown")} == set()


@pytest.mark.not_under_wine("time")
def test_a_drill_behind_a_gateway_leaves_nothing(site: Cli, world: World) -> None:
    """Scratch folder and scratch key are over there, and gone at the end."""
    site.inventory(HOST, extra={HOST: f"drill_on = '{HOST}'\ndrill_folder = 'D:\\drill'"})
    site("backup", HOST)
    ran = site("drill", "--latest", HOST, "--json").json["hosts"][0]
    (result,) = ran["drills"]
    assert result["files"] > 0, ran
    assert result["values"] > 0, ran
    assert not world.exists(HOST, rf"D:\drill\exremote-drill-{HOST}\conndata\Exchconn.ini")
    again = site("drill", "--latest", HOST, "--json").json["hosts"][0]  # nothing is in its way
    assert again["state"] == ran["state"] == "done"


def test_the_doctor_goes_the_whole_way(site: Cli, world: World) -> None:
    """Stages of the gateway, then those beyond it."""
    stages = {s["stage"]: s for s in site("doctor", HOST, "--json", code=None).json["hosts"][0]["stages"]}
    assert f"{HOST} through {GATEWAY}" in stages["inventory"]["sentence"]
    assert list(stages)[10:13] == ["shell", "gateway", "target"]
    if world.engine == "powershell":  # a share of Wine is a link, and no port is open for it
        assert (
            "reaches no file sharing" in stages["gateway"]["sentence"]
            or "no address" in stages["gateway"]["sentence"]
        )
        assert stages["target"]["verdict"] == "skipped"
        return
    assert stages["target"]["verdict"] == "ok"
    assert "TCP 445 is open" in stages["gateway"]["sentence"]
    assert {s["verdict"] for s in stages.values()} <= {"ok", "skipped"}


@simulated
def test_what_runs_behind_a_gateway_only_wmi_tells(site: Cli, world: World) -> None:
    ran = site("health", HOST, "--json", "--all").json["findings"]
    assert {f["verdict"] for f in ran if f["check"] in PROCESSES} == {"ok"}
    site.gateway = ["wmi = false"]
    site.inventory(HOST)
    ran = site("health", HOST, "--json", "--all", code=None).json["findings"]
    told = [(f["verdict"], "only WMI tells" in f["evidence"]) for f in ran if f["check"] in PROCESSES]
    assert told == [("unknown", True)] * 2


@simulated
def test_a_refused_second_hop_is_said_and_tried_once(site: Cli, world: World) -> None:
    site.more = {"OTHER_PASSWORD": "not the one"}
    site.inventory(
        HOST, extra={HOST: "credential = { environment = 'OTHER_PASSWORD', username = 'OLD\\admin' }"}
    )
    ran = site("backup", HOST, code=21)
    assert f"{GATEWAY} could not log on there" in ran.all
    assert "administrator of the host itself" in ran.all
    assert site.snapshots() == []


@simulated
def test_the_doctor_tries_a_refused_account_at_no_other_host(site: Cli, world: World) -> None:
    """Some hosts of one account, and a wrong password for it: each try would be one towards a lock."""
    site.more = {"OTHER_PASSWORD": "not the one"}
    said = "credential = { environment = 'OTHER_PASSWORD', username = 'OLD\\admin' }"
    site.inventory(HOST, OTHER, extra={HOST: said, OTHER: said})
    hosts = site("doctor", HOST, OTHER, "--json", code=None).json["hosts"]
    found = {h["host"]: {s["stage"]: s for s in h["stages"]}["target"] for h in hosts}
    assert {stage["verdict"] for stage in found.values()} == {"failed"}
    assert f"{GATEWAY} could not log on there" in found[HOST]["sentence"]
    assert f"was refused when {HOST} was tried in this run" in found[OTHER]["sentence"]


def test_a_path_that_no_share_leads_to_spoils_no_other_answer(site: Cli, world: World) -> None:
    """As a service or the registry may have it: what means the gateway to whoever reads it there."""
    site.inventory(HOST)
    host = Inventory.load(site.folder / "site.toml").hosts[HOST]
    account = Secret(site.lab.user, site.lab.password)
    well, odd = r"C:\Lotus\Notes\Notes.ini", r"\\?\C:\Lotus\Notes\Notes.ini"
    with Session(host, account, own_account=account) as session:
        session.open()
        found = session.file_facts([odd, well, "Notes.ini"])
        nothing = session.file_facts([odd])
    assert [fact.path for fact in found] == [odd, well, "Notes.ini"]
    assert [fact.exists for fact in found] == [False, True, False]
    assert {bool(fact.error) for fact in (found[0], found[2], *nothing)} == {True}
    assert "no place on the host" in found[0].error


@simulated
def test_one_path_that_no_share_leads_to_is_lacking_alone(site: Cli, world: World) -> None:
    """A line of Notes.ini that means the gateway to whoever reads it there: the rest is saved."""
    ini = r"C:\Lotus\Notes\Notes.ini"
    text = world.read(HOST, ini).decode().replace(r"C:\Lotus\Notes\Data\exchange.id", r"\\.\C:\exchange.id")
    world.write(HOST, ini, text.encode())
    site.inventory(HOST)
    ran = site("backup", HOST, "--json", code=3)
    (host,) = ran.json["hosts"]
    (lacking,) = host["missing"]
    assert lacking["what"] == r"file \\.\C:\exchange.id"
    assert "no place on the host that its shares lead to" in lacking["reason"]
    (folder,) = site.folders_of(HOST, "notes")
    assert {entry["item"] for entry in manifest_of(folder)["entries"]} >= {"conndata", "notes-ini"}


@pytest.mark.not_under_wine("records")
def test_a_log_on_at_the_host_that_is_never_answered_is_tried_twice_and_no_more(
    site: Cli, world: World
) -> None:
    """Nobody can tell whether the password was taken: each more could be one towards a lock."""
    site.inventory(HOST, retry="attempts = 6\nfirst_wait_s = 0.05")
    world.fault("*:Connect-Share:*:gone")
    ran = site("health", HOST, "--json", code=None)
    assert world.struck() == 2
    assert ran.code == 21, ran.all
    assert "2 times the line broke after the password had been sent" in ran.all
    world.client.clear_faults()


@pytest.mark.not_under_wine("records")
def test_services_that_stand_where_a_host_went_away_are_named_and_started_by_the_next_run(
    site: Cli, world: World
) -> None:
    """It went in the middle of a copy for which they were stopped."""
    site.inventory(OTHER, extra={OTHER: "backup = ['connectors', 'stopped-copy']"}, retry="attempts = 1")
    world.fault(f"{OTHER}:Copy-FileTree:1:unplug")
    ran = site("backup", OTHER, code=20)
    assert "may still be stopped there: MSExchangeMSMI, MTA2" in ran.all
    world.client.clear_faults()
    again = site("backup", OTHER)
    assert "MSExchangeMSMI, MTA2, PCMTA Vienna, MSExchangeDX: put back" in again.all
    site.gateway = ["wmi = false"]  # nothing stops where nobody knows whether a copy has room
    site.inventory(OTHER, extra={OTHER: "backup = ['connectors', 'stopped-copy']"})
    ran = site("backup", OTHER, code=3)
    assert "how much room its drives have is not known here" in ran.all
    assert "stopped for a copy" not in ran.all


@simulated
def test_a_host_that_is_down_behind_its_gateway(site: Cli, world: World) -> None:
    """The gateway is up: what it sees on the way is the answer."""
    world.fault(f"{HOST}:host:1:refused")
    ran = site("backup", HOST, code=20)
    assert "reaches no file sharing" in ran.all
    assert "TCP 445" in ran.all
    stages = {s["stage"]: s for s in site("doctor", HOST, "--json", code=None).json["hosts"][0]["stages"]}
    assert stages["gateway"]["verdict"] == "failed"
    assert stages["target"]["verdict"] == "skipped"


def test_a_drive_that_the_host_has_not_is_a_finding_and_no_host_that_is_away(site: Cli, world: World) -> None:
    """Its registry still names a drive that somebody took out: told as on a host that is asked directly."""
    world.set_registry(HOST, KEY, "Path", "Q:\\wrong\\", "C:\\Lotus\\Notes\\")
    found = site("health", HOST, "--json", code=None)
    assert found.code != 20, found
    assert found.json["findings"]
    assert not [
        f for f in found.json["findings"] if f["check"] == "host.exchange" and f["verdict"] == "unknown"
    ]


@simulated
def test_a_gateway_that_speaks_no_smb_1(site: Cli, world: World) -> None:
    services = r"HKLM\SYSTEM\CurrentControlSet\Services"
    world.client.edit(GATEWAY, "set_registry", key=rf"{services}\mrxsmb10", name="Start", data=4)
    try:
        stages = {s["stage"]: s for s in site("doctor", HOST, "--json", code=None).json["hosts"][0]["stages"]}
    finally:
        world.client.edit(GATEWAY, "set_registry", key=rf"{services}\mrxsmb10", name="Start", data=3)
    assert stages["gateway"]["verdict"] == "failed"
    assert "SMB1Protocol-Client" in stages["gateway"]["fix"]


@simulated
def test_a_gateway_that_insists_on_signing_and_a_firewall_before_wmi(site: Cli, world: World) -> None:
    """Neither stops a host that answers all the same: the doctor names both, a run what it meets."""
    parameters = r"HKLM\SYSTEM\CurrentControlSet\Services\LanmanWorkstation\Parameters"
    world.set_registry(GATEWAY, parameters, "RequireSecuritySignature", 1, 0)
    world.client.edit(GATEWAY, "filter_wmi", host=HOST, filtered=True)
    world._undo.append(lambda: world.client.edit(GATEWAY, "filter_wmi", host=HOST, filtered=False))
    stages = {s["stage"]: s for s in site("doctor", HOST, "--json", code=None).json["hosts"][0]["stages"]}
    assert stages["gateway"]["verdict"] == "warning"
    assert "only where messages are signed (RequireSecuritySignature)" in stages["gateway"]["sentence"]
    assert "TCP 135 is silent" in stages["gateway"]["sentence"]
    assert "EnableSecuritySignature" in stages["gateway"]["fix"]
    assert "wmi = false" in stages["gateway"]["fix"]
    ran = site("backup", HOST, code=None)
    assert "TCP 135" in ran.all
    assert "wmi = false" in ran.all


@pytest.mark.not_under_wine("records")
def test_a_share_that_goes_while_it_is_read_is_no_empty_folder(site: Cli, world: World) -> None:
    """To Windows all files are gone then. Nothing may be called unchanged, missing or done."""
    site("backup", HOST)
    ids = [s["id"] for s in site.snapshots()]
    # After the service states the host goes: each folder that is asked for then seems not to be there.
    world.fault(f"{HOST}:Get-FileTree:1:unplug")
    ran = site("backup", HOST, code=None)
    assert ran.code in (3, 20), ran
    assert [s["id"] for s in site.snapshots() if not s["missing"]] == ids
    assert "gets no answer from" in ran.all or "TCP 445" in ran.all
    world.client.clear_faults()
    assert "unchanged" in json.dumps(site("backup", HOST, "--json").json)


@pytest.mark.not_under_wine("records")
def test_a_share_that_goes_between_files_has_lost_none(site: Cli, world: World) -> None:
    """It is back before patience ends: what was asked for meanwhile is no file that was removed."""
    world.fault(f"{HOST}:Read-FilePack:2:unplug")
    site.inventory(HOST, retry="attempts = 1")
    ran = site("backup", HOST, code=None)
    assert ran.code == 20, ran
    assert "was gone when it was to be read" not in ran.all
    world.client.clear_faults()
    assert site("backup", HOST, "--json").json["hosts"][0]["state"] == "done"
    assert not any(each["missing"] for each in site.snapshots())


@pytest.mark.not_under_wine("jobs")
def test_ntbackup_runs_behind_a_gateway(site: Cli, world: World) -> None:
    ran = site("backup", HOST, "--only", "systemstate", "--json").json["hosts"][0]
    assert ran["state"] == "done", ran
    # Where it stays on the host, it is read and looked at over the host's own shares.
    site.inventory(HOST, extra={HOST: r"ntbackup = { bkf_folder = 'C:\bkf' }"})
    site("backup", HOST, "--only", "systemstate")
    (one,) = manifest_of(site.folders_of(HOST, "systemstate")[-1])["elsewhere"]
    assert len(world.read(HOST, one["place"])) == one["size"]
    assert ": whole" in site("verify", "--on-host").out
    world.remove(HOST, one["place"])
    assert "is not there" in site("verify", "--on-host", code=13).out
    site.gateway = ["wmi = false"]
    site.inventory(HOST)
    refused = site("backup", HOST, "--only", "systemstate", code=None)
    assert refused.code in (3, 22), refused
    assert "wmi = false" in refused.all

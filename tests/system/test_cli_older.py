"""The connectors for Microsoft Mail and Lotus cc:Mail, which Exchange 2000 alone has: found, judged, saved.

What is locked is missing, and the snapshot says so; what cc:Mail makes again by itself is left out, and it
says that too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import NOT_UNDER_WINE, Cli, Ran, World, both_ways, manifest_of

from exremote.lab import older
from exremote.lab.client import RunningLab, running_lab
from exremote.lab.programs import dos_program
from exremote.lab.site import HostSpec

HOST = "EXOLD01"
SAID = {"dirsync_role": "requestor", "ccmail_post_office": older.POST_OFFICE}
IMPORT, EXPORT = (rf"{older.TOOLS}\{name}" for name in ("Import32.exe", "Export32.exe"))
ELSEWHERE = r"C:\Program Files\Exchsrvr\Connect\Msmcon\Maildata"


@pytest.fixture(scope="module", params=["direct", "gateway"])
def lab(engine: str, request: pytest.FixtureRequest) -> Iterator[RunningLab]:
    """Run a lab of one host that has both connectors, asked directly or through a gateway."""
    wine = engine == "powershell"
    if wine and request.param == "gateway":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['time']}")  # test_gateway.py goes that way
    with running_lab(
        both_ways(HostSpec(HOST, ("msmail", "ccmail"), os="2000"), request.param), wine=wine
    ) as lab:
        yield lab


@pytest.fixture
def old(cli: Cli) -> Cli:
    """Return a command line with a repository and that host in its inventory."""
    site(cli)
    cli.init()
    return cli


def site(cli: Cli, lines: str = "", **more: str) -> None:
    """Write the inventory: what the operator says of the host, and lines for it."""
    said = ", ".join(f"{name} = '{text}'" for name, text in {**SAID, **more}.items())
    cli.inventory(HOST, extra={HOST: f"variables = {{ {said} }}\n{lines}"})


def findings(ran: Ran, check: str) -> list[tuple[str, str]]:
    """Return verdict and evidence of the findings of one check."""
    return [(f["verdict"], f["evidence"]) for f in ran.json["findings"] if f["check"] == check]


def saved(ran: Ran, connector: str) -> tuple[Path, dict[str, Any]]:
    """Return folder and manifest of the snapshot of a connector that a run made, or found unchanged."""
    (made,) = [s for host in ran.json["hosts"] for s in host["snapshots"] if s["connector"] == connector]
    (folder,) = Path(ran.json["repository"]).glob(f"snapshots/{HOST}/{made['id']}")
    return folder, manifest_of(folder)


def share(world: World, folder: str) -> None:
    """Have the share Maildat$ name another folder."""

    def say(path: str) -> None:
        lines = ["CSCFlags=0", f"Path={path}", "Type=0"]
        world.client.edit(HOST, "set_registry", key=older.SHARES, name="Maildat$", data=lines)

    say(folder)
    world._undo.append(lambda: say(older.MAILDATA))


@pytest.mark.not_under_wine("time")
def test_discover_finds_both(old: Cli) -> None:
    ran = old("inventory", "discover", HOST, "--json")
    assert ran.json["hosts"][0]["connectors"] == ["ccmail", "msmail"]
    seen = {row["connector"]: row for row in ran.json["hosts"][0]["evidence"]}
    assert rf"folder {older.MAILDATA}" in seen["msmail"]["evidence"]
    assert rf"folder {older.CCMCDATA}" in seen["ccmail"]["evidence"]
    assert {seen[name]["state"] for name in ("notes", "groupwise")} == {"absent"}


@pytest.mark.not_under_wine("time")
def test_a_healthy_host_is_well_and_says_what_it_has(old: Cli) -> None:
    ran = old("health", HOST, "--json", "--all")
    verdicts = {f["check"]: f["verdict"] for f in ran.json["findings"] if f["verdict"] not in ("ok", "info")}
    assert verdicts == {}
    ((verdict, mtas),) = findings(ran, "msmail.pc-mtas")
    assert verdict == "ok"
    assert all(name in mtas for name in older.MTAS)
    running = [evidence for _, evidence in findings(ran, "service.running")]
    assert {"MTA2: Running", "PCMTA Vienna: Running"} <= set(running)
    ((verdict, runs),) = findings(ran, "ccmail.directory-sync")
    assert (verdict, "begun 1 time" in runs, "ended 1 time" in runs) == ("ok", True, True)
    ((verdict, tools),) = findings(ran, "ccmail.tools")
    assert (verdict, tools.count("a program of Windows, version 8.50.2.0")) == ("ok", 2)
    for check in ("msmail.share", "msmail.place", "ccmail.companions", "ccmail.post-office"):
        assert findings(ran, check)[0][0] == "ok", check


@pytest.mark.not_under_wine("time")
def test_the_post_office_is_saved_from_where_it_was_moved_to(old: Cli) -> None:
    """Two files of it are held by its services: they are missing, and it is incomplete."""
    ran = old("backup", "--only", "msmail", "--json", code=3)
    folder, manifest = saved(ran, "msmail")
    assert manifest["complete"] is False
    reasons = {o["path"]: o["reason"] for o in manifest["missing"]}
    database = r"C:\Program Files\Exchsrvr\Dxadata\Xdir.edb"
    assert sorted(reasons) == sorted([*older.HELD, database])
    for reason in reasons.values():
        assert "locked by another process" in reason
        assert ".. " not in reason
        assert "MSExchangeMSMI, MTA2, PCMTA Vienna" in reason
    assert {item: tree["root"] for item, tree in manifest["trees"].items()}["maildata"] == older.MAILDATA
    paths = {e["path"] for e in manifest["entries"] if e["item"] == "maildata"}
    assert {r"Glb\Process.glb", r"Mbg\lab0005.mbg", r"Key\lab0001.key"} <= paths
    keys = {path.stem for path in (folder / "registry").glob("*.reg")}
    assert {"msmail-interchange", "msmail-pc-mta-MTA2", "shares"} <= keys
    (vienna,) = (folder / "registry").glob("msmail-pc-mta-PCMTA-Vienna-*.reg")
    assert "(PC) MTA - PCMTA Vienna" in vienna.read_text("utf-16")
    assert "Maildat$" in (folder / "registry" / "shares.reg").read_text("utf-16")
    states = {s["name"]: s for s in json.loads((folder / "services.json").read_text())}
    order = [name for name in states if states[name]["exists"]]
    assert order == ["MSExchangeMSMI", "MTA2", "PCMTA Vienna", "MSExchangeDX"]
    assert states["MTA2"]["account"] == "LocalSystem"
    facts = json.loads((folder / "facts.json").read_text())
    assert facts["roots"]["dirsync_role"] == "requestor"
    assert facts["looked_at"][0]["path"].endswith("labpcmta.exe")
    assert "no damage" in old("verify").out


def test_with_its_services_stopped_for_a_copy_the_post_office_is_whole(
    old: Cli, world: World, engine: str
) -> None:
    """They run again before anything is sent; the copy on the host is gone at the end."""
    # Wine's WMI hangs: there is no guard there, as on any host without.
    no_wmi = '\nntbackup = { start = "direct" }' if engine == "powershell" else ""
    site(old, 'backup = ["connectors", "stopped-copy"]' + no_wmi)
    ran = old("backup", "--only", "msmail", "--json")
    _, manifest = saved(ran, "msmail")
    assert manifest["complete"] is True
    entries = {(e["item"], e["path"]): e["size"] for e in manifest["entries"]}
    assert entries["maildata", r"Key\Inqueue3.key"] == 8192
    assert ("maildata", r"Mbg\Inqueue3.mbg") in entries
    assert entries["dxadata", "Xdir.edb"] == 65_536
    roots = {item: tree["root"] for item, tree in manifest["trees"].items()}
    assert roots["maildata"] == older.MAILDATA
    (told,) = [w for w in ran.json["hosts"][0]["warnings"] if "stopped for a copy" in w]
    guard = [w for w in ran.json["hosts"][0]["warnings"] if "has no guard" in w]
    assert bool(guard) is bool(no_wmi)
    assert told.startswith("MSExchangeMSMI, MTA2, PCMTA Vienna, MSExchangeDX: ")
    again = old("backup", "--only", "msmail", "--json").json["hosts"][0]
    assert [s["state"] for s in again["snapshots"]] == ["unchanged"]
    assert again["sent_files"] == 0
    assert not world.exists(HOST, r"D:\exremote-copy-maildata\Glb\Process.glb")
    states = [evidence for _, evidence in findings(old("health", HOST, "--json", "--all"), "service.running")]
    assert all(f"{name}: Running" in states for name in ("MSExchangeMSMI", *older.MTAS, "MSExchangeDX"))


@pytest.mark.not_under_wine("time")
def test_a_share_that_names_another_place_is_told_and_spoils_the_snapshot(old: Cli, world: World) -> None:
    share(world, ELSEWHERE)
    ((verdict, evidence),) = findings(old("health", HOST, "--json"), "msmail.place")
    assert verdict == "warning"
    assert older.MAILDATA in evidence
    assert ELSEWHERE in evidence
    _, manifest = saved(old("backup", "--only", "msmail", "--json", code=3), "msmail")
    (reason,) = [o["reason"] for o in manifest["missing"] if o["path"].startswith("proof that")]
    assert "variables = { maildata = 'FOLDER' }" in reason
    site(old, maildata=older.MAILDATA)
    assert findings(old("health", HOST, "--json"), "msmail.place")[0][0] == "info"
    _, manifest = saved(old("backup", "--only", "msmail", "--json", code=3), "msmail")
    assert set(older.HELD) <= {o["path"] for o in manifest["missing"]}
    assert not any(o["path"].startswith("proof that") for o in manifest["missing"])


def test_cc_mail_is_its_programs_and_what_it_makes_again_is_left_out(old: Cli, world: World) -> None:
    folder, manifest = saved(old("backup", "--only", "ccmail", "--json"), "ccmail")
    assert manifest["complete"] is True
    entries = {(e["item"], e["path"]) for e in manifest["entries"]}
    names = {"ccmail-import-program": "Import32.exe", "ccmail-export-program": "Export32.exe"}
    assert set(names.items()) <= entries
    libraries = {path for item, path in entries if item == "ccmail-libraries"}
    assert libraries == {"Cdmw800.dll", "Cfw803.dll", "Ciw803.dll"}
    assert [path for item, path in entries if item == "ccmcdata"] == ["Impexp.ri"]
    left = {o["path"].removeprefix(older.CCMCDATA + "\\"): o["reason"] for o in manifest["omitted"]}
    assert {r"Submit\lab00001.ccm", r"Submit\lab00001.und", "Export.ini"} <= set(left)
    assert "makes this folder's contents again when it starts (KB 328835" in left[r"Submit\lab00001.ccm"]
    assert not any("Submit" in path for _, path in entries)
    assert "Import32.exe" in (folder / "registry" / "ccmail-connector.reg").read_text("utf-16")
    again = old("backup", "--only", "ccmail", "--json").json["hosts"][0]
    assert [s["state"] for s in again["snapshots"]] == ["unchanged"]
    assert again["sent_files"] == 0
    world.write(HOST, rf"{older.CCMCDATA}\Submit\lab00002.ccm", b"more mail")
    again = old("backup", "--only", "ccmail", "--json").json["hosts"][0]
    assert [s["state"] for s in again["snapshots"]] == ["unchanged"]


@pytest.mark.not_under_wine("time")
def test_undelivered_mail_is_saved_where_the_inventory_wants_it(old: Cli) -> None:
    site(old, 'backup = ["connectors", "undelivered-mail"]')
    folder, manifest = saved(old("backup", "--only", "ccmail", "--json"), "ccmail")
    assert manifest["complete"] is True
    (mail,) = [e for e in manifest["entries"] if e["item"] == "ccmail-undelivered"]
    assert (mail["path"], mail["secret"]) == ("lab00001.ccm", True)
    assert (folder / mail["stored"]).read_bytes() == b"lab mail on its way"
    reasons = {o["path"]: o["reason"] for o in manifest["omitted"]}
    assert "never put back" in reasons[rf"{older.CCMCDATA}\Submit\lab00001.und"]


@pytest.mark.not_under_wine("time")
def test_a_post_office_is_restored_though_its_services_held_it_open(old: Cli, world: World) -> None:
    """What is replaced is saved when they stand, and an undo brings it back."""
    site(old, 'backup = ["connectors", "stopped-copy"]')
    old("backup", "--only", "msmail")
    path = rf"{older.MAILDATA}\Glb\Process.glb"
    before = world.read(HOST, path)
    world.write(HOST, path, b"broken")
    (told,) = old("restore", f"{HOST}/msmail", "--yes", "--grace", "0", "--json").json["hosts"]
    assert told["state"] == "done"
    assert world.read(HOST, path) == before
    run = next(r["run"] for r in old("runs", "--json").json if r["verb"] == "restore")
    old("undo", run, "--yes", "--grace", "0")
    assert world.read(HOST, path) == b"broken"
    states = [evidence for _, evidence in findings(old("health", HOST, "--json", "--all"), "service.running")]
    assert all(f"{name}: Running" in states for name in ("MSExchangeMSMI", *older.MTAS, "MSExchangeDX"))


@pytest.mark.not_under_wine("changing")
def test_mail_that_is_delivered_while_it_is_saved_is_no_loss(old: Cli, world: World) -> None:
    site(old, 'backup = ["connectors", "undelivered-mail"]')
    path = rf"{older.CCMCDATA}\Submit\lab00003.ccm"
    world.client.edit(HOST, "write_file", path=path, data=b"mail that goes")
    world.client.edit(HOST, "vanish", path=path, after=1)
    _, manifest = saved(old("backup", "--only", "ccmail", "--json"), "ccmail")
    assert manifest["complete"] is True
    reasons = {o["path"]: o["reason"] for o in manifest["omitted"]}
    assert "was gone when it was to be read" in reasons[path]


@pytest.mark.not_under_wine("time")
def test_programs_that_corrupt_the_post_office_are_critical(old: Cli, world: World) -> None:
    """Of 16 bit, beside the files of release 8.5; of which the operator may say that they mean nothing."""
    world.write(HOST, IMPORT, dos_program("import of DB6"))
    world.write(HOST, EXPORT, dos_program("export of DB6"))
    ((verdict, evidence),) = findings(old("health", HOST, "--json", code=5), "ccmail.tools")
    assert verdict == "critical"
    assert rf"16 bit, and of release 8.5 speak {older.TOOLS}\Cdmw800.dll" in evidence
    site(old, ccmail_database="DB8")
    ran = old("health", HOST, "--json", "--all", code=5)
    assert findings(ran, "ccmail.tools")[0][0] == "ok"
    ((verdict, evidence),) = findings(ran, "ccmail.companions")
    assert (verdict, evidence.startswith("IE.RI: not found")) == ("critical", True)
    world.write(HOST, rf"{older.TOOLS}\IE.RI", b"lab data")
    ran = old("health", HOST, "--json", "--all")
    assert findings(ran, "ccmail.companions")[0][0] == "ok"
    assert findings(ran, "ccmail.short-names")[0][0] == "ok"
    _, manifest = saved(old("backup", "--only", "ccmail", "--json"), "ccmail")
    assert "IE.RI" in {e["path"] for e in manifest["entries"]}


@pytest.mark.not_under_wine("time")
def test_what_release_8_5_lacks_is_critical_and_a_second_program_a_warning(old: Cli, world: World) -> None:
    world.remove(HOST, rf"{older.CCMCDATA}\Impexp.ri")
    world.remove(HOST, rf"{older.TOOLS}\Cfw803.dll")
    world.write(HOST, rf"{older.TOOLS}\Import.exe", dos_program("another import"))
    ran = old("health", HOST, "--json", code=5)
    ((verdict, evidence),) = findings(ran, "ccmail.companions")
    assert (verdict, evidence) == ("critical", "missing: cfw803.dll, Impexp.ri in Ccmcdata")
    ((verdict, evidence),) = findings(ran, "ccmail.second-tools")
    assert (verdict, evidence.endswith(rf": {older.TOOLS}\Import.exe")) == ("warning", True)


@pytest.mark.not_under_wine("time")
def test_a_program_that_is_gone_is_critical_and_makes_it_incomplete(old: Cli, world: World) -> None:
    world.remove(HOST, EXPORT)
    ran = old("health", HOST, "--json", code=5)
    assert any(v == "critical" and EXPORT in e for v, e in findings(ran, "file.present"))
    assert findings(ran, "ccmail.tools") == [
        ("unknown", "the program Export was not found, or could not be read")
    ]
    _, manifest = saved(old("backup", "--only", "ccmail", "--json", code=3), "ccmail")
    (lack,) = manifest["missing"]
    assert EXPORT in lack["path"]


@pytest.mark.not_under_wine("time")
def test_the_post_office_of_cc_mail_is_looked_for_where_the_operator_says(old: Cli) -> None:
    for place, verdict in ((r"\\CCSRV01\CCDATA\gone", "unknown"), (r"D:\gone", "warning")):
        site(old, ccmail_post_office=place)
        ((seen, evidence),) = findings(old("health", HOST, "--json"), "ccmail.post-office")
        assert (seen, evidence) == (verdict, rf"{place}\CCPOMBOX.* was not seen")
    site(old, ccmail_post_office="")
    ((seen, evidence),) = findings(old("health", HOST, "--json"), "ccmail.post-office")
    assert (seen, evidence) == ("unknown", "nobody says where it is")


@pytest.mark.not_under_wine("denied")
def test_a_service_whose_program_is_closed_to_us_may_be_a_pc_mta(old: Cli, world: World) -> None:
    world.deny(HOST, r"HKLM\SYSTEM\CurrentControlSet\Services\MTA2")
    ((verdict, evidence),) = findings(old("health", HOST, "--json", code=None), "msmail.pc-mtas")
    assert verdict == "unknown"
    assert "MTA2" in evidence


@pytest.mark.not_under_wine("time")
def test_the_role_that_nobody_says_is_unknown(old: Cli) -> None:
    old.inventory(HOST)
    ((verdict, evidence),) = findings(old("health", HOST, "--json"), "msmail.dirsync-role")
    assert verdict == "unknown"
    assert "no key or file says its role" in evidence

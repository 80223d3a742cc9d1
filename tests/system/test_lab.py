"""The lab in a process of its own: it answers real clients, can be changed, leaves nothing behind."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import requests.exceptions
from pypsrp.exceptions import WinRMTransportError
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan

from exremote.inventory import Inventory
from exremote.lab import older
from exremote.lab.client import LabTrouble, RunningLab, running_lab
from exremote.lab.site import STANDARD, Bulk, HostSpec
from exremote.lab.world import ENGINE_VARIABLE
from exremote.script import ScriptLibrary

LIBRARY = ScriptLibrary.load()
CONNDATA = r"C:\Program Files\Exchsrvr\Conndata"
WORK_FILES = ["*.seq", "*.ck"]
needs_wine = pytest.mark.skipif(not os.environ.get(ENGINE_VARIABLE), reason=f"{ENGINE_VARIABLE} is not set")


def connect(lab: RunningLab, host: str, *, https: bool = False) -> WSMan:
    return WSMan(
        "127.0.0.1",
        port=lab.hosts[host],
        ssl=https,
        auth="ntlm",
        encryption="auto",
        username=lab.user,
        password=lab.password,
        cert_validation=str(lab.trust) if https else True,
        no_proxy=True,
    )


def ask(
    lab: RunningLab, host: str, script: str, *, https: bool = False, **parameters: object
) -> tuple[list[Any], list[str]]:
    """Return the records, and the ids of the errors."""
    with RunspacePool(connect(lab, host, https=https)) as pool:
        shell = PowerShell(pool)
        shell.add_script(LIBRARY.get(script).text)
        if parameters:
            shell.add_parameters(parameters)
        output = shell.invoke()
        errors = [str(error.fq_error).split(",")[0] for error in shell.streams.error]
        return [getattr(one, "extended_properties", None) or one for one in output], errors


def text_of(blocks: list[Any]) -> bytes:
    return b"".join(zlib.decompress(one[1:], -15) if one[0] else bytes(one[1:]) for one in blocks)


@pytest.fixture(scope="module")
def lab() -> Iterator[RunningLab]:
    with running_lab(
        (*STANDARD, HostSpec("EXTLS01", https=True, winrm=3, bulk=(Bulk(files=50, size=2000),)))
    ) as lab:
        yield lab


@pytest.fixture(autouse=True)
def calm(request: pytest.FixtureRequest) -> Iterator[None]:
    yield
    if "lab" in request.fixturenames:
        request.getfixturevalue("lab").client.clear_faults()


def test_a_host_says_what_it_is_with_types(lab: RunningLab) -> None:
    (fact,), errors = ask(lab, "EXNOTES01", "Get-HostFact")
    assert errors == []
    assert fact["ComputerName"] == "EXNOTES01"
    assert fact["OSVersion"] == "5.2.3790"
    assert fact["FipsPolicy"] is False
    assert fact["Disks"][0].startswith("C:\\|Fixed|NTFS|")


def test_https_is_trusted_by_the_lab_s_certificate(lab: RunningLab) -> None:
    folder = rf"{CONNDATA}\Tables\bulk"
    records, errors = ask(lab, "EXTLS01", "Get-FileTree", https=True, Path=folder)
    assert errors == []
    assert records[-1]["Files"] == 50
    assert records[-1]["Digest"] == hashlib.sha256(text_of(records[:-1])).hexdigest()


def test_the_inventory_is_one_and_names_every_host(lab: RunningLab) -> None:
    inventory = Inventory.load(lab.inventory)
    ports = {name: host.door.port for name, host in inventory.hosts.items()}
    assert ports | {"GW01": lab.hosts["GW01"]} == {
        name: port or lab.hosts[lab.via[name]] for name, port in lab.hosts.items()
    }
    assert inventory.hosts["EXGW01"].variables["groupwise_api"].startswith("\\\\NWFS01")
    assert lab.password not in lab.inventory.read_text()
    committed = Inventory.load(Path(__file__).parents[2] / "inventory" / "lab.toml")
    assert {*committed.hosts, *committed.gateways} == {spec.name for spec in STANDARD}
    assert {name for name, host in committed.hosts.items() if host.gateway} == set(lab.via)


def test_a_host_that_is_down_refuses(lab: RunningLab) -> None:
    with pytest.raises(requests.exceptions.ConnectionError):
        ask(lab, "EXDOWN01", "Get-HostFact")


def test_a_machine_can_be_changed_from_outside(lab: RunningLab) -> None:
    client = lab.client
    client.edit("EXGW01", "write_file", path=r"C:\Edit\a.txt", data=b"hello")
    client.edit("EXGW01", "lock_file", path=r"C:\Edit\a.txt")
    records, _ = ask(lab, "EXGW01", "Get-FileTree", Path=r"C:\Edit")
    assert b"!ExRemote.FileLocked" in text_of(records[:-1])
    client.edit("EXGW01", "set_service", name="LME-GWISE", state="Stopped")
    (state, *_), _ = ask(lab, "EXGW01", "Get-ServiceState", Name=["LME-GWISE"])
    assert state["State"] == "Stopped"
    client.edit("EXGW01", "set_service", name="LME-GWISE", state="Running")
    client.edit("EXGW01", "set_registry", key=r"HKLM\SOFTWARE\Lab", name="x", data=["a", "b"])
    (value,), _ = ask(lab, "EXGW01", "Get-RegistryValue", Value=[r"HKLM\SOFTWARE\Lab|x"])
    assert (value["Kind"], value["Text"]) == ("MultiString", "a\nb")
    client.edit("EXGW01", "deny", path=r"HKLM\SOFTWARE\Lab")
    records, errors = ask(lab, "EXGW01", "Get-RegistryValue", Value=[r"HKLM\SOFTWARE\Lab|x"])
    assert (records, errors) == ([], ["ExRemote.KeyUnreadable"])
    with pytest.raises(LabTrouble):
        client.edit("EXGW01", "explode")


def test_misfortunes_strike_when_they_are_due(lab: RunningLab) -> None:
    client = lab.client
    client.fault("EXGW01:Get-HostFact:1:throw=ExRemote.Test")
    assert ask(lab, "EXGW01", "Get-HostFact") == ([], ["ExRemote.Test"])
    assert ask(lab, "EXGW01", "Get-HostFact")[1] == []
    client.fault("EXGW01:Create:1:status=503")
    with pytest.raises(Exception, match="503"):
        ask(lab, "EXGW01", "Get-HostFact")
    client.fault("EXGW01:Receive:1:cut=200")
    with pytest.raises(requests.exceptions.RequestException):
        ask(lab, "EXGW01", "Get-HostFact")
    assert [fault["struck"] for fault in client.faults()] == [1, 1, 1]
    with pytest.raises(LabTrouble):
        client.fault("EXGW01:Receive:1:laugh")


def test_a_host_can_refuse_and_restart(lab: RunningLab) -> None:
    lab.client.fault("EXGW01:host:*:refused")
    with pytest.raises(requests.exceptions.ConnectionError):
        ask(lab, "EXGW01", "Get-HostFact")
    assert lab.client.clear_faults("EXGW01") == 1
    with pytest.raises(WinRMTransportError):  # by the end of the pool the connection is another
        with RunspacePool(connect(lab, "EXGW01")):
            assert len(lab.client.shells("EXGW01")) == 1
            lab.client.restart("EXGW01")
            assert lab.client.shells("EXGW01") == []
    assert ask(lab, "EXGW01", "Get-HostFact")[1] == []


def test_counters_and_limits(lab: RunningLab) -> None:
    lab.client.reset_counters("EXNOTES01")
    ask(lab, "EXNOTES01", "Get-HostFact")
    counted = lab.client.counters("EXNOTES01")
    assert counted["shells_created"] == 1
    assert counted["actions"]["Create"] == 1
    lab.client.set_limits("EXNOTES01", max_shells_per_user=0)
    with pytest.raises(Exception, match="2150859173"):
        ask(lab, "EXNOTES01", "Get-HostFact")
    lab.client.set_limits("EXNOTES01", max_shells_per_user=5)
    assert lab.client.shells("EXNOTES01") == []


def test_the_channel_wants_its_token(lab: RunningLab) -> None:
    stranger = type(lab.client)(lab.client.url, "wrong")
    with pytest.raises(LabTrouble):
        stranger.hosts()


def test_nothing_is_left_behind() -> None:
    with running_lab([HostSpec("EX01")]) as lab:
        process = psutil.Process(lab.process.pid)
        folder = lab.inventory.parent
        assert folder.is_dir()
        assert all(one.laddr.ip == "127.0.0.1" for one in process.net_connections() if one.status == "LISTEN")
    assert not folder.exists()
    assert lab.process.returncode == 0


OWN = ("ImagePath", "ImageExists", "Account", "DependsOn")
"""How a service of Windows itself is registered: Wine has its own."""


@needs_wine
@pytest.mark.wine
@pytest.mark.slow
def test_both_engines_see_the_same_machine() -> None:
    """A listing, a service and a registry key come out the same from Microsoft's engine under Wine."""
    hosts = [HostSpec("EXBOTH01", ("notes", "groupwise", "msmail", "ccmail"), sick=True)]
    tools = [rf"{older.TOOLS}\{name}" for name in ("Import32.exe", "Cdmw800.dll", "none.exe")]
    others = [
        older.HELD[0],
        rf"{older.CCMCDATA}\Export.ini",
        rf"{older.POST_OFFICE}\CCPOMBOX.*",
        r"C:\no\*.x",
    ]
    questions: list[tuple[str, dict[str, object]]] = [
        ("Get-FileTree", {"Path": CONNDATA, "Exclude": WORK_FILES}),
        ("Get-FileTree", {"Path": r"\\NWFS01\SYS\GWDOM\WPGATE\API", "NoHash": True}),
        ("Get-ServiceState", {"Name": ["LME-GWISE", "MSExchangeGWRtr", "LME-NOTES", "Nothing"]}),
        ("Get-ServiceState", {"Name": ["MSExchangeMSMI"], "Program": ["\\MSMCON\\bin\\", "dxa.EXE"]}),
        ("Get-FileFact", {"Path": [*tools, *others]}),
        ("Get-RegistryValue", {"Value": [r"HKLM\SOFTWARE\Lotus\Notes|Path", r"HKLM\SOFTWARE\None|x"]}),
        ("Get-RegistryValue", {"Value": [rf"{older.SHARES}|Maildat$"]}),
        ("Test-ApiDirectory", {"Path": r"\\NWFS01\SYS\GWDOM\WPGATE\API", "Probe": True}),
    ]

    def answers(wine: bool) -> list[object]:
        with running_lab(hosts, wine=wine) as lab:
            lab.client.edit("EXBOTH01", "set_service", name="MSExchangeGWRtr", state="Stopped")
            found: list[object] = []
            for script, parameters in questions:
                records, errors = ask(lab, "EXBOTH01", script, **parameters)
                blocks = [one for one in records if isinstance(one, bytes)]
                objects = [one for one in records if isinstance(one, dict)]
                for one in objects:
                    one.pop("Account", None)
                    for mine in (
                        "OldestUtc",
                        "OldestEmptyUtc",
                        *(OWN if one.get("Name") == "Eventlog" else ()),
                    ):
                        one.pop(mine, None)
                    if script == "Get-FileTree" and parameters.get("NoHash"):
                        one.pop("Digest")  # directories there carry the time of the lab's start
                text = b"" if parameters.get("NoHash") else text_of(blocks)
                found.append((script, text, objects, errors))
            return found

    assert answers(wine=True) == answers(wine=False)

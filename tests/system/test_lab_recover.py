"""The lab loses a server, and a person at the new one's console brings it back: seen by real sessions."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from conftest import NOT_UNDER_WINE, Cli, skip_under_wine
from pypsrp.powershell import PowerShell, RunspacePool
from pypsrp.wsman import WSMan

from exremote.lab.client import LabClient, LabTrouble, RunningLab, running_lab
from exremote.lab.reinstalling import DATABASES, SETUP
from exremote.lab.site import HostSpec
from exremote.script import ScriptLibrary

HOST = "EXLOST01"
SERVICES = ("MSExchangeIS", "LME-NOTES", "LME-GWISE", "MSExchangeGWRtr")
ENVIRONMENT = r"C:\exremote-recover\restore-temp\Restore.env"
LIBRARY = ScriptLibrary.load()


@pytest.fixture
def lab(engine: str, request: pytest.FixtureRequest) -> Iterator[RunningLab]:
    skip_under_wine(request, engine)
    # A real engine speaks PSRP 2.3, and pypsrp then sends envelopes as large as those of WinRM 3.
    spec = HostSpec(HOST, ("notes", "groupwise"), winrm=3)
    with running_lab([spec], wine=engine == "powershell") as running:
        yield running


def look(lab: RunningLab, port: int) -> dict[str, Any]:
    """Return what the machine at a port says of itself, over one session."""
    wsman = WSMan(
        "127.0.0.1",
        port=port,
        ssl=False,
        auth="ntlm",
        encryption="auto",
        username=lab.user,
        password=lab.password,
        no_proxy=True,
    )
    with RunspacePool(wsman) as pool:

        def ask(script: str, **parameters: object) -> list[dict[str, Any]]:
            shell = PowerShell(pool)
            shell.add_script(LIBRARY.get(script).text)
            if parameters:
                shell.add_parameters(parameters)
            return [one.extended_properties for one in shell.invoke() if hasattr(one, "extended_properties")]

        (fact,) = ask("Get-HostFact")
        services = {one["Name"]: one for one in ask("Get-ServiceState", Name=list(SERVICES))}
        (build,) = ask("Get-RegistryValue", Value=[rf"{SETUP}|Service Pack Build"])
        *bases, environment = ask("Get-FileFact", Path=[*DATABASES, ENVIRONMENT])
    return {
        "name": fact["ComputerName"],
        "domain": fact["Domain"],
        "started": datetime.fromisoformat(fact["StartedUtc"]),
        "services": {
            name: (one["Exists"], one["State"], one["ImageExists"])
            for name, one in services.items()
            if name in SERVICES
        },
        "build": build["Text"],
        "bases": {(one["Exists"], one["Error"]) for one in bases},
        "environment": environment["Exists"],
    }


def refused(port: int) -> bool:
    with contextlib.closing(socket.socket()) as door:
        return door.connect_ex(("127.0.0.1", port)) != 0


def same(one: dict[str, Any]) -> dict[str, Any]:
    """Return what of a machine a restore makes equal: work files, and what is on its way, come and go."""
    passing = re.compile(r"\\Conndata\\(Temp|Gwrouter)\\|\.(seq|ck)$")
    files = {path: digest for path, digest in one["files"].items() if not passing.search(path)}
    return {"files": files, **{part: one[part] for part in ("name", "registry", "services")}}


@pytest.mark.not_under_wine("twice")
def test_a_lost_server_comes_back_by_what_a_person_does(lab: RunningLab, engine: str, tmp_path: Path) -> None:
    """Backed up, lost, Windows, system state, setup, storage groups, start, restored: equal to what was.

    Under Wine the backup and the restore are left out: they would take most of the time, and `recover` does
    them there.
    """
    client, home = lab.client, lab.hosts[HOST]
    cli = Cli(lab, tmp_path)
    cli.inventory(HOST)
    cli.init()
    before = None
    if engine == "simulated":
        cli("backup", HOST)
        before = client.lost(HOST, now=True)
    was = look(lab, home)
    assert (was["name"], was["bases"]) == (HOST, {(False, "")})

    port = int(client.replace(HOST)["port"])
    assert refused(home)
    then = client.lost(HOST)
    assert before is None or same(then) == same(before)
    host = client.hosts()[HOST]
    assert (host["port"], host["original_port"], host["lost"], host["machine"]) == (
        port,
        home,
        True,
        "TEMP01",
    )
    new = look(lab, port)
    assert (new["name"], new["domain"], new["build"]) == ("TEMP01", "", "")
    assert set(new["services"].values()) == {(False, "", False)}
    assert new["started"] > was["started"]

    client.act(HOST, "system-state")
    assert client.act(HOST, "reboot")["port"] == home
    assert refused(port)
    bare = look(lab, home)
    assert (bare["name"], bare["domain"], bare["build"]) == (HOST, was["domain"], was["build"])
    assert set(bare["services"].values()) == {(True, "Stopped", False)}
    assert bare["started"] > new["started"]

    client.act(HOST, "exchange", components=["notes"])
    forgot = look(lab, home)["services"]
    assert forgot["LME-GWISE"] == forgot["MSExchangeGWRtr"] == (False, "", False)
    assert forgot["LME-NOTES"] == (True, "Stopped", True)
    assert forgot["MSExchangeIS"] == (True, "Running", True)
    client.act(HOST, "exchange")
    client.act(HOST, "storage-groups", last_set=False)
    waiting = look(lab, home)
    assert waiting["services"]["LME-GWISE"] == (True, "Stopped", True)
    assert waiting["started"] == bare["started"]
    assert (waiting["bases"], waiting["environment"]) == ({(True, "")}, True)
    client.act(HOST, "storage-groups")

    client.act(HOST, "reboot", away_s=0.5)
    assert refused(home)
    with pytest.raises(LabTrouble, match="is starting"):
        client.act(HOST, "exchange")
    end = time.monotonic() + 90
    while client.hosts()[HOST]["away"]:
        assert time.monotonic() < end
        time.sleep(0.1)
    again = look(lab, home)
    assert again["started"] > waiting["started"]
    assert (again["bases"], again["environment"]) == ({(False, "ExRemote.FileLocked")}, False)

    now = client.lost(HOST, now=True)
    assert now["registry"] == then["registry"]
    assert set(now["files"]) < set(then["files"])
    if engine != "simulated":
        return
    ran = cli("restore", "--latest", HOST, "--yes", "--confirmed", "notes-client", "--grace", "0")
    now = same(client.lost(HOST, now=True))
    for part, wanted in same(then).items():
        differ = dict(now[part].items() ^ wanted.items()) if part == "files" else now[part] != wanted
        assert not differ, (part, differ, ran.out)
    assert cli.leaks() == []


@pytest.fixture
def quick(engine: str, request: pytest.FixtureRequest) -> RunningLab:
    """Return the lab where starts take no time."""
    if engine == "powershell":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['time']}")
    running: RunningLab = request.getfixturevalue("lab")
    return running


def test_what_a_person_does_wrong_is_refused_or_shows(quick: RunningLab) -> None:
    """Wrong names and orders are refused with what comes first; the rest is there to be noticed."""
    client, home = quick.client, quick.hosts[HOST]
    with pytest.raises(LabTrouble, match="was not lost"):
        client.act(HOST, "system-state")
    with pytest.raises(LabTrouble, match="was not lost"):
        client.lost(HOST)
    with pytest.raises(LabTrouble, match="no system '95'"):
        client.replace(HOST, os="95")
    assert not refused(home)  # nothing was lost
    started = look(quick, home)["started"]
    client.act(HOST, "reboot")
    assert look(quick, home)["started"] > started

    port = client.replace(HOST, HOST, service_pack="Service Pack 1", drives=["C:"])["port"]
    assert look(quick, port)["name"] == HOST
    again = client.replace(HOST, "TEMP02", system_root=r"C:\WINNT")
    assert refused(port)
    assert again["original_port"] == home
    assert client.act(HOST, "reboot")["port"] == again["port"]  # too early: as it was
    client.revive(HOST)
    assert look(quick, home)["name"] == HOST
    client.act(HOST, "system-state")
    with pytest.raises(LabTrouble, match="still answers"):
        client.act(HOST, "reboot")
    client.revive(HOST, off=True)
    assert refused(home)
    assert "KB 811944" in client.act(HOST, "reboot")["said"]
    assert refused(again["port"])
    assert client.clear_faults() == 0
    assert refused(again["port"])
    with pytest.raises(LabTrouble, match="does not come up"):
        client.act(HOST, "reboot")

    port = client.replace(HOST)["port"]
    client.act(HOST, "system-state", stale=True)
    assert client.act(HOST, "reboot", move=False)["port"] == port
    assert refused(home)
    assert look(quick, port)["build"] == "7226"
    with pytest.raises(LabTrouble, match="no option moves; it has away_s, move"):
        client.act(HOST, "reboot", moves=True)
    with pytest.raises(LabTrouble, match="nobody does 'dance'"):
        client.act(HOST, "dance")


def test_it_is_done_from_the_command_line(quick: RunningLab, tmp_path: Path) -> None:
    """`lose` and `act` say what was done, and how the new machine is reached; `list` shows it."""
    client: LabClient = quick.client
    home = quick.hosts[HOST]
    state = tmp_path / "share" / "exremote-lab"
    state.mkdir(parents=True)
    (state / "lab.json").write_text(f'{{"control": "{client.url}", "token": "{client.token}"}}')

    def say(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "exremote.lab", *words],
            env={**os.environ, "XDG_DATA_HOME": str(tmp_path / "share")},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    said = say("lose", HOST, "--name", "TEMP07")
    port = client.hosts()[HOST]["port"]
    assert f"{HOST} is lost: nothing answers at 127.0.0.1:{home}." in said
    registry = client.lost(HOST)["registry"]
    assert f"TEMP07, answers at 127.0.0.1:{port}, same account" in said
    assert f"lost; in its place TEMP07, to be 127.0.0.1:{home} again" in say("list")
    assert "the system state comes first" in say("act", HOST, "exchange", code=1)
    assert "answers again" in say("act", HOST, "original-on")
    assert "is off" in say("act", HOST, "original-off")
    assert "an older system state" in say("act", HOST, "system-state", "--stale")
    assert f"{HOST} was started anew and answers at 127.0.0.1:{home}" in say("act", HOST, "reboot")
    assert f"run on {HOST}: groupwise\n" in say("act", HOST, "exchange", "--component", "groupwise")
    assert "wait for their hard recovery" in say("act", HOST, "storage-groups", "--no-last-set")
    assert "they are not mounted" in say("act", HOST, "storage-groups", "--no-mount")
    assert f"127.0.0.1:{home}" in say("list")
    # What came back from an older set is not what was lost: that stays what it is.
    assert f"{HOST} is lost" in say("lose", HOST, "--name", "TEMP08")
    say("act", HOST, "original-on")
    assert look(quick, home)["build"] != "7226"
    say("act", HOST, "original-off")
    assert "the system state of" in say("act", HOST, "system-state")
    assert f"answers at 127.0.0.1:{home}" in say("act", HOST, "reboot")
    assert client.lost(HOST)["registry"] == registry
    assert look(quick, home)["build"] != "7226"

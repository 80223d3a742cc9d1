"""Bad days of a copy while services stand: they run again whatever happens. A good one: `test_cli_older`."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Ran, World, both_ways, manifest_of
from matrix_verbs import killed

from exremote.lab import older
from exremote.lab.client import RunningLab, running_lab
from exremote.lab.site import HostSpec

HOST = "EXOLD02"
STAGING = r"D:\exremote-copy-maildata"
RUNNING = {"MSExchangeMSMI", *older.MTAS, "MSExchangeDX"}
STOPS = 'backup = ["connectors", "stopped-copy"]'


pytestmark = pytest.mark.not_under_wine("records")


@pytest.fixture(scope="module", params=["direct", "gateway"])
def lab(request: pytest.FixtureRequest) -> Iterator[RunningLab]:
    """Run a lab of one host with the connector for Microsoft Mail, directly or behind a gateway."""
    with running_lab(both_ways(HostSpec(HOST, ("msmail",), os="2000"), request.param)) as lab:
        yield lab


@pytest.fixture
def mail(cli: Cli, world: World) -> Iterator[Cli]:
    """Return a command line with a repository, whose services may be stopped; they run at the end."""
    cli.inventory(HOST, extra={HOST: STOPS})
    cli.init()
    yield cli
    assert not world.exists(HOST, rf"{STAGING}\Glb\Process.glb")


def running(cli: Cli) -> set[str]:
    """Return the services of the connector that run, as the host says."""
    folder = cli.folder / f"facts{len(cli.ran)}"
    cli("health", HOST, "--save-facts", str(folder), code=None)
    facts = json.loads((folder / f"{HOST}.json").read_text())
    return {s["name"] for s in facts["services"] if s["state"] == "Running"} & RUNNING


def saved(ran: Ran) -> dict[str, Any]:
    """Return the manifest of the snapshot that a run made."""
    (made,) = ran.json["hosts"][0]["snapshots"]
    (folder,) = Path(ran.json["repository"]).glob(f"snapshots/{HOST}/{made['id']}")
    return manifest_of(folder)


def missing(ran: Ran) -> Mapping[str, str]:
    """Return what a snapshot lacks, and why."""
    return {o["path"]: o["reason"] for o in saved(ran)["missing"]}


def events(cli: Cli) -> list[str]:
    """Return the kinds of events of the newest backup."""
    newest = max((cli.repository / "runs").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    return [json.loads(line)["kind"] for line in newest.read_bytes().split(b"\n")[:-1]]


def wait_for(cli: Cli, kind: str) -> None:
    """Wait until the newest backup has come so far."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if list((cli.repository / "runs").glob("*.jsonl")) and kind in events(cli):
            return
        time.sleep(0.05)
    raise AssertionError(f"there was no {kind}")


def test_a_dry_run_says_what_would_stop_and_stops_nothing(mail: Cli) -> None:
    ran = mail("backup", "--dry-run")
    assert "stop MSExchangeMSMI, MTA2, PCMTA Vienna, MSExchangeDX, copy" in ran.out
    assert mail.snapshots() == []


def test_without_room_nothing_stops_and_what_is_held_is_missing(mail: Cli, world: World) -> None:
    for root in ("C:\\", "D:\\"):
        world.client.edit(HOST, "set_disk", root=root, free=100_000_000)
        world._undo.append(lambda r=root: world.client.edit(HOST, "set_disk", root=r, free=21 * 1024**3))
    lacks = missing(mail("backup", "--json", code=3))
    assert set(older.HELD) <= set(lacks)
    assert all(
        "another process. Services that use it: MSExchangeMSMI, " in lacks[path] for path in older.HELD
    )
    (why,) = [reason for what, reason in lacks.items() if what.startswith("a copy of")]
    assert "needs 268993712 bytes, and D:\\ has 100000000 bytes" in why
    assert "services-found" not in events(mail)


def test_a_service_that_will_not_stop_leaves_a_live_copy_and_all_running(mail: Cli, world: World) -> None:
    """The third of four: those before it run again, and what can be had is saved."""
    world.fault(f"{HOST}:Set-ServiceState:3:throw=ExRemote.ServiceStuck")
    ran = mail("backup", "--json", code=3)
    lacks = missing(ran)
    assert set(older.HELD) <= set(lacks)
    assert f"a copy of {older.MAILDATA} while its services are stopped" in lacks
    assert ("maildata", r"Glb\Process.glb") in {(e["item"], e["path"]) for e in saved(ran)["entries"]}
    assert "services-back" in events(mail)
    assert running(mail) == RUNNING


def while_it_is_made(mail: Cli, world: World, fault: str, befall: Callable[[], object]) -> Mapping[str, str]:
    """Have something happen while a backup waits in a script. Return what its snapshot lacks, and why."""
    world.fault(f"{HOST}:{fault}:delay=4")
    with mail.started("backup") as process:
        end = time.monotonic() + 60
        while world.struck() == 0 and time.monotonic() < end:
            time.sleep(0.05)
        befall()
        assert process.wait(60) == 3
    world.client.clear_faults()
    newest = json.loads((mail.folders_of(HOST, "msmail")[-1] / "manifest.json").read_text())
    return {o["path"]: o["reason"] for o in newest["missing"]}


def test_a_service_that_starts_by_itself_makes_the_copy_no_copy(mail: Cli, world: World) -> None:
    """Its recovery options, or somebody, started it while the copy was made: that may be torn."""

    def start() -> None:
        world.client.edit(HOST, "set_service", name="MSExchangeMSMI", state="Running")

    lacks = while_it_is_made(mail, world, "Copy-FileTree:1", start)
    reason = lacks[f"a copy of {older.MAILDATA} while its services stand"]
    assert "MSExchangeMSMI runs, though it was stopped" in reason
    assert set(older.HELD) <= set(lacks)
    assert running(mail) == RUNNING


def test_a_pc_mta_that_appears_after_the_plan_makes_the_copy_no_copy(mail: Cli, world: World) -> None:
    """Nobody was told that it would be stopped, so it is not; the next run knows of it, and is whole."""
    new = {"name": "MTA3", "title": "MS Mail Connector (PC) MTA - MTA3"}
    image = rf"{older.MSMCON}\Bin\labpcmta.exe"

    def add() -> None:
        world.client.edit(HOST, "add_service", **new, image=image)

    try:
        lacks = while_it_is_made(mail, world, "Set-ServiceState:1", add)
        (reason,) = [why for what, why in lacks.items() if what.startswith("a copy of")]
        assert "MTA3 runs, and did not when the plan was made" in reason
        assert running(mail) == RUNNING
        ran = mail("backup", "--json")
        assert saved(ran)["complete"] is True
        assert any("MTA3" in w and "stopped for a copy" in w for w in ran.json["hosts"][0]["warnings"])
    finally:
        world.client.edit(HOST, "remove_service", name="MTA3")


def test_a_service_that_does_not_start_again_is_said(mail: Cli, world: World) -> None:
    """The copy is there all the same; the others run."""
    world.client.edit(HOST, "trouble_service", name="MSExchangeDX", start_exit_code=1066)
    lacks = missing(mail("backup", "--json", code=3))
    assert list(lacks) == ["service MSExchangeDX, which was stopped for a copy, running again"]
    assert running(mail) == RUNNING - {"MSExchangeDX"}
    world.client.edit(HOST, "trouble_service", name="MSExchangeDX")
    world.client.edit(HOST, "set_service", name="MSExchangeDX", state="Running")


def test_a_disk_that_fills_up_ends_the_copy_and_not_the_mail(mail: Cli, world: World) -> None:
    world.fault(f"{HOST}:Copy-FileTree:*:throw=ExRemote.DiskFull")
    lacks = missing(mail("backup", "--json", code=3))
    assert "Make room" in lacks[f"a copy of {older.MAILDATA} while its services are stopped"]


def test_a_kill_while_services_stand_is_healed_by_the_next_run(mail: Cli, world: World) -> None:
    world.fault(f"{HOST}:Copy-FileTree:1:delay=8")
    with mail.started("backup") as process:
        wait_for(mail, "services-found")
        end = time.monotonic() + 60
        while world.struck() == 0 and time.monotonic() < end:
            time.sleep(0.05)
        process.kill()
        process.wait()
    world.client.clear_faults()
    assert running(mail) == set()
    ran = mail("backup")
    assert "put back as the killed run" in ran.err
    assert saved(mail("backup", "--json"))["complete"] is True


def test_a_run_that_vanishes_leaves_a_guard_that_starts_the_services(mail: Cli, world: World) -> None:
    """Nobody comes back: the host does it by itself. Where all went well, the guard has nothing to do."""
    world.fault(f"{HOST}:Copy-FileTree:1:delay=8")
    with mail.started("backup") as process:
        wait_for(mail, "services-found")
        end = time.monotonic() + 60
        while world.struck() == 0 and time.monotonic() < end:
            time.sleep(0.05)
        process.kill()
        process.wait()
    world.client.clear_faults()
    world.client.edit(HOST, "run_guards")
    assert running(mail) == RUNNING
    mail("backup")
    world.client.edit(HOST, "set_service", name="MSExchangeDX", state="Stopped")
    world.client.edit(HOST, "run_guards")
    assert running(mail) == RUNNING - {"MSExchangeDX"}
    world.client.edit(HOST, "set_service", name="MSExchangeDX", state="Running")


def test_an_interrupt_starts_the_services_before_it_ends(mail: Cli, world: World) -> None:
    world.fault(f"{HOST}:Copy-FileTree:1:delay=8")
    with mail.started("backup") as process:
        wait_for(mail, "services-found")
        end = time.monotonic() + 60
        while world.struck() == 0 and time.monotonic() < end:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    world.client.clear_faults()
    assert running(mail) == RUNNING


def test_what_a_recovery_stands_on_has_the_services_that_an_administrator_named(mail: Cli) -> None:
    """With their accounts beside the System State, and in the runbook: what it leaves out nobody misses."""
    mail.inventory(HOST, extra={HOST: f"{STOPS}\nntbackup = {{ least_free_gb = 0.1 }}"})
    mail("backup")
    mail("backup", "--only", "systemstate")
    (folder,) = mail.folders_of(HOST, "systemstate")
    services = json.loads((folder / "identity.json").read_text())["services"]
    assert services.keys() >= RUNNING | {"MSExchangeIS"}
    assert services["PCMTA Vienna"]["account"] == "LocalSystem"
    lines = [line for line in mail("runbook", HOST).out.splitlines() if "Services: " in line]
    assert RUNNING in [set(line.partition(": ")[2].split(", ")) for line in lines]


@pytest.mark.matrix
@pytest.mark.timeout(3600)
def test_killed_after_each_event_each_service_stands_as_it_was_found(mail: Cli, world: World) -> None:
    """One was stopped before: it stays so. What is saved after the kill is whole, and nothing lies about."""
    world.stop_service(HOST, "MTA2")
    found = RUNNING - {"MTA2"}
    mail("backup")
    count = len(events(mail))
    shutil.rmtree(mail.repository)
    wrong: list[str] = []
    for last in range(1, count + 1):
        mail.init()
        code = killed(mail, last, "backup")
        again = mail("backup", "--json", code=None)
        if code == 0 or again.code:
            wrong.append(f"after {last}: killed with {code}, then {again.code}: {again.all[-300:]}")
        if (now := running(mail)) != found:
            wrong.append(f"after {last}: {found ^ now} not as found")
        if not all(manifest_of(folder)["complete"] for folder in mail.folders_of(HOST, "msmail")):
            wrong.append(f"after {last}: incomplete")
        left = [rf"{STAGING}\Glb\Process.glb", r"D:\exremote-guard-msmail\start.cmd"]
        wrong += [f"after {last}: {path} is left" for path in left if world.exists(HOST, path)]
        shutil.rmtree(mail.repository)
    assert wrong == []

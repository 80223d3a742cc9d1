"""A lost server through the nine steps, with a person who does what he is told, and one who does not."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli, Ran, both_ways, skip_under_wine

from exremote.lab.client import RunningLab, running_lab
from exremote.lab.site import HostSpec

HOST = "EXLOST01"
TEMP = r"D:\exremote-recover\restore-temp"
NTBACKUP = (
    f"[hosts.{HOST}.ntbackup]\nstart = 'direct'\nleast_free_gb = 0.1\n"  # Wine has no WMI
    "storage_groups = ['First Storage Group']"
)
WORK = (".seq", ".ck")
ON_THE_WAY = "\\Conndata\\Gwrouter\\"
SCRATCH = "\\Conndata\\Temp\\"


@pytest.fixture
def way() -> str:
    """Return how the server is reached."""
    return "direct"


@pytest.fixture
def connectors() -> tuple[str, ...]:
    """Return what the server has."""
    return ("notes", "groupwise")


@pytest.fixture
def lab(
    engine: str, way: str, connectors: tuple[str, ...], request: pytest.FixtureRequest
) -> Iterator[RunningLab]:
    skip_under_wine(request, engine)
    wine = engine == "powershell"  # a new PowerShell is never behind a WinRM 2.0
    if wine and way == "gateway":
        pytest.skip("simulated engine only: under Wine a gateway and the host behind it are one Windows")
    os = "2000" if "msmail" in connectors else "2003"
    spec = HostSpec(HOST, connectors, os=os, winrm=3 if wine else 2)
    with running_lab(both_ways(spec, way), wine=wine) as running:
        yield running


@dataclass
class Recovery:
    """One recovery on the lab, and the person at the new machine's console."""

    cli: Cli
    lab: RunningLab
    at: str = ""
    run: str = ""

    @property
    def client(self) -> Any:
        return self.lab.client

    def act(self, what: str, **options: object) -> None:
        self.client.act(HOST, what, **options)

    def lose(self, **options: Any) -> None:
        self.at = str(self.client.replace(HOST, **options)["at"])

    def begin(self, *more: str, code: int = 6) -> dict[str, Any]:
        ran = self.cli(
            "recover",
            HOST,
            "--yes",
            "--at",
            self.at,
            "--wait",
            "2s",
            "--grace",
            "0",
            "--json",
            *more,
            code=code,
        )
        found: dict[str, Any] = ran.json
        self.run = found["recovery"]
        return self._row(found)

    def resume(self, code: int = 6) -> dict[str, Any]:
        return self._row(self.cli("resume", self.run, "--json", code=code).json)

    def _row(self, found: dict[str, Any]) -> dict[str, Any]:
        (row,) = found["hosts"]
        assert isinstance(row, dict)
        return row

    def confirm(self, step: str, *more: str, code: int = 0) -> Ran:
        return self.cli("confirm", self.run, step, "--by", "Anna", *more, code=code)

    def said(self, step: str, *more: str, code: int = 6, at: bool = False) -> dict[str, Any]:
        """Confirm a step, and go on; `at`: at the address of now, not at that of the beginning."""
        self.confirm(step, *more)
        return self.go_on("--at", self.at, code=code) if at else self.resume(code)

    def go_on(self, *more: str, code: int = 6) -> dict[str, Any]:
        line = [
            "recover",
            HOST,
            "--yes",
            "--resume",
            self.run,
            "--wait",
            "2s",
            "--grace",
            "0",
            "--json",
            *more,
        ]
        return self._row(self.cli(*line, code=code).json)

    def wrong(self) -> dict[str, str]:
        """Return what was wrong the last time that a step was looked at."""
        last = [e for e in self.events() if e["kind"] == "recovery-step" and e["state"] == "wrong"][-1]
        return {e["what"]: f"{e['said']} {e['remedy']}" for e in last["evidence"] if e["verdict"] == "wrong"}

    def events(self) -> list[dict[str, Any]]:
        paths = (self.cli.repository / "runs").glob("*.jsonl")
        runs = [[json.loads(line) for line in path.read_text().splitlines()] for path in paths]
        runs.sort(key=lambda run: str(run[0]["at"]))
        return [event for run in runs if run[0]["verb"] == "recover" for event in run]


GROUPS = ("--answer", "last-backup-set=yes", "--answer", "mounted=yes")
WORDS = ("--words", "opens names.nsf with the connector's ID")


@pytest.fixture
def recovery(lab: RunningLab, connectors: tuple[str, ...], tmp_path: Path) -> Recovery:
    cli = Cli(lab, tmp_path / "jump-host")
    ntbackup = NTBACKUP.replace("'direct'", "'wmi'" if lab.via else "'direct'")
    copy = "backup = ['connectors', 'stopped-copy']\n" if "msmail" in connectors else ""
    cli.inventory(HOST, extra={HOST: copy + ntbackup})
    cli.init()
    cli("backup", HOST)
    cli("backup", HOST, "--only", "systemstate", "--only", "storagegroups")
    return Recovery(cli, lab)


def same(one: dict[str, Any]) -> dict[str, Any]:
    """Return what of a machine has to be equal: not work files, what was on its way, nor scratch files."""
    files = {
        path: digest
        for path, digest in one["files"].items()
        if not path.endswith(WORK) and ON_THE_WAY not in path and SCRATCH not in path
    }
    return {"files": files, **{part: one[part] for part in ("name", "registry", "services")}}


@pytest.mark.parametrize("way", ["direct", "gateway"])
def test_a_lost_server_is_recovered_in_nine_steps(recovery: Recovery) -> None:
    """Backed up, lost, reinstalled by a person, and in the end what it was: every file, value and service."""
    recovery.lose()
    row = recovery.begin()
    assert (row["state"], row["step"], row["done"]) == ("waiting", "reinstall-windows", "1 of 10")

    row = recovery.said("reinstall-windows")
    assert (row["step"], row["done"]) == ("restore-system-state", "3 of 10")
    assert "EXLOST01" not in row["message"].partition("Then")[2]
    recovery.act("system-state")
    recovery.act("reboot")
    row = recovery.said("restore-system-state")
    assert (row["step"], row["done"]) == ("install-exchange", "5 of 10")
    recovery.act("exchange")
    row = recovery.said("install-exchange")
    assert (row["step"], row["done"]) == ("restore-storage-groups", "6 of 10")
    recovery.act("storage-groups", temp=TEMP)
    recovery.confirm("restore-storage-groups", *GROUPS)
    recovery.act("reboot")
    row = recovery.resume()
    assert (row["step"], row["done"]) == ("restore-connectors", "8 of 10")
    assert "notes-client" in row["message"]
    ways = re.findall(r"`exremote (resume|undo) (\S+)`", row["message"])
    assert [way for way, _ in ways] == ["resume", "undo"], "one way on, and one back"
    row = recovery.said("notes-client", *WORDS, code=0)
    assert (row["state"], row["done"]) == ("done", "10 of 10")

    assert same(recovery.client.lost(HOST, now=True)) == same(recovery.client.lost(HOST))
    events = recovery.events()
    done = [e["step"] for e in events if e["kind"] == "recovery-step" and e["state"] == "done"]
    assert done == [
        "verify-snapshots",
        "reinstall-windows",
        "bring-files",
        "restore-system-state",
        "restart-restored",
        "install-exchange",
        "restore-storage-groups",
        "restart-recovered",
        "restore-connectors",
        "prove-connectors",
    ]
    by = {e["step"]: e["by"] for e in events if e["kind"] == "recovery-confirmed"}
    assert by["restore-storage-groups"] == by["notes-client"] == "Anna"
    assert "nothing to resume" in recovery.cli("resume", recovery.run, code=4).err
    assert "nothing left to do" in recovery.cli("recover", HOST, "--resume", recovery.run, code=4).err


@pytest.mark.not_under_wine("twice")
@pytest.mark.parametrize(("connectors", "way"), [(("msmail", "ccmail"), "gateway")])
def test_a_server_of_microsoft_mail_and_ccmail_is_recovered(recovery: Recovery) -> None:
    """Its MTAs are called as an administrator called them: setup does not bring them back by itself."""
    recovery.lose()
    recovery.begin()
    recovery.said("reinstall-windows")
    recovery.act("system-state")
    recovery.act("reboot")
    recovery.said("restore-system-state")
    recovery.act("exchange")
    recovery.said("install-exchange")
    recovery.act("storage-groups", temp=TEMP)
    recovery.confirm("restore-storage-groups", *GROUPS)
    recovery.act("reboot")
    row = recovery.resume(0)
    assert (row["state"], row["done"]) == ("done", "10 of 10")
    now, was = same(recovery.client.lost(HOST, now=True)), same(recovery.client.lost(HOST))
    for one in (now, was):  # what cc:Mail keeps there is left out on purpose
        one["files"] = {path: digest for path, digest in one["files"].items() if "\\Ccmcdata\\" not in path}
    assert now == was


@pytest.mark.not_under_wine("time")
def test_each_step_done_wrong_is_noticed_and_mended(recovery: Recovery) -> None:
    """A person who does each step wrong once is told what is wrong, what to do, and gets no further."""
    client = recovery.client
    first = recovery.client.replace(HOST)["at"]
    recovery.at = "127.0.0.1:1"  # a slip of the hand: nobody is there
    recovery.begin()
    wrong = recovery.said("reinstall-windows")
    assert "it cannot be asked" in wrong["message"]
    assert "it cannot be asked" in recovery.resume()["message"]  # it is there still
    recovery.at = str(first)
    corrected = recovery.cli("recover", HOST, "--yes", "--resume", recovery.run, "--at", recovery.at, code=6)
    assert f"Asked for at: {recovery.at}" in corrected.err
    assert "NOT YET" not in corrected.err, "that was wrong elsewhere"
    recovery.lose(name=HOST, system_root=r"C:\WINNT", drives=["C:\\"], service_pack="Service Pack 1")
    client.revive(HOST)
    wrong = recovery.said("reinstall-windows", at=True)
    assert (wrong["step"], wrong["state"]) == ("reinstall-windows", "waiting")
    told = recovery.wrong()
    assert set(told) == {"computer name", "service pack", "Windows folder", "drives", "lost server"}
    assert told["Windows folder"].startswith(r"it is C:\WINNT, and was C:\WINDOWS")
    assert told["drives"].startswith("D:\\ is not there")
    assert HOST in told["lost server"]
    client.revive(HOST, off=True)
    recovery.lose()
    row = recovery.go_on("--at", recovery.at)
    assert row["step"] == "reinstall-windows"  # nobody has said yes again
    assert recovery.said("reinstall-windows", at=True)["step"] == "restore-system-state"

    row = recovery.said("restore-system-state", at=True)  # said yes, and did nothing
    assert row["step"] == "restart-restored"
    assert "was not restarted yet" in row["message"]
    client.revive(HOST)  # the lost server is switched on again: its name and address are not enough
    row = recovery.go_on()
    assert row["step"] == "restart-restored"
    assert "another machine answers there" in row["message"]
    client.revive(HOST, off=True)
    recovery.act("reboot")  # ticked nothing
    row = recovery.go_on()
    assert row["step"] == "restore-system-state"
    assert "System State was not restored" in recovery.wrong()["computer name"]
    recovery.act("system-state", stale=True)  # an older set
    recovery.act("reboot")
    row = recovery.said("restore-system-state", at=True)
    assert row["step"] == "restore-system-state", row
    assert re.search(r"Exchange\\Setup, value .* is not what .*-systemstate-", recovery.wrong()["registry"])
    recovery.act("system-state")
    recovery.act("reboot")
    assert recovery.said("restore-system-state", at=True)["step"] == "install-exchange"

    row = recovery.said("install-exchange", at=True)  # said yes, and did nothing
    assert row["step"] == "install-exchange"
    assert "program of" in recovery.wrong()["components"]
    recovery.act("exchange", components=["notes"], service_pack=False)  # forgot a component
    row = recovery.said("install-exchange", at=True)
    assert row["step"] == "install-exchange"
    assert "LME-GWISE" in recovery.wrong()["components"]
    assert "build of Exchange" in recovery.wrong()
    recovery.act("exchange")
    row = recovery.said("install-exchange", at=True)
    assert row["step"] == "restore-storage-groups"
    assert "--answer last-backup-set=ANSWER --answer mounted=ANSWER` (ANSWER: yes or no)" in row["message"]

    recovery.act("reboot")  # too early
    recovery.act("storage-groups", temp=TEMP, last_set=False)
    row = recovery.said("restore-storage-groups", *GROUPS, at=True)
    assert row["step"] == "restore-storage-groups"
    assert "eseutil /cc" in recovery.wrong()["hard recovery"]
    recovery.act("storage-groups", temp=TEMP, mount=False)
    no = ("--answer", "last-backup-set=yes", "--answer", "mounted=no")
    row = recovery.said("restore-storage-groups", *no, at=True)
    assert row["step"] == "restore-storage-groups"
    assert {"mounted", "databases"} <= set(recovery.wrong())
    recovery.act("storage-groups", temp=TEMP)
    row = recovery.said("restore-storage-groups", *GROUPS, at=True)
    assert row["step"] == "restart-recovered"
    assert "was not restarted since the storage groups" in row["message"]
    recovery.act("reboot")
    row = recovery.go_on()
    assert row["step"] == "restore-connectors"
    assert re.search(r"Until then these stay stopped, as before: .*LME-NOTES", row["message"])
    assert recovery.said("notes-client", *WORDS, code=0, at=True)["done"] == "10 of 10"
    assert same(client.lost(HOST, now=True)) == same(client.lost(HOST))

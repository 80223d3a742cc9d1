"""A restore plans what differs and nothing else, in the one order; what stands in its way refuses it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exremote.changes import (
    ChangePlan,
    Confirm,
    EraseWorkFiles,
    FileChange,
    SendFiles,
    SetValues,
    StartService,
    StopService,
    SwapFiles,
)
from exremote.connector import Connector
from exremote.errors import PlanRefused
from exremote.facts import Disk, FileEntry, HostFact, HostFacts, Presence, ServiceState
from exremote.regfile import REG_SZ, RegFile, RegValue
from exremote.restore.aim import Aim, Content, KeyAim, ServiceAim, TreeAim
from exremote.restore.order import start_order
from exremote.restore.planning import Standing, check_machine, plan_changes

CONNECTORS = Connector.load_all()
AT = datetime(2026, 11, 22, tzinfo=UTC)
ROOT = r"C:\Exchsrvr\Conndata"
KEY = r"HKEY_LOCAL_MACHINE\SOFTWARE\Lotus\Notes"
A, B = "a" * 64, "b" * 64


def service(
    name: str, *needs: str, state: str = "Running", mode: str = "Manual", exists: bool = True
) -> ServiceState:
    return ServiceState(name, exists, name, state if exists else "", mode, "", "x.exe", True, needs)


SERVICES = (
    service("MSExchangeCoCo"),
    service("LME-NOTES", "MSExchangeCoCo"),
    service("LME-GWISE", "MSExchangeCoCo", "MSExchangeGWRtr"),
    service("MSExchangeGWRtr"),
)
HOST = HostFact(
    "EX1",
    "LAB",
    "5.2.3790",
    "SP2",
    "ServerNT",
    "x86",
    "2.0",
    "2.0",
    r"C:\WINDOWS",
    AT,
    False,
    "u",
    True,
    "",
    (Disk("C:\\", "Fixed", "NTFS", 10**11, 10**10),),
)
FACTS = HostFacts(
    "EX1",
    AT,
    host_fact=HOST,
    services=SERVICES,
    connectors={
        "notes": Presence(None, (), (), "present"),
        "groupwise": Presence(None, (), (), "present"),
        "calendar": Presence(None, (), (), "absent"),
    },
)


def content(path: str, sha256: str = A, size: int = 10) -> Content:
    return Content(path, sha256, size, 7_000_000_000, 0x20, Path("there"))


def lies(path: str, sha256: str | None = A, state: str = "file", ticks: int = 7_000_000_000) -> FileEntry:
    return FileEntry(path, 10 if state == "file" else -1, ticks, 0x20, sha256, state)  # type: ignore[arg-type]


def aim(*files: Content, keys: tuple[KeyAim, ...] = (), item: str = "conndata") -> Aim:
    tree = TreeAim(
        item, ROOT, {f.path.casefold(): f for f in files}, {f.path.casefold(): f.path for f in files}
    )
    services = {
        "MSExchangeCoCo": ServiceAim("Running", "Manual"),
        "LME-NOTES": ServiceAim("Running", "Manual"),
    }
    return Aim(("notes",), ("EX1/s1",), (tree,), keys, services, FACTS)


def standing(
    *entries: FileEntry, facts: HostFacts = FACTS, keys: Mapping[str, RegFile | None] = {}
) -> Standing:
    return Standing(facts, {"conndata": {e.path.casefold(): e for e in entries}}, keys)


def plan_of(wanted: Aim, now: Standing) -> ChangePlan:
    return plan_changes("restore", "EX1", wanted, now, CONNECTORS)


def kinds(plan: ChangePlan) -> list[str]:
    return [step.kind for step in plan]


def test_nothing_that_differs_is_no_step_at_all() -> None:
    """Not even work files are a reason to stop a service."""
    plan = plan_of(aim(content("Dxamex\\Amap.tbl")), standing(lies("DXAMEX\\amap.TBL"), lies("x.seq")))
    assert plan.steps == ()


def test_the_order_of_the_deed() -> None:
    """Sent before anything stands; stopped in reverse; erased before anything starts; proven last."""
    now = standing(lies("Dxamex\\Amap.tbl", B), lies("lab1.seq"), lies("deep\\lab2.ck"))
    plan = plan_of(aim(content("Dxamex\\Amap.tbl")), now)
    assert kinds(plan) == [
        "send-files",
        *["stop-service"] * 4,
        "swap-files",
        "erase-work-files",
        *["start-service"] * 4,
        "prove",
    ]
    stops = [s.service for s in plan if isinstance(s, StopService)]
    starts = [s.service for s in plan if isinstance(s, StartService)]
    assert starts == list(reversed(stops))
    assert stops.index("LME-NOTES") < stops.index("MSExchangeCoCo") > stops.index("LME-GWISE")
    erase = next(s for s in plan if isinstance(s, EraseWorkFiles))
    assert (erase.seen, erase.deeper) == (("lab1.seq",), ("deep\\lab2.ck",))
    assert "groupwise stops too: it shares what is restored" in plan.notes


def test_no_work_file_goes_under_the_hands_of_a_connector_that_runs_on() -> None:
    """Only the Notes client differs: GroupWise's services are not stopped, and Conndata is theirs as well."""
    value = RegValue("Path", REG_SZ, "C:\\Lotus\0".encode("utf-16-le"))
    wanted = aim(
        content("Dxamex\\Amap.tbl"), keys=(KeyAim("notes-client", KEY, ((KEY, "Path", value),), whole=True),)
    )
    now = standing(lies("Dxamex\\Amap.tbl"), lies("lab1.seq"), keys={"notes-client": RegFile({})})
    plan = plan_of(wanted, now)
    assert {"stop-service", "set-values"} <= set(kinds(plan))
    assert "MSExchangeGWRtr" not in [s.service for s in plan if isinstance(s, StopService)]
    assert "erase-work-files" not in kinds(plan)
    beside = f"work files in {ROOT} are left: MSExchangeGWRtr uses it, and runs on"
    assert beside in plan.notes

    still = tuple(replace(one, state="Stopped") if "GW" in one.name else one for one in SERVICES)
    quiet = standing(
        lies("Dxamex\\Amap.tbl"),
        lies("lab1.seq"),
        facts=replace(FACTS, services=still),
        keys={"notes-client": RegFile({})},
    )
    assert "erase-work-files" in kinds(plan_of(wanted, quiet))


def test_what_becomes_of_each_file() -> None:
    now = standing(
        lies("changed.tbl", B),
        lies("same.tbl"),
        lies("Dressed.tbl", ticks=8_000_000_000),
        lies("extra.tbl", B),
        lies("locked.tbl", None, "unreadable"),
        lies("Gwrouter\\togwise\\1", B),
    )
    wanted = aim(
        content("changed.tbl"),
        content("same.tbl"),
        content("dressed.tbl"),
        content("new.tbl"),
        content("locked.tbl"),
    )
    plan = plan_of(wanted, now)
    found = {change.path: (change.what, change.was) for change in plan.swaps[0].files}
    assert found == {
        "changed.tbl": ("changed", B),
        "dressed.tbl": ("dressed", A),
        "new.tbl": ("new", ""),
        "locked.tbl": ("changed", "?"),
    }
    assert next(s for s in plan if isinstance(s, SendFiles)).files == 3  # what is dressed is there already
    assert any("extra.tbl" in note and "left" in note for note in plan.notes)
    assert not any("togwise" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ((lies("a\\b", None, "directory"),), "is a folder now"),
        ((lies("a\\b", None, "reparse"),), "is a link now"),
        ((lies("a", None, "reparse"),), "lies below a, which is a link now"),
        ((lies("A"),), "lies below A, which is a file now"),
    ],
)
def test_what_is_in_the_way_of_a_file_refuses_the_plan(entries: tuple[FileEntry, ...], words: str) -> None:
    with pytest.raises(PlanRefused, match=words):
        plan_of(aim(content("a\\b")), standing(*entries))


def test_a_missing_service_is_refused_with_the_remedy() -> None:
    gone = tuple(service(s.name, exists=False) if s.name == "LME-NOTES" else s for s in SERVICES)
    with pytest.raises(PlanRefused, match=r"no service LME-NOTES.*setup /disasterrecovery"):
        plan_of(aim(content("a")), standing(facts=replace(FACTS, services=gone)))


def test_a_disk_without_room_is_refused_with_the_numbers() -> None:
    with pytest.raises(PlanRefused, match="Drive C: has 10000000000 bytes free, and 10067108864 are needed"):
        plan_of(aim(content("a", size=10**10)), standing())


def test_services_that_were_disabled_come_back_even_if_no_file_differs() -> None:
    off = tuple(
        service(s.name, *s.depends_on, state="Stopped", mode="Disabled") if s.name == "LME-NOTES" else s
        for s in SERVICES
    )
    plan = plan_of(aim(content("a")), standing(lies("a"), facts=replace(FACTS, services=off)))
    assert [(s.service, s.will, s.will_mode) for s in plan if isinstance(s, StartService)] == [
        ("LME-NOTES", "Running", "Manual")
    ]
    assert not plan.stops


def test_a_service_that_the_snapshot_saw_stopped_and_that_runs_now_is_started_again() -> None:
    """A snapshot of a sick server is no reason to leave a healthy one standing."""
    wanted = replace(aim(content("a")), services={"LME-NOTES": ServiceAim("Stopped", "Manual")})
    starts = {s.service: s.will for s in plan_of(wanted, standing()) if isinstance(s, StartService)}
    assert starts["LME-NOTES"] == "Running"


def test_registry_values_one_by_one_and_a_secret_one_never_shown() -> None:
    def text(name: str, value: str) -> RegValue:
        return RegValue(name, REG_SZ, (value + "\0").encode("utf-16-le"))

    wanted = KeyAim(
        "notes-client",
        KEY,
        tuple(
            (KEY, n, text(n, v)) for n, v in (("Path", "C:\\Lotus"), ("Same", "x"), ("Password", "s3cret"))
        ),
        whole=True,
    )
    now = RegFile(
        {
            KEY.lower(): {
                "path": text("Path", "D:\\wrong"),
                "same": text("Same", "x"),
                "more": text("More", "y"),
            }
        }
    )
    plan = plan_of(aim(keys=(wanted,)), standing(keys={"notes-client": now}))
    values = next(s for s in plan if isinstance(s, SetValues)).values
    assert [(v.name, v.was, v.will) for v in values] == [
        ("Path", r'REG_SZ "D:\\wrong"', r'REG_SZ "C:\\Lotus"'),
        ("Password", "", "(secret)"),
    ]
    assert "s3cret" not in json.dumps(plan.to_json())
    assert any("More" in note and "left" in note for note in plan.notes)
    assert [s.name for s in plan if isinstance(s, Confirm)] == ["notes-client"]


def test_what_is_volatile_is_no_drift_and_all_else_is() -> None:
    wanted = aim(content("Tables\\1.tbl"), content("plain.txt"))
    one = plan_of(wanted, standing(lies("plain.txt", B), lies("Tables\\1.tbl")))
    two = plan_of(wanted, standing(lies("plain.txt", B), lies("Tables\\1.tbl", B), lies("x.seq")))
    three = plan_of(wanted, standing(lies("plain.txt", "c" * 64), lies("Tables\\1.tbl")))
    assert one != two
    assert one.digest == two.digest != three.digest


def test_a_plan_survives_json_and_an_edited_one_does_not() -> None:
    plan = plan_of(aim(content("a"), content("b")), standing(lies("a", B), lies("x.seq")))
    data = json.loads(json.dumps(plan.to_json()))
    assert ChangePlan.from_json(data) == plan
    swap = next(step for step in data["steps"] if step["kind"] == "swap-files")
    swap["files"][0]["will"] = B
    with pytest.raises(ValueError, match="it was edited"):
        ChangePlan.from_json(data)
    with pytest.raises(ValueError, match="of version 99"):
        ChangePlan.from_json({**plan.to_json(), "format": 99})
    with pytest.raises(ValueError, match="unknown kind of step: 'format-disk'"):
        ChangePlan.from_json({**plan.to_json(), "steps": [{"kind": "format-disk"}]})


def test_another_machine_and_another_windows_folder_are_refused() -> None:
    wanted = aim(content("a"))
    check_machine("EX1", wanted, FACTS)
    with pytest.raises(PlanRefused, match="of the machine EX1, and EX2 answers"):
        check_machine("EX1", wanted, replace(FACTS, host_fact=replace(HOST, computer_name="EX2")))
    with pytest.raises(PlanRefused, match=r"Windows lies in C:.WINNT"):
        check_machine("EX1", wanted, replace(FACTS, host_fact=replace(HOST, system_root=r"C:\WINNT")))


def test_dependencies_against_the_order_of_the_files_are_refused() -> None:
    odd = tuple(service("MSExchangeCoCo", "LME-NOTES") if s.name == "MSExchangeCoCo" else s for s in SERVICES)
    with pytest.raises(PlanRefused, match="depend on each other"):
        start_order([CONNECTORS["notes"]], replace(FACTS, services=odd))


def test_a_removed_file_is_a_change_of_an_undo() -> None:
    tree = TreeAim("conndata", ROOT, {"a": None}, {"a": "a"}, whole=False)
    wanted = replace(aim(), trees=(tree,))
    plan = plan_changes("undo", "EX1", wanted, standing(lies("a")), CONNECTORS)
    assert plan.swaps[0].files == (FileChange("a", A, ""),)
    assert isinstance(plan.swaps[0], SwapFiles)

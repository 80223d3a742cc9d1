"""The nouns of a recovery: plans and evidence as values, checks that judge, journals that are folded."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exremote.facts import HostFact, NamedFile, RegistryValue, ServiceState
from exremote.facts.host import Disk
from exremote.inventory import split_address
from exremote.journal import Journal, RunRecord
from exremote.recover import build_text, checks, instructions, read_recovery, recoveries
from exremote.recover.record import CONFIRMED, NOTED, PLANNED, PLANS, STEP, moment
from exremote.recover.steps import (
    Evidence,
    Original,
    RecoveryPlan,
    Saved,
    evidence_from_json,
    evidence_to_json,
)
from exremote.regfile import RegFile, RegValue

NOW = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)
ORIGINAL = Original(
    "EX01",
    "EX01/one",
    NOW,
    domain="lab.example",
    os_version="5.2.3790",
    service_pack="Service Pack 2",
    system_root=r"C:\WINDOWS",
    drives=("C:\\", "D:\\"),
    exchange_folder=r"C:\Exchsrvr",
    exchange_build="7638",
    services=("LME-NOTES",),
    registered=("LME-NOTES", "MSExchangeCoCo"),
)
PLAN = RecoveryPlan(
    "EX01",
    ORIGINAL,
    (Saved("notes", "EX01/n+t", NOW, 2, 10), Saved("systemstate", "EX01/s", NOW, 1, 5, True, ("a.bkf",))),
    r"D:\exremote-recover",
    (
        instructions.reinstall(ORIGINAL, "10.1.2.3"),
        instructions.system_state(ORIGINAL, None, "D:\\x"),
        instructions.groups(ORIGINAL, None, "D:\\x"),
    ),
    ("EX00",),
    ("a note",),
)
FACT = HostFact(
    computer_name="TEMP01",
    domain="",
    os_version="5.2.3790",
    service_pack="Service Pack 2",
    product_type="ServerNT",
    architecture="x86",
    powershell_version="2.0",
    clr_version="2.0",
    system_root=r"c:\windows",
    utc_now=NOW,
    fips_policy=False,
    user_name=r"TEMP01\admin",
    is_administrator=True,
    system_path="",
    disks=(Disk("C:\\", "Fixed", "NTFS", 9, 9), Disk("D:\\", "Fixed", "NTFS", 9, 9)),
    started=NOW - timedelta(hours=1),
)


def verdicts(found: object) -> dict[str, str]:
    return {one.what: one.verdict for one in found}  # type: ignore[attr-defined]


def service(name: str, state: str = "Running", exists: bool = True, image: bool = True) -> ServiceState:
    return ServiceState(name, exists, name, state if exists else "", "Manual", "", "", image, ())


def test_a_plan_comes_back_from_its_json_and_an_edited_one_is_refused() -> None:
    data = PLAN.to_json()
    again = RecoveryPlan.from_json(data)
    assert (again, again.digest) == (PLAN, PLAN.digest)
    with pytest.raises(ValueError, match="edited"):
        RecoveryPlan.from_json({**data, "folder": "E:\\"})
    with pytest.raises(ValueError, match="version"):
        RecoveryPlan.from_json({**data, "format": 99})
    with pytest.raises(ValueError, match="steps"):
        RecoveryPlan.from_json({**data, "steps": "none"})
    assert PLAN.step("REINSTALL-windows") is PLAN.steps[0]
    assert PLAN.part("storagegroups") is None
    assert [one.of for one in PLAN.connectors] == ["notes"]


def test_evidence_comes_back_from_its_json() -> None:
    some = (Evidence("a", "wrong", "b", "c"), Evidence("d", "unknown", "e"))
    assert evidence_from_json(evidence_to_json(some)) == some
    with pytest.raises(ValueError, match="no evidence"):
        evidence_from_json([{"what": 1}])


PLACE = "10.1.2.99:5985"


def test_a_new_machine_is_told_from_a_wrong_one() -> None:
    assert set(verdicts(checks.reinstalled(ORIGINAL, FACT, None, PLACE)).values()) == {"ok"}
    wrong = replace(
        FACT,
        computer_name="ex01",
        os_version="5.0.2195",
        service_pack="",
        system_root=r"C:\WINNT",
        is_administrator=False,
        disks=(Disk("C:\\", "Fixed", "NTFS", 9, 9), Disk("D:\\", "CDRom", "CDFS", 9, 0)),
    )
    found = verdicts(checks.reinstalled(ORIGINAL, wrong, service("MSExchangeIS"), PLACE))
    assert set(found.values()) == {"wrong"}
    assert len(found) == 7
    another = list(
        checks.reinstalled(ORIGINAL, replace(FACT, computer_name="EX02"), service("MSExchangeIS"), PLACE)
    )[-1]
    assert (
        f"runs on EX02, which answers at {PLACE}" in another.said
    )  # which machine is asked is what is wrong
    assert another.remedy.startswith("EX02 is not the new machine")
    nobody = replace(ORIGINAL, os_version="", drives=())
    found = verdicts(checks.reinstalled(nobody, FACT, service("MSExchangeIS", "Stopped"), PLACE))
    assert (found["version of Windows"], found["drives"], found["no Exchange"]) == (
        "unknown",
        "unknown",
        "ok",
    )


def test_a_registry_is_compared_value_by_value() -> None:
    key = r"HKEY_LOCAL_MACHINE\SOFTWARE\X"
    one, two = RegValue("A", 1, b"a\0"), RegValue("B", 4, b"\1\0\0\0")
    was = {"HKLM\\SOFTWARE\\X": RegFile({key: {"a": one, "b": two}})}
    same = {"HKLM\\SOFTWARE\\X": RegFile({key.upper(): {"a": one, "b": two, "c": one}})}
    assert verdicts(checks.registry(was, same, "EX01/s")) == {"registry": "ok"}
    other = {"HKLM\\SOFTWARE\\X": RegFile({key: {"a": RegValue("A", 1, b"z\0"), "b": two}})}
    (wrong,) = checks.registry(was, other, "EX01/s")
    assert wrong.verdict == "wrong"
    assert "value A is not what EX01/s has" in wrong.said
    (gone,) = checks.registry(was, {"HKLM\\SOFTWARE\\X": None}, "EX01/s")
    assert gone.verdict == "wrong"
    (none,) = checks.registry({}, {}, "EX01/s")
    assert none.verdict == "unknown"


def value(text: str, exists: bool = True) -> RegistryValue:
    return RegistryValue("k", "n", True, exists, "String", text)


def test_a_component_that_was_left_out_is_named() -> None:
    every = [service(name) for name in (*checks.BASE, *ORIGINAL.registered)]
    well = checks.installed(ORIGINAL, value(r"C:\Exchsrvr"), [value("7638")], every)
    assert set(verdicts(well).values()) == {"ok"}
    half = [*every[:-1], service("MSExchangeCoCo", image=False)]
    found = list(checks.installed(ORIGINAL, value(r"D:\Exchsrvr"), [value("", False), value("6944")], half))
    assert set(verdicts(found).values()) == {"wrong"}
    assert "program of MSExchangeCoCo" in found[-1].said
    found = list(checks.installed(ORIGINAL, None, [], every[:3]))
    assert "MSExchangeCoCo is not there" in found[-1].said
    assert verdicts(found)["folder of Exchange"] == "wrong"


@pytest.mark.parametrize(
    ("build", "told"),
    [
        ("7638", "7638 (Exchange Server 2003, Service Pack 2)"),
        ("7654", "7654 (Exchange Server 2003, Service Pack 2, with fixes that came later)"),
        ("6249", "6249 (Exchange 2000 Server, Service Pack 3)"),
        ("6620", "6620 (Exchange 2000 Server, Service Pack 3, with fixes that came later)"),
        ("6944", "6944 (Exchange Server 2003, no service pack)"),
        ("4416", "4416"),
        ("8000", "8000"),
        ("1966080", "1966080"),
        ("²", "²"),
        ("7638.2", "7638.2"),
        ("", ""),
    ],
)
def test_a_build_of_exchange_is_told_in_words(build: str, told: str) -> None:
    assert build_text(build) == told


def test_databases_that_nobody_holds_are_not_mounted() -> None:
    held = NamedFile(r"C:\Mdbdata\priv1.edb", False, error="it is locked by another process")
    free = NamedFile(r"C:\Mdbdata\pub1.edb", True, 5)
    gone = NamedFile(r"C:\Mdbdata\pub1.edb", False)
    store = service("MSExchangeIS")
    assert set(verdicts(checks.groups_restored(store, [], [held, gone], "C:\\Mdbdata")).values()) == {"ok"}
    found = verdicts(
        checks.groups_restored(service("MSExchangeIS", "Stopped"), [r"D:\t\Restore.env"], [held, free], "x")
    )
    assert set(found.values()) == {"wrong"}
    assert verdicts(checks.groups_restored(None, [], [gone], "x"))["databases"] == "unknown"


def test_a_restart_is_a_new_start_whatever_the_clock_says() -> None:
    started = FACT.started
    assert started is not None
    assert checks.restarted(started, started) == "same"
    assert checks.restarted(started, started + timedelta(seconds=1)) == "new"
    assert checks.restarted(None, started) == checks.restarted(started, None) == "unknown"
    # It runs for an hour: by our clock since 1:00, though its own clock is a day ahead.
    ahead = replace(FACT, utc_now=NOW + timedelta(days=1), started=NOW + timedelta(days=1, hours=-1))
    assert checks.restarted_after(NOW - timedelta(minutes=61), checks.booted(ahead, NOW)) == "new"
    assert checks.restarted_after(NOW - timedelta(minutes=59), checks.booted(ahead, NOW)) == "same"
    assert checks.restarted_after(None, checks.booted(ahead, NOW)) == "unknown"


def test_services_that_ran_have_to_run() -> None:
    assert verdicts(checks.running(["A"], [service("a")])) == {"services": "ok"}
    assert verdicts(checks.running(["A", "B"], [service("a")])) == {"services": "wrong"}
    assert verdicts(checks.running([], [])) == {"services": "unknown"}
    assert verdicts(checks.registered(["A"], [service("A", exists=False)])) == {"services": "wrong"}


def test_a_step_whose_answer_was_taken_up_and_not_looked_at_is_not_asked_again(tmp_path: Path) -> None:
    journal = Journal.create(tmp_path, "20261126T020000Z-000001", "recover", ["recover", "EX01"], lambda: NOW)
    journal.event(PLANNED, host="EX01", plan=PLAN.to_json())
    journal.event(STEP, host="EX01", step="reinstall-windows", state="started", evidence=[])
    said = (NOW - timedelta(hours=2)).isoformat()
    told = {"by": "Anna", "words": "", "said": said, "asked": {}, "via": "r2", "head": ""}
    journal.event(CONFIRMED, host="EX01", step="reinstall-windows", **told)
    journal.event(NOTED, host="EX01", address="10.0.0.1")
    journal.event(PLANNED, host="EX02", plan={"format": 0})
    journal.close("6")
    found = read_recovery(journal.run_id, [Journal.read(journal.path)])
    host = found.hosts["EX01"]
    assert host.pending["reinstall-windows"].at == NOW - timedelta(hours=2)
    assert (host.at, host.next, found.taken) == ("10.0.0.1", "reinstall-windows", {"r2"})
    (problem,) = found.problems
    assert problem.startswith(
        "the plan of EX02 in 20261126T020000Z-000001 cannot be read: it is of version 0"
    )
    assert found.unfinished == ["EX01"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ex01", ("ex01", None)),
        ("ex01:5986", ("ex01", 5986)),
        ("10.0.0.1:80", ("10.0.0.1", 80)),
        ("::1", ("::1", None)),
        ("[::1]:5985", ("::1", 5985)),
    ],
)
def test_an_address_may_have_a_port(text: str, expected: tuple[str, int | None]) -> None:
    assert split_address(text) == expected


@given(st.text(max_size=20))
def test_what_is_no_address_is_refused_in_words(text: str) -> None:
    try:
        address, port = split_address(text)
    except ValueError as error:
        assert "host name" in str(error)
    else:
        assert address
        assert port is None or 0 < port < 65536


def run_after(folder: Path, name: str, before: RunRecord | None, minutes: int, done: str) -> RunRecord:
    at = NOW + timedelta(minutes=minutes)
    more = (
        {"recovery": "r-1", "before": {"run": before.run_id, "events": before.count, "head": before.digest}}
        if before is not None
        else {}
    )
    journal = Journal.create(folder, name, "recover", ["recover", "EX01"], lambda: at, **more)
    journal.event(PLANNED, host="EX01", plan=PLAN.to_json())
    journal.event(STEP, host="EX01", step=done, state="done", evidence=[])
    journal.close("6")
    return Journal.read(journal.path)


def test_runs_follow_their_links_and_not_the_clocks_of_jump_hosts(tmp_path: Path) -> None:
    first = run_after(tmp_path, "r-1", None, 0, "reinstall-windows")
    second = run_after(tmp_path, "r-2", first, -90, "restore-system-state")  # its clock is behind
    fork = run_after(tmp_path, "r-3", first, 5, "restore-storage-groups")
    found = read_recovery("r-1", [second, first])
    assert [run.run_id for run in found.runs] == ["r-1", "r-2"]
    assert (found.problems, found.last, found.hosts["EX01"].next) == ([], second, "restore-storage-groups")
    forked = read_recovery("r-1", [first, second, fork])
    assert [run.run_id for run in forked.runs] == ["r-1", "r-2"]
    assert "r-3 goes on from r-1, as r-2 does: it does not count" in forked.problems
    orphan = read_recovery("r-1", [second])
    assert "the journal of r-1, with which it began, is gone" in orphan.problems


def begun(folder: Path, name: str, minutes: int, ends: list[str] | None) -> RunRecord:
    """Write the journal of a recovery that has just begun; without `ends`, as it was written before."""
    at = NOW + timedelta(minutes=minutes)
    journal = Journal.create(folder, name, "recover", ["recover", "EX01"], lambda: at, user="Anna")
    if ends is None:
        journal.event(PLANS, plans={"EX01": PLAN.to_json()})
    else:
        journal.event(PLANS, plans={"EX01": PLAN.to_json()}, ends=ends)
    journal.close("6")
    return Journal.read(journal.path)


def test_a_recovery_says_which_ones_it_ends_and_an_old_journal_ends_what_is_older(tmp_path: Path) -> None:
    old, older = begun(tmp_path, "r-2", 0, None), begun(tmp_path, "r-1", -5, None)
    behind = begun(tmp_path, "r-3", -90, ["r-2"])
    found = recoveries([old, behind, older])
    assert [*found] == ["r-1", "r-2", "r-3"]
    assert [one.id for one in found.values() if one.unfinished] == ["r-3"]
    ended = found["r-2"].hosts["EX01"].given_up
    assert ended is not None
    assert (
        ended.text == "it was given up on 2026-11-26 00:30 UTC, by Anna, for another one that was begun, r-3"
    )
    # Two that end each other are in no order, and neither is gone on with.
    ring = recoveries([begun(tmp_path, "r-4", 0, ["r-5"]), begun(tmp_path, "r-5", 1, ["r-4"])])
    assert sorted(ring) == ["r-4", "r-5"]


@given(st.dictionaries(st.sampled_from(["started", "said"]), st.text(max_size=12)))
def test_a_moment_of_a_journal_is_one_or_none(fields: dict[str, str]) -> None:
    for text in fields.values():
        found = moment(text)
        assert found is None or found.tzinfo is not None
    assert moment("2026-01-01") is None
    assert moment("2026-01-01T00:00:00+00:00") == datetime(2026, 1, 1, tzinfo=UTC)

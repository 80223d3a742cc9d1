"""What runs that broke off owe a host, as their journals have it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exremote.changes import (
    ChangePlan,
    Confirm,
    EraseWorkFiles,
    FileChange,
    Prove,
    SetValues,
    SwapFiles,
    ValueChange,
)
from exremote.journal import Journal
from exremote.restore import Owed, owed

T0 = datetime(2026, 11, 26, 2, 0, 0, tzinfo=UTC)
PLAN = ChangePlan(
    "EX1",
    "EX1",
    "restore",
    (),
    (
        SwapFiles("conndata", "C:\\c", "C:\\s", "C:\\a", (FileChange("Amap.tbl", "1" * 64, ""),)),
        EraseWorkFiles("conndata", "C:\\c", ("*.seq",)),
        Confirm("notes-client", "Start it."),
        Prove((), ("notes",)),
    ),
)


def ran(
    folder: Path,
    tail: str,
    done: Sequence[int],
    *,
    verb: str = "restore",
    begun: int | None = None,
    after_s: float = 0.0,
    left: str = "",
    undoes: str = "",
    plan: ChangePlan = PLAN,
) -> str:
    """Write the journal of a run of one and the same second that did so many steps. Return its name."""
    folder.mkdir(exist_ok=True)
    name = f"20261126T020000Z-{tail * 6}"
    more = {"subjects": {"EX1": [undoes]}} if undoes else {}
    journal = Journal.create(
        folder, name, verb, [verb, "EX1"], lambda: T0 + timedelta(seconds=after_s), **more
    )
    journal.event("planned", host="EX1", digest="", steps=len(PLAN.steps))
    journal.event("safety", host="EX1", snapshots=[], plan=plan.to_json())
    for number in (*done, *([begun] if begun else [])):
        journal.event("step-started", host="EX1", number=number, step={})
        if number in done:
            journal.event("step-finished", host="EX1", number=number)
    if left:
        journal.event(left, host="EX1", item="conndata")
    journal.close("0")
    return name


def test_what_was_not_done_behind_a_change_is_owed_and_a_later_run_settles_it(tmp_path: Path) -> None:
    first = ran(tmp_path, "f", (1,), begun=2)
    found = owed(tmp_path, "EX1")
    assert found.work_files == {"conndata": first}
    assert found.people == {"notes-client": first}
    assert found.proof == {"notes": first}
    assert found.broken == first
    assert owed(tmp_path, "EX2") == Owed()
    # Of the same second, and by its name the earlier one.
    second = ran(tmp_path, "a", (1, 2, 3, 4), after_s=0.5)
    assert owed(tmp_path, "EX1") == Owed()
    assert owed(tmp_path, "EX1", second) == found
    assert owed(tmp_path, "EX1", first) == Owed()


def test_however_many_backups_were_since(tmp_path: Path) -> None:
    """Those of the tables come every quarter of an hour: a restore that broke off is found all the same."""
    first = ran(tmp_path, "0", (1,), begun=2)
    journal = (tmp_path / f"{first}.jsonl").read_bytes()
    for n in range(201):
        name = f"20261126T020001Z-{n:06x}"
        data = journal.replace(b'"verb":"restore"', b'"verb":"backup"').replace(first.encode(), name.encode())
        (tmp_path / f"{name}.jsonl").write_bytes(data)
    assert owed(tmp_path, "EX1").broken == first


def test_nothing_is_owed_where_nothing_was_changed_or_all_was_undone(tmp_path: Path) -> None:
    ran(tmp_path, "a", ())
    assert owed(tmp_path, "EX1") == Owed()
    broken = ran(tmp_path, "b", (), begun=1, after_s=1)
    assert owed(tmp_path, "EX1").broken == broken
    ran(tmp_path, "c", (1,), begun=2, verb="undo", after_s=2)
    assert owed(tmp_path, "EX1").work_files  # an undo that broke off owes as a restore does
    ran(tmp_path, "d", (1, 2, 3, 4), verb="undo", undoes=broken, after_s=3)
    assert owed(tmp_path, "EX1") == Owed()


def test_an_undo_ends_what_its_own_run_owed_and_not_what_was_before(tmp_path: Path) -> None:
    first = ran(tmp_path, "a", (1,), begun=2)
    second = ran(tmp_path, "b", (1,), begun=2, after_s=1)
    assert owed(tmp_path, "EX1").broken == second
    ran(tmp_path, "c", (1, 2, 3, 4), verb="undo", undoes=second, after_s=2)
    found = owed(tmp_path, "EX1")
    assert found.broken == first
    assert found.work_files == {}  # the undo has erased them
    ran(tmp_path, "d", (1, 2, 3, 4), verb="undo", undoes=first, after_s=3)
    assert owed(tmp_path, "EX1") == Owed()


def test_an_undo_of_something_else_leaves_what_is_owed(tmp_path: Path) -> None:
    """A run of another connector, older than the one that broke off, is undone."""
    value = SetValues("calendar", "HKLM\\C", (ValueChange("HKLM\\C", "V", "1", "2"),))
    other = ChangePlan("EX1", "EX1", "restore", (), (value, Prove((), ("calendar",))))
    well = ran(tmp_path, "a", (1, 2), plan=other)
    broken = ran(tmp_path, "b", (1,), begun=2, after_s=1)
    before = owed(tmp_path, "EX1")
    assert before.work_files == {"conndata": broken}
    ran(tmp_path, "c", (1, 2), plan=other, verb="undo", undoes=well, after_s=2)
    assert owed(tmp_path, "EX1") == before
    ran(tmp_path, "d", (1, 2), plan=other, verb="undo", undoes="20260101T000000Z-gone00", after_s=3)
    assert owed(tmp_path, "EX1") == before


def test_a_damaged_journal_is_named_until_a_later_run_came_to_its_end(tmp_path: Path) -> None:
    run = ran(tmp_path, "a", (1,), begun=2)
    path = tmp_path / f"{run}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"safety"', b'"safetz"'))
    assert owed(tmp_path, "EX1") == Owed(damaged=(run,))
    assert owed(tmp_path, "EX2") == Owed()
    ran(tmp_path, "b", (1, 2, 3, 4), after_s=1)
    assert owed(tmp_path, "EX1") == Owed()


def test_work_files_that_could_not_be_erased_are_owed_by_a_run_that_ended(tmp_path: Path) -> None:
    run = ran(tmp_path, "a", (1, 2, 3, 4), left="work-files-left")
    found = owed(tmp_path, "EX1")
    assert found.work_files == {"conndata": run}
    assert (found.people, found.proof, found.broken) == ({}, {}, "")

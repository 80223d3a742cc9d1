"""What runs have not put back, as their journals tell it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from exremote.journal import Journal
from exremote.runner import Heal
from exremote.runner.standing import BACK, FOUND, left_down

AT = datetime(2026, 11, 22, 10, tzinfo=UTC)
HOST, NAME = "EX1", "LME-NOTES"
START = {"kind": "start-service", "service": NAME, "will": "Running"}


def run(folder: Path, hour: int, *events: tuple[str, dict[str, Any]]) -> str:
    """Write the journal of a restore. Return its name."""
    name = f"20261122T{10 + hour}0000Z-00000{hour}"
    moments = iter(AT + timedelta(hours=hour, seconds=n) for n in range(100))
    journal = Journal.create(folder, name, "restore", [HOST], lambda: next(moments))
    for kind, fields in events:
        journal.event(kind, host=HOST, **fields)
    journal.close("22")
    return name


def owed(folder: Path) -> list[tuple[str, list[str]]]:
    """Return what is put back by a backup at noon: by run, its services."""
    found = left_down([folder], AT + timedelta(hours=4)).standings_of(HOST, Heal.AGAIN)
    return [(one.run, list(one.services)) for one in found]


FOUND_RUNNING = (FOUND, {"services": {NAME: ["Running", "Automatic"]}})


def could_not(folder: Path) -> str:
    """A restore that stopped the service, failed, and could not start it again."""
    first = "20261122T110000Z-000001"
    return run(folder, 1, FOUND_RUNNING, (BACK, {"of": first, "failed": {NAME: "no"}}))


def test_what_could_not_be_put_back_is_owed(tmp_path: Path) -> None:
    first = could_not(tmp_path)
    assert owed(tmp_path) == [(first, [NAME])]


@pytest.mark.parametrize(
    ("back", "settled"),
    [
        pytest.param({"failed": {}, "unstarted": []}, True, id="the plan made it run"),
        pytest.param({"failed": {}, "unstarted": [NAME]}, False, id="the plan could not start it"),
        pytest.param({"failed": {}}, False, id="the plan broke off, and it is as it was found"),
    ],
)
def test_what_the_plan_of_a_later_run_brought_to_run_is_owed_no_more(
    tmp_path: Path, back: dict[str, Any], settled: bool
) -> None:
    first = could_not(tmp_path)
    second = "20261122T120000Z-000002"
    found = (FOUND, {"services": {NAME: ["Stopped", "Automatic"]}})
    run(tmp_path, 2, found, ("step-started", {"number": 1, "step": START}), (BACK, {"of": second, **back}))
    assert owed(tmp_path) == ([] if settled else [(first, [NAME])])


def test_what_an_earlier_run_brought_to_run_says_nothing_of_a_later_one(tmp_path: Path) -> None:
    early = "20261122T100000Z-000000"
    started = ("step-started", {"number": 1, "step": START})
    run(tmp_path, 0, FOUND_RUNNING, started, (BACK, {"of": early, "failed": {}, "unstarted": []}))
    first = could_not(tmp_path)
    assert owed(tmp_path) == [(first, [NAME])]

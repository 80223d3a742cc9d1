"""`exremote status`: how old, missing or damaged what could be restored is; without a host and a
credential.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from keep_support import AT, Door, backup, damage, overwrite

from exremote.repository import Proof, Repository, Snapshot

INVENTORY = """
[defaults]
credential = { environment = "NOT_SET_ANYWHERE", username = 'DOM\\svc' }
[groups.all]
[hosts.EXCH01]
groups = ["all"]
[hosts.EXCH02]
connectors = ["groupwise", "notes"]
groups = ["all"]
[hosts.EXCH03]
backup = []
"""


@pytest.fixture
def door(tmp_path: Path) -> Door:
    found = Door(tmp_path)
    (tmp_path / "site.toml").write_text(INVENTORY, encoding="utf-8")
    found.more["EXREMOTE_INVENTORY"] = str(tmp_path / "site.toml")
    return found


def made(place: Repository, ago: timedelta, **more: Any) -> Snapshot:
    """Make a snapshot so long ago."""
    return backup(place, (datetime.now(UTC) - ago - AT) / timedelta(days=1), **more)


def rows(door: Door, *args: str, code: int = 0) -> dict[tuple[str, str | None], dict[str, Any]]:
    """Return what `status --json` says, by host and connector."""
    said = door("status", *args, "--json", code=code).json
    assert said["exit_code"] == code
    return {(row["host"], row["connector"]): row for row in said["rows"]}


def test_old_missing_and_damaged_are_bad_news(door: Door) -> None:
    place = door.place
    made(place, timedelta(days=3))
    recent = made(place, timedelta(hours=3))
    made(place, timedelta(hours=50), host="EXCH02")
    made(place, timedelta(hours=5), host="EXGONE")
    found = rows(door, code=5)
    assert {key: row["state"] for key, row in found.items()} == {
        ("EXCH01", "groupwise"): "ok",
        ("EXCH02", "groupwise"): "ok",
        ("EXCH02", "notes"): "missing",
        ("EXCH03", None): "skipped",
        ("EXGONE", "groupwise"): "skipped",
    }
    first = found["EXCH01", "groupwise"]
    assert (first["id"], first["full"], first["health"]) == (recent.id, "3 hours", "warning")
    assert 3 * 3600 <= first["full_age_s"] < 3 * 3600 + 600
    assert "exremote backup EXCH02" in found["EXCH02", "notes"]["message"]
    assert "not in the inventory" in found["EXGONE", "groupwise"]["message"]

    # What is too old is the operator's word; a check makes a snapshot young again, one of tables these alone.
    old = rows(door, "EXCH02", "--max-age", "26h", code=5)["EXCH02", "groupwise"]
    assert (old["state"], old["tables"]) == ("old", "2 days")
    assert "older than 26 hours" in old["message"]
    [second] = place.snapshots("EXCH02")
    place.record_check(second, "r1", datetime.now(UTC) - timedelta(minutes=20), "tables")
    ages = ("--max-age", "26h", "--max-age-tables", "15m")
    half = rows(door, "EXCH02", *ages, code=5)["EXCH02", "groupwise"]
    assert "tables older than 15 minutes" in half["message"]
    assert (half["state"], half["full"], half["tables"]) == ("old", "2 days", "20 minutes")
    place.record_check(second, "r2", datetime.now(UTC) - timedelta(hours=2))
    young = rows(door, "EXCH02", "--max-age", "26h", "--max-age-tables", "30m", code=5)
    assert young["EXCH02", "groupwise"]["state"] == "ok"

    # A newer one that lacks something is no good one, and is told.
    half_done = made(place, timedelta(minutes=30), complete=False)
    told = rows(door, "EXCH01")["EXCH01", "groupwise"]
    assert (told["id"], told["state"]) == (recent.id, "ok")
    assert f"{half_done.id}, is incomplete" in told["message"]

    # When it was last proven to restore, if it was.
    assert told["proven"] is None
    for green, hours in ((True, 5), (False, 1)):
        drilled = datetime.now(UTC) - timedelta(hours=hours)
        place.record_proof(recent, Proof(f"d{hours}", drilled, green, "EXDRILL", 2.0, 3, 4))
    told = rows(door, "EXCH01")["EXCH01", "groupwise"]
    assert (told["proven"], told["state"]) == ("5 hours", "ok")
    assert "last drill was not green" in told["message"]

    # Lines for a pipe, a cell after another, nothing else on standard output; a group is taken.
    ran = door("status", "all", code=5)
    lines = [line.split("\t") for line in ran.out.splitlines()]
    assert [line[:4] for line in lines] == [
        ["EXCH01", "groupwise", "ok", "3 hours"],
        ["EXCH02", "groupwise", "ok", "2 hours"],
        ["EXCH02", "notes", "missing", "-"],
    ]
    assert "1 of 3 rows is bad news" in ran.err


def test_damage_is_bad_news_whether_verify_noted_it_or_a_file_is_gone(door: Door) -> None:
    place = door.place
    old, new = made(place, timedelta(hours=9)), made(place, timedelta(hours=1))
    damage(old.file(old.manifest.entries[0]))
    assert rows(door, "EXCH01")["EXCH01", "groupwise"]["state"] == "ok", "no byte is read here"
    door("verify", code=13)
    noted = rows(door, "EXCH01", code=5)["EXCH01", "groupwise"]
    assert (noted["state"], noted["id"]) == ("damaged", new.id)
    assert old.id in noted["message"]
    new.file(new.manifest.entries[0]).unlink()
    gone = rows(door, "EXCH01", code=5)["EXCH01", "groupwise"]
    assert (gone["state"], gone["id"]) == ("damaged", None)
    assert "no complete full snapshot" in gone["message"]
    overwrite(new.path / "manifest.json", b"{}")
    assert rows(door, "EXCH01", code=5)["EXCH01", "groupwise"]["state"] == "damaged"


def test_a_host_of_which_no_connector_was_saved_is_bad_news(door: Door) -> None:
    made(door.place, timedelta(hours=1), connector="systemstate")
    found = rows(door, "EXCH01", code=5)
    assert found["EXCH01", "systemstate"]["state"] == "ok"
    assert found["EXCH01", None]["state"] == "missing"
    assert "exremote backup EXCH01" in found["EXCH01", None]["message"]
    made(door.place, timedelta(hours=1))
    assert {key[1] for key in rows(door, "EXCH01")} == {"systemstate", "groupwise"}


def test_without_an_inventory_the_repository_is_looked_at_as_it_is(door: Door) -> None:
    made(door.place, timedelta(hours=9), host="EXGONE")
    door.more["EXREMOTE_INVENTORY"] = ""
    assert rows(door)["EXGONE", "groupwise"]["state"] == "ok"
    assert rows(door, "--max-age", "30m", code=5)["EXGONE", "groupwise"]["state"] == "old"
    assert "no host NOBODY" in door("status", "NOBODY", code=2).err
    assert "no age such as" in " ".join(door("status", "--max-age", "3y", code=2).err.split())

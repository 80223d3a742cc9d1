"""A .bkf that stays on its host: proven there, named by its snapshot, looked at again, and gone in its time.

Under Wine winlab's ntbackup.exe writes it; what spoils it is written through the lab's control channel.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from conftest import Cli, World, manifest_of
from test_matrix_kill import killed

from exremote.mtf import walk

HOST = "EXNOTES01"
PART = "storagegroups"
GROUP = "First Storage Group"
COUNT = itertools.count(1)
FAULTS = r"HKLM\SOFTWARE\winlab\ntbackup"


@pytest.fixture
def kept() -> str:
    """Return a folder that no other test has used."""
    return rf"C:\bkf{next(COUNT)}"


@pytest.fixture
def door(cli: Cli, kept: str) -> Cli:
    settings(cli, kept)
    cli.init()
    return cli


def settings(cli: Cli, kept: str, more: str = "") -> None:
    table = (
        f"storage_groups = ['{GROUP}'], start = 'direct', least_free_gb = 0.1, bkf_folder = '{kept}'{more}"
    )
    cli.inventory(HOST, extra={HOST: f"connectors = []\nntbackup = {{ {table} }}"})


def saved(cli: Cli) -> dict[str, Any]:
    """Make a snapshot. Return what its manifest says of the .bkf."""
    cli("backup", HOST, "--only", PART)
    return newest(cli)


def newest(cli: Cli, part: str = PART) -> dict[str, Any]:
    (one,) = manifest_of(cli.folders_of(HOST, part)[-1])["elsewhere"]
    return dict(one)


def names(world: World, folder: str) -> list[str]:
    return [name for name in world.names(HOST, folder) if name.endswith(".bkf")]


def test_a_bkf_is_proven_where_it_lies_and_every_command_says_where_that_is(
    door: Cli, world: World, kept: str
) -> None:
    host = door("backup", HOST, "--only", PART, "--json").json["hosts"][0]
    assert (host["state"], host["missing"]) == ("done", [])
    folder = door.folder_of(HOST, PART)
    manifest, one = manifest_of(folder), newest(door)
    data = world.read(HOST, one["place"])
    assert one["place"] == rf"{kept}\{one['path']}"
    assert (len(data), hashlib.sha256(data).hexdigest()) == (one["size"], one["sha256"])
    assert manifest["complete"]
    # Log, selection and catalogue are here; of the .bkf there is nothing but what is said of it.
    assert {e["path"].rpartition(".")[2] for e in manifest["entries"]} >= {"bks", "cmd", "log"}
    assert not [e for e in manifest["entries"] if e["path"].endswith(".bkf")]
    assert not [o for o in (door.repository / "objects").rglob("*") if o.name == one["sha256"]]
    whole, lines = walk([data]), (folder / "catalogue.tsv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + sum(s.files + s.directories for s in whole.sets) > 1
    assert f'"blocks": {whole.blocks}' in (folder / "job.json").read_text(encoding="utf-8")
    # Nothing of the job is left but that.
    assert names(world, kept) == [one["path"]]
    assert names(world, rf"{kept}\{PART}") == []

    ran = door("verify")
    assert f"{one['place']} (" in ran.out and "not looked at" in ran.out
    assert "no damage in the repository; 1 file on hosts not looked at" in ran.out
    (row,) = door("verify", "--json").json["elsewhere"]
    assert (row["state"], row["sha256"]) == ("not looked at", one["sha256"])
    ran = door("verify", "--on-host", HOST)
    assert ": whole" in ran.out and "not looked at" not in ran.out
    (listed,) = door("snapshots", "--json").json
    assert (listed["state"], listed["bytes_on_host"]) == ("done", one["size"])
    shown = door("show", f"{HOST}/{PART}").out
    assert f"on the host: {one['place']}" in shown and one["sha256"] in shown and ": whole" in shown
    (row,) = door("status", HOST, "--json").json["rows"]
    assert row["state"] == "ok" and "its .bkf stays on the host, whole" in row["message"]
    into = door.folder / "out"
    ran = door("export", f"{HOST}/{PART}", "--into", str(into), code=3)
    assert f"not written: {one['place']} stays on {HOST}" in ran.err
    assert not list(into.rglob("*.bkf")) and list(into.rglob("*.log"))
    other = door.folder / "other"
    door("init", str(other), "--json")
    ran = door("copy", "--to", str(other))
    assert "1 file of these snapshots stay on their hosts" in ran.err
    assert (
        door("verify", "--repository", str(other), "--json").json["elsewhere"][0]["sha256"] == one["sha256"]
    )
    assert "only ntbackup restores that" in door("restore", f"{HOST}/{PART}", "--dry-run", code=4).err


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


SPOILED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "truncated": (lambda data: data[:-1024], "bytes instead of"),
    "grown": (lambda data: data + bytes(1024), "there are zeros behind"),
    "a byte of a header": (lambda data: flipped(data, data.index(b"SSET") + 40), "no header with a right"),
    "a byte of the data": (lambda data: flipped(data, data.rindex(b"STAN") + 100), "is not what was saved"),
    "another file": (lambda data: b"another program's" * 100, "it does not begin with the header of a tape"),
    "empty": (lambda data: b"", "it is empty"),
    "cut in its data": (lambda data: data[: data.rindex(b"STAN") + 99], "of stream STAN"),
    "removed": (lambda data: b"", "is not there"),
}


@pytest.mark.not_under_wine("time")
def test_whatever_spoils_it_in_its_place_is_found_there(door: Cli, world: World, kept: str) -> None:
    door("backup", HOST, "--only", "systemstate", "--only", PART)
    places = [newest(door, part)["place"] for part in ("systemstate", PART)]
    good = {place: world.read(HOST, place) for place in places}
    cases = list(SPOILED.items())
    for pair in (cases[i : i + 2] for i in range(0, len(cases), 2)):
        for place, (how, (spoil, _)) in zip(places, pair, strict=True):
            world.client.edit(HOST, "write_file", path=place, data=spoil(good[place]))
            if how == "removed":
                world.client.edit(HOST, "remove_file", path=place)
        ran = door("verify", "--on-host", HOST, "--json", code=13)
        found = {one["place"]: one["problem"] for one in ran.json["problems"]}
        for place, (how, (_, said)) in zip(places, pair, strict=True):
            assert said in found[f"{HOST}: {place}"], (how, found)
        states = {row["place"]: row["state"] for row in ran.json["elsewhere"]}
        assert states[places[0]] == "damaged"
        assert states[places[1]] == ("missing" if pair[1][0] == "removed" else "damaged")
    rows = door("status", HOST, "--json", code=5).json["rows"]
    assert [row["state"] for row in rows] == ["damaged", "damaged"]
    assert [s["state"] for s in door("snapshots", "--json").json] == ["damaged", "damaged"]
    (told, *_) = door("runs", "--json").json
    assert (told["verb"], told["exit_code"]) == ("verify", 13), told
    # It is back, from wherever a person had a copy: then all is well again.
    for place in places:
        world.client.edit(HOST, "write_file", path=place, data=good[place])
    assert door("verify", "--on-host").out.count(": whole") == 2
    assert [row["state"] for row in door("status", HOST, "--json").json["rows"]] == ["ok", "ok"]


@pytest.mark.not_under_wine("time")
def test_an_old_one_goes_when_it_was_forgotten_and_a_newer_one_was_proven(
    door: Cli, world: World, kept: str
) -> None:
    first = saved(door)
    second = saved(door)
    assert sorted(names(world, kept)) == sorted([first["path"], second["path"]])
    ran = door("forget", "--keep-last", "1", "--yes")
    assert f"{first['place']} is still on {HOST}" in ran.err
    assert len(names(world, kept)) == 2
    assert f"{first['place']} on {HOST}" in door("prune").out
    # One that fails proves nothing: all stays, and what it wrote is no backup.
    world.client.edit(HOST, "set_registry", key=FAULTS, name="TruncateAt", data=50_000)
    try:
        ran = door("backup", HOST, "--only", PART, code=3)
    finally:
        world.client.edit(HOST, "set_registry", key=FAULTS, name="TruncateAt", data=0)
    assert "bytes of stream STAN" in ran.out and "it is no backup, and was taken from the host" in ran.out
    assert sorted(names(world, kept)) == sorted([first["path"], second["path"]])
    third = saved(door)
    assert sorted(names(world, kept)) == sorted([second["path"], third["path"]])
    assert door("prune", "--json").json["on_hosts"] == []
    told = door("runs", manifest_of(door.folders_of(HOST, PART)[-1])["run"]).out
    assert f"took away {first['place']}" in told and f"{third['place']} (" in told, told


@pytest.mark.not_under_wine("apart")
def test_what_cannot_be_looked_at_is_not_called_well(door: Cli, world: World, kept: str) -> None:
    one = saved(door)
    world.client.edit(HOST, "lock_file", path=one["place"])
    try:
        ran = door("verify", "--on-host", "--json", code=3)
    finally:
        world.client.edit(HOST, "lock_file", path=one["place"], locked=False)
    assert ran.json["elsewhere"][0]["state"] == "not looked at"
    assert "used" in ran.json["elsewhere"][0]["said"] or "access" in ran.json["elsewhere"][0]["said"]
    door.inventory("EXGW01")
    ran = door("verify", "--on-host", code=3)
    assert f"the inventory has no host {HOST}" in ran.out


@pytest.mark.not_under_wine("apart")
def test_the_inventory_names_a_folder_on_the_drive_of_the_jobs(door: Cli, kept: str) -> None:
    for more, said in (
        (r", folder = 'D:\save'", "expected folder and bkf_folder on one drive"),
        ("", ""),
    ):
        settings(door, kept, more)
        ran = door("inventory", "check", code=2 if said else 0)
        assert said in ran.err
    door.inventory(HOST, extra={HOST: r"ntbackup = { bkf_folder = '\\SRV\share' }"})
    assert "bkf_folder" in door("inventory", "check", code=2).err


@pytest.mark.not_under_wine("time")
def test_a_run_killed_once_it_was_put_there_leaves_one_that_goes_with_the_next(
    door: Cli, world: World, kept: str
) -> None:
    host = door("backup", HOST, "--only", PART, "--json").json["hosts"][0]
    run = manifest_of(door.folder_of(HOST, PART))["run"]
    events = (door.repository / "runs" / f"{run}.jsonl").read_text(encoding="utf-8").splitlines()
    (at,) = [number for number, line in enumerate(events, 1) if '"bkf-stays"' in line]
    assert host["state"] == "done"
    assert killed(door, at, "backup", HOST, "--only", PART) != 0
    assert len(names(world, kept)) == 2, "it was moved, and no snapshot names it"
    assert len(door.snapshots()) == 1
    third = saved(door)
    assert len(door.snapshots()) == 2
    assert third["path"] in names(world, kept) and len(names(world, kept)) == 2
    assert door("verify", "--on-host").out.count(": whole") == 2
    assert names(world, rf"{kept}\{PART}") == []

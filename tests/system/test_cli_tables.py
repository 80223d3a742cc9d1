"""`exremote backup --only tables`: little is asked, what changed is kept, readers of the newest get it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import CONNDATA, Cli, World, manifest_of

pytestmark = pytest.mark.not_under_wine("apart")


HOST = "EXNOTES01"
BOTH = "EXSICK01"
"""Notes and GroupWise share its tables."""
TABLES = rf"{CONNDATA}\Tables"
TABLE = "lab0006.tbl"
MOST = {"simulated": 10, "powershell": 18}
"""Round trips of the whole command, from connect to close, if nothing changed. A real engine under Wine
answers in more pieces, and the lab's endpoint hands them on as they come."""


def run(cli: Cli, *hosts: str, code: int = 0) -> dict[str, dict[str, Any]]:
    """Save the tables, and return what was said of each host."""
    report = cli("backup", *hosts, "--only", "tables", "--json", code=code).json
    return {host["host"]: host for host in report["hosts"]}


def checks_of(cli: Cli, host: str, id_: str) -> list[dict[str, str]]:
    """Return the record of checks of a snapshot."""
    path = cli.repository / "checks" / host / f"{id_}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def exchanges(world: World, host: str) -> int:
    """Return what the host's endpoint counted since the last time, authentication included."""
    count = int(world.client.counters(host)["exchanges"])
    world.client.reset_counters(host)
    return count


def test_tables_alone_from_the_first_to_the_newest(cli: Cli, world: World, tmp_path: Path) -> None:
    cli.init()
    cli.inventory(HOST, BOTH)
    said = run(cli, HOST, code=3)[HOST]
    assert said["state"] == "incomplete"
    assert f"First run: exremote backup {HOST}" in said["message"]
    assert exchanges(world, HOST) == 0, "nobody was asked in vain"

    cli("backup", HOST, BOTH, "--json")
    full = cli.folder_of(HOST, "notes").name
    assert exchanges(world, HOST) > MOST[world.engine]

    # Unchanged: few round trips, a check of the tables alone, no snapshot.
    said = run(cli, HOST)[HOST]
    assert said["snapshots"] == [{"connector": "notes", "id": full, "state": "unchanged"}]
    assert 0 < exchanges(world, HOST) <= MOST[world.engine]
    [check] = checks_of(cli, HOST, full)
    assert check["part"] == "tables"
    cli("verify")  # which knows that check
    [shown] = [s for s in cli.snapshots() if (s["host"], s["connector"]) == (HOST, "notes")]
    assert shown["last_seen_unchanged"] is None, "nobody looked at the rest of it"

    # Changed, added: a snapshot of its own kind, for each connector that shares the tables.
    world.write(HOST, rf"{TABLES}\{TABLE}", b"correlated anew")
    world.write(HOST, rf"{TABLES}\new.tbl", b"a new one")
    world.write(BOTH, rf"{TABLES}\{TABLE}", b"another host")
    said = run(cli)
    assert [(s["connector"], s["state"]) for s in said[BOTH]["snapshots"]] == [
        ("groupwise", "new"),
        ("notes", "new"),
    ]
    assert (said[HOST]["sent_files"], said[BOTH]["sent_files"]) == (2, 1)
    manifest = manifest_of(cli.folders_of(HOST, "notes")[-1])
    tables = manifest["id"]
    assert (manifest["kind"], manifest["complete"]) == ("tables", True)
    assert manifest["trees"]["conndata"]["root"] == TABLES
    paths = {e["path"] for e in manifest["entries"]}
    assert {TABLE, "new.tbl"} <= paths
    exchanges(world, HOST)

    # Unchanged since: the check is of the newer tables, and as cheap.
    said = run(cli, HOST)[HOST]
    assert said["snapshots"] == [{"connector": "notes", "id": tables, "state": "unchanged"}]
    assert 0 < exchanges(world, HOST) <= MOST[world.engine]
    assert "part" not in checks_of(cli, HOST, tables)[0]

    # Readers of the newest get the newer tables; of an id, what that holds.
    answer = cli("show", f"{HOST}/notes", "--files", "--json").json
    assert (answer["id"], answer["tables"]["id"]) == (full, tables)
    listed = {e["path"]: e for e in answer["entries"] if e["item"] == "conndata"}
    assert listed[rf"Tables\{TABLE}"]["bytes"] == len(b"correlated anew")
    assert r"Tables\new.tbl" in listed
    assert any(path.startswith("Dxamex\\") for path in listed), "the rest is the full one's"
    assert cli("show", full, "--json").json["tables"] is None
    into = tmp_path / "out"
    cli("export", f"{HOST}/notes", "--into", str(into))
    assert (into / "files/conndata/Tables" / TABLE).read_bytes() == b"correlated anew"
    assert (into / "files/conndata/Tables/new.tbl").read_bytes() == b"a new one"
    assert json.loads((into / "tables/manifest.json").read_text())["id"] == tables
    changes = cli("diff", full, tables, "--json").json["changes"]
    assert [(c["what"], c["name"]) for c in changes] == [("changed", TABLE), ("added", "new.tbl")]

    # A full backup is newer than both, and tables are compared with it.
    cli("backup", HOST)
    answer = cli("show", f"{HOST}/notes", "--json").json
    assert (answer["id"] != full, answer["tables"]) == (True, None)
    assert run(cli, HOST)[HOST]["snapshots"][0] == {
        "connector": "notes",
        "id": answer["id"],
        "state": "unchanged",
    }


@pytest.mark.not_under_wine("apart")
def test_a_host_whose_connectors_have_no_tables_is_skipped(cli: Cli, world: World) -> None:
    """A nightly run over all hosts ends well, and sends nobody in a circle."""
    cli.init()
    cli.inventory(HOST, "EXGW01", extra={"EXGW01": "connectors = ['calendar']"})
    cli("backup", HOST)
    said = run(cli)
    assert {name: host["state"] for name, host in said.items()} == {HOST: "done", "EXGW01": "skipped"}
    assert said["EXGW01"]["message"] == "none of its connectors has tables"


@pytest.mark.not_under_wine("time")
def test_tables_that_were_emptied_are_a_finding_and_are_kept_apart(cli: Cli, world: World) -> None:
    cli.init()
    cli.inventory(HOST)
    cli("backup", HOST)
    world.write(HOST, rf"{TABLES}\{TABLE}", b"")
    dry = cli("backup", HOST, "--only", "tables", "--dry-run")
    assert "copy tree conndata" in dry.out
    [finding] = run(cli, HOST)[HOST]["findings"]
    assert (finding["check"], finding["verdict"]) == ("table.shrunk", "critical")
    assert rf"Tables\{TABLE} was emptied" in finding["evidence"]
    [row] = [r for r in cli("status", "--json").json["rows"] if r["connector"] == "notes"]
    assert row["health"] == "critical"
    told = " ".join(cli("restore", "--latest", HOST, "--dry-run", code=None).err.split())
    assert r"was taken when this was critical: table.shrunk: " in told
    assert rf"{TABLE} was emptied" in told
    world.write(HOST, rf"{TABLES}\{TABLE}", b"back")
    run(cli, HOST)
    newest = cli.folders_of(HOST, "notes")[-1].name
    assert f"{HOST}/{newest}" in cli("show", f"{HOST}/notes").out
    assert cli("diff", f"{HOST}/notes", newest, "--exit-code", "--json").json["changes"] == []
    rows = cli("forget", "--keep-last", "1", "--dry-run", "--json").json
    assert [(r["kind"], r["connector"]) for r in rows["goes"]] == [("tables", "notes")]
    kept = {(r["kind"], r["connector"]) for r in rows["stays"]}
    assert kept == {("full", "notes"), ("full", "calendar"), ("tables", "notes")}
    rows = cli("forget", "--kind", "full", "--keep-last", "1", "--dry-run", "--json").json
    assert {r["kind"] for r in rows["stays"]} == {"full"}
    assert rows["goes"] == []


@pytest.mark.not_under_wine("time")
def test_what_cannot_be_saved_says_so_and_is_noted_once(cli: Cli, world: World) -> None:
    cli.init()
    cli.inventory(HOST)
    cli("backup", HOST)
    world.lock(HOST, rf"{TABLES}\held.tbl")
    said = run(cli, HOST, code=3)[HOST]
    assert "held.tbl" in said["missing"][0]["what"]
    assert said["snapshots"][0]["state"] == "incomplete"
    again = run(cli, HOST, code=3)[HOST]
    assert again["snapshots"] == said["snapshots"], "no other snapshot that lacks the same"
    assert cli("show", f"{HOST}/notes", "--json").json["tables"] is None, "it is never the latest"


@pytest.mark.not_under_wine("local")
def test_bad_words(cli: Cli) -> None:
    cli.init()
    assert "stands alone" in cli("backup", "--only", "tables", "--only", "notes", code=2).err
    assert "tables" in cli("backup", "--only", "table", code=2).err


@pytest.mark.not_under_wine("time")
def test_another_machine_and_another_place_are_told(cli: Cli, world: World) -> None:
    cli.init()
    cli.inventory(HOST)
    cli("backup", HOST)
    key = r"HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ActiveComputerName"
    world.client.edit(HOST, "set_registry", key=key, name="ComputerName", data="EXOTHER")
    said = run(cli, HOST, code=4)[HOST]
    assert "EXOTHER answered" in said["message"]
    world.client.edit(HOST, "set_registry", key=key, name="ComputerName", data=HOST)

"""`exremote backup`: what it takes, what it sends, and what it says of what it could not take."""

from __future__ import annotations

import hashlib
import json
import re
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import CONNDATA, HEALTHY, LIVING, UNPLAYED, WITHHELD, Cli, World, manifest_of

from exremote.lab.client import RunningLab

NOTES_INI = r"C:\Lotus\Notes\Notes.ini"
AMAP = rf"{CONNDATA}\Dxamex\Amap.tbl"


@pytest.fixture(scope="module")
def saved(lab: RunningLab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Return a repository with one backup of three hosts. The tests that use it read it only."""
    cli = Cli(lab, tmp_path_factory.mktemp("saved"))
    cli.init()
    for name in ("lab1.seq", "lab2.seq", "lab1.ck"):  # a restore on the same machine has erased them
        lab.client.edit("EXNOTES01", "write_file", path=rf"{CONNDATA}\{name}", data=b"a work file")
    cli("backup", "--json")  # the first of `ran`
    yield cli
    assert cli.leaks() == []


def documents(manifest: dict[str, Any]) -> set[str]:
    """Return the names of the files of our own in a snapshot."""
    return {document["stored"] for document in manifest["documents"]}


def hosts_of(report: Any) -> dict[str, dict[str, Any]]:
    """Return a JSON report's hosts by name."""
    return {host["host"]: host for host in report["hosts"]}


# ------------------------------------------------------------------ what is in a snapshot


def test_a_snapshot_for_each_host_and_connector(saved: Cli) -> None:
    found = {(s["host"], s["connector"]): s for s in saved.snapshots()}
    assert set(found) == {
        ("EXNOTES01", "notes"),
        ("EXNOTES01", "calendar"),
        ("EXGW01", "groupwise"),
        ("EXSICK01", "notes"),
        ("EXSICK01", "groupwise"),
    }
    assert {s["state"] for s in found.values()} == {"done"}
    assert found["EXSICK01", "groupwise"]["health"] == "critical"
    said = hosts_of(saved.ran[0].json)
    assert {name: (h["state"], h["missing"]) for name, h in said.items()} == dict.fromkeys(
        LIVING, ("done", [])
    )


@pytest.mark.parametrize(
    ("host", "connector"),
    [("EXNOTES01", "notes"), ("EXGW01", "groupwise"), ("EXSICK01", "groupwise"), ("EXSICK01", "notes")],
)
def test_every_file_is_the_hosts_byte_for_byte(
    saved: Cli, lab: RunningLab, host: str, connector: str
) -> None:
    """Held against the host itself, not against what was sent."""
    folder = saved.folder_of(host, connector)
    manifest = manifest_of(folder)
    assert len(manifest["entries"]) >= 10
    for entry in manifest["entries"]:
        remote = rf"{manifest['trees'][entry['item']]['root']}\{entry['path']}"
        stored = (folder / entry["stored"]).read_bytes()
        if not remote.lower().endswith((".exe", ".dll")):  # under Wine a service has another program file
            assert stored == lab.client.read_file(host, remote), remote
        assert (entry["size"], entry["sha256"]) == (len(stored), hashlib.sha256(stored).hexdigest())
    paths = {rf"{manifest['trees'][e['item']]['root']}\{e['path']}".lower() for e in manifest["entries"]}
    assert rf"{CONNDATA}\Tables\lab0006.tbl".lower() in paths
    assert (NOTES_INI.lower() in paths) == (connector == "notes")


def test_nothing_but_what_the_manifest_names_lies_in_the_folder(saved: Cli) -> None:
    for folder in (saved.repository / "snapshots").glob("*/*"):
        manifest = manifest_of(folder)
        named = {e["stored"] for e in manifest["entries"]} | documents(manifest)
        there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
        assert there == named | {"manifest.json", "manifest.sha256"}


def test_registry_exports_are_those_of_reg_exe(saved: Cli) -> None:
    """Text that `reg import` takes back: UTF-16 with its mark, and the header of its kind."""
    folder = saved.folder_of("EXNOTES01", "notes")
    names = {p.name for p in (folder / "registry").iterdir()}
    assert {"notes-connector.reg", "controller.reg", "notes-client.reg"} <= names
    for name, key in (
        ("notes-connector.reg", r"HKEY_LOCAL_MACHINE\SYSTEM\CurrentControlSet\Services\LME-NOTES"),
        ("notes-client.reg", r"HKEY_LOCAL_MACHINE\SOFTWARE\Lotus\Notes"),
    ):
        data = (folder / "registry" / name).read_bytes()
        text = data.decode("utf-16")
        assert data.startswith(b"\xff\xfe")
        assert text.startswith("Windows Registry Editor Version 5.00\r\n")
        assert f"[{key}]".lower() in text.lower()
    assert '"DataPath"="C:\\\\Lotus\\\\Notes\\\\Data\\\\"' in text


def test_services_are_noted_as_they_were(saved: Cli) -> None:
    folder = saved.folder_of("EXSICK01", "groupwise")
    services = {s["name"]: s for s in json.loads((folder / "services.json").read_text())}
    assert {name: s["state"] for name, s in services.items()} == {
        "MSExchangeCoCo": "Running",
        "MSExchangeGWRtr": "Running",
        "LME-GWISE": "Stopped",
        "NWCWorkstation": "Running",  # what reaches NetWare; a restore looks whether it is there
    }
    assert "MSExchangeCoCo" in services["LME-GWISE"]["depends_on"]


@pytest.mark.not_under_wine("directory")
def test_the_directory_object_comes_without_its_password(cli: Cli) -> None:
    cli.inventory("EXGW01")
    cli.init()
    cli("backup")
    path = cli.folder_of("EXGW01", "groupwise") / "directory" / "groupwise-object.json"
    (found,) = json.loads(path.read_text())
    names = [name.lower() for name, *_ in found["attributes"]]
    assert "msexchgwiseapigatewaypath" in names
    assert "msexchgwisepassword" not in names
    assert [name.lower() for name in found["withheld"]] == ["msexchgwisepassword"]
    assert WITHHELD not in path.read_text()


def test_the_manifest_has_the_findings(saved: Cli, engine: str) -> None:
    """The snapshot of a sick connector says so; that of a healthy one has no alarm."""
    sick = {f["check"]: f["verdict"] for f in saved.manifest("EXSICK01", "groupwise")["findings"]}
    assert sick["service.running"] == "critical"
    assert sick["groupwise.bad-files"] == "warning"
    well = saved.manifest("EXNOTES01", "notes")["findings"]
    assert {f["check"] for f in well if f["verdict"] not in ("unknown", "info")} == UNPLAYED[engine]


def test_work_files_are_left_out_and_listed(saved: Cli) -> None:
    manifest = saved.manifest("EXNOTES01", "notes")
    names = {o["path"].rpartition("\\")[2] for o in manifest["omitted"] if o["path"].startswith(CONNDATA)}
    assert {"lab1.seq", "lab2.seq", "lab1.ck"} <= names
    assert all(o["reason"] for o in manifest["omitted"])
    assert not [e for e in manifest["entries"] if e["path"].endswith((".seq", ".ck"))]


def test_what_two_connectors_share_is_sent_and_kept_once(saved: Cli) -> None:
    """Each snapshot of the host names Conndata whole, and the disk holds it once."""
    one, other = saved.folder_of("EXSICK01", "notes"), saved.folder_of("EXSICK01", "groupwise")
    shared = [e for e in manifest_of(one)["entries"] if e["item"] == "conndata"]
    assert shared == [e for e in manifest_of(other)["entries"] if e["item"] == "conndata"]
    for entry in shared:
        assert (one / entry["stored"]).samefile(other / entry["stored"])
    entries = manifest_of(one)["entries"] + manifest_of(other)["entries"]
    distinct = {e["sha256"]: e["size"] for e in entries}
    sent = hosts_of(saved.ran[0].json)["EXSICK01"]
    assert sent["sent_files"] <= len({(e["item"], e["path"]) for e in entries})
    assert sent["sent_bytes"] <= sum(distinct.values()) + 4096


def test_secrets_are_their_owners_alone(saved: Cli) -> None:
    folder = saved.folder_of("EXNOTES01", "notes")
    secret = [e for e in manifest_of(folder)["entries"] if e["secret"]]
    assert {e["path"].rpartition("\\")[2].lower() for e in secret} == {"notes.ini", "exchange.id"}
    for entry in secret:
        assert stat.S_IMODE((folder / entry["stored"]).stat().st_mode) & 0o077 == 0
        place = saved.repository / "objects" / entry["sha256"][:2] / entry["sha256"]
        assert stat.S_IMODE(place.stat().st_mode) & 0o077 == 0


def test_the_ordinary_tool_verifies_a_snapshot(saved: Cli) -> None:
    for folder in (saved.repository / "snapshots").glob("*/*"):
        done = subprocess.run(
            ["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, check=False
        )
        assert done.returncode == 0, done
        sums = (folder / "SHA256SUMS").read_text().splitlines()
        manifest = manifest_of(folder)
        assert len(sums) == len(manifest["entries"]) + len(documents(manifest)) - 1


@pytest.mark.not_under_wine("time")
def test_either_wire_brings_the_same(saved: Cli, cli: Cli) -> None:
    cli.wire = "winrs"
    cli.inventory("EXNOTES01")
    cli.init()
    cli("backup")

    def brought(door: Cli) -> list[tuple[object, ...]]:
        entries = door.manifest("EXNOTES01", "notes")["entries"]
        return sorted((e["item"], e["path"], e["size"], e["sha256"], e["modified"]) for e in entries)

    assert brought(cli) == brought(saved)


# ------------------------------------------------------------------ the second run


def test_a_second_run_sends_nothing_and_says_the_same(cli: Cli, world: World) -> None:
    """It records a check; a tree that was not sent again is judged all the same."""
    cli.inventory("EXNOTES01", "EXSICK01")
    cli.init()
    first = hosts_of(cli("backup", "--json").json)
    before = cli.snapshots()
    assert {s["last_seen_unchanged"] for s in before} == {None}
    again = hosts_of(cli("backup", "--json").json)
    for host in again.values():
        assert (host["sent_files"], host["sent_bytes"]) == (0, 0), host
        assert {s["state"] for s in host["snapshots"]} == {"unchanged"}
    after = cli.snapshots()
    assert [s["id"] for s in after] == [s["id"] for s in before]
    assert all(s["last_seen_unchanged"] for s in after)

    def told(host: dict[str, Any]) -> set[tuple[str, str, str]]:
        return {(f["connector"], f["check"], f["verdict"]) for f in host["findings"]}

    assert told(again["EXSICK01"]) == told(first["EXSICK01"])
    assert told(first["EXSICK01"])


@pytest.mark.not_under_wine("time")
def test_one_changed_file_is_all_that_is_sent_and_one_that_goes_is_in_the_old_one(
    cli: Cli, world: World
) -> None:
    passing = rf"{CONNDATA}\Temp\passing.txt"
    world.write("EXNOTES01", passing, b"passing")
    cli.inventory("EXNOTES01")
    cli.init()
    cli("backup")
    world.write("EXNOTES01", rf"{CONNDATA}\Tables\lab0001.tbl", b"now another one")
    world._forget("EXNOTES01", passing)
    host = hosts_of(cli("backup", "--json").json)["EXNOTES01"]
    assert (host["sent_files"], host["sent_bytes"]) == (1, 15)
    assert {s["connector"]: s["state"] for s in host["snapshots"]} == {
        "notes": "new",
        "calendar": "unchanged",
    }
    folders = cli.folders_of("EXNOTES01", "notes")
    old, new = (f / "files/conndata/Tables/lab0001.tbl" for f in folders)
    assert new.read_bytes() == b"now another one"
    assert old.read_bytes() != new.read_bytes()
    assert [(f / "files/conndata/Temp/passing.txt").exists() for f in folders] == [True, False]
    cli("verify")


# ------------------------------------------------------------------ options


@pytest.mark.not_under_wine("judged")
def test_only_takes_what_is_named(cli: Cli) -> None:
    cli.init()
    ran = cli("backup", "--only", "notes", "EXNOTES01", "EXSICK01", "--json")
    assert {(s["host"], s["connector"]) for s in cli.snapshots()} == {
        ("EXNOTES01", "notes"),
        ("EXSICK01", "notes"),
    }
    assert {s["connector"] for h in ran.json["hosts"] for s in h["snapshots"]} == {"notes"}


@pytest.mark.not_under_wine("judged")
def test_a_dry_run_shows_the_plan_and_copies_nothing(cli: Cli) -> None:
    cli.init()
    ran = cli("backup", "--dry-run", "EXNOTES01")
    assert list((cli.repository / "snapshots").rglob("*")) == []
    assert list((cli.repository / "objects").rglob("*")) == []
    assert CONNDATA in ran.out
    assert r"HKLM\SOFTWARE\Lotus\Notes" in ran.out
    plan = hosts_of(cli("backup", "-n", "EXNOTES01", "--json").json)["EXNOTES01"]["plan"]
    assert next(step["item"] for step in plan["steps"] if "root" in step) == "conndata"
    assert cli("snapshots").out.strip() == "no snapshots"


@pytest.mark.not_under_wine("judged")
def test_a_connector_that_is_listed_and_not_there_makes_it_incomplete(cli: Cli) -> None:
    cli.inventory("EXNOTES01", "EXGW01", extra={"EXNOTES01": 'connectors = ["groupwise", "calendar"]'})
    cli.init()
    ran = cli("backup", code=3)
    assert "listed, but not found on the host" in ran.out
    states = {(s["host"], s["connector"]): s["state"] for s in cli.snapshots()}
    assert states["EXNOTES01", "groupwise"] == "incomplete"
    assert states["EXNOTES01", "calendar"] == "done"
    assert states["EXGW01", "groupwise"] == "done"
    # An incomplete snapshot is never the one that the next run compares with.
    cli("backup", "EXNOTES01", code=3)
    assert [s["state"] for s in cli.snapshots() if s["connector"] == "groupwise"].count("incomplete") == 2


@pytest.mark.not_under_wine("judged")
def test_a_connector_that_is_there_and_not_listed_is_warned_of(cli: Cli) -> None:
    cli.inventory("EXNOTES01", extra={"EXNOTES01": 'connectors = ["calendar"]'})
    cli.init()
    ran = cli("backup", code=0)
    assert "warning: the connector notes was found and is not in the inventory's list" in ran.out
    assert "exremote inventory discover EXNOTES01" in ran.out
    assert [s["connector"] for s in cli.snapshots()] == ["calendar"]


def test_a_host_without_a_connector_is_no_success(private: Any) -> None:
    door, _ = private(_plain("EXPLAIN01"))
    door.init()
    assert "no connector was found" in door("backup", code=3).all
    assert door.snapshots() == []


def _plain(name: str) -> Any:
    from exremote.lab.site import HostSpec

    return HostSpec(name)


@pytest.mark.not_under_wine("judged")
@pytest.mark.parametrize(("size", "word"), [(0, "empty"), (9_000, "half")])
def test_a_table_that_shrank_is_a_finding(cli: Cli, world: World, size: int, word: str) -> None:
    """The correlation tables: one that was emptied is critical news, and the old snapshot still has it."""
    cli.inventory("EXNOTES01")
    cli.init()
    cli("backup")
    world.write("EXNOTES01", rf"{CONNDATA}\Tables\lab0001.tbl", b"t" * size)
    host = hosts_of(cli("backup", "--json").json)["EXNOTES01"]
    about = [f for f in host["findings"] if "lab0001.tbl" in f["evidence"]]
    assert len(about) == 1
    assert about[0]["verdict"] in ("warning", "critical")
    assert "20001" in about[0]["evidence"].replace(",", "").replace(" ", "")
    newest = cli.folders_of("EXNOTES01", "notes")[-1]
    assert any("lab0001.tbl" in f["evidence"] for f in manifest_of(newest)["findings"])


@pytest.mark.not_under_wine("wire")
def test_a_host_that_is_down_stops_no_other(cli: Cli) -> None:
    cli.inventory("EXDOWN01", *HEALTHY)
    cli.init()
    ran = cli("backup", code=3)
    assert re.search(r"^EXDOWN01\s+unreachable\s", ran.out, re.M)
    assert {s["host"] for s in cli.snapshots()} == set(HEALTHY)
    assert re.match(r"EXDOWN01\s+unreachable\s", cli("backup", "EXDOWN01", code=20).out)


def test_long_unicode_and_device_names_come_back_exact(cli: Cli, world: World) -> None:
    """Names that this system stumbles over are escaped on the disk and exact in the manifest."""
    names = ["Übersicht 漢字.tbl", "ends with dot%.txt", "it's # 100%.dat", "L" * 180 + ".txt", "nul.backup"]
    if world.engine == "powershell":
        names.remove("nul.backup")  # a device there as on Windows
    contents = {name: name.encode() for name in names}
    for name, data in contents.items():
        world.write("EXNOTES01", rf"{CONNDATA}\Temp\{name}", data)
    cli.inventory("EXNOTES01")
    cli.init()
    cli("backup")
    folder = cli.folder_of("EXNOTES01", "notes")
    entries = {e["path"]: e for e in manifest_of(folder)["entries"]}
    for name, data in contents.items():
        stored = folder / entries[rf"Temp\{name}"]["stored"]
        assert stored.read_bytes() == data
        assert stored.resolve().is_relative_to(folder.resolve())


def test_hidden_tabs_and_a_big_file_travel_whole(cli: Cli, world: World) -> None:
    """Four mebibytes that do not deflate, and as many zeros that do: several blocks each."""
    import random

    data = random.Random(5).randbytes(4 * 1024 * 1024 + 3)
    world.write("EXNOTES01", rf"{CONNDATA}\Tables\big.tbl", data)
    world.write("EXNOTES01", rf"{CONNDATA}\Tables\zero.tbl", bytes(4 * 1024 * 1024))
    world.write("EXNOTES01", rf"{CONNDATA}\Tables\none.tbl", b"")
    cli.inventory("EXNOTES01")
    cli.init()
    cli("backup", "--only", "notes")
    tables = cli.folder_of("EXNOTES01", "notes") / "files/conndata/Tables"
    assert (tables / "big.tbl").read_bytes() == data
    assert (tables / "zero.tbl").read_bytes() == bytes(4 * 1024 * 1024)
    assert (tables / "none.tbl").read_bytes() == b""


def test_the_folder_of_a_backup_is_only_its_owners(saved: Cli) -> None:
    """Nobody else may look into the repository at all."""
    assert stat.S_IMODE(Path(saved.repository).stat().st_mode) & 0o077 == 0


@pytest.mark.not_under_wine("apart")
def test_another_machine_is_not_saved_as_this_host(cli: Cli) -> None:
    """A wrong address, and what that machine has would be the newest of this host, complete and well."""
    path = cli.inventory("EXNOTES01", "EXGW01")
    cli.init()
    cli("backup")
    text = path.read_text(encoding="utf-8")
    (one,) = re.findall(r"\[hosts.EXNOTES01\][^[]*port = (\d+)", text)
    (other,) = re.findall(r"\[hosts.EXGW01\][^[]*port = (\d+)", text)
    path.write_text(text.replace(f"port = {one}\n", f"port = {other}\n"), encoding="utf-8")
    before = cli.snapshots()
    refused = " ".join(cli("backup", "EXNOTES01", code=4).out.split())
    assert "EXGW01 answers, and the last snapshot is of the machine EXNOTES01; nothing was saved" in refused
    assert cli.snapshots() == before

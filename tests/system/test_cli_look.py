"""The commands that look: snapshots, verify, runs, inventory, connectors, scripts; and what is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from conftest import NOT_UNDER_WINE, ROOT, Cli, World

from exremote.lab.client import RunningLab
from exremote.script import ScriptLibrary

pytestmark = pytest.mark.not_under_wine("apart")


@pytest.fixture(scope="module")
def filled(lab: RunningLab, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Return a repository with two runs. The tests that use it read it only."""
    if engine == "powershell":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['local']}")
    cli = Cli(lab, tmp_path_factory.mktemp("filled"))
    cli.inventory("EXNOTES01", "EXGW01")
    cli("init")
    cli("backup")
    cli("backup", "EXNOTES01")
    yield cli
    assert cli.leaks() == []


@pytest.fixture
def near(cli: Cli, engine: str) -> Cli:
    """Return a command line for what never leaves this machine."""
    if engine == "powershell":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['local']}")
    return cli


def test_snapshots_are_listed(filled: Cli) -> None:
    rows = filled.snapshots()
    assert {(r["host"], r["connector"]) for r in rows} == {
        ("EXNOTES01", "notes"),
        ("EXNOTES01", "calendar"),
        ("EXGW01", "groupwise"),
    }
    for row in rows:
        assert row["bytes"] == sum(
            e["size"] for e in filled.manifest(row["host"], row["connector"])["entries"]
        )
        assert re.fullmatch(r"\d{8}T\d{6}Z-\w+-[0-9a-f]{6}", row["id"])
        assert bool(row["last_seen_unchanged"]) == (row["host"] == "EXNOTES01")
    lines = filled("snapshots", "exgw01").out.splitlines()
    assert len(lines) == 1
    assert re.match(r"EXGW01\s+groupwise\s", lines[0])
    assert len(json.loads(filled("snapshots", "--connector", "notes", "--json").out)) == 1


def test_verify_counts_what_it_read(filled: Cli) -> None:
    assert filled("verify").out == "3 snapshots verified (every byte): no damage\n"
    assert filled("verify", "--quick").out == "3 snapshots verified (names and sizes): no damage\n"
    assert filled("verify", "--json").json["problems"] == []


def test_runs_and_the_events_of_one(filled: Cli) -> None:
    rows = filled("runs", "--json").json
    assert [(r["verb"], r["exit_code"], r["hosts"], r["journal"]) for r in rows] == [
        ("backup", 0, 1, "intact"),
        ("backup", 0, 2, "intact"),
    ]
    run = filled("runs", rows[1]["run"], "--json").json
    kinds = [e["event"] for e in run["events"]]
    assert run["intact"] is True
    assert kinds[0] == "run-started"
    assert kinds.count("committed") == 3
    assert kinds.count("shell-opened") == kinds.count("shell-closed") == 2
    text = filled("runs", rows[0]["run"]).out
    assert "unchanged" in text
    assert "EXNOTES01" in text
    said = filled("runs", "1999", code=12).err
    assert "no run begins with 1999" in said
    assert all(str(f) in said for f in (filled.repository / "runs", filled.folder / "state"))


def test_inventory_check_and_show_never_tell_a_secret(filled: Cli) -> None:
    """Where the password comes from, and not what it is: it is in this process's environment."""
    assert "2 hosts" in filled("inventory", "check").out
    assert filled("inventory", "check", "--json").json["hosts"] == ["EXNOTES01", "EXGW01"]
    shown = {r["key"]: r for r in filled("inventory", "show", "EXGW01", "--json").json}
    assert shown["port"]["from"] == "host"
    assert shown["auth"]["from"] == "defaults"
    assert any(row["from"] == "built in" for row in shown.values())
    text = filled("inventory", "show", "EXGW01").out
    assert "EXREMOTE_LAB_PASSWORD" in text
    assert filled.lab.password not in text
    assert [r["host"] for r in filled("inventory", "show", "--json").json] == ["EXNOTES01", "EXGW01"]


def test_discover_prints_the_line_to_add(cli: Cli) -> None:
    ran = cli("inventory", "discover", "EXNOTES01")
    entry = ran.out[ran.out.index("[hosts.EXNOTES01]") :].splitlines()
    assert entry[1] == 'connectors = ["calendar", "notes"]'
    (answer,) = cli("inventory", "discover", "EXGW01", "--json").json["hosts"]
    assert answer["host"] == "EXGW01"
    found = {row["connector"]: row["state"] for row in answer["evidence"]}
    assert found["groupwise"] == "present"
    assert found["notes"] != "present"


@pytest.mark.not_under_wine("records")
def test_discover_gives_no_line_where_a_question_was_left_open(cli: Cli, world: World) -> None:
    """Such a line would be `connectors = []`: pasted, it would end the backup of what is there."""
    world.fault("EXGW01:Get-ServiceState:*:throw=ExRemote.AccessDenied")
    ran = cli("inventory", "discover", "EXGW01", code=3)
    assert "connectors = " not in ran.out
    assert "EXGW01: incomplete, so there is no line to add: the host did not say which services" in ran.out
    (answer,) = cli("inventory", "discover", "EXGW01", "--json", code=3).json["hosts"]
    assert (answer["exit_code"], answer["connectors"], answer["line"]) == (3, None, "")
    assert "which services" in answer["error"]


def test_connectors_are_shown_with_sources(near: Cli) -> None:
    names = {c["name"] for c in near("connectors", "--json").json}
    assert names == {"notes", "groupwise", "calendar", "msmail", "ccmail"}
    assert "found service\tmsmail-pc-mta\t\\msmcon\\bin\\\tI\tQ168857" in near("connectors", "msmail").out
    text = near("connectors", "notes").out
    assert "LME-NOTES" in text
    for line in text.splitlines():
        assert re.search(r"\t[SIR]\t\S", line), line
    assert near("connectors", "groupwise", "--json").json["name"] == "groupwise"
    assert "no connector lotus" in near("connectors", "lotus", code=2).err


def test_scripts_are_printed_as_they_run(near: Cli) -> None:
    known = {s.name: s for s in ScriptLibrary.load()}
    assert {s["name"]: s["sha256"] for s in near("scripts", "--json").json} == {
        name: s.digest for name, s in known.items()
    }
    assert near("scripts", "get-hostfact").out.strip() == known["Get-HostFact"].text.strip()
    one = near("scripts", "Get-FileTree", "--json").json
    assert one["text"] == known["Get-FileTree"].text
    assert one["effect"] == "Read"
    assert "no script" in near("scripts", "Remove-Everything", code=2).err


def test_the_door_is_the_same_cold_and_warm(near: Cli) -> None:
    """Most tests start commands in a process that has the imports behind it: nothing else may differ."""
    for args in (
        ("connectors",),
        ("verify",),
        ("inventory", "show", "EXGW01"),
        ("health", "NOBODY"),
    ):
        warm = near(*args, code=None)
        cold = near(*args, code=None, before=lambda: None)
        assert (warm.code, warm.out, warm.err) == (cold.code, cold.out, cold.err)


def test_init_says_where(near: Cli) -> None:
    assert str(near.repository) in near("init").out
    other = near.folder / "other"
    assert near("init", str(other), "--json").json["repository"] == str(other)
    assert (other / "repository.toml").is_file()


# ------------------------------------------------------------------ refused at the door


@pytest.mark.parametrize("verb", [("health",), ("backup",), ("inventory", "show"), ("inventory", "discover")])
def test_an_unknown_host_is_2_with_the_near_one(near: Cli, verb: tuple[str, ...]) -> None:
    near.init()
    ran = near(*verb, "EXNOTE01", code=2)
    assert "EXNOTE01" in ran.err
    assert "EXNOTES01" in ran.err


def test_an_unknown_connector_is_2(near: Cli) -> None:
    near.init()
    assert "no connector lotus" in near("backup", "--only", "lotus", code=2).err
    near.inventory("EXNOTES01", extra={"EXNOTES01": 'connectors = ["note"]'})
    ran = near("health", code=2)
    assert re.search(r"site\.toml.*note", ran.err)


INVENTORIES = (
    ("[hosts.EX01]\nadress = 'a'\n", "adress"),
    ("[hosts.EX01]\nport = 'many'\n", "port"),
    ("[hosts.'../EX01']\naddress = 'a'\n", "../EX01"),
    ("[hosts.'..']\naddress = 'a'\n", ".."),
    ("[hosts.CON]\naddress = 'a'\n", "CON"),
    ("[hosts.'/etc']\naddress = 'a'\n", "/etc"),
    ("[hosts.'EX\\01']\naddress = 'a'\n", "EX"),
    ("[hosts.EX01]\ncredential = { password = 'canary-in-a-file' }\n", "password"),
    ("[hosts.EX01\n", "TOML|line"),
)


@pytest.mark.parametrize(("text", "named"), INVENTORIES)
def test_a_wrong_inventory_is_2_with_file_and_key(near: Cli, text: str, named: str) -> None:
    """A typing mistake, or a host name that would leave the repository: nothing is asked, nothing is made."""
    (near.folder / "site.toml").write_text(text)
    ran = near("inventory", "check", code=2)
    assert "site.toml" in ran.err
    assert re.search(named if "|" in named else re.escape(named), ran.err)
    assert "canary-in-a-file" not in ran.all


def test_no_inventory_is_2(near: Cli) -> None:
    ran = near("health", "--inventory", "nowhere.toml", code=2)
    assert "nowhere.toml" in ran.err
    assert "exremote inventory example" in ran.err


def test_a_password_that_is_nowhere_is_2_before_any_host_is_asked(near: Cli) -> None:
    near.inventory("EXNOTES01")
    near.more["EXREMOTE_LAB_PASSWORD"] = ""
    before = near.lab.client.counters("EXNOTES01")["connections"]
    assert "EXREMOTE_LAB_PASSWORD" in near("health", code=2).out
    assert near.lab.client.counters("EXNOTES01")["connections"] == before


def test_a_password_in_a_file_that_others_can_read_is_refused(near: Cli) -> None:
    secret = near.folder / "secret"
    secret.write_text(f"username={near.lab.user}\npassword={near.lab.password}\n")
    secret.chmod(0o644)
    near.inventory("EXGW01", extra={"EXGW01": "credential = { file = 'secret' }"})
    assert "secret" in near("health", code=2).out
    secret.chmod(0o600)
    near("health")
    secret.unlink()


def test_the_command_line_says_what_it_knows(near: Cli) -> None:
    assert re.match(r"exremote \d+\.\d+", near("--version").out)
    shown = near("-h").out
    for name in (
        "init",
        "health",
        "backup",
        "snapshots",
        "verify",
        "runs",
        "inventory",
        "connectors",
        "scripts",
    ):
        assert name in shown
    near("no-such-command", code=2)
    assert (
        near("inventory", "check", "--inventory", str(ROOT / "inventory/example.toml"), code=None).code == 0
    )

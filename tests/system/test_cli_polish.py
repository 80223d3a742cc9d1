"""The edges of the command line: pipes that close, disks that fill, names that are almost right."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import NOT_UNDER_WINE, Cli

from exremote.lab.client import RunningLab
from exremote.repository import Repository

pytestmark = pytest.mark.not_under_wine("apart")


@pytest.fixture(scope="module")
def filled(lab: RunningLab, engine: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Return a repository with one run over two hosts, and saved facts; it is read only."""
    if engine == "powershell":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['local']}")
    cli = Cli(lab, tmp_path_factory.mktemp("filled"))
    cli.inventory("EXGW01", "EXNOTES01", "EXSICK01", extra={"EXGW01": 'tags = ["netware"]'})
    cli("init")
    cli("backup", "EXGW01", "EXNOTES01")
    cli("health", "EXGW01", "EXSICK01", "--save-facts", "facts", code=5)
    yield cli
    assert cli.leaks() == []


def shell(cli: Cli, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell, in which `exremote` is ours; it shows no traceback."""
    text = line.replace("exremote", f'"{sys.executable}" -m exremote')
    done = subprocess.run(
        ["bash", "-c", text], env=cli.environment, cwd=cli.folder, capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "Exception ignored" not in done.stderr, done.stderr
    return done


def last_code(cli: Cli) -> str:
    """Return the exit code that the newest journal records."""
    return str(cli("runs", "--json").json[0]["exit_code"])


# ------------------------------------------------------------------ pipes and disks


def test_a_broken_pipe_leaves_the_runs_own_code(filled: Cli) -> None:
    """Whoever reads may leave: the code is that of the findings, here and in the journal."""
    done = shell(filled, "exremote health EXSICK01 2>/dev/null | head -1 >/dev/null; exit ${PIPESTATUS[0]}")
    assert done.returncode == 5
    assert last_code(filled) == "5"
    done = shell(filled, "exremote health EXSICK01 2>&1 | true; exit ${PIPESTATUS[0]}")
    assert done.returncode == 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("to", [">/dev/full", ">&-"])
def test_an_answer_that_cannot_be_written_is_2_in_one_line(filled: Cli, to: str) -> None:
    for command in ("snapshots", "snapshots --json", "inventory show", "runs"):
        done = shell(filled, f"exremote {command} {to}")
        assert done.returncode == 2, command
        assert len(done.stderr.splitlines()) == 1
        assert "standard output cannot be written" in done.stderr
    assert shell(filled, f"exremote -h {to}").returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_good_backup_stays_good_if_nobody_can_read_of_it(filled: Cli) -> None:
    done = shell(filled, "exremote backup EXGW01 >/dev/full")
    assert done.returncode == 0
    assert "standard output cannot be written" in done.stderr
    assert last_code(filled) == "0"


def test_health_and_its_journal_agree(filled: Cli) -> None:
    filled("health", "EXGW01", "--fail-on", "OK", code=5)
    assert last_code(filled) == "5"


def test_an_early_error_is_json_for_a_program(filled: Cli) -> None:
    said = filled("health", "NOBODY", "--json", code=2).json
    assert said["exit_code"] == 2
    assert "NOBODY" in said["error"]
    assert filled("verify", "1999", "--json", code=12).json["exit_code"] == 12


# ------------------------------------------------------------------ names that are almost right


def test_snapshots_of_hosts_groups_and_tags(filled: Cli) -> None:
    def hosts(*args: str) -> set[str]:
        return {row["host"] for row in filled("snapshots", *args, "--json").json}

    assert hosts("exgw01") == hosts("tag:netware") == {"EXGW01"}
    assert hosts("--connector", "Notes") == {"EXNOTES01"}
    assert hosts("EXSICK01") == set()
    assert "EXGW01" in filled("snapshots", "EXGW1", code=2).err
    assert "tag:netware" in filled("snapshots", "tag:netwar", code=2).err
    assert "There are: " in filled("snapshots", "--connector", "lotus", code=2).err
    filled.more["EXREMOTE_INVENTORY"] = ""
    try:
        again = filled("snapshots", "EXGW1", "-r", str(filled.repository), code=2)
        assert "Did you mean EXGW01?" in again.err
    finally:
        filled.more.clear()


def test_a_beginning_of_many_is_2_and_of_none_12(filled: Cli) -> None:
    for command in ("verify", "runs"):
        assert "2" in filled(command, "2", code=2).err
    assert "no snapshot" in filled("verify", "zz", code=12).err
    assert "no run begins with zz" in filled("runs", "zz", code=12).err


def test_verify_of_a_host(filled: Cli) -> None:
    assert filled("verify", "exnotes01").out == "2 snapshots verified (every byte): no damage\n"
    assert filled("verify", "EXGW01", "--quick").out.startswith("1 snapshot verified")


def test_an_inventory_that_is_named_has_to_be_there(filled: Cli) -> None:
    refused = filled("snapshots", "-i", "nope.toml", code=2).err
    assert "nope.toml" in refused
    assert "No repository is named" not in refused


def test_names_in_any_case_and_hints_for_lists(filled: Cli) -> None:
    assert filled("connectors", "NOTES").out == filled("connectors", "notes").out
    filled("backup", "EXGW01", "--only", "GroupWise", "--dry-run")
    ran = filled("backup", "--only", "notes,groupwise", code=2)
    assert "--only notes --only groupwise" in ran.err
    assert "EXGW01 EXNOTES01" in filled("health", "EXGW01,EXNOTES01", code=2).err
    assert filled("scripts", "Get-HostFact.ps1").out == filled("scripts", "get-hostfact").out
    assert "Get-HostFact" in filled("scripts", "Get-HostFacts", code=2).err


def test_a_folder_that_is_no_repository(filled: Cli) -> None:
    """A new one is offered only where one could be made."""
    other = filled("snapshots", "-r", "facts", code=10).err
    assert "Check the path" in other
    assert "init" not in other
    assert "exremote init" in filled("snapshots", "-r", "nowhere", code=10).err
    assert "empty" in filled("snapshots", "-r", "", code=2).err


# ------------------------------------------------------------------ facts


def test_recorded_facts_of_a_folder(filled: Cli) -> None:
    found = filled("health", "--facts", "facts", "--json", code=5).json["findings"]
    assert "EXSICK01" in {f["host"] for f in found}
    assert "no file nope.json" in filled("health", "--facts", "nope.json", code=2).err
    (filled.folder / "none").mkdir(exist_ok=True)
    assert "*.json" in filled("health", "--facts", "none", code=2).err
    assert "takes no hosts" in filled("health", "EXGW01", "--facts", "facts", code=2).err


def test_saved_facts_are_their_owners_alone(filled: Cli) -> None:
    assert {path.stat().st_mode & 0o777 for path in (filled.folder / "facts").iterdir()} == {0o600}


def test_facts_cannot_be_saved_in_a_file_and_no_host_is_asked(filled: Cli) -> None:
    (filled.folder / "h.json").write_text("{}")
    before = filled.lab.client.counters("EXGW01")["connections"]
    assert "it is a file" in filled("health", "EXGW01", "--save-facts", "h.json", code=2).err
    assert filled.lab.client.counters("EXGW01")["connections"] == before


def test_a_dry_run_says_what_would_be_sent(filled: Cli) -> None:
    """Of a host that was saved nothing, of another one what the repository lacks."""
    saved, new = filled("backup", "EXGW01", "EXSICK01", "--dry-run", "--json").json["hosts"]
    assert (saved["lacking_files"], saved["lacking_bytes"]) == (0, 0)
    assert new["lacking_files"] > 0
    assert new["lacking_bytes"] > 0
    text = filled("backup", "EXSICK01", "--dry-run").out
    assert f"would be {new['lacking_files']} file" in text


# ------------------------------------------------------------------ runs


def test_a_run_in_words(filled: Cli) -> None:
    run = [r for r in filled("runs", "--json").json if r["verb"] == "backup"][-1]
    assert run["where"] == "repository"
    text = filled("runs", run["run"]).out
    assert "new snapshot of groupwise: " in text
    assert "ended with exit code 0" in text
    assert "{" not in text
    for line in text.splitlines():
        assert len(line.split("\t")) == 4


def test_twenty_runs_are_enough_for_a_person(filled: Cli) -> None:
    for _ in range(21):
        filled("prune")
    shown = filled("runs")
    assert len(shown.out.splitlines()) == 20
    assert "--all" in shown.err
    every = filled("runs", "--all").out.splitlines()
    assert len(every) > 20
    assert len(every) == len(filled("runs", "--json").json)


def test_runs_have_the_same_columns_whether_or_not_one_can_be_resumed(filled: Cli) -> None:
    (known, *_) = filled("runs", "--json").json
    rows = [line.split("\t") for line in filled("runs").out.splitlines()]
    assert {len(row) for row in rows} == {len(known) + 1}  # how many runs a row stands for comes last
    assert not known["resume"]
    assert rows[0][6:8] == ["-", str(known["hosts"])]


# ------------------------------------------------------------------ the inventory


def test_discover_says_where_the_line_goes(filled: Cli) -> None:
    ran = filled("inventory", "discover", "EXNOTES01").out
    site = filled.folder / "site.toml"
    number = site.read_text().splitlines().index("[hosts.EXNOTES01]") + 1
    assert f"add this line under [hosts.EXNOTES01] ({site}:{number}):\nconnectors = " in ran


def test_discover_of_a_host_that_is_down_says_only_that(cli: Cli) -> None:
    cli.inventory("EXDOWN01")
    ran = cli("inventory", "discover", "EXDOWN01", code=20)
    assert "nothing to show" not in ran.out
    assert "unreachable" in ran.out


def test_check_takes_the_path_and_warns_of_what_is_not_there(filled: Cli) -> None:
    other = filled.folder / "other.toml"
    other.write_text(
        "[defaults]\n"
        "credential = { environment = 'EXREMOTE_NOT_SET', username = 'u' }\n"
        "[hosts.EX1]\nvariables = { groupwise_ap = 'x' }\n"
        "[hosts.EX2]\ncredential = { file = 'absent' }\n"
    )
    ran = filled("inventory", "check", "other.toml").out
    assert "EX1: credential: the environment variable EXREMOTE_NOT_SET is not set" in ran
    assert "groupwise_ap. Did you mean groupwise_api?" in ran
    assert "EX2: credential: " in ran
    assert "absent" in ran
    assert len(filled("inventory", "check", "other.toml", "--json").json["warnings"]) == 3
    filled("inventory", "check", "nowhere.toml", code=2)


def test_the_example_can_be_kept_and_checked(filled: Cli) -> None:
    (filled.folder / "example.toml").write_text(filled("inventory", "example").out)
    assert "3 hosts" in filled("inventory", "check", "example.toml").out


# ------------------------------------------------------------------ the lab


def lab_command(*args: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run a command of the lab with an empty standard input."""
    return subprocess.run(
        [sys.executable, "-m", "exremote.lab", *args],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_the_lab_says_why_it_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    done = lab_command("up")
    assert done.returncode == 0
    assert "standard input ended, so the lab ends" in done.stderr
    assert "password" in json.loads(done.stdout)


def test_the_lab_stays_without_standard_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    process = subprocess.Popen(
        [sys.executable, "-m", "exremote.lab", "up", "--stay"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["hosts"]
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(1)
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close() if process.stdout else None


@pytest.mark.parametrize("command", [(), ("up",), ("fault",), ("demo",)])
def test_the_lab_knows_h(command: tuple[str, ...]) -> None:
    done = lab_command(*command, "-h")
    assert done.returncode == 0
    assert "Usage" in done.stdout


# ------------------------------------------------------------------ help and the repository's own page


def test_help_has_exit_codes_and_real_paths(filled: Cli) -> None:
    assert "Exit codes" in filled("-h").out
    folded = "".join(filled("health", "-h").out.replace("│", "").split())
    assert str(filled.folder / "config" / "exremote" / "inventory.toml") in folded.replace(" ", "") or (
        "inventory.toml" in folded
    )
    assert "--no-probe" in folded
    assert "may be repeated" in filled("scripts").err


def test_the_repositorys_page_says_what_is_where(tmp_path: Path) -> None:
    Repository.create(tmp_path / "made")
    text = (tmp_path / "made" / "README.txt").read_text()
    for word in ("trees.ITEM.root", "directory/", "facts.json", "trees/", "objects/", "checks/", "hard link"):
        assert word in text

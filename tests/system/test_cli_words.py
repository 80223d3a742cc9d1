"""What goes wrong is said in a sentence, with the host and what to do; no answer is told twice."""

from __future__ import annotations

import json
import re

import pytest
from conftest import CONNDATA, Cli, World

pytestmark = pytest.mark.not_under_wine("apart")


HOST = "EXGW01"
RAW = re.compile(r"\{\w+\}|ExRemote\.|Make the question")
"""What no person is to read: a template, an id of ours, a remedy that is none."""


def remedies(cli: Cli, *args: str, code: int) -> dict[str, tuple[str, str]]:
    """Return evidence and remedy of the unknown findings, by check; nothing raw may stand in any."""
    ran = cli("health", HOST, *args, "--json", code=code)
    assert not RAW.search(ran.out), ran.out
    return {
        f["check"]: (f["evidence"], f["remedy"]) for f in ran.json["findings"] if f["verdict"] == "unknown"
    }


@pytest.mark.not_under_wine("denied")
def test_a_folder_that_cannot_be_listed(cli: Cli, world: World) -> None:
    cli.init()
    world.deny(HOST, CONNDATA)
    evidence, remedy = remedies(cli, code=0)["tree.present"]
    assert evidence == f"Get-FileTree: {CONNDATA} cannot be listed: this account may not read it"
    assert remedy.startswith("Give the account the right to read it")
    ran = cli("backup", HOST, code=3)
    assert not RAW.search(ran.all), ran.all
    assert f"{HOST}: groupwise lacks folder {CONNDATA}: Get-FileTree: {CONNDATA} cannot be listed" in ran.out
    assert "Give the account the right to read it" in ran.out


@pytest.mark.not_under_wine("disk")
def test_a_host_whose_disk_is_full(cli: Cli, world: World) -> None:
    cli.init()
    world.fault(f"{HOST}:host:*:disk-full")
    ran = cli("backup", HOST, code=3)
    assert "Make room on the host's system drive" in ran.out


@pytest.mark.not_under_wine("records")
def test_what_all_else_hangs_on_was_not_answered(cli: Cli, world: World) -> None:
    """Health is incomplete then, not well; backup says what nobody can tell, why, and what to do."""
    cli.init()
    world.fault(f"{HOST}:Get-HostFact:*:throw=PSInvalidOperation")
    by_hand = "Run it by hand on the host to see why: `exremote scripts Get-HostFact` prints it."
    ran = cli("health", HOST, code=3)
    assert re.search(
        rf"{HOST}: incomplete: the host did not say what it is \(Get-HostFact: .*\)\. Run it by", ran.out
    )
    assert remedies(cli, code=3)["host.powershell"][1] == by_hand
    states = {h["host"]: h["state"] for h in cli("health", HOST, "EXNOTES01", "--json", code=3).json["hosts"]}
    assert states == {HOST: "incomplete", "EXNOTES01": "done"}
    cli("health", HOST, "--save-facts", "facts", code=3)
    cli("health", "--facts", "facts", code=3)
    out = cli("backup", HOST, code=3).out
    assert "nobody can tell whether it is there: the host did not say what it is (Get-HostFact: " in out
    assert by_hand in out


@pytest.mark.not_under_wine("wire")
def test_an_answer_that_breaks_again_and_again_has_a_remedy(cli: Cli, world: World) -> None:
    world.fault(f"{HOST}:Receive:3-:close")
    said = cli("health", HOST, code=20).out
    assert (
        "Run it again; if it stays so, look into the host's event log" in said or "Check that WinRM" in said
    )
    world.client.clear_faults()
    world.fault(f"{HOST}:Get-FileTree:*:corrupt")
    assert "something on the way or on the host changes what is sent" in cli("health", HOST, code=23).out


@pytest.mark.not_under_wine("records")
def test_a_backup_says_what_to_do_itself(cli: Cli, world: World) -> None:
    """A table that shrank is nothing that health could see; the snapshot keeps the remedy, too."""
    cli.init()
    cli("backup", HOST)
    world.write(HOST, rf"{CONNDATA}\Tables\lab0003.tbl", b"")
    ran = cli("backup", HOST)
    assert re.search(r"critical: table.shrunk: .* -> Keep the last good snapshot", ran.out)
    assert "has the remedies" not in ran.out
    told = re.search(
        r"2 more findings \(api.probe, groupwise.netware-record\): see `exremote (show \S+)`", ran.out
    )
    assert told
    assert all(name in cli(*told[1].split()).out for name in ("api.probe", "groupwise.netware-record"))
    newest = cli.snapshots()[-1]["id"]
    assert re.search(r"finding: critical: table.shrunk: .* -> Keep the last good", cli("show", newest).out)


@pytest.mark.not_under_wine("time")
def test_only_a_dry_run_says_what_would_be(cli: Cli) -> None:
    cli.init()
    assert "would be" not in cli("backup", "EXNOTES01", "--only", "groupwise").all
    ran = cli("backup", "EXNOTES01", "--dry-run")
    assert re.search(r"would be \d+ files", ran.out)
    ran = cli("backup", "EXNOTES01")
    assert re.search(r"EXNOTES01: \d+ files, [\d.]+ KiB to come", ran.err)


@pytest.mark.not_under_wine("denied")
def test_what_an_incomplete_host_lacks_is_told_once(cli: Cli, world: World) -> None:
    cli.init()
    world.lock(HOST, rf"{CONNDATA}\Tables\busy.tbl")
    ran = cli("backup", HOST, code=3)
    assert ran.all.count(rf"groupwise lacks {CONNDATA}\Tables\busy.tbl") == 1
    assert f"incomplete: {CONNDATA}" not in ran.all
    assert f"{HOST}\tincomplete\tgroupwise incomplete" in ran.out
    assert "1 thing could not be saved, see below" in ran.out


# ---------------------------------------------------------------- which machine is it?


@pytest.mark.not_under_wine("time")
def test_a_host_with_another_name_and_two_names_for_one_machine(cli: Cli) -> None:
    """A warning in health, backup and doctor; the entry that has the machine's own name is right."""
    cli.init()
    site = cli.folder / "site.toml"
    text = site.read_text(encoding="utf-8")
    site.write_text(
        f"{text}[hosts.MAIL]\naddress = '127.0.0.1'\nport = {cli.lab.hosts[HOST]}\n", encoding="utf-8"
    )
    found = cli("health", HOST, "MAIL", "--json").json["findings"]
    (name,) = [f for f in found if f["check"] == "host.name"]
    assert (name["host"], name["verdict"]) == ("MAIL", "warning")
    assert name["evidence"] == f"it calls itself {HOST}; the inventory has it as MAIL at 127.0.0.1"
    assert f"{HOST} and MAIL are one machine" in cli("health", HOST, "MAIL").err
    said = cli("backup", HOST, "MAIL").out
    assert f"MAIL: warning: {HOST} and MAIL are one machine" in said
    assert f"MAIL: warning: host.name: it calls itself {HOST}" in said
    hosts = cli("backup", HOST, "MAIL", "--json").json["hosts"]
    assert all(any("one machine" in w for w in h["warnings"]) for h in hosts)
    assert f"it calls itself {HOST}" in cli("doctor", "MAIL").out
    assert f"{HOST}, MAIL: they have one address and port" in cli("inventory", "check").out


# ---------------------------------------------------------------- options and files


@pytest.mark.not_under_wine("local")
def test_options_that_would_do_nothing_are_refused(cli: Cli) -> None:
    cli("health", HOST, "--save-facts", "facts")
    for option in (["--save-facts", "more"], ["--probe"], ["--no-probe"], ["--parallel", "2"]):
        assert (
            f"{option[0].replace('--no-', '--')} would do nothing"
            in cli("health", "--facts", "facts", *option, code=2).err
        )
    assert "inventory" in cli("inventory", "check", "-i", "site.toml", "other.toml", code=2).err


@pytest.mark.not_under_wine("local")
def test_one_bad_file_of_facts_does_not_stop_the_others(cli: Cli) -> None:
    cli("health", HOST, "EXNOTES01", "--save-facts", "facts")
    (cli.folder / "facts" / "AAA.json").write_text('{"format": 1}', encoding="utf-8")
    ran = cli("health", "--facts", "facts", code=2)
    assert "AAA.json holds no recorded facts" in ran.err
    assert ".." not in ran.err
    assert HOST in ran.out
    said = cli("health", "--facts", "facts", "--json", code=2).json
    assert [h["host"] for h in said["hosts"]] == [HOST, "EXNOTES01"]
    assert said["exit_code"] == 2
    assert "AAA.json" in said["unread"][0]


@pytest.mark.not_under_wine("local")
def test_health_keeps_its_journal_with_the_user_if_the_repository_takes_none(cli: Cli) -> None:
    """A check is no reason to fail; a backup is."""
    cli.init()
    (cli.repository / "runs").rmdir()
    (cli.repository / "runs").write_text("in the way", encoding="utf-8")
    for command in ("health", "doctor"):
        ran = cli(command, "EXNOTES01", code=None)
        assert ran.code in (0, 5)
        assert f"the journal of this run lies in {cli.folder / 'state'}" in ran.err
    cli("backup", "EXNOTES01", code=10)
    (cli.repository / "runs").unlink()
    assert {r["where"] for r in json.loads(cli("runs", "--json", code=None).out or "[]")} <= {"this user"}

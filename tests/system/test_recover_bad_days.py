"""A recovery killed, taken up elsewhere, tampered with, given up; and servers that come behind each other."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from browser_support import browser
from conftest import Cli
from keep_support import damage
from terminal_support import Terminal
from test_cli_report import COLOURS, WELL_MADE
from test_matrix_kill import Record, killed
from test_recover import GROUPS, HOST, NTBACKUP, TEMP, WORDS, Recovery, same

from exremote.cli.common import now
from exremote.journal import Journal
from exremote.lab.client import RunningLab, running_lab
from exremote.lab.site import HostSpec
from exremote.repository import Repository

SECOND = "EXLOST02"
SERVERS = (HostSpec(HOST, ("notes", "groupwise")), HostSpec(SECOND, ("calendar",)))
TABLE = "2 Killed right after an event of the journal, and run again"


@pytest.fixture
def lab() -> Iterator[RunningLab]:
    with running_lab(SERVERS) as running:
        yield running


def jump_host(lab: RunningLab, folder: Path) -> Cli:
    cli = Cli(lab, folder)
    cli.inventory(HOST, SECOND, extra={HOST: NTBACKUP, SECOND: f"after = ['{HOST.lower()}']"})
    return cli


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with all that is to be had of both servers: each lab furnishes them alike."""
    with running_lab(SERVERS) as lab:
        cli = jump_host(lab, tmp_path_factory.mktemp("saved"))
        cli.init()
        cli("backup", HOST, SECOND)
        cli("backup", HOST, "--only", "systemstate", "--only", "storagegroups")
        return cli.repository


@pytest.fixture
def recovery(lab: RunningLab, saved: Path, tmp_path: Path) -> Recovery:
    """Return a recovery that can begin."""
    cli = jump_host(lab, tmp_path / "jump-host")
    shutil.copytree(saved, cli.repository)
    return Recovery(cli, lab)


def elsewhere(recovery: Recovery, folder: Path) -> Recovery:
    """Return the same recovery at another jump host: another folder, other state, the same repository."""
    cli = Cli(recovery.lab, folder)
    text = (recovery.cli.folder / "site.toml").read_text()
    (folder / "site.toml").write_text(text)
    cli.more["EXREMOTE_REPOSITORY"] = str(recovery.cli.repository)
    cli.more["HOME"] = str(folder)
    return Recovery(cli, recovery.lab, recovery.at, recovery.run)


PHASES: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, dict[str, Any]], ...]], ...] = (
    ("reinstall-windows", (), ()),
    ("restore-system-state", (), (("system-state", {}), ("reboot", {}))),
    ("install-exchange", (), (("exchange", {}),)),
    ("restore-storage-groups", GROUPS, (("storage-groups", {"temp": TEMP}),)),
    ("notes-client", WORDS, ()),
)
"""What a person confirms, and what he did before."""


def walk(recovery: Recovery, folder: Path, kills: Callable[[int], Iterator[int]]) -> dict[str, int]:
    """Go through a whole recovery, killed again and again, each time taken up at the other jump host.

    `kills` gives, for each phase, the events after which it is killed. Return how often, by phase.
    """
    homes = [recovery, elsewhere(recovery, folder)]
    count: dict[str, int] = {}
    for number, (step, words, deeds) in enumerate(PHASES):
        for what, options in deeds:
            recovery.act(what, **options)
        recovery.confirm(step, *words)
        if step == "restore-storage-groups":
            recovery.act("reboot")
        for turn, last in enumerate(kills(number)):
            home = homes[turn % 2]
            line = ["recover", HOST, "--yes", "--resume", recovery.run, "--wait", "2s", "--grace", "0"]
            if killed(home.cli, last, *line, "--at", recovery.at) in (0, 6):
                break
            count[step] = count.get(step, 0) + 1
        last = step == "notes-client"
        # Killed behind its last step, it is through.
        if not last or recovery.cli("evidence", recovery.run, "--json").json["next"]:
            recovery.go_on("--at", recovery.at, code=0 if last else 6)
    return count


def ends_well(recovery: Recovery) -> None:
    """Check that the machine is what it was, and that nothing of exremote's is left there or here."""
    now, was = recovery.client.lost(HOST, now=True), recovery.client.lost(HOST)
    assert same(now) == same(was)
    assert not [path for path in now["files"] if "exremote-" in path and "exremote-recover" not in path]
    assert not recovery.client.shells(HOST)
    assert not list((recovery.cli.repository / "locks").glob("*.lock"))
    assert not list(Repository.open(recovery.cli.repository).verify())
    evidence = recovery.cli("evidence", recovery.run, "--json").json
    assert {step["state"] for step in evidence["steps"]} == {"done"}
    assert not evidence["problems"]


def test_killed_and_taken_up_at_another_jump_host(recovery: Recovery, tmp_path: Path) -> None:
    """Two kills in each phase: the end is the same, and nothing is left behind."""
    recovery.lose()
    recovery.begin()
    count = walk(recovery, tmp_path / "other", lambda phase: iter((5 + phase, 15 + 3 * phase)))
    assert len(count) == len(PHASES)
    ends_well(recovery)


@pytest.mark.matrix
@pytest.mark.timeout(1200)
def test_killed_after_each_event(recovery: Recovery, tmp_path: Path, record_cell: Record) -> None:
    """Every event of every phase."""
    recovery.lose()
    recovery.begin()
    count = walk(recovery, tmp_path / "other", lambda phase: iter(range(2, 200)))
    ends_well(recovery)
    for step, times in count.items():
        record_cell(TABLE, step, f"recover {HOST}, two jump hosts", f"the same, {times} kills")


def journal_of(recovery: Recovery, run: str) -> Path:
    return recovery.cli.repository / "runs" / f"{run}.jsonl"


def later(path: Path, hours: int) -> None:
    """Write a journal anew as a clock would have had it that is ahead."""
    before = "0" * 64
    lines = []
    for line in path.read_text().splitlines():
        event = json.loads(line)
        at = datetime.fromisoformat(event["at"]) + timedelta(hours=hours)
        event |= {"at": at.isoformat(timespec="microseconds").replace("+00:00", "Z"), "previous": before}
        lines.append(json.dumps(event, separators=(",", ":")))
        before = hashlib.sha256(lines[-1].encode()).hexdigest()
    path.write_text("".join(f"{line}\n" for line in lines))
    path.with_suffix(".head").write_text(f"{before} {len(lines):012d}\n")


def test_a_changed_journal_is_named_and_counts_no_further(recovery: Recovery) -> None:
    """One byte, a line gone, two swapped, a tail cut: each is named, and what was behind it is done again."""
    recovery.lose()
    recovery.begin()
    recovery.said("reinstall-windows")
    runs = {e["run"]: n for n, e in enumerate(recovery.events()) if e["kind"] == "run-started"}
    first, second = list(runs)
    digest = recovery.cli("evidence", recovery.run).out.rpartition("last event: ")[2].strip()
    recovery.cli("evidence", recovery.run, "--head", digest)
    ran = recovery.cli("evidence", recovery.run, "--head", digest[::-1], code=13)
    assert "events are missing, or were changed" in ran.err
    path = journal_of(recovery, second)
    good = path.read_bytes()
    lines = good.splitlines(keepends=True)
    bring = next(n for n, line in enumerate(lines) if b"bring-files" in line and b'"done"' in line)

    def told() -> dict[str, Any]:
        ran = recovery.cli("evidence", recovery.run, "--json", code=13)
        found: dict[str, Any] = ran.json
        assert second in found["problems"][0]
        return {step["step"]: step["state"] for step in found["steps"]}

    path.write_bytes(good.replace(b"each read back there", b"each read back HERE"))
    assert "does not follow" in recovery.cli("evidence", recovery.run, code=13).err
    path.write_bytes(b"".join(lines[:bring] + lines[bring + 1 :]))
    assert told()["bring-files"] == "waiting"
    path.write_bytes(b"".join([*lines[: bring - 1], lines[bring], lines[bring - 1], *lines[bring + 1 :]]))
    assert told()["bring-files"] == "waiting"
    path.write_bytes(b"".join(lines[:bring]))  # a tail cut before the kept head
    assert told()["bring-files"] == "waiting"

    row = recovery.resume()  # goes back to the last good event, and brings the files again
    assert (row["step"], row["done"]) == ("restore-system-state", "3 of 10")
    assert "was changed" in recovery.cli("evidence", recovery.run, code=13).err
    assert first == recovery.run


def test_a_forged_run_does_not_count_and_a_lost_answer_is_named(recovery: Recovery) -> None:
    """Who writes into the repository cannot say that it is done; an answer that was taken up has to stay."""
    recovery.lose()
    recovery.begin()
    recovery.said("reinstall-windows")
    runs = recovery.cli.repository / "runs"
    forged = Journal.create(
        runs, "20990101T000000Z-aaaaaa", "recover", ["recover", HOST], now, recovery=recovery.run
    )
    for step in ("restore-system-state", "restart-restored", "install-exchange"):
        forged.event("recovery-step", host=HOST, step=step, state="done", evidence=[])
    forged.close("0")
    ran = recovery.cli("evidence", recovery.run, code=13)
    assert "20990101T000000Z-aaaaaa hangs on no run" in ran.err
    assert "next is restore-system-state" in ran.out
    (runs / "20990101T000000Z-aaaaaa.jsonl").unlink()
    recovery.cli("evidence", recovery.run)
    answer = next(p for p in runs.glob("*.jsonl") if b'"verb":"confirm"' in p.read_bytes())
    answer.unlink()
    ran = recovery.cli("evidence", recovery.run, code=13)
    assert f"the journal of {answer.stem}: it is gone" in ran.err


def test_two_at_once_are_refused_and_the_record_stays_whole(recovery: Recovery) -> None:
    recovery.lose()
    recovery.begin()
    recovery.said("reinstall-windows")
    recovery.confirm("restore-system-state")
    line = ["recover", HOST, "--yes", "--resume", recovery.run, "--wait", "60s"]
    with recovery.cli.started(*line) as process:
        end = time.monotonic() + 30
        waits = ("recovery-step", "waiting")
        while not any((e["kind"], e.get("state")) == waits for e in recovery.events()):
            assert time.monotonic() < end
            time.sleep(0.1)
        before = len(list((recovery.cli.repository / "runs").glob("*.jsonl")))
        for refused in (("resume", recovery.run), tuple(line), ("recover", HOST, "--anew", "--yes")):
            ran = recovery.cli(*refused, code=None)
            assert ran.code in (4, 11), ran
        assert len(list((recovery.cli.repository / "runs").glob("*.jsonl"))) == before
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, out + err
        assert f"nothing is lost: `exremote resume {recovery.run}` goes on" in err
    recovery.cli("evidence", recovery.run)
    recovery.act("system-state")
    recovery.act("reboot")
    assert recovery.resume()["step"] == "install-exchange"


def test_nothing_is_brought_to_another_machine_than_the_one_that_was_looked_at(
    recovery: Recovery, tmp_path: Path
) -> None:
    """Killed before the files are brought; meanwhile another machine has the address."""
    recovery.lose()
    recovery.begin()
    recovery.confirm("reinstall-windows")
    line = ["recover", HOST, "--yes", "--resume", recovery.run, "--at", recovery.at]
    count = 0
    while not any(e.get("step") == "bring-files" for e in recovery.events()):
        count += 4
        killed(recovery.cli, count, *line)
    recovery.lose(name="FILESRV9")
    row = recovery.go_on("--at", recovery.at)
    assert (row["step"], row["state"]) == ("reinstall-windows", "waiting")
    assert "FILESRV9 answers, and TEMP01 was looked at" in row["message"]
    assert not recovery.client.lost(HOST, now=True)["files"]
    assert recovery.said("reinstall-windows", at=True)["step"] == "restore-system-state"


def test_a_recovery_under_way_is_not_begun_twice_and_keeps_its_snapshots(recovery: Recovery) -> None:
    recovery.lose()
    recovery.begin()
    ran = recovery.cli("recover", HOST, "--yes", code=4)
    assert f"exremote resume {recovery.run}" in ran.err
    named = [s["id"] for s in recovery.cli.snapshots() if s["host"] == HOST]
    recovery.cli("backup", HOST, code=None)
    shown = recovery.cli("forget", "--keep-last", "1", "--host", HOST, "--dry-run", "--json").json
    kept = {row["id"]: row["why"] for row in shown["stays"]}
    assert all(any("wanted by the recovery" in why for why in kept[one]) for one in named)
    ran = recovery.confirm("restore-storage-groups", *GROUPS, code=4)
    assert "reinstall-windows" in ran.err
    assert "A person confirms: reinstall-windows" in recovery.confirm("bogus", code=2).err
    assert "done by exremote" in recovery.confirm("bring-files", code=4).err
    recovery.confirm("reinstall-windows")
    assert "confirmed already, by Anna" in recovery.confirm("reinstall-windows", code=4).err
    ran = recovery.cli("recover", HOST, "--yes", "--at", "10.0.0.1", code=4)
    assert f"recover {HOST} --resume {recovery.run} --at 10.0.0.1" in ran.err
    assert recovery.cli("evidence", "latest").out.startswith(HOST)
    assert "expected a digest" in recovery.cli("evidence", "latest", "--head", "a", code=2).err
    assert "no recovery" in recovery.cli("confirm", "2020", "reinstall-windows", code=12).err
    recovery.cli("recover", HOST, "--give-up", "--yes")
    shown = recovery.cli("forget", "--keep-last", "1", "--host", HOST, "--dry-run", "--json").json
    assert not any("wanted by" in why for row in shown["stays"] for why in row["why"])
    told = recovery.cli("evidence", recovery.run, "--json").json
    assert told["given_up"].startswith("it was given up on ")
    assert "waiting" not in {step["state"] for step in told["steps"]}
    assert "1 of 10 steps were done" in recovery.cli("evidence", recovery.run).out
    for refused in (("resume", recovery.run), ("confirm", recovery.run, "reinstall-windows")):
        assert "it was given up on " in recovery.cli(*refused, code=4).err
    assert all(not run["resume"] for run in recovery.cli("runs", "--json").json if run["verb"] == "recover")
    recovery.begin()


def test_what_cannot_be_recovered_is_refused_with_the_reason(recovery: Recovery) -> None:
    cli = recovery.cli
    empty = str(cli.repository.with_name("empty"))
    cli("init", empty)
    ran = cli("recover", HOST, "--rehearse", "--repository", empty, code=5)
    assert f"exremote backup {HOST}" in ran.out
    run = cli("runs", "--repository", empty, "--json").json[0]
    assert (run["exit_code"], run["hosts"]) == (5, 1)
    other = next(s["id"] for s in cli.snapshots() if s["host"] == SECOND)
    assert "another machine" in cli("recover", HOST, "--snapshot", other, "--dry-run", code=2).err
    assert "expected a host name" in cli("recover", HOST, "--at", "1.2.3.4:x", "--dry-run", code=2).err
    assert "--at names one machine" in cli("recover", HOST, SECOND, "--at", "a", "--dry-run", code=2).err
    assert "--wait" in cli("recover", HOST, "--wait", "soon", "--dry-run", code=2).err
    assert "there is no terminal" in cli("recover", HOST, code=4).err
    assert cli("recover", HOST, "--resume", "2020", code=12).err
    ran = cli("recover", HOST, "--yes", code=6)  # nobody says where the new machine is
    run = re.search(r"\d{8}T\d{6}Z-[0-9a-f]{6}", ran.out)
    assert run is not None
    cli("confirm", run[0], "reinstall-windows")
    assert "--at ADDRESS" in cli("resume", run[0], code=6).out
    assert "expected names" not in cli("inventory", "check").all
    path = cli.inventory(HOST, SECOND, extra={HOST: f"after = ['{SECOND}']", SECOND: f"after = ['{HOST}']"})
    assert f"{HOST}, {SECOND} come after each other" in cli("inventory", "check", code=2).err
    path = cli.inventory(HOST, extra={HOST: "after = ['EXNONE']"})
    assert "there is none of EXNONE" in cli("inventory", "check", code=2).err
    path.write_text(path.read_text().replace("after = ['EXNONE']", "recover_address = 'a b'"))
    assert "recover_address" in cli("inventory", "check", code=2).err


def test_a_rehearsal_changes_nothing_and_says_what_is_missing(recovery: Recovery) -> None:
    before = recovery.client.lost(HOST, now=True)
    found = recovery.cli("recover", HOST, "--rehearse", "--at", "127.0.0.1:9", "--json", code=5).json
    rows = {(row["step"], row["what"]): row for row in found["rehearsal"]}
    assert rows["snapshots", "systemstate"]["state"] == "ok"
    assert rows["reinstall-windows", "lost server"]["said"].startswith(f"{HOST} answers")
    assert rows["reinstall-windows", "new machine"]["state"] == "unknown"
    assert rows["restore-connectors", "drill of notes"]["state"] == "missing"
    assert recovery.client.lost(HOST, now=True) == before
    recovery.cli("recover", HOST, "--rehearse", "--at", "127.0.0.1:9", code=5)
    page = recovery.cli("report", "latest").out  # what to do stands on it, and what nobody can tell
    assert f"exremote recover {HOST} --rehearse" in page
    told = recovery.cli("runs", "latest").out
    assert f"missing: drill of notes: it was never drilled. `exremote drill {HOST}/notes" in told
    assert "nobody can tell: media: " in told
    rows = {
        (r["step"], r["what"]): r
        for r in recovery.cli("recover", SECOND, "--rehearse", "--json", code=5).json["rehearsal"]
    }
    assert "exremote backup" in rows["snapshots", "systemstate"]["said"]
    assert "recover_address" in rows["reinstall-windows", "address"]["said"]


def test_one_server_comes_after_another(recovery: Recovery) -> None:
    recovery.lose()
    second = recovery.client.replace(SECOND, name="TEMP02")
    path = recovery.cli.folder / "site.toml"
    text = path.read_text()
    for host, at in ((HOST, recovery.at), (SECOND, f"127.0.0.1:{second['port']}")):
        text = text.replace(f"[hosts.{host}]\n", f"[hosts.{host}]\nrecover_address = '{at}'\n")
    path.write_text(text)
    alone = recovery.cli("recover", SECOND, "--dry-run").out
    assert f"it comes after {HOST}; if that is lost, too: exremote recover {HOST} {SECOND}" in alone
    # Killed right behind the first event that tells of a plan: both hosts are resumed, none is forgotten.
    assert killed(recovery.cli, 2, "recover", SECOND, HOST, "--yes", "--wait", "2s") not in (0, 6)
    ran = recovery.cli("resume", newest_run(recovery.cli), "--json", code=6).json
    rows = {row["host"]: row for row in ran["hosts"]}
    assert rows[SECOND]["message"].startswith(f"it comes after {HOST}")
    assert rows[HOST]["step"] == "reinstall-windows"
    recovery.run = ran["recovery"]
    assert f"`exremote confirm {recovery.run} reinstall-windows --host {HOST}`" in rows[HOST]["message"]
    ran = recovery.cli("recover", HOST, "--give-up", code=4)
    shows = re.search(r"`exremote (evidence [^`]+)`", ran.err)
    assert shows is not None
    recovery.cli(*shows[1].split())  # of two hosts it says of which
    ran = recovery.confirm("reinstall-windows", "--host", SECOND, code=4)
    assert f"{SECOND} comes after {HOST}" in ran.err
    assert "has no host EXNONE" in recovery.confirm("reinstall-windows", "--host", "EXNONE", code=2).err
    recovery.confirm("reinstall-windows")
    ran = recovery.cli("recover", SECOND, "--yes", "--resume", recovery.run, code=6)
    assert f"it comes after {HOST}" in ran.out
    rows = {r["host"]: r for r in recovery.cli("resume", recovery.run, "--json", code=6).json["hosts"]}
    assert rows[HOST]["step"] == "restore-system-state"
    assert rows[SECOND]["done"] == "0 of 10"
    lines = [line.split("\t") for line in recovery.cli("runs").out.splitlines()]
    assert [(line[0], line[10]) for line in lines if line[1] == "recover"] == [(recovery.run, "4")]
    every = [run for run in recovery.cli("runs", "--json").json if run["verb"] == "recover"]
    assert len(every) == recovery.cli("runs", "--all").out.count("\trecover\t") == 4


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals in Python")
def test_a_person_at_the_terminal(recovery: Recovery) -> None:
    """Asked step by step; a wrong deed is said and asked again; an answer from another terminal counts."""
    recovery.lose()
    cli = recovery.cli
    line = ("recover", HOST, "--at", recovery.at, "--wait", "30s", "--grace", "0")
    with Terminal(cli, *line) as person:
        person.until("1 of 10 (tip steps 1-3), exremote: ")
        person.until("4 of 10 (tip step 5), you: ")
        person.until("10 of 10 (tip step 9), exremote: ")
        person.until("begin with tip step 4?")
        person.answer("y")
        person.until("Is it done?")
        person.answer("what?")
        person.until("Is it done?")
        person.answer("yes")
        person.until("Your name")
        person.answer("Berta")
        person.until("4 of 10 (tip step 5): ")
        person.until("[restore-system-state]")
        person.until("Is it done?")
        run_id = newest_run(cli)
        recovery.act("system-state")
        recovery.act("reboot")
        ran = cli("confirm", run_id, "restore-system-state", "--by", "Clara")
        assert f"{run_id} waits, and takes it up" in ran.out
        person.until("confirmed by Clara")
        person.until("[install-exchange]")
        person.until("Is it done?")
        person.answer("yes")
        person.until("Your name")
        person.answer("")
        person.until("NOT YET: components")
        recovery.act("exchange")
        person.until("Is it done?")
        person.answer("yes")
        person.until("Your name")
        person.answer("Berta")
        person.until("[restore-storage-groups]")
        person.until("Is it done?")
        person.answer("later")
        person.until("to go on:")
        person.until(f"\n  exremote resume {run_id}\r\n")  # whole, where a column of the table breaks it
        assert person.ends() == 6
    evidence = cli("evidence", run_id, "--json").json
    people = [a["by"] for step in evidence["steps"] for a in step["answers"]]
    assert people[:2] == ["Berta", "Clara"]
    assert evidence["next"] == "restore-storage-groups"


def newest_run(cli: Cli) -> str:
    """Return the run that began last."""
    firsts = [json.loads(p.read_text().splitlines()[0]) for p in (cli.repository / "runs").glob("*.jsonl")]
    return str(max(firsts, key=lambda first: str(first["at"]))["run"])


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals in Python")
def test_an_answer_from_elsewhere_does_not_wait_for_another_hosts_question(recovery: Recovery) -> None:
    """Two hosts, one terminal: while it asks for one, the other goes on by what was confirmed elsewhere."""
    recovery.lose()
    second = recovery.client.replace(SECOND, name="TEMP02")
    cli = recovery.cli
    path = cli.folder / "site.toml"
    text = path.read_text().replace(f"after = ['{HOST.lower()}']\n", "")
    for host, at in ((HOST, recovery.at), (SECOND, f"127.0.0.1:{second['port']}")):
        text = text.replace(f"[hosts.{host}]\n", f"[hosts.{host}]\nrecover_address = '{at}'\n")
    path.write_text(text)
    with Terminal(cli, "recover", HOST, SECOND, "--yes", "--wait", "2s") as person:
        shown = person.until("Is it done?").rpartition("[reinstall-windows]")[0].rpartition("2 of 10")[0]
        asked = HOST if shown.rstrip(" :").endswith(HOST) else SECOND
        other = SECOND if asked == HOST else HOST
        cli("confirm", newest_run(cli), "reinstall-windows", "--host", other, "--by", "Clara")
        person.until(f"{other}: reinstall-windows: confirmed by Clara, elsewhere")
        person.answer("later")
        said = person.until("Is it done?")
        assert "[restore-system-state]" in said
        assert f"{other}: 4 of 10 (tip step 5): " in said
        person.answer("later")
        assert person.ends() == 6


def test_the_pages_of_a_recovery_in_a_real_browser(recovery: Recovery, tmp_path: Path) -> None:
    """Evidence and runbook: on a phone, on a wide screen and on paper, and what a person said stays text."""
    recovery.lose()
    recovery.begin()
    recovery.confirm("reinstall-windows", "--words", "<script>document.title = 2</script><b>bold</b>")
    recovery.go_on()
    evidence, runbook = tmp_path / "evidence.html", tmp_path / "runbook.html"
    recovery.cli("evidence", recovery.run, "--html", str(evidence))
    recovery.cli("runbook", HOST, "--html", str(runbook))
    printed = recovery.cli("runbook", HOST).out
    assert f"`exremote recover {HOST} --at ADDRESS` leads through it" in printed
    assert "(R) stands where" in printed
    assert "(R) stands where" in runbook.read_text(encoding="utf-8")
    assert 'Tick the storage groups: "First Storage Group".' in printed
    by_hand = re.search(r"`exremote (export \S+-systemstate-\S+ --into )NEW_FOLDER`, and copy (\S+)", printed)
    assert by_hand is not None
    recovery.cli(*by_hand[1].split(), str(tmp_path / "plain"))
    assert list((tmp_path / "plain" / by_hand[2]).glob("*.bkf"))
    with browser(tmp_path / "profile") as chromium:
        for page in (evidence, runbook):
            for width in (360, 1000):
                chromium.open(page, width)
                assert chromium.value("document.documentElement.scrollWidth") <= width, (page, width)
                assert chromium.requests == [page.as_uri()], "the page asks for something"
                assert chromium.complaints == []
            assert chromium.value(WELL_MADE) == []
            chromium.media("print")
            assert chromium.value(COLOURS) == [], "colours on paper"
            assert chromium.pdf().startswith(b"%PDF-")
            chromium.media("screen")
            text = str(chromium.value("document.body.innerText"))
            assert "Reinstall Windows under another name" in text
            assert chromium.value("document.title") != "2"
        assert chromium.value("document.querySelectorAll('.box').length") > 20, "boxes to tick"
        chromium.open(evidence, 1000)
        text = str(chromium.value("document.body.innerText"))
        assert "<script>document.title = 2</script><b>bold</b>" in text
        assert "it is TEMP01, not EXLOST01".casefold() in text.casefold()


def half_recovered(recovery: Recovery) -> None:
    """Bring a recovery as far as its connectors' programs."""
    recovery.lose()
    recovery.begin()
    recovery.said("reinstall-windows")
    programs_back(recovery)


def programs_back(recovery: Recovery) -> None:
    """Go on with a recovery whose files were brought, as far as its connectors' programs."""
    recovery.act("system-state")
    recovery.act("reboot")
    recovery.said("restore-system-state", at=True)
    recovery.act("exchange")
    assert recovery.said("install-exchange", at=True)["step"] == "restore-storage-groups"


def test_a_half_recovered_machine_is_neither_saved_nor_taken_for_the_lost_server(
    recovery: Recovery, tmp_path: Path
) -> None:
    """Refused while a recovery is under way; passed over once that was given up, and nothing is forgotten."""
    cli = recovery.cli
    good = {s["id"] for s in cli.snapshots() if s["host"] == HOST}
    half_recovered(recovery)
    ran = cli("backup", HOST, SECOND, "--json", code=3)
    rows = {row["host"]: row for row in ran.json["hosts"]}
    assert rows[SECOND]["exit_code"] == 0
    assert rows[HOST]["exit_code"] == 4
    assert f"its recovery is under way ({recovery.run}, 6 of 10 steps" in rows[HOST]["message"]
    assert f"exremote resume {recovery.run}" in rows[HOST]["message"]
    for only in ("tables", "systemstate", "storagegroups"):
        assert "--give-up" in cli("backup", HOST, "--only", only, code=4).out
    assert {s["id"] for s in cli.snapshots() if s["host"] == HOST} == good

    rows = cli("status", HOST, "--json").json["rows"]
    assert all(f"exremote resume {recovery.run}" in row["message"] for row in rows), rows

    ran = cli("restore", "--latest", HOST, "--dry-run", code=None)
    assert f"{HOST} may be half recovered, for the recovery {recovery.run} is not through" in ran.err
    assert f"`exremote resume {recovery.run}` goes on" in ran.err
    ran = cli("recover", HOST, "--rehearse", "--at", recovery.at, "--json", code=5)
    assert f"a recovery of {HOST} is under way ({recovery.run}, 6 of 10 steps are done)" in ran.err
    rows = {(row["step"], row["what"]): row for row in ran.json["rehearsal"]}
    said = rows["reinstall-windows", "lost server"]["said"]
    assert said.endswith("the machine that is being recovered, 6 of 10 steps are done")
    assert ("reinstall-windows", "computer name") not in rows

    ran = cli("recover", HOST, "--give-up", "--yes")
    assert f"confirm {recovery.run} in-service" in ran.err
    cli("backup", HOST, code=3)  # the Notes client is not there
    (half,) = [s["id"] for s in cli.snapshots() if s["connector"] == "groupwise" and s["id"] not in good]
    shown = cli("forget", "--keep-last", "1", "--host", HOST, "--yes", "--json").json
    why = {row["id"]: row["why"] for row in shown["stays"]}
    assert good <= set(why)
    before = f"the last from before the recovery {recovery.run}, which was not through"
    held = {s["connector"] for s in cli.snapshots() if s["id"] in good and before in why[s["id"]]}
    assert held == {"groupwise"}  # of the others nothing newer is there
    (kept,) = (s["id"] for s in cli.snapshots() if s["connector"] == "groupwise" and s["id"] in good)
    ran = cli("forget", f"{HOST}/{kept}", "--yes", code=4)
    assert before in ran.err and f"confirm {recovery.run} in-service --host {HOST}" in ran.err
    row = next(r for r in cli("status", HOST, "--json").json["rows"] if r["connector"] == "groupwise")
    assert (
        row["id"] in good
        and f"may have been half recovered when they were made (recovery {recovery.run}" in (row["message"])
    )
    plan = cli("recover", HOST, "--at", recovery.at, "--dry-run", "--json").json["plans"][0]
    assert {one["snapshot"].partition("/")[2].partition("+")[0] for one in plan["saved"]} <= good
    passed = [note for note in plan["notes"] if "passed over" in note]
    assert passed and recovery.run in passed[0] and "it was given up on" in passed[0]
    assert "passed over" in cli("runbook", HOST).out
    ran = cli("restore", "--latest", HOST, "--dry-run", "--json", code=None)
    assert f"{HOST}/{half} is passed over" in ran.err
    assert {one.partition("/")[2] for one in ran.json["hosts"][0]["plan"]["sources"]}.isdisjoint({half})
    assert "half recovered machine" in cli("restore", f"{HOST}/{half}", "--dry-run", code=None).err
    other = tmp_path / "other"  # it has no journal of a recovery that would tell
    cli("init", str(other))
    ran = cli("copy", "--to", str(other))
    assert f"not copied: 2 snapshots of {HOST}" in ran.err and recovery.run in ran.err
    assert half not in ran.out and SECOND in ran.out
    assert half in cli("copy", f"{HOST}/{half}", "--to", str(other)).out
    plan = cli("recover", HOST, "--snapshot", half, "--dry-run", "--json").json["plans"][0]
    assert any(one["snapshot"].endswith(half) for one in plan["saved"])

    # Another one that saw no machine, and is given up as well, takes nothing of that back.
    cli("recover", HOST, "--yes", "--wait", "1s", code=6)
    assert f"since {recovery.run} had begun" in cli("recover", HOST, "--give-up", "--yes").err

    # Somebody brought it to its end by hand: from then on what is saved counts, though nothing changed.
    assert "Say what was seen" in recovery.confirm("in-service", code=2).err
    assert "counts again" in recovery.confirm("in-service", "--words", "users work on it").out
    told = cli("evidence", recovery.run)
    assert re.search(r"In service, says Anna, [-0-9]+ [0-9:]+ UTC: users work on it\.", told.out)
    (said,) = (told := cli("evidence", recovery.run, "--json").json)["in_service"]
    assert said["run"] in [link["run"] for link in told["chain"]]
    assert "passed over" in cli("recover", HOST, "--dry-run").out
    cli("backup", HOST, code=3)
    plan = cli("recover", HOST, "--dry-run", "--json").json["plans"][0]
    assert [one["snapshot"] for one in plan["saved"] if one["of"] == "groupwise"] == [f"{HOST}/{half}"]


def test_a_clock_that_is_set_is_no_restart(recovery: Recovery) -> None:
    """The clock of the new Windows is mended when the storage groups are back: a restart is still due."""
    half_recovered(recovery)
    recovery.act("storage-groups", temp=TEMP)
    row = recovery.said("restore-storage-groups", *GROUPS)
    assert "was not restarted since the storage groups" in row["message"]
    recovery.client.edit(HOST, "set_clock", offset_s=-7200.0)
    row = recovery.go_on()
    assert row["step"] == "restart-recovered", row
    assert "was not restarted since the storage groups" in row["message"]
    recovery.act("reboot")
    assert recovery.resume()["step"] == "restore-connectors"


def test_another_one_ends_the_first_though_its_clock_is_behind(recovery: Recovery) -> None:
    """`--anew` from a jump host whose clock is an hour behind: what it ends it says itself."""
    cli = recovery.cli
    recovery.lose()
    recovery.begin()
    first = recovery.run
    path = journal_of(recovery, first)
    later(path, hours=1)  # as if the first one had been begun in an hour from now
    row = recovery.begin("--anew")
    assert (row["step"], row["state"]) == ("reinstall-windows", "waiting")
    second = recovery.run
    assert second != first
    assert recovery.said("reinstall-windows")["step"] == "restore-system-state"
    ran = cli("recover", HOST, "--yes", code=4)
    assert second in ran.err and first not in ran.err
    for refused in (("resume", first), ("confirm", first, "reinstall-windows")):
        ran = cli(*refused, code=4)
        assert f"for another one that was begun, {second}" in ran.err, ran
    ran = cli("evidence", first)
    assert f"for another one that was begun, {second}" in ran.out
    assert "next is" not in ran.out
    assert cli("evidence", "latest").out == cli("evidence", second).out
    assert "the recovery " + second in str(cli("forget", "--keep-last", "1", "--dry-run", "--json").json)


def test_in_service_is_said_of_the_last_recovery_and_counts_whatever_clocks_say(recovery: Recovery) -> None:
    """Of an older one it would not help; by a clock that is behind it helps all the same."""
    cli = recovery.cli
    half_recovered(recovery)
    first, said = recovery.run, ("in-service", "--words", "users work on it")
    recovery.begin("--anew")
    assert "counts again" in cli("confirm", first, *said).out  # the other one saw no machine yet
    recovery.confirm("reinstall-windows")
    ran = cli("confirm", first, *said, code=4)
    assert f"is under way, {recovery.run}" in ran.err and f"exremote resume {recovery.run}" in ran.err
    cli("recover", HOST, "--give-up", "--yes")
    ran = cli("confirm", first, *said, code=4)
    assert f"Say it of that: `exremote confirm {recovery.run} in-service --host {HOST}" in ran.err
    cli("backup", HOST, code=3)  # the Notes client is not there
    assert "passed over" in cli("recover", HOST, "--dry-run").out
    told = cli("confirm", recovery.run, *said, "--json").json
    later(journal_of(recovery, told["run"]), hours=-1)
    cli("backup", HOST, code=3)
    assert "passed over" not in cli("recover", HOST, "--dry-run").out


def rot(path: Path, line: int) -> None:
    """Change a byte of a line, so that it is no event any more."""
    lines = path.read_bytes().splitlines(keepends=True)
    lines[line] = b"X" + lines[line][1:]
    path.write_bytes(b"".join(lines))


def test_a_recovery_that_is_through_stops_no_backup_though_its_journals_rot(recovery: Recovery) -> None:
    """Its machine was proven; where that is told no more, what is damaged is said, and `resume` works."""
    cli = recovery.cli
    half_recovered(recovery)
    groups_back(recovery)
    recovery.resume()
    recovery.said("notes-client", *WORDS, code=0)
    events = {
        e["step"]: (journal_of(recovery, run), e["n"])
        for path in (cli.repository / "runs").glob("*.jsonl")
        for run in (path.stem,)
        for e in map(json.loads, path.read_text().splitlines())
        if (e["kind"], e.get("state")) == ("recovery-step", "done")
    }
    (early, line), (late, end) = events["install-exchange"], events["prove-connectors"]
    good = early.read_bytes()
    rot(early, line)
    cli("backup", HOST)
    assert "passed over" not in cli("recover", HOST, "--dry-run").out
    cli("evidence", recovery.run, code=13)
    early.write_bytes(good)
    rot(late, end)
    ran = cli("backup", HOST, code=4)
    assert f"record is damaged: the journal of {late.stem} was changed" in ran.out
    assert f"confirm {recovery.run} in-service --host {HOST}" in ran.out
    assert recovery.resume(code=0)["done"] == "10 of 10"
    cli("backup", HOST)
    rot(early, line)
    cli("recover", HOST, "--yes", code=6)  # lost again, years later: nobody has to end the old one first


def test_a_recovery_of_which_no_plan_can_be_read_is_not_forgotten(recovery: Recovery) -> None:
    """What is saved goes on, is passed over, and says so; nobody is told that there is nothing to do."""
    cli = recovery.cli
    recovery.lose()
    recovery.begin()
    cli("confirm", recovery.run, "reinstall-windows")
    recovery.client.revive(HOST)
    path = journal_of(recovery, recovery.run)
    data = path.read_bytes()
    whole = f"`exremote confirm {recovery.run} in-service --host {HOST} --words TEXT`"
    for line in (0, 1):
        path.write_bytes(data)
        rot(path, line)
        ran = cli("backup", HOST, SECOND)
        cli("backup", HOST, "--only", "systemstate")
        assert f"{HOST} may be half recovered" in ran.err and whole in ran.err, ran.err
        assert SECOND not in "".join(text for text in ran.err.splitlines() if "half recovered" in text)
        assert "passed over" in cli("recover", HOST, "--dry-run").out
        ran = cli("forget", "--keep-last", "1", "--host", HOST, "--dry-run", "--json")
        assert f"the last from before the recovery {recovery.run}" in ran.out
        for refused in (("recover", HOST), ("resume", recovery.run), ("confirm", recovery.run, "restart")):
            ran = cli(*refused, code=4)
            assert (
                "Nobody can go on with the recovery" in ran.err and "--anew" in ran.err and whole in ran.err
            )
        assert f"line {line + 1} is not an event" in cli("evidence", recovery.run, code=13).err
    path.write_bytes(data.replace(f'"{HOST}"'.encode(), b'"../x:y"', 1))
    rot(path, 1)
    cli("forget", "--keep-last", "1", "--dry-run")  # what no host is called stops nobody
    path.write_bytes(data)
    rot(path, 1)
    cli("confirm", recovery.run, "in-service", "--words", "it was never lost")
    cli("backup", HOST, "--only", "systemstate")
    assert "passed over" not in cli("recover", HOST, "--dry-run").out


def test_a_host_that_another_jump_host_spells_otherwise_is_not_taken_for_another(recovery: Recovery) -> None:
    """Else nothing would be known of its snapshots, nor of its recovery."""
    cli, lower = recovery.cli, HOST.lower()
    recovery.lose()
    recovery.begin()
    path = cli.folder / "site.toml"
    path.write_text(path.read_text().replace(f"[hosts.{HOST}", f"[hosts.{lower}"))
    said = f"{lower} is already here as {HOST}. Write the host's name in the inventory"
    for line in (("recover", lower), ("runbook", lower), ("restore", "--latest", lower, "--dry-run")):
        assert said in cli(*line, code=10).err
    ran = cli("backup", "--dry-run", "--json", code=10)
    rows = {row["host"]: row for row in ran.json["hosts"]}
    assert rows[SECOND]["exit_code"] == 0 and said in rows[lower]["message"]


def test_one_of_two_hosts_is_given_up_and_the_other_goes_on(recovery: Recovery) -> None:
    recovery.lose()
    second = recovery.client.replace(SECOND, name="TEMP02")
    path = recovery.cli.folder / "site.toml"
    text = path.read_text().replace(f"after = ['{HOST.lower()}']\n", "")
    for host, at in ((HOST, recovery.at), (SECOND, f"127.0.0.1:{second['port']}")):
        text = text.replace(f"[hosts.{host}]\n", f"[hosts.{host}]\nrecover_address = '{at}'\n")
    path.write_text(text)
    ran = recovery.cli("recover", HOST, SECOND, "--yes", "--wait", "2s", "--json", code=6).json
    recovery.run = ran["recovery"]
    recovery.cli("recover", HOST, "--give-up", "--yes")
    recovery.confirm("reinstall-windows")  # there is but one host that it can be of
    ran = recovery.cli("resume", recovery.run, "--json", code=6)
    assert "note: EXLOST01: nobody goes on with the recovery" in ran.err
    (row,) = ran.json["hosts"]
    assert (row["host"], row["step"]) == (SECOND, "restore-system-state")


def contents_of(recovery: Recovery, connector: str, end: str = "") -> Path:
    """Return a file of the first snapshot of a connector, as it lies there."""
    snapshot = Repository.open(recovery.cli.repository).snapshots(HOST, connector)[0]
    entries = snapshot.manifest.entries
    return snapshot.file(next(e for e in entries if e.path.endswith(end) and e.size > 100))


def test_what_is_damaged_after_it_was_verified_names_the_way_on(recovery: Recovery, tmp_path: Path) -> None:
    """A bit falls over between the steps: it is evidence, another copy mends it, and the recovery goes on."""
    cli = recovery.cli
    other = tmp_path / "other"
    cli("init", str(other))
    cli("copy", "--host", HOST, "--to", str(other))
    recovery.lose()
    recovery.begin()
    damage(contents_of(recovery, "systemstate", ".bkf"))
    row = recovery.said("reinstall-windows", code=13)
    assert "is damaged, so nothing of it is restored" in row["message"]
    assert f"exremote recover {HOST} --anew --snapshot OLDER" in row["message"]
    mend = re.search(r"`exremote (copy [^`]*) --repository COPY ([^`]*)`", row["message"])
    assert mend is not None
    told = {step["step"]: step for step in cli("evidence", recovery.run, "--json").json["steps"]}
    assert told["bring-files"]["state"] == "failed"
    assert "is damaged" in told["bring-files"]["attempts"][-1]["evidence"][0]["said"]
    cli("verify", code=13)
    cli(*mend[1].split(), "--repository", str(other), *mend[2].split())
    assert recovery.resume()["step"] == "restore-system-state"

    programs_back(recovery)
    groups_back(recovery)
    damage(contents_of(recovery, "groupwise"))
    row = recovery.resume(code=13)
    assert row["step"] == "restore-connectors"
    assert f"confirm {recovery.run} in-service" in row["message"]
    told = {step["step"]: step for step in cli("evidence", recovery.run, "--json").json["steps"]}
    assert told["restore-connectors"]["state"] == "failed"
    (attempt,) = told["restore-connectors"]["attempts"]
    assert "is damaged" in attempt["evidence"][0]["said"]


def test_a_copy_of_the_repository_does_not_go_on_beside_it(recovery: Recovery, tmp_path: Path) -> None:
    """Where the other copy is seen, it is refused; where both went on, what does not count is named."""
    recovery.lose()
    recovery.begin()
    runs, copy = recovery.cli.repository / "runs", tmp_path / "copy"
    before = list(runs.iterdir())
    shutil.copytree(recovery.cli.repository, copy)
    here, there = str(recovery.cli.repository), ("resume", recovery.run, "--repository", str(copy))
    ran = recovery.cli(*there, code=6)
    assert f"had this recovery in the repository {here}" in ran.err
    forked = {path.name for path in (copy / "runs").iterdir()}
    recovery.said("reinstall-windows")
    ran = recovery.cli(*there, code=4)
    assert f"went on in another copy of this repository: {here}" in ran.err
    for name in forked:
        shutil.copy(copy / "runs" / name, runs / name)
    ran = recovery.cli("evidence", recovery.run, code=13)
    assert re.search(r"goes on from \S+, as \S+ does: it does not count", ran.err)
    ran = recovery.cli("resume", recovery.run, code=4)
    assert "Two runs of the recovery" in ran.err and "does not count" in ran.err
    for name in forked - {path.name for path in before}:
        (runs / name).unlink()
    assert recovery.resume()["step"] == "restore-system-state"


def test_a_copy_that_was_made_of_a_run_that_is_alive_does_not_go_on_beside_it(
    recovery: Recovery, tmp_path: Path
) -> None:
    """It has the beginning of that run, and would take it for one that was killed."""
    cli, copy = recovery.cli, tmp_path / "copy"
    recovery.lose()
    recovery.begin()
    recovery.said("reinstall-windows")
    recovery.confirm("restore-system-state")
    line = ("recover", HOST, "--yes", "--resume", recovery.run, "--wait")
    there = (*line, "1s", "--repository", str(copy))
    before = set((cli.repository / "runs").glob("*.jsonl"))
    with cli.started(*line, "60s") as process:
        (newest,) = until(lambda: set((cli.repository / "runs").glob("*.jsonl")) - before)
        until(lambda: '"state":"waiting"' in newest.read_text())
        shutil.copytree(cli.repository, copy)
        shutil.rmtree(copy / "locks")  # as where it was mirrored by another tool
        newest_there = copy / "runs" / newest.name
        newest_there.with_suffix(".lock").unlink(missing_ok=True)
        ran = cli(*there, code=4)
        assert f"is going on in another copy of this repository: {cli.repository}" in ran.err
        process.send_signal(signal.SIGINT)
        process.wait()
    ran = cli(*there, code=4)
    assert f"went on in another copy of this repository: {cli.repository} ({newest.stem})" in ran.err


def test_a_run_whose_lock_was_taken_away_does_no_more(recovery: Recovery) -> None:
    """It was thought to be dead, and another one went on; nor does one go on from a run that is alive."""
    cli = recovery.cli
    recovery.lose()
    recovery.begin()
    recovery.said("reinstall-windows")
    recovery.confirm("restore-system-state")
    line = ("recover", HOST, "--yes", "--resume", recovery.run, "--wait")
    before = set((cli.repository / "runs").glob("*.jsonl"))
    with cli.started(*line, "60s") as process:
        (first,) = until(lambda: set((cli.repository / "runs").glob("*.jsonl")) - before)
        until(lambda: '"state":"waiting"' in first.read_text())
        (lock,) = (cli.repository / "locks").glob("recover-*.lock")
        lock.unlink()  # as `unlock` on another machine
        ran = cli(*line, "1s", code=11)
        assert f"is being gone on with: {first.stem}" in ran.err
        alive = first.with_suffix(".lock")
        alive.unlink()
        second = cli(*line, "1s", "--json", code=6).json["hosts"][0]
        assert second["step"] == "restart-restored"
        recovery.act("system-state")
        recovery.act("reboot")
        process.wait(60)
    assert process.returncode == 11
    assert "its lock was taken away" in cli.ran[-1].all
    ran = cli("evidence", recovery.run, code=13)
    assert f"{first.stem} went on by itself when" in ran.err
    assert recovery.resume()["step"] == "install-exchange"


def until(found: Callable[[], Any], patience_s: float = 20.0) -> Any:
    """Return what is found as soon as it is more than nothing."""
    end = time.monotonic() + patience_s
    while not (there := found()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return there


def groups_back(recovery: Recovery) -> None:
    """Go on with a recovery whose programs are back, up to the machine's last restart."""
    recovery.act("storage-groups", temp=TEMP)
    recovery.confirm("restore-storage-groups", *GROUPS)
    recovery.act("reboot")


def test_the_notes_client_is_asked_for_when_its_files_are_there(recovery: Recovery) -> None:
    """Without a terminal: files first, services as found, then a person; also where it was killed between."""
    half_recovered(recovery)
    groups_back(recovery)
    assert "asked for when its files are there" in recovery.confirm("notes-client", *WORDS, code=4).err
    found = recovery.client.lost(HOST, now=True)["services"]
    assert killed(recovery.cli, 44, "resume", recovery.run) not in (0, 6)  # all is in place, nobody was asked
    assert not any(e.get("asked") for e in recovery.events() if e["kind"] == "recovery-noted")
    row = recovery.resume()
    assert (row["step"], row["done"]) == ("restore-connectors", "8 of 10")
    assert "its files are in place, and services are as they were found; notes-client" in row["message"]
    now, was = (recovery.client.lost(HOST, now=flag) for flag in (True, False))
    assert same(now)["files"] == same(was)["files"]
    assert now["services"] == found
    assert not [path for path in now["files"] if "exremote-" in path and "exremote-recover" not in path]
    pasted = recovery.confirm("notes-client", "--words", "TEXT", code=2)
    assert "in place of TEXT" in pasted.err
    waits = recovery.cli("resume", recovery.run, code=6)
    assert "`exremote confirm" in waits.out
    head = re.search(r"`exremote (evidence \S+ --head \S+)`", waits.err)
    assert head is not None
    recovery.cli(*head[1].split())
    recovery.confirm("notes-client", *WORDS)
    ends = recovery.cli("resume", recovery.run)
    assert "\t10 of 10\t" in ends.out
    assert r"D:\exremote-recover on EXLOST01 still has what was brought there" in ends.err
    late = recovery.confirm("notes-client", *WORDS, code=4).err
    assert "is recovered already" in late
    assert "exremote resume" not in late
    assert same(recovery.client.lost(HOST, now=True)) == same(was)
    told = {step["step"]: step for step in recovery.cli("evidence", recovery.run, "--json").json["steps"]}
    assert [answer["by"] for answer in told["restore-connectors"]["answers"]][-1] == "Anna"
    # Not that 0 files were put in place: an earlier run did that.
    assert "nothing differs from the snapshots any more" in json.dumps(told["restore-connectors"])
    ran = recovery.confirm("in-service", *WORDS, code=4)
    assert "is through: what is saved since counts anyway" in ran.err
    cleared = {folder for e in recovery.events() for folder in e.get("folders") or ()}
    assert any(folder.endswith("exremote-aside-conndata") for folder in cleared)
    ends_well(recovery)


def test_a_planned_move_backs_the_living_server_up_though_another_recovery_had_begun(
    recovery: Recovery,
) -> None:
    cli = recovery.cli
    began = cli("recover", HOST, "--yes", "--json", code=6).json["recovery"]
    cli("confirm", began, "reinstall-windows", "--words", "it is there")  # nobody went on since
    cli("backup", HOST, code=4)
    before = [s["id"] for s in cli.snapshots()]
    for looks in ("--dry-run", "--rehearse"):  # changes nothing, and takes nothing
        assert "that is not done now" in cli("recover", HOST, "--planned", looks, code=None).err
    ran = cli("recover", HOST, "--resume", began, "--planned", code=2)
    assert "has its snapshots" in ran.err
    assert [s["id"] for s in cli.snapshots()] == before
    ran = cli("recover", HOST, "--anew", "--planned", "--yes", "--json", code=6)
    newest = [s["id"] for s in cli.snapshots() if s["connector"] == "systemstate"][-1]
    plan = cli("evidence", ran.json["recovery"], "--json").json["plan"]
    assert [one["snapshot"] for one in plan["saved"] if one["of"] == "systemstate"] == [f"{HOST}/{newest}"]


def test_a_server_that_comes_back_is_saved_while_no_new_machine_was_seen(recovery: Recovery) -> None:
    """Somebody began a recovery, and the old server started once more: its last mail is worth a snapshot."""
    recovery.lose()
    recovery.begin()
    recovery.client.revive(HOST)
    recovery.cli("backup", HOST)
    recovery.client.revive(HOST, off=True)
    recovery.said("reinstall-windows")
    assert "its recovery is under way" in recovery.cli("backup", HOST, code=4).out

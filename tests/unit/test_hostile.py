"""What somebody hostile, or a bad disk, can leave in our folders: it is named, and stops no run."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exremote.cli import checking, common, look, runs
from exremote.connector import Connector
from exremote.errors import EXIT_BAD_NEWS, EXIT_INCOMPLETE, ExremoteError, IntegrityError, UsageError
from exremote.inventory import Inventory
from exremote.journal import Journal, OpenShell, journals, list_runs, unaccounted
from exremote.report import Report, visible
from exremote.repository import (
    Candidate,
    Entry,
    KeepPolicy,
    Repository,
    Snapshot,
    SnapshotDraft,
    UnsafeName,
    decide,
    hold,
    stored_path,
)
from exremote.runner import (
    Outcome,
    State,
    clear_dead_runs,
    exit_code,
    failed,
    heard_once,
    leftover_shells,
    run_lock,
)

AT = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)
POSIX = os.name == "posix"


def clock() -> Callable[[], datetime]:
    ticks = iter(range(1_000_000))
    return lambda: AT + timedelta(seconds=next(ticks))


def journal(folder: Path, run: str, *, shell: str = "") -> Journal:
    made = Journal.create(folder, run, "backup", [], clock())
    if shell:
        made.shell("opened", "EXCH01", shell, "psrp")
    return made


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repository")


def commit(repository: Repository, data: bytes = b"table", at: datetime = AT) -> Snapshot:
    with repository.staging("run1", "EXCH01") as staging:
        writer = staging.writer("x")
        writer.write(data)
        sha256 = writer.finish()
    entry = Entry("conndata", "a.tbl", stored_path("conndata", "a.tbl"), len(data), sha256, AT, 32)
    return repository.commit(SnapshotDraft("EXCH01", "groupwise", at, "run1", entries=(entry,)))


def writable(folder: Path) -> None:
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o700)


# ---------------------------------------------------------------- journals


@pytest.mark.parametrize("time", ["2026-11-22T10:15:00", "0001-01-01T00:00:00+14:00"])
def test_a_journal_with_an_impossible_time_is_damaged_and_stops_no_run(tmp_path: Path, time: str) -> None:
    good = journal(tmp_path, "20261122T101500Z-aaaaaa", shell="S1")
    line = {"n": 0, "at": time, "kind": "run-started", "previous": "0" * 64, "run": "x"}
    (tmp_path / "20261122T101600Z-bbbbbb.jsonl").write_text(json.dumps(line) + "\n")
    bad = list_runs(journals(tmp_path))[0]
    assert (bad.intact, bad.problem, bad.started) == (False, "line 1 is not an event", None)
    assert leftover_shells([tmp_path], AT) == {"EXCH01": [OpenShell("EXCH01", "S1")]}
    good.close("0")


def test_a_journal_that_cannot_be_read_is_listed_and_stops_no_run(tmp_path: Path) -> None:
    good = journal(tmp_path, "20261122T101500Z-aaaaaa", shell="S1")
    (tmp_path / "x.jsonl").mkdir()
    (tmp_path / "20261122T101500Z-aaaaaa.lock").mkdir()
    bad = list_runs(journals(tmp_path))[0]
    assert (bad.run_id, bad.intact, list(bad.events)) == ("x", False, [])
    assert "cannot be used" in bad.problem
    assert leftover_shells([tmp_path], AT) == {"EXCH01": [OpenShell("EXCH01", "S1")]}
    good.close("0")


def test_the_locks_of_killed_runs_are_removed_and_no_others(tmp_path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path; from exremote.repository import hold\n"
        "with hold(Path(sys.argv[1]), 'x', run='r', since=None, on_takeover=print): os._exit(1)"
    )
    dead = run_lock(tmp_path, "dead")
    subprocess.run([sys.executable, "-c", code, str(dead)], check=False)
    assert dead.exists()
    with hold(run_lock(tmp_path, "alive"), "x", run="alive", since=None, on_takeover=lambda who: None):
        clear_dead_runs(tmp_path)
        assert [p.name for p in tmp_path.iterdir()] == ["alive.lock"]


def test_a_committed_snapshot_that_is_gone_is_damage_unless_it_was_forgotten(repository: Repository) -> None:
    snapshot = commit(repository)
    made = Journal.create(repository.runs_folder, "run1", "backup", [], clock())
    made.event("committed", host="EXCH01", connector="groupwise", snapshot=snapshot.id)
    made.close("0")
    assert look.gone(repository, repository.snapshots()) == []
    repository.forget(snapshot, "run2")
    (problem,) = look.gone(repository, repository.snapshots())
    assert problem["place"] == f"snapshots/EXCH01/{snapshot.id}"
    second = Journal.create(repository.runs_folder, "run2", "forget", [], clock())
    second.event("forgetting", host="EXCH01", connector="groupwise", snapshot=snapshot.id)
    second.close("0")
    assert unaccounted(list_runs(journals(repository.runs_folder)), ()) == []


# ---------------------------------------------------------------- the repository


@pytest.mark.parametrize("quick", [False, True])
def test_missing_folders_are_problems(repository: Repository, quick: bool) -> None:
    snapshot = commit(repository)
    writable(repository.path)
    shutil.rmtree(repository.path / "objects")
    assert [(p.place, p.message) for p in repository.verify(quick=quick)] == [("objects", "is missing")]
    assert [p.place for p in repository.verify(snapshot, quick=quick)] == ["objects"]
    shutil.rmtree(repository.path / "snapshots")
    assert {p.place for p in repository.verify(quick=quick)} == {"objects", "snapshots"}
    with pytest.raises(IntegrityError, match="missing"):
        repository.snapshots()


@pytest.mark.parametrize("quick", [False, True])
def test_an_object_that_is_gone_is_missed_though_the_snapshot_has_its_file(
    repository: Repository, quick: bool
) -> None:
    snapshot = commit(repository)
    path = repository.object_path(snapshot.manifest.entries[0].sha256)
    path.unlink()
    (problem,) = repository.verify(snapshot, quick=quick)
    assert problem.place == path.relative_to(repository.path).as_posix()
    assert problem.message.startswith("is missing")


@pytest.mark.skipif(not POSIX, reason="links need rights on Windows")
def test_links_in_the_place_of_ours_are_problems(repository: Repository, tmp_path: Path) -> None:
    snapshot = commit(repository)
    writable(repository.path)
    for number, name in enumerate(("manifest.json", "manifest.sha256", "files/conndata/a.tbl")):
        elsewhere = tmp_path / f"elsewhere{number}"
        (snapshot.path / name).rename(elsewhere)
        (snapshot.path / name).symlink_to(elsewhere)
    places = {Path(p.place).name for p in repository.verify(snapshot)}
    assert places == {"manifest.json", "manifest.sha256", "a.tbl"}
    (snapshot.path).rename(tmp_path / "moved")
    snapshot.path.symlink_to(tmp_path / "moved")
    assert "does not belong here" in {p.message for p in repository.verify()}


def test_a_line_of_checks_is_run_and_time_and_no_more(repository: Repository) -> None:
    snapshot = commit(repository)
    repository.record_check(snapshot, "run2", AT)
    path = repository.path / "checks" / "EXCH01" / f"{snapshot.id}.jsonl"
    bad = [
        {"run": "r", "at": "2026-11-22T10:15:00"},
        {"run": "r", "at": "2026-11-22T10:15:00Z", "more": 1},
        {"run": 5, "at": "2026-11-22T10:15:00Z"},
        {"run": "r", "at": 5},
        ["run", "at"],
        {"run": "r", "at": "0001-01-01T00:00:00+14:00"},
    ]
    with path.open("a") as file:
        file.writelines(json.dumps(line) + "\n" for line in bad)
    assert [c.run for c in repository.checks(snapshot)] == ["run2"]
    assert [p.message for p in repository.verify()] == [f"line {n} is damaged" for n in range(2, 8)]


def test_a_snapshot_of_the_future_is_not_the_latest_for_ever(repository: Repository) -> None:
    future = commit(repository, b"old state", AT + timedelta(days=900))
    assert repository.latest("EXCH01", "groupwise", now=AT) == future, "it is the only one"
    new = commit(repository, b"new state", AT)
    assert repository.latest("EXCH01", "groupwise", now=AT) == new
    assert repository.latest("EXCH01", "groupwise", now=AT - timedelta(minutes=30)) == new, "clocks differ"
    assert repository.latest("EXCH01", "groupwise", now=AT + timedelta(days=1000)) == future
    fates = decide(repository.candidates(), KeepPolicy(last=1), AT)
    assert [f.snapshot for f in fates if f.kept] == [new]
    fates = decide(repository.candidates(), KeepPolicy(within=timedelta(days=1)), AT)
    assert new in [f.snapshot for f in fates if f.kept]
    old = replace(new, path=new.path.with_name("old"), created=AT - timedelta(hours=2))
    fates = decide([*repository.candidates(), Candidate(old)], KeepPolicy(within=timedelta(days=1)), AT)
    assert old in [f.snapshot for f in fates if f.kept], "the future is not what recent is counted from"


# ---------------------------------------------------------------- one host's odd name


def sites(tmp_path: Path, *names: str) -> Inventory:
    path = tmp_path / "site.toml"
    head = "[defaults]\ncredential = {environment = 'X', username = 'u'}\n"
    path.write_text(head + "".join(f"[hosts.{name}]\naddress = '127.0.0.1'\n" for name in names))
    return Inventory.load(path, ["notes"])


def test_one_hosts_odd_name_is_not_the_repositorys_failure(tmp_path: Path) -> None:
    host, *_ = sites(tmp_path, "EXCH01").select([])
    outcome = failed(host, UnsafeName("..\\x", "it leads out of its folder"))
    assert (outcome.state, outcome.exit_code) == (State.FAILED, 3)
    assert exit_code([outcome, Outcome("EXCH02", State.DONE)]) == 3


# ---------------------------------------------------------------- signals


@pytest.mark.skipif(not POSIX, reason="signals")
@pytest.mark.parametrize("first", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_the_first_signal_stops_and_later_ones_change_nothing(
    capfd: pytest.CaptureFixture[str], first: str
) -> None:
    """With real hosts and threads: tests/system/test_bad_days_interrupt.py."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        with heard_once():
            assert signal.getsignal(signal.SIGTERM) != signal.default_int_handler
        assert {signal.getsignal(n) for n in numbers} == {signal.default_int_handler}
        with heard_once():
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(getattr(signal, first))
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
        assert {signal.getsignal(n) for n in numbers} == {signal.SIG_IGN}, "the exit code must not be lost"
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert capfd.readouterr().err.count("stopping already") == 2


def test_a_thread_installs_no_handler() -> None:
    found: list[object] = []

    def look_at() -> None:
        with heard_once():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=look_at)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]


def test_ctrl_c_while_loading_is_no_traceback() -> None:
    code = (
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'exremote.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from exremote.__main__ import main\n"
        "main()"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (130, "error: interrupted.\n")


# ---------------------------------------------------------------- what is printed, what is kept


EVIL = "a\x1b]0;own\x07b\x9bc\u202ed\u2066e\u200bf\rg\x7f"
TAME = "a\\x1b]0;own\\x07b\\x9bc\\u202ed\\u2066e\\u200bf\\x0dg\\x7f"


def test_what_commands_a_terminal_is_written_out() -> None:
    assert visible(EVIL) == TAME
    assert visible(TAME) == TAME
    assert visible("Grüße\tan\r\nalle [x]") == "Grüße\tan\nalle [x]"
    out, err = io.StringIO(), io.StringIO()
    report = Report(out=out, err=err)
    report.rows("t", ["a"], [{"a": EVIL}])
    report.line(EVIL)
    report.note(EVIL)
    report.error(ExremoteError(EVIL))
    with report.progress("health", ["H"]) as live:
        live.stage("H", EVIL)
        live.finished("H", EVIL, "done")
    assert out.getvalue().count(TAME) == 2
    assert err.getvalue().count(TAME) == 4
    assert not set("\x1b\x07\x9b\u202e\u2066\r") & set(out.getvalue() + err.getvalue())


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_on_a_terminal_shows_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "160")
    out = Screen()
    report = Report(out=out, err=io.StringIO())
    report.rows("t", ["a"], [{"a": EVIL}])
    assert TAME in out.getvalue()
    assert "\x1b]" not in out.getvalue()


def test_facts_that_are_nested_too_deep_are_no_facts(tmp_path: Path) -> None:
    path = tmp_path / "facts.json"
    path.write_text("[" * 100_000)
    with pytest.raises(UsageError, match="no recorded facts"):
        checking.judge_file(path, {})


EVIL_VALUES: tuple[object, ...] = (
    *(10**30, -(10**25), 10**400, -1, 2**63, True, None, 1.5, float("nan")),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
    *("", "9" * 5000, EVIL, "\ud800", "a" * 100_000),
    *([], {}, [[[]]], {"x": 1}),
)
Place = tuple[str, ...]


def places(value: object, place: Place = ()) -> Iterator[Place]:
    """Return the kinds of places in a document: the items of a list are all in one."""
    yield place
    if isinstance(value, dict):
        for key, each in value.items():
            yield from places(each, (*place, key))
    elif isinstance(value, list):
        for each in value:
            yield from places(each, (*place, "*"))


def spoil(value: object, place: Place, evil: object) -> object:
    """Return a document with an evil value at every place of a kind."""
    if not place:
        return evil
    key, *rest = place
    if isinstance(value, list) and key == "*":
        return [spoil(each, tuple(rest), evil) for each in value]
    if isinstance(value, dict) and key in value:
        return {**value, key: spoil(value[key], tuple(rest), evil)}
    return value


SICK = json.loads((Path(__file__).parents[1] / "data" / "facts" / "sick.json").read_text())
KINDS = sorted(set(places(SICK)))
CONNECTORS = Connector.load_all()


def judged_or_refused(document: object, path: Path) -> bool:
    """Judge a file of facts as the command does, and show it. Return whether it was taken."""
    path.write_text(json.dumps(document))
    try:
        outcome = checking.judge_file(path, CONNECTORS)
    except UsageError as error:
        Report(out=io.StringIO(), err=io.StringIO()).error(error)
        return False
    report = Report(as_json=len(outcome.detail) % 2 == 0, out=io.StringIO(), err=io.StringIO())
    with pytest.raises(typer.Exit) as ended:
        checking.show_health(report, [outcome], checking.health.Verdict.CRITICAL, True)
    assert ended.value.exit_code in (0, EXIT_BAD_NEWS, EXIT_INCOMPLETE)
    return True


@pytest.mark.parametrize("evil", EVIL_VALUES, ids=lambda evil: ascii(evil)[:20])
def test_whatever_stands_in_a_file_of_facts_is_judged_or_refused(tmp_path: Path, evil: object) -> None:
    """At every kind of place in turn: there are findings, or a sentence, and never more."""
    assert judged_or_refused(SICK, tmp_path / "facts.json")
    for kind in KINDS:
        judged_or_refused(spoil(SICK, kind, evil), tmp_path / "facts.json")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from(EVIL_VALUES)), min_size=2, max_size=5))
def test_nor_do_several_of_them_together(tmp_path: Path, spoilt: list[tuple[Place, object]]) -> None:
    document: object = SICK
    for kind, evil in spoilt:
        document = spoil(document, kind, evil)
    judged_or_refused(document, tmp_path / "facts.json")


@pytest.mark.parametrize(
    ("event", "told"),
    [
        ({"kind": "planned", "steps": 3}, "planned: 3 steps"),
        ({"kind": "planned", "steps": "9" * 5000}, "planned: 999"),
        ({"kind": "planned"}, "planned: 0 steps"),
        ({"kind": "judged", "findings": ["x"], "worst": "ok"}, "judged: ['x'] checks"),
    ],
)
def test_a_journal_that_says_no_number_is_told_all_the_same(event: dict[str, object], told: str) -> None:
    kind = str(event.pop("kind"))
    assert runs.words(kind, event, "").startswith(told)


@pytest.mark.skipif(not POSIX, reason="modes")
def test_the_folder_of_runs_is_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(common.platformdirs, "user_state_path", lambda *a, **k: tmp_path)
    folder = common.runs_folder()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    assert stat.S_IMODE(common.runs_folder().stat().st_mode) == 0o700


def test_verify_of_a_repository_without_snapshots_ends_with_13(repository: Repository) -> None:
    (repository.path / "snapshots").rmdir()
    with pytest.raises(typer.Exit) as ended:
        look.verify(None, repository=repository.path, as_json=False)
    assert ended.value.exit_code == 13

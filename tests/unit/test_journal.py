"""The journal: nothing is lost, nothing is changed unseen, nothing secret gets in."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import pytest

from exremote.errors import RepositoryError
from exremote.journal import Journal, OpenShell, ended_without, journals, list_runs, new_run_id, open_shells

START = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)


def clock() -> Callable[[], datetime]:
    ticks = iter(range(1_000_000))
    return lambda: START + timedelta(seconds=next(ticks))


def begin(folder: Path, run: str = "20261122T101500Z-aaaaaa") -> Journal:
    return Journal.create(folder, run, "backup", ["exremote", "backup", "EXCH01"], clock())


def test_a_run_is_read_back_as_it_was(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    journal.event("step-started", host="EXCH01", number=1, step={"kind": "copy-tree", "secret": ("a", "b")})
    journal.event("progress", sync=False, host="EXCH02", path=Path("x"), at_host=START)
    journal.close("done")
    journal.close("done")
    record = Journal.read(journal.path)
    assert (record.intact, record.torn, record.problem) == (True, False, "")
    assert (record.run_id, record.verb, record.outcome) == ("20261122T101500Z-aaaaaa", "backup", "done")
    assert record.command == ("exremote", "backup", "EXCH01")
    assert (record.started, record.ended) == (START, START + timedelta(seconds=3))
    assert record.hosts == ("EXCH01", "EXCH02")
    assert [e.kind for e in record.events] == ["run-started", "step-started", "progress", "run-ended"]
    second = list(record.events)[1]
    assert second.fields["step"] == {"kind": "copy-tree", "secret": ["a", "b"]}
    assert [e.n for e in record.events] == [0, 1, 2, 3]


def test_a_journal_is_for_its_owner_alone(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    journal.close("done")
    if os.name == "posix":
        assert journal.path.stat().st_mode & 0o077 == 0


def test_one_run_one_journal(tmp_path: Path) -> None:
    begin(tmp_path).close("done")
    with pytest.raises(RepositoryError):
        begin(tmp_path)
    with pytest.raises(ValueError, match="name of a run"):
        begin(tmp_path, "../../etc")
    with pytest.raises(RepositoryError):
        begin(tmp_path / "nowhere")


def test_nothing_is_written_after_the_end(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    journal.close("done")
    with pytest.raises(RepositoryError):
        journal.event("late")


class Hidden:
    def __str__(self) -> str:
        return "hunter2"


class Colour(StrEnum):
    RED = "red"


def test_only_plain_values_get_in(tmp_path: Path) -> None:
    """A secret object, bytes, or a name with a meaning of its own is refused and leaves no trace."""
    journal = begin(tmp_path)
    bad_fields: list[dict[str, object]] = [{"a": Hidden()}, {"a": [b"x"]}, {"a": {1: 2}}, {"a": float("nan")}]
    for bad in bad_fields:
        with pytest.raises((TypeError, ValueError)):
            journal.event("step", **bad)
    with pytest.raises(ValueError, match="meaning already"):
        journal.event("step", previous="x")
    journal.event("step", colour=Colour.RED)
    journal.close("done")
    assert b"hunter2" not in journal.path.read_bytes()
    record = Journal.read(journal.path)
    assert record.intact
    assert list(record.events)[1].fields == {"colour": "red"}


def sample(folder: Path, close: bool = True) -> Path:
    journal = begin(folder)
    for number in range(5):
        journal.event("step-finished", host="EXCH01", number=number)
    if close:
        journal.close("done")
    return journal.path


def test_a_torn_last_line_is_tolerated_and_said(tmp_path: Path) -> None:
    path = sample(tmp_path, close=False)
    with path.open("ab") as file:
        file.write(b'{"n":6,"at":"2026')
    record = Journal.read(path)
    assert (record.intact, record.torn, record.count, record.ended) == (True, True, 6, None)


@pytest.mark.parametrize("flip", range(0, 900, 7))
def test_a_flipped_bit_is_seen(tmp_path: Path, flip: int) -> None:
    path = sample(tmp_path)
    data = bytearray(path.read_bytes())
    data[flip % len(data)] ^= 1
    path.write_bytes(data)
    record = Journal.read(path)
    assert not record.intact
    assert record.problem


def test_lines_taken_out_are_missed(tmp_path: Path) -> None:
    path = sample(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    for kept in (lines[1:], lines[:2] + lines[3:], lines[:-1], lines[:1], [], [*lines, lines[-1]]):
        path.write_bytes(b"".join(kept))
        assert not Journal.read(path).intact
    changed = json.loads(lines[-1]) | {"outcome": "failed"}
    path.write_bytes(b"".join(lines[:-1]) + json.dumps(changed, separators=(",", ":")).encode() + b"\n")
    assert "line 7" in Journal.read(path).problem


def test_a_damaged_or_missing_head_is_seen(tmp_path: Path) -> None:
    path = sample(tmp_path)
    head = path.with_suffix(".head")
    good = head.read_bytes()
    for bad in (b"x", good.replace(good[:1], b"g"), b"0" * 64 + good[64:]):
        head.write_bytes(bad)
        assert "head" in Journal.read(path).problem
    head.unlink()
    assert "head" in Journal.read(path).problem
    head.write_bytes(good)
    assert Journal.read(path).intact


def test_lines_behind_the_head_are_the_mark_of_a_kill_not_of_tampering(tmp_path: Path) -> None:
    """Chatty events may be on the disk before the head names them."""
    journal = begin(tmp_path)
    for number in range(10):
        journal.event("progress", sync=False, number=number)
    record = Journal.read(journal.path)
    assert (record.intact, record.count) == (True, 11)
    journal.close("done")


def test_threads_write_one_chain(tmp_path: Path) -> None:
    journal = begin(tmp_path)

    def work(host: str) -> None:
        for number in range(50):
            journal.event("step-finished", sync=number % 3 == 0, host=host, number=number)

    threads = [threading.Thread(target=work, args=(f"EXCH{i:02}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close("done")
    record = Journal.read(journal.path)
    assert (record.intact, record.count, len(record.hosts)) == (True, 402, 8)


KILLED = """
import itertools, sys
from datetime import UTC, datetime
from pathlib import Path
from exremote.journal import Journal
journal = Journal.create(Path(sys.argv[1]), "run", "backup", [], lambda: datetime.now(UTC))
for n in itertools.count():
    journal.event("step", number=n, sync=n % 5 == 0)
    print(n, flush=True)
"""


def test_a_killed_process_loses_no_event_that_was_said_to_be_written(tmp_path: Path) -> None:
    for round_ in range(3):
        folder = tmp_path / str(round_)
        folder.mkdir()
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        for _ in range(20 + round_):
            process.stdout.readline()
        time.sleep(0.01)
        process.send_signal(getattr(signal, "SIGKILL", signal.SIGTERM))
        said = process.communicate()[0].split()
        record = Journal.read(folder / "run.jsonl")
        assert record.intact
        assert record.count >= 20 + round_ + len(said) + 1
        assert (record.ended, record.outcome) == (None, "")


def test_a_full_disk_is_said_and_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = begin(tmp_path)
    real = os.write

    def half(file: int, data: bytes) -> int:
        if len(data) > 20:
            return real(file, bytes(data)[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(RepositoryError, match="No space left"):
        journal.event("step", text="x" * 25)
    monkeypatch.undo()
    journal.event("step", text="y")
    journal.close("done")
    record = Journal.read(journal.path)
    assert (record.intact, record.torn, record.count) == (True, False, 3)


def test_shells_left_open_are_known(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    journal.shell("opened", "EXCH01", "A", "psrp")
    journal.shell("opened", "EXCH01", "B", "raw")
    journal.shell("opened", "EXCH02", "A", "winrs")
    journal.shell("closed", "EXCH01", "A", "psrp")
    assert open_shells(Journal.read(journal.path).events) == [
        OpenShell("EXCH01", "B"),
        OpenShell("EXCH02", "A"),
    ]
    assert [shell.wire for shell in open_shells(Journal.read(journal.path).events)] == ["raw", "winrs"]
    journal.close("failed")


def test_a_journal_that_ended_and_tells_nothing_of_a_kind_is_known_by_its_bytes(tmp_path: Path) -> None:
    journal = begin(tmp_path)
    journal.event("found", host="EXCH01", text='"kind":"lost"')
    assert not ended_without(journal.path, "other")  # it goes on
    journal.close("0")
    head, data = journal.path.with_suffix(".head"), journal.path.read_bytes()
    assert ended_without(journal.path, "other", "lost")
    assert not ended_without(journal.path, "other", "found")
    for place in range(0, len(data), 7):
        journal.path.write_bytes(data[:place] + b"~" + data[place + 1 :])
        assert not ended_without(journal.path, "other"), place
    lines = data.splitlines(keepends=True)
    for changed in (data[:-1], data + b"{}\n", b"", b"".join(lines[:-1]), b"".join([*lines[1:]])):
        journal.path.write_bytes(changed)
        assert not ended_without(journal.path, "other")
    journal.path.write_bytes(data)
    head.unlink()
    assert not ended_without(journal.path, "other")
    assert not ended_without(tmp_path / "gone.jsonl", "other")


def test_runs_are_listed_newest_first(tmp_path: Path) -> None:
    names = [new_run_id(START + timedelta(hours=h)) for h in range(3)]
    for name in names:
        begin(tmp_path, name).close("done")
    (tmp_path / "empty.jsonl").touch()
    found = list_runs(journals(tmp_path))
    assert [r.run_id for r in found] == ["empty", *reversed(names)]
    assert not found[0].intact


def test_runs_of_one_second_are_listed_by_their_beginning(tmp_path: Path) -> None:
    """Their names agree in the second, and what follows there is random."""
    now = clock()
    for name in ("20261122T101500Z-ffffff", "20261122T101500Z-000000"):
        Journal.create(tmp_path, name, "backup", [], now).close("done")
    assert [r.run_id[-6:] for r in list_runs(journals(tmp_path))] == ["000000", "ffffff"]


def test_a_damaged_run_is_not_the_newest_of_its_second(tmp_path: Path) -> None:
    """Whoever looks for the newest one looks for what has just ended."""
    Journal.create(tmp_path, "20261122T101500Z-000000", "backup", [], clock()).close("done")
    (tmp_path / "20261122T101500Z-ffffff.jsonl").write_bytes(b"damaged\n")
    assert [r.run_id[-6:] for r in list_runs(journals(tmp_path))] == ["000000", "ffffff"]

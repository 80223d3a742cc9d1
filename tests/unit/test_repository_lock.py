"""The lock: one holder; the dead lose it, other machines do not."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from exremote.errors import RepositoryLocked
from exremote.repository import Repository
from exremote.repository import lock as lock_module

AT = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repository")


def lock_file(repository: Repository) -> Path:
    return repository.path / "locks" / "run.lock"


def change(repository: Repository, **values: object) -> None:
    path = lock_file(repository)
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_one_holder_at_a_time_and_the_other_is_told_who(repository: Repository) -> None:
    with repository.lock("exremote backup", run="run1", since=AT) as lock:
        data = json.loads(lock_file(repository).read_text())
        assert (data["host"], data["pid"]) == (socket.gethostname(), os.getpid())
        assert (data["run"], data["since"]) == ("run1", "2026-11-22T10:15:00Z")
        assert lock.taken_over == ""
        with pytest.raises(RepositoryLocked) as caught:
            with repository.lock("exremote verify"):
                pass
        for part in ("exremote backup", str(os.getpid()), socket.gethostname(), "since 2026-11-22T10:15:00Z"):
            assert part in caught.value.owner
        with repository.lock("another", name="host-EXCH01"):
            pass
    assert list((repository.path / "locks").iterdir()) == []
    with repository.lock("again"):
        pass


def test_the_lock_is_let_go_when_the_work_fails(repository: Repository) -> None:
    with pytest.raises(ZeroDivisionError):
        with repository.lock("a"):
            _ = 1 / 0
    with repository.lock("b"):
        pass


KILLED = """
import sys, time
from pathlib import Path
from exremote.repository import Repository
with Repository.open(Path(sys.argv[1])).lock("a run that dies", run="run0"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_killed_process_loses_its_lock_and_that_is_reported(repository: Repository) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(repository.path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    with pytest.raises(RepositoryLocked, match="a run that dies"):
        with repository.lock("too early"):
            pass
    process.kill()
    process.communicate()
    told: list[str] = []
    with repository.lock("the next", on_takeover=told.append) as lock:
        assert "a run that dies" in lock.taken_over
        assert str(process.pid) in lock.taken_over
    assert told == [lock.taken_over]
    assert list((repository.path / "locks").iterdir()) == []


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs the time of birth of a process")
def test_a_pid_that_came_again_is_not_the_old_process(repository: Repository) -> None:
    with repository.lock("a"):
        change(repository, born="another boot:1", token="old")
        with repository.lock("b") as lock:
            assert lock.taken_over.startswith("a (process")


def test_the_lock_of_another_machine_is_never_taken_over(repository: Repository) -> None:
    with repository.lock("a"):
        change(repository, host="another-machine", pid=2**22 + 1)
        with pytest.raises(RepositoryLocked, match=r"another-machine.*last sign of life.*delete this file"):
            with repository.lock("b"):
                pass
    assert lock_file(repository).exists()  # it was not ours any more


@pytest.mark.parametrize("field", ["machine", "boot", "space"])
def test_the_lock_of_another_machine_of_this_name_is_never_taken_over(
    repository: Repository, field: str
) -> None:
    """A container, or a machine with the same name: its process ids mean nothing here."""
    with repository.lock("a"):
        change(repository, pid=2**22 + 1, **{field: "another"})
        with pytest.raises(RepositoryLocked, match="in another container or on another machine of that name"):
            with repository.lock("b"):
                pass
        (lock,) = repository.locks()
        assert (lock.dead, lock.ours) == (False, False)


def test_the_lock_of_an_older_exremote_is_read_and_never_taken_over(repository: Repository) -> None:
    with repository.lock("a"):
        path = lock_file(repository)
        data = json.loads(path.read_text()) | {"pid": 2**22 + 1}
        path.write_text(json.dumps({k: v for k, v in data.items() if k not in ("machine", "boot", "space")}))
        (lock,) = repository.locks()
        assert lock.owner is not None
        assert (lock.owner.pid, lock.dead, lock.ours) == (2**22 + 1, False, False)
        with pytest.raises(RepositoryLocked, match=r"a \(process 4194305"):
            with repository.lock("b"):
                pass


@pytest.mark.skipif(not Path("/etc/machine-id").exists(), reason="needs the machine's identity")
def test_a_lock_from_before_this_machine_started_again_is_taken_over_when_it_is_silent(
    repository: Repository,
) -> None:
    with repository.lock("a"):
        change(repository, boot="another", born="another:1")
        with pytest.raises(RepositoryLocked):
            with repository.lock("too early: a copy of this machine may hold it"):
                pass
        old = time.time() - 2 * lock_module.SILENT_S
        os.utime(lock_file(repository), (old, old))
        with repository.lock("b") as lock:
            assert lock.taken_over.startswith("a (process")
        change_back = repository.lock("c")
        with change_back:
            change(repository, boot="another", machine="another")
            os.utime(lock_file(repository), (old, old))
            with pytest.raises(RepositoryLocked):
                with repository.lock("d"):
                    pass


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="needs the right to make a name space of processes"
)
@pytest.mark.parametrize("proc", [["--mount-proc"], []])
def test_a_living_lock_of_a_container_is_not_taken_over(repository: Repository, proc: list[str]) -> None:
    """No pretence: the holder lives in a name space of its own, and its process id is nobody's here."""
    command = ["unshare", "-p", "--kill-child", *proc, sys.executable, "-c", KILLED, str(repository.path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline() != "held\n":
        pytest.skip("no right to make one here")
    try:
        change(repository, pid=2**22 + 1)
        with pytest.raises(RepositoryLocked, match=r"a run that dies.*in another container"):
            with repository.lock("outside"):
                pass
        code = (
            "import sys; from pathlib import Path; from exremote.repository import Repository\n"
            "(lock,) = Repository.open(Path(sys.argv[1])).locks()\n"
            "print(lock.dead, lock.ours)"
        )
        inside = ["unshare", "-p", "-f", *proc, sys.executable, "-c", code, str(repository.path)]
        assert subprocess.check_output(inside, text=True) == "False False\n"
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a volume that keeps any time")
@pytest.mark.parametrize("seconds", [2.0**40, -(2.0**40)])
def test_a_lock_with_a_time_that_no_calendar_has_is_shown(seconds: float) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        repository = Repository.create(Path(folder) / "r")
        with repository.lock("a"):
            os.utime(lock_file(repository), (seconds, seconds))
            (lock,) = repository.locks()
            assert lock.touched.tzinfo is UTC
            with pytest.raises(RepositoryLocked, match="last sign of life"):
                with repository.lock("b"):
                    pass


def test_a_lock_that_says_nothing_is_not_taken_over(repository: Repository) -> None:
    with repository.lock("a"):
        whole = json.loads(lock_file(repository).read_text())
    wrong = [
        {"pid": 1e999},
        {"pid": "7"},
        {"pid": True},
        {"pid": -1},
        {"token": 7},
        {"host": None},
        {"x": ""},
    ]
    texts = ["", "{", "[]", '{"pid": 1}', "[" * 100_000, " " * (1 << 17)]
    for text in [*texts, *(json.dumps(whole | change) for change in wrong)]:
        lock_file(repository).write_text(text)
        with pytest.raises(RepositoryLocked, match="no readable name"):
            with repository.lock("b"):
                pass


def test_many_who_find_a_dead_lock_and_one_gets_it(repository: Repository) -> None:
    for _ in range(10):
        with repository.lock("dead"):
            text = lock_file(repository).read_text()
        lock_file(repository).write_text(json.dumps(json.loads(text) | {"pid": 2**22 + 1}))
        inside, most, got = [0], [0], []
        gate, start = threading.Lock(), threading.Barrier(8)

        def work() -> None:
            start.wait()  # noqa: B023
            try:
                with repository.lock("living"):
                    with gate:  # noqa: B023
                        inside[0] += 1  # noqa: B023
                        most[0] = max(most[0], inside[0])  # noqa: B023
                        got.append(1)  # noqa: B023
                    time.sleep(0.05)
                    with gate:  # noqa: B023
                        inside[0] -= 1  # noqa: B023
            except RepositoryLocked:
                pass

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most[0] == 1
        assert got


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_one_who_dies_while_it_takes_a_lock_over_is_taken_over_too(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    with repository.lock("dead"):
        text = lock_file(repository).read_text()
    lock_file(repository).write_text(json.dumps(json.loads(text) | {"pid": 2**22 + 1}))
    child = os.fork()
    if child == 0:
        real = lock_module.read_owner

        def die(path: Path) -> object:
            if any(".claim-" in p.name and len(p.suffixes) == 2 for p in path.parent.iterdir()):
                os.kill(os.getpid(), signal.SIGKILL)
            return real(path)

        monkeypatch.setattr(lock_module, "read_owner", die)
        with repository.lock("dies half-way"):
            os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert len(list(lock_file(repository).parent.glob("run.lock.claim-*"))) == 1
    with repository.lock("the next") as lock:
        assert lock.taken_over.startswith("dead (process")
    assert list(lock_file(repository).parent.iterdir()) == []


def test_a_holder_gives_signs_of_life(repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "HEARTBEAT_S", 0.01)
    with repository.lock("a"):
        os.utime(lock_file(repository), (1, 1))
        deadline = time.monotonic() + 10
        while lock_file(repository).stat().st_mtime < 2:
            assert time.monotonic() < deadline
            time.sleep(0.01)

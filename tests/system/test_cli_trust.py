"""What a nightly job may rely on: nothing is called unchanged, well or done that is not."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Cli, World

pytestmark = pytest.mark.not_under_wine("apart")


def spoil_by_growing(folder: Path) -> None:
    """Let a document of the snapshot be longer than its manifest says."""
    target = folder / "services.json"
    target.chmod(stat.S_IRUSR | stat.S_IWUSR)
    with target.open("a", encoding="utf-8") as file:
        file.write("x")


def spoil_by_removing(folder: Path) -> None:
    """Take a file out of the snapshot."""
    target = next(path for path in (folder / "files").rglob("*") if path.is_file())
    target.parent.chmod(stat.S_IRWXU)
    target.unlink()


@pytest.mark.parametrize("spoil", [spoil_by_growing, spoil_by_removing])
def test_a_damaged_snapshot_is_never_called_unchanged(cli: Cli, spoil: Callable[[Path], None]) -> None:
    """The night after the damage makes a new snapshot and says why; the one after that is unchanged."""
    cli.inventory("EXNOTES01")
    cli.init()
    cli("backup", "--only", "notes")
    (old,) = (cli.repository / "snapshots" / "EXNOTES01").iterdir()
    spoil(old)
    ran = cli("backup", "--only", "notes")
    assert "notes new" in ran.out
    assert f"{old.name} is damaged" in ran.out
    (new,) = [f for f in (cli.repository / "snapshots" / "EXNOTES01").iterdir() if f != old]
    assert "no damage" in cli("verify", new.name).out
    again = cli("backup", "--only", "notes")
    assert "notes unchanged" in again.out
    assert "damaged" not in again.out


def test_a_host_without_that_connector_is_skipped_and_no_failure(cli: Cli) -> None:
    """`--only` over a mixed site can be scheduled: who has no such connector has nothing to do."""
    cli.inventory("EXNOTES01", "EXGW01")
    cli.init()
    ran = cli("backup", "--only", "notes", "--json")
    hosts = {host["host"]: host for host in ran.json["hosts"]}
    assert hosts["EXGW01"]["state"] == "skipped"
    assert "has no connector notes (it has groupwise" in hosts["EXGW01"]["message"]
    assert hosts["EXNOTES01"]["state"] == "done"


def test_a_host_that_gave_no_answer_is_not_called_well(cli: Cli) -> None:
    """No sentence says that all is well when nothing was asked."""
    cli.inventory("EXDOWN01")
    ran = cli("health", code=20)
    assert "well" not in ran.out.replace("0 well", "")
    assert "1 of 1 host gave no answer" in ran.out


def test_our_own_sentences_are_not_redacted(cli: Cli) -> None:
    """A password that is a word of ours must not show by its absence."""
    cli.inventory("EXNOTES01")
    cli.more["EXREMOTE_LAB_PASSWORD"] = "wrong"
    ran = cli("health", code=21)
    assert "wrong user name or password" in ran.all
    assert "***" not in ran.all


@pytest.mark.not_under_wine("time")
def test_two_runs_at_once_do_not_save_the_same_twice(cli: Cli, world: World) -> None:
    """The second run learns of the first before it connects, and says whose lock it is."""
    cli.inventory("EXBIG01")
    cli.init()
    world.line("EXBIG01", latency_s=0.06)
    with cli.started("backup") as first:
        end = time.monotonic() + 20
        while not list((cli.repository / "locks").glob("host-EXBIG01*")):
            assert time.monotonic() < end
            time.sleep(0.02)
        started = time.monotonic()
        second = cli("backup", code=11)
        assert time.monotonic() - started < 5
        assert f"process {first.pid}" in second.all
        assert first.wait(60) == 0
    assert len(cli.snapshots()) == 2
    assert list((cli.repository / "locks").iterdir()) == []


def test_a_check_comes_before_the_repository_is_made(cli: Cli) -> None:
    """`health` needs no repository, not even where the environment names one that `init` will make."""
    cli.inventory("EXNOTES01")
    cli.more["EXREMOTE_REPOSITORY"] = str(cli.repository)
    cli("health")
    assert not cli.repository.exists()
    assert "exremote init" in cli("runs", code=10).all

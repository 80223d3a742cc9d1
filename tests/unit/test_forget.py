"""What a keep policy leaves, what nothing names, and what a kill in the middle of either leaves behind."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from test_repository_bad_days import CALLS, backup, contents

from exremote.errors import IntegrityError, RepositoryError, RepositoryLocked, SnapshotNotFound
from exremote.repository import (
    NEWEST,
    Candidate,
    KeepPolicy,
    Repository,
    Snapshot,
    SnapshotDraft,
    decide,
)

AT = datetime(2026, 3, 22, 10, 15, tzinfo=UTC)
REMOVING = (*CALLS, "unlink", "rmdir")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "r")


def candidate(days: float, *, seen: Sequence[float] = (), damage: str = "", **more: object) -> Candidate:
    """A snapshot so many days after AT, confirmed on other days; nothing of it is on a disk."""
    created = AT + timedelta(days=days)
    name = f"{created:%Y%m%dT%H%M%SZ}-groupwise-{abs(hash(days)) % 0xFFFFFF:06x}"
    snapshot = Snapshot(name, "EXCH01", "groupwise", created, "full", True, "run", Path(f"/r/{name}"))
    snapshot = replace(snapshot, **more)  # type: ignore[arg-type]
    snapshot = replace(snapshot, path=Path("/r", snapshot.host, snapshot.connector, snapshot.kind, name))
    return Candidate(snapshot, damage, tuple(AT + timedelta(days=d) for d in seen))


def stays(candidates: Sequence[Candidate], policy: KeepPolicy) -> list[int]:
    """The places of those that stay."""
    return [n for n, fate in enumerate(decide(candidates, policy)) if fate.kept]


# ---------------------------------------------------------------- the policy


def test_an_empty_policy_says_so() -> None:
    assert KeepPolicy().empty
    for policy in (KeepPolicy(last=1), KeepPolicy(monthly=1), KeepPolicy(within=timedelta())):
        assert not policy.empty


def test_the_newest_so_many_stay() -> None:
    candidates = [candidate(day) for day in range(5)]
    assert stays(candidates, KeepPolicy(last=2)) == [3, 4]
    assert stays(candidates, KeepPolicy(last=99)) == [0, 1, 2, 3, 4]
    assert stays(list(reversed(candidates)), KeepPolicy(last=2)) == [0, 1]


def test_the_last_state_of_each_day_stays() -> None:
    candidates = [candidate(day + hour / 24) for day in range(3) for hour in (0, 6, 12)]
    assert stays(candidates, KeepPolicy(daily=2)) == [5, 8]
    fates = decide(candidates, KeepPolicy(daily=2))
    assert fates[8].kept == (NEWEST, "day 2026-03-24")
    assert fates[5].kept == ("day 2026-03-23",)


def test_days_that_found_nothing_changed_count_for_the_snapshot_that_they_confirmed() -> None:
    """Made on day 0, true until day 9, then changed each day: 14 days back is day 0's snapshot's time."""
    older, long, *rest = [
        candidate(-5),
        candidate(0, seen=range(1, 10)),
        candidate(10),
        candidate(11),
    ]
    policy = KeepPolicy(daily=5)
    fates = decide([older, long, *rest], policy)
    assert [bool(f.kept) for f in fates] == [False, True, True, True]
    assert fates[1].kept == ("day 2026-03-31 and 2 before",)
    assert stays([older, long, *rest], KeepPolicy(daily=12)) == [1, 2, 3]
    assert stays([older, long, *rest], KeepPolicy(daily=13)) == [0, 1, 2, 3]


def test_weeks_are_those_of_iso_8601_and_months_those_of_the_calendar() -> None:
    """22 November 2026 is a Sunday: the next day is another week."""
    sunday, monday, december = candidate(0), candidate(1), candidate(10)
    assert stays([sunday, monday, december], KeepPolicy(weekly=3)) == [0, 1, 2]
    assert stays([sunday, monday, december], KeepPolicy(weekly=2)) == [1, 2]
    assert stays([sunday, monday, december], KeepPolicy(monthly=5)) == [1, 2]
    new_year = [candidate(39), candidate(40)]  # 31 December and 1 January are one week
    assert stays(new_year, KeepPolicy(weekly=2)) == [1]


def test_within_counts_from_the_newest_not_from_today() -> None:
    candidates = [candidate(-400), candidate(-390), candidate(-380)]
    assert stays(candidates, KeepPolicy(within=timedelta(days=10))) == [1, 2]
    confirmed = [candidate(-500, seen=[-381]), *candidates]
    assert stays(confirmed, KeepPolicy(within=timedelta(days=10))) == [0, 2, 3]


def test_rules_add_up() -> None:
    candidates = [candidate(day) for day in range(60)]
    kept = stays(candidates, KeepPolicy(last=2, daily=3, weekly=2, monthly=2))
    assert kept == [39, 56, 57, 58, 59]


@pytest.mark.parametrize("policy", [KeepPolicy(last=1), KeepPolicy(within=timedelta()), KeepPolicy(daily=1)])
def test_each_host_connector_and_kind_has_a_newest_of_its_own(policy: KeepPolicy) -> None:
    candidates = [
        replaced
        for day in range(2)
        for replaced in (
            candidate(day),
            candidate(day, kind="tables"),
            candidate(day, connector="notes"),
            candidate(day, host="EXCH02"),
        )
    ]
    assert stays(candidates, policy) == [4, 5, 6, 7]


def test_an_incomplete_one_never_takes_the_place_of_a_complete_one() -> None:
    whole, broken, also = candidate(0), candidate(1, complete=False), candidate(2, complete=False)
    fates = decide([whole, broken, also], KeepPolicy(last=1, daily=1))
    assert fates[0].kept[0] == NEWEST
    assert fates[1].kept == fates[2].kept == ("no complete one is newer",)
    assert stays([whole, broken, also, candidate(3)], KeepPolicy(last=1)) == [3]
    assert stays([broken, also], KeepPolicy(last=1)) == [0, 1]
    assert stays([whole, broken, candidate(3)], KeepPolicy(within=timedelta(days=2))) == [1, 2]


def test_a_damaged_one_stays_until_it_is_named_and_is_no_newest() -> None:
    old, whole, damaged = candidate(0), candidate(1), candidate(2, damage="no manifest")
    fates = decide([old, whole, damaged], KeepPolicy(last=1))
    assert [f.kept for f in fates] == [
        (),
        (NEWEST, "last 1 of 1"),
        ("damaged: goes only if it is named",),
    ]


# ---------------------------------------------------------------- forgetting and pruning


def test_what_is_forgotten_is_gone_and_the_rest_is_whole(repository: Repository) -> None:
    first, second = backup(repository, 1), backup(repository, 2)
    repository.record_check(first, "run9", AT)
    before = contents(second.path)
    repository.forget(first, "run10")
    assert repository.snapshots() == [second]
    assert contents(second.path) == before
    assert repository.checks(first) == ()
    assert list((repository.path / "partial").iterdir()) == []
    assert list(repository.verify()) == []
    with pytest.raises(SnapshotNotFound):
        repository.record_check(first, "run11", AT)
    repository.forget(second, "run10")
    assert list((repository.path / "snapshots").iterdir()) == []


def test_prune_takes_what_nothing_names_and_nothing_else(repository: Repository) -> None:
    first, second = backup(repository, 1), backup(repository, 2)
    shared = {e.sha256 for e in first.manifest.entries} & {e.sha256 for e in second.manifest.entries}
    only = [e for e in first.manifest.entries if e.sha256 not in shared]
    assert shared
    assert only
    assert repository.unused().objects == ()
    repository.forget(first, "run10")
    with repository.staging("killed", "EXCH01") as staging:
        staging.writer("half").write(b"half a file")
    stray = repository.path / "objects" / "letter.txt"
    stray.write_text("not ours")
    unused = repository.unused()
    assert {p.name for p in unused.objects} == {e.sha256 for e in only}
    assert unused.object_bytes == sum(e.size for e in only)
    assert (len(unused.leftovers), unused.leftover_bytes, unused.kept) == (1, 11, 3)
    assert repository.unused(["killed"]).leftovers == ()
    assert repository.prune() == unused
    assert repository.unused().objects == ()
    assert list((repository.path / "partial").iterdir()) == []
    assert stray.exists()
    stray.unlink()
    assert list(repository.verify()) == []
    assert backup(repository, 1).complete


def test_an_object_with_another_name_is_not_unused(repository: Repository) -> None:
    """Deleting it would free nothing, and somebody has it."""
    snapshot = backup(repository, 1)
    entry = snapshot.manifest.entries[0]
    os.link(repository.object_path(entry.sha256), repository.path.parent / "mine.tbl")
    repository.forget(snapshot, "run2")
    assert entry.sha256 not in {p.name for p in repository.prune().objects}


def test_of_a_damaged_snapshot_the_sums_say_what_it_names(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a volume without links, so that nothing but names tells what is used."""

    def refuse(*args: object) -> None:
        raise OSError(31, "Too many links")

    monkeypatch.setattr(os, "link", refuse)
    snapshot = backup(repository, 1)
    manifest = snapshot.path / "manifest.json"
    manifest.chmod(0o600)
    manifest.write_bytes(b"{")
    assert repository.unused().objects == ()
    sums = snapshot.path / "SHA256SUMS"
    sums.chmod(0o600)
    sums.write_bytes(b"?" + sums.read_bytes()[1:])
    with pytest.raises(IntegrityError, match=r"nothing is deleted.*exremote forget EXCH01/"):
        repository.prune()
    repository.forget(repository.find(snapshot.id), "run2")
    assert len(repository.prune().objects) == 3


# ---------------------------------------------------------------- the whole lock


def test_the_whole_lock_and_any_other_exclude_each_other(repository: Repository) -> None:
    with repository.lock("a backup", name="host-EXCH01"), repository.lock("another", name="host-EXCH02"):
        with pytest.raises(RepositoryLocked, match=r"a backup.*last sign of life.*seconds ago"):
            with repository.lock("prune", name="repository"):
                pass
    with repository.lock("prune", name="repository"):
        for name in ("host-EXCH01", "repository", "copy"):
            with pytest.raises(RepositoryLocked, match="prune"):
                with repository.lock("a backup", name=name):
                    pass
    assert list((repository.path / "locks").iterdir()) == []
    with repository.lock("a backup", name="host-EXCH01"):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_the_whole_lock_of_a_dead_process_is_taken_away_with_a_word(repository: Repository) -> None:
    for dead, living in (("repository", "host-EXCH01"), ("host-EXCH01", "repository")):
        child = os.fork()
        if child == 0:
            held = repository.lock("one that dies", name=dead)
            held.__enter__()
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        assert [(lock.name, lock.dead, lock.ours) for lock in repository.locks()] == [(dead, True, True)]
        told: list[str] = []
        with repository.lock("the next", name=living, on_takeover=told.append):
            assert [lock.name for lock in repository.locks()] == [living]
        assert len(told) == 1
        assert f"process {child}" in told[0]


# ---------------------------------------------------------------- kills


def killed_at(act: Callable[[], object], moment: int) -> bool:
    """Do it in a process of its own that dies at its n-th call of the system. Return whether it did."""
    child = os.fork()
    if child == 0:
        seen = 0
        real = {name: getattr(os, name) for name in REMOVING}

        def counting(name: str) -> Callable[..., object]:
            def call(*args: object, **more: object) -> object:
                nonlocal seen
                seen += 1
                if seen >= moment:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real[name](*args, **more)

            return call

        for name in REMOVING:
            setattr(os, name, counting(name))
        try:
            act()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forget_killed_at_any_moment_leaves_whole_snapshots(tmp_path: Path) -> None:
    moment, killed = 0, True
    while killed:
        moment += 1
        repository = Repository.create(tmp_path / str(moment))
        first, second = backup(repository, 1), backup(repository, 2)
        repository.record_check(first, "run9", AT)
        before = contents(second.path)
        killed = killed_at(lambda: repository.forget(first, "run10"), moment)  # noqa: B023
        assert contents(second.path) == before
        assert list(repository.verify()) == []
        assert repository.snapshots() in ([first, second], [second])
        again = Repository.open(repository.path)
        again.prune()
        assert list((again.path / "partial").iterdir()) == []
        assert list(again.verify()) == []
        assert repository.checks(first) == () or first in again.snapshots()
        assert again.latest("EXCH01", "groupwise") == second
    assert moment > 15


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_prune_killed_at_any_moment_leaves_what_is_named(tmp_path: Path) -> None:
    moment, killed = 0, True
    while killed:
        moment += 1
        repository = Repository.create(tmp_path / str(moment))
        first, second = backup(repository, 1), backup(repository, 2)
        repository.forget(first, "run10")
        with repository.staging("killed", "EXCH01") as staging:
            staging.writer("half").write(b"half a file")
        before = contents(second.path)
        killed = killed_at(repository.prune, moment)
        assert contents(second.path) == before
        assert list(repository.verify()) == []
        again = Repository.open(repository.path)
        again.prune()
        assert again.unused().objects == again.unused().leftovers == ()
        assert list(again.verify()) == []
        assert backup(again, 3).complete
    assert moment > 4


def test_a_forget_that_the_system_refuses_says_so(
    repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = backup(repository, 1)

    def refuse(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(RepositoryError, match="not permitted: forgetting a snapshot"):
        repository.forget(snapshot, "run2")
    monkeypatch.undo()
    assert repository.snapshots() == [snapshot]
    assert list(repository.verify()) == []


def test_an_empty_snapshot_can_be_kept_and_forgotten(repository: Repository) -> None:
    snapshot = repository.commit(SnapshotDraft("EXCH01", "notes", AT, "run1"))
    assert repository.prune().objects == ()
    repository.forget(snapshot, "run2")
    assert repository.snapshots() == []

"""Contents that come in parts: what a killed run brought of a large file is not brought again."""

from __future__ import annotations

import hashlib
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exremote.repository import Assembly, Repository, Staging
from exremote.repository.store import KEPT, KEPT_S, LEAST_KEPT

DATA = random.Random(7).randbytes(3 * LEAST_KEPT)
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repository")


def bring(assembly: Assembly, *ranges: tuple[int, int]) -> None:
    for start, stop in ranges:
        assembly.part(start).write(DATA[start:stop])


def finish(assembly: Assembly) -> None:
    assert assembly.gaps() == []
    whole = assembly.join()
    assert (whole.size, whole.digest()) == (len(DATA), SHA256)
    assert whole.finish() == SHA256


def test_parts_that_come_in_any_order_make_the_content(repository: Repository) -> None:
    with repository.staging("run1", "EXCH01") as staging:
        assembly = staging.assembly(SHA256, len(DATA))
        assert assembly.gaps() == [(0, len(DATA))]
        bring(assembly, (1000, 2000), (2000, 3000), (0, 400))
        assert assembly.gaps() == [(400, 1000), (3000, len(DATA))]
        bring(assembly, (3000, len(DATA)), (400, 1000))
        finish(assembly)
    assert repository.has(SHA256, len(DATA))
    assert list((repository.path / "partial").iterdir()) == []


@given(st.lists(st.tuples(st.integers(0, 299), st.integers(1, 120)), max_size=12))
@settings(max_examples=60, deadline=None)
def test_parts_may_overlap(tmp_path_factory: pytest.TempPathFactory, pieces: list[tuple[int, int]]) -> None:
    data = DATA[:300]
    sha256 = hashlib.sha256(data).hexdigest()
    repository = Repository.create(tmp_path_factory.mktemp("parts") / "repository")
    with repository.staging("run1", "EXCH01") as staging:
        assembly = staging.assembly(sha256, 300)
        for start, length in dict(pieces).items():
            if any(begin <= start < stop for begin, stop in assembly.gaps()):
                assembly.part(start).write(data[start : start + length])
        for start, stop in assembly.gaps():
            assembly.part(start).write(data[start:stop])
        assert assembly.gaps() == []
        assert assembly.join().finish() == sha256


def test_a_killed_run_leaves_its_parts_to_the_next_one(repository: Repository) -> None:
    staging = repository.staging("killed", "EXCH01")
    assembly = staging.assembly(SHA256, len(DATA))
    middle = 2 * LEAST_KEPT
    bring(assembly, (0, LEAST_KEPT + 5), (middle, middle + 10))
    staging.writer("a small file").write(b"half")
    # no close: the process is gone

    assert repository.salvage(list) == ["killed"]
    assert [path.name for path in (repository.path / "partial" / KEPT).iterdir()] == [f"{SHA256}-0.part"]
    with repository.staging("next", "EXCH02") as staging:
        assembly = staging.assembly(SHA256, len(DATA))
        assert assembly.gaps() == [(LEAST_KEPT + 5, len(DATA))]
        bring(assembly, (LEAST_KEPT + 5, len(DATA)))
        finish(assembly)
    assert repository.salvage(list) == []
    assert list((repository.path / "partial").iterdir()) == []


def test_parts_that_nobody_wanted_go_after_a_week(repository: Repository) -> None:
    staging = repository.staging("killed", "EXCH01")
    bring(staging.assembly(SHA256, len(DATA)), (0, LEAST_KEPT))
    repository.salvage(list)
    (kept,) = (repository.path / "partial" / KEPT).iterdir()
    repository.salvage(list)
    assert kept.exists()
    old = time.time() - KEPT_S - 60
    os.utime(kept, (old, old))
    repository.salvage(list)
    assert not kept.exists()


def test_parts_that_are_not_what_they_should_be_are_forgotten(repository: Repository) -> None:
    with repository.staging("run1", "EXCH01") as staging:
        assembly = staging.assembly(SHA256, len(DATA))
        assembly.part(0).write(b"\0" * len(DATA))
        assert assembly.join().digest() != SHA256
        assembly.discard()
        assert assembly.gaps() == [(0, len(DATA))]
        bring(assembly, (0, len(DATA)))
        finish(assembly)


def test_a_part_beyond_the_end_is_no_part(repository: Repository) -> None:
    staging: Staging = repository.staging("killed", "EXCH01")
    bring(staging.assembly(SHA256, len(DATA) * 2), (0, len(DATA)))
    staging.assembly(SHA256, len(DATA) * 2).part(len(DATA) + 7).write(b"more")
    repository.salvage(list)
    with repository.staging("next", "EXCH01") as staging:
        finish(staging.assembly(SHA256, len(DATA)))

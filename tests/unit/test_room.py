"""Whether hosts fit the repository's volume together: numbers beside the volume's own free space."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from exremote.errors import RepositoryError
from exremote.repository import Need, Repository, Room

A, B, C = (letter * 64 for letter in "abc")


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository.create(tmp_path / "repository")


@pytest.fixture
def free(repository: Repository) -> int:
    """Return the volume's free bytes; a test asks for large shares of them, for others write here, too."""
    return shutil.disk_usage(repository.path).free


def refused(room: Room, host: str, need: Need) -> str:
    with pytest.raises(RepositoryError) as caught:
        room.reserve(host, need)
    assert caught.value.exit_code == 10
    return caught.value.text


def test_hosts_share_the_room(repository: Repository, free: int) -> None:
    room = repository.room(0)
    room.reserve("EX1", Need({A: free * 4 // 10}))
    said = refused(room, "EX2", Need({B: free * 4 // 10}))
    assert "that other hosts of this run are bringing" in said
    assert "(1 content that the repository lacks, and 0 B of lists, and " in said
    assert "while a large file is joined from its parts)" in said
    room.reserve("EX3", Need({C: free // 10}))
    room.release("EX1")
    room.reserve("EX2", Need({B: free * 4 // 10}))


def test_what_arrived_is_counted_by_the_volume_itself(repository: Repository, free: int) -> None:
    room = repository.room(0)
    room.reserve("EX1", Need({A: free * 4 // 10}))
    room.arrived("EX1", free * 5 // 10)
    room.reserve("EX2", Need({B: free * 5 // 10}))


def test_the_same_contents_of_two_hosts_are_kept_once(repository: Repository, free: int) -> None:
    """But one file of them may lie here twice for a while."""
    room = repository.room(0)
    many = {f"{number:064x}": free // 100 for number in range(60)}
    room.reserve("EX1", Need(many))
    room.reserve("EX2", Need(many))
    room.release("EX1")
    room.release("EX2")
    room.reserve("EX1", Need({A: free * 45 // 100}))
    refused(room, "EX2", Need({A: free * 45 // 100}))


def test_what_stays_free_and_what_comes_besides_are_counted(repository: Repository, free: int) -> None:
    said = refused(repository.room(free * 9 // 10), "EX1", Need({A: free * 2 // 10}))
    assert "that stay free (keep_free)" in said
    assert str(repository.path) in said
    refused(repository.room(0), "EX1", Need({A: 1}, lists=free * 2))
    refused(
        repository.room(0), "EX1", Need({A: free * 7 // 10})
    )  # joined from parts, half of it lies here twice
    repository.room(free * 100).reserve("EX1", Need({}, lists=1000))


def test_parts_that_a_killed_run_left_are_here_already(repository: Repository, free: int) -> None:
    kept = repository.path / "partial" / "kept"
    kept.mkdir()
    with (kept / f"{A}-0.part").open("wb") as part:
        part.truncate(free // 2)  # a hole: it takes no room, as what is here takes none any more
    repository.room(0).reserve("EX1", Need({A: free * 6 // 10}))
    refused(repository.room(0), "EX1", Need({B: free * 8 // 10}))


@pytest.mark.skipif(os.name != "posix", reason="a volume without hard links is found by its refusal")
def test_a_volume_without_links_takes_all_files_once_more(repository: Repository, free: int) -> None:
    need = Need({A: 1}, copies=free * 2)
    repository.room(0).reserve("EX1", need)
    room = repository.room(0)
    (repository.path / "partial").rename(repository.path / "elsewhere")  # nothing can be linked there
    said = refused(room, "EX1", need)
    assert "for copies, as this volume has no hard links" in said
    assert not any((repository.path / "elsewhere").iterdir())

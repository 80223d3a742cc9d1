"""Which runs are alive, by the locks beside their journals. It talks to no host and ends no run."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from exremote.errors import RepositoryError
from exremote.repository import LockState, break_lock, list_locks


def alive_runs(folder: Path) -> dict[str, str]:
    """Given the folder of journals, return by run who it is, of those that are alive or may be."""
    owners = ((lock.name, lock.owner) for lock in list_locks(folder) if not lock.dead)
    return {name: owner.describe() for name, owner in owners if owner is not None}


def living_runs(folder: Path) -> set[str]:
    """Given the folder of journals, return the runs that are alive, here or for all we know elsewhere."""
    return set(alive_runs(folder))


def distant_runs(folder: Path) -> list[LockState]:
    """Given the folder of journals, return the locks of runs elsewhere: they count as alive until removed."""
    return [lock for lock in list_locks(folder) if lock.owner is not None and not lock.ours]


def clear_dead_runs(folder: Path) -> None:
    """Given the folder of journals, remove what says which process a run is, of those that were killed."""
    with suppress(OSError, RepositoryError):  # what cannot be removed harms nobody
        for lock in list_locks(folder):
            if lock.dead:
                break_lock(lock)


def run_lock(folder: Path, run_id: str) -> Path:
    """Given the folder of journals and a run, return the file that says which process it is."""
    return folder / f"{run_id}.lock"

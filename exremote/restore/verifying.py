"""Snapshots read whole before anything of them goes to a host. It changes nothing."""

from __future__ import annotations

from collections.abc import Iterable

from exremote.errors import IntegrityError
from exremote.repository import Repository, Snapshot


def verify_whole(repository: Repository, snapshots: Iterable[Snapshot]) -> None:
    """Given snapshots, read every byte of them. Raise IntegrityError if one is not as it was written."""
    for snapshot in snapshots:
        for problem in repository.verify(snapshot):
            raise IntegrityError(
                f"the snapshot {snapshot.host}/{snapshot.id} is damaged, so nothing of it is restored: "
                f"{problem.place} {problem.message}.",
                path=snapshot.path,
                entry=problem.place,
                expected=problem.expected,
                actual=problem.actual,
                remedy="`exremote verify` names all damage; take another snapshot.",
            )

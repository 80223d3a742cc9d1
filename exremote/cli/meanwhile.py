"""What other runs took away while `verify` was reading: that is no damage. It changes nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from exremote.errors import RepositoryError
from exremote.journal import forgotten_snapshots, journals, list_runs
from exremote.repository import Problem, Repository, Snapshot

_OBJECT = re.compile(r"objects/[0-9a-f]{2}/([0-9a-f]{64})")


def forgotten_since(place: Repository, before: Sequence[Snapshot]) -> list[Snapshot]:
    """Given snapshots that were there, return those that a run has forgotten since, as its journal says."""
    left = [s for s in before if not s.path.exists()]
    if not left:
        return []
    said = forgotten_snapshots(list_runs(journals(place.runs_folder)))
    return [s for s in left if (s.host, s.id) in said]


def still_true(place: Repository, problems: Sequence[Problem], gone: Sequence[Snapshot]) -> list[Problem]:
    """Given what a verification found, and what was forgotten meanwhile, return what is damage all the same.

    With a snapshot go its files, and with `prune` the objects that no other one names.
    """
    folders = tuple(f"snapshots/{s.host}/{s.id}/" for s in gone)
    kept = [p for p in problems if not p.place.startswith(folders)]
    lost = {
        match[1]: p
        for p in kept
        if (match := _OBJECT.fullmatch(p.place)) and not place.object_path(match[1]).exists()
    }
    if not lost:
        return kept
    named = set[str]()
    for snapshot in place.snapshots():
        with suppress(RepositoryError):
            named |= {e.sha256 for e in snapshot.manifest.entries}
    pruned = {p.place for sha256, p in lost.items() if sha256 not in named}
    return [p for p in kept if p.place not in pruned]

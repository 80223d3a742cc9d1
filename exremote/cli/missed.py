"""What the journals say was written into a repository, and is not there. It reads no file of a snapshot."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from exremote.errors import IntegrityError
from exremote.journal import checked, journals, list_runs, unaccounted
from exremote.repository import Repository, Snapshot


def gone(place: Repository, every: Sequence[Snapshot]) -> list[dict[str, str]]:
    """Given all snapshots, return as damage those that a run committed, nobody forgot, and are not there."""

    def lost(present: Sequence[Snapshot]) -> list[tuple[str, str]]:
        return unaccounted(list_runs(journals(place.runs_folder)), {(s.host, s.id) for s in present})

    found = lost(every)
    if found:  # or committed by a run since we looked
        found = [key for key in lost(place.snapshots()) if key in found]
    message = "is missing: a run committed it, and nobody forgot it"
    return [
        {"place": f"snapshots/{host}/{id_}", "problem": message, "expected": "", "actual": ""}
        for host, id_ in found
    ]


def unchecked(place: Repository, every: Sequence[Snapshot]) -> list[dict[str, str]]:
    """Given all snapshots, return as damage the checks of them that a run made, and that are not there."""
    runs = checked(list_runs(journals(place.runs_folder)))
    found = []
    for snapshot in every:
        made = (
            runs.get((snapshot.host, snapshot.id), []) if snapshot.path.exists() else []
        )  # or just forgotten
        with suppress(IntegrityError):  # which says more, and was said
            there = {check.run for check in place.checks(snapshot, parts=True)} if made else set()
            if lost := [run for run in made if run not in there]:
                told = f"lacks the check that run {lost[0]} made" + (
                    f", and {len(lost) - 1} more" * (len(lost) > 1)
                )
                record = {"place": f"checks/{snapshot.host}/{snapshot.id}.jsonl", "problem": told}
                found.append({**record, "expected": "", "actual": ""})
    return found

"""What earlier runs say: how long services stood, and what they did that can be undone. It reads journals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from exremote.changes import ChangePlan
from exremote.errors import PlanRefused
from exremote.journal import Event, RunRecord, is_of, journals, read_run
from exremote.restore.aim import ServiceAim
from exremote.runner import standing

VERBS = ("restore", "undo", "recover")
PLANNED = "planned"
"""Said of a host when its plan is made; what is done by it comes behind."""
CLEARED = "cleared"
"""Said when what was only there for a deed was taken away."""
DRILLING = "drilling"
"""Said when a drill begins to make a folder and a key."""
DRILL_CLEARED = "drill-cleared"
"""Said when these two are gone."""
LISTS_LEFT = "lists-left"
"""Said of an item whose access lists were not all set."""
WORK_FILES_LEFT = "work-files-left"
"""Said of an item whose work files were not all erased."""
_LOOKED_AT = 200
"""How many journals of runs that change hosts are looked at, however many other runs were since."""


@dataclass(frozen=True, slots=True)
class Undoable:
    """What a run did on one host, and what it had saved before."""

    host: str
    """the host's name in the inventory"""
    plan: ChangePlan
    """what was carried out, wholly or in part"""
    safety: tuple[str, ...]
    """HOST/ID of the snapshots that were taken before"""
    services: Mapping[str, ServiceAim]
    """as they were found"""


def changing_runs(folder: Path, verbs: Sequence[str] = VERBS) -> Iterator[RunRecord]:
    """Given the folder of journals, yield the last runs of these verbs, the newest first."""
    paths = (path for path in journals(folder) if is_of(path, *verbs))
    yield from map(read_run, islice(paths, _LOOKED_AT))


def last_down_s(folder: Path, host: str) -> float | None:
    """Given the folder of journals and a host, return for how long its services stood last, in seconds."""
    for record in changing_runs(folder):
        began = ended = None
        with suppress(OSError, ValueError):
            for event in record.events:
                if event.fields.get("host") != host:
                    continue
                if event.kind == standing.FOUND:
                    began = event.at
                elif event.kind == standing.BACK and event.fields.get("of") == record.run_id:
                    ended = event.at
        if began is not None and ended is not None:
            return (ended - began).total_seconds()
    return None


def scratch_left(folder: Path, host: str) -> list[str]:
    """Given the folder of journals and a host, return the folders on it that killed runs have left."""
    left: dict[str, None] = {}
    gone: set[str] = set()
    for record in changing_runs(folder):
        made: dict[str, None] = {}
        with suppress(OSError, ValueError):  # gone or changed since, or of another version: it stops nobody
            for event in record.events:
                if event.fields.get("host") != host:
                    continue
                if event.kind == "safety":
                    plan = ChangePlan.from_json(event.fields.get("plan"))
                    made |= dict.fromkeys(f for swap in plan.swaps for f in (swap.staging, swap.aside))
                elif event.kind == CLEARED:
                    folders = event.fields.get("folders")
                    gone |= set(map(str, folders)) if isinstance(folders, list) else set()
        left |= {name: None for name in made if name not in gone}
    return list(left)


def drills_left(folder: Path, host: str) -> dict[tuple[str, str], str]:
    """Given the folder of journals and a host, return what drills made on it and did not take away again:
    folder and key, and whose snapshots were tried there. A drill that still runs is among them.
    """
    left: dict[tuple[str, str], str] = {}
    gone: set[tuple[str, str]] = set()
    for record in changing_runs(folder, ("drill",)):
        made: dict[tuple[str, str], str] = {}
        cleared: set[tuple[str, str]] = set()
        stays: set[str] = set()
        with suppress(OSError, ValueError):  # gone or changed since: it stops nobody
            for event in record.events:
                if event.fields.get("host") != host:
                    continue
                place = (str(event.fields.get("folder")), str(event.fields.get("key")))
                if event.kind == DRILLING:
                    made[place] = str(event.fields.get("of"))
                elif event.kind == DRILL_CLEARED:
                    made.pop(place, None)
                    cleared.add(place)
                elif event.kind == "left-behind":
                    stays.add(str(event.fields.get("path")))
                elif event.kind == "drilled":  # an older exremote says no more than that
                    made = {p: of for p, of in made.items() if of != event.fields.get("of") or p[0] in stays}
        left |= {place: of for place, of in made.items() if place not in gone}
        gone |= cleared | set(made)
    return left


def saved_in(safety: Event) -> tuple[str, ...]:
    """Given the event that says what was saved before a deed, return HOST/ID of each snapshot."""
    names = safety.fields.get("snapshots")
    return tuple(map(str, names)) if isinstance(names, list) else ()


def undoable(record: RunRecord) -> list[Undoable]:
    """Given a run, return what it changed, or began to, by host.

    Raise PlanRefused if its journal cannot be trusted, or it changed nothing.
    """
    if record.verb not in VERBS:
        raise PlanRefused(
            f"The run {record.run_id} is a {record.verb or 'run of an unknown kind'}: it changed no server.",
            "`exremote runs` lists the runs.",
        )
    if not record.intact:
        raise PlanRefused(
            f"The journal of {record.run_id} is damaged: {record.problem}.",
            "Restore a snapshot instead; those that it had made before stand in `exremote snapshots`.",
        )
    plans: dict[str, tuple[ChangePlan, tuple[str, ...]]] = {}
    found: dict[str, dict[str, ServiceAim]] = {}
    for event in record.events:
        host = str(event.fields.get("host", ""))
        if event.kind == "safety":
            try:
                plan = ChangePlan.from_json(event.fields.get("plan"))
            except ValueError as error:
                raise PlanRefused(
                    f"The run {record.run_id} was made by another version: {error}.",
                    "Undo it with the exremote that made it, or restore a snapshot.",
                ) from None
            plans[host] = (plan, saved_in(event))
        elif event.kind == standing.FOUND:
            pairs = standing.services_in(event.fields.get("services"))
            found[host] = {name: ServiceAim(state, mode) for name, (state, mode) in pairs.items()}
    # What was only proven cannot be undone.
    plans = {host: one for host, one in plans.items() if not one[0].only_proves}
    if not plans:
        raise PlanRefused(
            f"The run {record.run_id} changed nothing on any host.", "`exremote runs RUN` says what it did."
        )
    return [Undoable(host, plan, safety, found.get(host, {})) for host, (plan, safety) in plans.items()]

"""What runs that broke off owe a host, and what no look at it shows: it stands in their journals alone.

A file that lies in its place says nothing of the work files that were to be erased behind it, of the person
who was to be asked, or of the proof. The next plan takes it up. It reads journals.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from exremote.changes import ChangePlan, Confirm, EraseWorkFiles, Prove, SetAccessLists, SetValues, SwapFiles
from exremote.journal import Event, RunRecord
from exremote.restore import history
from exremote.restore.history import PLANNED, changing_runs


@dataclass(frozen=True, slots=True)
class Owed:
    """What earlier runs left undone on one host."""

    lists: frozenset[str] = frozenset()
    """items of which files were sent, or may have been, without all their access lists: such a file has, till
    then, the one that its staging folder handed down, which looks as if it inherited from where it lies"""
    work_files: Mapping[str, str] = field(default_factory=dict)
    """by item: the run that put something in place and did not erase the work files"""
    people: Mapping[str, str] = field(default_factory=dict)
    """by name of what a person is asked: the run that changed something and did not come to ask"""
    proof: Mapping[str, str] = field(default_factory=dict)
    """by connector: the run that changed something and did not come to its proof"""
    broken: str = ""
    """the newest run that changed something and did not come to its end; empty if none did, or all of them
    were undone since"""
    damaged: tuple[str, ...] = ()
    """runs whose journals are damaged, if no later one came to its end here: what they owe nobody can tell"""


@dataclass(slots=True)
class _Deed:
    """What one run did on the host, as far as its journal has it."""

    run: RunRecord
    at: datetime
    plan: ChangePlan
    begun: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    safety: tuple[str, ...] = ()
    """HOST/ID of what was saved before"""
    lists_left: set[str] = field(default_factory=set)
    work_left: set[str] = field(default_factory=set)

    @property
    def changed(self) -> bool:
        """Return whether something may lie there that was not there before."""
        steps = self.plan.steps
        return any(isinstance(steps[n - 1], SwapFiles | SetValues) for n in self.begun if n <= len(steps))

    @property
    def items(self) -> set[str]:
        """Return the items that it was to change."""
        return {step.item for step in self.plan if isinstance(step, SwapFiles | SetValues)}

    @property
    def ended(self) -> bool:
        """Return whether it came to its last step's end; what that found is another matter."""
        return len(self.plan.steps) in self.done

    @property
    def undid(self) -> bool:
        """Return whether it was an undo that came to its end."""
        return self.run.verb == "undo" and self.ended


def owed(folder: Path, host: str, before: str = "") -> Owed:
    """Given the folder of journals and a host, return what earlier runs owe it.

    `before`: a run; only what was done before it counts. An undo that came to its end ends what was owed by
    the run that it undid, and by those between that changed nothing else: that is as it was before.
    """
    lists: dict[str, bool] = {}
    work: dict[str, str] = {}
    people: dict[str, str] = {}
    proof: dict[str, str] = {}
    broken: str | None = None
    deeds, damaged = _deeds(folder, host, before)
    undone = _all_undone(deeds, host)
    for place, deed in enumerate(deeds):
        _note_lists(lists, deed)
        if place in undone:
            continue
        if broken is None and not deed.undid and (deed.ended or deed.changed):
            broken = "" if deed.ended else deed.run.run_id
        for number, step in enumerate(deed.plan, start=1):
            left = "" if number in deed.done else deed.run.run_id
            if left and not deed.changed:
                continue
            match step:
                case EraseWorkFiles():
                    work.setdefault(step.item, deed.run.run_id if step.item in deed.work_left else left)
                case Confirm():
                    people.setdefault(step.name, left)
                case Prove():
                    for connector in step.connectors:
                        proof.setdefault(connector, left)
                case _:
                    pass
    return Owed(
        frozenset(item for item, well in lists.items() if not well),
        {name: run for name, run in work.items() if run},
        {name: run for name, run in people.items() if run},
        {name: run for name, run in proof.items() if run},
        broken or "",
        tuple(damaged),
    )


def saved_before(folder: Path, host: str) -> dict[str, str]:
    """Given the folder of journals and a host, return by HOST/ID what an undo of a run that broke off takes
    from, with that run. One that came to its end behind it settles what it left.
    """
    found: dict[str, str] = {}
    deeds, _ = _deeds(folder, host, "")
    undone = _all_undone(deeds, host)
    for deed in (deed for place, deed in enumerate(deeds) if place not in undone and not deed.undid):
        if deed.ended:
            break
        if deed.changed:
            found |= dict.fromkeys(deed.safety, deed.run.run_id)
    return found


def _all_undone(deeds: list[_Deed], host: str) -> set[int]:
    """Given deeds, the newest first, return the places of those that are as if they had not been."""
    undone: set[int] = set()
    for place, deed in enumerate(deeds):
        if deed.undid and place not in undone:
            undone |= _undone(deeds, place, host)
    return undone


def _undone(deeds: list[_Deed], place: int, host: str) -> set[int]:
    """Given deeds, the newest first, and the place of an undo, return the places of those that it made as if
    they had not been: the one that it undid, and of those between each that changed nothing else.
    """
    subjects = deeds[place].run.start.get("subjects")
    named = subjects.get(host) if isinstance(subjects, Mapping) else None
    undid = str(named[0]) if isinstance(named, list) and named else ""
    behind = range(place + 1, len(deeds))
    last = next((n for n in behind if deeds[n].run.run_id == undid), None)
    if last is None:
        return set()  # its journal is gone: what the undo itself did settles what it can
    return {n for n in range(place + 1, last + 1) if deeds[n].items <= deeds[last].items}


def _deeds(folder: Path, host: str, before: str) -> tuple[list[_Deed], list[str]]:
    """Return what earlier runs did on a host, the newest first, and runs that may have done something, for
    their journals are damaged.

    Names do not say which of two runs of one second was first; their plans do: a host has one run at a time.
    """
    deeds: list[_Deed] = []
    damaged: list[tuple[datetime, str]] = []
    for record in changing_runs(folder):
        command = record.start.get("command")  # verb and hosts
        named = isinstance(command, list) and host in command
        if not record.intact and record.started is not None and named:
            damaged.append((record.started, record.run_id))
        own: list[_Deed] = []
        with suppress(OSError, ValueError):  # gone or changed since, or of another version: it stops nobody
            for event in record.events:
                if event.fields.get("host") != host:
                    continue
                if event.kind == PLANNED:  # a recovery can come to a plan more than once
                    own.append(_Deed(record, event.at, ChangePlan(host, "", "restore", (), ())))
                elif own:
                    _take(own[-1], event)
        deeds += [deed for deed in own if deed.plan.steps]
    deeds.sort(key=lambda deed: deed.at, reverse=True)
    until = next((n for n, deed in enumerate(deeds) if deed.run.run_id == before), -1)
    found = [deed for deed in deeds[until + 1 :] if deed.run.run_id != before]
    well = max((deed.at for deed in found if deed.ended), default=None)
    return found, [run for at, run in damaged if well is None or at > well]


def _take(deed: _Deed, event: Event) -> None:
    number, item = event.fields.get("number"), str(event.fields.get("item"))
    match event.kind:
        case "safety":  # one that waited for services to stand comes behind the first steps
            deed.plan = ChangePlan.from_json(event.fields.get("plan"))
            deed.safety = history.saved_in(event)
        case "step-started" | "step-finished" if isinstance(number, int):
            (deed.begun if event.kind == "step-started" else deed.done).add(number)
        case history.LISTS_LEFT:
            deed.lists_left.add(item)
        case history.WORK_FILES_LEFT:
            deed.work_left.add(item)
        case _:
            pass


def _note_lists(last: dict[str, bool], deed: _Deed) -> None:
    """Given what newer runs say of each item, add what this one says: whether all lists of it were set."""
    numbered = enumerate(deed.plan, start=1)
    steps = {step.item: number for number, step in numbered if isinstance(step, SetAccessLists)}
    # Where lists could not be read no step sets any.
    sent = {s.item for s in deed.plan.swaps if any(f.what in ("new", "changed") for f in s.files)}
    for item in sent.union(steps):
        last.setdefault(item, steps.get(item) in deed.done and item not in deed.lists_left)

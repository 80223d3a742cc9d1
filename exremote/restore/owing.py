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


@dataclass(slots=True)
class _Deed:
    """What one run did on the host, as far as its journal has it."""

    run: RunRecord
    at: datetime
    plan: ChangePlan
    begun: set[int] = field(default_factory=set)
    done: set[int] = field(default_factory=set)
    lists_left: set[str] = field(default_factory=set)
    work_left: set[str] = field(default_factory=set)

    @property
    def changed(self) -> bool:
        """Return whether something may lie there that was not there before."""
        steps = self.plan.steps
        return any(isinstance(steps[n - 1], SwapFiles | SetValues) for n in self.begun if n <= len(steps))

    @property
    def ended(self) -> bool:
        """Return whether it came to its last step's end; what that found is another matter."""
        return len(self.plan.steps) in self.done


def owed(folder: Path, host: str, before: str = "") -> Owed:
    """Given the folder of journals and a host, return what earlier runs owe it.

    `before`: a run; only what was done before it counts. An undo that came to its end ends what was owed by
    the run that it undid, and by those between: all is as it was before that one.
    """
    lists: dict[str, bool] = {}
    work: dict[str, str] = {}
    people: dict[str, str] = {}
    proof: dict[str, str] = {}
    broken: str | None = None
    until = ""
    for deed in _deeds(folder, host, before):
        _note_lists(lists, deed)
        if until:
            until = "" if deed.run.run_id == until else until
            continue
        if deed.run.verb == "undo" and deed.ended:
            until = _undid(deed.run, host)
        elif broken is None and (deed.ended or deed.changed):
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
    )


def _undid(run: RunRecord, host: str) -> str:
    """Given an undo, return the run that it undid on a host; what no run is called if it does not say."""
    subjects = run.start.get("subjects")
    named = subjects.get(host) if isinstance(subjects, Mapping) else None
    return str(named[0]) if isinstance(named, list) and named else "unknown"


def _deeds(folder: Path, host: str, before: str) -> list[_Deed]:
    """Return what earlier runs did on a host, the newest first.

    Names do not say which of two runs of one second was first; their plans do: a host has one run at a time.
    """
    deeds: list[_Deed] = []
    for record in changing_runs(folder):
        found: list[_Deed] = []
        with suppress(OSError, ValueError):  # gone or changed since, or of another version: it stops nobody
            for event in record.events:
                if event.fields.get("host") != host:
                    continue
                if event.kind == PLANNED:  # a recovery can come to a plan more than once
                    found.append(_Deed(record, event.at, ChangePlan(host, "", "restore", (), ())))
                elif found:
                    _take(found[-1], event)
        deeds += [deed for deed in found if deed.plan.steps]
    deeds.sort(key=lambda deed: deed.at, reverse=True)
    until = next((n for n, deed in enumerate(deeds) if deed.run.run_id == before), -1)
    return [deed for deed in deeds[until + 1 :] if deed.run.run_id != before]


def _take(deed: _Deed, event: Event) -> None:
    number, item = event.fields.get("number"), str(event.fields.get("item"))
    match event.kind:
        case "safety":  # one that waited for services to stand comes behind the first steps
            deed.plan = ChangePlan.from_json(event.fields.get("plan"))
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

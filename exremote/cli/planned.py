"""Plans that change hosts: shown to a person, kept in a file until they are approved. It changes nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from exremote.changes import (
    UNREAD,
    ChangePlan,
    MakeFolders,
    RemoveFolders,
    SetAccessLists,
    SetValues,
    SwapFiles,
)
from exremote.connector import below
from exremote.errors import PlanRefused, UsageError
from exremote.facts import INHERIT
from exremote.report import Report, size_text
from exremote.repository import Repository
from exremote.restore.history import last_down_s
from exremote.wording import count_text

SHOWN = 40
"""How many files of an item a person is shown."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class PlanFile:
    """Plans of one command, and what it was asked for."""

    repository: str
    """id of the repository that the snapshots lie in"""
    verb: Literal["restore", "undo"]
    """which command"""
    names: list[str]
    """HOST/ID of each snapshot"""
    items: list[str]
    """only these items; empty for all"""
    to: str | None
    """another host than the snapshot's own"""
    in_transit: bool
    """messages on their way, too"""
    service_deadline: int | None
    """how long one stop or start may take at most, in seconds"""
    plans: list[ChangePlan]
    """one a host"""

    @property
    def options(self) -> list[str]:
        """Return what it was asked for besides the snapshots, as a command line has it."""
        found = [text for item in self.items for text in ("--item", item)]
        found += ["--to", self.to] if self.to is not None else []
        found += ["--in-transit"] if self.in_transit else []
        return found + (["--service-deadline", str(self.service_deadline)] if self.service_deadline else [])


@dataclass(frozen=True, slots=True)
class _Head:
    format: int
    repository: str
    verb: Literal["restore", "undo"]
    snapshots: list[str]
    items: list[str]
    to: str | None
    in_transit: bool
    service_deadline: int | None
    plans: list[dict[str, Any]]
    sha256: str


def _digest(said: Mapping[str, Any]) -> str:
    """Return the digest of all that a file says: that of a plan leaves out what is volatile."""
    whole = {key: value for key, value in said.items() if key != "sha256"}
    text = json.dumps(whole, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def write_plans(path: Path, head: PlanFile, plans: Sequence[ChangePlan]) -> None:
    """Given a new file and plans, write them. Raise UsageError if the file is there, or cannot be written."""
    said = {
        "format": FORMAT,
        "repository": head.repository,
        "verb": head.verb,
        "snapshots": head.names,
        "items": head.items,
        "to": head.to,
        "in_transit": head.in_transit,
        "service_deadline": head.service_deadline,
        "plans": [plan.to_json() for plan in plans],
    }
    text = json.dumps({**said, "sha256": _digest(said)}, indent=1)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text + "\n")
    except FileExistsError:
        raise UsageError(f"{path} is there already.", "Name a new file: an approved plan is kept.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}.", "Name another file.") from None


def read_plans(path: Path, place: Repository, verb: str) -> PlanFile:
    """Given a file that `write_plans` wrote, return it.

    Raise UsageError if it cannot be read or is no plan at all, PlanRefused if it is none for this repository
    and command, is of another version, or was edited.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}.", "--save-plan FILE writes one."
        ) from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is no plan: {error}.", "--save-plan FILE writes one.") from None
    if not isinstance(data, dict) or "format" not in data:
        raise UsageError(f"{path} is no plan.", "--save-plan FILE writes one.")
    if data["format"] != FORMAT:
        raise PlanRefused(
            f"{path} is a plan of version {data['format']!r}, and this exremote knows {FORMAT}.",
            "Make the plan again with --save-plan.",
        )
    try:
        head = TypeAdapter(_Head).validate_python(data)
        plans = [ChangePlan.from_json(one) for one in head.plans]
    except ValidationError as error:
        first = error.errors()[0]
        place_of = ".".join(map(str, first["loc"]))
        raise PlanRefused(f"{path}: {place_of}: {first['msg']}.", "Make the plan again.") from None
    except ValueError as error:
        raise PlanRefused(f"{path}: {error}.", "Make the plan again with --save-plan.") from None
    if head.sha256 != _digest(data):
        raise PlanRefused(
            f"{path}: its digest is not that of what it says: it was edited.",
            "Make the plan again with --save-plan.",
        )
    if head.repository != place.id:
        raise PlanRefused(
            f"{path} was made for another repository.", "Name that one with --repository, or plan again."
        )
    if head.verb != verb:
        raise PlanRefused(f"{path} is a plan of `exremote {head.verb}`.", f"Use `exremote {head.verb}`.")
    return PlanFile(
        head.repository,
        head.verb,
        head.snapshots,
        head.items,
        head.to,
        head.in_transit,
        head.service_deadline,
        plans,
    )


def show_plans(report: Report, plans: Sequence[ChangePlan], place: Repository) -> None:
    """Given plans, show each: what is stopped, what changes, from what to what, and how much is sent."""
    for plan in plans:
        report.item(
            f"{plan.host}: plan {plan.digest[:12]} ({plan.verb} from {', '.join(plan.sources)})", "bold"
        )
        for line in _lines(plan, place):
            report.item(f"  {line}")


def _lines(plan: ChangePlan, place: Repository) -> Iterator[str]:
    if not plan.steps:
        yield "nothing differs: nothing to do"
    stops = [stop.service for stop in plan.stops]
    if stops:
        last = last_down_s(place.runs_folder, plan.host)
        before = f"; the last time they were down for {last:.0f} s" if last is not None else ""
        yield f"will stop {', '.join(stops)}{before}"
    if plan.bytes_to_send:
        yield f"will send at most {size_text(plan.bytes_to_send)}, before compression"
    for number, step in enumerate(plan.steps, start=1):
        yield f"{number}. {step.describe()}"
        match step:
            case SwapFiles():
                yield from _files(step)
            case MakeFolders() | RemoveFolders():
                yield from _folders(step)
            case SetAccessLists():
                yield from _lists(step)
            case SetValues():
                yield from _values(step)
            case _:
                pass
    for note in plan.notes:
        yield f"note: {note}"


def _files(step: SwapFiles) -> Iterator[str]:
    for change in step.files[:SHOWN]:
        now = "unreadable now" if change.was == UNREAD else change.was[:12] or "nothing"
        then = change.will[:12] or "moved aside"
        volatile = ", volatile" if change.volatile else ""
        if change.what == "dressed":
            yield f"     time or attributes of {below(step.root, change.path)} ({now} stays{volatile})"
            continue
        yield f"     {change.what} {below(step.root, change.path)} ({now} -> {then}{volatile})"
    if len(step.files) > SHOWN:
        yield f"     and {count_text(len(step.files) - SHOWN, 'more file')}; --json has them all"


def _folders(step: MakeFolders | RemoveFolders) -> Iterator[str]:
    what = "new folder" if isinstance(step, MakeFolders) else "removed, if it is empty,"
    for path in step.folders[:SHOWN]:
        yield f"     {what} {below(step.root, path)}"
    if len(step.folders) > SHOWN:
        yield f"     and {count_text(len(step.folders) - SHOWN, 'more folder')}; --json has them all"


def _lists(step: SetAccessLists) -> Iterator[str]:
    anew = "set anew for the file is sent, or was by a run that was broken off"
    same = [change for change in step.lists if change.was == change.will == INHERIT]
    shown = [change for change in step.lists if len(same) == 1 or change not in same]
    for change in shown[:SHOWN]:
        place = below(step.root, change.path) if change.path else step.root
        now = {"": "nothing is there", INHERIT: "inherits all"}.get(change.was, change.was)
        then = "inherits all" if change.will == INHERIT else change.will
        if change.was == change.will:
            then = f"the same, {anew}"
        yield f"     {place}: {now} -> {then}"
    if len(shown) > SHOWN:
        yield f"     and {count_text(len(shown) - SHOWN, 'more access list')}; --json has them all"
    if len(same) > 1:
        yield f"     {count_text(len(same), 'file')}: inherits all -> the same, {anew}"


def _values(step: SetValues) -> Iterator[str]:
    for value in step.values:
        name = value.name or "(default)"
        yield f"     {value.key}, {name}: {value.was or 'nothing'} -> {value.will or 'removed'}"

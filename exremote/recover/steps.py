"""A recovery as plain values: what the lost server was, the nine steps, and what proved each of them.

It never acts and never asks. A plan is made once, at the beginning, and stands in the journal: what is done
days later is what was shown then.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

FORMAT = 1
"""Version of the JSON form; a plan of another version is refused."""

Who = Literal["machine", "person"]
_STRICT = ConfigDict(extra="forbid", strict=False)


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Evidence:
    """One thing that was looked at for a step, and what came of it."""

    what: str
    """what was looked at, in a few words"""
    verdict: Literal["ok", "wrong", "unknown"]
    """`unknown`: nobody could tell; it stops nothing, and is said"""
    said: str
    """what was found, in a sentence"""
    remedy: str = ""
    """what to do if it is wrong"""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Question:
    """Something that is asked of the person besides whether it is done."""

    name: str
    """a word by which it is answered"""
    text: str
    """the question, to be answered with yes or no"""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Step:
    """One step of the recovery."""

    name: str
    """a word by which it is called and confirmed"""
    tip: int
    """which of the tip's nine steps (KB 328835) it belongs to"""
    who: Who
    """who does it"""
    title: str
    """what is done, in a line"""
    text: tuple[str, ...] = ()
    """what a person does, in order; each a sentence or a command"""
    facts: tuple[tuple[str, str], ...] = ()
    """what is to be so, and how: `Windows folder`, `C:\\WINNT`"""
    checked: tuple[str, ...] = ()
    """what exremote looks at by itself when it is said to be done; empty: no machine can tell"""
    asks: tuple[Question, ...] = ()
    """what is asked besides"""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Original:
    """What the lost server was, as its snapshots have it. Empty texts are unknown."""

    computer_name: str
    """NetBIOS name"""
    source: str
    """HOST/ID of the snapshot that says so"""
    as_of: datetime
    """when that was"""
    domain: str = ""
    """its DNS suffix"""
    os_version: str = ""
    """e.g. `5.2.3790`"""
    service_pack: str = ""
    """of Windows"""
    role: str = ""
    """`server`, `domain controller`, ..."""
    system_root: str = ""
    """the Windows folder"""
    drives: tuple[str, ...] = ()
    r"""fixed drives, as `C:\`"""
    exchange_folder: str = ""
    """where Exchange is installed"""
    exchange_build: str = ""
    """as its setup noted it"""
    services: tuple[str, ...] = ()
    """services of its connectors, those that ran"""
    registered: tuple[str, ...] = ()
    """services of its connectors, all of them"""
    storage_groups: tuple[str, ...] = ()
    """names of its storage groups"""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Saved:
    """A snapshot that the recovery stands on."""

    of: str
    """a connector's name, `systemstate` or `storagegroups`"""
    snapshot: str
    """HOST/ID, or HOST/FULL+TABLES"""
    as_of: datetime
    """when the host was last known to be so"""
    files: int
    """how many"""
    bytes: int
    """how many"""
    whole_set: bool = False
    """of `systemstate`: the volumes of Windows are in the same job"""
    names: tuple[str, ...] = ()
    """of what ntbackup saved: its .bkf"""
    away: tuple[str, ...] = ()
    """where those of them were on the lost server whose content is not in the repository"""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class RecoveryPlan:
    """The recovery of one server."""

    host: str
    """its name in the inventory"""
    original: Original
    """what it was"""
    saved: tuple[Saved, ...]
    """what it is recovered from, connectors first"""
    folder: str
    """the folder on the new machine that gets what a person needs at the console"""
    steps: tuple[Step, ...]
    """in their order"""
    after: tuple[str, ...] = ()
    """hosts that are recovered before this one"""
    notes: tuple[str, ...] = ()
    """what the operator should know and no step says"""

    @property
    def connectors(self) -> tuple[Saved, ...]:
        """Return the snapshots of connectors."""
        return tuple(one for one in self.saved if one.of not in ("systemstate", "storagegroups"))

    def part(self, name: str) -> Saved | None:
        """Given `systemstate` or `storagegroups`, return its snapshot, or None if there is none."""
        return next((one for one in self.saved if one.of == name), None)

    def step(self, name: str) -> Step | None:
        """Given a step's name in any case, return it, or None if the plan has none of it."""
        return next((step for step in self.steps if step.name == name.casefold()), None)

    def place(self, name: str) -> str:
        """Given a step's name, return where it stands: `5 of 10 (tip step 5)`; empty if it is none of it."""
        return place_in(self.steps, name)

    @property
    def digest(self) -> str:
        """SHA-256 of the plan: its identity."""
        text = json.dumps(self._plain(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def _plain(self) -> dict[str, Any]:
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self), default=_moment))
        return plain

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object, with its digest."""
        return {"format": FORMAT, "digest": self.digest, **self._plain()}

    @classmethod
    def from_json(cls, data: object) -> RecoveryPlan:
        """Given what `to_json` made, return the plan. Raise ValueError if it is not one, or was edited."""
        if not isinstance(data, Mapping):
            raise ValueError("a plan is an object")
        if data.get("format") != FORMAT:
            raise ValueError(f"it is of version {data.get('format')!r}, and this exremote knows {FORMAT}")
        rest = {key: value for key, value in data.items() if key not in ("format", "digest")}
        try:
            plan: RecoveryPlan = TypeAdapter(cls).validate_python(rest)
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        if plan.digest != data.get("digest"):
            raise ValueError("its digest is not that of its steps: it was edited")
        return plan

    def describe(self) -> Sequence[str]:
        """Return the plan as lines for the operator."""
        lines = [
            f"{self.place(step.name)}, {'you' if step.who == 'person' else 'exremote'}: {step.title} "
            f"[{step.name}]"
            for step in self.steps
        ]
        return lines + [f"note: {note}" for note in self.notes]


def place_in(steps: Sequence[Step], name: str) -> str:
    """Given a plan's steps and the name of one, return where it stands in the plan and in the tip, for the
    two count differently: `5 of 10 (tip step 5)`. Empty if it is none of them.
    """
    for number, step in enumerate(steps, start=1):
        if step.name == name:
            last = steps[number].tip - 1 if number < len(steps) else step.tip
            tip = f"steps {step.tip}-{last}" if last > step.tip else f"step {step.tip}"  # one for 1 to 3
            return f"{number} of {len(steps)} (tip {tip})"
    return ""


def _moment(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in a plan")


def evidence_to_json(found: Sequence[Evidence]) -> list[dict[str, str]]:
    """Given evidence, return it as plain values."""
    return [asdict(one) for one in found]


def evidence_from_json(data: object) -> tuple[Evidence, ...]:
    """Given what `evidence_to_json` made, return it. Raise ValueError if it is no such list."""
    try:
        return tuple(TypeAdapter(tuple[Evidence, ...]).validate_python(data))
    except ValidationError as error:
        raise ValueError("no evidence") from error

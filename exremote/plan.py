"""Plans: deeds as plain values. A plan never acts and never asks; the runner does.

Every step is a frozen data class of strings and numbers, so that a plan is JSON and comes back
from it, and its digest is its identity. The list of step kinds is closed: `assert_never` in the
runner sees to it that none is forgotten.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, ClassVar

from pydantic import TypeAdapter, ValidationError

from exremote.wording import count_text

FORMAT = 1


@dataclass(frozen=True, slots=True)
class CopyTree:
    """Copy all files below one root, except what is left out on purpose."""

    kind: ClassVar[str] = "copy-tree"

    item: str
    """Name of the item in the connector file, e.g. `conndata`."""
    connectors: tuple[str, ...]
    """The connectors whose snapshots will name these files; shared trees are copied once."""
    root: str
    """Full path on the host."""
    exclude: tuple[str, ...] = ()
    """Patterns of files that are listed and not copied."""
    secret: tuple[str, ...] = ()
    """Patterns of files that only the owner may read in the repository."""
    digest: str = ""
    """The tree's digest as the facts gave it; identity of what will be copied."""
    files: int = 0
    """How many files the facts counted."""
    bytes: int = 0
    """Their size in bytes."""
    unchanged: bool = False
    """True if the last snapshot has this very digest: nothing will be sent."""
    because: str = ""
    """Why something is left out, if the connector file says more than that it is."""
    moving: bool = False
    """True if a file that is gone when it is to be read is no loss."""

    def describe(self) -> str:
        """Return one line for the operator."""
        state = "unchanged since the last snapshot" if self.unchanged else count_text(self.files, "file")
        return f"copy tree {self.item}: {self.root} ({state}, {count_text(self.bytes, 'byte')})"


@dataclass(frozen=True, slots=True)
class CopyFiles:
    """Copy single named files of one folder."""

    kind: ClassVar[str] = "copy-files"

    item: str
    """Name of the item in the connector file, e.g. `notes-ini`."""
    connectors: tuple[str, ...]
    """The connectors whose snapshots will name these files."""
    root: str
    """The folder on the host."""
    files: tuple[str, ...]
    """File names relative to the folder."""
    secret: bool = False
    """True if only the owner may read them in the repository."""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"copy files {self.item}: {', '.join(self.files)} of {self.root}"


@dataclass(frozen=True, slots=True)
class CopyRegistryKey:
    """Export one registry key as .reg text."""

    kind: ClassVar[str] = "copy-registry-key"

    item: str
    """Name of the item in the connector file."""
    connectors: tuple[str, ...]
    """The connectors whose snapshots will hold the export."""
    key: str
    r"""The key, e.g. `HKLM\SOFTWARE\Lotus\Notes`."""
    optional: bool = False
    """True if a host without this key is not incomplete."""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"export registry key {self.key}"


@dataclass(frozen=True, slots=True)
class CopyServiceStates:
    """Record what the facts say of the connector's services."""

    kind: ClassVar[str] = "copy-service-states"

    connectors: tuple[str, ...]
    """The connectors whose snapshots will hold the record."""
    services: tuple[str, ...]
    """Short names, in the order of start."""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"record service states: {', '.join(self.services)}"


@dataclass(frozen=True, slots=True)
class CopyDirectoryObject:
    """Read the connector's object of the directory, passwords left out."""

    kind: ClassVar[str] = "copy-directory-object"

    item: str
    """Name of the item in the connector file."""
    connectors: tuple[str, ...]
    """The connectors whose snapshots will hold the object."""
    object_class: str
    """Class of the object, e.g. `msExchGroupWiseConnector`."""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"read directory objects of class {self.object_class}"


@dataclass(frozen=True, slots=True)
class ListedItem:
    """One folder, or files of one, whose access lists are read."""

    item: str
    """Name of the item in the connector file."""
    connectors: tuple[str, ...]
    """The connectors whose snapshots will hold them."""
    root: str
    """The folder on the host."""
    only: tuple[str, ...] = ()
    """Files relative to it; nothing else there is looked at. Empty: all of it."""
    exclude: tuple[str, ...] = ()
    """Patterns of files whose lists do not count."""


@dataclass(frozen=True, slots=True)
class ReadAccessLists:
    """Read the access lists of what is copied, as far as they do not merely inherit: one question for all."""

    kind: ClassVar[str] = "read-access-lists"

    items: tuple[ListedItem, ...]
    """What is looked at."""
    connectors: tuple[str, ...]
    """The connectors whose snapshots will hold something of it."""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"read access lists: {', '.join(item.item for item in self.items)}"


@dataclass(frozen=True, slots=True)
class RunNtBackup:
    """Have ntbackup write one job's .bkf on the host, and copy that with its log. Or take over such a job."""

    kind: ClassVar[str] = "run-ntbackup"

    item: str
    """What it saves, `systemstate` or `storagegroups`."""
    connectors: tuple[str, ...]
    """The snapshot that will hold it."""
    name: str
    """The job's name."""
    folder: str
    """Its folder on the host; nothing else lies there."""
    lines: tuple[str, ...]
    """Of the selection file."""
    sets: tuple[str, ...]
    """What must be on the tape, one set each."""
    arguments: str
    """Everything behind the program's name."""
    start: str
    """How it is started: `wmi`, `direct`, `system` or `task`."""
    stall_s: float
    """Seconds without growth of the .bkf after which it counts as hanging, and is ended."""
    adopt: bool = False
    """True if the job is there already: a run that was broken off had started it."""
    clear: str = ""
    """Name of an old job whose files are removed first; '' if there is none."""
    keep_in: str = ""
    """The folder on the host or on a share where its .bkf stays; '' if it comes home."""
    task: str = ""
    """The scheduled task that starts it; '' if none is there for that."""

    @property
    def on_share(self) -> bool:
        """Return whether ntbackup writes the .bkf to another computer."""
        return self.keep_in.startswith("\\\\")

    @property
    def tape_folder(self) -> str:
        """Return where ntbackup writes the .bkf."""
        return self.keep_in if self.on_share else self.folder

    def describe(self) -> str:
        """Return one line for the operator."""
        deed = "take over job" if self.adopt else "run ntbackup, job"
        stays = f", the .bkf to stay in {self.keep_in}" if self.keep_in else ""
        if self.on_share:
            stays += " (room there: unknown)"
        return f"{deed} {self.name}: {', '.join(self.sets)} into {self.folder}{stays}"


@dataclass(frozen=True, slots=True)
class HeldTree:
    """One folder that services hold files of open, and where it is copied to while they stand."""

    item: str
    """Name of the item in the connector file."""
    root: str
    """Full path on the host."""
    staging: str
    """Full path of the folder for the copy, on the same host."""
    files: int
    """How many files the facts counted."""
    bytes: int
    """Their size in bytes."""


@dataclass(frozen=True, slots=True)
class CopyStopped:
    """Stop services, copy folders within the host, start the services again, then fetch the copies."""

    kind: ClassVar[str] = "copy-stopped"

    connectors: tuple[str, ...]
    """The connector whose snapshot will name these files."""
    trees: tuple[HeldTree, ...]
    """The folders."""
    services: tuple[str, ...]
    """Short names, in the order of start; they are stopped in reverse."""
    stop_s: tuple[int, ...]
    """How long each stop may take, in seconds."""
    start_s: int
    """How long one start may take at most, in seconds."""
    guard: str
    """Full path of the folder of the guard that starts them should this machine vanish; '': none can."""
    guard_s: int
    """After how long it does, in seconds."""
    programs: tuple[str, ...] = ()
    """Parts of command lines: a service that runs with one of them works on the folders, too."""

    def describe(self) -> str:
        """Return one line for the operator."""
        size = count_text(sum(tree.bytes for tree in self.trees), "byte")
        what = ", ".join(f"{tree.root} to {tree.staging}" for tree in self.trees)
        return f"stop {', '.join(self.services)}, copy {what} ({size}), start them, and fetch the copy"


Step = (
    CopyTree
    | CopyStopped
    | CopyFiles
    | CopyRegistryKey
    | CopyServiceStates
    | CopyDirectoryObject
    | ReadAccessLists
    | RunNtBackup
)
STEP_KINDS: Mapping[str, type[Step]] = {
    cls.kind: cls
    for cls in (
        CopyTree,
        CopyStopped,
        CopyFiles,
        CopyRegistryKey,
        CopyServiceStates,
        CopyDirectoryObject,
        ReadAccessLists,
        RunNtBackup,
    )
}


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(STEP_KINDS[kind])


def step_to_json(step: Step) -> dict[str, Any]:
    """Given a step, return it as a JSON object with its kind."""
    return {"kind": step.kind, **asdict(step)}


def step_from_json(data: Mapping[str, Any]) -> Step:
    """Given what `step_to_json` made, return the step. Raise ValueError if it is no known step."""
    kind = data.get("kind")
    cls = STEP_KINDS.get(str(kind))
    if cls is None:
        raise ValueError(f"unknown kind of step: {kind!r}")
    names = {field.name for field in fields(cls)}
    given = {key: value for key, value in data.items() if key != "kind"}
    if unknown := given.keys() - names:
        raise ValueError(f"step {kind}: unknown field {sorted(unknown)[0]!r}")
    try:
        step: Step = _adapter(str(kind)).validate_python(given)
    except ValidationError as error:
        first = error.errors()[0]
        said = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"step {kind}: {'.'.join(map(str, first['loc']))}: {said}") from error
    return step


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that a snapshot should hold and that this plan cannot take, with the reason."""

    connectors: tuple[str, ...]
    """The connectors whose snapshots lack it."""
    what: str
    """The item, as a person would name it."""
    reason: str
    """Why it cannot be taken."""
    essential: bool = True
    """False for what a restore can do without: it is noted, and the snapshot is complete all the same."""


@dataclass(frozen=True, slots=True)
class Plan:
    """An ordered list of steps for one host."""

    host: str
    """The host's name in the inventory."""
    connectors: tuple[str, ...]
    """The connectors that get a snapshot."""
    steps: tuple[Step, ...]
    """In the order in which they are done."""
    gaps: tuple[Gap, ...] = ()
    """What is known beforehand to be missing; the snapshots will say so and are incomplete."""

    @property
    def digest(self) -> str:
        """SHA-256 of the plan's JSON: two plans with the same digest are the same plan."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def describe(self) -> Sequence[str]:
        """Return the plan as lines for the operator."""
        lines = [step.describe() for step in self.steps]
        lines += [f"cannot take {gap.what} ({', '.join(gap.connectors)}): {gap.reason}" for gap in self.gaps]
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object."""
        return {
            "format": FORMAT,
            "host": self.host,
            "connectors": list(self.connectors),
            "steps": [step_to_json(step) for step in self.steps],
            "gaps": [asdict(gap) for gap in self.gaps],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Plan:
        """Given what `to_json` made, return the plan. Raise ValueError if it is not one."""
        if data.get("format") != FORMAT:
            raise ValueError(f"a plan of format {data.get('format')!r}, expected {FORMAT}")
        return cls(
            host=str(data["host"]),
            connectors=tuple(data["connectors"]),
            steps=tuple(step_from_json(step) for step in data["steps"]),
            gaps=tuple(
                Gap(tuple(g["connectors"]), g["what"], g["reason"], g["essential"]) for g in data["gaps"]
            ),
        )

"""Plans that change a host: what a restore does to it, as plain values. A plan never acts and never asks.

`plan` reads a host, this one changes it. It says of everything what is there now and what will be: a file by
its digest, a registry value by its text (a secret one never), a service by its state. Its digest is its
identity: whoever approved it approved exactly this. What a connector calls volatile (queues, live tables,
work files) is shown, and is no part of the identity: it changes between two looks at a healthy server.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from exremote.wording import count_text

FORMAT = 1
"""Version of the JSON form; a plan of another version is refused."""
UNREAD = "?"
"""Stands for the digest of a file that is there and could not be read."""
_STRICT = ConfigDict(extra="forbid", strict=False)


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class FileChange:
    """One file: what lies there now, and what will."""

    path: str
    r"""relative to the folder, with `\\`"""
    was: str
    """digest of what lies there now; empty if nothing does, `?` if it could not be read"""
    will: str
    """digest of what will lie there; empty if nothing will"""
    size: int = 0
    """bytes of what will lie there"""
    modified_ticks: int = 0
    """its last write time, in .NET ticks (100 ns since the year 1, UTC)"""
    attributes: int = 0
    """its Windows file attributes"""
    volatile: bool = False
    """the connector calls it volatile: that it changes again is no drift"""

    @property
    def what(self) -> Literal["new", "changed", "removed", "dressed"]:
        """Return in a word what happens: `dressed` means that only time or attributes are set."""
        if not self.will:
            return "removed"
        if not self.was:
            return "new"
        return "dressed" if self.was == self.will else "changed"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class ValueChange:
    """One registry value: what it is now, and what it will be."""

    key: str
    """full path of its key"""
    name: str
    """its name; empty for the default value"""
    was: str
    """kind and text as a person reads them; empty if it is not there, `(secret)` if nobody may see it"""
    will: str
    """the same for what it will be; empty if it is to be removed"""
    digest: str = ""
    """SHA-256 of kind and bytes of what it will be; empty for a secret one, and for one to be removed"""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class SendFiles:
    """Send files to a folder beside the target, and hold them against their digests there."""

    kind: ClassVar[str] = "send-files"

    item: str
    """name of the item in the connector file"""
    staging: str
    """the folder on the host; nothing else lies in it"""
    files: int
    """how many"""
    bytes: int
    """how many, before compression"""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"send {count_text(self.files, 'file')} of {self.item} ({self.bytes} bytes) to {self.staging}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class StopService:
    """Stop one service and wait until it has stopped."""

    kind: ClassVar[str] = "stop-service"

    service: str
    """short name"""
    deadline_s: int
    """how long it may take, in seconds"""
    why: str = ""
    """which items need it stopped"""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"stop service {self.service} (at most {self.deadline_s} s){self.why and f': {self.why}'}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class SwapFiles:
    """Put the sent files into their places, each old one moved aside first."""

    kind: ClassVar[str] = "swap-files"

    item: str
    """name of the item in the connector file"""
    root: str
    """the folder on the host"""
    staging: str
    """where the sent files lie"""
    aside: str
    """where the old ones go until the end"""
    files: tuple[FileChange, ...]
    """what differs, and nothing else"""

    def describe(self) -> str:
        """Return one line for the operator."""
        kinds = [change.what for change in self.files]
        words = ", ".join(
            f"{kinds.count(word)} {text}"
            for word, text in (
                ("new", "new"),
                ("changed", "changed"),
                ("removed", "moved away"),
                ("dressed", "with other time or attributes only"),
            )
            if word in kinds
        )
        return f"put files of {self.item} in place below {self.root}: {words}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class MakeFolders:
    """Make folders that are missing, also those in which nothing lies; the host looks at each again."""

    kind: ClassVar[str] = "make-folders"

    item: str
    """name of the item in the connector file"""
    root: str
    """the folder on the host"""
    folders: tuple[str, ...]
    r"""relative to it, with `\\`; those above before those below"""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"make {count_text(len(self.folders), 'folder')} of {self.item} below {self.root}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class RemoveFolders:
    """Remove folders that are empty; one that has something in it by then stays, and that is said."""

    kind: ClassVar[str] = "remove-folders"

    item: str
    """name of the item in the connector file"""
    root: str
    """the folder on the host"""
    folders: tuple[str, ...]
    r"""relative to it, with `\\`; those above before those below"""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"remove {count_text(len(self.folders), 'empty folder')} of {self.item} below {self.root}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class EraseWorkFiles:
    """Erase the work files directly in a folder; those that lie deeper are named and left."""

    kind: ClassVar[str] = "erase-work-files"

    item: str
    """name of the item in the connector file"""
    root: str
    """the folder on the host"""
    patterns: tuple[str, ...]
    """such as `*.seq`"""
    seen: tuple[str, ...] = ()
    """those that were there when the plan was made; they are listed again after the stop"""
    deeper: tuple[str, ...] = ()
    """matches below other folders: the tip does not speak of them, so they are left"""

    def describe(self) -> str:
        """Return one line for the operator."""
        names = f" (now: {', '.join(self.seen)})" if self.seen else " (there is none now)"
        left = f"; left, for they lie deeper: {', '.join(self.deeper)}" if self.deeper else ""
        return f"erase work files {', '.join(self.patterns)} in {self.root}{names}{left}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class ListChange:
    """One access list with its owner: what it is now, and what it will be, as far as it is its own."""

    path: str
    """relative to the folder; empty for the folder itself"""
    was: str
    """SDDL; `D:` if it inherits all, empty if nothing is there"""
    will: str
    """SDDL; `D:` if it is to inherit all"""
    volatile: bool = False
    """of a file that the connector calls volatile"""


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class SetAccessLists:
    """Set access lists; what was sent and has none of its own inherits from the folder that it lies in."""

    kind: ClassVar[str] = "set-access-lists"

    item: str
    """name of the item in the connector file"""
    root: str
    """the folder on the host"""
    lists: tuple[ListChange, ...]
    """what differs, and what a file that is sent would lose"""
    inherit: int = 0
    """how many files that are sent are to inherit all"""

    def describe(self) -> str:
        """Return one line for the operator."""
        parts = [f"set {count_text(len(self.lists), 'access list')}"] if self.lists else []
        sent = count_text(self.inherit, "file")
        parts += [f"have {sent} that {'is' if self.inherit == 1 else 'are'} sent inherit"] * bool(
            self.inherit
        )
        return f"{' and '.join(parts)} of {self.item} below {self.root}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class SetValues:
    """Set registry values, each by itself; a key is never replaced."""

    kind: ClassVar[str] = "set-values"

    item: str
    """name of the item in the connector file"""
    key: str
    """the key that the item names"""
    values: tuple[ValueChange, ...]
    """what differs, and nothing else"""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"set {count_text(len(self.values), 'registry value')} of {self.item} below {self.key}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Confirm:
    """Have a person do something, and say that it is done."""

    kind: ClassVar[str] = "confirm"

    name: str
    """a word by which the step is answered"""
    text: str
    """what to do, in a sentence"""

    def describe(self) -> str:
        """Return one line for the operator."""
        return f"a person confirms {self.name}: {self.text}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class StartService:
    """Bring a service to how it is to be: its start mode, and running or not."""

    kind: ClassVar[str] = "start-service"

    service: str
    """short name"""
    was: str
    """state now, such as `Stopped`"""
    was_mode: str
    """start mode now, such as `Disabled`"""
    will: Literal["Running", "Stopped"]
    """state then"""
    will_mode: str
    """start mode then; empty if it stays as it is"""
    deadline_s: int
    """how long a start may take, in seconds"""

    def describe(self) -> str:
        """Return one line for the operator."""
        mode = f", start mode {self.was_mode} -> {self.will_mode}" if self.will_mode else ""
        deed = f"start service {self.service} (at most {self.deadline_s} s)"
        left = f"leave service {self.service} stopped, as it is to be"
        return f"{deed if self.will == 'Running' else left}: now {self.was}{mode}"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class Prove:
    """Prove that it works: services still run after a while, and health finds nothing critical."""

    kind: ClassVar[str] = "prove"

    services: tuple[str, ...]
    """those that are to run"""
    connectors: tuple[str, ...]
    """those that health looks at again"""

    def describe(self) -> str:
        """Return one line for the operator."""
        runs, whose = ("run", "their") if len(self.services) > 1 else ("runs", "its")
        parts = [f"{', '.join(self.services)} still {runs} after {whose} grace time"] if self.services else []
        parts += [f"health of {', '.join(self.connectors)} again"] if self.connectors else []
        return f"prove: {'; '.join(parts) or 'services are as they are to be'}"


ChangeStep = (
    SendFiles
    | StopService
    | MakeFolders
    | SwapFiles
    | RemoveFolders
    | EraseWorkFiles
    | SetAccessLists
    | SetValues
    | Confirm
    | StartService
    | Prove
)
CHANGE_KINDS: Mapping[str, type[ChangeStep]] = {
    cls.kind: cls
    for cls in (
        SendFiles,
        StopService,
        MakeFolders,
        SwapFiles,
        RemoveFolders,
        EraseWorkFiles,
        SetAccessLists,
        SetValues,
        Confirm,
        StartService,
        Prove,
    )
}


def change_to_json(step: ChangeStep) -> dict[str, Any]:
    """Given a step, return it as a JSON object with its kind."""
    return {"kind": step.kind, **asdict(step)}


def change_from_json(data: object) -> ChangeStep:
    """Given what `change_to_json` made, return the step. Raise ValueError if it is no known step."""
    if not isinstance(data, Mapping):
        raise ValueError("a step is an object")
    cls = CHANGE_KINDS.get(str(data.get("kind")))
    if cls is None:
        raise ValueError(f"unknown kind of step: {data.get('kind')!r}")
    try:
        step: ChangeStep = TypeAdapter(cls).validate_python({k: v for k, v in data.items() if k != "kind"})
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"step {cls.kind}: {place}: {first['msg'].removeprefix('Value error, ')}") from error
    return step


@dataclass(frozen=True, slots=True)
class ChangePlan:
    """An ordered list of changes for one host, and what was looked at to make it."""

    host: str
    """the host's name in the inventory"""
    machine: str
    """the computer's own name when the plan was made"""
    verb: Literal["restore", "undo"]
    """what it is for"""
    sources: tuple[str, ...]
    """HOST/ID of each snapshot that it takes from"""
    steps: tuple[ChangeStep, ...]
    """in the order in which they are done; empty if nothing differs"""
    notes: tuple[str, ...] = ()
    """what the operator should know and no step says: what is left as it is, and why"""

    @property
    def digest(self) -> str:
        """SHA-256 of the plan without what is volatile: two plans with one digest mean the same deed."""
        text = json.dumps(self._identity(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def __iter__(self) -> Iterator[ChangeStep]:
        return iter(self.steps)

    @property
    def only_proves(self) -> bool:
        """Return whether it changes nothing: a proof at most."""
        return all(isinstance(step, Prove) for step in self.steps)

    @property
    def swaps(self) -> tuple[SwapFiles, ...]:
        """Return the steps that put files in place."""
        return tuple(step for step in self.steps if isinstance(step, SwapFiles))

    @property
    def stops(self) -> tuple[StopService, ...]:
        """Return the steps that stop services."""
        return tuple(step for step in self.steps if isinstance(step, StopService))

    @property
    def bytes_to_send(self) -> int:
        """Return the bytes that travel, before compression."""
        return sum(step.bytes for step in self.steps if isinstance(step, SendFiles))

    def _identity(self) -> dict[str, Any]:
        """Return what a person approves: all but what changes on a healthy server from look to look."""
        steps = []
        for step in self.steps:
            data = change_to_json(step)
            match step:
                case SendFiles():
                    data = {"kind": step.kind, "item": step.item, "staging": step.staging}
                case SwapFiles():
                    data["files"] = [asdict(f) for f in step.files if not f.volatile]
                case SetAccessLists():
                    lists = [asdict(one) for one in step.lists if not one.volatile]
                    data = {"kind": step.kind, "item": step.item, "root": step.root, "lists": lists}
                case EraseWorkFiles():
                    data = {
                        "kind": step.kind,
                        "item": step.item,
                        "root": step.root,
                        "patterns": step.patterns,
                    }
                case _:
                    pass
            # What is only of volatile files differs from look to look.
            left = data.get("files") or data.get("lists")
            if not (
                isinstance(step, SendFiles) or (isinstance(step, SwapFiles | SetAccessLists) and not left)
            ):
                steps.append(data)
        return {
            "format": FORMAT,
            "host": self.host,
            "machine": self.machine,
            "verb": self.verb,
            "sources": self.sources,
            "steps": steps,
        }

    def drift(self, now: ChangePlan) -> list[str]:
        """Given the plan as it would be now, return a sentence for each thing that is other in it.

        Steps come last: that one is other follows from the things.
        """
        before, after = self._found(), now._found()
        said = []
        every = dict.fromkeys((*before, *after))
        for what in sorted(every, key=lambda what: not (before.get(what) or after.get(what))):
            if what not in after:
                said.append(f"{what}: nothing is to be done any more.")
            elif what not in before:
                said.append(f"{what}: now it is to be done, too{f' ({after[what]})' if after[what] else ''}.")
            elif before[what] != after[what]:
                said.append(f"{what}: it was {before[what]}, and now it is {after[what]}.")
        return said

    def _found(self) -> dict[str, str]:
        """Return each thing that the plan changes, and what was there when it was made."""
        found = {"the computer's name": self.machine, "the snapshots": ", ".join(self.sources)}
        for step in self.steps:
            match step:
                case SwapFiles():
                    found |= {
                        f"{step.root}\\{f.path}": f"{_brief(f.was)} -> {_brief(f.will)}"
                        for f in step.files
                        if not f.volatile
                    }
                case SetAccessLists():
                    found |= {
                        f"the access list of {step.root}\\{one.path}".rstrip("\\"): f"{one.was} -> {one.will}"
                        for one in step.lists
                        if not one.volatile
                    }
                case SetValues():
                    found |= {f"{v.key}, {v.name}": f"{v.was or 'nothing'} -> {v.will}" for v in step.values}
                case MakeFolders() | RemoveFolders():
                    found |= {f"folder {step.root}\\{path}": step.kind for path in step.folders}
                case SendFiles() | EraseWorkFiles():
                    pass  # the files are in the step that puts them in place; work files come and go
                case _:
                    found[step.describe()] = ""
        return found

    def describe(self) -> Sequence[str]:
        """Return the plan as lines for the operator."""
        return [step.describe() for step in self.steps] + [f"note: {note}" for note in self.notes]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object, with its digest."""
        return {
            "format": FORMAT,
            "digest": self.digest,
            "host": self.host,
            "machine": self.machine,
            "verb": self.verb,
            "sources": list(self.sources),
            "steps": [change_to_json(step) for step in self.steps],
            "notes": list(self.notes),
        }

    @classmethod
    def from_json(cls, data: object) -> ChangePlan:
        """Given what `to_json` made, return the plan.

        Raise ValueError if it is not one, is of another version, or was edited: its digest tells.
        """
        if not isinstance(data, Mapping):
            raise ValueError("a plan is an object")
        if data.get("format") != FORMAT:
            raise ValueError(f"it is of version {data.get('format')!r}, and this exremote knows {FORMAT}")
        try:
            head = TypeAdapter(_Head).validate_python({k: v for k, v in data.items() if k != "steps"})
        except ValidationError as error:
            first = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        steps = data.get("steps")
        if not isinstance(steps, list):
            raise ValueError("steps: this is no list")
        plan = cls(
            head.host,
            head.machine,
            head.verb,
            head.sources,
            tuple(map(change_from_json, steps)),
            head.notes,
        )
        if plan.digest != head.digest:
            raise ValueError("its digest is not that of its steps: it was edited")
        return plan


def _brief(digest: str) -> str:
    """Return a digest as a plan shows it, or in words that there is none."""
    return "unreadable" if digest == UNREAD else digest[:12] or "nothing"


@with_config(_STRICT)
@dataclass(frozen=True, slots=True)
class _Head:
    """What a plan says beside its steps."""

    format: int
    digest: str
    host: str
    machine: str
    verb: Literal["restore", "undo"]
    sources: tuple[str, ...]
    notes: tuple[str, ...] = ()

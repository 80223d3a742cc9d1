"""What was done to a host, one record a thing, and what it is asked to do. It never holds a value's data in
sight: a registry value may be a secret.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Self, cast, get_args

from exremote.facts.parse import FactError, Record, take, texts
from exremote.facts.reasons import in_words

WantedState = Literal["Running", "Stopped"]
StartMode = Literal["Automatic", "Manual", "Disabled"]
FileDeedState = Literal[
    "swapped", "there", "moved", "gone", "made", "removed", "full", "failed", "set", "same", "owner"
]
RemovalState = Literal["removed", "gone", "deeper", "failed"]
RegistryDeedState = Literal["set", "same", "removed", "failed"]


@dataclass(frozen=True, slots=True)
class ServiceChange:
    """What became of a service: `Set-ServiceState`."""

    name: str
    """Short name, as the service manager spells it."""
    state: str
    """What it is now: `Running`, `Stopped`; another one if only the start mode was to be set."""
    start_mode: str
    """`Boot`, `System`, `Automatic`, `Manual`, `Disabled` or `Unknown`."""
    changed: bool
    """Whether state or start mode are other than before this call. After a line that was lost the last try
    counts: it may have found done what an earlier one did."""
    waited_s: float
    """How long the host waited, in seconds."""
    also: tuple[str, ...] = ()
    """Services that were stopped before it because they depend on it, in the order of their stops."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Set-ServiceState"
        return cls(
            name=take(script, record, "Name", str),
            state=take(script, record, "State", str),
            start_mode=take(script, record, "StartMode", str),
            changed=take(script, record, "Changed", bool),
            waited_s=take(script, record, "WaitedMs", int) / 1000,
            also=texts(script, record, "Also"),
        )


@dataclass(frozen=True, slots=True)
class SwapFile:
    """One staged file that is to take its place."""

    path: str
    r"""Relative to staging, root and aside, with `\`."""
    sha256: str
    """What its content has to be."""
    size: int
    """Bytes."""
    modified_ticks: int
    """Last write time that it is to have, in .NET ticks."""
    attributes: int = 0x20
    """FileAttributes that it is to have; those that cannot be set are left out."""


@dataclass(frozen=True, slots=True)
class FileDeed:
    """What became of one file or folder: `Move-StagedFile`, `Move-FileAside`, `Set-Folder`, or of its access
    list: `Set-FileSecurity`.
    """

    path: str
    """Relative, as it was asked for."""
    state: FileDeedState
    """`swapped`: the staged file is in its place, what was there aside; `there`: the right content was there;
    `moved`: it is aside; `gone`: neither here nor aside; `failed`: as it was. Of a folder `made`, `there`,
    `removed`, `gone`, or `full`: something is in it, so it stays. Of a list `set`, `same`, or `owner`: all
    but the owner is set."""
    error_id: str = ""
    """Why it failed, e.g. `ExRemote.Locked`."""
    message: str = ""
    """The same in the host's words."""

    @classmethod
    def parse(cls, script: str, line: Sequence[str], asked: str) -> Self:
        """Given a line's fields and the path that was asked for, return the fact. Raise FactError."""
        state, error_id, message = parts(script, line, 3)
        return cls(asked, cast(FileDeedState, one_of(script, state, FileDeedState)), error_id, message)


@dataclass(frozen=True, slots=True)
class CopyFailure:
    """A file that could not be copied: `Copy-FileTree`."""

    path: str
    """Relative to the folder; '' is the folder itself."""
    reason: str
    """Why, in words."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given a record, return the failure. Raise FactError if it breaks the contract."""
        script = "Copy-FileTree"
        why = in_words(take(script, record, "ErrorId", str))
        return cls(take(script, record, "File", str), f"{why}: {take(script, record, 'Message', str)}")


@dataclass(frozen=True, slots=True)
class TreeCopy:
    """What became of a folder that was copied within the host: `Copy-FileTree`."""

    failures: tuple[CopyFailure, ...]
    """What could not be copied."""
    private: bool
    """True if the copy is closed to all but administrators."""

    @classmethod
    def parse(cls, record: Record, failures: Sequence[CopyFailure]) -> Self:
        """Given the last record and those before it, return the fact. Raise FactError."""
        script = "Copy-FileTree"
        if take(script, record, "Failed", int) != len(failures):
            raise FactError(script, "Failed", f"it is not {len(failures)}, as many as came")
        return cls(tuple(failures), take(script, record, "Private", bool))


def guard_started(record: Record) -> bool:
    """Given what `Start-ServiceGuard` answers, return whether the guard waits. Raise FactError."""
    return take("Start-ServiceGuard", record, "Started", bool)


@dataclass(frozen=True, slots=True)
class RemovedFile:
    """What became of one file that was to go: `Remove-WorkFile`."""

    path: str
    """Relative to the folder."""
    size: int
    """Bytes that it had; 0 if it could not be looked at."""
    modified_ticks: int
    """Its last write time; 0 if it could not be looked at."""
    state: RemovalState
    """`gone`: a named one was not there; `deeper`: it matches in a folder below, and was not touched."""
    error_id: str = ""
    """Why it failed; of a folder that could not be listed, too."""
    message: str = ""
    """The same in the host's words."""

    @classmethod
    def parse(cls, line: Sequence[str]) -> Self:
        """Given a line's fields, return the fact. Raise FactError if it breaks the contract."""
        script = "Remove-WorkFile"
        state, size, ticks, error_id, message, path = parts(script, line, 6)
        if not (size.isdecimal() and ticks.isdecimal() and len(size) < 20 and len(ticks) < 20):
            raise FactError(script, "output", "a size or a time that is no number")
        found = cast(RemovalState, one_of(script, state, RemovalState))
        return cls(path, int(size), int(ticks), found, error_id, message)


@dataclass(frozen=True, slots=True)
class RegistrySetting:
    """One registry value as it is to be."""

    key: str
    r"""`HKLM\...` or `HKEY_LOCAL_MACHINE\...`."""
    name: str
    """The value's name; '' is the default value."""
    kind: int
    """Windows' number of its kind: 1 is REG_SZ."""
    data: bytes | None = field(repr=False)
    """Its bytes, as the registry has them; None: it is to be removed."""
    secret: bool = False
    """Whether nobody may see it."""


@dataclass(frozen=True, slots=True)
class RegistryDeed:
    """What became of one registry value: `Set-RegistryValue`. Never its data."""

    key: str
    """As it was asked for."""
    name: str
    """As it was asked for."""
    state: RegistryDeedState
    """`set` or `removed`, and read back; `same`: there was nothing to do."""
    error_id: str = ""
    """Why it failed, e.g. `ExRemote.KindUnsupported`."""
    message: str = ""
    """The same in the host's words."""

    @classmethod
    def parse(cls, line: Sequence[str], asked: RegistrySetting) -> Self:
        """Given a line's fields and what was asked, return the fact. Raise FactError."""
        script = "Set-RegistryValue"
        state, error_id, message = parts(script, line, 3)
        found = cast(RegistryDeedState, one_of(script, state, RegistryDeedState))
        return cls(asked.key, asked.name, found, error_id, message)


def folder_removed(record: Record) -> bool:
    """Given what `Remove-StagingFolder` answers, return whether the folder was there. Raise FactError."""
    return take("Remove-StagingFolder", record, "Removed", bool)


def parts(script: str, line: Sequence[str], count: int) -> Sequence[str]:
    """Given a line's fields, return them if they are so many. Raise FactError."""
    if len(line) != count:
        raise FactError(script, "output", f"expected {count} fields in a line, got {len(line)}")
    return line


def one_of(script: str, word: str, kind: object) -> str:
    """Given a word and a Literal, return the word if it is one of those. Raise FactError."""
    if word not in get_args(kind):
        raise FactError(script, "output", f"{word[:50]!r} is no state that it knows")
    return word

"""What a host says of ntbackup and of the one job that lies in a folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Self, cast, get_args

from exremote.facts.parse import FactError, Record, take, texts

JobState = Literal["None", "Waiting", "Running", "Ended", "Lost"]
LAST_TICK = 3155378975999999999
"""Of the year 9999."""
_STATES = get_args(JobState)


@dataclass(frozen=True, slots=True)
class NtBackupJob:
    """A job's folder as it is now: `Get-NtBackupJob`."""

    folder: str
    """As it was asked for."""
    state: JobState
    """`None`: no job is there; `Waiting`: its task has not begun it; `Lost`: it neither runs nor left an exit
    code.
    """
    name: str
    """The job's; '' if there is none."""
    exit_code: int
    """Of a job that ended, else 0."""
    bytes: int
    """Of the .bkf; -1 if there is none to be seen: on a share, that may be away."""
    started: datetime
    """When the job was started; else now."""
    process_id: int
    """Of the command file that waits for it; 0 if unknown."""
    others: int
    """How many processes of ntbackup run on the host, this job's among them."""
    log: str
    """Path of the log that was written last since the job began; '' while it runs, or if there is none."""
    program: str
    """Path of ntbackup.exe; '' if the host has none."""
    versions: tuple[tuple[str, str], ...]
    """Name and version of ntbackup, and of what it saves directory and stores with, where they are."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Get-NtBackupJob"
        state = take(script, record, "State", str)
        if state not in _STATES:
            raise FactError(script, "State", f"expected one of {', '.join(_STATES)}, got {state[:40]!r}")
        name = take(script, record, "Name", str)
        if bool(name) != (state != "None"):
            raise FactError(script, "Name", "a job has a name, and no job has none")
        versions = []
        for line in texts(script, record, "Versions"):
            file, bar, version = line.partition("|")
            if not bar:
                raise FactError(script, "Versions", f"expected name|version, got {line[:80]!r}")
            versions.append((file, version))
        return cls(
            folder=take(script, record, "Folder", str),
            state=cast(JobState, state),
            name=name,
            exit_code=take(script, record, "ExitCode", int),
            bytes=take(script, record, "Bytes", int),
            started=take(script, record, "StartedUtc", datetime),
            process_id=take(script, record, "ProcessId", int),
            others=take(script, record, "Others", int),
            log=take(script, record, "Log", str),
            program=take(script, record, "Program", str),
            versions=tuple(versions),
        )


@dataclass(frozen=True, slots=True)
class StartedJob:
    """A job that was started: `Start-NtBackupJob`."""

    process_id: int
    """Of the command file that waits for it."""
    private: bool
    """True if only administrators and the system may enter its folder."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Start-NtBackupJob, Start-NtBackupTask"
        if not take(script, record, "Started", bool):
            raise FactError(script, "Started", "expected a job that was started")
        return cls(take(script, record, "ProcessId", int), take(script, record, "Private", bool))


@dataclass(frozen=True, slots=True)
class RemovedJob:
    """What became of a job's folder: `Remove-NtBackupJob`."""

    ended: int
    """Processes that were ended."""
    removed: tuple[str, ...]
    """Names of the files that are gone."""
    left: tuple[str, ...]
    """Names of what is still there."""
    error: str
    """Why something is, in the host's words; '' if nothing failed."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Remove-NtBackupJob"
        return cls(
            take(script, record, "Ended", int),
            texts(script, record, "Removed"),
            texts(script, record, "Left"),
            take(script, record, "Error", str),
        )


@dataclass(frozen=True, slots=True)
class TapeFile:
    """A tape file where it lies, read from end to end: `Read-TapeBlock`."""

    path: str
    """As it was asked for."""
    exists: bool
    """False: there is no such file."""
    size: int
    """Bytes."""
    modified_ticks: int
    """Last write time in .NET ticks (100 ns since the year 1, UTC)."""
    attributes: int
    """FileAttributes."""
    sha256: str
    """Of all of it, 64 lower hex digits; '' if it is not there."""

    @classmethod
    def parse(cls, record: Record) -> Self:
        """Given the script's record, return the fact. Raise FactError if it breaks the contract."""
        script = "Read-TapeBlock"
        exists, sha256 = take(script, record, "Exists", bool), take(script, record, "Sha256", str)
        if re.fullmatch("[0-9a-f]{64}", sha256) is None if exists else sha256:
            raise FactError(
                script, "Sha256", f"expected a digest of a file that is there, got {sha256[:80]!r}"
            )
        size, ticks = take(script, record, "Size", int), take(script, record, "ModifiedTicks", int)
        if size < 0 or not 0 <= ticks <= LAST_TICK:
            raise FactError(script, "Size, ModifiedTicks", f"expected a size and a time, got {size}, {ticks}")
        return cls(
            take(script, record, "Path", str),
            exists,
            size,
            ticks,
            take(script, record, "Attributes", int),
            sha256,
        )

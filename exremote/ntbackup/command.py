r"""One job of ntbackup: what is selected, the .bks file that says so, and the command line. Pure.

Microsoft's own syntax (KB 814583, KB 233427; S): `ntbackup backup "@file.bks" /J "job" /F "file.bkf" ...`.
The switches /V /R /L /M /RS /HC fall back to the settings of the account's window (S), so all of them are
said; /SNAP exists since Windows XP only (S). There is no restore verb (S).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

Part = Literal["systemstate", "storagegroups"]
PARTS: Final[tuple[Part, ...]] = ("systemstate", "storagegroups")
"""What ntbackup saves, in the order in which it is done; each is a job of its own, never both in one."""
Method = Literal["copy", "normal"]

SYSTEM_STATE = "System State"
"""What the set of it is called on an English Windows; in any other language it may have another name."""
STORE = "Microsoft Information Store"
_SNAPSHOTS_SINCE = (5, 1)
_BAD_IN_NAMES = re.compile(r'[\\/"\x00-\x1f]')


@dataclass(frozen=True, slots=True)
class Job:
    """One job, as it is to be done."""

    part: Part
    """what it saves"""
    name: str
    """its own, on no other job: names of its files, and what its log and its tape are known by"""
    folder: str
    r"""on the host, `D:\exremote\systemstate`; nothing but this job's files lies there"""
    lines: tuple[str, ...]
    """of the selection"""
    sets: tuple[str, ...]
    """the sets that must be on the tape, in this order; names as an English Windows gives them"""
    method: Method
    """`normal` ends what other backups of a store go on from; `copy` touches nothing"""
    snapshot: bool | None
    """of volumes; None where ntbackup knows no such switch"""
    tape_folder: str = ""
    """where the .bkf goes; '': into the folder"""

    @property
    def files(self) -> dict[str, str]:
        """Return the names of its files, by what they are."""
        return {kind: f"{self.name}.{kind}" for kind in ("bks", "bkf", "cmd")}

    @property
    def arguments(self) -> str:
        """Return everything behind the program's name."""
        snap = "" if self.snapshot is None else f" /SNAP:{'on' if self.snapshot else 'off'}"
        tape = f"{self.tape_folder or self.folder}\\{self.name}.bkf"
        return (
            f'backup "@{self.folder}\\{self.name}.bks" /J "{self.name}" /F "{tape}" '
            f'/D "{self.name}" /V:no /R:no /L:s /M {self.method} /RS:no /HC:off{snap}'
        )


def bks(lines: Sequence[str]) -> bytes:
    """Given the lines of a selection, return the file: UTF-16LE with its mark, one entry a line (S)."""
    return ("\ufeff" + "".join(f"{line}\r\n" for line in lines)).encode("utf-16-le")


def jet_line(server: str, group: str) -> str:
    """Given server and storage group, return the line that selects it; the last backslash is needed (S).

    Raise ValueError if a name could not stand in such a line.
    """
    for name in (server, group):
        if not name.strip() or _BAD_IN_NAMES.search(name):
            raise ValueError(f"{name!r} is no name of a server or storage group")
    return f"JET {server}\\{STORE}\\{group}\\"


def system_state_job(
    name: str, folder: str, os_version: str, volumes: Sequence[str] = (), keep_out: Sequence[str] = ()
) -> Job:
    r"""Given the volumes (`C:\`) to be saved with it, return the job of the System State.

    None: System State alone, as the tip says; with the boot and the system volume it is what Microsoft calls
    a Windows backup set, which must be one job (S). `keep_out` names folders that are left out of volumes.
    """
    lines = [*volumes, *(f"{path} /Exclude" for path in keep_out), "SystemState"]
    sets = (*(volume.rstrip("\\") for volume in volumes), SYSTEM_STATE)
    # ntbackup takes no other than these two for the System State (S).
    return Job("systemstate", name, folder, tuple(lines), sets, "copy", _snapshot(os_version, True))


def storage_groups_job(
    name: str, folder: str, os_version: str, server: str, groups: Sequence[str], method: Method
) -> Job:
    """Given a server and its storage groups, return their job. Raise ValueError for a name that cannot be."""
    lines = tuple(jet_line(server, group) for group in groups)
    sets = tuple(f"{server}\\{STORE}\\{group}" for group in groups)
    # Exchange hands its databases to ntbackup itself; a snapshot of their volume would be another backup (R).
    return Job("storagegroups", name, folder, lines, sets, method, _snapshot(os_version, False))


def _snapshot(os_version: str, wanted: bool) -> bool | None:
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})", os_version)
    known = numbers is not None and (int(numbers[1]), int(numbers[2])) >= _SNAPSHOTS_SINCE
    return wanted if known else None

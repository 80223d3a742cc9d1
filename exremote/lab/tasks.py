"""The simulated Task Scheduler of a machine, as far as a job of ntbackup goes.

It keeps to the rules of ps_scripts/Start-NtBackupTask.ps1. A prepared task runs as an account of its own,
which may enter shares that a session may not; a task of the system may enter none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from exremote.lab.trees import refused

if TYPE_CHECKING:
    from exremote.lab.machine import Machine

PLAIN_TASK = re.compile(r"[A-Za-z0-9 ._-]*")
PLAIN_FOLDER = re.compile(r"[A-Za-z]:(\\[A-Za-z0-9 ._-]+){2,}")
START = r"{home}\task\start.cmd"


@dataclass(slots=True)
class Task:
    """One scheduled task."""

    command: str
    """The full path of what it runs."""
    enabled: bool = True
    dead: bool = False
    """It is taken to be run, and never begins: its account's password is another one by now."""


def scheduler_of(machine: Machine) -> bool:
    """Return whether a machine has schtasks.exe: Windows 2000 has none."""
    return not machine.os.version.startswith("5.0")


def set_task(machine: Machine, name: str, command: str, enabled: bool = True, dead: bool = False) -> None:
    """Make a task as an administrator does, or, with no command, take it away; its file comes and goes."""
    path = rf"{machine.os.system_root}\Tasks\{name}.job"
    machine.tasks.pop(name.lower(), None)
    if machine.files.is_file(path):
        machine.files.remove(path)
    if command:
        machine.tasks[name.lower()] = Task(command, enabled, dead)
        machine.files.write(path, f"a task: {command}".encode())


def run_task(machine: Machine, name: str, base: str, prepared: bool) -> bool:
    """Given the name of a task, and a job's files without their ending, run it. Return whether it begins the
    job. Raise ScriptThrew if schtasks.exe says no.
    """
    task = machine.tasks.get(name.lower())
    if task is None or not task.enabled:
        raise refused("ExRemote.TaskRefused", "schtasks.exe ended with 1. ERROR: The system cannot find it.")
    home = base.rpartition("\\")[0].rpartition("\\")[0]
    runs = START.format(home=home) if prepared else f"{base}.bat"
    return not task.dead and task.command.strip('"').lower() == runs.lower()


def checked_task(task: str, folder: str) -> Iterator[str]:
    """Given what a call names, yield what no batch file may have in it."""
    if not PLAIN_TASK.fullmatch(task) or not PLAIN_FOLDER.fullmatch(folder):
        yield f"'{folder}' and '{task}' are not a full path and a task of plain letters."

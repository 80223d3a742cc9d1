"""When a command line is to run, as systemd and as the Windows Task Scheduler write it. Pure: it installs
nothing.

No secret is in any of these texts: what a credential of the inventory refers to is named, never its value.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from xml.etree import ElementTree

MARK = "Written by exremote schedule; `exremote schedule --remove` takes it away."
"""Stands in every file, so that no other's is replaced or removed."""
TASKS = "http://schemas.microsoft.com/windows/2004/02/mit/task"
"""The name space of a task's XML."""
FOLDER = "exremote"
"""The folder of the Task Scheduler that tasks lie in."""
DAYS = {
    "mon": "Monday",
    "tue": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}
_BEGIN = "2000-01-01"
"""A day to count from: any that is over will do."""


@dataclass(frozen=True, slots=True)
class At:
    """A time of day, by the clock of the machine."""

    hour: int
    """0 to 23"""
    minute: int
    """0 to 59"""
    day: str = ""
    """`mon` to `sun`; '' for every day"""


@dataclass(frozen=True, slots=True)
class Job:
    """A command line, and when it is to run."""

    name: str
    """letters, digits, `-` and `_`"""
    command: tuple[str, ...]
    """the program by its full path, and its arguments"""
    says: str
    """the command line as a person wrote it"""
    folder: str
    """where it runs: relative paths begin there"""
    every: timedelta | None
    """how often; None if it is at fixed times"""
    at: tuple[At, ...] = ()
    """at which times"""
    environment_file: str = ""
    """the file with the variables that hold passwords; '' if none is needed"""
    user: str = ""
    """as whom it runs; '' for the one who installs it"""
    system: bool = False
    """a unit of the system, not of a user"""


# ---------------------------------------------------------------- systemd


def service_text(job: Job) -> str:
    """Given a job, return its systemd service."""
    network = "Wants=network-online.target\nAfter=network-online.target\n" if job.system else ""
    user = f"User={_literal(job.user)}\n" if job.system and job.user else ""
    variables = f"EnvironmentFile={_literal(job.environment_file)}\n" if job.environment_file else ""
    return (
        f"# {MARK}\n"
        f"[Unit]\nDescription={_literal(job.says)}\n{network}\n"
        f"[Service]\nType=oneshot\n{user}UMask=0077\n"
        f"WorkingDirectory={_literal(job.folder)}\n{variables}"
        f"ExecStart={' '.join(map(_quoted, job.command))}\n"
    )


def timer_text(job: Job) -> str:
    """Given a job, return its systemd timer."""
    if job.every is not None:
        seconds = int(job.every.total_seconds())
        when = f"OnActiveSec=60\nOnUnitActiveSec={seconds}\n"
    else:
        when = "".join(f"OnCalendar={_calendar(at)}\n" for at in job.at) + "Persistent=true\n"
    return (
        f"# {MARK}\n[Unit]\nDescription={_literal(job.says)}\n\n"
        f"[Timer]\n{when}AccuracySec=15\n\n[Install]\nWantedBy=timers.target\n"
    )


def _calendar(at: At) -> str:
    day = f"{DAYS[at.day][:3]} " if at.day else ""
    return f"{day}*-*-* {at.hour:02}:{at.minute:02}:00"


def _literal(text: str) -> str:
    """Given a text, return it as systemd reads it: `%` begins a specifier, and a line is a line."""
    return " ".join(text.split("\n")).replace("%", "%%")


def _quoted(word: str) -> str:
    """Given a word of a command line, return it as systemd reads it there."""
    text = _literal(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return text if re.fullmatch(r"[A-Za-z0-9_@+=:,./-]+", text) else f'"{text}"'


# ---------------------------------------------------------------- Windows


def task_xml(job: Job) -> str:
    """Given a job, return its task as `schtasks /Create /XML` takes it.

    It runs whether or not its user is logged on, with no password kept (`S4U`): the command brings its own.
    """
    ElementTree.register_namespace("", TASKS)
    task = ElementTree.Element(f"{{{TASKS}}}Task", {"version": "1.2"})
    _add(task, "RegistrationInfo", {"Description": f"{job.says} ({MARK})"})
    triggers = _add(task, "Triggers")
    if job.every is not None:
        trigger = _add(triggers, "TimeTrigger")
        _add(trigger, "Repetition", {"Interval": f"PT{int(job.every.total_seconds() // 60)}M"})
        _add(trigger, "StartBoundary", text=f"{_BEGIN}T00:00:00")
    for at in job.at:
        trigger = _add(triggers, "CalendarTrigger", {"StartBoundary": _boundary(at)})
        if at.day:
            week = _add(trigger, "ScheduleByWeek")
            _add(_add(week, "DaysOfWeek"), DAYS[at.day])
            _add(week, "WeeksInterval", text="1")
        else:
            _add(trigger, "ScheduleByDay", {"DaysInterval": "1"})
    principal = _add(_add(task, "Principals"), "Principal", {"UserId": job.user, "LogonType": "S4U"})
    principal.set("id", "Author")
    settings = {
        "MultipleInstancesPolicy": "IgnoreNew",
        "DisallowStartIfOnBatteries": "false",
        "StopIfGoingOnBatteries": "false",
        "StartWhenAvailable": "true",
        "ExecutionTimeLimit": "PT0S",
    }
    _add(task, "Settings", settings)
    actions = _add(task, "Actions")
    actions.set("Context", "Author")
    program, *arguments = job.command
    _add(
        actions,
        "Exec",
        {
            "Command": program,
            "Arguments": subprocess.list2cmdline(arguments),
            "WorkingDirectory": job.folder,
        },
    )
    ElementTree.indent(task)
    return '<?xml version="1.0" encoding="UTF-16"?>\n' + ElementTree.tostring(task, "unicode") + "\n"


def _boundary(at: At) -> str:
    return f"{_BEGIN}T{at.hour:02}:{at.minute:02}:00"


def _add(
    parent: ElementTree.Element, name: str, parts: dict[str, str] | None = None, text: str | None = None
) -> ElementTree.Element:
    """Given an element, put another one into it, with a text or with parts that each have one."""
    found = ElementTree.SubElement(parent, f"{{{TASKS}}}{name}")
    found.text = text
    for key, value in (parts or {}).items():
        _add(found, key, text=value)
    return found


# ---------------------------------------------------------------- words


def times_of(texts: Sequence[str]) -> tuple[At, ...]:
    """Given `02:30` or `sun 02:30`, return each as a time. Raise ValueError naming the one that is none."""
    found = []
    for text in texts:
        match = re.fullmatch(r"(?:([a-z]{3})[a-z]* +)?([0-9]{1,2}):([0-9]{2})", text.strip().lower())
        if match is None or int(match[2]) > 23 or int(match[3]) > 59 or (match[1] or "mon") not in DAYS:
            raise ValueError(text)
        found.append(At(int(match[2]), int(match[3]), match[1] or ""))
    return tuple(found)

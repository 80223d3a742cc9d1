"""The programs of a simulated machine's services: where they are registered, and whether they are there."""

from __future__ import annotations

import re

from exremote.lab.machine import SERVICES, Machine
from exremote.lab.registry import KeyDenied
from exremote.lab.trees import rooted


def image_exists(machine: Machine, command: str) -> bool:
    """Given a command line as it is registered, return whether its program is there."""
    root = machine.os.system_root
    path = re.sub(r"^\\\?\?\\", "", command.strip())
    path = re.sub(r"^\\SystemRoot\\", lambda _: root + "\\", path, flags=re.IGNORECASE)
    if not path:
        return False
    if path.startswith('"'):
        return machine.files.is_file(path.split('"')[1])
    if not rooted(path):
        path = rf"{root}\{path}"
    words = path.split(" ")
    for count in range(1, len(words) + 1):
        candidate = " ".join(words[:count]).lstrip()
        if machine.files.is_file(candidate) or machine.files.is_file(candidate + ".exe"):
            return True
    return False


def command_of(machine: Machine, service: str) -> str:
    """Return the command line of a service, variables expanded; an empty text if it is not to be read."""
    try:
        return machine.expand(machine.registry.text(rf"{SERVICES}\{service}", "ImagePath"))
    except KeyDenied:
        return ""


def program_in(command: str) -> str:
    """Given a command line, return the path of its program."""
    return command.split('"')[1] if command.startswith('"') else command.split(" ", maxsplit=1)[0]


def can_run(machine: Machine, service: str) -> bool:
    """Return whether a service has its program, as far as can be told."""
    command = command_of(machine, service)
    return not command or image_exists(machine, command)

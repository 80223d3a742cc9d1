"""The simulated answers of the scripts around a copy within a host: the copy, and the guard of its services.

They keep to the rules of ps_scripts/Copy-FileTree.ps1 and Start-ServiceGuard.ps1.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from exremote.lab.binding import Arguments
from exremote.lab.deeds import is_folder
from exremote.lab.files import REPARSE, Denied, DiskFull, Locked, Missing
from exremote.lab.machine import Guard, Machine
from exremote.lab.trees import refused
from exremote.lab.wsman.engine import Call, Long, Record


def tree_copy(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Copy-FileTree: a folder and all below it, into a staging folder."""
    path, staging = (arguments.text(name).rstrip("\\") for name in ("Path", "Staging"))
    for one in (path, staging):
        if not is_folder(one):
            raise refused("ExRemote.BadArgument", f"'{one}' is not the full path of a folder.")
    named = staging.rpartition("\\")[2].lower().startswith("exremote-")
    if not named or f"{staging}\\".lower().startswith(f"{path}\\".lower()):
        raise refused("ExRemote.BadArgument", f"'{staging}' is no folder beside the other one.")
    if not machine.files.is_directory(path):
        raise refused("ExRemote.PathMissing", f"{path} is not there.")
    answer: dict[str, object] = {"Path": path, "Files": Long(0), "Bytes": Long(0), "Failed": Long(0)}
    answer["Private"] = True
    if arguments.flag("WhatIf"):
        yield answer
        return
    done = size = failed = 0
    with machine.lock:
        machine.files.make_directory(staging)
        found = list(machine.files.walk(path + "\\"))
    for name, node in found:
        if call.stopping.is_set():
            return
        try:
            with machine.lock:
                if node.attributes & REPARSE:
                    failure = "ExRemote.ReadFailed", "A link to another place is not followed."
                elif node.is_directory:
                    machine.files.make_directory(rf"{staging}\{name}")
                    continue
                else:
                    opened = machine.files.open(rf"{path}\{name}")
                    copy = machine.files.write(rf"{staging}\{name}", opened.content, modified=node.modified)
                    copy.attributes = node.attributes
                    done, size = done + 1, size + opened.content.size
                    continue
        except DiskFull as error:
            raise refused("ExRemote.DiskFull", f"{name}: There is not enough space on the disk.") from error
        except Missing:
            continue
        except Denied:
            failure = "ExRemote.AccessDenied", f"Access to the path '{path}\\{name}' is denied."
        except Locked:
            message = f"The process cannot access the file '{path}\\{name}', for another process uses it."
            failure = "ExRemote.FileLocked", message
        failed += 1
        yield {"File": name, "ErrorId": failure[0], "Message": failure[1]}
    yield answer | {"Files": Long(done), "Bytes": Long(size), "Failed": Long(failed)}


def service_guard(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Start-ServiceGuard: services that start by themselves, unless a file is gone."""
    folder, services = arguments.text("Folder"), arguments.texts("Service")
    if not re.fullmatch(r"[A-Za-z]:\\([\w .-]+\\)*exremote-[\w.-]+", folder, re.ASCII) or ".." in folder:
        raise refused(
            "ExRemote.BadArgument", f"'{folder}' is no full path of plain letters.", "InvalidArgument"
        )
    for name in services:
        if re.search(r'[^ -~]|["%&|<>^!]', name):
            raise refused(
                "ExRemote.BadArgument", f"'{name}' has a sign of a command file.", "InvalidArgument"
            )
    path = rf"{folder}\start.cmd"
    lines = "".join(f'net start "{name}"\r\n' for name in services)
    with machine.lock:
        machine.files.write(path, lines.encode())
        due = time.monotonic() + arguments.number("Seconds")
        machine.guards.append(Guard(due, path, tuple(services)))
    yield {"Folder": folder, "Started": True, "ProcessId": 4000 + len(machine.guards)}

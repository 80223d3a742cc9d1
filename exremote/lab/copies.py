"""The simulated answer of the script that copies a folder within a host.

It keeps to the rules of ps_scripts/Copy-FileTree.ps1.
"""

from __future__ import annotations

from collections.abc import Iterator

from exremote.lab.binding import Arguments
from exremote.lab.deeds import is_folder
from exremote.lab.files import REPARSE, Denied, DiskFull, Locked, Missing
from exremote.lab.machine import Machine
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

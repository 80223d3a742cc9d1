"""The simulated answers of the script that makes and removes folders; nothing with something in it goes."""

from __future__ import annotations

from collections.abc import Iterator

from exremote.lab.binding import Arguments
from exremote.lab.deeds import Row, checked_names, is_folder, linked, text_blocks
from exremote.lab.files import Denied, FileSystem, Locked, Missing
from exremote.lab.machine import Machine
from exremote.lab.trees import ODD, refused
from exremote.lab.wsman.engine import Call, Record


def folder_set(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Set-Folder: named folders are there, or are gone if they were empty."""
    path, absent, keep = arguments.text("Path"), arguments.flag("Absent"), arguments.flag("WhatIf")
    if not is_folder(path):
        raise refused("ExRemote.BadArgument", f"'{path}' is not the full path of a folder below a root.")
    files, rows = machine.files, list[Row]()
    if linked(files, path, ""):
        raise refused("ExRemote.Link", f"{path} is a link.")
    names = checked_names(arguments.text("Folders"))
    with machine.lock:
        for name in names:
            try:
                rows.append(_set(files, path, name, absent, keep))
            except (Denied, Locked):
                rows.append(("failed", "ExRemote.AccessDenied", f"Access to the path '{name}' is denied."))
            except Missing as error:
                id_of = "ExRemote.RemoveFailed" if absent else "ExRemote.MakeFailed"
                rows.append(("failed", id_of, str(error)))
    yield from text_blocks(rows)
    yield {"Path": path, "Folders": len(rows), "Failed": sum(row[0] == "failed" for row in rows)}


def _set(files: FileSystem, path: str, name: str, absent: bool, keep: bool) -> Row:
    """Make or remove one folder. Raise Denied, Locked or Missing."""
    place = f"{path}\\{name}"
    if ODD.search(name):
        return "failed", "ExRemote.BadName", "Windows takes that name for another one."
    if linked(files, path, name):
        return "failed", "ExRemote.Link", f"{place} leads over a link."
    node = files.get(place)
    if node is not None and not node.is_directory:
        return "failed", "ExRemote.IsFile", "It is a file."
    if not absent:
        if node is not None or keep:
            return "there" if node is not None else "kept", "", ""
        above = files.get(place.rpartition("\\")[0])
        if above is not None and above.denied:
            raise Denied(place)
        files.make_directory(place)
        return "made", "", ""
    if node is None:
        return "gone", "", ""
    if node.denied:
        raise Denied(place)
    if node.children or keep:
        return "full" if node.children else "kept", "", ""
    files.remove(place)
    return "removed", "", ""

"""The simulated answers of the scripts that move files to their places, aside, and take staging away.

They keep to the rules of the scripts in ps_scripts, and know nothing of `exremote.session` or its formats.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from exremote.lab.binding import Arguments
from exremote.lab.deeds import Row, checked_names, is_folder, leads_out, linked, text_blocks
from exremote.lab.files import REPARSE, Denied, FileSystem, Locked, Missing, Node, open_node
from exremote.lab.machine import Machine
from exremote.lab.packing import decode_names
from exremote.lab.trees import ODD, refused
from exremote.lab.wsman.engine import Call, Long, Record

_SETTABLE = 0x27 | 0x2000
_NORMAL = 0x80
_YEAR_1601 = 504_911_232_000_000_000
LINE = re.compile(r"([0-9a-fA-F]{64})\t([0-9]+)\t([0-9]+)\t([0-9]+)\t(.+)")


def _move(files: FileSystem, old: str, new: str) -> None:
    """Move a file, with the folders above its new place made. Raise Missing, Denied or Locked."""
    node = files.find(old)
    if node.locked or node.pinned:
        raise Locked(old)
    if node.denied:
        raise Denied(old)
    folder, _, name = new.rpartition("\\")
    parent = files.make_directory(folder + "\\")
    if parent.denied or parent.closed:
        raise Denied(new)
    left = files.find(old.rpartition("\\")[0] + "\\")
    files.remove(old)
    left.closed = left.closed or left.closing
    node.name, node.strayed = name, parent is not left
    parent.children[name.lower()] = node


def _holds(node: Node, path: str, sha256: str, size: int) -> bool:
    """Return whether a file holds this. Raise Denied or Locked."""
    content = open_node(node, path).content
    return content.size == size and content.sha256().hex() == sha256.lower()


def _mark(node: Node, ticks: int, attributes: int) -> None:
    """Set time and attributes. Raise ValueError for a time that no file can have."""
    if ticks < _YEAR_1601:
        raise ValueError("Not a valid Win32 FileTime.")
    node.modified, node.attributes = ticks, (attributes & _SETTABLE) or _NORMAL


def _each(names: Sequence[str], deed: Callable[[int], Row]) -> list[Row]:
    """Do one thing after the other; what cannot be done is told of that one."""
    rows: list[Row] = []
    for number, name in enumerate(names):
        try:
            rows.append(deed(number))
        except Locked:
            message = f"The process cannot access '{name}' because it is being used by another process."
            rows.append(("failed", "ExRemote.Locked", message))
        except Denied:
            rows.append(("failed", "ExRemote.AccessDenied", f"Access to the path '{name}' is denied."))
        except (Missing, ValueError) as error:
            rows.append(("failed", "ExRemote.MoveFailed", str(error)))
    return rows


def _odd(files: FileSystem, roots: Sequence[str], name: str) -> Row | None:
    """Return why nothing may be moved to or from a name below these folders, or None."""
    if ODD.search(name):
        return "failed", "ExRemote.BadName", "Windows takes that name for another one."
    for root in roots:
        if linked(files, root, name):
            return "failed", "ExRemote.Link", f"{root}\\{name} leads over a link."
    if files.is_directory(f"{roots[-2]}\\{name}"):
        return "failed", "ExRemote.IsFolder", "It is a folder."
    return None


def _roots(machine: Machine, arguments: Arguments, *names: str) -> list[str]:
    """Return the folders that a call names. Raise ScriptThrew if one is none, or is a link."""
    roots = [arguments.text(name) for name in names]
    for root in roots:
        if not is_folder(root):
            raise refused("ExRemote.BadArgument", f"'{root}' is not the full path of a folder below a root.")
    for root in roots:
        if linked(machine.files, root, ""):
            raise refused("ExRemote.Link", f"{root} is a link.")
    return roots


def _answer(path: str, rows: Sequence[Row]) -> Iterator[Record]:
    yield from text_blocks(rows)
    yield {"Path": path, "Files": len(rows), "Failed": sum(row[0] == "failed" for row in rows)}


def staged_move(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Move-StagedFile: staged files take their places, what is there goes aside."""
    staging, path, aside = roots = _roots(machine, arguments, "Staging", "Path", "Aside")
    files = machine.files
    lines = [(text, LINE.fullmatch(text)) for text in decode_names(arguments.text("Files"))]
    for text, found in lines:
        if found is None or leads_out(found[5]):
            raise refused("ExRemote.BadArgument", f"'{text}' leads out of the folder.")
    rows = [found.groups() for _, found in lines if found is not None]

    def swap(number: int) -> Row:
        sha256, size, ticks, bits, name = rows[number]
        if (why := _odd(files, roots, name)) is not None:
            return why
        old, new = files.get(f"{path}\\{name}"), files.get(f"{staging}\\{name}")
        if old is not None and _holds(old, f"{path}\\{name}", sha256, int(size)):
            _mark(old, int(ticks), int(bits))
            return "there", "", ""
        if new is None or new.is_directory:
            return "failed", "ExRemote.FileMissing", "It was not staged."
        if not _holds(new, f"{staging}\\{name}", sha256, int(size)):
            return "failed", "ExRemote.Damaged", "What was staged is not what is to come there."
        if old is not None and files.get(f"{aside}\\{name}") is not None:
            return "failed", "ExRemote.AsideTaken", f"{aside}\\{name} is there already, and is kept."
        _mark(new, int(ticks), int(bits))
        if old is not None:
            _move(files, f"{path}\\{name}", f"{aside}\\{name}")
        try:
            _move(files, f"{staging}\\{name}", f"{path}\\{name}")
        except (Locked, Denied, Missing) as error:
            if old is not None:
                try:
                    _move(files, f"{aside}\\{name}", f"{path}\\{name}")
                except (Locked, Denied, Missing):
                    why = f"{error} cannot be moved. What was there is {aside}\\{name} now."
                    return "failed", "ExRemote.NotMovedBack", why
            raise
        return "swapped", "", ""

    with machine.lock:
        answers = _each([row[4] for row in rows], swap)
    yield from _answer(path, answers)


def aside_move(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Move-FileAside: named files leave their folder, and are kept beside it."""
    path, aside = roots = _roots(machine, arguments, "Path", "Aside")
    files, names = machine.files, checked_names(arguments.text("Files"))

    def move(number: int) -> Row:
        name = names[number]
        if (why := _odd(files, roots, name)) is not None:
            return why
        taken = files.get(f"{aside}\\{name}")
        if files.get(f"{path}\\{name}") is None:
            return "gone" if taken is None or taken.is_directory else "moved", "", ""
        if taken is not None:
            return "failed", "ExRemote.AsideTaken", f"{aside}\\{name} is there already, and is kept."
        _move(files, f"{path}\\{name}", f"{aside}\\{name}")
        return "moved", "", ""

    with machine.lock:
        answers = _each(names, move)
    yield from _answer(path, answers)


def staging_remove(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Remove-StagingFolder: a folder of exremote's own, with all below it."""
    path = arguments.text("Path").rstrip("\\")
    if not is_folder(path) or not path.rpartition("\\")[2].lower().startswith("exremote-"):
        raise refused("ExRemote.BadArgument", f"'{path}' is no folder whose name begins with exremote-.")
    files, count = machine.files, 0
    with machine.lock:
        there = files.is_directory(path)
        if there:
            if files.find(path).attributes & REPARSE:
                raise refused("ExRemote.Link", f"{path} is a link.")
            count = _empty(files, path)
            files.remove(path)
    yield {"Path": arguments.text("Path"), "Removed": there, "Files": Long(count)}


def _empty(files: FileSystem, path: str) -> int:
    """Remove all below a folder, nothing behind a link. Return how many files. Raise ScriptThrew."""
    count = 0
    for node in list(files.find(path).children.values()):
        place = f"{path}\\{node.name}"
        if node.is_directory and not node.attributes & REPARSE:
            count += _empty(files, place)
        try:
            files.remove(place)
        except Locked:
            message = f"{place}: The process cannot access the file because another process uses it."
            raise refused("ExRemote.Locked", message) from None
        except Denied:
            raise refused("ExRemote.AccessDenied", f"{place}: Access to the path is denied.") from None
        count += not node.is_directory
    return count

"""The simulated answers of the two scripts that read files in bulk: a tree's listing, and packs.

It keeps to the rules of ps_scripts/Get-FileTree.ps1 and Read-FilePack.ps1, and holds no file in memory that
it need not.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

from exremote.lab.binding import Arguments
from exremote.lab.files import REPARSE, Denied, FileSystem, Locked, Missing, Node, open_node
from exremote.lab.machine import Machine
from exremote.lab.packing import blocks, decode_names, end_record, failure_record, file_records
from exremote.lab.wsman.engine import Call, ErrorRecord, Long, Record, ScriptThrew

ODD = re.compile(r"[^\\. ][. ]+(\\|$)")
"""Names that Windows takes for another file's: it drops dots and spaces at the end."""


class Strange(Exception):
    """No file can be opened by that name."""


def rooted(path: str) -> bool:
    """Return what Path.IsPathRooted returns."""
    return path[:1] in ("\\", "/") or path[1:2] == ":"


def full(path: str) -> bool:
    """Return whether the scripts take a path as a root: from a drive's root on, or a UNC path."""
    return re.match(r"[A-Za-z]:\\|\\\\", path) is not None


def refused(error_id: str, message: str, category: str = "NotSpecified") -> ScriptThrew:
    """Return the exception of a Write-Error under ErrorActionPreference Stop."""
    return ScriptThrew(
        ErrorRecord(f"{error_id},Microsoft.PowerShell.Commands.WriteErrorException", message, "", category)
    )


def pattern(excludes: Sequence[str]) -> re.Pattern[str]:
    """Return the exclude patterns as one expression over relative paths."""
    parts = ["(?!)"]
    for text in excludes:
        if not text:
            continue
        escaped = "".join({"*": "\0", "?": "\1"}.get(char, re.escape(char)) for char in text)
        if "\\" in text:
            parts.append(escaped.replace("\0", ".*").replace("\1", "."))
        else:
            parts.append(r"(?:.*\\)?" + escaped.replace("\0", r"[^\\]*").replace("\1", r"[^\\]"))
    return re.compile(f"(?is)^(?:{'|'.join(parts)})$")


def _entries(
    files: FileSystem, root: str, excludes: Sequence[str], no_hash: bool
) -> Iterator[tuple[str, Node, str]]:
    """Yield relative path, node and mark of all below a root; ? for a file still to be read."""
    excluded = pattern(excludes)
    closed = {text.lower() for text in excludes}
    todo = [("", files.find(root))]
    while todo:
        folder, parent = todo.pop()
        if parent.denied:
            if not folder:
                raise refused("ExRemote.AccessDenied", f"{root} cannot be listed. !ExRemote.AccessDenied")
            yield folder, parent, "!ExRemote.AccessDenied"
            continue
        if folder:
            yield folder, parent, "-"
        for node in parent.children.values():
            name = f"{folder}\\{node.name}" if folder else node.name
            if ODD.search(name):
                yield name, node, "!ExRemote.ReadFailed"
            elif f"{name}\\*".lower() in closed if node.is_directory else excluded.match(name):
                yield name, node, "x"
            elif node.is_directory and node.attributes & REPARSE:
                yield name, node, "r"
            elif node.is_directory:
                todo.append((name, node))
            else:
                yield name, node, "-" if no_hash else "?"


def _read(files: FileSystem, path: str, node: Node) -> tuple[int, str]:
    """Return size and digest of a file as it is read now. Raise Missing, Denied or Locked."""
    opened = files.open(path) if node.vanishing else open_node(node, path)
    return opened.content.size, opened.content.sha256().hex()


class _Groups:
    """The groups of lines that a caller knows: those that are the same are left out."""

    def __init__(self, known: str) -> None:
        lines = decode_names(known) if known else []
        self._known = [(digest, _ordinal(last)) for digest, _, last in (x.partition("\t") for x in lines)]
        self._number = 0
        self._lines: list[bytes] = []
        self._digest = hashlib.sha256()
        self.changed: list[int] = []

    def before(self, name: str | None) -> Iterator[bytes]:
        """Yield the lines of the groups that end before a name, or, with None, of all that there are."""
        while self._number < len(self._known):
            half, last = self._known[self._number]
            if name is not None and _ordinal(name) <= last:
                return
            yield from self._close(self._digest.hexdigest()[:32] == half)

    def add(self, line: bytes, counts: bool) -> None:
        """Add a line; whether it counts for the digest."""
        self._lines.append(line)
        if counts:
            self._digest.update(line)

    def end(self) -> Iterator[bytes]:
        """Yield what is left, and what lies behind all groups."""
        yield from self.before(None)
        if self._lines:
            yield from self._close(False)

    def _close(self, same: bool) -> Iterator[bytes]:
        if not same:
            yield from self._lines
            self.changed.append(self._number)
        self._lines, self._digest = [], hashlib.sha256()
        self._number += 1


def _ordinal(name: str) -> bytes:
    return name.encode("utf-16-be", "surrogatepass")


def file_tree(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Get-FileTree: the listing of a folder, and its digest."""
    path = arguments.text("Path")
    if not full(path):
        raise refused("ExRemote.BadArgument", f"'{path}' is not a full path.")
    answer: dict[str, object] = {
        "Path": path,
        "Exists": False,
        "Files": Long(0),
        "Bytes": Long(0),
        "Digest": "",
        "Changed": "",
    }
    if not machine.files.is_directory(path) or not machine.may_use(path, call.shell_id):
        yield answer
        return
    answer["Exists"] = True
    root = path.rstrip("\\") + "\\"
    with machine.lock:
        found = list(_entries(machine.files, path, arguments.texts("Exclude"), arguments.flag("NoHash")))
    found.sort(key=lambda entry: _ordinal(entry[0]))
    heads = [
        "0\t0\t0"
        if ODD.search(name)
        else f"{node.size}\t{0 if node.size == -1 else node.modified}\t{node.attributes}"
        for name, node, _ in found
    ]
    digest = hashlib.sha256()
    groups = _Groups(arguments.text("Known"))
    count = total = 0

    def listing() -> Iterator[bytes]:
        nonlocal count, total
        for (name, node, mark), head in zip(found, heads, strict=True):
            yield from groups.before(name)
            if mark == "?":
                _, _, rest = head.partition("\t")
                try:
                    read, mark = _read(machine.files, root + name, node)
                    head = f"{read}\t{rest}"
                except Missing:
                    continue
                except Denied:
                    mark = "!ExRemote.AccessDenied"
                except Locked:
                    mark = "!ExRemote.FileLocked"
            line = f"{head}\t{mark}\t{name}\n".encode()
            if mark != "x":
                digest.update(line)
                length = int(head.partition("\t")[0])
                if length != -1:
                    count += 1
                    total += length
            groups.add(line, counts=mark != "x")
        yield from groups.end()

    yield from blocks(listing())
    answer |= {"Files": Long(count), "Bytes": Long(total), "Digest": digest.hexdigest()}
    answer["Changed"] = ",".join(map(str, groups.changed))
    yield answer


def root_and_names(arguments: Arguments) -> tuple[str, list[str]]:
    """Return the root and the names below it that a script was given. Raise ScriptThrew."""
    path = arguments.text("Path")
    if not full(path):
        raise refused("ExRemote.BadArgument", f"'{path}' is not a full path.")
    try:
        names = decode_names(arguments.text("Files")) or [""]
    except ValueError as error:
        raise ScriptThrew(ErrorRecord("FormatException", str(error))) from error
    for name in names:
        if rooted(name) or ".." in re.split(r"[\\/]", name):
            raise refused("ExRemote.BadArgument", f"'{name}' leads out of the root.")
    return path, names


def file_pack(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Read-FilePack: named files as one stream."""
    path, names = root_and_names(arguments)
    start, offset = arguments.number("StartIndex"), arguments.number("StartOffset")
    if not machine.files.is_directory(path) or not machine.may_use(path, call.shell_id):
        raise refused("ExRemote.PathMissing", f"{path} is not there.")
    root = path.rstrip("\\") + "\\"
    done = failed = sent = 0

    def pack() -> Iterator[bytes]:
        nonlocal done, failed, sent
        for index in range(max(start, 0), len(names)):
            here = offset if index == start else 0
            full = root + names[index]
            try:
                if ODD.search(names[index]):
                    raise Strange
                with machine.lock:
                    opened = machine.files.open(full)
            except Missing:
                problem = "ExRemote.FileMissing", f"Could not find file '{full}'."
            except Denied:
                problem = "ExRemote.AccessDenied", f"Access to the path '{full}' is denied."
            except Locked:
                problem = (
                    "ExRemote.FileLocked",
                    f"The process cannot access the file '{full}' because it is being used "
                    "by another process.",
                )
            except Strange:
                problem = (
                    "ExRemote.ReadFailed",
                    "Windows takes that name for another one.",
                )
            else:
                if opened.content.size >= here:
                    yield from file_records(index, here, opened)
                    sent += opened.content.size - here
                    done += 1
                    continue
                problem = "ExRemote.ReadFailed", f"The file is shorter than {here} bytes now."
            if path.startswith("\\\\") and not machine.files.is_directory(path):
                raise refused("ExRemote.PathMissing", f"{path} is not there any more.")
            failed += 1
            yield from failure_record(index, *problem)
        yield from end_record(done + failed)

    for block in blocks(pack()):
        if call.stopping.is_set():
            return
        yield block
    yield {"Files": Long(done), "Bytes": Long(sent), "Failed": failed}

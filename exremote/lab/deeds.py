"""The simulated answers of the scripts that change services, registry values and work files.

They keep to the rules of the scripts in ps_scripts, and know nothing of `exremote.session` or its formats.
"""

from __future__ import annotations

import fnmatch
import re
import struct
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence

from exremote.lab.binding import Arguments
from exremote.lab.files import REPARSE, Denied, FileSystem, Locked, Node
from exremote.lab.images import can_run
from exremote.lab.machine import SERVICES, START_MODES, Machine
from exremote.lab.packing import BLOCK, blocks, decode_names
from exremote.lab.registry import KeyDenied, Kind, Value, raw
from exremote.lab.trees import refused
from exremote.lab.wsman.engine import Call, Long, Record

READ_ONLY = 1
_FOLDER = re.compile(r"([A-Za-z]:|\\\\[^\\]+\\[^\\]+)(\\[^\\]+)+\\?")
_TICK_S = 0.05
_SAY_S = 2.0
Row = Sequence[object]


def text_blocks(rows: Iterable[Row]) -> Iterator[bytes]:
    """Given rows of fields, yield the blocks that carry them as lines."""
    yield from blocks(("\t".join(str(one) for one in row) + "\n").encode() for row in rows)


def inflated(source: Iterator[object]) -> bytes:
    """Given the blocks that come through a pipeline, return what they hold together."""
    return b"".join(
        block[1:] if block[0] == 0 else zlib.decompressobj(-15).decompress(block[1:], BLOCK)
        for block in source
        if isinstance(block, bytes) and block
    )


# --- services ---


class _Waiting:
    """One call of Set-ServiceState: what it waits for, and for how long."""

    def __init__(self, machine: Machine, call: Call, deadline_s: int) -> None:
        self._machine = machine
        self._call = call
        self._deadline_s = deadline_s
        self._begun = time.monotonic()
        self._said = 0.0

    @property
    def waited(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self._begun

    def state(self, name: str) -> str:
        """Return what a service does now."""
        with self._machine.lock:
            return self._machine.service_state(name) or ""

    def settled(self, name: str, until: str) -> Iterator[Record]:
        """Wait for a state, or for any that does not pass; say at times for how long. Raise ScriptThrew."""
        while True:
            now = self.state(name)
            if now == until or (not until and not now.endswith("Pending")):
                return
            if until == "Running" and now == "Stopped":
                code = self._machine.services[name.lower()].start_exit_code
                message = f"{name}: it stopped again while it started, with code {code}."
                raise refused("ExRemote.ServiceFailed", message)
            if self.waited >= self._deadline_s:
                message = f"{name} is {now} after {self._deadline_s} s."
                raise refused("ExRemote.ServiceStuck", message, "OperationTimeout")
            if self.waited - self._said >= _SAY_S:
                self._said = self.waited
                yield Long(int(self.waited * 1000))
            if self._call.stopping.wait(_TICK_S):
                return

    def bring(self, name: str, wanted: str) -> Iterator[Record]:
        """Bring a service to a state. Raise ScriptThrew."""
        yield from self.settled(name, "")
        if self.state(name) == wanted:
            return
        with self._machine.lock:
            if wanted == "Running" and _mode(self._machine, name) == "Disabled":
                raise refused("ExRemote.ServiceDisabled", f"{name} is disabled. It cannot start.")
            if self._machine.services[name.lower()].denied:
                raise refused("ExRemote.ServiceDenied", f"{name}: Access is denied", "PermissionDenied")
            if wanted == "Running" and not can_run(self._machine, name):
                message = f"{name}: The system cannot find the file specified"
                raise refused("ExRemote.ServiceFailed", message)
            self._machine.set_service(name, wanted)
        yield from self.settled(name, wanted)


def _mode(machine: Machine, name: str) -> str:
    try:
        start = machine.registry.number(rf"{SERVICES}\{name}", "Start", 9)
    except KeyDenied:
        start = 9
    return START_MODES[start] if 0 <= start <= 4 else "Unknown"


def _dependents(machine: Machine, name: str) -> list[str]:
    """Return the services that depend on one, those that depend on these before them."""
    needed: dict[str, list[str]] = {}
    for one in machine.services.values():
        value = machine.registry.get(rf"{SERVICES}\{one.name}", "DependOnService")
        for other in value.data if value is not None and isinstance(value.data, tuple) else ():
            needed.setdefault(other.lower(), []).append(one.name)
    order: list[str] = []
    seen = {name.lower()}

    def add(of: str) -> None:
        for other in needed.get(of.lower(), []):
            if other.lower() not in seen:
                seen.add(other.lower())
                add(other)
                order.append(other)

    add(name)
    return order


def service_set(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Set-ServiceState: one service runs or stops, and how it starts."""
    service = machine.services.get(arguments.text("Name").lower())
    if service is None:
        message = f"There is no service {arguments.text('Name')}."
        raise refused("ExRemote.ServiceMissing", message, "ObjectNotFound")
    name, state, mode = service.name, arguments.text("State"), arguments.text("StartMode")
    waiting = _Waiting(machine, call, arguments.number("DeadlineSeconds", 240))
    before = waiting.state(name), _mode(machine, name)
    also: list[str] = []

    def set_mode() -> None:
        if mode and mode != _mode(machine, name):
            if service.denied:
                raise refused(
                    "ExRemote.ServiceDenied", f"{name}: its start mode cannot be set.", "PermissionDenied"
                )
            machine.registry.set(rf"{SERVICES}\{name}", "Start", START_MODES.index(mode))

    if state == "Running" and mode != "Disabled":
        set_mode()
    if state == "Stopped":
        with machine.lock:
            also = [one for one in _dependents(machine, name) if machine.service_state(one) != "Stopped"]
        for other in also:
            yield from waiting.bring(other, "Stopped")
    if state:
        yield from waiting.bring(name, state)
    set_mode()
    after = waiting.state(name), _mode(machine, name)
    yield {
        "Name": name,
        "State": after[0],
        "StartMode": after[1],
        "Changed": before != after,
        "WaitedMs": Long(int(waiting.waited * 1000)),
        "Also": also,
    }


# --- work files ---


def is_folder(path: str) -> bool:
    """Return whether a script takes a path as that of a folder below a root."""
    return _FOLDER.fullmatch(path) is not None and ".." not in re.split(r"[\\/]", path)


def leads_out(name: str) -> bool:
    """Return whether a script takes a name for one that leads out of its folder."""
    return re.search(r"[:/*?]|^\\", name) is not None or any(
        not part.strip(". ") for part in name.split("\\")
    )


def checked_names(text: str) -> list[str]:
    """Given names as they travel, return them. Raise ScriptThrew for one that leads out."""
    names = decode_names(text) if text else []
    for name in names:
        if leads_out(name):
            raise refused("ExRemote.BadArgument", f"'{name}' leads out of the folder.")
    return names


def linked(files: FileSystem, root: str, name: str) -> bool:
    """Return whether a folder, or anything on the way from it to a name below it, is a link."""
    places = [root.rstrip("\\")]
    for part in name.split("\\") if name else ():
        places.append(f"{places[-1]}\\{part}")
    return any((node := files.get(place)) is not None and node.attributes & REPARSE for place in places)


def _remove(files: FileSystem, root: str, name: str) -> Row:
    node = files.get(root + name)
    if node is None:
        return "gone", 0, 0, "", "", name
    if node.is_directory:
        return "failed", 0, 0, "ExRemote.IsFolder", "It is a folder.", name
    row = (node.size, node.modified)
    try:
        files.remove(root + name)
    except Locked:
        message = (
            f"The process cannot access the file '{root}{name}' because it is being used by another process."
        )
        return "failed", *row, "ExRemote.Locked", message, name
    except Denied:
        return "failed", *row, "ExRemote.AccessDenied", f"Access to the path '{root}{name}' is denied.", name
    return "removed", *row, "", "", name


def _matching(
    files: FileSystem, root: str, patterns: Sequence[str]
) -> Iterator[tuple[str, Node | None, bool]]:
    """Yield name, node and whether it lies deeper, of all files that match; None for a closed folder."""
    wanted = re.compile(
        "|".join(fnmatch.translate(one.replace("[", "[[]")) for one in patterns), re.IGNORECASE
    )
    todo = [("", files.find(root))]
    while todo:
        folder, parent = todo.pop()
        if parent.denied:
            yield folder, None, True
            continue
        for node in list(parent.children.values()):
            name = f"{folder}\\{node.name}" if folder else node.name
            if not node.is_directory and wanted.match(node.name):
                yield name, node, bool(folder)
            elif node.is_directory and not node.attributes & REPARSE:
                todo.append((name, node))


def work_files_remove(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Remove-WorkFile: files of one folder that match, and named ones below it."""
    path, patterns = arguments.text("Path"), arguments.texts("Pattern")
    if not is_folder(path):
        raise refused("ExRemote.BadArgument", f"'{path}' is not the full path of a folder below a root.")
    names = checked_names(arguments.text("Files"))
    for one in patterns:
        if re.search(r"[\\/:]", one) or not re.search(r"[^*?.\s]", one):
            raise refused("ExRemote.BadArgument", f"'{one}' is not a pattern of some file names.")
    files, root, rows = machine.files, path.rstrip("\\") + "\\", list[Row]()
    with machine.lock:
        there = files.is_directory(path)
        if linked(files, root, ""):
            raise refused("ExRemote.Link", f"{path} is a link.")
        for name, node, deeper in _matching(files, root, patterns) if there and patterns else ():
            if node is None:
                message = f"Access to the path '{root}{name}' is denied."
                rows.append(("failed", 0, 0, "ExRemote.AccessDenied", message, name))
            elif deeper:
                rows.append(("deeper", node.size, node.modified, "", "", name))
            else:
                rows.append(_remove(files, root, name))
        for name in names:
            if linked(files, root, name):
                rows.append(("failed", 0, 0, "ExRemote.Link", "Its path leads over a link.", name))
            else:
                rows.append(_remove(files, root, name))
    yield from text_blocks(rows)
    yield {"Path": path, "Exists": there, "Lines": len(rows)}


# --- registry values ---


def _value(name: str, kind: int, data: bytes) -> Value | None:
    """Return the value that .NET 2.0 writes so that these are its bytes, or None if it cannot."""
    if kind not in {one.value for one in Kind}:
        return None
    found = Kind(kind)
    text = data.decode("utf-16-le", "surrogatepass") if len(data) % 2 == 0 else ""
    content: str | int | bytes | tuple[str, ...]
    match found:
        case Kind.Binary:
            content = data
        case Kind.DWord | Kind.QWord:
            content = int.from_bytes(data, "little")
        case Kind.MultiString:
            content = tuple(text[:-1].split("\0")[:-1])
        case _:
            content = text[:-1]
            if "\0" in content:
                return None
    value = Value(name, found, content)
    return value if raw(value) == data else None


def _set(machine: Machine, key: str, name: str, kind: int, data: bytes | None) -> Row:
    registry = machine.registry
    hive, _, below = key.partition("\\")
    if hive.upper() not in ("HKLM", "HKEY_LOCAL_MACHINE") or not below or re.search(r"^\\|\\\\|\\$", below):
        return "failed", "ExRemote.BadKey", "It is no key below HKLM."
    try:
        now = registry.get(key, name)
    except KeyDenied:
        return "failed", "ExRemote.KeyDenied", f"Access to the registry key '{key}' is denied."
    if data is None:
        if now is None:
            return "same", "", ""
        registry.remove(key, name)
        return "removed", "", ""
    value = _value(name, kind, data)
    if value is None:
        message = f"What runs the script writes no value of kind {kind} with such data."
        return "failed", "ExRemote.KindUnsupported", message
    if now is not None and (now.kind, raw(now)) == (value.kind, data):
        return "same", "", ""
    registry.set(key, name if now is None else now.name, value.data, value.kind)
    return "set", "", ""


def registry_set(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Set-RegistryValue: values are set or removed, one by one."""
    whole = inflated(source)
    if len(whole) < 4 or struct.unpack_from("<i", whole)[0] != len(whole) - 4:
        raise refused("ExRemote.BadArgument", "The records did not come whole.")
    place, rows = 4, list[Row]()

    def number() -> int:
        nonlocal place
        place += 4
        return int(struct.unpack_from("<i", whole, place - 4)[0])

    def taken(length: int) -> bytes:
        nonlocal place
        place += length
        return whole[place - length : place]

    while place < len(whole):
        key, name = (taken(number()).decode("utf-16-le", "surrogatepass") for _ in range(2))
        kind, length = number(), number()
        with machine.lock:
            rows.append(_set(machine, key, name, kind, taken(length) if length >= 0 else None))
    yield from text_blocks(rows)
    yield {"Values": len(rows), "Failed": sum(row[0] == "failed" for row in rows)}

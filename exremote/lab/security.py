"""The simulated answers of the scripts that read and set access lists of files and folders.

They keep to the rules of ps_scripts/Get-FileSecurity.ps1 and Set-FileSecurity.ps1. A node has the SDDL of
what is its own; what it inherits is not kept, only whether that comes from the folder that it lies in.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

from exremote.lab.binding import Arguments
from exremote.lab.deeds import Row, is_folder, leads_out, linked, text_blocks
from exremote.lab.files import REPARSE, Denied, FileSystem, Missing, Node
from exremote.lab.machine import Machine
from exremote.lab.packing import decode_names
from exremote.lab.trees import ODD, full, refused
from exremote.lab.wsman.engine import Call, Long, Record

DOMAIN = "S-1-5-21-1004336348-1177238915-682003330"
"""The domain of all machines of the lab."""
ADMINISTRATORS = "S-1-5-32-544"
_ENTRY = r"\([AD];(?:OI|CI|NP|IO|ID)*;0x[0-9a-f]+;;;S-1-[\d-]+\)"
_LIST = re.compile(rf"(O:S-1-[\d-]+)?D:P?(?:{_ENTRY})*")


def local_account(machine: Machine, number: int) -> str:
    """Return the SID of an account that this machine alone knows."""
    return f"S-1-5-21-{zlib.crc32(machine.name.encode())}-29-7-{number}"


def _knows(machine: Machine, sid: str) -> bool:
    own = local_account(machine, 0)[:-1]
    return not sid.startswith("S-1-5-21-") or sid.startswith((f"{DOMAIN}-", own))


def file_security(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Get-FileSecurity: the access lists that do not merely inherit."""
    roots = arguments.texts("Path")
    only, skip = arguments.texts("Only"), {text.lower() for text in arguments.texts("Skip")}
    for root in roots:
        if not full(root):
            raise refused("ExRemote.BadArgument", f"'{root}' is not a full path.")
    rows: list[Row] = []
    looked, most = 0, arguments.number("Most", 20000)

    def add(number: int, node: Node, name: str) -> bool:
        nonlocal looked
        looked += 1
        said = node.security if node.security is not None else "!ExRemote.AccessDenied"
        said = "!ExRemote.AccessDenied" if node.denied else said
        if said:
            rows.append((number, said, name))
        if len(rows) > most:
            message = f"More than {most} files and folders have access lists of their own."
            raise refused("ExRemote.TooMany", message)
        return not said.startswith("!")

    with machine.lock:
        for number, root in enumerate(roots):
            node = machine.files.get(root)
            if node is None or not node.is_directory or not machine.may_use(root, call.shell_id):
                rows.append((number, "!ExRemote.PathMissing", ""))
                continue
            named = [text.partition("|")[2] for text in only if text.startswith(f"{number}|")]
            for name in named:
                found = machine.files.get(f"{root}\\{name}")
                if found is not None and not found.attributes & REPARSE:
                    add(number, found, name)
            todo = [("", node)] if not named and add(number, node, "") else []
            while todo:
                folder, above = todo.pop()
                for child in above.children.values():
                    name = f"{folder}\\{child.name}" if folder else child.name
                    if ODD.search(name) or child.attributes & REPARSE:
                        continue
                    add(number, child, name)
                    if child.is_directory and not child.denied and f"{number}|{name}".lower() not in skip:
                        todo.append((name, child))
    yield from text_blocks(rows)
    unknown = [sid for sid in arguments.texts("Account") if not _knows(machine, sid)]
    yield {"Lines": len(rows), "Looked": Long(looked), "Unknown": unknown}


def security_set(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Set-FileSecurity: access lists are set, one by one, and read back."""
    path = arguments.text("Path")
    if not is_folder(path):
        raise refused("ExRemote.BadArgument", f"'{path}' is not the full path of a folder below a root.")
    if linked(machine.files, path, ""):
        raise refused("ExRemote.Link", f"{path} is a link.")
    pairs = [line.partition("\t") for line in decode_names(arguments.text("Lists"))]
    for sddl, _, name in pairs:
        if _LIST.fullmatch(sddl) is None or (name and leads_out(name)):
            raise refused("ExRemote.BadArgument", f"'{name}' leads out of the folder, or has no list.")
    rows: list[Row] = []
    with machine.lock:
        for sddl, _, name in pairs:
            try:
                rows.append(_set(machine, path, name, sddl))
            except Denied:
                rows.append(("failed", "ExRemote.AccessDenied", f"Access to the path '{name}' is denied."))
            except Missing:
                rows.append(("failed", "ExRemote.PathMissing", "It is not there."))
    yield from text_blocks(rows)
    yield {"Path": path, "Lists": len(rows), "Failed": sum(row[0] == "failed" for row in rows)}


def _set(machine: Machine, path: str, name: str, sddl: str) -> Row:
    """Set one list. Raise Denied or Missing."""
    if name and ODD.search(name):
        return "failed", "ExRemote.BadName", "Windows takes that name for another one."
    if linked(machine.files, path, name):
        return "failed", "ExRemote.Link", f"{path}\\{name} leads over a link."
    place = f"{path}\\{name}" if name else path
    node = machine.files.find(place)
    if node.denied or node.security is None or place.lower() in machine.held_lists:
        raise Denied(name)
    wanted = "" if sddl == "D:" else sddl
    if re.match("[^D]*D:P", wanted) and node.security == wanted:
        return "same", "", ""
    owner, _, entries = wanted.partition("D:")
    was, _, _ = node.security.partition("D:")
    if wanted and owner != was and not machine.administrator:
        inherit(node)
        node.security = f"{was or f'O:{ADMINISTRATORS}'}D:{entries}"
        why = (
            "The owner stays as it is. The security identifier is not allowed to be the owner of this object."
        )
        return "owner", "ExRemote.OwnerDenied", why
    inherit(node)
    node.security = wanted
    return "set", "", ""


def inherit(node: Node) -> None:
    """Have a node, and all below that inherits, inherit from the folder that it lies in."""
    node.strayed = False
    for child in node.children.values():
        inherit(child)


def seen(files: FileSystem, path: str) -> dict[str, object]:
    """Return what the lab knows of a file's list: its own part, and whether it inherits from elsewhere."""
    node = files.find(path)
    return {"list": node.security, "strayed": node.strayed}

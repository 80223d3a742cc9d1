"""The simulated answers about a GroupWise API gateway's directory: its queues, a probe file, its share.

It keeps to the rules of ps_scripts/Test-ApiDirectory.ps1, Connect-Share.ps1 and Disconnect-Share.ps1, and
writes into no queue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from exremote.lab.behind import connect
from exremote.lab.binding import Arguments
from exremote.lab.files import Denied, DiskFull, Locked, Missing
from exremote.lab.machine import Machine, from_ticks, share_of
from exremote.lab.trees import full, refused
from exremote.lab.wsman.engine import Call, ErrorRecord, Long, Record

QUEUES = ("API_IN", "API_OUT", "ATT_IN", "ATT_OUT", "GWHOLD", "GWPROB")
_MARK = b"exremote probe"
_PROBE = re.compile(r"EXPR\d{4}\.TMP", re.IGNORECASE)


def api_directory(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Test-ApiDirectory: the queues of a GroupWise API gateway, and a probe file at its root."""
    path = arguments.text("Path")
    if not full(path):
        raise refused("ExRemote.BadArgument", f"'{path}' is not a full path.", "InvalidArgument")
    root = path.rstrip("\\")
    files = machine.files
    there = files.is_directory(root) and machine.may_use(root, call.shell_id)
    for queue in QUEUES:
        folder = files.get(rf"{root}\{queue}") if there else None
        exists = folder is not None and folder.is_directory
        if folder is not None and exists and folder.denied:
            message = f"{queue}: Access to the path '{root}\\{queue}' is denied."
            yield ErrorRecord("ExRemote.AccessDenied", message, "", "PermissionDenied")
            continue
        inside = (
            [node for node in folder.children.values() if not node.is_directory and not node.vanishing]
            if folder and exists
            else []
        )
        empty = [node.modified for node in inside if node.size == 0]
        yield {
            "Queue": queue,
            "Exists": exists,
            "Files": Long(len(inside)),
            "Bytes": Long(sum(node.size for node in inside)),
            "ZeroByte": Long(len(empty)),
            "OldestUtc": from_ticks(min(node.modified for node in inside)) if inside else None,
            "OldestEmptyUtc": from_ticks(min(empty)) if empty else None,
        }
    answer: dict[str, object] = {
        "Path": path,
        "Exists": there,
        "Account": call.user,
        "Probed": False,
        "Written": False,
        "ReadBack": False,
        "Removed": False,
        "ProbeError": "",
        "Leftovers": [],
        "Cleared": [],
        "LeftoverError": "",
    }
    if there:
        answer["Probed"] = arguments.flag("Probe")
        _leftovers(machine, root, answer)
    if answer["Probed"]:
        try:
            _probe(machine, root, answer)
        except Denied as error:
            answer["ProbeError"] = f"Access to the path '{error}' is denied."
        except DiskFull:
            answer["ProbeError"] = "There is not enough space on the disk."
        except (Locked, Missing) as error:
            answer["ProbeError"] = f"The process cannot access the file '{error}'."
    yield answer


def _leftovers(machine: Machine, root: str, answer: dict[str, object]) -> None:
    """Look for earlier probe files and, if a probe is wanted, remove them. Note it in `answer`."""
    files, share = machine.files, machine.shares.get(share_of(root))
    folder = files.find(root)
    if folder.denied:
        answer["LeftoverError"] = f"Access to the path '{root}' is denied."
        return
    left: list[str] = []
    gone: list[str] = []
    for node in list(folder.children.values()):
        if not _PROBE.fullmatch(node.name) or not 0 <= node.size < 1024:
            continue
        path = rf"{root}\{node.name}"
        try:
            if b"".join(files.open(path).content.chunks()).startswith(_MARK):
                left.append(node.name)
                if answer["Probed"]:
                    if share is not None and share.read_only:
                        raise Denied(path)
                    files.remove(path)
                    gone.append(node.name)
        except Missing:
            continue
        except (Denied, Locked):
            answer["LeftoverError"] = f"{node.name}: The process cannot access the file '{path}'."
    answer |= {"Leftovers": left, "Cleared": gone}


def _probe(machine: Machine, root: str, answer: dict[str, object]) -> None:
    """Write a probe file. Note in `answer` how far it came. Raise Missing, Denied, Locked or DiskFull."""
    files = machine.files
    if files.find(root).denied:
        raise Denied(root)
    share = machine.shares.get(share_of(root))
    path = rf"{root}\EXPR{machine.now().microsecond % 10000:04d}.TMP"
    if share is not None and share.read_only:
        raise Denied(path)
    # The file is made before it is found that nothing goes into it, and removed all the same.
    answer["Removed"] = True
    text = _MARK + b", may be removed"
    files.write(path, text)
    answer["Written"] = True
    answer["ReadBack"] = b"".join(files.open(path).content.chunks()) == text
    files.remove(path)


def _unc(path: str) -> str:
    """Return the share of a UNC path as it is written. Raise ScriptThrew if it is none."""
    found = re.match(r"\\\\[^\\]+\\[^\\]+", path)
    if found is None:
        raise refused("ExRemote.BadArgument", f"'{path}' is not a UNC path.", "InvalidArgument")
    return found.group()


def connect_share(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Connect-Share: a network connection with a name and password of its own."""
    name = _unc(arguments.text("Path"))
    share = machine.shares.get(name.lower())
    said = connect(machine, name, arguments.text("UserName"), arguments.text("Password"), call.shell_id)
    why = said or ""
    if said is not None:
        pass
    elif (share is None and name.lower() not in machine.files.roots) or (share and share.away is not None):
        why = "The network path was not found."
    elif share is not None and share.accounts:
        accounts = {user.lower(): word for user, word in share.accounts.items()}
        if accounts.get(arguments.text("UserName").lower()) != arguments.text("Password"):
            why = "Logon failure: unknown user name or bad password."
    if why:
        id_ = "ExRemote.ShareUnreachable" if why.startswith("The network") else "ExRemote.ShareRefused"
        raise refused(id_, f"{name}: {why}", "PermissionDenied")
    machine.connections.add((call.shell_id, name.lower()))
    yield {"Path": arguments.text("Path"), "Connected": True}


def disconnect_share(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Disconnect-Share: its end, whether or not it was there."""
    share = _unc(arguments.text("Path")).lower()
    machine.connections -= {(call.shell_id, share), (call.shell_id, share[2:].partition("\\")[0])}
    yield {"Path": arguments.text("Path"), "Connected": False}

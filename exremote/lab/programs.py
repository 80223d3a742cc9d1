"""Programs as the lab has them: files that begin as real ones do, and what Get-FileFact says of them.

None of them can be run.
"""

from __future__ import annotations

import fnmatch
import struct
from collections.abc import Iterator

from exremote.lab.binding import Arguments
from exremote.lab.files import Denied, Locked, Missing, Node
from exremote.lab.machine import Machine
from exremote.lab.wsman.engine import Call, Long, Record

_FIXED = struct.pack("<I", 0xFEEF04BD)
_HEADERS, _SECTION = 0x200, 0x1000


def dos_program(text: str) -> bytes:
    """Return a program of MS-DOS: its header, and a text."""
    return b"MZ" + bytes(62) + text.encode()


def windows_program(version: str, text: str) -> bytes:
    """Return a program of Windows that carries a version, `6.5.0.0`, and a text behind it."""
    a, b, c, d = (int(part) for part in version.split("."))
    fixed = struct.pack("<13I", 0xFEEF04BD, 0x10000, a << 16 | b, c << 16 | d, *([0] * 9))
    key = "VS_VERSION_INFO\0".encode("utf-16-le")
    info = (struct.pack("<3H", 40 + len(fixed), len(fixed), 0) + key).ljust(40, b"\0") + fixed
    # Three directories with one entry each: the type (16: version), the name, the language.
    resource = b""
    for level, number in enumerate((16, 1, 1033)):
        last = level == 2
        place = 24 * (level + 1) | (0 if last else 0x80000000)
        resource += struct.pack("<IIHHHH", 0, 0, 0, 0, 0, 1) + struct.pack("<II", number, place)
    resource += struct.pack("<IIII", _SECTION + 88, len(info), 0, 0) + info
    optional = struct.pack(
        "<HBBIIIIIIIIIHHHHHHIIIIHHIIIIII",
        *(0x10B, 0, 0, 0, len(resource), 0, 0, _SECTION, _SECTION, 0x10000000, _SECTION, _HEADERS),
        *(4, 0, 0, 0, 4, 0, 0, 2 * _SECTION, _HEADERS, 0, 3, 0, 0x100000, 0x1000, 0x100000, 0x1000, 0, 16),
    )
    places = [(0, 0)] * 16
    places[2] = (_SECTION, len(resource))
    optional += b"".join(struct.pack("<II", *place) for place in places)
    section = b".rsrc\0\0\0" + struct.pack(
        "<IIIIIIHHI", len(resource), _SECTION, _HEADERS, _HEADERS, 0, 0, 0, 0, 0x40000040
    )
    head = b"MZ" + bytes(58) + struct.pack("<I", 64)
    head += b"PE\0\0" + struct.pack("<HHIIIHH", 0x14C, 1, 0, 0, 0, len(optional), 0x2102)
    head += optional + section
    return head.ljust(_HEADERS, b"\0") + resource.ljust(_HEADERS, b"\0") + text.encode()


def _kind(data: bytes) -> str:
    """Return what the script says of the first bytes."""
    if len(data) < 64 or data[:2] != b"MZ":
        return ""
    (place,) = struct.unpack_from("<i", data, 60)
    if place < 64 or place + 4 > len(data):
        return "MZ"
    mark = data[place : place + 4]
    if mark == b"PE\0\0":
        return "PE"
    return mark[:2].decode() if mark[:2] in (b"NE", b"LE") else "MZ"


def _version(data: bytes) -> str:
    place = data.find(_FIXED)
    if place < 0:
        return ""
    high, low = struct.unpack_from("<II", data, place + 8)
    return f"{high >> 16}.{high & 0xFFFF}.{low >> 16}.{low & 0xFFFF}"


def file_fact(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Get-FileFact: what named files are."""
    for path in arguments.texts("Path"):
        answer: dict[str, object] = {
            "Path": path,
            "Exists": False,
            "Size": Long(0),
            "ModifiedTicks": Long(0),
            "Attributes": 0,
            "Sha256": "",
            "Kind": "",
            "Version": "",
            "Error": "",
        }
        folder, _, name = path.rpartition("\\")
        try:
            with machine.lock:
                if not machine.may_use(path, call.shell_id):
                    raise Missing(path)
                if "*" in name or "?" in name:
                    node: Node | None = _first(machine, folder, name)
                    if node is None or node.content is None:
                        raise Missing(path)
                    answer["Size"] = Long(node.content.size)
                else:
                    if not machine.files.is_file(path):
                        raise Missing(path)
                    node = machine.files.find(path)
                    content = machine.files.open(path).content
                    answer["Size"] = Long(content.size)
                    if not arguments.flag("NoHash"):
                        data = b"".join(content.chunks())
                        kind = _kind(data)
                        answer |= {
                            "Sha256": content.sha256().hex(),
                            "Kind": kind,
                            "Version": _version(data) if kind in ("PE", "NE") else "",
                        }
                answer |= {
                    "Exists": True,
                    "ModifiedTicks": Long(node.modified),
                    "Attributes": node.attributes,
                }
        except Missing:
            pass
        except Denied:
            answer["Error"] = "ExRemote.AccessDenied"
        except Locked:
            answer["Error"] = "ExRemote.FileLocked"
        yield answer


def _first(machine: Machine, folder: str, pattern: str) -> Node | None:
    """Return the first file of a folder that fits a pattern, or None. Raise Missing."""
    for node in machine.files.find(folder).children.values():
        if not node.is_directory and fnmatch.fnmatchcase(node.name.lower(), pattern.lower()):
            return node
    return None

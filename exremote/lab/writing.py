"""The simulated answer of Write-FilePack: files that come through a pipeline, written as they come.

It keeps to the rules of the script, and knows nothing of `exremote.pack`.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from exremote.lab.binding import Arguments
from exremote.lab.files import Denied, DiskFull, Growing, Locked, Missing, Node
from exremote.lab.machine import Machine
from exremote.lab.packing import BLOCK
from exremote.lab.trees import ODD, refused, root_and_names
from exremote.lab.wsman.engine import Call, Long, Record

_NORMAL = 0x80


@dataclass(slots=True)
class _Open:
    """The file that is being written."""

    index: int = -1
    node: Node | None = None
    attributes: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)


def file_write(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Write-FilePack: files of one stream, below one root."""
    path, names = root_and_names(arguments)
    every = arguments.number("Every", 1 << 20)
    root = path.rstrip("\\") + "\\"
    opened = _Open()
    done = failed = written = now = said = 0
    for block in source:
        if call.stopping.is_set():
            return
        if not isinstance(block, bytes) or not block:
            continue
        plain = block[1:] if block[0] == 0 else zlib.decompressobj(-15).decompress(block[1:], BLOCK)
        for kind, body in _records(plain):
            try:
                if kind == b"F":
                    opened.node = None
                    opened.index, offset, _, opened.attributes, _ = struct.unpack("<IqqIq", body)
                    opened.node = _open(machine, root, names[opened.index], offset)
                    opened.digest = hashlib.sha256()
                elif opened.node is None:
                    continue
                elif kind == b"D":
                    opened.digest.update(body)
                    if machine.files.full:
                        raise DiskFull
                    _content(opened.node).append(body)
                    written += len(body)
                elif kind == b"J":
                    _join(machine, opened, root + names[struct.unpack("<I", body)[0]])
                else:
                    _end(opened, body)
                    if machine.spoils:
                        machine.spoils -= 1
                        _content(opened.node).append(b"?")  # as a disk does: the script has seen it right
                    opened.node = None
                    done += 1
            except DiskFull:
                message = f"No room for {root}{names[opened.index]}. There is not enough space on the disk."
                raise refused("ExRemote.DiskFull", message) from None
            except (_Failed, Missing, Denied, Locked, IndexError) as error:
                opened.node = None
                failed += 1
                said_why = str(error) or "It is not there."
                yield {"Index": opened.index, "ErrorId": _error_id(error), "Message": said_why}
        now += len(plain)
        if now - said >= every:
            said = now
            yield Long(now)
    yield {"Files": Long(done), "Bytes": Long(written), "Failed": failed}


class _Failed(Exception):
    """A file could not be written."""


class _Damaged(_Failed):
    """What lies there is not what was sent."""


def _error_id(error: Exception) -> str:
    known = {Denied: "AccessDenied", Locked: "FileLocked", _Damaged: "Damaged"}
    return f"ExRemote.{known.get(type(error), 'WriteFailed')}"


def _records(plain: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place < len(plain):
        kind, length = struct.unpack_from("<cI", plain, place)
        yield kind, plain[place + 5 : place + 5 + length]
        place += 5 + length


def _content(node: Node) -> Growing:
    assert isinstance(node.content, Growing)
    return node.content


def _open(machine: Machine, root: str, name: str, offset: int) -> Node:
    """Open a file for writing from an offset on; what lies behind it goes."""
    if ODD.search(name):
        raise _Failed("Windows takes that name for another one.")
    with machine.lock:
        try:
            old = machine.files.find(root + name)
        except Missing:
            old = None
        if old is not None and old.denied:
            raise Denied(f"Access to the path '{root}{name}' is denied.")
        if old is not None and old.locked:
            raise Locked(f"The process cannot access '{root}{name}', which is used by another process.")
        data = b"" if old is None or old.content is None else b"".join(old.content.chunks())
        if len(data) < offset:
            raise _Damaged(f"The file has less than {offset} bytes.")
        if old is not None and isinstance(old.content, Growing):
            old.content.cut(offset)
            return old
        return machine.files.write(root + name, Growing(data[:offset]))


def _join(machine: Machine, opened: _Open, piece: str) -> None:
    """Append a piece to the file that is open, and remove it."""
    assert opened.node is not None
    with machine.lock:
        content = machine.files.find(piece).content
        assert content is not None
        for data in content.chunks():
            opened.digest.update(data)
            _content(opened.node).append(data)
        machine.files.remove(piece)


def _end(opened: _Open, body: bytes) -> None:
    size, ticks, digest = struct.unpack("<qq32s", body)
    node = opened.node
    assert node is not None
    if _content(node).size != size or opened.digest.digest() != digest:
        raise _Damaged("It did not arrive as it was sent.")
    node.modified, node.attributes = ticks, opened.attributes or _NORMAL

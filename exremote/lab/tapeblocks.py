"""Read-TapeBlock as the lab plays it: the pieces of a tape file that the script would send, and its digest.

Written from the script, not from `exremote.mtf` or `exremote.pack`: the two sides must agree without knowing
each other. It judges nothing.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator, Iterator

from exremote.lab.binding import Arguments
from exremote.lab.files import Denied, Locked, Missing
from exremote.lab.machine import Machine
from exremote.lab.packing import blocks
from exremote.lab.trees import refused
from exremote.lab.wsman.engine import Call, Long, Record

_KINDS = (b"TAPE", b"SSET", b"VOLB", b"DIRB", b"FILE", b"CFIL", b"ESPB", b"ESET", b"EOTM", b"SFMB")
_NAMES = (b"PNAM", b"FNAM", b"CSUM")
_WORD = re.compile(rb"[A-Z0-9]{4}")
_HEADER, _STREAM = 52, 22


def tape_block(
    machine: Machine, arguments: Arguments, source: Iterator[object], call: Call
) -> Iterator[Record]:
    """Read-TapeBlock: a tape file's blocks without their data."""
    path = arguments.text("Path")
    if not re.match(r"[A-Za-z]:\\|\\\\", path):
        raise refused("ExRemote.BadArgument", f"'{path}' is not a full path.", "InvalidArgument")
    answer: dict[str, object] = {
        "Path": path,
        "Exists": False,
        "Size": Long(0),
        "ModifiedTicks": Long(0),
        "Attributes": 0,
        "Sha256": "",
    }
    try:
        with machine.lock:
            if not machine.may_use(path, call.shell_id) or not machine.files.is_file(path):
                raise Missing(path)
            opened = machine.files.open(path)
    except Missing:
        yield answer
        return
    except Denied as error:
        message = f"Access to the path '{path}' is denied."
        raise refused("ExRemote.AccessDenied", message, "PermissionDenied") from error
    except Locked as error:
        message = f"The process cannot access the file '{path}'."
        raise refused("ExRemote.FileLocked", message, "ResourceBusy") from error
    data = b"".join(opened.content.chunks())
    for block in blocks(pieces(data)):
        if call.stopping.is_set():
            return
        yield block
    yield answer | {
        "Exists": True,
        "Size": Long(len(data)),
        "ModifiedTicks": Long(opened.modified),
        "Attributes": opened.attributes,
        "Sha256": opened.content.sha256().hex(),
    }


def pieces(data: bytes) -> Iterator[bytes]:
    """Yield what is sent of a file: block after block, stream headers, names, checksums."""
    at = block_size = 0
    while at < len(data):
        head = data[at : at + _HEADER]
        yield _piece(at, head)
        if len(head) < _HEADER or not _WORD.fullmatch(head[:4]):
            return
        (first,) = struct.unpack_from("<H", head, 8)
        if first < _HEADER:
            return
        body = data[at + _HEADER : at + first]
        yield _piece(at + _HEADER, body)
        if not block_size:
            block_size = int.from_bytes(body[32:34], "little")
            if block_size not in (512, 1024):
                return
        at += first
        if head[:4] != b"SFMB":
            at = yield from _streams(data, at, block_size)


def _streams(data: bytes, at: int, block_size: int) -> Generator[bytes, None, int]:
    """Yield what is sent of the streams of one block. Return where the next block has to begin."""
    while at < len(data):
        gap = -at % 4
        held = data[at : at + gap + _STREAM]
        yield _piece(at, held)
        if len(held) < gap + _STREAM:
            break
        kind = held[gap : gap + 4]
        if not _WORD.fullmatch(kind) or kind in _KINDS:
            following, sent = at + -at % block_size, at + gap + _STREAM
            if following > sent:
                yield _piece(sent, data[sent:following])
            return following
        (length,) = struct.unpack_from("<q", held, gap + 8)
        at += gap + _STREAM
        if not 0 <= length <= len(data) - at:
            break
        if length <= 65536 and kind in _NAMES:
            yield _piece(at, data[at : at + length])
        at += length
        if kind == b"SPAD":
            return at
    return len(data)


def _piece(at: int, data: bytes) -> bytes:
    return struct.pack("<qi", at, len(data)) + data

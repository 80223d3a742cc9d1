"""Records as CLIXML, and the framing of PSRP messages: the fast lane beside psrpcore.

psrpcore builds every value through a chain of classes, which costs more than sealing and sending it. What a
simulated script emits is of few kinds, so it is written here directly; protocol messages stay with psrpcore.
"""

from __future__ import annotations

import datetime
import math
import re
import struct
import uuid
from binascii import a2b_base64, b2a_base64
from collections.abc import Iterator, Mapping
from itertools import count

from exremote.lab.wsman.engine import Long

PIPELINE_INPUT = 0x00041002
END_OF_PIPELINE_INPUT = 0x00041003
PIPELINE_OUTPUT = 0x00041004
PIPELINE_STATE = 0x00041006

FRAGMENT_HEADER = 21
MESSAGE_HEADER = 40
_FRAGMENT = struct.Struct(">QQBI")
_MESSAGE = struct.Struct("<II")
_BOM = b"\xef\xbb\xbf"

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff\U00010000-\U0010ffff]|_(?=[xX][0-9a-fA-F]{4}_)"
)


def _hidden(found: re.Match[str]) -> str:
    units = found.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"_x{units[i]:02X}{units[i + 1]:02X}_" for i in range(0, len(units), 2))


def escaped(text: str) -> str:
    """Return `text` as PSRP writes it inside XML: control characters and surrogates as _xHHHH_."""
    text = _UNSAFE.sub(_hidden, text)
    if "&" in text or "<" in text or ">" in text or '"' in text:
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return text


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "INF" if value > 0 else "-INF"
    return repr(value)


def _when(value: datetime.datetime) -> str:
    if value.tzinfo is not None:
        value = value.astimezone(datetime.UTC)
    return f"{value:%Y-%m-%dT%H:%M:%S}.{value.microsecond:06d}0Z".replace(".0000000Z", "Z")


def element(value: object, name: str = "", references: Iterator[int] | None = None) -> str:
    """Return `value` as a CLIXML element. Raise TypeError for a kind of value that has none here.

    Strings, bool, int (Int64 beyond Int32 or as Long), float, bytes, datetime (UTC; a naive one is taken for
    UTC), None, lists and mappings (a PSObject with note properties) are known.
    """
    n = f' N="{escaped(name)}"' if name else ""
    match value:
        case None:
            return f"<Nil{n} />"
        case bool():
            return f"<B{n}>{'true' if value else 'false'}</B>"
        case str():
            return f"<S{n}>{escaped(value)}</S>"
        case int():
            if isinstance(value, Long) or not -0x80000000 <= value <= 0x7FFFFFFF:
                return f"<I64{n}>{int(value)}</I64>"
            return f"<I32{n}>{int(value)}</I32>"
        case float():
            return f"<Db{n}>{_number(value)}</Db>"
        case bytes() | bytearray() | memoryview():
            return f"<BA{n}>{b2a_base64(value, newline=False).decode()}</BA>"
        case datetime.datetime():
            return f"<DT{n}>{_when(value)}</DT>"
    references = references or count()
    number = next(references)
    if isinstance(value, Mapping):
        kind = next(references)
        inner = "".join(element(item, str(key), references) for key, item in value.items())
        return (
            f'<Obj{n} RefId="{number}"><TN RefId="{kind}"><T>System.Management.Automation.PSCustomObject</T>'
            f"<T>System.Object</T></TN><MS>{inner}</MS></Obj>"
        )
    if isinstance(value, list | tuple):
        kind = next(references)
        inner = "".join(element(item, "", references) for item in value)
        return (
            f'<Obj{n} RefId="{number}"><TN RefId="{kind}"><T>System.Object[]</T><T>System.Array</T>'
            f"<T>System.Object</T></TN><LST>{inner}</LST></Obj>"
        )
    raise TypeError(f"{type(value).__name__} has no CLIXML here")


def output(value: object, pool_id: uuid.UUID, pipeline_id: uuid.UUID) -> bytes:
    """Return one PIPELINE_OUTPUT message for a client."""
    head = _MESSAGE.pack(1, PIPELINE_OUTPUT) + pool_id.bytes_le + pipeline_id.bytes_le
    if isinstance(value, bytes):
        return b"".join([head, _BOM, b"<BA>", b2a_base64(value, newline=False), b"</BA>"])
    return b"".join([head, _BOM, element(value).encode()])


def fragments(message: bytes, object_id: int, size: int) -> Iterator[bytes]:
    """Cut a message into fragments of at most `size` bytes, headers included."""
    room = size - FRAGMENT_HEADER
    view = memoryview(message)
    total = len(message)
    for number, start in enumerate(range(0, total, room)):
        piece = view[start : start + room]
        flags = (1 if start == 0 else 0) | (2 if start + room >= total else 0)
        yield b"".join([_FRAGMENT.pack(object_id, number, flags, len(piece)), piece])


def split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Given whole fragments, yield object id, flags (1 start, 2 end) and payload. Raise ValueError."""
    place = 0
    view = memoryview(data)
    while place < len(data):
        if place + FRAGMENT_HEADER > len(data):
            raise ValueError("half a fragment header")
        object_id, _, flags, length = _FRAGMENT.unpack_from(data, place)
        place += FRAGMENT_HEADER
        if place + length > len(data):
            raise ValueError("half a fragment")
        yield object_id, flags, bytes(view[place : place + length])
        place += length


def message_type(message: bytes) -> int:
    """Return the type of a message, from its header (8 bytes are enough)."""
    return int(_MESSAGE.unpack_from(message, 0)[1])


def pipeline_of(message: bytes) -> uuid.UUID:
    """Return the pipeline that a message (or its first 40 bytes) is for."""
    return uuid.UUID(bytes_le=bytes(message[24:40]))


def plain_bytes(message: bytes) -> bytes | None:
    """If a PIPELINE_INPUT message is one byte[], return it, else None."""
    start = MESSAGE_HEADER + (3 if message[MESSAGE_HEADER : MESSAGE_HEADER + 3] == _BOM else 0)
    if message[start : start + 4] == b"<BA>" and message.endswith(b"</BA>"):
        return a2b_base64(memoryview(message)[start + 4 : -5])
    return None

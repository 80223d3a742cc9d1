"""The client's half of a bulk stream without any endpoint: CPU of reading answers, against base64 decodes.

Answers are made first, as a host with a 500 KB envelope fills them; then they are read by the code that reads
them in earnest: XML, fragments or frames, base64. Digest and inflation are timed apart.
"""

from __future__ import annotations

import base64
import hashlib
import random
import struct
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from benchmarks.meter import Meter
from benchmarks.peers import Answer
from exremote.transport.fragments import FRAGMENT, PIPELINE_OUTPUT, Joiner
from exremote.transport.frames import MARK, FrameReader
from exremote.transport.receive import read_answer

MIB = 1 << 20
_BLOCK = 256 * 1024
_ANSWER = 380_000
"""Bytes of a stream in one answer: 500 KB of envelope, less base64 and XML."""
_FRAGMENT = 32 * 1024
_SOAP = (
    b'<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:rsp="http://schemas.microsoft.com/wbem/'
    b'wsman/1/windows/shell"><s:Header><a:RelatesTo>uuid:1</a:RelatesTo></s:Header><s:Body><rsp:ReceiveResponse>'
    b'<rsp:Stream Name="stdout" CommandId="1">%s</rsp:Stream></rsp:ReceiveResponse></s:Body></s:Envelope>'
)


def decode(request: Mapping[str, Any], meter: Meter) -> Answer:
    """Read so many MiB of random blocks as they come over each wire. Return the CPU seconds of each part."""
    blocks = [b"\0" + random.Random(n).randbytes(_BLOCK) for n in range(4)] * int(request["mebibytes"])
    meter.start()
    found: dict[str, Any] = {"bytes": len(blocks) * _BLOCK}
    raw = _answers(_frames(blocks))
    found["raw_base64"] = _cpu(lambda: [base64.b64decode(_between(a)) for a in raw])
    found["raw"] = _cpu(lambda: _read_raw(raw))
    psrp = _answers(_fragments(blocks), whole=_FRAGMENT)
    found["psrp_base64"] = _cpu(lambda: _decode_twice(psrp, blocks))
    found["psrp"] = _cpu(lambda: _read_psrp(psrp))
    plain = b"".join(block[1:] for block in blocks[:64])
    scale = len(blocks) / 64
    found["sha256"] = _cpu(lambda: hashlib.sha256(plain).digest()) * scale
    text = b"".join(b'"Value%d"=dword:%08x\r\n' % (n, n * 7919) for n in range(_BLOCK // 24))
    deflater = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = deflater.compress(text) + deflater.flush()
    found["inflate"] = _cpu(lambda: [zlib.decompress(packed, -15) for _ in range(64)]) * scale
    return meter.stop(), found


def _cpu(work: Callable[[], object]) -> float:
    """Return the CPU seconds of some work, the least of three times."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def _answers(pieces: Iterable[bytes], whole: int = 0) -> list[bytes]:
    """Given the pieces of a stream, return the answers that carry them: with `whole`, only whole pieces."""
    stream = list(pieces)
    if not whole:
        joined = b"".join(stream)
        stream = [joined[n : n + _ANSWER] for n in range(0, len(joined), _ANSWER)]
        return [_SOAP % base64.b64encode(piece) for piece in stream]
    each = _ANSWER // whole
    return [_SOAP % base64.b64encode(b"".join(stream[n : n + each])) for n in range(0, len(stream), each)]


def _between(answer: bytes) -> bytes:
    start = answer.index(b'CommandId="1">') + len(b'CommandId="1">')
    return answer[start : answer.index(b"</rsp:Stream>", start)]


def _frames(blocks: Sequence[bytes]) -> Iterable[bytes]:
    yield MARK
    for block in blocks:
        yield b"B" + struct.pack("<I", len(block)) + block
    yield b"Z" + struct.pack("<I", 0)


def _fragments(blocks: Sequence[bytes]) -> Iterable[bytes]:
    head = struct.pack("<II", 1, PIPELINE_OUTPUT) + bytes(32)
    for number, block in enumerate(blocks):
        message = head + b"<BA>" + base64.b64encode(block) + b"</BA>"
        size = _FRAGMENT - FRAGMENT.size
        pieces = [message[n : n + size] for n in range(0, len(message), size)]
        for place, piece in enumerate(pieces):
            flags = (place == 0) | (place == len(pieces) - 1) << 1
            yield FRAGMENT.pack(number, place, flags, len(piece)) + piece


def _decode_twice(answers: Sequence[bytes], blocks: Sequence[bytes]) -> None:
    for answer in answers:
        base64.b64decode(_between(answer))
    for text in [base64.b64encode(block) for block in blocks[:4]] * (len(blocks) // 4):
        base64.b64decode(text)


def _read_raw(answers: Sequence[bytes]) -> None:
    reader = FrameReader()
    for answer in answers:
        for _, data in read_answer(answer).streams:
            for _ in reader.feed(data):
                pass
    assert reader.complete


def _read_psrp(answers: Sequence[bytes]) -> None:
    joiner = Joiner()
    for answer in answers:
        for _, data in read_answer(answer).streams:
            for _ in joiner.feed(data):
                pass

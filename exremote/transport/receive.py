"""One answer to Receive or Send, read as bytes. It builds no tree of elements: bulk is nothing but base64.

Both wires come through here. What is no such answer, or not whole, is an AnswerError; faults come
another way, as the libraries' own exceptions.
"""

from __future__ import annotations

import re
from binascii import Error as Base64Error
from binascii import a2b_base64
from dataclasses import dataclass

_ATTRIBUTE = re.compile(rb"""\bName\s*=\s*["']([^"']*)["']""")
_STATE = re.compile(rb"""CommandState\b[^>]*\bState\s*=\s*["']([^"']*)["']""")
_EXIT_CODE = re.compile(rb"ExitCode\s*>\s*(-?\d+)\s*<")
_RELATES_TO = re.compile(rb"RelatesTo\b[^>]*>\s*([^<\s]*)\s*<")


class AnswerError(ValueError):
    """What came is no answer to what was sent."""


@dataclass(frozen=True, slots=True)
class Received:
    """What one answer brought."""

    streams: tuple[tuple[str, bytes], ...]
    """Name and bytes of each piece, in order; empty ones are left out."""
    done: bool
    """The command has ended, and this was all."""
    exit_code: int | None
    """Of the command, if the answer says it."""
    relates_to: str
    """The id of the request that this answers."""


NOTHING = Received((), False, None, "")
"""The command was silent."""


def read_answer(envelope: bytes) -> Received:
    """Given an answer's envelope, return what it brought. Raise AnswerError."""
    _whole(envelope, "Receive")
    view = memoryview(envelope)
    streams: list[tuple[str, bytes]] = []
    place = begin = envelope.find(b"Stream ")
    while place >= 0:
        end = envelope.find(b">", place)
        if end < 0 or envelope.find(b"<", place, end) >= 0:
            raise AnswerError("a tag without an end")
        name = _ATTRIBUTE.search(envelope, place, end)
        if envelope[place - 1] in b"<:" and name is not None and envelope[end - 1] != ord("/"):
            start, end = end + 1, envelope.find(b"<", end)
            if end < 0:
                raise AnswerError("a stream without an end")
            if data := _stream(view[start:end]):
                streams.append((name[1].decode("ascii", "replace"), data))
        place = envelope.find(b"Stream ", end)
    # Nothing but these few bytes is searched: the streams between them may be half a megabyte.
    tail = max(0, envelope.rfind(b"Stream"))
    state, code = _STATE.search(envelope, tail), _EXIT_CODE.search(envelope, tail)
    return Received(
        tuple(streams),
        state is not None and state[1].endswith(b"/Done"),
        int(code[1]) if code else None,
        _relates_to(envelope, begin if begin >= 0 else len(envelope)),
    )


def read_receipt(envelope: bytes) -> str:
    """Given the envelope that answers a Send, return the id of the request. Raise AnswerError."""
    _whole(envelope, "Send")
    return _relates_to(envelope, len(envelope))


def _whole(envelope: bytes, action: str) -> None:
    """Given an envelope, raise AnswerError if it is no answer to that action, or ends too early."""
    if f"{action}Response".encode() not in envelope or not envelope.rstrip().endswith(b"Envelope>"):
        raise AnswerError(f"no answer to a {action}, or not a whole one")


def _relates_to(envelope: bytes, end: int) -> str:
    """Given an envelope and where its head ends, return which request it answers."""
    found = _RELATES_TO.search(envelope, 0, end)
    return found[1].decode("ascii", "replace") if found else ""


def _stream(text: memoryview) -> bytes:
    """Given what stands in a stream element, return the bytes. Raise AnswerError if it is no base64."""
    try:
        return exact_base64(text)
    except Base64Error:
        pass
    try:
        return exact_base64(bytes(text).translate(None, b" \t\r\n"))
    except Base64Error as error:
        raise AnswerError(f"a stream that is no base64: {error}") from None


def exact_base64(text: bytes | memoryview) -> bytes:
    """Given base64 and nothing else, return the bytes. Raise binascii.Error."""
    data = a2b_base64(text)
    # What is no base64 is passed over, which the length tells; the strict mode costs twice the time.
    if len(text) % 4 or len(data) != len(text) // 4 * 3 - bytes(text[-2:]).count(b"="):
        raise Base64Error("it holds something else")
    return data

"""What goes into powershell.exe over WinRS, and what comes out: the near end of wire/Receive-Call.ps1.

Everything travels as ASCII, so that no code page of the host can spoil it. It never starts anything.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Literal

from exremote.transport.clixml import ClixmlError, ClixmlReader, PsObject
from exremote.transport.wire import PAUSE, Piece, Record, RemoteError, Secret, Value, error_name

BOOTSTRAP = (
    "&([scriptblock]::Create([Text.Encoding]::UTF8.GetString("
    "[Convert]::FromBase64String((@($input)-join'')))))"
)
"""Runs what standard input says. Written down in Receive-Call.ps1; a contract test compares the two."""

COMMAND = "powershell.exe"
MAX_COMPLAINT = 16384
"""Bytes of standard error that are kept."""
_MARK = b"#< CLIXML"
_LINE = 4096
MAX_PREAMBLE = 65536


def arguments(output: Literal["XML", "Text"]) -> tuple[str, ...]:
    """Given how what is left in the pipeline comes out, return the arguments of powershell.exe."""
    encoded = base64.b64encode(BOOTSTRAP.encode("utf-16-le")).decode("ascii")
    return ("-NoProfile", "-NonInteractive", "-OutputFormat", output, "-EncodedCommand", encoded)


def _b64(text: str) -> str:
    return base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")


def typed(value: object) -> str:
    """Given a value, return it as KIND:DATA. Raise TypeError for a kind of value that cannot travel."""
    match value:
        case Secret():
            return f"p:{_b64(value.reveal())}"
        case bool():
            return f"b:{_b64('true' if value else 'false')}"
        case int():
            return f"{'i' if -0x80000000 <= value <= 0x7FFFFFFF else 'l'}:{_b64(str(value))}"
        case str():
            return f"s:{_b64(value)}"
        case bytes() | bytearray() | memoryview():
            return f"y:{base64.b64encode(value).decode('ascii')}"
        case list() | tuple() if all(isinstance(item, str) for item in value):
            return "a:" + "".join(f".{_b64(str(item))}" for item in value)
    raise TypeError(f"a {type(value).__name__} cannot travel over WinRS")


def untyped(kind: str, data: str) -> object:
    """Given KIND and DATA, return the value; the ticks of a date as a number. Raise ValueError."""
    if kind == "a":
        return [base64.b64decode(item, validate=True).decode("utf-8") for item in data.split(".")[1:]]
    plain = base64.b64decode(data, validate=True)
    match kind:
        case "n":
            return None
        case "y":
            return plain
        case "i" | "l" | "t":
            return int(plain)
        case "b":
            return plain == b"true"
        case "s":
            return plain.decode("utf-8")
    raise ValueError(f"no kind {kind!r}")


def encode(
    receiver: str, script: str, parameters: Mapping[str, Value], source: Iterable[object] | None
) -> bytes:
    """Given the text of the far end and of a script with its values, return the bytes for standard input."""
    call = [f"& {{\n{receiver}\n}} -Script '{_b64(script)}'"]
    named = [f"'{name}:{typed(value)}'" for name, value in parameters.items() if value is not None]
    if named:
        call.append("-Parameter " + ",".join(named))
    if items := [f"'{typed(item)}'" for item in source or () if item is not PAUSE]:
        call.append("-Source " + ",".join(items))
    text = base64.b64encode(" ".join(call).encode("utf-8"))
    return b"".join(text[i : i + _LINE] + b"\r\n" for i in range(0, len(text), _LINE))


class Answer:
    """Standard output of one call, read as it comes."""

    def __init__(self) -> None:
        self.complete = False
        """True once ExremoteEnd was seen: an answer without it was cut."""
        self._reader = ClixmlReader(wrapped=True, twice=True)
        self._head: bytes | None = b""

    def feed(self, data: bytes) -> Iterator[Record | RemoteError]:
        """Given the next bytes, yield the records that they complete. Raise ClixmlError."""
        if self._head is not None:
            # A profile or a policy may print something before PowerShell's own mark.
            self._head += data
            start = self._head.find(_MARK)
            end = -1 if start < 0 else self._head.find(b"\n", start)
            if end < 0:
                if len(self._head) > MAX_PREAMBLE:
                    raise ClixmlError("no CLIXML where it was due")
                return
            data, self._head = self._head[end + 1 :], None
        for stream, value in self._reader.feed(data):
            if stream == "output":
                yield from self._sort(value)
            elif stream == "error":
                yield RemoteError("RuntimeException", _text(value))

    def _sort(self, value: object) -> Iterator[Record | RemoteError]:
        if isinstance(value, PsObject):
            if value.get("ExremoteEnd") is True:
                self.complete = True
                return
            if value.get("ExremoteError") is True:
                yield RemoteError(
                    error_name(str(value.get("ErrorId") or "")), str(value.get("Message") or "")
                )
                return
        yield Piece(value, True) if isinstance(value, bytes) else value


def _text(value: object) -> str:
    return value if isinstance(value, str) else getattr(value, "text", "") or str(value)


def complaint(stderr: bytes) -> str:
    """Given standard error of powershell.exe, return its first lines as one text.

    It is CLIXML or, when PowerShell did not even start, plain text of cmd.exe in the host's code page.
    """
    start = stderr.find(_MARK)
    if start < 0:
        return stderr.decode("ascii", "replace")
    lines: list[str] = []
    try:
        body = stderr[stderr.find(b"\n", start) + 1 :]
        for stream, value in ClixmlReader(wrapped=True).feed(body):
            if stream == "error":
                lines.append(_text(value))
    except ClixmlError:
        pass
    return "".join(lines[:4])

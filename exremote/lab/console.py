"""The command lines of a simulated host: powershell.exe with the bootstrap of the WinRS wire, and hostname.

It knows the payload of ps_scripts/wire/Receive-Call.ps1 and Receive-RawCall.ps1 and answers as these scripts
do. It never runs any program.
"""

from __future__ import annotations

import base64
import binascii
import ntpath
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count

from exremote.lab.wsman.clixml import element
from exremote.lab.wsman.engine import Call, ErrorRecord, Long, Record, RunCommand, RunScript, ScriptThrew
from exremote.script import ScriptLibrary

_DECODED = "[Text.Encoding]::UTF8.GetString([Convert]::FromBase64String((@($input)-join'')))"
CLIXML, RAW = "wire/Receive-Call", "wire/Receive-RawCall"
BOOTSTRAP = f"&([scriptblock]::Create({_DECODED}))"
_HEAD = '#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04">'
_CALL = re.compile(
    r"& \{\n(.*)\n\} -Script '([^']*)'(?: -Parameter ([^\n]*?))?(?: -Source ([^\n]*?))?\s*", re.DOTALL
)
_ITEM = re.compile(r"'([^']*)'")
_UNSAFE = re.compile(r"[^\x20-\x7e]|_(?=[xX])")
_WORDS = re.compile(r'"([^"]*)"|(\S+)')
_WRITE_AT = 48 * 1024


_RAW_MARK = b"EXREMOTE RAW 1\r\n"


class _Refused(Exception):
    """What was sent is nothing that this far end knows; the text is for the error stream."""


def _hidden(found: re.Match[str]) -> str:
    units = found.group().encode("utf-16-be", "surrogatepass")
    return "".join(f"_x{units[i]:02X}{units[i + 1]:02X}_" for i in range(0, len(units), 2))


def to_ascii(value: object) -> object:
    """Return a record with its strings escaped as Receive-Call escapes them."""
    match value:
        case str():
            return _UNSAFE.sub(_hidden, value)
        case dict():
            return {name: to_ascii(item) for name, item in value.items()}
        case list() | tuple():
            return [to_ascii(item) if isinstance(item, str) else item for item in value]
    return value


def _text(data: str) -> str:
    return base64.b64decode(data, validate=True).decode()


def _value(kind: str, data: str) -> object:
    match kind:
        case "s" | "p":
            return _text(data)
        case "i" | "l":
            return int(_text(data))
        case "b":
            return _text(data).lower() == "true"
        case "y":
            return base64.b64decode(data, validate=True)
        case "a":
            return [_text(item) for item in data.split(".")[1:]]
    raise _Refused(f"Receive-Call knows no kind '{kind}'.")


def _items(text: str | None, parts: int) -> Iterator[list[str]]:
    for item in _ITEM.findall(text or ""):
        fields = item.split(":")
        if len(fields) != parts:
            raise _Refused(f"'{item[:40]}' has not {parts} parts")
        yield fields


def _failure(record: ErrorRecord, terminating: bool) -> dict[str, object]:
    name = record.error_id
    if "," not in name and not terminating:
        name += ",Microsoft.PowerShell.Commands.WriteErrorException"
    return {
        "ExremoteError": True,
        "ErrorId": to_ascii(name),
        "Message": to_ascii(record.message),
        "Terminating": terminating,
        "Category": record.category,
    }


def _records(records: Iterator[Record]) -> Iterator[object]:
    """Yield what Receive-Call passes on: records, errors as marked objects, and the end mark."""
    try:
        for record in records:
            if isinstance(record, ErrorRecord):
                yield _failure(record, False)
            elif isinstance(record, bytes):
                yield record
            elif record is None or isinstance(record, str | int | float | dict):
                yield to_ascii(record)
    except ScriptThrew as thrown:
        yield _failure(thrown.record, True)
    yield {"ExremoteEnd": True}


def _raw_value(value: object) -> str:
    """Return a property as Receive-RawCall writes it: KIND:DATA."""

    def b64(text: object) -> str:
        return base64.b64encode(str(text).encode()).decode()

    match value:
        case None:
            return "n:"
        case bool():
            return f"b:{b64(str(value).lower())}"
        case int():
            return f"{'l' if isinstance(value, Long) else 'i'}:{b64(int(value))}"
        case datetime():
            since = value - datetime(1, 1, 1, tzinfo=UTC)
            return f"t:{b64((since.days * 86400 + since.seconds) * 10_000_000 + since.microseconds * 10)}"
        case bytes():
            return f"y:{base64.b64encode(value).decode()}"
        case list() | tuple():
            return "a:" + "".join(f".{b64(item)}" for item in value)
    return f"s:{b64(value)}"


def _frame(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload


def _bag(kind: bytes, values: Mapping[str, object]) -> bytes:
    lines = (f"{name}:{_raw_value(value)}" for name, value in values.items())
    return _frame(kind, "\n".join(lines).encode())


def _written(records: Iterator[Record]) -> Iterator[bytes]:
    """Yield what Receive-RawCall writes, each in one: the mark with the first frame, the other frames."""
    frames = _frames(records)
    yield _RAW_MARK + next(frames)
    yield from frames


def _frames(records: Iterator[Record]) -> Iterator[bytes]:
    """Yield records and errors as frames, and the end."""
    try:
        for record in records:
            if isinstance(record, ErrorRecord):
                failure = _failure(record, False)
                said = {"ErrorId": failure["ErrorId"], "Message": record.message, "Terminating": False}
                yield _bag(b"E", said)
            elif isinstance(record, bytes):
                yield _frame(b"B", record)
            elif isinstance(record, dict):
                yield _bag(b"O", record)
            elif record is None or isinstance(record, str | int | float):
                yield _frame(b"V", _raw_value(record).encode())
    except ScriptThrew as thrown:
        name, message = thrown.record.error_id, thrown.record.message
        yield _bag(b"E", {"ErrorId": name, "Message": message, "Terminating": True})
    yield _frame(b"Z", b"")


def _encoded_command(words: Sequence[str]) -> str:
    """Return the text behind -EncodedCommand. Raise _Refused if there is none."""
    for place, word in enumerate(words[:-1]):
        switch = word.lower().lstrip("-/")
        if switch and "encodedcommand".startswith(switch) and not "executionpolicy".startswith(switch):
            try:
                return base64.b64decode(words[place + 1]).decode("utf-16-le")
            except (binascii.Error, UnicodeDecodeError) as error:
                raise _Refused(
                    f"Cannot process the command because the value is not base64: {error}"
                ) from error
    raise _Refused(
        "The lab's powershell.exe runs -EncodedCommand with the bootstrap of Receive-Call, nothing else."
    )


def _payload(
    stdin: Iterator[bytes], far_ends: Mapping[str, str]
) -> tuple[str, str, dict[str, object], list[object]]:
    """Return far end, script, parameters and source of what came on standard input. Raise _Refused."""
    try:
        text = base64.b64decode(b"".join(b"".join(stdin).split()), validate=True).decode()
        found = _CALL.fullmatch(text.replace("\r\n", "\n"))
        if found is None:
            raise _Refused("What came on standard input is not a call of Receive-Call.")
        far_end = far_ends.get(found.group(1).strip())
        if far_end is None:
            raise _Refused("The far end was sent another Receive-Call than the bundled one.")
        named = {name: _value(kind, data) for name, kind, data in _items(found.group(3), 3)}
        source = [_value(kind, data) for kind, data in _items(found.group(4), 2)]
        return far_end, _text(found.group(2)), named, source
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise _Refused(str(error)) from error


def _powershell(
    words: Sequence[str],
    stdin: Iterator[bytes],
    stdout: Callable[[bytes], None],
    stderr: Callable[[bytes], None],
    call: Call,
    run_script: RunScript,
    far_ends: Mapping[str, str],
) -> int:
    """Play powershell.exe. Return its exit code."""
    try:
        command = _encoded_command(words)
        if command.strip() != BOOTSTRAP:
            raise _Refused("The lab knows the bootstrap of Receive-Call, not this command.")
        far_end, script, named, source = _payload(stdin, far_ends)
    except _Refused as refused:
        stderr(
            f'{_HEAD}<S S="Error">{to_ascii(str(refused))}_x000D__x000A_</S></Objs>'.encode(
                "ascii", "replace"
            )
        )
        return 1
    records = run_script(script, named, iter(source), call)
    if far_end == RAW:
        for frame in _written(records):
            stdout(frame)
        return 0
    references = count()
    waiting = [_HEAD]
    size = 0
    for record in _records(records):
        xml = element(record, "", references)
        head, space, rest = xml.partition(" ") if xml.startswith(("<Obj ", "<Nil ")) else xml.partition(">")
        waiting += [head, ' S="Output"', space, rest]
        size += len(xml)
        if size >= _WRITE_AT:
            stdout("".join(waiting).encode("ascii"))
            waiting, size = [], 0
    waiting.append("</Objs>")
    stdout("".join(waiting).encode("ascii"))
    return 0


def console(host_name: str, run_script: RunScript, library: ScriptLibrary) -> RunCommand:
    """Return the function that runs the command lines of one simulated host."""
    far_ends = {library.get(name).text.strip(): name for name in (CLIXML, RAW)}

    def run(
        text: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        stdin: Iterator[bytes],
        stdout: Callable[[bytes], None],
        stderr: Callable[[bytes], None],
        call: Call,
    ) -> int:
        words = [quoted or bare for quoted, bare in _WORDS.findall(" ".join([text, *arguments]))]
        match ntpath.basename(words[0]).lower().removesuffix(".exe") if words else "":
            case "hostname":
                stdout(f"{host_name}\r\n".encode())
                return 0
            case "whoami":
                stdout(f"{call.user.lower()}\r\n".encode())
                return 0
            case "powershell":
                return _powershell(words[1:], stdin, stdout, stderr, call, run_script, far_ends)
        raise FileNotFoundError(text)

    return run

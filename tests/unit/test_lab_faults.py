"""The schedule of misfortunes: what a line means, and when it strikes."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import pytest

from exremote.lab.console import BOOTSTRAP, console
from exremote.lab.faults import AFTER, BEFORE, RECORDS, FaultText, Schedule, parse
from exremote.lab.world import misfortune, spoiled
from exremote.lab.wsman.engine import Call, ErrorRecord, Record, ScriptThrew
from exremote.script import ScriptLibrary

CALL = Call(user="LAB\\tester", shell_id="S")


@pytest.mark.parametrize(
    "text",
    [
        "EX01:Receive:3:cut=4096",
        "EX*:any:*:status=503,for=10",
        "EX01:Read-FilePack:2-5:corrupt",
        "EX01:Create:4-:quota",
        "EX01:host:*:refused,for=2.5",
    ],
)
def test_a_fault_says_itself(text: str) -> None:
    assert str(parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "EX01:Receive:3", "EX01:Receive:0:close", "EX01:Receive:5-2:close", "EX01:Receive:x:close",
     "EX01:Receive:1:status", "EX01:Receive:1:status=many", "EX01:Receive:1:throw=X", "EX01:host:*:close",
     "EX01:Receive:1:close,until=5", "EX01:Receive:1:close,for=ever"],
)  # fmt: skip
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(FaultText):
        parse(text)


def test_a_fault_strikes_at_its_count_on_its_host() -> None:
    schedule = Schedule()
    schedule.add("ex01:receive:2-3:cut=10")
    struck = [bool(schedule.strike("EX01", "Receive", AFTER)) for _ in range(5)]
    assert struck == [False, True, True, False, False]
    schedule.add("EX01:any:1:close")
    assert not schedule.strike("EX02", "Create", BEFORE)
    assert not schedule.strike("EX01", "Create", AFTER)
    assert schedule.strike("EX01", "Create", BEFORE)
    assert [fault.struck for fault in schedule.all()] == [2, 1]
    assert len(schedule.clear("EX02")) == 0
    assert len(schedule.clear()) == 2


def test_a_fault_ends_by_the_clock() -> None:
    schedule = Schedule()
    fault = schedule.add("EX01:Create:*:quota,for=60")
    assert schedule.strike("EX01", "Create", BEFORE)
    fault.added -= 61
    assert not schedule.strike("EX01", "Create", BEFORE)


def test_requests_become_misfortunes() -> None:
    both = misfortune([parse("A:Receive:1:corrupt"), parse("A:Receive:1:delay=2")], 100)
    assert both is not None
    assert (both.corrupt_at, both.delay_s) == (50, 2.0)
    quota = misfortune([parse("A:Create:1:quota")], 0)
    assert quota is not None
    assert quota.fault == 2150859173
    assert misfortune([], 5) is None


def test_records_are_spoilt() -> None:
    schedule = Schedule()
    for text in ("2:corrupt", "3:shorten", "4:skip", "5:error=ExRemote.X", "6:end"):
        schedule.add(f"A:S:{text}")
    gone: list[bool] = []
    source: Iterator[Record] = iter([b"1111", b"2222", b"3333", b"4444", b"5555", b"6666", b"7777"])
    found = list(spoiled(source, "A", "S", schedule, CALL, lambda: gone.append(True)))
    assert found[:3] == [b"1111", b"2223", b"33"]
    assert isinstance(found[3], ErrorRecord)
    assert found[4:] == [b"5555"]
    schedule.add("A:S:1:gone")
    assert list(spoiled(iter([b"1"]), "A", "S", schedule, CALL, lambda: gone.append(True))) == []
    assert gone == [True]
    schedule.add("A:S:1:throw=ExRemote.Y")
    with pytest.raises(ScriptThrew):
        list(spoiled(iter([b"1"]), "A", "S", schedule, CALL, lambda: None))
    assert set(RECORDS) >= {fault.effect for fault in schedule.all()}


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def run_console(payload: str, command: str = BOOTSTRAP) -> tuple[int, str, str]:
    library = ScriptLibrary.load()
    out: list[bytes] = []
    err: list[bytes] = []

    def engine(text: str, parameters: object, source: Iterator[object], call: Call) -> Iterator[Record]:
        yield {"Text": text, "Parameters": repr(parameters), "Odd": "h\u00e9_x<", "None": None}
        yield b"\x01\x02"
        yield "plain"
        yield from (str(item) for item in source)
        raise ScriptThrew(ErrorRecord("ExRemote.Z", "no \u2713", "", "InvalidData"))

    run = console("EX01", engine, library)
    encoded = base64.b64encode(command.encode("utf-16-le")).decode()
    arguments = ["-NoProfile", "-NonInteractive", "-OutputFormat", "XML", "-EncodedCommand", encoded]
    code = run("powershell.exe", arguments, {}, iter([b64(payload).encode()]), out.append, err.append, CALL)
    return code, b"".join(out).decode("ascii"), b"".join(err).decode("ascii")


def test_the_far_end_of_winrs_answers_as_receive_call_does() -> None:
    wire = ScriptLibrary.load().get("wire/Receive-Call").text
    parameters = f"'Name:s:{b64('v')}','List:a:.{b64('a')}.','N:i:{b64('5')}','Yes:b:{b64('true')}'"
    payload = f"& {{\n{wire}\n}} -Script '{b64('SCRIPT')}' -Parameter {parameters} -Source 's:{b64('in')}'"
    code, out, err = run_console(payload)
    assert (code, err) == (0, "")
    assert out.startswith("#< CLIXML\r\n<Objs ")
    assert out.endswith("</Objs>")
    assert "{'Name': 'v', 'List': ['a', ''], 'N': 5, 'Yes': True}" in out.replace("&#x27;", "'")
    assert "h_x005F_x00E9__x005F_x005F_x&lt;" in out
    assert '<BA S="Output">AQI=</BA><S S="Output">plain</S><S S="Output">in</S>' in out
    assert '<S N="ErrorId">ExRemote.Z</S>' in out
    assert out.count("ExremoteEnd") == 1


@pytest.mark.parametrize(
    ("payload", "command"),
    [("Get-Process", BOOTSTRAP), ("& {\nother\n} -Script 'eA=='", BOOTSTRAP), ("", "ls")],
)
def test_the_far_end_knows_nothing_else(payload: str, command: str) -> None:
    code, out, err = run_console(payload, command)
    assert (code, out) == (1, "")
    assert "CLIXML" in err


def test_other_command_lines() -> None:
    run = console("EX01", lambda *_: iter(()), ScriptLibrary.load())
    out: list[bytes] = []
    assert run("hostname", [], {}, iter(()), out.append, out.append, CALL) == 0
    assert out == [b"EX01\r\n"]
    with pytest.raises(FileNotFoundError):
        run("format c:", [], {}, iter(()), out.append, out.append, CALL)

"""Formats of the wire: CLIXML, fragments, payload of the WinRS wire."""

from __future__ import annotations

import base64
import pickle
import re
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exremote.transport import Login, Secret
from exremote.transport.clixml import ClixmlError, ClixmlReader, PsObject, decode, unescape
from exremote.transport.conversation import RemoteError, error_name
from exremote.transport.fragments import FramingError, Joiner
from exremote.transport.payload import ARGUMENTS, BOOTSTRAP, Answer, complaint, encode, typed

SCRIPTS = Path(__file__).parents[2] / "ps_scripts"
OBJECT = b"".join(
    line.strip()
    for line in b"""
    <Obj RefId="0"><TN RefId="0"><T>System.Management.Automation.PSCustomObject</T></TN>
    <ToString>@{...}</ToString><MS><S N="Text">a_x000A_b_x005F_x0041_</S><I32 N="Int">-5</I32>
    <I64 N="Long">5497558138880</I64><B N="Yes">true</B><Nil N="None"/>
    <DT N="When">2024-01-02T03:04:05.1234567+02:00</DT><BA N="Bytes">AAEC</BA>
    <Obj N="List" RefId="1"><TN RefId="1"><T>X</T></TN><LST><S>x</S><Nil/><I32>2</I32></LST></Obj>
    <Obj N="Enum" RefId="2"><TNRef RefId="1"/><ToString>Running</ToString><I32>4</I32></Obj>
    <Ref N="Again" RefId="1"/><Obj N="Table" RefId="3"><TN RefId="3"><T>H</T></TN>
    <DCT><En><S N="Key">k</S><S N="Value">v</S></En></DCT></Obj></MS></Obj>
    """.splitlines()
)


def test_an_object_becomes_plain_values() -> None:
    value = decode(OBJECT)
    assert value == {
        "Text": "a\nb_x0041_",
        "Int": -5,
        "Long": 5 << 40,
        "Yes": True,
        "None": None,
        "When": datetime(2024, 1, 2, 1, 4, 5, 123456, tzinfo=UTC),
        "Bytes": b"\0\1\2",
        "List": ["x", None, 2],
        "Enum": 4,
        "Again": ["x", None, 2],
        "Table": {"k": "v"},
    }
    assert isinstance(value, PsObject)
    assert value.text == "@{...}"


@pytest.mark.parametrize("size", [1, 7, 100, 10_000])
def test_a_stream_may_be_cut_anywhere(size: int) -> None:
    data = b'<Objs Version="1.1.0.1" xmlns="x"><S S="Output">a</S>' + OBJECT + b'<S S="Error">e</S></Objs>'
    reader = ClixmlReader(wrapped=True)
    got = [item for i in range(0, len(data), size) for item in reader.feed(data[i : i + size])]
    assert [stream for stream, _ in got] == ["output", "output", "error"]
    assert reader.ended


@pytest.mark.parametrize(
    "data",
    [
        b"<Obj",
        b"<BA>AA</BA>",
        b"<I32>x</I32>",
        b"",
        b"<DT>soon</DT>",
        b'<!DOCTYPE x [<!ENTITY a "b">]><S>&a;</S>',
        b'<Obj RefId="0"><LST>' * 200,
    ],
)
def test_what_is_not_clixml_is_refused(data: bytes) -> None:
    if not data:
        assert decode(data) is None
        return
    with pytest.raises(ClixmlError):
        decode(data)


def test_lone_bytes_take_the_short_way_and_mean_the_same() -> None:
    data = bytes(range(256)) * 100
    body = b"<BA>" + base64.b64encode(data) + b"</BA>"
    assert decode(b"\xef\xbb\xbf" + body) == decode(b"<!-- the long way -->" + body) == data


@given(st.text())
def test_any_text_survives_two_escapes(text: str) -> None:
    def escape(text: str) -> str:
        units = text.encode("utf-16-be", "surrogatepass")
        found = "".join(chr(units[i] << 8 | units[i + 1]) for i in range(0, len(units), 2))
        return re.sub(r"[^\x20-\x7e]|_(?=[xX])", lambda m: f"_x{ord(m[0]):04X}_", found)

    assert unescape(unescape(escape(escape(text)))) == text


def test_half_a_surrogate_pair_is_no_text() -> None:
    assert unescape("a_xD83D_b") == "a\ufffdb"
    assert unescape("_xD83D__xDE00_") == "😀"


def fragment(object_id: int, number: int, flags: int, data: bytes) -> bytes:
    return struct.pack(">QQBI", object_id, number, flags, len(data)) + data


def test_fragments_are_joined_over_any_number_of_answers() -> None:
    message = struct.pack("<II", 1, 0x41004) + bytes(32) + b"x" * 1000
    joiner = Joiner()
    pieces = [message[i : i + 100] for i in range(0, len(message), 100)]
    got = []
    for number, piece in enumerate(pieces):
        flags = (number == 0) | (2 if number == len(pieces) - 1 else 0)
        got += joiner.feed(fragment(7, number, flags, piece))
    assert got == [(0x41004, b"x" * 1000)]


@pytest.mark.parametrize(
    "data",
    [
        b"x" * 20,
        fragment(1, 0, 3, b"x" * 40)[:-1],
        fragment(1, 1, 3, b"x" * 40),
        fragment(1, 0, 1, b"x") + fragment(2, 1, 2, b"x"),
        fragment(1, 0, 1, b"x") + fragment(1, 2, 2, b"x"),
        fragment(1, 0, 3, b"short"),
    ],
)
def test_bad_fragments_are_refused(data: bytes) -> None:
    with pytest.raises(FramingError):
        list(Joiner().feed(data))


def test_the_bootstrap_is_the_one_that_the_far_end_documents() -> None:
    text = (SCRIPTS / "wire" / "Receive-Call.ps1").read_text(encoding="ascii")
    assert f"        {BOOTSTRAP}\n" in text
    assert base64.b64decode(ARGUMENTS[-1]).decode("utf-16-le") == BOOTSTRAP
    assert len(" ".join(ARGUMENTS)) < 1000  # cmd.exe of old hosts takes 2047


def test_the_payload_is_ascii_and_typed() -> None:
    data = encode(
        "FAR END", "SCRIPT ä", {"A": "ß'", "B": 1, "C": ["x", ""], "D": None, "E": True}, [b"\0", 1 << 40]
    )
    assert all(len(line) <= 4096 for line in data.split(b"\r\n"))
    text = base64.b64decode(data).decode()
    assert text.startswith("& {\nFAR END\n} -Script '")
    assert "'A:s:w58n','B:i:MQ==','C:a:.eA==.','E:b:dHJ1ZQ=='" in text
    assert "D:" not in text
    assert text.endswith("-Source 'y:AA==','l:MTA5OTUxMTYyNzc3Ng=='")
    with pytest.raises(TypeError):
        typed(1.5)


HEAD = b'#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="x">'


def test_an_answer_with_a_preamble_errors_and_end() -> None:
    answer = Answer()
    data = (
        b"Welcome to the server\r\n"
        + HEAD
        + b'<S S="Output">gr_x005F_x00FC_n</S><Obj S="Output" RefId="0"><MS><B N="ExremoteError">true</B>'
        b'<S N="ErrorId">ExRemote.X,Y</S><S N="Message">m</S></MS></Obj><S S="Error">loose</S>'
        b'<Obj S="Output" RefId="1"><MS><B N="ExremoteEnd">true</B></MS></Obj></Objs>'
    )
    got = [item for i in range(0, len(data), 11) for item in answer.feed(data[i : i + 11])]
    assert got == ["grün", RemoteError("ExRemote.X", "m"), RemoteError("RuntimeException", "loose")]
    assert answer.complete


def test_an_answer_cut_short_is_not_complete() -> None:
    answer = Answer()
    assert list(answer.feed(HEAD + b'<S S="Output">a</S><S S="Out')) == ["a"]
    assert not answer.complete
    with pytest.raises(ClixmlError):
        list(Answer().feed(b"x" * 70_000))


def test_complaints_are_read_in_both_forms() -> None:
    assert "not recognized" in complaint(b"'powershell.exe' is not recognized\r\n\x84")
    assert complaint(
        HEAD + b'<S S="progress">p</S><S S="Error">Access den_x000D_</S><S S="Error">ied</S></Objs>'
    )


@pytest.mark.parametrize(
    ("qualified", "name"),
    [
        ("ExRemote.X,Get-Y.ps1", "ExRemote.X"),
        ("ExRemote.X", "ExRemote.X"),
        ("some thrown text, and more", "RuntimeException"),
        ("", "RuntimeException"),
    ],
)
def test_names_of_errors(qualified: str, name: str) -> None:
    assert error_name(qualified) == name


def test_secrets_show_nowhere() -> None:
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {Login('ntlm', 'u', secret)}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)

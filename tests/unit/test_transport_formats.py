"""Formats of the wire: CLIXML, fragments, payload of the WinRS wire."""

from __future__ import annotations

import base64
import contextlib
import pickle
import re
import struct
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exremote.transport import Login, Piece, Secret
from exremote.transport.clixml import ClixmlError, ClixmlReader, PsObject, decode, unescape
from exremote.transport.fragments import FramingError, Joiner
from exremote.transport.frames import MARK, FrameError, FrameReader
from exremote.transport.payload import BOOTSTRAP, Answer, arguments, complaint, encode, typed
from exremote.transport.receive import AnswerError, Received, read_answer
from exremote.transport.wire import RemoteError, error_name

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


def message(body: bytes, kind: int = 0x41004) -> bytes:
    return struct.pack("<II", 1, kind) + bytes(32) + body


def fragments(whole: bytes, size: int, object_id: int = 7) -> list[bytes]:
    pieces = [whole[i : i + size] for i in range(0, len(whole), size)]
    ends = len(pieces) - 1
    return [fragment(object_id, n, (n == 0) | (2 * (n == ends)), piece) for n, piece in enumerate(pieces)]


@pytest.mark.parametrize("size", [1, 3, 40, 44, 47, 48, 100, 5000])
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_byte_array_comes_in_pieces_as_its_fragments_do(size: int, bom: bytes) -> None:
    plain = bytes(range(256)) * 4
    joiner, got = Joiner(), []
    for one in fragments(message(bom + b"<BA>" + base64.b64encode(plain) + b"</BA>"), size):
        got += list(joiner.feed(one))
    assert all(isinstance(piece, Piece) for piece in got)
    assert b"".join(piece.data for piece in got) == plain  # type: ignore[union-attr]
    assert [piece.last for piece in got] == [False] * (len(got) - 1) + [True]  # type: ignore[union-attr]


def test_the_bytes_of_half_a_message_are_there_before_the_rest() -> None:
    first, *_ = fragments(message(b"<BA>" + base64.b64encode(bytes(3000)) + b"</BA>"), 2048)
    (piece,) = Joiner().feed(first)
    assert piece == Piece(bytes(1503), False)


@pytest.mark.parametrize(
    "body",
    [b"<BA>QUJD</BA>x", b"<BA>QUJD</B>", b"<BA>QUJD", b"<BA>QUI!</BA>", b"<BA>QUJ</BA>", b"<BA>Q=JD</BA>"],
)
def test_a_byte_array_that_is_none_is_refused(body: bytes) -> None:
    with pytest.raises(FramingError):
        list(Joiner().feed(b"".join(fragments(message(body), 30))))


def test_bytes_of_another_kind_of_message_are_left_to_others() -> None:
    (whole,) = fragments(message(b"<BA>QUJD</BA>", kind=0x41005), 500)
    assert list(Joiner().feed(whole)) == [(0x41005, b"<BA>QUJD</BA>")]


ANSWER = (
    b'<s:Envelope xmlns:s="x"><s:Header><a:RelatesTo>uuid:ABC</a:RelatesTo></s:Header><s:Body>'
    b"<rsp:ReceiveResponse>%s</rsp:ReceiveResponse></s:Body></s:Envelope>"
)


def test_an_answer_is_read_for_its_streams_and_its_state() -> None:
    answer = read_answer(
        ANSWER % b'<rsp:Stream Name="stdout" CommandId="C">QUJD</rsp:Stream>'
        b"<rsp:Stream CommandId='C' Name='stderr'>RA==</rsp:Stream>"
        b'<rsp:Stream Name="stdout" CommandId="C" End="true"/>'
        b'<rsp:Stream Name="stdout" CommandId="C"></rsp:Stream>'
        b'<rsp:CommandState CommandId="C" State="http://x/CommandState/Done"><rsp:ExitCode>-3</rsp:ExitCode>'
        b"</rsp:CommandState>"
    )
    assert answer == Received((("stdout", b"ABC"), ("stderr", b"D")), True, -3, "uuid:ABC")
    running = read_answer(ANSWER % b'<rsp:CommandState State="http://x/CommandState/Running"/>')
    assert running == Received((), False, None, "uuid:ABC")
    spaced = read_answer(ANSWER % b'<rsp:Stream Name="stdout">\r\n QUJD\r\nREVG\t</rsp:Stream>')
    assert spaced.streams == (("stdout", b"ABCDEF"),)


@pytest.mark.parametrize(
    "envelope",
    [
        b"",
        b"<html>Stream </html>",
        ANSWER % b'<rsp:Stream Name="stdout"',
        (ANSWER % b'<rsp:Stream Name="stdout">QUJD</rsp:Stream>')[:-5],
        ANSWER % b'<rsp:Stream Name="stdout">QUJ</rsp:Stream>',
        ANSWER % b'<rsp:Stream Name="stdout">QU!D</rsp:Stream>',
        ANSWER % b'<rsp:Stream Name="stdout">QUJD&amp;</rsp:Stream>',
    ],
)
def test_what_is_no_answer_is_refused(envelope: bytes) -> None:
    with pytest.raises(AnswerError):
        read_answer(envelope)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_an_error(data: bytes) -> None:
    for envelope in (data, ANSWER % data, ANSWER % (b'<rsp:Stream Name="stdout">' + data)):
        with contextlib.suppress(AnswerError):
            read_answer(envelope)


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
    assert base64.b64decode(arguments("XML")[-1]).decode("utf-16-le") == BOOTSTRAP
    assert len(" ".join(arguments("XML"))) < 1000  # cmd.exe of old hosts takes 2047


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


def frame(kind: bytes, payload: bytes = b"") -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload


STREAM = (
    b"Welcome\r\n" + MARK + frame(b"B", b"\0block") + frame(b"B") + frame(b"V", b"s:w7w=")
    + frame(b"O", b"A:i:NQ==\nB:n:\nC:a:.eA==.\nD:b:dHJ1ZQ==\nE:y:AAE=\nF:t:NjM4Mzk3NjE0NDU2Nzg5MDE5")
    + frame(b"O") + frame(b"E", b"ErrorId:s:RXhSZW1vdGUuWCxZ\nMessage:s:bQ==\nTerminating:b:ZmFsc2U=")
    + frame(b"Z") + b"behind the end"
)  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 7, 16, 50, 1000])
def test_frames_are_read_however_they_are_cut(size: int) -> None:
    reader, got = FrameReader(), []
    for i in range(0, len(STREAM), size):
        got += list(reader.feed(STREAM[i : i + size]))
    assert reader.complete
    pieces = [item for item in got if isinstance(item, Piece)]
    assert b"".join(piece.data for piece in pieces) == b"\0block"
    assert sum(piece.last for piece in pieces) == 2
    moment = datetime(2024, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    assert [item for item in got if not isinstance(item, Piece)] == [
        "ü", {"A": 5, "B": None, "C": ["x", ""], "D": True, "E": b"\0\1", "F": moment}, {},
        RemoteError("ExRemote.X", "m"),
    ]  # fmt: skip


def test_the_bytes_of_half_a_block_are_handed_on_at_once() -> None:
    reader = FrameReader()
    assert list(reader.feed(MARK + frame(b"B", bytes(100))[:50])) == [Piece(bytes(45), False)]
    assert not reader.complete


@pytest.mark.parametrize(
    "data",
    [
        bytes(70_000),
        MARK + frame(b"Q", b"x"),
        MARK + b"O" + struct.pack("<I", 1 << 30),
        MARK + frame(b"O", b"A:i"),
        MARK + frame(b"O", b"A:i:eA=="),
        MARK + frame(b"O", b"A:x:eA=="),
        MARK + frame(b"O", b"A:s:!!"),
        MARK + frame(b"O", b"A:t:OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTk5"),
        MARK + frame(b"V", b"s"),
    ],
)
def test_what_is_no_frame_is_refused(data: bytes) -> None:
    with pytest.raises(FrameError):
        list(FrameReader().feed(data))


@given(st.binary(max_size=100))
def test_any_bytes_are_frames_or_an_error(data: bytes) -> None:
    for stream in (
        data,
        MARK + data,
        MARK + frame(b"O", data),
        MARK + frame(b"E", data),
        MARK + frame(b"V", data),
    ):
        with contextlib.suppress(FrameError):
            list(FrameReader().feed(stream))


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

"""The text of .reg files: what reg.exe and regedit write is read exactly, and what differs is named."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exremote.lab.registry import Kind, Registry
from exremote.regfile import RegFileError, RegValue, differences, parse

HEAD = "Windows Registry Editor Version 5.00\r\n\r\n"
KEY = "HKEY_LOCAL_MACHINE\\SOFTWARE\\Lotus\\Notes"


def reg(body: str, head: str = HEAD) -> bytes:
    return (head + body).encode("utf-16")


def one(line: str) -> RegValue:
    values = parse(reg(f"[{KEY}]\r\n{line}\r\n\r\n")).keys[KEY]
    (value,) = values.values()
    return value


@pytest.mark.parametrize(
    ("line", "kind", "data", "text"),
    [
        (r'"Path"="C:\\Lotus\\Notes\\"', 1, "C:\\Lotus\\Notes\\\0", r'REG_SZ "C:\\Lotus\\Notes\\"'),
        (r'@="a \"quoted\" ü"', 1, 'a "quoted" ü\0', 'REG_SZ "a "quoted" ü"'),
        ('"n"="two\r\nlines"', 1, "two\r\nlines\0", r'REG_SZ "two\r\nlines"'),
        ('"n"=""', 1, "\0", 'REG_SZ ""'),
        ('"n"=dword:0000000A', 4, b"\x0a\0\0\0", "REG_DWORD 10 (0xa)"),
        ('"n"=hex(b):01,00,00,00,00,00,00,80', 11, b"\1" + bytes(6) + b"\x80", None),
        ('"n"=hex:', 3, b"", "REG_BINARY "),
        ('"n"=hex:01,ff', 3, b"\x01\xff", "REG_BINARY 01 ff"),
        ('"n"=hex:01,02,\\\r\n  03,04', 3, b"\x01\x02\x03\x04", "REG_BINARY 01 02 03 04"),
        ('"n"=hex(2):25,00,41,00,25,00,00,00', 2, "%A%\0", 'REG_EXPAND_SZ "%A%"'),
        ('"n"=hex(7):61,00,00,00,62,00,00,00,00,00', 7, "a\0b\0\0", "REG_MULTI_SZ a, b"),
        ('"n"=hex(0):', 0, b"", "REG_NONE "),
        ('"n"=hex(8):01', 8, b"\x01", "REG_8 01"),
        ('"n"=hex(4):01', 4, b"\x01", "REG_DWORD 01"),
    ],
)
def test_every_kind_of_value_is_read_exactly(line: str, kind: int, data: str | bytes, text: str) -> None:
    value = one(line)
    raw = data if isinstance(data, bytes) else data.encode("utf-16-le")
    assert (value.kind, value.data) == (kind, raw)
    assert text is None or value.text == text


def test_long_bytes_are_shown_shortened() -> None:
    assert one('"n"=hex:' + ",".join(["aa"] * 40)).text.endswith("aa and 8 bytes more")


def test_keys_comments_and_odd_names() -> None:
    body = (
        "; written by hand\r\n"
        f"[{KEY}]\r\n"
        '"a=b"="x=\\"y\\"" \r\n'
        "\r\n"
        f"[{KEY}\\with ] in it]\r\n"
        '@="the default"\r\n'
        f"[{KEY}\\empty]"
    )
    found = parse(reg(body)).keys
    assert list(found) == [KEY, f"{KEY}\\with ] in it", f"{KEY}\\empty"]
    assert found[KEY]["a=b"].data == 'x="y"\0'.encode("utf-16-le")
    assert found[f"{KEY}\\with ] in it"][""].name == ""
    assert found[f"{KEY}\\empty"] == {}


def test_the_older_form_is_read_too() -> None:
    data = b'REGEDIT4\r\n\r\n[HKEY_LOCAL_MACHINE\\X]\r\n"n"="\xe4"\r\n"m"=hex(7):61,00,00\r\n'
    values = parse(data).keys["HKEY_LOCAL_MACHINE\\X"]
    assert values["n"].data == "ä\0".encode("utf-16-le")
    assert values["m"].text == "REG_MULTI_SZ a"


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "does not begin"),
        (b"MZ\x90\x00", "does not begin"),
        (b"\xff\xfea", "not the UTF-16"),
        (reg(f"[-{KEY}]\r\n"), "deletes the key"),
        (reg(f'[{KEY}]\r\n"n"=-\r\n'), "deletes the value"),
        (reg('"n"="no key"\r\n'), "line 3 is neither"),
        (reg(f'[{KEY}]\r\n"n"="open\r\n'), "line 4 is neither"),
        (reg(f'[{KEY}]\r\n"n"=hex:0g\r\n'), "line 4 is neither"),
        (reg(f"[{KEY}]\r\nnonsense\r\n"), "line 4 is neither"),
    ],
)
def test_what_is_no_export_is_refused(data: bytes, sentence: str) -> None:
    with pytest.raises(RegFileError, match=sentence):
        parse(data)


def test_what_the_lab_exports_is_read_back() -> None:
    registry = Registry()
    registry.set(KEY, "text", 'a "b" \\ ü')
    registry.set(KEY, "number", 10)
    registry.set(KEY, "many", ("a", "b"))
    registry.set(KEY, "expand", "%A%", Kind.ExpandString)
    registry.set(f"{KEY}\\Below", "", b"\x01" * 100)
    data = registry.export(KEY)
    assert data
    found = parse(data).keys
    assert {v.name: v.kind for v in found[KEY].values()} == {"text": 1, "number": 4, "many": 7, "expand": 2}
    assert found[KEY]["text"].data == 'a "b" \\ ü\0'.encode("utf-16-le")
    assert found[KEY]["many"].text == "REG_MULTI_SZ a, b"
    assert found[f"{KEY}\\Below"][""].data == b"\x01" * 100


def test_differences_are_named_by_key_and_value() -> None:
    old = parse(reg('[HKLM\\A]\r\n"same"="1"\r\n"Changed"="1"\r\n"gone"=dword:1\r\n[HKLM\\Old]\r\n@="x"\r\n'))
    new = parse(reg('[hklm\\a]\r\n"changed"="2"\r\n"SAME"="1"\r\n"fresh"=""\r\n[HKLM\\New]\r\n'))
    found = [
        (c.what, c.key, c.name, c.old and c.old.text, c.new and c.new.text) for c in differences(old, new)
    ]
    assert found == [
        ("changed", "hklm\\a", "changed", 'REG_SZ "1"', 'REG_SZ "2"'),
        ("added", "hklm\\a", "fresh", None, 'REG_SZ ""'),
        ("removed", "hklm\\a", "gone", "REG_DWORD 1 (0x1)", None),
        ("added", "HKLM\\New", None, None, None),
        ("removed", "HKLM\\Old", None, None, None),
        ("removed", "HKLM\\Old", "", 'REG_SZ "x"', None),
    ]
    assert list(differences(old, old)) == []
    kind = parse(reg('[HKLM\\A]\r\n"gone"=hex(b):01,00,00,00\r\n'))
    assert [c.what for c in differences(parse(reg('[HKLM\\A]\r\n"gone"=dword:1\r\n')), kind)] == ["changed"]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])), st.binary(max_size=200))
def test_any_text_and_any_bytes_come_back(text: str, raw: bytes) -> None:
    quoted = text.replace("\\", "\\\\").replace('"', '\\"')
    pairs = ",".join(f"{b:02x}" for b in raw)
    values = parse(reg(f'[{KEY}]\r\n"t"="{quoted}"\r\n"b"=hex:{pairs}\r\n')).keys[KEY]
    assert values["t"].data == (text + "\0").encode("utf-16-le")
    assert values["b"].data == raw

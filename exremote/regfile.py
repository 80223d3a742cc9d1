r"""The text of a .reg file as keys and values, and how two of them differ. It never touches a registry.

reg.exe and regedit write it: UTF-16 with its mark under `Windows Registry Editor Version 5.00`, or the ANSI
code page under `REGEDIT4`. A value of text may run over several lines; a hexadecimal one goes on behind `\`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from exremote.folding import folded

REG_SZ, REG_EXPAND_SZ, REG_BINARY, REG_DWORD, REG_MULTI_SZ, REG_QWORD = 1, 2, 3, 4, 7, 11
KINDS: Mapping[int, str] = {
    0: "REG_NONE",
    REG_SZ: "REG_SZ",
    REG_EXPAND_SZ: "REG_EXPAND_SZ",
    REG_BINARY: "REG_BINARY",
    REG_DWORD: "REG_DWORD",
    REG_MULTI_SZ: "REG_MULTI_SZ",
    REG_QWORD: "REG_QWORD",
}
"""What Windows calls a value's kind."""

_HEADS = ("Windows Registry Editor Version 5.00", "REGEDIT4")
_BLANK = re.compile(r"(?:[ \t]*(?:;[^\n]*)?(?:\r?\n|\Z))+")
_KEY = re.compile(r"\[(?P<gone>-?)(?P<key>[^\n]+)\][ \t]*(?:\r?\n|\Z)")
_TEXT = r'"(?:[^"\\]|\\.)*"'
_VALUE = re.compile(
    rf"(?P<name>@|{_TEXT})[ \t]*=[ \t]*"
    rf"(?:(?P<text>{_TEXT})|dword:(?P<dword>[0-9a-f]{{1,8}})"
    r"|hex(?:\((?P<kind>[0-9a-f]{1,8})\))?:(?P<hex>(?:[0-9a-f]{2}|[, \t]|\\[ \t]*\r?\n)*)|(?P<gone>-))"
    r"[ \t]*(?:\r?\n|\Z)",
    re.IGNORECASE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


class RegFileError(ValueError):
    """Not the text of a .reg file, or one that deletes: no export does."""


@dataclass(frozen=True, slots=True)
class RegValue:
    """One value of a key."""

    name: str
    """as it is spelt; empty for the default value"""
    kind: int
    """Windows' number of it: 1 is REG_SZ"""
    data: bytes
    """its bytes as the registry has them: text in UTF-16 with its ending NUL"""

    @property
    def text(self) -> str:
        """Return kind and content as a person reads them."""
        name = KINDS.get(self.kind, f"REG_{self.kind}")
        match self.kind:
            case 1 | 2:
                shown = repr(_decoded(self.data).removesuffix("\0"))[1:-1]
                return f'{name} "{shown}"'
            case 7:
                parts = _decoded(self.data).removesuffix("\0").removesuffix("\0")
                return f"{name} {', '.join(repr(p)[1:-1] for p in parts.split(chr(0)))}"
            case 4 | 11 if len(self.data) == (4 if self.kind == 4 else 8):
                number = int.from_bytes(self.data, "little")
                return f"{name} {number} (0x{number:x})"
        more = f" and {len(self.data) - 32} bytes more" if len(self.data) > 32 else ""
        return f"{name} {self.data[:32].hex(' ')}{more}"


@dataclass(frozen=True, slots=True)
class RegFile:
    """The keys of a .reg file."""

    keys: Mapping[str, Mapping[str, RegValue]]
    """by path as it is spelt; values by name in lower case"""


@dataclass(frozen=True, slots=True)
class RegChange:
    """One difference between two .reg files."""

    key: str
    """the key's path"""
    name: str | None
    """the value's name, empty for the default value; None if it is the key itself"""
    old: RegValue | None
    """as it was; None if it was not there, or for a key"""
    new: RegValue | None
    """as it is; None if it is not there, or for a key"""
    what: str
    """`added`, `removed` or `changed`"""


def parse(data: bytes) -> RegFile:
    """Given the bytes of a .reg file, return its keys. Raise RegFileError if it is none."""
    text = _text_of(data)
    head, _, rest = text.partition("\n")
    if head.strip() not in _HEADS:
        raise RegFileError("it does not begin as a .reg file does")
    ansi = head.strip() == "REGEDIT4"
    keys: dict[str, dict[str, RegValue]] = {}
    current: dict[str, RegValue] | None = None
    at = 0
    while at < len(rest):
        if found := _BLANK.match(rest, at):
            if found.end() == at:
                break
        elif found := _KEY.match(rest, at):
            if found["gone"]:
                raise RegFileError(f"it deletes the key {found['key']}")
            current = keys.setdefault(found["key"], {})
        elif (found := _VALUE.match(rest, at)) and current is not None:
            value = _value(found, ansi)
            current[value.name.lower()] = value
        else:
            line = rest.count("\n", 0, at) + 2
            raise RegFileError(f"line {line} is neither a key nor a value")
        at = found.end()
    return RegFile(keys)


def differences(old: RegFile, new: RegFile) -> Iterator[RegChange]:
    """Given two files, return what is other in the second: keys and values, whatever their case, in order."""
    before = {folded(path): path for path in old.keys}
    after = {folded(path): path for path in new.keys}
    for key in sorted(before.keys() | after.keys()):
        was, now = before.get(key), after.get(key)
        path = now if now is not None else was or ""
        if was is None or now is None:
            yield RegChange(path, None, None, None, "added" if was is None else "removed")
        old_values = old.keys[was] if was is not None else {}
        new_values = new.keys[now] if now is not None else {}
        for name in sorted(old_values.keys() | new_values.keys()):
            a, b = old_values.get(name), new_values.get(name)
            if a is None or b is None or (a.kind, a.data) != (b.kind, b.data):
                what = "added" if a is None else "removed" if b is None else "changed"
                spelt = (b or a or RegValue(name, 0, b"")).name
                yield RegChange(path, spelt, a, b, what)


def _text_of(data: bytes) -> str:
    try:
        if data.startswith((b"\xff\xfe", b"\xfe\xff")):
            return data.decode("utf-16", "surrogatepass")
    except UnicodeDecodeError as error:
        raise RegFileError("it is not the UTF-16 that it says it is") from error
    # An ANSI code page that nobody names: all bytes are kept, and two exports compare equal.
    return data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")


def _value(found: re.Match[str], ansi: bool) -> RegValue:
    name = "" if found["name"] == "@" else _unescaped(found["name"])
    if found["gone"]:
        raise RegFileError(f"it deletes the value {name!r}")
    if found["text"] is not None:
        text = _unescaped(found["text"]) + "\0"
        return RegValue(name, REG_SZ, text.encode("utf-16-le", "surrogatepass"))
    if found["dword"] is not None:
        return RegValue(name, REG_DWORD, int(found["dword"], 16).to_bytes(4, "little"))
    data = bytes(int(pair, 16) for pair in re.findall(r"[0-9a-fA-F]{2}", found["hex"]))
    kind = int(found["kind"], 16) if found["kind"] is not None else REG_BINARY
    if ansi and kind in (REG_EXPAND_SZ, REG_MULTI_SZ):  # REGEDIT4 writes these in the code page, too
        data = data.decode("latin-1").encode("utf-16-le")
    return RegValue(name, kind, data)


def _unescaped(quoted: str) -> str:
    return _ESCAPE.sub(r"\1", quoted[1:-1])


def _decoded(data: bytes) -> str:
    return data.decode("utf-16-le", "replace")

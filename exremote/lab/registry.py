"""The registry of one simulated host, and its export as reg.exe writes it. It never imports anything back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum

HIVES = {
    "HKLM": "HKEY_LOCAL_MACHINE",
    "HKCU": "HKEY_CURRENT_USER",
    "HKU": "HKEY_USERS",
    "HKCR": "HKEY_CLASSES_ROOT",
}
_LONG = {name.lower(): short for short, name in HIVES.items()}


class Kind(IntEnum):
    """Types of values; the number is Windows' own, the name is that of Microsoft.Win32.RegistryValueKind."""

    String = 1
    ExpandString = 2
    Binary = 3
    DWord = 4
    MultiString = 7
    QWord = 11


@dataclass(frozen=True, slots=True)
class Value:
    """One value with its type."""

    name: str
    kind: Kind
    data: str | int | bytes | tuple[str, ...]


@dataclass(slots=True)
class Key:
    """One key."""

    name: str
    values: dict[str, Value] = field(default_factory=dict)
    """By lower-case name; the default value has the empty name."""
    keys: dict[str, Key] = field(default_factory=dict)
    """By lower-case name."""
    denied: bool = False
    """The caller may not read it."""


class KeyDenied(Exception):
    """The caller may not read this key."""


def _names(path: str) -> list[str]:
    names = [name for name in path.split("\\") if name]
    if names:
        names[0] = _LONG.get(names[0].lower(), names[0].upper())
    return names


class Registry:
    """All hives of one machine."""

    def __init__(self) -> None:
        self._root = Key("")
        for hive, name in HIVES.items():
            self._root.keys[hive.lower()] = Key(name)

    def find(self, path: str) -> Key | None:
        """Return a key, or None if it is not there. Raise KeyDenied."""
        node = self._root
        for name in _names(path):
            child = node.keys.get(name.lower())
            if child is None:
                return None
            node = child
            if node.denied:
                raise KeyDenied(path)
        return node

    def make(self, path: str) -> Key:
        """Make a key and those above it, as far as they are missing. Return it."""
        node = self._root
        for name in _names(path):
            node = node.keys.setdefault(name.lower(), Key(name))
        return node

    def set(
        self, path: str, name: str, data: str | int | bytes | tuple[str, ...], kind: Kind | None = None
    ) -> None:
        """Set a value, its type taken from the data unless given: text, number, bytes or texts."""
        if kind is None:
            match data:
                case str():
                    kind = Kind.String
                case int():
                    kind = Kind.DWord
                case bytes():
                    kind = Kind.Binary
                case _:
                    kind = Kind.MultiString
        self.make(path).values[name.lower()] = Value(name, kind, data)

    def get(self, path: str, name: str = "") -> Value | None:
        """Return a value, or None. Raise KeyDenied."""
        key = self.find(path)
        return None if key is None else key.values.get(name.lower())

    def text(self, path: str, name: str, default: str = "") -> str:
        """Return a value that is one text, or `default`."""
        value = self.get(path, name)
        return value.data if value is not None and isinstance(value.data, str) else default

    def number(self, path: str, name: str, default: int = 0) -> int:
        """Return a value that is a number, or `default`."""
        value = self.get(path, name)
        return value.data if value is not None and isinstance(value.data, int) else default

    def remove(self, path: str, name: str | None = None) -> None:
        """Remove a value, or without `name` a key with all below it, if it is there."""
        if name is not None:
            key = self.find(path)
            if key is not None:
                key.values.pop(name.lower(), None)
            return
        folder, _, last = path.rpartition("\\")
        parent = self.find(folder)
        if parent is not None:
            parent.keys.pop(last.lower(), None)

    def export(self, path: str) -> bytes | None:
        """Return a key with all below it as `reg.exe export` writes it, or None if it is not there.

        Raise KeyDenied.
        """
        return self.export_many([path]) if self.find(path) is not None else None

    def export_many(self, paths: list[str]) -> bytes:
        """Return several keys as one .reg file. Raise KeyDenied."""
        lines = ["Windows Registry Editor Version 5.00", ""]
        for path in paths:
            key = self.find(path)
            if key is not None:
                names = _names(path)
                lines += _block(
                    "\\".join([HIVES.get(names[0], names[0]), *self._real_names(names[1:], names[0])]), key
                )
        return b"\xff\xfe" + "".join(line + "\r\n" for line in lines).encode("utf-16-le", "surrogatepass")

    def _real_names(self, names: list[str], hive: str) -> Iterator[str]:
        node = self._root.keys[hive.lower()]
        for name in names:
            node = node.keys[name.lower()]
            yield node.name


def _block(path: str, key: Key) -> list[str]:
    if key.denied:
        raise KeyDenied(path)
    lines = [f"[{path}]"]
    lines += [_line(value) for value in key.values.values()]
    lines.append("")
    for _, child in sorted(key.keys.items()):
        lines += _block(f"{path}\\{child.name}", child)
    return lines


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _line(value: Value) -> str:
    head = (_quoted(value.name) if value.name else "@") + "="
    if value.kind is Kind.String and isinstance(value.data, str) and not re.search("[\r\n]", value.data):
        return head + _quoted(value.data)
    if value.kind is Kind.DWord and isinstance(value.data, int):
        return f"{head}dword:{value.data & 0xFFFFFFFF:08x}"
    kind = "hex" if value.kind is Kind.Binary else f"hex({int(value.kind):x})"
    return _wrapped(f"{head}{kind}:", raw(value))


def raw(value: Value) -> bytes:
    """Return a value's bytes as the registry keeps them."""
    match value.data:
        case bytes():
            return value.data
        case int():
            return (value.data & (2**64 - 1)).to_bytes(8, "little")[: 8 if value.kind is Kind.QWord else 4]
        case str():
            return (value.data + "\0").encode("utf-16-le", "surrogatepass")
        case texts:
            return "".join(text + "\0" for text in (*texts, "")).encode("utf-16-le", "surrogatepass")


def _wrapped(head: str, data: bytes) -> str:
    """Return bytes in hexadecimal, with the line breaks of reg.exe: a backslash from column 76 on."""
    line = head
    column = len(head)
    for number, byte in enumerate(data):
        line += f"{byte:02x}"
        column += 2
        if number + 1 < len(data):
            line += ","
            column += 1
            if column >= 76:
                line += "\\\r\n  "
                column = 2
    return line

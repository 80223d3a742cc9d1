"""What to do about an inventory that is no TOML, or has a key in the wrong place. It quotes no value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from exremote.inventory.schema import CredentialTable, DeadlineTable, RetryTable, Table

_TWICE = re.compile(r"Cannot declare \((.+)\) twice")
_HEADER = re.compile(r"\s*\[([^\[\]]+)\]\s*(?:#.*)?")
_BACKSLASH = re.compile(r'"(?!"")[^"]*\\')
_HOMES: Mapping[str, type[Table]] = {
    "deadlines": DeadlineTable,
    "retry": RetryTable,
    "credential": CredentialTable,
}


def syntax_cure(text: str, line: int, message: str) -> tuple[str, str]:
    """Given a file that is no TOML, the line and what the parser says, return what to say and the remedy."""
    lines = text.split("\n")
    if found := _TWICE.search(message):
        name = ".".join(re.findall(r"'([^']*)'", found[1]))
        at = [number for number, each in enumerate(lines, 1) if _header(each) == name]
        if len(at) > 1:
            places = ", ".join(map(str, at[:-1]))
            return f"{name} stands twice (lines {places} and {at[-1]}).", "Make one table of them."
    if "overwrite" in message:
        return f"expected TOML: {message}.", "A key or table stands twice: leave one of them out."
    escape = "\\" in message or "hex value" in message
    if escape and 0 < line <= len(lines) and _BACKSLASH.search(lines[line - 1]):
        remedy = "Use single quotes: between them a backslash is a backslash."
        return f"expected TOML: {message}.", remedy
    return f"expected TOML: {message}.", ""


def _header(line: str) -> str:
    """Given a line, return the dotted name if it begins a table, without quotes and blanks."""
    found = _HEADER.fullmatch(line)
    return re.sub(r"""["'\s]""", "", found[1]) if found else ""


def place_cure(where: Sequence[str], line: str) -> str:
    """Given a key that is not known there, and its line, return where it belongs, or nothing."""
    header = _header(line)
    if len(where) > 2 and header.startswith(f"{where[0]}.{where[1]}.{where[2]}"):
        name = header.removeprefix(f"{where[0]}.")
        return f'A name with dots stands in quotes: [{where[0]}."{name}"].'
    for table, model in _HOMES.items():
        if where[-1] in model.model_fields and table not in where:
            return f"It belongs in {table}: {table} = {{ {where[-1]} = ... }}."
    return ""

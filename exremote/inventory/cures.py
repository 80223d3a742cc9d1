"""What to do about an inventory that is no TOML, or has a key in the wrong place. It quotes no value."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from exremote.inventory.lines import TOKEN
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
    opened = open_quote(text)
    if opened is not None and opened[0] == line:
        quote = opened[1]
        if "\\" in lines[line - 1].partition(quote)[2] and quote == '"':
            cure = "Use single quotes: between them a backslash is a backslash, and hides no quote."
        else:
            cure = f"Write {quote} behind the text, too{'' if len(quote) > 1 else ', in the same line'}."
        return f"expected TOML: a text that begins with {quote} does not end.", cure
    if "overwrite" in message:
        return f"expected TOML: {message}.", "A key or table stands twice: leave one of them out."
    escape = "\\" in message or "hex value" in message
    if escape and 0 < line <= len(lines) and _BACKSLASH.search(lines[line - 1]):
        remedy = "Use single quotes: between them a backslash is a backslash."
        return f"expected TOML: {message}.", remedy
    return f"expected TOML: {message}.", ""


def open_quote(text: str) -> tuple[int, str] | None:
    """Given a text that is no TOML, return line and kind of the first quote that is never closed, or None."""
    line = 1
    for token in TOKEN.finditer(text):
        if token.lastgroup == "mark" and token[0] in ("'", '"'):
            triple, end = token[0] * 3, token.end()  # the first two of three were taken for an empty text
            return line, triple if text[:end].endswith(triple) else token[0]
        line += token[0].count("\n")
    return None


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

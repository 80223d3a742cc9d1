"""How values and texts are written for a person. It knows no terminal."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.markup import escape
from rich.text import Text

STYLES: Mapping[str, str] = {
    "ok": "green",
    "done": "green",
    "unchanged": "green",
    "info": "cyan",
    "accepted": "cyan",
    "warning": "yellow",
    "incomplete": "yellow",
    "skipped": "yellow",
    "unknown": "magenta",
    "critical": "bold red",
    "failed": "bold red",
    "unreachable": "bold red",
    "damaged": "bold red",
    "old": "bold red",
    "missing": "bold red",
}

_COMMANDS = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff\\ufff9-\\ufffb]"
)

FOLDED = 24
"""What a column of sentences keeps at least, where a table is narrow."""


def time_text(moment: datetime | None) -> str:
    """Given a moment, return it in UTC to the second; a dash if there is none."""
    return "-" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def visible(text: str) -> str:
    """Given text that may come from a host, return it with what commands a terminal, or turns text around,
    written out in hexadecimal; the ends of lines and tabs stay.
    """
    return _COMMANDS.sub(_written_out, text.replace("\r\n", "\n"))


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"


def shown(text: str) -> str:
    """Given text, return it as a part of what rich prints: nothing in it is a command, for rich or for the
    terminal. A text that stands alone is `alone`.
    """
    return escape(visible(text))


def alone(text: str) -> Text:
    """Given a line, return it as rich prints it, a backslash at its end once."""
    return Text(visible(text))


def plain(value: Any) -> str:
    """Given a value, return it as a person reads it; a dash for nothing."""
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(plain(v) for v in value) or "-"
    return visible(str(value))


def cell(value: Any) -> str:
    """Given a value, return it as one cell of a line: nothing in it looks like the end of a cell or line."""
    return " ".join(plain(value).split())


def least(name: str, texts: Sequence[str]) -> int:
    """Given a column's name and texts, return how narrow it may be without a word being broken."""
    widest = max(map(len, texts))
    longest = max(len(word) for text in [name.replace("_", " "), *texts] for word in text.split() or [""])
    return max(longest, min(widest, FOLDED))


def widths(least: Mapping[str, int], cells: Mapping[str, Sequence[str]], room: int) -> dict[str, int]:
    """Given how narrow columns may be, their texts, and the room for all, return how wide each is.

    Who wants little gets it first: a column of sentences takes what is left.
    """
    widths = dict(least)
    left = room - sum(widths.values())
    wanted = {c: max(map(len, [c, *cells[c]])) - width for c, width in least.items()}
    for column in sorted(wanted, key=lambda c: wanted[c]):
        more = max(0, min(wanted[column], left))
        widths[column] += more
        left -= more
    return widths


_FOLDERS = re.compile(r'(?:[A-Za-z]:|\\)\\(?:[^\\:*?"<>|(),;\n]*\\)+')
"""A path as far as its last folder: the blanks in it are no ends of words."""
_GLUE = "\0"
"""Stands for such a blank while lines are made; `visible` leaves none in a text."""


def wrapped(text: str, width: int, lead: str = "", hang: str = "    ") -> str:
    """Given text, return it in lines of a width, broken between words only, and in no folder's name.

    What is longer than a line stands on one all the same. `lead` begins the first line, `hang` the others.
    """
    return textwrap.fill(
        _FOLDERS.sub(lambda found: found[0].replace(" ", _GLUE), visible(text)),
        max(width, 20),
        initial_indent=lead,
        subsequent_indent=hang,
        break_long_words=False,
        break_on_hyphens=False,
    ).replace(_GLUE, " ")

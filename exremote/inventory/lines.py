"""Where in a TOML text each key stands: the parser of the standard library does not tell."""

from __future__ import annotations

import re
import tomllib
from typing import Literal

TOKEN = re.compile(
    r"""(?P<skip>[ \t]+|\#[^\n]*)
    |(?P<text>\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')
    |(?P<bare>[^][{}=,.'"\s\#]+)
    |(?P<mark>.|\n)""",
    re.VERBOSE | re.DOTALL,
)
"""What a TOML text is made of; a quote that is a mark has no end."""


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """Given TOML that tomllib has read (so its form is known to be right), find where each key is.

        Return the line, counted from 1, that first names a table or key. Of an array of tables each has its
    number     behind the name, from 0.
    """
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()  # of the last [header]
    prefix: tuple[str, ...] = ()  # of the keys that come now: the table, or an inline table's key
    parts: list[str] = []  # of the key that is being read
    open_brackets: list[tuple[str, tuple[str, ...]]] = []  # those of values, each with the prefix outside
    state: Literal["key", "header", "value"] = "key"
    arrays: dict[tuple[str, ...], int] = {}  # how many tables each has so far
    doubled = False  # a header with two brackets
    line = 1
    for token in TOKEN.finditer(text):
        word, kind = token[0], token.lastgroup
        if kind in ("text", "bare") and state != "value":
            parts.append(tomllib.loads(f"k = {word}")["k"] if kind == "text" else word)
        elif state == "key" and word == "[":
            state, doubled = "header", False
        elif state == "header" and word == "[" and not parts:
            doubled = True
        elif (state == "header" and word == "]" and parts) or (state == "key" and word == "="):
            base = () if state == "header" else prefix
            for length in range(1, len(parts) + 1):
                lines.setdefault((*base, *parts[:length]), line)
            here = (*base, *parts)
            parts = []
            if state == "header" and doubled:
                arrays[here] = arrays.get(here, -1) + 1
                here = (*here, str(arrays[here]))
                lines[here] = line
            if state == "header":
                table = prefix = here
                state = "key"
            else:
                state = "value"
        elif state == "value" and word in ("[", "{") and kind == "mark":
            open_brackets.append((word, prefix))
            if word == "{":
                prefix, state = here, "key"
        elif word in ("]", "}") and open_brackets:
            here = prefix if word == "}" else here
            prefix = open_brackets.pop()[1]
            state = "value"
        elif word == "," and open_brackets and open_brackets[-1][0] == "{":
            state = "key"
        elif word == "\n" and not open_brackets:
            prefix, state, parts = table, "key", []
        line += word.count("\n")
    return lines

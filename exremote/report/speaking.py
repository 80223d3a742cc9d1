"""The mouth of one command: tables, lines, JSON. It never decides anything.

Answers go to standard output, progress and errors to standard error. Where standard output is no
terminal, a table becomes a line a row without a head: the cells in the table's order with a tab between
them, `-` where there is nothing, for `grep`, `cut` and `awk`.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

from rich import box
from rich.console import Console
from rich.table import Table

from exremote.errors import ExremoteError
from exremote.report.live import Live
from exremote.report.outlet import outlet, plain_letters
from exremote.report.text import STYLES, alone, cell, plain, shown, wrapped
from exremote.report.text import least as least_width
from exremote.report.text import widths as widths_of

NARROW = 110
"""Below this many columns what has long sentences is a list, and no table."""


_GOING_ON = re.compile(r"`(exremote (?:confirm|resume|recover) [^`]+)`")


def _framed(widths: Collection[int]) -> int:
    """Given the widths of columns, return that of the table with its frame."""
    return sum(widths) + 3 * len(widths) + 1


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON report")


class Report:
    """The mouth of one command: knows whether it speaks to a person, a pipe or a program."""

    def __init__(
        self, *, as_json: bool = False, out: TextIO | None = None, err: TextIO | None = None
    ) -> None:
        self.as_json = as_json
        self._outlet = outlet(out or sys.stdout)
        self._out_stream = cast(TextIO, self._outlet)
        self._out = Console(file=self._out_stream, highlight=False, soft_wrap=False)
        self._err = Console(file=cast(TextIO, outlet(err or sys.stderr)), highlight=False, soft_wrap=True)
        self._answered = False

    def json(self, value: object) -> None:
        """Given plain values, print them as one JSON document, whatever the terminal is."""
        self._answered = True
        try:
            text = json.dumps(value, indent=2, default=_jsonable, allow_nan=False)
        except ValueError:  # 1e999 in a file that somebody wrote: JSON has no such number, but texts
            plain = json.loads(json.dumps(value, default=_jsonable), parse_constant=str)
            text = json.dumps(plain, indent=2)
        self._out_stream.write(text + "\n")
        self._out_stream.flush()

    def text(self, text: str) -> None:
        """Given a document of another form, write it to standard output as it is."""
        self._answered = True
        self._out_stream.write(text)
        self._out_stream.flush()

    @property
    def trouble(self) -> str:
        """Return why the answer is not whole on standard output; empty if it is."""
        self._outlet.flush()
        return self._outlet.trouble

    def rows(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        style_by: str = "",
        nothing: str = "nothing to show",
        spare: Sequence[str] = (),
        below: Sequence[str] = (),
    ) -> None:
        """Given rows, print these columns: a table on a terminal, else a line a row; JSON has all keys.

        Where the terminal is too narrow, the columns of `spare` go, in that order, and it is said; where that
        is not enough, rows are lines without a frame, with the sentences of `below` under them.
        """
        if self.as_json:
            self.json(list(rows))
        elif not rows:
            self.line(nothing)
        elif self._out.is_terminal:
            self._table(title, columns, rows, style_by, spare, below)
        else:
            for row in rows:
                self._out_stream.write("\t".join(cell(row.get(c)) for c in columns) + "\n")
            self._out_stream.flush()

    def sentences(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        below: Sequence[str],
        style_by: str,
        named: Sequence[str] = (),
        nothing: str = "nothing to show",
    ) -> None:
        """Given rows with sentences in the columns `below`, print them as `rows` does, but as a list on a
        terminal that is narrow, or too narrow for the table: the first column as a head over its rows, the
        short ones in a line, these below, those of `named` behind their names.
        """
        if self.as_json or not rows or not self._out.is_terminal or self._has_room(columns, rows):
            self.rows(title, columns, rows, style_by=style_by, nothing=nothing)
            return
        self._out.print(title, style="bold")
        short = [column for column in columns[1:] if column not in below]
        head = ""
        for row in rows:
            if row.get(columns[0]) != head:
                head = str(row.get(columns[0]))
                self._out.print(f"\n{shown(head)}", style="bold")
            style = STYLES.get(str(row.get(style_by)), "")
            self.line(" " + "  ".join(cell(row.get(c)) for c in short), style)
            for column in below:
                if row.get(column):
                    name = f"{column}: " if column in named else ""
                    self.line(wrapped(name + cell(row.get(column)), self._out.width, lead="    "))
        self.line("")

    def _has_room(self, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bool:
        least = [least_width(column, [plain(row.get(column)) for row in rows]) for column in columns]
        return self._out.width >= max(NARROW, _framed(least))

    def _table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        style_by: str,
        spare: Sequence[str],
        below: Sequence[str],
    ) -> None:
        cells = {column: [plain(row.get(column)) for row in rows] for column in columns}
        # A word is never broken: an id that stands in two lines cannot be copied.
        least = {c: least_width(c, cells[c]) for c in columns}
        dropped: list[str] = []
        for column in spare:
            if _framed(least.values()) <= self._out.width:
                break
            if least.pop(column, None) is not None:
                dropped.append(column.replace("_", " "))
        if _framed(least.values()) > self._out.width:
            self._lines(title, [c for c in least if c not in below], cells, style_by, below)
            self._say_dropped(dropped)
            return
        frame = box.ASCII2 if plain_letters(self._out) else box.HEAVY_HEAD
        table = Table(title=title, title_justify="left", header_style="bold", box=frame)
        for column, width in widths_of(least, cells, self._out.width - 3 * len(least) - 1).items():
            table.add_column(column.replace("_", " "), overflow="fold", width=width)
        for number, row in enumerate(rows):
            style = STYLES.get(str(row.get(style_by)), "") if style_by else ""
            texts = []
            for column in least:
                text = shown(cells[column][number])
                texts.append(f"[{style}]{text}[/]" if style and column == style_by else text)
            table.add_row(*texts)
        self._out.print(table)
        self._say_dropped(dropped)

    def _say_dropped(self, columns: Sequence[str]) -> None:
        if columns:
            self.line(f"left out, for want of width: {', '.join(columns)}")

    def _lines(
        self,
        title: str,
        columns: Sequence[str],
        cells: Mapping[str, Sequence[str]],
        style_by: str,
        below: Sequence[str],
    ) -> None:
        """Print each row in columns without a frame; what is longer than a line, and `below`, indented."""
        self._out.print(alone(title), style="bold")
        widths = {c: max(map(len, [c.replace("_", " "), *cells[c]])) for c in columns}
        head = "  ".join(c.replace("_", " ").ljust(widths[c]) for c in columns)
        if len(head.rstrip()) <= self._out.width:
            self.line(head.rstrip(), "bold")
        for number in range(len(cells[columns[0]])):
            row = "  ".join(cells[c][number].ljust(widths[c]) for c in columns).rstrip()
            style = STYLES.get(cells[style_by][number], "") if style_by else ""
            if len(row) > self._out.width:
                row = wrapped("  ".join(cells[c][number] for c in columns), self._out.width)
            self.line(row, style)
            for column in below:
                if cells[column][number] != "-":
                    self.line(wrapped(cells[column][number], self._out.width, lead="    "))

    def line(self, text: str, style: str = "") -> None:
        """Given one line for the operator, print it as it is; a JSON report leaves it out."""
        if not self.as_json:
            self._out.print(alone(text), soft_wrap=True, style=style or None)

    def commands(self, sentences: Iterable[str]) -> None:
        """Given sentences that stood in a table, print the commands to go on with in a line each, if that was
        on a terminal: in a narrow column they stand in pieces, and cannot be copied.
        """
        found = dict.fromkeys(match[1] for text in sentences for match in _GOING_ON.finditer(text))
        if found and self._out.is_terminal:
            self.line("to go on:")
            for command in found:
                self.line(f"  {command}")

    def item(self, text: str, style: str = "") -> None:
        """Given one line of a list, with its indent, print it; on a terminal, what has no room in a line
        stands further in below it. Nothing of it is cut off.
        """
        if self._out.is_terminal and not self.as_json:
            lead = text[: len(text) - len(text.lstrip(" "))]
            text = wrapped(text[len(lead) :], self._out.width, lead, lead + "    ")
        self.line(text, style)

    def note(self, text: str) -> None:
        """Given a remark that is no part of the answer, print it to standard error."""
        self._err.print(alone(text))

    def error(self, error: ExremoteError, code: int | None = None) -> None:
        """Given an error that ended the command, print its sentence and its remedy to standard error.

        A program that waits for JSON gets them as JSON, too, if it has no answer yet.
        """
        if self.as_json and not self._answered:
            self.json({"error": error.text, "exit_code": error.exit_code if code is None else code})
        self._err.print(f"[bold red]error:[/] {shown(error.text)}")

    @contextmanager
    def progress(self, verb: str, hosts: Sequence[str]) -> Iterator[Live]:
        """Given the hosts of a run, yield a `Live` that shows each host and the whole as they go."""
        live = Live(self._err, verb, hosts, quiet=self.as_json and not self._err.is_terminal)
        try:
            live.start()
            yield live
        finally:
            live.stop()

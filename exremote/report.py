"""What a person or a program gets to read: tables, lines, JSON, live progress. It never decides anything.

Answers go to standard output, progress and errors to standard error. Where standard output is no
terminal, a table becomes a line a row without a head: the cells in the table's order with a tab between
them, `-` where there is nothing, for `grep`, `cut` and `awk`.
"""

from __future__ import annotations

import io
import json
import os
import re
import sys
import textwrap
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column, Table

from exremote.errors import ExremoteError

STYLES: Mapping[str, str] = {
    "ok": "green",
    "done": "green",
    "unchanged": "green",
    "info": "cyan",
    "warning": "yellow",
    "incomplete": "yellow",
    "skipped": "yellow",
    "unknown": "magenta",
    "critical": "bold red",
    "failed": "bold red",
    "unreachable": "bold red",
    "damaged": "bold red",
}

_COMMANDS = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff\\ufff9-\\ufffb]"
)

SILENT = ("failed", "unreachable")
"""How a host ends that has no answer."""
NARROW = 110
"""Below this many columns what has long sentences is a list, and no table."""
FOLDED = 24
"""What a column of sentences keeps at least, where a table is narrow."""


def count_text(count: int, noun: str) -> str:
    """Given a number and the word for one, return both: `1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size_text(count: int) -> str:
    """Given a number of bytes, return it as a person reads it (binary units)."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{int(value)} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")


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


def _shown(text: str) -> str:
    """Given text, return it as rich prints it: nothing in it is a command, for rich or for the terminal."""
    return escape(visible(text))


def _plain(value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(_plain(v) for v in value) or "-"
    return visible(str(value))


def _cell(value: Any) -> str:
    """Given a value, return it as one cell of a line: nothing in it looks like the end of a cell or line."""
    return " ".join(_plain(value).split())


def _jsonable(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no place in a JSON report")


class Outlet(io.TextIOBase):
    """A stream to write to. A reader that has gone, or a full disk, mutes it and never stops a run."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream
        self.trouble = "" if stream is not None else "it is closed"
        """Why what was written is not there; empty if it is, or if the reader itself has gone."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """The stream's own."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        """The stream's own."""
        return getattr(self._stream, "errors", None) or "strict"

    def isatty(self) -> bool:
        """Return whether a person sees it."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's own. Raise OSError if it has none."""
        if self._stream is None:
            raise OSError("closed")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Given text, write it, if anybody takes it."""
        if self._stream is not None:
            try:
                self._stream.write(text)
            except UnicodeEncodeError:
                self._stream.write(text.encode(self.encoding, "backslashreplace").decode(self.encoding))
            except OSError as error:
                self._mute(error)
        return len(text)

    def flush(self) -> None:
        """Have it arrive, if anybody takes it."""
        if self._stream is not None:
            try:
                self._stream.flush()
            except OSError as error:
                self._mute(error)

    def _mute(self, error: OSError) -> None:
        if not isinstance(error, BrokenPipeError):
            self.trouble = error.strerror or str(error)
        # What waits in the stream's buffer must go somewhere, or Python complains when it ends.
        with suppress(OSError, ValueError, AttributeError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
        self._stream = None


def outlet(stream: TextIO | None) -> Outlet:
    """Given a stream, return it as one that stops no run."""
    return stream if isinstance(stream, Outlet) else Outlet(stream)


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
        self._out_stream.write(json.dumps(value, indent=2, default=_jsonable, ensure_ascii=True) + "\n")
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
    ) -> None:
        """Given rows, print these columns: a table on a terminal, else a line a row; JSON has all keys.

        Where the terminal is too narrow, the columns of `spare` go, in that order, and it is said.
        """
        if self.as_json:
            self.json(list(rows))
        elif not rows:
            self.line(nothing)
        elif self._out.is_terminal:
            self._table(title, columns, rows, style_by, spare)
        else:
            for row in rows:
                self._out_stream.write("\t".join(_cell(row.get(c)) for c in columns) + "\n")
            self._out_stream.flush()

    def sentences(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        *,
        below: Sequence[str],
        style_by: str,
        nothing: str = "nothing to show",
    ) -> None:
        """Given rows with sentences in the columns `below`, print them as `rows` does, but as a list on a
        narrow terminal: the first column as a head over its rows, the short ones in a line, these below.
        """
        if self.as_json or not rows or not self._out.is_terminal or self._out.width >= NARROW:
            self.rows(title, columns, rows, style_by=style_by, nothing=nothing)
            return
        self._out.print(title, style="bold")
        short = [column for column in columns[1:] if column not in below]
        head = ""
        for row in rows:
            if row.get(columns[0]) != head:
                head = str(row.get(columns[0]))
                self._out.print(f"\n{_shown(head)}", style="bold")
            style = STYLES.get(str(row.get(style_by)), "")
            self.line(" " + "  ".join(_cell(row.get(c)) for c in short), style)
            for column in below:
                if row.get(column):
                    self.line(_wrapped(_cell(row.get(column)), self._out.width, lead="    "))
        self.line("")

    def _table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Mapping[str, Any]],
        style_by: str,
        spare: Sequence[str],
    ) -> None:
        cells = {column: [_plain(row.get(column)) for row in rows] for column in columns}
        # A word is never broken: an id that stands in two lines cannot be copied.
        least = {c: _least(c, cells[c]) for c in columns}
        dropped: list[str] = []
        for column in spare:
            if sum(least.values()) + 3 * len(least) + 1 <= self._out.width:
                break
            if least.pop(column, None) is not None:
                dropped.append(column.replace("_", " "))
        if sum(least.values()) + 3 * len(least) + 1 > self._out.width:
            self._records(title, columns, cells)
            return
        table = Table(title=title, title_justify="left", header_style="bold", show_lines=False)
        for column, width in least.items():
            table.add_column(column.replace("_", " "), overflow="fold", min_width=width)
        for number, row in enumerate(rows):
            style = STYLES.get(str(row.get(style_by)), "") if style_by else ""
            texts = []
            for column in least:
                text = _shown(cells[column][number])
                texts.append(f"[{style}]{text}[/]" if style and column == style_by else text)
            table.add_row(*texts)
        self._out.print(table)
        if dropped:
            self.line(f"left out, for want of width: {', '.join(dropped)}")

    def _records(self, title: str, columns: Sequence[str], cells: Mapping[str, Sequence[str]]) -> None:
        """Print each row as lines of its own: the terminal is too narrow for any table of them."""
        self._out.print(_shown(title), style="bold")
        for number in range(len(cells[columns[0]])):
            for column in columns:
                first = column is columns[0]
                label = f"{'' if first else '  '}{column.replace('_', ' ')}: "
                self.line(_wrapped(f"{label}{cells[column][number]}", self._out.width))

    def line(self, text: str, style: str = "") -> None:
        """Given one line for the operator, print it as it is; a JSON report leaves it out."""
        if not self.as_json:
            self._out.print(_shown(text), soft_wrap=True, style=style or None)

    def note(self, text: str) -> None:
        """Given a remark that is no part of the answer, print it to standard error."""
        self._err.print(_shown(text))

    def error(self, error: ExremoteError, code: int | None = None) -> None:
        """Given an error that ended the command, print its sentence and its remedy to standard error.

        A program that waits for JSON gets them as JSON, too, if it has no answer yet.
        """
        if self.as_json and not self._answered:
            self.json({"error": error.text, "exit_code": error.exit_code if code is None else code})
        self._err.print(f"[bold red]error:[/] {_shown(error.text)}")

    @contextmanager
    def progress(self, verb: str, hosts: Sequence[str]) -> Iterator[Live]:
        """Given the hosts of a run, yield a `Live` that shows each host and the whole as they go."""
        live = Live(self._err, verb, hosts, quiet=self.as_json and not self._err.is_terminal)
        try:
            live.start()
            yield live
        finally:
            live.stop()


def _least(name: str, texts: Sequence[str]) -> int:
    """Given a column's name and texts, return how narrow it may be without a word being broken."""
    widest = max(map(len, texts))
    longest = max(len(word) for text in [name.replace("_", " "), *texts] for word in text.split() or [""])
    return max(longest, min(widest, FOLDED))


def _wrapped(text: str, width: int, lead: str = "") -> str:
    """Given text, return it in lines of a width, broken between words only."""
    return textwrap.fill(
        text,
        max(width, 20),
        initial_indent=lead,
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


@dataclass(slots=True)
class _Row:
    """What the display knows of one host."""

    task: TaskID | None = None
    files: int = 0
    size: int = 0
    stage: str = "waiting"


@dataclass(slots=True)
class Live:
    """Progress of a run on standard error: a display on a terminal, else a line an event. Thread-safe."""

    console: Console
    verb: str
    hosts: Sequence[str]
    quiet: bool = False
    _rows: dict[str, _Row] = field(default_factory=dict)
    _display: Progress | None = None
    _whole: TaskID | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> None:
        """Show the hosts as waiting."""
        self._rows = {host: _Row() for host in self.hosts}
        if self.quiet or not self.console.is_terminal:
            return
        widest = max(map(len, [*self.hosts, f"{self.verb}: all hosts"]))
        self._display = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=widest)),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True, overflow="ellipsis")),
            console=self.console,
            transient=True,
        )
        for host, row in self._rows.items():
            row.task = self._display.add_task(_shown(host), total=None, note="waiting")
        self._whole = self._display.add_task(
            f"{self.verb}: all hosts", total=len(self.hosts), note=f"0 of {len(self.hosts)}"
        )
        self._display.start()

    def stage(self, host: str, text: str) -> None:
        """Given what a host is doing now, show it."""
        with self._lock:
            row = self._rows.setdefault(host, _Row())
            row.stage = text
            self._show(host, row)
        if self._display is None and not self.quiet:
            self.console.print(_shown(f"{host}: {text}"))

    def moved(self, host: str, files: int, size: int) -> None:
        """Given files and bytes that arrived from a host, add them to its line."""
        with self._lock:
            row = self._rows.setdefault(host, _Row())
            row.files += files
            row.size += size
            self._show(host, row)

    def finished(self, host: str, text: str, style: str) -> None:
        """Given how a host ended, say so."""
        with self._lock:
            row = self._rows.setdefault(host, _Row())
            row.stage = text
            if self._display is not None and row.task is not None and self._whole is not None:
                colour = STYLES.get(style, "")
                short = text.split(". ", 1)[0]  # the whole sentence stands in the report
                note = f"[{colour}]{_shown(short)}[/]" if colour else _shown(short)
                self._display.update(row.task, total=1, completed=1, note=note)
                self._display.advance(self._whole)
                done = int(self._display.tasks[-1].completed)
                self._display.update(self._whole, note=f"{done} of {len(self.hosts)}")
        if self._display is None and not self.quiet:
            # Why a host failed stands in the report, once.
            self.console.print(_shown(f"{host}: {style if style in SILENT else text}"))

    def _show(self, host: str, row: _Row) -> None:
        if self._display is not None and row.task is not None:
            files = count_text(row.files, "file")
            moved = f", {files}, {size_text(row.size)}" if row.size or row.files else ""
            self._display.update(row.task, note=_shown(row.stage + moved))

    def stop(self) -> None:
        """Take the display away; what remains is the report."""
        if self._display is not None:
            self._display.stop()
            self._display = None

"""Progress of a run over hosts, on standard error. It answers nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from exremote.report.outlet import plain_letters
from exremote.report.text import STYLES, alone, shown
from exremote.wording import count_text, size_text

SILENT = ("failed", "unreachable", "incomplete", "waiting")
"""How a host ends of which the report says why."""


MANY = 8
"""Of more hosts a display has one line each, whatever is cut off; of fewer, all that they wait for."""


@dataclass(slots=True)
class _Row:
    """What the display knows of one host."""

    task: TaskID | None = None
    files: int = 0
    size: int = 0
    all_files: int = 0
    all_size: int = 0
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
        plain = plain_letters(self.console)
        many = len(self.hosts) > MANY  # then a line a host: a display higher than the screen hides some
        end: Literal["crop", "ellipsis"] = "crop" if plain else "ellipsis"
        self._display = Progress(
            SpinnerColumn("line" if plain else "dots", finished_text=" "),
            TextColumn("{task.description}", table_column=Column(no_wrap=True, min_width=widest)),
            TextColumn(
                "{task.fields[note]}",
                table_column=Column(no_wrap=many, overflow=end if many else "fold"),
            ),
            console=self.console,
            transient=True,
        )
        for host, row in self._rows.items():
            row.task = self._display.add_task(shown(host), total=None, note="waiting")
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
            self.console.print(alone(f"{host}: {text}"))

    def expect(self, host: str, files: int, size: int) -> None:
        """Given how many files and bytes the plan says will come from a host, show them as the whole."""
        with self._lock:
            row = self._rows.setdefault(host, _Row())
            row.all_files, row.all_size = files, size
            self._show(host, row)
        if self._display is None and not self.quiet:
            self.console.print(alone(f"{host}: {count_text(files, 'file')}, {size_text(size)} to come"))

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
                note = f"[{colour}]{shown(short)}[/]" if colour else shown(short)
                self._display.update(row.task, total=1, completed=1, note=note)
                self._display.advance(self._whole)
                done = int(self._display.tasks[-1].completed)
                self._display.update(self._whole, note=f"{done} of {len(self.hosts)}")
        if self._display is None and not self.quiet:
            # Why a host failed, or what it lacks, stands in the report, once.
            self.console.print(alone(f"{host}: {style if style in SILENT else text}"))

    def _show(self, host: str, row: _Row) -> None:
        if self._display is not None and row.task is not None:
            # What changes while it is read comes again: then it is more than was planned.
            some = max(row.all_files, row.files)
            files = f"{row.files} of {count_text(some, 'file')}" if some else count_text(row.files, "file")
            size = size_text(row.size) + (f" of {size_text(max(row.all_size, row.size))}" if some else "")
            moved = f", {files}, {size}" if row.size or some else ""
            self._display.update(row.task, note=shown(row.stage + moved))

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Take the display away for a block in which a person is asked something."""
        display = self._display
        if display is not None:
            display.stop()
        try:
            yield
        finally:
            if display is not None:
                display.start()

    def stop(self) -> None:
        """Take the display away; what remains is the report."""
        if self._display is not None:
            self._display.stop()
            self._display = None

"""Asks the person at the terminal while a run goes on. It takes no answer for yes that is none."""

from __future__ import annotations

import queue
import sys
import threading
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager

from exremote.changes import Confirm
from exremote.errors import PlanRefused
from exremote.report import Report, has_terminal

POLL_S = 0.3
"""How often it is looked whether something else happened, in seconds."""


class Lines:
    """What a person types, line by line, while something else may happen meanwhile."""

    def __init__(self, going_on: Callable[[], None]) -> None:
        """Given what raises after an interrupt."""
        self._going_on = going_on
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader: threading.Thread | None = None

    def next(self, meanwhile: Callable[[], bool] = lambda: False) -> str | None:
        """Return the next line of the terminal, empty at its end; None as soon as `meanwhile` says so."""
        if self._reader is None:  # a daemon: nobody waits for a terminal that says nothing
            self._reader = threading.Thread(target=self._read, daemon=True)
            self._reader.start()
        while True:
            try:
                return self._lines.get(timeout=POLL_S)
            except queue.Empty:
                self._going_on()
                if meanwhile():
                    return None

    def _read(self) -> None:
        while line := sys.stdin.readline():
            self._lines.put(line)
        self._lines.put("")


class Asker:
    """One person for all hosts of a run: asked one question at a time."""

    def __init__(
        self,
        report: Report,
        answered: Collection[str],
        paused: Callable[[], AbstractContextManager[None]],
        going_on: Callable[[], None],
    ) -> None:
        """Given what the command line has answered already, what clears the screen, and what raises after an
        interrupt.
        """
        self._report = report
        self._answered = answered
        self._paused = paused
        self._turn = threading.Lock()
        self._lines = Lines(going_on)

    def __call__(self, host: str, step: Confirm) -> str:
        """Given what a person has to do at a host, ask until it is done. Return the answer.

        Raise PlanRefused if the answer is no, or nobody can be asked.
        """
        if step.name in self._answered:
            return f"--confirmed {step.name}"
        if not has_terminal():
            raise PlanRefused(f"{host}: nobody is there to confirm {step.name}: {step.text}")
        with self._turn, self._paused():
            while True:
                self._report.note(f"{host}: {step.text}\nIs it done, and was it well? Type yes or no:")
                match (self._lines.next() or "").strip().lower():
                    case "yes" | "y":
                        return "yes, at the terminal"
                    case "no" | "n" | "":
                        raise PlanRefused(
                            f"{host}: {step.name} was not confirmed.",
                            "`exremote undo` of this run brings back what was.",
                        )

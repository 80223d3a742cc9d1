"""How it ended for a host, and for a run: values, never exceptions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from exremote.errors import (
    EXIT_INCOMPLETE,
    EXIT_INTERRUPTED,
    EXIT_OK,
    ExremoteError,
    HostError,
    NotBegun,
    RepositoryError,
    Waiting,
)
from exremote.inventory import Host
from exremote.repository import UnsafeName


class State(StrEnum):
    """How it ended for one host."""

    DONE = "done"
    INCOMPLETE = "incomplete"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    SKIPPED = "skipped"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended for one host: a value, never an exception."""

    host: str
    """The host's name in the inventory."""
    state: State
    """In one word."""
    exit_code: int = EXIT_OK
    """What this alone would make of the exit code."""
    message: str = ""
    """One sentence if it did not end well."""
    seconds: float = 0.0
    """Wall time."""
    detail: Any = None
    """What the verb has to report of this host."""


def interrupted(host: Host) -> Outcome:
    """Given a host whose turn did not come or was cut short, return its outcome."""
    return Outcome(host.name, State.SKIPPED, EXIT_INTERRUPTED, "interrupted")


def failed(host: Host, error: ExremoteError) -> Outcome:
    """Given an error that ended a host's errand, return it as a value."""
    message = error.text.removeprefix(f"{host.name}: ")
    if isinstance(error, Waiting):
        return Outcome(host.name, State.WAITING, error.exit_code, message)
    if isinstance(error, NotBegun):
        return Outcome(host.name, State.SKIPPED, error.exit_code, message)
    unreachable = isinstance(error, HostError) and error.exit_code == 20
    # A name that is not taken says something about this host, and nothing about the repository.
    code = EXIT_INCOMPLETE if isinstance(error, UnsafeName) else error.exit_code
    return Outcome(host.name, State.UNREACHABLE if unreachable else State.FAILED, code, message)


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """Given all outcomes of a run, return its exit code.

    A repository that failed decides, then an interrupt; one host alone gives its own code, several
    give 3 if any of them did not end well.
    """
    codes = [o.exit_code for o in outcomes]
    for repository_code in range(RepositoryError.exit_code, 20):
        if repository_code in codes:
            return repository_code
    if EXIT_INTERRUPTED in codes:
        return EXIT_INTERRUPTED
    if len(codes) == 1:
        return codes[0]
    return EXIT_OK if all(code == EXIT_OK for code in codes) else EXIT_INCOMPLETE

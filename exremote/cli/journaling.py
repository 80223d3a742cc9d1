"""The journal of one command: where it lies, and with which exit code it ends. It decides neither."""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import typer

from exremote.cli.common import now
from exremote.errors import EXIT_INTERRUPTED, EXIT_OK, ExremoteError, RepositoryError
from exremote.journal import Journal, new_run_id
from exremote.repository import hold
from exremote.runner import run_lock


@contextmanager
def journaled(
    folders: Sequence[Path],
    verb: str,
    command: Sequence[str],
    say: Callable[[str], None],
    more: Mapping[str, object] | None = None,
) -> Iterator[Journal]:
    """Given folders of journals, what is done and with what, keep a journal for a block; the run is alive.

    It lies in the first folder that takes it; `say` is told if that is not the first. It ends with the exit
    code of what comes through; who knows another one closes it with that. `more` stands in its first event.
    Raise RepositoryError if none does.
    """
    with ExitStack() as stack:
        journal = _begin(stack, folders, verb, [verb, *command], say, more or {})
        ended = ExremoteError.exit_code  # whatever else comes through is a defect
        stack.callback(lambda: journal.close(str(ended)))
        try:
            yield journal
            ended = EXIT_OK
        except ExremoteError as error:
            ended = error.exit_code
            raise
        except KeyboardInterrupt:
            ended = EXIT_INTERRUPTED
            raise
        except typer.Exit as left:
            ended = left.exit_code
            raise


def _begin(
    stack: ExitStack,
    folders: Sequence[Path],
    verb: str,
    command: Sequence[str],
    say: Callable[[str], None],
    more: Mapping[str, object],
) -> Journal:
    """Begin a journal in the first folder that takes it. Return it; the stack lets go of the run's lock."""
    run = new_run_id(now())
    for number, folder in enumerate(folders, start=1):
        with ExitStack() as attempt:
            try:
                lock = hold(run_lock(folder, run), verb, run=run, since=now(), on_takeover=lambda who: None)
                attempt.enter_context(lock)
                journal = Journal.create(folder, run, verb, command, now, **_who(), **more)
            except RepositoryError as error:
                if number == len(folders):
                    raise
                say(f"note: the journal of this run lies in {folders[number]}, because of this: {error.text}")
                continue
            stack.enter_context(attempt.pop_all())
            return journal
    raise ValueError("no folder for a journal")


def _who() -> dict[str, str]:
    """Return who runs this, and on which machine, as far as the system says it."""
    user = ""
    with suppress(OSError, KeyError, ImportError):  # a container may have a number and no name
        user = getpass.getuser()
    return {"user": user, "machine": socket.gethostname()}

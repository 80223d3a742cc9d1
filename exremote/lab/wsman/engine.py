"""What the endpoint asks of whoever plays PowerShell and cmd.exe behind it.

A simulated host is two functions: one answers scripts (`RunScript`), one answers command lines
(`RunCommand`). This file never touches the wire: no fragments, no XML, no sockets.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field


class Long(int):
    """A whole number that must travel as Int64 even where it would fit into Int32 (a file length, say)."""


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """A non-terminating error, as `Write-Error` makes it."""

    error_id: str
    """The name a client looks for. Without a comma, `,Microsoft.PowerShell.Commands.WriteErrorException` is
    added."""
    message: str
    target: str = ""
    """The target object, as text; empty for none."""
    category: str = "NotSpecified"
    """A name of System.Management.Automation.ErrorCategory; an unknown one becomes NotSpecified."""


class ScriptThrew(Exception):
    """Raised by a simulated script: the pipeline ends in state Failed with this record."""

    def __init__(self, record: ErrorRecord) -> None:
        super().__init__(f"{record.error_id}: {record.message}")
        self.record = record


@dataclass(frozen=True, slots=True)
class Warning_:
    """One record of the warning stream."""

    message: str


@dataclass(frozen=True, slots=True)
class Verbose:
    """One record of the verbose stream."""

    message: str


@dataclass(frozen=True, slots=True)
class Progress:
    """One record of the progress stream."""

    activity: str
    status: str
    percent: int = -1
    """0 to 100, or -1 for unknown."""


Record = dict[str, object] | bytes | str | int | float | None | ErrorRecord | Warning_ | Verbose | Progress
"""What a simulated script emits. A dict is one PSObject with note properties; bytes are one byte[] object."""


@dataclass(frozen=True, slots=True)
class Call:
    """Who asks, and whether the answer is still wanted."""

    user: str
    """The authenticated principal, `DOMAIN\\user`."""
    shell_id: str
    command_id: str = ""
    site: str = ""
    """The name of the site that was asked."""
    stopping: threading.Event = field(default_factory=threading.Event)
    """Set when the client stops the pipeline or the shell goes. Wait on it instead of sleeping."""


RunScript = Callable[[str, Mapping[str, object], Iterator[object], Call], Iterator[Record]]
"""Given script text, parameters, pipeline input and the call, yield records.

Records are pulled lazily; the generator is closed (GeneratorExit) when the client stops it or the shell goes.
Raise ScriptThrew for a terminating error. Positional parameters come under the keys "0", "1", ... A pipeline
of several commands comes as their texts joined by " | ", parameters merged.
"""

RunCommand = Callable[
    [
        str,
        Sequence[str],
        Mapping[str, str],
        Iterator[bytes],
        Callable[[bytes], None],
        Callable[[bytes], None],
        Call,
    ],
    int,
]
"""Given command, arguments, environment, standard input in chunks, and writers for standard output and
standard error, run it and return the exit code. A writer blocks while the client does not read, and raises
`streams.Abandoned` when nobody will read any more. Raise FileNotFoundError for an unknown command."""

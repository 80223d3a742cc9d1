"""The error tree and the exit codes. It never prints and never decides what to do about an error.

::

    ExremoteError                              1
    ├── UsageError                             2
    ├── ConfigError(file, line, key)           2
    │   ├── InventoryError
    │   ├── ConnectorError
    │   └── ScriptLibraryError
    ├── HostError(host)                        3
    │   ├── Unreachable            transient  20
    │   ├── SessionLost            transient  20
    │   ├── RemoteTimeout          transient  20
    │   ├── QuotaExceeded          transient  20
    │   ├── AccessDenied                      21
    │   │   └── LogonRefused
    │   ├── TrustError                        21
    │   ├── ScriptFailed(script, error_id)    22
    │   └── TransferMismatch       transient  23
    ├── RepositoryError(path)                 10
    │   ├── RepositoryLocked(owner)           11
    │   ├── SnapshotNotFound                  12
    │   └── IntegrityError(entry, expected, actual)   13
    ├── PlanRefused                            4
    │   └── NotBegun
    └── Waiting                                6

Three exit codes belong to no class: 3 a run that finished incomplete, 5 bad news as the answer,
130 interrupted.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

EXIT_OK = 0
EXIT_INCOMPLETE = 3
EXIT_BAD_NEWS = 5
EXIT_INTERRUPTED = 130


class ExremoteError(Exception):
    """Everything that exremote can say went wrong: one sentence, and what to do about it."""

    exit_code: ClassVar[int] = 1
    transient: ClassVar[bool] = False

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.left = ""
        """what was begun on the host and is left there, and what is to be done about it"""

    @property
    def said(self) -> str:
        """Return the sentence with what it is about before it."""
        return self.message

    @property
    def text(self) -> str:
        """Return the sentence, the remedy behind it if there is one, and what is left on the host."""
        return " ".join(filter(None, (self.said, self.remedy, self.left)))

    def leave(self, sentence: str) -> None:
        """Given what is left on the host, have the error say so behind all else."""
        self.left = f"{self.left} {sentence}".strip()

    def __str__(self) -> str:
        return self.text


class UsageError(ExremoteError):
    """Flags that contradict each other, or a name that the inventory does not know."""

    exit_code = 2


class ConfigError(ExremoteError):
    """A file that exremote reads is wrong: which file, which line if known, which key."""

    exit_code = 2

    def __init__(
        self, message: str, *, file: Path | str, line: int | None = None, key: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message, remedy)
        self.file = str(file)
        self.line = line
        self.key = key

    @property
    def said(self) -> str:
        """Return `file:line: key: message`."""
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        parts = [place, self.key, self.message] if self.key else [place, self.message]
        return ": ".join(parts)


class InventoryError(ConfigError):
    """The inventory is not what its schema says."""


class ConnectorError(ConfigError):
    """A connector file is not what its schema says."""


class ScriptLibraryError(ConfigError):
    """A bundled script is missing, or does not keep its contract."""


class HostError(ExremoteError):
    """Something about one host; never stops another host."""

    exit_code = 3
    usual_remedy: ClassVar[str] = ""
    """What to do if whoever raises it knows nothing better."""

    def __init__(self, host: str, message: str, remedy: str = "") -> None:
        super().__init__(message, remedy or self.usual_remedy)
        self.host = host
        self.lasting = False
        """Before the first conversation, patience does not help: a name that nobody knows stays unknown."""

    @property
    def said(self) -> str:
        """Return `host: message`."""
        return f"{self.host}: {self.message}"


class Unreachable(HostError):
    """No conversation could be opened: no address, no listener, no answer."""

    exit_code = 20
    transient = True


class SessionLost(HostError):
    """A conversation that was open is gone: connection cut, pool or shell lost, service restarted."""

    exit_code = 20
    transient = True
    usual_remedy = (
        "Run it again; if it stays so, look into the host's event log for a restart of WinRM, and for what "
        "closes connections between here and there (a firewall, a forwarder)."
    )


class RemoteTimeout(HostError):
    """The host did not answer within the deadline."""

    exit_code = 20
    transient = True


class QuotaExceeded(HostError):
    """The host has no shell, operation or user slot left for us."""

    exit_code = 20
    transient = True


class AccessDenied(HostError):
    """Wrong credential, or not enough rights."""

    exit_code = 21


class LogonRefused(AccessDenied):
    """The credential itself was not taken: tried again, it could lock the account."""


class TrustError(HostError):
    """The host's TLS certificate is not trusted, or not the host's."""

    exit_code = 21


class ScriptFailed(HostError):
    """A script said no: which script, and the error id it gave (the text is localised, the id is not)."""

    exit_code = 22

    def __init__(self, host: str, message: str, *, script: str, error_id: str, remedy: str = "") -> None:
        super().__init__(host, message, remedy)
        self.script = script
        self.error_id = error_id


class TransferMismatch(HostError):
    """The digest computed on the host and the one computed here differ."""

    exit_code = 23
    transient = True
    usual_remedy = (
        "Run it again; if it stays so, something on the way or on the host changes what is sent: look at its "
        "network card and disk, and try https."
    )


def plain_path(path: str) -> str:
    """Given a path of this machine in the form in which Windows allows long ones, return it as a person
    writes it, and as Explorer takes it.
    """
    if path.startswith("\\\\?\\UNC\\"):
        return "\\\\" + path[8:]
    return path.removeprefix("\\\\?\\")


class RepositoryError(ExremoteError):
    """The repository is not there, or not one of ours, or cannot be written."""

    exit_code = 10

    def __init__(self, message: str, *, path: Path | str, remedy: str = "") -> None:
        super().__init__(message, remedy)
        self.path = str(path)

    @property
    def said(self) -> str:
        """Return `path: message`, the path as a person writes it."""
        return f"{plain_path(self.path)}: {self.message}"


class RepositoryLocked(RepositoryError):
    """Another run holds the lock; `owner` says who, where and since when."""

    exit_code = 11

    def __init__(self, message: str, *, path: Path | str, owner: str, remedy: str = "") -> None:
        super().__init__(message, path=path, remedy=remedy)
        self.owner = owner


class SnapshotNotFound(RepositoryError):
    """No snapshot, or run, of that name."""

    exit_code = 12


class IntegrityError(RepositoryError):
    """Something in the repository is not what its manifest says."""

    exit_code = 13

    def __init__(
        self,
        message: str,
        *,
        path: Path | str,
        entry: str,
        expected: str = "",
        actual: str = "",
        remedy: str = "",
    ) -> None:
        super().__init__(message, path=path, remedy=remedy)
        self.entry = entry
        self.expected = expected
        self.actual = actual


class PlanRefused(ExremoteError):
    """A plan was not carried out: a precondition, drift, or no approval."""

    exit_code = 4


class NotBegun(PlanRefused):
    """Another host did not end well, and this one's turn was behind it: nothing is wrong with it."""


class Waiting(ExremoteError):
    """It goes no further without a person, or before another host is done; nothing is wrong with it."""

    exit_code = 6

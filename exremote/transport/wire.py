"""The words of the wire: where, as whom, with which settings, and what travels. It opens no connection."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from exremote.errors import AccessDenied
from exremote.gate import Proof

Auth = Literal["negotiate", "ntlm", "kerberos", "credssp", "certificate", "basic"]
Kind = Literal["psrp", "winrs", "raw"]


class Piece(NamedTuple):
    """Part of a byte array that a script answers: what has arrived of it, the rest may never come."""

    data: bytes
    """The next bytes; none behind the last one."""
    last: bool
    """Whether the array is whole with this."""


@dataclass(frozen=True, slots=True)
class RemoteError:
    """One error record of a script, on its way to become ScriptFailed."""

    error_id: str
    """The name, without what stands behind the comma."""
    message: str


def error_name(qualified: str) -> str:
    """Given a FullyQualifiedErrorId, return the name in it.

    `throw 'a text'` makes the whole text the id; a text is no name.
    """
    name = qualified.partition(",")[0].strip()
    return name if name and len(name) <= 100 and not any(c.isspace() for c in name) else "RuntimeException"


class Secret:
    """A text that must not be shown; only the wire takes it out."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Return the text itself. For the wire only."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is not pickled")


class Pause:
    """In what goes into a pipeline: what has gone is to leave, and output is asked for, before more goes."""

    __slots__ = ()


PAUSE = Pause()
"""The only one."""

Value = str | int | bool | Sequence[str] | Secret | None
"""What a script's parameter can be. None leaves the parameter out."""

Record = object
"""What a script answers: a mapping for an object, pieces of a byte array, or str, int, bool, aware datetime,
list, None."""

ShellEvent = Callable[[str, str], None]
"""Called with "opened" or "closed" and a shell's id; "opened" comes before the shell does, if we name it."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where one host listens."""

    host: str
    """The name for messages."""
    address: str
    """DNS name or IP address."""
    port: int
    scheme: Literal["http", "https"] = "http"
    path: str = "wsman"

    @property
    def url(self) -> str:
        """Return the endpoint as a URL."""
        server = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{server}:{self.port}/{self.path}"


@dataclass(frozen=True, slots=True)
class Login:
    """As whom to speak, and by which protocol of authentication."""

    auth: Auth
    username: str = ""
    password: Secret = Secret("")  # noqa: RUF009 - immutable
    certificate_pem: Path | None = None
    """For auth = "certificate": the client's certificate."""
    certificate_key_pem: Path | None = None
    """Its private key."""


@dataclass(frozen=True, slots=True)
class WireSettings:
    """How to speak."""

    wire: Kind = "psrp"
    encryption: Literal["auto", "always", "never"] = "auto"
    """Sealing of messages: auto seals over http and leaves it to TLS over https."""
    verify: bool | Path = True
    """True: certificates that this machine trusts; a path: a PEM file or folder; False: any certificate."""
    connect_timeout_s: float = 15.0
    operation_timeout_s: float = 20.0
    """How long the host may hold one request back when it has nothing to say."""
    read_timeout_s: float = 60.0
    """How long one answer may take; always longer than the operation time-out."""
    idle_timeout_s: int = 180
    """Asked of the shell: gone after so much silence, should nobody be left to delete it."""
    envelope_kb: int = 150
    """Largest message to start with. PSRP raises 150 to 500 itself where the host's version allows."""
    between: Callable[[], None] = lambda: None
    """Called before each request for output, every few seconds at least; what it raises ends the script.

    Another thread calls it too: an exchange that goes on for long after it raised is broken off."""
    left_s: Callable[[], float] = lambda: math.inf
    """Seconds that are left for this host; no exchange goes on for longer."""
    proof: Callable[[], AbstractContextManager[Proof]] = lambda: nullcontext(Proof())
    """What a proof of the password is sent in; what it raises keeps the proof here."""
    carried: Callable[[int, float], None] = lambda size, seconds: None
    """Told of the bytes of each exchange, both ways, and how long it took, when it is over; it may wait."""


class Transport(Protocol):
    """One conversation with one host, for one thread."""

    shell_id: str | None
    """The shell that this conversation holds on the host, None before and after."""
    refused: AccessDenied | None
    """What the host said when it let a connection in no more, while the shell was to be deleted."""

    def open(self) -> None:
        """Connect, authenticate and open a shell, unless that is done. Raise HostError."""

    def run(
        self,
        script: str,
        parameters: Mapping[str, Value],
        source: Iterable[object] | None = None,
        deadline_s: float = 300.0,
        label: str = "",
    ) -> Generator[Record, None, None]:
        """Given a script, parameters and pipeline input, run it and yield its records as they come.

        Closing the iterator stops the script. Raise ScriptFailed after the last record if there was
        any error record, RemoteTimeout past the deadline, another HostError if the wire fails.
        """

    def close(self) -> None:
        """Delete the shell and hang up, in about ten seconds at most. Never raise an error."""

    def delete_shell(self, shell_id: str, kind: str = "") -> bool:
        """Given a shell that an earlier run left, delete it. Return whether it is gone. Raise HostError."""

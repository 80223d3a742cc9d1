"""What one simulated WinRM host is, what may be wrong with it, and what is counted about it. Values only."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Literal

from exremote.lab.wsman.engine import RunCommand, RunScript


@dataclass(frozen=True, slots=True)
class Limits:
    """Quotas of one host. The defaults are those of WinRM 3.0; `WINRM_2` has those of its elder."""

    max_envelope_kb: int = 500
    """Largest SOAP envelope, either way, in KiB (before sealing)."""
    fill_answers: bool = True
    """Whether a Receive is answered with as many fragments as fit, or with one."""
    protocol_version: str = "2.3"
    """Of PSRP. pypsrp keeps its envelopes at 150 KiB below 2.2."""
    max_shells_per_user: int = 30
    max_operations_per_user: int = 1500
    """Requests of one user that may be in flight."""
    max_commands_per_shell: int = 2147483647
    idle_timeout_s: float = 7200.0
    """A shell that nobody speaks to for so long is removed, unless its client asked for another time."""
    max_idle_timeout_s: float = 2147483.0
    """A client that asks for more gets this."""
    max_received_mb_per_command: int = 50
    """Of PSRP messages that one command may be sent: PSMaximumReceivedDataSizePerCommandMB."""
    fragment_size: int = 32768
    """Bytes of one PSRP fragment with its header. Made smaller where a client announces small envelopes."""
    queue_bytes: int = 4 * 1024 * 1024
    """Bytes of output (in base64), and of input, that wait for each command before the writer blocks."""


WINRM_2 = Limits(max_envelope_kb=150, protocol_version="2.1", max_shells_per_user=5, idle_timeout_s=180.0)
"""Windows Server 2003 and 2008 with WinRM 2.0."""


@dataclass(frozen=True, slots=True)
class RequestInfo:
    """One SOAP request, as a hook sees it."""

    site: str
    user: str
    action: str
    """Last part of the action URI: Create, Command, Send, Receive, Signal, Delete, Get, Enumerate, ...; or
    Logon: a client has sent what proves who it is, right or wrong (`user` is empty then)."""
    shell_id: str
    command_id: str
    number: int
    """Counts the requests of this site, from 1."""
    phase: Literal["request", "answer"]
    size: int
    """Bytes of the SOAP request, or of the answer."""


@dataclass(frozen=True, slots=True)
class Misfortune:
    """What goes wrong with one request. Several may go wrong together; `close` and `status` exclude the rest.

    Given for phase "request", `close`, `status`, `fault`, `drop_shell` happen instead of the work that was
    asked for; given for phase "answer", the work is done and its answer is lost or spoilt. `cut_after`,
    `corrupt_at` and `bad_mic` always concern the answer.
    """

    delay_s: float = 0.0
    """Wait first."""
    close: bool = False
    """Close the connection without an answer."""
    reset: bool = False
    """Reset the connection: without an answer, or behind `cut_after`."""
    close_behind: bool = False
    """Close the connection when the answer is sent, and do not say so in it."""
    status: int | None = None
    """Answer with this HTTP status and no body. 401 also forgets who the client is."""
    fault: int | None = None
    """Answer with this WSManFault code."""
    fault_message: str = "The lab was told to fail here."
    cut_after: int | None = None
    """Send so many bytes of the HTTP body, then close."""
    corrupt_at: int | None = None
    """Change a byte at this place of the SOAP answer before it is sealed (negative: from the end). A letter
    or digit becomes another one, so that base64 stays base64 and only a checksum will tell."""
    drop_shell: bool = False
    """The shell dies: it is unknown from now on, this request included."""
    bad_mic: bool = False
    """Seal with a wrong signature (nothing without sealing)."""
    forget_authentication: bool = False
    """After this exchange the connection is as good as new: the client has to authenticate again."""


Hook = Callable[[RequestInfo], Misfortune | None]
"""Asked when a client has authenticated or failed to, before a request is carried out, before its answer."""


@dataclass
class Site:
    """One WinRM listener: one simulated host."""

    name: str
    """Computer name; appears in faults and counters."""
    run_script: RunScript | None = None
    run_command: RunCommand | None = None
    relay: Sequence[str] | None = None
    """Command line of a real PowerShell, without a mode. It gets the scripts, and command lines of
    powershell.exe."""
    relay_environment: Mapping[str, str] | None = None
    """Set for that process, over the endpoint's own environment."""
    limits: Limits = field(default_factory=Limits)
    hook: Hook | None = None
    https: bool = False
    allow_basic: bool = False
    allow_unencrypted: bool = False
    """Take SOAP in clear text over http."""
    denied_users: Set[str] = frozenset()
    """Users, by bare name, who authenticate and then are refused with code 5."""
    latency_s: float | None = None
    """Seconds added to each exchange; None: as the endpoint says."""
    bandwidth_bps: int | None = None
    """Bits per second, each way, shared by all connections of the site; None: as the endpoint says."""
    spare_relay: bool = False
    """Keep one process of `relay` started ahead."""


@dataclass(frozen=True, slots=True)
class ShellInfo:
    """One shell of a site."""

    id: str
    owner: str
    resource: str
    idle_timeout_s: float
    state: Literal["Connected", "Disconnected"]
    commands: tuple[str, ...]
    """Ids of the commands that were not terminated."""
    inactive_s: float
    """Seconds since the last request."""


class Counters:
    """What happened on a site. All numbers only grow until `reset`, `shells_open` excepted."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.shells_open = 0
        self.reset()

    def reset(self) -> None:
        """Start counting anew; `shells_open` stays, for the shells do."""
        with self._lock:
            self.connections = 0
            self.exchanges = 0
            """HTTP exchanges, those of authentication included."""
            self.requests = 0
            """SOAP requests of authenticated users."""
            self.bytes_in = 0
            """Bytes of HTTP bodies received, sealed as they came."""
            self.bytes_out = 0
            self.shells_created = 0
            self.actions: Counter[str] = Counter()
            """SOAP requests by the last part of their action."""
            self.faults: Counter[int] = Counter()
            """Faults sent, by code."""
            self.auth_failures: Counter[str] = Counter()
            """By principal; an empty name where the client did not say."""
            self.auth_successes: Counter[str] = Counter()

    def add(self, **numbers: int) -> None:
        """Add to the plain numbers named."""
        with self._lock:
            for name, number in numbers.items():
                setattr(self, name, getattr(self, name) + number)

    def tally(
        self, table: Literal["actions", "faults", "auth_failures", "auth_successes"], key: str | int
    ) -> None:
        """Add one to an entry of a table."""
        with self._lock:
            getattr(self, table)[key] += 1

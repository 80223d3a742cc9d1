"""One examination: what is known so far, the order of the stages, and which needs which."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from exremote.credential import Secret as Account
from exremote.doctor import approach, beyond, inside, jobs
from exremote.doctor.stage import Stage, Verdict, failed, skipped
from exremote.errors import ExremoteError, HostError, ScriptFailed
from exremote.facts import HostFact
from exremote.gate import LogonGate
from exremote.inventory import Host, RetryPolicy
from exremote.session import EventHandler, Session
from exremote.transport import Address, probe

PATIENCE = RetryPolicy(attempts=2, total_s=60.0, first_wait_s=1.0)
"""Enough to tell a service that comes back from one that does not; a doctor hides nothing by waiting."""


@dataclass(slots=True)
class Case:
    """One host under examination."""

    host: Host
    """As the inventory has it."""
    account: Account | ExremoteError
    """The secret, or why it is not to be had."""
    session: Session
    """Not open until the stage `shell`."""
    now: Callable[[], datetime]
    """Our clock."""
    warnings: tuple[str, ...]
    """What the inventory warns of for this host."""
    api_account: Account | ExremoteError | None
    """For the second hop, or why it is not to be had; None: the session's own."""
    own_account: Account | ExremoteError | None = None
    """For the hop from a gateway, or why it is not to be had; None: there is none, or it needs none."""
    listener: probe.Listener | None = None
    """What answered."""
    asked_at: datetime | None = None
    """Our time when it did."""
    configuration: probe.Configuration | None = None
    """WinRM's own settings."""
    fact: HostFact | None = None
    """What the host says of itself."""
    skew_s: float | None = None
    """Its clock minus ours, by its own word."""
    said_no: ScriptFailed | None = None
    """What the first script failed with."""
    broken: list[str] = field(default_factory=list)
    """What had to be asked again, and why."""

    @property
    def address(self) -> Address:
        """Return where the host listens."""
        return self.session.target()[0]

    def header_skew(self) -> float | None:
        """Return its clock minus ours by its first HTTP answer, if that had a date."""
        if self.listener is None or self.listener.clock is None or self.asked_at is None:
            return None
        return (self.listener.clock - self.asked_at).total_seconds()


Look = Callable[[Case], Stage]

STAGES: tuple[tuple[str, tuple[str, ...], Look], ...] = (
    ("inventory", (), approach.inventory),
    ("credential", ("inventory",), approach.credential),
    ("name", ("inventory",), approach.name),
    ("port", ("name",), approach.port),
    ("tls", ("port",), approach.tls),
    ("listener", ("port",), approach.listener),
    ("schemes", ("listener",), approach.schemes),
    ("authentication", ("credential", "tls", "listener", "schemes"), approach.authentication),
    ("sealing", ("authentication",), approach.sealing),
    ("quotas", ("sealing",), approach.quotas),
    ("shell", ("sealing",), inside.shell),
    ("gateway", ("shell",), beyond.gateway),
    ("target", ("gateway",), beyond.target),
    ("powershell", ("target",), inside.powershell),
    ("language", ("powershell",), inside.language),
    ("clock", ("listener",), inside.clock),
    ("rights", ("language",), inside.rights),
    ("room", ("language",), inside.room),
    ("fips", ("language",), inside.fips),
    ("second-hop", ("language",), inside.second_hop),
    ("ntbackup", ("language",), jobs.ntbackup),
    ("speed", ("language",), inside.speed),
    ("line", ("shell",), inside.line),
)
"""Name, the stages that it needs, and how it is looked at; in their order."""
BEYOND = frozenset({"gateway", "target"})
"""The stages that only a host behind a gateway has."""
ASKING = frozenset({"shell", "gateway", "target", "powershell", "second-hop", "ntbackup", "speed"})
"""The stages that need the host to answer in a shell."""


def stages_of(host: Host) -> list[tuple[str, tuple[str, ...], Look]]:
    """Given a host, return the stages of its examination: one that answers itself has no way beyond."""
    if host.gateway is not None:
        return list(STAGES)
    return [
        (name, tuple("shell" if need in BEYOND else need for need in needs), look)
        for name, needs, look in STAGES
        if name not in BEYOND
    ]


def examine(
    host: Host,
    account: Account | ExremoteError,
    *,
    now: Callable[[], datetime],
    warnings: tuple[str, ...] = (),
    logons: LogonGate | None = None,
    shares: LogonGate | None = None,
    api_account: Account | ExremoteError | None = None,
    own_account: Account | ExremoteError | None = None,
    share_account: Account | ExremoteError | None = None,
    on_event: EventHandler = lambda kind, fields: None,
    sleep: Callable[[float], None] = time.sleep,
    looks: Mapping[str, Look] | None = None,
) -> Iterator[Stage]:
    """Given a host and its secret (or why there is none), yield its stages as they are looked at.

    `own_account` is for the hop from a gateway, `share_account` for the share of its ntbackup. `logons` and
    `shares` are shared by the hosts of one run: a credential that one refused is not tried on another.
    Close the iterator to end early: the shell is deleted in every outcome.
    """
    broken: list[str] = []

    def tell(kind: str, fields: Mapping[str, object]) -> None:
        if kind == "retry":
            said = str(fields["error"]).removeprefix(f"{host.name}: ")
            broken.append(f"{fields['script']}: {said.partition('. ')[0]}")
        on_event(kind, fields)

    known = account if isinstance(account, Account) else None
    own = own_account if isinstance(own_account, Account) else None
    with Session(
        host,
        known,
        own_account=own,
        share_account=share_account,
        on_event=tell,
        sleep=sleep,
        policy=PATIENCE,
        logons=logons,
        shares=shares,
    ) as session:
        case = Case(
            host,
            account,
            session,
            now,
            warnings,
            api_account,
            own_account,
            broken=broken,
        )
        down: dict[str, str] = {}
        for name, needs, look in stages_of(host):
            cause = next((down[need] for need in needs if need in down), None)
            if cause is None and name in ASKING:
                cause = down.get("host")
            if cause is not None:
                down[name] = cause
                yield replace(skipped(f"not looked at: {cause} failed"), stage=name)
                continue
            started = time.monotonic()
            try:
                seen = (looks or {}).get(name, look)(case)
            except HostError as error:
                seen = failed(error.message, error.remedy, error.exit_code)
                if name == "tls":
                    down.setdefault("port", name)  # an untrusted handshake is no error here: this is none
                if name in ASKING and inside.lost(error):
                    down.setdefault("host", name)
            if seen.verdict == Verdict.FAILED:
                down[name] = name
            yield replace(seen, stage=name, seconds=time.monotonic() - started)

"""One host from the first connection to the last event. It never decides what is done there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, runtime_checkable

from exremote.credential import Credential
from exremote.credential import Secret as Account
from exremote.errors import EXIT_INCOMPLETE, EXIT_OK, ExremoteError, HostError, Unreachable
from exremote.gate import LogonGate
from exremote.inventory import Host
from exremote.journal import (
    HOST_ENDED,
    SHELL_CLOSED,
    Event,
    Journal,
    OpenShell,
    journals,
    open_shells,
    read_run,
    shell_of,
)
from exremote.repository import read_lock
from exremote.runner.alive import run_lock
from exremote.runner.limits import UNLIMITED, Limits
from exremote.runner.outcome import Outcome, State, failed, interrupted
from exremote.runner.standing import UNTOLD, Heal, LeftDown, put_back, would_put_back
from exremote.script import ScriptLibrary
from exremote.session import Session

LEFTOVERS_OF = timedelta(days=1)
"""How far back shells of killed runs are looked for: no Windows keeps an idle one longer (two hours)."""


class Stopped(Exception):
    """The operator asked the run to stop, or its deadline has passed. Its text, if any, says what is left."""


def leftover_shells(folders: Iterable[Path], now: datetime) -> dict[str, list[OpenShell]]:
    """Given folders of journals, return by host the shells that killed runs of the last day left open.

    A run whose process is alive, here or for all we know on another machine, keeps its shells.
    """
    left: dict[OpenShell, None] = {}
    closed: set[OpenShell] = set()
    for folder in folders:
        for path in journals(folder):
            events: list[Event] = []
            record = read_run(path, events.append)
            if record.started is None:
                continue  # killed before its first line was whole
            if now - record.started > LEFTOVERS_OF:
                break
            closed |= {shell_of(event) for event in events if event.kind == SHELL_CLOSED}
            with suppress(OSError, ValueError):  # gone or changed since: no journal stops a run
                lock = read_lock(run_lock(folder, path.stem))
                alive = lock is not None and lock.owner is not None and not lock.dead
                if record.ended is not None or not alive:
                    left.update(dict.fromkeys(open_shells(events)))
    shells: dict[str, list[OpenShell]] = {}
    for shell in left:
        if shell not in closed:
            shells.setdefault(shell.host, []).append(shell)
    return shells


def tell_end(journal: Journal, outcome: Outcome) -> None:
    """Given how it ended for a host, note it: what `resume` goes by."""
    journal.event(
        HOST_ENDED,
        host=outcome.host,
        state=str(outcome.state),
        message=outcome.message,
        exit_code=outcome.exit_code,
    )


def _unpaid(outcome: Outcome, sentences: Sequence[str]) -> Outcome:
    """Given how it ended, and what services could not be put back, return it as no better than incomplete."""
    if not sentences or outcome.exit_code != EXIT_OK:
        return outcome
    message = " ".join(filter(None, (outcome.message, *sentences)))
    return replace(outcome, state=State.INCOMPLETE, exit_code=EXIT_INCOMPLETE, message=message)


@runtime_checkable
class Guarded(Protocol):
    """Work that is done under a lock, from before the first connection."""

    def guard(self, host: Host) -> AbstractContextManager[object]:
        """Given a host, return what its errand is done under. Entering it may raise ExremoteError."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One host's errand from the first connection to the last event; what a run's hosts share."""

    library: ScriptLibrary
    """The bundled scripts."""
    accounts: Mapping[str, Account | ExremoteError]
    """By the credential's identity, fetched once, before the run; or why one is not to be had."""
    journal: Journal
    """What happened."""
    leftovers: Mapping[str, Sequence[OpenShell]]
    """By host: shells that a killed run left there."""
    work: Callable[[Host, Session], Outcome]
    """What the verb does with an open session."""
    stop: threading.Event
    """Set when the operator interrupts."""
    stage: Callable[[str, str], None]
    """Told what a host is doing."""
    logons: LogonGate = field(default_factory=LogonGate)
    """One host tries a credential before the others."""
    shares: LogonGate = field(default_factory=LogonGate)
    """The same for the accounts of shares."""
    owed: LeftDown = field(default_factory=LeftDown)
    """Services that earlier runs stopped and did not put back."""
    heal: Heal = Heal.NO
    """What is done about them."""
    owed_now: Callable[[], LeftDown] = LeftDown
    """Looks once more: another run may have seen to them since."""
    say: Callable[[str], None] = lambda sentence: None
    """Told what the operator should read."""
    unpaid: dict[str, list[str]] = field(default_factory=dict)
    """By host that was seen to: a sentence for each service that could not be put back."""
    limits: Limits = UNLIMITED
    """What bounds the run as a whole."""

    def __call__(self, host: Host) -> Outcome:
        """Given a host, open a session, do the work, and close it in every outcome."""
        self.journal.event("host-started", host=host.name)
        outcome = interrupted(host)
        try:
            with self._guard(host), self.session(host) as session:
                outcome = self.work(host, session)
            if self.heal is Heal.AGAIN:
                outcome = _unpaid(outcome, self.unpaid[host.name])
        except Stopped as stopped:
            outcome = self._stopped(host, str(stopped))
        except ExremoteError as error:
            lost = isinstance(error, HostError) and error.exit_code == Unreachable.exit_code
            # Whatever breaks off after an interrupt, or behind the deadline, broke off because of it.
            broken_off = lost and self._is_to_stop()
            outcome = self._stopped(host, error.left) if broken_off else failed(host, error)
        finally:
            tell_end(self.journal, outcome)
        return outcome

    @contextmanager
    def session(self, host: Host, *, silently: bool = False) -> Iterator[Session]:
        """Given a host, yield an open session; what a killed run left there is seen to first.

        `silently`: nobody is told that it connects.
        Raise ExremoteError if it cannot be asked, or is not to be had.
        """
        account, own = self._account(host), self._own_account(host)
        with self._session(host, account, own) as session:
            if not silently:
                self.stage(host.name, "connecting")
            self._clear(host, session)
            session.open()
            if host.name not in self.unpaid:  # a run may open several
                self.unpaid[host.name] = self._see_to_services(host.name, session)
            yield session

    def _see_to_services(self, host: str, session: Session) -> list[str]:
        """Given an open session, put back what earlier runs left down, or say so.

        Return a sentence for each service that could not be. Raise HostError if the host is lost.
        """
        owed = self.owed.standings_of(host, self.heal)
        if owed:
            owed = self.owed_now().standings_of(host, self.heal)
        if self.heal is Heal.SHOW:
            for sentence in would_put_back(owed):
                self.say(f"{host}: {sentence}")
            return []
        if owed:  # a service may take minutes
            self.stage(host, f"putting services back as {owed[0].run} had found them")
        said, unpaid = put_back(session, host, owed, self.journal)
        for run in self.owed.untold_of(host) if self.heal is Heal.AGAIN else ():
            said.append(
                f"the journal of {run} is damaged: whether it left services standing here, nobody can tell; "
                f"`exremote health {host}` says how they are"
            )
            self.journal.event(UNTOLD, host=host, of=run)
        for sentence in (*said, *unpaid):
            self.say(f"{host}: {sentence}")
        return unpaid

    def _is_to_stop(self) -> bool:
        return self.stop.is_set() or self.limits.over

    def _stopped(self, host: Host, left: str = "") -> Outcome:
        outcome = interrupted(host) if self.stop.is_set() else self.limits.cut_short(host)
        return replace(outcome, message=f"{outcome.message}. {left}") if left else outcome

    def _guard(self, host: Host) -> AbstractContextManager[object]:
        return self.work.guard(host) if isinstance(self.work, Guarded) else nullcontext()

    def _account(self, host: Host) -> Account:
        """Given a host, return whose rights to ask with. Raise ExremoteError if it cannot be asked at all."""
        if host.unusable is not None:
            raise host.unusable
        return self._secret(host.door.credential)

    def _own_account(self, host: Host) -> Account | None:
        """Given a host, return who we are there if a gateway logs on for us. Raise ExremoteError."""
        return self._secret(host.own_credential) if host.own_credential is not None else None

    def _share_account(self, host: Host) -> Account | ExremoteError | None:
        """Given a host, return who we are at the share of its ntbackup, or why nobody knows; None: nobody."""
        credential = host.ntbackup.share_credential
        return self.accounts[credential.identity] if credential is not None else None

    def _secret(self, credential: Credential) -> Account:
        account = self.accounts[credential.identity]
        if isinstance(account, ExremoteError):
            raise account
        return account

    def _session(self, host: Host, account: Account, own: Account | None) -> Session:
        def tell(kind: str, fields: Mapping[str, object]) -> None:
            if kind == "shell":
                self.journal.shell(*(str(fields[name]) for name in ("what", "host", "shell_id", "wire")))
                return
            self.journal.event(kind, host=host.name, said=dict(fields))
            if kind == "retry":
                # The whole error, with its remedy, is in the journal, and in the report if it stays.
                reason = str(fields["error"]).removeprefix(f"{host.name}: ").split(". ", 1)[0]
                wait = float(str(fields["wait_s"]))
                soon = f" in {wait:.0f} s" if wait >= 1 else ""
                self.stage(host.name, f"trying again{soon}: {reason}")

        def sleep(seconds: float) -> None:
            self.stop.wait(min(seconds, self.limits.left_s))
            stopping()

        def stopping() -> None:
            if self._is_to_stop():
                raise Stopped

        return Session(
            host,
            account,
            own_account=own,
            share_account=self._share_account(host),
            library=self.library,
            on_event=tell,
            sleep=sleep,
            stopping=stopping,
            logons=self.logons,
            shares=self.shares,
            throttle=self.limits.throttle_of(host),
        )

    def _clear(self, host: Host, session: Session) -> None:
        """Given a host, delete the shells that a killed run left there, before one of ours is opened.

        Old servers allow five in all. Raise HostError if the host is not to be had.
        """
        for shell in self.leftovers.get(host.name, ()):
            try:
                gone = session.delete_shell(shell.id, shell.wire)
            except HostError as error:
                if error.transient or session.refused is not None:
                    raise
                self.journal.event("shell-left", host=host.name, shell_id=shell.id, error=error.text)
            else:
                if gone:
                    self.journal.shell("closed", host.name, shell.id, shell.wire)

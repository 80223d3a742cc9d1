"""All that a backup takes of one host: its connectors, then what ntbackup saves. It does neither itself."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

from exremote.backup.errand import Errand, Taken
from exremote.backup.ntbackup import JobErrand
from exremote.errors import ExremoteError
from exremote.inventory import Host
from exremote.ntbackup import PARTS, Part
from exremote.runner import Outcome, State, exit_code, failed
from exremote.session import Session

CONNECTORS = "connectors"


def wanted_of(host: Host, only: Sequence[str]) -> tuple[bool, tuple[Part, ...]]:
    """Given a host and names from the command line (none: as the inventory says), return what is saved.

    Return whether connectors are, and the parts. A host of which the inventory says `backup = []` is only
    checked, whatever the command line names.
    """
    if not host.backup:
        return False, ()
    named = only or host.backup
    parts = tuple(part for part in PARTS if part in named)
    connectors = CONNECTORS in host.backup and (not only or any(name not in PARTS for name in only))
    return connectors, parts


@dataclass(frozen=True, slots=True)
class Whole:
    """What a backup does with one host."""

    connectors: Errand
    """Its connectors."""
    jobs: JobErrand
    """What ntbackup saves."""
    only: tuple[str, ...]
    """Connectors and parts that the command line names; empty: as the inventory says."""

    def guard(self, host: Host) -> AbstractContextManager[object]:
        """Given a host, return the lock from before the first connection, where one kind of work is done.

        Where both are, each is done under its own: a long job must not keep connectors from being saved.
        """
        connectors, parts = wanted_of(host, self.only)
        if connectors and not parts:
            return self.connectors.guard(host)
        return self.jobs.guard(host) if parts and not connectors else nullcontext()

    def __call__(self, host: Host, session: Session) -> Outcome:
        """Given a host and an open session, save it. Return the outcome; raise HostError if it is lost."""
        connectors, parts = wanted_of(host, self.only)
        if not parts:
            return self.connectors(host, session)
        if not connectors:
            return self.jobs(host, session, parts)
        with self.connectors.guard(host):
            first = self.connectors(host, session)
        try:
            with self.jobs.guard(host):
                second = self.jobs(host, session, parts)
        except ExremoteError as error:
            # The connectors are safe: their snapshots are told, whatever became of the rest.
            second = failed(host, error)
        return _joined(first, second)


def _joined(first: Outcome, second: Outcome) -> Outcome:
    """Given how two kinds of work ended on a host, return how it ended for the host."""
    order = (State.DONE, State.SKIPPED, State.INCOMPLETE, State.FAILED, State.UNREACHABLE)
    worse = max((first, second), key=lambda o: order.index(o.state))
    taken: Taken | None = first.detail or second.detail
    if isinstance(first.detail, Taken) and isinstance(second.detail, Taken):
        taken = first.detail.joined(second.detail)
    return replace(
        worse,
        exit_code=worse.exit_code or exit_code([first, second]),
        message="; ".join(dict.fromkeys(o.message for o in (first, second) if o.message)),
        seconds=first.seconds + second.seconds,
        detail=taken,
    )

"""Which snapshots may be of a machine that was half recovered when they were made. Pure: it reads no file.

From when a new machine stands in a lost server's place until it is whole again, what is saved of it is no
whole server, whatever its age. It is whole again when a recovery is through, or when somebody says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from exremote.recover.record import Answer, HostRecord, RecoveryRecord
from exremote.repository import Snapshot

IN_SERVICE = "in-service"
"""What a person confirms of a recovery that was given up: the machine is whole again, however."""

UNREADABLE = "its journal is damaged, and how far it came nobody can tell"
"""Why there is a doubt about a host of which no plan can be read."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A time in which a host may have been half recovered."""

    recovery: str
    """the recovery that was not through then"""
    why: str
    """what became of it, in a clause"""
    since: datetime
    """when it was begun"""
    until: datetime | None
    """when the machine was whole again; None if nobody has said so"""
    beyond: frozenset[str]
    """snapshots, as HOST/ID, that nobody doubts: what was recovered from"""
    under_way: bool = False
    """that recovery goes on still"""

    def about(self, snapshot: Snapshot, last: datetime) -> bool:
        """Given a snapshot and when the host was last found to be so, return whether it may be of a half
        recovered machine.
        """
        if f"{snapshot.host}/{snapshot.id}" in self.beyond or snapshot.created < self.since:
            return False
        return self.until is None or last < self.until


def doubts_of(
    host: str, found: Mapping[str, RecoveryRecord], answers: Mapping[str, Iterable[Answer]]
) -> list[Doubt]:
    """Given a host, all recoveries in their order and by recovery what people confirmed, return the times of
    doubt.

    A recovery for which no new machine was seen, nor said to be there, leaves none: the server lives on.
    """
    ours = [one for one in found.values() if host in one.hosts or host in one.lost]
    doubts: list[Doubt] = []
    for number, one in enumerate(ours):
        own = one.hosts.get(host)
        began = one.began or (one.runs[0].started if one.runs else None)
        seen = own is None or machine_seen(own, answers.get(one.id, ())) or one.problems
        if began is None or not seen or (own is not None and own.whole):
            continue
        later = ours[number + 1 :]
        said = [a for each in (one, *later) for a in answers.get(each.id, ())]
        ends = [a.at for a in said if (a.host, a.step) == (host, IN_SERVICE)]
        after = [(each, other) for each in later if (other := each.hosts.get(host)) is not None]
        ends += [at for _, other in after if (at := _through(other)) is not None]
        # They came behind it, whatever the clock says of a jump host where that was said.
        ended = own.given_up if own is not None else None
        over = ended.at if ended is not None else None
        # Who backs up the living server at its beginning (--planned) says that it is a whole one.
        stood_on = [one for one in (own, *(other for each, other in after if _planned(each))) if one]
        doubts.append(
            Doubt(
                one.id,
                UNREADABLE if own is None else ended.text if ended is not None else "it is not through",
                began,
                max(began, over or began, min(ends)) if ends else None,
                frozenset(name for each in stood_on for name in names_in(each)),
                own is not None and ended is None,
            )
        )
    return doubts


def doubt_about(snapshot: Snapshot, last: datetime, doubts: Sequence[Doubt]) -> Doubt | None:
    """Given a snapshot, when its host was last found to be so, and times of doubt of that, return the one
    that it falls into, if any.
    """
    return next((doubt for doubt in doubts if doubt.about(snapshot, last)), None)


def names_in(host: HostRecord) -> list[str]:
    """Given a host's record, return the snapshots that its recovery stands on, as HOST/ID, tables apart."""
    found: list[str] = []
    for one in host.plan.saved:
        head, _, tables = one.snapshot.partition("+")
        found += [head, *([f"{host.plan.host}/{tables}"] if tables else [])]
    return found


def doubt_text(doubt: Doubt) -> str:
    """Given a time of doubt, return why a snapshot of it is none to recover from, in a clause."""
    return (
        f"it was made after the recovery {doubt.recovery} had begun "
        f"({doubt.since.astimezone(UTC):%Y-%m-%d %H:%M} UTC; {doubt.why})"
    )


def machine_seen(host: HostRecord, said: Iterable[Answer]) -> bool:
    """Return whether a new machine was looked at, or somebody said that it is there: what people confirmed of
    the recovery counts before it is taken up.
    """
    steps = host.plan.steps
    told = any(a.host == host.plan.host and a.step != IN_SERVICE for a in (*host.answers, *said))
    return told or any(host.is_done(step.name) for step in steps if step.who == "person")


def _through(host: HostRecord) -> datetime | None:
    """Return when a recovery was through; None if it is not."""
    return max((state.at for state in host.steps.values()), default=None) if host.whole else None


def _planned(record: RecoveryRecord) -> bool:
    options = record.runs[0].start.get("options") if record.runs else None
    return isinstance(options, list) and "--planned" in options

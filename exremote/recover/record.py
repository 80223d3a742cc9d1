"""What the journals say of a recovery: its runs, how far it is, and who said so. It writes nothing.

A recovery goes on over days, in one run after another; each has a journal of its own. The first run's id is
the recovery's. Each later run names the one before it with the number and digest of its last event, so that
the chain of events goes through all of them. What a person confirms elsewhere stands in a journal of its own
(`confirm`) until the recovery takes it up.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice, pairwise, zip_longest
from pathlib import Path
from typing import Any

from exremote.errors import PlanRefused
from exremote.journal import Event, RunRecord, is_of, journals, read_run, run_moment
from exremote.recover.steps import Evidence, RecoveryPlan, evidence_from_json

VERB = "recover"
CONFIRM = "confirm"
PLANNED = "recovery-planned"
"""The plan of one host: as journals before `PLANS` have it."""
PLANS = "recovery-plans"
"""The plans of all hosts in one event: a run that is killed begins a recovery of all of them, or of none."""
STEP = "recovery-step"
CONFIRMED = "recovery-confirmed"
NOTED = "recovery-noted"
ASKED = "asked"
"""Noted: what a person was asked for while the connectors were restored, by name; from then on he answers."""
LOOKED_AT = "looked_at"
"""Noted: where the new machine was looked for last."""
GIVEN_UP = "recovery-given-up"
ANSWERED = "answered"
_FIRST_LINE = 1 << 16
"""Bytes of a first line that are looked at."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a person said of a step."""

    host: str
    """of which host"""
    step: str
    """of which step"""
    by: str
    """who"""
    words: str
    """what he said besides"""
    asked: Mapping[str, bool]
    """by question: yes or no"""
    at: datetime
    """when"""
    via: str
    """the run in which it was said"""
    head: str = ""
    """digest of the last event of that run's journal, if it was another run"""
    plan: str = ""
    """digest of the plan that was approved, if it is about one"""


@dataclass(frozen=True, slots=True)
class Ended:
    """That nobody goes on with the recovery of a host, though it is not through."""

    at: datetime | None
    """when; None if no journal says"""
    run: str
    """the run that says so"""
    user: str = ""
    """who gave that run's command, as its system knows him"""
    other: str = ""
    """the recovery that was begun in its place; empty if somebody gave it up without another one"""

    @property
    def text(self) -> str:
        """Return it as a clause: `it was given up on ..., by ... (run ...)`."""
        when = f" on {self.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if self.at is not None else ""
        who = f", by {self.user}" if self.user else ""
        if self.other:
            return f"it was given up{when}{who}, for another one that was begun, {self.other}"
        return f"it was given up{when}{who} (run {self.run})"


@dataclass(frozen=True, slots=True)
class StepState:
    """How far one step is."""

    state: str
    """`started`, `waiting`, `wrong`, `done` or `again`"""
    at: datetime
    """when that was noted"""
    evidence: tuple[Evidence, ...] = ()
    """what was found then"""


@dataclass(slots=True)
class HostRecord:
    """How far the recovery of one host is."""

    plan: RecoveryPlan
    """as it was made at the beginning"""
    steps: dict[str, StepState] = field(default_factory=dict)
    """by name, those that were begun"""
    answers: list[Answer] = field(default_factory=list)
    """that were taken up"""
    pending: dict[str, Answer] = field(default_factory=dict)
    """by step: an answer that was taken up, and not looked at before the run was killed"""
    given_up: Ended | None = None
    """nobody goes on with it: somebody said so, or began another one"""
    started_before: dict[str, str] = field(default_factory=dict)
    """by step: when the machine had been started as far as was known before a person's answer was taken up"""
    noted: dict[str, Any] = field(default_factory=dict)
    """what later steps go by, such as when the machine was last started"""

    @property
    def next(self) -> str:
        """Return the name of the first step that is not done; empty if all are."""
        return next((s.name for s in self.plan.steps if not self.is_done(s.name)), "")

    @property
    def whole(self) -> bool:
        """Return whether the machine was proven at the end, though what led there may be told no more: a
        journal that was damaged since makes no half recovered machine of it.
        """
        return not self.next or self.is_done(self.plan.steps[-1].name)

    @property
    def progress(self) -> str:
        """Return how many of its steps are done: `3 of 10`."""
        return f"{sum(self.is_done(s.name) for s in self.plan.steps)} of {len(self.plan.steps)}"

    @property
    def at(self) -> str | None:
        """Return the temporary address that an earlier run was given, if one was."""
        said = self.noted.get("address")
        return said if isinstance(said, str) else None

    @property
    def asked(self) -> list[str]:
        """Return what a person was asked for while the connectors were restored: its files are there."""
        said = self.noted.get(ASKED)
        return [str(name) for name in said] if isinstance(said, list) else []

    def note(self, step: str, state: StepState) -> None:
        """Given how a step stands now, note it. What was found last stays, until it is looked at again."""
        last = self.steps.get(step)
        if state.state in ("started", "waiting") and last is not None:
            state = replace(state, evidence=last.evidence)
        self.steps[step] = state

    def take(self, answer: Answer) -> None:
        """Given an answer that is taken up, note it, and what was known of the machine before it."""
        self.answers.append(answer)
        self.started_before[answer.step] = str(self.noted.get("started", ""))

    def is_done(self, step: str) -> bool:
        """Return whether a step is done."""
        return (found := self.steps.get(step)) is not None and found.state == "done"


@dataclass(slots=True)
class RecoveryRecord:
    """One recovery, as its journals have it."""

    id: str
    """the first run's"""
    runs: tuple[RunRecord, ...]
    """in their order"""
    hosts: dict[str, HostRecord]
    """by name"""
    problems: list[str]
    """a sentence for each thing about the journals that is not as it was written"""
    forks: list[str] = field(default_factory=list)
    """a sentence for each run that goes on from one from which another one goes on: problems, too"""
    lost: list[str] = field(default_factory=list)
    """hosts that its runs name, and of which no plan can be read: nobody can tell how far they are"""
    ends: tuple[str, ...] | None = None
    """those of its hosts that were there when it began: what they had not done nobody goes on with; None in a
    journal of an exremote that did not note that"""
    unplanned: dict[str, PlanRefused] = field(default_factory=dict)
    """by name: why there can be no plan of a host, where that is what is asked"""

    @property
    def last(self) -> RunRecord:
        """Return the run that was at it last."""
        return self.runs[-1]

    @property
    def to_go_on(self) -> dict[str, object]:
        """Return what the first event of a run says that goes on from the last one."""
        last = self.last
        return {
            "recovery": self.id,
            "before": {"run": last.run_id, "events": last.count, "head": last.digest},
        }

    @property
    def began(self) -> datetime | None:
        """Return when it was begun, by the clock of whoever began it; None if its first run is gone."""
        if not self.runs or self.runs[0].run_id != self.id:
            return None
        return self.runs[0].started or run_moment(self.id)

    @property
    def unfinished(self) -> list[str]:
        """Return the hosts that are not through, and not given up."""
        return [name for name, host in self.hosts.items() if host.next and not host.given_up]

    @property
    def half_done(self) -> list[str]:
        """Return those of them of which the machine was not proven yet."""
        return [name for name in self.unfinished if not self.hosts[name].whole]

    @property
    def taken(self) -> set[str]:
        """Return the runs of `confirm` whose answers were taken up."""
        return {answer.via for host in self.hosts.values() for answer in host.answers}


def recovery_of(record: RunRecord) -> str:
    """Given a run, return the recovery that it belongs to; empty if to none."""
    return str(record.start.get("recovery") or record.run_id) if record.verb == VERB else ""


def runs_of(folder: Path, *verbs: str) -> list[RunRecord]:
    """Given the folder of journals and verbs, read the runs of these; of others only the first line."""
    found = [read_run(path) for path in journals(folder) if is_of(path, *verbs)]
    return [record if record.count else _guessed(record) for record in found]


def _guessed(record: RunRecord) -> RunRecord:
    """Given a run of which not even the first line is whole, return it with what can be made out of that: of
    a recovery nobody is to think that there is none.
    """
    with suppress(OSError), record.path.open("rb") as file:
        first = file.readline(_FIRST_LINE).decode("ascii", "replace")
        command = re.search(r'"command":\["recover"((?:,"[^"\\]*")*)\]', first)
        of = re.search(r'"recovery":"([^"\\]+)"', first)
        if command is not None:
            start = {"recovery": of[1]} if of is not None else {}
            names = re.findall(r'"([^"]*)"', command[1])
            return replace(record, verb=VERB, command=(VERB, *names), start=start)
    return record


def recoveries(records: Iterable[RunRecord]) -> dict[str, RecoveryRecord]:
    """Given runs, return the recoveries among them, by id, each behind those that were there when it began,
    else the oldest first.

    A recovery says itself which ones it ends: clocks of two jump hosts may disagree. In journals of an
    exremote that did not note that, a later one of a host ends what an earlier such one has not done there.
    """
    groups: dict[str, list[RunRecord]] = {}
    for record in sorted(records, key=lambda r: (str(r.started), r.run_id)):
        if record.verb == VERB:
            groups.setdefault(recovery_of(record), []).append(record)
    found = {name: read_recovery(name, group) for name, group in groups.items()}
    ended: dict[str, list[str]] = {name: [] for name in found}

    def end(earlier: str, later: str, hosts: Iterable[str]) -> None:
        if earlier in found and earlier != later:
            ended[later].append(earlier)
            _end(found[earlier], found[later], hosts)

    silent = [name for name, recovery in found.items() if recovery.ends is None]
    for name, recovery in found.items():
        for earlier in silent[: silent.index(name)] if recovery.ends is None else recovery.ends:
            end(earlier, name, recovery.hosts)
    for name in silent:  # begun by an older exremote behind one that would have ended it, had it been there
        for earlier in [*found][: [*found].index(name)]:
            if earlier not in silent and name not in (found[earlier].ends or ()):
                alive = set(found[name].unfinished) & found[earlier].hosts.keys()
                if alive:
                    end(earlier, name, alive)
    ordered: dict[str, RecoveryRecord] = {}

    def put(name: str, above: frozenset[str]) -> None:
        for earlier in ended[name]:
            if earlier not in ordered and earlier not in above:
                put(earlier, above | {name})
        ordered.setdefault(name, found[name])

    for name in found:
        put(name, frozenset())
    return ordered


def _end(earlier: RecoveryRecord, later: RecoveryRecord, hosts: Iterable[str]) -> None:
    """Note which hosts of a recovery were given up for another one."""
    run = later.runs[0]
    for name in hosts:
        host = earlier.hosts.get(name)
        if host is not None and host.next and host.given_up is None:
            host.given_up = Ended(run.started, run.run_id, str(run.start.get("user", "")), later.id)


def read_recovery(name: str, runs: Sequence[RunRecord]) -> RecoveryRecord:
    """Given the runs of one recovery, return what they say, in the order in which they go on from each other.

    Behind what was changed in a journal nothing of it counts: a step that was noted there is to be done, or
    looked at, again. A run that does not hang on the chain does not count at all.
    """
    linked, problems, forks = _linked(name, runs)
    found = RecoveryRecord(name, tuple(linked), {}, problems, forks)
    for run, then in zip_longest(linked, linked[1:]):
        for event in islice(run.events, _until(run, then)):
            _take(found, event, run)
    named = dict.fromkeys(host for run in linked for host in run.command[1:])
    if found.problems:  # else it was killed before it began with anything
        found.lost = [host for host in named if host not in found.hosts]
    return found


def _until(run: RunRecord, then: RunRecord | None) -> int | None:
    """Given a run and the one that goes on from it, return how many of its events count: what it noted when
    that one had begun is not what that one went on from.
    """
    before = then.start.get("before") if then is not None else None
    count = before.get("events") if isinstance(before, Mapping) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None


def _digest(run: RunRecord, count: int) -> str:
    """Given a run, return the digest of that many of its lines."""
    with suppress(OSError), run.path.open("rb") as file:
        lines = list(islice(file, count))
        return hashlib.sha256(lines[-1].rstrip(b"\n")).hexdigest() if len(lines) == count and lines else ""
    return ""


def _linked(name: str, runs: Sequence[RunRecord]) -> tuple[list[RunRecord], list[str], list[str]]:
    """Given the runs of one recovery, return those that hang together in order, what is wrong there, and of
    that where two go on from one.

    The order is that of the links: clocks of two jump hosts may disagree.
    """
    problems: list[str] = []
    forks: list[str] = []
    after: dict[str, list[RunRecord]] = {}
    chain = [run for run in runs if run.run_id == name]
    for run in runs:
        before = run.start.get("before")
        if run.run_id != name:
            after.setdefault(str(before.get("run")) if isinstance(before, Mapping) else "", []).append(run)
    if not chain:
        problems.append(f"the journal of {name}, with which it began, is gone")
        chain = [next(iter(runs))]
        after = {key: [r for r in each if r is not chain[0]] for key, each in after.items()}
    while following := after.pop(chain[-1].run_id, []):
        forks += [
            f"{run.run_id} goes on from {chain[-1].run_id}, as {following[0].run_id} does: it does not count"
            for run in following[1:]
        ]
        chain.append(following[0])
    problems += forks
    problems += [
        f"{run.run_id} hangs on no run of this recovery that is there: it does not count"
        for each in after.values()
        for run in each
    ]
    for earlier, run in pairwise(chain):
        before = run.start.get("before")
        assert isinstance(before, Mapping)
        count, head = _until(earlier, run) or 0, before.get("head")
        if earlier.intact and count < earlier.count and _digest(earlier, count) == head:
            problems.append(
                f"{earlier.run_id} went on by itself when {run.run_id} had gone on from it: what it says "
                f"after event {count} does not count"
            )
        elif earlier.intact and (earlier.count, earlier.digest) != (before.get("events"), head):
            problems.append(
                f"the journal of {earlier.run_id} had {before.get('events')} events when {run.run_id} went "
                f"on from it, and has {earlier.count}: it was changed"
            )
    problems += [
        f"the journal of {run.run_id} was changed: {run.problem}; what it says after that does not count"
        for run in chain
        if not run.intact
    ]
    return chain, problems, forks


def _take(found: RecoveryRecord, event: Event, run: RunRecord) -> None:
    fields = event.fields
    name = str(fields.get("host", ""))
    if event.kind in (PLANNED, PLANS):
        for one, data in plans_in(event).items():
            if one not in found.hosts:
                _plan(found, one, data, run)
        ends = fields.get("ends")
        if found.ends is None and isinstance(ends, list):
            found.ends = tuple(map(str, ends))
        return
    host = found.hosts.get(name)
    if host is None:
        return
    if event.kind == STEP:
        try:
            evidence = evidence_from_json(fields.get("evidence", ()))
        except ValueError:
            evidence = ()
        state = StepState(str(fields.get("state")), event.at, evidence)
        host.note(str(fields.get("step")), state)
        if state.state in ("wrong", "again", "done"):
            host.pending.pop(str(fields.get("step")), None)
    elif event.kind == CONFIRMED:
        answer = answer_in(fields, event.at, str(fields.get("via") or run.run_id))
        host.take(answer)
        host.pending[answer.step] = answer
    elif event.kind == GIVEN_UP:
        host.given_up = Ended(event.at, run.run_id, str(run.start.get("user", "")))
    elif event.kind == NOTED:
        host.noted.update({k: v for k, v in fields.items() if k != "host"})


def plans_in(event: Event) -> dict[str, object]:
    """Given an event, return the plans that it notes, as they stand there, by host."""
    if event.kind == PLANNED:
        return {str(event.fields.get("host", "")): event.fields.get("plan")}
    plans = event.fields.get("plans") if event.kind == PLANS else None
    return {str(name): plan for name, plan in plans.items()} if isinstance(plans, Mapping) else {}


def _plan(found: RecoveryRecord, name: str, data: object, run: RunRecord) -> None:
    """Note the plan of one host; one that cannot be read is a problem of the journal."""
    try:
        plan = RecoveryPlan.from_json(data)
        if plan.host != name:
            raise ValueError(f"it is the plan of {plan.host}")
        found.hosts[name] = HostRecord(plan)
    except ValueError as error:
        found.problems.append(f"the plan of {name} in {run.run_id} cannot be read: {error}")


def moment(text: object) -> datetime | None:
    """Given what a journal has, return the moment; None if it is none, or has no zone."""
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def answer_in(fields: Mapping[str, Any], at: datetime, via: str) -> Answer:
    """Given the fields of an event that tells an answer, return it."""
    asked = fields.get("asked")
    said = moment(fields.get("said"))
    if said is not None and said < at:  # it was said before it was taken up, by the clock there
        at = said
    return Answer(
        str(fields.get("host", "")),
        str(fields.get("step", "")),
        str(fields.get("by", "")),
        str(fields.get("words", "")),
        {str(k): v is True for k, v in asked.items()} if isinstance(asked, Mapping) else {},
        at,
        via,
        str(fields.get("head", "")),
        str(fields.get("plan", "")),
    )


def answer_fields(answer: Answer) -> dict[str, Any]:
    """Given an answer, return it as the fields of an event."""
    return {
        "host": answer.host,
        "step": answer.step,
        "by": answer.by,
        "words": answer.words,
        "said": answer.at.isoformat(),
        "asked": dict(answer.asked),
        "via": answer.via,
        "head": answer.head,
        "plan": answer.plan,
    }


def answers_for(recovery: str, records: Iterable[RunRecord]) -> Iterator[Answer]:
    """Given a recovery and runs of `confirm`, yield what they say about it. A damaged one says nothing."""
    for record in records:
        if record.verb != CONFIRM or not record.intact or record.start.get("recovery") != recovery:
            continue
        for event in record.events:
            if event.kind == ANSWERED:
                yield replace(answer_in(event.fields, event.at, record.run_id), head=record.digest)

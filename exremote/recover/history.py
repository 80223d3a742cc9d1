"""A recovery told from its journals: who did what when, and what proved it. It judges nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from exremote.journal import RunRecord
from exremote.recover.doubts import IN_SERVICE
from exremote.recover.record import CONFIRM, CONFIRMED, STEP, Answer, RecoveryRecord, answer_in, answers_for
from exremote.recover.steps import Evidence, Step, evidence_from_json


@dataclass(frozen=True, slots=True)
class Attempt:
    """One time that a step was looked at."""

    at: datetime
    """UTC"""
    state: str
    """`wrong`, `again` or `done`"""
    evidence: tuple[Evidence, ...]
    """what was found"""
    run: str
    """in which run"""


@dataclass(slots=True)
class StepStory:
    """What became of one step."""

    step: Step
    """as it was planned"""
    began: datetime | None = None
    """when it was begun first"""
    ended: datetime | None = None
    """when it was noted as done last"""
    attempts: list[Attempt] = field(default_factory=list)
    """each time that it was looked at"""
    answers: list[Answer] = field(default_factory=list)
    """what people said of it"""
    given_up: bool = False
    """nobody goes on with the recovery"""

    @property
    def state(self) -> str:
        """Return in a word how it stands."""
        if self.ended is not None:
            return "done"
        if self.attempts:
            return "failed"
        if self.given_up and self.began is not None:
            return "given up"
        return "waiting" if self.began is not None else "open"


@dataclass(frozen=True, slots=True)
class Link:
    """One journal of the chain."""

    run: str
    """its id"""
    verb: str
    """`recover` or `confirm`"""
    started: datetime | None
    """UTC"""
    events: int
    """good ones"""
    digest: str
    """of the last of them"""
    problem: str
    """what is wrong; empty if nothing is"""


def stories(record: RecoveryRecord, host: str) -> list[StepStory]:
    """Given a recovery and one of its hosts, return what became of each step, in the plan's order."""
    own = record.hosts[host]
    over = bool(own.next and own.given_up)
    found = {step.name: StepStory(step, given_up=over) for step in own.plan.steps}
    loose: list[Answer] = []
    for run in record.runs:
        for event in run.events:
            if event.fields.get("host") != host:
                continue
            if event.kind == CONFIRMED:
                answer = answer_in(event.fields, event.at, str(event.fields.get("via") or run.run_id))
                story = found.get(answer.step)
                (story.answers if story is not None else loose).append(answer)
            if event.kind != STEP or (story := found.get(str(event.fields.get("step")))) is None:
                continue
            state = str(event.fields.get("state"))
            story.began = story.began or event.at
            try:
                evidence = evidence_from_json(event.fields.get("evidence", ()))
            except ValueError:
                evidence = ()
            if state in ("wrong", "again", "done"):
                story.attempts.append(Attempt(event.at, state, evidence, run.run_id))
            if state == "done":
                story.ended = event.at
            elif state == "again":
                story.ended = None
    # What a person confirmed while the connectors were restored belongs there.
    for story in found.values():
        if story.step.name == "restore-connectors":
            story.answers += loose
    return list(found.values())


def said_whole(record: RecoveryRecord, host: str, confirms: Collection[RunRecord]) -> list[Answer]:
    """Given a recovery, one of its hosts and the runs of `confirm`, return who said that the server is whole
    all the same, the first first.
    """
    said = (a for a in answers_for(record.id, confirms) if (a.host, a.step) == (host, IN_SERVICE))
    return sorted(said, key=lambda answer: (answer.at, answer.via))


def chain(record: RecoveryRecord, confirms: Collection[RunRecord]) -> list[Link]:
    """Given a recovery and the runs of `confirm`, return the journals that it is told from, in order."""
    taken = {answer.via: answer.head for host in record.hosts.values() for answer in host.answers}
    links = [Link(r.run_id, r.verb, r.started, r.count, r.digest, r.problem) for r in record.runs]
    known = {link.run for link in links} | {run.run_id for run in confirms}
    links += [
        Link(run, CONFIRM, None, 0, "", "it is gone, and an answer was taken from it")
        for run in taken
        if run not in known
    ]
    for run in confirms:
        # That a server is whole is said when nobody goes on, so nobody takes it up.
        whole = run.start.get("recovery") == record.id and IN_SERVICE in run.command
        if run.run_id not in taken and not whole:
            continue
        head, problem = taken.get(run.run_id, ""), run.problem
        if not problem and head and head != run.digest:
            problem = "it is not what it was when its answer was taken up"
        links.append(Link(run.run_id, run.verb, run.started, run.count, run.digest, problem))
    return sorted(links, key=lambda link: (str(link.started), link.run))

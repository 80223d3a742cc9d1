"""One host through the nine steps: what is done, by whom, and what proved it. It stops only where it has to.

Each step may be done again: whoever takes the recovery up after a kill begins with the first step that is not
noted as done. What a person did is looked at by machine before it counts, wherever a machine can.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from exremote import restore
from exremote.changes import ChangePlan
from exremote.connector import Connector
from exremote.credential import Secret as Account
from exremote.errors import (
    EXIT_OK,
    AccessDenied,
    ExremoteError,
    HostError,
    PlanRefused,
    Waiting,
)
from exremote.facts import HostFact
from exremote.inventory import Host
from exremote.journal import Journal
from exremote.recover import asking, checks, instructions, proving
from exremote.recover.bringing import bring_files
from exremote.recover.proving import saved_evidence
from exremote.recover.reaching import Answered, place_text, quick, same_place, temporary_host, who_answers
from exremote.recover.record import (
    CONFIRMED,
    NOTED,
    PLANNED,
    STEP,
    Answer,
    HostRecord,
    RecoveryRecord,
    StepState,
    answer_fields,
    moment,
)
from exremote.recover.steps import Evidence, RecoveryPlan, Step, evidence_to_json
from exremote.repository import Composed, Repository, Snapshot
from exremote.runner import Outcome, State, Stopped, failed, interrupted, tell_end
from exremote.session import Session

_LOOK_S = 2.0
"""How often a machine that is away is looked for, in seconds."""
_TELL_S = 30.0
"""How often it is said again that one waits, in seconds."""
NO_ORIGINAL = "lost server"


class Person(Protocol):
    """Somebody who does what a machine cannot."""

    def __call__(self, host: str, step: Step, wrong: Sequence[Evidence]) -> Answer:
        """Given a step, and what was wrong with it when it was said to be done, return his answer.

        Raise Waiting if nobody is there, PlanRefused if he says no.
        """


@dataclass(frozen=True, slots=True)
class RecoveryErrand:
    """The recovery of several hosts; everything that they share."""

    repository: Repository
    """where everything comes from"""
    journal: Journal
    """what happened"""
    connectors: Mapping[str, Connector]
    """all that the tool knows"""
    record: RecoveryRecord
    """how far it is; kept up to date as it goes on"""
    hosts: Collection[str]
    """those that this run works on"""
    at: str | None
    """the temporary address, if the command line names one"""
    session: Callable[[Host], AbstractContextManager[Session]]
    """opens a session"""
    glance: Callable[[Host], AbstractContextManager[Session]]
    """opens one without a word: somebody may not be there yet"""
    person: Person
    """who does what a machine cannot"""
    approve: Callable[[str, ChangePlan], None]
    """shows a plan of step 8 and asks; raises PlanRefused or Waiting"""
    restorer: Callable[[Mapping[str, restore.Work], Mapping[str, str] | None], restore.Errand]
    """makes the errand of step 8, given what is approved"""
    wait_s: float
    """how long a machine that is away is waited for, in seconds"""
    api_account: Callable[[Host], Account | ExremoteError | None]
    """gives the account for a host's second hop to the GroupWise API directory, or why there is none"""
    now: Callable[[], datetime]
    """our clock"""
    stage: Callable[[str, str], None]
    """told what a host is doing; raises after an interrupt"""
    moved: Callable[[str, int, int], None]
    """told of files and bytes; raises after an interrupt"""
    expect: Callable[[str, int, int], None]
    """told of files and bytes that will go"""
    _through: dict[str, bool] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def note_plans(self) -> None:
        """Note the plans of all hosts: each run's journal can be read alone."""
        for name, host in self.record.hosts.items():
            self.journal.event(PLANNED, host=name, plan=host.plan.to_json())

    def __call__(self, host: Host) -> Outcome:
        """Given a host, bring its recovery as far as it goes. Return the outcome."""
        outcome = interrupted(host)
        began = self.now()
        self.journal.event("host-started", host=host.name)
        try:
            self._in_turn(host)
            count = _OneHost(self, host, self.record.hosts[host.name]).go()
            seconds = (self.now() - began).total_seconds()
            message = f"recovered: all {count} steps are done and proven"
            outcome = Outcome(host.name, State.DONE, EXIT_OK, message, seconds)
        except Stopped:
            outcome = interrupted(host)
        except ExremoteError as error:
            outcome = failed(host, error)
        finally:
            tell_end(self.journal, outcome)
            with self._changed:
                self._through[host.name] = outcome.state is State.DONE
                self._changed.notify_all()
        return outcome

    def _in_turn(self, host: Host) -> None:
        """Wait until the hosts that come before are through. Raise Waiting if one of them stopped short."""
        for name in self.record.hosts[host.name].plan.after:
            earlier = self.record.hosts.get(name)
            if earlier is None or not earlier.next:
                continue
            if name not in self.hosts:
                raise Waiting(
                    f"{host.name}: it comes after {name}, which is not recovered yet.",
                    f"Recover both: `exremote resume {self.record.id}`.",
                )
            with self._changed:
                while name not in self._through:
                    self.stage(host.name, f"waiting for {name}, which comes before")
                    self._changed.wait(_LOOK_S)
                    self.moved(host.name, 0, 0)
            if not self._through[name]:
                raise Waiting(f"{host.name}: it comes after {name}, which is not recovered yet.")


class _OneHost:
    """The steps of one host."""

    def __init__(self, errand: RecoveryErrand, host: Host, record: HostRecord) -> None:
        self.errand = errand
        self.host = host
        self.record = record
        self.plan: RecoveryPlan = record.plan
        self.before = temporary_host(host, errand.at or record.at)
        self.journal = errand.journal
        if errand.at is not None:
            self.journal.event(NOTED, host=host.name, address=errand.at)

    def go(self) -> int:
        """Go through all steps that are not done. Return how many steps there are."""
        deeds: dict[str, Callable[[Step], list[Evidence]]] = {
            instructions.VERIFY: self._verify,
            instructions.REINSTALL: lambda step: self._person(step, self._reinstalled),
            instructions.BRING: self._bring,
            instructions.SYSTEM_STATE: lambda step: self._person(step, None),
            instructions.BACK: self._back,
            instructions.EXCHANGE: lambda step: self._person(step, self._installed),
            instructions.GROUPS: lambda step: self._person(step, self._groups),
            instructions.RESTART: self._restart,
            instructions.CONNECTORS: self._connectors,
            instructions.PROVE: self._prove,
        }
        while name := self.record.next:
            step = self.plan.step(name)
            assert step is not None
            self._stage(step.title)
            self._note(step, "started")
            evidence = deeds[step.name](step)
            if self.record.next == name:  # a step that sends back to an earlier one is not done
                self._note(step, "done", evidence)
        return len(self.plan.steps)

    def _stage(self, text: str) -> None:
        self.errand.stage(self.host.name, text)

    def _note(self, step: Step, state: str, evidence: Sequence[Evidence] = ()) -> None:
        self.journal.event(
            STEP, host=self.host.name, step=step.name, state=state, evidence=evidence_to_json(evidence)
        )
        self.record.note(step.name, StepState(state, self.errand.now(), tuple(evidence)))

    def _noted(self, fact: HostFact) -> None:
        """Note who answered, and since when it runs: a restart is told from that."""
        facts: dict[str, Any] = {"started": _moment(fact), "name": fact.computer_name}
        self.journal.event(NOTED, host=self.host.name, **facts)
        self.record.noted.update(facts)

    # ------------------------------------------------------------ what a person does

    def _person(self, step: Step, look: Callable[[Step], list[Evidence]] | None) -> list[Evidence]:
        """Have a person do it, and look whether he did; again and again until it is so."""
        last = self.record.steps.get(step.name)
        wrong: Sequence[Evidence] = [e for e in last.evidence if e.verdict == "wrong"] if last else []
        while True:
            answer = self.record.pending.pop(step.name, None)
            if answer is None:
                answer = self.errand.person(self.host.name, step, wrong)
                self.journal.event(CONFIRMED, **answer_fields(answer))
                self.record.answers.append(answer)
            self._stage(f"looking whether {step.name} is done")
            evidence = [*self._said(step, answer), *(self._looked(step, look) if look else ())]
            wrong = [e for e in evidence if e.verdict == "wrong"]
            if not wrong:
                return evidence
            self._note(step, "wrong", evidence)

    def _said(self, step: Step, answer: Answer) -> list[Evidence]:
        """Return what a person answered besides, as evidence."""
        found = []
        for question in step.asks:
            yes = answer.asked.get(question.name)
            said = "yes" if yes else "no" if yes is False else "no answer"
            verdict = "ok" if yes else "wrong" if yes is False else "unknown"
            remedy = "Do it, then confirm the step again." if yes is False else ""
            found.append(
                Evidence(question.name, verdict, f"{question.text} {said}, says {answer.by}", remedy)  # type: ignore[arg-type]
            )
        return found

    def _looked(self, step: Step, look: Callable[[Step], list[Evidence]]) -> list[Evidence]:
        try:
            return look(step)
        except HostError as error:
            remedy = error.remedy or "Make it reachable, then confirm the step again."
            said = f"it cannot be asked: {error.message.rstrip('.')}"
            return [Evidence("reachable", "wrong", said, remedy)]

    # ------------------------------------------------------------ steps 1 to 4

    def _verify(self, step: Step) -> list[Evidence]:
        """Read every byte of what the recovery stands on, before anybody reinstalls anything."""
        found = []
        for one in self.plan.saved:
            self._stage(f"verifying {one.snapshot}")
            found += list(saved_evidence(self.errand.repository, one, self.errand.now()))
        if bad := [e for e in found if e.verdict == "wrong"]:
            self._note(step, "wrong", found)
            raise PlanRefused(
                f"{self.host.name}: {bad[0].what}: {bad[0].said}.",
                f"{bad[0].remedy} Begin with another one: --anew, and --snapshot.".strip(),
            )
        return found

    def _temporary(self) -> Host:
        if self.before is None:
            raise Waiting(
                f"{self.host.name}: nobody says where the new machine is reached.",
                f"Go on with --at ADDRESS (exremote recover {self.host.name} --resume "
                f"{self.errand.record.id} --at ADDRESS), or say recover_address in the inventory.",
            )
        return self.before

    def _reinstalled(self, step: Step) -> list[Evidence]:
        with self.errand.session(quick(self._temporary())) as session:
            fact = session.host_fact()
            found = list(asking.after_reinstall(self.plan, session, fact))
            self._noted(fact)
        return [*found, self._original()]

    def _original(self) -> Evidence:
        """Return whether the lost server is gone: two with one name and one account are no recovery."""
        if same_place(self._temporary(), self.host):
            return Evidence(NO_ORIGINAL, "ok", "the new machine has its address")
        self._stage("looking whether the lost server still answers")
        answer = who_answers(self.host, self.errand.glance)
        if isinstance(answer, Answered):
            who = answer.fact.computer_name if answer.fact else "somebody"
            return Evidence(
                NO_ORIGINAL,
                "wrong",
                f"{who} answers at {place_text(self.host)}",
                f"Switch {self.plan.original.computer_name} off, or take it off the network, until step 5 is "
                "done.",
            )
        return Evidence(NO_ORIGINAL, "ok", f"nobody answers at {place_text(self.host)}")

    def _bring(self, step: Step) -> list[Evidence]:
        host = self._temporary()
        with self.errand.session(host) as session:
            fact = session.host_fact()
            # An address may lead elsewhere by now, and a System State is not for everybody.
            found = list(asking.after_reinstall(self.plan, session, fact))
            if fact.computer_name != self.record.noted.get("name"):
                looked = self.record.noted.get("name")
                found.append(
                    Evidence("machine", "wrong", f"{fact.computer_name} answers, and {looked} was looked at")
                )
            found.append(self._original())
            if wrong := [e for e in found if e.verdict == "wrong"]:
                earlier = self.plan.step(instructions.REINSTALL)
                assert earlier is not None
                self._note(earlier, "again", found)
                raise Waiting(
                    f"{self.host.name}: {wrong[0].what}: {wrong[0].said}. Nothing was brought there.",
                    f"{wrong[0].remedy} Confirm {earlier.name} again, and go on with `exremote resume "
                    f"{self.errand.record.id}`.".strip(),
                )
            return bring_files(
                self.plan,
                self.errand.repository,
                session,
                fact,
                lambda files, size: self.errand.expect(self.host.name, files, size),
                lambda files, size: self.errand.moved(self.host.name, files, size),
            )

    # ------------------------------------------------------------ restarts

    def _back(self, step: Step) -> list[Evidence]:
        """Wait until the machine is itself again; if it came back as another, step 5 is to be done again."""
        before = self.before
        name = self.plan.original.computer_name
        other: list[HostFact] = []

        def look() -> list[Evidence] | str:
            answer = who_answers(self.host, self.errand.glance)
            if isinstance(answer, Answered):
                if answer.fact is None and before is not None and same_place(before, self.host):
                    # A workgroup's machine at the old address does not know the domain's account.
                    return "the machine does not take the account of the domain: it was not restarted yet"
                if answer.fact is None:
                    return [Evidence("account", "wrong", answer.why, "Look at the host's credential.")]
                if (found := self._anew(answer.fact)) == "same":
                    return f"restart it now: {answer.fact.computer_name} answers, and was not restarted yet"
                with self.errand.session(self.host) as session:
                    if stranger := asking.stranger(self.plan, session):
                        return stranger
                    evidence = list(
                        asking.after_return(self.plan, self.errand.repository, session, answer.fact)
                    )
                return [self._start(found), *evidence]
            if before is not None and not same_place(before, self.host):
                there = who_answers(before, self.errand.glance)
                if isinstance(there, Answered) and there.fact is not None:
                    if self._anew(there.fact) != "new":
                        who = f"{there.fact.computer_name} at {place_text(before)}"
                        return f"restart it now: {who} was not restarted yet"
                    other.append(there.fact)
                    return list(checks.returned(self.plan.original, there.fact))
            return f"nobody answers at {place_text(self.host)}"

        evidence = self._wait(step, f"for {name}", look)
        if any(e.verdict == "wrong" for e in evidence):
            earlier = self.plan.step(instructions.SYSTEM_STATE)
            assert earlier is not None
            self._note(step, "wrong", evidence)
            self._note(earlier, "again", evidence)
            if other:
                self._noted(other[0])
            return evidence
        return evidence

    def _restart(self, step: Step) -> list[Evidence]:
        """Wait until the machine was restarted."""

        def look() -> list[Evidence] | str:
            answer = who_answers(self.host, self.errand.glance)
            if not isinstance(answer, Answered) or answer.fact is None:
                return f"nobody answers at {place_text(self.host)}"
            found = self._anew(answer.fact)
            if found != "new":  # it may have been restarted before anybody looked
                since = self._confirmed(instructions.GROUPS)
                found = checks.restarted_after(since, answer.fact, self.errand.now())
            if found == "same":
                who = answer.fact.computer_name
                return f"restart it now: {who} was not restarted since the storage groups came back"
            return [self._start(found), self._name(answer.fact)]

        evidence = self._wait(step, "for a restart", look)
        if wrong := [e for e in evidence if e.verdict == "wrong"]:
            raise Waiting(f"{self.host.name}: {wrong[0].what}: {wrong[0].said}.", wrong[0].remedy)
        return evidence

    def _wait(self, step: Step, what: str, look: Callable[[], list[Evidence] | str]) -> list[Evidence]:
        """Look until there is evidence. Raise Waiting when the time is over."""
        end = time.monotonic() + self.errand.wait_s
        told, told_at = "", 0.0
        self._note(step, "waiting")
        while True:
            try:
                found = look()
            except AccessDenied:
                raise
            except HostError as error:
                found = error.message
            if not isinstance(found, str):
                return found
            left = end - time.monotonic()
            if left <= 0:
                raise Waiting(
                    f"{self.host.name}: waited {self.errand.wait_s:.0f} s {what}: {found}.",
                    f"When it is there, go on with `exremote resume {self.errand.record.id}`.",
                )
            if found != told or time.monotonic() - told_at > _TELL_S:
                told, told_at = found, time.monotonic()
                self._stage(f"{found}; waiting {what}, at most {left:.0f} s")
            self._sleep(min(_LOOK_S, left))

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))
            self.errand.moved(self.host.name, 0, 0)  # hears of an interrupt, and writes no line

    def _confirmed(self, step: str) -> datetime | None:
        """Return when a step was last confirmed by a person."""
        return max((a.at for a in self.record.answers if a.step == step), default=None)

    def _anew(self, fact: HostFact) -> checks.Restarted:
        return checks.restarted(moment(self.record.noted.get("started")), fact.started)

    @staticmethod
    def _start(found: checks.Restarted) -> Evidence:
        return (
            Evidence("restart", "ok", "it was started anew")
            if found == "new"
            else Evidence("restart", "unknown", "the machine does not say when it was started")
        )

    # ------------------------------------------------------------ steps 6 to 9

    def _installed(self, step: Step) -> list[Evidence]:
        with self.errand.session(self.host) as session:
            return [self._name(session.host_fact()), *asking.after_setup(self.plan, session)]

    def _groups(self, step: Step) -> list[Evidence]:
        with self.errand.session(self.host) as session:
            fact = session.host_fact()
            self._noted(fact)
            return [self._name(fact), *asking.after_groups(self.plan, session)]

    def _name(self, fact: HostFact) -> Evidence:
        """Return whether it is still the machine that was recovered: an address may lead elsewhere by now."""
        name = self.plan.original.computer_name
        return checks.same("computer name", name, fact.computer_name, "Look who answers at that address.")

    def _snapshots(self) -> list[Snapshot | Composed]:
        return [self.errand.repository.named(one.snapshot) for one in self.plan.connectors]

    def _connectors(self, step: Step) -> list[Evidence]:
        """Bring the connectors back: plan, have it approved, do it, prove it."""
        snapshots = self._snapshots()
        work = {
            self.host.name: restore.Work(
                restore.aim_of(snapshots, self.errand.connectors), restore.parts_of(snapshots)
            )
        }
        with self.errand.session(self.host) as session:
            planned = self.errand.restorer(work, None)(self.host, session)
            plan = planned.detail.plan
            if not plan.steps:
                return [Evidence("connectors", "ok", "nothing differs from the snapshots")]
            self.errand.approve(self.host.name, plan)
            doing = self.errand.restorer(work, {self.host.name: plan.digest})
            with doing.guard(self.host):
                done = doing(self.host, session)
        if done.state is not State.DONE:
            raise PlanRefused(
                f"{self.host.name}: {done.message}", f"Then `exremote resume {self.errand.record.id}`."
            )
        return [Evidence("connectors", "ok", done.message)]

    def _prove(self, step: Step) -> list[Evidence]:
        with self.errand.session(self.host) as session:
            evidence = list(
                proving.prove(
                    self.plan,
                    self.host,
                    session,
                    self.errand.connectors,
                    self.errand.repository,
                    self.errand.now(),
                    self.errand.api_account(self.host),
                )
            )
        if wrong := [e for e in evidence if e.verdict == "wrong"]:
            self._note(step, "wrong", evidence)
            raise PlanRefused(
                f"{self.host.name}: {wrong[0].what}: {wrong[0].said}.",
                f"{wrong[0].remedy} Then `exremote resume {self.errand.record.id}`.".strip(),
            )
        return evidence


def _moment(fact: HostFact) -> str:
    return fact.started.isoformat() if fact.started else ""

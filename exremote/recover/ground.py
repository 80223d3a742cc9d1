"""What every step of a recovery stands on: what hosts share, one host, its record. It does no step."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from exremote import restore
from exremote.changes import ChangePlan, Confirm
from exremote.connector import Connector
from exremote.credential import Secret as Account
from exremote.errors import (
    ExremoteError,
    Waiting,
)
from exremote.facts import HostFact
from exremote.inventory import Host
from exremote.journal import Journal
from exremote.recover import checks
from exremote.recover.reaching import temporary_host
from exremote.recover.record import (
    NOTED,
    STEP,
    Answer,
    HostRecord,
    RecoveryRecord,
    StepState,
    moment,
)
from exremote.recover.steps import Evidence, RecoveryPlan, Step, evidence_to_json
from exremote.repository import Repository
from exremote.session import Session


class Person(Protocol):
    """Somebody who does what a machine cannot."""

    def __call__(self, host: str, step: Step, wrong: Sequence[Evidence]) -> Answer:
        """Given a step, and what was wrong with it when it was said to be done, return his answer.

        Raise Waiting if nobody is there, PlanRefused if he says no.
        """


@dataclass(frozen=True, slots=True)
class Shared:
    """What all hosts of a recovery share."""

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
    confirm: Callable[[str, Confirm], str]
    """has a person do what step 8 wants of him once his files are there; raises Waiting if nobody is"""
    restorer: Callable[[Mapping[str, restore.Work], Mapping[str, ChangePlan] | None], restore.Errand]
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
    still_ours: Callable[[str], None]
    """raises RepositoryLocked if a host's lock was taken away: another run may go on with it"""


class Ground:
    """One host on its way, and what is noted of it."""

    def __init__(self, errand: Shared, host: Host, record: HostRecord) -> None:
        self.errand = errand
        self.host = host
        self.record = record
        self.plan: RecoveryPlan = record.plan
        self.at = errand.at or record.at or host.recover_address
        self.before = temporary_host(host, self.at)
        self.journal = errand.journal
        if errand.at is not None:
            self.journal.event(NOTED, host=host.name, address=errand.at)

    def _stage(self, text: str) -> None:
        self.errand.stage(self.host.name, text)

    def _note(self, step: Step, state: str, evidence: Sequence[Evidence] = ()) -> None:
        self.errand.still_ours(self.host.name)  # days may have passed since the last one
        self.journal.event(
            STEP, host=self.host.name, step=step.name, state=state, evidence=evidence_to_json(evidence)
        )
        self.record.note(step.name, StepState(state, self.errand.now(), tuple(evidence)))

    def _noted(self, fact: HostFact) -> None:
        """Note who answered, and since when it runs: a restart is told from that."""
        facts: dict[str, Any] = {"started": moment_text(fact), "name": fact.computer_name}
        booted = checks.booted(fact, self.errand.now())
        if booted is not None and self._anew(fact) != "same":
            # By our clock, from the first look: who sets the machine's clock later does not move it.
            facts["booted"] = booted.isoformat()
        self.journal.event(NOTED, host=self.host.name, **facts)
        self.record.noted.update(facts)

    def _temporary(self) -> Host:
        if self.before is None:
            raise Waiting(
                f"{self.host.name}: nobody says where the new machine is reached.",
                f"Go on with --at ADDRESS (exremote recover {self.host.name} --resume "
                f"{self.errand.record.id} --at ADDRESS), or say recover_address in the inventory.",
            )
        return self.before

    def _anew(self, fact: HostFact) -> checks.Restarted:
        return checks.restarted(moment(self.record.noted.get("started")), fact.started)

    def _name(self, fact: HostFact) -> Evidence:
        """Return whether it is still the machine that was recovered: an address may lead elsewhere by now."""
        name = self.plan.original.computer_name
        return checks.same("computer name", name, fact.computer_name, "Look who answers at that address.")


def moment_text(fact: HostFact) -> str:
    """Given what a machine says, return when it was started, as a journal has it; empty if unknown."""
    return fact.started.isoformat() if fact.started else ""

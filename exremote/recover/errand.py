"""One host through the nine steps: what is done, by whom, and what proved it. It stops only where it has to.

Each step may be done again: whoever takes the recovery up after a kill begins with the first step that is not
noted as done. What a person did is looked at by machine before it counts, wherever a machine can.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from exremote.errors import (
    EXIT_OK,
    ExremoteError,
    IntegrityError,
    RepositoryLocked,
    SnapshotNotFound,
    Waiting,
)
from exremote.inventory import Host
from exremote.recover import instructions
from exremote.recover.beginning import Beginning
from exremote.recover.doubts import IN_SERVICE, names_in
from exremote.recover.finishing import Finishing
from exremote.recover.ground import Shared
from exremote.recover.people import People
from exremote.recover.record import (
    PLANS,
)
from exremote.recover.restarts import Restarts
from exremote.recover.steps import Evidence, Step
from exremote.runner import Outcome, State, Stopped, failed, interrupted, tell_end

_LOOK_S = 2.0
"""How often it is looked whether the host that comes before is through, in seconds."""


@dataclass(frozen=True, slots=True)
class RecoveryErrand(Shared):
    """The recovery of several hosts, each as far as it goes."""

    _through: dict[str, bool] = field(default_factory=dict)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def note_plans(self) -> None:
        """Note the plans of all hosts, and which recoveries this one ends: each run's journal can be read
        alone.
        """
        plans = {name: host.plan.to_json() for name, host in self.record.hosts.items()}
        if self.record.ends is None:  # it was begun by an exremote that did not note that
            self.journal.event(PLANS, plans=plans)
        else:
            self.journal.event(PLANS, plans=plans, ends=list(self.record.ends))

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
            if earlier.given_up:
                raise Waiting(
                    f"{host.name}: it comes after {name}, whose recovery nobody goes on with: "
                    f"{earlier.given_up.text}.",
                    f"Begin another one of it alone: `exremote recover {host.name} --anew`.",
                )
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


class _OneHost(Beginning, People, Restarts, Finishing):
    """The steps of one host."""

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
            try:
                evidence = deeds[step.name](step)
            except (Waiting, RepositoryLocked):
                raise
            except ExremoteError as error:
                if isinstance(error, IntegrityError | SnapshotNotFound):
                    self._tell_way_on(step, error)
                self._failed(step, error)
                raise
            if self.record.next == name:  # a step that sends back to an earlier one is not done
                self._note(step, "done", evidence)
        return len(self.plan.steps)

    def _failed(self, step: Step, error: ExremoteError) -> None:
        """Note that a step of the machine came to nothing, and why, where it has not said so itself."""
        noted = self.record.steps.get(step.name)
        if step.who != "machine" or (noted is not None and noted.state == "wrong"):
            return
        said = error.text.removeprefix(f"{self.host.name}: ").removesuffix(error.remedy).strip()
        self._note(step, "wrong", [Evidence(step.name, "wrong", said.rstrip("."), error.remedy)])

    def _tell_way_on(self, step: Step, error: ExremoteError) -> None:
        """Given that a snapshot is damaged, or gone, since it was verified, have the error say what to do."""
        names = [name for name in names_in(self.record) if name.partition("/")[2] in error.text]
        if not names:
            return
        bring, this = self.plan.step(instructions.BRING), self.errand.record.id
        again = f"exremote recover {self.host.name} --anew"
        if bring is not None and not self.record.is_done(bring.name):
            other = f"If there is none, begin with an older one: `{again} --snapshot OLDER`."
        else:  # a new machine that has the lost one's name is past the first steps of another recovery
            other = (
                f"If there is none: give this recovery up (`exremote recover {self.host.name} --give-up`), "
                "bring an older one back by hand (`exremote restore OLDER`), and say that it is whole "
                f"(`exremote confirm {this} {IN_SERVICE} --words TEXT`)."
            )
        copy = f"{names[0]} --repository COPY --to {self.errand.repository.path}"
        error.remedy = (
            f"Mend it from another copy of the repository: `exremote verify {names[0]}`, then `exremote copy "
            f"{copy}`, and `exremote resume {this}`. {other}"
        )

"""Steps 6 to 9: what is asked after setup and storage groups; connectors restored, and proven."""

from __future__ import annotations

from exremote import restore
from exremote.changes import (
    ChangePlan,
    Confirm,
    MakeFolders,
    RemoveFolders,
    SendFiles,
    SetAccessLists,
    SetValues,
    SwapFiles,
)
from exremote.errors import (
    PlanRefused,
)
from exremote.recover import asking, proving
from exremote.recover.ground import Ground
from exremote.recover.steps import Evidence, Step
from exremote.repository import Composed, Snapshot
from exremote.runner import State

_PUTS = SendFiles | SwapFiles | MakeFolders | RemoveFolders | SetAccessLists | SetValues
"""Steps that put something in place."""


class Finishing(Ground):
    """The steps of a machine that is itself again."""

    def _installed(self, step: Step) -> list[Evidence]:
        with self.errand.session(self.host) as session:
            fact = session.host_fact()
            self._noted(fact)
            return [self._name(fact), *asking.after_setup(self.plan, session)]

    def _groups(self, step: Step) -> list[Evidence]:
        with self.errand.session(self.host) as session:
            fact = session.host_fact()
            self._noted(fact)
            return [self._name(fact), *asking.after_groups(self.plan, session)]

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
            said = self._people_first(plan)
            if not plan.steps:
                return [Evidence("connectors", "ok", "nothing differs from the snapshots"), *said]
            if not said:  # else it is the end of a plan that was approved
                self.errand.approve(self.host.name, plan)
            self.errand.still_ours(self.host.name)  # an approval may take hours
            doing = self.errand.restorer(work, {self.host.name: plan})
            with doing.guard(self.host):
                done = doing(self.host, session)
                if done.state is State.DONE:  # a run that was killed may have had more to clear than this one
                    left = restore.scratch_left(self.errand.repository.runs_folder, self.host.name)
                    restore.clear_scratch(session, self.journal, self.host.name, left)
        if done.state is not State.DONE:
            raise PlanRefused(
                f"{self.host.name}: {done.message}", f"Then `exremote resume {self.errand.record.id}`."
            )
        # Where an earlier run put all in place, and waited then, this one's count would deny that.
        puts = any(isinstance(step, _PUTS) for step in plan)
        what = done.message if puts else "nothing differs from the snapshots any more"
        return [Evidence("connectors", "ok", what), *said]

    def _people_first(self, plan: ChangePlan) -> list[Evidence]:
        """Given the plan as the machine is now, have people do what it wants of them, if all that they need
        is in place: no service is stopped to wait for them. Else they are asked when it is.

        Return the evidence. Raise Waiting if nobody is there.
        """
        if any(isinstance(step, _PUTS) for step in plan):
            return []
        wanted = [step for step in plan if isinstance(step, Confirm)]
        return [Evidence(step.name, "ok", self.errand.confirm(self.host.name, step)) for step in wanted]

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

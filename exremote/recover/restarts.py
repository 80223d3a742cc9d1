"""Restarts: the machine is waited for until it was started anew, and is the one that it should be."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime

from exremote.errors import (
    AccessDenied,
    HostError,
    Waiting,
)
from exremote.facts import HostFact
from exremote.recover import asking, checks, instructions
from exremote.recover.ground import Ground
from exremote.recover.reaching import Answered, place_text, same_place, who_answers
from exremote.recover.record import moment
from exremote.recover.steps import Evidence, Step

_LOOK_S = 2.0
"""How often a machine that is away is looked for, in seconds."""
_TELL_S = 30.0
"""How often it is said again that one waits, in seconds."""


class Restarts(Ground):
    """What waits for a machine."""

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
            found = self._since_groups(answer.fact)
            if found == "same":
                who = answer.fact.computer_name
                return f"restart it now: {who} was not restarted since the storage groups came back"
            return [self._start(found), self._name(answer.fact)]

        evidence = self._wait(step, "for a restart", look)
        if wrong := [e for e in evidence if e.verdict == "wrong"]:
            raise Waiting(f"{self.host.name}: {wrong[0].what}: {wrong[0].said}.", wrong[0].remedy)
        return evidence

    def _since_groups(self, fact: HostFact) -> checks.Restarted:
        """Return whether the machine was restarted since the storage groups were said to be back.

        A start that was known before that was said is no other one, whatever clocks say. They count where it
        was restarted before anybody looked.
        """
        found = self._anew(fact)
        before = moment(self.record.started_before.get(instructions.GROUPS))
        if found == "new" or (before is not None and checks.restarted(before, fact.started) == "same"):
            return "new" if found == "new" else "same"
        start = moment(self.record.noted.get("booted")) if found == "same" else None
        start = start or checks.booted(fact, self.errand.now())
        return checks.restarted_after(self._confirmed(instructions.GROUPS), start)

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

    @staticmethod
    def _start(found: checks.Restarted) -> Evidence:
        return (
            Evidence("restart", "ok", "it was started anew")
            if found == "new"
            else Evidence("restart", "unknown", "the machine does not say when it was started")
        )

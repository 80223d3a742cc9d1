"""Steps that a person does: asked for, answered, and looked at by machine before they count."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from exremote.errors import (
    HostError,
)
from exremote.recover.ground import Ground
from exremote.recover.instructions import REINSTALL
from exremote.recover.reaching import place_text
from exremote.recover.record import (
    CONFIRMED,
    LOOKED_AT,
    Answer,
    answer_fields,
)
from exremote.recover.steps import Evidence, Step


class People(Ground):
    """What a person does."""

    def _person(self, step: Step, look: Callable[[Step], list[Evidence]] | None) -> list[Evidence]:
        """Have a person do it, and look whether he did; again and again until it is so."""
        last = self.record.steps.get(step.name)
        wrong: Sequence[Evidence] = [e for e in last.evidence if e.verdict == "wrong"] if last else []
        if step.name == REINSTALL:
            step = self._with_address(step)
            if self.before is None or self.record.noted.get(LOOKED_AT) != place_text(self.before):
                wrong = []  # it was wrong with another machine
        while True:
            answer = self.record.pending.pop(step.name, None)
            if answer is None:
                answer = self.errand.person(self.host.name, step, wrong)
                self.journal.event(CONFIRMED, **answer_fields(answer))
                self.record.take(answer)
            self._stage(f"looking whether {step.name} is done")
            evidence = [*self._said(step, answer), *(self._looked(step, look) if look else ())]
            wrong = [e for e in evidence if e.verdict == "wrong"]
            if not wrong:
                return evidence
            self._note(step, "wrong", evidence)

    def _with_address(self, step: Step) -> Step:
        """Return the step with where its machine is asked for: that may have changed since the plan."""
        if self.at is not None and any(text.endswith(f" at {self.at}.") for text in step.text):
            return step
        go_on = f"exremote recover {self.host.name} --resume {self.errand.record.id} --at ADDRESS"
        place = place_text(self.before) if self.before is not None else f"nobody says where yet: {go_on}"
        return replace(step, facts=(*step.facts, ("Asked for at", place)))

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

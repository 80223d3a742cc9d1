"""Steps 1 to 4: what was saved is verified, the new machine looked at, files are brought there."""

from __future__ import annotations

from exremote.errors import (
    PlanRefused,
    Waiting,
)
from exremote.inventory import Host
from exremote.recover import asking, instructions
from exremote.recover.bringing import bring_files
from exremote.recover.ground import Ground
from exremote.recover.proving import saved_evidence
from exremote.recover.reaching import Answered, place_text, quick, same_place, who_answers
from exremote.recover.record import LOOKED_AT, NOTED
from exremote.recover.steps import Evidence, Step

NO_ORIGINAL = "lost server"


class Beginning(Ground):
    """The steps before anything of the lost server comes back."""

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

    def _looked_at(self) -> Host:
        """Return how the new machine is reached; what is wrong with it is said as long as that is so."""
        host = self._temporary()
        if (place := place_text(host)) != self.record.noted.get(LOOKED_AT):
            self.journal.event(NOTED, host=self.host.name, looked_at=place)
            self.record.noted[LOOKED_AT] = place
        return host

    def _reinstalled(self, step: Step) -> list[Evidence]:
        host = self._looked_at()
        with self.errand.session(quick(host)) as session:
            fact = session.host_fact()
            found = list(asking.after_reinstall(self.plan, session, fact, place_text(host)))
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
                f"Switch {self.plan.original.computer_name} off, or off the network, until tip step 5 is "
                "done.",
            )
        return Evidence(NO_ORIGINAL, "ok", f"nobody answers at {place_text(self.host)}")

    def _bring(self, step: Step) -> list[Evidence]:
        host = self._looked_at()
        with self.errand.session(host) as session:
            fact = session.host_fact()
            # An address may lead elsewhere by now, and a System State is not for everybody.
            found = list(asking.after_reinstall(self.plan, session, fact, place_text(host)))
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

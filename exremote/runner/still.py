"""Whether services that were stopped still stand: recovery options or a person may start one at any time."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from exremote.facts import ServiceState
from exremote.folding import folded


class ServiceAsker(Protocol):
    """What the question needs of a session."""

    def service_states(
        self, names: Sequence[str], titles: Sequence[str] = (), programs: Sequence[str] = ()
    ) -> list[ServiceState]:
        """Return the states of services."""


def not_standing(session: ServiceAsker, stopped: Collection[str], programs: Sequence[str]) -> tuple[str, str]:
    """Given services that were stopped, and parts of the command lines of their kind, return which of them,
    or of their kind, run all the same, in words, and what to do; empty if none does. Raise HostError.
    """
    names = {folded(name) for name in stopped}
    again, new = list[str](), list[str]()
    for state in session.service_states(list(stopped), programs=programs):
        if not state.exists or state.state == "Stopped":
            continue
        if folded(state.name) in names:
            again.append(state.name)
        elif any(folded(program) in folded(state.image_path) for program in programs):
            new.append(state.name)
    said = [f"{', '.join(again)} runs, though it was stopped"] if again else []
    said += [f"{', '.join(new)} runs, and did not when the plan was made"] if new else []
    remedies = ["Look at its recovery options, and for who starts it."] if again else []
    remedies += ["Run it again: then it is known."] if new else []
    return "; ".join(said), " ".join(remedies)

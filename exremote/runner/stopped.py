"""Services stopped for a copy within their host, and started again whatever happens.

Before the first stop the journal has how they were found: what a kill leaves, the next run puts back
(`standing`). It decides nothing, and fetches nothing.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from exremote.connector import below
from exremote.errors import HostError, RemoteTimeout, ScriptFailed
from exremote.facts import HostFacts, TreeFact
from exremote.journal import Journal
from exremote.plan import CopyStopped
from exremote.runner import standing
from exremote.runner.still import not_standing
from exremote.session import Session

PUT_BACK_S = 900.0
"""For how long services are started again after the run was told to stop, in seconds."""


@dataclass(slots=True)
class Copies:
    """What came of it."""

    trees: dict[str, TreeFact] = field(default_factory=dict)
    """by item: the copy, listed; of those that there are"""
    lacking: list[tuple[str, str]] = field(default_factory=list)
    """what could not be copied, or does not run again, and why"""
    told: list[str] = field(default_factory=list)
    """sentences for the operator"""


def copy_while_stopped(step: CopyStopped, session: Session, facts: HostFacts, journal: Journal) -> Copies:
    """Given folders, stop the services that hold them, copy them within the host, start the services again.

    Return the copies as they are on the host. What a script refuses is said, and no copy is there then. Raise
    HostError if the host is lost; the services are started again then, too, as far as it can be reached.
    """
    copies, made = Copies(), False
    found: dict[str, tuple[str, str]] = {}
    for name in step.services:
        state = facts.service(name)
        if state is not None:
            found[name] = ("Running", state.start_mode)
    for folder in _folders(step):
        session.remove_folder(folder)  # what a killed run left
    _guard(step, session, found, copies)
    _tell(journal, facts.host, found)
    began = time.monotonic()
    try:
        try:
            why = _stop_and_copy(step, session, facts.host, journal, found, copies)
            made = not why
            if why:
                copies.lacking.append((f"a copy of {step.trees[0].root} while its services stand", why))
        except ScriptFailed as error:
            copies.lacking.append(
                (
                    f"a copy of {step.trees[0].root} while its services are stopped",
                    f"{error.message} {error.remedy}",
                )
            )
        failed = standing.restart(session, found, step.start_s)
    except BaseException as error:
        if not _put_back(step, session, facts.host, journal, found):
            standing.tell_left(error, found)
        raise
    journal.event(standing.BACK, host=facts.host, of=journal.run_id, failed=failed)
    names = ", ".join(name for name in found if name not in failed)
    copies.told.append(
        f"{names}: stopped for a copy, for {time.monotonic() - began:.0f} s, and running again"
    )
    for name, reason in failed.items():
        copies.lacking.append((f"service {name}, which was stopped for a copy, running again", reason))
    if made:
        for tree in step.trees:
            copies.trees[tree.item] = session.file_tree(tree.staging)
    return copies


def _stop_and_copy(
    step: CopyStopped,
    session: Session,
    host: str,
    journal: Journal,
    found: dict[str, tuple[str, str]],
    copies: Copies,
) -> str:
    """Stop the services in reverse order, then copy. Return why it is no copy, or "". Raise HostError.

    Recovery options or a person may start a service at any time: asked for at the end, all of it was made
    while they stood.
    """
    for name, seconds in reversed(list(zip(step.services, step.stop_s, strict=True))):
        change = session.set_service(name, "Stopped", seconds)
        known = {each.lower() for each in found}
        if more := [each for each in change.also if each.lower() not in known]:
            # Something else depends on it, and went with it: it is owed as well.
            found.update((each, ("Running", "")) for each in reversed(more))
            _tell(journal, host, found)
    if why := _running(step, session, found):
        return why
    for tree in step.trees:
        copy = session.copy_tree(tree.root, tree.staging)
        if not copy.private:
            copies.told.append(f"{tree.staging} could not be closed to others while the copy lay there")
        for failure in copy.failures:
            copies.lacking.append((below(tree.root, failure.path), failure.reason))
    return _running(step, session, found)


def _running(step: CopyStopped, session: Session, found: Mapping[str, tuple[str, str]]) -> str:
    """Given the services that were stopped, return why the copy is none, '' if it is. Raise HostError."""
    said, remedy = not_standing(session, list(found), step.programs)
    return f"{said}. {remedy}" if said else ""


def _guard(step: CopyStopped, session: Session, found: dict[str, tuple[str, str]], copies: Copies) -> None:
    """Have the host start the services by itself, should we vanish; where it cannot, say so and go on."""
    reason = "the inventory says that it has no WMI"
    if step.guard:
        try:
            well = session.start_guard(step.guard, list(found), step.guard_s)
            reason = "" if well else "nothing was started"
        except (ScriptFailed, RemoteTimeout) as error:
            reason = error.message.rstrip(".")
    if reason:
        copies.told.append(
            f"the host has no guard that would have started its services again by itself: {reason}"
        )


def _tell(journal: Journal, host: str, found: dict[str, tuple[str, str]]) -> None:
    """Have the journal say how services were found, before anything is done to them."""
    journal.event(standing.FOUND, host=host, services={name: list(each) for name, each in found.items()})


def _put_back(
    step: CopyStopped, session: Session, host: str, journal: Journal, found: dict[str, tuple[str, str]]
) -> bool:
    """Start the services again, though the run was told to stop, or the line broke; return if it could."""
    try:
        with session.insisting(PUT_BACK_S):
            failed = standing.restart(session, found, step.start_s)
            for folder in _folders(step):
                session.remove_folder(folder)
    except HostError as error:
        # The host is gone: the journal says what is owed, and the next run pays.
        journal.event("services-left", host=host, error=error.text)
        return False
    journal.event(standing.BACK, host=host, of=journal.run_id, failed=failed)
    return True


def _folders(step: CopyStopped) -> list[str]:
    """Return the folders on the host that are there for the copy alone: that of the guard goes first."""
    return [folder for folder in (step.guard, *(tree.staging for tree in step.trees)) if folder]


def clear_copies(step: CopyStopped, session: Session, journal: Journal) -> None:
    """Take the copies away; one that cannot be is journaled, and goes with the next run."""
    for folder in _folders(step):
        try:
            session.remove_folder(folder)
        except HostError as error:
            journal.event("left-behind", host=session.host.name, path=folder, error=error.text)

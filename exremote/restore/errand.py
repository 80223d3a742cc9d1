"""What a restore, or an undo, does with one host: verify, look, plan; then save, change, prove.

It changes nothing that was not approved: it plans again from fresh facts, and another digest is refused. It
changes nothing that was not saved before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from exremote import health
from exremote.changes import ChangePlan, Confirm, Prove, SwapFiles
from exremote.connector import Connector
from exremote.credential import Secret as Account
from exremote.errors import (
    EXIT_INCOMPLETE,
    EXIT_OK,
    ExremoteError,
    RepositoryError,
    ScriptFailed,
    Waiting,
)
from exremote.facts import HostFacts
from exremote.folding import folded
from exremote.health import Verdict
from exremote.inventory import Host
from exremote.journal import Journal
from exremote.repository import Repository, Snapshot
from exremote.restore.aim import Aim
from exremote.restore.approval import ONLY_PLANNED, check_approved
from exremote.restore.deed import Deed, Done, clear_scratch, sent_text
from exremote.restore.history import PLANNED, scratch_left
from exremote.restore.looking import listings, look
from exremote.restore.order import services_of, start_order
from exremote.restore.owing import owed
from exremote.restore.planning import Standing, check_machine, plan_changes
from exremote.restore.saving import save_before
from exremote.restore.verifying import verify_whole
from exremote.restore.waves import Waves
from exremote.runner import Heal, LeftDown, Outcome, State, Stopped, as_put_back
from exremote.session import Session
from exremote.wording import count_text


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of one host: the detail of its outcome."""

    plan: ChangePlan
    """what was, or would be, done"""
    done: Done | None = None
    """what came of it; None if it was only planned"""
    safety: tuple[str, ...] = ()
    """HOST/ID of the snapshots that were taken before"""
    run: str = ""
    """the run that did it, for `undo`; '' if it was only planned"""
    broken: str = ""
    """of a restore: the run that had changed something here before it and broke off; empty if none had"""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        done = self.done
        return {
            "plan": self.plan.to_json(),
            "safety": list(self.safety),
            "done": None
            if done is None
            else {
                "sent_files": done.sent_files,
                "sent_bytes": done.sent_bytes,
                "files": done.swapped,
                "folders_made": done.folders_made,
                "folders_removed": done.folders_removed,
                "access_lists": done.lists,
                "owners_left": done.owners_left,
                "values": done.values,
                "erased": done.erased,
                "failed": done.failed,
                "down_seconds": round(done.down_s, 1),
            },
        }


@dataclass(frozen=True, slots=True)
class Work:
    """What one host is to be brought to, and where from."""

    aim: Aim
    """what is wanted"""
    snapshots: tuple[Snapshot, ...]
    """what it is taken from; each is verified before anything else"""


@dataclass(frozen=True, slots=True)
class Errand:
    """What a restore or an undo does with one host; everything that all hosts of the run share."""

    verb: Literal["restore", "undo"]
    """which of the two"""
    repository: Repository
    """where the contents come from, and what is saved before goes to"""
    journal: Journal
    """what happened"""
    connectors: Mapping[str, Connector]
    """all that the tool knows"""
    work: Mapping[str, Work]
    """by host"""
    approved: Mapping[str, ChangePlan] | None
    """by host, the plan that somebody approved; None: plan only"""
    elsewhere: bool
    """the host need not be the machine that the snapshot is of"""
    grace_s: float | None
    """how long a service has to run before it is taken for running; None: what the connector files say"""
    most_s: int | None
    """how long one stop or start may take at most; None: what the connector files say"""
    confirm: Callable[[str, Confirm], str]
    """asks a person about a host; raises PlanRefused if the answer is no"""
    waves: Waves
    """whose turn it is"""
    now: Callable[[], datetime]
    """our clock"""
    stage: Callable[[str, str], None]
    """told what a host is doing; raises after an interrupt"""
    moved: Callable[[str, int, int], None]
    """told of files and bytes; raises after an interrupt"""
    expect: Callable[[str, int, int], None]
    """told of files and bytes that the plan says will go"""
    api_account: Callable[[Host], Account | ExremoteError | None]
    """gives the account for a host's second hop to the GroupWise API directory, or why there is none"""
    clears: bool = False
    """whether folders that a killed run left are taken away where nothing else is to be done"""
    left_down: LeftDown = field(default_factory=LeftDown)
    """services that earlier runs have left down"""
    heal: Heal = Heal.NO
    """whether they were put back before this look, or are only before the deed"""

    def __call__(self, host: Host, session: Session) -> Outcome:
        """Given a host and an open session, plan, and if that was approved, do it. Return the outcome.

        Raise HostError if the host is lost, PlanRefused if the plan cannot be, or is not the approved one.
        """
        started, work = self.now(), self.work[host.name]
        self.stage(host.name, "verifying the snapshot")
        verify_whole(self.repository, work.snapshots)
        self.stage(host.name, "asking")
        known = listings(work.snapshots)
        account = self.api_account(host)
        there = look(
            session,
            host,
            work.aim,
            self.connectors,
            known=known,
            now=started,
            api_account=account,
            # A gateway does not know the accounts of the host itself.
            strangers=self.verb == "restore" and (self.elsewhere or host.gateway is None),
        )
        standings = self.left_down.standings_of(host.name, self.heal)
        if standings and self.heal is Heal.SHOW:  # the deed finds it so
            services = as_put_back(there.facts.services, standings)
            there = replace(there, facts=replace(there.facts, services=services))
        if not self.elsewhere:
            check_machine(host.name, work.aim, there.facts)
        parts = {tree.part for connector in self.connectors.values() for tree in connector.file_trees}
        here = replace(self, connectors=health.settled(self.connectors, there.facts, parts=parts))
        left = owed(self.repository.runs_folder, host.name)
        scratch = scratch_left(self.repository.runs_folder, host.name)
        there = replace(there, staged=dict(_staged(session, scratch)))
        plan = plan_changes(self.verb, host.name, work.aim, there, here.connectors, self.most_s, left)
        self.journal.event(PLANNED, host=host.name, digest=plan.digest, steps=len(plan.steps))

        def ended(state: State, code: int, message: str, detail: Restored) -> Outcome:
            seconds = (self.now() - started).total_seconds()
            return Outcome(host.name, state, code, message, seconds, detail)

        if not plan.steps:
            if self.clears:
                held = nullcontext() if self._puts_back(host) else self._lock(host)
                with suppress(RepositoryError), held:  # another run may be at it: that one clears
                    scratch = scratch_left(self.repository.runs_folder, host.name)
                    clear_scratch(session, self.journal, host.name, scratch)
            return ended(State.DONE, EXIT_OK, "nothing differs: nothing to do", Restored(plan))
        if self.approved is None:
            return ended(State.DONE, EXIT_OK, ONLY_PLANNED, Restored(plan))
        check_approved(host.name, self.approved.get(host.name), plan)
        saved: list[str] = []

        def save() -> None:
            if plan.only_proves:  # nothing is replaced; the plan has to stand in the journal all the same
                self.journal.event("safety", host=host.name, snapshots=[], plan=plan.to_json())
                return
            self.stage(host.name, "saving what will be touched")
            safety = save_before(
                plan,
                work.aim,
                there,
                host,
                session,
                self.repository,
                self.journal,
                here.connectors,
                self.now(),
                lambda files, size: None,
            )
            saved.append(f"{safety.host}/{safety.id}")
            self.journal.event("safety", host=host.name, snapshots=saved, plan=plan.to_json())

        # What services hold open now can be saved when they stand, and not before.
        late = bool(plan.stops) and any(_held(swap, there) for swap in plan.swaps)
        if not late:
            save()
        sends = [f for swap in plan.swaps for f in swap.files if f.what in ("new", "changed")]
        self.expect(host.name, len(sends), plan.bytes_to_send)
        deed = Deed(
            plan,
            work.aim,
            host,
            session,
            self.journal,
            here._found(plan, there.facts),
            lambda text: self.stage(host.name, text),
            lambda files, size: self.moved(host.name, files, size),
            lambda step: self.confirm(host.name, step),
            lambda step: list(here._unproven(host, session, step, there.facts)),
            time.monotonic,
            save if late else None,
            tuple(part for name in work.aim.connectors for part in here.connectors[name].programs),
        )
        try:
            done = deed()
        except Stopped as stopped:
            raise Stopped(" ".join(filter(None, (str(stopped), self._left(deed, saved))))) from None
        except ExremoteError as error:
            error.leave(self._left(deed, saved, waits=isinstance(error, Waiting)))
            raise
        if not done.failed:  # what runs before this one have left
            theirs = {f for swap in plan.swaps for f in (swap.staging, swap.aside)}
            clear_scratch(session, self.journal, host.name, [f for f in scratch if f not in theirs])
        run = "" if plan.only_proves else self.journal.run_id
        detail = Restored(plan, done, tuple(saved), run, left.broken if self.verb == "restore" else "")
        if done.failed:
            more = f" (and {count_text(len(done.failed) - 1, 'more thing')})" if len(done.failed) > 1 else ""
            remedy = f" `exremote undo {detail.run}` brings back what was." if detail.run else ""
            message = f"{done.failed[0]}{more}.{remedy}"
            self.waves.ended(host.name, False)
            return ended(State.INCOMPLETE, EXIT_INCOMPLETE, message, detail)
        message = "nothing differs any more, and what was left to prove is proven" if plan.only_proves else ""
        return ended(State.DONE, EXIT_OK, message or sent_text(done), detail)

    def _left(self, deed: Deed, saved: list[str], waits: bool = False) -> str:
        """Given a deed that broke off, return what it left, and the ways on; empty if nothing was changed.

        `waits`: for a person, and the error says already with which command it goes on.
        """
        if not deed.changed:
            return ""
        run, rest = self.journal.run_id, ""
        if not waits:
            rest = f"`exremote resume {run}` does the rest, "
        return (
            f"It had begun to change the host; what was there before is saved in {', '.join(saved)}. "
            f"{rest}`exremote undo {run}` brings back what was."
        )

    @contextmanager
    def guard(self, host: Host) -> Iterator[None]:
        """Given a host, wait for its turn, and hold the lock that its errand is done under, as a backup does.

        Raise PlanRefused if another host failed before its turn, RepositoryLocked if another run is at it.
        """
        if self.approved is None:
            with self._lock(host) if self._puts_back(host) else nullcontext():
                yield
            return
        with self.waves.turn(host.name), self._lock(host):
            yield

    def _puts_back(self, host: Host) -> bool:
        """Given a host that is only looked at, return whether services are put back there all the same."""
        owed = self.approved is None and self.heal is not Heal.SHOW
        return owed and bool(self.left_down.standings_of(host.name, self.heal))

    def _lock(self, host: Host) -> AbstractContextManager[object]:
        """Return the lock of a host's errand; one of a dead process is taken over, and that is journaled."""
        return self.repository.lock(
            f"exremote {self.verb}",
            name=f"host-{host.name}",
            run=self.journal.run_id,
            since=self.now(),
            on_takeover=lambda who: self.journal.event("lock-taken-over", host=host.name, was=who),
        )

    # ------------------------------------------------------------ services and proof

    def _found(self, plan: ChangePlan, facts: HostFacts) -> dict[str, tuple[str, str]]:
        """Given a plan, return how the services that it may touch are now, in the order of start."""
        there = [
            connector
            for name, connector in self.connectors.items()
            if (seen := facts.connectors.get(name)) is not None and seen.state != "absent"
        ]
        found: dict[str, tuple[str, str]] = {}
        for service in start_order(there, facts):
            state = facts.service(service.name)
            if state is not None and state.exists:
                running = "Stopped" if state.state == "Stopped" else "Running"
                found[service.name] = (running, state.start_mode)
        return found

    def _unproven(self, host: Host, session: Session, step: Prove, before: HostFacts) -> Iterator[str]:
        """Given what is to be proven, wait the grace time and look. Yield a sentence for what is not so."""
        services = services_of(self.connectors[name] for name in step.connectors)
        grace = max((services[n.lower()].grace_s for n in step.services if n.lower() in services), default=0)
        self._pause(host.name, grace if self.grace_s is None else self.grace_s)
        facts = health.collect(
            session,
            host,
            self.connectors,
            probe="groupwise" in step.connectors,
            now=self.now(),
            api_account=self.api_account(host),
        )
        for name in step.services:
            state = facts.service(name)
            if state is None or state.state != "Running":
                yield f"service {name} does not run after its start ({state.state if state else 'unknown'})"
        if not step.connectors:
            return
        earlier = {(e.source, e.event_id): e.count for e in before.events}
        checks = [check for connector in self.connectors.values() for check in connector.checks]
        for event in health.failures(facts.events, checks):
            new = event.count - earlier.get((event.source, event.event_id), 0)
            if new > 0:
                yield f"event {event.event_id} of {event.source} was logged since the start: {event.message}"
        chosen = {name: self.connectors[name] for name in step.connectors if name in self.connectors}
        bad = health.judge(facts, chosen)
        known = {(f.check, f.evidence) for f in health.judge(before, chosen)}
        for finding in bad:
            if finding.verdict is Verdict.CRITICAL and (finding.check, finding.evidence) not in known:
                yield f"{finding.check}: {finding.evidence}"
        worst = [f"{f.check}: {f.verdict}" for f in bad if f.verdict.rank >= Verdict.WARNING.rank]
        self.journal.event("proved", host=host.name, services=list(step.services), findings=worst)

    def _pause(self, host: str, seconds: float) -> None:
        """Wait, and hear of an interrupt meanwhile."""
        end = time.monotonic() + seconds
        self.stage(host, f"waiting {seconds:.0f} s whether services stay")
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, 0.5))
            self.moved(host, 0, 0)  # hears of an interrupt, and writes no line


def _held(swap: SwapFiles, there: Standing) -> bool:
    """Return whether a file that is to be replaced is held open by another process now."""
    known = there.trees.get(swap.item, {})
    replaced = [known.get(folded(change.path)) for change in swap.files if change.was]
    return any(entry is not None and entry.error_id == "ExRemote.FileLocked" for entry in replaced)


def _staged(session: Session, folders: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Given folders that runs which broke off have left, yield each with how many bytes are in it."""
    for folder in folders:
        with suppress(ScriptFailed):  # then it is taken for empty
            yield folder, session.file_tree(folder, hashed=False).bytes

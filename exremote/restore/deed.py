"""A plan carried out on one host, step by step, each journaled before and after. It decides nothing.

Services that it stopped are put back as they were found if anything goes wrong, also after an interrupt; what
a kill leaves, the next run puts back (`runner.standing`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import assert_never

from exremote.changes import (
    ChangePlan,
    ChangeStep,
    Confirm,
    EraseWorkFiles,
    FileChange,
    MakeFolders,
    Prove,
    RemoveFolders,
    SendFiles,
    SetAccessLists,
    SetValues,
    StartService,
    StopService,
    SwapFiles,
    change_to_json,
)
from exremote.connector import below
from exremote.errors import ExremoteError, HostError, ScriptFailed, Waiting
from exremote.facts import INHERIT, FileDeed, RegistrySetting, SwapFile
from exremote.folding import folded
from exremote.inventory import Host
from exremote.journal import Journal
from exremote.restore.aim import Aim
from exremote.restore.history import CLEARED, LISTS_LEFT, WORK_FILES_LEFT
from exremote.restore.looking import short_key
from exremote.runner import standing
from exremote.runner.still import not_standing
from exremote.session import Session
from exremote.transfer import Outgoing, push_files
from exremote.wording import count_text

PUT_BACK_S = 900.0
"""How long services are put back for, in all, after the run was told to stop, in seconds."""


@dataclass(slots=True)
class Done:
    """What came of a plan."""

    sent_files: int = 0
    """files that travelled"""
    sent_bytes: int = 0
    """their bytes, before compression"""
    swapped: int = 0
    """files put in place, or dressed"""
    erased: list[str] = field(default_factory=list)
    """work files that were erased"""
    values: int = 0
    """registry values that were set or removed"""
    folders_made: int = 0
    """folders that were missing and are there"""
    folders_removed: int = 0
    """empty folders that are gone"""
    lists: int = 0
    """access lists that were set and read back, those that only inherit among them"""
    owners_left: list[str] = field(default_factory=list)
    """a sentence for each owner that could not be set"""
    failed: list[str] = field(default_factory=list)
    """a sentence for each thing of the plan that could not be done"""
    unstarted: dict[str, str] = field(default_factory=dict)
    """by service that did not start: why; it is among what failed, too"""
    down_s: float = 0.0
    """how long services stood, in seconds"""


@dataclass(frozen=True, slots=True)
class Deed:
    """One plan for one host, and all that carrying it out needs."""

    plan: ChangePlan
    """what is done"""
    aim: Aim
    """where the contents come from"""
    host: Host
    """where"""
    session: Session
    """the open conversation"""
    journal: Journal
    """what happened"""
    found: Mapping[str, tuple[str, str]]
    """state and start mode of each service as it is before anything is done, in the order of start"""
    stage: Callable[[str], None]
    """told what is being done; raises after an interrupt"""
    moved: Callable[[int, int], None]
    """told of files and bytes that were sent; raises after an interrupt"""
    confirm: Callable[[Confirm], str]
    """asks a person; gives what was answered, raises PlanRefused if it was no, Waiting if he is not there"""
    prove: Callable[[Prove], Sequence[str]]
    """proves; gives a sentence for each thing that is not proven"""
    clock: Callable[[], float]
    """a clock for durations, in seconds"""
    save: Callable[[], None] | None = None
    """saves what will be replaced, when services stand that hold it open; raises, and nothing is replaced"""
    programs: tuple[str, ...] = ()
    """parts of command lines: who runs with one of them works on what is replaced"""
    begun: list[ChangeStep] = field(default_factory=list)
    """the steps that were begun, the files that are sent aside"""

    @property
    def changed(self) -> bool:
        """Return whether something may lie there that did not before, or may be gone."""
        return any(not isinstance(s, StopService | StartService | Confirm | Prove) for s in self.begun)

    def __call__(self) -> Done:
        """Carry the plan out. Return what came of it; raise ExremoteError if it could not go on.

        Then the services are as they were found, as far as the host lets them.
        """
        done = Done()
        before = [step for step in self.plan if isinstance(step, SendFiles)]
        rest = [step for step in self.plan if not isinstance(step, SendFiles)]
        numbers = {id(step): number for number, step in enumerate(self.plan, start=1)}
        for send in before:
            with self._told(numbers[id(send)], send):
                self._send(send, done)
        for swap in self.plan.swaps:
            # What an earlier run left aside is in the snapshot that it took before.
            self.session.remove_folder(swap.aside)
        self.journal.event(
            standing.FOUND, host=self.host.name, services={n: list(s) for n, s in self.found.items()}
        )
        began = self.clock()
        unsaved = self.save
        unlooked = standing_still = True
        try:
            for step in rest:
                if unsaved is not None and not isinstance(step, StopService):
                    unsaved()
                    unsaved = None
                if unlooked and not isinstance(step, StopService):
                    self._expect_standing()
                    unlooked = False
                if isinstance(step, Prove):  # they are as they were to be, whatever becomes of the proof
                    self._are_back(done, began)
                    standing_still = False
                self.begun.append(step)
                with self._told(numbers[id(step)], step):
                    self._perform(step, done)
        except BaseException as error:
            if standing_still and not self._put_back(error):
                standing.tell_left(error, self.found)
            elif isinstance(error, Waiting) and not done.failed:  # all is in place that goes before a person
                with suppress(HostError):
                    self._clear()
            raise
        if standing_still:
            self._are_back(done, began)
        if not done.failed:
            self._clear()
        return done

    def _expect_standing(self) -> None:
        """Raise ScriptFailed if a service that the plan stopped runs again, or another of its kind."""
        stopped = [step.service for step in self.plan if isinstance(step, StopService)]
        said, remedy = not_standing(self.session, stopped, self.programs) if stopped else ("", "")
        if said:
            raise ScriptFailed(
                self.host.name,
                f"{said}. Nothing was replaced.",
                script="Get-ServiceState",
                error_id="ExRemote.ServiceStuck",
                remedy=remedy,
            )

    def _are_back(self, done: Done, began: float) -> None:
        """Journal that the services are as the plan has them; note how long they stood."""
        failed = {n: why for n, why in done.unstarted.items() if self.found.get(n, ("",))[0] == "Running"}
        self.journal.event(
            standing.BACK,
            host=self.host.name,
            of=self.journal.run_id,
            failed=failed,
            unstarted=sorted(done.unstarted),
        )
        done.down_s = self.clock() - began if self.plan.stops else 0.0

    @contextmanager
    def _told(self, number: int, step: ChangeStep) -> Iterator[None]:
        """Journal a step before and after; tell the operator in a word."""
        name = self.plan.host
        said = (
            {"kind": step.kind, "text": step.describe()}
            if isinstance(step, SwapFiles | SetValues | SetAccessLists | MakeFolders | RemoveFolders)
            else None
        )
        self.journal.event("step-started", host=name, number=number, step=said or change_to_json(step))
        self.stage(step.describe().split(": ", 1)[0].split(" (", 1)[0])
        try:
            yield
        except HostError as error:
            self.journal.event("step-failed", host=name, number=number, error=error.text)
            raise
        self.journal.event("step-finished", host=name, number=number)

    def _perform(self, step: ChangeStep, done: Done) -> None:
        """Given one step, do it. The list of kinds is closed."""
        match step:
            case SendFiles():
                self._send(step, done)
            case StopService():
                change = self.session.set_service(step.service, "Stopped", step.deadline_s)
                if change.also:
                    self.journal.event("stopped-too", host=self.host.name, services=list(change.also))
            case SwapFiles():
                self._swap(step, done)
            case MakeFolders() | RemoveFolders():
                self._folders(step, done)
            case EraseWorkFiles():
                self._erase(step, done)
            case SetAccessLists():
                self._lists(step, done)
            case SetValues():
                self._set(step, done)
            case Confirm():
                answer = self.confirm(step)
                self.journal.event("confirmed", host=self.host.name, name=step.name, answer=answer)
            case StartService():
                mode = standing.start_mode(step.will_mode)
                try:
                    self.session.set_service(step.service, step.will, step.deadline_s, mode)
                except ScriptFailed as error:  # the others are started all the same
                    done.unstarted[step.service] = error.message
                    self._fail(done, f"service {step.service}: {error.message}")
            case Prove():
                for sentence in self.prove(step):
                    self._fail(done, sentence)
            case _:
                assert_never(step)

    def _fail(self, done: Done, sentence: str) -> None:
        self.journal.event("not-done", host=self.host.name, what=sentence)
        done.failed.append(sentence)

    def _send(self, step: SendFiles, done: Done) -> None:
        swap = next(swap for swap in self.plan.swaps if swap.item == step.item)
        contents = self.aim.contents()
        files = [
            Outgoing(
                change.path,
                contents[change.will].source,
                change.size,
                change.will,
                change.modified_ticks,
                change.attributes,
            )
            for change in swap.files
            if change.what in ("new", "changed")
        ]
        pushed = push_files(self.session, step.staging, files, fresh=False, progress=self.moved)
        done.sent_files += pushed.sent_files
        done.sent_bytes += pushed.sent_bytes
        if pushed.failed:
            path, reason = pushed.failed[0]
            raise ScriptFailed(
                self.host.name,
                f"{path} could not be written to {step.staging}: {reason} Nothing was changed.",
                script="Write-FilePack",
                error_id="ExRemote.WriteFailed",
                remedy="That folder is exremote's own: if something else is in the way in it, remove it.",
            )

    def _swap(self, step: SwapFiles, done: Done) -> None:
        placed = [_swap_file(change) for change in step.files if change.will]
        gone = [change.path for change in step.files if not change.will]
        deeds: list[FileDeed] = []
        if placed:
            deeds += self.session.swap_files(step.staging, step.root, step.aside, placed)
        if gone:
            deeds += self.session.move_aside(step.root, step.aside, gone)
        done.swapped += sum(deed.state != "failed" for deed in deeds)
        for deed in deeds:
            if deed.state == "failed":
                self._fail(done, f"{below(step.root, deed.path)}: {deed.message} ({deed.error_id})")

    def _folders(self, step: MakeFolders | RemoveFolders, done: Done) -> None:
        for deed in self.session.set_folders(step.root, step.folders, isinstance(step, MakeFolders)):
            if deed.state == "failed":
                self._fail(done, f"folder {below(step.root, deed.path)}: {deed.message} ({deed.error_id})")
            elif deed.state == "full":  # somebody has put something there since: it is theirs
                self.journal.event("folder-left", host=self.host.name, path=below(step.root, deed.path))
            done.folders_made += deed.state == "made"
            done.folders_removed += deed.state == "removed"

    def _erase(self, step: EraseWorkFiles, done: Done) -> None:
        files = list(self.session.remove_files(step.root, step.patterns))
        if any(file.state == "failed" for file in files):
            self.journal.event(WORK_FILES_LEFT, host=self.host.name, item=step.item)
        for file in files:
            if file.state == "removed":
                self.journal.event("erased", host=self.host.name, path=file.path, size=file.size)
                done.erased.append(file.path)
            elif file.state == "failed":
                self._fail(done, f"work file {below(step.root, file.path)}: {file.message}")

    def _lists(self, step: SetAccessLists, done: Done) -> None:
        """Set access lists; what was sent and has none of its own inherits from where it lies now."""
        wanted = {folded(change.path): (change.path, change.will) for change in step.lists}
        for swap in (swap for swap in self.plan.swaps if swap.item == step.item):
            for change in (change for change in swap.files if change.what in ("new", "changed")):
                wanted.setdefault(folded(change.path), (change.path, INHERIT))
        deeds = self.session.set_access_lists(step.root, list(wanted.values()))
        if any(deed.state == "failed" for deed in deeds):
            self.journal.event(LISTS_LEFT, host=self.host.name, item=step.item)
        for deed in deeds:
            place = below(step.root, deed.path) if deed.path else step.root
            if deed.state == "failed":
                self._fail(done, f"access list of {place}: {deed.message} ({deed.error_id})")
            else:
                done.lists += 1
            if deed.state == "owner":
                self.journal.event("owner-left", host=self.host.name, path=place, why=deed.message)
                done.owners_left.append(f"the owner of {place} is not set: {deed.message}")

    def _set(self, step: SetValues, done: Done) -> None:
        wanted = {(folded(key), name.lower()): value for k in self.aim.keys for key, name, value in k.values}
        settings = []
        for change in step.values:
            value = wanted[folded(change.key), change.name.lower()]
            kind, data = (value.kind, value.data) if value is not None else (0, None)
            settings.append(RegistrySetting(short_key(change.key), change.name, kind, data))
        for deed in self.session.set_registry_values(settings):
            if deed.state == "failed":
                self._fail(done, f"{deed.key}, value {deed.name or '(default)'}: {deed.message}")
            else:
                done.values += 1

    def _put_back(self, why: BaseException) -> bool:
        """Bring the services back as they were found, though the run was told to stop; return if it could."""
        try:
            with self.session.insisting(PUT_BACK_S):
                deadlines = [s.deadline_s for s in self.plan if isinstance(s, StartService)]
                started = {
                    s.service.lower()
                    for s in self.begun
                    if isinstance(s, StartService) and s.will == "Running"
                }
                failed = standing.restart(
                    self.session, self.found, max(deadlines, default=standing.START_S), started
                )
        except HostError as error:
            # The host is gone: the journal says what is owed, and the next run pays.
            self.journal.event("services-left", host=self.host.name, error=error.text)
            return False
        self.journal.event(standing.BACK, host=self.host.name, of=self.journal.run_id, failed=failed)
        if isinstance(why, Waiting):  # who is waited for is told how the services are meanwhile
            stood = [name for name, (state, _) in self.found.items() if state != "Running"]
            why.leave(f"Until then these stay stopped, as before: {', '.join(stood)}." if stood else "")
        if isinstance(why, ExremoteError) and failed:
            reasons = "; ".join(f"{name}: {reason.rstrip('.')}" for name, reason in failed.items())
            why.leave(f"These services did not come back to how they were found: {reasons}.")
        return True

    def _clear(self) -> None:
        """Take away what was only there for the deed; what cannot be is said and harms nothing."""
        folders = dict.fromkeys(f for swap in self.plan.swaps for f in (swap.staging, swap.aside))
        clear_scratch(self.session, self.journal, self.host.name, list(folders))


def clear_scratch(session: Session, journal: Journal, host: str, folders: Sequence[str]) -> None:
    """Given folders that were only there for a deed, take them away; what cannot be is said.

    Raise HostError if the host is lost.
    """
    gone = []
    for folder in folders:
        try:
            session.remove_folder(folder)
            gone.append(folder)
        except ScriptFailed as error:
            journal.event("left-behind", host=host, path=folder, error=error.text)
    if gone:
        journal.event(CLEARED, host=host, folders=gone)


def _swap_file(change: FileChange) -> SwapFile:
    return SwapFile(change.path, change.will, change.size, change.modified_ticks, change.attributes)


def sent_text(done: Done) -> str:
    """Given what came of a plan, return it in a sentence."""
    parts = [
        f"{count_text(done.swapped, 'file')} put in place",
        f"{count_text(done.folders_made, 'folder')} made" if done.folders_made else "",
        f"{count_text(done.folders_removed, 'empty folder')} removed" if done.folders_removed else "",
        f"{count_text(done.values, 'registry value')} set" if done.values else "",
        f"{count_text(done.lists, 'access list')} set" if done.lists else "",
        f"{count_text(len(done.erased), 'work file')} erased" if done.erased else "",
        f"services were down for {done.down_s:.0f} s" if done.down_s else "",
    ]
    said = ", ".join(part for part in parts if part)
    return "; ".join([said, *done.owners_left[:1], *(["and more owners"] if done.owners_left[1:] else [])])

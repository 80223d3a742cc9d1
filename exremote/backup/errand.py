"""What a backup does with one host: ask, plan, copy, commit, judge.

It stops a service only for a copy that the inventory wants, and starts it again whatever happens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from typing import Any

from exremote import health
from exremote.backup.draft import draft_of
from exremote.backup.footing import kept_facts
from exremote.backup.need import need_of
from exremote.backup.planning import choose, plan_backup, spoiled
from exremote.connector import Connector, matches
from exremote.credential import Secret as Account
from exremote.errors import (
    EXIT_INCOMPLETE,
    EXIT_OK,
    ExremoteError,
    IntegrityError,
    PlanRefused,
    RepositoryError,
)
from exremote.facts import FileEntry, HostFacts, NamedFile
from exremote.folding import folded
from exremote.health import Finding, Verdict
from exremote.inventory import Acceptance, Host
from exremote.journal import Journal
from exremote.pack import Listing, parse_listing
from exremote.plan import (
    CopyFiles,
    CopyStopped,
    CopyTree,
    Plan,
)
from exremote.repository import Need, Repository, Room, Snapshot, SnapshotDraft
from exremote.runner import Harvest, Outcome, State, Workplace, execute
from exremote.session import Session
from exremote.transfer import Carrier

PIECE = 1 << 20
"""Bytes of a listing that are read at a time."""


_MOST_FACTS = 8 << 20
"""Bytes read of what a host said once, to see which machine it was. Of a million files it is more."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a backup of one host brought in: the detail of its outcome."""

    snapshots: tuple[tuple[str, str, str], ...] = ()
    """Connector, snapshot id, and `new`, `unchanged` or `incomplete`."""
    findings: tuple[Finding, ...] = ()
    """What health says of the same facts."""
    missing: tuple[tuple[str, str, str], ...] = ()
    """Connector, what its snapshot lacks, and why."""
    warnings: tuple[str, ...] = ()
    """Sentences that the operator should read, and that change no exit code."""
    plan: Plan | None = None
    """What was planned; all there is after a dry run."""
    sent_files: int = 0
    """Files that travelled."""
    sent_bytes: int = 0
    """Their bytes, before compression."""
    lacking_files: int = 0
    """After a dry run: contents of files that the repository has not, and that would be sent."""
    lacking_bytes: int = 0
    """Their bytes."""
    machine: str = ""
    """Which machine it is by its own word; not told in JSON."""

    def joined(self, other: Taken) -> Taken:
        """Given what more came in of the same host, return both as one."""
        plans = [plan for plan in (self.plan, other.plan) if plan is not None]
        return Taken(
            self.snapshots + other.snapshots,
            self.findings + other.findings,
            self.missing + other.missing,
            self.warnings + other.warnings,
            Plan(
                plans[0].host,
                tuple(name for plan in plans for name in plan.connectors),
                tuple(step for plan in plans for step in plan.steps),
                tuple(gap for plan in plans for gap in plan.gaps),
            )
            if plans
            else None,
            self.sent_files + other.sent_files,
            self.sent_bytes + other.sent_bytes,
            self.lacking_files + other.lacking_files,
            self.lacking_bytes + other.lacking_bytes,
            self.machine or other.machine,
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "snapshots": [dict(zip(("connector", "id", "state"), s, strict=True)) for s in self.snapshots],
            "missing": [dict(zip(("connector", "what", "reason"), m, strict=True)) for m in self.missing],
            "findings": [f.to_json() for f in self.findings if f.verdict != Verdict.OK],
            "warnings": list(self.warnings),
            "plan": self.plan.to_json() if self.plan else None,
            "sent_files": self.sent_files,
            "sent_bytes": self.sent_bytes,
            "lacking_files": self.lacking_files,
            "lacking_bytes": self.lacking_bytes,
        }


@dataclass(frozen=True, slots=True)
class Errand:
    """What a backup does with one host; everything that all hosts of the run share."""

    repository: Repository
    """Where everything goes."""
    journal: Journal
    """What happened."""
    connectors: Mapping[str, Connector]
    """All that the tool knows."""
    only: tuple[str, ...]
    """Connectors to save; empty for all."""
    dry_run: bool
    """Plan only."""
    now: Callable[[], datetime]
    """Our clock."""
    stage: Callable[[str, str], None]
    """Told what a host is doing."""
    moved: Callable[[str, int, int], None]
    """Told of files and bytes that arrived."""
    expect: Callable[[str, int, int], None]
    """Told of files and bytes that the plan says will come."""
    api_account: Callable[[Host], Account | ExremoteError | None]
    """Gives the account for a host's second hop to the GroupWise API directory, or why there is none."""
    room: Room
    """On the repository's volume, as the hosts of the run share it."""
    accepted: Sequence[Acceptance] = ()
    """Findings that the site lives with."""

    def __call__(self, host: Host, session: Session) -> Outcome:
        """Given a host and an open session, back it up. Return the outcome; raise HostError if it is lost."""
        started = self.now()
        previous, warnings = self._previous(host)
        known = _listings(previous.values())
        self.stage(host.name, "asking")
        facts = health.collect(
            session,
            host,
            self.connectors,
            probe=False,
            now=started,
            trees="hash",
            known=known,
            api_account=self.api_account(host),
        )
        _check_machine(host, previous.values(), facts)
        chosen, gaps, unlisted = choose(host, facts, health.settled(self.connectors, facts), self.only)
        warnings += unlisted
        findings = health.judge(facts, {c.name: c for c in chosen})
        gaps += spoiled(findings, chosen)
        digests = {item: listing.digest for item, listing in known.items()}
        plan = plan_backup(
            host.name,
            facts,
            chosen,
            digests,
            gaps,
            may_stop="stopped-copy" in host.backup,
            guarded=host.ntbackup.start != "direct",
        )
        self.journal.event("planned", host=host.name, plan=plan.digest, steps=len(plan.steps))
        if self.dry_run or not chosen:
            return self._no_copy(host, plan, facts, findings, warnings, started)
        findings = self._accept(findings + self._judge_tables(chosen, previous, facts))
        self.stage(host.name, "copying")
        self._reserve(host, plan, facts)
        with (
            self.repository.staging(self.journal.run_id, host.name) as staging,
            Carrier(session, is_modern(facts)) as carrier,
        ):
            place = Workplace(
                session,
                carrier,
                self.repository,
                staging,
                self.journal,
                facts,
                partial(self._arrived, host),
                _users_of_items(chosen),
            )
            harvest = execute(plan, place)
        self.stage(host.name, "verifying")
        taken = [
            self._commit(connector, plan, harvest, facts, findings, previous.get(connector.name), started)
            for connector in chosen
        ]
        warnings += self._mend(
            host, [(connector, id_) for connector, id_, state in taken if state != "unchanged"]
        )
        missing = tuple((c, o.path, o.reason) for c, lacks in harvest.missing.items() for o in lacks)
        warnings += carrier.warnings + harvest.told
        warnings += [
            f"{c}: the snapshot has no {o.path}: {o.reason}"
            for c, notes in harvest.noted.items()
            for o in notes
        ]
        return Outcome(
            host.name,
            State.INCOMPLETE if missing else State.DONE,
            EXIT_INCOMPLETE if missing else EXIT_OK,
            lacks(missing),
            (self.now() - started).total_seconds(),
            Taken(
                tuple(taken),
                findings,
                missing,
                tuple(warnings),
                plan,
                harvest.sent_files,
                harvest.sent_bytes,
                machine=health.machine_of(facts),
            ),
        )

    def _reserve(self, host: Host, plan: Plan, facts: HostFacts) -> None:
        """Given a plan, set room apart for it and tell what is to come. Raise RepositoryError if there is no
        room. What lacks is not kept: of a million files it is much.
        """
        lacking = self._lacking(plan, facts)
        self.room.reserve(host.name, need_of(plan, facts, lacking))
        self.expect(host.name, len(lacking), sum(lacking.values()))

    def _arrived(self, host: Host, files: int, size: int) -> None:
        """Given files and bytes that arrived, tell of them."""
        self.room.arrived(host.name, size)
        self.moved(host.name, files, size)

    def _accept(self, findings: Sequence[Finding]) -> tuple[Finding, ...]:
        """Given findings, return them, those that the site lives with marked so."""
        return health.accept(findings, self.accepted, self.now().date())

    @contextmanager
    def guard(self, host: Host) -> Iterator[None]:
        """Given a host, return the lock that its errand is done under, from before the first connection.

        What is unchanged is decided under it, so that two runs do not save the same twice.
        """
        if self.dry_run:
            yield
            return
        with self.repository.lock(
            "exremote backup",
            name=f"host-{host.name}",
            run=self.journal.run_id,
            since=self.now(),
            on_takeover=lambda who: self.journal.event("lock-taken-over", host=host.name, was=who),
        ):
            try:
                yield
            finally:
                self.room.release(host.name)

    def _previous(self, host: Host) -> tuple[dict[str, Snapshot], list[str]]:
        """Given a host, return its newest complete snapshots that are still what they were, and warnings.

        Names and sizes are held against the manifest; a snapshot that fails is no ground to call
        anything unchanged, so what it held is saved anew.
        """
        found: dict[str, Snapshot] = {}
        warnings: list[str] = []
        for name in self.connectors:
            snapshot = self.repository.latest(host.name, name, now=self.now())
            if snapshot is None:
                continue
            problem = next(iter(self.repository.verify(snapshot, quick=True)), None)
            if problem is None:
                found[name] = snapshot
                continue
            self.journal.event("damaged", host=host.name, snapshot=snapshot.id, place=problem.place)
            warnings.append(
                f"the last snapshot {snapshot.id} is damaged ({problem.place}: {problem.message}); "
                "its connector is saved anew. `exremote verify` names all damage."
            )
        return found, warnings

    def _mend(self, host: Host, made: Sequence[tuple[str, str]]) -> list[str]:
        """Given the snapshots that were made, mend what `verify` found damaged with them. Return sentences.

        The new ones are good: what cannot be mended now is no failure of theirs.
        """
        mended: dict[str, None] = {}
        try:
            for _, id_ in made:
                mended.update(dict.fromkeys(self.repository.mend(self.repository.find(f"{host.name}/{id_}"))))
        except RepositoryError as error:
            return [f"older snapshots could not be mended: {error.text}"]
        if not mended:
            return []
        self.journal.event("mended", host=host.name, snapshots=list(mended))
        return [
            f"what `exremote verify` had found damaged came anew, and is mended in {', '.join(mended)}; "
            "`exremote verify` says whether all is well."
        ]

    def _no_copy(
        self,
        host: Host,
        plan: Plan,
        facts: HostFacts,
        findings: tuple[Finding, ...],
        warnings: Sequence[str],
        started: datetime,
    ) -> Outcome:
        """Given a plan that is only shown, or that has nothing to save, return the outcome."""
        missing = tuple(
            (c, gap.what, gap.reason) for gap in plan.gaps if gap.essential for c in gap.connectors
        )
        lacking = self._lacking(plan, facts)
        warnings = [*warnings, *(self._no_room(host, need_of(plan, facts, lacking)) if self.dry_run else ())]
        taken = Taken(
            (),
            self._accept(findings),
            missing,
            tuple(warnings),
            plan,
            lacking_files=len(lacking),
            lacking_bytes=sum(lacking.values()),
            machine=health.machine_of(facts),
        )
        seconds = (self.now() - started).total_seconds()
        if self.dry_run:
            return Outcome(host.name, State.DONE, EXIT_OK, "dry run: nothing was copied", seconds, taken)
        has = sorted(name for name, seen in facts.connectors.items() if seen.state in ("present", "partial"))
        if missing:
            # Who is left out because nobody could tell whether he is there is not left out in peace.
            message = lacks(missing, "nothing was saved")
            return Outcome(host.name, State.INCOMPLETE, EXIT_INCOMPLETE, message, seconds, taken)
        if self.only and has:
            message = f"has no connector {' or '.join(self.only)} (it has {', '.join(has)}): nothing to do"
            return Outcome(host.name, State.SKIPPED, EXIT_OK, message, seconds, taken)
        message = (
            "no connector was found on this host, so nothing was saved; `exremote health` says what was seen."
        )
        return Outcome(host.name, State.INCOMPLETE, EXIT_INCOMPLETE, message, seconds, taken)

    def _no_room(self, host: Host, need: Need) -> list[str]:
        """Given what a host would bring, return why it would not fit, with all others of the run."""
        try:
            self.room.reserve(host.name, need)
        except RepositoryError as error:
            return [error.text]
        return []

    def _lacking(self, plan: Plan, facts: HostFacts) -> dict[str, int]:
        """Given a plan, return digest and size of each content of its files that is not here yet."""
        changed = [step.item for step in plan.steps if isinstance(step, CopyTree) and not step.unchanged]
        changed += [tree.item for step in plan.steps if isinstance(step, CopyStopped) for tree in step.trees]
        named = [step.item for step in plan.steps if isinstance(step, CopyFiles)]
        files = (f for item in named for f in facts.files.get(item, ()) if f.exists)
        entries = (e for item in changed if item in facts.trees for e in facts.trees[item].entries)
        lacking: dict[str, int] = {}
        for one in chain[NamedFile | FileEntry](files, (e for e in entries if e.state == "file")):
            digest, size = one.sha256, one.size
            if digest and digest not in lacking and not self.repository.has(digest, size):
                lacking[digest] = size
        # What services hold open now is read when they stand.
        held = [tree for step in plan.steps if isinstance(step, CopyStopped) for tree in step.trees]
        closed = [(t, e) for t in held for e in facts.trees[t.item].entries if e.state == "unreadable"]
        return lacking | {f"{tree.item} {entry.path}": max(0, entry.size) for tree, entry in closed}

    def _judge_tables(
        self, chosen: Sequence[Connector], previous: Mapping[str, Snapshot], facts: HostFacts
    ) -> tuple[Finding, ...]:
        """Given the tables of the last snapshot and of now, return findings of those that lost something."""
        findings: dict[str, Finding] = {}
        for connector in chosen:
            snapshot = previous.get(connector.name)
            for item in connector.file_trees:
                if snapshot is None or not item.tables:
                    continue
                entries = snapshot.manifest.entries
                before = {
                    e.path: e.size
                    for e in entries
                    if e.item == item.id and any(matches(e.path, pattern) for pattern in item.tables)
                }
                for finding in health.judge_tables(facts, connector.name, item, before):
                    findings.setdefault(f"{item.id} {finding.evidence}", finding)
        return tuple(findings.values())

    def _commit(
        self,
        connector: Connector,
        plan: Plan,
        harvest: Harvest,
        facts: HostFacts,
        findings: Sequence[Finding],
        previous: Snapshot | None,
        created: datetime,
    ) -> tuple[str, str, str]:
        """Given what came in, commit a snapshot and read it back, or record that nothing changed."""
        draft = draft_of(connector.name, plan, harvest, facts, findings, created, self.journal.run_id)
        if previous is not None and draft.complete and self.repository.same_content(draft, previous):
            self.repository.record_check(previous, self.journal.run_id, created)
            self.journal.event("unchanged", host=plan.host, connector=connector.name, snapshot=previous.id)
            return connector.name, previous.id, "unchanged"
        snapshot = self._place(draft)
        return connector.name, snapshot.id, "new" if snapshot.complete else "incomplete"

    def _place(self, draft: SnapshotDraft) -> Snapshot:
        """Given a draft, commit it and read it back. Return it. Raise IntegrityError if it is not what it
        says.
        """
        snapshot = self.repository.commit(draft)
        for problem in self.repository.verify(snapshot):
            aside = self.repository.reject(snapshot)
            raise IntegrityError(
                f"the new snapshot is not what its manifest says, and was put aside: {problem.message}",
                path=aside,
                entry=problem.place,
                expected=problem.expected,
                actual=problem.actual,
            )
        self.journal.event(
            "committed",
            host=snapshot.host,
            connector=snapshot.connector,
            snapshot=snapshot.id,
            complete=snapshot.complete,
        )
        return snapshot


def _listings(snapshots: Iterable[Snapshot]) -> dict[str, Listing]:
    """Given the last snapshots of a host, return the listing of each tree as the newest of them has it."""
    found: dict[str, Listing] = {}
    for snapshot in sorted(snapshots, key=lambda s: s.created):
        for item, tree in snapshot.manifest.trees.items():
            document = snapshot.path / "trees" / f"{item}.tsv"
            found.pop(item, None)
            # A listing that is gone or damaged costs one full listing, no more; `verify` names it.
            with suppress(OSError, ValueError), document.open("rb") as text:
                listing = parse_listing(iter(partial(text.read, PIECE), b""))
                if listing.digest == tree.digest:
                    found[item] = listing
    return found


def _users_of_items(connectors: Sequence[Connector]) -> dict[str, str]:
    """Given connectors, return for each item the services that work on it, in words."""
    users: dict[str, dict[str, None]] = {}
    for connector in connectors:
        for item in connector.items():
            users.setdefault(item.id, {}).update((service.name, None) for service in connector.services)
    return {item: ", ".join(names) for item, names in users.items()}


def lacks(missing: Sequence[tuple[str, str, str]], head: str = "incomplete") -> str:
    """Given what is missing, return the sentence for the host's row."""
    if not missing:
        return ""
    what = list(dict.fromkeys(f"{what}: {reason}" for _, what, reason in missing))
    more = f" (and {len(what) - 1} more)" if len(what) > 1 else ""
    return f"{head}: {what[0]}{more}"


def is_modern(facts: HostFacts) -> bool:
    """Given facts, return whether the host has PowerShell 3.0 or newer, whose WinRM takes 500 KB a message.

    Source: the list of WinRM's limits in the project's notes on its versions; 2.0 takes 150.
    """
    return facts.host_fact is not None and (facts.host_fact.powershell_major or 0) >= 3


def _check_machine(host: Host, previous: Iterable[Snapshot], facts: HostFacts) -> None:
    """Given the newest snapshots of a host and who answers, raise PlanRefused if that is another machine:
    what it has would be the newest of this host.
    """
    newest = max(previous, key=lambda snapshot: snapshot.created, default=None)
    then = kept_facts(newest, _MOST_FACTS) if newest is not None else None
    was, now = then.host_fact if then is not None else None, facts.host_fact
    names = [fact.computer_name if fact is not None else "" for fact in (was, now)]
    if all(names) and folded(names[0]) != folded(names[1]):
        raise PlanRefused(
            f"{host.name}: {names[1]} answers, and the last snapshot is of the machine {names[0]}; nothing "
            "was saved.",
            "Correct the address in the inventory. A server of another name is another host there.",
        )

"""A backup of the tables alone, for every few minutes: it asks a host little, and stands on its full
snapshots.

It makes a snapshot of its own kind for each connector; if nothing changed, a check. It stops no service, and
never replaces a full backup: without one it says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Final

from exremote import health
from exremote.backup.draft import draft_of
from exremote.backup.errand import Errand, Taken, is_modern, lacks
from exremote.backup.footing import (
    Footing,
    ask_place,
    earlier_facts,
    footings,
    left_out,
    moved,
    no_footing,
    tables_root,
    whole_tree,
)
from exremote.backup.need import need_of
from exremote.connector import below
from exremote.errors import EXIT_INCOMPLETE, EXIT_OK, ScriptFailed
from exremote.facts import HostFacts, reason_of
from exremote.health import Finding
from exremote.inventory import Host
from exremote.plan import CopyTree, Gap, Plan
from exremote.repository import Entry, Kind, Snapshot, SnapshotDraft
from exremote.runner import Harvest, Outcome, State, Workplace, execute
from exremote.session import Session
from exremote.transfer import Carrier

PART: Final[Kind] = "tables"
"""How the command line, a snapshot's kind and a check call it."""


@dataclass(frozen=True, slots=True)
class TablesErrand(Errand):
    """What a backup of the tables alone does with one host."""

    def __call__(self, host: Host, session: Session) -> Outcome:
        """Given a host and an open session, save its tables. Return the outcome; raise HostError if it is
        lost.
        """
        started = self.now()
        found, lacking = footings(self.repository, host, self.connectors, started)
        if not found:
            return Outcome(host.name, State.INCOMPLETE, EXIT_INCOMPLETE, no_footing(host))
        gaps = [
            Gap((name,), "its tables", f"it has no full snapshot yet; run: exremote backup {host.name}")
            for name in lacking
        ]
        self.stage(host.name, "asking")
        facts = ask_place(session, host, found, earlier_facts(found), started)
        chosen = []
        for footing in found:
            if reason := moved(footing, facts):
                gaps.append(Gap((footing.connector.name,), f"folder {tables_root(footing)}", reason))
            else:
                chosen.append(footing)
        facts = self._ask_trees(session, facts, chosen)
        plan = _plan(host, facts, chosen, gaps)
        findings = self._accept(_judged(facts, chosen))
        self.journal.event("planned", host=host.name, plan=plan.digest, steps=len(plan.steps), part=PART)
        if self.dry_run or not plan.steps:
            return self._no_copy(host, plan, facts, findings, (), started)
        self.stage(host.name, "copying")
        lacking_bytes = self._lacking(plan, facts)
        self.room.reserve(host.name, need_of(plan, facts, lacking_bytes))
        self.expect(host.name, len(lacking_bytes), sum(lacking_bytes.values()))
        with (
            self.repository.staging(self.journal.run_id, host.name) as staging,
            Carrier(session, is_modern(facts)) as carrier,
        ):
            users = {f.item.id: ", ".join(s.name for s in f.connector.services) for f in chosen}
            place = Workplace(
                session,
                carrier,
                self.repository,
                staging,
                self.journal,
                facts,
                partial(self._arrived, host),
                users,
            )
            harvest = execute(plan, place)
        self.stage(host.name, "verifying")
        taken = [
            self._keep(
                footing,
                draft_of(
                    footing.connector.name, plan, harvest, facts, findings, started, self.journal.run_id, PART
                ),
            )
            for footing in chosen
            if footing.item.id in harvest.copied
        ]
        warnings = self._mend(host, [(name, id_) for name, id_, state in taken if state == "new"])
        return self._ended(host, plan, harvest, findings, taken, [*warnings, *carrier.warnings], started)

    def _ask_trees(self, session: Session, facts: HostFacts, chosen: Sequence[Footing]) -> HostFacts:
        """Given where the tables are, ask for their listing: once, whoever shares them."""
        trees, unavailable = dict(facts.trees), dict(facts.unavailable)
        for footing in chosen:
            item = footing.item
            if item.id in trees or f"tree {item.id}" in unavailable:
                continue
            try:
                trees[item.id] = session.file_tree(
                    tables_root(footing), left_out(item), footing.listing(), hashed=True
                )
            except ScriptFailed as error:
                unavailable[f"tree {item.id}"] = reason_of(error)
        return replace(facts, trees=trees, unavailable=unavailable)

    def _keep(self, footing: Footing, draft: SnapshotDraft) -> tuple[str, str, str]:
        """Given what came in of one connector, make a snapshot, or note that nothing changed. Return its
        row.
        """
        connector = footing.connector.name
        last = self._same(footing, draft)
        if last is None:
            snapshot = self._place(draft)
            return connector, snapshot.id, "new" if snapshot.complete else "incomplete"
        self.repository.record_check(last, draft.run, draft.created, PART if last.kind == "full" else "")
        self.journal.event("unchanged", host=draft.host, connector=connector, snapshot=last.id, part=PART)
        return connector, last.id, "unchanged" if draft.complete else "incomplete"

    def _same(self, footing: Footing, draft: SnapshotDraft) -> Snapshot | None:
        """Given a draft, return the snapshot that says the same of the tables as it is; None if none does."""
        if draft.complete:
            before = footing.entries
            intact = all(self.repository.has(e.sha256, e.size) for e in before)
            same = _contents(before) == _contents(draft.entries)
            return footing.source if intact and same and footing.there() else None
        # What cannot be had is not noted anew every few minutes.
        every = self.repository.snapshots(draft.host, draft.connector)
        newest = next((s for s in reversed(every) if s.kind == PART and not s.damage), None)
        same = newest is not None and self.repository.same_content(draft, newest)
        return newest if same else None

    def _ended(
        self,
        host: Host,
        plan: Plan,
        harvest: Harvest,
        findings: tuple[Finding, ...],
        taken: Sequence[tuple[str, str, str]],
        warnings: Sequence[str],
        started: datetime,
    ) -> Outcome:
        """Given all that was done, return the outcome."""
        missing = tuple((c, o.path, o.reason) for c, some in harvest.missing.items() for o in some)
        detail = Taken(
            tuple(taken),
            findings,
            missing,
            tuple(warnings),
            plan,
            harvest.sent_files,
            harvest.sent_bytes,
        )
        return Outcome(
            host.name,
            State.INCOMPLETE if missing else State.DONE,
            EXIT_INCOMPLETE if missing else EXIT_OK,
            lacks(missing),
            (self.now() - started).total_seconds(),
            detail,
        )


def _plan(host: Host, facts: HostFacts, chosen: Sequence[Footing], gaps: Sequence[Gap]) -> Plan:
    """Given facts, return the plan: each folder of tables once, and what cannot be had. Pure."""
    steps: dict[str, CopyTree] = {}
    lacking = list(gaps)
    for item in {footing.item.id: footing.item for footing in chosen}.values():
        mine = [footing for footing in chosen if footing.item.id == item.id]
        names, root = tuple(f.connector.name for f in mine), tables_root(mine[0])
        tree = facts.trees.get(item.id)
        if tree is None or not tree.exists:
            reason = health.with_remedy(facts.unavailable.get(f"tree {item.id}", ""), facts)
            lacking.append(Gap(names, f"folder {root}", reason or f"{root} is not on the host"))
            continue
        known = [listing.digest for footing in mine if (listing := footing.listing())]
        steps[item.id] = CopyTree(
            item.id,
            names,
            root,
            left_out(item),
            item.secret,
            tree.digest,
            tree.files,
            tree.bytes,
            unchanged=bool(tree.digest) and known == [tree.digest] * len(mine),
        )
    return Plan(host.name, tuple(f.connector.name for f in chosen), tuple(steps.values()), tuple(lacking))


def _judged(facts: HostFacts, chosen: Sequence[Footing]) -> tuple[Finding, ...]:
    """Given the tables of now and as the host had them last, return findings of those that lost something."""
    found: dict[str, Finding] = {}
    for footing in chosen:
        folder = footing.item.table_folder
        before = {below(folder, e.path): e.size for e in footing.entries}
        whole = whole_tree(footing, facts)
        for finding in health.judge_tables(whole, footing.connector.name, footing.item, before):
            found.setdefault(f"{footing.item.id} {finding.evidence}", finding)
    return tuple(found.values())


def _contents(entries: Sequence[Entry]) -> set[tuple[str, str, bool]]:
    """Given entries, return what a restore of them would bring back."""
    return {(e.path, e.sha256, e.secret) for e in entries}

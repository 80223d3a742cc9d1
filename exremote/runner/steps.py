"""The steps of a plan, done in order for one host. It never decides what should be done."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, assert_never

from exremote.errors import HostError
from exremote.facts import MADE_UP, HostFacts, TreeFact
from exremote.journal import Journal
from exremote.plan import (
    CopyDirectoryObject,
    CopyFiles,
    CopyRegistryKey,
    CopyServiceStates,
    CopyStopped,
    CopyTree,
    Plan,
    ReadAccessLists,
    RunNtBackup,
    Step,
    step_to_json,
)
from exremote.repository import Omission, Repository, Staging
from exremote.runner.lists import document_of, read_lists, some_of, unread_words
from exremote.runner.ntbackup import JobEnd, run_ntbackup
from exremote.runner.stopped import clear_copies, copy_while_stopped
from exremote.session import Session
from exremote.transfer import Carrier, Copied, pull_files, pull_tree

PIECES = 8192
"""Of JSON that are joined at a time."""


@dataclass(slots=True)
class Harvest:
    """What the steps of a plan brought in."""

    copied: dict[str, Copied] = field(default_factory=dict)
    """By item of the connector files."""
    owners: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By item: the connectors whose snapshots name it."""
    documents: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """By connector: relative path in the snapshot, and content."""
    missing: dict[str, list[Omission]] = field(default_factory=dict)
    """By connector: what should be in its snapshot and is not."""
    trees: dict[str, TreeFact] = field(default_factory=dict)
    """By item: a folder as its copy has it, where it was copied within the host first."""
    told: list[str] = field(default_factory=list)
    """Sentences that the operator should read."""
    noted: dict[str, list[Omission]] = field(default_factory=dict)
    """By connector: what could not be had, and is not needed for a restore."""
    unlisted: dict[str, list[Omission]] = field(default_factory=dict)
    """By connector: access lists that were not looked for or could not be read, and why. A restore can do
    without."""
    jobs: dict[str, JobEnd] = field(default_factory=dict)
    """By item: how a job of ntbackup ended. Whether that is well is not judged here."""

    def document(self, connectors: Sequence[str], path: str, content: bytes) -> None:
        """Given a document, keep it for the snapshots of these connectors."""
        for connector in connectors:
            self.documents.setdefault(connector, {})[path] = content

    def lack(self, connectors: Sequence[str], what: str, reason: str, essential: bool = True) -> None:
        """Given something that could not be had, note it for the snapshots of these connectors."""
        for connector in connectors:
            kept = self.missing if essential else self.noted
            kept.setdefault(connector, []).append(Omission(what, reason))

    @property
    def sent_files(self) -> int:
        """Files that travelled."""
        return sum(c.sent_files for c in self.copied.values())

    @property
    def sent_bytes(self) -> int:
        """Bytes that travelled, before compression."""
        return sum(c.sent_bytes for c in self.copied.values())


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where the steps of one host are done."""

    session: Session
    """The open conversation."""
    carrier: Carrier
    """What brings its files."""
    repository: Repository
    """Where everything goes."""
    staging: Staging
    """Where it lies until it is whole."""
    journal: Journal
    """What happened."""
    facts: HostFacts
    """What the plan was made from; it holds the listings."""
    progress: Callable[[int, int], None]
    """Told of files and bytes as they arrive."""
    used_by: Mapping[str, str] = field(default_factory=dict)
    """By item: the services that work on its files, for the message about a locked one."""
    reserve: Callable[[Mapping[str, int]], None] = lambda contents: None
    """Sets room apart for contents that no plan could know of. Raises RepositoryError if there is none."""


def execute(plan: Plan, place: Workplace) -> Harvest:
    """Given a plan, do its steps in order and return what they brought in.

    What one item refuses (no rights, a script that says no) is noted as missing and the rest goes
    on. Raise HostError if the host is lost for longer than the retry policy allows.
    """
    harvest = Harvest()
    for gap in plan.gaps:
        harvest.lack(gap.connectors, gap.what, gap.reason, gap.essential)
    for number, step in enumerate(plan, start=1):
        place.journal.event("step-started", host=plan.host, number=number, step=step_to_json(step))
        try:
            _perform(step, place, harvest)
        except HostError as error:
            place.journal.event("step-failed", host=plan.host, number=number, error=error.text)
            if error.transient:
                raise
            harvest.lack(step.connectors, step.describe(), f"{error.message} {error.remedy}".strip())
        else:
            place.journal.event("step-finished", host=plan.host, number=number)
    return harvest


def _perform(step: Step, place: Workplace, harvest: Harvest) -> None:
    """Given one step, do it. The list of kinds is closed."""
    match step:
        case CopyStopped():
            _copy_stopped(step, place, harvest)
        case CopyTree():
            tree = place.facts.trees[step.item]
            copied = pull_tree(
                place.carrier,
                place.repository,
                place.staging,
                item=step.item,
                root=step.root,
                listing=tree.entries,
                secret=step.secret,
                used_by=place.used_by.get(step.item, ""),
                left_out="left out on purpose: "
                + (step.because or "the connector file names it as volatile or as a work file"),
                moving=step.moving,
                progress=place.progress,
            )
            _keep(step.item, step.connectors, copied, harvest)
        case CopyFiles():
            copied = pull_files(
                place.carrier,
                place.repository,
                place.staging,
                item=step.item,
                root=step.root,
                names=step.files,
                known=[file for files in place.facts.files.values() for file in files],
                secret=step.secret,
                progress=place.progress,
            )
            _keep(step.item, step.connectors, copied, harvest)
        case CopyRegistryKey():
            export = place.session.export_registry_key(step.key)
            if export.exists:
                harvest.document(step.connectors, f"registry/{step.item}.reg", export.data)
            elif not step.optional:
                harvest.lack(step.connectors, step.key, "the host has no such registry key")
        case CopyServiceStates():
            found = {name: place.facts.service(name) for name in step.services}
            for name in [name for name, state in found.items() if state is None]:
                harvest.lack(step.connectors, f"state of service {name}", "the host gave no answer about it")
            states = [asdict(state) for state in found.values() if state is not None]
            harvest.document(step.connectors, "services.json", to_document(states))
        case CopyDirectoryObject():
            wanted = step.object_class.lower()
            objects = [asdict(o) for o in place.facts.connector_objects if o.class_name.lower() == wanted]
            harvest.document(step.connectors, f"directory/{step.item}.json", to_document(objects))
        case ReadAccessLists():
            _read_lists(step, place, harvest)
        case RunNtBackup():
            end, copied = run_ntbackup(
                step,
                place.session,
                place.carrier,
                place.repository,
                place.staging,
                lambda kind, fields: place.journal.event(kind, host=place.facts.host, said=fields),
                place.progress,
                place.reserve,
            )
            harvest.jobs[step.item] = end
            _keep(step.item, step.connectors, copied, harvest)
        case _:
            assert_never(step)


def _copy_stopped(step: CopyStopped, place: Workplace, harvest: Harvest) -> None:
    """Given folders that services hold open, fetch a copy that was made while these stood; or, if that could
    not be, what can be had while they run.
    """
    copies = copy_while_stopped(step, place.session, place.facts, place.journal)
    harvest.told += copies.told
    for what, reason in copies.lacking:
        harvest.lack(step.connectors, what, reason)
    try:
        for held in step.trees:
            tree = copies.trees.get(held.item)
            source = place.facts.trees[held.item] if tree is None else tree
            copied = pull_tree(
                place.carrier,
                place.repository,
                place.staging,
                item=held.item,
                root=source.path,
                listing=source.entries,
                used_by=place.used_by.get(held.item, ""),
                progress=place.progress,
            )
            _keep(held.item, step.connectors, copied, harvest)
            if tree is not None:
                harvest.trees[held.item] = tree
    finally:
        clear_copies(step, place.session, place.journal)


def _read_lists(step: ReadAccessLists, place: Workplace, harvest: Harvest) -> None:
    """Given what is copied, keep its access lists as documents, and say what could not be read."""
    journal, host = place.journal, place.facts.host
    lists, reasons = read_lists(
        step, place.session, lambda error: journal.event("access-lists-unread", host=host, error=error)
    )
    for item in step.items:
        lacking = [(f"access lists of {item.root}", f"not looked for: {reasons.get(item.item, '')}")]
        if (found := lists.get(item.item)) is not None:
            harvest.document(item.connectors, document_of(item.item), found.to_text())
            lacking = [
                (
                    f"access lists: {some_of(item.root, [p for p, e in found.unread.items() if e == error])}",
                    why,
                )
                for error, why in ((e, unread_words(e)) for e in sorted(set(found.unread.values())))
            ]
        for what, reason in lacking:
            if not reason.endswith(MADE_UP):
                harvest.told.append(f"{what}: {reason}; a restore does not set what was not read")
            for connector in item.connectors:
                harvest.unlisted.setdefault(connector, []).append(Omission(what, reason))


def to_document(value: object, unknown: Callable[[Any], object] = str) -> bytes:
    """Given plain values, return them as the JSON of a snapshot's document: sorted, for people too.

    `unknown` makes something plain of what JSON has no form for.
    """
    return b"".join(to_pieces(value, unknown))


def to_pieces(value: object, unknown: Callable[[Any], object] = str) -> Iterator[bytes]:
    """Given the same as for `to_document`, yield the same in pieces: of a million files it is long."""
    encoder = json.JSONEncoder(indent=1, sort_keys=True, ensure_ascii=False, default=unknown)
    pieces = encoder.iterencode(value)
    while some := "".join(islice(pieces, PIECES)):
        yield some.encode()
    yield b"\n"


def _keep(item: str, connectors: tuple[str, ...], copied: Copied, harvest: Harvest) -> None:
    """Given what became of an item, keep it and note what it lacks."""
    harvest.copied[item] = copied
    harvest.owners[item] = connectors
    for omission in copied.missing:
        harvest.lack(connectors, omission.path, omission.reason)

"""What a plan replaces, saved before: a snapshot of its own kind, `safety`, of exactly that and nothing more.

It is no backup: what the plan does not touch is not in it. It is what an undo takes from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime

from exremote import __version__
from exremote.changes import ChangePlan, MakeFolders, RemoveFolders, SetAccessLists, SetValues, SwapFiles
from exremote.connector import Connector, below
from exremote.errors import IntegrityError, PlanRefused
from exremote.facts import AccessLists
from exremote.folding import folded
from exremote.inventory import Host
from exremote.journal import Journal
from exremote.repository import Entry, Omission, Repository, Snapshot, SnapshotDraft, Staging, TreeRecord
from exremote.restore.aim import Aim
from exremote.restore.lists import saved_lists
from exremote.restore.looking import short_key
from exremote.restore.order import services_of
from exremote.restore.planning import Standing
from exremote.runner import document_of, to_document
from exremote.session import Session
from exremote.transfer import Carrier, Copied, pull_tree


def save_before(
    plan: ChangePlan,
    aim: Aim,
    there: Standing,
    host: Host,
    session: Session,
    repository: Repository,
    journal: Journal,
    connectors: Mapping[str, Connector],
    now: datetime,
    moved: Callable[[int, int], None],
) -> Snapshot:
    """Given a plan and what it was made from, save what it replaces. Return the snapshot, verified.

    Raise PlanRefused if something of it cannot be had: it could not be undone. Raise HostError if the host is
    lost, RepositoryError if the snapshot cannot be committed.
    """
    known = services_of(connectors.values())
    entries: list[Entry] = []
    missing: list[Omission] = []
    documents: dict[str, bytes] = {
        "services.json": to_document(
            [asdict(state) for state in there.facts.services if state.name.lower() in known]
        ),
        "facts.json": to_document(there.facts.to_json()),
        "plan.json": to_document(plan.to_json()),
    }
    fact = there.facts.host_fact
    modern = fact is not None and (fact.powershell_major or 0) >= 3

    with repository.staging(journal.run_id, host.name) as staging, Carrier(session, modern) as carrier:
        for swap in plan.swaps:
            copied = _pull(swap, there, carrier, repository, staging, connectors, moved)
            entries += copied.entries
            missing += copied.missing
        for step in (step for step in plan if isinstance(step, SetValues)):
            export = session.export_registry_key(short_key(step.key))
            if export.exists:
                documents[f"registry/{step.item}.reg"] = export.data
            elif any(value.was for value in step.values):
                missing.append(Omission(step.key, "the key is gone since the plan was made"))
        swaps = {swap.item: swap for swap in plan.swaps}
        lists = {step.item: step for step in plan if isinstance(step, SetAccessLists)}
        removed = {step.item: step.folders for step in plan if isinstance(step, RemoveFolders)}
        made = [step.item for step in plan if isinstance(step, MakeFolders)]
        for item in dict.fromkeys((*lists, *swaps, *removed, *made)):
            found = there.lists.found.get(item, AccessLists() if item in lists else None)
            # A file that is only moved away has its list there; what an undo sends back has not.
            if found is not None and (item in lists or not found.reason):
                saved = saved_lists(lists.get(item), swaps.get(item), removed.get(item, ()), found)
                documents[document_of(item)] = saved.to_text()
        draft = SnapshotDraft(
            host=plan.host,
            connector=aim.connectors[0],
            created=now,
            run=journal.run_id,
            kind="safety",
            complete=not missing,
            entries=tuple(entries),
            missing=tuple(missing),
            trees={swap.item: TreeRecord(swap.root, "", len(swap.files), 0) for swap in plan.swaps},
            documents=documents,
            software=f"exremote {__version__}",
        )
        if lost := next(_unsaved(plan, draft), None):
            raise PlanRefused(
                f"{host.name}: {lost} is there now and could not be saved before it is replaced.",
                "See why it cannot be read, or move it away yourself. Nothing was changed.",
            )
        snapshot = repository.commit(draft)
    for problem in repository.verify(snapshot):
        aside = repository.reject(snapshot)
        raise IntegrityError(
            f"what was saved before is not what its manifest says, and was put aside: {problem.message}",
            path=aside,
            entry=problem.place,
            expected=problem.expected,
            actual=problem.actual,
            remedy="Nothing was changed on the host. Look at the disk that the repository lies on.",
        )
    return snapshot


def _pull(
    swap: SwapFiles,
    there: Standing,
    carrier: Carrier,
    repository: Repository,
    staging: Staging,
    connectors: Mapping[str, Connector],
    moved: Callable[[int, int], None],
) -> Copied:
    """Given files that are to be replaced, bring here what lies there now, as far as it is not here yet."""
    replaced = {folded(change.path) for change in swap.files if change.was}
    known = there.trees.get(swap.item, {})
    return pull_tree(
        carrier,
        repository,
        staging,
        item=swap.item,
        root=swap.root,
        listing=[entry for place, entry in sorted(known.items()) if place in replaced],
        secret=_secrets(swap.item, connectors),
        progress=moved,
    )


def _secrets(item: str, connectors: Mapping[str, Connector]) -> tuple[str, ...]:
    """Given an item, return the patterns of its files that only the owner may read."""
    found: list[str] = []
    for connector in connectors.values():
        found += [p for tree in connector.file_trees if tree.id == item for p in tree.secret]
        # A second folder of the same named files is called ITEM-2.
        named = (file for file in connector.named_files if item == file.id or item.startswith(f"{file.id}-"))
        found += ["*" for file in named if file.secret]
    return tuple(dict.fromkeys(found))


def _unsaved(plan: ChangePlan, draft: SnapshotDraft) -> Iterator[str]:
    """Yield what the plan replaces and the draft does not hold."""
    held = {(e.item, folded(e.path)): e.sha256 for e in draft.entries}
    for swap in plan.swaps:
        for change in (change for change in swap.files if change.was):
            saved = held.get((swap.item, folded(change.path)))
            if saved is None or (saved != change.was and not change.volatile and change.was != "?"):
                yield below(swap.root, change.path)
    yield from (one.path for one in draft.missing)

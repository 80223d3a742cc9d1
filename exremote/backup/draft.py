"""From what came in to the draft of a snapshot. It writes nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from itertools import islice

from exremote import __version__
from exremote.facts import HostFacts, TreeFact, part
from exremote.health import Finding, Verdict
from exremote.pack import format_entry
from exremote.plan import (
    CopyFiles,
    CopyStopped,
    CopyTree,
    Plan,
)
from exremote.repository import Content, Kind, Omission, SnapshotDraft, TreeRecord, joined_entries
from exremote.runner import Harvest, to_pieces

LINES = 1000
"""Of a listing that are joined at a time."""

TABLES_ALONE = "access lists: not looked for by --only tables; those of the full snapshot count"
"""What a snapshot of the tables alone says of them."""


def draft_of(
    connector: str,
    plan: Plan,
    harvest: Harvest,
    facts: HostFacts,
    findings: Sequence[Finding],
    created: datetime,
    run: str,
    kind: Kind = "full",
) -> SnapshotDraft:
    """Given what came in for a host, return the draft of one connector's snapshot."""
    mine = [item for item, names in harvest.owners.items() if connector in names]
    documents: dict[str, Content] = dict(harvest.documents.get(connector, {}))
    documents["facts.json"] = lambda: to_pieces(facts.to_parts(), part)
    trees: dict[str, TreeRecord] = {}
    for step in plan:
        if isinstance(step, CopyTree) and connector in step.connectors:
            tree = facts.trees[step.item]
            documents[f"trees/{step.item}.tsv"] = partial(listing_text, tree)
            trees[step.item] = TreeRecord(step.root, tree.digest, tree.files, tree.bytes)
        elif isinstance(step, CopyStopped) and connector in step.connectors:
            for held in step.trees:
                tree = harvest.trees.get(held.item, facts.trees[held.item])
                documents[f"trees/{held.item}.tsv"] = partial(listing_text, tree)
                trees[held.item] = TreeRecord(held.root, tree.digest, tree.files, tree.bytes)
        elif isinstance(step, CopyFiles) and connector in step.connectors:
            trees[step.item] = TreeRecord(step.root, "", len(step.files), 0)
    missing = tuple(harvest.missing.get(connector, ()))
    return SnapshotDraft(
        host=plan.host,
        connector=connector,
        created=created,
        run=run,
        kind=kind,
        complete=not missing,
        entries=joined_entries(harvest.copied[item].entries for item in mine),
        omitted=tuple(o for item in mine for o in harvest.copied[item].omitted)
        + tuple(harvest.noted.get(connector, ()))
        + tuple(harvest.unlisted.get(connector, ()))
        + tuple(Omission(tree.root, TABLES_ALONE) for tree in trees.values() if kind == "tables"),
        missing=missing,
        trees=trees,
        documents=documents,
        findings=tuple(
            f.to_json() for f in findings if f.connector in ("", connector) and f.verdict != Verdict.OK
        ),
        software=f"exremote {__version__}",
    )


def listing_text(tree: TreeFact) -> Iterator[bytes]:
    """Given a tree, return its listing in the form in which the host sent it: the next run reads it again.

    It comes in pieces of whole lines.
    """
    lines = map(format_entry, tree.entries)
    while some := b"".join(islice(lines, LINES)):
        yield some

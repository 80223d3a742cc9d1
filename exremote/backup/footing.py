"""What a run for the tables alone stands on: the last full snapshots, and where the tables are now. It saves
nothing.

The full snapshots say which connectors there are and what the host is; one question to the host's registry
says whether that still holds: its name, and the folder. So the run asks little, and can come every few
minutes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from exremote.connector import (
    Connector,
    FileTree,
    below,
    expand,
    resolve_roots,
    root_queries,
    root_services,
)
from exremote.errors import PlanRefused, RepositoryError
from exremote.facts import FactError, HostFacts, RegistryValue, TreeFact
from exremote.folding import folded
from exremote.inventory import Host
from exremote.pack import Listing, TreeEntry, format_entry, parse_listing
from exremote.repository import Composed, Entry, Repository, Snapshot, part_of
from exremote.session import Session

NAME_KEY = r"HKLM\SYSTEM\CurrentControlSet\Control\ComputerName\ActiveComputerName"
"""Where Windows keeps the name that it goes by; with the value ComputerName. A host without it is not
refused.
"""


@dataclass(frozen=True, slots=True)
class Footing:
    """What the repository has of one connector's tables."""

    connector: Connector
    """the connector"""
    item: FileTree
    """the tree that holds the tables"""
    last: Composed
    """the newest full snapshot, with newer tables over it"""

    @property
    def root(self) -> str:
        """Return the tree's folder on the host, as the full snapshot has it."""
        return self.last.full.manifest.trees[self.item.id].root

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Return the tables that the host had last, with paths relative to their folder."""
        return part_of(self.last.manifest, self.item.id, self.item.table_folder)

    def there(self) -> bool:
        """Return whether each of these tables is in the repository in its size."""
        prefix = folded(f"{self.item.table_folder}\\")
        mine = (e for e in self.last.manifest.entries if e.item == self.item.id)
        return all(_size(self.last.file(e)) == e.size for e in mine if folded(e.path).startswith(prefix))

    @property
    def source(self) -> Snapshot:
        """Return the snapshot that these tables are in."""
        return self.last.tables or self.last.full

    def listing(self) -> Listing | None:
        """Return the listing of the tables' folder as it was; None if none is kept whole."""
        tree, prefix = self.source.manifest.trees[self.item.id], f"{self.item.table_folder}\\"
        # One that is gone or damaged costs one full listing, no more; `verify` names it.
        with suppress(OSError, ValueError, RepositoryError):
            known = parse_listing((self.source.path / "trees" / f"{self.item.id}.tsv").read_bytes())
            if known.digest != tree.digest:
                return None
            if self.last.tables is not None:
                return known
            lines = (_relative(e, prefix) for e in known.entries if folded(e.path).startswith(folded(prefix)))
            return parse_listing(b"".join(map(format_entry, lines)))
        return None


def _size(path: Path) -> int:
    """Given a file of a snapshot, return its size; -1 if it is not there."""
    try:
        return path.lstat().st_size
    except OSError:
        return -1


def _relative(entry: TreeEntry, prefix: str) -> TreeEntry:
    return replace(entry, path=entry.path[len(prefix) :])


def footings(
    repository: Repository, host: Host, connectors: Mapping[str, Connector], now: datetime
) -> tuple[list[Footing], list[str]]:
    """Given a host, return what the repository has of each of its connectors that has tables, and the names
    of those that the inventory lists and that have no full snapshot yet.
    """
    found: list[Footing] = []
    lacking: list[str] = []
    for name, connector in connectors.items():
        item = next((tree for tree in connector.file_trees if tree.table_folder), None)
        if item is None or (host.connectors is not None and name not in host.connectors):
            continue
        last = _last(repository, host.name, name, item, now)
        if last is not None:
            found.append(Footing(connector, item, last))
        elif host.connectors is not None:
            lacking.append(name)
    return found, lacking


def _last(
    repository: Repository, host: str, connector: str, item: FileTree, now: datetime
) -> Composed | None:
    """Given a host's connector, return what the host had last, be it not complete: its tables may be."""
    usable = (s for s in reversed(repository.snapshots(host, connector)) if s.kind == "full" and not s.damage)
    for full in (repository.latest(host, connector, now=now), *usable):
        with suppress(RepositoryError):  # a damaged one is no footing; `verify` names it
            if full is not None and item.id in full.manifest.trees:
                return repository.current(host, connector, now=now, full=full)
    return None


def no_footing(host: Host) -> str:
    """Given a host without a full snapshot, return the sentence that says what to do."""
    return (
        "no full snapshot has tables yet, so nobody knows where they are; nothing was saved. "
        f"First run: exremote backup {host.name}"
    )


def without_tables(repository: Repository, host: Host, connectors: Mapping[str, Connector]) -> bool:
    """Given a host, return whether it has connectors, and none of them has tables.

    They are those that the inventory lists, else those of which there is a full snapshot.
    """
    full = (s for s in repository.snapshots(host.name) if s.kind == "full" and not s.damage)
    names = {s.connector for s in full} if host.connectors is None else set(host.connectors)
    known = [connectors[name] for name in names if name in connectors]
    return bool(known) and not any(tree.table_folder for one in known for tree in one.file_trees)


def earlier_facts(found: Sequence[Footing]) -> HostFacts | None:
    """Given the footings of a host, return what it said when the newest full snapshot was made, if that is
    kept.
    """
    return kept_facts(max((footing.last.full for footing in found), key=lambda s: s.created))


def kept_facts(snapshot: Snapshot, most: int | None = None) -> HostFacts | None:
    """Given a snapshot, return what its host said then, if that is kept, and has `most` bytes at most."""
    with suppress(RepositoryError, ValueError, FactError, RecursionError):
        for document in snapshot.manifest.documents:
            if document.stored == "facts.json" and (most is None or document.size <= most):
                return HostFacts.from_json(json.loads(snapshot.document(document)))
    return None


def ask_place(
    session: Session, host: Host, found: Sequence[Footing], earlier: HostFacts | None, now: datetime
) -> HostFacts:
    """Given what the host was, ask it whether it still is that, and where its folders are. Return facts with
    roots.

        Services are asked for only where the registry does not say the place. Raise PlanRefused if it is
    another     machine, HostError if the host is lost or refuses.
    """
    connectors = [footing.connector for footing in found]
    queries = (*root_queries(connectors), (NAME_KEY, "ComputerName"))
    registry = session.registry_values(list(dict.fromkeys(queries)))
    _expect_same(host, registry[-1], earlier)
    facts = HostFacts(
        host.name,
        now,
        earlier.host_fact if earlier is not None else None,
        registry=tuple(registry),
        address=host.address,
    )
    facts = replace(facts, roots=_roots(host, connectors, facts))
    if any(expand(footing.item.path, facts.roots) is None for footing in found):
        facts = replace(facts, services=tuple(session.service_states(root_services(connectors))))
        facts = replace(facts, roots=_roots(host, connectors, facts))
    return facts


def _expect_same(host: Host, answer: RegistryValue, earlier: HostFacts | None) -> None:
    """Given the name that the machine says, raise PlanRefused if the last full snapshot is of another one."""
    before = earlier.host_fact.computer_name if earlier is not None and earlier.host_fact is not None else ""
    if before and answer.exists and folded(answer.text) != folded(before):
        raise PlanRefused(
            f"{host.name}: {answer.text} answered, and the last full snapshot is of {before}; "
            "nothing was saved.",
            "Correct the address in the inventory; if the machine was replaced, run: "
            f"exremote backup {host.name}",
        )


def _roots(host: Host, connectors: Sequence[Connector], facts: HostFacts) -> Mapping[str, str | None]:
    machine = facts.host_fact
    own = {"computername": machine.computer_name, "systemroot": machine.system_root} if machine else {}
    return resolve_roots(
        connectors,
        {(v.key.lower(), v.name.lower()): v.text if v.exists else None for v in facts.registry},
        {s.name.lower(): s.image_path for s in facts.services if s.exists},
        {**own, **host.variables},
    )


def moved(footing: Footing, facts: HostFacts) -> str:
    """Given what the host says now, return why its tables cannot lie over the full snapshot; '' if
    they can.
    """
    place = expand(footing.item.path, facts.roots)
    again = f"run: exremote backup {facts.host}"
    if place is None:
        return f"nothing says where it is any more; {again}"
    if folded(place) != folded(footing.root):
        return f"it is {place} now, and was {footing.root} when the last full snapshot was made; {again}"
    return ""


def tables_root(footing: Footing) -> str:
    """Given a footing, return the full path of the tables' folder on the host."""
    return below(footing.root, footing.item.table_folder)


def left_out(item: FileTree) -> tuple[str, ...]:
    """Given a tree, return the patterns of what is left out below its folder of tables."""
    return tuple(_inside(item.left_out, item.table_folder))


def _inside(patterns: Sequence[str], folder: str) -> Iterator[str]:
    """Given patterns of a tree, yield those that can mean something below a folder of it, relative
    to that.
    """
    prefix = folded(f"{folder}\\")
    for pattern in patterns:
        if "\\" not in pattern:
            yield pattern
        elif folded(pattern).startswith(prefix):
            yield pattern[len(prefix) :]


def whole_tree(footing: Footing, facts: HostFacts) -> HostFacts:
    """Given facts with the tables' folder alone, return them as of the tree that it lies in, for a
    judgment.
    """
    tree = facts.trees.get(footing.item.id)
    if tree is None:
        return facts
    prefix = f"{footing.item.table_folder}\\"
    entries = tuple(replace(entry, path=prefix + entry.path) for entry in tree.entries)
    whole = TreeFact(footing.root, True, tree.files, tree.bytes, "", entries)
    return replace(facts, trees={**facts.trees, footing.item.id: whole})

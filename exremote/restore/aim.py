"""What a restore, or an undo, wants to have on a host: gathered from snapshots. It looks at no host."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from exremote import regfile
from exremote.changes import ChangePlan, MakeFolders, RemoveFolders, SetAccessLists, SetValues, SwapFiles
from exremote.connector import Connector, RegistryKey, matches
from exremote.errors import IntegrityError, PlanRefused, UsageError
from exremote.facts import AccessLists, FactError, HostFacts
from exremote.folding import folded
from exremote.ntbackup import PARTS
from exremote.pack import datetime_to_ticks
from exremote.regfile import RegFile, RegValue
from exremote.repository import Composed, Entry, Snapshot
from exremote.restore.folders import folders_in
from exremote.restore.listed import lists_in


@dataclass(frozen=True, slots=True)
class Content:
    """One file as it is to be on the host, and where its bytes are here."""

    path: str
    r"""relative to its folder there, with `\`"""
    sha256: str
    """of its content"""
    size: int
    """bytes"""
    modified_ticks: int
    """last write time, in .NET ticks"""
    attributes: int
    """Windows file attributes"""
    source: Path
    """the file in the repository"""


@dataclass(frozen=True, slots=True)
class TreeAim:
    """One folder of the host as it is to be."""

    item: str
    """name of the item in the connector file"""
    root: str
    """the folder on the host, as the snapshot has it"""
    files: Mapping[str, Content | None]
    """by path in lower case; None for what is not to be there"""
    spelt: Mapping[str, str]
    """the same paths as the host spells them"""
    whole: bool = True
    """all files of the item are named: others are extra"""
    folders: tuple[str, ...] = ()
    """folders that are to be there, with something in them or not"""
    gone: tuple[str, ...] = ()
    """folders that are not to be there, unless something is in them"""
    lists: AccessLists | None = None
    """access lists that are to be there; None: the snapshot has not looked for them, so none is set"""
    listed: tuple[str, ...] = ()
    """files and folders whose lists count beside those that are named above"""


@dataclass(frozen=True, slots=True)
class KeyAim:
    """The values of one registry item as they are to be."""

    item: str
    """name of the item in the connector file"""
    key: str
    """the key as the snapshot has it"""
    values: tuple[tuple[str, str, RegValue | None], ...] = field(repr=False)
    """key, name and value, each to be so; None for one that is not to be there"""
    whole: bool = False
    """all values of these keys are named: others are extra"""


@dataclass(frozen=True, slots=True)
class _Recorded:
    """What is needed of a service's record in a snapshot."""

    name: str
    exists: bool
    state: str
    start_mode: str


@dataclass(frozen=True, slots=True)
class ServiceAim:
    """One service as it is to be."""

    state: str
    """`Running` or another state"""
    start_mode: str
    """such as `Manual`; empty if nobody knows"""


@dataclass(frozen=True, slots=True)
class Aim:
    """All that is wanted on one host."""

    connectors: tuple[str, ...]
    """whose snapshots these are"""
    sources: tuple[str, ...]
    """HOST/ID of each snapshot"""
    trees: tuple[TreeAim, ...]
    """folders and single files"""
    keys: tuple[KeyAim, ...]
    """registry items whose values may be set"""
    services: Mapping[str, ServiceAim]
    """by short name"""
    facts: HostFacts | None
    """what the host said when the newest of them was made; None if nobody can tell"""
    notes: tuple[str, ...] = ()
    """what the operator should know"""

    def contents(self) -> dict[str, Content]:
        """Return one content for each digest."""
        return {file.sha256: file for tree in self.trees for file in tree.files.values() if file}


def aim_of(
    snapshots: Sequence[Snapshot | Composed],
    connectors: Mapping[str, Connector],
    items: Collection[str] = (),
    in_transit: bool = False,
) -> Aim:
    """Given snapshots of one host, return what a restore of them wants; with `items`, only these.

    Of what several hold, the newest counts. Messages on their way are left out, unless `in_transit`.
    Raise IntegrityError if one cannot be trusted, UsageError for an item that none has, PlanRefused for a
    snapshot of a connector that this exremote does not know.
    """
    newest = sorted(snapshots, key=lambda s: (s.created, s.id), reverse=True)
    trees: dict[str, TreeAim] = {}
    keys: dict[str, KeyAim] = {}
    services: dict[str, ServiceAim] = {}
    notes: list[str] = []
    known: set[str] = set()
    for snapshot in newest:
        connector = connectors.get(snapshot.connector)
        if snapshot.connector in PARTS:
            raise PlanRefused(
                f"{snapshot.host}/{snapshot.id} is of {snapshot.connector}: only ntbackup restores that.",
                "`exremote export` gives the .bkf; see docs/ntbackup.md.",
            )
        if connector is None:
            raise PlanRefused(
                f"{snapshot.host}/{snapshot.id} is of {snapshot.connector}, which is no connector here.",
                "`exremote export` gives its files; see docs/restore-by-hand.md.",
            )
        manifest = snapshot.manifest
        documents = {d.stored: d for d in manifest.documents}
        known |= set(manifest.trees)
        for item, record in manifest.trees.items():
            if item not in trees and (not items or item in items):
                entries = [e for e in manifest.entries if e.item == item]
                tree = _tree(item, record.root, entries, snapshot, connector, in_transit)
                there = folders_in(snapshot, item, tree.spelt.values()) if tree.whole else ()
                trees[item] = replace(tree, folders=there, lists=lists_in(snapshot, item))
        for key in connector.registry_keys:
            document = documents.get(f"registry/{key.id}.reg")
            if document is None:
                continue
            known.add(key.id)
            if key.id not in keys and key.restore == "values" and (not items or key.id in items):
                keys[key.id] = _key(key, _reg(snapshot, snapshot.document(document)))
        if (document := documents.get("services.json")) is not None:
            for name, state in _services(snapshot, snapshot.document(document)).items():
                services.setdefault(name, state)
        notes += [f"the snapshot lacks {one.path}: {one.reason}" for one in manifest.missing]
    if unknown := set(items) - known:
        raise UsageError(
            f"No snapshot has an item {min(unknown)}.", f"There are: {', '.join(sorted(known))}."
        )
    passed = sorted(set(connectors) & {s.connector for s in newest})
    return Aim(
        tuple(passed),
        tuple(f"{s.host}/{name_of(s)}" for s in newest),
        tuple(trees.values()),
        tuple(keys.values()),
        services,
        _facts(newest[0]),
        tuple(dict.fromkeys(notes)),
    )


def name_of(snapshot: Snapshot | Composed) -> str:
    """Given a snapshot, return its id; of one with newer tables over it, `FULL+TABLES`."""
    over = snapshot.tables if isinstance(snapshot, Composed) else None
    return f"{snapshot.id}+{over.id}" if over is not None else snapshot.id


def parts_of(snapshots: Iterable[Snapshot | Composed]) -> tuple[Snapshot, ...]:
    """Given snapshots, return those that they are made of."""
    found: list[Snapshot] = []
    for one in snapshots:
        if isinstance(one, Snapshot):
            found.append(one)
        else:
            found += [one.full, *([one.tables] if one.tables is not None else [])]
    return tuple(found)


def aim_of_undo(
    plan: ChangePlan,
    safety: Sequence[Snapshot],
    connectors: Mapping[str, Connector],
    services: Mapping[str, ServiceAim],
) -> Aim:
    """Given the plan that was carried out, the snapshots taken before it, and the services as they were
    found, return what an undo wants: of all that the plan names, what was there.

    Raise PlanRefused if the snapshots do not hold something that it replaced.
    """
    held = {e.sha256: (e, s) for s in safety for e in s.manifest.entries}
    trees: list[TreeAim] = []
    lost: list[str] = []
    for step in (step for step in plan if isinstance(step, SwapFiles)):
        files: dict[str, Content | None] = {}
        by_place = {
            (e.item, folded(e.path)): (e, s)
            for s in safety
            for e in s.manifest.entries
            if e.item == step.item
        }
        for change in step.files:
            found = by_place.get((step.item, folded(change.path)))
            # What could not be read when the plan was made was saved when its services stood.
            if found is None or change.was not in (found[0].sha256, "?"):
                found = held.get(change.was) if change.was else None
            if change.was and found is None:
                lost.append(change.path)
                continue
            files[folded(change.path)] = _content(change.path, *found) if found and change.was else None
        spelt = {folded(change.path): change.path for change in step.files}
        trees.append(TreeAim(step.item, step.root, files, spelt, whole=False))
    trees = undone_lists(plan, safety, undone_folders(plan, trees))
    keys: list[KeyAim] = []
    for values in (step for step in plan if isinstance(step, SetValues)):
        texts = _exports(safety, values.item)
        before = [reg for reg in texts if reg is not None]
        wanted: list[tuple[str, str, RegValue | None]] = []
        for one in values.values:
            old = next((v for reg in before if (v := value_in(reg, one.key, one.name)) is not None), None)
            if one.was and old is None:
                lost.append(f"{one.key}, value {one.name or '(default)'}")
            wanted.append((one.key, one.name, old if one.was else None))
        keys.append(KeyAim(values.item, values.key, tuple(wanted)))
    if lost:
        more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
        raise PlanRefused(
            f"{plan.host}: the snapshots that were taken before do not hold {lost[0]}{more}.",
            "`exremote restore` brings an older snapshot back.",
        )
    return Aim(
        tuple(sorted({s.connector for s in safety} & set(connectors))),
        tuple(f"{s.host}/{s.id}" for s in safety),
        tuple(trees),
        tuple(keys),
        services,
        None,
    )


def undone_folders(plan: ChangePlan, trees: Sequence[TreeAim]) -> list[TreeAim]:
    """Given the plan that was carried out, and what an undo wants of files, add what it wants of folders."""
    found = {tree.item: tree for tree in trees}
    for step in plan:
        if isinstance(step, MakeFolders | RemoveFolders):
            tree = found.get(step.item, TreeAim(step.item, step.root, {}, {}, whole=False))
            gone, back = (step.folders, ()) if isinstance(step, MakeFolders) else ((), step.folders)
            found[step.item] = replace(tree, folders=tree.folders + back, gone=tree.gone + gone)
    return list(found.values())


def undone_lists(plan: ChangePlan, safety: Sequence[Snapshot], trees: Sequence[TreeAim]) -> list[TreeAim]:
    """Given the plan that was carried out, the snapshots taken before it, and what an undo wants so far, add
    what it wants of access lists. Raise IntegrityError if what was saved of them cannot be trusted.
    """
    found = {tree.item: tree for tree in trees}
    for step in plan:
        if isinstance(step, SetAccessLists):
            tree = found.get(step.item, TreeAim(step.item, step.root, {}, {}, whole=False))
            touched = tuple(change.path for change in step.lists if change.was)
            found[step.item] = replace(tree, listed=touched)
    return [
        replace(tree, lists=next((some for s in safety if (some := lists_in(s, item)) is not None), None))
        for item, tree in found.items()
    ]


def value_in(reg: RegFile, key: str, name: str) -> RegValue | None:
    """Given a .reg file, return one value of it, or None if it is not there; any case."""
    for path, values in reg.keys.items():
        if folded(path) == folded(key):
            return values.get(name.lower())
    return None


def _content(path: str, entry: Entry, snapshot: Snapshot | Composed) -> Content:
    return Content(
        path,
        entry.sha256,
        entry.size,
        datetime_to_ticks(entry.modified),
        entry.attributes & 0xFFFFFFFF,
        snapshot.file(entry),
    )


def _tree(
    item: str,
    root: str,
    entries: Iterable[Entry],
    snapshot: Snapshot | Composed,
    connector: Connector,
    in_transit: bool,
) -> TreeAim:
    trees = {tree.id: tree for tree in connector.file_trees}
    left = trees[item].in_transit if item in trees and not in_transit else ()
    kept = [e for e in entries if not any(matches(e.path, pattern) for pattern in left)]
    return TreeAim(
        item,
        root,
        {folded(e.path): _content(e.path, e, snapshot) for e in kept},
        {folded(e.path): e.path for e in kept},
        whole=item in trees and snapshot.kind == "full",
    )


def _key(key: RegistryKey, reg: RegFile) -> KeyAim:
    """Given a registry item and its export, return the values of it that a restore may set."""
    top = next(iter(reg.keys), key.path)
    wanted: list[tuple[str, str, RegValue | None]] = []
    for path, values in reg.keys.items():
        below = path[len(top) :].lstrip("\\")
        for value in values.values():
            place = f"{below}\\{value.name}".lstrip("\\")
            if not key.values or any(matches(place, pattern) for pattern in key.values):
                wanted.append((path, value.name, value))
    return KeyAim(key.id, top, tuple(wanted), whole=not key.values)


def _reg(snapshot: Snapshot | Composed, data: bytes) -> RegFile:
    try:
        return regfile.parse(data)
    except regfile.RegFileError as error:
        raise IntegrityError(
            f"the registry text of {snapshot.host}/{snapshot.id} cannot be read: {error}.",
            path=snapshot.path,
            entry="registry",
        ) from error


def _exports(snapshots: Iterable[Snapshot], item: str) -> list[RegFile | None]:
    found: list[RegFile | None] = []
    for snapshot in snapshots:
        for document in snapshot.manifest.documents:
            if document.stored == f"registry/{item}.reg":
                found.append(_reg(snapshot, snapshot.document(document)))
    return found


def _services(snapshot: Snapshot | Composed, data: bytes) -> dict[str, ServiceAim]:
    try:
        found = TypeAdapter(list[_Recorded]).validate_python(json.loads(data))
    except (ValueError, ValidationError) as error:
        raise IntegrityError(
            "the record of the services cannot be read.", path=snapshot.path, entry="services.json"
        ) from error
    return {one.name: ServiceAim(one.state, one.start_mode) for one in found if one.exists}


def _facts(snapshot: Snapshot | Composed) -> HostFacts | None:
    """Given a snapshot, return what the host said when it was made; None if it does not say."""
    for document in snapshot.manifest.documents:
        if document.stored == "facts.json":
            try:
                return HostFacts.from_json(json.loads(snapshot.document(document)))
            except (ValueError, FactError):
                return None  # written by another version: nothing that a restore hangs on
    return None

"""From facts to a plan: which connectors, which items, what cannot be taken and why. Pure: it asks nobody."""

from __future__ import annotations

import ntpath
from collections.abc import Mapping, Sequence

from exremote import health
from exremote.backup.stopping import stopped
from exremote.connector import Connector, DirectoryObject, FileTree, NamedFile, RegistryKey, below, expand
from exremote.facts import HostFacts, TreeFact
from exremote.inventory import Host
from exremote.plan import (
    CopyDirectoryObject,
    CopyFiles,
    CopyRegistryKey,
    CopyServiceStates,
    CopyStopped,
    CopyTree,
    Gap,
    ListedItem,
    Plan,
    ReadAccessLists,
    Step,
)


def choose(
    host: Host, facts: HostFacts, connectors: Mapping[str, Connector], only: Sequence[str]
) -> tuple[list[Connector], list[Gap], list[str]]:
    """Given a host's facts, choose the connectors that get a snapshot.

    Return them, a gap for each connector that the inventory lists and the host does not show, or of
    which nobody can tell whether it is there, and warnings for those that the inventory does not list.
    """
    unasked = health.unasked(facts)
    chosen: list[Connector] = []
    gaps: list[Gap] = []
    warnings: list[str] = []
    for name, connector in connectors.items():
        presence = facts.connectors.get(name)
        state = presence.state if presence else "unknown"
        listed = host.connectors is not None and name in host.connectors
        wanted = not only or name in only
        if listed and wanted:
            chosen.append(connector)
            if state in ("absent", "unknown") and presence is not None:
                lacking = ", ".join(presence.missing) or "nothing could be asked"
                gaps.append(
                    Gap((name,), f"connector {name}", f"listed, but not found on the host: {lacking}")
                )
        elif host.connectors is None and wanted and state in ("present", "partial"):
            chosen.append(connector)
        elif host.connectors is None and wanted and unasked:
            gaps.append(Gap((name,), f"connector {name}", f"nobody can tell whether it is there: {unasked}"))
        elif host.connectors is not None and not listed and state == "present":
            warnings.append(
                f"the connector {name} was found and is not in the inventory's list, so it is not saved; "
                f"`exremote inventory discover {host.name}` prints the entry to paste."
            )
    if unasked:
        # What hangs on these answers would be left out in silence: paths, optional keys, states.
        gaps += [Gap((c.name,), "what hangs on an unanswered question", unasked) for c in chosen]
    return chosen, gaps, warnings


def _because(facts: HostFacts, question: str) -> str:
    """Given a question, return why it has no answer, and what can be done about it; '' if it has one."""
    return health.with_remedy(facts.unavailable.get(question, ""), facts)


def plan_backup(
    host: str,
    facts: HostFacts,
    connectors: Sequence[Connector],
    known_digests: Mapping[str, str],
    gaps: Sequence[Gap] = (),
    may_stop: bool = False,
    guarded: bool = True,
) -> Plan:
    """Given facts and the connectors to save, return the plan: each item once, in the one order of kinds.

    `may_stop`: services that hold files open may be stopped for a copy of them within the host. `guarded`:
    the host can start them again by itself, should we vanish.
    """
    owners: dict[str, list[str]] = {}
    items: dict[str, FileTree | NamedFile | RegistryKey | DirectoryObject] = {}
    for connector in connectors:
        for item in connector.items():
            if isinstance(item, FileTree | NamedFile | RegistryKey | DirectoryObject):
                owners.setdefault(item.id, []).append(connector.name)
                items[item.id] = item
    steps: list[Step] = []
    lacking = list(gaps)
    secrets = _secrets(connectors, facts)
    for item in sorted(items.values(), key=_order):
        names = tuple(owners[item.id])
        taken, not_taken = _steps_of(item, names, facts, known_digests, secrets)
        steps += taken
        lacking += not_taken
    if may_stop:
        steps, without_room = stopped(steps, connectors, facts, guarded)
        lacking += without_room
    steps += [
        CopyServiceStates((connector.name,), (*(s.name for s in connector.services), *connector.recorded))
        for connector in connectors
    ]
    steps += _lists(steps, connectors)
    return Plan(host, tuple(c.name for c in connectors), tuple(steps), tuple(lacking))


def _lists(steps: Sequence[Step], connectors: Sequence[Connector]) -> list[Step]:
    """Given steps that copy, return the one that reads the access lists of what they copy: behind all else,
    for a snapshot can do without.
    """
    left_out = {tree.id: tree.left_out for connector in connectors for tree in connector.file_trees}
    items: list[ListedItem] = []
    for step in steps:
        match step:
            case CopyTree():
                items.append(ListedItem(step.item, step.connectors, step.root, (), step.exclude))
            case CopyFiles():
                items.append(ListedItem(step.item, step.connectors, step.root, step.files))
            case CopyStopped():
                items += [
                    ListedItem(tree.item, step.connectors, tree.root, (), left_out.get(tree.item, ()))
                    for tree in step.trees
                ]
            case _:
                pass
    owners = dict.fromkeys(name for item in items for name in item.connectors)
    return [ReadAccessLists(tuple(items), tuple(owners))] if items else []


def spoiled(findings: Sequence[health.Finding], connectors: Sequence[Connector]) -> list[Gap]:
    """Given findings, return a gap for each that says that what is saved may not be what is meant."""
    checks = {
        check.id: connector.name for connector in connectors for check in connector.checks if check.spoils
    }
    bad = [f for f in findings if f.check in checks and f.verdict.rank > health.Verdict.INFO.rank]
    return [
        Gap((checks[f.check],), f"proof that {f.title[0].lower()}{f.title[1:]}", f"{f.evidence}. {f.remedy}")
        for f in bad
    ]


def _order(item: FileTree | NamedFile | RegistryKey | DirectoryObject) -> int:
    """Given an item, return its place in the one order of kinds."""
    match item:
        case FileTree():
            return 0
        case NamedFile():
            return 1
        case RegistryKey():
            return 2
        case DirectoryObject():
            return 3


def _steps_of(
    item: FileTree | NamedFile | RegistryKey | DirectoryObject,
    names: tuple[str, ...],
    facts: HostFacts,
    known_digests: Mapping[str, str],
    secrets: Mapping[str, Sequence[str]],
) -> tuple[list[Step], list[Gap]]:
    """Given one item, return the steps that copy it, and the gaps that say what cannot be copied and why."""
    match item:
        case FileTree():
            tree = facts.trees.get(item.id)
            if tree is not None and tree.exists:
                unchanged = bool(tree.digest) and known_digests.get(item.id) == tree.digest
                copy = CopyTree(
                    item.id,
                    names,
                    tree.path,
                    item.left_out,
                    tuple(dict.fromkeys((*item.secret, *secrets.get(item.id, ())))),
                    tree.digest,
                    tree.files,
                    tree.bytes,
                    unchanged,
                    item.because,
                    item.moving,
                )
                return [copy], []
            place = expand(item.path, facts.roots)
            reason = _because(facts, f"tree {item.id}") or _absent(tree, place)
            excused = item.optional and (tree is not None or place is None)
            return [], [] if excused else [Gap(names, f"folder {place or item.id}", reason)]
        case NamedFile():
            return _files_of(item, names, facts)
        case RegistryKey():
            key = expand(item.path, facts.roots)
            if key is None:
                return [], [] if item.optional else [
                    Gap(names, f"registry key {item.id}", "its path is unknown")
                ]
            return [CopyRegistryKey(item.id, names, key, item.optional)], []
        case DirectoryObject():
            if refused := facts.unavailable.get(f"object {item.class_name}"):
                # The directory has backups of its own, and is a second hop from a WinRM session.
                return [], [Gap(names, f"directory object {item.class_name}", refused, essential=False)]
            return [CopyDirectoryObject(item.id, names, item.class_name)], []


def _files_of(item: NamedFile, names: tuple[str, ...], facts: HostFacts) -> tuple[list[Step], list[Gap]]:
    """Given single files, return the steps that copy them, and a gap for each that is there and closed to us.

    Where the best one is wanted, a better candidate that could not be read is a gap: the next one may
    be the wrong file.
    """
    candidates = facts.files.get(item.id, ())
    if item.take == "first":
        best = next((n for n, file in enumerate(candidates) if file.exists), len(candidates))
        candidates = candidates[: best + 1]
    gaps = [Gap(names, f"file {f.path}", health.with_remedy(f.error, facts)) for f in candidates if f.error]
    found = [f.path for f in candidates if f.exists]
    if not found and not gaps and not item.optional:
        looked = ", ".join(f.path for f in candidates) or item.id
        gaps = [Gap(names, f"file {looked}", _because(facts, f"file {item.id}") or "not found")]
    by_drive: dict[str, list[str]] = {}
    for path in found:
        by_drive.setdefault(ntpath.splitdrive(path)[0].lower(), []).append(path)
    steps: list[Step] = []
    for number, paths in enumerate(by_drive.values(), start=1):
        root = ntpath.commonpath([ntpath.dirname(path) for path in paths])
        relative = tuple(path[len(root) :].lstrip("\\") for path in paths)
        name = item.id if number == 1 else f"{item.id}-{number}"
        steps.append(CopyFiles(name, names, root, relative, item.secret))
    return steps, gaps


def _absent(tree: TreeFact | None, place: str | None) -> str:
    """Given a tree that is not there, return the reason in words."""
    if tree is not None:
        return f"{tree.path} is not on the host"
    return "its place is unknown" if place is None else "it was not looked for"


def _secrets(connectors: Sequence[Connector], facts: HostFacts) -> Mapping[str, Sequence[str]]:
    """Given connectors, return by tree the patterns of secret files that are known by name and lie in it:
    what is secret on its own is no less so in the folder that holds it.
    """
    named = [item for connector in connectors for item in connector.named_files if item.secret]
    paths = [file.path for item in named for file in facts.files.get(item.id, ()) if file.exists]
    found: dict[str, list[str]] = {}
    for name, tree in facts.trees.items():
        root = below(tree.path, "").lower()
        inside = (path[len(root) :] for path in paths if path.lower().startswith(root))
        # A bracket would begin a set of characters.
        found[name] = list(dict.fromkeys(path.replace("[", "[[]") for path in inside))
    return found

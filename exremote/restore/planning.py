"""What is wanted held against what is there: only what differs is planned. Pure: it asks nobody."""

from __future__ import annotations

import hashlib
import ntpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from exremote.changes import (
    UNREAD,
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
    StopService,
    SwapFiles,
    ValueChange,
)
from exremote.connector import Connector, FileTree, below, matches
from exremote.errors import PlanRefused
from exremote.facts import FileEntry, HostFact, HostFacts
from exremote.folding import folded
from exremote.regfile import RegFile, RegValue
from exremote.restore.aim import Aim, Content, KeyAim, TreeAim, value_in
from exremote.restore.folders import empty_folders, missing_folders
from exremote.restore.lists import Lists, plan_lists
from exremote.restore.order import services_of, start_order
from exremote.restore.owing import Owed
from exremote.restore.services import plan_services, sooner, used_services, wanted_services
from exremote.wording import count_text

STAGING = "exremote-staging"
ASIDE = "exremote-aside"
SPARE = 64 << 20
"""Bytes that stay free on a drive of the host."""
NO_LISTS = (
    "access lists were not looked for, so none is set: a file that is sent has the one that its folder "
    "beside the target hands down; set again what somebody had set by hand"
)
"""What a restore cannot bring back of a file, said wherever one is sent whose lists nobody knows."""
HIDDEN = "(secret)"
"""Stands for a value that nobody may see."""
_SECRET_NAME = re.compile("passw|pwd|secret|credential|account", re.IGNORECASE)
_SETTABLE = 0x01 | 0x02 | 0x04 | 0x20
"""Attributes that are compared: read-only, hidden, system, archive."""
_SOME = 5
"""How many names a sentence lists."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is on the host now."""

    facts: HostFacts
    """what it answered"""
    trees: Mapping[str, Mapping[str, FileEntry]]
    """by item: what lies below its folder, by path in lower case"""
    keys: Mapping[str, RegFile | None]
    """by item: its registry key; None if it is not there"""
    lists: Lists = field(default_factory=Lists)
    """access lists, where any are wanted"""
    staged: Mapping[str, int] = field(default_factory=dict)
    """by folder: bytes that a run which broke off has sent there already"""


def plan_changes(
    verb: Literal["restore", "undo"],
    host: str,
    aim: Aim,
    now: Standing,
    connectors: Mapping[str, Connector],
    most_s: int | None = None,
    owed: Owed | None = None,
) -> ChangePlan:
    """Given what is wanted and what is there, return the plan: the differences, in the order of the deed.

    `most_s`: how long one stop or start may take at most, in seconds, whatever the connector files say.
    `owed`: what runs that broke off have left undone and what no look shows.
    Raise PlanRefused, with all reasons, if something stands in its way.
    """
    owed = owed or Owed()
    refusals = list(_missing_services(aim, now.facts))
    notes = list(aim.notes)
    swaps: list[SwapFiles] = []
    make: list[MakeFolders] = []
    remove: list[RemoveFolders] = []
    lists: list[SetAccessLists] = []
    unlisted: list[str] = []
    for tree in aim.trees:
        rule = rule_of(tree.item, connectors)
        swap, left, against = _swap(tree, now.trees.get(tree.item, {}), rule)
        refusals += against
        notes += left
        if swap.files:
            swaps.append(swap)
        found = now.trees.get(tree.item, {})
        missing, unmade = missing_folders(tree.root, tree.folders, found)
        empty, full = empty_folders(tree.root, tree.gone, found, swap)
        notes += unmade + full
        make += [MakeFolders(tree.item, tree.root, tuple(missing))] if missing else []
        remove += [RemoveFolders(tree.item, tree.root, tuple(empty))] if empty else []
        if tree.lists is not None:
            differ, said = plan_lists(tree, now.lists, found, swap, missing, rule, tree.item in owed.lists)
            lists += [differ] if differ is not None else []
            notes += said
        elif any(change.what in ("new", "changed") for change in swap.files):
            unlisted.append(tree.item)
    values = [step for key in aim.keys if (step := _values(key, now.keys.get(key.item), notes)).values]
    changed = {swap.item for swap in swaps} | {step.item for step in values}
    swaps = _each_once(swaps)
    if verb == "restore":  # an undo brings back what was before what broke off
        again, said = _taken_up(aim, now, connectors, owed)
        changed |= again
        notes += said
    users = _users(changed, connectors, now.facts, aim)
    sends = [
        SendFiles(swap.item, swap.staging, len(sent), sum(f.size for f in sent))
        for swap in swaps
        if (sent := [f for f in swap.files if f.what in ("new", "changed")])
    ]
    refusals += _no_room(sends, now)
    if refusals:
        raise _refused(host, refusals)
    there = [c for name, c in connectors.items() if _is_there(name, now.facts, aim)]
    order = start_order(there, now.facts)
    if most_s is not None:
        order = [sooner(service, most_s) for service in order]
    wanted = wanted_services(aim, there, now.facts, exact=verb == "undo")
    stops, starts = plan_services(
        order, used_services(users, order, now.facts), users, wanted, now.facts, changed
    )
    erase: list[EraseWorkFiles] = []
    for tree in aim.trees:
        if (rule := rule_of(tree.item, connectors)) is None or not rule.work_files or not users:
            continue
        if beside := _run_beside(_users({tree.item}, connectors, now.facts, aim), stops, now.facts):
            verbs = "uses it, and runs on" if len(beside) == 1 else "use it, and run on"
            notes.append(f"work files in {tree.root} are left: {', '.join(beside)} {verbs}")
        else:
            erase.append(_erase(tree, rule, now.trees.get(tree.item, {})))
    confirms = [
        Confirm(step.name, step.text)
        for connector in users
        for step in connector.human_steps
        if changed & set(step.items)
    ]
    steps: list[ChangeStep] = [
        *sends, *stops, *make, *swaps, *remove, *erase, *lists, *values, *confirms, *starts
    ]  # fmt: skip
    unproven = [name for name in aim.connectors if verb == "restore" and name in owed.proof]
    if steps or unproven:
        running = tuple(step.service for step in starts if step.will == "Running")
        proven = dict.fromkeys([*(c.name for c in users), *(aim.connectors if starts else unproven)])
        if verb == "undo":
            proven = {}  # what was sick before is to be so again
        steps.append(Prove(running, tuple(proven)))
    if steps and owed.broken and verb == "restore":
        own = "an undo of this restore brings back how that left it; after it, "
        if all(isinstance(step, Prove) for step in steps):
            own = ""
        notes.append(
            f"{owed.broken} changed something here and broke off: {own}`exremote undo {owed.broken}` brings "
            "back what was before"
        )
    notes += [
        f"the journal of {run} is damaged: what it left undone here, and which services it had stopped, "
        f"nobody can tell; `exremote runs {run}` says what is left of it, `exremote health {host}` how it is"
        for run in owed.damaged
    ]
    if unlisted:
        notes.append(NO_LISTS if not lists else f"{', '.join(unlisted)}: {NO_LISTS}")
    others = [c.name for c in users if c.name not in aim.connectors]
    if others and stops:
        notes.append(f"{', '.join(others)} stops too: it shares what is restored")
    machine = now.facts.host_fact.computer_name if now.facts.host_fact else ""
    return ChangePlan(host, machine, verb, aim.sources, tuple(steps), tuple(dict.fromkeys(notes)))


def _taken_up(
    aim: Aim, now: Standing, connectors: Mapping[str, Connector], owed: Owed
) -> tuple[set[str], list[str]]:
    """Return the items that count as changed, for a run that broke off owes what is done behind a change of
    them, and a sentence for each thing that is taken up.
    """
    items: set[str] = set()
    notes = []
    for tree in aim.trees:
        rule = rule_of(tree.item, connectors)
        if rule is None or (run := owed.work_files.get(tree.item)) is None:
            continue
        if (erase := _erase(tree, rule, now.trees.get(tree.item, {}))).seen:
            items.add(tree.item)
            notes.append(
                f"{run} broke off before it had erased the work files in {erase.root}: it is done now"
            )
    wanted = {tree.item for tree in aim.trees} | {key.item for key in aim.keys}
    own = [connectors[name] for name in aim.connectors if name in connectors]
    for step in (step for connector in own for step in connector.human_steps):
        if (run := owed.people.get(step.name)) is not None and (due := wanted & set(step.items)):
            items |= due
            notes.append(f"{run} broke off before a person was asked ({step.name}): it is done now")
    return items, notes


def check_machine(host: str, aim: Aim, facts: HostFacts) -> None:
    """Given what is wanted and who answered, raise PlanRefused if that is another machine, or another Windows
    folder: the snapshot's paths would not be its own.
    """
    was, now = aim.facts.host_fact if aim.facts else None, facts.host_fact
    if now is None:
        raise PlanRefused(
            f"{host}: it does not say what machine it is: {facts.unavailable.get('host', 'no answer')}.",
            "`exremote doctor` says what is in the way.",
        )
    if was is None:
        return
    if folded(was.computer_name) != folded(now.computer_name):
        raise PlanRefused(
            f"{host}: the snapshot is of the machine {was.computer_name}, and {now.computer_name} answers.",
            "Correct the address in the inventory; to restore to another machine on purpose, use --to.",
        )
    if folded(was.system_root) != folded(now.system_root):
        raise PlanRefused(
            f"{host}: Windows lies in {now.system_root}, and lay in {was.system_root} then.",
            "Reinstall Windows into the same folder: what the snapshot holds names it.",
        )


def _refused(host: str, refusals: Sequence[str]) -> PlanRefused:
    rest = len(refusals) - _SOME
    more = f" And {count_text(rest, 'more reason')}." if rest > 0 else ""
    return PlanRefused(f"{host}: {' '.join(refusals[:_SOME])}{more}", "Nothing was changed.")


def _missing_services(aim: Aim, facts: HostFacts) -> list[str]:
    """Return a sentence for each service that is wanted and not registered."""
    gone = [name for name in aim.services if (state := facts.service(name)) is not None and not state.exists]
    if not gone:
        return []
    return [
        f"The host has no service {', '.join(gone)}: files alone do not bring it back. Run Exchange's "
        "`setup /disasterrecovery` there and select its connectors, then restore."
    ]


def rule_of(item: str, connectors: Mapping[str, Connector]) -> FileTree | None:
    """Given an item, return its folder's rules; None if it is no folder."""
    return next((t for c in connectors.values() for t in c.file_trees if t.id == item), None)


def _swap(
    tree: TreeAim, now: Mapping[str, FileEntry], rule: FileTree | None
) -> tuple[SwapFiles, list[str], list[str]]:
    """Given one folder, return what differs, notes about what is left, and what stands in the way."""
    staging, aside = scratch_of(tree)
    volatile = rule.volatile if rule else ()
    changes: list[FileChange] = []
    against: list[str] = []
    for place, content in sorted(tree.files.items()):
        path = tree.spelt[place]
        entry = now.get(place)
        if why := _blocked(place, entry, now):
            against.append(f"{below(tree.root, path)} {why}.")
            continue
        change = _change(path, content, entry, any(matches(path, p) for p in volatile))
        if change is not None:
            changes.append(change)
    notes, extra = _extras(tree, now, rule)
    changes += extra
    swap = SwapFiles(
        tree.item,
        tree.root,
        staging,
        aside,
        tuple(changes),
    )
    return swap, notes, against


def scratch_of(tree: TreeAim) -> tuple[str, str]:
    """Given one folder, return where files for it are sent to, and where what they replace goes meanwhile."""
    base = ntpath.dirname(tree.root.rstrip("\\")) or tree.root
    beside = tree.root if folded(base.rstrip("\\")) == folded(tree.root.rstrip("\\")) else base
    return below(beside, f"{STAGING}-{tree.item}"), below(beside, f"{ASIDE}-{tree.item}")


def _each_once(swaps: Sequence[SwapFiles]) -> list[SwapFiles]:
    """Given swaps in their order, leave out of each what an earlier one does: folders lie in each other."""
    seen: set[tuple[str, str]] = set()
    found: list[SwapFiles] = []
    for swap in swaps:
        own = {(folded(below(swap.root, change.path)), change.will): change for change in swap.files}
        if left := tuple(change for key, change in own.items() if key not in seen):
            found.append(replace(swap, files=left))
        seen |= own.keys()
    return found


def _blocked(place: str, entry: FileEntry | None, now: Mapping[str, FileEntry]) -> str:
    """Given where a file is to lie, return why it cannot; empty if it can."""
    if entry is not None and entry.state == "directory":
        return "is a folder now, and was a file: move it away yourself"
    if entry is not None and entry.state == "reparse":
        return "is a link now, and was a file: remove the link yourself, if nobody needs it"
    folders = [place[:n] for n, char in enumerate(place) if char == "\\"]
    for folder in folders:
        above = now.get(folder)
        if above is not None and above.state == "reparse":
            return f"lies below {above.path}, which is a link now: remove it yourself, if nobody needs it"
        if above is not None and above.state in ("file", "excluded"):
            return f"lies below {above.path}, which is a file now: move it away yourself"
    return ""


def _change(path: str, content: Content | None, entry: FileEntry | None, volatile: bool) -> FileChange | None:
    """Given one file as it is to be and as it is, return the difference, or None."""
    was = "" if entry is None else entry.sha256 or UNREAD
    if content is None:
        return FileChange(path, was, "", volatile=volatile) if was else None
    same = entry is not None and entry.sha256 == content.sha256
    if same and entry is not None:
        times = entry.modified_ticks // 10 == content.modified_ticks // 10
        if times and (entry.attributes ^ content.attributes) & _SETTABLE == 0:
            return None
    return FileChange(
        path,
        was,
        content.sha256,
        content.size,
        content.modified_ticks,
        content.attributes,
        volatile,
    )


def _extras(
    tree: TreeAim, now: Mapping[str, FileEntry], rule: FileTree | None
) -> tuple[list[str], list[FileChange]]:
    """Given one folder, return what is said of files that the snapshot has not, and what moves aside."""
    if not tree.whole or rule is None:
        return [], []
    apart = (*rule.volatile, *rule.left_out)
    extra = [
        entry
        for place, entry in sorted(now.items())
        if entry.state in ("file", "unhashed", "unreadable")
        and place not in tree.files
        and not any(matches(entry.path, pattern) for pattern in apart)
    ]
    if not extra:
        return [], []
    names = ", ".join(entry.path for entry in extra[:_SOME])
    more = f" and {len(extra) - _SOME} more" if len(extra) > _SOME else ""
    if rule.extra == "aside":
        moved = [FileChange(e.path, e.sha256 or UNREAD, "") for e in extra]
        return [f"extra in {tree.root}, moved aside: {names}{more}"], moved
    return [f"extra in {tree.root}, not in the snapshot, left as they are: {names}{more}"], []


def _values(key: KeyAim, now: RegFile | None, notes: list[str]) -> SetValues:
    """Given one registry item, return the values that differ."""
    changes: list[ValueChange] = []
    for path, name, wanted in key.values:
        found = value_in(now, path, name) if now else None
        if _same(found, wanted):
            continue
        secret = _SECRET_NAME.search(name) is not None
        digest = "" if wanted is None or secret else _digest(wanted)
        changes.append(ValueChange(path, name, _shown(found, secret), _shown(wanted, secret), digest))
    if now is not None and key.whole:
        known = {(folded(path), name.lower()) for path, name, _ in key.values}
        tops = {folded(path) for path, _, _ in key.values}
        extra = [
            f"{path}, value {value.name or '(default)'}"
            for path, values in now.keys.items()
            for name, value in values.items()
            if folded(path) in tops and (folded(path), name) not in known
        ]
        if extra and changes:
            notes.append(f"extra in the registry, left as it is: {', '.join(extra[:_SOME])}")
    return SetValues(key.item, key.key, tuple(changes))


def _same(one: RegValue | None, other: RegValue | None) -> bool:
    if one is None or other is None:
        return one is other
    return (one.kind, one.data) == (other.kind, other.data)


def _shown(value: RegValue | None, secret: bool) -> str:
    return "" if value is None else HIDDEN if secret else value.text


def _digest(value: RegValue) -> str:
    return hashlib.sha256(value.kind.to_bytes(4, "little") + value.data).hexdigest()


def _is_there(name: str, facts: HostFacts, aim: Aim) -> bool:
    seen = facts.connectors.get(name)
    return name in aim.connectors or (seen is not None and seen.state in ("present", "partial"))


def _users(
    changed: set[str], connectors: Mapping[str, Connector], facts: HostFacts, aim: Aim
) -> list[Connector]:
    """Return the connectors of the host that use something that changes."""
    return [
        connector
        for name, connector in connectors.items()
        if _is_there(name, facts, aim) and changed & {item.id for item in connector.items()}
    ]


def _run_beside(users: Sequence[Connector], stops: Sequence[StopService], facts: HostFacts) -> list[str]:
    """Given connectors that use something, and what stops, return those of their services that run on."""
    stopped = {step.service.lower() for step in stops}
    states = [
        facts.service(service.name) for name, service in services_of(users).items() if name not in stopped
    ]
    return [state.name for state in states if state is not None and state.exists and state.state != "Stopped"]


def _erase(tree: TreeAim, rule: FileTree, now: Mapping[str, FileEntry]) -> EraseWorkFiles:
    found = [e.path for e in now.values() if e.size >= 0 and any(matches(e.path, p) for p in rule.work_files)]
    return EraseWorkFiles(
        tree.item,
        tree.root,
        rule.work_files,
        tuple(sorted(path for path in found if "\\" not in path)),
        tuple(sorted(path for path in found if "\\" in path)),
    )


def free_on(path: str, host: HostFact | None) -> int | None:
    """Given a path and what the host says of itself, return the bytes free on its drive; None if not said."""
    disk = host.disk_of(path) if host is not None else None
    return disk.free if disk is not None else None


def _no_room(sends: Sequence[SendFiles], now: Standing) -> list[str]:
    """Return a sentence for each drive of the host that has not the room for what is sent there."""
    need: dict[str, int] = {}
    for send in sends:
        drive = ntpath.splitdrive(send.staging)[0].upper()
        need[drive] = need.get(drive, 0) + max(0, send.bytes - now.staged.get(send.staging, 0))
    return [
        f"Drive {drive} has {free} bytes free, and {size + SPARE} are needed beside what is replaced."
        for drive, size in need.items()
        if (free := free_on(drive, now.facts.host_fact)) is not None and size + SPARE > free
    ]

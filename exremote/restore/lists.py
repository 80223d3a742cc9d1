"""Access lists of one host: which are to be there, and which differ. Pure: it asks nobody.

A snapshot that has not looked for them wants none. What inherits all and was not sent stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from exremote.changes import ListChange, SetAccessLists, SwapFiles
from exremote.connector import FileTree, below, matches
from exremote.facts import INHERIT, AccessLists, FileEntry, accounts_in
from exremote.folding import folded
from exremote.restore.aim import TreeAim
from exremote.runner import unread_words

GONE = "ExRemote.PathMissing"
"""What a host says of a folder that is not there."""
_SOME = 5


@dataclass(frozen=True, slots=True)
class Lists:
    """Access lists as they are on a host now."""

    found: Mapping[str, AccessLists] = field(default_factory=dict)
    """by item"""
    strangers: frozenset[str] = frozenset()
    """SIDs that are wanted, and that the host does not know"""
    why: str = ""
    """why nobody can tell; empty if the host was asked, or there was nothing to ask"""


def plan_lists(
    tree: TreeAim,
    now: Lists,
    there: Mapping[str, FileEntry],
    swap: SwapFiles,
    made: Collection[str],
    rule: FileTree | None,
    anew: bool = False,
) -> tuple[SetAccessLists | None, list[str]]:
    """Given a folder whose snapshot has looked for access lists, what is there, the files that change and the
    folders that are made, return the step that sets what differs, and what is to be said.

    `anew`: a run that was broken off may have sent any of the files, so each of them inherits anew.
    """
    wanted, known = tree.lists, now.found.get(tree.item)
    assert wanted is not None
    if known is None or known.reason not in ("", GONE):
        why = now.why if known is None else unread_words(known.reason)
        return None, [f"access lists of {tree.root} cannot be read now, so none is set: {why}"]
    sent = {folded(change.path): change for change in swap.files if change.what in ("new", "changed")}
    was, will = _folded(known.lists), _folded(wanted.lists)
    closed_now, closed_then = _folded(known.unread), _folded(wanted.unread)
    own = {sid for sddl in known.lists.values() for sid in accounts_in(sddl)}
    changes: list[ListChange] = []
    unread: list[str] = []
    strange: dict[str, list[str]] = {}
    bare: list[str] = []
    for place, path in _places(tree, known, there, sent, made).items():
        if place not in sent and rule and any(matches(path, pattern) for pattern in rule.left_out):
            continue  # of what is not copied the snapshot has no list, so nobody knows that it inherited
        volatile = any(matches(path, pattern) for pattern in (rule.volatile if rule else ()))
        before = was.get(place, INHERIT) if _is_there(place, known, there) else ""
        after = will.get(place, INHERIT)
        closed = place in closed_then or (bool(before) and place in closed_now)
        strangers = frozenset[str]() if closed else (accounts_in(after) & now.strangers) - own
        if closed or strangers:
            (unread if closed else strange.setdefault(min(strangers), [])).append(below(tree.root, path))
            bare += [below(tree.root, path)] if place in sent else []
        elif place in sent:
            if after != INHERIT or before not in ("", INHERIT):
                changes.append(ListChange(path, before, after, sent[place].volatile))
        elif anew and tree.files.get(place) is not None:
            changes.append(ListChange(path, before, after, volatile))
        elif (not volatile or not before) and after != (before or INHERIT):  # a folder that is made has none
            changes.append(ListChange(path, before, after))
    notes = [
        f"the account {sid} is unknown to this host, so a list that names it is not set: {_names(paths)}"
        for sid, paths in sorted(strange.items())
    ]
    if unread:
        notes.append(f"access lists that could not be read, now or then, are not set: {_names(unread)}")
    if bare:
        notes.append(
            "of these the files that are sent inherit from their folder, which may let in more than their "
            f"own lists did; look at them before you let people in: {_names(bare)}"
        )
    listed = {folded(change.path) for change in changes}
    inherit = len(sent.keys() - listed)
    if not changes and not inherit:
        return None, notes
    return SetAccessLists(tree.item, tree.root, tuple(changes), inherit), notes


def _folded(found: Mapping[str, str]) -> dict[str, str]:
    return {folded(path): said for path, said in found.items()}


def _places(
    tree: TreeAim,
    known: AccessLists,
    there: Mapping[str, FileEntry],
    sent: Collection[str],
    made: Iterable[str],
) -> dict[str, str]:
    """Return, by place, what has a list that counts and will be there: no link, nothing below one."""
    folders = {folded(path) for path in made}
    root = {"": ""} if tree.whole and (known.reason != GONE or sent or folders) else {}
    files = {place: tree.spelt[place] for place, content in tree.files.items() if content is not None}
    paths = {folded(path): path for path in (*tree.folders, *tree.listed)}
    found: dict[str, str] = {}
    for place, path in (root | paths | files).items():
        entry = there.get(place)
        plain = entry is None or entry.state not in ("reparse", "unreadable")
        if (plain or place in sent) and (not place or place in sent or place in folders or entry is not None):
            found[place] = path
    return found


def _is_there(place: str, known: AccessLists, there: Mapping[str, FileEntry]) -> bool:
    return place in there if place else known.reason != GONE


def _names(paths: list[str]) -> str:
    more = f" and {len(paths) - _SOME} more" if len(paths) > _SOME else ""
    return ", ".join(paths[:_SOME]) + more


def saved_lists(
    step: SetAccessLists | None, swap: SwapFiles | None, removed: Iterable[str], found: AccessLists
) -> AccessLists:
    """Given the step of an item, the files of it that are replaced or moved away, the folders
    that are removed, and its lists as they are now, return of these what is touched: what an undo brings
    back, or cannot.
    """
    touched = {folded(path) for path in removed}
    touched |= {folded(change.path) for change in (step.lists if step else ())}
    touched |= {folded(change.path) for change in (swap.files if swap else ()) if change.was}
    return AccessLists(
        {path: sddl for path, sddl in found.lists.items() if folded(path) in touched},
        {path: error for path, error in found.unread.items() if folded(path) in touched},
    )

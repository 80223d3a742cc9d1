"""Access lists, read for the snapshots: never a reason for one to be incomplete. It judges none."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from exremote.connector import below, matches
from exremote.errors import HostError, ScriptFailed
from exremote.facts import AccessLists, in_words, reason_of
from exremote.plan import ListedItem, ReadAccessLists
from exremote.session import ListRoot, Session

GONE = "ExRemote.PathMissing"
_ALL_BELOW = re.compile(r"\\\??\*$")
SOME = 5
"""How many names a sentence lists."""


def document_of(item: str) -> str:
    """Given an item, return where in a snapshot its access lists stand."""
    return f"access/{item}.tsv"


def read_lists(
    step: ReadAccessLists, session: Session, tell: Callable[[str], None]
) -> tuple[dict[str, AccessLists], dict[str, str]]:
    """Given what is looked at, return the lists of each item, and of each other item why there are none.

    It is the last question, and what was copied is here: a host that is lost by now spoils nothing.
    """
    try:
        found, _ = session.access_lists([root_of(item.root, item.exclude, item.only) for item in step.items])
    except HostError as error:
        tell(error.text)
        why = reason_of(error) if isinstance(error, ScriptFailed) else error.message.rstrip(".")
        return {}, {item.item: why for item in step.items}
    lists: dict[str, AccessLists] = {}
    reasons: dict[str, str] = {}
    for item, one in zip(step.items, found, strict=True):
        if one.reason:
            reasons[item.item] = unread_words(one.reason)
        else:
            lists[item.item] = counted(one, item)
    return lists, reasons


def root_of(root: str, exclude: Sequence[str], only: tuple[str, ...] = ()) -> ListRoot:
    """Given a folder and patterns of files that are not copied, return what is asked about it: nothing in
    folders of which no file is copied.
    """
    # In a folder `?*` is all that `*` is.
    tops = [p.removesuffix("*").removesuffix("?").removesuffix("\\") for p in exclude if _ALL_BELOW.search(p)]
    closed = [top for top in tops if not {"*", "?"} & set(top)]
    return ListRoot(root, only, tuple(closed))


def counted(lists: AccessLists, item: ListedItem) -> AccessLists:
    """Given lists of an item, return those of what is copied: work files come and go."""

    def kept(path: str) -> bool:
        return not any(matches(path, pattern) for pattern in item.exclude)

    return AccessLists(
        {path: sddl for path, sddl in lists.lists.items() if kept(path)},
        {path: error for path, error in lists.unread.items() if kept(path)},
    )


def some_of(root: str, paths: Sequence[str]) -> str:
    """Given a folder and paths below it, return the first of them, and how many more there are."""
    more = f" and {len(paths) - SOME} more" if len(paths) > SOME else ""
    return ", ".join(below(root, path) for path in paths[:SOME]) + more


def unread_words(reason: str) -> str:
    """Given why a folder, or a list, could not be looked at, return it in words."""
    return "the folder is not there" if reason == GONE else in_words(reason)

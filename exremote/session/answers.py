"""Whether an answer can be what was asked for: pure checks of listings, paths and sizes. It asks nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from exremote.facts import (
    TreeFact,
)
from exremote.folding import folded
from exremote.pack import Listing

REPARSE = 0x400


def weight(record: object) -> int:
    """Given a record, return about how many bytes it holds; what it holds many times over, once."""
    total, seen, left = 0, set[int](), [record]
    while left:
        part = left.pop()
        if isinstance(part, str | bytes):
            total += len(part)
        elif isinstance(part, Mapping | list | tuple):
            if id(part) not in seen:
                seen.add(id(part))
                total += 8 + (sum(len(str(key)) for key in part) if isinstance(part, Mapping) else 0)
                left += part.values() if isinstance(part, Mapping) else part
        else:
            total += 8
    return total


def same_path(said: str, asked: str) -> bool:
    """Given two paths of a host, return whether they are the same place, in any case of letters."""
    return folded(said.rstrip("\\")) == folded(asked.rstrip("\\"))


def _excluded(exclude: Sequence[str]) -> re.Pattern[str]:
    """Given the patterns that were sent, return them as Get-FileTree understands them for files."""
    parts = ["(?!)"]
    for text in filter(None, exclude):
        some, one = (".*", ".") if "\\" in text else (r"[^\\]*", r"[^\\]")
        inner = "".join({"*": some, "?": one}.get(char, re.escape(char)) for char in text)
        parts.append(inner if "\\" in text else r"(?:.*\\)?" + inner)
    return re.compile(f"(?is)(?:{'|'.join(parts)})")


def wrong_listing(fact: TreeFact, listing: Listing, exclude: Sequence[str], hashed: bool) -> str:
    """Given what a host says of a tree and what was asked, return what does not belong together, or ''."""
    if not fact.exists:
        return "it is said not to be there and comes all the same" if listing.entries else ""
    if fact.digest != listing.digest:
        return "the digests differ"
    counted = size = 0
    wrong = ""
    folders, files = {folded(text) for text in exclude}, _excluded(exclude)
    for entry in listing.entries:
        if entry.state != "excluded" and entry.size >= 0:
            counted, size = counted + 1, size + entry.size
        match entry.state:
            case "excluded" if entry.size < 0:
                right = folded(f"{entry.path}\\*") in folders
            case "excluded":
                right = files.fullmatch(entry.path) is not None
            case "unhashed":
                right = not hashed
            case "reparse":
                right = bool(entry.attributes & REPARSE)
            case _:
                right = True
        if not right and not wrong:
            wrong = f"{entry.path[:200]!r} is marked as {entry.state}, which it cannot be"
    return wrong if (fact.files, fact.bytes) == (counted, size) else "the numbers of files or bytes differ"

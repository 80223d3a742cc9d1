"""Folders of a host, with something in them or not: which are to be there, and which differ. Pure.

A snapshot keeps files; its folders stand in the listing of each tree, in every version's. It removes nothing
that has something in it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

from exremote.changes import SwapFiles
from exremote.connector import below
from exremote.facts import FileEntry
from exremote.folding import folded
from exremote.pack import PackError, TreeEntry, parse_listing
from exremote.repository import Composed, Snapshot

DIRECTORY = 0x10
"""The attribute of a folder."""


def folders_in(snapshot: Snapshot | Composed, item: str, files: Iterable[str]) -> tuple[str, ...]:
    """Given a snapshot, one of its trees and the files of it, return the folders that were there, sorted.

    Without a listing, or with one that cannot be read, these are the folders of the files. Raise
    IntegrityError if the listing is not what the manifest says.
    """
    found: dict[str, str] = {}
    for document in snapshot.manifest.documents:
        if document.stored == f"trees/{item}.tsv":
            with suppress(PackError):
                # Of what was left out on purpose the folder itself is known all the same.
                listing = parse_listing(snapshot.document(document)).entries
                found = {folded(e.path): e.path for e in listing if e.state == "directory" or _left(e)}
    for path in files:
        while path := path.rpartition("\\")[0]:
            found.setdefault(folded(path), path)
    return tuple(sorted(found.values()))


def _left(entry: TreeEntry) -> bool:
    return entry.state == "excluded" and entry.attributes & DIRECTORY != 0


def missing_folders(
    root: str, wanted: Iterable[str], now: Mapping[str, FileEntry]
) -> tuple[list[str], list[str]]:
    """Given a folder, those that are to be below it and what is there now, return those that are missing, and
    a note for each that cannot be made.
    """
    missing: list[str] = []
    notes: list[str] = []
    for path in wanted:
        places = [path[:n] for n, char in enumerate(path) if char == "\\"]
        above = next((e for p in places if (e := now.get(folded(p))) and not _open(e)), None)
        entry = now.get(folded(path))
        if above is not None:
            notes.append(f"folder {below(root, path)} is not made: {above.path} is no folder now")
        elif entry is None:
            missing.append(path)
        elif entry.size >= 0 and entry.state != "reparse":
            notes.append(f"folder {below(root, path)} is not made: it is a file now")
    return missing, notes


def _open(entry: FileEntry) -> bool:
    """Return whether something can be made below an entry."""
    return entry.attributes & DIRECTORY != 0 and entry.state != "reparse"


def empty_folders(
    root: str, unwanted: Collection[str], now: Mapping[str, FileEntry], swap: SwapFiles
) -> tuple[list[str], list[str]]:
    """Given folders that are not to be there, what is there now, and the files that go, return the folders
    that are empty then, and a note for each other one.
    """
    going = {folded(change.path) for change in swap.files if not change.will}
    empty: set[str] = set()
    notes: list[str] = []
    there = [path for path in unwanted if (e := now.get(folded(path))) and e.state == "directory"]
    for path in sorted(there, key=lambda path: path.count("\\"), reverse=True):
        place = folded(path)
        left = [e for p, e in now.items() if p.startswith(f"{place}\\") and p not in going | empty]
        if left:
            notes.append(f"folder {below(root, path)} stays: {left[0].path} is in it")
        else:
            empty.add(place)
    return [path for path in there if folded(path) in empty], notes

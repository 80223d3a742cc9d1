"""What was damaged becomes what it was, when its content comes anew. It touches no file that is good.

A snapshot that was read back whole is the source: of all that it holds, what is noted as damaged is given to
the other snapshots that name it, a file at a time, each by one rename.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from pathlib import Path

from exremote.errors import RepositoryError
from exremote.repository import disk
from exremote.repository.damage import DamageNotes
from exremote.repository.manifest import Document, Entry
from exremote.repository.snapshot import Snapshot


def named(snapshot: Snapshot) -> Iterator[Document | Entry]:
    """Given a snapshot, return all files that its manifest names; none if nobody can read it."""
    with suppress(RepositoryError):
        return chain[Document | Entry](snapshot.manifest.documents, snapshot.manifest.entries)
    return iter(())


def damage_in(snapshot: Snapshot, is_damaged: Callable[[str], bool]) -> str:
    """Given a snapshot, return which of its files `verify` found damaged, in words; '' if none."""
    hurt = [file.stored for file in named(snapshot) if is_damaged(file.sha256)]
    more = f" and {len(hurt) - 1} more" if len(hurt) > 1 else ""
    return f"`exremote verify` found {hurt[0]}{more} damaged" if hurt else ""


def mend(
    root: Path, notes: DamageNotes, good: Snapshot, others: Callable[[], Iterable[Snapshot]]
) -> list[str]:
    """Given a snapshot that was just read back whole, mend with its contents what is noted as damaged.

    Return the names of the other snapshots that have files again. What killed it in the middle leaves the
    notes: the next run does the rest. Raise RepositoryError if the system refuses.
    """
    noted = notes.read()
    if not noted:
        return []  # and no manifest is read for it
    sources = {file.sha256: good.path / file.stored for file in named(good) if file.sha256 in noted}
    better = []
    with disk.said(root, "mending what was damaged"):
        for other in others() if sources else ():
            if other.path != good.path and _mend_one(root, other, sources):
                better.append(f"{other.host}/{other.id}")
    notes.clear(sources)
    return better


def _mend_one(root: Path, snapshot: Snapshot, sources: Mapping[str, Path]) -> bool:
    """Given a snapshot and good files by digest, put them where it has bad ones. Return whether it had."""
    # Behind a folder that is a link lie somebody else's files: `verify` names it, and nothing is put there.
    bad = [
        f
        for f in named(snapshot)
        if f.sha256 in sources
        and not _is_good(snapshot.path / f.stored, f)
        and not disk.link_above(snapshot.path, f.stored)
    ]
    for file in bad:
        place, fresh = snapshot.path / file.stored, root / "partial" / f"mended-{secrets.token_hex(8)}"
        if disk.link_or_copy(sources[file.sha256], fresh):
            disk.sync_files([fresh])
            disk.keep(fresh, isinstance(file, Entry) and file.secret)
        disk.make_folder(place.parent)
        disk.replace(fresh, place)
    disk.sync_folders({(snapshot.path / file.stored).parent for file in bad})
    return bool(bad)


def _is_good(place: Path, file: Document | Entry) -> bool:
    with suppress(OSError):
        return place.is_file() and not disk.is_link(place) and disk.digest_of(place) == file.sha256
    return False


def settle_notes(
    notes: DamageNotes, before: Collection[str], found: Collection[str], *, all_read: bool
) -> None:
    """Given the notes before a verification and what it found damaged, note that, and no more what is good.

    Only one that read everything knows what is good.
    """
    notes.add(set(found) - set(before))
    if all_read:
        notes.clear(set(before) - set(found))

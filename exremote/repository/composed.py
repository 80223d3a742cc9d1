"""What a host had last, as far as the repository knows: its newest full snapshot with newer tables over it.

Pure: of the two snapshots it reads the manifests, and changes neither. A restore, an export or a look at the
newest takes this; `Repository.current` finds the two that belong together. It has what a reader of a
`Snapshot` needs.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from exremote.folding import folded
from exremote.repository.manifest import Document, Entry, Kind, Manifest, Omission
from exremote.repository.names import stored_path
from exremote.repository.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Composed:
    """The newest full snapshot of a host's connector, and the newer tables that lie over it, if there are."""

    full: Snapshot
    """the full snapshot"""
    tables: Snapshot | None
    """the newer tables; None if none are newer"""
    manifest: Manifest
    """what both say together: the head and the documents are those of the full one, the entries of a folder
    of tables those of the newer tables, with paths relative to the item's root in the full one
    """
    _over: Mapping[tuple[str, str], Entry] = field(default_factory=dict, repr=False)
    """by item and path of an entry of the tables: what the tables' own manifest says of it"""

    def file(self, entry: Entry) -> Path:
        """Given one of the manifest's entries, return where it lies here."""
        own = self._over.get((entry.item, entry.path))
        return self.full.file(entry) if self.tables is None or own is None else self.tables.file(own)

    def document(self, document: Document) -> bytes:
        """Given one of the manifest's documents, read it. Raise IntegrityError as
        `Snapshot.document` does.
        """
        return self.full.document(document)

    @property
    def id(self) -> str:
        """Return the id of the full snapshot."""
        return self.full.id

    @property
    def host(self) -> str:
        """Return the host's name in the inventory."""
        return self.full.host

    @property
    def connector(self) -> str:
        """Return the connector's name."""
        return self.full.connector

    @property
    def created(self) -> datetime:
        """Return when the full snapshot was made."""
        return self.full.created

    @property
    def kind(self) -> Kind:
        """Return `full`: it brings back all that a full snapshot does."""
        return "full"

    @property
    def complete(self) -> bool:
        """Return whether nothing that belongs to it is missing."""
        return self.manifest.head.complete

    @property
    def run(self) -> str:
        """Return the run that made the full snapshot."""
        return self.full.run

    @property
    def path(self) -> Path:
        """Return the folder of the full snapshot; `file` knows where an entry lies."""
        return self.full.path


def scopes(full: Manifest, tables: Manifest) -> dict[str, str] | None:
    r"""Given the manifests of a full snapshot and of tables, return by item the folder that the tables
    cover, relative to the full one's root and with `\` behind it; None if the tables are of another place.
    """
    found: dict[str, str] = {}
    for item, tree in tables.trees.items():
        whole = full.trees.get(item)
        root = f"{whole.root}".rstrip("\\") + "\\" if whole else ""
        if not root or not folded(f"{tree.root}\\").startswith(folded(root)):
            return None
        found[item] = f"{tree.root}\\"[len(root) :]
    return found or None


def compose(full: Snapshot, tables: Snapshot | None) -> Composed:
    """Given a full snapshot, and newer tables of the same place (`scopes`) or None, lay these over it.

        Whatever the full one has of the tables' folder is gone, for the host had it no more. Raise
    IntegrityError if a     manifest cannot be trusted, ValueError if the tables are of another place.
    """
    below, above = full.manifest, tables.manifest if tables is not None else None
    if above is None:
        return Composed(full, None, below)
    covered = scopes(below, above)
    if covered is None:
        raise ValueError(f"{full.id} and the tables of {above.head.id} are of two places")
    over = {(e.item, covered[e.item] + e.path): e for e in above.entries}
    newer = [replace(e, path=p, stored=stored_path(item, p)) for (item, p), e in over.items()]
    kept = [e for e in below.entries if not _under(e.path, covered.get(e.item))]
    entries = tuple(sorted([*kept, *newer], key=lambda e: (e.item, e.path)))
    missing = (*_outside(below, above, below.missing), *above.missing)
    head = replace(
        below.head,
        files=len(entries),
        bytes=sum(e.size for e in entries),
        complete=not missing and full.complete,
    )
    manifest = replace(
        below,
        head=head,
        entries=entries,
        omitted=(*_outside(below, above, below.omitted), *above.omitted),
        missing=missing,
        findings=(*below.findings, *above.findings),
    )
    return Composed(full, tables, manifest, over)


def part_of(manifest: Manifest, item: str, folder: str) -> tuple[Entry, ...]:
    """Given an item and a folder in it, return the entries below that folder, with paths relative to it."""
    prefix = f"{folder}\\"
    return tuple(
        replace(e, path=e.path[len(prefix) :])
        for e in manifest.entries
        if e.item == item and _under(e.path, prefix)
    )


def _under(path: str, prefix: str | None) -> bool:
    return prefix is not None and folded(path).startswith(folded(prefix))


def _outside(below: Manifest, above: Manifest, said: Collection[Omission]) -> tuple[Omission, ...]:
    """Given what the full snapshot lacks, return what of it does not lie in the tables' folder."""
    roots = tuple(folded(f"{tree.root}\\") for tree in above.trees.values())
    return tuple(o for o in said if not folded(f"{o.path}\\").startswith(roots))

"""The access lists that a snapshot holds. It looks at no host."""

from __future__ import annotations

from exremote.errors import IntegrityError
from exremote.facts import AccessLists, FactError
from exremote.repository import Composed, Snapshot
from exremote.runner import document_of


def lists_in(snapshot: Snapshot | Composed, item: str) -> AccessLists | None:
    """Given a snapshot and an item, return its access lists; None if it has not looked for them.

    Raise IntegrityError if the document is not what the manifest says, or is none.
    """
    for document in snapshot.manifest.documents:
        if document.stored == document_of(item):
            try:
                return AccessLists.from_text(snapshot.document(document))
            except FactError as error:
                raise IntegrityError(
                    f"the access lists cannot be read: {error}.", path=snapshot.path, entry=document.stored
                ) from error
    return None

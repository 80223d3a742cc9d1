"""Which snapshot a person means: an id or its beginning, a host, a host and a connector. It reads names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from exremote.errors import SnapshotNotFound, UsageError
from exremote.repository.snapshot import connector_of

_SOME = 10
"""How many names a message lists."""


def find_folder(name: str, folders: Iterable[Path], repository: Path) -> Path:
    """Given a snapshot's name or its beginning, or HOST/ and either, and all folders, return the folder.

    The host is taken in any case, a slash at the end is none. Raise SnapshotNotFound if there is none,
    UsageError if there are several: then it lists them.
    """
    every = list(folders)
    host, slash, prefix = name.strip().rstrip("/").rpartition("/")
    near = [f for f in every if not slash or f.parent.name.casefold() == host.casefold()]
    found = [f for f in near if prefix and f.name.startswith(prefix)]
    found = [f for f in found if f.name == prefix] or found
    if not found:
        message, remedy = f"there is no snapshot {name!r}.", _what_exists(name, every)
        raise SnapshotNotFound(message, path=repository, remedy=remedy)
    if len(found) > 1:
        some = ", ".join(f"{f.parent.name}/{f.name}" for f in found[:_SOME])
        more = f" and {len(found) - _SOME} more" if len(found) > _SOME else ""
        raise UsageError(
            f"{name!r} is the beginning of {len(found)} snapshots: {some}{more}.", "Give more of the name."
        )
    return found[0]


def host_and_connector(name: str, folders: Iterable[Path]) -> tuple[str, str] | None:
    """Given HOST, or HOST/CONNECTOR, return both as the repository has them; None if it is neither.

    Raise UsageError for a host alone that has snapshots of several connectors: then it lists them.
    """
    host, _, rest = name.strip().rstrip("/").partition("/")
    mine = {h: names for h, names in _connectors(folders).items() if h.casefold() == host.casefold()}
    for own, connectors in mine.items():
        if rest:
            return next(((own, c) for c in connectors if c.casefold() == rest.casefold()), None)
        if len(connectors) == 1:
            return own, connectors[0]
        raise UsageError(
            f"{own} has snapshots of several connectors.",
            f"Name one, for its newest: {', '.join(f'{own}/{c}' for c in connectors)}.",
        )
    return None


def _connectors(folders: Iterable[Path]) -> Mapping[str, Sequence[str]]:
    """Given the folders of snapshots, return the connectors of each host."""
    found: dict[str, list[str]] = {}
    for folder in folders:
        names = found.setdefault(folder.parent.name, [])
        if (connector := connector_of(folder.name)) not in names:
            names.append(connector)
    return {host: sorted(names) for host, names in found.items()}


def _what_exists(name: str, folders: Sequence[Path]) -> str:
    """Given a name that is none, return a remedy that names what there is."""
    known = _connectors(folders)
    if not known:
        return "The repository has none yet: `exremote backup` makes them."
    host = name.strip().partition("/")[0]
    own = {h: names for h, names in known.items() if h.casefold() == host.casefold()}
    rest = name.strip().rstrip("/").partition("/")[2].casefold()
    for h, names in own.items():
        if not rest or any(c.casefold() == rest for c in names):  # whoever takes these has looked before
            return f"Here an id is wanted, or its beginning: `exremote snapshots {h}` lists them."
    mine = own or known
    newest = [f"{h}/{connector}" for h, names in mine.items() for connector in names]
    more = f" and {len(newest) - _SOME} more" if len(newest) > _SOME else ""
    some = f"{', '.join(newest[:_SOME])}{more}"
    return f"There are, each for its newest: {some}; `exremote snapshots` lists all ids."

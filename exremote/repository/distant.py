"""What stays on a host and only its description is here: which files, and how they were when last looked at.

Below elsewhere/ lie, for each host, a list of the files that were put aside there, and for each snapshot
what was found when somebody looked. Both are only added to. It asks no host: who has looked tells it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from exremote.errors import IntegrityError, RepositoryError
from exremote.folding import folded
from exremote.repository import disk
from exremote.repository.forget import manifest_damage
from exremote.repository.manifest import checked_place
from exremote.repository.names import UnsafeName, checked_host
from exremote.repository.snapshot import Snapshot

FOLDER = "elsewhere"
LIST = "kept.jsonl"
_LONGEST = 1 << 24
LookState = Literal["whole", "damaged", "missing"]


@dataclass(frozen=True, slots=True)
class Look:
    """What was found when a file was looked at where it lies."""

    run: str
    """the run"""
    at: datetime
    """UTC"""
    place: str
    """which file"""
    state: LookState
    """`missing`: there is no such file"""
    said: str = ""
    """what is wrong with it; '' if nothing is"""


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that was put aside on a host."""

    place: str
    """its full path there"""
    size: int
    """bytes"""
    sha256: str
    """64 lower hex digits"""


class Distant:
    """The folder elsewhere/ of a repository, there or not."""

    def __init__(self, root: Path, snapshots: Callable[[str], Sequence[Snapshot]]) -> None:
        """`snapshots` gives those of a host."""
        self._root = root / FOLDER
        self._snapshots = snapshots

    # ------------------------------------------------------------ looks

    def record(self, snapshot: Snapshot, look: Look) -> None:
        """Given a snapshot and what was found of a file of it, note that. Raise RepositoryError."""
        line = asdict(look) | {"at": look.at.astimezone(UTC).isoformat(), "said": look.said[:1000]}
        self._append(self._looks(snapshot), line, "recording what was looked at")

    def looks(self, snapshot: Snapshot) -> dict[str, Look]:
        """Given a snapshot, return the last look at each of its files that stay on the host, by place.

        Raise IntegrityError if the record cannot be read.
        """
        found: dict[str, Look] = {}
        for data in self._lines(self._looks(snapshot)):
            with suppress(ValueError, KeyError, TypeError, OverflowError):
                at = datetime.fromisoformat(data["at"])
                if at.tzinfo is None or data["state"] not in get_args(LookState):
                    continue
                place = str(data["place"])
                found[place] = Look(str(data["run"]), at, place, data["state"], str(data["said"]))
        return found

    def damage(self, snapshot: Snapshot) -> str:
        """Given a snapshot, return what was last found wrong with a file of it on its host; '' if nothing."""
        if manifest_damage(snapshot) or not snapshot.manifest.elsewhere:
            return ""
        try:
            looks = self.looks(snapshot)
        except IntegrityError as error:
            return error.message
        for one in snapshot.manifest.elsewhere:
            look = looks.get(one.place)
            if look is not None and look.state != "whole":
                return f"`exremote verify --on-host` found {one.place} on {snapshot.host} {look.state}"
        return ""

    def forget(self, snapshot: Snapshot) -> None:
        """Given a snapshot that is taken out, remove what is noted of it. Raise OSError."""
        path = self._looks(snapshot)
        if not disk.is_link(path.parent):
            disk.remove(path)

    # ------------------------------------------------------------ files

    def note(self, host: str, kept: Kept) -> None:
        """Given a file that is about to be put aside on a host, note it. Raise RepositoryError."""
        self._append(self._list(host), asdict(kept), "noting what stays on the host")

    def gone(self, host: str, place: str) -> None:
        """Given a file that was taken away from a host, note that. Raise RepositoryError."""
        self._append(self._list(host), {"place": place, "gone": True}, "noting what left the host")

    def unnamed(self, host: str) -> tuple[Kept, ...]:
        """Given a host, return the files that were put aside there and that no snapshot names any more.

        Raise IntegrityError if nobody can tell: a manifest cannot be read.
        """
        there: dict[str, Kept] = {}
        for data in self._lines(self._list(host)):
            with suppress(ValueError, KeyError, TypeError, UnsafeName):
                place = checked_place(str(data["place"]))
                if data.get("gone") is True:
                    there.pop(folded(place), None)
                else:
                    there[folded(place)] = Kept(place, int(data["size"]), str(data["sha256"]))
        for snapshot in self._snapshots(host) if there else ():
            if why := manifest_damage(snapshot):
                raise IntegrityError(
                    f"which files on {host} it names, nobody can tell: {why}", path=snapshot.path, entry=LIST
                )
            for one in snapshot.manifest.elsewhere:
                there.pop(folded(one.place), None)
        return tuple(there.values())

    def hosts(self) -> list[str]:
        """Return the hosts on which something was put aside."""
        with suppress(OSError):
            return sorted(path.parent.name for path in self._root.glob(f"*/{LIST}"))
        return []

    # ------------------------------------------------------------ files of ours

    def _looks(self, snapshot: Snapshot) -> Path:
        return self._root / checked_host(snapshot.host) / f"{snapshot.id}.jsonl"

    def _list(self, host: str) -> Path:
        return self._root / checked_host(host) / LIST

    def _append(self, path: Path, line: Mapping[str, object], doing: str) -> None:
        with disk.said(path, doing):
            disk.make_folder(path.parent)
            disk.append_line(path, json.dumps(line, separators=(",", ":")).encode())

    def _lines(self, path: Path) -> Iterator[dict[str, Any]]:
        """Yield the lines that can be read; one that is torn does not count. Raise IntegrityError."""
        try:
            lines = disk.read_whole(path, _LONGEST).splitlines()
        except FileNotFoundError:
            return
        except OSError as error:
            raise IntegrityError(
                f"the record of what stays on the host cannot be read: {error.strerror or error}.",
                path=path,
                entry=path.name,
                remedy="See why; `exremote verify --on-host` notes anew what it finds.",
            ) from error
        for line in lines:
            with suppress(ValueError, RecursionError):
                data = json.loads(line)
                if isinstance(data, dict):
                    yield data


def waiting(distant: Distant) -> Iterator[tuple[str, Kept]]:
    """Given what stays on hosts, yield host and file of what the next backup may take away there."""
    for host in distant.hosts():
        with suppress(RepositoryError):
            for kept in distant.unnamed(host):
                yield host, kept

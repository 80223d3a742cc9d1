"""What stays on hosts, or on shares, said by commands that ask none: where it is, and how it was last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exremote.cli.common import now
from exremote.errors import RepositoryError
from exremote.report import size_text
from exremote.repository import Elsewhere, Repository, Snapshot, age_text

UNSEEN = "not looked at"
BAD = ("damaged", "missing")
AGAIN = "exremote verify --on-host"


@dataclass(frozen=True, slots=True)
class Distant:
    """One file that stays on a host."""

    snapshot: Snapshot
    """whose it is"""
    file: Elsewhere
    """what the manifest says of it"""

    def row(self, state: str, said: str = "", **more: str) -> dict[str, Any]:
        """Given what was found, return what is told of it."""
        s, f = self.snapshot, self.file
        known = {"host": s.host, "snapshot": s.id, "place": f.place, "bytes": f.size, "sha256": f.sha256}
        return {**known, "state": state, "said": said, **more}


def where(place: str) -> str:
    """Given the full path of such a file, return what it lies on."""
    return "share" if place.startswith("\\\\") else "host"


def distant_of(snapshots: Sequence[Snapshot]) -> list[Distant]:
    """Given snapshots, return what of them stays on hosts; of one that cannot be read nobody knows."""
    found = []
    for snapshot in snapshots:
        try:
            found += [Distant(snapshot, one) for one in snapshot.manifest.elsewhere]
        except RepositoryError:
            continue
    return found


def unseen(place: Repository, files: Sequence[Distant]) -> list[dict[str, Any]]:
    """Given files that stay on hosts, return a row for each that says that nobody looked at it now."""
    return [one.row(UNSEEN, last_look(place, one)) for one in files]


def last_look(place: Repository, one: Distant) -> str:
    """Given a file that stays on its host, return in words when somebody last looked at it."""
    try:
        look = place.distant.looks(one.snapshot).get(one.file.place)
    except RepositoryError as error:
        return error.message
    if look is None:
        return "whole when it was saved"
    age = age_text((now() - look.at).total_seconds())
    return f"{look.state} {age} ago" + (f": {look.said}" if look.said else "")


def problems_of(rows: Sequence[dict[str, Any]]) -> list[dict[str, str]]:
    """Given what was found on hosts, return the problems among it, as `verify` tells them."""
    return [
        {
            "place": f"{row['host']}: {row['place']}",
            "problem": row["said"],
            "expected": row.get("expected", ""),
            "actual": row.get("actual", ""),
        }
        for row in rows
        if row["state"] in BAD
    ]


def told(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Given what was found on hosts, or not looked at, return the sentences that are no problem."""
    well = [row for row in rows if row["state"] == "whole"]
    lines = [f"{row['host']}: {row['place']} ({size_text(row['bytes'])}): whole" for row in well]
    left = [row for row in rows if row["state"] == UNSEEN]
    lines += [
        f"{row['host']}: {row['place']} ({size_text(row['bytes'])}): {UNSEEN}"
        + (f" ({row['said']})" if row["said"] else "")
        for row in left
    ]
    return lines

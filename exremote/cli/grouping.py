"""Runs as a person looks for them: those of one recovery stand in one row. It reads no journal anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from exremote.journal import RunRecord
from exremote.recover import recovery_of

Row = dict[str, Any]


def by_recovery(rows: Sequence[Row], records: Mapping[str, RunRecord]) -> tuple[list[Row], int]:
    """Given rows of runs, the newest first, and what each run is, have one row for each recovery.

    It has the recovery's id, which stands for all its runs; when the first of them began; and how the last
    one ended. A damaged journal of any of them shows. Return the rows, and how many others they stand for.
    """
    found: dict[str, Row] = {}
    count: dict[str, int] = {}
    for row in rows:
        key = recovery_of(records[row["run"]]) or row["run"]
        count[key] = count.get(key, 0) + 1
        if (newest := found.get(key)) is None:
            found[key] = row | {"run": key}
            continue
        newest["started"] = row["started"]
        newest["hosts"] = max(newest["hosts"], row["hosts"])
        newest["changed"] = max(newest["changed"], row["changed"])
        if newest["journal"] == "intact":
            newest["journal"] = row["journal"]
    for key, row in found.items():
        row["runs"] = count[key]
    return list(found.values()), len(rows) - len(found)

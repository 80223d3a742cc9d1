"""Findings that a site accepts: a check, where, why, and until when. It judges nothing; `health`
applies it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from exremote.errors import InventoryError, UsageError

if TYPE_CHECKING:
    from exremote.inventory.model import Host
    from exremote.inventory.schema import AcceptTable


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One table [[accept]], resolved."""

    check: str
    """the check whose findings are accepted"""
    hosts: tuple[str, ...]
    """names of the hosts; all of them if the file names none"""
    connectors: tuple[str, ...] | None
    """only findings of these connectors; None: all, those of the host itself too"""
    reason: str
    """why, for whoever reads it"""
    until: date
    """the last day (UTC) on which it counts"""
    file: Path
    """the inventory"""
    line: int | None = None
    """where it stands there"""

    @property
    def place(self) -> str:
        """Return where it stands, for a sentence about it."""
        return f"{self.file}:{self.line}" if self.line else str(self.file)

    def expired(self, today: date) -> bool:
        """Given a day, return whether it counts no more."""
        return today > self.until

    def meets(self, check: str, host: str, connector: str) -> bool:
        """Given whose finding it is, return whether it is meant."""
        mine = self.connectors is None or connector in self.connectors
        return mine and (check, host) == (self.check, host) and host in self.hosts


Error = Callable[[tuple[str, ...], str, str], InventoryError]
"""Makes an error of where, what was expected, and a remedy."""


def resolve(
    tables: Sequence[AcceptTable],
    select: Callable[[Sequence[str]], Sequence[Host]],
    known: Collection[str] | None,
    line: Callable[[tuple[str, ...]], int | None],
    file: Path,
    error: Error,
) -> tuple[Acceptance, ...]:
    """Given the tables, and how hosts are found by name, return them resolved.

    `known` are the connectors that exist (None: do not check). Raise InventoryError, by `error`.
    """
    found = []
    for number, table in enumerate(tables):
        where = ("accept", str(number))
        try:
            hosts = select(table.hosts) if table.hosts is not None else select(())
        except UsageError as problem:
            raise error(
                (*where, "hosts"), "expected names of hosts, groups or tag:NAME.", problem.text
            ) from None
        for name in table.connectors or ():
            if known is not None and name not in known:
                raise error((*where, "connectors"), f"expected names of: {', '.join(sorted(known))}.", "")
        found.append(
            Acceptance(
                table.check,
                tuple(host.name for host in hosts),
                table.connectors,
                table.reason,
                table.until,
                file,
                line(where),
            )
        )
    return tuple(found)

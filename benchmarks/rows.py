"""What a benchmark found: rows, as a table for people and as JSON for machines. It measures nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text


@dataclass(frozen=True, slots=True)
class Row:
    """One figure."""

    name: str
    """What was measured."""
    value: float
    """What exremote needs."""
    unit: str
    """Of value and baseline."""
    baseline: float | None = None
    """What pypsrp's `Client.fetch` (or `copy`, for an upload) needs for the same, in the same run."""
    ansible_psrp: float | None = None
    """What fetching as Ansible's psrp connection does needs."""
    ansible_winrm: float | None = None
    """What fetching as Ansible's winrm connection does needs."""
    goal: str | None = None
    """As `<= 40`; None: for information."""
    met: bool | None = None
    """Whether the goal is met; None: there is none."""


Peers = Mapping[str, float]
"""What others need: baseline, ansible_psrp, ansible_winrm."""
NONE: Peers = {}


def row(name: str, value: float, unit: str, peers: Peers = NONE) -> Row:
    """Given a figure that has no goal, return its row."""
    return Row(name, value, unit, **peers)


def at_most(name: str, value: float, unit: str, goal: float, peers: Peers = NONE) -> Row:
    """Given a figure that must not be above a goal, return its row."""
    return Row(name, value, unit, **peers, goal=f"<= {goal:g}", met=value <= goal)


def at_least(name: str, value: float, unit: str, goal: float, peers: Peers = NONE) -> Row:
    """Given a figure that must not be below a goal, return its row."""
    return Row(name, value, unit, **peers, goal=f">= {goal:g}", met=value >= goal)


def write_json(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as a JSON list."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")


def show(console: Console, rows: Sequence[Row], facts: Sequence[str]) -> None:
    """Print rows as an aligned table, and under it what they hang on."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("what", no_wrap=True)
    for column in ("exremote", "pypsrp", "A. psrp", "A. winrm", "unit", "goal"):
        table.add_column(column, justify="left" if column == "unit" else "right", no_wrap=True)
    table.add_column("met", no_wrap=True)
    for one in rows:
        met = {True: Text("yes", "green"), False: Text("NO", "bold red"), None: Text("")}[one.met]
        peers = (one.baseline, one.ansible_psrp, one.ansible_winrm)
        others = ["" if value is None else number(value) for value in peers]
        table.add_row(one.name, number(one.value), *others, one.unit, one.goal or "", met)
    console.print(table)
    console.print()
    for fact in facts:
        console.print(fact, highlight=False, markup=False)


def number(value: float) -> str:
    """Return a figure with as many digits as it deserves."""
    if value == int(value) and abs(value) >= 1:
        return f"{int(value):,}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}" if abs(value) < 10 else f"{value:,.1f}"

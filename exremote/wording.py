"""Words for numbers, the same in findings, plans and reports. It knows nothing else."""

from __future__ import annotations


def count_text(count: int, noun: str) -> str:
    """Given a number and the word for one, return both: `1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

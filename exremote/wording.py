"""Words for numbers, and texts that flow: the same in findings, plans and help. It decides nothing."""

from __future__ import annotations

import inspect


def flowing(text: str | None) -> str:
    """Given a docstring, return it as a help text whose paragraphs flow, however wide a terminal is."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(one.split()) for one in paragraphs)


def count_text(count: int, noun: str) -> str:
    """Given a number and the word for one, return both: `1 file`, `2 files`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def size_text(count: int) -> str:
    """Given a number of bytes, return it as a person reads it (binary units)."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            return f"{int(value)} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("unreachable")

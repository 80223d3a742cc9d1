"""Where and in whose name something went wrong: what a sentence about it needs, and never a secret."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scene:
    """The circumstances of one error."""

    host: str
    address: str
    port: int
    url: str
    auth: str
    user: str
    opened: bool
    """Whether the session had been opened before."""
    script: str = ""
    """What was running, if anything."""
    envelope_kb: int = 150
    hide: Callable[[str], str] = str
    """Takes secrets out of a text of others; our own sentences hold none."""

    def quote(self, text: str, limit: int = 200) -> str:
        """Given a text of others, return it as a part of a sentence: one short line, without secrets."""
        return shorten(self.hide(text), limit).rstrip(". ")

    @property
    def during(self) -> str:
        """Return ` during SCRIPT`, or nothing."""
        return f" during {self.script}" if self.script else ""


def shorten(text: str, limit: int = 200) -> str:
    """Given a text of others, return it as one line of bounded length, without object addresses."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def words(error: BaseException) -> str:
    """Given an error of a library, return its text; some of them cannot even say that without failing."""
    try:
        return str(error)
    except Exception:
        return type(error).__name__

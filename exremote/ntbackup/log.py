"""What a log of ntbackup says, by the words of its language. No more is read into it than they say.

In a language that `words.toml` does not have, nothing is read into the log: neither well nor bad.
"""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

MANY = 50
"""Lines of one kind that are kept."""
LONGEST = 500


@dataclass(frozen=True, slots=True)
class LogSays:
    """What a log says."""

    language: str
    """'' if its words are not known: then nothing else is"""
    completed: int
    """how often it says that a set is complete"""
    failed: tuple[str, ...]
    """lines that say that something went wrong"""
    corrupt: tuple[str, ...]
    """lines that say that a part is corrupt or incomplete"""
    skipped: tuple[str, ...]
    """lines that say that a part was skipped"""
    warnings: tuple[str, ...]
    """other lines that warn"""
    named: bool
    """the job's own name stands in it, so it is this job's log in whatever language"""

    @property
    def bad(self) -> tuple[str, ...]:
        """Return the lines that make the backup no good."""
        return tuple(dict.fromkeys((*self.failed, *self.corrupt, *self.skipped)))


@dataclass(frozen=True, slots=True)
class _Language:
    name: str
    known_by: tuple[str, ...]
    completed: tuple[str, ...]
    kinds: dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
    """failed, corrupt, skipped, warning: beginnings of lines, and parts of lines"""


def decoded(data: bytes) -> str:
    """Given the bytes of a log, return its text: UTF-16 as ntbackup writes it (S), be there a mark or not."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    # Half of the bytes of a text in UTF-16 are zeros, where it is mostly Latin.
    return data.decode("utf-16-le" if data[1::2].count(0) * 2 > len(data) // 2 else "cp1252", "replace")


def read_log(text: str, job: str) -> LogSays:
    """Given a log's text and the name of the job, return what it says."""
    folded = text.casefold()
    language = next((one for one in _languages() if any(word in folded for word in one.known_by)), None)
    found: dict[str, list[str]] = {"failed": [], "corrupt": [], "skipped": [], "warning": []}
    completed = 0
    for line in (raw.strip() for raw in text.splitlines()) if language else ():
        low = line.casefold()
        completed += any(low.startswith(word) for word in language.completed) if language else 0
        kind = _kind(low, language)
        if kind and len(found[kind]) < MANY:
            found[kind].append(line[:LONGEST])
    return LogSays(
        language.name if language else "",
        completed,
        tuple(found["failed"]),
        tuple(found["corrupt"]),
        tuple(found["skipped"]),
        tuple(found["warning"]),
        job.casefold() in folded,
    )


def _kind(line: str, language: _Language | None) -> str:
    """Given a line in lower case, return what kind it is of, the worst first; '' if of none."""
    for kind, (beginnings, parts) in language.kinds.items() if language else ():
        if line.startswith(beginnings) or any(part in line for part in parts):
            return kind
    return ""


@cache
def _languages() -> tuple[_Language, ...]:
    text = Path(__file__).with_name("words.toml").read_text(encoding="utf-8")
    return tuple(_language(one) for one in tomllib.loads(text)["language"])


def _language(table: dict[str, Any]) -> _Language:
    def words(given: Sequence[str]) -> tuple[str, ...]:
        return tuple(word.casefold() for word in given)

    kinds = {
        kind: (words(table[kind].get("lines", ())), words(table[kind].get("within", ())))
        for kind in ("failed", "corrupt", "skipped", "warning")
    }
    return _Language(table["name"], words(table["known_by"]), words(table["completed"]), kinds)

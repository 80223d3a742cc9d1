"""Findings: what a check says of a host. Nothing here looks at a host's facts to judge them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Literal, Protocol

from exremote.facts import FileEntry, HostFacts, TreeFact

MANY = 5
"""How many names a finding shows."""
API_REMEDY = (
    "Give the host an api_credential in the inventory: the directory is a second hop, "
    "and the session's own rights mostly end at the host."
)

UNREADABLE = "how it is registered could not be read"
"""What is said of a service whose registry key is closed to us."""
HANGS = (
    "It hangs on something else that was not found or not answered: see the other findings, then check again."
)
"""What to do about a question that nobody refused."""


class Verdict(StrEnum):
    """What a check says; the order is from well to bad."""

    OK = "ok"
    INFO = "info"
    UNKNOWN = "unknown"
    WARNING = "warning"
    CRITICAL = "critical"

    @property
    def rank(self) -> int:
        """Return how bad it is, from 0."""
        return _RANKS[self]


_RANKS = {verdict: rank for rank, verdict in enumerate(Verdict)}


@dataclass(frozen=True, slots=True)
class Finding:
    """The verdict of one check on one host."""

    check: str
    """Id of the check; `docs/checks.md` has a paragraph for it."""
    host: str
    """The host's name in the inventory."""
    connector: str
    """The connector it belongs to; '' for the host, and for what several connectors share."""
    verdict: Verdict
    """How it is."""
    title: str
    """What would be well."""
    evidence: str
    """What was seen, with numbers and names."""
    remedy: str
    """What to do, in one sentence; '' if all is well."""
    source: str
    """Where the expectation was read."""
    sure: str
    """How sure the source is: S read, I inferred, R recalled."""
    accepted: str = ""
    """Why the inventory accepts it, and until when; '' if it does not. An accepted one counts nowhere."""

    def to_json(self) -> dict[str, str]:
        """Return the finding as a JSON object."""
        return {name: str(getattr(self, name)) for name in self.__slots__}


class _Says(Protocol):
    """What a check says of itself, whether it comes from a file or from here."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...
    @property
    def severity(self) -> Literal["info", "warning", "critical"]: ...
    @property
    def remedy(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def sure(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Rule:
    """What a check of this file says of itself."""

    id: str
    """Id of the check."""
    title: str
    """What is well, in words."""
    severity: Literal["info", "warning", "critical"]
    """How bad it is at worst."""
    remedy: str
    """What to do then."""
    source: str
    """Where the expectation was read."""
    sure: Literal["S", "I", "R"] = "S"
    """How sure that is."""


def finding(
    facts: HostFacts, says: _Says, verdict: Verdict, evidence: str, connector: str = "", remedy: str = ""
) -> Finding:
    """Given a check and what it saw, return the finding; if all is well, it needs no remedy."""
    if verdict is Verdict.UNKNOWN and not remedy:
        remedy = facts.remedy(evidence) or HANGS
    remedy = "" if verdict is Verdict.OK else remedy or says.remedy
    return Finding(
        says.id, facts.host, connector, verdict, says.title, evidence, remedy, says.source, says.sure
    )


def names(texts: Iterable[str], count: int | None = None) -> str:
    """Given names, return the first few and how many more there are; `count` are all of them together."""
    every = list(texts)
    count = len(every) if count is None else count
    more = f" and {count - MANY} more" if count > MANY else ""
    return ", ".join(every[:MANY]) + more


def clock(facts: HostFacts) -> datetime:
    """Given facts, return the host's own time, by which its files are dated; ours if it could not say."""
    said = facts.host_fact.utc_now if facts.host_fact else None
    return said if said is not None else facts.collected_at


def modified(entry: FileEntry) -> datetime:
    """Given an entry, return when it was last written."""
    return datetime(1, 1, 1, tzinfo=UTC) + timedelta(microseconds=entry.modified_ticks // 10)


def why(facts: HostFacts, question: str) -> str:
    """Given a question that has no answer among the facts, return why."""
    reason = facts.unavailable.get(question) or facts.unavailable.get(question.partition(" ")[0])
    return reason or f"{question}: nobody asked the host"


def listed(facts: HostFacts, item: str) -> TreeFact | str:
    """Given a tree's id, return its listing, or why there is none."""
    tree = facts.trees.get(item)
    if tree is None:
        return why(facts, f"tree {item}")
    if not tree.exists:
        return f"{tree.path} is not there"
    return tree

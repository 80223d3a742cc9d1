"""Two health runs side by side: which findings are new, gone, changed or the same. It judges no finding."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from exremote.health import Verdict
from exremote.report.account import Account, Found, distinct, with_several

WORDS = {
    "worse": "worse",
    "new": "new",
    "unasked": "not looked at again",
    "same": "the same",
    "better": "better",
    "gone": "gone",
}
"""What can have become of a finding, worst first, in words."""
_TONES = {"worse": "critical", "new": "warning", "unasked": "unknown", "better": "info"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One finding of two runs."""

    host: str
    check: str
    connector: str
    become: str
    """worse, new, unasked, same, better, gone"""
    before: Found | None
    """None if the run did not look at it"""
    after: Found | None

    @property
    def what(self) -> str:
        """The word that decides how it is shown."""
        return _TONES.get(self.become, self.become)

    @property
    def words(self) -> str:
        """What has become of it, for a person."""
        return WORDS[self.become]


@dataclass(frozen=True, slots=True)
class Against:
    """A health run held against an earlier one."""

    before: Account
    after: Account
    differences: tuple[Difference, ...]
    """worst first"""

    @property
    def shown(self) -> tuple[Difference, ...]:
        """All differences, for a page."""
        return self.differences

    @property
    def summary(self) -> str:
        """How many of each kind, in words."""
        counts = Counter(one.become for one in self.differences)
        said = [f"{counts[become]} {words}" for become, words in WORDS.items() if counts[become]]
        return ", ".join(said) or "neither has a finding"

    def to_json(self) -> dict[str, Any]:
        """Return it as values that a JSON report takes."""
        rows = [asdict(one) for one in self.differences]
        return {"before": self.before.run, "after": self.after.run, "differences": rows}


def hold_against(one: Account, other: Account) -> Against:
    """Given two health runs in any order, return the later one held against the earlier one."""
    before, after = sorted(
        (one, other), key=lambda run: (run.started is not None and run.started.timestamp(), run.run)
    )
    several = with_several(before.findings) | with_several(after.findings)
    was, now = distinct(before.findings, several), distinct(after.findings, several)
    looked = {host.name for host in after.hosts if host.judged}
    order = list(WORDS)
    differences = []
    for key in dict.fromkeys([*now, *was]):
        a, b = was.get(key), now.get(key)
        become = _become(a, b, key[0] in looked)
        if become is not None:
            differences.append(Difference(key[0], key[1], key[2], become, a, b))
    differences.sort(
        key=lambda d: (order.index(d.become), -_rank(d.after or d.before), d.host, d.check, d.connector)
    )
    return Against(before, after, tuple(differences))


def _become(before: Found | None, after: Found | None, looked: bool) -> str | None:
    """Given a finding before and after, return what has become of it; None if it never was one."""
    a, b = _rank(before), _rank(after)
    if after is None:
        # A check that is not asked any more has gone with its object; a host without an answer says nothing.
        return None if a == 0 else "gone" if looked else "unasked"
    if a == 0 or b == 0:
        return None if a == b else "new" if b else "gone"
    return "same" if a == b else "worse" if b > a else "better"


def _rank(found: Found | None) -> int:
    """Given a finding, return how bad it is: 0 if it is well or not there."""
    if found is None:
        return 0
    return Verdict(found.verdict).rank if found.verdict in set(Verdict) else Verdict.UNKNOWN.rank

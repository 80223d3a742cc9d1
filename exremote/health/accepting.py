"""Findings that the inventory accepts: marked as such, with reason and last day. Pure; nothing is
left out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

from exremote.checks.finding import Finding, Verdict
from exremote.checks.rules import RULES
from exremote.connector import Connector
from exremote.inventory import Acceptance, near


def accept(findings: Iterable[Finding], accepted: Sequence[Acceptance], today: date) -> tuple[Finding, ...]:
    """Given findings and what the inventory accepts, return them, each that is accepted with why and until
    when.

        What is well needs no acceptance; one that expired accepts nothing.
    """
    living = [one for one in accepted if not one.expired(today)]

    def marked(finding: Finding) -> Finding:
        if finding.verdict is Verdict.OK:
            return finding
        met = (one for one in living if one.meets(finding.check, finding.host, finding.connector))
        one = max(met, key=lambda each: each.until, default=None)
        return finding if one is None else replace(finding, accepted=f"{one.reason} (until {one.until})")

    return tuple(map(marked, findings))


def expired(accepted: Iterable[Acceptance], today: date) -> Iterator[str]:
    """Given what the inventory accepts, yield a sentence for each that counts no more."""
    for one in accepted:
        if one.expired(today):
            yield (
                f"{one.place}: accept: {one.check} was accepted until {one.until}, and counts again. "
                "Cure it, write a later date, or take the table out."
            )


def unknown(accepted: Iterable[Acceptance], connectors: Mapping[str, Connector]) -> Iterator[str]:
    """Given what the inventory accepts, yield a sentence for each that names a check which does not exist."""
    known = {*RULES, *(check.id for connector in connectors.values() for check in connector.checks)}
    for one in accepted:
        if one.check not in known:
            remedy = near(one.check, known) or "docs/checks.md has them all."
            yield f"{one.place}: accept: there is no check {one.check}. {remedy}"


def unmet(
    accepted: Iterable[Acceptance], findings: Sequence[Finding], judged: Collection[str], today: date
) -> Iterator[str]:
    """Given all findings of the hosts that were judged, yield a sentence for each acceptance that met none.

    Of hosts that gave no answer nobody can tell.
    """
    bad = [f for f in findings if f.verdict is not Verdict.OK]
    for one in accepted:
        met = any(one.meets(f.check, f.host, f.connector) for f in bad)
        if not met and not one.expired(today) and set(one.hosts) <= set(judged):
            yield (
                f"{one.place}: accept: {one.check} is accepted, and nothing of it was found on "
                f"{'any host' if len(one.hosts) > 1 else ''.join(one.hosts)}. Take the table out."
            )

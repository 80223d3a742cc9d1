"""Health: facts of a host are collected, facts become findings; neither knows the other."""

from typing import TYPE_CHECKING

from exremote.ondemand import ondemand

if TYPE_CHECKING:
    from exremote.checks.expectation import failures
    from exremote.checks.finding import Finding, Verdict
    from exremote.health.accepting import accept, expired, unknown, unmet
    from exremote.health.collecting import Asker, collect
    from exremote.health.judging import (
        judge,
        judge_tables,
        machine_of,
        rank,
        twins,
        unasked,
        with_remedy,
        worst,
    )
    from exremote.health.settling import settled
else:
    __getattr__ = ondemand(
        __name__,
        {
            "exremote.checks.expectation": "failures",
            "exremote.checks.finding": "Finding Verdict",
            "exremote.health.accepting": "accept expired unknown unmet",
            "exremote.health.collecting": "Asker collect",
            "exremote.health.judging": ("judge judge_tables machine_of rank twins unasked with_remedy worst"),
            "exremote.health.settling": "settled",
        },
    )

__all__ = [
    "Asker",
    "Finding",
    "Verdict",
    "accept",
    "collect",
    "expired",
    "failures",
    "judge",
    "judge_tables",
    "machine_of",
    "rank",
    "settled",
    "twins",
    "unasked",
    "unknown",
    "unmet",
    "with_remedy",
    "worst",
]

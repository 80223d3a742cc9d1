"""The options that bound a whole run, --limit-rate and --deadline, and what they come to. It runs nothing."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from exremote.errors import UsageError
from exremote.inventory import LEAST_RATE, parse_rate, parse_size, rate_text
from exremote.report import Report
from exremote.runner import Limits
from exremote.session import Throttle
from exremote.wording import count_text

RateOption = Annotated[
    str | None,
    typer.Option(
        "--limit-rate",
        metavar="RATE",
        help="Bytes a second, such as 500k or 2M, for all hosts of the run together, both ways.",
    ),
]
DeadlineOption = Annotated[
    str | None,
    typer.Option(
        "--deadline",
        metavar="TIME",
        help="Such as 6h or 90m, for the whole run: then no host is begun any more, and those that run stop.",
    ),
]

_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str, option: str = "--deadline") -> float:
    """Given `6h`, `90m` or a sum such as `1h30m`, return it in seconds. Raise UsageError if it is none."""
    parts = re.findall(r"([0-9]{1,6})([smhd])", text)
    total = sum(int(number) * _UNITS_S[unit] for number, unit in parts)
    if not total or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(
            f"{option}: {text!r} is no time that a run may take.", "Write 6h, 90m, 45s, or 1h30m."
        )
    return float(total)


def rate(text: str) -> int:
    """Given what stands behind --limit-rate, return the bytes a second. Raise UsageError if it is no rate."""
    try:
        return parse_rate(text)
    except ValueError:
        pass
    least = rate_text(LEAST_RATE)
    try:
        slow = rate_text(parse_size(text.removesuffix("/s")))
    except ValueError:
        raise UsageError(
            f"--limit-rate: {text!r} is no rate.", f"Write 500k or 2M (bytes a second), at least {least}."
        ) from None
    raise UsageError(
        f"--limit-rate: {slow} is too slow: a host would give up before its answer has come.",
        f"Give at least {least} (64k), or back up at another time.",
    )


def bounds(limit_rate: str | None, deadline: str | None, parallel: int, report: Report) -> tuple[Limits, int]:
    """Given both options and how many hosts are worked on at once, return the limits, and how many may be.

    The time begins now. Raise UsageError.
    """
    time_s = seconds(deadline) if deadline is not None else float("inf")
    throttle = None
    if limit_rate is not None:
        least = rate(limit_rate)
        # Each host is to get what a conversation needs at least.
        fits = max(1, least // LEAST_RATE)
        if fits < parallel:
            report.note(f"note: at {rate_text(least)}, {count_text(fits, 'host')} at a time")
            parallel = fits
        throttle = Throttle(least, parallel)
    return Limits(throttle, time_s, deadline or ""), parallel

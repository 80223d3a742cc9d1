"""Rates and sizes as a person writes them: `500k`, `2M`. It decides nothing but what is none."""

from __future__ import annotations

import re

LEAST_RATE = 64_000
"""Bytes a second below which no run is held: an answer would take so long that a host may give up."""
RATE_TEXT = f'a rate such as "500k" or "2M" (bytes a second), at least {LEAST_RATE // 1000}k'
SIZE_TEXT = 'a size such as "500M" or "20G" (bytes), or "0"'

_AMOUNT = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?) ?([kKmMgGtT]?)(?:i?[bB])?")
_FACTORS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}


def parse_size(text: str) -> int:
    """Given `20G`, `500M`, `64k` or plain bytes, return the bytes (k is 1,000). Raise ValueError if none."""
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError("no size")
    return int(float(match[1]) * _FACTORS[match[2].lower()])


def parse_rate(text: str) -> int:
    """Given `500k` or `2M`, perhaps with `/s`, return the bytes a second. Raise ValueError if none."""
    rate = parse_size(text.strip().removesuffix("/s"))
    if rate < LEAST_RATE:
        raise ValueError("too slow")
    return rate


def rate_text(rate: float) -> str:
    """Given bytes a second, return it as it may be written: `2 MB/s`."""
    for factor, unit in ((1000**3, "GB/s"), (1000**2, "MB/s"), (1000, "kB/s")):
        if rate >= factor:
            return f"{rate / factor:.4g} {unit}"
    return f"{rate:.4g} B/s"

"""What the formats share: their error, moments as .NET counts them, lists of lines as a parameter."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

MAX_TICKS = 3155378975999999999
"""The last moment that .NET (and Python) can name: 9999-12-31T23:59:59.9999999."""
_EPOCH = datetime(1, 1, 1, tzinfo=UTC)


class PackError(ValueError):
    """What came from the host is not in the format."""


def ticks_to_datetime(ticks: int) -> datetime:
    """Given .NET ticks (100 ns since year 1), return the moment in UTC; the last 100 ns digit is lost.

    Raise PackError if no calendar has that moment.
    """
    if not 0 <= ticks <= MAX_TICKS:
        raise PackError(f"a time that no calendar has: {ticks} ticks")
    return _EPOCH + timedelta(microseconds=ticks // 10)


def datetime_to_ticks(moment: datetime) -> int:
    """Given a zoned moment, return its .NET ticks. Raise PackError if it has no zone."""
    if moment.tzinfo is None:
        raise PackError("a moment without a zone has no ticks")
    since = moment - _EPOCH
    return (since.days * 86400 + since.seconds) * 10_000_000 + since.microseconds * 10


def encode_lines(lines: Iterable[str]) -> str:
    """Given lines, return them as scripts want them: base64 of raw deflate of UTF-8, a line feed between.

    Raise PackError if one is empty, holds a line feed, or cannot be written as UTF-8.
    """
    found = list(lines)
    for line in found:
        if not line or "\n" in line:
            raise PackError(f"this cannot be one line of a list: {line!r}")
    try:
        plain = "\n".join(found).encode()
    except UnicodeEncodeError:
        raise PackError("a name that cannot be written as UTF-8") from None
    return base64.b64encode(deflate(plain)).decode("ascii")


def deflate(plain: bytes | memoryview) -> bytes:
    """Given bytes, return them deflated, without a header, as .NET 2.0 inflates them."""
    deflater = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return deflater.compress(plain) + deflater.flush()

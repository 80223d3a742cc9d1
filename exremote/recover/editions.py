"""Which Exchange a build number is: what a person has to look for among the media. It judges nothing.

The registry's values `NewestBuild` and `Service Pack Build` are the third part of the version (R):
Microsoft's own example is 6.5.7638 for Exchange Server 2003 with Service Pack 2
(https://learn.microsoft.com/en-us/office/vba/api/outlook.namespace.exchangemailboxserverversion; S). The
other numbers are third parties' copies of Microsoft's list KB 158530 (https://gist.github.com/mxpv/3993088
and https://github.com/righel/ms-exchange-version-nse, which agree; S, third-party).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

_RELEASES: Final = (
    (4417, "Exchange 2000 Server, no service pack"),
    (4712, "Exchange 2000 Server, Service Pack 1"),
    (5762, "Exchange 2000 Server, Service Pack 2"),
    (6249, "Exchange 2000 Server, Service Pack 3"),
    (6944, "Exchange Server 2003, no service pack"),
    (7226, "Exchange Server 2003, Service Pack 1"),
    (7638, "Exchange Server 2003, Service Pack 2"),
)
_BEYOND: Final = 8000
"""Exchange 2007 counts from 8.0.685: no build of 2000 or 2003 is as high."""


def edition(build: str) -> str:
    """Given a build number, return what it is, in words; '' if it is none of Exchange 2000 or 2003.

    A number between two releases is of fixes that came after the lower one (I).
    """
    number = int(build) if build.isascii() and build.isdigit() and len(build) < 6 else 0
    at = bisect_right([each for each, _ in _RELEASES], number) - 1
    if at < 0 or number >= _BEYOND:
        return ""
    least, name = _RELEASES[at]
    return name if number == least else f"{name}, with fixes that came later"


def build_text(build: str) -> str:
    """Given a build number or '', return it with what it is, for a person."""
    name = edition(build)
    return f"{build} ({name})" if name else build

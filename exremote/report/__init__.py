"""What a person or a program gets to read; the only folder that knows a terminal. It never decides anything.

speaking  the mouth of one command: tables, lines, JSON
live      progress of a run
outlet    standard output and error as they may be
text      how values and texts are written
"""

from exremote.report.live import Live
from exremote.report.outlet import Outlet, outlet, plain_letters
from exremote.report.speaking import Report
from exremote.report.text import STYLES, time_text, visible
from exremote.wording import count_text, size_text

__all__ = [
    "STYLES",
    "Live",
    "Outlet",
    "Report",
    "count_text",
    "outlet",
    "plain_letters",
    "size_text",
    "time_text",
    "visible",
]

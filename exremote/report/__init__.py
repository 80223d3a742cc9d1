"""What a person or a program gets to read; the only folder that knows a terminal. It never decides anything.

speaking  the mouth of one command: tables, lines, JSON
live      progress of a run
outlet    standard output and error as they may be
terminal  whether a person sits there
text      how values and texts are written

account   what a run was, as a value; service_deeds is its part about services, against holds two together
page      self-contained HTML pages of the templates in `pages/`; run_page is that of a run
junit, prometheus   a run for a CI system, and for a monitor
whole     files that are there whole or not at all
"""

from typing import TYPE_CHECKING

from exremote.ondemand import ondemand
from exremote.report.outlet import Outlet, outlet, plain_letters
from exremote.report.terminal import has_terminal, is_terminal

if TYPE_CHECKING:
    from exremote.report.account import Account, account_of, typed_command
    from exremote.report.live import Live
    from exremote.report.page import render_page
    from exremote.report.speaking import Report
    from exremote.report.text import STYLES, time_text, visible
    from exremote.wording import count_text, size_text
else:
    __getattr__ = ondemand(
        __name__,
        {
            "exremote.report.account": "Account account_of typed_command",
            "exremote.report.live": "Live",
            "exremote.report.page": "render_page",
            "exremote.report.speaking": "Report",
            "exremote.report.text": "STYLES time_text visible",
            "exremote.wording": "count_text size_text",
        },
    )

__all__ = [
    "STYLES",
    "Account",
    "Live",
    "Outlet",
    "Report",
    "account_of",
    "count_text",
    "has_terminal",
    "is_terminal",
    "outlet",
    "plain_letters",
    "render_page",
    "size_text",
    "time_text",
    "typed_command",
    "visible",
]

"""Self-contained HTML pages from the templates in `pages/`. It knows no run and no command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from exremote import __version__
from exremote.report.text import visible

if TYPE_CHECKING:
    import jinja2

_LONE_HALF = re.compile("[\ud800-\udfff]")
SIGNS: Mapping[str, str] = {
    "good": "✓",
    "bad": "✗",
    "soso": "!",
    "open": "…",
    "none": "–",
    "what": "?",
}
"""What stands beside a word, so that nothing is said by colour alone: by the tone of the word."""
TONES: Mapping[str, str] = {
    "good": "good",
    "done": "good",
    "ok": "good",
    "new": "good",
    "unchanged": "good",
    "copied": "good",
    "mended": "good",
    "safety": "good",
    "intact": "good",
    "gone": "good",
    "better": "good",
    "info": "none",
    "accepted": "none",
    "skipped": "none",
    "forgotten": "none",
    "same": "none",
    "incomplete": "soso",
    "warning": "soso",
    "interrupted": "soso",
    "given up": "soso",
    "changed": "soso",
    "running": "open",
    "waiting": "open",
    "unknown": "what",
    "bad": "bad",
    "critical": "bad",
    "failed": "bad",
    "unreachable": "bad",
    "damaged": "bad",
}
"""How a word of a state is shown; a word that is not here is shown as a question."""


def render_page(template: str, /, **values: object) -> str:
    """Given the name of a template in `pages/` and its values, return the page.

    A page begins with `{% extends "base.html.j2" %}` and `{% import "parts.html.j2" as parts %}`, and fills
    the blocks `title` (plain text), `lead` (one line above the heading: what kind of page), `heading`,
    `content` (sections, each beginning with an `h2`), and, if it needs them, `style` (CSS) and `footer`.

    Macros in `parts`: `badge(word, said)`, `banner(word, sentence)`, `moment(datetime, since)`,
    `took(seconds)`, `facts([(name, text), ...])`, and `box(text)`, an empty box to tick on paper. The word
    chooses sign and colour (`TONES`); signs and words say all that colours say.

    Tables follow an `h2` or have a `caption`; they have `<th scope>`, and class `stack` if they become cards
    on a phone: then the cells that need a name there have `data-name`. What has class `keep` stays on one
    sheet of paper, and class `sheet` begins one.

    Texts are escaped, and characters that would command a terminal or turn text around are written out: a
    value may come from anywhere. A name that has no value is a mistake and raises jinja2.UndefinedError. The
    page asks for nothing outside itself, and tells the browser to refuse it.
    """
    return _environment().get_template(template).render(version=__version__, **values)


def duration_text(seconds: float | None) -> str:
    """Given seconds, return them as a person reads them; a dash if nobody knows."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (rest, "s")]
    first = next(n for n, (count, _) in enumerate(parts) if count)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])


@cache
def _environment() -> jinja2.Environment:
    # It takes longer to load than most commands run, and only pages need it.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "pages", encoding="utf-8"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["utc"] = _utc
    environment.filters["iso"] = _iso
    environment.filters["clock"] = lambda moment: f"{moment.astimezone(UTC):%H:%M:%S}"
    environment.filters["day"] = lambda moment: "" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d}"
    environment.filters["duration"] = duration_text
    environment.filters["tone"] = lambda word: TONES.get(str(word), "what")
    environment.filters["sign"] = lambda word: SIGNS[TONES.get(str(word), "what")]
    environment.filters["sentence"] = _sentence
    return environment


def _shown(value: object) -> object:
    """Given what a template is about to write, return it with nothing in it that is no letter."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return _LONE_HALF.sub("\ufffd", visible(value))
    return value


def _utc(moment: datetime | None) -> str:
    return "–" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _iso(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _sentence(text: str) -> str:
    """Given words, return them with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", ":")) else ".") if text else ""

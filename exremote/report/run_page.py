"""The page of a run: an account laid out for `pages/run.html.j2`. It decides nothing about the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from exremote.health import Verdict
from exremote.report.account import Account, Found
from exremote.report.against import Against
from exremote.report.page import duration_text, render_page
from exremote.wording import count_text

MOST = 2000
"""How many lines of one list a page has: a browser on a phone must open it."""
_SAID = ("user", "machine", "inventory", "repository", "resumes")
"""What a first event may say besides, that a reader wants to know."""


def run_page(run: Account, against: Against | None = None) -> str:
    """Given what a run was, and how it stands against another, return its page."""
    bad = sorted((f for f in run.findings if f.verdict != Verdict.OK), key=_badness)
    main = [h for h in run.happenings if not h.minor]
    return render_page(
        "run.html.j2",
        run=run,
        heading=heading(run),
        outcome=outcome_text(run),
        facts=[(name.capitalize(), value) for name, value in facts(run) if name != "outcome"],
        chain_facts=[
            ("Events", f"{run.chain.events}"),
            ("Digest of the last", run.chain.digest if run.chain.events else ""),
            ("Journal", run.chain.path),
        ],
        record=record_text(run),
        judged=any(host.judged for host in run.hosts),
        bad=bad,
        well=[f for f in run.findings if f.verdict == Verdict.OK],
        main=main,
        rest=[h for h in run.happenings if h.minor],
        against=against,
        most=MOST,
    )


def heading(run: Account) -> str:
    """Given a run, return the name of its page."""
    when = f", {run.started:%Y-%m-%d %H:%M} UTC" if run.started else ""
    return f"{(run.verb or 'A run').capitalize()}{when}"


def facts(run: Account) -> list[tuple[str, str]]:
    """Given a run, return what it was in pairs of a name and a text, for a page and for a terminal."""
    said = [(name, str(run.start[name])) for name in _SAID if run.start.get(name)]
    return [
        ("run", run.run),
        ("command", run.command),
        ("started", "" if run.started is None else f"{run.started:%Y-%m-%d %H:%M:%S} UTC"),
        ("ended", "" if run.ended is None else f"{run.ended:%Y-%m-%d %H:%M:%S} UTC"),
        ("took", "" if run.seconds is None else duration_text(run.seconds)),
        ("outcome", outcome_text(run)),
        ("hosts", hosts_text(run)),
        ("findings", findings_text(run)),
        ("subjects", subjects_text(run)),
        *said,
    ]


def subjects_text(run: Account) -> str:
    """Given a run, return what it was about by host, where the command named snapshots or a run."""
    said = run.start.get("subjects")
    if not isinstance(said, Mapping):
        return ""
    return "; ".join(
        f"{host}: {', '.join(map(str, names))}" for host, names in said.items() if isinstance(names, list)
    )


def outcome_text(run: Account) -> str:
    """Given a run, return its outcome in words; the exit code of a damaged journal says nothing."""
    known = run.exit_code is not None and run.chain.intact
    return run.outcome + (f" (exit code {run.exit_code})" if known else "")


def hosts_text(run: Account) -> str:
    """Given a run, return how many hosts ended how; empty if it had none."""
    counts = Counter(host.state for host in run.hosts)
    states = ", ".join(f"{count} {state}" for state, count in counts.items())
    return f"{count_text(len(run.hosts), 'host')}: {states}" if run.hosts else ""


def findings_text(run: Account) -> str:
    """Given a run, return how many checks said what; empty if it was no health run."""
    if not any(host.judged for host in run.hosts):
        return ""
    counts = Counter("accepted" if f.accepted else f.verdict for f in run.findings)
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts.items())
    return f"{count_text(len(run.findings), 'check')}: {verdicts}" if run.findings else "no check"


def record_text(run: Account) -> str:
    """Given a run, return in a sentence whether its journal holds together."""
    chain = run.chain
    if not chain.intact:
        good = count_text(chain.events, "event")
        return f"{chain.problem}. {good} stand before that, each following from the one before it."
    torn = (
        " The last line is half written, as a killed process leaves it; it does not count."
        if chain.torn
        else ""
    )
    events = count_text(chain.events, "event")
    return f"each of {events} follows from the one before it, to the digest that is kept.{torn}"


def _badness(found: Found) -> tuple[bool, int, str, str]:
    rank = Verdict(found.verdict).rank if found.verdict in set(Verdict) else 0
    return bool(found.accepted), -rank, found.host, found.check

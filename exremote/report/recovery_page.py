"""The pages of a recovery: the evidence behind it, and the runbook before it. It decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from exremote.recover import (
    LEGEND,
    Answer,
    HostRecord,
    Link,
    RecoveryPlan,
    RecoveryRecord,
    StepStory,
    build_text,
)
from exremote.report.page import render_page
from exremote.wording import count_text, size_text


def runbook_page(plan: RecoveryPlan, made: datetime) -> str:
    """Given the plan of a recovery that nobody needs yet, return the page to print."""
    return render_page(
        "runbook.html.j2",
        plan=plan,
        made=made,
        legend=LEGEND,
        facts=original_facts(plan),
        sizes=_sizes(plan),
    )


def evidence_page(
    record: RecoveryRecord,
    host: HostRecord,
    told: Sequence[StepStory],
    links: Sequence[Link],
    whole: Sequence[Answer] = (),
) -> str:
    """Given a recovery, one of its hosts, what became of each step, the journals, and who said that the
    server is whole all the same, return the page.
    """
    return render_page(
        "evidence.html.j2",
        plan=host.plan,
        recovery=record.id,
        standing=standing_of(record, host, links),
        sentence=("The record is not as it was written. " if problems_of(record, links) else "")
        + sentence_of(host, whole),
        facts=[("Recovery", record.id), ("Plan", host.plan.digest), *original_facts(host.plan)],
        stories=told,
        sizes=_sizes(host.plan),
        problems=problems_of(record, links),
        record=record_text(record, links),
        chain=links,
    )


def original_facts(plan: RecoveryPlan) -> list[tuple[str, str]]:
    """Given a plan, return what the lost server was, in pairs of a name and a text."""
    was = plan.original
    return [
        ("Computer name", was.computer_name),
        ("Domain", was.domain),
        ("Windows", f"{was.os_version} {was.service_pack}".strip()),
        ("Windows folder", was.system_root),
        ("Drives", ", ".join(was.drives)),
        ("Exchange", f"{was.exchange_folder}, build {build_text(was.exchange_build) or 'unknown'}"),
        ("Services", ", ".join(was.services)),
        ("Known from", f"{was.source}, {was.as_of.astimezone(UTC):%Y-%m-%d %H:%M} UTC"),
    ]


def problems_of(record: RecoveryRecord, links: Sequence[Link]) -> list[str]:
    """Given a recovery and its journals, return what about them is not as it was written."""
    own = [
        f"the journal of {link.run}: {link.problem}"
        for link in links
        if link.problem and link.verb != "recover"
    ]
    return [*record.problems, *own]


def record_text(record: RecoveryRecord, links: Sequence[Link]) -> str:
    """Given a recovery and its journals, return in a sentence whether they hold together."""
    events = sum(link.events for link in links)
    some = f"{count_text(events, 'event')} in {count_text(len(links), 'journal')}"
    if problems_of(record, links):
        return f"{some}; not all of it is as it was written"
    return f"{some}, each follows from the one before it"


def sentence_of(host: HostRecord, whole: Sequence[Answer] = ()) -> str:
    """Given a host's record, and who said that the server is whole though it was given up, return in a
    sentence how far it is, and in one more who said that.
    """
    if not host.next:
        return f"Recovered: all {len(host.plan.steps)} steps are done and proven."
    if host.given_up is not None:
        said = "".join(
            f" In service, says {a.by}, {a.at.astimezone(UTC):%Y-%m-%d %H:%M} UTC: {a.words.rstrip('.')}."
            for a in whole
        )
        return f"Nobody goes on with it: {host.given_up.text}; {host.progress} steps were done.{said}"
    return f"{host.progress} steps are done; the next is {host.next}, {host.plan.place(host.next)}."


def standing_of(record: RecoveryRecord, host: HostRecord, links: Sequence[Link]) -> str:
    """Given a recovery, return the word for how it stands."""
    if problems_of(record, links):
        return "damaged"
    return "done" if not host.next else "given up" if host.given_up else "waiting"


def _sizes(plan: RecoveryPlan) -> dict[str, str]:
    return {one.snapshot: size_text(one.bytes) for one in plan.saved}

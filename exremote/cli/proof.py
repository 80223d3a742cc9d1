"""The commands `evidence` and `runbook`: a recovery on paper, afterwards and before. They change nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote import recover
from exremote.cli.choosing import host_named
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    known_repository,
    load_inventory,
    now,
    path_from,
    repository_path,
    speaking,
)
from exremote.cli.recoveries import find_recovery
from exremote.cli.underway import doubts_about, unreadable
from exremote.connector import Connector
from exremote.errors import EXIT_OK, IntegrityError, UsageError
from exremote.report import Report, time_text
from exremote.report.recovery_page import (
    evidence_page,
    problems_of,
    record_text,
    runbook_page,
    sentence_of,
)
from exremote.report.whole import write_whole
from exremote.repository import Repository

_DIGEST = re.compile("[0-9a-f]{12,64}")
HtmlOption = Annotated[
    Path | None,
    typer.Option(
        "--html", metavar="FILE", parser=path_from, help="One page that needs nothing else; it prints well."
    ),
]


def evidence(
    run: Annotated[
        str,
        typer.Argument(metavar="RUN", help="A run of the recovery, the beginning of its id, or `latest`."),
    ],
    host: Annotated[
        str | None, typer.Option("--host", metavar="HOST", help="Which host, if the recovery has several.")
    ] = None,
    html: HtmlOption = None,
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="DIGEST",
            help="The digest of the last event, as somebody wrote it down elsewhere.",
        ),
    ] = None,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell of a recovery who did what when, and what proved it; the journals are checked, event by event.

    Journals that are not as they were written are named, and the exit code is 13.
    """
    with speaking(as_json, looks=True) as report:
        place = Repository.open(repository) if repository else known_repository(None, inventory)
        if place is None:
            raise UsageError(
                "Where is the repository?", "Name it with --repository, or an inventory that does."
            )
        record = find_recovery(place, run)
        name = _host(record, host)
        own = record.hosts[name]
        confirms = recover.runs_of(place.runs_folder, recover.CONFIRM)
        links = recover.chain(record, confirms)
        whole = recover.said_whole(record, name, confirms)
        problems = problems_of(record, links)
        if head is not None and not _DIGEST.fullmatch(head.lower()):
            raise UsageError(f"--head {head}: expected a digest, or its first 12 letters at least.")
        if head is not None and not any(link.digest.startswith(head.lower()) for link in links):
            problems.append(f"no journal ends with the digest {head}: events are missing, or were changed")
        told = recover.stories(record, name)
        code = IntegrityError.exit_code if problems else EXIT_OK
        if html is not None:
            write_whole({html: evidence_page(record, own, told, links, whole).encode("utf-8")})
        if as_json:
            report.json(
                {
                    "recovery": record.id,
                    "host": name,
                    "plan": own.plan.to_json(),
                    "next": own.next,
                    "given_up": own.given_up.text if own.next and own.given_up else "",
                    "in_service": [_answer(answer) for answer in whole],
                    "steps": [_plain(story) for story in told],
                    "chain": [_link(link) for link in links],
                    "problems": problems,
                    "exit_code": code,
                }
            )
        elif html is None:
            report.line(f"{own.plan.host}: {sentence_of(own, whole)}")
            _tell(report, own, told)
            report.line(record_text(record, links))
            report.line(f"digest of the last event: {links[-1].digest}" if links else "no journal")
        for problem in problems:
            report.note(f"damaged: {problem}")
        raise typer.Exit(code)


def runbook(
    host: Annotated[str, typer.Argument(metavar="HOST", help="A server that is not lost yet.")],
    html: HtmlOption = None,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write how a server would be recovered from its newest snapshots: to be printed before the disaster."""
    with speaking(as_json, looks=True) as report:
        connectors = Connector.load_all()
        site = load_inventory(inventory, list(connectors))
        place = Repository.open(repository_path(repository or site.repository, inventory))
        own = host_named(site, host)
        place.home(own.name)
        doubts = doubts_about(place, [own.name]).get(own.name, [])
        chosen = recover.newest(place, own.name, (), now(), doubts)
        passed = recover.passed_over(place, own.name, chosen, now(), doubts)
        plan = recover.plan_recovery(place, own, chosen, connectors, passed=passed)
        if html is not None:
            write_whole({html: runbook_page(plan, now()).encode("utf-8")})
        if as_json:
            report.json({"plan": plan.to_json(), "exit_code": EXIT_OK})
        elif html is None:
            report.line(f"Recovery of {plan.host}: what to do if it is lost, along Microsoft's KB 328835.")
            report.line(
                f"`exremote recover {plan.host} --at ADDRESS` leads through it, and looks whether each step "
                "was done. Where it cannot:"
            )
            report.line(recover.LEGEND)
            report.line("")
            for line in recover.steps_text(plan.steps):
                report.line(line)
            for note in plan.notes:
                report.line(f"note: {note}")


def _host(record: recover.RecoveryRecord, host: str | None) -> str:
    known = {name.casefold(): name for name in record.hosts}
    if record.lost and not known:
        raise IntegrityError(
            f"There is no plan left of the recovery {record.id} of {', '.join(record.lost)}: "
            f"{'; '.join(record.problems)}.",
            path=record.runs[0].path,
            entry="plan",
            remedy=unreadable(record).remedy,
        )
    if host is None and len(known) == 1:
        return next(iter(known.values()))
    if host is None or host.casefold() not in known:
        raise UsageError(
            f"The recovery {record.id} has {', '.join(known.values()) or 'no host'}.",
            "Say which with --host.",
        )
    return known[host.casefold()]


def _tell(report: Report, own: recover.HostRecord, told: list[recover.StepStory]) -> None:
    for story in told:
        when = f", {time_text(story.ended)}" if story.ended else ""
        place = own.plan.place(story.step.name)
        report.line(f"{place}: {story.state}: {story.step.name}: {story.step.title}{when}")
        for answer in story.answers:
            words = f": {answer.words}" if answer.words else ""
            asked = "".join(f"; {name}: {'yes' if yes else 'no'}" for name, yes in answer.asked.items())
            report.line(f"     {answer.by}, {time_text(answer.at)}{words}{asked}")
        for attempt in story.attempts:
            if attempt.evidence and (attempt.state != "done" or len(story.attempts) > 1):
                so = "and it was so" if attempt.state == "done" else "and not yet so"
                report.line(f"     looked at {time_text(attempt.at)}, {so}:")
            for one in attempt.evidence:
                remedy = f" -> {one.remedy}" if one.verdict == "wrong" and one.remedy else ""
                report.line(f"     {one.verdict}: {one.what}: {one.said}{remedy}")


def _plain(story: recover.StepStory) -> dict[str, Any]:
    return {
        "step": story.step.name,
        "state": story.state,
        "began": story.began,
        "ended": story.ended,
        "answers": [_answer(answer) for answer in story.answers],
        "attempts": [
            {
                "at": a.at,
                "state": a.state,
                "run": a.run,
                "evidence": [
                    {"what": e.what, "verdict": e.verdict, "said": e.said, "remedy": e.remedy}
                    for e in a.evidence
                ],
            }
            for a in story.attempts
        ],
    }


def _answer(answer: recover.Answer) -> dict[str, Any]:
    said = {"by": answer.by, "words": answer.words, "asked": dict(answer.asked)}
    return {**said, "at": answer.at, "run": answer.via}


def _link(link: recover.Link) -> dict[str, Any]:
    return {
        "run": link.run,
        "verb": link.verb,
        "started": link.started,
        "events": link.events,
        "digest": link.digest,
        "problem": link.problem,
    }

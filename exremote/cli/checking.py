"""The command `health`: asks hosts, or reads what they once answered, and shows what that means."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote import health
from exremote.cli.common import (
    HostsArgument,
    InventoryOption,
    JsonOption,
    ParallelOption,
    RepositoryOption,
    is_folder,
    known_repository,
    load_inventory,
    now,
    path_from,
    site_if_any,
    speaking,
)
from exremote.cli.running import Run, on_hosts, outcome_json, show_failed
from exremote.connector import Connector
from exremote.errors import EXIT_BAD_NEWS, EXIT_INCOMPLETE, EXIT_OK, UsageError
from exremote.facts import FactError, HostFacts
from exremote.inventory import Host, Inventory
from exremote.report import Report
from exremote.runner import Outcome, State, exit_code
from exremote.session import Session
from exremote.wording import count_text

MOST_FACTS = 1 << 28
"""Bytes of a file of recorded facts: a listing of half a million files fits."""

MOST_NOTED = 600
"""Characters of one text of a finding that the journal keeps."""


def check_health(
    hosts: HostsArgument = None,
    inventory: InventoryOption = None,
    save_facts: Annotated[
        Path | None,
        typer.Option(
            "--save-facts",
            metavar="FOLDER",
            parser=path_from,
            help="Keep what the hosts answered, one file each.",
        ),
    ] = None,
    facts: Annotated[
        list[Path] | None,
        typer.Option(
            "--facts",
            metavar="FILE",
            parser=path_from,
            help="Judge a recorded host again, or all of a folder; no network. May be repeated.",
        ),
    ] = None,
    probe: Annotated[
        bool | None,
        typer.Option(
            "--probe/--no-probe",
            help="Write, read back and remove a file in the GroupWise API directory. "
            "Default: what the inventory says, else no.",
            show_default=False,
        ),
    ] = None,
    fail_on: Annotated[
        health.Verdict,
        typer.Option("--fail-on", case_sensitive=False, help="From which verdict on the exit code is 5."),
    ] = health.Verdict.CRITICAL,
    all_findings: Annotated[bool, typer.Option("--all", help="Show what is well, too.")] = False,
    repository: RepositoryOption = None,
    parallel: ParallelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at the connectors of hosts: findings with verdict, evidence and remedy. Only --probe writes."""
    with speaking(as_json) as report:
        connectors = Connector.load_all()
        if facts:
            asking = {"--save-facts": save_facts, "--probe": probe, "--parallel": parallel}
            _refuse_asking(hosts, [name for name, value in asking.items() if value is not None])
            judged, unread = judge_files(recorded(facts), connectors)
            if (own := site_if_any(inventory)) is not None:
                judged = [accepting(outcome, own) for outcome in judged]
                for sentence in health.expired(own.accepted, now().date()):
                    report.note(f"note: {sentence}")
            show_health(report, judged, fail_on, all_findings, unread)
        site = load_inventory(inventory, list(connectors))
        chosen = site.select(hosts or [])
        place = known_repository(repository, inventory)
        for warning in (*site.warnings, *health.unknown(site.accepted, connectors)):
            report.note(f"note: {warning}")
        if save_facts is not None:
            make_folder(save_facts)
        machines: dict[str, str] = {}

        def work(run: Run) -> Callable[[Host, Session], Outcome]:
            def check(host: Host, session: Session) -> Outcome:
                started = now()
                run.stage(host.name, "asking")
                answers = health.collect(
                    session,
                    host,
                    connectors,
                    probe=host.probe if probe is None else probe,
                    now=started,
                    api_account=run.api_account(host),
                )
                if save_facts is not None:
                    save(save_facts, host.name, answers)
                machines[host.name] = health.machine_of(answers)
                found = health.accept(health.judge(answers, connectors), site.accepted, started.date())
                run.journal.event(
                    "judged", host=host.name, worst=str(health.worst(found)), findings=len(found)
                )
                run.journal.event(
                    "findings", host=host.name, fail_on=str(fail_on), findings=[noted(f) for f in found]
                )
                return outcome_of(answers, found, (now() - started).total_seconds())

            return check

        outcomes = on_hosts(
            "health",
            chosen,
            work,
            report=report,
            repository=place,
            parallel=parallel or site.parallel,
            ends_with=lambda ended: health_code(ended, fail_on),
        )
        for _, sentence in health.twins(machines):
            report.note(f"warning: {sentence}")
        for sentence in about_accepted(site, outcomes):
            report.note(f"note: {sentence}")
        show_health(report, outcomes, fail_on, all_findings)


def accepting(outcome: Outcome, site: Inventory) -> Outcome:
    """Given how a host ended and the inventory, return it with the findings marked that the site accepts."""
    if not outcome.detail:
        return outcome
    found = health.accept(outcome.detail, site.accepted, now().date())
    said = str(health.worst(found)) if outcome.state == State.DONE else outcome.message
    return replace(outcome, message=said, detail=found)


def about_accepted(site: Inventory, outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Given the inventory and how the hosts ended, yield what is to be said of its acceptances."""
    today = now().date()
    judged = [o.host for o in outcomes if o.state == State.DONE]
    yield from health.expired(site.accepted, today)
    yield from health.unmet(site.accepted, findings_of(outcomes), judged, today)


def _refuse_asking(hosts: Sequence[str] | None, options: Sequence[str]) -> None:
    """Given what the command line says beside recorded facts, raise UsageError if it is about asking."""
    if hosts:
        raise UsageError("--facts takes no hosts: the file says whose facts it holds.", "Leave them out.")
    if options:
        what = " and ".join(options)
        raise UsageError(f"--facts asks no host, so {what} would do nothing.", f"Leave out {what}.")


def outcome_of(facts: HostFacts, found: Sequence[health.Finding], seconds: float = 0.0) -> Outcome:
    """Given what a host answered and what it means, return how its check ended.

    One that did not answer what all else hangs on is incomplete: that nothing was found says nothing then.
    """
    detail = tuple(found)
    if unasked := health.unasked(facts):
        return Outcome(facts.host, State.INCOMPLETE, EXIT_INCOMPLETE, unasked, seconds, detail)
    return Outcome(facts.host, State.DONE, EXIT_OK, str(health.worst(found)), seconds, detail)


def noted(finding: health.Finding) -> dict[str, str]:
    """Given a finding, return what the journal keeps of it, for `report`: of what is well the evidence alone,
    and of no text more than a screen holds.
    """
    kept = ["check", "connector", "verdict", "evidence"]
    if finding.verdict != health.Verdict.OK:
        kept += ["title", "remedy", "source", "accepted"]
    return {key: cut(text) for key, text in finding.to_json().items() if key in kept and text}


def cut(text: str) -> str:
    """Given text, return it, or its beginning if it is long."""
    return text if len(text) <= MOST_NOTED else f"{text[: MOST_NOTED - 4]} ..."


def findings_of(outcomes: Sequence[Outcome]) -> list[health.Finding]:
    """Given how the hosts ended, return what was found on all of them."""
    return [finding for o in outcomes if o.detail for finding in o.detail]


def health_code(outcomes: Sequence[Outcome], fail_on: health.Verdict) -> int:
    """Given how the hosts ended and what was found, return the exit code."""
    bad = any(f.verdict.rank >= fail_on.rank for f in findings_of(outcomes) if not f.accepted)
    return exit_code(outcomes) or (EXIT_BAD_NEWS if bad else EXIT_OK)


# ---------------------------------------------------------------- recorded facts


def recorded(paths: Sequence[Path]) -> list[Path]:
    """Given files and folders of recorded facts, return the files. Raise UsageError if there are none."""
    found: list[Path] = []
    for path in paths:
        files = sorted(path.glob("*.json")) if is_folder(path) else [path]
        if not files:
            raise UsageError(
                f"There are no recorded facts (*.json) in the folder {path}.",
                "--save-facts FOLDER makes one for each host.",
            )
        if not os.path.exists(path):  # noqa: PTH110 - says no where the system refuses
            raise UsageError(f"There is no file {path}.", "--save-facts FOLDER makes one for each host.")
        found += files
    return found


def judge_files(
    paths: Sequence[Path], connectors: Mapping[str, Connector]
) -> tuple[list[Outcome], list[UsageError]]:
    """Given files of recorded facts, judge each again. Return how, and what is wrong with the others.

    Raise UsageError if none of them holds facts.
    """
    judged, unread = [], []
    for path in paths:
        try:
            judged.append(judge_file(path, connectors))
        except UsageError as error:
            unread.append(error)
    if unread and not judged:
        raise unread[0]
    return judged, unread


def judge_file(path: Path, connectors: Mapping[str, Connector]) -> Outcome:
    """Given a file of recorded facts, judge it again. Raise UsageError if it is none."""
    try:
        with path.open("rb") as file:
            text = file.read(MOST_FACTS + 1)
        if len(text) > MOST_FACTS:
            raise ValueError("it is larger than facts can be")
        facts = HostFacts.from_json(json.loads(text.decode()))
        return outcome_of(facts, health.judge(facts, connectors))
    except (OSError, ValueError, RecursionError, FactError) as error:
        raise UsageError(
            f"{path} holds no recorded facts: {str(error).rstrip('.')}.",
            "Make one with --save-facts FOLDER, or leave it out.",
        ) from error


def make_folder(folder: Path) -> None:
    """Given where facts are to be kept, make it, before any host is asked. Raise UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"Facts cannot be kept in {folder}: it is a file.", "Name a folder.") from None
    except OSError as error:
        raise UsageError(
            f"Facts cannot be kept in {folder}: {error.strerror}.", "Name another folder."
        ) from error


def save(folder: Path, host: str, facts: HostFacts) -> None:
    """Given facts, keep them for their owner alone, as a file that `--facts` reads. Raise UsageError."""
    text = json.dumps(facts.to_json(), indent=1, sort_keys=True)
    path = folder / f"{host}.json"
    try:
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    except OSError as error:
        raise UsageError(
            f"Facts cannot be kept in {folder}: {error.strerror}.", "Name another folder."
        ) from error


# ---------------------------------------------------------------- what is shown


_UNREAD = {"I": "inferred", "R": "recalled"}


def said_row(finding: health.Finding) -> dict[str, str]:
    """Given a finding, return its row for a person: an accepted one says so, and why instead of a remedy.

    Behind a source stands that it was not read there, but inferred or recalled.
    """
    row = finding.to_json()
    if finding.sure in _UNREAD:
        row["source"] += f" ({_UNREAD[finding.sure]})"
    if finding.accepted:
        row |= {
            "verdict": "accepted",
            "check": f"{row['check']} ({row['verdict']})",
            "remedy": row["accepted"],
        }
    return row


def show_health(
    report: Report,
    outcomes: Sequence[Outcome],
    fail_on: health.Verdict,
    all_findings: bool,
    unread: Sequence[UsageError] = (),
) -> None:
    """Given what was found, show it and end with the exit code that the findings and the hosts deserve.

    Files of facts that could not be read (`unread`) are named, and make the code 2.
    """
    findings = findings_of(outcomes)
    shown = [f for f in findings if all_findings or f.verdict != health.Verdict.OK]
    code = UsageError.exit_code if unread else health_code(outcomes, fail_on)
    for error in unread:
        report.note(f"error: {error.text}")
    if report.as_json:
        answer: dict[str, Any] = {
            "hosts": [outcome_json(o) for o in outcomes],
            "findings": [f.to_json() for f in shown],
            "exit_code": code,
        }
        report.json(answer | ({"unread": [error.text for error in unread]} if unread else {}))
        raise typer.Exit(code)
    rows = [said_row(f) for f in shown]
    columns = ["host", "verdict", "check", "evidence", "remedy", "connector", "source"]
    silent = sum(o.detail is None for o in outcomes)
    if rows or findings:
        below = ["evidence", "remedy", "source"]
        nothing = "no findings: all is well"
        named = ["source"]
        report.sentences(
            "Findings", columns, rows, below=below, style_by="verdict", named=named, nothing=nothing
        )
    show_failed(report, outcomes)
    for outcome in outcomes:
        if outcome.state == State.INCOMPLETE:
            report.line(f"{outcome.host}: incomplete: {outcome.message}")
    well = sum(f.verdict == health.Verdict.OK for f in findings)
    unasked = f"; {silent} of {count_text(len(outcomes), 'host')} gave no answer" if silent else ""
    accepted = sum(bool(f.accepted) for f in findings)
    checks, others = count_text(len(findings), "check"), count_text(len(findings) - well, "finding")
    of_these = f", {accepted} of them accepted" if accepted else ""
    report.line(f"{checks}, {well} well, {others}{of_these}{unasked}")
    raise typer.Exit(code)

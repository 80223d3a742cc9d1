"""The commands that do something: init, health, backup. Each composes, calls its verb and reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote import backup, health
from exremote.cli.common import (
    HostsArgument,
    InventoryOption,
    JsonOption,
    ParallelOption,
    RepositoryOption,
    Run,
    known_connector,
    known_repository,
    load_inventory,
    now,
    on_hosts,
    outcome_json,
    repository_path,
    show_failed,
    speaking,
)
from exremote.connector import Connector
from exremote.errors import EXIT_BAD_NEWS, EXIT_OK, RepositoryError, UsageError
from exremote.facts import FactError, HostFacts
from exremote.inventory import Host
from exremote.report import Report, count_text, size_text
from exremote.repository import Repository
from exremote.runner import Outcome, State, exit_code, living_runs
from exremote.session import Session


def init(
    path: Annotated[Path | None, typer.Argument(help="The folder; the same as --repository.")] = None,
    repository: RepositoryOption = None,
    inventory: InventoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a repository: an empty folder that snapshots can go to."""
    with speaking(as_json) as report:

        def tell(why: str) -> None:
            report.note(
                f"warning: others than its owner may read the new folder: {why}. Put the repository on a "
                "volume with file rights, or close it yourself; until then no secret file is saved there."
            )

        made = Repository.create(repository_path(path or repository, inventory), tell)
        if as_json:
            report.json({"repository": made.path, "id": made.id})
        report.line(f"repository {made.id} made at {made.path}")


def check_health(
    hosts: HostsArgument = None,
    inventory: InventoryOption = None,
    save_facts: Annotated[
        Path | None,
        typer.Option("--save-facts", metavar="DIR", help="Keep what the hosts answered, one file each."),
    ] = None,
    facts: Annotated[
        list[Path] | None,
        typer.Option(
            "--facts",
            metavar="FILE",
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
            if hosts:
                raise UsageError("--facts takes no hosts: the file says whose facts it holds.")
            judged = [judge_file(path, connectors) for path in recorded(facts)]
            show_health(report, [], [f for findings in judged for f in findings], fail_on, all_findings)
        site = load_inventory(inventory, list(connectors))
        chosen = site.select(hosts or [])
        place = known_repository(repository, inventory)
        for warning in site.warnings:
            report.note(f"note: {warning}")
        if save_facts is not None:
            make_folder(save_facts)

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
                found = health.judge(answers, connectors)
                run.journal.event(
                    "judged", host=host.name, worst=str(health.worst(found)), findings=len(found)
                )
                seconds = (now() - started).total_seconds()
                return Outcome(host.name, State.DONE, EXIT_OK, str(health.worst(found)), seconds, found)

            return check

        outcomes = on_hosts(
            "health",
            chosen,
            work,
            report=report,
            repository=place,
            parallel=parallel or site.parallel,
            ends_with=lambda ended: health_code(ended, findings_of(ended), fail_on),
        )
        findings = findings_of(outcomes)
        show_health(report, outcomes, findings, fail_on, all_findings)


def findings_of(outcomes: Sequence[Outcome]) -> list[health.Finding]:
    """Given how the hosts ended, return what was found on all of them."""
    return [finding for o in outcomes if o.detail for finding in o.detail]


def health_code(
    outcomes: Sequence[Outcome], findings: Sequence[health.Finding], fail_on: health.Verdict
) -> int:
    """Given how the hosts ended and what was found, return the exit code."""
    bad = any(f.verdict.rank >= fail_on.rank for f in findings)
    return exit_code(outcomes) or (EXIT_BAD_NEWS if bad else EXIT_OK)


def recorded(paths: Sequence[Path]) -> list[Path]:
    """Given files and folders of recorded facts, return the files. Raise UsageError if there are none."""
    found: list[Path] = []
    for path in paths:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if not files:
            raise UsageError(f"There are no recorded facts (*.json) in the folder {path}.")
        if not path.exists():
            raise UsageError(f"There is no file {path}.", "--save-facts DIR makes one for each host.")
        found += files
    return found


def judge_file(path: Path, connectors: Mapping[str, Connector]) -> tuple[health.Finding, ...]:
    """Given a file of recorded facts, judge it again. Raise UsageError if it is none."""
    try:
        return health.judge(HostFacts.from_json(json.loads(path.read_text(encoding="utf-8"))), connectors)
    except (OSError, ValueError, RecursionError, FactError) as error:
        raise UsageError(
            f"{path} holds no recorded facts: {error}", "Make one with --save-facts DIR."
        ) from error


def make_folder(folder: Path) -> None:
    """Given where facts are to be kept, make it, before any host is asked. Raise UsageError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise UsageError(f"Facts cannot be kept in {folder}: it is a file.", "Name a folder.") from None
    except OSError as error:
        raise UsageError(f"Facts cannot be kept in {folder}: {error.strerror}.") from error


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
        raise UsageError(f"Facts cannot be kept in {folder}: {error.strerror}.") from error


def show_health(
    report: Report,
    outcomes: Sequence[Outcome],
    findings: Sequence[health.Finding],
    fail_on: health.Verdict,
    all_findings: bool,
) -> None:
    """Given what was found, show it and end with the exit code that the findings and the hosts deserve."""
    shown = [f for f in findings if all_findings or f.verdict != health.Verdict.OK]
    code = health_code(outcomes, findings, fail_on)
    if report.as_json:
        hosts = [outcome_json(o) for o in outcomes]
        report.json({"hosts": hosts, "findings": [f.to_json() for f in shown], "exit_code": code})
        raise typer.Exit(code)
    rows = [f.to_json() for f in shown]
    columns = ["host", "verdict", "check", "evidence", "remedy"]
    silent = sum(o.detail is None for o in outcomes)
    if rows or findings:
        below = ["evidence", "remedy"]
        nothing = "no findings: all is well"
        report.sentences("Findings", columns, rows, below=below, style_by="verdict", nothing=nothing)
    show_failed(report, outcomes)
    well = sum(f.verdict == health.Verdict.OK for f in findings)
    unasked = f"; {silent} of {len(outcomes)} hosts gave no answer" if silent else ""
    checks, others = count_text(len(findings), "check"), count_text(len(findings) - well, "finding")
    report.line(f"{checks}, {well} well, {others}{unasked}")
    raise typer.Exit(code)


def back_up(
    hosts: HostsArgument = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="CONNECTOR", help="Only this connector; may be repeated."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; copy nothing.")] = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    parallel: ParallelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Save the connectors of hosts: a snapshot per host and connector. Stops no service."""
    with speaking(as_json) as report:
        connectors = Connector.load_all()
        only = [known_connector(name, connectors, "--only") for name in only or []]
        site = load_inventory(inventory, list(connectors))
        chosen = site.select(hosts or [])
        saved = [host for host in chosen if "connectors" in host.backup]
        place = Repository.open(repository_path(repository or site.repository, inventory))
        for warning in site.warnings:
            report.note(f"note: {warning}")
        if not dry_run:
            # Best effort: what else than another run stands in its way is met by this run again.
            with suppress(RepositoryError):
                place.salvage(lambda: living_runs(place.runs_folder))

        def work(run: Run) -> Callable[[Host, Session], Outcome]:
            return backup.Errand(
                place,
                run.journal,
                connectors,
                tuple(only),
                dry_run,
                now,
                run.stage,
                run.moved,
                run.api_account,
            )

        def with_others(ended: Sequence[Outcome]) -> list[Outcome]:
            own = {outcome.host: outcome for outcome in ended}
            return [own.get(host.name) or not_saved(host) for host in chosen]

        done = on_hosts(
            "backup",
            saved,
            work,
            report=report,
            repository=place,
            parallel=parallel or site.parallel,
            ends_with=lambda ended: exit_code(with_others(ended)),
        )
        outcomes = with_others(done)
        show_backup(report, outcomes, place)
        raise typer.Exit(exit_code(outcomes))


def not_saved(host: Host) -> Outcome:
    """Given a host of which the inventory says that nothing is saved, return its outcome."""
    origin = host.origins.get("backup", "host")
    return Outcome(
        host.name, State.SKIPPED, EXIT_OK, f"only checked: the inventory says backup = [] ({origin})"
    )


def show_backup(report: Report, outcomes: Sequence[Outcome], place: Repository) -> None:
    """Given how the hosts ended, show a row each, then what is missing and what health says."""
    if report.as_json:
        hosts = [outcome_json(o) | (o.detail.to_json() if o.detail else {}) for o in outcomes]
        report.json({"repository": place.path, "hosts": hosts, "exit_code": exit_code(outcomes)})
        return
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        row: dict[str, Any] = {"host": outcome.host, "state": str(outcome.state), "message": outcome.message}
        taken = outcome.detail
        if isinstance(taken, backup.Taken):
            row["snapshots"] = [f"{connector} {state}" for connector, _, state in taken.snapshots]
            row["sent"] = f"{count_text(taken.sent_files, 'file')}, {size_text(taken.sent_bytes)}"
            if taken.plan is not None and not taken.snapshots:
                files = count_text(taken.lacking_files, "file")
                row["sent"] = f"would be {files}, {size_text(taken.lacking_bytes)}"
            worst = health.worst(taken.findings)
            row["health"] = str(worst) if taken.findings else ""
        rows.append(row)
    columns = ["host", "state", "snapshots", "sent", "health", "message"]
    spare = ["health", "sent"]
    report.rows(f"Backup to {place.path}", columns, rows, style_by="state", spare=spare)
    for outcome in outcomes:
        taken = outcome.detail
        if not isinstance(taken, backup.Taken):
            continue
        if taken.plan is not None and not taken.snapshots:
            for line in taken.plan.describe():
                report.line(f"{outcome.host}: {line}")
        for connector, what, reason in taken.missing:
            report.line(f"{outcome.host}: {connector} lacks {what}: {reason}")
        for warning in taken.warnings:
            report.line(f"{outcome.host}: warning: {warning}")
        notable = [f for f in taken.findings if f.verdict.rank >= health.Verdict.INFO.rank]
        for finding in notable:
            if finding.verdict.rank >= health.Verdict.WARNING.rank:
                report.line(f"{outcome.host}: {finding.verdict}: {finding.check}: {finding.evidence}")
        if notable:
            report.line(f"{outcome.host}: `exremote health {outcome.host}` has the remedies")

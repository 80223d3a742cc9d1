"""The commands that save: init, backup. Each composes, calls its verb and reports."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
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
    from_environment,
    is_folder,
    known_connector,
    load_inventory,
    now,
    path_from,
    repository_path,
    speaking,
)
from exremote.cli.limiting import DeadlineOption, RateOption, bounds
from exremote.cli.resuming import Told
from exremote.cli.running import Run, on_hosts, outcome_json
from exremote.cli.underway import under_recovery
from exremote.connector import Connector
from exremote.errors import EXIT_INCOMPLETE, EXIT_OK, RepositoryError, UsageError
from exremote.inventory import Host
from exremote.ntbackup import PARTS
from exremote.report import Report, size_text
from exremote.repository import Repository, is_private
from exremote.runner import Heal, Outcome, State, exit_code, failed, living_runs
from exremote.session import Session
from exremote.wording import count_text


def init(
    context: typer.Context,
    path: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", parser=path_from, help="The folder; the same as --repository."),
    ] = None,
    repository: RepositoryOption = None,
    inventory: InventoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a repository: a new or empty folder that snapshots can go to, for its owner alone."""
    with speaking(as_json) as report:
        if path is not None and repository is not None and not from_environment(context, "repository"):
            raise UsageError("Two folders are named.", "Name one, as FOLDER or with --repository.")
        folder = repository_path(path or repository, inventory)
        was_open = is_folder(folder) and not is_private(folder)
        opened: list[str] = []
        made = Repository.create(folder, opened.append)
        if as_json:
            report.json({"repository": made.path, "id": made.id, "closed": was_open and not opened})
        report.line(f"repository {made.id} made at {made.path}")
        for why in opened:
            report.note(
                f"warning: others than its owner may read the new folder: {why}. Put the repository on a "
                "volume with file rights, or close it yourself; until then no secret file is saved there."
            )
        if was_open and not opened:
            report.note(
                f"note: others could enter {made.path}; now only its owner can, for a snapshot holds what "
                "the connectors log on with"
            )


def back_up(
    context: typer.Context,
    hosts: HostsArgument = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="CONNECTOR",
            help="Only this connector, or systemstate, or storagegroups; may be repeated. Or `tables`: their "
            "folder alone, every few minutes.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; copy nothing.")] = False,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    parallel: ParallelOption = None,
    limit_rate: RateOption = None,
    deadline: DeadlineOption = None,
    as_json: JsonOption = False,
) -> None:
    """Save the connectors of hosts: a snapshot per host and connector. Only a stopped-copy stops services.

    That is where the inventory's `backup` names it for the host; they are started again whatever happens.
    """
    with speaking(as_json) as report:
        connectors = Connector.load_all()
        only = [known_connector(name, [*connectors, *PARTS, backup.TABLES], "--only") for name in only or []]
        tables = tables_alone(only)
        site = load_inventory(inventory, list(connectors))
        limits, at_once = bounds(limit_rate, deadline, parallel or site.parallel, report)
        chosen = site.select(hosts or [])
        saved = [host for host in chosen if any(backup.wanted_of(host, only))]
        place = Repository.open(repository_path(repository or site.repository, inventory))
        begins = isinstance(context.obj, dict) and context.obj.get("planned") is True
        refused, doubted = ({}, []) if begins else under_recovery(place, saved)
        saved = [host for host in saved if host.name not in refused]
        unready = [h for h in saved if tables and not backup.footings(place, h, connectors, now())[0]]
        for warning in (*site.warnings, *health.expired(site.accepted, now().date()), *doubted):
            report.note(f"note: {warning}")
        if not dry_run:
            # Best effort: what else than another run stands in its way is met by this run again.
            with suppress(RepositoryError):
                place.salvage(lambda: living_runs(place.runs_folder))

        room = place.room(site.keep_free)

        def work(run: Run) -> Callable[[Host, Session], Outcome]:
            errand = (backup.TablesErrand if tables else backup.Errand)(
                place,
                run.journal,
                connectors,
                () if tables else tuple(name for name in only if name not in PARTS),
                dry_run,
                now,
                run.stage,
                run.moved,
                run.expect,
                run.api_account,
                room,
                site.accepted,
            )
            jobs = backup.JobErrand(
                place, run.journal, dry_run, now, run.stage, run.moved, room, site.accepted, connectors
            )
            return backup.Whole(errand, jobs, tuple(only))

        def with_others(ended: Sequence[Outcome]) -> list[Outcome]:
            without = [not_ready(place, host, connectors) for host in unready]
            own = {outcome.host: outcome for outcome in (*ended, *without)}
            own |= {host.name: failed(host, refused[host.name]) for host in chosen if host.name in refused}
            return [own.get(host.name) or not_saved(host) for host in chosen]

        done = on_hosts(
            "backup",
            [host for host in saved if host not in unready],
            work,
            report=report,
            repository=place,
            parallel=at_once,
            limits=limits,
            told=Told.of(context, site.path, place.path),
            writes=True,
            heal=Heal.SHOW if dry_run else Heal.AGAIN,
            ends_with=lambda ended: exit_code(with_others(ended)),
        )
        outcomes = with_twins(with_others(done))
        show_backup(report, outcomes, place, dry_run=dry_run)
        raise typer.Exit(exit_code(outcomes))


def tables_alone(only: Sequence[str]) -> bool:
    """Given what is to be saved, return whether that is the tables alone. Raise UsageError if it is more."""
    if backup.TABLES in only and len(set(only)) > 1:
        raise UsageError(
            "--only tables stands alone: it saves the tables of all connectors of a host.",
            "Leave the others out, or run them as a command of their own.",
        )
    return backup.TABLES in only


def not_ready(place: Repository, host: Host, connectors: Mapping[str, Connector]) -> Outcome:
    """Given a host whose tables cannot be saved alone, return its outcome; it was not asked."""
    if backup.without_tables(place, host, connectors):
        return Outcome(host.name, State.SKIPPED, EXIT_OK, "none of its connectors has tables")
    return Outcome(host.name, State.INCOMPLETE, EXIT_INCOMPLETE, backup.no_footing(host))


def not_saved(host: Host) -> Outcome:
    """Given a host of which the inventory says that nothing is saved, return its outcome."""
    origin = host.origins.get("backup", "host")
    return Outcome(
        host.name, State.SKIPPED, EXIT_OK, f"only checked: the inventory says backup = [] ({origin})"
    )


def with_twins(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Given how the hosts ended, return it with a warning for each that is one machine with another one."""
    taken = {o.host: o.detail for o in outcomes if isinstance(o.detail, backup.Taken)}
    for names, sentence in health.twins({host: detail.machine for host, detail in taken.items()}):
        for name in names:
            taken[name] = replace(taken[name], warnings=(*taken[name].warnings, sentence))
    return [replace(o, detail=taken[o.host]) if o.host in taken else o for o in outcomes]


def show_backup(report: Report, outcomes: Sequence[Outcome], place: Repository, *, dry_run: bool) -> None:
    """Given how the hosts ended, show a row each, then what is missing and what health says."""
    if report.as_json:
        hosts = [outcome_json(o) | (o.detail.to_json() if o.detail else {}) for o in outcomes]
        report.json({"repository": place.path, "hosts": hosts, "exit_code": exit_code(outcomes)})
        return
    rows = [backup_row(outcome, dry_run) for outcome in outcomes]
    columns = ["host", "state", "snapshots", "sent", "health", "message"]
    spare = ["health", "sent"]
    title = f"Backup to {place.path}"
    report.rows(title, columns, rows, style_by="state", spare=spare, below=["message"])
    for outcome in outcomes:
        if isinstance(outcome.detail, backup.Taken):
            for line in backup_lines(outcome.detail, dry_run):
                report.line(f"{outcome.host}: {line}")


def backup_row(outcome: Outcome, dry_run: bool) -> dict[str, Any]:
    """Given how a host ended, return its row; what it lacks is said below, once."""
    row: dict[str, Any] = {"host": outcome.host, "state": str(outcome.state), "message": outcome.message}
    taken = outcome.detail
    if not isinstance(taken, backup.Taken):
        return row
    if taken.missing:
        row["message"] = f"{count_text(len(taken.missing), 'thing')} could not be saved, see below"
    row["snapshots"] = [f"{connector} {state}" for connector, _, state in taken.snapshots]
    row["sent"] = f"{count_text(taken.sent_files, 'file')}, {size_text(taken.sent_bytes)}"
    if dry_run:
        files = count_text(taken.lacking_files, "file")
        row["sent"] = f"would be {files}, {size_text(taken.lacking_bytes)}"
    row["health"] = str(health.worst(taken.findings)) if taken.findings else ""
    return row


def backup_lines(taken: backup.Taken, dry_run: bool) -> Iterator[str]:
    """Given what a backup of a host brought in, yield what a person is told besides its row."""
    if dry_run and taken.plan is not None:
        yield from taken.plan.describe()
    for connector, what, reason in taken.missing:
        yield f"{connector} lacks {what}: {reason}"
    for warning in taken.warnings:
        yield f"warning: {warning}"
    for finding in taken.findings:
        if finding.accepted:
            yield f"accepted: {finding.check} ({finding.verdict}): {finding.evidence} -> {finding.accepted}"
    open_ones = [f for f in taken.findings if not f.accepted]
    for finding in (f for f in open_ones if f.verdict.rank >= health.Verdict.WARNING.rank):
        yield f"{finding.verdict}: {finding.check}: {finding.evidence} -> {finding.remedy}"
    rest = [f for f in open_ones if f.verdict in (health.Verdict.INFO, health.Verdict.UNKNOWN)]
    if rest:
        yield f"{count_text(len(rest), 'more finding')} ({names_of(rest)}): see {_told_by(rest, taken)}"


def _told_by(findings: Sequence[health.Finding], taken: backup.Taken) -> str:
    """Given findings of a host's backup, return which commands have them: health sees less than a backup."""
    host, places = findings[0].host, {connector: name for connector, name, _ in taken.snapshots}
    wanted = {finding.connector for finding in findings}
    if not places or not wanted <= {"", *places}:
        return f"`exremote health {host}`"
    own = [places[connector] for connector in sorted(wanted - {""})] or list(places.values())[:1]
    return " and ".join(f"`exremote show {host}/{name}`" for name in own)


def names_of(findings: Sequence[health.Finding]) -> str:
    """Given findings, return the names of their checks, each once."""
    return ", ".join(dict.fromkeys(f.check for f in findings))

"""The command `drill`: proves that snapshots restore, without touching what is in use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from exremote import restore
from exremote.cli.choosing import (
    LeftOut,
    chosen_snapshots,
    folder_on_host,
    host_named,
    note_left_out,
    something_named,
)
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    ParallelOption,
    RepositoryOption,
    load_inventory,
    now,
    repository_path,
    speaking,
)
from exremote.cli.resuming import Told
from exremote.cli.running import Run, on_hosts, outcome_json
from exremote.connector import Connector
from exremote.errors import EXIT_BAD_NEWS, EXIT_OK, UsageError
from exremote.inventory import Host, Inventory
from exremote.report import Report, size_text
from exremote.repository import Repository
from exremote.runner import Outcome
from exremote.session import Session


def drill(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SNAPSHOT", help="As `restore` takes them. With --latest: hosts, groups or tag:NAME."
        ),
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="The newest complete snapshot of each connector of the hosts.")
    ] = False,
    groups: Annotated[
        list[str] | None, typer.Option("--group", metavar="NAME", help="With --latest: a group of hosts.")
    ] = None,
    on: Annotated[
        str | None,
        typer.Option("--on", metavar="HOST", help="Where to try it. Default: the inventory's drill_on."),
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option(
            "--folder", metavar="FOLDER", help="In which folder there. Default: the inventory's drill_folder."
        ),
    ] = None,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    parallel: ParallelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore snapshots to a scratch folder and a scratch registry key of a host that is there for it. Every
    file and value is compared, all is taken away again, and a record of it is kept.

    What could not be checked is said; then, or if anything differs, the exit code is 5.
    """
    with speaking(as_json) as report:
        something_named(names or (), latest, groups or ())
        if folder is not None:
            folder_on_host("--folder", folder)
        connectors = Connector.load_all()
        site = load_inventory(inventory, list(connectors))
        place = Repository.open(repository_path(repository or site.repository, inventory))
        chosen = chosen_snapshots(
            place,
            site,
            names or (),
            latest,
            groups or (),
            take_it="`exremote drill SNAPSHOT`",
            keep_going=True,
        )
        snapshots = chosen.snapshots

        def code(outcomes: Sequence[Outcome]) -> int:
            return restore.drill_code(outcomes) or (EXIT_BAD_NEWS if chosen.left_out else EXIT_OK)

        for warning in (*site.warnings, *chosen.notes):
            report.note(f"note: {warning}")
        subjects: dict[str, list[restore.Subject]] = {}
        folders: dict[str, str] = {}
        for name in dict.fromkeys(s.host for s in snapshots):
            mine = [s for s in snapshots if s.host == name]
            where, scratch = _where(site, name, on, folder)
            subjects.setdefault(where.name, []).append(
                restore.Subject(name, restore.parts_of(mine), restore.aim_of(mine, connectors, (), True))
            )
            if folders.setdefault(where.name, scratch) != scratch:
                raise UsageError(f"Two drill folders are named for {where.name}.", "Use --folder.")

        def work(run: Run) -> Callable[[Host, Session], Outcome]:
            note_left_out(run.journal, chosen.left_out)
            return restore.DrillErrand(
                place, run.journal, subjects, folders, now, run.stage, run.moved, run.expect
            )

        outcomes = on_hosts(
            "drill",
            [host_named(site, name) for name in subjects],
            work,
            report=report,
            repository=place,
            parallel=parallel or site.parallel,
            writes=True,
            ends_with=code,
            told=Told.of(
                context,
                site.path,
                place.path,
                {
                    where: [f"{s.host}/{s.id}" for subject in mine for s in subject.snapshots]
                    for where, mine in subjects.items()
                },
            ),
        )
        _show(report, place, outcomes, chosen.left_out, code(outcomes))
        raise typer.Exit(code(outcomes))


def _where(site: Inventory, name: str, on: str | None, folder: str | None) -> tuple[Host, str]:
    """Given whose snapshots are tried, return where and in which folder. Raise UsageError if nobody says."""
    own = next((h for h in site.hosts.values() if h.name.casefold() == name.casefold()), None)
    said = on or (own.drill_on if own is not None else None)
    if not said:
        raise UsageError(
            f"Nobody says where to try the snapshots of {name}.",
            'Use --on HOST, or `drill_on = "HOST"` in the inventory: where a scratch folder may be made.',
        )
    host = host_named(site, said)
    scratch = folder or (own.drill_folder if own is not None else None) or host.drill_folder
    if not scratch:
        raise UsageError(
            f"Nobody says in which folder of {host.name} to try them.",
            "Use --folder FOLDER, or `drill_folder = 'D:\\drill'` in the inventory.",
        )
    return host, scratch


def _state(result: restore.Drilled) -> str:
    if result.broken is not None:
        return "failed"
    return "ok" if result.green else "critical" if result.wrong else "unknown"


def _show(
    report: Report,
    place: Repository,
    outcomes: Sequence[Outcome],
    left_out: Sequence[LeftOut],
    code: int,
) -> None:
    """Given how the hosts ended and what was not tried, show a row for each host that was tried, and what is
    wrong.
    """
    results = [(o, r) for o in outcomes for r in (o.detail or ())]
    if report.as_json:
        hosts = [outcome_json(o) | {"drills": [r.to_json() for r in o.detail or ()]} for o in outcomes]
        missed = [one.to_json() for one in left_out]
        report.json({"repository": place.path, "hosts": hosts, "left_out": missed, "exit_code": code})
        return
    rows: list[dict[str, Any]] = []
    for outcome, result in results:
        about = f"about {result.estimate_s:.0f} s" if result.estimate_s is not None else "unknown"
        rows.append(
            {
                "host": result.host,
                "state": _state(result),
                "tried_on": outcome.host,
                "equal": f"{result.files} files ({size_text(result.bytes)}), {result.values} values",
                "seconds": f"{result.seconds:.1f}",
                "restore_takes": about,
            }
        )
    columns = ["host", "state", "tried_on", "equal", "seconds", "restore_takes"]
    report.rows("Drill", columns, rows, style_by="state", nothing="no result")
    for _, result in results:
        if result.broken is not None:
            report.line(f"{result.host}: failed: {result.broken.text}")
        for sentence in result.wrong:
            report.line(f"{result.host}: not equal: {sentence}")
        for sentence in result.unchecked:
            report.line(f"{result.host}: not checked: {sentence}")
    for outcome in outcomes:
        if outcome.detail is None:
            report.line(f"{outcome.host}: {outcome.state}: {outcome.message}")
    for left in left_out:
        report.line(str(left))

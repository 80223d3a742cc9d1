"""The command `resume`: does again what a run left undone, as a run of its own. It decides nothing itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from exremote import recover
from exremote.cli import resuming
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    from_environment,
    journal_folders,
    known_repository,
    speaking,
)
from exremote.cli.keep import YesOption
from exremote.cli.runs import RUN_HELP, one_run
from exremote.cli.underway import standings
from exremote.journal import RunRecord, journals, list_runs, read_run
from exremote.repository import Repository
from exremote.runner import alive_runs

MOMENT = len("20260102T030405Z")
"""Of a run's id: what it sorts by."""


def _resumable(paths: Sequence[Path], alive: Mapping[str, str]) -> Callable[[RunRecord], bool]:
    """Given all journals and the runs that are alive, return what says whether a run can be resumed."""
    later = cache(lambda: resuming.Later.of(list_runs(paths)))  # read only if anybody asks
    ended = cache(lambda: standings({path.parent for path in paths}))
    return lambda record: bool(resuming.command_for(record, alive, later(), ended()))


def resume(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN_HELP} that can be; `runs` lists them.")],
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Do what a run left undone: killed, interrupted, at its deadline, or with hosts that did not end well.

    The same command line, as the run's journal has it, for the hosts that are left; what had come of them is
    not fetched again. --inventory and --repository, given here, stand for those of then.
    """
    line: list[str] = []
    run_id = ""
    with speaking(as_json) as report:
        place = Repository.open(repository) if repository else known_repository(None, inventory)
        folders = journal_folders(place)
        paths = journals(*folders)
        alive = {name: who for folder in folders for name, who in alive_runs(folder).items()}
        lacking = "there is no run that could be resumed"
        path = one_run(paths, run, folders, _resumable(paths, alive), lacking)
        record, run_id = read_run(path), path.stem
        behind = list_runs([p for p in paths if p.name[:MOMENT] >= path.name[:MOMENT] and p != path])
        later = resuming.Later.of(behind)
        while resuming.stands_for_last(record) and record.run_id in later.successors:
            record = later.successors[record.run_id]
            run_id = record.run_id
        if record.verb == recover.VERB:
            record = resuming.with_options(record)
        left = resuming.remnant(record, alive, later, standings([path.parent]))
        line = resuming.KINDS[record.verb].line(record, left)
        report.note(resuming.told(left, record, line))
        if inventory is not None and not from_environment(context, "inventory"):
            line += ["--inventory", str(inventory)]
        home = place.path if place is not None and path.parent == place.runs_folder else None
        line += ["--repository", str(home or record.start.get("repository"))]
        line += ["--json"] if as_json else []
        line += ["--yes"] if yes and resuming.KINDS[record.verb].asks and "--yes" not in line else []
    # Beyond the block: the command speaks for itself, and its exit code is the answer.
    raise typer.Exit(resuming.nested(context, line, run_id))

"""The command `undo`: brings back what a restore replaced, as a plan of its own. It decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated

import typer

from exremote import restore
from exremote.cli.choosing import LeftOut, host_named
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    ParallelOption,
    RepositoryOption,
    load_inventory,
    repository_path,
    speaking,
)
from exremote.cli.keep import HostOption, YesOption
from exremote.cli.restoring import (
    CanaryOption,
    ConfirmedOption,
    DryRunOption,
    GraceOption,
    Job,
    ServiceDeadlineOption,
    carry_out,
    known_steps,
    waves_of,
)
from exremote.cli.resuming import Later, Told, refuse_alive
from exremote.cli.runs import NEWEST, RUN_HELP, one_run
from exremote.connector import Connector
from exremote.errors import IntegrityError, PlanRefused, SnapshotNotFound, UsageError
from exremote.journal import RunRecord, journals, list_runs, read_run
from exremote.repository import Repository
from exremote.restore.history import VERBS
from exremote.runner import alive_runs


def _changed(record: RunRecord) -> bool:
    """Return whether a run changed something, or may have: its journal is damaged."""
    try:
        return bool(restore.undoable(record))
    except PlanRefused:
        return record.verb in VERBS and not record.intact


def _went_on(record: RunRecord, every: Sequence[RunRecord]) -> Iterator[tuple[str, list[str]]]:
    """Given a run and all runs, yield each that took it up and changed something, and on which hosts: the
    last one first, for in that order they are undone.
    """
    known = Later.of(every)
    chain = [record]
    while (following := known.successors.get(chain[-1].run_id)) is not None and following not in chain:
        chain.append(following)
    for one in reversed(chain[1:]):
        with suppress(PlanRefused):  # it changed nothing, or nobody can tell
            undone = known.undone.get(one.run_id, {})
            if there := [each.host for each in restore.undoable(one) if each.host not in undone]:
                yield one.run_id, there


def undo(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help=f"{RUN_HELP} that changed something.")],
    hosts: HostOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    canaries: CanaryOption = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Go on with other hosts after one failed.")
    ] = False,
    confirmed: ConfirmedOption = None,
    grace: GraceOption = None,
    service_deadline: ServiceDeadlineOption = None,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    parallel: ParallelOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring back what a restore replaced: each file, registry value and service as it was before, from the
    snapshots that the restore took first. It can be undone in turn.
    """
    with speaking(as_json) as report:
        connectors = Connector.load_all()
        site = load_inventory(inventory, list(connectors))
        place = Repository.open(repository_path(repository or site.repository, inventory))
        paths, folders = journals(place.runs_folder), [place.runs_folder]
        record = read_run(one_run(paths, run, folders, _changed, "no run has changed a host yet"))
        # What it does behind our look would not be undone.
        refuse_alive(record.run_id, alive_runs(place.runs_folder))
        if run == NEWEST:
            report.note(f"the newest run that changed a host is {record.run_id}")
        changed = {one.host: one for one in restore.undoable(record)}
        wanted = [host_named(site, name).name for name in hosts or ()] or list(changed)
        if strangers := [name for name in wanted if name not in changed]:
            raise UsageError(
                f"The run {record.run_id} changed nothing on {strangers[0]}.",
                f"It changed {', '.join(changed)}.",
            )
        before = (restore.owed(place.runs_folder, name, record.run_id).broken for name in wanted)
        for earlier in dict.fromkeys(filter(None, before)) if record.verb != "undo" else ():
            report.note(
                f"{record.run_id} went on where {earlier} had broken off: `exremote undo {earlier}` behind "
                "this one brings back what was there before that"
            )
        for later, there in _went_on(record, list_runs(paths)):
            report.note(
                f"{later} took up what {record.run_id} had left, and changed {', '.join(there)}: "
                f"`exremote undo {later}` brings that back"
            )
        work: dict[str, restore.Work] = {}
        left_out: list[LeftOut] = []
        for name in wanted:
            one = changed[name]
            try:
                host_named(site, name)
                saved = tuple(place.find(snapshot) for snapshot in one.safety)
                aim = restore.aim_of_undo(one.plan, saved, connectors, one.services)
            except (UsageError, SnapshotNotFound, IntegrityError) as error:
                if not keep_going and len(wanted) > 1:
                    error.leave(f"Nothing was changed; --keep-going goes on without {name}.")
                if not keep_going or len(wanted) == len(left_out) + 1:
                    raise
                left_out.append(LeftOut(name, "everything", "", error.said.rstrip("."), error.remedy))
                continue
            if note := restore.erased_note(record, name, one.plan):
                aim = replace(aim, notes=(*aim.notes, note))
            work[name] = restore.Work(aim, saved)
        wanted = list(work)
        waves = waves_of(site, wanted, canaries or (), None, "undone")
        job = Job(
            "undo",
            place,
            connectors,
            [host_named(site, name) for wave in waves for name in wave],
            work,
            True,  # the run has looked at the machine; its snapshots are of the host that it changed
            waves,
            None,
            keep_going,
            parallel or site.parallel,
            grace,
            service_deadline,
            known_steps(confirmed, connectors),
            Told.of(context, site.path, place.path, dict.fromkeys(wanted, (record.run_id,))),
            left_out,
        )
        carry_out(job, report, dry_run=dry_run, yes=yes)

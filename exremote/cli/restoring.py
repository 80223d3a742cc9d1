"""The command `restore`, and how a plan becomes a deed: nothing is done that was not shown and approved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from exremote import restore
from exremote.changes import ChangePlan, Confirm
from exremote.cli.asking import Asker
from exremote.cli.choosing import (
    LeftOut,
    all_complete,
    by_host,
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
    path_from,
    repository_path,
    speaking,
)
from exremote.cli.keep import YesOption, approve
from exremote.cli.laying import lay_into
from exremote.cli.planned import PlanFile, read_plans, show_plans, write_plans
from exremote.cli.resuming import Told
from exremote.cli.running import Run, on_hosts, outcome_json
from exremote.cli.underway import half_recovered
from exremote.connector import Connector
from exremote.errors import EXIT_INCOMPLETE, EXIT_OK, PlanRefused, UsageError
from exremote.inventory import Host, Inventory
from exremote.report import Report, has_terminal
from exremote.repository import Repository
from exremote.runner import Heal, Outcome, exit_code, failed
from exremote.session import Session

GraceOption = Annotated[
    float | None,
    typer.Option(
        "--grace",
        min=0.0,
        metavar="SECONDS",
        help="How long a service has to run after its start. Default: what its connector file says.",
        show_default=False,
    ),
]
ServiceDeadlineOption = Annotated[
    int | None,
    typer.Option(
        "--service-deadline",
        min=1,
        metavar="SECONDS",
        help="How long one stop or start may take at most. Default: what its connector file says.",
        show_default=False,
    ),
]
ConfirmedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--confirmed",
        metavar="STEP",
        help="A step of the plan that a person confirms, answered beforehand; may be repeated.",
    ),
]


def known_steps(said: Sequence[str] | None, connectors: Mapping[str, Connector]) -> list[str]:
    """Given what --confirmed says and all connectors, return it. Raise UsageError if no step is called so."""
    known = sorted({step.name for connector in connectors.values() for step in connector.human_steps})
    if strangers := [name for name in said or () if name not in known]:
        raise UsageError(
            f"--confirmed {strangers[0]}: no step is called so.",
            f"A person confirms {', '.join(known)}; the plan says where.",
        )
    return list(said or ())


DryRunOption = Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; change nothing.")]
CanaryOption = Annotated[
    list[str] | None,
    typer.Option("--canary", metavar="HOST", help="This host first, alone; may be repeated."),
]


def waves_of(
    site: Inventory, names: Sequence[str], canaries: Sequence[str], size: int | None, deed: str
) -> list[list[str]]:
    """Given the hosts of a run, those that go first, and the size of a wave, return the waves.

    Raise UsageError if nothing is to be done on one of the canaries; `deed` says what.
    """
    waves = restore.in_waves(names, [host_named(site, name).name for name in canaries], size)
    if strangers := [name for w in waves for name in w if name not in names]:
        raise UsageError(f"--canary {strangers[0]}: nothing is {deed} there.", "Name one of the hosts.")
    return waves


@dataclass(frozen=True, slots=True)
class Job:
    """What one command brings to several hosts, and how."""

    verb: Literal["restore", "undo"]
    """which command"""
    place: Repository
    """the repository"""
    connectors: Mapping[str, Connector]
    """all that the tool knows"""
    hosts: Sequence[Host]
    """in the order in which they begin"""
    work: Mapping[str, restore.Work]
    """by host"""
    elsewhere: bool
    """whether a host need not be the machine that the snapshot is of"""
    waves: Sequence[Sequence[str]]
    """which hosts go together"""
    at_once: int | None
    """how many hosts with one kind of connector may be down at once"""
    keep_going: bool
    """whether the others go on after a failure"""
    parallel: int
    """how many hosts at a time"""
    grace_s: float | None
    """how long a service has to run before it is taken for running"""
    most_s: int | None
    """how long one stop or start may take at most"""
    confirmed: Sequence[str]
    """steps that were answered beforehand"""
    told: Told
    """what the journal says of the command line"""
    left_out: Sequence[LeftOut] = ()
    """what else was asked for, and there is no snapshot of it to take"""
    saved: Mapping[str, ChangePlan] | None = None
    """by host, the plan that somebody approved before; None: somebody will"""

    def code(self, outcomes: Sequence[Outcome]) -> int:
        """Given how the hosts ended, return the exit code: what was left out was asked for, too."""
        return exit_code(outcomes) or (EXIT_INCOMPLETE if self.left_out else EXIT_OK)

    def judged(self, planned: Sequence[Outcome]) -> list[Outcome]:
        """Given what was planned now, return it: refused, where it is not what was approved before."""
        return [self._judged(outcome) for outcome in planned]

    def _judged(self, outcome: Outcome) -> Outcome:
        plan = outcome.detail.plan if isinstance(outcome.detail, restore.Restored) else None
        if self.saved is None or plan is None or not plan.steps:
            return outcome
        try:
            restore.check_approved(outcome.host, self.saved.get(outcome.host), plan)
        except PlanRefused as refused:
            host = next(host for host in self.hosts if host.name == outcome.host)
            return replace(failed(host, refused), seconds=outcome.seconds, detail=outcome.detail)
        return outcome


def restore_command(
    context: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SNAPSHOT",
            help="Ids or their beginnings, HOST/ and that, or HOST/CONNECTOR for the newest one. "
            "With --latest: hosts, groups or tag:NAME.",
        ),
    ] = None,
    latest: Annotated[
        bool, typer.Option("--latest", help="The newest complete snapshot of each connector of the hosts.")
    ] = False,
    groups: Annotated[
        list[str] | None, typer.Option("--group", metavar="NAME", help="With --latest: a group of hosts.")
    ] = None,
    items: Annotated[
        list[str] | None,
        typer.Option("--item", metavar="ITEM", help="Only this item (`exremote show`); may be repeated."),
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="HOST", help="Another host than the snapshot's own.")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--into",
            metavar="FOLDER",
            help="Put the files into this new folder of the host (a full path), and touch nothing else.",
        ),
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan",
            metavar="FILE",
            parser=path_from,
            help="Carry out exactly the plan that --save-plan wrote and somebody approved.",
        ),
    ] = None,
    save_plan: Annotated[
        Path | None,
        typer.Option("--save-plan", metavar="FILE", parser=path_from, help="Write the plan; change nothing."),
    ] = None,
    allow_incomplete: Annotated[
        bool,
        typer.Option(
            "--allow-incomplete",
            help="Take a snapshot that lacks something, too; with --latest, where none is complete.",
        ),
    ] = False,
    in_transit: Annotated[
        bool,
        typer.Option("--in-transit", help="Messages on their way, too: they may be delivered a second time."),
    ] = False,
    canaries: CanaryOption = None,
    wave: Annotated[
        int | None, typer.Option("--wave", min=1, help="Then so many hosts, and after them the next ones.")
    ] = None,
    down_at_once: Annotated[
        int | None,
        typer.Option("--down-at-once", min=1, help="So many hosts of one kind of connector down at once."),
    ] = None,
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
    """Bring back what snapshots hold. The plan is shown first; then what is there is saved, services are
    stopped, files and registry values put in place, services started, and proof taken.

    Only what differs is sent and touched. Without a terminal, --yes or --plan says that the plan is approved.
    """
    with speaking(as_json) as report:
        if plan is None:
            something_named(names or (), latest, groups or ())
        if into is not None:
            folder_on_host("--into", into)
            if plan is not None or save_plan is not None:
                raise UsageError(
                    "--into makes no plan that can be saved, or carried out later.",
                    f"Leave {'--plan' if plan is not None else '--save-plan'} out; --dry-run says what would "
                    "be put there.",
                )
            if canaries or wave is not None:
                raise UsageError(
                    "--into stops nothing, so nobody has to go first.", "Leave --canary and --wave out."
                )
        connectors = Connector.load_all()
        site = load_inventory(inventory, list(connectors))
        place = Repository.open(repository_path(repository or site.repository, inventory))
        saved: PlanFile | None = None
        if plan is not None:
            if names or latest or groups or items or to or in_transit or service_deadline:
                raise UsageError("--plan FILE says what goes where.", "Leave the other choices out.")
            saved = read_plans(plan, place, "restore")
            names, items, to, in_transit = saved.names, saved.items, saved.to, saved.in_transit
            service_deadline = saved.service_deadline
        chosen = chosen_snapshots(
            place,
            site,
            names or (),
            latest,
            groups or (),
            take_it="`exremote restore SNAPSHOT --allow-incomplete`",
            incomplete=allow_incomplete,
            keep_going=keep_going,
        )
        snapshots = chosen.snapshots
        if not allow_incomplete and saved is None:
            all_complete(snapshots)
        goes_to = by_host(snapshots, to)
        hosts = [host_named(site, name) for name in goes_to]
        if to is not None and saved is None and not dry_run:
            sources = ", ".join(sorted({s.host for s in snapshots}))
            approve(f"{to} is not {sources}, which the snapshot is of. Restore there?", yes, "Use --dry-run")
        unsure = half_recovered(chosen.doubts, [host.name for host in hosts])
        # Whoever is asked is to know it; all else reads it behind the result.
        for warning in (*site.warnings, *unsure, *chosen.notes, *(() if yes or dry_run else chosen.left_out)):
            report.note(f"note: {warning}")
        waves = waves_of(site, [host.name for host in hosts], canaries or (), wave, "restored")
        order = {name: n for n, name in enumerate(name for w in waves for name in w)}
        job = Job(
            "restore",
            place,
            connectors,
            sorted(hosts, key=lambda host: order[host.name]),
            {
                name: restore.Work(
                    restore.aim_of(found, connectors, items or (), in_transit), restore.parts_of(found)
                )
                for name, found in goes_to.items()
            },
            to is not None,
            waves,
            down_at_once,
            keep_going,
            parallel or site.parallel,
            grace,
            service_deadline,
            known_steps(confirmed, connectors),
            Told.of(
                context,
                site.path,
                place.path,
                {n: [f"{s.host}/{restore.name_of(s)}" for s in found] for n, found in goes_to.items()},
                saved.options if saved is not None else None,
            ),
            chosen.left_out,
            {p.host: p for p in saved.plans} if saved is not None else None,
        )
        if into is not None:
            outcomes = lay_into(
                place,
                job.hosts,
                job.work,
                into,
                report=report,
                parallel=job.parallel,
                dry_run=dry_run,
                yes=yes,
                keep_going=keep_going,
                left_out=job.left_out,
                ends_with=job.code,
            )
            show_restored(report, job, outcomes)
            raise typer.Exit(job.code(outcomes))
        whole = [f"{s.host}/{restore.name_of(s)}" for s in snapshots]
        written = None
        if save_plan is not None:
            written = PlanFile(
                place.id, "restore", whole, list(items or ()), to, in_transit, service_deadline, []
            )
        carry_out(job, report, dry_run=dry_run, yes=yes, write=(save_plan, written))


def carry_out(
    job: Job,
    report: Report,
    *,
    dry_run: bool,
    yes: bool,
    write: tuple[Path | None, PlanFile | None] = (None, None),
) -> None:
    """Given a job, plan, show, ask, and do it. Always raises typer.Exit, with the exit code of the outcome.

    Raise PlanRefused if it was not approved.
    """
    planned = job.judged(_run(job, report, None, dry_run or write[0] is not None))
    plans = {o.host: o.detail.plan for o in planned if isinstance(o.detail, restore.Restored)}
    well = {o.host for o in planned if o.exit_code == EXIT_OK}
    to_do = {name: plan for name, plan in plans.items() if plan.steps and name in well}
    path, head = write
    if not report.as_json:
        show_plans(report, list(plans.values()), job.place)
    if path is not None and head is not None:
        if bad := [outcome.host for outcome in planned if outcome.exit_code != EXIT_OK]:
            none = ", ".join(bad)
            report.note(f"no plan is written to {path}: there is none for {none}; leave it out, or try again")
        else:
            write_plans(path, head, list(plans.values()))
            report.note(f"the plan is in {path}; `exremote restore --plan {path}` carries it out")
    unplanned = exit_code(planned) != EXIT_OK and not job.keep_going
    if dry_run or path is not None or unplanned or not to_do:
        show_restored(report, job, list(map(_ended, planned)))
        raise typer.Exit(job.code(planned))
    _answerable(job, list(to_do.values()))
    if job.saved is not None:
        approved = job.saved
    else:
        services = sorted({stop.service for plan in to_do.values() for stop in plan.stops})
        stopping = f"; stops {', '.join(services)}" if services else ""
        question = f"{job.verb} on {', '.join(to_do)}{stopping}. Do it?"
        approve(question, yes, "Look at the plan with --dry-run")
        approved = to_do
    doing = replace(
        job,
        hosts=[host for host in job.hosts if host.name in to_do],
        waves=[[name for name in wave if name in to_do] for wave in job.waves],
    )
    rest = [outcome for outcome in planned if outcome.host not in to_do]
    done = {o.host: o for o in _run(doing, report, approved, rest=rest)}
    outcomes = [done.get(o.host, o) for o in planned]
    show_restored(report, job, outcomes)
    raise typer.Exit(job.code(outcomes))


def _ended(outcome: Outcome) -> Outcome:
    """Given what was planned for a host, return it as what the run ends with."""
    said = f"{restore.ONLY_PLANNED}; nothing was changed"
    return replace(outcome, message=said) if outcome.message == restore.ONLY_PLANNED else outcome


def _answerable(job: Job, plans: Sequence[ChangePlan]) -> None:
    """Given plans, raise PlanRefused if a person is needed and there is none."""
    names = {step.name: step for plan in plans for step in plan if isinstance(step, Confirm)}
    open_ = [step for name, step in names.items() if name not in job.confirmed]
    if open_ and not has_terminal():
        raise PlanRefused(
            f"A step of the plan is for a person ({open_[0].name}), and there is no terminal to ask at: "
            f"{open_[0].text}",
            f"Run it at a terminal, or answer now with --confirmed {open_[0].name}. Nothing was changed.",
        )


def _run(
    job: Job,
    report: Report,
    approved: Mapping[str, ChangePlan] | None,
    dry_run: bool = False,
    rest: Sequence[Outcome] = (),
) -> list[Outcome]:
    """Given a job, plan it for each host, or do what was approved. Return the outcomes.

    `rest`: how it ended for hosts of which nothing is done: the journal ends with the code of all of them.
    """

    def work(run: Run) -> Callable[[Host, Session], Outcome]:
        note_left_out(run.journal, job.left_out)
        waves = restore.Waves(
            job.waves,
            {
                name: restore.kinds_down(work.aim, job.connectors, (approved or {}).get(name))
                for name, work in job.work.items()
            },
            job.at_once,
            job.keep_going,
            run.going_on,
        )
        asker = Asker(report, job.confirmed, run.paused, run.going_on)
        return restore.Errand(
            job.verb,
            job.place,
            run.journal,
            job.connectors,
            job.work,
            approved,
            job.elsewhere,
            job.grace_s,
            job.most_s,
            asker,
            waves,
            now,
            run.stage,
            run.moved,
            run.expect,
            run.api_account,
            clears=not dry_run,
            left_down=run.owed,
            heal=Heal.SHOW if dry_run else Heal.YES,
        )

    return on_hosts(
        job.verb,
        job.hosts,
        work,
        report=report,
        repository=job.place,
        parallel=job.parallel,
        writes=approved is not None,
        heal=Heal.SHOW if dry_run else Heal.YES,
        ends_with=lambda done: job.code(job.judged(done) if approved is None else [*done, *rest]),
        told=job.told if approved is not None else None,
        out=[outcome for outcome in rest if outcome.exit_code != EXIT_OK],
    )


def show_restored(report: Report, job: Job, outcomes: Sequence[Outcome]) -> None:
    """Given how the hosts ended, show a row each, and what is to be read besides."""
    if report.as_json:
        hosts = [outcome_json(o) | (o.detail.to_json() if o.detail is not None else {}) for o in outcomes]
        left_out = [one.to_json() for one in job.left_out]
        answer = {"repository": job.place.path, "hosts": hosts, "left_out": left_out}
        report.json({**answer, "exit_code": job.code(outcomes)})
        return
    rows: list[dict[str, Any]] = []
    for outcome in outcomes:
        row = {"host": outcome.host, "state": str(outcome.state), "message": outcome.message}
        if isinstance(outcome.detail, restore.Restored):
            row["plan"] = outcome.detail.plan.digest[:12]
            row["saved_before"] = ", ".join(outcome.detail.safety)
        rows.append(row)
    # Whether anything was planned moves no column: `cut -f5` gets the message in every outcome.
    columns = ["host", "state", "plan", "saved_before", "message"]
    spare = [column for column in ("plan", "saved_before") if not any(row.get(column) for row in rows)]
    spare = [*spare, *([] if "saved_before" in spare else ["saved_before"])]
    report.rows(job.verb.capitalize(), columns, rows, style_by="state", spare=spare, below=["message"])
    for outcome in outcomes:
        if isinstance(outcome.detail, restore.Restored):
            for sentence in (outcome.detail.done.failed if outcome.detail.done else ())[1:]:
                report.line(f"{outcome.host}: not done: {sentence}")
    for left in job.left_out:
        report.line(str(left))
    details = [o.detail for o in outcomes if isinstance(o.detail, restore.Restored)]
    for run in filter(None, dict.fromkeys(one.run for one in details)):
        broken = next((one.broken for one in details if one.run == run and one.broken), "")
        then = f", as {broken} had left it; `exremote undo {broken}` then undoes that one" if broken else ""
        report.note(f"`exremote undo {run}` brings back what was there before{then}")

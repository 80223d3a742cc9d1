"""The command `recover`: a lost server through the nine steps of the tip. It shows, asks and hands over."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext, redirect_stdout, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from exremote import recover, restore
from exremote.changes import ChangePlan
from exremote.cli.answering import Attendant
from exremote.cli.choosing import host_named
from exremote.cli.common import (
    InventoryOption,
    JsonOption,
    RepositoryOption,
    load_inventory,
    now,
    repository_path,
    speaking,
)
from exremote.cli.keep import YesOption, approve
from exremote.cli.limiting import seconds
from exremote.cli.recoveries import begun, end_for_good, in_order, locked, nobody_at_it, supersede, under_way
from exremote.cli.resuming import Told, nested
from exremote.cli.running import Run, on_hosts, outcome_json
from exremote.cli.underway import all_recoveries, evidence_command, given_up
from exremote.connector import Connector
from exremote.errors import (
    EXIT_BAD_NEWS,
    EXIT_INTERRUPTED,
    EXIT_OK,
    PlanRefused,
    RepositoryError,
    UsageError,
    Waiting,
)
from exremote.inventory import Host, Inventory, second_hop_problem, split_address
from exremote.recover import RecoveryPlan, RecoveryRecord
from exremote.report import Report, time_text
from exremote.repository import Repository
from exremote.runner import Outcome, State, Visit, alive_runs, exit_code

WAIT = "30m"


@dataclass(frozen=True, slots=True)
class Going:
    """A recovery that begins, or goes on."""

    place: Repository
    """the repository"""
    connectors: Mapping[str, Connector]
    """all that the tool knows"""
    record: RecoveryRecord
    """how far it is"""
    at: str | None
    """the temporary address of the command line"""
    wait_s: float
    """how long a machine that is away is waited for"""
    yes: bool
    """whether plans are approved beforehand"""
    grace_s: float | None
    """how long a service has to run before it is taken for running"""
    told: Told
    """what the journal says of the command line"""
    still_ours: Callable[[str], None]
    """raises if a host's lock was taken away"""


def recover_command(
    context: typer.Context,
    names: Annotated[list[str], typer.Argument(metavar="HOST", help="The lost server; may be several.")],
    rehearse: Annotated[
        bool,
        typer.Option("--rehearse", help="Ask of every step whether it could be done now; change nothing."),
    ] = False,
    planned: Annotated[
        bool,
        typer.Option(
            "--planned", help="The old server lives: back it up first, with System State and stores."
        ),
    ] = False,
    snapshots: Annotated[
        list[str] | None,
        typer.Option(
            "--snapshot",
            metavar="SNAPSHOT",
            help="This one instead of the newest of its kind; may be repeated.",
        ),
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at",
            metavar="ADDRESS",
            help="Where the new machine is reached until tip step 5, with :PORT if that is another one. "
            "Default: the inventory's recover_address.",
        ),
    ] = None,
    wait: Annotated[
        str,
        typer.Option("--wait", metavar="TIME", help="How long a machine is waited for: 90s, 30m, 2h."),
    ] = WAIT,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="Show the plan; change nothing.")] = False,
    yes: YesOption = False,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with the recovery of this run.")
    ] = None,
    anew: Annotated[
        bool, typer.Option("--anew", help="Begin from the start, although one is under way.")
    ] = False,
    give_up: Annotated[
        bool, typer.Option("--give-up", help="Go on no further with the one that is under way.")
    ] = False,
    grace: Annotated[
        float | None,
        typer.Option(
            "--grace",
            min=0.0,
            metavar="SECONDS",
            help="How long a service has to run after its start. Default: what its connector file says.",
            show_default=False,
        ),
    ] = None,
    inventory: InventoryOption = None,
    repository: RepositoryOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recover a lost server along the nine steps of Microsoft's tip (KB 328835), over days and restarts.

    What exremote can do it does; what only a person can, it asks for, and looks whether it was done. Without
    a terminal it ends at such a step with exit code 6: `exremote confirm RUN STEP` answers, `exremote resume
    RUN` goes on, from any machine that has the repository.
    """
    with speaking(as_json) as report, ExitStack() as stack:
        connectors = Connector.load_all()
        site = load_inventory(inventory, list(connectors))
        place = Repository.open(repository_path(repository or site.repository, inventory))
        hosts = site.select(names)
        for host in hosts:
            place.home(host.name)  # else it would be said that there is nothing of it
        if at is not None:
            if len(hosts) > 1:
                raise UsageError(
                    "--at names one machine.", "Recover one host, or say recover_address for each."
                )
            try:
                address, _ = split_address(at)
            except ValueError as error:
                raise UsageError(f"--at {at}: expected {error}.") from error
            for gateway in filter(None, (host.gateway for host in hosts)):
                if problem := second_hop_problem(address, gateway.name, gateway.address):
                    raise UsageError(f"--at {at}: expected {problem}.")
        wait_s = seconds(wait, "--wait")
        for warning in site.warnings:
            report.note(f"note: {warning}")
        looks = rehearse or dry_run
        still_ours: Callable[[str], None] = lambda host: None  # noqa: E731 - who only looks has no lock
        if not looks:
            # Before the journals are read: what one run goes on from, no other one goes on with.
            still_ours = stack.enter_context(locked(place, hosts, report))
        if give_up:
            end_for_good(place, report, hosts, yes)
        record = under_way(place, hosts, resume, anew, looks, at)
        if planned and record is not None:
            raise UsageError(
                "A recovery that is under way has its snapshots, and --planned would take others.",
                "Leave --planned out, or begin another one: --anew without --resume.",
            )
        if anew and not looks:
            supersede(place, report, hosts, yes)
        if planned and looks:
            report.note(
                "note: --planned backs up first, and that is not done now: this is about what is there"
            )
        elif planned:
            _back_up(context, report, hosts, site, place)
        if record is None:
            record = begun(place, site, hosts, snapshots or (), connectors, at, rehearse, planned)
        elif snapshots:
            raise UsageError(
                "A recovery that is under way has its snapshots.", "Leave --snapshot out, or --anew."
            )
        if record.runs and not looks:
            nobody_at_it(place, record)
            _only_here(place, record, report)
        for problem in record.problems if not rehearse else ():
            report.note(f"note: {problem}")
        wanted = {host.name for host in hosts}
        for name in (n for n in record.hosts if n in wanted and record.hosts[n].given_up):
            report.note(f"note: {given_up(record, name).message}")
            wanted.remove(name)
        chosen = [host_named(site, name) for name in record.hosts if name in wanted]
        ordered = in_order(chosen, record)
        told = Told.of(context, site.path, place.path)
        if record.runs:
            told = replace(told, resumes=record.last.run_id, more=record.to_go_on)
        going = Going(
            place,
            connectors,
            record,
            at,
            wait_s,
            yes,
            grace,
            told,
            still_ours,
        )
        if rehearse:
            _rehearse(going, report, [*ordered, *(host_named(site, name) for name in record.unplanned)])
        if not as_json and record.runs and not dry_run:
            _show_standing(report, ordered, record)
        elif not as_json:
            _show_plans(report, [record.hosts[h.name].plan for h in ordered], record)
        if dry_run:
            if as_json:
                plans = [record.hosts[h.name].plan.to_json() for h in ordered]
                report.json({"repository": place.path, "plans": plans, "exit_code": EXIT_OK})
            raise typer.Exit(EXIT_OK)
        if not record.runs:
            question = f"recover {', '.join(h.name for h in ordered)}: begin with tip step 4?"
            approve(question, yes, "Look at the plan with --dry-run, or use --rehearse")
        outcomes = _go(going, report, ordered)
        _show(report, going, outcomes)
        raise typer.Exit(_code(outcomes))


def _only_here(place: Repository, record: RecoveryRecord, report: Report) -> None:
    """Given a recovery that goes on, raise PlanRefused if it went on in another copy of the repository, and
    that shows: in the journals, or at a place that is seen from here. Say so if the last run was elsewhere.
    """
    if record.forks:
        raise PlanRefused(
            f"Two runs of the recovery {record.id} go on from one, as where a copy of the repository went on "
            f"by itself: {record.forks[0]}.",
            "Look at both (`exremote runs RUN`), and move the journal of the one that is not about this "
            f"machine, with those that go on from it, out of {place.path / 'runs'}.",
        )
    said = [(run, str(run.start["repository"])) for run in record.runs if "repository" in run.start]
    own = {run.run_id: run.count for run in record.runs if run.intact}
    for path in dict.fromkeys(path for _, path in said if path != str(place.path)):
        with suppress(RepositoryError):
            other = Repository.open(Path(path))
            there = all_recoveries(other).get(record.id) if other.id == place.id else None
            # A copy may have been made while a run was alive: it has the beginning of that run.
            alive = alive_runs(other.runs_folder) if there is not None else {}
            known = {run.run_id for run in record.runs}
            more = [
                run.run_id
                for run in (there.runs if there is not None else ())
                if run.run_id not in known
                or run.run_id in alive
                or run.count > own.get(run.run_id, run.count)
            ]
            if more:
                going = "is going on" if more[-1] in alive else "went on"
                raise PlanRefused(
                    f"The recovery {record.id} {going} in another copy of this repository: {path} "
                    f"({more[-1]}). One of them alone can go on with one machine.",
                    f"Go on there: `exremote resume {record.id} --repository {path}`.",
                )
    if said and said[-1][1] != str(place.path):
        last, path = said[-1]
        report.note(
            f"note: {last.run_id} had this recovery in the repository {path} (on "
            f"{last.start.get('machine', 'another machine')}). If {place.path} is a copy of that, go on in "
            "one of them alone: two that go on from the same run are no one recovery"
        )


def _back_up(
    context: typer.Context, report: Report, hosts: Sequence[Host], site: Inventory, place: Repository
) -> None:
    """Take steps 1 to 3 of the tip from the living servers. Raise PlanRefused if that does not end well."""
    report.note("steps 1 to 3 of the tip: backing up")
    line = ["backup", *(host.name for host in hosts)]
    files = ["--inventory", str(site.path), "--repository", str(place.path)]
    parts = [text for part in ("systemstate", "storagegroups") for text in ("--only", part)]
    # A program reads one document, which is that of the recovery.
    with redirect_stdout(sys.stderr) if report.as_json else nullcontext():
        code = nested(context, [*line, *files], "", planned=True)
        code = code or nested(context, [*line, *parts, *files], "", planned=True)
    if code != EXIT_OK:
        raise PlanRefused(
            f"The backup of {', '.join(h.name for h in hosts)} ended with exit code {code}, no move begins.",
            "See to it; a server that is lost is recovered without --planned.",
        )


def _errand(
    going: Going, report: Report, run: Run, visit: Visit, names: Sequence[str]
) -> Callable[[Host], Outcome]:
    going.record.id = going.record.id or run.journal.run_id
    attendant = Attendant(report, going.place, going.record, run.journal, run.paused, run.going_on)

    def restorer(
        work: Mapping[str, restore.Work], approved: Mapping[str, ChangePlan] | None
    ) -> restore.Errand:
        return restore.Errand(
            "restore",
            going.place,
            run.journal,
            going.connectors,
            work,
            approved,
            False,
            going.grace_s,
            None,
            attendant.confirm,
            restore.Waves([list(work)], {}, None, False, run.going_on),
            now,
            run.stage,
            run.moved,
            run.expect,
            run.api_account,
            clears=True,
        )

    def approve_plan(host: str, plan: ChangePlan) -> None:
        attendant.approve(host, plan, going.yes)

    errand = recover.RecoveryErrand(
        going.place,
        run.journal,
        going.connectors,
        going.record,
        names,
        going.at,
        visit.session,
        partial(visit.session, silently=True),
        attendant,
        approve_plan,
        attendant.confirm,
        restorer,
        going.wait_s,
        run.api_account,
        now,
        run.stage,
        run.moved,
        run.expect,
        going.still_ours,
    )
    errand.note_plans()
    return errand


def _temporary(going: Going, hosts: Sequence[Host]) -> list[Host]:
    """Return the hosts as they are reached before step 5: their secrets are wanted, too."""
    known = (h for h in hosts if h.name in going.record.hosts)
    found = (recover.temporary_host(h, going.at or going.record.hosts[h.name].at) for h in known)
    return [host for host in found if host is not None]


def _go(going: Going, report: Report, hosts: Sequence[Host]) -> list[Outcome]:
    also = _temporary(going, hosts)
    return on_hosts(
        recover.VERB,
        hosts,
        None,
        report=report,
        repository=going.place,
        parallel=max(1, len(hosts)),
        writes=True,
        ends_with=_code,
        told=going.told,
        through=lambda run, visit: _errand(going, report, run, visit, [h.name for h in hosts]),
        also=also,
    )


def _code(outcomes: Sequence[Outcome]) -> int:
    """Given how the hosts ended, return the exit code: waiting is no failure, however many wait."""
    codes = {o.exit_code for o in outcomes}
    return (
        Waiting.exit_code
        if codes <= {EXIT_OK, Waiting.exit_code} and codes != {EXIT_OK}
        else exit_code(outcomes)
    )


def _show_plans(report: Report, plans: Sequence[RecoveryPlan], record: RecoveryRecord) -> None:
    for plan in plans:
        report.line(f"{plan.host}: recovery of {plan.original.computer_name}, plan {plan.digest[:12]}")
        for one in plan.saved:
            report.line(f"  from {one.of}: {one.snapshot}, as of {time_text(one.as_of)}")
        for step in plan.steps:
            done = "done: " if record.hosts[plan.host].is_done(step.name) else ""
            who = "you" if step.who == "person" else "exremote"
            report.line(f"  {plan.place(step.name)}, {who}: {done}{step.title} [{step.name}]")
        for note in plan.notes:
            report.line(f"  note: {note}")
        if first := [name for name in plan.after if name not in record.hosts]:
            both = " ".join((*first, plan.host))
            report.line(
                f"  note: it comes after {', '.join(first)}; if that is lost, too: exremote recover {both}"
            )


def _show_standing(report: Report, hosts: Sequence[Host], record: RecoveryRecord) -> None:
    """Given a recovery that goes on, say how far it is."""
    for host in hosts:
        one = record.hosts[host.name]
        at = f"next is {one.next}, {one.plan.place(one.next)}" if one.next else "all is done"
        report.line(f"{host.name}: {one.progress} steps are done, {at} (recovery {record.id})")


def _rehearse(going: Going, report: Report, hosts: Sequence[Host]) -> None:
    """Ask of every step whether it could be done. Always raises typer.Exit."""
    found: dict[str, recover.Rehearsal] = {}
    under_way: dict[str, recover.HostRecord] = {}
    for record in all_recoveries(going.place).values():
        for name in (h.name for h in hosts if h.name in record.half_done):
            under_way[name] = record.hosts[name]
            report.note(
                f"note: a recovery of {name} is under way ({record.id}, {record.hosts[name].progress} steps "
                "are done): what follows asks of each step as if another one began today"
            )

    def through(run: Run, visit: Visit) -> Callable[[Host], Outcome]:
        def one(host: Host) -> Outcome:
            return recover.rehearsed(
                going.record.unplanned.get(host.name) or going.record.hosts[host.name].plan,
                host,
                going.at,
                going.place,
                partial(visit.session, silently=True),
                run.accounts,
                now(),
                run.stage,
                found,
                run.journal,
                under_way.get(host.name),
            )

        return one

    also = _temporary(going, hosts)
    outcomes = on_hosts(
        "rehearse", hosts, None, report=report, repository=going.place, parallel=4, through=through, also=also
    )
    rows: list[dict[str, Any]] = []
    for name, steps in found.items():
        for step, evidence in steps:
            for one in evidence:
                state = {"ok": "ok", "wrong": "missing", "unknown": "unknown"}[one.verdict]
                said = f"{one.said}{f'. {one.remedy}' if one.remedy else ''}"
                rows.append({"host": name, "step": step, "state": state, "what": one.what, "said": said})
    missing = sum(row["state"] == "missing" for row in rows)
    code = EXIT_BAD_NEWS if missing else exit_code(outcomes)
    if report.as_json:
        report.json({"repository": going.place.path, "rehearsal": rows, "exit_code": code})
    else:
        columns = ["host", "step", "state", "what", "said"]
        report.rows("Rehearsal", columns, rows, style_by="state", below=["said"])
        report.line(
            f"{missing} of {len(rows)} things {'is' if missing == 1 else 'are'} missing; nothing was changed"
        )
    raise typer.Exit(code)


def last_digest(place: Repository, recovery: str) -> str:
    """Given a recovery whose last run has ended, return the digest of its last event."""
    record = all_recoveries(place).get(recovery)
    return record.last.digest if record is not None else "nothing"


def _show(report: Report, going: Going, outcomes: Sequence[Outcome]) -> None:
    rows = []
    for outcome in outcomes:
        record = going.record.hosts[outcome.host]
        rows.append(outcome_json(outcome) | {"step": record.next, "done": record.progress})
    if report.as_json:
        report.json(
            {
                "repository": going.place.path,
                "recovery": going.record.id,
                "hosts": rows,
                "exit_code": _code(outcomes),
            }
        )
        return
    columns = ["host", "state", "done", "step", "message"]
    if _code(outcomes) == EXIT_INTERRUPTED:
        report.note(f"nothing is lost: `exremote resume {going.record.id}` goes on")
    digest = last_digest(going.place, going.record.id)
    report.note(
        f"write down elsewhere that the record ends with {digest}: "
        f"`{evidence_command(going.record, next(iter(going.record.hosts)))} --head {digest[:12]}` tells "
        "later whether that is still in it"
    )
    report.rows("Recovery", columns, rows, style_by="state", below=["message"])
    report.commands(outcome.message for outcome in outcomes)
    for done in (outcome.host for outcome in outcomes if outcome.state is State.DONE):
        report.note(
            f"note: {going.record.hosts[done].plan.folder} on {done} still has what was brought there; a "
            ".bkf holds a whole server: remove the folder when nobody needs it"
        )

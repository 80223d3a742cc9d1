"""The command `recover`: a lost server through the nine steps of the tip. It shows, asks and hands over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
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
from exremote.cli.journaling import journaled
from exremote.cli.keep import YesOption, approve
from exremote.cli.limiting import seconds
from exremote.cli.resuming import Told, nested
from exremote.cli.running import Run, on_hosts, outcome_json
from exremote.connector import Connector
from exremote.errors import (
    EXIT_BAD_NEWS,
    EXIT_INTERRUPTED,
    EXIT_OK,
    PlanRefused,
    SnapshotNotFound,
    UsageError,
    Waiting,
)
from exremote.inventory import Host, Inventory, split_address
from exremote.recover import RecoveryPlan, RecoveryRecord
from exremote.report import Report, time_text
from exremote.repository import Repository
from exremote.runner import Outcome, Visit, exit_code

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
            help="Where the new machine is reached until step 5, with :PORT if that is another one. "
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
        if at is not None:
            if len(hosts) > 1:
                raise UsageError(
                    "--at names one machine.", "Recover one host, or say recover_address for each."
                )
            try:
                split_address(at)
            except ValueError as error:
                raise UsageError(f"--at {at}: expected {error}.") from error
        wait_s = seconds(wait, "--wait")
        for warning in site.warnings:
            report.note(f"note: {warning}")
        looks = rehearse or dry_run
        if not looks:
            # Before the journals are read: what one run goes on from, no other one goes on with.
            stack.enter_context(_locked(place, hosts, report))
        if give_up:
            _give_up(place, report, hosts, yes)
        record = _record(place, hosts, resume, anew, looks, at)
        if anew and not looks:
            _supersede(place, report, hosts, yes)
        if planned:
            _back_up(context, report, hosts, site, place)
        if record is None:
            record = _begin(place, site, hosts, snapshots or (), connectors, at, rehearse)
        elif snapshots:
            raise UsageError(
                "A recovery that is under way has its snapshots.", "Leave --snapshot out, or --anew."
            )
        for problem in record.problems if not rehearse else ():
            report.note(f"note: {problem}")
        chosen = [host_named(site, name) for name in record.hosts if name in {h.name for h in hosts}]
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
        )
        if rehearse:
            _rehearse(going, report, ordered)
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
            question = f"recover {', '.join(h.name for h in ordered)}: begin with step 4?"
            approve(question, yes, "Look at the plan with --dry-run, or use --rehearse")
        outcomes = _go(going, report, ordered)
        _show(report, going, outcomes)
        raise typer.Exit(_code(outcomes))


def _record(
    place: Repository,
    hosts: Sequence[Host],
    resume: str | None,
    anew: bool,
    looks: bool,
    at: str | None,
) -> RecoveryRecord | None:
    """Return the recovery that is gone on with; None if one begins. Raise PlanRefused if that is unclear."""
    found = recover.recoveries(recover.runs_of(place.runs_folder, recover.VERB))
    wanted = {host.name for host in hosts}
    if resume is not None:
        ours = [one for one in found.values() if any(run.run_id.startswith(resume) for run in one.runs)]
        if len(ours) != 1:
            raise SnapshotNotFound(
                f"there is no recovery {resume}." if not ours else f"{resume} begins more than one.",
                path=place.path,
                remedy="`exremote runs` lists them.",
            )
        if strangers := wanted - set(ours[0].hosts):
            raise UsageError(f"The recovery {ours[0].id} is not one of {', '.join(sorted(strangers))}.")
        if over := [name for name in wanted if ours[0].hosts[name].given_up and ours[0].hosts[name].next]:
            raise PlanRefused(
                f"The recovery {ours[0].id} of {', '.join(over)} was given up, or another was begun later.",
                "`exremote runs` lists them; `exremote evidence` shows how far each came.",
            )
        if not wanted & set(ours[0].unfinished):
            raise PlanRefused(
                f"There is nothing left to do: the recovery {ours[0].id} is through.",
                f"`exremote evidence {ours[0].id}` shows what was done, and what proved it.",
            )
        return ours[0]
    for one in reversed(list(found.values())):
        names = sorted(wanted & set(one.unfinished))
        if not anew and not looks and names:
            raise PlanRefused(
                f"A recovery of {', '.join(names)} is under way: {one.id}.",
                f"Go on with `{_going_on(one, names, at)}`, or begin another one with --anew.",
            )
    return None


def _going_on(record: RecoveryRecord, names: Sequence[str], at: str | None) -> str:
    """Return the command that goes on with a recovery; with the address, if one was given."""
    if at is None:
        return f"exremote resume {record.id}"
    return f"exremote recover {' '.join(names)} --resume {record.id} --at {at}"


@contextmanager
def _locked(place: Repository, hosts: Sequence[Host], report: Report) -> Iterator[None]:
    """Hold the hosts' locks: nobody else goes on with a recovery of them. Raise RepositoryLocked."""
    with ExitStack() as stack:
        for host in sorted(hosts, key=lambda h: h.name):
            stack.enter_context(
                place.lock(
                    "exremote recover",
                    name=f"recover-{host.name}",
                    run="",
                    since=now(),
                    on_takeover=lambda who: report.note(
                        f"note: took over the lock of {who}: that process is gone"
                    ),
                )
            )
        yield


def _supersede(place: Repository, report: Report, hosts: Sequence[Host], yes: bool) -> None:
    """Given that another recovery begins, say what is given up for it, and ask. Raise PlanRefused."""
    for one in recover.recoveries(recover.runs_of(place.runs_folder, recover.VERB)).values():
        for name in (h.name for h in hosts if h.name in one.unfinished):
            host = one.hosts[name]
            done = f"{sum(map(host.is_done, (s.name for s in host.plan.steps)))} of {len(host.plan.steps)}"
            report.note(f"note: the recovery {one.id} of {name} is given up for a new one: {done} steps done")
            approve(f"Give {one.id} up, and begin another one?", yes, "`exremote evidence` shows it")


def _give_up(place: Repository, report: Report, hosts: Sequence[Host], yes: bool) -> None:
    """Note that nobody goes on with what is under way. Always raises typer.Exit, or PlanRefused."""
    found = recover.recoveries(recover.runs_of(place.runs_folder, recover.VERB))
    ours = [(one, [h.name for h in hosts if h.name in one.unfinished]) for one in found.values()]
    ours = [(one, names) for one, names in ours if names]
    if not ours:
        raise PlanRefused(f"No recovery of {', '.join(h.name for h in hosts)} is under way.")
    for one, names in ours:
        approve(
            f"Give the recovery of {', '.join(names)} up ({one.id})?", yes, "`exremote evidence` shows it"
        )
        more = one.to_go_on | {"resumes": one.last.run_id}
        with journaled([place.runs_folder], recover.VERB, names, report.note, more) as journal:
            for name in names:
                journal.event(recover.GIVEN_UP, host=name, plan=one.hosts[name].plan.digest)
        report.line(f"{', '.join(names)}: the recovery {one.id} is given up; what it did is still there")
    raise typer.Exit(EXIT_OK)


def _begin(
    place: Repository,
    site: Inventory,
    hosts: Sequence[Host],
    names: Sequence[str],
    connectors: Mapping[str, Connector],
    at: str | None,
    rehearse: bool,
) -> RecoveryRecord:
    """Plan a recovery for each host. Return a record in which nothing is done yet, and what cannot be planned
    as a problem of it, if that is what is asked. Else raise PlanRefused.
    """
    named = [place.pick_current(name, now()) for name in names]
    if strangers := [s for s in named if s.host not in {h.name for h in hosts}]:
        raise UsageError(
            f"{strangers[0].host}/{strangers[0].id} is a snapshot of another machine.",
            "A server is recovered from its own snapshots.",
        )
    found: dict[str, recover.HostRecord] = {}
    problems: list[str] = []
    for host in hosts:
        chosen = recover.newest(place, host.name, named, now())
        for one in chosen:
            if not one.complete:
                raise PlanRefused(
                    f"{one.host}/{one.id} is incomplete.", "Name a complete one with --snapshot."
                )
        try:
            plan = recover.plan_recovery(place, host, chosen, connectors, at)
        except PlanRefused as error:
            if not rehearse:
                raise
            problems.append(error.text)
            continue
        found[host.name] = recover.HostRecord(plan)
    return RecoveryRecord("", (), found, problems)


def in_order(hosts: Sequence[Host], record: RecoveryRecord) -> list[Host]:
    """Given hosts, return each behind those that it comes after. Raise UsageError if they form a ring."""
    left = {host.name: host for host in hosts}
    ordered: list[Host] = []
    while left:
        ready = [h for h in left.values() if not set(record.hosts[h.name].plan.after) & set(left)]
        if not ready:
            raise UsageError(
                f"{', '.join(left)} come after each other, so none can be the first.",
                "Correct `after` in the inventory.",
            )
        ordered += ready
        for host in ready:
            del left[host.name]
    return ordered


def _back_up(
    context: typer.Context, report: Report, hosts: Sequence[Host], site: Inventory, place: Repository
) -> None:
    """Take steps 1 to 3 of the tip from the living servers. Raise PlanRefused if that does not end well."""
    report.note("steps 1 to 3 of the tip: backing up")
    line = ["backup", *(host.name for host in hosts)]
    files = ["--inventory", str(site.path), "--repository", str(place.path)]
    parts = [text for part in ("systemstate", "storagegroups") for text in ("--only", part)]
    code = nested(context, [*line, *files], "") or nested(context, [*line, *parts, *files], "")
    if code != EXIT_OK:
        raise PlanRefused(
            f"The backup of {', '.join(h.name for h in hosts)} ended with {code}, so no move is begun.",
            "See to it; a server that is lost is recovered without --planned.",
        )


def _errand(
    going: Going, report: Report, run: Run, visit: Visit, names: Sequence[str]
) -> Callable[[Host], Outcome]:
    going.record.id = going.record.id or run.journal.run_id
    attendant = Attendant(report, going.place, going.record, run.journal, run.paused, run.going_on)

    def restorer(work: Mapping[str, restore.Work], approved: Mapping[str, str] | None) -> restore.Errand:
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
        restorer,
        going.wait_s,
        run.api_account,
        now,
        run.stage,
        run.moved,
        run.expect,
    )
    errand.note_plans()
    return errand


def _temporary(going: Going, hosts: Sequence[Host]) -> list[Host]:
    """Return the hosts as they are reached before step 5: their secrets are wanted, too."""
    found = (recover.temporary_host(h, going.at or going.record.hosts[h.name].at) for h in hosts)
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
        for number, step in enumerate(plan.steps, start=1):
            done = "done: " if record.hosts[plan.host].is_done(step.name) else ""
            who = "you" if step.who == "person" else "exremote"
            report.line(f"  {number}. {done}{step.name} (tip {step.tip}, {who}): {step.title}")
        for note in plan.notes:
            report.line(f"  note: {note}")


def _show_standing(report: Report, hosts: Sequence[Host], record: RecoveryRecord) -> None:
    """Given a recovery that goes on, say how far it is."""
    for host in hosts:
        one = record.hosts[host.name]
        done = sum(one.is_done(step.name) for step in one.plan.steps)
        at = f"next is {one.next}" if one.next else "all is done"
        steps = f"{done} of {len(one.plan.steps)} steps are done"
        report.line(f"{host.name}: {steps}, {at} (recovery {record.id})")


def _rehearse(going: Going, report: Report, hosts: Sequence[Host]) -> None:
    """Ask of every step whether it could be done. Always raises typer.Exit."""
    found: dict[str, recover.Rehearsal] = {}

    def through(run: Run, visit: Visit) -> Callable[[Host], Outcome]:
        def one(host: Host) -> Outcome:
            return recover.rehearsed(
                going.record.hosts[host.name].plan,
                host,
                going.at,
                going.place,
                partial(visit.session, silently=True),
                run.accounts,
                now(),
                run.stage,
                found,
                run.journal,
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
    for problem in going.record.problems:
        name, _, said = problem.partition(": ")
        row = {"host": name, "step": "snapshots", "state": "missing", "what": "connectors", "said": said}
        rows.append(row)
    missing = sum(row["state"] == "missing" for row in rows)
    code = EXIT_BAD_NEWS if missing else exit_code(outcomes)
    if report.as_json:
        report.json({"repository": going.place.path, "rehearsal": rows, "exit_code": code})
    else:
        columns = ["host", "step", "state", "what", "said"]
        report.rows("Rehearsal", columns, rows, style_by="state", below=["said"])
        report.line(f"{missing} of {len(rows)} things are missing; nothing was changed")
    raise typer.Exit(code)


def last_digest(place: Repository, recovery: str) -> str:
    """Given a recovery whose last run has ended, return the digest of its last event."""
    record = recover.recoveries(recover.runs_of(place.runs_folder, recover.VERB)).get(recovery)
    return record.last.digest if record is not None else "nothing"


def _show(report: Report, going: Going, outcomes: Sequence[Outcome]) -> None:
    rows = []
    for outcome in outcomes:
        record = going.record.hosts[outcome.host]
        done = sum(record.is_done(step.name) for step in record.plan.steps)
        rows.append(
            outcome_json(outcome) | {"step": record.next, "done": f"{done} of {len(record.plan.steps)}"}
        )
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
    report.note(f"the record ends with {digest}: noted elsewhere, `exremote evidence --head` proves it")
    report.rows("Recovery", columns, rows, style_by="state", below=["message"])

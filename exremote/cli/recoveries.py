"""Which recovery a command is about: one under way, another one, or the end of one. It asks no host."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import typer

from exremote import recover
from exremote.cli.common import (
    now,
)
from exremote.cli.journaling import journaled
from exremote.cli.keep import approve
from exremote.cli.underway import (
    all_recoveries,
    doubts_about,
    evidence_command,
    given_up,
    in_service,
    unreadable,
)
from exremote.connector import Connector
from exremote.errors import (
    EXIT_OK,
    PlanRefused,
    RepositoryLocked,
    SnapshotNotFound,
    UsageError,
)
from exremote.inventory import Host, Inventory
from exremote.recover import RecoveryRecord
from exremote.report import Report
from exremote.repository import Lock, Repository, read_lock
from exremote.runner import alive_runs


def find_recovery(place: Repository, run: str) -> RecoveryRecord:
    """Given the beginning of a run's id, return the recovery that it belongs to. Raise SnapshotNotFound."""
    every = list(all_recoveries(place).values())
    found = [one for one in every if any(n.startswith(run) for n in (one.id, *(r.run_id for r in one.runs)))]
    if run == "latest":
        found = every[-1:]
    if len(found) != 1:
        raise SnapshotNotFound(
            f"{run} begins the runs of {len(found)} recoveries." if found else f"there is no recovery {run}.",
            path=place.path,
            remedy="`exremote runs` lists all runs.",
        )
    return found[0]


def under_way(
    place: Repository,
    hosts: Sequence[Host],
    resume: str | None,
    anew: bool,
    looks: bool,
    at: str | None,
) -> RecoveryRecord | None:
    """Return the recovery that is gone on with; None if one begins. Raise PlanRefused if that is unclear."""
    wanted = {host.name for host in hosts}
    if resume is not None:
        ours = find_recovery(place, resume)
        if strangers := wanted - set(ours.hosts):
            raise UsageError(f"The recovery {ours.id} is not one of {', '.join(sorted(strangers))}.")
        if wanted & set(ours.lost):
            raise unreadable(ours)
        over = [name for name in sorted(wanted) if ours.hosts[name].given_up and ours.hosts[name].next]
        if over and not wanted & set(ours.unfinished):
            raise given_up(ours, over[0])
        if not wanted & set(ours.unfinished):
            raise PlanRefused(
                f"There is nothing left to do: the recovery {ours.id} is through.",
                f"`{evidence_command(ours, hosts[0].name)}` shows what was done, and what proved it.",
            )
        return ours
    found = all_recoveries(place)
    for one in reversed(list(found.values())):
        names = sorted(wanted & set(one.half_done))
        if not anew and not looks and names:
            raise PlanRefused(
                f"A recovery of {', '.join(names)} is under way: {one.id}.",
                f"Go on with `{_going_on(one, names, at)}`, or begin another one with --anew.",
            )
    doubts = doubts_about(place, wanted) if not anew and not looks else {}
    for doubt in (doubt for each in doubts.values() for doubt in each if doubt.until is None):
        if (lost := found[doubt.recovery]).lost:
            raise unreadable(lost)
    return None


def _going_on(record: RecoveryRecord, names: Sequence[str], at: str | None) -> str:
    """Return the command that goes on with a recovery; with the address, if one was given."""
    if at is None:
        return f"exremote resume {record.id}"
    return f"exremote recover {' '.join(names)} --resume {record.id} --at {at}"


@contextmanager
def locked(place: Repository, hosts: Sequence[Host], report: Report) -> Iterator[Callable[[str], None]]:
    """Hold the hosts' locks: nobody else goes on with a recovery of them.

    Return what raises RepositoryLocked for a host whose lock is this run's no more: somebody took it away,
    thinking that this process was gone. Raise RepositoryLocked if another run has one.
    """
    held: dict[str, Lock] = {}

    def still_ours(host: str) -> None:
        lock = held[host]
        now_there = read_lock(lock.path)
        if (now_there is not None and now_there.owner == lock.owner) or not lock.path.parent.is_dir():
            return
        who = now_there.owner.describe() if now_there is not None and now_there.owner is not None else ""
        raise RepositoryLocked(
            f"{host}: this run does no more: its lock was taken away"
            + (f", and {who} has it." if who else "."),
            path=lock.path,
            owner=who,
            remedy=f"`exremote runs` shows whether another run went on; `exremote recover {host}` names the "
            "recovery to go on with.",
        )

    with ExitStack() as stack:
        for host in sorted(hosts, key=lambda h: h.name):
            held[host.name] = stack.enter_context(
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
        yield still_ours


def nobody_at_it(place: Repository, record: RecoveryRecord) -> None:
    """Given a recovery, raise RepositoryLocked if a run of it is alive: of other hosts, perhaps, but what it
    notes from now on would hang on nothing if another run went on from it.
    """
    alive = alive_runs(place.runs_folder)
    for run in record.runs:
        if run.run_id in alive:
            raise RepositoryLocked(
                f"The recovery {record.id} is being gone on with: {run.run_id}, {alive[run.run_id]}.",
                path=run.path,
                owner=alive[run.run_id],
                remedy="Wait for its end, or interrupt it; a step is confirmed meanwhile all the same. If "
                "that machine or process is gone for good, use `exremote unlock`.",
            )


def supersede(place: Repository, report: Report, hosts: Sequence[Host], yes: bool) -> None:
    """Given that another recovery begins, say what is given up for it, and ask. Raise PlanRefused."""
    for one in all_recoveries(place).values():
        for name in (h.name for h in hosts if h.name in one.half_done):
            done = one.hosts[name].progress
            report.note(f"note: the recovery {one.id} of {name} is given up for a new one: {done} steps done")
            approve(f"Give {one.id} up, and begin another one?", yes, _look_at(one, name))


def _look_at(record: RecoveryRecord, host: str) -> str:
    return f"`{evidence_command(record, host)}` shows it"


def end_for_good(place: Repository, report: Report, hosts: Sequence[Host], yes: bool) -> None:
    """Note that nobody goes on with what is under way. Always raises typer.Exit, or PlanRefused."""
    found = all_recoveries(place)
    ours = [(one, [h.name for h in hosts if h.name in one.unfinished]) for one in found.values()]
    ours = [(one, names) for one, names in ours if names]
    if not ours:
        raise PlanRefused(f"No recovery of {', '.join(h.name for h in hosts)} is under way.")
    for one, names in ours:
        nobody_at_it(place, one)
        approve(f"Give the recovery of {', '.join(names)} up ({one.id})?", yes, _look_at(one, names[0]))
        more = one.to_go_on | {"resumes": one.last.run_id}
        with journaled([place.runs_folder], recover.VERB, names, report.note, more) as journal:
            for name in names:
                journal.event(recover.GIVEN_UP, host=name, plan=one.hosts[name].plan.digest)
        report.line(f"{', '.join(names)}: the recovery {one.id} is given up; what it did is still there")
        for name, doubts in doubts_about(place, names).items():
            of = one.id if any(doubt.recovery == one.id for doubt in doubts) else doubts[0].recovery
            since = "from now on" if of == one.id else f"since {of} had begun"
            report.note(
                f"note: {name} may be half recovered. Snapshots made {since} are passed over by "
                "`recover`, and `forget` keeps those from before, until a recovery of it is through, or "
                f"somebody says that it is whole: {in_service(of, name)}"
            )
    raise typer.Exit(EXIT_OK)


def begun(
    place: Repository,
    site: Inventory,
    hosts: Sequence[Host],
    names: Sequence[str],
    connectors: Mapping[str, Connector],
    at: str | None,
    rehearse: bool,
    planned: bool,
) -> RecoveryRecord:
    """Plan a recovery for each host. Return a record in which nothing is done yet, with why a host cannot be
    planned, if that is what is asked. Else raise PlanRefused.

    `planned`: the servers live, and were backed up just now: that is taken, whatever came before.
    """
    named = [place.pick_current(name, now()) for name in names]
    if strangers := [s for s in named if s.host not in {h.name for h in hosts}]:
        raise UsageError(
            f"{strangers[0].host}/{strangers[0].id} is a snapshot of another machine.",
            "A server is recovered from its own snapshots.",
        )
    found: dict[str, recover.HostRecord] = {}
    unplanned: dict[str, PlanRefused] = {}
    doubts = doubts_about(place, [h.name for h in hosts]) if not planned else {}
    for host in hosts:
        doubted = doubts.get(host.name, [])
        chosen = recover.newest(place, host.name, named, now(), doubted)
        passed = recover.passed_over(place, host.name, chosen, now(), doubted)
        for one in chosen:
            if not one.complete:
                raise PlanRefused(
                    f"{one.host}/{one.id} is incomplete.", "Name a complete one with --snapshot."
                )
        try:
            plan = recover.plan_recovery(place, host, chosen, connectors, at, passed)
        except PlanRefused as error:
            if not rehearse:
                raise
            unplanned[host.name] = error
            continue
        found[host.name] = recover.HostRecord(plan)
    ends = [one.id for one in all_recoveries(place).values() if found.keys() & one.hosts.keys()]
    return RecoveryRecord("", (), found, [], ends=tuple(ends), unplanned=unplanned)


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

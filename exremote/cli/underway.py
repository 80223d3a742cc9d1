"""What a recovery that is not through means for whoever saves or forgets: it reads the repository alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from exremote import recover
from exremote.cli.common import now
from exremote.errors import ExremoteError, PlanRefused, RepositoryError
from exremote.inventory import Host
from exremote.recover import Doubt, RecoveryRecord
from exremote.repository import Repository, Snapshot, is_host


def all_recoveries(place: Repository) -> dict[str, RecoveryRecord]:
    """Given the repository, return its recoveries by id, in their order."""
    return recover.recoveries(recover.runs_of(place.runs_folder, recover.VERB))


def doubts_about(place: Repository, hosts: Collection[str] = ()) -> dict[str, list[Doubt]]:
    """Given the repository and hosts, or none for all, return by host when it may have been half recovered,
    if that ever was.
    """
    return _doubts(*_recoveries_and_answers(place), hosts)


def _recoveries_and_answers(
    place: Repository,
) -> tuple[dict[str, RecoveryRecord], dict[str, list[recover.Answer]]]:
    """Given the repository, return its recoveries by id, in order, and what people confirmed of each."""
    runs = recover.runs_of(place.runs_folder, recover.VERB, recover.CONFIRM)
    found = recover.recoveries(runs)
    return found, {name: list(recover.answers_for(name, runs)) for name in found}


def _doubts(
    found: Mapping[str, RecoveryRecord],
    answers: Mapping[str, Iterable[recover.Answer]],
    hosts: Collection[str] = (),
) -> dict[str, list[Doubt]]:
    names = hosts or dict.fromkeys(name for one in found.values() for name in (*one.hosts, *one.lost))
    # A damaged journal may name what no host is called: of that there is nothing here.
    every = {name: recover.doubts_of(name, found, answers) for name in names if is_host(name)}
    return {name: doubts for name, doubts in every.items() if doubts}


def under_recovery(place: Repository, hosts: Sequence[Host]) -> tuple[dict[str, ExremoteError], list[str]]:
    """Given hosts that are to be saved, return by name why a host is not: its recovery is under way, or it is
    here in another spelling; and a sentence for each that is, and may be half recovered.

    What is not recovered yet would be saved as the newest of it. Until a new machine was seen it is the
    server itself that answers, if any does, and each snapshot of it is welcome.
    """
    found: dict[str, ExremoteError] = {}
    recoveries, answers = _recoveries_and_answers(place)
    for host in hosts:
        try:
            place.home(host.name)
        except RepositoryError as error:
            found[host.name] = error
    for one in recoveries.values():
        for host in hosts:
            own = one.hosts.get(host.name)
            if own is None or host.name not in one.half_done:
                continue
            if recover.machine_seen(own, answers[one.id]) or one.problems:
                damaged = f" Its record is damaged: {one.problems[0]}." if one.problems else ""
                whole = (
                    f" If the server is whole, say so then: {in_service(one.id, host.name)}."
                    if damaged
                    else ""
                )
                found[host.name] = PlanRefused(
                    f"{host.name}: nothing is saved of it while its recovery is under way ({one.id}, "
                    f"{own.progress} steps are done): a half recovered machine would be the "
                    f"newest snapshot.{damaged}",
                    f"Go on with `exremote resume {one.id}`. If the lost server lives after all, give the "
                    f"recovery up: `exremote recover {host.name} --give-up`.{whole}",
                )
    names = [host.name for host in hosts if host.name not in found]
    notes = []
    for name, doubts in _doubts(recoveries, answers, names).items() if names else ():
        if (doubt := _open(doubts)) is not None:
            notes.append(
                f"{name} may be half recovered, for the recovery {doubt.recovery} was not through "
                f"({doubt.why}): what is saved of it `recover` and `--latest` pass over until one is, or "
                f"somebody says that the server is whole: {in_service(doubt.recovery, name)}"
            )
    return found, notes


def _open(doubts: Iterable[Doubt]) -> Doubt | None:
    """Return the first doubt that nobody has ended, if any."""
    return next((doubt for doubt in doubts if doubt.until is None), None)


def ends_doubt(doubt: Doubt, host: str) -> str:
    """Given a doubt about a host that nobody has ended, return what does."""
    if doubt.under_way:
        return f"`exremote resume {doubt.recovery}` goes on"
    return f"if it is whole, say so: {in_service(doubt.recovery, host)}"


def half_recovered(every: Mapping[str, Sequence[Doubt]], hosts: Collection[str]) -> list[str]:
    """Given doubts by host, return a sentence for each of these hosts that may be half recovered now."""
    return [
        f"{name} may be half recovered, for the recovery {doubt.recovery} is not through; "
        f"{ends_doubt(doubt, name)}"
        for name in hosts
        if (doubt := _open(every.get(name, ()))) is not None
    ]


def in_service(recovery: str, host: str) -> str:
    """Return the command by which somebody says that a host is whole."""
    return f"`exremote confirm {recovery} {recover.IN_SERVICE} --host {host} --words TEXT`"


def wanted_by_undoing(place: Repository, snapshots: Iterable[Snapshot]) -> dict[str, tuple[str, str]]:
    """Given the repository and snapshots, return by HOST/ID those that an undo of a run that broke off takes
    from: why they stay, and what to do so that they may go.
    """
    hosts = {snapshot.host for snapshot in snapshots if snapshot.kind == "safety"}
    if not hosts:
        return {}
    from exremote import restore  # what else is here is asked for by commands that load no wire

    found: dict[str, tuple[str, str]] = {}
    for host in hosts:
        for name, run in restore.saved_before(place.runs_folder, host).items():
            said = f"what {host} had before the run {run}, which broke off"
            then = f"`exremote resume {run}` brings it to its end, `exremote undo {run}` takes it back."
            found[name] = (said, then)
    return found


def wanted_by_recoveries(place: Repository) -> dict[str, tuple[str, str]]:
    """Given the repository, return by HOST/ID what a recovery under way stands on, or one after a recovery
    that was given up would have to: why, and what to do so that it may go.
    """
    found: dict[str, tuple[str, str]] = {}
    recoveries, answers = _recoveries_and_answers(place)
    for host, doubts in _doubts(recoveries, answers).items():
        last = _open(doubts) or doubts[-1]
        said = f"the last from before the recovery {last.recovery}, which was not through"
        then = "Back the host up again, so that a newer one counts."
        if last.until is None:
            then = f"Of {host}: {ends_doubt(last, host)}; then back it up."
        found |= dict.fromkeys(recover.taken_instead(place, host, now(), doubts), (said, then))
    for record in recoveries.values():
        for host in record.half_done:
            said = f"wanted by the recovery {record.id}, which is not through"
            then = f"`exremote resume {record.id}` goes on; `exremote recover {host} --give-up` gives it up."
            found |= dict.fromkeys(recover.names_in(record.hosts[host]), (said, then))
    return found


def evidence_command(record: RecoveryRecord, host: str) -> str:
    """Given a recovery and one of its hosts, return the command that shows the evidence of that host."""
    return f"exremote evidence {record.id}" + (f" --host {host}" if len(record.hosts) > 1 else "")


def given_up(record: RecoveryRecord, host: str) -> PlanRefused:
    """Given a recovery of which a host was given up, return what is said to whoever goes on with it."""
    ended = record.hosts[host].given_up
    assert ended is not None
    then = f"`{evidence_command(record, host)}` shows how far it came."
    if ended.other:
        then += f" The other one goes on with `exremote resume {ended.other}`."
    else:
        then += f" `exremote recover {host}` begins another one."
    return PlanRefused(f"{host}: nobody goes on with the recovery {record.id}: {ended.text}.", then)


def unreadable(record: RecoveryRecord) -> PlanRefused:
    """Given a recovery of which no plan can be read, return what is said to whoever goes on with it."""
    return PlanRefused(
        f"Nobody can go on with the recovery {record.id} of {', '.join(record.lost)}: {record.problems[0]}.",
        f"`exremote recover {' '.join(record.lost)} --anew` begins another one, from what was saved before. "
        f"If the server is whole: {in_service(record.id, record.lost[0])}.",
    )


def standings(folders: Iterable[Path]) -> dict[str, PlanRefused | list[str]]:
    """Given folders of journals, return by run of a recovery its hosts, if one of them is not through; or why
    nobody goes on with it, where that is so.
    """
    found: dict[str, PlanRefused | list[str]] = {}
    for folder in folders:
        for one in recover.recoveries(recover.runs_of(folder, recover.VERB)).values():
            runs = [run.run_id for run in one.runs]
            if one.unfinished:
                found |= {run: [*one.hosts] for run in runs}
            elif ended := [name for name, host in one.hosts.items() if host.given_up]:
                found |= dict.fromkeys(runs, given_up(one, ended[0]))
            elif one.lost and one.problems:
                found |= dict.fromkeys(runs, unreadable(one))
    return found

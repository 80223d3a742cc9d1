"""What a recovery that is not through means for whoever saves or forgets: it reads the repository alone."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from exremote import recover
from exremote.cli.common import now
from exremote.errors import PlanRefused
from exremote.inventory import Host
from exremote.recover import Doubt, RecoveryRecord
from exremote.repository import Composed, Repository


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
    names = hosts or dict.fromkeys(name for one in found.values() for name in one.hosts)
    every = {name: recover.doubts_of(name, found, answers) for name in names}
    return {name: doubts for name, doubts in every.items() if doubts}


def under_recovery(place: Repository, hosts: Sequence[Host]) -> dict[str, PlanRefused]:
    """Given hosts that are to be saved, return by name why a host is not: its recovery is under way.

    What is not recovered yet would be saved as the newest of it. Until a new machine was seen it is the
    server itself that answers, if any does, and each snapshot of it is welcome.
    """
    found: dict[str, PlanRefused] = {}
    recoveries, answers = _recoveries_and_answers(place)
    for one in recoveries.values():
        for host in hosts:
            own = one.hosts.get(host.name)
            if own is None or host.name not in one.unfinished:
                continue
            if recover.machine_seen(own, answers[one.id]) or one.problems:
                found[host.name] = PlanRefused(
                    f"{host.name}: nothing is saved of it while its recovery is under way ({one.id}, "
                    f"{own.progress} steps are done): a half recovered machine would be the "
                    "newest snapshot.",
                    f"Go on with `exremote resume {one.id}`. If the lost server lives after all, give the "
                    f"recovery up: `exremote recover {host.name} --give-up`.",
                )
    return found


def wanted_by_recoveries(place: Repository) -> dict[str, str]:
    """Given the repository, return by HOST/ID what a recovery under way stands on, or one after a recovery
    that was given up would have to, and why.
    """
    found: dict[str, str] = {}
    recoveries, answers = _recoveries_and_answers(place)
    for host, doubts in _doubts(recoveries, answers).items():
        chosen = recover.newest(place, host, (), now(), doubts)
        if recover.passed_over(place, host, chosen, now(), doubts):
            said = f"the last from before the recovery {doubts[0].recovery}, which was not through"
            tables = [one.tables for one in chosen if isinstance(one, Composed) and one.tables is not None]
            found |= {f"{host}/{one.id}": said for one in (*chosen, *tables)}
    for record in recoveries.values():
        for host in record.unfinished:
            said = f"wanted by the recovery {record.id}, which is not through"
            found |= dict.fromkeys(recover.names_in(record.hosts[host]), said)
    return found


def given_up(record: RecoveryRecord, host: str) -> PlanRefused:
    """Given a recovery of which a host was given up, return what is said to whoever goes on with it."""
    ended = record.hosts[host].given_up
    assert ended is not None
    then = f"`exremote evidence {record.id}` shows how far it came."
    if ended.other:
        then += f" The other one goes on with `exremote resume {ended.other}`."
    else:
        then += f" `exremote recover {host}` begins another one."
    return PlanRefused(f"{host}: nobody goes on with the recovery {record.id}: {ended.text}.", then)


def over(folders: Iterable[Path]) -> dict[str, PlanRefused]:
    """Given folders of journals, return by run of a recovery why nobody goes on with it, where that is so."""
    found: dict[str, PlanRefused] = {}
    for folder in folders:
        for one in recover.recoveries(recover.runs_of(folder, recover.VERB)).values():
            if not one.unfinished and (ended := [n for n, h in one.hosts.items() if h.given_up]):
                found |= {run.run_id: given_up(one, ended[0]) for run in one.runs}
    return found

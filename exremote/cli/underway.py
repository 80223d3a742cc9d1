"""What a recovery that is not through means for whoever saves or forgets: it reads the repository alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from exremote import recover, restore
from exremote.cli.common import now
from exremote.errors import PlanRefused
from exremote.inventory import Host
from exremote.recover import Doubt, RecoveryRecord
from exremote.repository import Repository


def all_recoveries(place: Repository) -> dict[str, RecoveryRecord]:
    """Given the repository, return its recoveries by id, in their order."""
    return recover.recoveries(recover.runs_of(place.runs_folder, recover.VERB))


def doubts_about(place: Repository, hosts: Collection[str] = ()) -> dict[str, list[Doubt]]:
    """Given the repository and hosts, or none for all, return by host when it may have been half recovered,
    if that ever was.
    """
    runs = recover.runs_of(place.runs_folder, recover.VERB, recover.CONFIRM)
    found = recover.recoveries(runs)
    answers = {name: list(recover.answers_for(name, runs)) for name in found}
    names = hosts or dict.fromkeys(name for one in found.values() for name in one.hosts)
    every = {name: recover.doubts_of(name, found, answers) for name in names}
    return {name: doubts for name, doubts in every.items() if doubts}


def under_recovery(place: Repository, hosts: Sequence[Host]) -> dict[str, PlanRefused]:
    """Given hosts that are to be saved, return by name why a host is not: its recovery is under way.

    What is not recovered yet would be saved as the newest of it.
    """
    found: dict[str, PlanRefused] = {}
    for one in all_recoveries(place).values():
        for host in hosts:
            if host.name in one.unfinished:
                found[host.name] = PlanRefused(
                    f"{host.name}: nothing is saved of it while its recovery is under way ({one.id}, "
                    f"{one.hosts[host.name].progress} steps are done): a half recovered machine would be the "
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
    for host, doubts in doubts_about(place).items():
        chosen = recover.newest(place, host, (), now(), doubts)
        if recover.passed_over(place, host, chosen, now(), doubts):
            said = f"the last from before the recovery {doubts[0].recovery}, which was not through"
            names = [name for one in chosen for name in restore.name_of(one).split("+")]
            found |= {f"{host}/{name}": said for name in names}
    for record in all_recoveries(place).values():
        for host in record.unfinished:
            said = f"wanted by the recovery {record.id}, which is not through"
            found |= dict.fromkeys(recover.names_in(record.hosts[host]), said)
    return found

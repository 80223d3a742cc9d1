"""Which snapshots a restore or a drill takes, and to which hosts they go. It reads the repository alone."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from exremote import recover
from exremote.cli.common import now
from exremote.cli.look import verdict_of
from exremote.cli.underway import doubts_about
from exremote.errors import PlanRefused, RepositoryError, SnapshotNotFound, UsageError
from exremote.health import Verdict
from exremote.inventory import FOLDER_ON_HOST, Host, Inventory
from exremote.journal import Journal
from exremote.ntbackup import PARTS
from exremote.repository import Composed, Repository, Snapshot
from exremote.wording import count_text

LEFT_OUT = "left-out"
"""Noted of a connector that a run was asked for, and leaves out."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A connector of which --latest found no snapshot to take."""

    host: str
    """whose it is"""
    connector: str
    """its name, or `everything`"""
    snapshot: str
    """HOST/ID of its newest snapshot; empty if there is none"""
    why: str
    """why that is not taken, in a clause"""
    remedy: str
    """what to do, in a sentence"""

    def __str__(self) -> str:
        return f"{self.host}: {self.connector} is left out: {self.why}. {self.remedy}"

    def to_json(self) -> dict[str, str]:
        """Return it as plain values."""
        said = {"host": self.host, "connector": self.connector, "snapshot": self.snapshot}
        return {**said, "message": f"{self.why}. {self.remedy}"}


@dataclass(slots=True)
class Chosen:
    """What the command line chose."""

    snapshots: list[Snapshot | Composed] = field(default_factory=list)
    """newer tables over them where there are"""
    left_out: list[LeftOut] = field(default_factory=list)
    """what else --latest would have taken"""
    notes: list[str] = field(default_factory=list)
    """what is to be known of snapshots: of a half recovered machine, or of a sick one"""
    doubts: Mapping[str, Sequence[recover.Doubt]] = field(default_factory=dict)
    """by host: when it may have been half recovered"""


def chosen_snapshots(
    place: Repository,
    site: Inventory,
    names: Sequence[str],
    latest: bool,
    groups: Sequence[str],
    *,
    take_it: str,
    incomplete: bool = False,
    keep_going: bool | None = None,
) -> Chosen:
    """Given what the command line says, return the snapshots, and the connectors that --latest leaves out.

    `incomplete`: where no snapshot of a connector is complete, the newest of it is taken. `take_it` says
    which command takes an incomplete one, with SNAPSHOT in it. `keep_going`: a host of which nothing can be
    taken is left out where there are others; None: the command has no such option.
    Raise UsageError, SnapshotNotFound, IntegrityError, or RepositoryError where the repository spells a host
    in another way.
    """
    something_named(names, latest, groups)
    doubts = doubts_about(place)
    if not latest:
        found = [_named(place, name) for name in dict.fromkeys(names)]
        notes = [*filter(None, (_doubted(place, one, doubts) for one in found)), *unwell(found)]
        return Chosen(found, notes=notes, doubts=doubts)
    chosen, bare = Chosen(doubts=doubts), None
    hosts = site.select([*names, *groups])
    for host in hosts:
        place.home(host.name)
        full = (s for s in place.snapshots(host.name) if s.kind == "full" and s.connector not in PARTS)
        last = {s.connector: s for s in full}
        ours = doubts.get(host.name, [])
        newest = {one.connector: one for one in recover.newest(place, host.name, (), now(), ours)}
        taken: list[Snapshot | Composed] = [newest[c] for c in last if c in newest]
        lacking = [one for c, one in last.items() if c not in newest]
        why = {one.connector: _doubted(place, one, doubts) for one in lacking}
        taken += [one for one in lacking if incomplete and not why[one.connector] and not _damage(place, one)]
        left = [_left_out(place, one, take_it, why[one.connector]) for one in lacking if one not in taken]
        passed = recover.passed_over(place, host.name, taken, now(), ours, "Name it")
        chosen.notes += [note for note in passed if not any(one.snapshot in note for one in left)]
        if not taken:
            makes = f"`exremote backup {host.name}` makes one."
            others = " --keep-going goes on without it." if keep_going is False and len(hosts) > 1 else ""
            bare = bare or SnapshotNotFound(
                f"there is no complete snapshot of {host.name}.",
                path=place.path,
                remedy=f"{' '.join(map(str, left)) or makes}{others}",
            )
            if not keep_going:
                raise bare
            left = left or [LeftOut(host.name, "everything", "", "there is no snapshot of it", makes)]
        chosen.snapshots += taken
        chosen.left_out += left
    if bare is not None and not chosen.snapshots:
        raise bare
    chosen.notes += unwell(chosen.snapshots)
    return chosen


def unwell(some: Sequence[Snapshot | Composed]) -> list[str]:
    """Given snapshots, return a sentence for each that was taken when something was critical: what is brought
    back may be what went wrong.
    """
    notes = []
    for one in some:
        full, tables = (one.full, one.tables) if isinstance(one, Composed) else (one, None)
        for source in (full, *([tables] if tables is not None else [])):
            bad = [f for f in source.manifest.findings if verdict_of(f) is Verdict.CRITICAL]
            if bad:
                more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
                notes.append(
                    f"{source.host}/{source.id} was taken when this was critical: {bad[0].get('check')}: "
                    f"{bad[0].get('evidence')}{more}. Older ones: `exremote snapshots --host {source.host}`"
                )
    return notes


def note_left_out(journal: Journal, left_out: Sequence[LeftOut]) -> None:
    """Given the journal of a run and what it leaves out, note that: the run's exit code comes of it."""
    for one in left_out:
        journal.event(LEFT_OUT, of=one.host, connector=one.connector, snapshot=one.snapshot, why=one.why)


def _damage(place: Repository, snapshot: Snapshot) -> str:
    """Given a snapshot, return why nothing of it can be trusted; empty if it is only incomplete."""
    try:
        _ = snapshot.manifest
    except RepositoryError as error:
        return snapshot.damage or error.message.rstrip(".")
    return place.damage_in(snapshot) or place.damage(snapshot)


def _doubted(
    place: Repository, one: Snapshot | Composed, doubts: Mapping[str, Sequence[recover.Doubt]]
) -> str:
    """Given a snapshot, return a sentence if it may be of a half recovered machine, else an empty text."""
    full = one.full if isinstance(one, Composed) else one
    doubt = recover.doubt_about(full, place.last_true(full, now()), doubts.get(one.host, ()))
    if doubt is None:
        return ""
    return f"{one.host}/{full.id} may be of a half recovered machine: {recover.doubt_text(doubt)}"


def _left_out(place: Repository, newest: Snapshot, take_it: str, doubted: str) -> LeftOut:
    """Given the newest snapshot of a connector that has no good one, return what is said of it. `doubted`:
    that it may be of a half recovered machine, if it may.
    """
    name = f"{newest.host}/{newest.id}"
    if doubted:
        why, remedy = doubted, "Name it if it is of a whole server."
    elif damage := _damage(place, newest):
        why = f"its newest snapshot, {name}, is damaged ({damage})"
        remedy = f"`exremote verify {name}` says what of it is good; back the host up again."
    else:
        why = f"none of its snapshots is complete; the newest, {name}, lacks {_lacks(newest)}"
        remedy = f"Back the host up again, or take it as it is: {take_it.replace('SNAPSHOT', name)}."
    return LeftOut(newest.host, newest.connector, name, why, remedy)


def _lacks(snapshot: Snapshot | Composed) -> str:
    """Given an incomplete snapshot, return what it lacks, in words."""
    missing = [o.path for o in snapshot.manifest.missing] or ["something"]
    more = f" and {count_text(len(missing) - 1, 'more thing')}" if len(missing) > 1 else ""
    return f"{missing[0]}{more}"


def folder_on_host(option: str, text: str) -> str:
    r"""Given an option and the folder of a host that it names, return that.

    Raise UsageError if it is no full path, or no folder can be called so.
    """
    if not re.match(r"[A-Za-z]:\\|\\\\", text):
        raise UsageError(f"{option} {text}: this is no full path.", r"Name one such as D:\exremote.")
    if not re.fullmatch(FOLDER_ON_HOST, text):
        raise UsageError(
            f"{option} {text}: no folder is called so.",
            'A name has none of / : * ? " < > | and ends in no dot or blank, and one \\ parts two names.',
        )
    return text


def something_named(names: Sequence[str], latest: bool, groups: Sequence[str]) -> None:
    """Given what the command line says, raise UsageError if it names nothing: before anything is opened."""
    if groups and not latest:
        raise UsageError("--group belongs to --latest.", "Name snapshots, or use --latest.")
    if not latest and not names:
        raise UsageError("Which snapshot?", "Name one, or use --latest with hosts or --group.")
    if latest and not names and not groups:
        raise UsageError("--latest of which hosts?", "Name hosts, groups or tag:NAME, or use --group.")
    if latest and (snapshots := [name for name in names if "/" in name]):
        raise UsageError(
            f"--latest takes hosts, and {snapshots[0]} names a snapshot.",
            f"Leave --latest out, or name {snapshots[0].partition('/')[0]}.",
        )


def _named(place: Repository, name: str) -> Snapshot | Composed:
    """Given a snapshot's name, or HOST/FULL+TABLES as a plan has it, return it. Raise as `find` does."""
    return place.named(name) if "+" in name else place.pick_current(name, now())


def all_complete(snapshots: Sequence[Snapshot | Composed]) -> None:
    """Given snapshots, raise PlanRefused if one of them lacks something."""
    for snapshot in snapshots:
        if not snapshot.complete:
            raise PlanRefused(
                f"{snapshot.host}/{snapshot.id} is incomplete: it lacks {_lacks(snapshot)}.",
                "Take a complete one, or use --allow-incomplete.",
            )


def by_host(snapshots: Sequence[Snapshot | Composed], to: str | None) -> dict[str, list[Snapshot | Composed]]:
    """Given snapshots, return them by the host that they go to."""
    sources = list(dict.fromkeys(s.host for s in snapshots))
    if to is not None and len(sources) > 1:
        raise UsageError(
            f"--to {to} takes the snapshots of one host, and these are of {', '.join(sources)}.",
            "Restore them one after another.",
        )
    found: dict[str, list[Snapshot | Composed]] = {}
    for snapshot in snapshots:
        mine = found.setdefault(to or snapshot.host, [])
        if any(other.connector == snapshot.connector for other in mine):
            raise UsageError(
                f"Two snapshots of {snapshot.host}/{snapshot.connector} are named.", "Name one of them."
            )
        mine.append(snapshot)
    return found


def host_named(site: Inventory, name: str) -> Host:
    """Given a host's name, return it. Raise UsageError if the inventory has none of it."""
    found = next((h for h in site.hosts.values() if h.name.casefold() == name.casefold()), None)
    if found is None:
        raise UsageError(
            f"The inventory {site.path} has no host {name}.", "`exremote inventory show` lists what it has."
        )
    return found

"""What may go: snapshots by a policy, and content that nothing names. It never takes the newest complete one.

`decide` is pure: no clock, no disk; `settle` has looked at what a deletion rests on. A snapshot is forgotten
by one rename out of snapshots/; a process killed at any moment leaves snapshots that are whole, and something
under partial/ that the next prune clears.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from exremote.errors import IntegrityError, RepositoryError
from exremote.repository import disk, proofs
from exremote.repository.manifest import SUMS, Manifest
from exremote.repository.names import checked_host, checked_word
from exremote.repository.objects import ObjectStore
from exremote.repository.snapshot import Snapshot, is_possible, read_sums

NEWEST = "the newest complete one"
"""Why a snapshot stays whatever the policy says."""


@dataclass(frozen=True, slots=True)
class KeepPolicy:
    """Which complete snapshots of a host's connector stay."""

    last: int = 0
    """the newest so many"""
    daily: int = 0
    """the last state of each of so many days that have one (UTC)"""
    weekly: int = 0
    """the same for weeks, as ISO 8601 counts them"""
    monthly: int = 0
    """the same for months"""
    within: timedelta | None = None
    """all that were true so long before the newest one"""

    @property
    def empty(self) -> bool:
        """Return whether it says nothing."""
        return not (self.last or self.daily or self.weekly or self.monthly or self.within is not None)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A snapshot that a policy is asked about."""

    snapshot: Snapshot
    """the snapshot"""
    damage: str = ""
    """why it cannot be trusted; empty as far as anyone looked"""
    seen: tuple[datetime, ...] = ()
    """when runs found the host to be still what it says"""

    @property
    def whole(self) -> bool:
        """Return whether a restore can rely on it."""
        return self.snapshot.complete and not self.damage

    @property
    def group(self) -> tuple[str, str, str]:
        """Return what a policy holds for by itself: host, connector and kind."""
        s = self.snapshot
        return s.host.casefold(), s.connector, s.kind

    @property
    def moments(self) -> tuple[datetime, ...]:
        """Return when it was what the host had, as far as anyone looked."""
        return (self.snapshot.created, *self.seen)


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of a snapshot."""

    snapshot: Snapshot
    """the snapshot"""
    kept: tuple[str, ...]
    """why it stays; empty if it goes"""
    damage: str = ""
    """why it cannot be trusted; empty as far as anyone looked"""


def settle(
    candidates: Iterable[Candidate],
    policy: KeepPolicy,
    now: datetime | None,
    look: Callable[[Snapshot], str],
) -> list[Fate]:
    """Given the same as `decide`, and how to look for damage, return what becomes of each.

    No snapshot goes because of one that is not there any more: where one goes, all complete ones that stay
    were looked at, and one that is damaged does not count.
    """
    candidates = tuple(candidates)
    looked: dict[Path, str] = {}
    while True:
        fates = decide(candidates, policy, now)
        pairs = list(zip(candidates, fates, strict=True))
        going = {c.group for c, fate in pairs if not fate.kept}
        relied = [c.snapshot for c, fate in pairs if fate.kept and c.whole and c.group in going]
        unseen = [s for s in relied if s.path not in looked]
        if not unseen:
            return fates
        looked |= {s.path: look(s) for s in unseen}
        candidates = tuple(replace(c, damage=looked.get(c.snapshot.path) or c.damage) for c in candidates)


def decide(candidates: Iterable[Candidate], policy: KeepPolicy, now: datetime | None = None) -> list[Fate]:
    """Given all snapshots of some hosts' connectors, return what becomes of each, in their order.

    The policy holds for each host, connector and kind by itself, and counts complete snapshots only. An
    incomplete one stays while no complete one is newer; a damaged one stays until somebody names it.
    With `now`, what says it was made later than that counts as older than all others.
    """

    def age(candidate: Candidate) -> _Age:
        s = candidate.snapshot
        return is_possible(s.created, now), s.created, s.id

    candidates = tuple(candidates)
    groups: dict[tuple[str, str, str], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault(candidate.group, []).append(candidate)
    kept: dict[Path, tuple[str, ...]] = {}
    for group in groups.values():
        kept |= _reasons(sorted(group, key=age, reverse=True), policy, age, now)
    return [Fate(c.snapshot, kept[c.snapshot.path], c.damage) for c in candidates]


_Age = tuple[bool, datetime, str]


def _reasons(
    group: Sequence[Candidate], policy: KeepPolicy, age: Callable[[Candidate], _Age], now: datetime | None
) -> dict[Path, tuple[str, ...]]:
    """Given one group, newest first, return why each of it stays."""
    whole = [c for c in group if c.whole]
    kept: dict[Path, list[str]] = {c.snapshot.path: [] for c in group}
    for candidate in group:
        if candidate.damage:
            kept[candidate.snapshot.path].append("damaged: goes only if it is named")
        elif not candidate.whole and (not whole or age(candidate) > age(whole[0])):
            kept[candidate.snapshot.path].append("no complete one is newer")
    if whole:
        kept[whole[0].snapshot.path].append(NEWEST)
    for number, candidate in enumerate(whole[: policy.last], 1):
        kept[candidate.snapshot.path].append(f"last {number} of {policy.last}")
    for what, count, form in (
        ("day", policy.daily, "%Y-%m-%d"),
        ("week", policy.weekly, "%G-W%V"),
        ("month", policy.monthly, "%Y-%m"),
    ):
        for path, periods in _periods(whole, count, form).items():
            more = f" and {len(periods) - 1} before" if len(periods) > 1 else ""
            kept[path].append(f"{what} {periods[0]}{more}")
    if policy.within is not None and whole:
        newest = max((is_possible(m, now), m) for c in whole for m in c.moments)[1]
        since = newest - min(policy.within, newest - datetime.min.replace(tzinfo=UTC))
        for candidate in group:
            if not candidate.damage and max(candidate.moments) >= since:
                kept[candidate.snapshot.path].append("recent enough")
    return {path: tuple(reasons) for path, reasons in kept.items()}


def _periods(whole: Sequence[Candidate], count: int, form: str) -> dict[Path, list[str]]:
    """Given complete snapshots, return which is the last state of each of the last `count` periods."""
    best: dict[str, tuple[datetime, datetime, str, Path]] = {}
    for candidate in whole:
        s = candidate.snapshot
        for moment in candidate.moments:
            period = moment.astimezone(UTC).strftime(form)
            found = (moment, s.created, s.id, s.path)
            best[period] = max(best.get(period, found), found)
    chosen: dict[Path, list[str]] = {}
    for period in sorted(best, reverse=True)[:count]:
        chosen.setdefault(best[period][3], []).append(period)
    return chosen


def manifest_damage(snapshot: Snapshot) -> str:
    """Given a snapshot, return why its manifest cannot be trusted; empty if it can."""
    if snapshot.damage:
        return snapshot.damage
    try:
        _ = snapshot.manifest
    except RepositoryError as error:
        return error.message
    return ""


def remove(root: Path, store: ObjectStore, snapshot: Snapshot, run: str) -> None:
    """Given a snapshot and the run that forgets it, take it out in one rename, then delete it and its checks.

    Raise RepositoryError if the system refuses; then it is either still whole in its place, or gone.
    """
    entries = () if manifest_damage(snapshot) else snapshot.manifest.entries
    with disk.said(snapshot.path, "forgetting a snapshot"):
        aside = root / "partial" / checked_word(run, "a run") / f"forgotten-{secrets.token_hex(8)}"
        disk.make_folder(aside.parent)
        disk.move(snapshot.path, aside)
        disk.sync_folders([snapshot.path.parent, aside.parent])
        checks = root / "checks" / checked_host(snapshot.host)
        if not disk.is_link(checks):
            disk.remove(checks / f"{snapshot.id}.jsonl")
        proofs.forget(root, snapshot)
        disk.remove_tree(aside)
        for folder in (snapshot.path.parent, aside.parent):
            with contextlib.suppress(OSError):  # others are in it
                folder.rmdir()
        if os.name == "nt":  # deleting a read-only name took that from the object's other names
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    disk.keep(store.place(entry.sha256))


@dataclass(frozen=True, slots=True)
class Unused:
    """What nothing names."""

    objects: tuple[Path, ...] = ()
    """contents that no snapshot names"""
    object_bytes: int = 0
    """their sizes together"""
    leftovers: tuple[Path, ...] = ()
    """what killed runs left under partial/"""
    leftover_bytes: int = 0
    """the room that only they take"""
    checks: tuple[Path, ...] = ()
    """records of checks whose snapshot is gone"""
    kept: int = 0
    """contents that stay"""
    kept_bytes: int = 0
    """their sizes together"""


@dataclass(slots=True)
class _Search:
    """What a search for unused things has found so far."""

    objects: list[Path] = field(default_factory=list)
    object_bytes: int = 0
    kept: int = 0
    kept_bytes: int = 0


def find_unused(
    root: Path, store: ObjectStore, snapshots: Iterable[Snapshot], alive: Collection[str]
) -> Unused:
    """Given all snapshots and the runs that are alive, return what could be deleted; it deletes nothing.

    Of a snapshot whose manifest is damaged, SHA256SUMS says what it names. Raise IntegrityError if that is
    damaged too: then nobody knows. An object with a second name anywhere is never unused.
    """
    snapshots = tuple(snapshots)
    named = set[str]()
    for snapshot in snapshots:
        named |= named_by(snapshot)
    with disk.said(root, "looking for what nothing names"):
        leftovers = tuple(sorted(p for p in (root / "partial").iterdir() if p.name not in alive))
        links, leftover_bytes = _weigh(leftovers)
        found = _Search()
        for path in store.all():
            if not re.fullmatch(r"[0-9a-f]{64}", path.name) or path.parent.name != path.name[:2]:
                continue  # not ours; `verify` names it
            status = path.stat()
            elsewhere = status.st_nlink - 1 - links[status.st_dev, status.st_ino]
            if path.name in named or elsewhere > 0:
                found.kept += 1
                found.kept_bytes += status.st_size
            else:
                found.objects.append(path)
                found.object_bytes += status.st_size
        there = {(s.host, s.id) for s in snapshots}
        # A folder that is a link leads to somebody else's files.
        homes = [h for h in (root / "checks").glob("*") if not disk.is_link(h)]
        records = sorted(record for home in homes for record in home.glob("*.jsonl"))
        checks = tuple(r for r in records if (r.parent.name, r.stem) not in there)
    return Unused(
        tuple(found.objects),
        found.object_bytes,
        leftovers,
        leftover_bytes,
        checks,
        found.kept,
        found.kept_bytes,
    )


def named_by(snapshot: Snapshot) -> set[str]:
    """Given a snapshot, return the digests that it names. Raise IntegrityError if nobody can tell."""
    if not manifest_damage(snapshot):
        return {e.sha256 for e in snapshot.manifest.entries}
    with contextlib.suppress(OSError):
        lines = read_sums(snapshot.path)
        if lines and all(sha256 for sha256, _ in lines):
            return {sha256 for sha256, _ in lines}
    raise IntegrityError(
        f"neither {snapshot.host}/{snapshot.id} nor its {SUMS} says what it holds: nothing is deleted.",
        path=snapshot.path,
        entry=SUMS,
        remedy=f"Save what is good of it, then: exremote forget {snapshot.host}/{snapshot.id}",
    )


def remove_unused(unused: Unused) -> None:
    """Given what nothing names, delete it. Raise RepositoryError if the system refuses; the rest stays."""
    for path in (*unused.leftovers, *unused.objects, *unused.checks):
        # A backup that starts clears what killed runs left, too: what it was faster with is gone, and good.
        with disk.said(path, "deleting what nothing names"), contextlib.suppress(FileNotFoundError):
            disk.remove_tree(path)
    for folder in {p.parent for p in (*unused.objects, *unused.checks)}:
        with contextlib.suppress(OSError):  # others are in it
            folder.rmdir()


def own_bytes(manifests: Mapping[tuple[str, str], Manifest]) -> dict[tuple[str, str], int]:
    """Given manifests by host and id, return the bytes of each that no other one names."""
    users = Counter(digest for m in manifests.values() for digest in {e.sha256 for e in m.entries})
    return {
        name: sum({e.sha256: e.size for e in m.entries if users[e.sha256] == 1}.values())
        + sum(d.size for d in m.documents)
        for name, m in manifests.items()
    }


def _weigh(tops: Iterable[Path]) -> tuple[Counter[tuple[int, int]], int]:
    """Given files and folders, return how often they name each file, and the bytes only they name."""
    links: Counter[tuple[int, int]] = Counter()
    sizes: dict[tuple[int, int], tuple[int, int]] = {}
    for top in (t for t in tops if not disk.is_link(t)):
        for path in [top] if top.is_file() else top.rglob("*"):
            if path.is_file() and not disk.is_link(path):
                status = path.stat()
                key = (status.st_dev, status.st_ino)
                links[key] += 1
                sizes[key] = (status.st_nlink, status.st_size)
    return links, sum(size for key, (names, size) in sizes.items() if names <= links[key])

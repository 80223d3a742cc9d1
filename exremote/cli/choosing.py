"""Which snapshots a restore or a drill takes, and to which hosts they go. It reads the repository alone."""

from __future__ import annotations

from collections.abc import Sequence

from exremote.cli.common import now
from exremote.errors import PlanRefused, SnapshotNotFound, UsageError
from exremote.inventory import Host, Inventory
from exremote.repository import Composed, Repository, Snapshot
from exremote.wording import count_text


def chosen_snapshots(
    place: Repository, site: Inventory, names: Sequence[str], latest: bool, groups: Sequence[str]
) -> list[Snapshot | Composed]:
    """Given what the command line says, return the snapshots, newer tables over them where there are.

    Raise UsageError or SnapshotNotFound.
    """
    something_named(names, latest, groups)
    if not latest:
        return [_named(place, name) for name in dict.fromkeys(names)]
    chosen: list[Snapshot | Composed] = []
    for host in site.select([*names, *groups]):
        connectors = dict.fromkeys(s.connector for s in place.snapshots(host.name))
        newest = [s for c in connectors if (s := _newest(place, host.name, c)) is not None]
        if not newest:
            raise SnapshotNotFound(
                f"there is no complete snapshot of {host.name}.",
                path=place.path,
                remedy=f"`exremote snapshots {host.name}` lists all; name one, with --allow-incomplete.",
            )
        chosen += newest
    return chosen


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


def _newest(place: Repository, host: str, connector: str) -> Composed | None:
    """Given a host and a connector, return what it had last: the newest full snapshot whose files are all
    there, with newer tables over it.
    """
    full = place.reliable(host, connector, now=now())
    return place.current(host, connector, now=now(), full=full) if full is not None else None


def _named(place: Repository, name: str) -> Snapshot | Composed:
    """Given a snapshot's name, or HOST/FULL+TABLES as a plan has it, return it. Raise as `find` does."""
    return place.named(name) if "+" in name else place.pick_current(name, now())


def all_complete(snapshots: Sequence[Snapshot | Composed]) -> None:
    """Given snapshots, raise PlanRefused if one of them lacks something."""
    for snapshot in snapshots:
        if not snapshot.complete:
            missing = [o.path for o in snapshot.manifest.missing] or ["something"]
            more = f" and {count_text(len(missing) - 1, 'more thing')}" if len(missing) > 1 else ""
            raise PlanRefused(
                f"{snapshot.host}/{snapshot.id} is incomplete: it lacks {missing[0]}{more}.",
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

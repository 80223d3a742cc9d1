"""The plan of a recovery, from what the repository holds. Pure but for reading it: it asks no host."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from exremote.connector import Connector
from exremote.errors import PlanRefused
from exremote.inventory import Host
from exremote.recover import instructions
from exremote.recover.doubts import Doubt, doubt_about, doubt_text
from exremote.recover.original import document, is_tape, original_of
from exremote.recover.reaching import place_text
from exremote.recover.steps import RecoveryPlan, Saved
from exremote.repository import Composed, Repository, Snapshot
from exremote.restore import name_of

FOLDER = "exremote-recover"
"""At the root of a drive of the new machine."""
PARTS = ("systemstate", "storagegroups")


def newest(
    place: Repository,
    host: str,
    named: Sequence[Snapshot | Composed],
    now: datetime,
    doubts: Sequence[Doubt] = (),
) -> list[Snapshot | Composed]:
    """Given a host, return the newest complete snapshot of all that it has, or the named one in its stead.

    What may be of a half recovered machine (`doubts`) is not chosen: it has to be named.
    """

    def unless(snapshot: Snapshot) -> bool:
        return doubt_about(snapshot, place.last_true(snapshot, now), doubts) is not None

    chosen: dict[str, Snapshot | Composed] = {one.connector: one for one in named if one.host == host}
    for connector in dict.fromkeys(s.connector for s in place.snapshots(host) if s.kind != "safety"):
        if connector in chosen:
            continue
        if connector in PARTS:
            part = place.latest(host, connector, now=now, unless=unless)
            if part is not None:
                chosen[connector] = part
        elif (full := place.reliable(host, connector, now=now, unless=unless)) is not None:
            chosen[connector] = place.current(host, connector, now=now, full=full, unless=unless) or full
    return sorted(chosen.values(), key=lambda s: (s.connector in PARTS, s.connector))


def passed_over(
    place: Repository,
    host: str,
    chosen: Sequence[Snapshot | Composed],
    now: datetime,
    doubts: Sequence[Doubt],
    name_it: str = "Name it with --snapshot",
) -> list[str]:
    """Given what was chosen of a host, return a sentence for each newer snapshot that was not, for it may be
    of a half recovered machine.
    """
    if not doubts:
        return []
    mine = {one.connector: one for one in chosen if one.host == host}
    notes = []
    for connector in dict.fromkeys(s.connector for s in place.snapshots(host)):
        own = mine.get(connector)
        for kind in ("full", "tables"):
            last = place.latest(host, connector, kind, now=now)
            if last is None or (own is not None and last.id in name_of(own).split("+")):
                continue
            doubt = doubt_about(last, place.last_true(last, now), doubts)
            if doubt is None:
                continue
            instead = f"; {name_of(own)} is taken" if own is not None else "; there is no other one"
            notes.append(
                f"{host}/{last.id} is passed over, for {doubt_text(doubt)}{instead}. {name_it} if it is "
                "of a whole server"
            )
    return notes


def taken_instead(place: Repository, host: str, now: datetime, doubts: Sequence[Doubt]) -> list[str]:
    """Given a host and times of doubt, return as HOST/ID what is chosen of it only for something newer is
    passed over, tables apart.
    """
    usual = {one.connector: name_of(one) for one in newest(place, host, (), now)}
    chosen = newest(place, host, (), now, doubts)
    names = [name_of(one) for one in chosen if name_of(one) != usual.get(one.connector)]
    return [f"{host}/{part}" for name in names for part in name.split("+")]


def plan_recovery(
    place: Repository,
    host: Host,
    snapshots: Sequence[Snapshot | Composed],
    known: Mapping[str, Connector],
    at: str | None = None,
    passed: Sequence[str] = (),
) -> RecoveryPlan:
    """Given a host, what it is to be recovered from, and where the new machine is, return the plan.

    `passed` says which snapshots were passed over, and why.

    Raise PlanRefused if no connector's snapshot is there, or none says what the server was.
    """
    parts = {s.connector: s for s in snapshots if s.connector in PARTS and not isinstance(s, Composed)}
    mail = [s for s in snapshots if s.connector not in PARTS]
    if not mail:
        raise PlanRefused(
            f"{host.name}: there is no complete snapshot of a connector of it.",
            f"If it lives: `exremote backup {host.name}`. `exremote snapshots {host.name}` lists what there "
            "is; a recovery without one cannot bring the connectors back.",
        )
    original = original_of(mail, parts.get("systemstate"), parts.get("storagegroups"), known)
    if original is None:
        raise PlanRefused(
            f"{host.name}: no snapshot says what the server was.", "Name another one with --snapshot."
        )
    saved = [_saved(place, one) for one in snapshots]
    by_part = {one.of: one for one in saved if one.of in PARTS}
    system, groups = by_part.get("systemstate"), by_part.get("storagegroups")
    titles = [known[s.connector].title for s in mail if s.connector in known]
    folder = f"{_drive(original.drives, original.system_root)}{FOLDER}"
    temporary = at or host.recover_address
    steps = (
        instructions.verify(saved),
        instructions.reinstall(
            original,
            temporary or "the address that --at names",
            host.gateway.name if host.gateway is not None else "",
        ),
        instructions.bring(folder, list(by_part.values())),
        instructions.system_state(original, system, folder),
        instructions.back(original, place_text(host)),
        instructions.exchange(original, titles),
        instructions.groups(original, groups, folder),
        instructions.restart(),
        instructions.connectors([one for one in saved if one.of not in PARTS]),
        instructions.prove(original),
    )
    return RecoveryPlan(
        host.name,
        original,
        tuple(saved),
        folder,
        steps,
        host.after,
        (*passed, *_notes(temporary, original, by_part)),
    )


def _drive(drives: Sequence[str], system_root: str) -> str:
    """Return the drive for the folder: the first beside that of Windows, which a person reinstalls."""
    windows = system_root[:3].upper()
    others = [d for d in drives if d.upper() != windows]
    return (others or list(drives) or [windows or "C:\\"])[0]


def _saved(place: Repository, one: Snapshot | Composed) -> Saved:
    if isinstance(one, Composed):
        manifest, as_of = one.manifest, one.created
    else:
        manifest, as_of = one.manifest, place.last_true(one)
    whole = False
    if one.connector == "systemstate" and not isinstance(one, Composed):
        data = document(one, "job.json")
        try:
            lines = json.loads(data).get("selection", []) if data else []
        except (ValueError, AttributeError):
            lines = []  # then nobody can tell, and System State alone is the safer word
        whole = isinstance(lines, list) and any(str(line).casefold() != "systemstate" for line in lines)
    size = sum(entry.size for entry in manifest.entries)
    tapes = tuple(e.path for e in manifest.entries if is_tape(e.path)) if one.connector in PARTS else ()
    tapes += tuple(e.path for e in manifest.elsewhere)
    away = tuple(e.place for e in manifest.elsewhere)
    name = f"{one.host}/{name_of(one)}"
    return Saved(one.connector, name, as_of, len(manifest.entries), size, whole, tapes, away)


def _notes(temporary: str | None, original: object, parts: Mapping[str, Saved]) -> list[str]:
    notes = []
    if "systemstate" not in parts:
        notes.append("the repository has no System State of it: bring your own for tip step 5")
    elif not parts["systemstate"].whole_set:
        notes.append(
            "the System State was saved alone, as the tip says; Microsoft's Windows backup set would have "
            "the volumes of Windows beside it (aa996476)"
        )
    for one in parts.values():
        for place in one.away:
            lies, then = "the server's own disk", "get it from there, or from where that disk was copied to"
            if place.startswith("\\\\"):
                lies, then = "a share", "the new machine reads it there"
            notes.append(f"the .bkf of {one.of} is not in the repository: it is on {lies}, {place}; {then}")
    if "storagegroups" not in parts:
        notes.append("the repository has no storage groups of it: bring your own for tip step 7")
    if temporary is None:
        notes.append("nobody says yet where the new machine will be: --at ADDRESS, or recover_address")
    if getattr(original, "role", "") == "domain controller":
        notes.append(
            "it was a domain controller: its System State is restored in Directory Services Restore Mode, "
            "and the directory before Exchange"
        )
    return notes

"""Which folders are copied within their host while the services that hold them stand, and where to. Pure.

It weighs the room on the host's drives; it stops nothing.
"""

from __future__ import annotations

import ntpath
from collections.abc import Sequence

from exremote.connector import Connector
from exremote.facts import HostFacts
from exremote.plan import CopyStopped, CopyTree, Gap, HeldTree, Step
from exremote.wording import count_text

SPARE = 1 << 28
"""Bytes that a drive keeps free beside a copy."""
STAGING = "exremote-copy-"
"""How the name of a copy's folder begins: always the same, so what a killed run left goes with the next."""


GUARD = "exremote-guard-"
"""The same of the folder of the guard."""
SLOWEST = 2_000_000
"""Bytes a second that a copy within a host makes at the least: the guard waits so long."""
PATIENCE_S = 1800
"""What it waits besides, in seconds."""


def stopped(
    steps: Sequence[Step], connectors: Sequence[Connector], facts: HostFacts, guarded: bool
) -> tuple[list[Step], list[Gap]]:
    """Given the steps of a plan, return them with one that stops services in place of the folders that these
    hold open, and a gap for each folder for whose copy no drive has room: it stays one that is copied live.
    `guarded`: the host has WMI, by which a guard is started.
    """
    done = list(steps)
    gaps: list[Gap] = []
    for connector in connectors:
        held = {tree.id for tree in connector.file_trees if tree.held}
        live = [step for step in done if isinstance(step, CopyTree) and step.item in held]
        running = [
            service
            for service in connector.services
            if (state := facts.service(service.name)) is not None
            and state.exists
            and state.state != "Stopped"
        ]
        if not live or not running:
            continue
        drive, words = _room(facts, live)
        if not drive:
            gaps.append(
                Gap((connector.name,), f"a copy of {live[0].root} while its services are stopped", words)
            )
            continue
        trees = tuple(
            HeldTree(step.item, step.root, f"{drive}{STAGING}{step.item}", step.files, step.bytes)
            for step in live
        )
        stop_s = tuple(service.stop_deadline_s for service in running)
        step = CopyStopped(
            (connector.name,),
            trees,
            tuple(service.name for service in running),
            stop_s,
            max(service.start_deadline_s for service in running),
            f"{drive}{GUARD}{connector.name}" if guarded else "",
            sum(stop_s) + sum(tree.bytes for tree in trees) // SLOWEST + PATIENCE_S,
            connector.programs,
        )
        place = min(done.index(each) for each in live)
        done = [each for each in done if each not in live]
        done.insert(place, step)
    return done, gaps


def _room(facts: HostFacts, live: Sequence[CopyTree]) -> tuple[str, str]:
    """Given folders, return the drive that has room for a copy of them: their own if it can be. Or '', and
    why, with the numbers.
    """
    need = sum(step.bytes for step in live) + SPARE
    own = ntpath.splitdrive(live[0].root)[0].upper() + "\\"
    disks = [disk for disk in (facts.host_fact.disks if facts.host_fact else ()) if disk.kind == "Fixed"]
    disks.sort(key=lambda disk: (disk.root.upper() != own, -disk.free))
    for disk in disks:
        if disk.free >= need:
            return disk.root, ""
    if not disks:
        return (
            "",
            f"it needs {count_text(need, 'byte')}, and how much room its drives have is not known here.",
        )
    free = ", ".join(f"{disk.root} has {count_text(disk.free, 'byte')}" for disk in disks)
    return "", f"it needs {count_text(need, 'byte')}, and {free}. Make room on one of them."

"""What a plan needs on the repository's volume, by the facts that it was made from. It asks no volume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from exremote.facts import HostFacts
from exremote.plan import CopyFiles, CopyRegistryKey, CopyStopped, CopyTree, Plan
from exremote.repository import Need

LINE = 600
"""Bytes that a file takes at most in manifest, sums, listing and folder, besides its path."""
PATHS = 4
"""How often its path stands there."""
FACTS = 256 << 10
"""Bytes of the facts and the rest of a snapshot that no listing makes longer."""
KEY = 1 << 20
"""Bytes of a registry key's export. No fact says how many they are; the largest known is some megabytes."""


def need_of(plan: Plan, facts: HostFacts, lacking: Mapping[str, int]) -> Need:
    """Given a plan, its facts, and the contents that are not here, return what the host needs."""
    lists = copies = 0
    for step in plan:
        names: Iterable[tuple[str, int]] = ()
        if isinstance(step, CopyTree) and step.item in facts.trees:
            names = ((entry.path, entry.size) for entry in facts.trees[step.item].entries)
        elif isinstance(step, CopyStopped):
            held = [facts.trees[tree.item] for tree in step.trees]
            names = ((entry.path, entry.size) for tree in held for entry in tree.entries)
        elif isinstance(step, CopyFiles):
            names = ((file.path, file.size) for file in facts.files.get(step.item, ()) if file.exists)
        elif isinstance(step, CopyRegistryKey):
            lists += KEY * len(step.connectors)
        times = len(step.connectors)
        for path, size in names:
            lists += times * (LINE + PATHS * len(path))
            copies += times * max(0, size)
    return Need(lacking, lists + FACTS * len(plan.connectors), copies)

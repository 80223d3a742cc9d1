"""Connectors as one host has them, from its facts. It asks nobody."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from exremote.connector import Connector, settle
from exremote.facts import HostFacts


def settled(
    connectors: Mapping[str, Connector],
    facts: HostFacts,
    roots: Mapping[str, str | None] | None = None,
    parts: Collection[str] | None = None,
) -> Mapping[str, Connector]:
    """Given connectors and the facts of a host, return them as that host has them; again changes nothing.

    `roots` are those of the facts, and the parts those that were asked for, unless they are known better.
    """
    trees = [tree for connector in connectors.values() for tree in connector.file_trees if tree.part]
    asked = {t.part for t in trees if t.id in facts.trees or f"tree {t.id}" in facts.unavailable}
    known, wanted = (facts.roots if roots is None else roots), (asked if parts is None else parts)
    return {name: settle(c, facts.services, known, wanted) for name, c in connectors.items()}

"""Whether the backup programs of a site are of one age: the recovery tip wants the latest update of them.

Which update that is, is in no source; that servers of one Windows differ can be seen. It asks no host.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from exremote.backup.parts import PartFacts
from exremote.errors import RepositoryError
from exremote.folding import folded
from exremote.health import Finding, Verdict
from exremote.ntbackup import PARTS
from exremote.repository import Repository, Snapshot

IDENTITY = "identity.json"
"""The document of a snapshot that says which machine it is of."""
CHECK = "ntbackup.version"


def judge_programs(repository: Repository, host: str, part: str, facts: PartFacts) -> tuple[Finding, ...]:
    """Given what a host said of its backup programs, hold that against what other servers of the same Windows
    had in their newest snapshots. Return a finding if they differ.
    """
    own = dict(facts.found.versions)
    others = [
        f"{name} is {version} on {other} ({day})"
        for other, day, programs in _of_others(repository, host, facts.host_fact.os_version)
        for name, version in sorted(programs.items())
        if version and own.get(name) and version != own[name]
    ]
    if not others:
        return ()
    words = ", ".join(f"{name} {version}" for name, version in sorted(own.items()) if version)
    return (
        Finding(
            CHECK,
            host,
            part,
            Verdict.WARNING,
            "servers of one Windows have the same backup programs",
            f"here {words}; {', '.join(others)}",
            "Bring the newest update of the Backup utility to all of them.",
            "KB 328835, step 2 (the latest update; which that is, is in no source)",
            "I",
        ),
    )


def _of_others(
    repository: Repository, host: str, os_version: str
) -> Iterator[tuple[str, str, Mapping[str, str]]]:
    """Yield the other hosts of a Windows, by name, with the day of what they said, and their programs."""
    newest: dict[str, Snapshot] = {}
    for part in PARTS:
        for snapshot in repository.snapshots(connector=part):
            known = newest.get(snapshot.host)
            if not snapshot.damage and (known is None or known.created < snapshot.created):
                newest[snapshot.host] = snapshot
    for name, snapshot in sorted(newest.items()):
        said = _identity(snapshot)
        programs = said.get("programs")
        same = said.get("os_version") == os_version and folded(name) != folded(host)
        if same and isinstance(programs, dict):
            yield name, f"{snapshot.created:%Y-%m-%d}", {str(n): str(v) for n, v in programs.items()}


def _identity(snapshot: Snapshot) -> Mapping[str, Any]:
    """Given a snapshot, return what its machine said of itself; nothing if that cannot be read."""
    with suppress(RepositoryError, ValueError, RecursionError):  # `verify` names what is damaged
        for document in snapshot.manifest.documents:
            if document.stored == IDENTITY and isinstance(
                said := json.loads(snapshot.document(document)), dict
            ):
                return said
    return {}

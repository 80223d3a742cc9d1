"""The commands that the matrices put through everything: how each is set up, and what it must have done.

Another command joins the matrices as one more entry of `VERBS`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from conftest import Cli, World, held, manifest_of

BIG, SMALL = "EXBIG01", "EXNOTES01"


@dataclass(frozen=True)
class Verb:
    """One command with its setting."""

    name: str
    host: str
    """Where; the inventory has this host alone."""
    args: tuple[str, ...]
    bulk: str
    """The script whose records are its bulk."""
    request: str
    """The request that carries its bulk."""
    prepare: Callable[[Cli], None]
    """Make what has to be there, an earlier good snapshot among it; the inventory stands."""
    result: Callable[[Cli], object]
    """What there is afterwards, in a form that two runs share. Fails if any of it is damaged."""

    def __str__(self) -> str:
        return self.name


def _earlier(cli: Cli) -> None:
    cli.init()
    cli("backup", "--only", "calendar")


def _backup(host: str, connector: str) -> Verb:
    return Verb(
        "backup",
        host,
        ("backup", "--only", connector),
        "Read-FilePack",
        "Receive",
        _earlier,
        lambda cli: held(cli, host, connector),
    )


VERBS: Mapping[str, Verb] = {"backup": _backup(BIG, "groupwise")}
"""By name, with enough to carry that things can go wrong in the middle."""
SMALL_VERBS: Mapping[str, Verb] = {"backup": _backup(SMALL, "notes")}
"""The same with little to carry, for what is done again and again."""


def snapshots(cli: Cli) -> dict[str, dict[str, bytes]]:
    """Return every file of every snapshot."""
    top = cli.repository / "snapshots"
    return {
        str(folder.relative_to(top)): {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        }
        for folder in top.glob("*/*")
    }


def left_over(cli: Cli, world: World) -> list[str]:
    """Return what lies about after a run that ended: parts, locks, shells, staging on a host."""
    found = [f"{host}: shell {ids}" for host, ids in world.no_shell().items()]
    for folder in ("partial", "locks"):
        found += [str(path) for path in (cli.repository / folder).rglob("*") if path.is_file()]
    return found + [str(path) for path in (cli.repository / "runs").glob("*.lock")]


def events(cli: Cli, verb: str) -> list[dict[str, Any]]:
    """Return the events of the newest journal of a verb."""
    runs = []
    for path in (cli.repository / "runs").glob("*.jsonl"):
        lines = [
            json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")
        ]
        if lines and lines[0]["verb"] == verb:
            runs.append(lines)
    return max(runs, key=lambda lines: str(lines[0]["at"]))


def told(cli: Cli, verb: str) -> str:
    """Return what the newest journal of a verb tells of things that went wrong and were mended."""
    kinds = [e["kind"] for e in events(cli, verb)]
    words = {"retry": "tried again", "bulk-stepped-back": "stepped back", "stream-lost": "stream lost"}
    return ", ".join(f"{word} {n}x" for kind, word in words.items() if (n := kinds.count(kind)))


def manifests(cli: Cli) -> dict[str, Mapping[str, Any]]:
    """Return the manifest of each snapshot, by its folder's name."""
    return {f.name: manifest_of(f) for f in (cli.repository / "snapshots").glob("*/*")}

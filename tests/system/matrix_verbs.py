"""The commands that the matrices put through everything: how each is set up, and what it must have done.

Another command joins the matrices as one more entry of `VERBS`.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conftest import BULK, CONNDATA, Cli, World, held

BIG, SMALL = "EXBIG01", "EXNOTES01"
TABLE = rf"{CONNDATA}\Dxamex\Amap.tbl"


@dataclass(frozen=True)
class Verb:
    """One command with its setting."""

    name: str
    host: str
    """Where; the inventory has this host alone."""
    bulk: str
    """The script whose records are its bulk; empty if its bulk goes the other way."""
    request: str
    """The request that carries its bulk."""
    prepare: Callable[[Cli], None]
    """Make what has to be there, an earlier good snapshot among it; the inventory stands."""
    spoil: Callable[[World], None]
    """Have the host as the command has to find it, each time before it runs."""
    args: Callable[[Cli], tuple[str, ...]]
    result: Callable[[Cli, World], object]
    """What there is afterwards, in a form that two runs share. Fails if any of it is damaged."""
    left: Callable[[World], list[str]] = lambda world: []
    """What it left on the host, of what it should take away."""

    def __str__(self) -> str:
        return self.name


def _earlier(cli: Cli) -> None:
    cli.init()
    cli("backup", "--only", "calendar")


def _backup(host: str, connector: str) -> Verb:
    return Verb(
        "backup",
        host,
        "Read-FilePack",
        "Receive",
        _earlier,
        lambda world: None,
        lambda cli: ("backup", "--only", connector),
        lambda cli, world: held(cli, host, connector),
    )


def _restore(host: str, connector: str, paths: Sequence[str]) -> Verb:
    staging = r"C:\Program Files\Exchsrvr\exremote-staging-conndata"

    def prepare(cli: Cli) -> None:
        cli.init()
        cli("backup", "--only", connector)

    def first(cli: Cli) -> str:
        return f"{host}/{cli.folders_of(host, connector)[0].name}"

    def spoil(world: World) -> None:
        for path in paths:
            world.write(host, path, b"")
        # The first run erases the lab's own: they are there each time, and so is the event of each.
        for name in ("lab1.seq", "lab2.seq", "lab1.ck"):
            world.write(host, rf"{CONNDATA}\{name}", b"a work file")

    def result(cli: Cli, world: World) -> object:
        shown = cli("restore", first(cli), "--dry-run").out
        digests = [hashlib.sha256(world.read(host, path)).hexdigest() for path in paths]
        return digests, "nothing differs" in shown or shown

    return Verb(
        "restore",
        host,
        "",
        "Send",
        prepare,
        spoil,
        lambda cli: ("restore", first(cli), "--item", "conndata", "--yes", "--grace", "0"),
        result,
        lambda world: [staging] if world.exists(host, staging) else [],
    )


def _undo(host: str, connector: str, path: str) -> Verb:
    """Undo a restore: what was there before it comes back."""
    restore = _restore(host, connector, [path])
    was: list[bytes] = []

    def prepare(cli: Cli) -> None:
        restore.prepare(cli)
        client = cli.lab.client
        was[:] = [client.read_file(host, path)]
        client.edit(host, "write_file", path=path, data=b"what was there before the restore")
        cli(*restore.args(cli))

    def run(cli: Cli) -> str:
        texts = {file.stem: file.read_text(encoding="utf-8") for file in journals(cli)}
        return min(n for n, text in texts.items() if '"verb":"restore"' in text and '"kind":"safety"' in text)

    return Verb(
        "undo",
        host,
        "",
        "Send",
        prepare,
        lambda world: world.write(host, path, was[0]),
        lambda cli: ("undo", run(cli), "--yes", "--grace", "0"),
        lambda cli, world: hashlib.sha256(world.read(host, path)).hexdigest(),
        restore.left,
    )


def _drill(host: str, connector: str) -> Verb:
    """Try a restore where nothing is in use: all is compared, and taken away."""
    folder = rf"C:\drill\exremote-drill-{host}"

    def prepare(cli: Cli) -> None:
        cli.init()
        cli("backup", "--only", connector)

    def args(cli: Cli) -> tuple[str, ...]:
        return (
            "drill",
            f"{host}/{cli.folders_of(host, connector)[0].name}",
            "--on",
            host,
            "--folder",
            r"C:\drill",
        )

    def result(cli: Cli, world: World) -> object:
        (row,) = [
            row for row in cli("status", "--json", code=None).json["rows"] if row["connector"] == connector
        ]
        return row["proven"] is not None

    return Verb(
        "drill",
        host,
        "",
        "Send",
        prepare,
        lambda world: None,
        args,
        result,
        lambda world: [folder] if world.exists(host, folder) else [],
    )


_BULK = [rf"{BULK.folder}\bulk{number:06d}.dat" for number in range(BULK.files)]
VERBS: Mapping[str, Verb] = {
    verb.name: verb for verb in (_backup(BIG, "groupwise"), _restore(BIG, "groupwise", _BULK))
}
"""By name, with enough to carry that things can go wrong in the middle."""
SMALL_VERBS: Mapping[str, Verb] = {
    verb.name: verb
    for verb in (
        _backup(SMALL, "notes"),
        _restore(SMALL, "notes", [TABLE]),
        _undo(SMALL, "notes", TABLE),
        _drill(SMALL, "notes"),
    )
}
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


def left_over(cli: Cli, world: World, verb: Verb) -> list[str]:
    """Return what lies about after a run that ended: parts, locks, shells, staging on a host."""
    found = [f"{host}: shell {ids}" for host, ids in world.no_shell().items()] + verb.left(world)
    for folder in ("partial", "locks"):
        found += [str(path) for path in (cli.repository / folder).rglob("*") if path.is_file()]
    return found + [str(path) for path in (cli.repository / "runs").glob("*.lock")]


def journals(cli: Cli) -> set[Path]:
    """Return the journals that there are."""
    return set((cli.repository / "runs").glob("*.jsonl"))


def events(paths: Iterable[Path]) -> list[dict[str, Any]]:
    """Return the events of journals, one journal after another, without what was never written whole."""
    found = []
    for path in sorted(paths):
        lines = path.read_bytes().splitlines(keepends=True)
        found += [json.loads(line) for line in lines if line.endswith(b"\n")]
    return found


def told(paths: Iterable[Path]) -> str:
    """Return what journals tell of things that went wrong and were mended."""
    kinds = [e["kind"] for e in events(paths)]
    words = {"retry": "tried again", "bulk-stepped-back": "stepped back", "stream-lost": "stream lost"}
    return ", ".join(f"{word} {n}x" for kind, word in words.items() if (n := kinds.count(kind)))


def killed(cli: Cli, last: int, *args: str) -> int:
    """Run a command that dies after an event. Return its exit code."""
    if cli.warm is not None:
        return cli.warm.run(args, cli.environment, cli.folder, 120.0, last)[0]
    door = Path(__file__).with_name("kill_door.py")
    done = subprocess.run(
        [sys.executable, str(door), str(last), *args],
        env=cli.environment,
        cwd=cli.folder,
        capture_output=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    return done.returncode

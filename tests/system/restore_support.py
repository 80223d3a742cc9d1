"""What tests of a restore that broke off have in common."""

from __future__ import annotations

import json
import time
from pathlib import Path

from conftest import CONNDATA, Cli, World

HOST = "EXNOTES01"
AMAP = rf"{CONNDATA}\Dxamex\Amap.tbl"
DAMAGED = b"not the table"


def broken(world: World, folder: Path) -> Cli:
    """Return a command line with a backup of a host, a table of which was damaged since."""
    cli = Cli(world.lab, folder)
    cli.inventory(HOST)
    cli.init()
    cli("backup")
    world.write(HOST, AMAP, DAMAGED)
    return cli


def restore(cli: Cli) -> tuple[str, ...]:
    """Return what restores the folder of the first snapshot alone: no person is asked then."""
    return ("restore", f"{HOST}/{cli.folders_of(HOST, 'notes')[0].name}", "--item", "conndata")


def services(cli: Cli) -> dict[str, tuple[str, str]]:
    """Return state and start mode of the services, as the host says."""
    folder = cli.folder / f"facts{len(cli.ran)}"
    cli("health", "--save-facts", str(folder), code=None)
    found = json.loads((folder / f"{HOST}.json").read_text())["services"]
    return {s["name"]: (s["state"], s["start_mode"]) for s in found if s["exists"]}


def wait_for(cli: Cli, kind: str, *words: str, safety: bool = True) -> None:
    """Wait until the journal of a restore that changes something has an event of a kind with these words.

    Not `safety`: of any run.
    """
    end = time.monotonic() + 60
    while time.monotonic() < end:
        for path in (cli.repository / "runs").glob("*.jsonl"):
            lines = path.read_text(encoding="utf-8").splitlines()
            events = [json.loads(line) for line in lines if line.endswith("}")]
            changes = not safety or any(e["kind"] == "safety" for e in events)
            if changes and any(
                e["kind"] == kind and all(word in json.dumps(e) for word in words) for e in events
            ):
                return
        time.sleep(0.05)
    raise AssertionError(f"no {kind} {words}")

"""What tests of a restore that broke off have in common."""

from __future__ import annotations

import json

from conftest import Cli

HOST = "EXNOTES01"


def restore(cli: Cli) -> tuple[str, ...]:
    """Return what restores the folder of the first snapshot alone: no person is asked then."""
    return ("restore", f"{HOST}/{cli.folders_of(HOST, 'notes')[0].name}", "--item", "conndata")


def services(cli: Cli) -> dict[str, tuple[str, str]]:
    """Return state and start mode of the services, as the host says."""
    folder = cli.folder / f"facts{len(cli.ran)}"
    cli("health", "--save-facts", str(folder), code=None)
    found = json.loads((folder / f"{HOST}.json").read_text())["services"]
    return {s["name"]: (s["state"], s["start_mode"]) for s in found if s["exists"]}

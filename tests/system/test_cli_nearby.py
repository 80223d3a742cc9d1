"""A .bkf that stays on its host: proven there, named by its snapshot, looked at again, and gone with its time.

Under Wine winlab's ntbackup.exe writes it; what spoils it is written through the lab's control channel.
"""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Cli, World, manifest_of

HOST = "EXNOTES01"
PART = "storagegroups"
GROUP = "First Storage Group"
KEPT = r"C:\bkf"


@pytest.fixture
def door(cli: Cli) -> Cli:
    settings(cli)
    cli.init()
    return cli


def settings(cli: Cli, more: str = "") -> None:
    table = (
        f"storage_groups = ['{GROUP}'], start = 'direct', least_free_gb = 0.1, bkf_folder = '{KEPT}'{more}"
    )
    cli.inventory(HOST, extra={HOST: f"ntbackup = {{ {table} }}"})


def elsewhere(cli: Cli) -> dict[str, Any]:
    (one,) = manifest_of(cli.folder_of(HOST, PART))["elsewhere"]
    return dict(one)


def test_first(door: Cli, world: World) -> None:
    ran = door("backup", HOST, "--only", PART, "--json")
    print(ran.out)
    print(elsewhere(door))

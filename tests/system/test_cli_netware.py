"""What reaches NetWare is no part of Exchange: it is recorded, so that it can be put back."""

from __future__ import annotations

import json

import pytest
from conftest import API, Cli, Ran, World

HOST = "EXGW01"


def record(ran: Ran) -> tuple[str, str]:
    """Return verdict and evidence of the one finding."""
    (found,) = [f for f in ran.json["findings"] if f["check"] == "groupwise.netware-record"]
    return found["verdict"], found["evidence"]


@pytest.mark.not_under_wine("time")
def test_the_service_that_reaches_netware_is_in_the_snapshot_with_its_media(cli: Cli) -> None:
    """Key, state, account; the version, where its program carries one."""
    cli.inventory(HOST)
    cli.init()
    verdict, evidence = record(cli("health", HOST, "--json"))
    assert (verdict, "nobody says where it is" in evidence) == ("info", True)
    media = f"variables = {{ groupwise_api = '{API}', netware_media = 'shelf 3' }}"
    cli.inventory(HOST, extra={HOST: media})
    verdict, evidence = record(cli("health", HOST, "--json", "--all"))
    assert verdict == "ok"
    assert "account LocalSystem; installation media: shelf 3" in evidence
    cli("backup", "--json")
    folder = cli.folder_of(HOST, "groupwise")
    assert "labnwc.exe" in json.dumps(json.loads((folder / "facts.json").read_text())["looked_at"])
    states = {state["name"]: state for state in json.loads((folder / "services.json").read_text())}
    assert (states["NWCWorkstation"]["account"], states["NWCWorkstation"]["state"]) == (
        "LocalSystem",
        "Running",
    )
    assert "Gateway Service for NetWare" in (folder / "registry" / "netware-NWCWorkstation.reg").read_text(
        "utf-16"
    )


@pytest.mark.not_under_wine("denied")
def test_a_service_that_cannot_be_put_back_is_a_warning(cli: Cli, world: World) -> None:
    cli.inventory(HOST)
    world.deny(HOST, r"HKLM\SYSTEM\CurrentControlSet\Services\NWCWorkstation")
    verdict, evidence = record(cli("health", HOST, "--json", code=None))
    assert verdict == "warning"
    lacking = "the key of NWCWorkstation, the program of NWCWorkstation, the account of NWCWorkstation"
    assert f"not to be had: {lacking}" in evidence

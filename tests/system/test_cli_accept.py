"""Findings that the inventory accepts: shown as such, with the reason, and counted nowhere until then."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Cli, World

HOST = "EXSICK01"
TABLE = """
[[accept]]
check = "{check}"
hosts = ["{host}"]
reason = "the site lives with it"
until = {until}
"""


def accept(cli: Cli, *checks: str, until: str = "2999-12-31", host: str = HOST) -> None:
    """Write the inventory with these checks accepted."""
    path = cli.inventory(HOST)
    tables = [TABLE.format(check=check, host=host, until=until) for check in checks]
    path.write_text(path.read_text(encoding="utf-8") + "".join(tables), encoding="utf-8")


@pytest.mark.not_under_wine("time")
def test_an_accepted_finding_is_shown_and_does_not_count_until_it_expires(
    cli: Cli, world: World, tmp_path: Path
) -> None:
    cli.init()
    cli.inventory(HOST)
    facts = tmp_path / "facts"
    found = cli("health", HOST, "--save-facts", str(facts), "--json", code=5).json["findings"]
    critical = list(dict.fromkeys(f["check"] for f in found if f["verdict"] == "critical"))
    assert critical
    assert {f["accepted"] for f in found} == {""}

    accept(cli, *critical, "groupwise.no-such", "host.powershell")
    said = cli("health", HOST)
    lines = [line.split("\t") for line in said.out.splitlines()]
    accepted = [line for line in lines if line[1:2] == ["accepted"]]
    assert {line[2] for line in accepted} == {f"{check} (critical)" for check in critical}
    assert {line[4] for line in accepted} == {"the site lives with it (until 2999-12-31)"}
    assert f"{len(accepted)} of them accepted" in said.out
    notes = " ".join(said.err.split())
    assert "there is no check groupwise.no-such" in notes
    assert "host.powershell is accepted, and nothing of it was found on EXSICK01" in notes
    assert f"{critical[0]} is accepted, and nothing" not in notes
    judged = cli("health", "--facts", str(facts), "--json").json["findings"]
    assert [f["verdict"] for f in judged if f["accepted"]] == ["critical"] * len(accepted)

    # A snapshot keeps what was accepted, and why; it is not the worse for it.
    saved = cli("backup", HOST)
    assert f"{HOST}: accepted: {critical[0]} (critical): " in saved.out
    assert {s["health"] for s in cli.snapshots()} <= {"ok", "warning"}, "without it, critical"
    assert "finding: accepted: critical: " in cli("show", f"{HOST}/groupwise").out

    accept(cli, *critical, until="2026-01-31")
    late = cli("health", "--facts", str(facts), code=5)
    assert "\taccepted\t" not in late.out
    assert "site.toml:" in late.err
    assert f"{critical[0]} was accepted until 2026-01-31, and counts again" in " ".join(late.err.split())
    assert f"{critical[0]} was accepted until" in " ".join(cli("inventory", "check").out.split())

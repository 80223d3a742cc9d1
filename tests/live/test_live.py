"""Read-only questions to real hosts: the only proof of Windows PowerShell 2.0, WMI-free, and Exchange itself.

They run where EXREMOTE_LIVE_INVENTORY names an inventory of real servers, and nowhere else. Nothing is
written on a host: no probe, no share. What they bring lies in pytest's own folder, and is a real backup
of secrets: it goes with `--basetemp`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

INVENTORY = os.environ.get("EXREMOTE_LIVE_INVENTORY", "")
pytestmark = pytest.mark.skipif(
    not INVENTORY, reason="EXREMOTE_LIVE_INVENTORY is not set: no real server to ask"
)


def run(folder: Path, *args: str) -> tuple[int, str, str]:
    """Run a command against the real hosts. Return code, output and errors."""
    done = subprocess.run(
        [sys.executable, "-m", "exremote", *args],
        env={
            **os.environ,
            "EXREMOTE_INVENTORY": INVENTORY,
            "EXREMOTE_REPOSITORY": str(folder / "repository"),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """Return a folder and what one backup of all hosts said."""
    folder = tmp_path_factory.mktemp("live")
    folder.chmod(0o700)
    assert run(folder, "init")[0] == 0
    _, out, err = run(folder, "backup", "--json")
    assert out, err
    return folder, json.loads(out)


def test_every_host_is_reached(site: tuple[Path, dict[str, Any]]) -> None:
    states = {host["host"]: (host["state"], host["message"]) for host in site[1]["hosts"]}
    assert {state for state, _ in states.values()} <= {"done", "incomplete"}, states


def test_what_came_is_what_the_hosts_said(site: tuple[Path, dict[str, Any]]) -> None:
    code, out, _ = run(site[0], "verify")
    assert code == 0, out


def test_a_second_run_sends_only_what_changed(site: tuple[Path, dict[str, Any]]) -> None:
    _, out, _ = run(site[0], "backup", "--json")
    for before, after in zip(site[1]["hosts"], json.loads(out)["hosts"], strict=True):
        assert after["sent_bytes"] <= before["sent_bytes"], after["host"]


def test_health_has_an_answer_for_each_host(site: tuple[Path, dict[str, Any]]) -> None:
    code, out, _ = run(site[0], "health", "--json", "--all")
    assert code in (0, 3, 5)
    found = json.loads(out)
    answered = {f["host"] for f in found["findings"]}
    assert answered == {h["host"] for h in found["hosts"] if h["state"] == "done"}
    versions = [f["evidence"] for f in found["findings"] if f["check"] == "host.powershell"]
    assert versions
    assert all(version.startswith("PowerShell ") for version in versions)

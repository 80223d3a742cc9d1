"""The README's first hour with a real server, word for word, against the lab: the steps fit together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import NOT_UNDER_WINE, ROOT, Cli

from exremote.lab.client import RunningLab


def block(what: str) -> str:
    """Return what stands in the README between the marks of the first server."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(
        rf"<!-- first server: {re.escape(what)} -->\n```\w*\n(.+?)```\n<!-- end -->", text, re.S
    )
    assert found, f"the README has no {what} of the first server"
    return found.group(1)


def test_the_steps_of_the_readme_fit_together(lab: RunningLab, engine: str, tmp_path: Path) -> None:
    """Only names are put in for others: the address, the account, the place of the repository."""
    if engine == "powershell":
        pytest.skip(f"simulated engine only: {NOT_UNDER_WINE['local']}")
    site = block("site.toml")
    for said, ours in (
        ('address = "exnotes01.example.com"', f'address = "127.0.0.1"\nport = {lab.hosts["EXNOTES01"]}'),
        ("/srv/exremote", str(tmp_path / "srv")),
        (r"DOM\svc-backup", lab.user),
    ):
        assert said in site
        site = site.replace(said, ours)
    cli = Cli(lab, tmp_path / "door")
    (cli.folder / "site.toml").write_text(site, encoding="utf-8")
    commands = block("commands")
    called = f'exremote() {{ "{sys.executable}" -m exremote "$@"; }}\n'
    environment = {k: v for k, v in cli.environment.items() if not k.startswith("EXREMOTE_")}
    done = subprocess.run(
        ["bash", "-e", "-c", called + commands],
        env=environment,
        cwd=cli.folder,
        input=f"{lab.password}\n",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning" not in done.stdout
    assert 'connectors = ["calendar", "notes"]' in done.stdout
    assert "2 snapshots verified (every byte): no damage" in done.stdout
    assert lab.password not in done.stdout + done.stderr
    assert cli.leaks() == []

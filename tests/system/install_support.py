"""New virtual environments outside the checkout, and how to tell a package index that cannot be reached."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

INSTALL_S = 280
UNREACHED = (
    "Failed to establish a new connection",
    "Temporary failure in name resolution",
    "Name or service not known",
    "getaddrinfo failed",
    "Network is unreachable",
    "No route to host",
    "Connection refused",
    "ConnectTimeoutError",
    "Read timed out",
    "Cannot connect to proxy",
)
"""What pip says if there is no network, or no index at the other end."""


def skip_if_unreached(output: str) -> None:
    """Skip, openly, if what failed is the way to the package index and nothing of ours."""
    for words in UNREACHED:
        if words in output:
            pytest.skip(f"the package index cannot be reached: {words}")


@dataclass(frozen=True, slots=True)
class Installed:
    """A virtual environment with what is installed in it."""

    folder: Path

    @property
    def bin(self) -> Path:
        """Return the folder of its commands."""
        return self.folder / ("Scripts" if sys.platform == "win32" else "bin")

    @property
    def python(self) -> Path:
        """Return its interpreter."""
        return self.bin / "python"

    def run(
        self, command: str, *args: str, cwd: Path, timeout_s: float = 120, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of its commands, with nothing of the checkout or the developer in the environment."""
        return run([str(self.bin / command), *args], cwd=cwd, timeout_s=timeout_s, **more)


def run(
    command: Sequence[str], *, cwd: Path, timeout_s: float = INSTALL_S, **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end, with nothing of the developer's own settings but pip's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EXREMOTE", "PYTHON", "VIRTUAL_ENV"))}
    return subprocess.run(
        command,
        cwd=cwd,
        env={**kept, **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=timeout_s,
        check=False,
    )


def new_environment(folder: Path, *requirements: str) -> Installed:
    """Make a virtual environment and install into it. Skips if the index cannot be reached."""
    done = run([sys.executable, "-m", "venv", str(folder)], cwd=folder.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    installed = Installed(folder)
    done = run([str(installed.python), "-m", "pip", "install", "-q", *requirements], cwd=folder.parent)
    if done.returncode != 0:
        skip_if_unreached(done.stdout + done.stderr)
    assert done.returncode == 0, done.stdout + done.stderr
    return installed

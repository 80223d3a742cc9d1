"""Journals of a user who has no home, or one that cannot be used: a sentence, or none is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from keep_support import Door

pytestmark = pytest.mark.skipif(os.name != "posix", reason="where Linux keeps the state of a user")

SITE = """
[defaults]
credential = {environment = "EXREMOTE_TEST_PASSWORD", username = "u"}
[defaults.retry]
attempts = 1
[hosts.EXCH01]
address = "127.0.0.1"
port = 1
"""


@pytest.fixture(params=["/proc/nohome", "a file"])
def homeless(request: pytest.FixtureRequest, tmp_path: Path) -> Door:
    """A user whose home is not there, or is no folder."""
    home = str(request.param)
    if home == "a file":
        home = str(tmp_path / "file")
        Path(home).write_text("no folder")
    door = Door(tmp_path / "door")
    (door.folder / "site.toml").write_text(SITE)
    door.more = {
        "HOME": home,
        "XDG_STATE_HOME": "",
        "XDG_CONFIG_HOME": "",
        "EXREMOTE_REPOSITORY": "",
        "EXREMOTE_INVENTORY": str(door.folder / "site.toml"),
        "EXREMOTE_TEST_PASSWORD": "p",
    }
    return door


@pytest.mark.parametrize(
    "command",
    [
        ("health", "EXCH01"),
        ("doctor", "EXCH01"),
        ("inventory", "discover", "EXCH01"),
        ("runs",),
        ("runs", "x"),
    ],
    ids=" ".join,
)
def test_without_a_home_a_command_says_what_to_do(homeless: Door, command: tuple[str, ...]) -> None:
    error = homeless(*command, code=10).err.replace("\n", " ")
    assert "the journals of this user cannot be kept" in error
    assert "XDG_STATE_HOME" in error


def test_with_a_repository_nobody_needs_a_home(homeless: Door) -> None:
    homeless.more["EXREMOTE_REPOSITORY"] = str(homeless.place.path)
    homeless("health", "EXCH01", code=20)
    homeless("backup", "EXCH01", code=20)
    homeless("doctor", "EXCH01", code=20)
    verbs = {line.split("\t")[1] for line in homeless("runs").out.splitlines()}
    assert verbs == {"health", "backup", "doctor"}


def test_a_user_whom_the_system_does_not_know_is_told_the_same(homeless: Door) -> None:
    """As in a container that runs under any number: no HOME, and no line in passwd."""
    code = (
        "import pwd, sys\n"
        "def unknown(uid): raise KeyError(uid)\n"
        "pwd.getpwuid = unknown\n"
        "from exremote.cli import main\n"
        "main()\n"
    )
    homeless.more["HOME"] = ""
    command = [sys.executable, "-c", code, "health", "EXCH01"]
    done = subprocess.run(
        command, env=homeless.environment, cwd=homeless.folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 10, done.stderr
    assert "nobody knows where this user's home is" in done.stderr.replace("\n", " ")
    assert not list(homeless.folder.glob("~*")), "a folder of that name is nobody's home"


def test_a_name_too_long_for_the_system_is_not_there(homeless: Door) -> None:
    homeless.more["EXREMOTE_INVENTORY"] = "x" * 5000
    assert "There is no inventory at" in homeless("health", code=2).err

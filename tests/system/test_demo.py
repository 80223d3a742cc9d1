"""The demo shows each command and what it did, leaves a repository that verifies, and nothing else."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import install_support
import psutil
import pytest

from exremote.lab.demo import ACTS, AT, RECOVERY, RUN
from exremote.lab.site import HostSpec, specs_to_json

ROOT = Path(__file__).parents[2]
BOUND_S = 90.0
"""What the README's reader is ready to wait for."""
COPIED = ("exremote", "ps_scripts", "inventory", "README.md", "LICENSE", "pyproject.toml")


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Return a user's environment: nothing of the developer's own settings, temporary files in sight."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("EXREMOTE", "XDG_", "PYTHON"))}
    for name in ("tmp", "state", "data", "config"):
        (folder / name).mkdir(exist_ok=True)
    return {
        **kept,
        "TMPDIR": str(folder / "tmp"),
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_DATA_HOME": str(folder / "data"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        **more,
    }


def run(
    command: list[str], folder: Path, timeout_s: float = 120.0, **more: str
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """Run a command in a session of its own. Return how it ended, and the processes that it left behind."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder, **more),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )
    out, _ = process.communicate(timeout=timeout_s)
    return subprocess.CompletedProcess(command, process.returncode, out, ""), left_of(process.pid)


def left_of(session: int) -> list[str]:
    """Return the command lines of the processes of a session that are still there after a moment."""
    end = time.monotonic() + 5
    while True:
        left = []
        for process in psutil.process_iter():
            try:
                if os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE:
                    left.append(" ".join(process.cmdline()))
            except (OSError, psutil.Error):
                continue  # it ended while we looked
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.1)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Return a folder of a name that needs quoting."""
    with tempfile.TemporaryDirectory(prefix="a demo ") as place:
        yield Path(place)


@pytest.fixture(scope="module")
def shown(folder: Path) -> tuple[subprocess.CompletedProcess[str], list[str], float]:
    """Run the demo once."""
    started = time.monotonic()
    done, left = run([sys.executable, "-m", "exremote.lab", "demo", "shown"], folder, PYTHONPATH=str(ROOT))
    return done, left, time.monotonic() - started


Shown = tuple[subprocess.CompletedProcess[str], list[str], float]


def test_it_ends_well_and_soon(shown: Shown) -> None:
    done, _, seconds = shown
    assert done.returncode == 0, done.stdout
    assert seconds < BOUND_S, f"the demo took {seconds:.0f} s"
    assert "NOT AS EXPECTED" not in done.stdout
    assert "Traceback" not in done.stdout


def test_each_command_line_stands_before_its_output(shown: Shown) -> None:
    """Between a command line and its exit code stands what that command said, and nothing of the next."""
    told = re.findall(r"^\$ (exremote .+)\n((?:.*\n)*?)\(exit code (\d+)\)$", shown[0].stdout, re.MULTILINE)
    assert len(told) == len(ACTS)
    for act, (line, _, _) in zip(ACTS, told, strict=True):
        said = [
            word if word in (RUN, RECOVERY, AT) else one
            for word, one in zip(act.command, shlex.split(line)[1:], strict=True)
        ]
        assert said == list(act.command)
    for act, (_, output, code) in zip(ACTS, told, strict=True):
        assert int(code) == act.exit_code
        assert output.strip(), act.command
        for pattern in act.shows:
            assert re.search(pattern, output), f"{act.command}: {pattern}\n{output}"


def test_it_says_where_the_repository_is_and_that_one_verifies(shown: Shown, folder: Path) -> None:
    found = re.search(r"The repository stays: (.+)$", shown[0].stdout, re.MULTILINE)
    assert found
    repository = Path(found[1])
    assert repository.parent == folder / "shown"
    exremote = [sys.executable, "-m", "exremote"]
    done, _ = run([*exremote, "verify", "--repository", str(repository)], folder, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b[1-9]\d* snapshots verified \(every byte\): no damage", done.stdout)
    # As it prints it, it can be pasted.
    pasted = re.search(r"^  (\S+.* snapshots .+)$", shown[0].stdout, re.MULTILINE)
    assert pasted
    done, _ = run(["bash", "-c", pasted[1]], folder, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stdout
    assert "EXNOTES01" in done.stdout


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_what_it_says_of_sha256sum_is_so(shown: Shown, folder: Path) -> None:
    assert "sha256sum -c SHA256SUMS" in shown[0].stdout
    snapshots = list((folder / "shown" / "repository-1" / "snapshots").glob("*/*"))
    assert len(snapshots) >= 4
    for snapshot in snapshots:
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=snapshot, check=True)


def test_it_leaves_nothing_but_the_repository(shown: Shown, folder: Path) -> None:
    assert shown[1] == [], "processes are left"
    assert list((folder / "tmp").iterdir()) == []
    assert [path.name for path in (folder / "shown").iterdir()] == ["repository-1"]


def test_it_tells_no_password(shown: Shown) -> None:
    """The lab's password is in no output; there is no command that could print it but `up`."""
    assert not re.search(r"password\s*[=:]\s*\S", shown[0].stdout, re.IGNORECASE)


def test_it_fails_if_a_command_ends_otherwise(tmp_path: Path) -> None:
    """On another site than the standard one, what it announces does not come true; it says so."""
    site = specs_to_json([HostSpec("EXGW01", ("groupwise",))])
    done, left = run(
        [sys.executable, "-m", "exremote.lab", "demo", "other"],
        tmp_path,
        PYTHONPATH=str(ROOT),
        EXREMOTE_LAB_SITE=site,
    )
    assert done.returncode == 1, done.stdout
    assert "NOT AS EXPECTED: health: exit code 0, not 3" in done.stdout
    assert left == []


def test_it_fails_in_a_sentence_if_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file", encoding="utf-8")
    done, left = run([sys.executable, "-m", "exremote.lab", "demo", "taken"], tmp_path, PYTHONPATH=str(ROOT))
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert "taken" in done.stdout
    assert left == []


def test_it_fails_in_a_sentence_if_the_lab_does_not_start(tmp_path: Path) -> None:
    done, left = run(
        [sys.executable, "-m", "exremote.lab", "demo", "none"],
        tmp_path,
        PYTHONPATH=str(ROOT),
        EXREMOTE_LAB_SITE="no site",
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout
    assert "the lab did not start" in done.stdout
    assert left == []


@pytest.mark.slow
def test_a_second_demo_leaves_the_first_ones_repository_alone(shown: Shown, folder: Path) -> None:
    assert shown[0].returncode == 0
    before = sorted((folder / "shown" / "repository-1").rglob("*"))
    # Another site than the standard one: it stops at the first command that ends otherwise.
    site = specs_to_json([HostSpec("EXGW01", ("groupwise",))])
    command = [sys.executable, "-m", "exremote.lab", "demo", "shown"]
    done, _ = run(command, folder, PYTHONPATH=str(ROOT), EXREMOTE_LAB_SITE=site)
    assert done.returncode == 1, done.stdout
    assert "repository-2" in done.stdout
    assert sorted((folder / "shown" / "repository-1").rglob("*")) == before


@pytest.mark.slow
def test_the_readmes_command_works_in_a_fresh_copy(tmp_path: Path) -> None:
    """The line that a newcomer pastes: a new virtual environment, the install, the demo."""
    copy = tmp_path / "exremote"
    copy.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, copy)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- command: demo -->\n```\n(.+)\n```", readme)
    assert found
    done, left = run(["bash", "-euo", "pipefail", "-c", found[1]], copy, timeout_s=280)
    if done.returncode != 0:
        install_support.skip_if_unreached(done.stdout)
    assert done.returncode == 0, done.stdout
    assert "The repository stays:" in done.stdout
    assert left == []

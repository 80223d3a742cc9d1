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
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Shown:
    """The demo as a newcomer has it, once for all who look at it."""

    folder: Path
    """The fresh copy in which it ran; its name needs quoting."""
    done: subprocess.CompletedProcess[str]
    left: list[str]
    """Processes that it left behind."""
    seconds: float
    """How long it took, without the install."""
    unreached: str
    """What the install said if the package index could not be reached: then the checkout's own demo ran."""

    @property
    def place(self) -> Path:
        """Return what it left in the folder."""
        return self.folder / "exremote-demo"


@pytest.fixture(scope="module")
def shown() -> Iterator[Shown]:
    """Run the line that a newcomer pastes: a new virtual environment, the install, the demo."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"<!-- command: demo -->\n```\n(.+)\n```", readme)
    assert found
    install, _, demo = found[1].rpartition(" && ")
    assert "pip install" in install
    assert demo.endswith("exremote-lab demo")
    with tempfile.TemporaryDirectory(prefix="a demo ") as place:
        folder = Path(place)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, folder)
        done, _ = run(["bash", "-euo", "pipefail", "-c", install], folder, timeout_s=240)
        unreached = done.stdout if any(words in done.stdout for words in install_support.UNREACHED) else ""
        assert done.returncode == 0 or unreached, done.stdout
        if done.returncode == 0:
            unreached = ""
        command = [sys.executable, "-m", "exremote.lab", "demo"] if unreached else ["bash", "-c", demo]
        started = time.monotonic()
        done, left = run(command, folder)
        yield Shown(folder, done, left, time.monotonic() - started, unreached)


def test_it_ends_well_and_soon(shown: Shown) -> None:
    assert shown.done.returncode == 0, shown.done.stdout
    assert shown.seconds < BOUND_S, f"the demo took {shown.seconds:.0f} s"
    assert "NOT AS EXPECTED" not in shown.done.stdout
    assert "Traceback" not in shown.done.stdout


@pytest.mark.slow
def test_it_ran_as_the_readmes_command_in_a_fresh_copy(shown: Shown) -> None:
    install_support.skip_if_unreached(shown.unreached)
    assert f"{shown.folder}/.venv/" in shown.done.stdout


def test_each_command_line_stands_before_its_output(shown: Shown) -> None:
    """Between a command line and its exit code stands what that command said, and nothing of the next."""
    told = re.findall(r"^\$ (exremote .+)\n((?:.*\n)*?)\(exit code (\d+)\)$", shown.done.stdout, re.MULTILINE)
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


def test_it_says_where_the_repository_is_and_that_one_verifies(shown: Shown) -> None:
    found = re.search(r"The repository stays: (.+)$", shown.done.stdout, re.MULTILINE)
    assert found
    repository = Path(found[1])
    assert repository.parent == shown.place
    exremote = [sys.executable, "-m", "exremote"]
    done, _ = run([*exremote, "verify", "--repository", str(repository)], shown.folder, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stdout
    assert re.search(r"\b[1-9]\d* snapshots verified \(every byte\): no damage", done.stdout)
    # As it prints it, it can be pasted.
    pasted = re.search(r"^  (\S+.* snapshots .+)$", shown.done.stdout, re.MULTILINE)
    assert pasted
    done, _ = run(["bash", "-c", pasted[1]], shown.folder, PYTHONPATH=str(ROOT))
    assert done.returncode == 0, done.stdout
    assert "EXNOTES01" in done.stdout


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_what_it_says_of_sha256sum_is_so(shown: Shown) -> None:
    assert "sha256sum -c SHA256SUMS" in shown.done.stdout
    snapshots = list((shown.place / "repository-1" / "snapshots").glob("*/*"))
    assert len(snapshots) >= 4
    for snapshot in snapshots:
        subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=snapshot, check=True)


def test_it_leaves_nothing_but_the_repository(shown: Shown) -> None:
    assert shown.left == [], "processes are left"
    assert list((shown.folder / "tmp").iterdir()) == []
    assert [path.name for path in shown.place.iterdir()] == ["repository-1"]


def test_it_tells_no_password(shown: Shown) -> None:
    """The lab's password is in no output; there is no command that could print it but `up`."""
    assert not re.search(r"password\s*[=:]\s*\S", shown.done.stdout, re.IGNORECASE)


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
def test_on_another_site_it_says_what_is_not_as_expected_and_leaves_the_first_repository_alone(
    shown: Shown,
) -> None:
    """What it announces does not come true there: it stops at the first command that ends otherwise."""
    assert shown.done.returncode == 0
    before = sorted((shown.place / "repository-1").rglob("*"))
    site = specs_to_json([HostSpec("EXGW01", ("groupwise",))])
    command = [sys.executable, "-m", "exremote.lab", "demo"]
    done, left = run(command, shown.folder, PYTHONPATH=str(ROOT), EXREMOTE_LAB_SITE=site)
    assert done.returncode == 1, done.stdout
    assert "NOT AS EXPECTED: health: exit code 0, not 3" in done.stdout
    assert left == []
    assert "repository-2" in done.stdout
    assert sorted((shown.place / "repository-1").rglob("*")) == before

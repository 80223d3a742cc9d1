"""A lab to measure against, and client processes that measure. Nothing is measured in its own process."""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.content import HOST
from benchmarks.meter import Used
from exremote.lab.client import LabClient, RunningLab

LIMITS: dict[str, object] = {"max_envelope_kb": 500, "protocol_version": "2.3", "fill_answers": True}
"""Of the host, unless a measurement says otherwise: WinRM 3.0, answers filled."""
_ROOT = Path(__file__).resolve().parent.parent
_PATIENCE_S = 7200
"""A million files take an hour on a busy machine."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement."""

    used: Used
    came: dict[str, Any]
    """What was transferred: files, bytes and so on."""


class Bench:
    """One lab, one folder, and one client process after another."""

    def __init__(self, lab: dict[str, Any], folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        inventory = folder / "inventory.toml"
        shutil.copy(lab["inventory"], inventory)  # ours, whatever becomes of the system's temporary files
        self._lab = lab | {"inventory": str(inventory)}
        self._client = LabClient(lab["control"], lab["token"])
        self._folder = folder
        self._numbers = count(1)

    def new_place(self) -> Path:
        """Return a path where nothing is yet."""
        return self._folder / f"place{next(self._numbers)}"

    def edit(self, op: str, **args: object) -> None:
        """Change one thing of the host."""
        self._client.edit(HOST, op, **args)

    @contextlib.contextmanager
    def limits(self, **changes: object) -> Iterator[None]:
        """Have the host behave otherwise for a while."""
        self._client.set_limits(HOST, **{**LIMITS, **changes})
        try:
            yield
        finally:
            self._client.set_limits(HOST, **LIMITS)

    def local_files(self, contents: Iterable[bytes]) -> list[str]:
        """Given contents, return files of them, of this machine."""
        folder = self.new_place()
        folder.mkdir()
        names = []
        for number, data in enumerate(contents):
            path = folder / f"file{number:05d}.dat"
            path.write_bytes(data)
            names.append(str(path))
        return names

    def random_file(self, mebibytes: int, seed: int) -> str:
        """Return a file of this machine with so many MiB of random data, written one by one."""
        path, source = self.new_place(), random.Random(seed)
        with path.open("wb") as stream:
            for _ in range(mebibytes):
                stream.write(source.randbytes(1 << 20))
        return str(path)

    def of(self, lab: RunningLab) -> Bench:
        """Given another lab, return what measures there."""
        said = {
            "control": lab.client.url,
            "token": lab.client.token,
            "inventory": str(lab.inventory),
            "user": lab.user,
            "password": lab.password,
            "port": lab.hosts[HOST],
        }
        return Bench(said, self.new_place())

    def read(self, path: str) -> bytes:
        """Return what a file of the host holds."""
        return self._client.read_file(HOST, path)

    def slow_line(self, latency_s: float = 0.0, bandwidth_bps: int | None = None) -> None:
        """Make the line to the host long and narrow, or as it was."""
        self._client.set_line(HOST, latency_s, bandwidth_bps)

    def measure(self, task: str, **request: object) -> Measured:
        """Have a client process do one task. Return what it used. Raise RuntimeError if it failed."""
        if task in ("fetch", "ansible_psrp", "ansible_winrm"):
            folder = self.new_place()
            folder.mkdir()
            request["folder"] = str(folder)
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.client"],
            input=json.dumps({"task": task, "lab": self._lab, **request}),
            capture_output=True,
            text=True,
            encoding="utf-8",
            cwd=_ROOT,
            timeout=_PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{task}: the client failed:\n{done.stderr[-4000:]}")
        answer = json.loads(done.stdout)
        return Measured(Used(**answer["used"]), answer["came"])

    def fastest(self, times: int, task: str, **request: object) -> Measured:
        """Measure several times, each with a new repository. Return the fastest."""
        found = []
        for _ in range(times):
            place = self.new_place()
            found.append(self.measure(task, **request, repository=str(place)))
            shutil.rmtree(place, ignore_errors=True)
        return min(found, key=lambda one: one.used.seconds)


@contextlib.contextmanager
def running(many: int, sizes: Sequence[int]) -> Iterator[Bench]:
    """Run a lab with random files of these sizes in MiB, and end it. Raise RuntimeError.

    `many`: files of the host that has many.
    """
    command = [sys.executable, "-m", "benchmarks.lab", str(many), *map(str, sizes)]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8", cwd=_ROOT
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        if not line.startswith("{"):
            raise RuntimeError(f"the lab did not start: {line.strip() or process.wait()}")
        with tempfile.TemporaryDirectory(prefix="exremote-bench-") as folder:
            bench = Bench(json.loads(line), Path(folder))
            with bench.limits():
                yield bench
    finally:
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()

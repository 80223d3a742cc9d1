"""What is measured through the command line: a whole backup of one host, the tables alone, and many hosts.

It has a lab of its own, with hosts as the demo has them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.bench import Bench
from benchmarks.cases import Scale
from benchmarks.rows import Row, at_most, row
from exremote.lab.client import RunningLab, running_lab
from exremote.lab.site import HostSpec

ONE = "ONE01"
LATENCY_S = 0.05
_PARALLEL = 64


@dataclass(frozen=True, slots=True)
class _Ended:
    """How one command ended."""

    seconds: float
    cpu_s: float
    """Of the command and of the lab together: they share this machine."""


def fleet(bench: Bench, scale: Scale) -> Iterator[Row]:
    """One host whole, its tables, and many hosts at once."""
    names = [f"FLEET{number:03d}" for number in range(1, scale.fleet + 1)]
    specs = [HostSpec(ONE, ("groupwise",), winrm=3)]
    specs += [HostSpec(name, ("calendar",), winrm=3, latency_s=LATENCY_S) for name in names]
    with running_lab(specs) as lab, tempfile.TemporaryDirectory(prefix="exremote-fleet-") as folder:
        place = Path(folder) / "repository"
        _run(lab, place, "init", str(place))
        yield from _one(lab, place)
        alone = _run(lab, Path(folder) / "alone", "init", str(Path(folder) / "alone"))
        alone = _run(lab, Path(folder) / "alone", "backup", names[0])
        all_ = _run(lab, place, "backup", *names, "--parallel", str(_PARALLEL))
        per_core = all_.cpu_s / (os.cpu_count() or 1)
        name = f"{scale.fleet} hosts, {LATENCY_S * 1000:.0f} ms each"
        yield row(f"{name}: time", all_.seconds, "s")
        yield row(f"{name}: one host alone", alone.seconds, "s")
        yield row(f"{name}: CPU time per core, with the lab's", per_core, "s")
        value = all_.seconds / max(alone.seconds, per_core)
        title = f"{name}: time over the larger of the two"
        yield at_most(title, value, "x", 1.3) if scale.clock else row(title, value, "x")


def _one(lab: RunningLab, place: Path) -> Iterator[Row]:
    """A whole backup of one host, and of its tables alone, first and unchanged."""
    for what, options in (("whole backup", ()), ("tables alone", ("--only", "tables"))):
        for when in ("first", "unchanged"):
            lab.client.reset_counters(ONE)
            _run(lab, place, "backup", ONE, *options)
            trips = int(lab.client.counters(ONE)["exchanges"])
            name = f"{what}, {when}: round trips, all scripts"
            wanted = (what, when) == ("tables alone", "unchanged")
            yield at_most(name, trips, "", 10) if wanted else row(name, trips, "")


def _run(lab: RunningLab, place: Path, *args: str) -> _Ended:
    """Run a command to its end. Raise RuntimeError if it did not end well."""
    served = psutil.Process(lab.process.pid)
    before = sum(served.cpu_times()[:2])
    environment = {
        **os.environ,
        **lab.environment,
        "EXREMOTE_INVENTORY": str(lab.inventory),
        "EXREMOTE_REPOSITORY": str(place),
    }
    start, cpu_s = time.perf_counter(), 0.0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        command = [sys.executable, "-m", "exremote", *args]
        process = psutil.Popen(command, env=environment, stdout=said, stderr=subprocess.STDOUT)
        while process.poll() is None:
            with suppress(psutil.Error):
                cpu_s = max(cpu_s, sum(process.cpu_times()[:2]))
            time.sleep(0.02)
        seconds = time.perf_counter() - start
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(args)} ended with {process.returncode}: {said.read()[-3000:]}")
    return _Ended(seconds, cpu_s + sum(served.cpu_times()[:2]) - before)

"""What is measured through the command line: a whole backup of one host, the tables alone, and many hosts.

It has two labs of its own, with hosts as the demo has them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
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
class _Site:
    """Labs whose hosts stand in one inventory."""

    labs: tuple[RunningLab, ...]
    folder: Path
    environment: Mapping[str, str]

    @property
    def cpu_s(self) -> float:
        """Return the CPU that the labs have used so far, in seconds."""
        return sum(sum(psutil.Process(lab.process.pid).cpu_times()[:2]) for lab in self.labs)


@dataclass(frozen=True, slots=True)
class _Ended:
    """How one command ended."""

    seconds: float
    cpu_s: float
    """Of the command and of the labs together: they share this machine."""


def fleet(bench: Bench, scale: Scale) -> Iterator[Row]:
    """One host whole, its tables, and many hosts at once."""
    names = [f"FLEET{number:03d}" for number in range(1, scale.fleet + 1)]
    specs = [HostSpec(name, ("calendar",), winrm=3, latency_s=LATENCY_S) for name in names]
    one = HostSpec(ONE, ("groupwise",), winrm=3)
    with tempfile.TemporaryDirectory(prefix="exremote-fleet-") as folder:
        # One Python process that plays them all would be what they wait for: servers answer side by side.
        with running_lab([one, *specs[::2]]) as odd, running_lab(specs[1::2]) as even:
            yield from _measured(_site(Path(folder), odd, even), names, scale)


def _site(folder: Path, first: RunningLab, *others: RunningLab) -> _Site:
    """Given labs, return them as one site, its inventory written."""
    text, environment = first.inventory.read_text(encoding="utf-8"), dict(first.environment)
    for number, lab in enumerate(others, 2):
        environment[f"LAB{number}_PASSWORD"] = lab.password
        own = f"credential = {{ environment = 'LAB{number}_PASSWORD', username = '{lab.user}' }}"
        _, mark, hosts = lab.inventory.read_text(encoding="utf-8").partition("\n[hosts.")
        text += (mark + hosts).replace("]\naddress", f"]\n{own}\naddress")
    inventory = folder / "inventory.toml"
    inventory.write_text(text, encoding="utf-8")
    return _Site((first, *others), folder, environment | {"EXREMOTE_INVENTORY": str(inventory)})


def _measured(site: _Site, names: Sequence[str], scale: Scale) -> Iterator[Row]:
    place, apart = site.folder / "repository", site.folder / "alone"
    for empty in (place, apart):
        _run(site, empty, "init", str(empty))
    yield from _one(site, place)
    alone = _run(site, apart, "backup", names[0])
    all_ = _run(site, place, "backup", *names, "--parallel", str(_PARALLEL))
    per_core = all_.cpu_s / (os.cpu_count() or 1)
    name = f"{scale.fleet} hosts, {LATENCY_S * 1000:.0f} ms each"
    yield row(f"{name}: time", all_.seconds, "s")
    yield row(f"{name}: one host alone", alone.seconds, "s")
    yield row(f"{name}: CPU time per core, with the labs'", per_core, "s")
    value = all_.seconds / max(alone.seconds, per_core)
    title = f"{name}: time over the larger of the two"
    yield at_most(title, value, "x", 1.3) if scale.clock else row(title, value, "x")


def _one(site: _Site, place: Path) -> Iterator[Row]:
    """A whole backup of one host, and of its tables alone, first and unchanged."""
    client = site.labs[0].client
    for what, options in (("whole backup", ()), ("tables alone", ("--only", "tables"))):
        for when in ("first", "unchanged"):
            client.reset_counters(ONE)
            _run(site, place, "backup", ONE, *options)
            trips = int(client.counters(ONE)["exchanges"])
            name = f"{what}, {when}: round trips, all scripts"
            wanted = (what, when) == ("tables alone", "unchanged")
            yield at_most(name, trips, "", 10) if wanted else row(name, trips, "")


def _run(site: _Site, place: Path, *args: str) -> _Ended:
    """Run a command to its end. Raise RuntimeError if it did not end well."""
    environment = {**os.environ, **site.environment, "EXREMOTE_REPOSITORY": str(place)}
    before, start, cpu_s = site.cpu_s, time.perf_counter(), 0.0
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
    return _Ended(seconds, cpu_s + site.cpu_s - before)

"""The script's process on the server: what it needs beyond its size before the first byte. Real engine only.

It has a lab of its own whose host is played by the engine that EXREMOTE_LAB_POWERSHELL names, under Wine.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil

from benchmarks.bench import Bench
from benchmarks.cases import Scale
from benchmarks.content import HOST, MIB, ROOT
from benchmarks.rows import Row, at_most, row
from exremote.lab.client import LabTrouble, RunningLab, running_lab
from exremote.lab.site import HostSpec

MOST_MIB = 30
FLAT_MIB = 10
"""What the largest may need beyond the smallest."""
_ENGINE = re.compile(r"(pwsh|psengine|powershell)[^ ]*\.exe ", re.IGNORECASE)
_WINDOWS = {"DOTNET_TieredCompilation": "0"}
"""Has .NET compile a method once, as that of Windows PowerShell does, and not again while it is measured."""
_BEGUN = 1 << 20
"""Bytes on the wire from which on a transfer has begun."""


def present() -> bool:
    """Return whether there is an engine to measure."""
    return bool(os.environ.get("EXREMOTE_LAB_POWERSHELL"))


class Watch:
    """Samples the memory of the script's processes while something is done."""

    def __init__(self, lab: RunningLab) -> None:
        self._lab = lab
        self._stopped = threading.Event()
        self._before: dict[int, int] = {}
        self._peak: dict[int, int] = {}
        self._largest = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self._lab.client.reset_counters(HOST)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    @property
    def grown_mib(self) -> float:
        """How much the process that grew most has grown since the first byte, in MiB. Raise RuntimeError."""
        if not self._peak:
            raise RuntimeError("no process of the engine was seen")
        return max(self._peak[pid] - self._before[pid] for pid in self._peak) / MIB

    @property
    def largest_mib(self) -> float:
        """How large the largest process was at most, in MiB."""
        return self._largest / MIB

    def _watch(self) -> None:
        while not self._stopped.is_set():
            counters = self._lab.client.counters(HOST)
            begun = counters["bytes_out"] + counters["bytes_in"] > _BEGUN
            for pid, size in sizes(self._lab.process.pid).items():
                self._largest = max(self._largest, size)
                if not begun:
                    self._before[pid] = size
                elif pid in self._before:
                    self._peak[pid] = max(self._peak.get(pid, size), size)
            time.sleep(0.05)


def sizes(above: int) -> dict[int, int]:
    """Given the lab's process, return the resident memory of each PowerShell below it."""
    found = {}
    with suppress(psutil.Error):
        for process in psutil.Process(above).children(recursive=True):
            with suppress(psutil.Error):
                if _ENGINE.search(" ".join(process.cmdline())):
                    found[process.pid] = process.memory_info().rss
    return found


def server(bench: Bench, scale: Scale) -> Iterator[Row]:
    """What the script's process needs while it sends, and while it takes, a small and a large file."""
    if not present():
        return
    specs = [HostSpec(HOST, ("calendar",), winrm=3)]
    with running_lab(specs, wine=True, environment=_WINDOWS) as lab:
        there = bench.of(lab)
        # Data come before the script has begun: what it needs without them, one byte tells.
        with Watch(lab) as least:
            there.measure("upload", sources=there.local_files([b"1"]), root=rf"{ROOT}\take1")
        found: dict[tuple[str, int], float] = {}
        for size in scale.server:
            folder = rf"{ROOT}\send{size}"
            lab.client.edit(HOST, "write_file", path=rf"{folder}\random.bin", size=size * MIB, seed=size)
            with Watch(lab) as watch:
                there.measure("tree", root=folder, repository=str(there.new_place()))
            found["sends", size] = watch.grown_mib
            with suppress(LabTrouble):
                lab.client.edit(HOST, "remove_file", path=folder)
            names = [there.random_file(size, size)]
            with Watch(lab) as watch:
                there.measure("upload", sources=names, root=rf"{ROOT}\take{size}")
            found["takes", size] = watch.largest_mib - least.largest_mib
        small, large = scale.server
        for what in ("sends", "takes"):
            for size in scale.server:
                name, value = f"script process {what} {size} MiB: growth", found[what, size]
                yield at_most(name, value, "MiB", MOST_MIB) if scale.clock else row(name, value, "MiB")
            value = found[what, large] - found[what, small]
            name = f"script process {what}: {large} MiB beyond {small} MiB"
            yield at_most(name, value, "MiB", FLAT_MIB) if scale.clock else row(name, value, "MiB")

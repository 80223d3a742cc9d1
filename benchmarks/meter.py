"""What one client process used between two moments. It knows nothing of what was done."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from exremote.lab.client import LabClient


@dataclass(frozen=True, slots=True)
class Used:
    """Between start and stop."""

    round_trips: int
    """HTTP exchanges that the endpoint counted, those of authentication included."""
    wire_bytes: int
    """HTTP bodies that the endpoint counted, both ways, sealed as they travelled."""
    seconds: float
    cpu_s: float
    """CPU time of this process."""
    extra_mib: float
    """Peak of resident memory over what it was when the transfer began."""


class Meter:
    """Reads clocks, memory, and the counters of the lab's endpoint."""

    def __init__(self, lab: LabClient, host: str) -> None:
        self._lab = lab
        self._host = host
        self._counted = (0, 0)
        self._wall = self._cpu = 0.0
        self._resident = 0

    def start(self) -> None:
        """Begin to count."""
        self._counted = self._counters()
        self.transfer_begins()
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def transfer_begins(self) -> None:
        """From here on memory is counted."""
        with suppress(OSError):  # Linux: have the peak begin here
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._resident = psutil.Process().memory_info().rss

    def stop(self) -> Used:
        """Return what was used since."""
        seconds, cpu_s = time.perf_counter() - self._wall, time.process_time() - self._cpu
        extra = max(0, peak_resident() - self._resident) / (1 << 20)
        exchanges, wire_bytes = self._counters()
        return Used(exchanges - self._counted[0], wire_bytes - self._counted[1], seconds, cpu_s, extra)

    def _counters(self) -> tuple[int, int]:
        counters = self._lab.counters(self._host)
        return counters["exchanges"], counters["bytes_in"] + counters["bytes_out"]


def peak_resident() -> int:
    """Return the peak of this process's resident memory, in bytes."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

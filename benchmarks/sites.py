"""Whole backups of large sites, by the command line: `python -m benchmarks.sites`, or one case by name.

Not part of `python -m benchmarks`: each takes minutes, and the second hangs on how busy the machine is. What
is counted at the endpoint is exact; times are those of one run, beside the CPU time that it took.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from benchmarks.rows import Row, show
from exremote.lab.client import RunningLab, running_lab
from exremote.lab.site import Bulk, HostSpec

MANY = 100_000
HOSTS = 200
PARALLEL = 32
"""Hosts at a time: more of them wait for each other in one interpreter, fewer for their lines."""
LATENCY_S = 0.05
FOLDER = r"C:\Program Files\Exchsrvr\Conndata\Tables\bulk"


@dataclass(frozen=True, slots=True)
class Ran:
    """How one command went."""

    out: str
    seconds: float
    cpu_s: float
    """of the command's own process"""
    peak_mib: float
    """of its resident memory"""
    lab_cpu_s: float
    """of the lab's process meanwhile"""


@contextmanager
def site(specs: Sequence[HostSpec], wine: bool = False) -> Iterator[tuple[RunningLab, Path]]:
    """Run a lab with these hosts, and an empty repository. Yield both, the latter's folder."""
    with tempfile.TemporaryDirectory() as folder, running_lab(specs, wine=wine) as lab:
        place = Path(folder)
        run(lab, place, "init")
        yield lab, place


def run(lab: RunningLab, place: Path, *args: str, code: int = 0) -> Ran:
    """Given a lab, a folder and a command, run it. Return how it went. Raise RuntimeError if it failed."""
    environment: Mapping[str, str] = {
        **os.environ,
        **lab.environment,
        "EXREMOTE_INVENTORY": str(lab.inventory),
        "EXREMOTE_REPOSITORY": str(place / "repository"),
        "XDG_STATE_HOME": str(place / "state"),
    }
    served = psutil.Process(lab.process.pid)
    before, began = sum(served.cpu_times()[:2]), time.perf_counter()
    with (place / "out").open("w+b") as out, (place / "err").open("w+b") as err:
        process = subprocess.Popen(
            [sys.executable, "-m", "exremote", *args], env=environment, stdout=out, stderr=err
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        text, said = out.read().decode(), err.read().decode()
    if process.returncode != code:
        bad = [h for h in json.loads(text)["hosts"] if h["exit_code"]] if text.startswith("{") else []
        why = "; ".join(f"{host['host']}: {host['message']}" for host in bad[:3]) or said[-2000:]
        raise RuntimeError(f"{args} ended with {process.returncode} ({len(bad)} hosts): {why}")
    peak = usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    cpu_s = usage.ru_utime + usage.ru_stime
    return Ran(text, seconds, cpu_s, peak, sum(served.cpu_times()[:2]) - before)


def unchanged(many: int = MANY) -> Iterator[Row]:
    """A folder of very many files, backed up twice: what the second time costs."""
    most = 300 if many <= MANY else 1024
    spec = HostSpec("EXMANY01", ("groupwise",), winrm=3, bulk=(Bulk(FOLDER, many, 200),))
    with site([spec]) as (lab, place):
        first = run(lab, place, "backup", spec.name, "--json")
        yield Row(f"{many:,} files, first: seconds", first.seconds, unit="s")
        yield Row(f"{many:,} files, first: client CPU", first.cpu_s, unit="s")
        yield Row(f"{many:,} files, first: lab CPU, on the same machine", first.lab_cpu_s, unit="s")
        yield Row(f"{many:,} files, first: client memory", first.peak_mib, unit="MiB")
        lab.client.reset_counters(spec.name)
        again = run(lab, place, "backup", spec.name, "--json")
        (host,) = json.loads(again.out)["hosts"]
        states = {snapshot["state"] for snapshot in host["snapshots"]}
        if states != {"unchanged"}:
            raise RuntimeError(f"not unchanged: {states}")
        counters = lab.client.counters(spec.name)
        wire = counters["bytes_in"] + counters["bytes_out"]
        yield Row(f"{many:,} files unchanged: round trips of the whole backup", counters["exchanges"], "")
        yield Row(f"{many:,} files unchanged: wire of the whole backup", wire / 1000, unit="kB")
        yield Row(f"{many:,} files unchanged: seconds", again.seconds, unit="s")
        yield Row(f"{many:,} files unchanged: client CPU", again.cpu_s, unit="s")
        yield Row(
            f"{many:,} files unchanged: client memory",
            again.peak_mib,
            unit="MiB",
            goal=f"<= {most}",
            met=again.peak_mib <= most,
        )


def hosts() -> Iterator[Row]:
    """Many hosts on long lines, first run, side by side; and one of them alone."""
    specs = [
        HostSpec(f"EXH{n:03d}", ("notes", "calendar"), winrm=3, latency_s=LATENCY_S) for n in range(HOSTS)
    ]
    cores = os.cpu_count() or 1
    with site(specs) as (lab, place):
        alone = run(lab, place, "backup", specs[0].name, "--json")
        whole = run(lab, place, "backup", "--json", "--parallel", str(PARALLEL))
        cpu_s = whole.cpu_s + whole.lab_cpu_s
        bound = max(alone.seconds, cpu_s / cores)
        ratio = whole.seconds / bound
        yield Row(f"{HOSTS} hosts: seconds", whole.seconds, unit="s")
        yield Row("one host alone: seconds", alone.seconds, unit="s")
        yield Row(f"{HOSTS} hosts: client CPU", whole.cpu_s, unit="s")
        yield Row(f"{HOSTS} hosts: lab CPU, on the same machine", whole.lab_cpu_s, unit="s")
        yield Row(f"{HOSTS} hosts: CPU of both over {cores} cores", cpu_s / cores, unit="s")
        yield Row(f"{HOSTS} hosts: client memory", whole.peak_mib, unit="MiB")
        yield Row(
            f"{HOSTS} hosts: over the larger of one alone and CPU per core",
            ratio,
            unit="x",
            goal="<= 1.3",
            met=ratio <= 1.3,
        )


CASES: Mapping[str, Callable[[int], Iterator[Row]]] = {
    "unchanged": unchanged,
    "hosts": lambda many: hosts(),
}


def main() -> int:
    """Run the command line. Return the exit code: 1 if a goal is not met."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sites", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("case", nargs="*", choices=[*CASES, []], help="only these")
    parser.add_argument(
        "--many", metavar="N", type=int, default=MANY, help="so many files of `unchanged`; 100,000 otherwise"
    )
    given = parser.parse_args()
    rows: list[Row] = []
    for name in given.case or CASES:
        for row in CASES[name](given.many):
            print(f"{row.name}: {row.value:.4g} {row.unit}", file=sys.stderr)
            rows.append(row)
    show(Console(width=None if sys.stdout.isatty() else 130), rows, [f"load: {os.getloadavg()}"])
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

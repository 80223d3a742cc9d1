"""The command line of the benchmarks. Exit code 1: a goal is not met."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

import benchmarks
from benchmarks.bench import running
from benchmarks.cases import CASES, FULL, QUICK, Scale
from benchmarks.rows import Row, number, show, write_json


def facts(scale: Scale) -> list[str]:
    """Return what the figures hang on, in sentences."""
    sizes = "/".join(map(str, scale.sizes))
    scaled = (
        f" The baseline fetched {scale.fetched} files of the tree, scaled up." if scale.fetched < 1000 else ""
    )
    return [
        f"Machine: {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, pypsrp {version('pypsrp')}",
        "Lab: loopback, http sealed by NTLM, WinRM 3 (500 KB envelope, answers filled), no delay. "
        "Round trips are HTTP exchanges counted at the endpoint, with authentication; wire bytes are HTTP "
        "bodies, both ways.",
        f"Tree: 1,000 random files of 4 KiB. Random: one file of {sizes} MiB. Both from connect to close: "
        "hashed, sent, stored, committed, read back. .reg: from Command to its end over an open session; the "
        f"lab deflates with zlib, which does better than the deflate of .NET 2.0.{scaled}",
        "Client.fetch: pypsrp's own, unmodified, file by file, in the same run.",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=benchmarks.__doc__.split("\n")[0]
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    parser.add_argument(
        "--only", choices=sorted(CASES), action="append", help="only this case; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, no goals that hang on the clock")
    given = parser.parse_args(arguments)
    scale = QUICK if given.quick else FULL
    quiet = Console(stderr=True)
    rows: list[Row] = []
    with running(scale.sizes) as bench:
        for name, case in CASES.items():
            if given.only and name not in given.only:
                continue
            for row in case(bench, scale):
                quiet.print(f"{row.name}: {number(row.value)} {row.unit}", highlight=False)
                rows.append(row)
    if given.json:
        write_json(given.json, rows)
    # Wide enough for every row where the output is a file and has no width.
    show(Console(width=None if sys.stdout.isatty() else 130), rows, facts(scale))
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

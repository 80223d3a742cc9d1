"""The command line of the benchmarks. Exit code 1: a goal is not met."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

import benchmarks
from benchmarks.bench import running
from benchmarks.cases import FULL, QUICK, Case, Scale, decoding, many, random_file, registry, slow_line, tree
from benchmarks.content import TREE_FILES
from benchmarks.fleet import fleet
from benchmarks.plots import draw_all
from benchmarks.rows import Row, number, show, write_json
from benchmarks.server import present, server
from benchmarks.uploads import uploads

CASES: Mapping[str, Case] = {
    "tree": tree,
    "many": many,
    "reg": registry,
    "random": random_file,
    "decoding": decoding,
    "line": slow_line,
    "upload": uploads,
    "fleet": fleet,
    "server": server,
}


def facts(scale: Scale) -> list[str]:
    """Return what the figures hang on, in sentences."""
    sizes = "/".join(map(str, scale.sizes))
    scaled = (
        f" The others fetched {scale.fetched} files of the tree, scaled up."
        if scale.fetched < TREE_FILES
        else ""
    )
    absent = (
        "Script process: Microsoft's PowerShell 7 under Wine; resident memory, from the first MiB on."
        if present()
        else "Not measured: the script process on a server (EXREMOTE_LAB_POWERSHELL names no engine)."
    )
    return [
        f"Machine: {os.cpu_count()} cores, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, pypsrp {version('pypsrp')}, pywinrm {version('pywinrm')}",
        "Lab: loopback, http sealed by NTLM, WinRM 3 (500 KB envelope, answers filled), no delay. "
        "Round trips are HTTP exchanges counted at the endpoint, with authentication; wire bytes are HTTP "
        "bodies, both ways.",
        f"Tree: 1,000 random files of 4 KiB. Random: one file of {sizes} MiB. Both from connect to close: "
        "hashed, sent, stored, committed, read back. .reg: from Command to its end over an open session; the "
        f"lab deflates with zlib, which does better than the deflate of .NET 2.0.{scaled}",
        "pypsrp: its own Client.fetch and Client.copy, file by file. A. psrp, A. winrm: as Ansible's "
        "connection plugins fetch, a pipeline per 95,232 bytes, a powershell.exe per 512 KiB (which the lab "
        "starts in no time, and a server does not). All in the same run. The many hosts are those of two "
        "labs: one process that plays them all would be busy throughout.",
        absent,
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line. Return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=benchmarks.__doc__.split("\n")[0]
    )
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there too")
    parser.add_argument("--plots", metavar="FOLDER", type=Path, help="draw two pictures into it")
    parser.add_argument(
        "--only", choices=sorted(CASES), action="append", help="only this case; may be repeated"
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, no goals that hang on the clock")
    parser.add_argument(
        "--many", metavar="N", type=int, help="so many files on the host that has many; 100,000 otherwise"
    )
    given = parser.parse_args(arguments)
    scale = QUICK if given.quick else FULL
    scale = replace(scale, many=given.many) if given.many else scale
    quiet = Console(stderr=True)
    rows: list[Row] = []
    with running(scale.many, scale.sizes) as bench:
        for name, case in CASES.items():
            if given.only and name not in given.only:
                continue
            for row in case(bench, scale):
                quiet.print(f"{row.name}: {number(row.value)} {row.unit}", highlight=False)
                rows.append(row)
                if given.json:
                    write_json(given.json, rows)  # each time: a run may take a quarter of an hour
        if given.plots:
            draw_all(given.plots, bench, rows)
    # Wide enough for every row where the output is a file and has no width.
    show(Console(width=None if sys.stdout.isatty() else 150), rows, facts(scale))
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())

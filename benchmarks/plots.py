"""Draws what a run found: time against size, and round trips against files. Scalable pictures, for docs/."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.cases import PEERS
from benchmarks.content import TREE, tree_file
from benchmarks.rows import Row

COUNTS = (1, 10, 100, 1000)
"""Files of the tree that are fetched, for the second picture."""
_MEASURED = 100
_FOLDERS = {100: rf"{TREE}\part00", 1000: TREE}
LABELS = {
    "value": "exremote",
    "baseline": "pypsrp Client.fetch",
    "ansible_psrp": "Ansible-shaped, psrp",
    "ansible_winrm": "Ansible-shaped, winrm",
}
_STYLE = {"value": "o-", "baseline": "s--", "ansible_psrp": "^:", "ansible_winrm": "v-."}
Points = dict[str, list[tuple[float, float]]]


def times(rows: Sequence[Row]) -> Points:
    """Given the rows of a run, return time against size for each way."""
    found: Points = {}
    for row in rows:
        if match := re.fullmatch(r"random, (\d+) MiB: time", row.name):
            for name in LABELS:
                if (value := getattr(row, name)) is not None:
                    found.setdefault(name, []).append((int(match[1]), value))
    return found


def trips(bench: Bench, counts: Sequence[int] = COUNTS) -> Points:
    """Measure round trips against the number of files, for each way."""
    found: Points = {}
    for number in counts:
        paths = [rf"{TREE}\{tree_file(n)}" for n in range(min(number, _MEASURED))]
        for name, task in PEERS.items():
            if number <= _MEASURED:
                trips = bench.measure(task, paths=paths).used.round_trips
            else:  # each file costs what the one before it did
                trips = round(found[name][-1][1] * number / _MEASURED)
            found.setdefault(name, []).append((number, trips))
        if folder := _FOLDERS.get(number):
            one = bench.measure("tree", root=folder, repository=str(bench.new_place()))
            found.setdefault("value", []).append((number, one.used.round_trips))
    return found


def draw(path: Path, title: str, across: str, up: str, points: Points) -> None:
    """Given points of each way, draw them on logarithmic scales."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "exremote"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for name, label in LABELS.items():
        if name in points:
            axes.plot(*zip(*sorted(points[name]), strict=True), _STYLE[name], label=label)
    axes.set(title=title, xlabel=across, ylabel=up, xscale="log", yscale="log")
    axes.grid(True, which="both", alpha=0.25)
    axes.legend()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw_all(folder: Path, bench: Bench, rows: Sequence[Row]) -> None:
    """Given a run, draw both pictures into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if found := times(rows):
        title = "One random file, from connect to close"
        draw(folder / "time-against-size.svg", title, "MiB", "seconds", found)
    title = "Files of 4 KiB, from connect to close"
    draw(folder / "round-trips-against-files.svg", title, "files", "round trips", trips(bench))

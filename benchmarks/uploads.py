"""What is measured of uploads: 1,000 files, random data of two sizes, text; beside pypsrp's `Client.copy`."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count

from benchmarks.bench import Bench, Measured
from benchmarks.cases import Scale, expect, share_of_the_line
from benchmarks.content import MIB, REGISTRY_FILE, TREE_FILE_BYTES, TREE_FILES, UPLOAD
from benchmarks.rows import Row, at_least, at_most, row

_FOLDERS = count(1)
_UNLIMITED = {"max_received_mb_per_command": 2047}
"""copy.ps1 lifts the host's quota of 50 MB for a command by reflection; the lab cannot be reflected upon."""


def uploads(bench: Bench, scale: Scale) -> Iterator[Row]:
    """Files from here to a folder of the host, read back there."""
    yield from _tree(bench, scale)
    small, middle = scale.sizes[:2]
    source = random.Random(7)
    files = {s: bench.local_files([source.randbytes(s * MIB)]) for s in (small, middle)}
    sent = {size: _fastest(bench, scale.repeats, names) for size, names in files.items()}
    copied = _copy(bench, files[middle])
    for size, one in sent.items():
        yield row(f"upload, random, {size} MiB: time", one.used.seconds, "s")
    pace = {size: one.used.seconds / size for size, one in sent.items()}
    name, value = (
        f"upload, random, {middle} MiB: time per MiB over that at {small} MiB",
        pace[middle] / pace[small],
    )
    yield at_most(name, value, "x", 1.3) if scale.clock else row(name, value, "x")
    used = sent[middle].used
    name, value = (
        f"upload, random, {middle} MiB: times as fast as Client.copy",
        copied.used.seconds / used.seconds,
    )
    yield at_least(name, value, "x", 1.5) if scale.clock else row(name, value, "x")
    ratio = {"baseline": copied.used.wire_bytes / (middle * MIB)}
    name, value = f"upload, random, {middle} MiB: wire bytes per byte", used.wire_bytes / (middle * MIB)
    yield at_most(name, value, "", 1.80, ratio) if scale.clock else row(name, value, "", ratio)
    trips = {"baseline": copied.used.round_trips}
    yield row(f"upload, random, {middle} MiB: round trips", used.round_trips, "", trips)
    memory = {"baseline": copied.used.extra_mib}
    yield at_most(f"upload, random, {middle} MiB: extra memory", used.extra_mib, "MiB", 64, memory)
    yield from _text(bench, scale)
    yield from _slow_line(bench, scale)


def _slow_line(bench: Bench, scale: Scale) -> Iterator[Row]:
    """As many bytes as the middle size has, in one file and in 16, over a line of 50 ms and 100 Mbit/s."""
    size, bandwidth, source = scale.sizes[1], 100_000_000, random.Random(9)
    for files, called in ((1, ""), (16, ", 16 files")):
        names = bench.local_files(source.randbytes(size * MIB // files) for _ in range(files))
        bench.slow_line(0.05, bandwidth)
        try:
            one = _send(bench, names)
        finally:
            bench.slow_line()
        expect(one, files=files)
        yield share_of_the_line(one, bandwidth, f"50 ms, 100 Mbit/s, upload, {size} MiB{called}", scale)


def _tree(bench: Bench, scale: Scale) -> Iterator[Row]:
    source = random.Random(5)
    names = bench.local_files(source.randbytes(TREE_FILE_BYTES) for _ in range(TREE_FILES))
    one = _send(bench, names)
    expect(one, files=TREE_FILES)
    few = _copy(bench, names[: scale.fetched])
    factor = TREE_FILES / scale.fetched
    trips = {"baseline": few.used.round_trips * factor}
    yield at_most("upload, 1,000 files: round trips", one.used.round_trips, "", 32, trips)
    size = TREE_FILES * TREE_FILE_BYTES
    ratio = {"baseline": few.used.wire_bytes * factor / size}
    yield row("upload, 1,000 files: wire bytes per byte", one.used.wire_bytes / size, "", ratio)
    times = {"baseline": few.used.seconds * factor / one.used.seconds}
    yield row("upload, 1,000 files: time, exremote = 1", 1, "x", times)


def _text(bench: Bench, scale: Scale) -> Iterator[Row]:
    names = bench.local_files([bench.read(REGISTRY_FILE)])
    one, copied = _fastest(bench, scale.repeats, names), _copy(bench, names)
    size = one.came["bytes"]
    name, value = "upload, 5 MB .reg: times as fast as Client.copy", copied.used.seconds / one.used.seconds
    yield at_least(name, value, "x", 10) if scale.clock else row(name, value, "x")
    # What no upload can do without: connecting, a script on the host, its answer, reading back, closing.
    least = _fastest(bench, scale.repeats, bench.local_files([b"1"]))
    yield row(
        "upload, 1 byte: times as fast as Client.copy of the .reg",
        copied.used.seconds / least.used.seconds,
        "x",
    )
    ratio = {"baseline": copied.used.wire_bytes / size}
    yield row("upload, 5 MB .reg: wire bytes per byte", one.used.wire_bytes / size, "", ratio)


def _send(bench: Bench, names: list[str]) -> Measured:
    folder = rf"{UPLOAD}{next(_FOLDERS)}"
    one = bench.measure("upload", sources=names, root=folder)
    bench.edit("remove_file", path=folder)
    return one


def _fastest(bench: Bench, times: int, names: list[str]) -> Measured:
    return min((_send(bench, names) for _ in range(times)), key=lambda one: one.used.seconds)


def _copy(bench: Bench, names: list[str]) -> Measured:
    folder = rf"{UPLOAD}{next(_FOLDERS)}"
    bench.edit("make_directory", path=folder)
    with bench.limits(**_UNLIMITED):
        one = bench.measure("copy", sources=names, root=folder)
    bench.edit("remove_file", path=folder)
    return one

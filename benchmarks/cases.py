"""What is measured, and the goals. Each case asks a bench and yields rows; it touches no wire itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.bench import Bench, Measured
from benchmarks.content import (
    MIB,
    REGISTRY_FILE,
    REGISTRY_KEY,
    TREE,
    TREE_FILE_BYTES,
    TREE_FILES,
    random_folder,
    tree_file,
)
from benchmarks.rows import Row, at_least, at_most

Variant = tuple[str, Mapping[str, object], Mapping[str, object]]
"""A name, limits of the host, and how the client speaks."""

VARIANTS: tuple[Variant, ...] = (
    ("150 KB envelope", {"max_envelope_kb": 150, "protocol_version": "2.1"}, {"modern": False}),  # WinRM 2.0
    ("one fragment", {"fill_answers": False}, {}),  # a host that answers each Receive with 32 KiB at most
    ("winrs", {}, {"wire": "winrs"}),
    ("winrs, 500 KB", {}, {"wire": "winrs", "envelope_kb": 500}),
)


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    sizes: tuple[int, int, int] = (16, 64, 256)
    """MiB of the random files; the middle one is fetched by the baseline too."""
    fetched: int = TREE_FILES
    """Files of the tree that the baseline fetches; fewer are scaled up."""
    repeats: int = 3
    """How often what hangs on the clock is measured; the fastest counts."""
    clock: bool = True
    """Whether there are goals that hang on the clock."""
    variants: tuple[Variant, ...] = VARIANTS
    """Under which other conditions all is measured too, for information."""


FULL = Scale()
QUICK = Scale((1, 4, 16), 20, 1, False, ())


def tree(bench: Bench, scale: Scale) -> Iterator[Row]:
    """1,000 random files of 4 KiB: first, unchanged, one changed; both wires; less able hosts."""
    paths = [rf"{TREE}\{tree_file(number)}" for number in range(scale.fetched)]
    fetch = bench.measure("fetch", paths=paths)
    factor = TREE_FILES / scale.fetched
    place = str(bench.new_place())
    size = TREE_FILES * TREE_FILE_BYTES
    first = bench.measure("tree", root=TREE, repository=place)
    _expect(first, files=TREE_FILES, bytes=size)
    same = bench.measure("tree", root=TREE, repository=place)
    _expect(same, files=0, same=True)
    bench.edit(
        "write_file", path=rf"{TREE}\{tree_file(500)}", data=random.Random(1).randbytes(TREE_FILE_BYTES)
    )
    changed = bench.measure("tree", root=TREE, repository=place)
    _expect(changed, files=1, same=False)
    trips, wire = fetch.used.round_trips * factor, fetch.used.wire_bytes * factor
    yield at_most("tree, first: round trips", first.used.round_trips, "", 40, trips)
    yield at_most("tree, unchanged: round trips", same.used.round_trips, "", 12, trips)
    yield Row("tree, one file changed: round trips", changed.used.round_trips, "", trips)
    yield Row("tree, first: wire bytes per byte", first.used.wire_bytes / size, "", wire / size)
    yield Row("tree, unchanged: wire", same.used.wire_bytes / 1000, "kB", wire / 1000)
    yield Row("tree, one file changed: wire", changed.used.wire_bytes / 1000, "kB", wire / 1000)
    speed = fetch.used.seconds * factor / first.used.seconds
    yield Row("tree, first: times as fast", speed, "x", 1.0)
    yield Row("tree, first: CPU of the client", first.used.cpu_s, "s", fetch.used.cpu_s * factor)
    for name, limits, options in scale.variants or VARIANTS[2:3]:
        with bench.limits(**limits):
            place = str(bench.new_place())
            first = bench.measure("tree", root=TREE, repository=place, **options)
            same = bench.measure("tree", root=TREE, repository=place, **options)
        _expect(same, files=0, same=True)
        yield Row(f"tree, first, {name}: round trips", first.used.round_trips, "")
        yield Row(f"tree, unchanged, {name}: round trips", same.used.round_trips, "")


def registry(bench: Bench, scale: Scale) -> Iterator[Row]:
    """5 MB of .reg text, over an open session, from Command to its end."""
    fetch = bench.measure("fetch", paths=[REGISTRY_FILE], warm=rf"{TREE}\{tree_file(0)}")
    export = bench.measure("registry", key=REGISTRY_KEY)
    size = export.came["bytes"]
    _expect(fetch, bytes=size)
    yield Row("5 MB .reg: size", size / 1e6, "MB")
    yield at_most(
        "5 MB .reg: wire bytes per byte",
        export.used.wire_bytes / size,
        "",
        0.15,
        fetch.used.wire_bytes / size,
    )
    yield Row("5 MB .reg: round trips", export.used.round_trips, "", fetch.used.round_trips)
    for name, limits, options in scale.variants:
        with bench.limits(**limits):
            export = bench.measure("registry", key=REGISTRY_KEY, **options)
        yield Row(f"5 MB .reg, {name}: wire bytes per byte", export.used.wire_bytes / size, "")
        yield Row(f"5 MB .reg, {name}: round trips", export.used.round_trips, "")


def random_file(bench: Bench, scale: Scale) -> Iterator[Row]:
    """One random file in three sizes, from connect to close: time, memory, bytes."""
    small, middle, large = scale.sizes
    found = {size: bench.fastest(scale.repeats, "tree", root=random_folder(size)) for size in scale.sizes}
    fetches = {
        size: bench.measure("fetch", paths=[rf"{random_folder(size)}\random.bin"]) for size in (small, middle)
    }
    fetch = fetches[middle]
    _expect(fetch, bytes=middle * MIB)
    pace = {size: one.used.seconds / size for size, one in found.items()}
    for size in (small, middle):
        name = f"random, {large} MiB: time per MiB over that at {size} MiB"
        yield (
            at_most(name, pace[large] / pace[size], "x", 1.3)
            if scale.clock
            else Row(name, pace[large] / pace[size], "x")
        )
    for size, one in found.items():
        _expect(one, files=1, bytes=size * MIB)
        baseline = fetches[size].used.extra_mib if size in fetches else None
        yield at_most(f"random, {size} MiB: extra memory", one.used.extra_mib, "MiB", 64, baseline)
    speed = fetches[small].used.seconds / found[small].used.seconds
    yield Row(f"random, {small} MiB: times as fast", speed, "x", 1.0)
    used = found[middle].used
    name, speed = f"random, {middle} MiB: times as fast", fetch.used.seconds / used.seconds
    yield at_least(name, speed, "x", 5, 1.0) if scale.clock else Row(name, speed, "x", 1.0)
    size = middle * MIB
    yield Row(f"random, {middle} MiB: speed", middle / used.seconds, "MiB/s", middle / fetch.used.seconds)
    yield Row(f"random, {middle} MiB: CPU of the client", used.cpu_s, "s", fetch.used.cpu_s)
    yield Row(f"random, {middle} MiB: round trips", used.round_trips, "", fetch.used.round_trips)
    yield Row(
        f"random, {middle} MiB: wire bytes per byte", used.wire_bytes / size, "", fetch.used.wire_bytes / size
    )
    for name, limits, options in scale.variants:
        with bench.limits(**limits):
            one = bench.fastest(1, "tree", root=random_folder(middle), **options)
        yield Row(f"random, {middle} MiB, {name}: round trips", one.used.round_trips, "")
        yield Row(f"random, {middle} MiB, {name}: wire bytes per byte", one.used.wire_bytes / size, "")
        yield Row(
            f"random, {middle} MiB, {name}: times as fast", fetch.used.seconds / one.used.seconds, "x", 1.0
        )


def _expect(measured: Measured, **came: object) -> None:
    """Given a measurement and what must have come, raise RuntimeError if something else did."""
    for name, wanted in came.items():
        if measured.came[name] != wanted:
            raise RuntimeError(f"{name} should be {wanted}, and is {measured.came[name]}")


CASES: Mapping[str, Callable[[Bench, Scale], Iterator[Row]]] = {
    "tree": tree,
    "reg": registry,
    "random": random_file,
}

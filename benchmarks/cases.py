"""What is measured, and the goals. Each case asks a bench and yields rows; it touches no wire itself."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.bench import Bench, Measured
from benchmarks.content import (
    CROWD,
    MANY,
    MANY_FILE_BYTES,
    MIB,
    REGISTRY_FILE,
    REGISTRY_KEY,
    TREE,
    TREE_FILE_BYTES,
    TREE_FILES,
    TWINS,
    random_folder,
    tree_file,
)
from benchmarks.rows import Row, at_least, at_most, row

Variant = tuple[str, Mapping[str, object], Mapping[str, object]]
"""A name, limits of the host, and how the client speaks."""

OLD: Variant = ("150 KB envelope", {"max_envelope_kb": 150, "protocol_version": "2.1"}, {"modern": False})
"""WinRM 2.0."""
VARIANTS: tuple[Variant, ...] = (
    ("one fragment", {"fill_answers": False}, {}),  # a host that answers each Receive with 32 KiB at most
    ("winrs", {}, {"wire": "winrs"}),
    ("winrs, 500 KB", {}, {"wire": "winrs", "envelope_kb": 500}),
)
PEERS = {"baseline": "fetch", "ansible_psrp": "ansible_psrp", "ansible_winrm": "ansible_winrm"}


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured."""

    sizes: tuple[int, ...] = (16, 64, 256, 1024)
    """MiB of the random files; the first two are fetched by the others too."""
    fetched: int = 200
    """Files of the tree that the others fetch; fewer are scaled up."""
    repeats: int = 2
    """How often what hangs on the clock is measured; the fastest counts."""
    clock: bool = True
    """Whether there are goals that hang on the clock."""
    variants: tuple[Variant, ...] = VARIANTS
    """Under which other conditions all is measured too, for information."""
    many: int = 100_000
    """Files of the host that has many."""
    fleet: int = 200
    """Hosts of the fleet."""
    server: tuple[int, int] = (64, 1024)
    """MiB that a script on the real engine sends and takes."""


FULL = Scale()
QUICK = Scale((1, 4, 16), 10, 1, False, (), 2000, 8, (4, 16))


def tree(bench: Bench, scale: Scale) -> Iterator[Row]:
    """1,000 random files of 4 KiB: first, unchanged, one changed; less able hosts; several servers."""
    paths = [rf"{TREE}\{tree_file(number)}" for number in range(scale.fetched)]
    factor = TREE_FILES / scale.fetched
    others = {name: bench.measure(task, paths=paths).used for name, task in PEERS.items()}
    place = str(bench.new_place())
    size = TREE_FILES * TREE_FILE_BYTES
    first = bench.measure("tree", root=TREE, repository=place)
    expect(first, files=TREE_FILES, bytes=size)
    same = bench.measure("tree", root=TREE, repository=place)
    expect(same, files=0, same=True)
    data = random.Random(1).randbytes(TREE_FILE_BYTES)
    bench.edit("write_file", path=rf"{TREE}\{tree_file(500)}", data=data)
    changed = bench.measure("tree", root=TREE, repository=place)
    expect(changed, files=1, same=False)
    trips = {name: used.round_trips * factor for name, used in others.items()}
    wire = {name: used.wire_bytes * factor for name, used in others.items()}
    yield at_most("tree, first: round trips", first.used.round_trips, "", 25, trips)
    yield at_most("tree, unchanged: round trips", same.used.round_trips, "", 10, trips)
    share = same.used.wire_bytes / first.used.wire_bytes
    yield at_most("tree, unchanged: bytes of the first run's", share * 100, "%", 1)
    yield at_most("tree, one file changed: round trips", changed.used.round_trips, "", 12, trips)
    share = (changed.used.wire_bytes - TREE_FILE_BYTES) / first.used.wire_bytes
    yield at_most("tree, one file changed: bytes beyond it", share * 100, "%", 1)
    per_byte = {name: value / size for name, value in wire.items()}
    yield row("tree, first: wire bytes per byte", first.used.wire_bytes / size, "", per_byte)
    thousands = {name: value / 1000 for name, value in wire.items()}
    yield row("tree, unchanged: wire", same.used.wire_bytes / 1000, "kB", thousands)
    seconds = {name: used.seconds * factor / first.used.seconds for name, used in others.items()}
    yield row("tree, first: time, exremote = 1", 1, "x", seconds)
    cpu = {name: used.cpu_s * factor for name, used in others.items()}
    yield row("tree, first: CPU of the client", first.used.cpu_s, "s", cpu)
    for name, limits, options in (OLD, *scale.variants):
        with bench.limits(**limits):
            place = str(bench.new_place())
            first = bench.measure("tree", root=TREE, repository=place, **options)
            same = bench.measure("tree", root=TREE, repository=place, **options)
        expect(same, files=0, same=True)
        title = f"tree, first, {name}: round trips"
        known = (name, limits, options) == OLD
        yield (
            at_most(title, first.used.round_trips, "", 60)
            if known
            else row(title, first.used.round_trips, "")
        )
        yield row(f"tree, unchanged, {name}: round trips", same.used.round_trips, "")
    yield from _servers(bench)


def _servers(bench: Bench) -> Iterator[Row]:
    """Several servers with the same files, one repository."""
    place = bench.new_place()
    bench.measure("tree", root=TREE, repository=str(place), host=TWINS[0])
    one = bench.measure("tree", root=TREE, repository=str(place), host=TWINS[1])
    expect(one, files=0)
    copies = sum(1 for p in (place / "objects").rglob("*") if p.is_file()) / TREE_FILES
    yield at_most("2 servers with the same tree: copies kept", copies, "", 1)
    manifests = len(list(place.glob("snapshots/*/*/manifest.json")))
    yield at_most("2 servers with the same tree: manifests", manifests, "", 2)
    yield row("2 servers, the second: round trips", one.used.round_trips, "")
    yield row("2 servers, the second: wire", one.used.wire_bytes / 1000, "kB")


def many(bench: Bench, scale: Scale) -> Iterator[Row]:
    """A host with very many small files."""
    place = str(bench.new_place())
    first = bench.measure("tree", root=MANY, repository=place, host=CROWD)
    expect(first, files=scale.many, bytes=scale.many * MANY_FILE_BYTES)
    same = bench.measure("tree", root=MANY, repository=place, host=CROWD)
    expect(same, files=0, same=True)
    name = f"{scale.many:,} files"
    yield row(f"{name}, first: round trips", first.used.round_trips, "")
    yield row(f"{name}, first: extra memory", first.used.extra_mib, "MiB")
    yield at_most(f"{name}, unchanged: round trips", same.used.round_trips, "", 10)
    yield at_most(f"{name}, unchanged: extra memory", same.used.extra_mib, "MiB", 300)
    yield row(f"{name}, unchanged: wire", same.used.wire_bytes / 1000, "kB")
    yield row(f"{name}, unchanged: CPU of the client", same.used.cpu_s, "s")


def registry(bench: Bench, scale: Scale) -> Iterator[Row]:
    """5 MB of .reg text, over an open session, from Command to its end."""
    fetch = bench.measure("fetch", paths=[REGISTRY_FILE], warm=rf"{TREE}\{tree_file(0)}")
    export = bench.measure("registry", key=REGISTRY_KEY)
    size = export.came["bytes"]
    expect(fetch, bytes=size)
    yield row("5 MB .reg: size", size / 1e6, "MB")
    ratio = {"baseline": fetch.used.wire_bytes / size}
    yield at_most("5 MB .reg: wire bytes per byte", export.used.wire_bytes / size, "", 0.12, ratio)
    trips = {"baseline": fetch.used.round_trips}
    yield at_most("5 MB .reg: round trips", export.used.round_trips, "", 6, trips)
    for name, limits, options in (OLD, *scale.variants) if scale.variants else ():
        with bench.limits(**limits):
            export = bench.measure("registry", key=REGISTRY_KEY, **options)
        yield row(f"5 MB .reg, {name}: wire bytes per byte", export.used.wire_bytes / size, "")
        yield row(f"5 MB .reg, {name}: round trips", export.used.round_trips, "")


def random_file(bench: Bench, scale: Scale) -> Iterator[Row]:
    """One random file in several sizes, from connect to close: time, memory, bytes."""
    found = {
        size: bench.fastest(scale.repeats if size < 1000 else 1, "tree", root=random_folder(size))
        for size in scale.sizes
    }
    small, middle = scale.sizes[:2]
    others = {}
    for size in (small, middle):
        paths = [rf"{random_folder(size)}\random.bin"]
        others[size] = {name: bench.measure(task, paths=paths) for name, task in PEERS.items()}
        for one in others[size].values():
            expect(one, bytes=size * MIB)
    for size, one in found.items():
        expect(one, files=1, bytes=size * MIB)
        yield row(f"random, {size} MiB: time", one.used.seconds, "s", _all(others.get(size), "seconds"))
        memory = _all(others.get(size), "extra_mib")
        yield at_most(f"random, {size} MiB: extra memory", one.used.extra_mib, "MiB", 64, memory)
    pace = {size: one.used.seconds / size for size, one in found.items()}
    for size in scale.sizes[2:]:
        name, value = f"random, {size} MiB: time per MiB over that at {middle} MiB", pace[size] / pace[middle]
        yield at_most(name, value, "x", 1.3) if scale.clock else row(name, value, "x")
    used, fetch = found[middle].used, others[middle]["baseline"].used
    for name, value, goal in (
        ("times as fast as Client.fetch", fetch.seconds / used.seconds, 10),
        ("times less CPU than Client.fetch", fetch.cpu_s / used.cpu_s, 30),
    ):
        title = f"random, {middle} MiB: {name}"
        yield at_least(title, value, "x", goal) if scale.clock else row(title, value, "x")
    size = middle * MIB
    yield row(f"random, {middle} MiB: CPU of the client", used.cpu_s, "s", _all(others[middle], "cpu_s"))
    yield row(f"random, {middle} MiB: round trips", used.round_trips, "", _all(others[middle], "round_trips"))
    ratio = {name: value / size for name, value in _all(others[middle], "wire_bytes").items()}
    title = f"random, {middle} MiB: wire bytes per byte"
    value = used.wire_bytes / size
    # A small file does not pay for the shell of a raw stream.
    yield at_most(title, value, "", 1.40, ratio) if scale.clock else row(title, value, "", ratio)
    for name, limits, options in (OLD, *scale.variants) if scale.variants else ():
        with bench.limits(**limits):
            one = bench.fastest(1, "tree", root=random_folder(middle), **options)
        yield row(f"random, {middle} MiB, {name}: round trips", one.used.round_trips, "")
        yield row(f"random, {middle} MiB, {name}: wire bytes per byte", one.used.wire_bytes / size, "")


def _all(found: Mapping[str, Measured] | None, what: str) -> dict[str, float]:
    return {name: float(getattr(one.used, what)) for name, one in (found or {}).items()}


def decoding(bench: Bench, scale: Scale) -> Iterator[Row]:
    """The client's half of a bulk stream, without an endpoint."""
    mebibytes = 256 if scale.clock else 16
    came = bench.measure("decode", mebibytes=mebibytes).came
    size = came["bytes"] / MIB
    for wire in ("raw", "psrp"):
        name, value = f"stream, {wire}: CPU over its base64 decodes", came[wire] / came[f"{wire}_base64"]
        yield at_most(name, value, "x", 4) if scale.clock else row(name, value, "x")
        yield row(f"stream, {wire}: client side", size / max(came[wire], 1e-6), "MiB/s")
    yield row("stream: SHA-256, beside it", size / max(came["sha256"], 1e-6), "MiB/s")
    yield row("stream: inflation of text, beside it", size / max(came["inflate"], 1e-6), "MiB/s")


def slow_line(bench: Bench, scale: Scale) -> Iterator[Row]:
    """The middle random file over a line of 50 ms and 100 Mbit/s."""
    size, bandwidth = scale.sizes[1], 100_000_000
    bench.slow_line(0.05, bandwidth)
    try:
        one = bench.fastest(1, "tree", root=random_folder(size))
    finally:
        bench.slow_line()
    expect(one, files=1)
    yield share_of_the_line(one, bandwidth, f"50 ms, 100 Mbit/s, {size} MiB", scale)
    yield row(f"50 ms, 100 Mbit/s, {size} MiB: time", one.used.seconds, "s")
    yield row(f"50 ms, 100 Mbit/s, {size} MiB: round trips", one.used.round_trips, "")


def share_of_the_line(measured: Measured, bandwidth: int, name: str, scale: Scale) -> Row:
    """Given what was measured over a line of so many bits a second, return how much of it was used."""
    used = measured.used.wire_bytes * 8 / bandwidth / measured.used.seconds * 100
    name = f"{name}: share of the line"
    return at_least(name, used, "%", 70) if scale.clock else row(name, used, "%")


def expect(measured: Measured, **came: object) -> None:
    """Given a measurement and what must have come, raise RuntimeError if something else did."""
    for name, wanted in came.items():
        if measured.came[name] != wanted:
            raise RuntimeError(f"{name} should be {wanted}, and is {measured.came[name]}")


Case = Callable[[Bench, Scale], Iterator[Row]]

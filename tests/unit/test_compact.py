"""Very many records in little memory."""

from __future__ import annotations

import io
import sys
import tracemalloc
from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from exremote.compact import Compact, Crowd
from exremote.pack import parse_listing
from exremote.repository.manifest import (
    Document,
    Entry,
    Head,
    Manifest,
    compact_entries,
    write_manifest,
)
from exremote.repository.names import Distinct, Places, UnsafeName, are_apart
from exremote.repository.reading import read_manifest

FILES = 20_000


@dataclass(frozen=True)
class Point:
    name: str
    x: int
    data: bytes | None = None


ROWS = st.lists(st.tuples(st.text(), st.integers(), st.none() | st.binary()), max_size=20)


@given(ROWS, ROWS, st.integers(-25, 25), st.slices(20))
def test_what_goes_in_comes_out(
    rows: list[tuple[object, ...]], more: list[tuple[object, ...]], n: int, some: slice
) -> None:
    plain = [Point(*row) for row in [*rows, *more]]  # type: ignore[arg-type]
    found = Compact.joined(Point, [Compact(Point, rows), Compact(Point), Compact(Point, more)])
    assert (list(found), len(found), bool(found)) == (plain, len(plain), bool(plain))
    assert found == tuple(plain)
    assert found[some] == tuple(plain[some])
    if -len(plain) <= n < len(plain):
        assert found[n] == plain[n]
    assert list(found.read_as(lambda name, *rest: name)) == [point.name for point in plain]
    assert found != Compact(Point, [("another", 1)])


def test_a_listing_takes_little_more_memory_than_its_text() -> None:
    lines = (
        b"64\t631139040000000000\t32\t%064x\tfolder%05d\\file%07d.dat\n" % (n, n // 100, n)
        for n in range(FILES)
    )
    text = b"".join(lines)
    tracemalloc.start()
    listing = parse_listing(text)
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(listing.entries) == FILES
    assert now < 1.3 * len(text)
    assert peak < 1.3 * len(text) + (4 << 20)


def test_a_manifest_is_read_in_little_memory() -> None:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    head = Head(
        "20260101T000000Z-notes-0123ab", "r", "H", "notes", moment, "run", "full", True, FILES, FILES, "e"
    )
    entries = (
        Entry(
            "i", f"d{n // 100:03d}\\f{n:05d}", f"files/i/d{n // 100:03d}/f{n:05d}", 1, f"{n:064x}", moment, 32
        )
        for n in range(FILES)
    )
    sums = Document("SHA256SUMS", 1, "0" * 64)
    lines = b"".join(write_manifest(Manifest(head, compact_entries(entries), (sums,), {}, (), (), ())))
    tracemalloc.start()
    manifest = read_manifest(io.BytesIO(lines))
    now, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(manifest.entries), manifest.entries[-1].path) == (FILES, "d199\\f19999")
    assert now < 150 * FILES, "as objects they took 395 bytes each"
    assert peak < 250 * FILES, "and while they were read 619"


@given(st.lists(st.text("aAbB/", max_size=4), max_size=8))
def test_a_crowd_knows_its_texts(texts: list[str]) -> None:
    crowd = Crowd(texts)
    assert all(text in crowd for text in texts)
    assert "else" not in crowd
    assert crowd.all_differ == (len(set(texts)) == len(texts))
    assert sys.getsizeof(crowd) < 100


NAMES = st.sampled_from(["a", "A", "ä", "a\u0308", "b"])


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=6))
def test_paths_that_are_apart_need_no_other_names(paths: list[str]) -> None:
    if not are_apart(paths):
        return
    distinct, places = Distinct(), Places((), ())
    assert [places.take(distinct.place(path)) for path in paths] == paths


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), max_size=6))
def test_paths_that_are_in_each_others_way_are_not_apart(paths: list[str]) -> None:
    distinct, places = Distinct(), Places((), ())
    try:
        same = [places.take(distinct.place(path)) for path in paths] == paths
    except UnsafeName:
        same = False
    assert are_apart(paths) == same

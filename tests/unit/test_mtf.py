"""The walk through a .bkf: golden files of winlab's ntbackup, made-up tapes, and every way to spoil one."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exremote.lab.tape import FLB, TapeFile, TapeSet, TapeWriter, tape
from exremote.mtf import Found, Tape, Walker, walk

WHEN = datetime(2026, 11, 22, 13, 59, 7)
GOLDEN = gzip.decompress((Path(__file__).parents[1] / "data" / "tapes" / "files-eotm.bkf.gz").read_bytes())
STATE = TapeSet("System State", "System State", (TapeFile("SOFTWARE.reg", b"key" * 999, "Registry"),))
GROUP = "EX01\\Microsoft Information Store\\First Storage Group"
STORES = TapeSet(GROUP, GROUP, (TapeFile("priv1.edb", b"page" * 2000, stray=True),))


def made(*sets: TapeSet, sums: bool = False) -> bytes:
    return tape(sets, media="job.bkf created", machine="EX01", when=WHEN, sums=sums)


def kinds(found: Tape) -> list[str]:
    return [fault.kind for fault in found.faults]


def test_what_another_program_wrote_is_read_to_its_end() -> None:
    """The golden file was written by winlab's ntbackup under Wine, with a block EOTM at its end."""
    listed: list[Found] = []
    found = walk([GOLDEN], listed.append)
    assert found.whole
    assert found.walked == found.size == len(GOLDEN)
    assert found.software == "winlab ntbackup stand-in 1.0"
    assert found.media_name.startswith("eotm.bkf created ")
    (one,) = found.sets
    assert (one.number, one.name, one.method, one.volumes) == (1, "exremote golden", "normal", ("C:",))
    assert (one.directories, one.files, one.objects, one.bytes) == (3, 4, 0, 5012)
    assert one.closed
    assert [(each.path, each.size) for each in listed if each.kind == "file"] == [
        ("C:\\data\\a.txt", 11),
        ("C:\\data\\Sub\\b.bin", 5000),
        ("C:\\data\\Sub\\Grüße.txt", 1),
        ("C:\\data\\Sub\\none.txt", 0),
    ]
    # Whether an EOTM means another file is open: it is said, and is no fault.
    assert len(found.doubts) == 1
    assert "EOTM" in found.doubts[0]


def test_sets_names_and_objects_are_told() -> None:
    found = walk([made(STATE, STORES)])
    assert found.whole
    assert [(s.number, s.name, s.volumes, s.files, s.objects) for s in found.sets] == [
        (1, "System State", ("System State",), 1, 0),
        (2, GROUP, (GROUP,), 1, 1),
    ]
    assert found.sets[0].written == "2026-11-22T13:59:07"
    assert found.filemarks == 5


@pytest.mark.parametrize("cut", range(1, len(GOLDEN), 509))
def test_a_golden_file_cut_anywhere_is_no_whole_one(cut: int) -> None:
    found = walk([GOLDEN[:cut]])
    # Behind the end of its only set nothing is missing but EOTM, which says nothing, and a filemark.
    if cut == len(GOLDEN) - FLB:
        return
    assert not found.whole, cut
    assert found.size == cut


def test_a_cut_is_named_by_where_it_is() -> None:
    data = made(STATE, STORES)
    in_data = walk([data[: data.index(b"pagepage") + 4000]]).faults
    assert [fault.kind for fault in in_data] == ["truncated", "not closed"]
    assert "bytes of stream STAN of object priv1.edb (set 2) are missing" in in_data[0].message
    between = walk([data[: len(made(STATE))]])
    assert between.whole, "a cut between two sets shows in their number alone"
    assert len(between.sets) == 1
    no_mark = walk([data[:-FLB]])
    assert [fault.message for fault in no_mark.faults] == ["the last filemark is missing"]
    assert kinds(walk([b""])) == ["not a tape"]
    assert kinds(walk([b"PK\3\4" + bytes(5000)])) == ["not a tape"]
    assert kinds(walk([bytes(5000)])) == ["not a tape"]


def test_room_that_was_reserved_and_never_written_is_no_backup() -> None:
    found = walk([made(STATE) + bytes(4096)])
    assert kinds(found) == ["corrupt"]
    assert "zeros" in found.faults[0].message


def test_what_the_tape_itself_calls_corrupt_is_told_by_name() -> None:
    torn = TapeSet("C:", "mine", (TapeFile("a.log", b"x" * 100, "Log Files", corrupt=True),))
    listed: list[Found] = []
    found = walk([made(torn)], listed.append)
    assert not found.whole
    assert all("C:\\Log Files\\a.log" in f.message for f in found.faults[:2]), found.faults
    assert "its length changed" in found.faults[1].message
    assert "counts 1 corrupt files" in found.faults[2].message
    assert [each.path for each in listed if each.corrupt][:1] == ["C:\\Log Files\\a.log"]
    aborted = walk([made(TapeSet("C:", "mine", (), aborted=True))])
    assert kinds(aborted) == ["aborted"]
    assert not aborted.sets[0].closed


def test_a_checksum_of_data_is_held_against_the_data() -> None:
    data = made(STATE, sums=True)
    assert walk([data]).whole
    place = data.index(b"keykey") + 100
    for piece in (1, 3, 1000, len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 1
        found = walk(bytes(spoilt[n : n + piece]) for n in range(0, len(spoilt), piece))
        assert ["checksum" in fault.message for fault in found.faults] == [True], piece


def test_the_first_medium_of_a_family_is_wanted() -> None:
    data = bytearray(made(STATE))
    data[60] = 2
    check = 0
    for place in range(0, 50, 2):
        check ^= int.from_bytes(data[place : place + 2], "little")
    data[50:52] = check.to_bytes(2, "little")
    assert kinds(walk([bytes(data)])) == ["other medium"]


NAMES = st.text(st.characters(exclude_characters="\\\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
FILES = st.builds(
    TapeFile, NAMES, st.binary(max_size=1500), st.lists(NAMES, max_size=3).map("\\".join), st.booleans()
)
SETS = st.lists(
    st.builds(TapeSet, NAMES, NAMES, st.lists(FILES, max_size=4), st.sampled_from(["normal", "copy"])),
    min_size=1,
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(SETS, st.booleans(), st.integers(1, 3000))
def test_whatever_is_on_a_tape_is_found_in_any_pieces(sets: list[TapeSet], sums: bool, piece: int) -> None:
    data = made(*sets, sums=sums)
    listed: list[Found] = []
    found = walk((data[n : n + piece] for n in range(0, len(data), piece)), listed.append)
    assert found.faults == ()
    assert found.doubts == ()
    assert found.walked == len(data)
    assert [s.name for s in found.sets] == [s.name for s in sets]
    assert [s.files for s in found.sets] == [len(s.files) for s in sets]
    sizes = [len(file.content) for one in sets for file in one.files]
    assert [each.size for each in listed if each.kind != "directory"] == sizes
    assert found == walk([data])


@settings(max_examples=60, deadline=None)
@given(st.data(), SETS)
def test_a_tape_cut_within_a_set_is_never_whole(data: st.DataObject, sets: list[TapeSet]) -> None:
    whole = made(*sets)
    ends = {len(made(*sets[:count])) for count in range(1, len(sets) + 1)}
    cut = data.draw(st.integers(0, len(whole) - 1))
    found = walk([whole[:cut]])
    assert found.whole == (cut in ends)


@settings(max_examples=80, deadline=None)
@given(st.data(), SETS)
def test_a_changed_header_is_never_stepped_over(data: st.DataObject, sets: list[TapeSet]) -> None:
    """Any bit of the common header of any block, or of the header of a stream."""
    whole = made(*sets)
    starts = [n for n in range(0, len(whole), FLB) if whole[n : n + 4] in _KINDS]
    place = data.draw(st.sampled_from(starts)) + data.draw(st.integers(0, 51))
    spoilt = bytearray(whole)
    spoilt[place] ^= 1 << data.draw(st.integers(0, 7))
    assert not walk([bytes(spoilt)]).whole


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=4000), st.integers(0, len(GOLDEN)), st.integers(0, 5000))
def test_rubbish_never_breaks_the_walk(rubbish: bytes, place: int, gone: int) -> None:
    found = walk([GOLDEN[:place] + rubbish + GOLDEN[place + gone :]])
    assert 0 <= found.walked <= found.size
    assert found.to_json()["whole"] is found.whole
    if found.whole:
        # Data may be anything, where no checksum covers it; what frames it may not.
        assert [s.files for s in found.sets] == [4]


_KINDS = (b"TAPE", b"SSET", b"VOLB", b"DIRB", b"FILE", b"ESET", b"SFMB")


def test_memory_does_not_grow_with_the_file() -> None:
    writer = TapeWriter("big.bkf", "EX01", WHEN)
    writer.add(TapeSet("C:", "many", [TapeFile(f"{n:06d}", b"x", "d") for n in range(1500)]))
    small = writer.data()
    tracemalloc.start()
    try:
        walk([small])
        _, few = tracemalloc.get_traced_memory()
        tracemalloc.reset_peak()
        head = small[: small.index(b"STAN") - small.index(b"STAN") % 4]
        walker = Walker()
        walker.feed(head)

        stream = struct.pack("<4sHHQHH", b"STAN", 0, 0, 64 << 20, 0, 0)
        check = 0
        for n in range(0, 20, 2):
            check ^= int.from_bytes(stream[n : n + 2], "little")
        walker.feed(stream + struct.pack("<H", check))
        block = bytes(1 << 16)
        for _ in range(1024):
            walker.feed(block)
        found = walker.finish()
        _, much = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert found.sets[0].bytes == 64 << 20
    assert few < 4 << 20
    assert much < 4 << 20

"""The formats from the host: any cut, any nonsense, bounded memory, linear time."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import random
import struct
import time
import tracemalloc
import zlib
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exremote.pack import (
    MAX_BLOCK,
    BlockReader,
    FileBegin,
    FileData,
    FileEnd,
    FileError,
    Listing,
    Outline,
    PackEnd,
    PackError,
    PackEvent,
    PackReader,
    PackWriter,
    TreeEntry,
    datetime_to_ticks,
    encode_lines,
    format_entry,
    parse_listing,
    seal_block,
    ticks_to_datetime,
)

TICKS = 632_000_000_000_000_000


def deflate(plain: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15)
    return deflater.compress(plain) + deflater.flush()


def record(kind: bytes, payload: bytes) -> bytes:
    return kind + struct.pack("<I", len(payload)) + payload


def file_records(index: int, pieces: list[bytes], before: bytes = b"") -> bytes:
    whole = before + b"".join(pieces)
    begin = struct.pack("<IqqIq", index, len(before), TICKS, 32, len(whole))
    end = struct.pack("<qq32s", len(whole), TICKS, hashlib.sha256(whole).digest())
    return record(b"F", begin) + b"".join(record(b"D", p) for p in pieces) + record(b"E", end)


def error_record(index: int, text: str) -> bytes:
    return record(b"X", struct.pack("<I", index) + text.encode())


def open_block(record: bytes, *cuts: int) -> bytes:
    """Return what a block holds, read in pieces that end at these places."""
    reader = BlockReader()
    edges = [0, *sorted(c % (len(record) + 1) for c in cuts), len(record)]
    pieces = [record[start:stop] for start, stop in itertools.pairwise(edges)]
    plain = b"".join(reader.feed(piece, i == len(pieces) - 1) for i, piece in enumerate(pieces))
    assert reader.between
    return plain


def pack_of(files: list[list[bytes] | None]) -> bytes:
    parts = [
        error_record(i, "ExRemote.FileLocked\tin use") if pieces is None else file_records(i, pieces)
        for i, pieces in enumerate(files)
    ]
    return b"".join(parts) + record(b"Z", struct.pack("<I", len(files)))


def read(stream: bytes, cuts: list[int] | None = None) -> list[PackEvent]:
    reader = PackReader()
    events: list[PackEvent] = []
    edges = [0, *sorted(c % (len(stream) + 1) for c in cuts or []), len(stream)]
    for start, stop in itertools.pairwise(edges):
        events.extend(reader.feed(stream[start:stop]))
    reader.finish()
    return events


def contents(events: list[PackEvent]) -> list[bytes | None]:
    found: list[bytes | None] = []
    for event in events:
        match event:
            case FileBegin():
                found.append(b"")
            case FileData(data):
                assert found[-1] is not None
                found[-1] += data
            case FileEnd(size, _, sha256):
                assert found[-1] is not None
                assert (size, sha256) == (len(found[-1]), hashlib.sha256(found[-1]).hexdigest())
            case FileError(_, error_id, message):
                assert (error_id, message) == ("ExRemote.FileLocked", "in use")
                found.append(None)
    return found


# ---------------------------------------------------------------- blocks


CUTS = st.lists(st.integers(0, 5000), max_size=5)


@given(st.binary(max_size=2000) | st.binary(max_size=40).map(lambda b: b * 500), CUTS)
def test_a_block_opens_to_what_was_sealed_wherever_it_is_cut(plain: bytes, cuts: list[int]) -> None:
    assert open_block(seal_block(plain), *cuts) == plain


def test_the_bytes_of_half_a_block_are_there_before_the_rest() -> None:
    reader = BlockReader()
    assert reader.feed(b"\0abc", False) == b"abc"
    assert not reader.between
    assert reader.feed(b"", True) == b""
    assert reader.between
    packed = b"\1" + deflate(random.Random(1).randbytes(5000))
    assert len(reader.feed(packed[:4000], False)) > 3000


def test_a_block_is_deflated_only_where_it_saves_a_tenth() -> None:
    assert seal_block(b"a" * 1000)[0] == 1
    assert seal_block(hashlib.sha256(b"x").digest())[0] == 0
    assert open_block(seal_block(b"\x00" * MAX_BLOCK)) == b"\x00" * MAX_BLOCK


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x03abc",
        b"\x01",
        b"\x01garbage",
        b"\x01" + deflate(b"abc" * 100)[:-2],
        b"\x01" + deflate(b"abc") + b"tail",
        b"\x00" + bytes(MAX_BLOCK + 1),
        b"\x01" + deflate(bytes(MAX_BLOCK + 1)),
        b"\x02" + deflate(b"\xff"),
        b"\x02" + deflate(b"x" * (MAX_BLOCK // 2 + 1)),
        b"\x02" + deflate(b"x" * (MAX_BLOCK * 2)),
    ],
    ids=[
        "empty",
        "flag",
        "nothing",
        "garbage",
        "cut",
        "tail",
        "plain too long",
        "deflated too long",
        "no UTF-8",
        "text too long",
        "text far too long",
    ],
)
def test_a_malformed_block_is_refused(bad: bytes) -> None:
    for cuts in ((), (1,), (2, 3, 4), tuple(range(0, 5000, 50))):
        with pytest.raises(PackError):
            open_block(bad, *cuts)
    with pytest.raises(PackError):
        seal_block(bytes(MAX_BLOCK + 1))


@given(st.text(max_size=300), CUTS)
def test_a_block_of_text_travels_as_utf_8_and_comes_back_as_utf_16(text: str, cuts: list[int]) -> None:
    plain = ("\ufeff" + text).encode("utf-16-le", "surrogatepass")
    try:
        sent = plain.decode("utf-16-le").encode()
    except UnicodeError:
        return  # half a pair: a host sends such a block as any other
    assert open_block(b"\x02" + deflate(sent), *cuts) == plain


@given(st.binary(max_size=300), CUTS)
def test_any_bytes_as_a_block_are_bytes_or_pack_error(data: bytes, cuts: list[int]) -> None:
    for record_ in (data, b"\x01" + data, b"\x02" + data, b"\x02" + deflate(data)):
        with contextlib.suppress(PackError):
            assert len(open_block(record_, *cuts)) <= MAX_BLOCK


def test_a_bomb_is_refused_with_bounded_memory() -> None:
    """A record of ordinary size that would inflate to 200 MiB costs no more than a few blocks."""
    bomb = b"\x01" + deflate(bytes(200 << 20))
    assert len(bomb) < MAX_BLOCK
    tracemalloc.start()
    with pytest.raises(PackError, match="more than"):
        open_block(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MAX_BLOCK


# ---------------------------------------------------------------- names and time


@given(st.lists(st.text(st.characters(blacklist_characters="\n", codec="utf-8"), min_size=1), min_size=1))
def test_names_come_back(names: list[str]) -> None:
    text = encode_lines(names)
    assert text.isascii()
    assert zlib.decompress(base64.b64decode(text), -15).decode().split("\n") == names


@pytest.mark.parametrize("bad", ["", "a\nb", "\ud800"])
def test_a_name_that_is_no_line_is_refused(bad: str) -> None:
    with pytest.raises(PackError):
        encode_lines(["good", bad])


@given(st.datetimes(timezones=st.just(UTC)))
def test_ticks_there_and_back(moment: datetime) -> None:
    assert ticks_to_datetime(datetime_to_ticks(moment)) == moment


def test_ticks_are_those_of_dotnet() -> None:
    assert datetime_to_ticks(datetime(1970, 1, 1, tzinfo=UTC)) == 621355968000000000
    assert (
        datetime_to_ticks(datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))) == 621355968000000000
    )
    with pytest.raises(PackError):
        datetime_to_ticks(datetime(1970, 1, 1))
    for bad in (-1, 3155378975999999999 + 1):
        with pytest.raises(PackError):
            ticks_to_datetime(bad)


# ---------------------------------------------------------------- listings

SHA = "ab" * 32
LISTING = (
    f"-1\t{TICKS}\t16\t-\tGWRouter\n"
    f"12\t{TICKS}\t32\t{SHA}\tGWRouter\\Gwise.tbl\n"
    f"5\t{TICKS}\t32\tx\tGWRouter\\work.tmp\n"
    f"5\t{TICKS}\t32\t!ExRemote.FileLocked\tlocked file.dat\n"
    f"0\t{TICKS}\t1024\tr\tlink\n"
    f"7\t{TICKS}\t32\t-\tÜmläut\twith tab\n"
).encode()


def test_a_listing_is_parsed() -> None:
    listing = parse_listing(LISTING)
    assert [(e.path, e.size, e.state, e.sha256, e.error_id) for e in listing.entries] == [
        ("GWRouter", -1, "directory", None, ""),
        ("GWRouter\\Gwise.tbl", 12, "file", SHA, ""),
        ("GWRouter\\work.tmp", 5, "excluded", None, ""),
        ("locked file.dat", 5, "unreadable", None, "ExRemote.FileLocked"),
        ("link", 0, "reparse", None, ""),
        ("Ümläut\twith tab", 7, "unhashed", None, ""),
    ]
    counted = b"".join(line for line in LISTING.splitlines(keepends=True) if b"\tx\t" not in line)
    assert listing.digest == hashlib.sha256(counted).hexdigest()
    assert parse_listing(b"").digest == hashlib.sha256().hexdigest()


@given(st.lists(st.integers(0, len(LISTING)), max_size=30))
def test_a_listing_may_be_cut_anywhere(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(LISTING)]
    pieces = [LISTING[a:b] for a, b in itertools.pairwise(edges)]
    assert parse_listing(pieces) == parse_listing(LISTING)


@pytest.mark.parametrize(
    "bad",
    [
        b"12\n",
        f"12\t{TICKS}\t32\t{SHA}\tno end".encode(),
        f"12\t{TICKS}\t32\t{SHA}\t\n".encode(),
        f"-2\t{TICKS}\t32\t{SHA}\ta\n".encode(),
        f"-1\t{TICKS}\t32\t{SHA}\ta\n".encode(),
        f"12\t{TICKS}\t32\t{SHA.upper()}\ta\n".encode(),
        f"12\t{TICKS}\t32\t!Other.Thing\ta\n".encode(),
        f"12\t9999999999999999999\t32\t{SHA}\ta\n".encode(),
        f"9999999999999999999\t{TICKS}\t32\t{SHA}\ta\n".encode(),
        f"12\t{TICKS}\t32\t{SHA}\t".encode() + b"\xff\n",
        f"12\t{TICKS}\t32\t{SHA}\ta\n".encode() * 2,
        b"\xef\xbb\xbf" + LISTING,
        LISTING + b"\n",
    ],
)
def test_a_malformed_listing_is_refused(bad: bytes) -> None:
    with pytest.raises(PackError):
        parse_listing(bad)


@pytest.mark.timeout(10)
@pytest.mark.parametrize("lines", [LISTING.splitlines(keepends=True)[:1], LISTING.splitlines(keepends=True)])
def test_a_listing_that_comes_again_and_again_is_known_by_its_paths(lines: list[bytes]) -> None:
    """It has no end, so that nobody may wait for that."""
    with pytest.raises(PackError, match="for the second time"):
        parse_listing(itertools.cycle(lines))


@given(st.binary(max_size=200) | st.text("0123456789-\t\nax!r\\").map(str.encode))
def test_any_bytes_as_a_listing_are_a_listing_or_pack_error(data: bytes) -> None:
    with contextlib.suppress(PackError):
        parse_listing(data)


@pytest.mark.timeout(30)
def test_a_long_listing_in_small_pieces_is_linear() -> None:
    text = b"".join(f"1\t{TICKS}\t32\t{SHA}\tfolder\\{i}.dat\n".encode() for i in range(20_000))
    assert len(parse_listing(text[i : i + 7] for i in range(0, len(text), 7)).entries) == 20_000
    long_line = f"1\t{TICKS}\t32\t{SHA}\t".encode() + b"n" * 2_000_000 + b"\n"
    assert len(parse_listing(long_line[i : i + 1] for i in range(len(long_line))).entries) == 1


# ---------------------------------------------------------------- packs

FILES = st.lists(st.none() | st.lists(st.binary(min_size=1, max_size=60), max_size=5), max_size=8)


@given(FILES, st.lists(st.integers(0, 10_000), max_size=40))
def test_a_pack_comes_back_however_it_is_cut(files: list[list[bytes] | None], cuts: list[int]) -> None:
    events = read(pack_of(files), cuts)
    assert contents(events) == [None if pieces is None else b"".join(pieces) for pieces in files]
    assert events[-1] == PackEnd(len(files))


def test_a_pack_can_begin_in_the_middle_of_a_file() -> None:
    stream = file_records(4, [b"world"], before=b"hello ") + record(b"Z", struct.pack("<I", 1))
    assert read(stream) == [
        FileBegin(4, 6, TICKS, 32, 11),
        FileData(b"world"),
        FileEnd(11, TICKS, hashlib.sha256(b"hello world").hexdigest()),
        PackEnd(1),
    ]


def test_a_file_may_break_off_and_the_next_goes_on() -> None:
    begin = record(b"F", struct.pack("<IqqIq", 0, 0, TICKS, 32, 9))
    broken = begin + record(b"D", b"abc") + error_record(0, "ExRemote.ReadFailed\tbad sector")
    events = read(broken + file_records(1, [b"z"]) + record(b"Z", struct.pack("<I", 3)))
    assert FileError(0, "ExRemote.ReadFailed", "bad sector") in events
    assert events[-1] == PackEnd(3)


def test_an_event_not_fetched_comes_with_the_next_call() -> None:
    reader = PackReader()
    stream = pack_of([[b"abc"], None])
    first = next(reader.feed(stream))
    assert [first, *reader.feed(b"")] == read(stream)


BEGIN = record(b"F", struct.pack("<IqqIq", 0, 0, TICKS, 32, 3))
GOOD = file_records(0, [b"abc"])


@pytest.mark.parametrize(
    "bad",
    [
        b"Q\x00\x00\x00\x00",
        record(b"D", b"abc"),
        record(b"E", struct.pack("<qq32s", 0, TICKS, b"")),
        record(b"F", b"short"),
        BEGIN + BEGIN,
        BEGIN + record(b"Z", struct.pack("<I", 1)),
        BEGIN + record(b"E", struct.pack("<qq32s", 3, TICKS, b"")),
        BEGIN + record(b"D", b"ab") + record(b"E", struct.pack("<qq32s", 3, TICKS, b"")),
        BEGIN + record(b"D", b"abc") + record(b"E", struct.pack("<qq32s", -4, TICKS, b"")),
        record(b"F", struct.pack("<IqqIq", 0, 4, TICKS, 32, 3)),
        BEGIN + record(b"E", struct.pack("<qq32s", 0, -1, b"")),
        BEGIN + error_record(1, "ExRemote.ReadFailed\t"),
        record(b"F", struct.pack("<IqqIq", 0, -1, TICKS, 32, 3)),
        record(b"F", struct.pack("<IqqIq", 0, 0, TICKS, 32, -3)),
        record(b"F", struct.pack("<IqqIq", 0, 0, 1 << 62, 32, 3)),
        GOOD + GOOD,
        GOOD + error_record(0, "ExRemote.ReadFailed\t"),
        error_record(0, "no id"),
        error_record(0, "Other.Id\ttext"),
        record(b"X", struct.pack("<I", 0) + b"\xff\t"),
        record(b"X", b"\x00\x00\x00\x00"),
        b"X" + struct.pack("<I", 1 << 30),
        GOOD + record(b"Z", struct.pack("<I", 2)),
        GOOD + record(b"Z", struct.pack("<I", 1)) + b"!",
    ],
)
def test_a_malformed_pack_is_refused_and_stays_refused(bad: bytes) -> None:
    reader = PackReader()
    with pytest.raises(PackError):
        list(reader.feed(bad))
    with pytest.raises(PackError):
        list(reader.feed(pack_of([])))
    with pytest.raises(PackError):
        reader.finish()


@given(st.integers(0, 10_000))
def test_a_pack_cut_short_is_not_whole(cut: int) -> None:
    stream = pack_of([[b"abc", b"def"], None, []])
    with pytest.raises(PackError):
        read(stream[: cut % len(stream)])


@settings(max_examples=300)
@given(st.data())
def test_a_damaged_pack_is_events_or_pack_error(data: st.DataObject) -> None:
    stream = bytearray(pack_of(data.draw(FILES)))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(stream) - 1))
        stream[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=4)) or b"\x00"
    with contextlib.suppress(PackError):
        read(bytes(stream), data.draw(st.lists(st.integers(0, 10_000), max_size=5)))


@given(st.binary(max_size=400))
def test_any_bytes_as_a_pack_are_events_or_pack_error(data: bytes) -> None:
    with contextlib.suppress(PackError):
        read(data)


@pytest.mark.timeout(60)
def test_a_record_of_gigabytes_is_passed_on_piecewise() -> None:
    """One D record of 1 GiB never sits in memory, and time grows with the bytes only."""
    reader = PackReader()
    list(reader.feed(record(b"F", struct.pack("<IqqIq", 0, 0, TICKS, 32, 1 << 30))))
    list(reader.feed(b"D" + struct.pack("<I", 1 << 30)))
    piece = bytes(MAX_BLOCK)
    tracemalloc.start()
    began = time.monotonic()
    total = sum(len(e.data) for _ in range(4096) for e in reader.feed(piece) if isinstance(e, FileData))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 1 << 30
    assert peak < 8 * MAX_BLOCK
    assert time.monotonic() - began < 30


# ---------------------------------------------------------------- outlines


def listing_of(names: dict[str, int]) -> Listing:
    lines = [
        f"{size}\t0\t32\t{'x' if size == 7 else f'{size:064x}'}\t{name}\n" for name, size in names.items()
    ]
    return parse_listing("".join(sorted(lines, key=lambda x: x.split("\t")[4])).encode())


def answered(outline: Outline, now: Listing) -> tuple[str, Listing]:
    """What a host answers that holds a tree against an outline: the slow way, from the description."""
    groups = [
        line.split("\t") for line in zlib.decompress(base64.b64decode(outline.text), -15).decode().split("\n")
    ]
    lasts = [path for _, path in groups]
    found: list[list[TreeEntry]] = [[] for _ in range(len(groups) + 1)]
    for entry in now.entries:
        found[next((n for n, last in enumerate(lasts) if entry.path <= last), len(lasts))].append(entry)
    changed, sent = [], []
    for number, entries in enumerate(found):
        text = b"".join(format_entry(e) for e in entries if e.state != "excluded")
        known = groups[number][0] if number < len(groups) else ""
        if hashlib.sha256(text).hexdigest()[:32] != known and (entries or known):
            changed.append(str(number))
            sent += entries
    return ",".join(changed), Listing(tuple(sent), "")


NAMES = st.dictionaries(st.text("abcdefgh", min_size=1, max_size=4), st.integers(0, 9), max_size=40)


@given(NAMES, NAMES)
def test_a_listing_is_whole_again_from_what_is_known_and_what_differs(
    then: dict[str, int], now: dict[str, int]
) -> None:
    known, current = listing_of(then), listing_of(now)
    outline = Outline.of(known)
    if not then:
        assert outline.text == ""
        return
    filled = outline.filled(*answered(outline, current))
    assert filled.digest == current.digest
    kept = [e for e in current.entries if e.state != "excluded"]
    assert [e for e in filled.entries if e.state != "excluded"] == kept


def test_a_changed_file_of_a_thousand_brings_a_few_dozen_lines() -> None:
    then = {f"file{n:04}": n + 100 for n in range(1000)}
    changed, sent = answered(Outline.of(listing_of(then)), listing_of({**then, "file0500": 5}))
    assert changed.count(",") == 0
    assert len(sent.entries) < 40
    same, nothing = answered(Outline.of(listing_of(then)), listing_of(then))
    assert (same, nothing.entries) == ("", ())


def test_an_unsorted_or_unspeakable_listing_has_no_outline() -> None:
    assert Outline.of(Listing(tuple(reversed(listing_of({"a": 1, "b": 2}).entries)), "")).text == ""


def test_a_line_is_written_as_it_was_read() -> None:
    lines = [
        b"3\t638000000000000000\t32\t" + b"a" * 64 + b"\ta.txt\n",
        b"-1\t0\t16\t-\tfolder\n",
        b"5\t1\t-2147483616\t-\tunhashed\n",
        b"7\t1\t32\tx\tleft.out\n",
        b"-1\t0\t1040\tr\tlink\n",
        b"0\t0\t0\t!ExRemote.FileLocked\tlocked\n",
    ]
    assert [format_entry(e) for e in parse_listing(b"".join(lines)).entries] == lines


# ---------------------------------------------------------------- on its way to a host


@given(
    st.lists(st.lists(st.binary(max_size=3000).map(lambda d: d * 40), max_size=6), max_size=6),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_what_a_reader_reads(files: list[list[bytes]], text: bool) -> None:
    """In blocks that hold whole records: each can be taken for itself."""
    writer, blocks = PackWriter(), []
    for index, pieces in enumerate(files):
        whole = b"".join(pieces)
        blocks += writer.begin(index, 0, TICKS, 32, len(whole))
        for piece in pieces:
            blocks += writer.data(piece)
        blocks += writer.end(len(whole), TICKS, hashlib.sha256(whole).digest())
    if writer.waiting:
        blocks.append(writer.rest())
    reader, found = PackReader(), {}
    for block in blocks:
        plain = BlockReader().feed(block.record, True)
        assert len(plain) == block.plain <= MAX_BLOCK
        place = 0
        while place < len(plain):
            place += 5 + struct.unpack_from("<I", plain, place + 1)[0]
        assert place == len(plain), "a record that goes on in another block"
        for event in reader.feed(plain):
            match event:
                case FileBegin():
                    found[event.index] = b""
                case FileData():
                    found[max(found)] += event.data
                case FileEnd():
                    assert event.sha256 == hashlib.sha256(found[max(found)]).hexdigest()
    assert found == {index: b"".join(pieces) for index, pieces in enumerate(files)}


def test_noise_is_not_deflated_again_and_again() -> None:
    writer = PackWriter()
    noise = bytes(random.Random(3).randbytes(20 * MAX_BLOCK))
    blocks = [*writer.begin(0, 0, TICKS, 32, len(noise)), *writer.data(noise)]
    assert {block.record[0] for block in blocks} == {0}
    blocks = [*writer.data(bytes(20 * MAX_BLOCK))]
    assert blocks[-1].record[0] == 1, "what follows can be deflated, and is"

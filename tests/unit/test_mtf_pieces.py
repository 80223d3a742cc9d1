"""A .bkf of which only its blocks are sent: the walk finds what it finds in the whole file, but for the data.

The pieces are made by the lab, which plays the script; `test_scripts_engine` holds the script against it.
"""

from __future__ import annotations

import struct

import pytest
from test_mtf import GOLDEN, STATE, STORES, made

from exremote.lab.tapeblocks import pieces
from exremote.mtf import Found, Tape, walk
from exremote.pack import PackError, PieceReader

BOTH = made(STATE, STORES)


def sparse(data: bytes, told: list[Found] | None = None, cut: int = 1000) -> Tape:
    """Walk through the pieces of a file, as they come in blocks cut anywhere."""
    sent = b"".join(pieces(data))
    reader = PieceReader()
    parts = reader.read(sent[at : at + cut] for at in range(0, len(sent), cut))
    found = walk([*parts, reader.rest(len(data))], told.append if told is not None else lambda one: None)
    assert found.size == len(data)
    return found


@pytest.mark.parametrize("data", [GOLDEN, BOTH], ids=["golden", "made"])
def test_without_its_data_a_tape_says_the_same(data: bytes) -> None:
    listed: list[Found] = []
    other: list[Found] = []
    for cut in (1, 13, 1 << 20):
        listed.clear()
        assert sparse(data, listed, cut) == walk([data], other.append)
        assert listed == other
        other.clear()


def test_data_does_not_travel() -> None:
    assert b"page" in BOTH
    assert b"page" not in b"".join(pieces(BOTH))


@pytest.mark.parametrize("data", [GOLDEN, BOTH], ids=["golden", "made"])
def test_whatever_spoils_a_block_is_found_without_the_data(data: bytes) -> None:
    found = 0
    for at in range(0, len(data), 131):
        for spoilt in (
            data[:at],
            data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :],
            data[:at] + data[at + 9 :],
        ):
            whole, some = walk([spoilt]), sparse(spoilt, cut=1 << 20)
            assert some.whole == whole.whole, at
            assert some.faults[:1] == whole.faults[:1] or some.faults[0].kind == whole.faults[0].kind, at
            found += not whole.whole
    assert found > len(data) / 131


def test_checksums_whose_data_stayed_behind_are_said_not_to_be_held_against_it() -> None:
    data = made(STATE, sums=True)
    assert walk([data]).doubts == ()
    found = sparse(data)
    assert found.whole
    (doubt,) = found.doubts
    assert doubt.startswith("1 streams have checksums that were not held against their data")


def test_what_is_left_out_can_be_data_and_nothing_else() -> None:
    at = BOTH.index(b"SSET")
    for parts in ([BOTH[:at], 100, BOTH[at + 100 :]], [BOTH[: at + 30], 22, BOTH[at + 52 :]], [len(BOTH)]):
        assert not walk(parts).whole


def test_pieces_that_are_none_are_refused() -> None:
    for sent in (
        struct.pack("<qi", -1, 4) + b"data",
        struct.pack("<qi", 0, -4) + b"data",
        struct.pack("<qi", 0, 1 << 30) + b"data",
        struct.pack("<qi", 0, 5) + b"data",
    ):
        with pytest.raises(PackError):
            list(PieceReader().read([sent]))
    reader = PieceReader()
    assert list(reader.read([struct.pack("<qi", 4, 2) + b"ab" + struct.pack("<qi", 5, 2) + b"bc"])) == [
        4,
        b"ab",
        b"c",
    ]
    with pytest.raises(PackError):
        reader.rest(6)

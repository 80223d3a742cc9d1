"""Who fetches what: every byte of every file by one lane, whoever splits and gives back."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import cast

from hypothesis import given, settings
from hypothesis import strategies as st

from exremote.repository import Assembly
from exremote.transfer.board import LEAST_SHARE, Board, Share
from exremote.transfer.wanted import Span, Wanted

MIB = 1 << 20
ASSEMBLY = cast(Assembly, SimpleNamespace())


def wanted(name: str, size: int, splits: bool) -> Wanted:
    return Wanted(name, "a" * 64, size, 0, 32, False, ASSEMBLY if splits else None)


def step(share: Share[Span], most: int, got: dict[str, list[tuple[int, int]]]) -> None:
    """Do what a lane does: fetch some of its first span."""
    span = share.spans[0]
    stop = span.wanted.size if span.stop is None else span.stop
    end = min(stop, span.place + most)
    got.setdefault(span.wanted.path, []).append((span.place, end))
    span.place = end
    if end == stop:
        share.spans.popleft()


@given(
    st.lists(st.tuples(st.integers(0, 40 * MIB), st.booleans()), min_size=1, max_size=12),
    st.integers(1, 4),
    st.integers(0, 1 << 30),
)
@settings(max_examples=150, deadline=None)
def test_each_byte_is_fetched_once(files: list[tuple[int, bool]], lanes: int, seed: int) -> None:
    chance = random.Random(seed)
    all_wanted = [wanted(f"f{n}", size, splits) for n, (size, splits) in enumerate(files)]
    board = Board([Span(one) for one in all_wanted])
    shares = [board.join() for _ in range(lanes)]
    got: dict[str, list[tuple[int, int]]] = {}
    while not board.wait(0):
        for number, share in enumerate(shares):
            if chance.random() < 0.05:
                board.leave(share)  # its lane broke
                shares[number] = share = board.join()
            if board.take(share):
                step(share, chance.randrange(1, 6 * MIB), got)
    for one in all_wanted:
        place = 0
        for start, end in sorted(got[one.path]):
            assert start == place
            place = end
        assert place == one.size


def test_a_second_lane_takes_the_last_half_of_one_large_file() -> None:
    board = Board([Span(wanted("large", 64 * MIB, True))])
    first, second, third = board.join(), board.join(), board.join()
    assert board.take(first)
    assert board.take(second)
    assert [(s.place, s.stop) for s in second.spans] == [(32 * MIB, None)]
    assert first.spans[0].stop == 32 * MIB
    assert board.take(third)
    assert board.left == 64 * MIB


def test_what_is_not_worth_it_is_left_to_who_has_it() -> None:
    board = Board([Span(wanted("small", 2 * LEAST_SHARE - 11, True)), Span(wanted("tiny", 10, False))])
    first, second = board.join(), board.join()
    assert board.take(first)
    assert not board.take(second)


def test_a_file_of_unknown_content_is_read_by_one_lane() -> None:
    board = Board([Span(wanted("log", 64 * MIB, False))])
    first, second = board.join(), board.join()
    assert board.take(first)
    assert not board.take(second)

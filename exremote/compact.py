"""Very many small records in little memory: each is kept as bytes. It knows no record, and keeps no file."""

from __future__ import annotations

import marshal
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Generic, TypeVar, overload

T = TypeVar("T")
S = TypeVar("S")
Row = tuple[Any, ...]
"""Plain values: texts, numbers, bytes, truth, None."""


class Compact(Sequence[T], Generic[T]):
    """A sequence of records, each kept as the bytes of its row of plain values: a third of what objects take.

    A record is made anew whenever somebody looks at it: two looks give equal ones, never the same one. So go
    through all of them seldom, and keep none. It never changes.
    """

    __slots__ = ("_blocks", "_make", "_starts")

    def __init__(self, make: Callable[..., T], rows: Iterable[Row] = ()) -> None:
        """Given how a record is made of the values of its row, and the rows, keep them."""
        data, ends = bytearray(), array("Q")
        for row in rows:
            data += marshal.dumps(row)
            ends.append(len(data))
        self._make = make
        self._blocks: tuple[tuple[bytearray, array[int]], ...] = ((data, ends),) if ends else ()
        self._starts = [0, len(ends)] if ends else [0]

    @classmethod
    def joined(cls, make: Callable[..., T], parts: Iterable[Compact[T]]) -> Compact[T]:
        """Given some of the same kind, return all their records, part behind part; no byte is copied."""
        found = cls(make)
        found._blocks = tuple(block for part in parts for block in part._blocks)
        found._starts = list(accumulate((len(ends) for _, ends in found._blocks), initial=0))
        return found

    def read_as(self, make: Callable[..., S]) -> Compact[S]:
        """Given another way to make records of the same rows, return them so; no byte is copied."""
        found: Compact[S] = Compact(make)
        found._blocks, found._starts = self._blocks, self._starts
        return found

    def __len__(self) -> int:
        return self._starts[-1]

    def __iter__(self) -> Iterator[T]:
        make, loads = self._make, marshal.loads
        for data, ends in self._blocks:
            view, start = memoryview(data), 0
            for end in ends:
                yield make(*loads(view[start:end]))
                start = end

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[T, ...]: ...
    def __getitem__(self, place: int | slice) -> T | tuple[T, ...]:
        places = range(len(self))[place]
        return self._at(places) if isinstance(places, int) else tuple(map(self._at, places))

    def _at(self, place: int) -> T:
        number = bisect_right(self._starts, place) - 1
        (data, ends), inner = self._blocks[number], place - self._starts[number]
        start = ends[inner - 1] if inner else 0
        row = marshal.loads(memoryview(data)[start : ends[inner]])  # noqa: S302 - written by this very process
        return self._make(*row)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Compact | tuple):
            return NotImplemented
        return len(self) == len(other) and all(a == b for a, b in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self)} records>"


class Crowd:
    """Very many texts, of each of which only eight bytes are kept: enough to know one again.

    Two texts are held for one with a chance of one in 2^64 for each pair, and nobody can look for such a
    pair: Python's hashes of texts are salted anew in each process.
    """

    __slots__ = ("_hashes",)

    def __init__(self, texts: Iterable[str]) -> None:
        """Given texts, keep what is needed to know them again."""
        self._hashes = array("q", sorted(map(hash, texts)))

    def __contains__(self, text: object) -> bool:
        wanted = hash(text)
        place = bisect_left(self._hashes, wanted)
        return place < len(self._hashes) and self._hashes[place] == wanted

    @property
    def all_differ(self) -> bool:
        """Return whether no text came twice."""
        hashes = iter(self._hashes)
        last = next(hashes, None)
        for one in hashes:
            if one == last:
                return False
            last = one
        return True

"""Generations of duplicates: fixed runs of offsets, which may become longer but never shorter."""

from itertools import pairwise
from typing import Final

import msgspec

from streams.errors import UNREADABLE

_encode: Final = msgspec.json.Encoder().encode
PART_RECORDS: Final = 100_000
"""A longer generation fills part by part; what a full part holds never changes."""
_decode: Final = msgspec.json.Decoder(tuple[tuple[int, int], ...]).decode


class Generations:
    """Which generation an offset is in.

    `spans` are pairs of the first offset and how many records each generation has from there on;
    every span begins where a generation does, the first one at 0.

    >>> generations = Generations.of(100).lengthened(250, 400)
    >>> generations.spans
    ((0, 100), (200, 400))
    >>> [generations.start(offset) for offset in (99, 199, 250, 599, 600)]
    [0, 100, 200, 200, 600]
    """

    __slots__ = ("spans",)

    def __init__(self, spans: tuple[tuple[int, int], ...]) -> None:
        whole = all(
            0 < records <= then - first and (then - first) % records == 0
            for (first, records), (then, _) in pairwise(spans)
        )
        if not spans or spans[0][0] or spans[-1][1] < 1 or not whole:
            raise ValueError(f"generations: {spans} leave something out")
        self.spans: Final = spans

    @classmethod
    def of(cls, records: int) -> "Generations":
        """Return generations of one length."""
        return cls(((0, records),))

    @property
    def records(self) -> int:
        """How many records a generation has from the latest change on."""
        return self.spans[-1][1]

    @property
    def in_parts(self) -> bool:
        """Whether a generation has several parts from the latest change on."""
        return self.records > PART_RECORDS

    def number(self, offset: int) -> int:
        """Return how many generations there are before the one that `offset` is in."""
        before = 0
        for (first, records), (then, _) in pairwise(self.spans):
            if offset < then:
                return before + (offset - first) // records
            before += (then - first) // records
        first, records = self.spans[-1]
        return before + (offset - first) // records

    def start(self, offset: int) -> int:
        """Return the first offset of the generation that `offset` is in."""
        first, records = next(span for span in reversed(self.spans) if span[0] <= offset)
        return offset - (offset - first) % records

    def end(self, offset: int) -> int:
        """Return the first offset behind the generation that `offset` is in."""
        _, records = next(span for span in reversed(self.spans) if span[0] <= offset)
        return self.start(offset) + records

    def part(self, offset: int) -> tuple[int, int]:
        """Return the bounds of the part that `offset` is in: its first offset, and that behind it.

        Parts begin with their generation, so they stay where they are when that is lengthened.
        """
        start, end = self.start(offset), self.end(offset)
        first = offset - (offset - start) % PART_RECORDS
        return first, min(first + PART_RECORDS, end)

    def back(self, offset: int, count: int) -> int:
        """Return the first offset of the generation `count` before that of `offset`, 0 at least."""
        start = self.start(offset)
        for _ in range(count):
            start = self.start(start - 1) if start else 0
        return start

    def lengthened(self, offset: int, records: int) -> "Generations":
        """Return these, the one that `offset` is in and all behind it of so many records."""
        start = self.start(offset)
        kept = tuple(span for span in self.spans if span[0] < start)
        return Generations((*kept, (start, records)))

    def encode(self) -> bytes:
        """Return the stored spelling."""
        return _encode(self.spans)


def read_generations(raw: bytes, records: int) -> Generations:
    """Return what a meta holds; b"" holds generations of `records`. `ValueError` if unreadable."""
    try:
        return Generations(_decode(raw)) if raw else Generations.of(records)
    except UNREADABLE as error:
        raise ValueError(f"generations: {error}") from None

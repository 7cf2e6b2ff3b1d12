"""What became of refusals: sent again or discarded, remembered beside their letters.

A letter is never deleted by a verb. What was done about it is a record of its own, a *mark*, in the
same partition of the same topic: it lasts at least as long as the letter, and every host sees it.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal

import msgspec

from streams.ops.tail import Tail, read_tail
from streams.runtime.ports import LogReader, Outgoing, Record
from streams.runtime.reasons import PARSER_ERRORS

Fate = Literal["redriven", "discarded"]
Element = tuple[int, int, int]
"""Partition and offset of a refused record, and the place of the element in its array."""

HEADER: Final = "__streams.settled"
MARK_ELEMENTS: Final = 5_000
"""Elements that one mark names at most: far below the largest record."""
_ELEMENT_BITS: Final = 16


class _Mark(msgspec.Struct):
    fate: Fate
    elements: list[Element]


_decode: Final = msgspec.json.Decoder(_Mark).decode


class Settled:
    """The fates of the refusals of one topic; an element without one is open."""

    def __init__(self) -> None:
        # a million of them are remembered: numbers take a third of what tuples take
        self._fates: defaultdict[int, dict[int, Fate]] = defaultdict(dict)

    def note(self, record: Record) -> None:
        """Take a record of the dead letters; what is no mark is passed over."""
        if not any(name == HEADER for name, _ in record.headers):
            return
        try:
            mark = _decode(record.value or b"")
        except PARSER_ERRORS:
            return
        for partition, offset, element in mark.elements:
            self._fates[partition][_number(offset, element)] = mark.fate

    def fate(self, element: Element) -> Fate | None:
        """Return what became of an element, None while it is open."""
        partition, offset, place = element
        return self._fates[partition].get(_number(offset, place))


async def read_settled(reader: LogReader, topic: str, partitions: Sequence[int]) -> Settled:
    """Return what the marks of a dead-letter topic say."""
    settled = Settled()
    async for record in read_tail(reader, Tail(topic, "earliest", None, follow=False), partitions):
        settled.note(record)
    return settled


def marks(topic: str, fate: Fate, elements: Iterable[tuple[int, Element]]) -> Iterator[Outgoing]:
    """Yield the marks of elements, each given with the partition of its letter."""
    by_partition: defaultdict[int, list[Element]] = defaultdict(list)
    for partition, element in elements:
        by_partition[partition].append(element)
    for partition, listed in by_partition.items():
        for first in range(0, len(listed), MARK_ELEMENTS):
            value = msgspec.json.encode(_Mark(fate, listed[first : first + MARK_ELEMENTS]))
            headers = [(HEADER, fate.encode())]
            yield Outgoing(topic, value, None, headers, partition)


def _number(offset: int, element: int) -> int:
    return offset << _ELEMENT_BITS | element

"""Receipts as they are written, read in the background for a view."""

import asyncio
import heapq
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, Protocol

from streams.core.receipts import Receipt
from streams.errors import StreamsError
from streams.ops.decisions import ReceiptFilter, read_receipts
from streams.ops.status import StatusSources
from streams.ops.tail import Start, TailSpan, locate, partitions_of, read_span
from streams.runtime.ports import LogReader, Record

AGAIN_S: Final = 5.0
LATEST: Final = 40


class Gathering(Protocol):
    """Takes receipts, each once from the beginning on."""

    def begin(self) -> None:
        """Forget what came: all of it comes again."""

    def take(self, receipt: Receipt) -> None:
        """Take the next one."""


class Latest:
    """The newest receipts, and how many of each action came."""

    def __init__(self) -> None:
        self.actions: Final[Counter[str]] = Counter()
        self._newest: Final[list[tuple[int, str, Receipt]]] = []  # a heap, the oldest on top

    def begin(self) -> None:
        """Forget what came."""
        self.actions.clear()
        self._newest.clear()

    def take(self, receipt: Receipt) -> None:
        """Take the next one."""
        self.actions[receipt.action] += 1
        heapq.heappush(self._newest, (receipt.ts, receipt.id, receipt))
        if len(self._newest) > LATEST:
            heapq.heappop(self._newest)

    def newest_first(self) -> list[Receipt]:
        """Return them by the time of what led to them."""
        return [receipt for _, _, receipt in sorted(self._newest, reverse=True)]


class Whole:
    """All receipts of one video."""

    def __init__(self) -> None:
        self._receipts: Final[list[Receipt]] = []

    def begin(self) -> None:
        """Forget what came."""
        self._receipts.clear()

    def take(self, receipt: Receipt) -> None:
        """Take the next one."""
        self._receipts.append(receipt)

    def in_order(self) -> list[Receipt]:
        """Return them in the order of their decisions."""
        return sorted(self._receipts, key=lambda receipt: receipt.n)


async def follow(
    sources: StatusSources,
    start: Start,
    video: str | None,
    gathering: Gathering,
    reached: asyncio.Event,
) -> None:
    """Have receipts gathered for ever; begin again when reading ends for some reason.

    `reached` is set once the end of the first look was reached.
    """
    topic = sources.settings.topic("decisions")
    while True:
        gathering.begin()
        try:
            only = await partitions_of(sources.cluster, topic, video)
            async with sources.reading() as reader:
                span = await locate(reader, topic, only, start)
                async with aclosing(_noting_the_end(reader, span, reached)) as records:
                    async for receipt in read_receipts(records, ReceiptFilter(video), _pass_over):
                        gathering.take(receipt)
        except StreamsError:
            await asyncio.sleep(AGAIN_S)


async def _noting_the_end(
    reader: LogReader, span: TailSpan, reached: asyncio.Event
) -> AsyncGenerator[Record, None]:
    """Yield the records of a span for ever; `reached` is set behind its end as it was."""
    left = {partition for partition, end in span.end.items() if span.start[partition] < end}
    if not left:
        reached.set()
    async for record in read_span(reader, span, follow=True):
        yield record
        if left and record.offset + 1 >= span.end[record.partition]:
            left.discard(record.partition)
            if not left:
                reached.set()


def _pass_over(_: Record) -> None:
    """Leave out what is no receipt: `decisions tail` names it."""

"""Receipts as they are read: each once, and those that are wanted."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Final, NamedTuple

from streams.core.receipts import Receipt, decode
from streams.errors import Halt
from streams.runtime.ports import Record
from streams.runtime.reasons import PARSER_ERRORS

REMEMBERED_IDS: Final = 100_000
"""Repeats come soon after their first: a worker that starts again repeats what it last sent."""


class ReceiptFilter(NamedTuple):
    """Which receipts are wanted; None is all."""

    video: str | None = None
    slice: str | None = None
    action: str | None = None

    def takes(self, receipt: Receipt) -> bool:
        """Tell whether a receipt is wanted."""
        held = (receipt.video, receipt.slice, receipt.action)
        return all(wanted in (None, has) for wanted, has in zip(self, held, strict=True))


async def read_receipts(
    records: AsyncIterator[Record], wanted: ReceiptFilter, pass_over: Callable[[Record], None]
) -> AsyncIterator[Receipt]:
    """Yield each wanted receipt once; a record that is none goes to `pass_over`."""
    met: OrderedDict[str, None] = OrderedDict()
    async for record in records:
        try:
            receipt = decode(record.value or b"")
        except PARSER_ERRORS:
            pass_over(record)
            continue
        if receipt.id in met:
            continue
        met[receipt.id] = None
        if len(met) > REMEMBERED_IDS:
            met.popitem(last=False)
        if wanted.takes(receipt):
            yield receipt


async def receipts_about(
    video: str, records: AsyncIterator[Record], pass_over: Callable[[Record], None]
) -> list[Receipt]:
    """Return every decision about a video in their order; `Halt` if there is none."""
    wanted = ReceiptFilter(video)
    receipts = [receipt async for receipt in read_receipts(records, wanted, pass_over)]
    if not receipts:
        raise Halt(f"no decision about video {video} is in the topic")
    return sorted(receipts, key=lambda receipt: receipt.n)

"""Receipts as they are read: once each, and those that are wanted."""

from collections.abc import AsyncIterator

import pytest
from kit.stories import receipt
from msgspec.structs import replace

from streams.core.receipts import encode
from streams.errors import Halt
from streams.ops.decisions import ReceiptFilter, read_receipts, receipts_about
from streams.runtime.memory import MemoryLog
from streams.runtime.ports import Outgoing, Record

KEEP = receipt("keep", slice="discover:football")
STOP = replace(KEEP, id="v1.2", n=2, action="stop")
OTHER = replace(KEEP, id="v2.1", video="v2", slice="nearby:shenyang")


async def records(log: MemoryLog, *values: bytes) -> AsyncIterator[Record]:
    for value in values:
        yield log.append(Outgoing("t", value, partition=0))


async def ids(log: MemoryLog, wanted: ReceiptFilter, *values: bytes) -> tuple[list[str], list[int]]:
    passed: list[int] = []
    found = read_receipts(records(log, *values), wanted, lambda one: passed.append(one.offset))
    return [each.id async for each in found], passed


async def test_repeats_come_once_and_what_is_no_receipt_is_passed_over(log: MemoryLog) -> None:
    values = [encode(KEEP), b"no", encode(STOP), encode(KEEP), b"\xff", encode(OTHER)]
    assert await ids(log, ReceiptFilter(), *values) == (["v1.1", "v1.2", "v2.1"], [1, 4])


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (ReceiptFilter(video="v2"), ["v2.1"]),
        (ReceiptFilter(action="stop"), ["v1.2"]),
        (ReceiptFilter(slice="discover:football", action="keep"), ["v1.1"]),
        (ReceiptFilter(slice="following:fans"), []),
    ],
)
async def test_a_filter_leaves_what_is_wanted(
    log: MemoryLog, wanted: ReceiptFilter, expected: list[str]
) -> None:
    values = [encode(KEEP), encode(STOP), encode(OTHER)]
    assert await ids(log, wanted, *values) == (expected, [])


async def test_a_video_s_decisions_come_in_their_order(log: MemoryLog) -> None:
    stream = records(log, encode(STOP), encode(OTHER), encode(KEEP))
    assert await receipts_about("v1", stream, lambda _: None) == [KEEP, STOP]
    with pytest.raises(Halt, match="no decision about video v3"):
        await receipts_about("v3", records(log, encode(KEEP)), lambda _: None)

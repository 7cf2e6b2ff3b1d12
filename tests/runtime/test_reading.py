"""Stretches of partitions are read to their ends, in their order, and no further."""

from collections import defaultdict
from collections.abc import Mapping

import pytest

from streams.errors import Halt, Retry
from streams.runtime import reading
from streams.runtime.ledger import Skip, Skips
from streams.runtime.memory import MemoryLog, MemoryReader
from streams.runtime.ports import LogReader, Offsets, Outgoing, Place
from streams.runtime.reading import batches_of, record_at
from streams.runtime.skipping import SkippingReader

LOG = "log"


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "FETCH_MS", 1)
    monkeypatch.setattr(reading, "FETCH_RECORDS", 6)
    monkeypatch.setattr(reading, "SILENCE_S", 0)


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog()
    made.create(LOG, 3)
    for number in range(30):
        made.append(Outgoing(LOG, b"%d" % number, None, (), number % 3))
    return made


class PastMarkers(MemoryReader):
    """Passes a transaction's marker at the end, as Kafka's reader does."""

    async def position(self, topic: str, partition: int) -> int:
        at = await super().position(topic, partition)
        return at + 1 if at + 1 == self._log.offsets(topic, partition).end else at


async def offsets_in(reader: LogReader, spans: Mapping[Place, Offsets]) -> dict[int, list[int]]:
    read: defaultdict[int, list[int]] = defaultdict(list)
    async for records in batches_of(reader, spans):
        (partition,) = {record.partition for record in records}
        read[partition] += [record.offset for record in records]
    return dict(read)


async def test_each_is_read_from_its_start_to_before_its_end(log: MemoryLog) -> None:
    spans = {(LOG, 0): Offsets(0, 10), (LOG, 1): Offsets(3, 5), (LOG, 2): Offsets(9, 10)}
    read = await offsets_in(MemoryReader(log), spans)
    assert read == {0: list(range(10)), 1: [3, 4], 2: [9]}


async def test_of_empty_ones_nothing_is_asked(log: MemoryLog) -> None:
    reader = MemoryReader(log)
    assert await offsets_in(reader, {(LOG, 0): Offsets(4, 4), (LOG, 1): Offsets(5, 4)}) == {}
    assert reader.fetches == 0


async def test_an_end_without_a_record_is_one_all_the_same(log: MemoryLog) -> None:
    log.mark(LOG, 0)
    assert await offsets_in(PastMarkers(log), {(LOG, 0): Offsets(8, 11)}) == {0: [8, 9]}


async def test_what_is_skipped_to_the_end_is_not_read_over(log: MemoryLog) -> None:
    reader = MemoryReader(log)
    skips = Skips([Skip(0, 4, 9, "ada", "disk", 1_700_000_000_000)])
    skipping = SkippingReader(reader, LOG, skips)
    assert await offsets_in(skipping, {(LOG, 0): Offsets(4, 9)}) == {}
    assert reader.fetches == 0


async def test_what_is_read_no_more_is_not_read_in_the_background(log: MemoryLog) -> None:
    reader = MemoryReader(log)
    await offsets_in(reader, {(LOG, 0): Offsets(0, 10)})
    assert await reader.fetch(1, 1) == {}


async def test_who_says_nothing_is_named_and_not_waited_for(log: MemoryLog) -> None:
    spans = {(LOG, 0): Offsets(0, 10), (LOG, 2): Offsets(0, 11), (LOG, 1): Offsets(0, 12)}
    with pytest.raises(Retry, match=r"^log\[1\], log\[2\]: nothing was read for 0 s$"):
        await offsets_in(MemoryReader(log), spans)


async def test_what_the_log_lost_meanwhile_is_no_silence(log: MemoryLog) -> None:
    reader = MemoryReader(log)
    batches = batches_of(reader, {(LOG, 0): Offsets(0, 10)})
    await anext(batches)
    log.forget(LOG, 0, 8)
    with pytest.raises(Halt) as halted:
        await anext(batches)
    assert halted.value.code == "data_loss"


async def test_a_record_is_found_at_its_offset_alone(log: MemoryLog) -> None:
    reader = MemoryReader(log)
    found = await record_at(reader, (LOG, 1), 3)
    assert found is not None
    assert (found.offset, found.value) == (3, b"10")

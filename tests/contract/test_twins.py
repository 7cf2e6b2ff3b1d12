"""What the twins in memory offer beyond the ports: faults on demand, logs as they were."""

from collections.abc import Sequence

import pytest

from streams.core.state import FRESH, Changes
from streams.errors import Halt, Retry
from streams.runtime.memory.consumer import MemoryConsumer
from streams.runtime.memory.log import MemoryLog, MemoryRecord
from streams.runtime.memory.producer import MemoryProducer
from streams.runtime.memory.reader import MemoryReader
from streams.runtime.memory.store import MemoryStore
from streams.runtime.ports import Offsets, Outgoing, Record

CHANGES = Changes(0, {"v1": {"video": b"[1]"}}, FRESH)


def record(offset: int, partition: int = 0) -> Record:
    return MemoryRecord("log", partition, offset, 1_700_000_000_000, b"v1", b"%d" % offset)


async def test_a_flush_can_fail_before_it_wrote() -> None:
    store = MemoryStore()
    store.fail_next(Retry("busy"))
    with pytest.raises(Retry, match="busy"):
        await store.flush(0, "ns", -1, 9, CHANGES)
    assert await store.watermark(0) is None
    assert await store.flush(0, "ns", -1, 9, CHANGES) == "ok"


async def test_a_flush_can_lose_its_reply_after_it_wrote() -> None:
    store = MemoryStore()
    store.fail_next(Retry("lost"), reply_lost=True)
    with pytest.raises(Retry, match="lost"):
        await store.flush(0, "ns", -1, 9, CHANGES)
    assert await store.watermark(0) == 9
    assert await store.flush(0, "ns", -1, 9, CHANGES) == "noop"


async def test_a_send_can_fail_and_then_nothing_was_written() -> None:
    log = MemoryLog(now_ms=lambda: 1)
    log.create("log", 1)
    producer = MemoryProducer(log)
    producer.fail_next(Retry("not written"))
    lost = await producer.send(Outgoing("log", b"1"))
    with pytest.raises(Retry, match="not written"):
        await lost
    await (await producer.send(Outgoing("log", b"2")))
    assert [(one.offset, one.value) for one in log.records("log", 0)] == [(0, b"2")]


async def test_a_topic_or_partition_that_is_not_there_fails_the_send() -> None:
    log = MemoryLog()
    log.create("log", 1)
    for wrong in (Outgoing("none", b"", b"k"), Outgoing("log", b"", partition=1)):
        with pytest.raises(Retry, match="no partition"):
            await (await MemoryProducer(log).send(wrong))


def test_records_are_put_in_at_their_own_offsets() -> None:
    log = MemoryLog()
    log.create("log", 2)
    log.restore([record(70), record(73), record(5, 1)])
    assert (log.offsets("log", 0), log.offsets("log", 1)) == (Offsets(70, 74), Offsets(5, 6))
    assert [one.offset for one in log.read("log", 0, 71, 9)] == [73]
    assert log.append(Outgoing("log", b"", partition=0, timestamp=1)).offset == 74
    with pytest.raises(Halt, match="offset 73"):
        log.restore([record(73)])


def test_a_topic_created_again_is_another_topic() -> None:
    log = MemoryLog()
    log.create("log", 1)
    log.restore([record(0)])
    before = log.identity("log")
    log.create("log", 1)
    assert log.identity("log").topic_id != before.topic_id
    assert log.offsets("log", 0) == Offsets(0, 0)


def test_what_retention_deleted_cannot_be_read() -> None:
    log = MemoryLog()
    log.create("log", 1)
    log.restore([record(offset) for offset in range(5)])
    log.forget("log", 0, 9)
    assert log.offsets("log", 0) == Offsets(9, 9)
    assert list(log.read("log", 0, 9, 1)) == []
    with pytest.raises(Halt) as halted:
        log.read("log", 0, 4, 1)
    assert (halted.value.code, halted.value.partition) == ("data_loss", 0)


class Owner:
    def __init__(self) -> None:
        self.owned: tuple[int, ...] = ()

    async def on_assigned(self, partitions: Sequence[int]) -> None:
        self.owned = tuple(partitions)

    async def on_revoked(self, _: Sequence[int]) -> None:
        self.owned = ()


async def test_full_partitions_take_turns() -> None:
    log = MemoryLog()
    log.create("log", 2)
    log.restore(record(offset, partition) for offset in range(9) for partition in (0, 1))
    consumer = MemoryConsumer(log, "log", "g")
    await consumer.start(Owner())
    consumer.seek({0: 0, 1: 0})
    met = [set(await consumer.fetch(0, 2)) for _ in range(4)]
    assert met in ([{0}, {1}, {0}, {1}], [{1}, {0}, {1}, {0}])


async def test_a_partition_that_halts_costs_the_others_nothing() -> None:
    log = MemoryLog()
    log.create("log", 2)
    log.restore(record(offset, partition) for offset in range(9) for partition in (0, 1))
    log.forget("log", 1, 5)
    consumer = MemoryConsumer(log, "log", "g")
    await consumer.start(Owner())
    consumer.seek({0: 0, 1: 0})
    for _ in range(2):
        with pytest.raises(Halt, match="partition 1"):
            await consumer.fetch(0, 100)
    consumer.pause([1])
    assert len((await consumer.fetch(0, 100))[0]) == 9


async def test_members_share_partitions_in_even_runs() -> None:
    log = MemoryLog()
    log.create("log", 8)
    owners = [Owner() for _ in range(3)]
    consumers = [MemoryConsumer(log, "log", "g") for _ in owners]
    for owner, consumer in zip(owners, consumers, strict=True):
        await consumer.start(owner)
    assert [owner.owned for owner in owners] == [(0, 1, 2), (3, 4, 5), (6, 7)]
    await consumers[0].stop()
    assert [owner.owned for owner in owners[1:]] == [(0, 1, 2, 3), (4, 5, 6, 7)]


async def test_a_partition_without_a_leader_answers_nobody_and_costs_the_others_nothing() -> None:
    log = MemoryLog()
    log.create("log", 2)
    log.restore(record(offset, partition) for offset in range(3) for partition in (0, 1))
    log.leaderless.add(("log", 0))
    reader, consumer = MemoryReader(log), MemoryConsumer(log, "log", "g")
    await consumer.start(Owner())
    consumer.seek({0: 0, 1: 0})
    assert await reader.offsets("log", [0, 1]) == await consumer.offsets([0, 1])
    assert await reader.offsets("log", [0, 1]) == {1: Offsets(0, 3)}
    assert await reader.offsets_at("log", {0: 0, 1: 0}) == {1: 0}
    assert list(await consumer.fetch(0, 10)) == [1]
    with pytest.raises(Retry, match="no leader"):
        await (await MemoryProducer(log).send(Outgoing("log", b"", partition=0)))
    log.leaderless.clear()
    assert list(await consumer.fetch(0, 10)) == [0]

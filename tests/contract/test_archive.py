"""Archived rows are found by their pointers alone, on the twins and on a real Kafka."""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from typing import NamedTuple

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from kit.servers import create_topic

from streams.core.state import Archived
from streams.errors import Halt, Retry
from streams.runtime import archive
from streams.runtime.archive import DIGEST_BITS, Archive, ArchiveWriter, Stowed
from streams.runtime.kafka import KafkaProducer, KafkaReader
from streams.runtime.memory import MemoryLog, MemoryProducer, MemoryReader
from streams.runtime.ports import Outgoing, Producer

ROWS = {"video": '[2,"public","名"]'.encode(), "discover:cars": b"[2,[3,2]]"}


class World(NamedTuple):
    """A topic of its own, a producer, what reads it, and what takes away what lies before."""

    topic: str
    producer: Producer
    archive: Archive
    forget: Callable[[int, int], None]

    def writer(self, partition: int = 0) -> ArchiveWriter:
        return ArchiveWriter(self.producer, self.topic, partition)

    async def keep(
        self, videos: Mapping[str, Mapping[str, bytes]], partition: int = 0
    ) -> dict[str, Stowed]:
        writer = self.writer(partition)
        records = {video: writer.record_of(video, 41, rows) for video, rows in videos.items()}
        return await writer.write(videos, records)

    async def stray(self, count: int) -> None:
        for number in range(count):
            await (await self.producer.send(Outgoing(self.topic, b"{}", b"x%d" % number, (), 0)))


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.real)])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    topic = f"archive-{uuid.uuid4().hex[:12]}"
    made = _memory(topic)
    if request.param == "kafka":
        made = _kafka(topic, request.getfixturevalue("brokers"))
    await made.producer.start()
    yield made
    await made.archive.close()
    await made.archive.close()
    await made.producer.stop()


def _memory(topic: str) -> World:
    log = MemoryLog()
    log.create(topic, 2)
    reads = Archive(topic, lambda: MemoryReader(log))
    return World(topic, MemoryProducer(log), reads, lambda p, start: log.forget(topic, p, start))


def _kafka(topic: str, brokers: str) -> World:
    def forget(partition: int, start: int) -> None:
        admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
        place = TopicPartition(topic, partition, start)
        admin.delete_records([place])[place].result(30)

    create_topic(brokers, topic, 2)
    reads = Archive(topic, lambda: KafkaReader(brokers))
    return World(topic, KafkaProducer(brokers), reads, forget)


def pointers(kept: Mapping[str, Stowed]) -> dict[str, int]:
    return {video: each.pointer for video, each in kept.items()}


async def test_what_was_kept_is_read_by_its_pointer_byte_for_byte(world: World) -> None:
    await world.stray(3)
    kept = await world.keep({"v1": ROWS, "v-_9": {"video": b"[]"}})
    assert sorted(each.pointer >> DIGEST_BITS for each in kept.values()) == [3, 4]
    read = await world.archive.read(0, pointers(kept))
    assert read == {video: each.archived for video, each in kept.items()}
    assert read["v1"].rows == ROWS
    assert read["v1"].key.startswith(b"v1@41.")
    assert await world.archive.read(1, {}) == {}


async def test_no_two_records_have_one_key_whoever_writes_them(world: World) -> None:
    first, second = await world.keep({"v1": ROWS}), await world.keep({"v1": ROWS})
    assert first["v1"].archived.key != second["v1"].archived.key
    read = [await world.archive.read(0, pointers(kept)) for kept in (second, first)]
    assert [one["v1"] for one in read] == [second["v1"].archived, first["v1"].archived]


async def test_what_lies_far_apart_and_in_other_partitions_is_sought(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "NEAR", 5)
    kept = await world.keep({"a": ROWS})
    await world.stray(20)
    kept |= await world.keep({"b": ROWS})
    other = await world.keep({"c": ROWS}, partition=1)
    for _ in range(2):
        assert (await world.archive.read(0, pointers(kept))).keys() == {"a", "b"}
        assert (await world.archive.read(1, pointers(other)))["c"] == other["c"].archived


async def test_a_record_that_went_is_said_to_be_gone(world: World) -> None:
    kept = await world.keep({"v1": ROWS})
    await world.stray(2)
    world.forget(0, 2)
    with pytest.raises(Halt, match="where nothing stands any more: bring that topic back") as lost:
        await world.archive.read(0, pointers(kept))
    assert (lost.value.code, lost.value.partition) == ("archive_lost", 0)


async def test_another_record_at_its_place_is_not_taken_for_it(world: World) -> None:
    kept = await world.keep({"v1": ROWS, "v2": ROWS})
    pointer = kept["v1"].pointer
    for wrong in ({"v2": pointer}, {"v1": pointer ^ 1}, {"v1": kept["v2"].pointer}):
        with pytest.raises(Halt, match="where another record stands"):
            await world.archive.read(0, wrong)


async def test_a_place_that_the_topic_does_not_reach_is_said_to_be_empty(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SILENT_TRIES", 1)
    kept = await world.keep({"v1": ROWS})
    for offset in (1, 900):
        with pytest.raises(Halt, match="where nothing stands any more"):
            await world.archive.read(0, {"v1": offset << DIGEST_BITS})
    assert await world.archive.read(0, pointers(kept))


async def test_a_tombstone_has_the_key_of_what_is_to_go(world: World) -> None:
    archived = Archived(b"v1@7.ab", ROWS)
    assert world.writer(1).tombstone_of(archived) == Outgoing(world.topic, None, b"v1@7.ab", (), 1)


async def test_what_cannot_be_written_is_not_pointed_to() -> None:
    log = MemoryLog()
    log.create("archive", 1)
    producer = MemoryProducer(log)
    producer.fail_next(Retry("full"))
    writer = ArchiveWriter(producer, "archive", 0)
    records = {video: writer.record_of(video, 1, ROWS) for video in ("v1", "v2")}
    kept = await writer.write({"v1": ROWS, "v2": ROWS}, records)
    assert kept.keys() == {"v2"}


async def test_what_does_not_answer_is_asked_again_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "SILENT_TRIES", 1)
    monkeypatch.setattr(archive, "FETCH_MS", 1)
    world = _memory("archive")
    kept = await world.keep({"v1": ROWS})
    log = MemoryLog()
    log.create("archive", 1)
    log.restore([])
    log.leaderless.add(("archive", 0))
    silent = Archive("archive", lambda: MemoryReader(log))
    with pytest.raises(Retry, match=r"archive\[0\] does not answer"):
        await silent.read(0, pointers(kept))

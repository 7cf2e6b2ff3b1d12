"""What the crowd does reaches the topics whole, in order, and where the fold expects it."""

from pathlib import Path
from random import Random

import msgspec
import pytest
from kit.events import policy
from kit.keys import SPELLING

from streams.core.events import Impression, LogRecord, Upload
from streams.core.partitioner import partition_of
from streams.errors import Retry
from streams.lab.feed import Feed
from streams.lab.people import CrowdEvent, People
from streams.runtime.codec import decode_log
from streams.runtime.leases import Lease
from streams.runtime.memory.log import MemoryLog
from streams.runtime.memory.producer import MemoryProducer
from streams.settings import load_settings

SETTINGS = load_settings(Path(__file__).parents[2] / "config", environment={})
NOW = 1_700_000_000_000
PARTITIONS = 4


class Everything:
    """An index that leases every video everywhere."""

    def __init__(self) -> None:
        self.videos: list[str] = []

    async def lease(
        self, slice_id: str, count: int, most_each: int, fresh_share: int = 0, mix: object = None
    ) -> list[Lease]:
        del slice_id, fresh_share, mix
        return [Lease(video, most_each, 0, "rank", NOW, 7) for video in self.videos[:count]]


class Kept(People):
    """A crowd that remembers what it did."""

    done: list[CrowdEvent]

    async def step(self, now_ms: int) -> list[CrowdEvent]:
        happened = await super().step(now_ms)
        self.done += happened
        return happened


async def run(producer: MemoryProducer, steps: int) -> tuple[Feed, Kept]:
    index = Everything()
    crowd = Kept(Random(1), policy(), {}, index, 2_000)
    crowd.done = []
    feed = Feed(crowd, producer, SETTINGS, PARTITIONS)
    for step in range(steps):
        await feed.step(NOW + step * 200)
        index.videos = list(crowd.videos)
    await feed.settle()
    return feed, crowd


def topics() -> MemoryLog:
    log = MemoryLog(now_ms=lambda: NOW + 60_000)
    for name in ("uploads", "recognitions", "reviews", "interactions"):
        log.create(SETTINGS.topic(name), PARTITIONS)
    return log


async def test_every_event_arrives_in_the_partition_of_its_video_in_order() -> None:
    log = topics()
    feed, crowd = await run(MemoryProducer(log), steps=20)
    arrived: dict[str, list[LogRecord]] = {}
    for partition in range(PARTITIONS):
        decoded = decode_log(log.records("interactions", partition), None, SPELLING)
        assert decoded.refusals == []
        for event in decoded.events:
            assert partition_of(event.video.encode(), PARTITIONS) == partition
            arrived.setdefault(event.video, []).append(event)
    sent: dict[str, list[LogRecord]] = {}
    for event in crowd.done:
        if hasattr(event, "viewer"):
            sent.setdefault(event.video, []).append(event)
    assert arrived == sent
    assert feed.events == sum(map(len, sent.values())) > 1_000
    impressions = [event for event in crowd.done if isinstance(event, Impression)]
    assert {(event.via, event.score) for event in impressions} == {("rank", 7)}


async def test_uploads_go_to_their_topic_one_by_one() -> None:
    log = topics()
    _, crowd = await run(MemoryProducer(log), steps=2)
    values = [r.value for p in range(PARTITIONS) for r in log.records("uploads", p)]
    uploads = [msgspec.json.decode(value or b"", type=Upload) for value in values]
    distinct = {upload.video: upload for upload in uploads}
    assert distinct == {name: video.upload for name, video in crowd.videos.items()}


async def test_a_record_that_was_not_written_is_noticed() -> None:
    producer = MemoryProducer(topics())
    producer.fail_next(Retry("no"))
    with pytest.raises(Retry, match="no"):
        await run(producer, steps=2)

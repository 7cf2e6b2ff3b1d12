"""What becomes of events between `put` and the log: packed, in order, tried again, given up."""

import asyncio
import json
from collections.abc import Awaitable, Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.patience import PATIENCE_S

from streams.client import outbox as module
from streams.client.examples import EXAMPLES
from streams.client.intake import PublicEvent, check_event
from streams.client.outbox import EVENT_BYTES, Limits, Outbox, Parcel
from streams.core.events import Like
from streams.core.partitioner import partition_of
from streams.errors import Retry
from streams.runtime.memory.log import MemoryLog
from streams.runtime.memory.producer import MemoryProducer
from streams.runtime.ports import Outgoing, Record
from streams.settings import load_settings

SETTINGS = load_settings(Path(__file__).parents[2] / "config", {"topic_prefix": "p."}, {})
NOW_MS = 1_800_000_000_000
TOPICS = ("uploads", "recognitions", "reviews", "interactions")
NEVER_MS = 10_000_000


def like(number: int, video: str = "v") -> Like:
    return Like(f"e{number}", video, f"u{number}", "discover:football", NOW_MS)


class Brokers(MemoryProducer):
    """Brokers as a client sees them: acknowledging when told to, and losing what was sent since.

    As the real client does: after a loss all that is not acknowledged fails with the next renewal.
    """

    def __init__(self, log: MemoryLog) -> None:
        super().__init__(log)
        self.holding = self.away = False
        self.held: list[tuple[Outgoing, asyncio.Future[None]]] = []
        self.lost = False
        self.renewals = self.stops = 0

    async def send(self, record: Outgoing) -> Awaitable[None]:
        assert not self.lost, "nothing is sent before the client is renewed"
        if self.away:
            raise Retry("brokers are away")
        if not self.holding:
            return await super().send(record)
        self.held.append((record, asyncio.get_running_loop().create_future()))
        return self.held[-1][1]

    def acknowledge(self) -> None:
        """Acknowledge the oldest record that waits for it."""
        self.held.pop(0)[1].set_result(None)

    def lose(self) -> None:
        """Fail the oldest record that waits for its acknowledgement."""
        self.held.pop(0)[1].set_exception(Retry("lost"))
        self.lost = True

    async def renew(self) -> bool:
        if not self.lost:
            return False
        self.lost = self.holding = False
        self.renewals += 1
        for _, acknowledged in self.held:
            acknowledged.set_exception(Retry("its client was closed"))
        self.held.clear()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return True

    async def stop(self) -> None:
        self.stops += 1
        for _, acknowledged in self.held:
            acknowledged.set_exception(Retry("its client was closed"))


class Post:
    """An outbox that writes to an in-memory log."""

    def __init__(self, partitions: int = 4, **limits: float) -> None:
        self.log = MemoryLog(now_ms=lambda: NOW_MS)
        self.partitions = partitions
        for topic in TOPICS:
            self.log.create(f"p.{topic}", partitions)
        self.brokers = Brokers(self.log)
        self.time = 0.0
        self.given_up: list[tuple[Parcel, Retry]] = []
        self.outbox = Outbox(
            *(self.brokers, SETTINGS, self.log.topics(), Limits(**limits)),
            headers=[("x-producer", b"tests")],
            lost=lambda parcel, why: self.given_up.append((parcel, why)),
            clock=lambda: self.time,
        )

    def add(self, *events: PublicEvent) -> list[Parcel]:
        return [self.outbox.add(check_event(event, NOW_MS, 1 << 20)) for event in events]

    def records(self, topic: str = "interactions") -> list[Record]:
        logs = [self.log.records(f"p.{topic}", one) for one in range(self.partitions)]
        return [record for log in logs for record in log]

    def ids(self) -> list[str]:
        return [event["id"] for record in self.records() for event in events_of(record)]


def events_of(record: Record) -> Sequence[dict[str, str]]:
    value = json.loads(record.value)
    return value if isinstance(value, list) else [value]


@pytest.fixture(autouse=True)
def _hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_S", 0.0)


async def turns() -> None:
    """Let everything happen that waits for nothing."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_every_event_is_in_its_topic_with_its_video_as_key_and_the_producer_named() -> None:
    post = Post()
    post.add(*EXAMPLES)
    await post.outbox.flush()
    assert [len(post.records(topic)) for topic in TOPICS] == [2, 1, 1, 1]
    for record in (one for topic in TOPICS for one in post.records(topic)):
        assert record.key == events_of(record)[0]["video"].encode()
        assert record.partition == partition_of(record.key, 4)
        assert record.headers == (("x-producer", b"tests"),)


@given(
    videos=st.lists(st.sampled_from([f"v{n}" for n in range(20)]), max_size=60),
    batch=st.integers(1, 7),
)
def test_arrays_hold_one_partition_each_in_the_order_of_put(videos: list[str], batch: int) -> None:
    async def publish() -> Post:
        post = Post(batch=batch)
        post.add(*(like(number, video) for number, video in enumerate(videos)))
        await post.outbox.flush()
        return post

    post = asyncio.run(publish())
    for partition in range(4):
        records = post.log.records("p.interactions", partition)
        assert all(len(events_of(record)) <= batch for record in records)
        assert [event["id"] for record in records for event in events_of(record)] == [
            f"e{number}"
            for number, video in enumerate(videos)
            if partition_of(video.encode(), 4) == partition
        ]


async def test_an_array_that_nobody_fills_is_sent_after_its_time() -> None:
    post = Post(linger_ms=1)
    (parcel,) = post.add(like(1))
    assert post.ids() == []
    async with asyncio.timeout(PATIENCE_S):
        await parcel.written
    assert post.ids() == ["e1"]


async def test_who_put_an_event_hears_when_its_record_is_written() -> None:
    post = Post(batch=2, linger_ms=NEVER_MS)
    post.brokers.holding = True
    first, second, third = post.add(like(1), like(2), like(3))
    await turns()
    assert first is second
    assert first is not third
    assert not first.written.done()
    post.brokers.acknowledge()
    await first.written
    assert not third.written.done()


async def test_memory_is_bounded_and_eases_when_records_are_written() -> None:
    event = like(1)
    size = len(check_event(event, NOW_MS, 1 << 20).value) + EVENT_BYTES
    post = Post(batch=1, memory_bytes=3 * size)
    post.brokers.holding = True
    post.add(event, event)
    assert post.outbox.has_room
    post.add(event)
    assert not post.outbox.has_room
    waiting = asyncio.ensure_future(post.outbox.room())
    await turns()
    assert not waiting.done()
    post.brokers.acknowledge()
    await asyncio.wait_for(waiting, PATIENCE_S)


async def test_after_a_loss_what_came_behind_it_is_written_in_order_and_before_anything_new() -> (
    None
):
    post = Post(partitions=1, batch=1, patience_s=100)
    post.brokers.holding = True
    post.add(like(1))
    await turns()
    post.time = 50.0
    post.add(like(2), like(3), like(4))
    await turns()
    post.time = 100.0
    post.brokers.lose()
    post.add(like(5), like(6))
    await post.outbox.flush()
    assert post.brokers.renewals == 1
    assert post.ids() == ["e2", "e3", "e4", "e5", "e6"]
    assert [parcel.array.mark for parcel, _ in post.given_up] == [1]


async def test_a_record_that_failed_within_its_patience_is_written_in_its_place() -> None:
    post = Post(partitions=1, batch=1)
    post.brokers.holding = True
    post.add(like(1), like(2), like(3))
    await turns()
    post.brokers.lose()
    await post.outbox.flush()
    assert post.ids() == ["e1", "e2", "e3"]
    assert not post.given_up


@given(steps=st.lists(st.sampled_from(["put", "put", "lose", "acknowledge"]), max_size=40))
def test_whatever_is_lost_on_the_way_all_is_written_in_order(steps: list[str]) -> None:
    async def publish() -> tuple[list[str], int]:
        post, number = Post(partitions=1, batch=1), 0
        for step in steps:
            post.brokers.holding = True
            if step == "put":
                number += 1
                post.add(like(number))
            elif post.brokers.held and not post.brokers.lost:
                record = post.brokers.held[0][0]
                getattr(post.brokers, step)()
                if step == "acknowledge":
                    post.log.append(record)
            await turns()
        post.brokers.lost = True
        await post.brokers.renew()  # whatever is held fails
        await post.outbox.flush()
        return post.ids(), number

    ids, number = asyncio.run(publish())
    assert ids == [f"e{one}" for one in range(1, number + 1)]


async def test_while_brokers_are_away_nothing_is_lost_before_patience_ends() -> None:
    post = Post(patience_s=100)
    post.brokers.away = True
    (early,) = post.add(like(1))
    post.outbox.send_arrays()
    post.time = 99.0
    await turns()
    assert not early.written.done()
    (late,) = post.add(like(2))
    post.outbox.send_arrays()
    post.time = 101.0
    await turns()
    with pytest.raises(Retry, match="brokers are away"):
        await early.written
    post.brokers.away = False
    await late.written
    assert post.ids() == ["e2"]


async def test_a_partition_without_a_leader_holds_up_no_other() -> None:
    post = Post()
    dead = partition_of(b"v1", 4)
    other = next(f"w{n}" for n in range(99) if partition_of(f"w{n}".encode(), 4) != dead)
    post.log.leaderless.add(("p.interactions", dead))
    first, second = post.add(like(1, "v1"), like(2, other))
    post.outbox.send_arrays()
    await second.written
    assert not first.written.done()
    post.log.leaderless.clear()
    await post.outbox.flush()
    assert sorted(post.ids()) == ["e1", "e2"]


async def test_a_stop_gives_up_what_the_producer_could_not_write() -> None:
    post = Post(batch=1)
    post.brokers.holding = True
    sent, kept = post.add(like(1), like(2))
    await turns()
    post.brokers.acknowledge()
    await turns()
    await post.outbox.stop()
    assert post.brokers.stops == 1
    await sent.written
    with pytest.raises(Retry, match="closed"):
        await kept.written
    assert [parcel.array.values for parcel, _ in post.given_up] == [kept.array.values]


async def test_an_error_that_nobody_foresaw_ends_its_records_and_is_told() -> None:
    post = Post(batch=1)

    async def fail() -> bool:
        raise ValueError("a bug")

    post.brokers.renew = fail  # type: ignore[method-assign]
    (parcel,) = post.add(like(1))
    with pytest.raises(Retry, match="ValueError: a bug"):
        await parcel.written
    await post.outbox.flush()

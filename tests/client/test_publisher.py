"""The library as an application uses it: typed events, clear refusals, nothing lost in silence."""

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from kit.patience import until

from streams import client
from streams.client import (
    BlockingPublisher,
    EventRefused,
    Like,
    Limits,
    NoRoom,
    NotPublished,
    PublicEvent,
    Publisher,
    Upload,
    View,
    blocking,
    outbox,
    publisher,
)
from streams.client.examples import EXAMPLES
from streams.core.events import Hold
from streams.errors import Halt, Misconfigured, Retry
from streams.runtime.memory.log import MemoryLog
from streams.runtime.memory.producer import MemoryProducer
from streams.security import KafkaAddress

TOPICS = ("uploads", "recognitions", "reviews", "interactions")
TS = 1_714_557_600_000


def like(number: int, video: str = "v") -> Like:
    return Like(f"e{number}", video, f"u{number}", "discover:football", TS)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> MemoryLog:
    """What brokers hold, in memory; every publisher of the test writes there."""
    made = MemoryLog()
    for topic in TOPICS:
        made.create(f"p.{topic}", 4)
    monkeypatch.setattr(publisher, "KafkaProducer", lambda *_, **__: MemoryProducer(made))
    monkeypatch.setattr(outbox, "PAUSE_S", 0.0)
    return made


def asynchronous(**limits: float) -> Publisher:
    return Publisher("unused", "tests", topic_prefix="p.", limits=Limits(**limits))


def threaded(**limits: float) -> BlockingPublisher:
    return BlockingPublisher("unused", "tests", topic_prefix="p.", limits=Limits(**limits))


def events_in(log: MemoryLog, topic: str = "interactions") -> list[dict[str, Any]]:
    values = [json.loads(one.value) for p in range(4) for one in log.records(f"p.{topic}", p)]
    return [event for value in values for event in (value if isinstance(value, list) else [value])]


async def test_what_was_put_is_in_the_log_when_flush_returns_and_when_the_block_ends(
    log: MemoryLog,
) -> None:
    async with asynchronous() as open_one:
        await open_one.put(*EXAMPLES)
        await open_one.flush()
        assert len(events_in(log)) == 14
        await open_one.put(like(1))
    assert len(events_in(log)) == 15
    assert [len(events_in(log, topic)) for topic in TOPICS] == [2, 1, 1, 15]


def test_how_to_get_in_is_told_to_the_client_and_to_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[KafkaAddress] = []
    monkeypatch.setattr(publisher, "KafkaProducer", lambda address, *_, **__: told.append(address))
    security = {
        "security.protocol": "SASL_SSL",
        "sasl.mechanisms": "SCRAM-SHA-512",
        "sasl.username": "app",
        "sasl.password": "hunter2",
    }
    for made in (Publisher, BlockingPublisher):
        one = made("b:1", "tests", security=security)
        with pytest.raises(AttributeError):  # there is no client
            one.start() if made is BlockingPublisher else asyncio.run(one.start())
    assert [address.security.password.reveal for address in told] == ["hunter2"] * 2
    assert "hunter2" not in f"{told}"
    with pytest.raises(
        Misconfigured, match=r"security: sasl\.user is not known: did you mean sasl"
    ):
        Publisher("b:1", "tests", security={"sasl.user": "app"})


BAD: list[tuple[PublicEvent, str]] = [
    (like(1, "a video"), r"^Like: video has a character outside"),
    (Like("e", "v", "u", "discover:", TS), r"^Like: slice is not surface:group"),
    (Like("e", "v", "u", "discover:x", TS // 1000), r"^Like: ts is not in milliseconds"),
    (Like("e", "v", "u", "discover:x", 4_000_000_000_000), r"^Like: ts is more than 300 s ahead"),
    (View("e", "v", "u", "discover:x", TS, -1, 10), r"^View: watch_ms: outside its documented"),
    (View("e", "v", "u", "discover:x", TS, 1.5, 10), r"^View: watch_ms: Expected `int`"),
    (Upload("e", "v", "c", TS, 10, metadata={"at": object()}), r"^Upload: cannot be written as"),
    (Upload("e", "v", "c", TS, 10, title="\ud800"), r"^Upload: a string that is not UTF-8"),
    (Upload("e", "v", "c", TS, 10, title="x" * 2_001), r"^Upload: title: Expected `str` of length"),
    (Upload("e", "v", "c", TS, 10, metadata={"x": "y" * (2 << 20)}), r"^Upload: more than \d+"),
    (Hold("e", "v", TS, 1), r"^Hold: hold is a control record: only the control plane"),
]


@pytest.mark.parametrize(("event", "words"), BAD, ids=[words for _, words in BAD])
async def test_what_the_pipeline_would_refuse_is_refused_before_anything_is_sent(
    log: MemoryLog, event: PublicEvent, words: str
) -> None:
    async with asynchronous() as one:
        with pytest.raises(EventRefused, match=words) as refused:
            await one.put(like(1), event)
    assert refused.value.event is event
    assert events_in(log) == []
    with threaded() as other, pytest.raises(EventRefused, match=words):
        other.put(event)


async def test_a_topic_that_is_not_there_is_named_and_the_others_are_served(
    log: MemoryLog,
) -> None:
    log.delete("p.uploads")
    async with asynchronous() as one:
        await one.put(like(1))
        with pytest.raises(Halt, match=r"no topic p\.uploads"):
            await one.put(EXAMPLES[0])
    assert len(events_in(log)) == 1


@pytest.mark.parametrize("make", [asynchronous, threaded])
def test_without_any_topic_the_start_says_what_to_do(
    log: MemoryLog, make: Callable[[], Publisher | BlockingPublisher]
) -> None:
    for topic in TOPICS:
        log.delete(f"p.{topic}")
    made = make()
    with pytest.raises(Halt, match="streams topics apply --yes"):
        asyncio.run(made.start()) if isinstance(made, Publisher) else made.start()
    assert not [one for one in threading.enumerate() if one.name.startswith("publisher")]


def test_a_name_that_is_no_name_is_refused() -> None:
    with pytest.raises(Misconfigured, match='name is "my feed": write letters'):
        Publisher("unused", "my feed")


async def test_events_that_were_given_up_are_told_once_and_can_be_put_again(
    log: MemoryLog,
) -> None:
    log.leaderless.update(("p.interactions", partition) for partition in range(4))
    one = asynchronous(patience_s=0)
    await one.start()
    await one.put(like(1, "a"), like(2, "b"))
    with pytest.raises(NotPublished, match=r"^2 events were not written: .*no leader") as lost:
        await one.flush()
    log.leaderless.clear()
    assert sorted(event.id for event in lost.value.events) == ["e1", "e2"]
    await one.put(*lost.value.events)
    await one.close()
    assert sorted(event["id"] for event in events_in(log)) == ["e1", "e2"]


async def test_a_put_after_a_loss_takes_nothing_and_says_so(log: MemoryLog) -> None:
    log.leaderless.update(("p.interactions", partition) for partition in range(4))
    async with asynchronous(patience_s=0, linger_ms=0) as one:
        await one.put(like(1))
        await until(lambda: one._given_up)
        log.leaderless.clear()
        with pytest.raises(NotPublished) as lost:
            await one.put(like(2))
        assert [event.id for event in lost.value.events] == ["e1", "e2"]
    assert events_in(log) == []


def test_threads_share_a_publisher_and_flush_what_is_theirs(log: MemoryLog) -> None:
    missing: list[str] = []

    def handle(one: BlockingPublisher, worker: int) -> None:
        for number in range(50):
            event = like(number, f"v{worker}-{number}")
            one.put(event)
            if number % 10 == 9:
                one.flush()
                if event.video not in {found["video"] for found in events_in(log)}:
                    missing.append(event.video)

    with threaded(linger_ms=1) as one:
        threads = [threading.Thread(target=handle, args=(one, number)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not missing
    videos = [event["video"] for event in events_in(log)]
    assert len(videos) == len(set(videos)) == 400


def test_a_thread_that_finds_no_room_hears_of_it_in_time(
    log: MemoryLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocking, "WAITING_MAX", 2)
    log.leaderless.update(("p.interactions", partition) for partition in range(4))
    one = threaded(memory_bytes=1)
    one.start()

    def fill() -> None:
        for number in range(20):
            one.put(like(number), timeout_s=0.05)

    with pytest.raises(NoRoom, match="brokers are slow or away"):
        fill()
    log.leaderless.clear()
    one.close()
    ids = [event["id"] for event in events_in(log)]
    assert ids == [f"e{number}" for number in range(len(ids))]
    assert ids


def test_a_loss_is_told_to_a_thread_too(log: MemoryLog) -> None:
    log.leaderless.update(("p.interactions", partition) for partition in range(4))
    one = threaded(patience_s=0)
    one.start()
    one.put(like(1))
    with pytest.raises(NotPublished) as lost:
        one.close()
    assert [event.id for event in lost.value.events] == ["e1"]
    assert isinstance(lost.value, Retry)
    one.close()
    with pytest.raises(RuntimeError, match="closed"):
        one.put(like(2))


def test_a_publisher_that_is_not_started_says_so() -> None:
    with pytest.raises(RuntimeError, match="not started"):
        Publisher("unused", "tests").check(like(1))
    with pytest.raises(RuntimeError, match="not started"):
        BlockingPublisher("unused", "tests").flush()


def test_every_event_of_producers_is_at_hand_and_no_control_record() -> None:
    for kind in get_args(PublicEvent):
        assert getattr(client, kind.__name__) is kind
    assert not hasattr(client, "Hold")
    assert sorted(client.__all__) == client.__all__


def test_importing_it_loads_nothing_that_a_producer_does_not_need() -> None:
    heavy = {"faust", "mode", "rich", "click", "uvloop", "redis", "confluent_kafka", "aiohttp"}
    source = "import streams.client, sys; print(*{name.split('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", source]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert not heavy & set(done.stdout.split())
    assert "aiokafka" in done.stdout

"""The control plane on a real Kafka and Redis: what people decided outlives Redis."""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
import redis
from kit.rig import Rig

from streams.core.counters import decode_video
from streams.core.events import (
    Upload,
)
from streams.core.words import Review
from streams.runtime.kafka import KafkaProducer
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode

pytestmark = pytest.mark.real
VIDEO = b"v1"


@pytest.fixture
async def rig(brokers: str, fresh_redis_url: str, unique: str) -> AsyncIterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=2)
    assert made.run("topics", "apply", "--yes").returncode == 0
    yield made
    made.stop()


async def send(rig: Rig, topic: str, event: Upload | Review) -> None:
    producer = KafkaProducer(rig.brokers)
    await producer.start()
    await (await producer.send(Outgoing(f"{rig.prefix}{topic}", encode(event), VIDEO)))
    await producer.stop()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def upload() -> Upload:
    return Upload("u1", "v1", "c1", now_ms(), 15_000, title="周末足球赛", hashtags=("足球",))


def verdict(word: Any) -> Review:
    return Review(f"m-{word}", "v1", now_ms(), word, "moderator")


def stage(rig: Rig) -> str:
    """Return where the counters say that the video stands."""
    with redis.Redis.from_url(rig.redis_url) as client:
        rows = [client.hget(f"s:{{{p}}}:v:v1", "video") for p in range(rig.partitions)]
    return next((decode_video(row).stage for row in rows if row is not None), "unknown")


def documents(rig: Rig) -> list[bytes | None]:
    """Return what Redis holds of the video, by partition."""
    with redis.Redis.from_url(rig.redis_url) as client:
        return [client.get(f"s:{{{p}}}:d:v1") for p in range(rig.partitions)]


async def becomes(rig: Rig, wanted: str) -> None:
    await rig.until(lambda: stage(rig) == wanted, lambda: f"{stage(rig)}; {rig.logs()}")


async def test_a_verdict_counts_after_redis_was_emptied_and_rebuilt(rig: Rig) -> None:
    worker = rig.worker(only=None)
    await send(rig, "uploads", upload())
    await becomes(rig, "public")
    assert await worker.terminate() == 0
    known = documents(rig)
    assert any(known)
    with redis.Redis.from_url(rig.redis_url) as client:
        client.flushdb()
    plan = rig.run("counters", "rebuild")
    assert "read uploads, recognitions and reviews again" in plan.stdout
    assert "put back what Redis lost of the dossiers, from" in plan.stdout
    assert rig.run("counters", "rebuild", "--yes").returncode == 0
    again = rig.worker(only=None)
    await again.says("1 dossiers are back from topic")
    await again.says("the control topics are read again")
    await becomes(rig, "public")
    assert documents(rig) == known
    await send(rig, "reviews", verdict("limit"))
    await becomes(rig, "limited")
    assert await again.terminate() == 0
    assert not await rig.read(f"{rig.log}.dlq")


async def test_a_running_control_plane_notices_that_redis_was_emptied(rig: Rig) -> None:
    control = rig.worker(only="control")
    feedback = rig.worker()
    await send(rig, "uploads", upload())
    await becomes(rig, "public")
    assert await feedback.terminate() == 0
    with redis.Redis.from_url(rig.redis_url) as client:
        client.flushdb()
    await control.says("what the dossiers lost is read again")
    assert rig.run("counters", "rebuild", "--yes").returncode == 0
    rig.worker()
    await control.says("the control topics are read again")
    await send(rig, "reviews", verdict("limit"))
    await becomes(rig, "limited")

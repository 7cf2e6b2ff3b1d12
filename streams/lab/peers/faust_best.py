"""Faust at its fastest that keeps what it counted: uvloop, raw bytes, sums of a batch to Redis.

`take` is the library's way to batches, and slower: every event passes through a second task.
"""

from collections import Counter
from typing import Any

import faust
import uvloop
from redis.asyncio import Redis

from streams.lab.peers.faust_app import app_of, finish_hash, work
from streams.lab.peers.lap import Lap, Task, counter_of

BATCH = 2_000


def main() -> None:
    """Count until the bench ends this process."""
    task = Task.given()
    lap, redis = Lap(task), Redis.from_url(task.redis)
    uvloop.install()
    app = app_of(task)

    @app.agent(app.topic(task.topic, key_serializer="raw", value_serializer="raw"))
    async def count(values: Any) -> None:
        sums: Counter[str | None] = Counter()
        held: list[faust.Event] = []  # not acknowledged before Redis has what they count
        async for event in values.noack().events():
            sums[counter_of(event.value)] += 1
            held.append(event)
            if len(held) < min(BATCH, lap.left):
                continue
            await _add(redis, task.group, sums)
            for one in held:
                one.ack()
            if lap.passed(len(held)):
                await finish_hash(redis, task.group)
            sums.clear()
            held.clear()

    work(app)


async def _add(redis: Redis, name: str, sums: Counter[str | None]) -> None:
    async with redis.pipeline(transaction=False) as pipe:
        for counter, events in sums.items():
            if counter is not None:
                _ = pipe.hincrby(name, counter, events)
        await pipe.execute()


if __name__ == "__main__":
    main()

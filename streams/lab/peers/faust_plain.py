"""Faust as its guide shows it: a model, an agent, one `HINCRBY` an event."""

import faust
from redis.asyncio import Redis

from streams.lab.peers.faust_app import app_of, finish_hash, work
from streams.lab.peers.lap import Lap, Task


class Feedback(faust.Record, serializer="json"):
    """An event of the log; of a control record the type alone is read."""

    type: str
    video: str = ""
    slice: str = ""


def main() -> None:
    """Count until the bench ends this process."""
    task = Task.given()
    lap, redis = Lap(task), Redis.from_url(task.redis)
    app = app_of(task)

    @app.agent(app.topic(task.topic, value_type=Feedback))
    async def count(events: faust.StreamT[Feedback]) -> None:
        async for event in events:
            if event.slice:
                name = f"{event.video}|{event.slice}|{event.type}"
                await redis.hincrby(task.group, name, 1)
            if lap.passed():
                await finish_hash(redis, task.group)

    work(app)


if __name__ == "__main__":
    main()

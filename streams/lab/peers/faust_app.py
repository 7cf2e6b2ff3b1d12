"""What both Faust peers share: an app that counts into one hash of Redis, until it is ended."""

import sys

import faust
from redis.asyncio import Redis

from streams.lab.peers.lap import Task, finish


def app_of(task: Task) -> faust.App:
    """Return an app that makes no topic and serves no page."""
    return faust.App(
        task.group,
        broker=f"kafka://{task.brokers}",
        datadir=task.folder,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
    )


def work(app: faust.App) -> None:
    """Run the app; standard output is the bench's."""
    worker = faust.Worker(app, loglevel="error", stdout=sys.stderr, redirect_stdouts=False)
    worker.execute_from_commandline()


async def finish_hash(redis: Redis, name: str) -> None:
    """Tell how many events the hash has counted, and delete it."""
    counted = sum(map(int, await redis.hvals(name)))
    await redis.delete(name)
    finish(counted)

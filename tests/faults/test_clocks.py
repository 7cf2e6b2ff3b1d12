"""Hosts whose clocks are an hour off: those of producers, of workers and of control planes."""

import json
import time
from collections.abc import Iterator
from typing import Final

import pytest
from kit.events import Logged, records_of, videos_of, view
from kit.fork_server import CLOCK
from kit.rig import Feed, Rig, WorkerProcess

pytestmark = [pytest.mark.real, pytest.mark.slow]

HOUR_S: Final = 3_500
"""A little less: brokers refuse records that are an hour ahead of theirs."""


@pytest.fixture
def rig(brokers: str, fresh_redis_url: str, unique: str) -> Iterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=2)
    made.create_topics()
    yield made
    made.stop()


def on_host(rig: Rig, ahead_s: int) -> WorkerProcess:
    """Start both halves of a worker on a host with this clock."""
    environment = rig.environment() | {CLOCK: str(ahead_s)}
    rig.workers.append(WorkerProcess(environment, None))
    return rig.workers[-1]


def views(first: int, ahead_s: int) -> list[Logged]:
    """Return feedback of a producer with this clock: its events and its records are of it."""
    now = int(time.time() + ahead_s) * 1_000
    names = videos_of(0, 2, 4)
    numbers = range(first, first + 200)
    records = records_of([view(f"e{n}", video=names[n % 4], ts=now + n) for n in numbers])
    return [one._replace(timestamp=now + 1_000) for one in records]


async def test_hosts_an_hour_off_cost_no_counter_and_no_policy(rig: Rig) -> None:
    async with Feed(rig) as feed:
        ahead = on_host(rig, HOUR_S)
        await ahead.says("is in force in 2 partitions")
        await feed.send(views(0, HOUR_S))
        await rig.caught_up()
        assert await ahead.terminate() == 0

        behind = on_host(rig, -HOUR_S)
        await behind.says("leads in term 2")
        await feed.send(views(1_000, -HOUR_S))
        await feed.send(views(2_000, 0))
        await rig.caught_up()
        assert await behind.terminate() == 0
    rig.assert_exact()
    refused = rig.run("dlq", "stats", "--output", "json")
    assert not json.loads(refused.stdout), refused.stdout
    policy = rig.run("policy", "show", "--output", "json")
    assert policy.returncode == 0, policy.stderr

"""How far many feed servers show beyond the allowances that they lease from."""

from random import Random

import pytest
from kit.serving import Feeds

from streams.runtime.memory.serving import MemoryServingIndex
from streams.runtime.redis.serving import RedisServingIndex


async def test_a_thousand_feed_servers_stay_within_the_allowances() -> None:
    now = 1_800_000_000.0

    def pass_by(seconds: float) -> float:
        nonlocal now
        now += seconds
        return now

    feeds = Feeds(MemoryServingIndex(lambda: now), 1_000, 200, Random(1))
    await feeds.run(30, pass_by)
    print(feeds.report())  # noqa: T201 - the figure that is asked for
    granted = sum(feeds.allowances.values())
    assert granted == 200 * feeds.most
    assert feeds.beyond * 100 <= 5 * granted
    assert feeds.shown.total() >= 0.98 * granted, "what a server died with was lost"


@pytest.mark.real
async def test_feed_servers_on_redis_stay_within_the_allowances(fresh_redis_url: str) -> None:
    index = RedisServingIndex(fresh_redis_url)
    feeds = Feeds(index, 50, 20, Random(1))
    await feeds.run(24, lambda _: 0.0)
    print(feeds.report())  # noqa: T201 - the figure that is asked for
    await index.close()
    granted = sum(feeds.allowances.values())
    assert feeds.shown.total() > 0.8 * granted
    assert feeds.beyond * 100 <= 5 * granted

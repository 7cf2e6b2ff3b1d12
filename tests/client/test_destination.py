"""Where events go, on a cluster in memory."""

from pathlib import Path

import pytest

from streams.client.destination import look_up
from streams.errors import Halt
from streams.runtime.memory import MemoryCluster, MemoryLog
from streams.settings import PUBLISHED, load_settings

SETTINGS = load_settings(Path(__file__).parents[2] / "config", {"topic_prefix": "p."}, {})


async def cluster_with(**retention: str) -> MemoryCluster:
    cluster = MemoryCluster(MemoryLog())
    for name in PUBLISHED:
        configs = {"retention.ms": retention[name]} if name in retention else {}
        await cluster.create(f"p.{name}", 6, 1, configs)
    return cluster


async def test_missing_topics_are_named() -> None:
    with pytest.raises(Halt, match=r"no topic p\.uploads, .*: run `streams topics apply --yes`"):
        await look_up(MemoryCluster(MemoryLog()), SETTINGS, 0)


async def test_the_shortest_retention_says_what_is_too_old() -> None:
    cluster = await cluster_with(uploads="500", interactions="300", reviews="-1")
    assert await look_up(cluster, SETTINGS, 1_000) == (6, 700)


async def test_topics_that_keep_everything_take_everything() -> None:
    assert await look_up(await cluster_with(uploads="-1"), SETTINGS, 1_000) == (6, 0)

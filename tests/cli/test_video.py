import asyncio
import json

import pytest
from kit.command import streams

from streams.core.counters import Slice, Video, encode_slice, encode_video
from streams.core.partitioner import partition_of
from streams.core.state import FRESH, Changes
from streams.runtime.redis import RedisStore

PARTITION = partition_of(b"v1", 8)
ROW = Slice(impressions=150, views=120, likes=4, value_sum=33_720_000, status=1, allowance=500)


@pytest.fixture
def redis(fresh_redis_url: str) -> str:
    rows = {
        "v1": {
            "video": encode_video(
                Video(stage="public", decisions=3, fits={"discover:football": 5})
            ),
            "discover:football": encode_slice(ROW),
        }
    }

    async def write() -> None:
        store = RedisStore(fresh_redis_url)
        await store.flush(PARTITION, "ns", -1, 10, Changes(0, rows, FRESH))
        await store.close()

    asyncio.run(write())
    return fresh_redis_url


@pytest.mark.real
def test_counters_are_shown_by_name_in_each_slice(redis: str) -> None:
    done = streams("video", "show", "v1", "--output", "json", redis=redis)
    shown = json.loads(done.stdout)
    assert (shown["partition"], shown["stage"], shown["decisions"]) == (PARTITION, "public", 3)
    football = shown["slices"]["discover:football"]
    assert {name: football[name] for name in ("impressions", "views", "likes", "status")} == {
        "impressions": 150,
        "views": 120,
        "likes": 4,
        "status": "active",
    }
    assert football["check_views"] is None


@pytest.mark.real
def test_the_table_has_decimals(redis: str) -> None:
    table = streams("video", "show", "v1", redis=redis).stdout
    assert "value sum" in table
    assert "33.72" in table


@pytest.mark.real
def test_a_video_nobody_saw_is_told(redis: str) -> None:
    done = streams("video", "show", "v2", redis=redis)
    assert (done.returncode, "nothing is counted for video v2" in done.stderr) == (1, True)


@pytest.mark.parametrize("video", ["a b", "x" * 65, "{0}", "a:b", "", "é"])
def test_an_id_that_could_reach_another_key_is_refused(video: str) -> None:
    assert streams("video", "show", video, redis="redis://127.0.0.1:1").returncode == 2


def test_a_redis_that_does_not_answer_ends_with_4() -> None:
    done = streams("video", "show", "v1", redis="redis://127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)

import asyncio
import json

import pytest
from kit.command import CONFIG, Where, streams
from kit.events import FIXED, FOOTBALL, admit, impression, view
from kit.folding import Folding, placed
from kit.keys import INSTALLATION, announce
from kit.servers import create_topic

from streams.core.partitioner import partition_of
from streams.runtime.kafka import KafkaCluster
from streams.runtime.namespace import namespace_of
from streams.runtime.redis import RedisStore
from streams.settings import load_settings

PARTITIONS = 8
PARTITION = partition_of(b"v1", PARTITIONS)
SEEN = [
    event
    for n in range(4)
    for event in (impression(f"i{n}", viewer=f"u{n}"), view(f"w{n}", viewer=f"u{n}"))
]


@pytest.fixture
def where(brokers: str, fresh_redis_url: str, unique: str) -> Where:
    """A log, and in Redis what a worker makes of an admission and four views."""
    create_topic(brokers, f"{unique}.interactions", PARTITIONS)
    create_topic(brokers, f"{unique}.policies", 1)
    folding = Folding(partition=PARTITION, partitions=PARTITIONS)
    folding.fold(placed([FIXED, admit(guarantee=30), *SEEN]))
    here: Where = {"brokers": brokers, "redis": fresh_redis_url, "topic_prefix": f"{unique}."}

    settings = load_settings(CONFIG, here, environment={})
    announce(brokers, settings)

    async def write() -> None:
        identity = await KafkaCluster(brokers).identity(settings.topic("interactions"))
        namespace = namespace_of(identity, INSTALLATION.id)
        store = RedisStore(fresh_redis_url)
        await store.flush(PARTITION, namespace, -1, 10, folding.state.take_changes())
        await store.close()

    asyncio.run(write())
    return here


@pytest.mark.real
def test_open_crowds_and_counters_are_shown_by_name(where: Where) -> None:
    done = streams("video", "show", "v1", "--output", "json", **where)
    shown = json.loads(done.stdout)
    assert (shown["partition"], shown["stage"], shown["policy"]) == (PARTITION, "public", "fixed-1")
    football = shown["slices"][FOOTBALL]
    assert (football["impressions"], football["views"], football["status"]) == (4, 4, "active")
    opened = {crowd["slice"]: crowd for crowd in shown["open"]}
    assert {name: crowd["stored"] for name, crowd in opened.items()} == {
        name: name == FOOTBALL for name in FIXED.slices if name.startswith("discover:")
    }
    assert sum(crowd["owed"] for crowd in opened.values()) == 26


@pytest.mark.real
def test_the_table_has_decimals_and_a_line_for_each_open_crowd(where: Where) -> None:
    table = streams("video", "show", "v1", **where).stdout
    assert "ratio sum" in table
    (line,) = [text for text in table.splitlines() if text.startswith("discover:music")]
    assert line.split()[1:3] == ["idle", "no"]
    assert all("0." in number for number in line.split()[3:8])


@pytest.mark.real
def test_a_video_nobody_saw_is_told(where: Where) -> None:
    done = streams("video", "show", "v2", **where)
    assert (done.returncode, "nothing is counted for video v2" in done.stderr) == (1, True)


@pytest.mark.parametrize("video", ["a b", "x" * 65, "{0}", "a:b", "", "é"])
def test_an_id_that_could_reach_another_key_is_refused(video: str) -> None:
    assert streams("video", "show", video, redis="redis://127.0.0.1:1").returncode == 2


def test_a_redis_that_does_not_answer_ends_with_4() -> None:
    done = streams("video", "show", "v1", redis="redis://127.0.0.1:1")
    assert (done.returncode, done.stderr.count("\n")) == (4, 1)

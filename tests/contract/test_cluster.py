"""The contract of `Cluster`, for memory and for a real Kafka."""

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

import pytest
from kit.patience import until
from kit.servers import leaders

from streams.errors import Halt, Retry
from streams.runtime.kafka import KafkaCluster, KafkaConsumer
from streams.runtime.memory.cluster import MemoryCluster
from streams.runtime.memory.consumer import MemoryConsumer
from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import Cluster, LogConsumer

CONFIGS = {"retention.ms": "86400000", "cleanup.policy": "delete"}


class Seeking:
    """Begins at the start of what it is assigned."""

    def __init__(self) -> None:
        self.owned: set[int] = set()

    async def on_assigned(self, partitions: Sequence[int]) -> None:
        self.owned = set(partitions)

    async def on_revoked(self, _: Sequence[int]) -> None:
        self.owned = set()


class Bench(NamedTuple):
    """A cluster to judge; names of its own for a test's topic and group."""

    cluster: Cluster
    name: str
    create: Callable[[], Awaitable[None]]
    join: Callable[[], Awaitable[LogConsumer]]  # a member of the group `name`, owning the topic


@pytest.fixture(params=["memory", pytest.param("kafka", marks=pytest.mark.real)])
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    name = f"cluster-{uuid.uuid4().hex[:12]}"
    members: list[LogConsumer] = []
    brokers = "" if request.param == "memory" else request.getfixturevalue("brokers")
    log = MemoryLog()
    cluster: Cluster = KafkaCluster(brokers) if brokers else MemoryCluster(log)

    async def has_groups() -> bool:
        with suppress(Retry):
            return await cluster.committed(name) == {}
        return False

    async def create() -> None:
        await cluster.create(name, 2, 1, CONFIGS)
        while brokers and not usable(brokers, name):
            pass

    async def join() -> LogConsumer:
        made = (
            KafkaConsumer(brokers, name, name, 6_000)
            if brokers
            else MemoryConsumer(log, name, name)
        )
        members.append(made)
        seeking = Seeking()
        await made.start(seeking)
        while seeking.owned != {0, 1}:
            await made.fetch(50, 1)
        return made

    await until(has_groups)  # a broker that has just started loads them when first asked
    yield Bench(cluster, name, create, join)
    for member in members:
        await member.stop()


def usable(brokers: str, topic: str) -> bool:
    leading: Mapping[int, int | None] = leaders(brokers, topic)
    return set(leading) == {0, 1} and None not in leading.values()


async def test_a_topic_is_made_with_its_partitions_and_configuration(bench: Bench) -> None:
    assert bench.name not in await bench.cluster.describe()
    await bench.create()
    assert (await bench.cluster.describe())[bench.name] == 2
    assert CONFIGS.items() <= (await bench.cluster.configs(bench.name)).items()


async def test_a_topic_that_exists_is_not_made_again(bench: Bench) -> None:
    await bench.create()
    before = await bench.cluster.identity(bench.name)
    with pytest.raises(Halt):
        await bench.cluster.create(bench.name, 4, 1, {})
    assert await bench.cluster.identity(bench.name) == before


async def test_a_topic_made_again_is_another_one_of_the_same_cluster(bench: Bench) -> None:
    await bench.create()
    first = await bench.cluster.identity(bench.name)
    assert (first.topic, first.partitions) == (bench.name, 2)
    assert first.cluster_id
    assert first.topic_id
    assert await bench.cluster.identity(bench.name) == first
    await bench.cluster.delete(bench.name)
    while bench.name in await bench.cluster.describe():
        pass
    await bench.create()
    second = await bench.cluster.identity(bench.name)
    assert second.cluster_id == first.cluster_id
    assert second.topic_id != first.topic_id


async def test_setting_one_entry_leaves_the_others(bench: Bench) -> None:
    await bench.create()
    await bench.cluster.set_configs(bench.name, {"retention.ms": "3600000"})
    found = await bench.cluster.configs(bench.name)
    assert (found["retention.ms"], found["cleanup.policy"]) == ("3600000", "delete")


async def test_what_does_not_exist_halts(bench: Bench) -> None:
    with pytest.raises(Halt) as halted:
        await bench.cluster.identity(bench.name)
    assert halted.value.code == "topic_missing"
    with pytest.raises(Halt):
        await bench.cluster.configs(bench.name)
    with pytest.raises(Halt):
        await bench.cluster.delete(bench.name)
    with pytest.raises(Halt):
        await bench.cluster.forget_group(bench.name)


async def test_a_group_is_known_by_what_it_committed(bench: Bench) -> None:
    await bench.create()
    assert await bench.cluster.committed(bench.name) == {}
    member = await bench.join()
    await member.commit({0: 7})
    assert await bench.cluster.committed(bench.name) == {(bench.name, 0): 7}
    groups = await bench.cluster.groups()
    assert bench.name in groups
    assert list(groups) == sorted(groups)


async def test_a_groups_members_are_known_with_what_they_own(bench: Bench) -> None:
    await bench.create()
    assert list(await bench.cluster.members(bench.name)) == []
    member = await bench.join()
    [known] = await bench.cluster.members(bench.name)
    assert known.places == {(bench.name, 0), (bench.name, 1)}
    assert known.client_id
    assert known.host in ("127.0.0.1", "localhost")
    await member.stop()
    assert list(await bench.cluster.members(bench.name)) == []


async def test_a_group_is_forgotten_once_it_has_no_members(bench: Bench) -> None:
    await bench.create()
    member = await bench.join()
    await member.commit({0: 7})
    with pytest.raises(Halt):
        await bench.cluster.forget_group(bench.name)
    assert await bench.cluster.committed(bench.name) == {(bench.name, 0): 7}
    await member.stop()
    await bench.cluster.forget_group(bench.name)
    assert await bench.cluster.committed(bench.name) == {}
    assert bench.name not in await bench.cluster.groups()


async def test_a_session_timeout_has_bounds_where_the_brokers_tell(bench: Bench) -> None:
    bounds = await bench.cluster.session_timeouts()
    assert bounds is None or 0 < bounds[0] < bounds[1]


@pytest.mark.real
async def test_a_real_broker_tells_the_bounds_of_a_session_timeout(brokers: str) -> None:
    assert await KafkaCluster(brokers).session_timeouts() == (1_000, 1_800_000)

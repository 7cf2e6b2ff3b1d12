"""Who keeps which partitions when members of a group come, go and come back, on a real Kafka."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest
from aiokafka import AIOKafkaConsumer
from kit.patience import until
from kit.servers import create_topic

from streams.errors import Halt, StreamsError
from streams.runtime.kafka import KafkaCluster, KafkaConsumer

pytestmark = pytest.mark.real

PARTITIONS = 8
SESSION_MS = 6_000
LONG_SESSION_MS = 30_000
"""Longer than anybody leaves, whatever the machine."""


class Member:
    """A consumer that is kept going, and what its group did to it."""

    def __init__(self, consumer: KafkaConsumer) -> None:
        self.consumer = consumer
        self.owned: set[int] = set()
        self.assignments = 0
        self.failed: StreamsError | None = None
        self.may_join = asyncio.Event()
        self.may_join.set()
        self._task: asyncio.Task[None] | None = None

    async def on_assigned(self, partitions: Sequence[int]) -> None:
        self.owned = set(partitions)
        self.assignments += 1

    async def on_revoked(self, partitions: Sequence[int]) -> None:
        self.owned -= set(partitions)
        await self.may_join.wait()

    async def start(self) -> "Member":
        await self.consumer.start(self)
        self._task = asyncio.create_task(self._fetch())
        return self

    async def _fetch(self) -> None:
        while self.failed is None:
            try:
                await self.consumer.fetch(20, 1)
            except Halt as error:
                self.failed = error

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        await self.consumer.stop()


Join = Callable[..., Awaitable[Member]]


@pytest.fixture
async def join(brokers: str, unique: str) -> AsyncIterator[Join]:
    create_topic(brokers, unique, PARTITIONS)
    members: list[Member] = []

    async def join(instance: str = "", session_ms: int = SESSION_MS) -> Member:
        consumer = KafkaConsumer(brokers, unique, unique, session_ms, instance=instance)
        members.append(Member(consumer))
        return await members[-1].start()

    yield join
    for member in members:
        await member.stop()


async def shared(*members: Member) -> None:
    """Return when members have all partitions between them, each as many."""
    share = PARTITIONS // len(members)
    await until(lambda: all(len(member.owned) == share for member in members))


async def test_a_member_that_comes_back_under_its_name_disturbs_nobody(join: Join) -> None:
    first, second = await join("a"), await join("b")
    await shared(first, second)
    had, assignments = second.owned, first.assignments
    await second.stop()
    again = await join("b")
    await until(lambda: bool(again.owned))
    assert again.owned == had
    assert first.assignments == assignments
    assert len(first.owned) == PARTITIONS // 2


async def test_a_member_without_a_name_leaves_and_its_partitions_are_shared_at_once(
    join: Join,
) -> None:
    first, second = [await join(session_ms=LONG_SESSION_MS) for _ in range(2)]
    await shared(first, second)
    async with asyncio.timeout(LONG_SESSION_MS / 1000):
        await second.stop()
        await until(lambda: len(first.owned) == PARTITIONS)


async def test_a_member_leaves_also_while_it_waits_for_others_to_join(
    join: Join, brokers: str, unique: str
) -> None:
    """If the group did not know, all would wait for it, a session long."""
    first, cluster = await join(session_ms=LONG_SESSION_MS), KafkaCluster(brokers)
    await until(lambda: len(first.owned) == PARTITIONS)
    first.may_join.clear()
    second = await join(session_ms=LONG_SESSION_MS)

    async def both_are_known() -> bool:
        return len(await cluster.members(unique)) == 2

    await until(both_are_known)
    assert not second.owned
    await second.stop()
    assert len(await cluster.members(unique)) == 1
    first.may_join.set()
    await until(lambda: len(first.owned) == PARTITIONS)


async def test_who_stays_keeps_what_can_stay(join: Join) -> None:
    first, second = await join(), await join()
    await shared(first, second)
    before = (set(first.owned), set(second.owned))
    others = [await join(), await join()]
    await shared(first, second, *others)
    assert first.owned < before[0]
    assert second.owned < before[1]
    kept = (set(first.owned), set(second.owned))
    await others[0].stop()
    await others[1].stop()
    await shared(first, second)
    assert first.owned > kept[0]
    assert second.owned > kept[1]


async def test_of_two_members_with_one_name_the_older_ends_and_says_why(join: Join) -> None:
    older = await join("a")
    await until(lambda: bool(older.owned))
    newer = await join("a")
    await until(lambda: older.failed is not None)
    assert isinstance(older.failed, Halt)
    assert older.failed.code == "fenced"
    assert "goes by the same name, a: give each an --instance of its own" in str(older.failed)
    await until(lambda: len(newer.owned) == PARTITIONS)
    assignments = newer.assignments
    await older.stop()
    assert (newer.failed, newer.assignments) == (None, assignments)


async def test_a_member_of_an_older_version_may_be_of_the_group(
    join: Join, brokers: str, unique: str
) -> None:
    old = AIOKafkaConsumer(unique, bootstrap_servers=brokers, group_id=unique)
    await old.start()
    new = await join()
    await until(lambda: len(new.owned) == len(old.assignment()) == PARTITIONS // 2)
    await old.stop()
    await until(lambda: len(new.owned) == PARTITIONS)

"""Who may lead: the owner of partition 0 of the keeper's topic, on the twins in memory."""

import asyncio

import pytest

from streams.control.policy.election import TOPIC, Election
from streams.errors import Halt, Retry
from streams.runtime.memory import MemoryConsumer, MemoryLog
from streams.runtime.ports import Outgoing

GROUP = "keeper"


@pytest.fixture
def log() -> MemoryLog:
    made = MemoryLog()
    made.create(TOPIC, 2)
    return made


def election(log: MemoryLog) -> Election:
    return Election(lambda: MemoryConsumer(log, TOPIC, GROUP))


async def test_the_first_member_owns_and_is_told_so(log: MemoryLog) -> None:
    only = election(log)
    assert not only.owns
    await only.start()
    assert await only.dealt(1)
    assert only.owns
    await only.stop()


async def test_of_many_members_one_owns_and_the_next_follows_it(log: MemoryLog) -> None:
    members = [election(log) for _ in range(3)]  # one more than partitions
    for member in members:
        await member.start()
        assert await member.dealt(1)
    assert [member.owns for member in members] == [True, False, False]
    await members[0].stop()
    assert [member.owns for member in members] == [False, True, False]
    await members[1].stop()
    assert [member.owns for member in members] == [False, False, True]
    await members[2].stop()
    assert log.members(GROUP) == []


async def test_it_reads_and_commits_nothing(log: MemoryLog) -> None:
    member = election(log)
    await member.start()
    log.append(Outgoing(TOPIC, b"{}", partition=0))
    await asyncio.sleep(0)
    assert log.committed(GROUP) == {}
    await member.stop()
    await member.stop()


async def test_without_the_topic_it_does_not_start() -> None:
    with pytest.raises(Halt, match="topic traffic does not exist"):
        await election(MemoryLog()).start()


class Failing(MemoryConsumer):
    """Fails to read once, then reads on."""

    failed = asyncio.Event()

    async def fetch(self, timeout_ms: int, max_records: int) -> dict[int, list[object]]:  # type: ignore[override]
        if not self.failed.is_set():
            self.failed.set()
            raise Retry("no broker")
        await super().fetch(timeout_ms, max_records)
        return {}


async def test_brokers_that_fail_for_now_cost_it_no_membership(log: MemoryLog) -> None:
    member = Election(lambda: Failing(log, TOPIC, GROUP))
    await member.start()
    await Failing.failed.wait()
    await asyncio.sleep(0)
    assert member.owns
    assert len(log.members(GROUP)) == 1
    await member.stop()


async def test_a_group_that_does_not_deal_is_not_waited_for_without_end(log: MemoryLog) -> None:
    assert not await election(log).dealt(0)

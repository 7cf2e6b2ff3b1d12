"""Which policy is in force, by the log alone, on the twins in memory."""

import logging
from collections.abc import Awaitable
from typing import Any

import msgspec
import pytest
from kit.control import NOW, RULES, Office, Process
from kit.events import view
from kit.keys import KEY, SIGNER
from kit.twins import LOG

from streams.control.policy.file import PolicyRules
from streams.core.events import Policy
from streams.errors import Halt, Retry
from streams.runtime.memory import MemoryLog, MemoryProducer
from streams.runtime.ports import Outgoing
from streams.runtime.signing import Signer, control_record, encode

FIFTY_MINUTES_MS = 3_000_000
MICROSECONDS = 1_700_000_000_000_000
"""A number such as a clock gave once."""


@pytest.fixture
def office() -> Office:
    return Office()


def another(name: str) -> PolicyRules:
    return msgspec_copy(RULES.policy, version=f"{name}-1234abcd")


def msgspec_copy(rules: PolicyRules, **changes: Any) -> PolicyRules:
    draft = msgspec.structs.replace(rules.draft, **changes)
    return PolicyRules(draft, rules.guarantee)


def in_force(office: Office) -> list[tuple[int, str]]:
    """Return number and version of the policy that each partition has in force."""
    metas = [office.world.meta(partition).policy for partition in range(2)]
    policies = [msgspec.json.decode(raw, type=Policy) for raw in metas]
    return [(one.seq, one.version) for one in policies]


def put_by_hand(office: Office, seq: int, rules: PolicyRules = RULES.policy) -> None:
    for partition in range(2):
        record = control_record(LOG, rules.record(seq, NOW), SIGNER, partition)
        office.world.log.append(record)


async def test_the_first_policy_is_number_one_and_in_force_when_counted(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "streams.control"):
        process = await Process(office).start()
        await process.broadcast.look()
        assert "is in force" not in caplog.text
        assert process.metrics.policy_waiting._value.get() == 2
        await office.count()
        await process.broadcast.look()
    version = RULES.policy.version
    assert in_force(office) == [(1, version)] * 2
    assert caplog.text.count(f"policy {version} is in force in 2 partitions") == 1
    assert process.metrics.policy_waiting._value.get() == 0
    assert process.metrics.policy_number._value.get() == 1


async def test_a_start_with_unchanged_files_writes_nothing(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    await Process(office).start()
    await office.count()
    before = len(office.policies())
    with caplog.at_level(logging.INFO, "streams.control"):
        again = await Process(office).start()
    assert len(office.policies()) == before
    assert "is in force in 2 partitions" in caplog.text
    assert again.broadcast.waiting == {}


async def test_a_changed_policy_follows_on_whatever_number_a_clock_once_gave(
    office: Office,
) -> None:
    put_by_hand(office, MICROSECONDS + FIFTY_MINUTES_MS * 1000)
    await office.count()
    process = await Process(office).start()
    await process.broadcast.put(another("bolder"))
    await office.count()
    assert [version for _, version in in_force(office)] == ["bolder-1234abcd"] * 2
    assert office.refused(LOG) == []


@pytest.mark.parametrize("hours", [-26_280, 1, 26_280])
async def test_a_host_far_ahead_or_behind_the_log_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    monkeypatch.setattr("streams.control.policy.broadcast.now_ms", lambda: NOW + hours * 3_600_000)
    office = Office()
    process = await Process(office).start()
    await process.broadcast.put(another("bolder"))
    await office.count()
    assert office.refused(LOG) == []
    assert in_force(office) == [(2, "bolder-1234abcd")] * 2


async def test_its_time_is_that_of_the_latest_event_counted() -> None:
    office = Office()
    event = view("e1", video="v0")
    office.world.log.append(Outgoing(LOG, encode(event), b"v0"))
    await office.count()
    await Process(office).start()
    assert {policy.ts for policy in office.policies()} == {event.ts}


async def test_a_policy_that_stood_unseen_in_the_log_is_overtaken_in_turn(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    await Process(office).start()
    await office.count()
    put_by_hand(office, 2, another("unseen"))
    process = await Process(office).start()  # all partitions still have its own in force
    assert process.broadcast.waiting != {}
    await office.count()
    assert [version for _, version in in_force(office)] == ["unseen-1234abcd"] * 2
    await process.broadcast.look()
    assert "was overtaken in partitions [0, 1]" in caplog.text
    await office.count()
    await process.broadcast.look()
    assert in_force(office) == [(3, RULES.policy.version)] * 2
    assert process.broadcast.waiting == {}


async def test_a_policy_of_the_same_number_that_came_first_is_overtaken(office: Office) -> None:
    process = await Process(office).start()
    await office.count()
    await process.broadcast.look()
    put_by_hand(office, 2, another("first"))
    await process.broadcast.put(another("second"))  # number 2 as well: a duplicate there
    await office.count()
    process.now_s += 2
    await process.broadcast.look()
    await office.count()
    await process.broadcast.look()
    assert in_force(office) == [(3, "second-1234abcd")] * 2


async def test_of_two_control_planes_the_later_one_wins_and_both_rest(office: Office) -> None:
    one, two = Process(office), Process(office)
    await one.broadcast.put(another("one"))
    await two.broadcast.put(another("two"))
    for _ in range(200):
        for process in (one, two):
            process.now_s += 0.5
            await office.count()
            await process.broadcast.look()
        if not (one.broadcast.waiting or two.broadcast.waiting):
            break
    assert (one.broadcast.waiting, two.broadcast.waiting) == ({}, {})
    written = len(office.policies())
    for process in (one, two):
        process.now_s += 1_000
        await process.broadcast.look()
    assert len(office.policies()) == written


class OneIsAway(MemoryProducer):
    """Writes to every partition but 1, until told otherwise."""

    away = True

    async def send(self, record: Outgoing) -> Awaitable[None]:
        if self.away and record.partition == 1:
            raise Retry("no leader")
        return await super().send(record)


async def test_a_partition_that_does_not_answer_keeps_it_from_no_other(office: Office) -> None:
    producer = OneIsAway(office.world.log)
    process = await Process(office, producer=producer).start()
    assert [len(office.world.log.records(LOG, p)) for p in range(2)] == [1, 0]
    producer.away = False
    process.now_s += 2
    await process.broadcast.look()
    await office.count()
    await process.broadcast.look()
    assert in_force(office) == [(1, RULES.policy.version)] * 2
    assert process.broadcast.waiting == {}


async def test_without_a_worker_it_says_once_that_the_policy_waits(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    process = Process(office)
    await process.broadcast.put(RULES.policy)
    for _ in range(3):
        process.now_s += 60
        await process.broadcast.look()
    assert caplog.text.count("waits for a worker in partitions [0, 1]") == 1


async def test_counters_of_another_installation_refuse_the_start(office: Office) -> None:
    await Process(office).start()
    await office.count()
    other = Process(office, signer=Signer("fedcba9876543210", KEY))
    with pytest.raises(Halt, match="its counters differ in installation") as halt:
        await other.broadcast.check()
    assert halt.value.code == "namespace"


async def test_counters_of_another_log_refuse_the_start(office: Office) -> None:
    await Process(office).start()
    await office.count()
    log: MemoryLog = office.world.log
    log.create(LOG, 2)
    with pytest.raises(Halt, match="its counters differ in id"):
        await Process(office).broadcast.check()

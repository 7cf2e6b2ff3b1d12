"""Dropping the counters: planned, refused while somebody counts, done partition by partition."""

import pytest

from streams.core.counters import Slice, encode_slice
from streams.core.state import FRESH, Changes
from streams.errors import Halt
from streams.ops.rebuild import RebuildPlan, drop_counters, plan_rebuild
from streams.runtime.memory import (
    MemoryCluster,
    MemoryConsumer,
    MemoryDossiers,
    MemoryLog,
    MemoryReader,
    MemoryStore,
)
from streams.runtime.ports import Outgoing


async def filled_store() -> MemoryStore:
    store = MemoryStore()
    rows = {"v": {"discover:football": encode_slice(Slice(views=1))}}
    for partition in range(2):
        await store.flush(partition, "ns", -1, 10, Changes(0, rows, FRESH))
    return store


async def test_a_plan_says_what_the_log_no_longer_holds(
    log: MemoryLog, reader: MemoryReader
) -> None:
    log.append(Outgoing("t", b"x", partition=1))
    log.forget("t", 1, 1)
    assert await plan_rebuild(reader, log.identity("t")) == RebuildPlan(3, {1: 1})


async def test_everything_stored_and_the_group_are_dropped(log: MemoryLog) -> None:
    store, heard = await filled_store(), list[int]()
    log.group("g", "t").positions[0] = 3
    plan = RebuildPlan(3, {})
    keys = await drop_counters(MemoryCluster(log), store, MemoryDossiers(), plan, "g", heard.append)
    assert (keys, store.partitions, log.groups(), heard) == (4, {}, [], [1, 2, 3])


async def test_nothing_is_dropped_while_a_worker_is_a_member(log: MemoryLog) -> None:
    store = await filled_store()
    log.group("g", "t").members.append(MemoryConsumer(log, "t", "g"))
    with pytest.raises(Halt, match="has members"):
        await drop_counters(
            MemoryCluster(log), store, MemoryDossiers(), RebuildPlan(3, {}), "g", lambda _: None
        )
    assert len(store.partitions) == 2

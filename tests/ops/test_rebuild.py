"""Dropping the counters: planned, refused while somebody counts, done partition by partition."""

import pytest
from kit.keys import INSTALLATION, SPELLING
from kit.twins import CONFIG

from streams.core.counters import Slice, encode_slice
from streams.core.state import FRESH, Changes
from streams.errors import Halt
from streams.ops.rebuild import RebuildPlan, drop_counters, plan_rebuild, restart_partition
from streams.ops.verify import CountedLog, Verifier
from streams.runtime.documents import copy_of
from streams.runtime.memory import (
    MemoryCluster,
    MemoryConsumer,
    MemoryDossiers,
    MemoryLog,
    MemoryReader,
    MemoryStore,
)
from streams.runtime.ports import Document, DossierChange, Kept, Move, Outgoing
from streams.settings import load_settings

SETTINGS = load_settings(CONFIG, {}, {})
PLAN = RebuildPlan((0, 1, 2), {}, 0, {})


def counted_log(log: MemoryLog, store: MemoryStore | None = None) -> CountedLog:
    """Return the log `t` with what a store holds of it."""
    tools = Verifier(SETTINGS, INSTALLATION, SPELLING)
    return CountedLog(MemoryReader(log), store or MemoryStore(), log.identity("t"), "ns", tools)


async def filled_store() -> MemoryStore:
    store = MemoryStore()
    rows = {"v": {"discover:football": encode_slice(Slice(views=1))}}
    for partition in range(2):
        await store.flush(partition, "ns", -1, 10, Changes(0, rows, FRESH))
    return store


async def test_a_plan_says_what_the_log_no_longer_holds(log: MemoryLog) -> None:
    log.append(Outgoing("t", b"x", partition=1))
    log.forget("t", 1, 1)
    plan = await plan_rebuild(counted_log(log))
    assert plan == RebuildPlan((0, 1, 2), {1: 1}, 0, {})


async def test_a_plan_says_which_dossiers_no_topic_has(log: MemoryLog) -> None:
    for topic in ("uploads", "reviews", "dossiers"):
        log.create(topic, 3)
    for partition in (1, 2):
        log.append(Outgoing("uploads", b"x", partition=partition))
        log.forget("uploads", partition, 1)
    document = Document(1, b"{}")
    log.append(copy_of(SETTINGS, 2, "v1", document))
    plan = await plan_rebuild(counted_log(log))
    assert plan == RebuildPlan((0, 1, 2), {}, 1, {("uploads", 1): 1})


async def test_everything_stored_and_the_group_are_dropped(log: MemoryLog) -> None:
    store, heard, dossiers = await filled_store(), list[int](), MemoryDossiers()
    await dossiers.put(1, "log", [DossierChange("v", 0, Document(1, b"{}"))], {"u": Move(0, 3)})
    log.group("g", "t").positions[0] = 3
    cluster = MemoryCluster(log)
    keys = await drop_counters(cluster, counted_log(log, store), dossiers, PLAN, "g", heard.append)
    assert (keys, store.partitions, log.groups(), heard) == (4, {}, [], [1, 2, 3])
    assert await dossiers.read(1, "log", ["v"]) == Kept({}, {"v": Document(1, b"{}")})


async def test_nothing_is_dropped_while_a_worker_is_a_member(log: MemoryLog) -> None:
    store = await filled_store()
    log.group("g", "t").members.append(MemoryConsumer(log, "t", "g"))
    with pytest.raises(Halt, match="has members"):
        await drop_counters(
            MemoryCluster(log), counted_log(log, store), MemoryDossiers(), PLAN, "g", lambda _: None
        )
    assert len(store.partitions) == 2


async def test_of_one_partition_counters_and_positions_are_dropped(log: MemoryLog) -> None:
    store, dossiers = await filled_store(), MemoryDossiers()
    for partition in range(2):
        await dossiers.hold(partition, "log", {"u": 3})
    assert await restart_partition(counted_log(log, store), dossiers, 1, PLAN) == 2
    assert await store.watermark(1) == -1
    assert await store.watermark(0) == 10
    kept = [(await dossiers.read(partition, "log", ())).positions for partition in range(2)]
    assert kept == [{"u": 3}, {}]

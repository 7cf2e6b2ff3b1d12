"""What the Redis driver promises of a cluster: slots on their way, nodes away, nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest
from kit.patience import PATIENCE_S
from kit.redises import RedisNode, RedisNodes, client_of, until
from kit.serving import CARS, entry

from streams.core.state import FRESH, Changes
from streams.errors import Halt, Retry, Unreachable
from streams.runtime.dependencies import REDIS
from streams.runtime.namespace import meta_key
from streams.runtime.ports import HaltNote, Loaded
from streams.runtime.redis import RedisServingIndex, RedisStore, slots_of_masters
from streams.runtime.redis.serving import CALLS_AT_ONCE, keys_of
from streams.runtime.redis.shards import slot_of

pytestmark = pytest.mark.real

NS = "cluster/topic/8/1"
VIDEOS = [f"v{number}" for number in range(40)]


@pytest.fixture
def nodes(redis_nodes: RedisNodes) -> Iterator[RedisNodes]:
    redis_nodes.empty()
    yield redis_nodes
    redis_nodes.start()
    until(redis_nodes.whole, "the cluster never came together again")
    REDIS.parts_away.clear()


@pytest.fixture
async def store(nodes: RedisNodes) -> AsyncIterator[RedisStore]:
    driver = RedisStore(nodes.url, timeout_s=2)
    yield driver
    await driver.close()


def changes(*videos: str) -> Changes:
    return Changes(0, {video: {"video": video.encode()} for video in videos}, FRESH)


ROWS = {video: {"video": video.encode()} for video in VIDEOS}


# A slot on its way


@contextmanager
def half_moved(nodes: RedisNodes, key: str) -> Iterator[None]:
    """Have a slot on its way to another node, half of its keys there; then have it arrive."""
    slot, here = slot_of(key), nodes.master_of(key)
    there = next(node for node in nodes.masters() if node is not here)
    with here.admin() as source, there.admin() as target:
        ids = [client.execute_command("CLUSTER MYID").decode() for client in (source, target)]
        target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", ids[0])
        source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", ids[1])
        keys = source.execute_command("CLUSTER GETKEYSINSLOT", slot, 1_000)
        move(source, there, keys[::2])
        yield
        move(source, there, source.execute_command("CLUSTER GETKEYSINSLOT", slot, 1_000))
        for client in (target, source):
            client.execute_command("CLUSTER SETSLOT", slot, "NODE", ids[1])


def move(source: object, there: RedisNode, keys: list[bytes]) -> None:
    if keys:
        source.execute_command("MIGRATE", "127.0.0.1", there.port, "", 0, 5_000, "KEYS", *keys)


async def test_a_slot_on_its_way_is_read_whole(nodes: RedisNodes, store: RedisStore) -> None:
    await store.flush(0, NS, -1, 9, changes(*VIDEOS))
    with half_moved(nodes, meta_key(0)):
        assert await store.scan(0) == ROWS
        assert await store.load(0, VIDEOS) == Loaded(9, ROWS)
        assert (await store.meta(0, NS), await store.watermark(0)) == ((9, FRESH), 9)
    assert await store.scan(0) == ROWS
    assert await store.load(0, VIDEOS) == Loaded(9, ROWS)


async def test_a_flush_waits_for_a_slot_on_its_way(nodes: RedisNodes, store: RedisStore) -> None:
    await store.flush(0, NS, -1, 9, changes(*VIDEOS))
    with half_moved(nodes, meta_key(0)):
        with pytest.raises(Retry, match="rehashing of slot"):
            await store.flush(0, NS, 9, 19, changes(*VIDEOS, "new"))
        assert await store.scan(0) == ROWS
    assert await store.flush(0, NS, 9, 19, changes("new")) == "ok"
    assert (await store.load(0, ["new", "v0"])).watermark == 19


async def test_a_slot_whose_keys_are_all_gone_ahead_is_erased_there(
    nodes: RedisNodes, store: RedisStore
) -> None:
    await store.flush(0, NS, -1, 9, changes(*VIDEOS))
    with half_moved(nodes, meta_key(0)):
        pass
    stale = RedisStore(nodes.url)
    assert await stale.erase(0) == len(VIDEOS) + 1
    assert await store.meta(0, NS) is None
    assert await store.scan(0) == {}
    await stale.close()


async def test_what_a_client_knew_of_slots_is_mended_by_the_first_answer(
    nodes: RedisNodes, store: RedisStore
) -> None:
    await store.flush(0, NS, -1, 9, changes(*VIDEOS))
    with half_moved(nodes, meta_key(0)):
        pass
    assert await store.scan(0) == ROWS
    assert await store.flush(0, NS, 9, 19, changes("v1")) == "ok"


# Nodes away


async def test_a_node_that_says_nothing_costs_the_other_slots_no_time(
    nodes: RedisNodes, store: RedisStore
) -> None:
    """All calls to the others are made before the one to it gives up."""
    partitions = range(12)
    for partition in partitions:
        await store.flush(partition, NS, -1, 9, changes("v1"))
    silent = nodes.master_of(meta_key(0))
    others = [p for p in partitions if nodes.master_of(meta_key(p)) is not silent]
    with ExitStack() as frozen:
        for node in nodes.shard_of(silent):
            frozen.enter_context(node.paused())
        waits = asyncio.create_task(store.flush(0, NS, 9, 19, changes("v1")))
        for partition in others:
            assert await store.flush(partition, NS, 9, 19, changes("v1")) == "ok"
        assert not waits.done()
        with pytest.raises(Unreachable):
            await waits
        for _ in range(10):
            with pytest.raises(Unreachable, match="said nothing a moment ago"):
                await store.watermark(0)
        await store.check()
    async with asyncio.timeout(PATIENCE_S):  # the nodes find each other again
        while await flushed(store) not in ("ok", "noop"):  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.1)


async def test_an_heir_is_found_by_asking_again(nodes: RedisNodes, store: RedisStore) -> None:
    await store.flush(0, NS, -1, 9, changes("v1"))
    dead = nodes.master_of(meta_key(0))
    dead.kill()
    async with asyncio.timeout(PATIENCE_S):
        while await flushed(store) not in ("ok", "noop"):  # noqa: ASYNC110 - it is the cluster that is waited for
            await asyncio.sleep(0.1)
        # A node that has not heard of the failover yet still names the dead one.
        while nodes.master_of(meta_key(0)) is dead:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


async def flushed(store: RedisStore) -> str:
    try:
        return str(await store.flush(0, NS, 9, 19, changes("v1")))
    except Retry as error:
        return str(error)


async def test_a_cluster_is_back_only_when_all_its_shards_are(
    nodes: RedisNodes, store: RedisStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.runtime.dependencies.QUIET_S", 0.0)
    monkeypatch.setattr(REDIS, "watched", True)
    silent = nodes.master_of(meta_key(0))
    other = next(p for p in range(12) if nodes.master_of(meta_key(p)) is not silent)
    await store.watermark(0)
    with silent.paused():
        with pytest.raises(Unreachable):
            await asked(nodes.url)
        await store.watermark(other)
        assert REDIS.gone
    async with asyncio.timeout(PATIENCE_S):
        while REDIS.gone:
            with suppress(Retry):  # the nodes may have given its slots up meanwhile
                await store.watermark(0)


async def asked(url: str) -> None:
    impatient = RedisStore(url, timeout_s=1)
    try:
        await impatient.watermark(0)
    finally:
        await impatient.close()


async def test_without_any_node_it_is_unreachable() -> None:
    store = RedisStore("redis+cluster://127.0.0.1:1,127.0.0.1:2")
    for call in (store.check(), store.watermark(0), store.halts([0, 1])):
        with pytest.raises(Unreachable):
            await call
    await store.close()


# Nothing twice, nothing elsewhere


async def test_notes_of_partitions_on_several_shards_are_read_at_once(store: RedisStore) -> None:
    notes = {partition: HaltNote("code", f"text {partition}", 1) for partition in range(9)}
    for partition, note in notes.items():
        await store.note_halt(partition, note)
    assert await store.halts(range(20)) == notes


async def test_a_lease_is_never_repeated(nodes: RedisNodes) -> None:
    index = RedisServingIndex(nodes.url, timeout_s=1)
    await index.apply(CARS, {0: 1}, [entry()])
    await index.give_back(CARS, await index.lease(CARS, 1, 1))  # from now on the script is known
    home = nodes.master_of(keys_of(CARS)[0])
    with home.paused(), pytest.raises(Unreachable):
        await index.lease(CARS, 5, 5)
    async with asyncio.timeout(PATIENCE_S):
        while (best := await top(index)) is None:  # noqa: ASYNC110 - another process' doing
            await asyncio.sleep(0.1)
    assert best in (55, 60), "it was done at most once"
    await index.close()


async def top(index: RedisServingIndex) -> int | None:
    try:
        return (await index.top(CARS, 1))[0].left
    except Retry:
        return None


async def test_slices_of_a_silent_node_keep_those_of_others_waiting_for_nothing(
    nodes: RedisNodes,
) -> None:
    index = RedisServingIndex(nodes.url, timeout_s=PATIENCE_S)
    home = nodes.master_of(keys_of(CARS)[0])
    crowds = [f"discover:crowd{number}" for number in range(20 * CALLS_AT_ONCE)]
    silent = [name for name in crowds if nodes.master_of(keys_of(name)[0]) is home]
    other = next(name for name in crowds if name not in silent)
    await asyncio.gather(*(index.apply(name, {0: 1}, []) for name in (*silent, other)))
    with home.paused():
        waiting = [asyncio.create_task(index.apply(name, {0: 2}, [])) for name in silent]
        await asyncio.sleep(0)  # they are on their way
        assert len(waiting) > CALLS_AT_ONCE
        assert (await index.apply(other, {0: 2}, [])).before == {0: 1}
        assert not any(told.done() for told in waiting)
    await asyncio.gather(*waiting, return_exceptions=True)
    await index.close()


async def test_what_an_earlier_release_kept_is_dropped_on_every_node(nodes: RedisNodes) -> None:
    with client_of(nodes.url) as client:
        for name in ("a", "b", "c", "d", "e"):
            client.set(f"s:slice:{name}", 1)
    index = RedisServingIndex(nodes.url)
    await index.apply(CARS, {0: 1}, [entry()])
    assert await index.forget_first() == 5
    assert len(await index.top(CARS, 1)) == 1
    await index.close()


async def test_a_redis_that_stands_alone_is_no_cluster(redis_url: str, nodes: RedisNodes) -> None:
    alone = RedisStore(redis_url.replace("redis://", "redis+cluster://"))
    with pytest.raises(Halt, match="it is no cluster: write redis in place of redis\\+cluster"):
        await alone.check()
    await alone.close()
    with pytest.raises(Halt, match="this is the address of no cluster"):
        await slots_of_masters(redis_url)
    masters = await slots_of_masters(nodes.url)
    assert sorted(slot for slots in masters.values() for slot in slots) == [*range(16_384)]


async def test_a_cluster_that_stops_as_a_whole_is_told(
    nodes: RedisNodes, store: RedisStore
) -> None:
    (durable,) = await store.warnings()
    assert durable.startswith("appendonly is no")
    name = "cluster-require-full-coverage"
    with nodes.masters()[1].admin() as admin:
        admin.config_set(name, "yes")
        _, line = await store.warnings()
        admin.config_set(name, "no")
    assert line.startswith(f"{name} is yes, so all partitions stop with one shard")

"""What only the Redis driver promises: faults of Redis and of the way to it."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest
import redis
from kit.garbage import alive, without_collector
from kit.patience import PATIENCE_S, until
from kit.servers import lasting_ports
from kit.serving import entry

from streams.core.state import FRESH, Changes
from streams.embedded import EmbeddedRedis
from streams.embedded.redis import bundled_redis_server
from streams.errors import Halt, Retry, Unreachable
from streams.runtime.namespace import meta_key
from streams.runtime.ports import Document, DossierChange, Loaded
from streams.runtime.redis import RedisStore
from streams.runtime.redis.dossiers import RedisDossiers
from streams.runtime.redis.serving import CALLS_AT_ONCE, RedisServingIndex

BUNDLED = bundled_redis_server()
NS = "cluster/topic/8/1"


@pytest.fixture(params=[None, BUNDLED], ids=["preferred", "bundled"])
def server(request: pytest.FixtureRequest) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(executable=request.param) as started:
        yield started


@pytest.fixture
def admin(server: EmbeddedRedis) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(server.url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def store(server: EmbeddedRedis) -> AsyncIterator[RedisStore]:
    driver = RedisStore(server.url, timeout_s=2)
    yield driver
    await driver.close()


def changes(*videos: str) -> Changes:
    return Changes(0, {video: {"video": video.encode()} for video in videos or ("v1",)}, FRESH)


def calls(admin: redis.Redis, command: str) -> int:
    return int(admin.info("commandstats").get(f"cmdstat_{command}", {"calls": 0})["calls"])


async def test_what_redis_refused_is_freed_without_the_collector(
    store: RedisStore, admin: redis.Redis
) -> None:
    admin.set(meta_key(1), "no hash")
    with without_collector():
        before = alive(redis.RedisError)
        assert await store.flush(0, NS, -1, 7, changes()) == "ok"  # its script was not there
        with suppress(Halt):
            await store.watermark(1)
        assert alive(redis.RedisError) == before


# A policy is stored when it changed


def under(policy: bytes) -> Changes:
    return Changes(0, {}, FRESH._replace(policy=policy))


async def test_a_policy_that_stays_is_written_once(store: RedisStore, admin: redis.Redis) -> None:
    await store.flush(0, NS, -1, 9, under(b"{1}"))
    first = calls(admin, "hset")
    assert await store.flush(0, NS, 9, 19, under(b"{1}")) == "ok"
    assert calls(admin, "hset") == first + 1, "the meta alone"
    assert await store.flush(0, NS, 19, 29, under(b"{2}")) == "ok"
    assert calls(admin, "hset") == first + 3
    assert await store.meta(0, NS) == (29, under(b"{2}").meta)


async def test_a_policy_that_another_owner_changed_is_written_again(
    store: RedisStore, server: EmbeddedRedis
) -> None:
    other = RedisStore(server.url)
    await store.flush(0, NS, -1, 9, under(b"{1}"))
    await other.flush(0, NS, 9, 19, under(b"{2}"))
    await store.flush(0, NS, 19, 29, under(b"{1}"))
    assert await store.meta(0, NS) == (29, under(b"{1}").meta)
    await other.close()


# Settings that cannot be trusted


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random"])
async def test_a_redis_that_may_evict_is_refused(
    store: RedisStore, admin: redis.Redis, policy: str
) -> None:
    admin.config_set("maxmemory-policy", policy)
    with pytest.raises(Halt, match="CONFIG SET maxmemory-policy noeviction") as halted:
        await store.check()
    assert halted.value.code == "redis_evicts"
    assert "\n" not in str(halted.value)
    admin.config_set("maxmemory-policy", "noeviction")
    await store.check()


async def test_a_node_of_a_cluster_is_refused() -> None:
    with EmbeddedRedis(("--cluster-enabled", "yes")) as node:
        store = RedisStore(node.url)
        with pytest.raises(Halt) as halted:
            await store.check()
        assert halted.value.code == "redis_cluster"
        await store.close()


async def test_a_flush_names_every_key_so_a_cluster_that_moves_its_slot_refuses_it() -> None:
    """What was moved already would be written a second time where it no longer belongs."""
    settings = ("--cluster-enabled", "yes")
    async with two_nodes(settings) as (here, there):
        with redis.Redis.from_url(here.url) as admin:
            slot = admin.execute_command("CLUSTER KEYSLOT", "s:{0}:meta")
            store = RedisStore(here.url)
            assert await store.flush(0, NS, -1, 9, changes("v1")) == "ok"
            admin.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", there)
            with pytest.raises(Retry, match="rehashing of slot"):
                await store.flush(0, NS, 9, 19, changes("v1", "v2"))
            admin.execute_command("CLUSTER SETSLOT", slot, "STABLE")
            assert await store.scan(0) == {"v1": {"video": b"v1"}}
            assert await store.watermark(0) == 9
            await store.close()


@asynccontextmanager
async def two_nodes(settings: Sequence[str]) -> AsyncIterator[tuple[EmbeddedRedis, str]]:
    """A node that has all slots, and the name of another one that it knows."""
    with (
        EmbeddedRedis(settings) as here,
        EmbeddedRedis(settings) as there,
        redis.Redis.from_url(here.url) as admin,
        redis.Redis.from_url(there.url) as other,
    ):
        name = other.execute_command("CLUSTER MYID").decode()
        port = there.url.removesuffix("/0").rpartition(":")[2]
        admin.execute_command("CLUSTER ADDSLOTS", *range(16_384))
        admin.execute_command("CLUSTER MEET", "127.0.0.1", port)
        async with asyncio.timeout(PATIENCE_S):
            while not met(admin, name):  # noqa: ASYNC110 - another process' doing
                await asyncio.sleep(0.02)
        yield here, name


def met(admin: redis.Redis, name: str) -> bool:
    known = {node["node_id"]: node for node in admin.execute_command("CLUSTER NODES").values()}
    return name in known and admin.execute_command("CLUSTER INFO")["cluster_state"] == "ok"


async def test_settings_that_cost_memory_or_safety_are_told(
    store: RedisStore, admin: redis.Redis
) -> None:
    admin.config_set("hash-max-ziplist-value", 64)
    packed, durable = await store.warnings()
    assert "CONFIG SET hash-max-" in packed
    assert packed.endswith("-value 256`")
    assert durable.startswith("appendonly is no")
    admin.config_set("hash-max-ziplist-value", 256)
    admin.config_set("appendonly", "yes")
    assert await store.warnings() == []
    admin.config_set("appendonly", "no")  # its first rewrite would delay the end


async def test_a_redis_that_hides_its_settings_is_told(
    store: RedisStore, admin: redis.Redis, server: EmbeddedRedis
) -> None:
    admin.execute_command("ACL SETUSER app on >secret ~* +@all -config")
    url = server.url.replace("redis://", "redis://app:secret@")
    guest = RedisStore(url)
    await guest.check()
    (line,) = await guest.warnings()
    assert line.startswith("the settings of Redis cannot be read")
    await guest.close()


# Faults that pass, and faults that do not


async def test_without_a_server_it_is_unreachable() -> None:
    store = RedisStore(f"redis://127.0.0.1:{lasting_ports(1)[0]}/0")
    with pytest.raises(Unreachable):
        await store.check()
    with pytest.raises(Unreachable):
        await store.flush(0, NS, -1, 9, changes())
    await store.close()


async def test_a_server_that_says_nothing_is_unreachable(server: EmbeddedRedis) -> None:
    store = RedisStore(server.url, timeout_s=0.5)
    with server.paused(), pytest.raises(Unreachable):
        await store.watermark(0)
    assert await store.watermark(0) is None
    await store.close()


def test_an_address_that_is_none_halts() -> None:
    with pytest.raises(Halt, match="address of Redis"):
        RedisStore("redis://127.0.0.1:port/0")


async def test_a_wrong_password_halts(server: EmbeddedRedis, admin: redis.Redis) -> None:
    admin.execute_command("ACL SETUSER app on >secret ~* +@all")
    store = RedisStore(server.url.replace("redis://", "redis://app:wrong@"))
    with pytest.raises(Halt) as halted:
        await store.check()
    assert halted.value.code == "redis_refuses"
    assert "wrong@" not in str(halted.value)
    await store.close()


async def test_a_full_redis_is_tried_again_later(store: RedisStore, admin: redis.Redis) -> None:
    assert await store.flush(0, NS, -1, 9, changes()) == "ok"
    admin.config_set("maxmemory", 1)
    with pytest.raises(Retry):
        await store.flush(0, NS, 9, 19, changes("v1", "v2"))
    assert (await store.load(0, ["v2"])) == Loaded(9, {"v2": {}})
    admin.config_set("maxmemory", 0)
    assert await store.flush(0, NS, 9, 19, changes("v1", "v2")) == "ok"


async def test_a_read_only_replica_is_tried_again_later(
    store: RedisStore, admin: redis.Redis
) -> None:
    assert await store.flush(0, NS, -1, 9, changes()) == "ok"
    admin.replicaof("127.0.0.1", lasting_ports(1)[0])
    with pytest.raises(Retry):
        await store.flush(0, NS, 9, 19, changes())
    admin.replicaof("NO", "ONE")
    assert await store.flush(0, NS, 9, 19, changes()) == "ok"


async def test_too_few_replicas_are_tried_again_later(
    store: RedisStore, admin: redis.Redis
) -> None:
    admin.config_set("min-replicas-to-write", 1)
    with pytest.raises(Retry):
        await store.flush(0, NS, -1, 9, changes())
    admin.config_set("min-replicas-to-write", 0)
    assert await store.flush(0, NS, -1, 9, changes()) == "ok"


async def test_a_redis_busy_with_a_script_is_tried_again_later(
    store: RedisStore, admin: redis.Redis, server: EmbeddedRedis
) -> None:
    admin.config_set("lua-time-limit", 1)
    other = redis.asyncio.Redis.from_url(server.url)
    endless = asyncio.ensure_future(other.eval("while true do end", 0))
    with pytest.raises(Retry, match="BUSY"):
        await flush_until_refused(store)
    admin.script_kill()
    with suppress(redis.RedisError):
        await endless
    await other.aclose()
    stored = await store.watermark(0)
    watermark = -1 if stored is None else stored
    assert await store.flush(0, NS, watermark, watermark + 1, changes()) == "ok"


async def flush_until_refused(store: RedisStore) -> None:
    for watermark in range(-1, 10_000):
        await store.flush(0, NS, watermark, watermark + 1, changes())


async def test_meta_of_another_type_halts(store: RedisStore, admin: redis.Redis) -> None:
    admin.set("s:{0}:meta", "not a hash")
    for call in (
        store.meta(0, NS),
        store.watermark(0),
        store.flush(0, NS, -1, 9, changes()),
    ):
        with pytest.raises(Halt) as halted:
            await call
        assert halted.value.code == "store_corrupt"


async def test_a_meta_cut_short_halts(store: RedisStore, admin: redis.Redis) -> None:
    await store.flush(0, NS, -1, 9, changes())
    admin.hdel("s:{0}:meta", "watermark")
    with pytest.raises(Halt) as halted:
        await store.meta(0, NS)
    assert halted.value.code == "watermark_missing"
    assert "streams counters rebuild" in str(halted.value)
    assert await store.flush(0, NS, -1, 19, changes()) != "ok"
    admin.hset("s:{0}:meta", "watermark", "many")
    with pytest.raises(Halt) as halted:
        await store.meta(0, NS)
    assert halted.value.code == "store_corrupt"


async def test_a_forgotten_script_is_loaded_again(store: RedisStore, admin: redis.Redis) -> None:
    for watermark in range(-1, 40, 10):
        assert await store.flush(0, NS, watermark, watermark + 10, changes()) == "ok"
        admin.script_flush()
    assert await store.watermark(0) == 49


# The way to Redis


class Proxy:
    """A way to Redis that can lose requests, or the replies to them."""

    def __init__(self) -> None:
        self.lose_requests = 0
        self.lose_replies = 0
        self.url = ""

    async def serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.upstream)
        try:
            while request := await client.read(1 << 20):
                if is_call(request) and self.lose_requests:
                    self.lose_requests -= 1
                    return
                writer.write(request)
                reply = await reader.read(1 << 20)
                if is_call(request) and self.lose_replies:
                    self.lose_replies -= 1
                    return
                answer.write(reply)
        finally:
            writer.close()
            answer.close()

    upstream = 0


def is_call(request: bytes) -> bool:
    """Tell a command of ours from those that open a connection."""
    return any(name in request for name in (b"EVAL", b"SET\r", b"HGET", b"SCAN"))


@asynccontextmanager
async def proxy_to(server: EmbeddedRedis) -> AsyncIterator[Proxy]:
    proxy = Proxy()
    proxy.upstream = int(server.url.split(":")[2].split("/")[0])
    listening = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}/0"
    async with listening:
        yield proxy


async def test_a_flush_whose_reply_was_lost_counts_once(
    server: EmbeddedRedis, admin: redis.Redis
) -> None:
    async with proxy_to(server) as proxy:
        store = RedisStore(proxy.url)
        assert await store.flush(0, NS, -1, 9, changes("v1")) == "ok"
        proxy.lose_replies = 1
        assert await store.flush(0, NS, 9, 19, changes("v2")) == "noop"
        assert set(await store.scan(0)) == {"v1", "v2"}
        proxy.lose_requests = 1
        assert await store.flush(0, NS, 19, 29, changes("v3")) == "ok"
        proxy.lose_replies = 9
        with pytest.raises(Unreachable):
            await store.flush(0, NS, 29, 39, changes("v4"))
        proxy.lose_replies = 0
        assert await store.flush(0, NS, 29, 39, changes("v4")) == "noop"
        assert await store.watermark(0) == 39
        await store.close()


async def test_an_erasure_cut_short_halts_and_is_not_taken_for_whole(
    server: EmbeddedRedis, store: RedisStore
) -> None:
    await store.flush(0, NS, -1, 9, changes("v1", "v2"))
    async with proxy_to(server) as proxy:
        cut = RedisStore(proxy.url)
        proxy.lose_requests = 1
        with pytest.raises(Unreachable):
            await cut.erase(0)
        await cut.close()
    with pytest.raises(Halt) as halted:
        await store.meta(0, NS)
    assert halted.value.code == "watermark_missing"
    assert await store.erase(0) == 2
    assert await store.meta(0, NS) is None


async def test_a_write_without_a_guard_is_never_repeated(
    server: EmbeddedRedis, admin: redis.Redis
) -> None:
    async with proxy_to(server) as proxy:
        dossiers, index = RedisDossiers(proxy.url), RedisServingIndex(proxy.url)
        first, second = Document(1, b"1"), Document(2, b"2")
        assert await dossiers.put(0, "log", [DossierChange("v1", 0, first)], {}) == "ok"
        before = calls(admin, "evalsha")
        proxy.lose_replies = 1
        with pytest.raises(Unreachable):
            await dossiers.put(0, "log", [DossierChange("v1", 1, second)], {})
        assert calls(admin, "evalsha") == before + 1
        assert (await dossiers.read(0, "log", ["v1"])).documents == {"v1": second}
        await index.apply("discover:cars", {0: 1}, [entry()])
        await index.give_back("discover:cars", await index.lease("discover:cars", 1, 1))
        before = calls(admin, "evalsha")
        proxy.lose_replies = 1
        with pytest.raises(Unreachable):
            await index.lease("discover:cars", 5, 5)
        assert calls(admin, "evalsha") == before + 1
        assert [one.left for one in await index.top("discover:cars", 1)] == [55]
        await dossiers.close()
        await index.close()


# Cancellation


async def test_no_cancelled_call_leaves_its_reply_to_the_next_one(store: RedisStore) -> None:
    videos = [f"v{number}" for number in range(40)]
    await store.flush(0, NS, -1, 9, changes(*videos))
    for lap in range(400):
        doomed = asyncio.ensure_future(store.load(0, videos[:20]))
        for _ in range(lap % 40):
            await asyncio.sleep(0)
        doomed.cancel()
        mine = videos[lap % 40]
        assert (await store.load(0, [mine])).videos == {mine: {"video": mine.encode()}}
        with suppress(asyncio.CancelledError):
            await doomed


async def test_a_cancelled_flush_still_ends_whole(store: RedisStore) -> None:
    watermark = -1
    for lap in range(200):
        doomed = asyncio.ensure_future(store.flush(0, NS, watermark, watermark + 1, changes()))
        for _ in range(1 + lap % 20):
            await asyncio.sleep(0)
        doomed.cancel()
        assert (await store.load(0, ["none"])).videos == {"none": {}}
        with suppress(asyncio.CancelledError):
            await doomed
        watermark += 1
        assert await store.flush(0, NS, watermark - 1, watermark, changes()) in ("ok", "noop")
    assert await store.watermark(0) == watermark


async def test_closing_waits_for_the_flush_on_its_way(server: EmbeddedRedis) -> None:
    store, reader = RedisStore(server.url), RedisStore(server.url)
    doomed = asyncio.ensure_future(store.flush(0, NS, -1, 9, changes()))
    await asyncio.sleep(0)
    doomed.cancel()
    await store.close()
    assert await reader.watermark(0) == 9
    await reader.close()


# A flush that comes behind the index waits for few of its calls


async def test_few_calls_of_the_index_are_on_their_way_at_once(
    server: EmbeddedRedis, admin: redis.Redis
) -> None:
    index = RedisServingIndex(server.url)
    slices = [f"discover:crowd{number}" for number in range(4 * CALLS_AT_ONCE)]

    def on_their_way() -> int:
        return int(admin.info("clients")["blocked_clients"])

    admin.client_pause(int(PATIENCE_S * 1_000), all=False)  # calls that write wait in Redis
    telling = [asyncio.create_task(index.apply(name, {0: 1}, [entry()])) for name in slices]
    await until(lambda: on_their_way() >= CALLS_AT_ONCE)
    for _ in range(len(slices)):
        await asyncio.sleep(0)
    assert on_their_way() == CALLS_AT_ONCE
    admin.client_unpause()
    assert [(await told).written for told in telling] == [1] * len(slices)
    await index.close()

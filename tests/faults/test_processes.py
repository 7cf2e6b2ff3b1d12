"""Worker processes on a real broker and Redis: killed, frozen, restarted, cut off, rolled back."""

import asyncio
import contextlib
import itertools
import signal
from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest
import redis
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from kit.clusters import Pauses, all_moved
from kit.loads import PARTITIONS, load, moved, whole_log
from kit.proxy import Proxy
from kit.rig import SESSION_MS, Feed, Rig
from kit.servers import create_topic, delete_topic, kafka_server, redis_server

pytestmark = pytest.mark.real


@pytest.fixture
def rig(brokers: str, fresh_redis_url: str, unique: str) -> Iterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, PARTITIONS)
    made.create_topics()
    yield made
    made.stop()


@pytest.fixture
async def feed(rig: Rig) -> AsyncIterator[Feed]:
    async with Feed(rig) as made:
        yield made


# ---------------------------------------------------------------- workers that die or stop


async def kill_and_freeze(rig: Rig, feed: Feed, kills: int, seed: int) -> None:
    """Run two workers under load; kill one again and again, freeze one past its session."""
    random = Random(seed)
    workers = [rig.worker(), rig.worker()]
    async with load(feed, whole_log(seed, 4_000 * kills)) as running:
        await moved(rig)
        for kill in range(kills):
            victim = random.randrange(2)
            await asyncio.sleep(random.uniform(0, 0.5))  # somewhere between two flushes
            workers[victim].kill()
            workers[victim] = rig.worker()
            if kill == kills // 2:
                frozen = workers[1 - victim]
                frozen.send(signal.SIGSTOP)
                await asyncio.sleep(SESSION_MS / 1_000 + 2)  # the session must pass
                await moved(rig)
                frozen.send(signal.SIGCONT)
            await moved(rig)
        await running.end()
        await rig.caught_up()
    assert [await worker.terminate() for worker in workers] == [0, 0]
    rig.assert_exact()
    await rig.assert_every_decision_once()


async def test_two_workers_stay_exact_through_kills_and_a_freeze(rig: Rig, feed: Feed) -> None:
    await kill_and_freeze(rig, feed, kills=2, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [2, 3])
async def test_two_workers_stay_exact_through_ten_kills_and_a_freeze(
    rig: Rig, feed: Feed, seed: int
) -> None:
    await kill_and_freeze(rig, feed, kills=10, seed=seed)


async def test_rolling_restarts_end_in_time_and_repeat_nothing(rig: Rig, feed: Feed) -> None:
    await restart(rig, feed, rounds=2)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_ten_rolling_restarts_end_in_time_and_repeat_nothing(rig: Rig, feed: Feed) -> None:
    await restart(rig, feed, rounds=10)


async def restart(rig: Rig, feed: Feed, rounds: int) -> None:
    patient = {"session_timeout_ms": 60_000}  # nobody is taken for dead
    workers = [rig.worker(**patient), rig.worker(**patient)]
    async with load(feed, whole_log(4, 3_000 * rounds)) as running:
        await moved(rig)
        for turn in range(rounds):
            assert await workers[turn % 2].terminate() == 0
            workers[turn % 2] = rig.worker(**patient)
            await moved(rig)
        await running.end()
        await rig.caught_up()
    assert [await worker.terminate() for worker in workers] == [0, 0]
    rig.assert_exact()
    await rig.assert_every_decision_once()
    sent = [one.value for one in await rig.read(rig.decisions)]
    assert len(sent) == len(set(sent))


@pytest.mark.slow
async def test_workers_that_come_and_go_leave_no_partition_waiting(rig: Rig, feed: Feed) -> None:
    """One, four, two, one: each time the others take over what is let go, in time."""
    workers = [rig.worker()]
    await workers[0].says("assigned: partitions")
    pauses = Pauses(rig)
    async with load(feed, whole_log(23, 24_000)) as running:
        await all_moved(rig)
        pauses.begin()
        for _ in range(2):
            workers += [rig.worker() for _ in range(3)]
            for worker in workers:
                await worker.says("assigned: partitions")
            await all_moved(rig)
            for leaving in (workers[:2], workers[2:3]):
                ended = await asyncio.gather(*(worker.terminate() for worker in leaving))
                assert set(ended) == {0}
                await all_moved(rig)
            workers = workers[3:]
        assert max(pauses.longest().values()) < 15, pauses.longest()
        await running.end()
        await rig.caught_up()
    pauses.stop()
    assert [await worker.terminate() for worker in workers] == [0]
    rig.assert_exact()
    await rig.assert_every_decision_once()


# ---------------------------------------------------------------- a Redis that fails


@pytest.fixture
async def own_redis(brokers: str, unique: str) -> AsyncIterator[tuple[Rig, "object"]]:
    with redis_server() as server:
        rig = Rig(brokers, server.url, unique, PARTITIONS)
        rig.create_topics()
        yield rig, server
        rig.stop()


async def test_a_redis_that_freezes_under_load_costs_nothing(own_redis: tuple[Rig, object]) -> None:
    rig, server = own_redis
    async with Feed(rig) as feed, load(feed, whole_log(5, 4_000)) as running:
        worker = rig.worker()
        await moved(rig)
        with server.paused():  # type: ignore[attr-defined]
            await asyncio.sleep(8)  # longer than a reply is waited for
        await running.end()
        await rig.caught_up()
        assert await worker.terminate() == 0
    rig.assert_exact()
    await rig.assert_every_decision_once()


async def test_a_worker_ends_in_time_while_redis_is_frozen(own_redis: tuple[Rig, object]) -> None:
    rig, server = own_redis
    async with Feed(rig) as feed, load(feed, whole_log(6, 4_000)) as running:
        worker = rig.worker(flush_rows=20)
        await moved(rig)
        with server.paused():  # type: ignore[attr-defined]
            await asyncio.sleep(1)
            worker.send(signal.SIGTERM)
            await worker.stopped()
        await running.end()
        rig.worker()
        await rig.caught_up()
    rig.assert_exact()
    await rig.assert_every_decision_once()


async def test_a_redis_that_restarts_under_load_costs_nothing(brokers: str, unique: str) -> None:
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    with redis_server(*durable, "--enable-debug-command", "local") as server:
        rig = Rig(brokers, server.url, unique, PARTITIONS)
        rig.create_topics()
        try:
            async with Feed(rig) as feed, load(feed, whole_log(18, 4_000)) as running:
                worker = rig.worker()
                for _ in range(3):
                    await moved(rig)
                    restart_redis(server.url)
                await moved(rig)
                await running.end()
                await rig.caught_up()
                assert await worker.terminate() == 0
            rig.assert_exact()
            await rig.assert_every_decision_once()
        finally:
            rig.stop()


def restart_redis(url: str) -> None:
    """Restart the server on its append-only file and return when it answers again."""
    with redis.Redis.from_url(url) as client:
        started = client.info("server")["run_id"]
        with contextlib.suppress(redis.ConnectionError):
            client.execute_command("DEBUG", "RESTART")
    while True:
        with contextlib.suppress(redis.RedisError), redis.Redis.from_url(url) as client:
            if client.info("server")["run_id"] != started:
                return


async def test_a_redis_without_memory_is_waited_for(own_redis: tuple[Rig, object]) -> None:
    rig, _ = own_redis
    async with Feed(rig) as feed, load(feed, whole_log(19, 3_000)) as running:
        worker = rig.worker()
        await moved(rig)
        with redis.Redis.from_url(rig.redis_url) as client:
            client.config_set("maxmemory", "1")
            await running.end()
            await worker.says("waits:")
            stuck = rig.watermarks()
            client.config_set("maxmemory", "0")
        await rig.caught_up()
        assert sum(rig.watermarks().values()) > sum(stuck.values())
        assert await worker.terminate() == 0
    rig.assert_exact()
    await rig.assert_every_decision_once()


async def test_a_redis_that_is_emptied_while_nobody_looks_halts_the_next_start(
    rig: Rig, feed: Feed
) -> None:
    await feed.send(whole_log(7, 600))
    worker = rig.worker()
    await rig.caught_up()
    assert await worker.terminate() == 0
    with redis.Redis.from_url(rig.redis_url) as client:
        client.flushdb()
    worker = rig.worker()
    await worker.says("watermark_missing")
    assert rig.watermarks() == {}
    assert await worker.terminate() == 1
    assert "streams counters rebuild" in worker.said()
    planned = rig.run("counters", "rebuild")
    assert (planned.returncode, "nothing was done" in planned.stdout) == (0, True)
    assert rig.run("counters", "rebuild", "--yes").returncode == 0
    rig.worker()
    await rig.caught_up()
    rig.assert_exact()


async def test_a_redis_that_is_emptied_under_load_halts_too(rig: Rig, feed: Feed) -> None:
    async with load(feed, whole_log(8, 4_000)):
        worker = rig.worker()
        await moved(rig)
        with redis.Redis.from_url(rig.redis_url) as client:
            client.flushdb()
        for partition in rig.all_partitions():
            await worker.says(f"HALTED partition {partition} (watermark_missing)")
    assert rig.watermarks() == {}


async def test_scripts_that_redis_forgets_are_sent_again(rig: Rig, feed: Feed) -> None:
    async with load(feed, whole_log(9, 3_000)) as running:
        rig.worker()
        await moved(rig)
        with redis.Redis.from_url(rig.redis_url) as client:
            for _ in range(5):
                client.script_flush()
                await moved(rig)
        await running.end()
        await rig.caught_up()
    rig.assert_exact()


async def test_a_partition_restored_from_an_older_dump_is_folded_again(
    rig: Rig, feed: Feed
) -> None:
    log = whole_log(10, 3_000)
    await feed.send(log[:1_000])
    worker = rig.worker()
    await rig.caught_up()
    with redis.Redis.from_url(rig.redis_url) as client:
        keys = client.keys("s:{1}:*")
        dumped = {key: client.dump(key) for key in keys}
        before = rig.watermarks()[1]
        async with load(feed, log[1_000:]) as running:
            await rig.until(lambda: rig.watermarks()[1] > before, rig.logs)
            with client.pipeline(transaction=True) as together:
                for key in client.keys("s:{1}:*"):
                    together.delete(key)
                for key, value in dumped.items():
                    together.restore(key, 0, value)
                together.execute()
            await running.end()
            await rig.caught_up()
    await worker.says("folding again from it")
    assert await worker.terminate() == 0
    rig.assert_exact()
    await rig.assert_every_decision_once()


@pytest.mark.parametrize("lose", ["reply", "request"])
async def test_a_lost_reply_or_request_counts_exactly_once(rig: Rig, feed: Feed, lose: str) -> None:
    """Every fifth flush is cut off; the same call again is a no-op if it was executed."""
    flushes = itertools.count(1)

    def loses(request: bytes) -> str | None:
        return lose if b"EVALSHA" in request and next(flushes) % 5 == 0 else None

    async with Proxy(rig.redis_url, loses) as proxy, load(feed, whole_log(11, 3_000)) as running:
        worker = rig.worker(redis=proxy.url)
        await rig.until(lambda: proxy.lost > 5, rig.logs)
        await running.end()
        await rig.caught_up()
        assert await worker.terminate() == 0
    rig.assert_exact()
    await rig.assert_every_decision_once()


# ---------------------------------------------------------------- a log that fails


async def test_a_broker_that_stops_and_comes_back_costs_nothing(
    fresh_redis_url: str, unique: str
) -> None:
    with kafka_server() as server:
        rig = Rig(server.bootstrap, fresh_redis_url, unique, PARTITIONS)
        rig.create_topics()
        log = whole_log(12, 3_000)
        try:
            async with Feed(rig) as feed:
                await feed.send(log[:1_500])
            worker = rig.worker()
            await moved(rig)
            server.kill()
            await asyncio.sleep(3)
            assert worker.alive
            server.start()
            async with Feed(rig) as feed:
                await feed.send(log[1_500:])
            await rig.caught_up()
            assert await worker.terminate() == 0
            rig.assert_exact()
            await rig.assert_every_decision_once()

            worker = rig.worker()
            await worker.says("assigned")
            server.kill()
            await asyncio.sleep(1)
            worker.send(signal.SIGTERM)
            await worker.stopped()
        finally:
            rig.stop()


async def test_a_partition_whose_records_expired_halts_alone(rig: Rig, feed: Feed) -> None:
    log = whole_log(13, 2_000)
    await feed.send(log[:800])
    worker = rig.worker()
    await rig.caught_up()
    assert await worker.terminate() == 0
    before = rig.watermarks()
    await feed.send(log[800:])
    admin = AdminClient({"bootstrap.servers": rig.brokers, "log_level": 0})
    place = TopicPartition(rig.log, 2, before[2] + 10)
    admin.delete_records([place])[place].result(30)
    worker = rig.worker()
    await worker.says("DATA_LOSS partition 2")
    await rig.caught_up(without=[2])
    assert rig.watermarks()[2] == before[2]
    assert f"offsets {before[2] + 1} to {before[2] + 9}" in worker.said()
    assert await worker.terminate() == 1


async def test_a_topic_made_again_halts_the_start_and_touches_nothing(rig: Rig, feed: Feed) -> None:
    await feed.send(whole_log(14, 400))
    worker = rig.worker()
    await rig.caught_up()
    assert await worker.terminate() == 0
    before = rig.watermarks()
    delete_topic(rig.brokers, rig.log)
    await recreated(rig)
    done = rig.run("worker", "--only", "feedback")
    assert done.returncode == 1
    assert len(done.stderr.strip().splitlines()) == 1
    assert "rebuild" in done.stderr
    assert rig.watermarks() == before


async def recreated(rig: Rig) -> None:
    """Create the log's topic again once the broker has forgotten the old one."""
    admin = AdminClient({"bootstrap.servers": rig.brokers, "log_level": 0})
    await rig.until(lambda: rig.log not in admin.list_topics(timeout=10).topics, rig.logs)
    create_topic(rig.brokers, rig.log, rig.partitions, {"retention.ms": "-1"})


async def test_a_topic_made_again_under_a_running_worker_is_not_counted_on_top(
    rig: Rig, feed: Feed
) -> None:
    """The new log is longer than the old one, so no offset gives it away."""
    await feed.send(whole_log(15, 400))
    worker = rig.worker()
    await rig.caught_up()
    before = rig.watermarks()
    delete_topic(rig.brokers, rig.log)
    await recreated(rig)
    async with Feed(rig) as again:
        await again.send(whole_log(16, 2_000))
    await rig.until(lambda: not worker.alive or "differ in" in worker.said(), rig.logs)
    assert rig.watermarks() == before


async def test_the_watermark_waits_while_decisions_cannot_be_written(rig: Rig, feed: Feed) -> None:
    """The topic takes no record as large as a receipt."""
    admin_config(rig, rig.decisions, "200")
    await feed.send(whole_log(17, 800))
    worker = rig.worker()
    await worker.says("waits:")
    stuck = rig.watermarks()
    worker.kill()
    admin_config(rig, rig.decisions, "1114112")
    rig.worker()
    await rig.caught_up()
    assert any(at > stuck.get(p, -1) for p, at in rig.watermarks().items())
    rig.assert_exact()
    await rig.assert_every_decision_once()


def admin_config(rig: Rig, topic: str, size: str) -> None:
    from confluent_kafka.admin import (  # type: ignore[attr-defined]  # noqa: PLC0415
        AlterConfigOpType,
        ConfigEntry,
        ConfigResource,
    )

    entry = ConfigEntry("max.message.bytes", size, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": rig.brokers, "log_level": 0})
    admin.incremental_alter_configs([resource])[resource].result(30)

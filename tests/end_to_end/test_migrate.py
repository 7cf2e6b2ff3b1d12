"""The commands that take an installation of 0.1.0 over, on a real broker and Redis."""

import json
from collections.abc import AsyncIterator

import pytest
import redis
from kit.first import FIXTURE_GENERATION, fixture_hashes, fixture_log, fixture_strings
from kit.keys import OLD_INSTALLATION, SECRET
from kit.rig import Feed, Rig

from streams.control.admission import dossier
from streams.core.counters import VIDEO_ROW, decode_slice
from streams.core.partitioner import partition_of
from streams.runtime.documents import from_stored
from streams.runtime.kafka import KafkaCluster

pytestmark = pytest.mark.real

PARTITIONS = 2
ANY_TIME = {"message.timestamp.after.max.ms": str((1 << 63) - 1)}
"""The records of the fixture have the clock of the machine that made it."""
MIGRATE = ("counters", "migrate", "--output", "json")


@pytest.fixture
async def rig(brokers: str, fresh_redis_url: str, unique: str) -> AsyncIterator[Rig]:
    """A rig with the log and the Redis that 0.1.0 left, and an installation over it."""
    rig = Rig(brokers, fresh_redis_url, unique, PARTITIONS, secret=SECRET.decode())
    rig.create_topics(installation=OLD_INSTALLATION, interactions=ANY_TIME)
    async with Feed(rig) as feed:
        await feed.send([each for number in range(PARTITIONS) for each in fixture_log(number)])
    identity = await KafkaCluster(brokers).identity(rig.log)
    with redis.Redis.from_url(fresh_redis_url) as client:
        for key, fields in fixture_hashes(identity).items():
            client.hset(key, mapping=fields)
        for key, dump in fixture_strings().items():
            client.restore(key, 0, dump)
    yield rig
    rig.stop()


async def test_an_installation_of_0_1_0_goes_on_and_nothing_is_lost(rig: Rig) -> None:
    refused = rig.run("worker", "--only", "feedback")
    assert "differ in" in refused.stderr, "it is not to write over them"
    assert rig.run(*MIGRATE, secret="").returncode == 2
    planned = rig.run(*MIGRATE)
    assert [each["counters"] for each in json.loads(planned.stdout)] == ["0.1.0", "0.1.0"]
    assert "add --yes" in planned.stderr
    with redis.Redis.from_url(rig.redis_url) as client:
        client.lpush("s:dossier:v9", "no document")
        assert rig.run(*MIGRATE, "--yes").returncode == 1, "cut short, by what no plan shows"
        client.delete("s:dossier:v9")
    done = rig.run(*MIGRATE, "--yes")
    assert (done.returncode, done.stderr.count("done")) == (0, 1), done.stderr
    with redis.Redis.from_url(rig.redis_url) as client:
        assert not list(client.scan_iter("s:slice:*")), "candidates as 0.1.0 kept them"
        assert not list(client.scan_iter("s:dossier*"))
        stored = client.get(f"s:{{{partition_of(b'v0', PARTITIONS)}}}:d:v0")
    known = dossier.decode(from_stored(stored or b"").text)
    assert (known.video, known.state) == ("v0", "public")
    ends = await rig.ends(rig.log)
    rig.assert_exact()
    again = rig.run(*MIGRATE, "--yes")
    assert "nothing to do" in again.stderr
    assert await rig.ends(rig.log) == ends
    worker = rig.worker()
    await rig.caught_up()
    assert await worker.terminate() == 0
    rig.assert_exact()
    rows = rows_of(rig.redis_url)
    assert all(row.estimated for row in rows)
    anew = rig.run("counters", "rebuild", "--yes")
    assert anew.returncode == 0, anew.stderr
    worker = rig.worker()
    await rig.caught_up()
    await worker.terminate()
    assert rows_of(rig.redis_url) == rows, "as the log says, counted from its beginning"


def rows_of(redis_url: str) -> list[object]:
    """Return every row of a slice in Redis, in the order of keys."""
    with redis.Redis.from_url(redis_url) as client:
        hashes = [client.hgetall(key) for key in sorted(client.scan_iter("s:{*}:v:*"))]
    return [
        decode_slice(raw)
        for fields in hashes
        for name, raw in sorted(fields.items())
        if name.decode() != VIDEO_ROW
    ]


async def test_generations_are_lengthened_under_a_running_worker(rig: Rig) -> None:
    assert rig.run(*MIGRATE, "--yes").returncode == 0
    worker = rig.worker()
    longer = rig.run("counters", "lengthen", "400", "--yes")
    assert longer.stdout.splitlines()[0] == (
        f"generations of duplicates: {FIXTURE_GENERATION} records now, 400 from then on"
    )
    await rig.caught_up()
    assert worker.alive
    rig.assert_exact()
    shorter = rig.run("counters", "lengthen", "399", "--yes")
    assert (shorter.returncode, "has 400 records" in shorter.stderr) == (1, True)


async def test_nothing_is_taken_over_while_a_worker_runs_and_nothing_moves_that_did_not(
    rig: Rig,
) -> None:
    empty = f"{rig.redis_url.rsplit('/', 1)[0]}/1"
    worker = rig.worker(redis=empty)  # of the same group
    await worker.says("assigned")
    refused = rig.run(*MIGRATE, "--yes")
    assert (refused.returncode, "has members" in refused.stderr) == (1, True), refused.stderr
    await worker.terminate()
    assert rig.run(*MIGRATE, "--yes").returncode == 0
    assert "nothing to do" in rig.run("counters", "move", "--yes").stderr

"""Proofs behind retention, on real servers: the log's beginning is deleted, and nothing is lost."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from kit.events import synthetic_log
from kit.redises import client_of
from kit.rig import Feed, Rig

pytestmark = pytest.mark.real
LOG = synthetic_log(events=700)
CUT = 250


@pytest.fixture
async def rig(
    brokers: str, fresh_redis_url: str, unique: str, tmp_path: Path
) -> AsyncIterator[Rig]:
    """Give a rig whose worker counted some of a log, kept in a snapshot, then the rest."""
    changes = {"generation_records": 40, "snapshots": tmp_path / "snapshots"}
    made = Rig(brokers, fresh_redis_url, unique, partitions=1, **changes)
    made.create_topics()
    try:
        worker = made.worker()
        async with Feed(made) as feed:
            await feed.send(LOG[:CUT])
            await made.caught_up()
            done = made.run("counters", "snapshot", "--output", "json")
            assert done.returncode == 0, done.stderr
            await feed.send(LOG[CUT:])
        await made.caught_up()
        assert await worker.terminate() == 0
        yield made
    finally:
        made.stop()


def forget(rig: Rig, before: int) -> None:
    """Delete what the log holds before an offset, as retention does."""
    admin = AdminClient({"bootstrap.servers": rig.brokers})
    place = TopicPartition(rig.log, 0, before)
    admin.delete_records([place])[place].result(30)


def stored(rig: Rig) -> dict[str, Any]:
    """Return all counters, meta and rows."""
    with client_of(rig.redis_url) as client:
        names = sorted(client.keys("s:{0}:[mv]*"))
        return {name.decode(): client.hgetall(name) for name in names}


async def test_what_retention_deleted_is_proved_and_counted_again(rig: Rig) -> None:
    before = stored(rig)
    forget(rig, 40)
    planned = rig.run("counters", "rebuild")
    assert f"put the snapshot at {CUT - 1} into partition 0" in planned.stdout
    assert "counts again" not in planned.stdout, "the window is whole"
    assert rig.run("counters", "rebuild", "--yes").returncode == 0
    assert rig.watermarks() == {0: CUT - 1}
    worker = rig.worker()
    await rig.caught_up()
    assert await worker.terminate() == 0
    assert stored(rig) == before
    forget(rig, CUT)
    alone = rig.run("counters", "verify", "--output", "json", snapshots="")
    assert (alone.returncode, "log begins at" in alone.stderr) == (3, True)
    found = json.loads(rig.run("counters", "verify", "--output", "json").stdout)
    assert (found["differences"], found["unproved"], found["proved_from"]) == (0, {}, {})
    assert (found["partitions"], found["records"]) == (1, len(LOG) - CUT)

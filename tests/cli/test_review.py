"""What a moderator does at a terminal, with a worker and a control plane on real servers."""

import json
import time
from collections.abc import AsyncIterator

import pytest
from kit.rig import Rig

from streams.core.events import Upload
from streams.runtime.kafka import KafkaProducer
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode

pytestmark = pytest.mark.real
SAID = ("--by", "alice", "--note", "seen twice", "--yes")


@pytest.fixture
async def rig(brokers: str, fresh_redis_url: str, unique: str) -> AsyncIterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=2)
    assert made.run("topics", "apply", "--yes").returncode == 0
    yield made
    made.stop()


async def test_from_the_queue_to_the_end_of_a_video(rig: Rig) -> None:
    rig.worker(only=None)
    now_ms = time.time_ns() // 1_000_000
    unheard = Upload("u1", "v1", "c1", now_ms, 15_000, title="xyzzy \x1b[2J")
    producer = KafkaProducer(rig.brokers)
    await producer.start()
    await (await producer.send(Outgoing(f"{rig.prefix}uploads", encode(unheard), b"v1")))
    await producer.stop()

    def waiting() -> list[dict[str, object]]:
        rows: list[dict[str, object]] = json.loads(
            rig.run("review", "list", "--output", "json").stdout
        )
        return rows

    await rig.until(lambda: len(waiting()) == 1, rig.logs)
    [row] = waiting()
    assert (row["video"], row["state"], row["why"]) == ("v1", "waiting", "no rule fits")
    table = rig.run("review", "list").stdout
    assert "xyzzy" in table
    assert "\x1b" not in table

    planned = rig.run("review", "approve", "v1", *SAID[:-1])
    assert (planned.returncode, len(waiting())) == (0, 1)
    assert "nothing was said: act with --yes" in planned.stderr
    approved = rig.run("review", "approve", "v1", *SAID)
    assert "in force after" in approved.stdout, approved.stderr
    assert waiting() == []
    shown = json.loads(rig.run("review", "show", "v1", "--output", "json").stdout)
    assert (shown["state"], shown["verdict"]["by"], shown["verdict"]["note"]) == (
        *("public", "alice", "seen twice"),
    )
    gone = rig.run("video", "takedown", "v1", *SAID)
    assert "it is taken down in every slice, for good; by alice: seen twice" in gone.stdout
    assert "in force after" in gone.stdout, gone.stderr
    words = rig.run("video", "explain", "v1", "--output", "ndjson").stdout
    causes = {json.loads(line)["cause"] for line in words.splitlines()}
    assert any(cause.startswith("takedown-alice-") for cause in causes), causes


async def test_who_and_why_are_asked_for(rig: Rig) -> None:
    done = rig.run("review", "reject", "v1", "--yes")
    assert done.returncode == 2
    assert "Missing option '--by'" in done.stderr

"""A record batch that is damaged on a broker's disk: its partition halts, until it is skipped."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.events import synthetic_log
from kit.rig import Feed, Rig
from kit.servers import KafkaServer, kafka_server

pytestmark = [pytest.mark.real, pytest.mark.slow]
LOG = synthetic_log(events=500)
FIRST, SECOND = 100, 140


@pytest.fixture
def server() -> Iterator[KafkaServer]:
    """Give a broker whose disk may be damaged."""
    with kafka_server() as started:
        yield started


def damage(server: KafkaServer, topic: str, offset: int) -> None:
    """Change a byte of the batch that begins at an offset, where the broker keeps it."""
    path = server.data / f"{topic}-0" / f"{0:020d}.log"
    text = bytearray(path.read_bytes())
    at = 0
    while at < len(text):
        base, length = struct.unpack_from(">qi", text, at)
        if base == offset:
            text[at + 12 + length - 1] ^= 1
            path.write_bytes(text)
            return
        at += 12 + length
    raise AssertionError(f"no batch begins at {offset}")


async def test_what_a_broker_cannot_give_back_is_skipped_by_all(
    server: KafkaServer, fresh_redis_url: str, unique: str, tmp_path: Path
) -> None:
    rig = Rig(server.bootstrap, fresh_redis_url, unique, partitions=1)
    rig.create_topics()
    try:
        async with Feed(rig) as feed:
            for records in (LOG[:FIRST], LOG[FIRST:SECOND], LOG[SECOND:]):
                await feed.send(records)
        damage(server, rig.log, FIRST)
        worker = rig.worker()
        await worker.says(f"streams partition skip 0 --offset {FIRST}")
        named = ("--by", "ada", "--why", "disk of broker 1")
        refused = rig.run("partition", "skip", "0", "--offset", str(FIRST + 1), *named, "--yes")
        assert (refused.returncode, f"begins at {FIRST}" in refused.stderr) == (1, True)
        place = ("partition", "skip", "0", "--offset", str(FIRST), *named)
        assert "nothing was done" in rig.run(*place).stdout
        done = rig.run(*place, "--yes")
        assert f"offsets {FIRST} to {SECOND - 1}" in done.stdout
        assert "skipped already" in rig.run(*place, "--yes").stdout
        await rig.caught_up()
        assert await worker.terminate() == 0
        rig.assert_exact()
        status = json.loads(rig.run("status", "--output", "json").stdout)
        assert [row["why"] for row in status["skips"]] == ["disk of broker 1"]
        recorded = rig.run("record", str(tmp_path / "r"), "--topic", "interactions", "--to", "now")
        assert recorded.returncode == 0, recorded.stderr
        assert f"{len(LOG) - SECOND + FIRST:,} records" in recorded.stderr
        assert rig.run("counters", "rebuild", "--yes").returncode == 0
        worker = rig.worker()
        await rig.caught_up()
        assert await worker.terminate() == 0
        rig.assert_exact()
    finally:
        rig.stop()

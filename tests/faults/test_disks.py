"""Disks that fill up under load, and have room again: of Redis, brokers, recorders and workers."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from kit.disks import UNHURT, full_disk
from kit.forks import Forked
from kit.loads import PARTITIONS, moved, whole_log
from kit.patience import PATIENCE_S
from kit.redises import RedisNode, redis_node, until
from kit.rig import ROOT, Feed, Rig
from kit.servers import kafka_server

from streams.embedded.child import Child

pytestmark = pytest.mark.real


@asynccontextmanager
async def rig_on(brokers: str, redis_url: str, prefix: str) -> AsyncIterator[Rig]:
    made = Rig(brokers, redis_url, prefix, PARTITIONS)
    made.create_topics()
    try:
        yield made
    finally:
        made.stop()


def pid_of(node: RedisNode) -> int:
    assert node.child is not None
    return node.child.pid


@pytest.mark.slow
async def test_a_redis_whose_disk_is_full_is_waited_for(brokers: str, unique: str) -> None:
    lazy = ("--appendonly", "yes", "--appendfsync", "everysec")
    with redis_node(*lazy, starter=UNHURT) as node:
        url = f"redis://127.0.0.1:{node.port}/0"
        async with rig_on(brokers, url, unique) as rig, Feed(rig) as feed:
            log = whole_log(61, 1_600)
            await feed.send(log[:800])
            worker = rig.worker()
            await rig.caught_up()
            with full_disk(pid_of(node)):
                await feed.send(log[800:])
                await worker.says("waits: ")
                assert "MISCONF" in worker.said()
                stuck = rig.watermarks()
            await rig.caught_up()
            assert sum(rig.watermarks().values()) > sum(stuck.values())
            assert await worker.terminate() == 0
            rig.assert_exact()
            await rig.assert_every_decision_once()


@pytest.mark.slow
async def test_a_worker_whose_own_log_cannot_be_written_counts_on(
    brokers: str, fresh_redis_url: str, unique: str
) -> None:
    async with rig_on(brokers, fresh_redis_url, unique) as rig, Feed(rig) as feed:
        log = whole_log(62, 1_600)
        worker = rig.worker()
        await worker.says("assigned")
        with full_disk(worker.pid):
            before = worker.said()
            await feed.send(log)  # some of it is refused, which would be a line
            await rig.caught_up()
            assert worker.alive
            assert worker.said() == before
        assert await worker.terminate() == 0
        rig.assert_exact()


def started(rig: Rig, command: Sequence[str], said: Path) -> Forked:
    """Start one of our commands; what it says goes to a file."""
    with said.open("wb") as output, Path(os.devnull).open("rb") as read:
        files = (read, output, output)
        return Forked(["streams", *command], env=rig.environment(), cwd=ROOT, files=files)


@pytest.mark.slow
async def test_a_recorder_whose_disk_is_full_ends_in_one_line_and_is_resumed_whole(
    brokers: str, fresh_redis_url: str, unique: str, tmp_path: Path
) -> None:
    async with rig_on(brokers, fresh_redis_url, unique) as rig, Feed(rig) as feed:
        log, folder, said = whole_log(63, 2_000), tmp_path / "recording", tmp_path / "said"
        asked = ("record", str(folder), "--topic", "interactions", "--from", "earliest")
        recorder = started(rig, asked, said)
        await feed.send(log[:1_000])
        await rig.until(lambda: recorded(folder) > 0, said.read_text)
        with full_disk(recorder.pid, used=1_000):  # room for what it says
            await feed.send(log[1_000:])
            await rig.until(lambda: recorder.poll() is not None, said.read_text)
        assert recorder.wait() == 1, said.read_text()
        assert "Traceback" not in said.read_text()
        assert "File too large" in said.read_text().splitlines()[-1]
        again = started(rig, ("record", str(folder), "--resume"), said)
        await rig.until(lambda: recorded(folder) == len(log), said.read_text)
        again.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(again.wait, PATIENCE_S) in (0, 130), said.read_text()
        verified = rig.run("replay", "verify", str(folder))
        assert verified.returncode == 0, verified.stderr


def recorded(folder: Path) -> int:
    """Return how many records the manifest of a recording names."""
    manifest = folder / "manifest.json"
    return int(json.loads(manifest.read_text())["records"]) if manifest.exists() else 0


def until_dead(child: Child) -> None:
    until(lambda: not child.alive, "the broker never ended")


@pytest.mark.slow
async def test_a_broker_that_dies_of_a_full_disk_costs_no_counter(
    fresh_redis_url: str, unique: str
) -> None:
    with kafka_server() as server:
        async with rig_on(server.bootstrap, fresh_redis_url, unique) as rig:
            log = whole_log(65, 4_000)
            async with Feed(rig) as feed:
                await feed.send(log[:2_000])
            worker = rig.worker()
            await moved(rig)
            assert server.child is not None
            with full_disk(server.child.pid):
                await asyncio.to_thread(until_dead, server.child)
            assert worker.alive
            server.kill()
            await asyncio.to_thread(server.start)
            async with Feed(rig) as feed:
                await feed.send(log[2_000:])
            await rig.caught_up()
            assert await worker.terminate() == 0
            rig.assert_exact()
            await rig.assert_every_decision_once()

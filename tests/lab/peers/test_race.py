"""A peer is a process: it is given its task, and timed from its first record to its last."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from kit.command import environment

from streams.errors import Halt
from streams.lab.peers import race
from streams.lab.peers.field import FIELD, OURS
from streams.lab.peers.lap import Task
from streams.lab.peers.race import Entrant, delete_topics, run_peer
from streams.runtime.memory.cluster import MemoryCluster
from streams.runtime.memory.log import MemoryLog

ROOT = Path(__file__).parents[3]
TASK = Task("127.0.0.1:9092", "log", "group", 1_000, "/nowhere", "redis://127.0.0.1")
COUNT = """
from streams.lab.peers.lap import Lap, Task, finish
task = Task.given()
lap = Lap(task)
while not lap.passed(100):
    sum(range(100_000))
print("something else")
finish(task.records - 10)
"""


def entrant(program: str) -> Entrant:
    return Entrant("counter", [sys.executable, "-c", program])


async def test_a_lap_is_timed_and_what_was_counted_compared() -> None:
    timed = await run_peer(entrant(COUNT), TASK, 991)
    assert (timed.events, timed.differences) == (991, 1)
    assert 0 < timed.wall_s < 60
    assert timed.cpu_s <= timed.wall_s + 0.02


async def test_a_peer_that_fails_is_quoted() -> None:
    with pytest.raises(Halt, match="counter ended before the end: no such topic"):
        await run_peer(entrant("raise SystemExit('no such topic')"), TASK, 990)


async def test_a_peer_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(race, "PATIENCE_S", 0.0)
    monkeypatch.setattr(race, "SLOWEST", 1_000_000)
    with pytest.raises(Halt, match="counter hangs before the end: it said nothing"):
        await run_peer(entrant("import signal; signal.pause()"), TASK, 990)


async def test_changelogs_of_a_peer_go_with_its_group() -> None:
    log = MemoryLog()
    for topic in ("changelog__b.1--b.interactions", "b.1-counters-changelog", "b.interactions"):
        log.create(topic, 1)
    await delete_topics(MemoryCluster(log), "b.1")
    assert list(log.topics()) == ["b.interactions"]


@pytest.mark.real
@pytest.mark.slow
@pytest.mark.timeout(1_500)
def test_all_peers_and_ours_count_the_same_topic(
    brokers: str, fresh_redis_url: str, tmp_path: Path
) -> None:
    python = tmp_path / "env/bin/python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-compile"]
    make = [sys.executable, "-m", "venv", "--without-pip", python.parents[1]]
    for command in (make, [*pip, "-e", f"{ROOT}[bench]"]):
        subprocess.run(command, check=True, timeout=600)
    few = ("--events", "20000", "--videos", "300", "--rounds", "1", "--plots", str(tmp_path))
    settings = {"brokers": brokers, "redis": fresh_redis_url, "config": ROOT / "config"}
    small = {"fetch_records": 1_000, "flush_interval_ms": 20}
    done = subprocess.run(
        [python, "-m", "streams", "bench", "--peers", *few, "--output", "json"],
        env=environment(settings | small),
        stdout=subprocess.PIPE,
        timeout=600,
        check=True,
    )
    rows = json.loads(done.stdout)["rows"]
    assert [row["peer"] for row in rows] == [OURS, *(peer.name for peer in FIELD)]
    assert all(row["events_per_second"] > 0 and row["differences"] == 0 for row in rows)
    assert (tmp_path / "bench-peers.svg").is_file()

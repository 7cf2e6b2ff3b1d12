"""Many workers on a real broker and Redis: replaced one after the other, and as a crew."""

import asyncio
import itertools
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from kit.events import Logged
from kit.loads import load, whole_log
from kit.patience import PATIENCE_S
from kit.redises import client_of
from kit.rig import Feed, Rig, WorkerProcess
from kit.servers import lasting_ports
from prometheus_client.parser import text_string_to_metric_families

pytestmark = pytest.mark.real

SESSION_MS = 45_000
LOOK_S = 0.05


@pytest.fixture(params=[4])
def rig(
    brokers: str, fresh_redis_url: str, unique: str, request: pytest.FixtureRequest
) -> Iterator[Rig]:
    made = Rig(brokers, fresh_redis_url, unique, partitions=request.param)
    made.create_topics()
    yield made
    made.stop()


class Watched:
    """When the stored watermark of each partition moved."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._moves: dict[int, list[float]] = {p: [] for p in rig.all_partitions()}

    async def watch(self) -> None:
        before: dict[int, str | None] = {}
        with client_of(self._rig.redis_url) as client:
            while True:
                for partition, moves in self._moves.items():
                    mark = client.hget(f"s:{{{partition}}}:meta", "watermark")
                    if mark != before.get(partition):
                        moves.append(time.monotonic())
                    before[partition] = mark
                await asyncio.sleep(LOOK_S)

    def longest_pause(self, partition: int, began: float, ended: float) -> float:
        """Return the longest time that a partition stood still between two moments, in seconds."""
        times = [began, *(at for at in self._moves[partition] if began < at < ended), ended]
        return max(then - at for at, then in itertools.pairwise(times))


class Replaced(NamedTuple):
    """What came of replacing one worker."""

    instance: str
    partitions: int
    own_pause_s: float
    others_pause_s: float
    replayed: int
    others_replayed: int


class Fleet:
    """Workers with names of their own, each with its page."""

    def __init__(self, rig: Rig, size: int) -> None:
        self.rig = rig
        self.ports = lasting_ports(size)
        self.workers = [self.start(number) for number in range(size)]

    def start(self, number: int) -> WorkerProcess:
        return self.rig.worker(
            instance=f"w-{number}", metrics_port=self.ports[number], session_timeout_ms=SESSION_MS
        )

    def figure(self, number: int, name: str) -> int:
        with urlopen(f"http://127.0.0.1:{self.ports[number]}/metrics", timeout=PATIENCE_S) as page:
            families = text_string_to_metric_families(page.read().decode())
        values = [s.value for f in families for s in f.samples if s.name == f"streams_{name}_total"]
        return int(sum(values))

    def figures(self, name: str, without: int) -> list[int]:
        return [self.figure(n, name) for n in range(len(self.ports)) if n != without]

    def assigned(self, number: int) -> list[int]:
        """Return the partitions that a worker was given last."""
        found = re.findall(r"assigned: partitions \[([0-9, ]*)\]", self.workers[number].said())
        return [int(one) for one in found[-1].split(",") if one.strip()] if found else []

    async def settled(self) -> None:
        """Return when the group has dealt out all partitions evenly."""
        share = self.rig.partitions // len(self.workers)
        numbers = range(len(self.workers))
        await self.rig.until(
            lambda: all(len(self.assigned(number)) == share for number in numbers), self.rig.logs
        )

    async def replace(self, number: int, watched: Watched) -> Replaced:
        """Stop a worker in order, start it again, and return when it counts its partitions."""
        had = self.assigned(number)
        rebalances, replayed = (
            self.figures("rebalances", number),
            self.figures("replayed_records", number),
        )
        began = time.monotonic()
        assert await self.workers[number].terminate() == 0
        before = self.rig.watermarks()
        self.workers[number] = self.start(number)
        await self.rig.until(
            lambda: all(self.rig.watermarks()[p] > before[p] for p in had), self.rig.logs
        )
        ended = time.monotonic()
        assert self.assigned(number) == had
        assert self.figures("rebalances", number) == rebalances, "another worker was disturbed"
        pauses = {p: watched.longest_pause(p, began, ended) for p in self.rig.all_partitions()}
        again = self.figures("replayed_records", number)
        return Replaced(
            f"w-{number}",
            len(had),
            max(pauses[p] for p in had),
            max(pause for p, pause in pauses.items() if p not in had),
            self.figure(number, "replayed_records"),
            sum(again) - sum(replayed),
        )


@asynccontextmanager
async def under_load(rig: Rig, records: Sequence[Logged], per_s: float) -> AsyncIterator[Watched]:
    """Write records until the end of the block, and the rest then; count all of them."""
    watched = Watched(rig)
    async with Feed(rig) as feed:
        watching = asyncio.create_task(watched.watch())
        try:
            async with load(feed, records, per_s):
                yield watched
        finally:
            watching.cancel()
    await rig.caught_up()


async def rolled(
    rig: Rig, size: int, records: Sequence[Logged], per_s: float, *, only: Sequence[int] = ()
) -> list[Replaced]:
    """Replace each of `size` workers once under load, or some, and check every counter."""
    fleet = Fleet(rig, size)
    async with under_load(rig, records, per_s) as watched:
        await fleet.settled()
        before = rig.watermarks()
        await rig.until(lambda: all_moved(before, rig.watermarks(), rig), rig.logs)
        replaced = [await fleet.replace(one, watched) for one in only or range(size)]
    assert [await worker.terminate() for worker in fleet.workers] == [0] * size
    sys.stdout.writelines(f"{one}\n" for one in replaced)
    rig.assert_exact(patience_s=300)
    return replaced


def all_moved(before: Mapping[int, int], now: Mapping[int, int], rig: Rig) -> bool:
    """Tell whether every partition counts something new: none reads ids any more."""
    return all(now.get(p, -1) > before.get(p, -1) for p in rig.all_partitions())


async def test_a_worker_is_replaced_and_no_other_is_disturbed(rig: Rig) -> None:
    (one,) = await rolled(rig, 2, whole_log(11, 6_000), per_s=300, only=[1])
    assert one.others_replayed == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("rig", [16], indirect=True)
async def test_four_workers_of_sixteen_partitions_are_replaced_one_by_one(rig: Rig) -> None:
    records = whole_log(11, 260_000, 16)
    async with Feed(rig) as feed:
        for at in range(0, 100_000, 5_000):
            await feed.send(records[at : at + 5_000])
    replaced = await rolled(rig, 4, records[100_000:], per_s=800)
    assert sum(one.others_replayed for one in replaced) == 0
    assert max(one.others_pause_s for one in replaced) < 3


async def test_a_crew_loses_one_process_and_every_counter_is_exact(rig: Rig) -> None:
    (port,) = lasting_ports(1)
    crew = rig.worker("--processes", "2", metrics_port=port)
    async with under_load(rig, whole_log(11, 4_000), per_s=200):
        await rig.until(lambda: crew.said().count("running; Ctrl-C ends") == 2, rig.logs)
        await rig.until(lambda: status(port, "/ready") == 200, rig.logs)
        started = re.findall(r"streams (\S+): feedback running", crew.said())
        assert sorted(name.rpartition(".")[2] for name in started) == ["0", "1"]
        (victim, *_) = children_of(crew.pid)
        os.kill(victim, signal.SIGKILL)
        await rig.until(lambda: crew.said().count("running; Ctrl-C ends") >= 3, rig.logs)
        assert "ended with -9; started again in" in crew.said()
    assert await crew.terminate() == 0
    rig.assert_exact()


def status(port: int, path: str) -> int:
    try:
        with urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return 0


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
    return [int(one) for one in text.split()]

"""Where a worker's microseconds go: `PYTHONPATH=.:tests python -m kit.hotpath 400000`.

The loads of `streams bench`, by the steps of a worker in one thread, with a Redis and without
Kafka: of each step the time that this thread had a core, microseconds an event (of `admissions`: a
video); `redis` is what Redis itself took. A partition is flushed and feeds are told as often as by
a worker that folds 100,000 events a second.
"""

import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from redis import Redis

from kit.keys import META, SIGNER, SPELLING
from kit.servers import redis_server
from streams.control.rules import load_rules
from streams.core.events import Policy
from streams.core.fold import fold
from streams.core.receipts import encode
from streams.core.serving import Entry
from streams.core.state import PartitionState
from streams.lab.load import Batch, Load, Shape
from streams.runtime.codec import decode_log
from streams.runtime.collector import tame_gc
from streams.runtime.kafka.unpacking import Fetched
from streams.runtime.owned import chunk_length
from streams.runtime.redis import RedisServingIndex, RedisStore

PARTITIONS: Final = 4
GENERATION: Final = 100_000
VIDEOS: Final = 20_000
FLUSH_EVENTS: Final = 5_000
"""Of one partition, at 100,000 a second of four and five flushes a second."""
FLUSH_ROWS: Final = 4_000
TELL_FLUSHES: Final = 5
NOW_MS: Final = 1_795_356_000_000
CONFIG: Final = Path(__file__).parents[2] / "config"


class Steps:
    """Nanoseconds of this thread by the step that took them."""

    def __init__(self) -> None:
        self.taken: Final[Counter[str]] = Counter()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count the block as a step of this name."""
        began = time.thread_time_ns()
        yield
        self.taken[name] += time.thread_time_ns() - began


@dataclass
class Part:
    """One partition: its log, and how far it is folded and stored."""

    state: PartitionState
    log: list[Fetched]
    at: int = 0
    stored: int = -1
    unstored: int = 0  # events
    flushes: int = 0


@dataclass
class Machine:
    """The steps of a worker over a Redis."""

    store: RedisStore
    index: RedisServingIndex
    steps: Steps

    async def take(self, part: Part, end: int) -> int:
        """Fold the next chunk of a log up to a place of it; return how many events that were."""
        state, step = part.state, self.steps.step
        chunk = part.log[part.at : min(part.at + chunk_length(part.log[part.at]), end)]
        part.at += len(chunk)
        with step("decode"):
            decoded = decode_log(chunk, state.trust, SPELLING)
        with step("load"):
            if missing := state.missing(decoded.events):
                loaded = await self.store.load(state.partition, missing)
                for video in missing:
                    state.load(video, loaded.videos[video])
        with step("fold"):
            effects = fold(state, decoded.events, decoded.offsets, decoded.elements)
        with step("receipts"):
            for receipt in effects.receipts:
                encode(receipt)
        assert not decoded.refusals
        assert not effects.rejected
        part.unstored += len(decoded.events)
        if part.unstored >= FLUSH_EVENTS or len(state.changed) >= FLUSH_ROWS:
            await self.flush(part)
        return len(decoded.events)

    async def flush(self, part: Part, *, tell: bool = False) -> None:
        """Store what changed, and tell feeds with every fifth flush."""
        state, step, upto = part.state, self.steps.step, part.log[part.at - 1].offset
        part.unstored = 0
        part.flushes += 1
        if upto > part.stored:
            with step("rows"):
                changes = state.take_changes()
            with step("flush"):
                done = await self.store.flush(state.partition, "hot", part.stored, upto, changes)
            assert done == "ok"
            part.stored = upto
            state.stored(changes.epoch)
        if tell or part.flushes % TELL_FLUSHES == 0:
            with step("entries"):
                entries = state.take_entries(upto)
            with step("index"):
                await self.tell(state.partition, upto, entries)

    async def tell(self, partition: int, upto: int, entries: Mapping[str, list[Entry]]) -> None:
        """Have the index know entries."""
        telling = [
            self.index.apply(name, {partition: upto}, some) for name, some in entries.items()
        ]
        await asyncio.gather(*telling)


def logs_of(batches: Iterable[Batch], logs: defaultdict[int, list[Fetched]]) -> None:
    """Put batches behind the logs of their partitions, as a consumer hands records out."""
    for partition, records, _ in batches:
        log = logs[partition]
        for out in records:
            place = (out.topic, partition, len(log), NOW_MS)
            log.append(Fetched(*place, out.key, out.value, tuple(out.headers)))


async def measure(url: str, policy: Policy, events: int, array: int, shape: Shape) -> Any:
    """Return microseconds by step: of an admission, and of an event behind them."""
    load = Load("hot", PARTITIONS, shape=shape, policy=policy)
    logs: defaultdict[int, list[Fetched]] = defaultdict(list)
    logs_of(load.admissions(SIGNER, NOW_MS), logs)
    admitted = {partition: len(log) for partition, log in logs.items()}
    logs_of(load.feedback(events, array, NOW_MS), logs)
    parts = [
        Part(PartitionState(p, PARTITIONS, GENERATION, META), log)
        for p, log in sorted(logs.items())
    ]
    store, index = RedisStore(url), RedisServingIndex(url)
    told = []
    with Redis.from_url(url) as admin:
        for ends in (admitted, {p: len(log) for p, log in logs.items()}):
            before, machine, folded = redis_seconds(admin), Machine(store, index, Steps()), 0
            tame_gc()
            while left := [part for part in parts if part.at < ends[part.state.partition]]:
                for part in left:
                    folded += await machine.take(part, ends[part.state.partition])
            for part in parts:
                await machine.flush(part, tell=True)
            taken = {name: nanos / 1_000 / folded for name, nanos in machine.steps.taken.items()}
            taken["sum"] = sum(taken.values())
            taken["redis"] = (redis_seconds(admin) - before) * 1e6 / folded
            told.append({name: round(micros, 2) for name, micros in taken.items()})
        admin.flushall()
    await store.close()
    await index.close()
    return told


def redis_seconds(admin: Redis) -> float:
    """Return the seconds of a core that a Redis has taken."""
    cpu: Any = admin.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


async def measure_all(events: int) -> dict[str, Any]:
    """Return the steps of each load."""
    policy = load_rules(CONFIG).policy.record(1, NOW_MS)
    with redis_server() as server:
        admissions, one = await measure(server.url, policy, events, 1, Shape(VIDEOS))
        _, arrays = await measure(server.url, policy, events, 50, Shape(VIDEOS))
        _, crowded = await measure(server.url, policy, events, 1, Shape.crowded(events))
    return {
        "admissions": admissions,
        "one_event_a_record": one,
        "arrays_of_50": arrays,
        "crowded": crowded,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(measure_all(int(sys.argv[1]))), indent=1) + "\n")

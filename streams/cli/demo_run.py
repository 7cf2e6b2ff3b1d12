"""One run of `streams demo`: everything started, watched, stopped, and compared at the end."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import click
import msgspec

from streams.cli.demo_screen import Moment
from streams.cli.interrupts import stop_on_signals
from streams.cli.when import now_ms
from streams.cli.wiring import make_worker, producing, reading, storing
from streams.control.app import ControlPlane, Ports, load_rules
from streams.core.events import CONTROL_TYPES
from streams.core.receipts import ACTIONS, Receipt, decode
from streams.errors import Halt, Retry
from streams.lab.crowd import Crowd
from streams.lab.feed import Feed
from streams.lab.story import Story
from streams.ops.verify import Verifier, verify
from streams.runtime import metrics
from streams.runtime.collector import tame_gc
from streams.runtime.kafka import KafkaCluster, KafkaReader
from streams.runtime.namespace import namespace_of
from streams.runtime.redis import RedisStore
from streams.runtime.redis.dossiers import RedisDossiers
from streams.runtime.redis.serving import RedisServingIndex
from streams.runtime.worker import Worker
from streams.settings import Secret, Settings, shown

STEP_S: Final = 0.2
"""A collector sends what it gathered this often."""
LAG_S: Final = 0.5
RATE_OVER_S: Final = 3.0
DRAIN_S: Final = 30.0
Driver = TypeVar("Driver", RedisServingIndex, RedisDossiers)


def _outcomes() -> Counter[str]:
    """Return the interactions that this process has folded, by outcome."""
    counts: Counter[str] = Counter()
    for family in metrics.EVENTS.collect():
        for sample in family.samples:
            if sample.name.endswith("_total") and sample.labels["event_type"] not in CONTROL_TYPES:
                counts[sample.labels["outcome"]] += int(sample.value)
    return counts


@dataclass
class Play:
    """One run: what it was asked for and what is known of it so far."""

    settings: Settings
    folder: Path
    seconds: int | None
    seed: int
    secret: Secret
    story: Story = field(default_factory=Story)
    titles: dict[str, str] = field(default_factory=dict)
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    interrupted: bool = False
    lag: int | None = None
    began: float = field(default_factory=time.monotonic)
    before: Counter[str] = field(default_factory=_outcomes)
    _rates: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the viewers came."""
        return time.monotonic() - self.began

    def outcomes(self) -> Counter[str]:
        """Return what the worker has made of interactions in this run, by outcome."""
        return _outcomes() - self.before

    def moment(self, note: str) -> Moment:
        """Return where the run stands; the rate is that since the earlier calls."""
        outcomes = self.outcomes()
        events = outcomes.total()
        now = self.elapsed_s
        self._rates.append((now, events))
        while now - self._rates[0][0] > RATE_OVER_S:
            self._rates.popleft()
        earlier, then = self._rates[0]
        return Moment(
            elapsed_s=now,
            seconds=self.seconds,
            events=events,
            events_per_second=(events - then) / max(now - earlier, STEP_S),
            duplicates=outcomes["duplicate"],
            lag=self.lag,
            videos=len(self.titles),
            brokers=self.settings.brokers,
            redis=shown(self.settings.redis),
            note=note,
        )

    async def sleep(self, seconds: float) -> None:
        """Sleep, but not beyond the end."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stopping.wait(), max(seconds, 0))

    def interrupt(self) -> None:
        """End the run before its time."""
        self.interrupted = True
        self.stopping.set()


@dataclass(frozen=True)
class _Stage:
    """Everything that runs."""

    worker: Worker
    working: "asyncio.Task[None]"
    control: ControlPlane
    feed: Feed
    crowd: Crowd
    receipts: KafkaReader
    store: RedisStore


async def perform(
    play: Play, rate: int, show: Callable[[Play], Coroutine[Any, Any, None]]
) -> dict[str, Any]:
    """Run everything until it is to end, then in order to its end; return the report.

    `show` runs beside it while the viewers are there.
    """
    stop_on_signals(play.interrupt)
    click.echo(
        f"streams: starting on Kafka {play.settings.brokers} and {shown(play.settings.redis)}",
        err=True,
    )
    async with AsyncExitStack() as stack:
        stage = await _set(stack, play, rate)
        tame_gc()
        play.began = time.monotonic()
        await _until_stopped(
            play, [_feed(play, stage), _follow(play, stage), _measure(play, stage), show(play)]
        )
        return await _finish(play, stage)


async def _set(stack: AsyncExitStack, play: Play, rate: int) -> _Stage:
    """Start worker, control plane and crowd; they are stopped when the stack unwinds."""
    settings = play.settings
    producer = await stack.enter_async_context(producing(settings.brokers))
    store = await stack.enter_async_context(storing(settings.redis))
    worker = make_worker(settings, play.secret, producer, store)
    await worker.start()
    working = asyncio.create_task(worker.run(), name="feedback")
    working.add_done_callback(lambda _: play.stopping.set())
    stack.push_async_callback(_stop_worker, worker, working)
    index = await stack.enter_async_context(_closing(RedisServingIndex(settings.redis)))
    dossiers = await stack.enter_async_context(_closing(RedisDossiers(settings.redis)))
    ports = Ports(producer, dossiers, index)
    control = ControlPlane(
        settings, play.secret, ports, play.folder, partitions=settings.partitions
    )
    await control.start()
    stack.push_async_callback(control.stop)
    policy = load_rules(play.folder).policy.record(0, now_ms())
    crowd = Crowd(Random(play.seed), policy, index, rate)  # noqa: S311 - viewers, not keys
    feed = Feed(crowd, producer, settings, settings.partitions)
    receipts = await stack.enter_async_context(reading(settings.brokers))
    topic = settings.topic("decisions")
    receipts.assign({(topic, partition): 0 for partition in range(settings.partitions)})
    return _Stage(worker, working, control, feed, crowd, receipts, store)


async def _until_stopped(play: Play, loops: list[Coroutine[Any, Any, None]]) -> None:
    """Run loops that end with the demo; when one fails, end the demo and raise its error."""
    tasks = [asyncio.create_task(each) for each in loops]
    for task in tasks:
        task.add_done_callback(lambda _: play.stopping.set())
    with suppress(TimeoutError):
        await asyncio.wait_for(play.stopping.wait(), play.seconds)
    play.stopping.set()
    await asyncio.wait(tasks)
    for task in tasks:
        task.result()


async def _feed(play: Play, stage: _Stage) -> None:
    """Let the crowd live, at an even pace."""
    while not play.stopping.is_set():
        due = time.monotonic() + STEP_S
        await stage.feed.step(now_ms())
        for video, known in islice(stage.crowd.videos.items(), len(play.titles), None):
            play.titles[video] = known.upload.title
        await play.sleep(due - time.monotonic())
    await stage.feed.settle()


async def _follow(play: Play, stage: _Stage) -> None:
    """Read receipts as they are written."""
    while not play.stopping.is_set():
        await _read_receipts(play, stage)


async def _measure(play: Play, stage: _Stage) -> None:
    """Ask for the lag now and then."""
    while not play.stopping.is_set():
        with suppress(Retry):
            play.lag = await stage.worker.lag()
        await play.sleep(LAG_S)


async def _finish(play: Play, stage: _Stage) -> dict[str, Any]:
    """Let everything that was sent be counted and stored, stop, and return the report."""
    seconds = play.elapsed_s
    click.echo(
        "streams: the viewers have left; storing what is left, then counting again", err=True
    )
    await _drain(play, stage)
    await stage.control.stop()
    await _drain(play, stage)  # its last records are in the log too
    await _stop_worker(stage.worker, stage.working)
    await _read_all_receipts(play, stage)
    report = _report(play, stage, seconds)
    report["counters"] = await _verify(play, stage)
    return report


async def _drain(play: Play, stage: _Stage) -> None:
    """Return when everything is stored, or no more will be."""
    owned = play.settings.partitions - len(stage.worker.halted)
    until = time.monotonic() + DRAIN_S
    while time.monotonic() < until and not stage.working.done():
        with suppress(Retry):
            play.lag = await stage.worker.lag()
            if play.lag == 0 and len(stage.worker.positions()) >= owned:
                return
        await asyncio.sleep(0.1)


async def _stop_worker(worker: Worker, working: asyncio.Task[None]) -> None:
    worker.stop()
    await working


async def _read_receipts(play: Play, stage: _Stage) -> None:
    try:
        batches = await stage.receipts.fetch(200, 2_000)
    except Retry:
        await asyncio.sleep(0.2)
        return
    for records in batches.values():
        for record in records:
            if record.value is not None:
                play.story.add(decode(record.value))


async def _read_all_receipts(play: Play, stage: _Stage) -> None:
    topic = play.settings.topic("decisions")
    ends = await stage.receipts.offsets(topic, range(play.settings.partitions))
    for partition, bounds in ends.items():
        while await stage.receipts.position(topic, partition) < bounds.end:
            await _read_receipts(play, stage)


async def _verify(play: Play, stage: _Stage) -> dict[str, Any]:
    """Compare all counters with a recount; `differences` is None where the log is cut short."""
    settings = play.settings
    identity = await KafkaCluster(settings.brokers).identity(settings.topic("interactions"))
    namespace = namespace_of(identity, settings, play.secret)
    tools = Verifier(settings, play.secret.reveal)
    async with reading(settings.brokers) as reader:
        try:
            found = await verify(reader, stage.store, identity, namespace, tools)
        except Halt as halt:
            if halt.code != "data_loss":
                raise
            why = "the embedded broker keeps the latest 5 MiB of a partition; this run wrote more"
            return {"checked": 0, "differences": None, "why": why}
    counters = {"checked": found.checked, "differences": found.differences}
    if found.examples:
        counters["examples"] = msgspec.to_builtins(found.examples)
    return counters


def _report(play: Play, stage: _Stage, seconds: float) -> dict[str, Any]:
    outcomes, story = play.outcomes(), play.story
    events = outcomes.total()
    return {
        "seconds": round(seconds, 1),
        "events": events,
        "events_per_second": round(events / max(seconds, 0.1)),
        "sent": stage.feed.events,
        "duplicates": outcomes["duplicate"],
        "invalid": outcomes["invalid"],
        "videos": len(stage.crowd.videos),
        "decisions": {action: story.actions[action] for action in ACTIONS},
        "reasons": dict(sorted(story.reasons.items())),
        "switched": story.switched,
        "widened": [_named(receipt) for receipt in story.widest(5)],
        "stopped": [_named(receipt) for receipt in list(story.stopped)[-5:]],
        "lag": play.lag,
        "halted": [str(halt) for halt in stage.worker.halted.values()],
        "policy": stage.control.policy_version,
        "seed": play.seed,
    }


def _named(receipt: Receipt) -> dict[str, Any]:
    fields = ("video", "slice", "stage", "allowance", "impressions", "views", "reason")
    return {name: getattr(receipt, name) for name in fields}


@asynccontextmanager
async def _closing(driver: Driver) -> AsyncIterator[Driver]:
    try:
        yield driver
    finally:
        await driver.close()

"""One run of `streams demo`: everything started, watched, stopped, and compared at the end."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

import msgspec

from streams.client.mixes import Mixes
from streams.control.app import ControlPlane
from streams.control.log import Ports
from streams.control.metrics import ControlMetrics
from streams.control.rules import load_rules
from streams.core.events import CONTROL_TYPES, Policy, Upload
from streams.core.receipts import ACTIONS, Receipt, decode
from streams.core.shares import Bar
from streams.errors import Retry
from streams.lab.demo.promised import ShownShare, share_fields, shown_shares
from streams.lab.demo.room import LiveRoom, Scene
from streams.lab.drivers import Drivers
from streams.lab.feed import Feed
from streams.lab.people import People
from streams.lab.story import Split, Story, Tale
from streams.ops.installation import make_installation
from streams.ops.verify import Verifier, verify
from streams.runtime.codec import Spelling
from streams.runtime.collector import tame_gc
from streams.runtime.installation import Installation
from streams.runtime.metrics import Metrics
from streams.runtime.namespace import namespace_of
from streams.runtime.ports import LogReader
from streams.runtime.rows import StoredRows
from streams.runtime.serving import Indexing
from streams.runtime.signing import SigningKey
from streams.runtime.surroundings import Surroundings
from streams.runtime.whole import PointingStore
from streams.runtime.worker import Worker
from streams.settings import Settings

STEP_S: Final = 0.2
"""A collector sends what it gathered this often."""
LAG_S: Final = 0.5
LAGS_KEPT: Final = 240
"""Two minutes of lag for the line over time."""
RATE_OVER_S: Final = 3.0
TOLD_S: Final = 12.0
"""So long one video's life is told."""
DRAIN_S: Final = 30.0
SETTLE_S: Final = 5.0
"""So long the crowd has before a live room opens."""


class Hero(NamedTuple):
    """The video whose life is told: what was uploaded, when, and who has seen it.

    `uploaded_s` is on the demo's own clock, `shown` counts impressions by slice, `policy` is what
    its receipts were written under.
    """

    upload: Upload
    uploaded_s: float
    tale: Tale
    shown: Mapping[str, int]
    policy: Policy


class Moment(NamedTuple):
    """Where the demo stands; `lag` in records, None before it was measured.

    `lags` are the latest measurements, the newest last.
    """

    elapsed_s: float
    seconds: int | None
    events: int
    events_per_second: float
    duplicates: int
    lag: int | None
    lags: tuple[int, ...]
    videos: int
    hero: Hero | None
    brokers: str
    redis: str
    note: str
    shares: Sequence[ShownShare] = ()


@dataclass
class Play:
    """One run: what it was asked for and what is known of it so far.

    `tell` takes lines for the people who watch.
    """

    drivers: Drivers
    settings: Settings
    folder: Path
    seconds: int | None
    seed: int
    key: SigningKey
    tell: Callable[[str], None]
    story: Story = field(default_factory=Story)
    titles: dict[str, str] = field(default_factory=dict)
    crowd: People | None = None
    bars: Sequence[Bar] = ()
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    interrupted: bool = False
    lag: int | None = None
    began: float = field(default_factory=time.monotonic)
    metrics: Metrics = field(default_factory=Metrics)
    room: LiveRoom | None = None  # beside everything else; the run ends when it is over
    lags: deque[int] = field(default_factory=lambda: deque(maxlen=LAGS_KEPT))
    _told: str = ""  # the video whose life is told, and since when
    _told_since: float = 0.0
    _rates: deque[tuple[float, int]] = field(default_factory=deque)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the viewers came."""
        return time.monotonic() - self.began

    def outcomes(self) -> Counter[str]:
        """Return what the worker has made of interactions in this run, by outcome."""
        counts: Counter[str] = Counter()
        for family in self.metrics.events.collect():
            for sample in family.samples:
                if sample.name.endswith("_total") and _is_feedback(sample.labels["event_type"]):
                    counts[sample.labels["outcome"]] += int(sample.value)
        return counts

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
            lags=tuple(self.lags),
            videos=len(self.titles),
            hero=self._hero(now),
            brokers=str(self.settings.brokers),
            redis=str(self.settings.redis),
            note=note,
            shares=self.shares(),
        )

    def shares(self) -> list[ShownShare]:
        """Return the promised shares of all that was shown so far."""
        return shown_shares(self.bars, {} if self.crowd is None else self.crowd.by_class)

    def _hero(self, now: float) -> Hero | None:
        """Return whose life to tell: each for a while, then another that is worth it."""
        if not self._told or now - self._told_since > TOLD_S:
            best = self.story.best_tale(besides=self._told)
            if best is not None and best.worth_telling() >= self._least_worth():
                self._told, self._told_since = best.video, now
        if self.crowd is None or self._told not in self.crowd.videos:
            return None
        upload = self.crowd.videos[self._told].upload
        tale = self.story.tale(self._told)
        shown = {name: self.crowd.shown[self._told, name] for name in tale.crowds()}
        ago_s = (_now_ms() - upload.ts) / 1000
        return Hero(upload, max(now - ago_s, 0.0), tale, shown, self.crowd.policy)

    def _least_worth(self) -> tuple[int, ...]:
        """Return what a tale must be worth to follow one that had its time; early on, anything."""
        return (1,) if self._told else ()

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

    installation: Installation
    worker: Worker
    working: "asyncio.Task[None]"
    control: ControlPlane
    feed: Feed
    crowd: People
    receipts: LogReader
    store: PointingStore
    scene: Scene


async def perform(
    play: Play, rate: int, show: Callable[[Play], Coroutine[Any, Any, None]]
) -> dict[str, Any]:
    """Run everything until it is to end, then in order to its end; return the report.

    `show` runs beside it while the viewers are there.
    """
    play.tell(f"starting on Kafka {play.settings.brokers} and {play.settings.redis}")
    async with AsyncExitStack() as stack:
        stage = await _set(stack, play, rate)
        tame_gc()
        play.began = time.monotonic()
        loops = [_feed(play, stage), _follow(play, stage), _measure(play, stage), show(play)]
        if play.room is not None:
            loops.append(_hold(play, play.room, stage))
        await _until_stopped(play, loops)
        return await _finish(play, stage)


async def _set(stack: AsyncExitStack, play: Play, rate: int) -> _Stage:
    """Start worker, control plane and crowd; they are stopped when the stack unwinds."""
    settings, drivers = play.settings, play.drivers
    producer = await stack.enter_async_context(drivers.producer())
    store = await stack.enter_async_context(drivers.store())
    topics = await stack.enter_async_context(drivers.reader())
    installation = await make_installation(topics, producer, settings, play.key.public)
    index = await stack.enter_async_context(drivers.index())
    identity = await drivers.cluster.identity(settings.topic("interactions"))
    name = namespace_of(identity, installation.id)
    rows = StoredRows(store, name, settings.partitions)
    indexing = Indexing(index, play.metrics, rows.tell)
    around = Surroundings(
        producer, store, settings, installation, metrics=play.metrics, indexing=indexing
    )
    worker = Worker(drivers.consumer(settings), around)
    await worker.start()
    working = asyncio.create_task(worker.run(), name="feedback")
    working.add_done_callback(lambda _: play.stopping.set())
    stack.push_async_callback(_stop_worker, worker, working)
    dossiers = await stack.enter_async_context(drivers.dossiers())
    member = partial(drivers.member, settings)
    ports = Ports(
        producer, dossiers, store, index, topics, drivers.cluster, drivers.background, member
    )
    control = ControlPlane(settings, play.key, ports, play.folder, metrics=ControlMetrics())
    await control.start()
    stack.push_async_callback(control.stop)
    rules = load_rules(play.folder)
    policy, alike = rules.policy.record(0, _now_ms()), rules.tools.catalogue.alike
    chance = Random(play.seed)  # noqa: S311 - viewers, not keys
    mixes = await _mixes(stack, play)
    crowd = People(chance, policy, alike, index, rate, lambda: mixes.in_force)
    play.crowd, play.bars = crowd, rules.policy.shares.bars
    feed = Feed(crowd, producer, settings, settings.partitions)
    receipts = await stack.enter_async_context(drivers.reader())
    topic = settings.topic("decisions")
    receipts.assign({(topic, partition): 0 for partition in range(settings.partitions)})
    scene = Scene(producer, index, worker, settings)
    return _Stage(installation, worker, working, control, feed, crowd, receipts, store, scene)


async def _mixes(stack: AsyncExitStack, play: Play) -> Mixes:
    """Start to follow what the leader has feeds go by."""
    reader = await stack.enter_async_context(play.drivers.reader())
    prefix = play.settings.topic_prefix
    return await stack.enter_async_context(Mixes(reader, topic_prefix=prefix))


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
        await stage.feed.step(_now_ms())
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
            play.lags.append(play.lag)
        await play.sleep(LAG_S)


async def _hold(play: Play, room: LiveRoom, stage: _Stage) -> None:
    """Hold the live room once the crowd is under way, and end the run with it."""
    await play.sleep(SETTLE_S)
    holding = asyncio.create_task(room.hold(stage.scene))
    stopped = asyncio.create_task(play.stopping.wait())
    await asyncio.wait({holding, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in (holding, stopped):
        task.cancel()
    with suppress(asyncio.CancelledError):
        await holding
    play.stopping.set()


async def _finish(play: Play, stage: _Stage) -> dict[str, Any]:
    """Let everything that was sent be counted and stored, stop, and return the report."""
    seconds = play.elapsed_s
    play.tell("the viewers have left; storing what is left, then counting again")
    await _drain(play, stage)
    await stage.control.stop()
    await _drain(play, stage)  # its last records are in the log too
    await _stop_worker(stage.worker, stage.working)
    await _read_all_receipts(play, stage)
    report = _report(play, stage, seconds)
    if play.room is not None and play.room.report:
        await play.room.count(stage.store)
        report["room"] = play.room.report
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
    identity = await play.drivers.cluster.identity(settings.topic("interactions"))
    namespace = namespace_of(identity, stage.installation.id)
    tools = Verifier(settings, stage.installation, Spelling(settings.record_bytes))
    async with play.drivers.reader() as reader:
        found = await verify(reader, stage.store, identity, namespace, tools)
    if found.unproved:
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
        "opened": story.opened,
        "shares": share_fields(play.shares()),
        "split": [_split(split) for split in story.splits()[:5]],
        "widened": [_named(receipt) for receipt in story.widest(5)],
        "stopped": [_named(receipt) for receipt in list(story.stopped)[-5:]],
        "lag": play.lag,
        "halted": [str(halt) for halt in stage.worker.halted.values()],
        "policy": stage.control.policy_version,
        "seed": play.seed,
    }


def _is_feedback(event_type: str) -> bool:
    return event_type not in CONTROL_TYPES


def _named(receipt: Receipt) -> dict[str, Any]:
    fields = ("video", "slice", "stage", "allowance", "impressions", "views", "reason")
    return {name: getattr(receipt, name) for name in fields}


def _split(split: Split) -> dict[str, Any]:
    return {
        "video": split.stop.video,
        "stopped": _named(split.stop),
        "widened": _named(split.widen),
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000

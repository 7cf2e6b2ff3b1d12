"""The serving index is right within ten seconds of whatever Redis lost, and whoever woke up late.

Right is an index that is filled from the rows alone. On the twins; a turn is a second.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import pytest
from kit.events import (
    FIXED,
    FOOTBALL,
    admit,
    hold,
    policy,
    records_of,
    signed_record,
    synthetic_log,
    takedown,
    videos_of,
)
from kit.twins import LOG, Life, World

from streams.core.counters import load_video
from streams.core.events import Hold, Takedown
from streams.core.partitioner import partition_of
from streams.core.state import PartitionState
from streams.ops.rebuild import RebuildPlan, drop_counters
from streams.runtime import refilling
from streams.runtime.memory import MemoryCluster, MemoryDossiers, MemoryServingIndex
from streams.runtime.metrics import Metrics
from streams.runtime.rows import StoredRows
from streams.runtime.serving import Indexing

PARTITIONS = 2
TURNS = 10
DROPPED = "discover:music"
"""Is gone by the log's second policy and back by a later one, and told again bit by bit."""
Told = Mapping[str, tuple[object, Mapping[str, int], Mapping[str, tuple[int, int, int]]]]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is tried again be tried at once."""
    monkeypatch.setattr(refilling, "PAUSE_S", (0.0,))


class ByHand(Indexing):
    """Takes a turn when it is told to."""

    def __init__(self, shop: "Shop", index: MemoryServingIndex) -> None:
        world = shop.world
        rows = StoredRows(world.store, world.namespace, PARTITIONS)
        super().__init__(index, Metrics(), rows.tell, lambda: shop.now)

    def start(self) -> None:
        """Wait for turns."""


class Shop:
    """A log that is half written, an index, and one worker that tells it."""

    def __init__(self, seed: int) -> None:
        self.now = 0.0
        self.world = World(PARTITIONS)
        self.logs = [synthetic_log(seed, 8, 500, p, PARTITIONS) for p in range(PARTITIONS)]
        self.index = MemoryServingIndex(clock=lambda: self.now)
        self.indexing = ByHand(self, self.index)
        self.life = Life(self.world, group="first", indexing=self.indexing)
        self.written = 0.0

    async def open(self) -> "Shop":
        """Have the first half of the log counted and told."""
        await self.life.start()
        await self.write(0.5)
        await self.turn(3)
        await self.require_right()
        return self

    async def write(self, upto: float) -> None:
        """Write the log up to this share of it, and have it counted."""
        for records in self.logs:
            first, last = (round(len(records) * share) for share in (self.written, upto))
            self.world.put(records[first:last])
        self.written = upto
        await self.counted()

    async def counted(self) -> None:
        """Wait until all is stored, and nothing is kept back from the index."""
        await self.life.until(self.all_taken)

    def all_taken(self) -> bool:
        owned = self.life.worker._owned.values()
        known = len(owned) == PARTITIONS and not any(one.state.untold for one in owned)
        return known and self.world.caught_up()

    async def turn(self, turns: int = 1) -> None:
        for _ in range(turns):
            self.now += 1
            self.indexing.turn()
            await self.indexing.settle()

    async def replace_worker(self, group: str) -> None:
        """Have another worker take over; the one before may tell the index late."""
        await self.life.bury()
        self.indexing = ByHand(self, self.index)
        self.life = await Life(self.world, group=group, indexing=self.indexing).start()
        await self.counted()

    def told(self, index: MemoryServingIndex | None = None) -> Told:
        """Return what an index was told of each slice: prices, and of each video what is left.

        Not its score: of a crowd that nothing happened in, that may lag behind.
        """
        slices = (index or self.index)._slices
        told = {
            name: (
                one.order,
                dict(one.prices),
                {
                    video: (pair.entry.allowance, pair.entry.impressions, pair.entry.due)
                    for video, pair in one.pairs.items()
                    if pair.entry.score is not None
                },
            )
            for name, one in slices.items()
        }
        return {name: some for name, some in told.items() if some[2] and name != DROPPED}

    async def require_right(self) -> None:
        """Compare with an index that was filled from the rows and from nothing else.

        Nobody was shown what alone may stand there longer: a public video in a crowd that a policy
        closed to it.
        """
        told, right = self.told(), await self.right()
        assert {name: some[:2] for name, some in told.items()} == {
            name: some[:2] for name, some in right.items()
        }
        for name, (*_, pairs) in right.items():
            here = told[name][2]
            assert {video: here.get(video) for video in pairs} == pairs
            for video in here.keys() - pairs:
                rows = self.world.store.partitions[partition_of(video.encode(), PARTITIONS)].rows
                assert name not in rows[video]
                assert load_video(video, rows[video]).row.stage == "public"

    async def right(self) -> Told:
        """Return what an index shows that was filled from the rows and nothing else."""
        index = MemoryServingIndex(clock=lambda: self.now)
        filling = ByHand(self, index)
        for partition in range(PARTITIONS):
            stored = self.world.store.partitions[partition]
            filling.open(partition, PARTITIONS, stored.watermark)
            filling.follow(partition, PartitionState(partition, PARTITIONS, 1, stored.meta).outlook)
        for _ in range(3):
            filling.turn()
            await filling.settle()
        told = self.told(index)
        assert told
        return told


@pytest.fixture(params=[2, 3])
async def shop(request: pytest.FixtureRequest) -> Any:
    made = await Shop(request.param).open()
    yield made
    await made.life.stop()


async def test_it_is_right_after_redis_was_emptied_and_the_log_is_counted_anew(shop: Shop) -> None:
    await shop.life.stop()
    shop.world.store.partitions.clear()
    shop.index._slices.clear()
    shop.indexing = ByHand(shop, shop.index)
    shop.life = await Life(shop.world, group="again", indexing=shop.indexing).start()
    await shop.counted()
    await shop.turn(TURNS)
    await shop.require_right()


async def test_it_is_right_after_a_rebuild_of_a_log_that_lost_its_beginning(shop: Shop) -> None:
    """What retention took is counted no more, and so is not shown any more."""
    await shop.life.stop()
    store, cluster = shop.world.store, MemoryCluster(shop.world.log)
    plan, log = RebuildPlan(tuple(range(PARTITIONS)), {}, 0, {}), shop.world.counted_log()
    await drop_counters(cluster, log, MemoryDossiers(), plan, "first", lambda _: None)
    for partition in range(PARTITIONS):
        end = shop.world.end(partition) + 1
        shop.world.log.forget(LOG, partition, end)
        await store.begin(partition, shop.world.namespace)
    shop.indexing = ByHand(shop, shop.index)
    shop.life = await Life(shop.world, group="again", indexing=shop.indexing).start()
    await shop.life.until(lambda: len(shop.life.worker._owned) == PARTITIONS)
    await shop.turn(2)
    for partition in range(PARTITIONS):
        end = shop.world.log.offsets(LOG, partition).end
        left = [policy(seq=99), admit("admit-9", video=videos_of(partition, PARTITIONS, 1)[0])]
        shop.world.put(
            signed_record(one, end + n)._replace(partition=partition) for n, one in enumerate(left)
        )
    await shop.counted()
    await shop.turn(TURNS)
    await shop.require_right()
    assert shop.told() == await shop.right()
    assert {video for *_, some in shop.told().values() for video in some} == {
        videos_of(partition, PARTITIONS, 1)[0] for partition in range(PARTITIONS)
    }


@pytest.mark.parametrize("lost", ["counters", "index", "some slices", "all"])
@pytest.mark.parametrize("busy", [True, False], ids=["busy", "idle"])
async def test_it_is_right_after_a_replica_that_was_behind_took_over(
    shop: Shop, lost: str, busy: bool
) -> None:
    older = deepcopy((shop.world.store.partitions, shop.index._slices))
    await shop.write(0.8)
    await shop.turn(2)
    counters, slices = older
    if lost in {"counters", "all"}:
        shop.world.store.partitions.update(counters)
    if lost in {"index", "all"}:
        shop.index._slices.clear()
    if lost != "counters":
        names = sorted(slices)[:: 2 if lost == "some slices" else 1]
        shop.index._slices.update((name, slices[name]) for name in names)
    if busy:
        await shop.write(1.0)
    await shop.counted()
    await shop.turn(TURNS)
    await shop.require_right()


@pytest.mark.parametrize("word", [takedown(video="v0"), hold(video="v0")])
async def test_a_verdict_takes_a_video_off_whoever_counted_it_before(word: Takedown | Hold) -> None:
    shop = Shop(0)
    events = [policy(), admit(video="v0"), word]
    assert videos_of(0, PARTITIONS, 1) == ["v0"]
    shop.logs = [records_of(events), [one._replace(partition=1) for one in records_of([FIXED])]]
    await shop.life.start()
    await shop.write(0.7)
    await shop.turn(3)
    assert "v0" in shop.told()[FOOTBALL][2]
    await shop.replace_worker("other")
    await shop.turn(3)
    await shop.write(1.0)
    await shop.turn(1)
    assert not shop.told()
    await shop.life.stop()


async def test_it_is_right_whatever_a_worker_says_that_was_replaced_long_ago(shop: Shop) -> None:
    await shop.write(0.7)  # taken and not told: it stops here
    zombie = shop.indexing
    await shop.replace_worker("other")
    await shop.write(0.8)
    await shop.turn(2)
    for _ in range(3):
        shop.now += 1
        zombie.turn()
        await zombie.settle()
        await shop.turn()
    await shop.write(1.0)
    zombie.turn()
    await zombie.settle()
    await shop.turn(TURNS)
    await shop.require_right()

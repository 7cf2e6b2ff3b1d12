"""The feedback worker over the twins: exact whatever the batches, deaths, conflicts and limits."""

import asyncio
import itertools
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest
from kit.events import (
    FIXED,
    FOOTBALL,
    Logged,
    admit,
    impression,
    interaction_record,
    like,
    record,
    records_of,
    signed_record,
    synthetic_log,
    videos_of,
    view,
)
from kit.folding import Folding, decoded
from kit.keys import INSTALLATION
from kit.patience import PATIENCE_S
from kit.twins import LOG, Life, MortalConsumer, World, counted, counted_with_a_death, settings_of

from streams.core.counters import Slice, decode_slice, encode_slice
from streams.core.receipts import encode as encode_receipt
from streams.core.state import FRESH, Changes, PartitionState
from streams.core.traffic import encode as encode_tick
from streams.errors import Halt, Retry
from streams.ops.rebuild import plan_rebuild, restart_partition
from streams.runtime.bad_input import PAUSE_S, TRICKLE_RECORDS, TRICKLE_S
from streams.runtime.memory.dossiers import MemoryDossiers
from streams.runtime.memory.producer import MemoryProducer
from streams.runtime.memory.store import MemoryStore
from streams.runtime.metrics import Metrics
from streams.runtime.namespace import SCHEMA, namespace_of
from streams.runtime.opening import Opened
from streams.runtime.owned import Lost, Owned
from streams.runtime.ports import (
    NOTHING_STORED,
    Clock,
    FlushResult,
    Loaded,
    Outgoing,
    Record,
    Stored,
    TopicIdentity,
)
from streams.runtime.signing import encode
from streams.runtime.surroundings import Surroundings

LOG_OF_ALL = synthetic_log(seed=11, videos=8, events=420)
BATCH = 30
ROOT = Path(__file__).parents[2]


def world_of(records: Sequence[Logged], **changes: object) -> World:
    world = World(**changes)  # type: ignore[arg-type]
    world.put(records)
    return world


async def outcome_of(records: Sequence[Logged], batch: int = BATCH, **changes: object) -> Any:
    world = await counted(world_of(records, **changes), batch=batch)
    assert await world.is_exact()
    return world.outcome()


# ---------------------------------------------------------------- the same log, the same bytes


@pytest.mark.parametrize("batch", [1, 7, 5_000])
async def test_receipts_and_counters_do_not_depend_on_batches(batch: int) -> None:
    assert await outcome_of(LOG_OF_ALL, batch) == await outcome_of(LOG_OF_ALL)


async def test_the_worker_says_and_stores_what_the_fold_alone_does() -> None:
    world = await counted(world_of(LOG_OF_ALL), batch=BATCH)
    reference = Folding(world.settings.generation_records).fold(decoded(LOG_OF_ALL)).flush()
    assert world.receipts() == [encode_receipt(said) for said in reference.receipts]
    assert world.ticks() == [encode_tick(tick) for tick in reference.ticks] != []
    assert world.rows() == [reference.rows]
    assert world.meta()._replace(mark="") == reference.meta


@pytest.mark.parametrize("batch", [1, 7, 5_000])
@pytest.mark.parametrize("generation", [50, 100_000])
async def test_a_log_with_every_tenth_record_sent_twice_counts_each_once(
    batch: int, generation: int
) -> None:
    repeated = every_tenth_twice(LOG_OF_ALL)
    world = await counted(world_of(repeated, generation_records=generation), batch=batch)
    assert await world.is_exact()
    if generation > len(repeated):  # all repeats fall inside the window
        assert world.rows() == (await counted(world_of(LOG_OF_ALL))).rows()


def every_tenth_twice(records: Sequence[Logged]) -> list[Logged]:
    sent = [r for n, r in enumerate(records) for _ in range(2 if n % 10 == 0 else 1)]
    return [one._replace(offset=offset) for offset, one in enumerate(sent)]


PRINT_DIGEST = """
import asyncio, hashlib, sys
from kit.events import synthetic_log
from kit.twins import World, counted, counted_with_a_death
from runtime.test_worker import every_tenth_twice

async def main(batch, dies_at):
    world = World(generation_records=64)
    world.put(every_tenth_twice(synthetic_log(seed=11, videos=8, events=420)))
    if dies_at:
        assert await counted_with_a_death(world, dies_at, batch=batch)
    else:
        await counted(world, batch=batch)
    told = world.receipts(), world.ticks(), world.meta(), sorted(map(repr, world.letters()))
    rows = sorted((v, sorted(f.items())) for r in world.rows() for v, f in r.items())
    print(hashlib.sha256(repr((told, rows)).encode()).hexdigest())

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


def test_one_log_gives_one_digest_for_any_batch_hash_seed_and_crash() -> None:
    """Fresh processes, because the hash seed of a process is fixed."""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", PRINT_DIGEST, str(batch), str(dies_at)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for batch in (1, 7, 5_000)
        for seed, dies_at in (("1", 0), ("2", 9))
    ]
    digests = [run.communicate()[0].strip() for run in runs]
    assert [run.returncode for run in runs] == [0] * len(runs)
    assert len(digests[0]) == 64
    assert set(digests) == {digests[0]}


# ---------------------------------------------------------------- death between any two steps


async def test_a_worker_may_die_between_any_two_steps() -> None:
    expected = await outcome_of(LOG_OF_ALL)
    died_at: list[int] = []
    for step in itertools.count(1):
        world = world_of(LOG_OF_ALL)
        if not await counted_with_a_death(world, step, batch=BATCH):
            break
        died_at.append(step)
        assert world.outcome() == expected, f"died at step {step}"
    assert len(died_at) > 50


@pytest.mark.parametrize("seed", range(12))
async def test_many_deaths_in_a_row_change_nothing(seed: int) -> None:
    """Small generations and memory of one video: restarts read ids and rows again and again."""
    changes = {"generation_records": 40, "videos_in_memory": 1}
    random = Random(seed)
    world = world_of(LOG_OF_ALL, **changes)
    deaths = 0
    while deaths < 6:
        await Life(world, batch=random.randrange(1, 60), dies_at=random.randrange(8, 60)).live()
        deaths += 1
    await counted(world, batch=BATCH)
    assert await world.is_exact()
    assert world.outcome() == await outcome_of(LOG_OF_ALL, **changes)


async def test_a_clean_stop_leaves_nothing_to_do_again() -> None:
    world = World()
    for at in range(0, len(LOG_OF_ALL), 100):
        world.put(LOG_OF_ALL[at : at + 100])
        await counted(world, batch=BATCH)
    decisions = world.sent("decisions")
    assert len(decisions) == len(world.receipts())
    assert await world.is_exact()


async def test_reading_starts_at_the_watermark_whatever_the_group_committed() -> None:
    world = world_of(LOG_OF_ALL[:150])
    await counted(world, batch=BATCH)
    world.put(LOG_OF_ALL[150:])
    await Life(world).consumer.commit({0: world.end() + 1})
    await counted(world, batch=BATCH)
    assert await world.is_exact()
    assert world.outcome() == await outcome_of(LOG_OF_ALL)


# ---------------------------------------------------------------- somebody else writes


def owned(world: World, clock: Clock = time.monotonic) -> Owned:
    """Return the partition as a worker owns it that was given it just now."""
    producer = MemoryProducer(world.log)
    around = Surroundings(
        producer, world.store, world.settings, INSTALLATION, metrics=Metrics(), clock=clock
    )
    stored = world.store.partitions.get(0)
    at = Stored(stored.watermark, stored.meta) if stored else NOTHING_STORED
    state = PartitionState(0, 1, world.settings.generation_records, at.meta)
    return Owned(Opened(state, at, at.watermark + 1), world.namespace, around)


async def take(owner: Owned, records: Sequence[Logged]) -> None:
    await fold(owner, records)
    await owner.settle()


async def fold(owner: Owned, records: Sequence[Logged]) -> None:
    owner.add(records)
    await owner.work()


async def test_a_frozen_owner_that_wakes_up_late_cannot_write_what_it_counted_twice() -> None:
    """It loads rows that hold the records already which it is about to fold."""
    records = records_of([view(f"e{n}", viewer=f"u{n}") for n in range(30)])
    world = world_of(records)
    await take(owned(world), records[:10])
    frozen, heir = owned(world), owned(world)
    await take(heir, records[10:20])
    with pytest.raises(Lost):
        await fold(frozen, records[10:20])
    await take(heir, records[20:])
    assert await world.is_exact()


class LateConsumer(MortalConsumer):
    """Hands out what it read only after `meanwhile` is over."""

    meanwhile: Callable[[], Awaitable[None]] | None = None

    async def fetch(self, timeout_ms: int, max_records: int) -> Mapping[int, Sequence[Record]]:
        batches = await super().fetch(timeout_ms, max_records)
        if batches and self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            await meanwhile()
        return batches


async def test_what_was_read_before_a_partition_was_opened_again_is_not_folded_there() -> None:
    """Redis falls back, and the records that come next are those behind the later watermark."""
    records = records_of([view(f"e{n}", viewer=f"u{n}") for n in range(60)])
    world = world_of(records[:30])
    life = await Life(world, batch=5, consumer=LateConsumer).start()
    await life.until(world.caught_up)
    earlier = await counted(world_of(records[:20]))

    async def falls_back() -> None:
        before = life.worker._owned[0]
        world.store.partitions[0] = earlier.store.partitions[0]
        life.worker._reopen(before, Lost(earlier.watermark()))
        await life.until(lambda: life.worker._owned.get(0) not in {None, before})

    assert isinstance(life.consumer, LateConsumer)
    life.consumer.meanwhile = falls_back
    world.put(records[30:])
    await life.until(world.caught_up)
    await life.stop()
    assert life.consumer.meanwhile is None
    assert await world.is_exact()


async def test_a_flush_over_another_ones_watermark_is_lost_and_writes_nothing() -> None:
    """Both hold the video in memory already."""
    records = records_of([view(f"e{n}", viewer=f"u{n}") for n in range(30)])
    world = world_of(records)
    await take(owned(world), records[:10])
    one, other = owned(world), owned(world)
    await fold(one, records[10:12])
    await take(other, records[10:20])
    before = msgspec.msgpack.encode(snapshot(world))
    with pytest.raises(Lost) as lost:
        await take(one, records[12:30])
    assert lost.value.stored == 19
    assert msgspec.msgpack.encode(snapshot(world)) == before


@pytest.mark.parametrize("seed", range(8))
async def test_two_owners_of_one_partition_keep_it_exact(seed: int) -> None:
    random = Random(seed)
    world = World(videos_in_memory=1)
    one = await Life(world, group="one", batch=20).start()
    other = await Life(world, group="other", batch=20).start()
    at = 0
    while at < len(LOG_OF_ALL):
        count = random.randrange(1, 40)
        world.put(LOG_OF_ALL[at : at + count])
        at += count
        for _ in range(random.randrange(60)):
            await asyncio.sleep(0)
    await one.until(world.caught_up)
    await one.stop()
    await other.stop()
    assert await world.is_exact()
    assert world.receipts() == (await counted(world_of(LOG_OF_ALL))).receipts()


@pytest.mark.parametrize("back", [1, 60, 10_000])
async def test_a_store_that_fell_back_is_folded_again(back: int) -> None:
    world = World()
    life = await Life(world, batch=BATCH).start()
    world.put(LOG_OF_ALL[:100])
    await life.until(world.caught_up)
    earlier = msgspec.msgpack.encode(snapshot(world))
    world.put(LOG_OF_ALL[100 : 100 + back])
    await life.until(world.caught_up)
    restore(world, msgspec.msgpack.decode(earlier))
    world.put(LOG_OF_ALL[100 + back :])
    await life.until(world.caught_up)
    await life.stop()
    assert await world.is_exact()
    assert world.outcome() == await outcome_of(LOG_OF_ALL)


def snapshot(world: World) -> tuple[object, ...]:
    stored = world.store.partitions[0]
    return stored.namespace, stored.watermark, tuple(stored.meta), stored.rows


def restore(world: World, said: Sequence[Any]) -> None:
    stored = world.store.partitions[0]
    stored.namespace, stored.watermark, stored.rows = said[0], said[1], said[3]
    stored.meta = type(FRESH)(*said[2])


async def test_an_idle_partition_that_fell_back_is_found_by_the_audit() -> None:
    """No record comes that would find it."""
    world = world_of(LOG_OF_ALL[:100])
    life = await Life(world, batch=BATCH).start()
    await life.until(world.caught_up)
    earlier = msgspec.msgpack.encode(snapshot(world))
    world.put(LOG_OF_ALL[100:])
    await life.until(world.caught_up)
    restore(world, msgspec.msgpack.decode(earlier))
    assert not world.caught_up()
    await life.until(world.caught_up)
    await life.stop()
    assert await world.is_exact()


async def test_counters_that_vanish_halt_the_partition_and_are_never_begun_anew() -> None:
    world = world_of(LOG_OF_ALL[:100])
    life = await Life(world, batch=BATCH).start()
    await life.until(lambda: world.caught_up() and committed(life) == world.end() + 1)
    await world.store.erase(0)
    world.put(LOG_OF_ALL[100:])
    await life.until(lambda: life.worker.halted)
    assert life.worker.halted[0].code == "watermark_missing"
    await life.stop()
    assert world.watermark() == -1


async def test_the_group_commits_what_is_stored_and_nothing_else() -> None:
    world = world_of(LOG_OF_ALL)
    world.store = store = Silent()
    store.silent = False
    life = await Life(world, batch=5, store=store).start()
    await life.until(world.caught_up)
    world.put(records_of_more(world))
    store.silent = True
    await life.until(lambda: life.worker.positions()[0] > world.watermark() + 1)
    for _ in range(2_000):
        await asyncio.sleep(0)
    assert committed(life) == world.watermark() + 1
    await life.bury()


def records_of_more(world: World) -> list[Logged]:
    first = world.end() + 1
    return [interaction_record(impression(f"more{n}"), first + n) for n in range(50)]


def committed(life: Life) -> int | None:
    return life.consumer._group.positions.get(0)


async def test_an_emptied_store_is_not_taken_for_a_new_one_at_the_next_start() -> None:
    world = await counted(world_of(LOG_OF_ALL), batch=BATCH)
    await world.store.erase(0)
    life = await Life(world).start()
    await life.until(lambda: life.worker.halted)
    assert life.worker.halted[0].code == "watermark_missing"
    await life.stop()
    assert world.store.partitions == {}


# ---------------------------------------------------------------- a store or brokers that fail


@pytest.mark.parametrize("reply_lost", [True, False])
async def test_a_failed_flush_is_repeated_until_it_is_stored_once(*, reply_lost: bool) -> None:
    world = world_of(LOG_OF_ALL[:200])
    for _ in range(3):
        world.store.fail_next(Retry("no reply"), reply_lost=reply_lost)
    await counted(world, batch=BATCH)
    assert await world.is_exact()


class NeverAcknowledges(MemoryProducer):
    """A producer whose records stay on their way."""

    async def send(self, record: Outgoing) -> Awaitable[None]:  # noqa: ARG002
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        return waiting


async def test_the_watermark_waits_for_the_acknowledgement_of_decisions() -> None:
    world = world_of(records_of([FIXED, admit()]))
    life = await Life(world, producer=NeverAcknowledges(world.log)).start()
    await life.until(lambda: life.worker.positions().get(0) == 2)
    for _ in range(200):
        await asyncio.sleep(0)
    assert world.watermark() == -1
    await life.bury()


async def test_the_watermark_waits_for_the_acknowledgement_of_dead_letters() -> None:
    world = world_of([record(b"no json")])
    life = await Life(world, producer=NeverAcknowledges(world.log)).start()
    await life.until(lambda: life.worker.positions().get(0) == 1)
    for _ in range(200):
        await asyncio.sleep(0)
    assert world.watermark() == -1
    await life.bury()


class GivesUp(MemoryProducer):
    """A producer that cancels the acknowledgement of its first record, as a closing client does."""

    given_up = False

    async def send(self, record: Outgoing) -> Awaitable[None]:
        if self.given_up:
            return await super().send(record)
        self.given_up = True
        lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lost.cancel()
        return lost


async def test_a_record_that_the_client_gave_up_is_sent_again_and_ends_nothing() -> None:
    world = world_of([record(b"no json")])
    life = await Life(world, producer=GivesUp(world.log)).start()
    await life.until(world.caught_up)
    await life.stop()
    assert len(world.letters()) == 1


async def test_a_decision_that_could_not_be_written_is_sent_again_with_the_same_bytes() -> None:
    """Those behind it in the batch were written, so its first occurrence may come after theirs."""
    world = world_of(LOG_OF_ALL)
    life = Life(world, batch=BATCH)
    for _ in range(5):
        life.producer.fail_next(Retry("not written"))
    await life.start()
    await life.until(world.caught_up)
    await life.stop()
    assert sorted(world.receipts()) == sorted((await counted(world_of(LOG_OF_ALL))).receipts())
    assert await world.is_exact()


class Silent(MemoryStore):
    """A store whose flushes get no answer while it is silent, as a Redis that was paused."""

    silent = True

    async def flush(self, *arguments: Any) -> FlushResult:
        if self.silent:
            raise Retry("Redis does not answer")
        return await super().flush(*arguments)


async def test_a_worker_stops_while_the_store_is_silent_and_its_rows_are_at_the_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.runtime.worker.HANDOVER_S", 0.1)
    world = world_of(LOG_OF_ALL, flush_rows=5)
    life = await Life(world, batch=BATCH, store=Silent()).start()
    await life.until(lambda: life.worker.positions().get(0, 0) > 2)
    async with asyncio.timeout(PATIENCE_S):
        await life.stop()
    await counted(world, batch=BATCH)
    assert await world.is_exact()


# ---------------------------------------------------------------- limits


class Measured(MemoryStore):
    """A store that notes how many rows each flush has."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[int] = []

    async def flush(
        self, partition: int, namespace: str, expected: int, new: int, changes: Changes
    ) -> FlushResult:
        self.rows.append(sum(map(len, changes.rows.values())))
        await asyncio.sleep(0)
        return await super().flush(partition, namespace, expected, new, changes)


async def test_a_flush_holds_about_as_many_rows_as_the_bound_allows() -> None:
    events = [impression(f"e{n}", video=f"v{n}") for n in range(3_000)]
    world = world_of([interaction_record(event, n) for n, event in enumerate(events)])
    world.settings = settings_of(partitions=1, flush_rows=100, flush_interval_ms=3_600_000)
    store = Measured()
    life = await Life(world, store=store).start()
    await life.until(lambda: store.partitions and len(store.partitions[0].rows) >= 2_900)
    await life.stop()
    assert max(store.rows) <= 200  # of new videos each event brings two
    assert len(store.partitions[0].rows) == 3_000


async def test_memory_for_one_video_gives_the_same_receipts_and_rows() -> None:
    small = await outcome_of(LOG_OF_ALL, videos_in_memory=1, batch=5)
    assert small == await outcome_of(LOG_OF_ALL)


async def test_clean_videos_above_the_limit_leave_memory() -> None:
    events = [impression(f"e{n}", video=f"v{n}") for n in range(400)]
    world = world_of([interaction_record(event, n) for n, event in enumerate(events)])
    world.settings = settings_of(partitions=1, flush_interval_ms=1, videos_in_memory=8)
    life = await Life(world, batch=4).start()
    held: list[int] = []

    def done() -> bool:
        held.extend(len(one.state.videos) for one in life.worker._owned.values())
        return world.caught_up()

    await life.until(done)
    await life.stop()
    assert max(held) < 120
    assert await world.is_exact()


class Slow(MemoryStore):
    """A store that takes its time, so that folding and eviction overtake a flush."""

    async def flush(self, *arguments: Any) -> FlushResult:
        for _ in range(40):
            await asyncio.sleep(0)
        return await super().flush(*arguments)


async def test_videos_with_changes_on_their_way_to_the_store_stay_in_memory() -> None:
    world = World(videos_in_memory=1)
    slow = Slow()
    world.store = slow
    life = await Life(world, batch=3, store=slow).start()
    world.put(LOG_OF_ALL)
    await life.until(world.caught_up)
    await life.stop()
    assert await world.is_exact()
    assert world.outcome() == await outcome_of(LOG_OF_ALL)


async def test_too_many_bad_records_pause_their_partition_alone_and_it_goes_on_by_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(2)
    home = videos_of(1, 2, 1)[0]
    good = [
        interaction_record(like(f"e{n}", viewer=f"u{n}", video=home), n)._replace(partition=1)
        for n in range(600)
    ]
    world.put([*(record(b"{", n, partition=0) for n in range(2_000)), *good])
    life = await Life(world).start()
    await life.until(lambda: "PAUSED" in caplog.text and world.watermark(1) == 599)
    assert world.watermark(0) < 1_000
    world.put([interaction_record(like("late", video=home), 600)._replace(partition=1)])
    await life.until(lambda: world.watermark(1) == 600)
    assert world.watermark(0) < 1_999  # it takes a few at a time
    world.put([record(GOOD, 2_000 + n, partition=0) for n in range(1_000)])
    await life.until(world.caught_up)
    await life.stop()
    assert life.worker.halted == {}
    assert len(world.letters()) == 2_000
    assert caplog.text.count("PAUSED") == 1
    assert "partition 0 goes on" in caplog.text


async def test_after_a_pause_a_few_records_at_a_time_are_taken_until_they_are_good() -> None:
    world = world_of([record(b"{", n) for n in range(1_500)])
    now = [0.0]
    owner = owned(world, clock=lambda: now[0])
    owner.add(world.log.records(LOG, 0))
    await owner.work()
    begun = owner.folded
    now[0] += PAUSE_S - 0.1
    await owner.work()
    assert owner.folded == begun < 1_499
    now[0] += 0.1
    for taken in (TRICKLE_RECORDS, 2 * TRICKLE_RECORDS):
        await owner.work()
        assert owner.folded == begun + taken
        now[0] += TRICKLE_S
    good = [record(GOOD, 1_500 + n) for n in range(3 * TRICKLE_RECORDS)]
    owner.add(good)
    for _ in range(20):
        await owner.work()
        now[0] += TRICKLE_S
    assert owner.folded == good[-1].offset
    assert not owner.resting
    await owner.settle()


GOOD = encode(view("again", video=videos_of(0, 2, 1)[0]))


async def test_one_bad_event_in_each_collected_batch_of_fifty_pauses_nothing() -> None:
    """Two percent of the events are bad, however many records they came in."""
    fifty = [
        encode([impression(f"e{n}-{m}") for m in range(49)])[:-1] + b',{"type":"view"}]'
        for n in range(600)
    ]
    world = world_of([record(value, n) for n, value in enumerate(fifty)])
    life = await Life(world).start()
    await life.until(world.caught_up)
    await life.stop()
    assert gauge(life.metrics.bad_input) == 1
    assert len(world.letters()) == 600


async def test_one_array_of_thousands_of_bad_elements_is_one_bad_record_and_one_letter(
    caplog: pytest.LogCaptureFixture,
) -> None:
    array = b"[" + b",".join([b"1"] * 2_000) + b"]"
    world = world_of([record(array, 0), *(record(encode(view("e")), n) for n in range(1, 600))])
    life = await Life(world).start()
    await life.until(world.caught_up)
    await life.stop()
    assert "PAUSED" not in caplog.text
    (letter,) = world.sent(f"{LOG}.dlq")
    assert letter.value == array


async def test_the_first_bad_record_of_a_quiet_minute_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = world_of([record(b"{", 0), record(b"{", 1)])
    life = await Life(world, clock=lambda: 0.0).start()
    await life.until(lambda: life.worker.positions().get(0) == 2)
    await life.stop()
    assert [line for line in caplog.messages if "bad" in line] == [
        "partition 0: bad records; see interactions.dlq"
    ]


async def test_a_producer_with_another_partitioner_is_told_its_setting_and_pauses_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(2)
    elsewhere, home = videos_of(1, 2, 1)[0], videos_of(0, 2, 1)[0]
    videos = [elsewhere if n % 3 else home for n in range(3_000)]
    events = [impression(f"e{n}", video=video) for n, video in enumerate(videos)]
    world.put([interaction_record(event, n) for n, event in enumerate(events)])
    life = await Life(world).start()
    await life.until(world.caught_up)
    await life.stop()
    assert life.worker.halted == {}
    assert "PAUSED" not in caplog.text
    lines = [line for line in caplog.messages if "misrouted" in line]
    assert 1 <= len(lines) <= 2
    assert "partitioner=murmur2_random" in lines[0]
    assert gauge(life.metrics.misrouted) == 1
    letters = world.sent(f"{LOG}.dlq")
    assert len(letters) == 2_000
    whole = [letter for letter in letters if letter.value is not None]
    assert 0 < len(whole) <= 1_000  # until the share is known; from there on by place
    assert {letter.key for letter in letters if letter.value is None} == {None}
    assert (1, 0, "misrouted") in world.letters()
    assert await world.is_exact()


def gauge(metric: Any) -> float:
    """The sum of a metric's values over its labels."""
    (family,) = metric.collect()
    return sum(one.value for one in family.samples if not one.name.endswith("_created"))


# ---------------------------------------------------------------- each partition for itself


class Shards(MemoryStore):
    """A store of which one partition's shard does not answer while it is away."""

    def __init__(self, away: int, *, hangs: bool) -> None:
        super().__init__()
        self.away: int | None = away
        self.hangs = hangs
        self.asked = 0

    async def load(self, partition: int, videos: Sequence[str]) -> Loaded:
        await self._answer(partition)
        return await super().load(partition, videos)

    async def meta(self, partition: int, namespace: str) -> Stored | None:
        await self._answer(partition)
        return await super().meta(partition, namespace)

    async def _answer(self, partition: int) -> None:
        while partition == self.away:
            self.asked += 1
            if not self.hangs:
                raise Retry("this shard is away")
            await asyncio.sleep(0.01)


def logs_of_two() -> list[list[Logged]]:
    return [synthetic_log(seed=3, events=200, partition=p, partitions=2) for p in (0, 1)]


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_shard_that_is_away_while_videos_are_loaded_holds_its_own_partition_only(
    caplog: pytest.LogCaptureFixture, *, hangs: bool
) -> None:
    world = World(2)
    world.store = store = Shards(2, hangs=hangs)
    life = await Life(world, batch=BATCH, store=store).start()
    await life.until(lambda: len(life.worker.positions()) == 2)
    store.away = 0
    world.put([one for log in logs_of_two() for one in log])
    await life.until(lambda: world.watermark(1) == world.end(1) and store.asked > 0)
    assert world.watermark(0) == -1
    assert life.worker.positions()[0] == 0
    store.away = None
    await life.until(world.caught_up)
    await life.stop()
    assert await world.is_exact()
    told = [line for line in caplog.messages if "0 waits" in line or "0 goes on" in line]
    assert hangs or told == [
        "partition 0 waits: this shard is away",
        "partition 0 goes on: the store answers again",
    ]


async def test_a_worker_reads_no_further_while_it_has_something_left_to_fold() -> None:
    """What a shard's outage takes of memory does not grow with its length."""
    world = World(2)
    world.store = store = Shards(2, hangs=False)
    life = await Life(world, batch=BATCH, store=store).start()
    await life.until(lambda: len(life.worker.positions()) == 2)
    store.away = 0
    world.put([one for log in logs_of_two() for one in log])
    await life.until(lambda: world.watermark(1) == world.end(1) and store.asked > 1)
    assert 0 < len(life.worker._owned[0].backlog) <= BATCH
    store.away = None
    await life.until(world.caught_up)
    await life.stop()


@pytest.mark.parametrize("hangs", [True, False])
async def test_a_shard_that_is_away_at_the_start_closes_its_own_partition_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, *, hangs: bool
) -> None:
    monkeypatch.setattr("streams.runtime.opening.ANSWER_S", 0.05)
    monkeypatch.setattr("streams.runtime.worker.ANSWER_S", 0.05)
    monkeypatch.setattr("streams.runtime.opening.AGAIN_S", (0.01,))
    world = World(2)
    world.put([one for log in logs_of_two() for one in log])
    world.store = store = Shards(0, hangs=hangs)
    life = await Life(world, batch=BATCH, store=store).start()
    await life.until(lambda: world.watermark(1) == world.end(1))
    await life.until(lambda: any("0 waits" in line for line in caplog.messages))
    await life.until(lambda: gauge(life.metrics.waiting) == 1)
    assert 0 not in life.worker.positions()
    store.away = None
    await life.until(world.caught_up)
    assert gauge(life.metrics.waiting) == 0
    await life.stop()
    assert await world.is_exact()
    told = [line for line in caplog.messages if "0 waits" in line or "0 is open" in line]
    assert len(told) == 2
    assert told[0].startswith("partition 0 waits to be opened: ")
    assert told[1] == "partition 0 is open"


class Silenced(MortalConsumer):
    """A consumer whose brokers stop saying which topic this is."""

    silent = False

    async def identity(self) -> TopicIdentity:
        if self.silent:
            await asyncio.Event().wait()
        return await super().identity()


async def test_a_partition_without_a_leader_keeps_no_other_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("streams.runtime.opening.AGAIN_S", (0.01,))
    world = World(2)
    world.put([one for log in logs_of_two() for one in log])
    world.log.leaderless.add((LOG, 0))
    life = await Life(world, batch=BATCH).start()
    await life.until(lambda: world.watermark(1) == world.end(1))
    assert 0 not in life.worker.positions()
    assert life.worker.halted == {}
    world.log.leaderless.clear()
    await life.until(world.caught_up)
    await life.stop()
    assert await world.is_exact()


async def test_brokers_that_do_not_say_which_topic_this_is_close_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An admin client may wait for minutes for a controller that is gone."""
    monkeypatch.setattr("streams.runtime.opening.ANSWER_S", 0.05)
    world = World(2)
    world.put([one for log in logs_of_two() for one in log])
    life = await Life(world, batch=BATCH, consumer=Silenced).start()
    assert isinstance(life.consumer, Silenced)
    life.consumer.silent = True
    await life.until(world.caught_up)
    await life.stop()
    assert await world.is_exact()


# ---------------------------------------------------------------- halts


async def test_what_retention_took_halts_the_partition_and_leaves_the_others_going() -> None:
    world = World(2)
    logs = [synthetic_log(seed=3, events=200, partition=p, partitions=2) for p in (0, 1)]
    world.put([one for log in logs for one in log[:50]])
    await counted(world, batch=BATCH)
    before = world.watermark(0)
    world.put([one for log in logs for one in log[50:]])
    world.log.forget(LOG, 0, before + 5)
    life = await Life(world, batch=BATCH).start()
    await life.until(lambda: world.watermark(1) == world.end(1))
    await life.stop()
    assert life.worker.halted[0].code == "data_loss"
    assert f"{before + 1} to {before + 4}" in str(life.worker.halted[0])
    assert world.watermark(0) == before


async def test_a_halt_is_noted_in_the_store_until_the_partition_is_opened_again() -> None:
    world = world_of(LOG_OF_ALL[:60])
    await counted(world, batch=BATCH)
    world.put(LOG_OF_ALL[60:])
    kept = deepcopy(world.store.partitions)
    world.store.partitions[0].watermark = world.end() + 9
    life = await Life(world, batch=BATCH).start()
    await life.until(lambda: life.worker.halted)
    await life.stop()
    [(partition, note)] = (await world.store.halts([0])).items()
    halt = life.worker.halted[0]
    assert (partition, note.code, note.text) == (0, halt.code, str(halt))
    assert abs(note.at_ms / 1000 - time.time()) < 60
    world.store.partitions.update(kept)
    await counted(world, batch=BATCH)
    assert await world.store.halts([0]) == {}


class Noteless(MemoryStore):
    """A store that takes flushes and no notes."""

    async def note_halt(self, *_: Any) -> None:
        raise Retry("Redis is full")


async def test_a_store_that_takes_no_notes_costs_the_note_only() -> None:
    store = Noteless()
    world = world_of(LOG_OF_ALL)
    world.store = store
    life = await Life(world, batch=BATCH, store=store).start()
    await life.until(world.caught_up)
    await life.stop()
    assert await world.is_exact()


async def test_what_was_folded_before_a_halt_is_stored_with_it() -> None:
    """Retention overtakes the reader: the log will not tell a second time."""
    hour = {"flush_interval_ms": 3_600_000}
    world = world_of(LOG_OF_ALL[:60], **hour)
    life = await Life(world, clock=lambda: 0.0).start()
    await life.until(lambda: life.worker.positions().get(0) == world.end() + 1)
    folded = world.end()
    assert world.watermark() == -1
    world.put(LOG_OF_ALL[60:])
    world.log.forget(LOG, 0, folded + 20)
    await life.until(lambda: life.worker.halted)
    assert life.worker.halted[0].code == "data_loss"
    await life.stop()
    assert world.watermark() == folded


GARBAGE = {
    "no_json": b"abc",
    "too_short": b"[1,2]",
    "too_long": b"[" + b"1," * 40 + b"1]",
    "no_number": encode_slice(Slice()).replace(b"0", b'"x"', 1),
    "nothing": b"",
    "not_utf8": b"\xff\xfe",
}


async def two_partitions_counted() -> tuple[World, list[list[Logged]]]:
    """Two partitions with 60 records counted each, and their whole logs."""
    world = World(2)
    logs = [synthetic_log(seed=3, events=200, partition=p, partitions=2) for p in (0, 1)]
    world.put([one for log in logs for one in log[:60]])
    return await counted(world, batch=BATCH), logs


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("own", [True, False])
async def test_a_stored_row_that_cannot_be_read_halts_its_partition_alone_and_is_named(
    *, raw: bytes, own: bool
) -> None:
    world, logs = await two_partitions_counted()
    for fields in world.store.partitions[0].rows.values():
        fields["video" if own else next(name for name in fields if ":" in name)] = raw
    world.put([one for log in logs for one in log[60:]])
    life = await Life(world, batch=BATCH).start()
    await life.until(lambda: life.worker.halted and world.watermark(1) == world.end(1))
    await life.stop()
    assert life.worker.halted.keys() == {0}
    halt = life.worker.halted[0]
    assert halt.code == "store_corrupt"
    assert "s:{0}:v:v" in str(halt)
    assert "counters rebuild --partition 0" in str(halt)


@pytest.mark.parametrize(
    "damage",
    [{"digest": "what"}, {"digest": "-1"}, {"digest": "f" * 33}, {"policy": b"{"}],
    ids=["no_digest", "below", "above", "no_policy"],
)
async def test_a_damaged_meta_halts_its_partition_alone_and_is_named(
    damage: dict[str, object],
) -> None:
    world, logs = await two_partitions_counted()
    stored = world.store.partitions[0]
    stored.meta = stored.meta._replace(**damage)  # type: ignore[arg-type]
    world.put([one for log in logs for one in log[60:]])
    life = await Life(world, batch=BATCH).start()
    await life.until(lambda: life.worker.halted and world.watermark(1) == world.end(1))
    await life.stop()
    assert [(p, halt.code) for p, halt in life.worker.halted.items()] == [(0, "store_corrupt")]
    assert "s:{0}:meta" in str(life.worker.halted[0])


async def test_a_partition_counted_again_has_the_counters_of_its_log() -> None:
    world, _ = await two_partitions_counted()
    before = deepcopy(world.outcome())
    world.store.partitions[0].rows[next(iter(world.store.partitions[0].rows))]["video"] = b"?"
    other = msgspec.msgpack.encode(world.store.partitions[1].rows)
    dossiers = MemoryDossiers()
    log = world.counted_log()
    await restart_partition(log, dossiers, 0, await plan_rebuild(log))
    await counted(world, batch=BATCH)
    assert msgspec.msgpack.encode(world.store.partitions[1].rows) == other
    assert world.outcome() == before
    assert await world.is_exact()
    other_log = log._replace(tools=msgspec.structs.replace(log.tools, only=(2,)))
    with pytest.raises(Halt, match="there is no partition 2"):
        await plan_rebuild(other_log)


class Damaged(MemoryStore):
    """A store in which somebody overwrote the watermark of partition 0 with something else."""

    async def watermark(self, partition: int) -> int | None:
        if partition == 0:
            raise Halt("not a number", code="store_corrupt", partition=0)
        return await super().watermark(partition)


async def test_a_halt_that_the_audit_finds_is_that_partitions_alone() -> None:
    world = World(2)
    logs = [synthetic_log(seed=3, events=200, partition=p, partitions=2) for p in (0, 1)]
    world.put([one for log in logs for one in log[:50]])
    world.store = Damaged()
    life = await Life(world, batch=BATCH, store=world.store).start()
    await life.until(lambda: life.worker.halted)
    world.put([one for log in logs for one in log[50:]])
    await life.until(lambda: world.watermark(1) == world.end(1))
    assert life.worker.halted[0].code == "store_corrupt"
    await life.stop()


async def test_a_log_that_ends_below_the_watermark_halts() -> None:
    world = await counted(world_of(LOG_OF_ALL), batch=BATCH)
    world.store.partitions[0].watermark = world.end() + 1
    life = await Life(world).start()
    await life.until(lambda: life.worker.halted)
    await life.stop()
    assert life.worker.halted[0].code == "log_truncated"


async def test_a_log_cut_and_written_anew_past_the_watermark_halts_before_it_is_folded() -> None:
    """No worker ran meanwhile: bounds, topic and namespace are those of before."""
    world = await counted(world_of(LOG_OF_ALL[:200]), batch=BATCH)
    before = msgspec.msgpack.encode(snapshot(world))
    other = [one._replace(timestamp=one.timestamp + 1) for one in LOG_OF_ALL]
    world.log.cut(LOG, 0, LOG_OF_ALL[150].offset)
    world.put(other[150:])
    life = await Life(world, batch=BATCH).start()
    await life.until(lambda: life.worker.halted or world.caught_up())
    await life.stop()
    assert life.worker.halted[0].code == "log_rewritten"
    assert f"offset {LOG_OF_ALL[199].offset} on" in str(life.worker.halted[0])
    assert msgspec.msgpack.encode(snapshot(world)) == before
    assert checked(life) == {"differs": 1}


@pytest.mark.parametrize("at", ["value", "key", "headers", "timestamp"])
async def test_any_part_of_a_record_tells_it_from_another(at: str) -> None:
    world = await counted(world_of(LOG_OF_ALL[:50]), batch=BATCH)
    last = LOG_OF_ALL[49]
    changed: dict[str, Any] = {
        "value": last.value + b" " if last.value else b"",
        "key": b"another",
        "headers": [*last.headers, ("more", b"")],
        "timestamp": last.timestamp - 1,
    }
    world.log.cut(LOG, 0, last.offset)
    world.put([last._replace(**{at: changed[at]})])
    life = await Life(world).start()
    await life.until(lambda: life.worker.halted)
    await life.stop()
    assert life.worker.halted[0].code == "log_rewritten"


async def test_the_same_log_goes_on() -> None:
    world = await counted(world_of(LOG_OF_ALL[:200]), batch=BATCH)
    world.put(LOG_OF_ALL[200:])
    life = await Life(world, batch=BATCH).start()
    await life.until(world.caught_up)
    await life.stop()
    assert checked(life) == {"same": 1}


async def test_a_mark_that_older_code_left_behind_is_compared_with_nothing() -> None:
    """It moves the watermark and knows no mark."""
    world = await counted(world_of(LOG_OF_ALL[:200]), batch=BATCH)
    stored = world.store.partitions[0]
    stored.meta = stored.meta._replace(mark="7:1700000000000:01234567")
    world.put(LOG_OF_ALL[200:])
    life = await Life(world, batch=BATCH).start()
    await life.until(world.caught_up)
    await life.stop()
    assert await world.is_exact()
    assert checked(life) == {"not_comparable": 1}


async def test_what_retention_took_at_the_watermark_is_not_comparable_and_goes_on() -> None:
    world = await counted(world_of(LOG_OF_ALL[:200]), batch=BATCH)
    world.log.forget(LOG, 0, LOG_OF_ALL[200].offset)
    world.put(LOG_OF_ALL[200:])
    life = await Life(world, batch=BATCH).start()
    await life.until(world.caught_up)
    await life.stop()
    assert checked(life) == {"not_comparable": 1}


def checked(life: Life) -> dict[str, int]:
    """How often the record at the watermark was compared, by outcome."""
    (family,) = life.metrics.watermark_checks.collect()
    return {
        sample.labels["outcome"]: int(sample.value)
        for sample in family.samples
        if sample.name.endswith("_total") and sample.value
    }


async def test_a_topic_made_again_is_refused_at_the_start() -> None:
    world = await counted(world_of(LOG_OF_ALL), batch=BATCH)
    rows = msgspec.msgpack.encode(snapshot(world))
    world.log.create(LOG, 1)
    world.put(LOG_OF_ALL)
    with pytest.raises(Halt, match="differ in id") as halted:
        await Life(world).start()
    assert halted.value.code == "namespace"
    assert msgspec.msgpack.encode(snapshot(world)) == rows


class Bystander:
    """A member of the group that takes partitions and does nothing with them."""

    async def on_assigned(self, partitions: Sequence[int]) -> None: ...

    async def on_revoked(self, partitions: Sequence[int]) -> None: ...


async def test_a_topic_made_again_while_the_worker_runs_is_not_counted_on_top(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Each partition halts, and says so once."""
    world = World(2)
    logs = [synthetic_log(seed=3, events=300, partition=p, partitions=2) for p in (0, 1)]
    world.put([one for log in logs for one in log[:50]])
    life = await Life(world, batch=BATCH).start()
    await life.until(world.caught_up)
    before = msgspec.msgpack.encode(world.rows())
    world.log.create(LOG, 2)
    world.put([one for log in logs for one in log])
    rejoining = Life(world)  # a rebalance: everybody gets partitions anew
    await rejoining.consumer.start(Bystander())
    await rejoining.consumer.stop()
    await life.until(lambda: set(life.worker.halted) == {0, 1} or world.caught_up())
    for _ in range(500):
        await asyncio.sleep(0)
    await life.stop()
    assert {halt.code for halt in life.worker.halted.values()} == {"namespace"}
    assert msgspec.msgpack.encode(world.rows()) == before
    assert len([line for line in caplog.messages if "HALTED" in line]) == 2


@pytest.mark.parametrize("batch", [1, 3, 5_000])
async def test_a_policy_of_a_later_release_halts_and_that_release_goes_on(
    batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stood before it in its batch is counted once, whoever counts it."""
    world = World()
    views = [interaction_record(view(f"e{n}", viewer=f"u{n}"), n) for n in range(1, 9)]
    later = signed_record(msgspec.structs.replace(FIXED, id="p2", seq=2, rule=3), 9)
    world.put([signed_record(FIXED), *views, later])
    world.put([interaction_record(view(f"f{n}", viewer=f"w{n}"), n) for n in range(10, 14)])
    life = await Life(world, batch=batch).start()
    await life.until(lambda: life.worker.halted)
    assert life.worker.halted[0].code == "rule"
    await life.stop()
    assert world.watermark() < 9
    monkeypatch.setattr("streams.runtime.codec.RULE", 3)
    await counted(world)
    assert await world.is_exact()
    (row,) = [decode_slice(fields[FOOTBALL]) for fields in world.rows()[0].values()]
    assert row.views == 12


def test_the_namespace_changes_with_whatever_makes_counters_incomparable() -> None:
    world = World()
    identity = world.log.identity(LOG)
    said = {
        namespace_of(identity, "0123456789abcdef"),
        namespace_of(identity._replace(topic_id="t"), "0123456789abcdef"),
        namespace_of(identity._replace(partitions=9), "0123456789abcdef"),
        namespace_of(identity, "fedcba9876543210"),
    }
    assert len(said) == 4


def test_the_namespace_names_the_schema() -> None:
    named = namespace_of(World().log.identity(LOG), "0123456789abcdef")
    assert named.endswith(f"schema={SCHEMA}")
    assert SCHEMA == 2

"""Minutes of traffic against a recount: nothing differs, and whatever is made to differ is seen."""

from collections.abc import Callable, Sequence

import msgspec
import pytest
from kit.events import FOOTBALL, NOW, Logged, admit, policy, records_of, synthetic_log
from kit.twins import World, counted

from streams.core.traffic import Tick, decode, encode
from streams.ops.compared import Verification
from streams.runtime.ports import Outgoing

RECORDS = synthetic_log(seed=7, videos=8, events=900)


async def world_of(records: Sequence[Logged] = RECORDS) -> World:
    world = World()
    world.put(records)
    return await counted(world, batch=50)


def written(world: World) -> list[Tick]:
    return [decode(raw) for raw in world.ticks()]


def say(world: World, value: bytes) -> None:
    world.log.append(Outgoing("traffic", value, b"0", (), 0))


async def verified(world: World) -> Verification:
    return await world.verified()


async def test_every_minute_and_the_open_one_is_compared() -> None:
    world = await world_of()
    found = await verified(world)
    assert (found.differences, found.ticks) == (0, len(written(world)) + 1)
    assert found.ticks > 2


CHANGES: dict[str, Callable[[Tick], Tick]] = {
    "an impression more": lambda tick: with_first(tick, impressions=10**6),
    "another class": lambda tick: with_first(tick, kind="5c"),
    "other reasons": lambda tick: with_first(tick, via={"bid": 1}),
    "other buckets": lambda tick: with_first(tick, gaps=[9] * 16),
    "a crowd less": lambda tick: msgspec.structs.replace(tick, sums=tick.sums[1:]),
    "a grant more": lambda tick: with_first(tick, granted=10**6),
    "more given back": lambda tick: with_first(tick, returned=10**6),
}


def with_first(tick: Tick, **changes: object) -> Tick:
    """The same minute with something else in the first sums of a public crowd."""
    at = next(n for n, each in enumerate(tick.sums) if each.slice == FOOTBALL)
    changed = msgspec.structs.replace(tick.sums[at], **changes)
    return msgspec.structs.replace(tick, sums=(*tick.sums[:at], changed, *tick.sums[at + 1 :]))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
async def test_a_minute_that_says_something_else_is_seen(change: Callable[[Tick], Tick]) -> None:
    world = await world_of()
    say(world, encode(change(written(world)[1])))
    found = await verified(world)
    assert found.differences >= 1
    assert {one.partition for one in found.examples} == {0}


async def test_an_open_minute_that_says_something_else_is_seen() -> None:
    world = await world_of()
    stored = world.store.partitions[0]
    since, tick, times, sums = msgspec.json.decode(stored.meta.traffic)
    sums[0][2] += 1
    raw = msgspec.json.encode([since, tick, times, sums])
    stored.meta = stored.meta._replace(traffic=raw)
    found = await verified(world)
    assert [(one.video, one.counter) for one in found.examples] == [(f"0.{tick}", "impressions")]


async def test_a_minute_that_was_never_written_is_seen() -> None:
    world = await world_of()
    _, *kept = world.ticks()
    world.log.delete("traffic")
    world.log.create("traffic", 1)
    for raw in kept:
        say(world, raw)
    assert (await verified(world)).differences > 0


async def test_minutes_that_are_kept_no_more_are_not_missed() -> None:
    world = await world_of()
    before = await verified(world)
    world.log.forget("traffic", 0, 2)
    found = await verified(world)
    assert (found.differences, found.ticks) == (0, before.ticks - 2)


async def test_a_minute_written_ahead_of_a_flush_that_never_came_is_not_compared() -> None:
    world = await world_of()
    ahead = written(world)[0]
    late = msgspec.json.decode(world.meta().traffic)[1]
    say(world, encode(msgspec.structs.replace(ahead, id=f"0.{late}", tick=late)))
    say(world, encode(msgspec.structs.replace(ahead, id=f"0.{late + 1}", tick=late + 1)))
    assert (await verified(world)).differences == 0


async def test_what_no_worker_wrote_is_read_over() -> None:
    world = await world_of()
    say(world, encode(msgspec.structs.replace(written(world)[0], partition=7)))
    say(world, b"{")
    assert (await verified(world)).differences == 0


async def test_a_topic_without_a_leader_costs_the_partition_its_comparison() -> None:
    world = await world_of()
    world.log.leaderless.add(("traffic", 0))
    found = await verified(world)
    assert (found.partitions, found.unanswered) == (0, [0])


async def test_an_admission_in_no_slice_of_ours_changes_no_class() -> None:
    odd = admit("odd", fits={"mars:people": 1})
    log = records_of([policy(ts=NOW), odd])
    rest = [one._replace(offset=one.offset + len(log)) for one in RECORDS]
    assert (await verified(await world_of([*log, *rest]))).differences == 0


async def test_counters_that_are_older_than_their_traffic_are_compared_from_its_beginning() -> None:
    """What is stored of a partition may come from before there was any traffic, or live room."""
    rooms = {one.key for one in RECORDS if b'"format":"live"' in (one.value or b"")}
    videos = [one for one in RECORDS if one.key not in rooms]
    world = World()
    world.put(videos[:300])
    await counted(world, batch=50)
    stored = world.store.partitions[0]
    stored.meta = stored.meta._replace(traffic=b"", digest="0" * 32)
    world.log.delete("traffic")
    world.log.create("traffic", 1)
    world.put(videos[300:])
    await counted(world, batch=50)
    found = await verified(world)
    assert (found.differences, found.ticks) == (0, len(written(world)) + 1)

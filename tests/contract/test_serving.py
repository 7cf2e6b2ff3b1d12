"""The contract of the port `ServingIndex`, for memory and for Redis."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.redises import client_of, url_of
from kit.serving import CARS, FANS, FAR, entry

from streams.core.serving import Entry
from streams.core.units import MICROS
from streams.embedded import EmbeddedRedis
from streams.embedded.redis import bundled_redis_server
from streams.runtime.leases import (
    CLASSES,
    LEASE_MOST,
    NEWCOMERS_MOST,
    Candidate,
    Footing,
    IndexBounds,
    Lease,
    Newcomers,
    ServingIndex,
)
from streams.runtime.memory.serving import MemoryServingIndex
from streams.runtime.redis.serving import ENTRIES_AT_ONCE, RedisServingIndex, keys_of

BUNDLED = bundled_redis_server()
CLUSTER = pytest.param("redis cluster", marks=[pytest.mark.real, pytest.mark.slow])
REAL = [pytest.param("redis", marks=pytest.mark.real), CLUSTER]
DRIVERS = ["memory", "redis 6.2", *REAL]
START_S = 1_800_000_000.0


@pytest.fixture(scope="module")
def oldest_redis_url() -> Iterator[str]:
    with EmbeddedRedis(executable=BUNDLED) as server:
        yield server.url


@dataclass
class House:
    """Makes indexes of one kind over one memory, and has time pass for them."""

    url: str | None
    now: float = START_S
    open: list[RedisServingIndex] = field(default_factory=list)

    def index(self, **bounds: Any) -> ServingIndex:
        if self.url is None:
            return MemoryServingIndex(lambda: self.now, IndexBounds(**bounds))
        self.open.append(RedisServingIndex(self.url, bounds=IndexBounds(**bounds)))
        return self.open[-1]

    def keys(self) -> list[str]:
        if self.url is None:
            return []
        with client_of(self.url, decode_responses=True) as client:
            return sorted(client.scan_iter("*"))

    async def pass_until(self, second: int) -> None:
        """Return when the index's clock has come to this second."""
        if self.url is None:
            self.now = second
            return
        with client_of(self.url) as client:
            while client.time()[0] < second:  # noqa: ASYNC110 - it is Redis that has the clock
                await asyncio.sleep(0.02)


@pytest.fixture(params=DRIVERS)
async def house(request: pytest.FixtureRequest) -> AsyncIterator[House]:
    if request.param == "memory":
        yield House(None)
        return
    url = url_of(request, request.param)
    with client_of(url) as client:
        client.flushdb()
    made = House(url)
    yield made
    for index in made.open:
        await index.close()


@pytest.fixture
def index(house: House) -> ServingIndex:
    return house.index()


async def told(index: ServingIndex, *entries: Entry, slice_id: str = CARS) -> int:
    """Tell entries of partition 0; return how many were newer."""
    return (await index.apply(slice_id, {0: max(one.offset for one in entries)}, entries)).written


async def left_of(index: ServingIndex, video: str = "v1") -> int:
    """Return what is left of a video that can be shown."""
    left = {one.video: one.left for one in await index.top(CARS, 100)}
    return left.get(video, 0)


async def shown(index: ServingIndex, count: int, each: int = 1, **more: Any) -> list[str]:
    """Lease, and return the videos, one for each impression."""
    leases = await index.lease(CARS, count, each, **more)
    return [lease.video for lease in leases for _ in range(lease.impressions)]


# What does not exist, and what nobody means


async def test_an_unknown_slice_gives_nothing_and_keeps_nothing(
    house: House, index: ServingIndex
) -> None:
    assert list(await index.lease(CARS, 10, 5, MICROS, {"0": 5})) == []
    assert list(await index.top(CARS, 10)) == []
    assert await index.positions(CARS) == {}
    assert list(await index.slots(CARS, 5)) == []
    assert await index.give_back(CARS, [Lease("v1", 5, 0, "rank", 1 << 40, 0)]) == 0
    assert [page async for page in index.pairs(CARS) if page] == []
    assert (await index.apply(CARS, {}, [])) == (0, {})
    await index.clear(CARS)
    assert house.keys() == []


@pytest.mark.parametrize(("count", "each"), [(0, 5), (-1, 5), (5, 0), (5, -(10**9)), (-(10**9), 1)])
async def test_a_lease_of_nothing_takes_nothing(index: ServingIndex, count: int, each: int) -> None:
    await told(index, entry())
    assert list(await index.lease(CARS, count, each)) == []
    assert list(await index.top(CARS, count)) == [] or count > 0
    assert await left_of(index) == 60
    assert list(await index.slots(CARS, 5)) == []


async def test_a_lease_of_a_thousand_million_takes_so_many_as_one_may(index: ServingIndex) -> None:
    await told(index, entry(allowance=10**9), entry("v2", score=1, allowance=7))
    leases = await index.lease(CARS, 10**9, 10**9)
    assert sum(lease.impressions for lease in leases) == LEASE_MOST
    assert await left_of(index) + await left_of(index, "v2") == 10**9 + 7 - LEASE_MOST
    assert len(await index.top(CARS, 10**9)) == 2


async def test_what_is_no_class_has_neither_price_nor_tilt(index: ServingIndex) -> None:
    with pytest.raises(ValueError, match="6 is no class"):
        await index.set_prices(CARS, (0, 1), {"6": 5})
    with pytest.raises(ValueError, match="cc is no class"):
        await index.lease(CARS, 1, 1, 0, {"cc": 1})


# Entries


async def test_an_entry_is_a_candidate_of_its_slice_alone(index: ServingIndex) -> None:
    await told(index, entry(score=350_000, allowance=60, impressions=8, band=3, commercial=True))
    assert list(await index.top(CARS, 10)) == [Candidate("v1", 350_000, 52, 60, "3c")]
    assert list(await index.top(FANS, 10)) == []


async def test_only_a_higher_offset_replaces_an_entry(index: ServingIndex) -> None:
    assert await told(index, entry(offset=9, score=500_000)) == 1
    assert await told(index, entry(offset=8, score=900_000), entry(offset=9, score=1)) == 0
    assert [one.net for one in await index.top(CARS, 1)] == [500_000]
    assert await told(index, entry(offset=10, score=100_000)) == 1
    assert [one.net for one in await index.top(CARS, 1)] == [100_000]


async def test_ten_comes_after_nine_and_the_last_of_one_call_wins(index: ServingIndex) -> None:
    steps = [entry(offset=offset, score=offset) for offset in range(1, 12)]
    assert await told(index, *steps) == 11
    assert [one.net for one in await index.top(CARS, 1)] == [11]


async def test_a_late_zombie_does_not_bring_a_removed_pair_back(index: ServingIndex) -> None:
    await told(index, entry(offset=5))
    await told(index, entry(offset=7, score=None))
    assert await told(index, entry(offset=6)) == 0
    assert list(await index.top(CARS, 1)) == []
    assert await shown(index, 5) == []
    assert await told(index, entry(offset=8)) == 1
    assert await left_of(index) == 60


async def test_a_pair_stands_again_at_the_offset_of_its_removal(index: ServingIndex) -> None:
    """Rows that still tell of it there know better than who saw it leave."""
    await told(index, entry(offset=5), entry(offset=7, score=None), entry("v2", offset=7))
    assert await told(index, entry(offset=7, score=300_000)) == 1
    assert await left_of(index) == 60
    assert await told(index, entry(offset=7, score=None), entry(offset=7, score=1)) == 0
    assert [one.net for one in await index.top(CARS, 1)] == [350_000]
    assert await told(index, entry(offset=8, score=None)) == 1
    assert await left_of(index) == 0


async def test_a_pair_may_be_removed_before_it_is_known(index: ServingIndex) -> None:
    assert await told(index, entry(offset=7, score=None)) == 1
    assert await told(index, entry(offset=6)) == 0
    assert list(await index.top(CARS, 1)) == []


async def test_a_removed_pair_keeps_its_offset_for_its_time_only(house: House) -> None:
    index = house.index(removed_s=0)
    await told(index, entry(offset=5), entry("v2", offset=5))
    await told(index, entry(offset=7, score=None))
    await told(index, entry("v2", offset=8))
    assert await told(index, entry(offset=6)) == 1
    assert await left_of(index) == 60


async def test_a_pair_that_came_back_is_not_forgotten(house: House) -> None:
    index = house.index(removed_s=1, lease_s=1)
    await told(index, entry(offset=7, score=None))
    await told(index, entry(offset=8))
    (lease,) = await index.lease(CARS, 1, 1)
    await house.pass_until(lease.until)
    await told(index, entry("v2"))
    assert await left_of(index) == 60
    assert await told(index, entry(offset=6)) == 0


async def test_a_removed_pair_takes_no_place_among_the_best(index: ServingIndex) -> None:
    await told(index, entry(score=900_000), entry("v2", score=500_000))
    await told(index, entry(offset=2, score=None))
    assert [one.video for one in await index.top(CARS, 1)] == ["v2"]


async def test_a_pair_of_another_class_leaves_its_list(index: ServingIndex) -> None:
    await told(index, entry(offset=1, band=0))
    await told(index, entry(offset=2, band=1))
    assert [one.kind for one in await index.top(CARS, 9)] == ["1"]
    assert await shown(index, 9, 9) == ["v1"] * 9


async def test_many_entries_are_put_in_by_many_calls(index: ServingIndex) -> None:
    many = [entry(f"v{number}", score=number) for number in range(ENTRIES_AT_ONCE * 2 + 1)]
    applied = await index.apply(CARS, {3: 1}, many)
    assert applied == (len(many), {})
    assert [one.video for one in await index.top(CARS, len(many))] == [
        one.video for one in reversed(many)
    ]
    told_of = [pair async for page in index.pairs(CARS) for pair in page]
    assert sorted(told_of) == sorted((one.video, 1) for one in many)


async def test_pairs_are_told_without_those_that_are_removed(index: ServingIndex) -> None:
    await told(index, entry(offset=4), entry("v2", offset=5, score=None), entry("v3", allowance=0))
    told_of = [pair async for page in index.pairs(CARS) for pair in page]
    assert sorted(told_of) == [("v1", 4), ("v3", 1)]


async def test_a_slice_that_was_cleared_is_unknown(house: House, index: ServingIndex) -> None:
    await told(index, entry(offset=5))
    await told(index, entry(offset=5), slice_id=FANS)
    await index.clear(CARS)
    assert await index.positions(CARS) == {}
    assert list(await index.top(CARS, 9)) == []
    assert await told(index, entry(offset=1)) == 1
    assert len(await index.top(FANS, 9)) == 1


# Positions


async def test_positions_are_noted_without_entries_and_only_rise(index: ServingIndex) -> None:
    assert await index.apply(CARS, {0: 10, 7: 99}, []) == (0, {})
    assert await index.apply(CARS, {0: 12, 1: 3}, []) == (0, {0: 10})
    assert await index.apply(CARS, {0: 11, 7: 98}, []) == (0, {0: 12, 7: 99})
    assert await index.positions(CARS) == {0: 12, 1: 3, 7: 99}


async def test_entries_alone_note_no_position(index: ServingIndex) -> None:
    assert await index.apply(CARS, {}, [entry(offset=5)]) == (1, {})
    assert await index.positions(CARS) == {}


# Ranks, prices, tilts


async def test_classes_are_merged_by_score_less_price_plus_tilt(index: ServingIndex) -> None:
    entries = [
        entry("a", score=500_000, band=0),
        entry("b", score=600_000, band=1),
        entry("c", score=650_000, band=1, commercial=True),
        entry("d", score=410_000, band=5),
    ]
    await told(index, *entries)
    assert await shown(index, 4) == ["c", "b", "a", "d"]
    assert await index.set_prices(CARS, (0, 1), {"0": 100_000, "1": 350_000, "1c": 300_000})
    leases = await index.lease(CARS, 4, 1)
    assert [(one.video, one.net) for one in leases] == [
        *(("d", 410_000), ("a", 400_000), ("c", 350_000), ("b", 250_000))
    ]
    tilts = {"1": 200_000, "5": -20_000}
    best = [(one.video, one.net) for one in await index.top(CARS, 4, tilts)]
    tilted = await index.lease(CARS, 4, 1, 0, tilts)
    assert [(one.video, one.net) for one in tilted] == best
    assert [(one.video, one.net) for one in tilted] == [
        *(("b", 450_000), ("a", 400_000), ("d", 390_000), ("c", 350_000))
    ]


async def test_what_is_below_its_price_is_not_shown(index: ServingIndex) -> None:
    await told(index, entry("a", score=300_000), entry("b", score=299_999))
    await index.set_prices(CARS, (0, 1), {"0": 300_000})
    assert await shown(index, 4) == ["a"]
    assert [one.video for one in await index.top(CARS, 9)] == ["a"]
    assert [one.video for one in await index.top(CARS, 9, {"0": 1})] == ["a", "b"]
    assert await shown(index, 4, tilts={"0": 1}) == ["a", "b"]


async def test_only_a_later_policy_changes_prices(index: ServingIndex) -> None:
    await told(index, entry(score=500_000))
    assert await index.set_prices(CARS, (1, 2), {"0": 100_000, "5": 3})
    for order in ((1, 2), (1, 1), (0, 9)):
        assert not await index.set_prices(CARS, order, {"0": 400_000})
    assert [one.net for one in await index.top(CARS, 1)] == [400_000]
    assert await index.set_prices(CARS, (1, 10), {"0": 200_000})
    assert [one.net for one in await index.top(CARS, 1)] == [300_000]
    assert await index.set_prices(CARS, (2, 0), {"5": 1})
    assert [one.net for one in await index.top(CARS, 1)] == [500_000]


async def test_scores_are_exact_to_the_micro_unit(index: ServingIndex) -> None:
    best = (1 << 52) - 1
    await told(index, entry("a", score=best), entry("b", score=best - 1), entry("c", score=0))
    assert [(one.video, one.net) for one in await index.top(CARS, 3)] == [
        *(("a", best), ("b", best - 1), ("c", 0))
    ]


async def test_equals_stand_in_one_order_that_no_id_decides(house: House) -> None:
    videos = [f"v{number:02}" for number in range(40)]
    orders = []
    for key in ("one", "another"):
        index = house.index(key=key)
        await index.clear(CARS)
        await told(index, *(entry(video, band=number % 6) for number, video in enumerate(videos)))
        orders.append(await shown(index, 40))
        assert [one.video for one in await index.top(CARS, 40)] == orders[-1]
    assert sorted(orders[0]) == sorted(orders[1]) == videos
    assert orders[0] != orders[1]
    for order in orders:
        assert order not in (videos, videos[::-1])


async def test_a_slice_keeps_its_key(house: House) -> None:
    videos = [entry(f"v{number:02}") for number in range(20)]
    await told(house.index(key="one"), *videos)
    first, second = house.index(key="one"), house.index(key="another")
    if house.url is None:
        return  # memory is not shared
    before = await first.top(CARS, 20)
    await second.apply(CARS, {}, [one._replace(offset=2) for one in videos])
    assert await second.top(CARS, 20) == before


async def test_the_best_of_a_class_stay_and_the_sweep_refills_the_list(house: House) -> None:
    index = house.index(ranked=3)
    ladder = [entry(f"v{number}", score=number, band=0) for number in range(6)]
    await told(index, *ladder, entry("x", score=0, band=1))
    assert [one.video for one in await index.top(CARS, 9)] == ["v5", "v4", "v3", "x"]
    await told(index, *(one._replace(offset=2, score=None) for one in ladder[4:]))
    assert [one.video for one in await index.top(CARS, 9)] == ["v3", "x"]
    assert await told(index, *ladder) == 0
    assert [one.video for one in await index.top(CARS, 9)] == ["v3", "v2", "v1", "x"]


# Leases


async def test_a_lease_says_by_what_the_bid_of_an_advert_counts(index: ServingIndex) -> None:
    advert = entry("v1", 1, commercial=True, factor=1_250_000)
    await told(index, advert, entry("v2", 1, 340_000))
    leased = await index.lease(CARS, 2, 1)
    assert {one.video: one.factor for one in leased} == {"v1": 1_250_000, "v2": MICROS}
    await told(index, advert._replace(offset=2, factor=500_000))
    assert [one.factor for one in await index.lease(CARS, 1, 1)] == [500_000]


async def test_newcomers_and_pairs_with_leases_keep_their_factor(index: ServingIndex) -> None:
    await told(index, entry(commercial=True, deadline=FAR, due=9, factor=700_000))
    for via, share in (("fresh", MICROS), ("rank", 0), ("fresh", MICROS)):
        (one,) = await index.lease(CARS, 1, 1, share)
        assert (one.via, one.factor) == (via, 700_000)


async def test_a_lease_takes_off_what_is_left_and_at_most_so_many_of_a_video(
    index: ServingIndex,
) -> None:
    await told(index, entry("a", score=2, allowance=7), entry("b", score=1))
    assert Counter(await shown(index, 8, 3)) == {"a": 3, "b": 3}
    assert (await left_of(index, "a"), await left_of(index, "b")) == (4, 57)
    assert Counter(await shown(index, 100, 100)) == {"a": 4, "b": 57}
    assert await shown(index, 1) == []


async def test_a_pair_with_nothing_left_is_out_until_its_allowance_rises(
    index: ServingIndex,
) -> None:
    await told(index, entry(offset=1, allowance=5))
    assert await shown(index, 9, 9) == ["v1"] * 5
    assert list(await index.top(CARS, 1)) == []
    await told(index, entry(offset=2, allowance=8))
    assert await shown(index, 9, 9) == ["v1"] * 3


async def test_counted_impressions_settle_leases(index: ServingIndex) -> None:
    await told(index, entry(offset=1))
    await index.lease(CARS, 10, 10)
    assert await left_of(index) == 50
    await told(index, entry(offset=2, impressions=6))
    assert await left_of(index) == 50
    await told(index, entry(offset=3, impressions=13))
    assert await left_of(index) == 47


async def test_counted_impressions_settle_the_oldest_leases(house: House) -> None:
    index = house.index(lease_s=2)
    await told(index, entry(offset=1))
    (first,) = await index.lease(CARS, 10, 10)
    await house.pass_until(first.until - 1)
    (second,) = await index.lease(CARS, 20, 20)
    assert second.until > first.until
    await told(index, entry(offset=2, impressions=10))
    await house.pass_until(first.until)
    assert await left_of(index) == 60 - 10 - 20
    await house.pass_until(second.until)
    assert await left_of(index) == 60 - 10


async def test_impressions_that_went_back_settle_nothing(index: ServingIndex) -> None:
    await told(index, entry(offset=1, impressions=20))
    await index.lease(CARS, 10, 10)
    await told(index, entry(offset=2, impressions=5))
    assert await left_of(index) == 45


async def test_leases_of_a_server_that_died_come_back(house: House) -> None:
    index = house.index(lease_s=0)
    await told(index, entry(allowance=5), entry("v2", allowance=5))
    (lease, _) = await index.lease(CARS, 10, 5)
    await told(index, entry("v2", offset=2, allowance=5, impressions=2))
    assert await left_of(index) == 0
    await house.pass_until(lease.until)
    assert (await left_of(index), await left_of(index, "v2")) == (5, 3)
    assert Counter(await shown(index, 10, 5)) == {"v1": 5, "v2": 3}


async def test_a_lease_stands_for_its_whole_time(house: House, index: ServingIndex) -> None:
    await told(index, entry(allowance=5))
    (lease,) = await index.lease(CARS, 5, 5)
    if house.url is None:
        assert lease.until - house.now == 61
        house.now = lease.until - 0.001
    assert await left_of(index) == 0


async def test_what_was_not_shown_may_be_given_back(index: ServingIndex) -> None:
    await told(index, entry(allowance=5), entry("v2", allowance=5))
    leases = await index.lease(CARS, 10, 5)
    assert await index.give_back(CARS, [one._replace(impressions=2) for one in leases]) == 4
    assert (await left_of(index), await left_of(index, "v2")) == (2, 2)
    assert await index.give_back(CARS, leases) == 6
    assert await index.give_back(CARS, leases) == 0
    assert (await left_of(index), await left_of(index, "v2")) == (5, 5)


async def test_nonsense_gives_nothing_back(index: ServingIndex) -> None:
    await told(index, entry())
    (lease,) = await index.lease(CARS, 5, 5)
    wrong = [replaced(lease, impressions=-3), replaced(lease, impressions=0)]
    wrong += [replaced(lease, video="nobody"), replaced(lease, until=1)]
    assert await index.give_back(CARS, wrong) == 0
    assert await left_of(index) == 55
    assert await index.give_back(CARS, [replaced(lease, impressions=10**9)]) == 5


def replaced(lease: Lease, **changes: Any) -> Lease:
    return lease._replace(**changes)


async def test_a_lease_that_came_back_by_itself_is_not_given_back_again(house: House) -> None:
    index = house.index(lease_s=0)
    await told(index, entry(allowance=10))
    (lease,) = await index.lease(CARS, 5, 5)
    await house.pass_until(lease.until)
    await index.lease(CARS, 5, 5)
    assert await index.give_back(CARS, [lease]) == 0
    assert await left_of(index) == 5


async def test_what_is_given_back_is_taken_off_its_own_lease(house: House) -> None:
    index = house.index(lease_s=2)
    await told(index, entry())
    (first,) = await index.lease(CARS, 10, 10)
    await house.pass_until(first.until - 1)
    (second,) = await index.lease(CARS, 20, 20)
    assert await index.give_back(CARS, [second]) == 20
    await house.pass_until(first.until)
    assert await left_of(index) == 60


async def test_leases_outlive_a_removal(index: ServingIndex) -> None:
    await told(index, entry(offset=1))
    await index.lease(CARS, 10, 10)
    await told(index, entry(offset=2, score=None))
    await told(index, entry(offset=3, impressions=4))
    assert await left_of(index) == 60 - 10


async def test_what_is_left_out_is_neither_leased_nor_lost(index: ServingIndex) -> None:
    newcomer = entry("new", score=-1, deadline=FAR, due=20)
    await told(index, entry("a", score=3), entry("b", score=2), entry("c", score=1), newcomer)
    leases = await index.lease(CARS, 4, 1, MICROS, without=["a", "new", "nobody"])
    assert [one.video for one in leases] == ["b", "c"]
    assert (await left_of(index, "a"), await left_of(index, "b")) == (60, 59)
    assert await shown(index, 9, fresh_share=MICROS) == ["new", "a", "b", "c"]


async def test_no_lease_is_longer_than_the_longest(house: House) -> None:
    index = house.index(lease_s=10**6)
    await told(index, entry())
    (lease,) = await index.lease(CARS, 1, 1)
    (other,) = await house.index().lease(CARS, 1, 1) if house.url else (lease,)
    assert other.until - lease.until in {0, 1}


async def test_a_clock_set_forward_brings_leases_back_early() -> None:
    house = House(None)
    index = house.index()
    await told(index, entry())
    await index.lease(CARS, 5, 5)
    house.now += 3_600
    assert await left_of(index) == 60


async def test_a_clock_set_back_brings_leases_back_at_once() -> None:
    house = House(None)
    index = house.index()
    await told(index, entry())
    (lease,) = await index.lease(CARS, 5, 5)
    house.now -= 3_600
    assert await left_of(index) == 60
    assert await index.give_back(CARS, [lease]) == 0
    await index.lease(CARS, 7, 7)
    assert await left_of(index) == 53


@pytest.mark.parametrize("driver", DRIVERS[1:])
async def test_redis_takes_leases_back_that_end_too_far_off(
    driver: str, request: pytest.FixtureRequest
) -> None:
    url = url_of(request, driver)
    index = RedisServingIndex(url)
    await index.clear(CARS)
    await told(index, entry(allowance=20))
    (lease,) = await index.lease(CARS, 5, 5)
    with client_of(url) as client:  # as if the clock had been ten minutes ahead
        (raw,) = client.hvals(keys_of(CARS)[0])
        pair = msgspec.msgpack.decode(raw)
        pair[pair.index(lease.until)] += 600
        client.hset(keys_of(CARS)[0], "v1", msgspec.msgpack.encode(pair))
        client.zadd(keys_of(CARS)[1], {"v1": lease.until + 600})
    assert await left_of(index) == 20
    await index.close()


async def test_a_frozen_slice_shows_nothing_and_counts_who_asked(
    house: House, index: ServingIndex
) -> None:
    newcomer = entry("new", score=-1, deadline=FAR, due=20)
    await told(index, entry("a"), newcomer)
    await told(index, entry("a"), slice_id=FANS)
    (lease,) = await index.lease(CARS, 5, 5)
    assert not await index.is_frozen(CARS)
    assert await index.set_prices(CARS, (1, 1), {}, Footing(MICROS, frozen=True))
    assert [await index.is_frozen(name) for name in (CARS, FANS)] == [True, False]
    assert await shown(index, 10, 5, fresh_share=None) == []
    assert await shown(index, 10, 5, fresh_share=MICROS) == []
    assert list(await index.top(CARS, 9)) == []
    counted = await index.slots(CARS, 2)
    assert [sum(one.asked for one in counted), sum(one.rank for one in counted)] == [25, 5]
    assert await index.give_back(CARS, [lease]) == 5
    assert not await index.set_prices(CARS, (1, 0), {})
    assert await index.set_prices(CARS, (1, 2), {})
    assert await shown(index, 60, 60) == ["a"] * 60
    assert house.url is None or len(house.keys()) > 0


# Newcomers


async def test_a_lease_without_a_share_of_its_own_has_that_of_the_policy(
    index: ServingIndex,
) -> None:
    await told(index, entry("best", score=900_000), entry("new", score=-1, deadline=FAR, due=20))
    assert await shown(index, 1, fresh_share=None) == ["best"]
    await index.set_prices(CARS, (0, 1), {}, Footing(500_000))
    assert await shown(index, 2, fresh_share=None) == ["new", "best"]
    assert await shown(index, 2) == ["best"]


async def test_small_leases_give_newcomers_their_share(index: ServingIndex) -> None:
    await told(index, entry("best", score=900_000, allowance=10_000))
    await told(index, entry("new", score=0, allowance=60, deadline=FAR, due=20))
    vias = [one.via for _ in range(100) for one in await index.lease(CARS, 1, 1, 20_000)]
    assert Counter(vias) == {"rank": 98, "fresh": 2}


async def test_newcomers_come_by_deadline_whatever_their_score(index: ServingIndex) -> None:
    await index.set_prices(CARS, (0, 1), {"0": 100_000})
    entries = [
        entry("late", score=800_000, deadline=FAR + 2, due=2),
        entry("soon", score=10_000, deadline=FAR, due=2),
        entry("next", score=700_000, deadline=FAR + 1, due=2),
    ]
    await told(index, *entries)
    leases = await index.lease(CARS, 10, 2, 500_000)
    fresh = [(one.video, one.impressions, one.net) for one in leases if one.via == "fresh"]
    assert fresh == [("soon", 2, -90_000), ("next", 2, 600_000), ("late", 1, 700_000)]
    ranked = [(one.video, one.impressions) for one in leases if one.via == "rank"]
    assert ranked == [("late", 1)]


async def test_what_was_drawn_comes_before_every_newcomer_and_has_no_deadline(
    index: ServingIndex,
) -> None:
    await told(
        index,
        entry("best", score=900_000, allowance=100),
        entry("new", score=-1, deadline=FAR, due=20),
        entry("drawn", score=10_000, allowance=5, due=60),
    )
    await index.set_prices(CARS, (0, 1), {"0": 100_000})
    leases = await index.lease(CARS, 20, 20, 500_000)
    assert [(one.video, one.impressions, one.via, one.net, one.score) for one in leases] == [
        ("drawn", 5, "explore", -90_000, 10_000),
        ("new", 5, "fresh", -100_001, -1),
        ("best", 10, "rank", 800_000, 900_000),
    ]
    await index.give_back(CARS, leases)
    await told(index, entry("drawn", 2, 10_000, allowance=60, impressions=3, due=57))
    assert Counter(await shown(index, 60, 60, fresh_share=MICROS)) == {"drawn": 57, "new": 3}
    await told(index, entry("drawn", 3, 10_000, allowance=120, impressions=60))
    assert "drawn" not in await shown(index, 60, 60, fresh_share=MICROS)


async def test_a_drawn_video_that_was_stopped_is_not_shown(index: ServingIndex) -> None:
    await told(index, entry("drawn", score=10_000, due=60))
    await told(index, entry("drawn", 2, None))
    assert await shown(index, 20, 20, fresh_share=MICROS) == []


async def test_no_more_is_given_than_is_owed_and_left(index: ServingIndex) -> None:
    await told(
        index,
        entry("a", score=-1, allowance=60, deadline=FAR, due=5),
        entry("b", score=-1, allowance=3, deadline=FAR, due=20),
    )
    assert Counter(await shown(index, 100, 100, fresh_share=MICROS)) == {"a": 5, "b": 3}
    await told(index, entry("a", offset=2, score=-1, impressions=4, deadline=FAR, due=1))
    assert await shown(index, 100, 100, fresh_share=MICROS) == []
    await told(index, entry("a", offset=3, score=-1, impressions=5, deadline=FAR, due=2))
    assert await shown(index, 100, 100, fresh_share=MICROS) == ["a", "a"]
    await told(index, entry("a", offset=4, score=-1, impressions=7))
    assert await shown(index, 100, 100, fresh_share=MICROS) == []


async def test_who_missed_the_deadline_does_not_stand_before_the_others(
    index: ServingIndex,
) -> None:
    await told(index, entry("missed", score=-1, deadline=1, due=20))
    await told(index, entry("new", score=-1, deadline=FAR, due=20))
    assert await shown(index, 2, fresh_share=MICROS) == ["new"]


async def test_what_newcomers_are_owed_is_told_by_deadline(index: ServingIndex) -> None:
    assert await index.newcomers(CARS) == Newcomers(0)
    await told(index, entry("late", score=1, deadline=FAR + 2, due=7))
    await told(index, entry("soon", score=1, deadline=FAR, due=2))
    await told(index, entry("nothing", score=1))
    owed = await index.newcomers(CARS)
    assert (owed.pairs, [*owed.dues]) == (2, [(FAR, 2), (FAR + 2, 7)])
    many = [entry(f"v{n}", score=1, deadline=FAR, due=1) for n in range(NEWCOMERS_MOST)]
    await told(index, *many)
    owed = await index.newcomers(CARS)
    assert (owed.pairs, len(owed.dues)) == (NEWCOMERS_MOST + 2, NEWCOMERS_MOST)


async def test_a_share_that_nobody_was_owed_is_not_saved_up(index: ServingIndex) -> None:
    await told(index, entry("best", score=900_000, allowance=10_000))
    for _ in range(10):
        await index.lease(CARS, 100, 100, 20_000)
    await told(index, entry("new", score=0, deadline=FAR, due=20))
    leases = await index.lease(CARS, 100, 100, 20_000)
    assert {one.via: one.impressions for one in leases} == {"fresh": 2, "rank": 98}


async def test_the_earliest_of_too_many_newcomers_stay(house: House) -> None:
    index = house.index(ranked=2)
    await told(index, *(entry(f"v{at}", score=-1, deadline=FAR + at, due=1) for at in (4, 2, 1, 3)))
    assert await shown(index, 9, fresh_share=MICROS) == ["v1", "v2"]


# Slots


async def test_slots_are_counted_by_the_minute(house: House, index: ServingIndex) -> None:
    house.now = START_S // 60 * 60
    await told(index, entry(allowance=5), entry("new", score=-1, deadline=FAR, due=20))
    await index.lease(CARS, 20, 9, 100_000)
    await index.lease(CARS, 1, 1)
    await index.lease(CARS, 10**9, 1)
    counted = await index.slots(CARS, 2)  # two if the minute has just changed
    assert sum(one.asked for one in counted) == 20 + 1 + LEASE_MOST
    assert sum(one.rank for one in counted) == 5
    assert sum(one.fresh for one in counted) == 2
    assert list(await index.slots(CARS, 0)) == list(await index.slots(CARS, -5)) == []


async def test_slots_of_a_minute_a_day_ago_are_not_mixed_with_those_of_now() -> None:
    house = House(None)
    index = house.index()
    await told(index, entry())
    for seconds in (0, 60, 86_400):
        house.now = START_S + seconds
        await index.lease(CARS, 10, 1)
    first = int(START_S) // 60
    minutes = [(one.minute, one.asked) for one in await index.slots(CARS, 10**9)]
    assert minutes == [(first + 1, 10), (first + 1_440, 10)]


# The twin does what Redis does


VIDEOS = ["v1", "v2", "v3", "v4"]
entries = st.builds(
    Entry,
    st.sampled_from(VIDEOS),
    st.integers(1, 12),
    st.none() | st.integers(-5, 30),
    st.integers(0, 12),
    st.integers(0, 12),
    st.sampled_from([0, 3]),
    st.booleans(),
    st.sampled_from([0, 1, FAR, FAR + 1]),
    st.integers(0, 6),
    st.sampled_from([500_000, MICROS, 2 * MICROS]),
)
tilts = st.dictionaries(st.sampled_from(CLASSES), st.integers(-9, 9), max_size=3)
steps = st.one_of(
    st.tuples(
        st.just("apply"),
        st.dictionaries(st.integers(0, 3), st.integers(0, 20), max_size=2),
        st.lists(entries, max_size=6),
    ),
    st.tuples(
        st.just("lease"),
        st.integers(-1, 12),
        st.integers(0, 5),
        st.none() | st.integers(-1, MICROS + 1),
        tilts,
        st.lists(st.sampled_from(VIDEOS), max_size=2),
    ),
    st.tuples(st.just("give_back"), st.integers(0, 9), st.integers(-1, 9)),
    st.tuples(
        st.just("set_prices"),
        st.tuples(st.integers(0, 2), st.integers(0, 2)),
        tilts,
        st.builds(Footing, st.sampled_from([0, 300_000]), st.booleans()),
    ),
)
examples = itertools.count()


@given(st.lists(steps, max_size=14))
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_whatever_happens_the_twin_does_the_same(
    house: House, story: Sequence[tuple[Any, ...]]
) -> None:
    bounds = {"key": "k", "ranked": 3, "lease_s": 60}
    slice_id = f"discover:s{next(examples)}"
    both = (house.index(**bounds), MemoryServingIndex(bounds=IndexBounds(**bounds)))
    leases: tuple[list[Lease], list[Lease]] = ([], [])
    for name, *arguments in story:
        answers = []
        for index, mine in zip(both, leases, strict=True):
            if name == "give_back":
                number, count = arguments
                given_back = [one._replace(impressions=count) for one in mine[number : number + 2]]
                answers.append(await index.give_back(slice_id, given_back))
            elif name == "lease":
                got = await index.lease(slice_id, *arguments)
                mine.extend(got)
                answers.append([one._replace(until=0) for one in got])
            else:
                answers.append(await getattr(index, name)(slice_id, *arguments))
        assert answers[0] == answers[1]
        tops = [list(await index.top(slice_id, 9)) for index in both]
        assert tops[0] == tops[1]
    assert await both[0].positions(slice_id) == await both[1].positions(slice_id)
    if house.url is not None:
        await both[0].close()

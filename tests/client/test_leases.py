"""What feed servers take, give back and report, on the twin and on Redis."""

import asyncio
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from kit.patience import PATIENCE_S
from kit.serving import CARS, FANS, FAR, entry

from streams import client
from streams.client import BlockingLeases, Leased, Leases
from streams.core.events import Impression
from streams.core.serving import Entry
from streams.core.units import MICROS
from streams.embedded import EmbeddedRedis
from streams.errors import Retry, Unreachable
from streams.runtime.leases import LEASE_MOST, Footing, IndexBounds, Lease, ServingIndex
from streams.runtime.memory.serving import MemoryServingIndex
from streams.runtime.redis.serving import RedisServingIndex

FOOD = "discover:food"
NOBODY_KNOWS = "discover:nobody"
DRIVERS = ["memory", pytest.param("redis", marks=pytest.mark.real)]


@pytest.fixture(params=DRIVERS)
async def index(request: pytest.FixtureRequest) -> AsyncIterator[ServingIndex]:
    if request.param == "memory":
        yield MemoryServingIndex()
        return
    real = RedisServingIndex(request.getfixturevalue("fresh_redis_url"))
    yield real
    await real.close()


@pytest.fixture
def leases(index: ServingIndex) -> Leases:
    return Leases(index)


async def tell(index: ServingIndex, slice_id: str, *entries: Entry) -> None:
    await index.apply(slice_id, {0: max(one.offset for one in entries)}, entries)


def ladder(name: str, count: int, best: int = 900_000, **more: Any) -> list[Entry]:
    """Return videos of one slice, each worth a little less than the one before."""
    return [
        entry(f"{name}{number}", score=best - 1_000 * number, **more) for number in range(count)
    ]


def videos(taken: Sequence[Leased]) -> list[str]:
    return [one.video for one in taken for _ in range(one.impressions)]


async def slots(index: ServingIndex, *slice_ids: str) -> list[tuple[int, int]]:
    """Return slots asked and filled of each slice."""
    counted = [await index.slots(slice_id, 5) for slice_id in slice_ids]
    return [
        (sum(one.asked for one in some), sum(one.rank + one.fresh for one in some))
        for some in counted
    ]


class Viewer:
    """A viewer who saw some videos, and what was asked of them."""

    def __init__(self, *seen: str) -> None:
        self.seen = set(seen)
        self.asked: list[str] = []

    async def __call__(self, some: Sequence[str]) -> Collection[str]:
        self.asked += some
        return self.seen.intersection(some)


# What does not exist, and what nobody means


@pytest.mark.parametrize(("count", "each"), [(0, 1), (-1, 1), (-(10**9), 1), (5, 0), (5, -1)])
async def test_nothing_is_taken_for_no_slots(
    leases: Leases, index: ServingIndex, count: int, each: int
) -> None:
    await tell(index, CARS, *ladder("a", 5))
    assert await leases.take(CARS, count, most_each=each) == []
    assert await leases.take([CARS, FOOD], count, most_each=each, seen=Viewer()) == []
    assert await leases.take([], 5) == []
    assert await slots(index, CARS) == [(0, 0)]


async def test_an_advert_says_by_what_the_bid_of_it_counts(
    index: ServingIndex, leases: Leases
) -> None:
    await tell(index, CARS, entry("ad", commercial=True, factor=1_500_000), entry("plain"))
    assert {one.video: one.factor for one in await leases.take(CARS, 2)} == {
        "ad": 1_500_000,
        "plain": MICROS,
    }


async def test_a_thousand_million_slots_are_as_many_as_one_call_may_fill(
    leases: Leases, index: ServingIndex
) -> None:
    await tell(index, CARS, *ladder("a", 5, allowance=10**9))
    taken = await leases.take([CARS, FOOD], 10**9, most_each=10**9, seen=Viewer())
    assert videos(taken) == ["a0"] * LEASE_MOST
    assert sum(one.impressions for one in await leases.take(CARS, 10**9)) == 5


async def test_an_unknown_slice_has_nothing(leases: Leases, index: ServingIndex) -> None:
    await tell(index, CARS, *ladder("a", 2))
    assert await leases.take(NOBODY_KNOWS, 5) == []
    assert videos(await leases.take([NOBODY_KNOWS, CARS], 5)) == ["a0", "a1"]
    assert list(await index.slots(NOBODY_KNOWS, 5)) == []


@pytest.mark.parametrize("name", ["", "cars", "discover:{cars}", "discover:Cars", "a b:c"])
async def test_what_no_slice_can_be_called_is_a_mistake(leases: Leases, name: str) -> None:
    with pytest.raises(ValueError, match="no slice: surface:group, such as discover:cars"):
        await leases.take([CARS, name], 5)


# One slice and several


async def test_the_best_of_a_slice_are_taken(leases: Leases, index: ServingIndex) -> None:
    await tell(index, CARS, *ladder("a", 5, allowance=3))
    first = await leases.take(CARS, 4, most_each=2)
    assert [(one.video, one.impressions, one.via) for one in first] == [
        ("a0", 2, "rank"),
        ("a1", 2, "rank"),
    ]
    assert videos(await leases.take(CARS, 4, most_each=2)) == ["a0", "a1", "a2", "a2"]
    assert await slots(index, CARS) == [(8, 8)]


async def test_several_slices_are_merged_by_score_net_of_price(
    leases: Leases, index: ServingIndex
) -> None:
    await tell(index, CARS, entry("a", score=900_000), entry("b", score=400_000))
    await tell(index, FOOD, entry("c", score=800_000), entry("d", score=700_000))
    await index.set_prices(FOOD, (0, 1), {"0": 350_000})
    taken = await leases.take([CARS, FOOD], 3)
    assert [(one.slice, one.video, one.net) for one in taken] == [
        (CARS, "a", 900_000),
        (FOOD, "c", 450_000),
        (CARS, "b", 400_000),
    ]
    assert await slots(index, CARS, FOOD) == [(2, 2), (1, 1)]


async def test_a_video_is_shown_in_the_one_slice_where_it_is_worth_most(
    leases: Leases, index: ServingIndex
) -> None:
    await tell(index, CARS, entry("a", score=500_000), entry("b", score=300_000))
    await tell(index, FOOD, entry("a", score=600_000), entry("b", score=200_000))
    taken = await leases.take([CARS, FOOD, CARS], 9)
    assert [(one.slice, one.video) for one in taken] == [(FOOD, "a"), (CARS, "b")]
    assert [one.left for one in await index.top(CARS, 9)] == [60, 59]
    assert await slots(index, CARS, FOOD) == [(8, 1), (1, 1)]


async def test_slots_of_a_page_are_counted_once_whatever_is_asked_for(
    leases: Leases, index: ServingIndex
) -> None:
    await tell(index, CARS, *ladder("a", 40, 900_000))
    await tell(index, FOOD, *ladder("c", 40, 890_500))
    viewer = Viewer(*(f"a{number}" for number in range(0, 40, 2)))
    taken = await leases.take([CARS, FOOD], 12, seen=viewer)
    assert len(videos(taken)) == 12
    counted = await slots(index, CARS, FOOD)
    assert sum(asked for asked, _ in counted) == sum(filled for _, filled in counted) == 12


# What a viewer saw


async def test_what_a_viewer_saw_is_left_out_however_much_it_was(
    leases: Leases, index: ServingIndex
) -> None:
    await tell(index, CARS, *ladder("a", 200))
    viewer = Viewer(*(f"a{number}" for number in range(150)))
    assert videos(await leases.take(CARS, 3, seen=viewer)) == ["a150", "a151", "a152"]
    assert len(viewer.asked) == len(set(viewer.asked)), "asked of a video twice"
    assert {one.left for one in await index.top(CARS, 150)} == {60}


async def test_who_saw_everything_gets_nothing(leases: Leases, index: ServingIndex) -> None:
    await tell(index, CARS, *ladder("a", 30))
    assert await leases.take(CARS, 5, seen=Viewer(*(f"a{n}" for n in range(30)))) == []
    assert await slots(index, CARS) == [(5, 0)]


async def test_a_newcomer_that_the_viewer_saw_goes_back(
    leases: Leases, index: ServingIndex
) -> None:
    await index.set_prices(CARS, (0, 1), {}, Footing(MICROS))
    await tell(index, CARS, entry("new", score=-1, deadline=FAR, due=20), *ladder("a", 3))
    assert videos(await leases.take(CARS, 2, seen=Viewer("new"))) == ["a0"]
    taken = await leases.take(CARS, 2, seen=Viewer())
    assert [(one.video, one.via) for one in taken] == [("new", "fresh"), ("a0", "rank")]
    (lease,) = await index.lease(CARS, 60, 60, MICROS, without=["a0", "a1", "a2"])
    assert (lease.video, lease.impressions) == ("new", 19)


async def test_a_hook_that_fails_loses_nothing(leases: Leases, index: ServingIndex) -> None:
    await tell(index, CARS, *ladder("a", 3))
    calls = 0

    async def fails(_: Sequence[str]) -> Collection[str]:
        nonlocal calls
        calls += 1
        if calls == 1:  # then somebody else tells of a new video
            await tell(index, CARS, entry("new", 2, MICROS))
            return ()
        raise ConnectionError("the history of views does not answer")

    with pytest.raises(ConnectionError):
        await leases.take(CARS, 4, seen=fails)
    assert calls == 2
    assert {one.left for one in await index.top(CARS, 9)} == {60}


# Given back, shown, over


async def test_what_was_not_shown_is_given_back(leases: Leases, index: ServingIndex) -> None:
    await tell(index, CARS, *ladder("a", 2))
    await tell(index, FOOD, *ladder("c", 2))
    taken = await leases.take([CARS, FOOD], 4)
    some = [one._replace(impressions=1) for one in taken]
    assert await leases.give_back(*some) == 4
    assert await leases.give_back(*some) == 0
    assert await leases.give_back() == 0
    for slice_id in (CARS, FOOD):
        assert {one.left for one in await index.top(slice_id, 9)} == {60}


async def test_leases_of_a_server_that_died_are_others_after_a_minute() -> None:
    now = 1_800_000_000.0
    index = MemoryServingIndex(lambda: now)
    await tell(index, CARS, entry(allowance=5))
    dead, other = Leases(index), Leases(index)
    assert videos(await dead.take(CARS, 5, most_each=5)) == ["v1"] * 5
    now += 60
    assert await other.take(CARS, 5, most_each=5) == []
    now += 1
    assert videos(await other.take(CARS, 5, most_each=5)) == ["v1"] * 5


@pytest.mark.real
async def test_redis_gives_the_leases_of_a_server_that_died_to_others(
    fresh_redis_url: str,
) -> None:
    index = RedisServingIndex(fresh_redis_url, bounds=IndexBounds(lease_s=0))
    await tell(index, CARS, entry(allowance=5))
    assert videos(await Leases(index).take(CARS, 5, most_each=5)) == ["v1"] * 5
    async with asyncio.timeout(PATIENCE_S), Leases(fresh_redis_url) as other:
        while not (taken := await other.take(CARS, 5, most_each=5)):  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # it is Redis that has the clock
    assert videos(taken) == ["v1"] * 5
    await index.close()


async def test_a_lease_stands_for_a_minute_of_the_server_s_own_clock(index: ServingIndex) -> None:
    now = 100.0
    leases = Leases(index, clock=lambda: now)
    await tell(index, CARS, entry())
    (taken,) = await leases.take(CARS, 1)
    assert taken.stands(lambda: now)
    now += 59.9
    assert taken.stands(lambda: now)
    now += 0.1
    assert not taken.stands(lambda: now)


class Sink:
    """Stands for a publisher: keeps what is put."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    async def put(self, *events: Any) -> None:
        self.events += events


async def test_an_impression_is_reported_to_the_publisher(index: ServingIndex) -> None:
    sink: Any = Sink()
    leases = Leases(index, sink)
    await tell(index, CARS, entry())
    (taken,) = await leases.take(CARS, 2, most_each=2)
    first = await leases.shown(taken, "u-1")
    second = await leases.shown(taken, "u-2", event_id="mine")
    assert sink.events == [first, second]
    assert second == Impression("mine", "v1", "u-2", CARS, second.ts, "rank", taken.score)
    assert (taken.via, taken.score) == ("rank", 350_000)
    assert first.id != second.id
    with pytest.raises(RuntimeError, match="no publisher"):
        await Leases(index).shown(taken, "u-1")


# Redis away


async def test_a_redis_that_is_away_is_said_and_found_again(tmp_path: Path) -> None:
    url = f"unix://{tmp_path}/redis.sock"
    server = EmbeddedRedis(("--unixsocket", f"{tmp_path}/redis.sock"))
    leases, index = Leases(url), RedisServingIndex(url)
    with pytest.raises(Unreachable, match="Redis does not answer"):
        await leases.take(CARS, 1)
    with server:
        await tell(index, CARS, *ladder("a", 2))
        taken = await leases.take(CARS, 1)
        assert videos(taken) == ["a0"]
    for call in (leases.take(CARS, 1), leases.take([CARS, FOOD], 1), leases.give_back(*taken)):
        with pytest.raises(Unreachable, match="Redis does not answer"):
            await call
    with server:  # an empty one: the workers have not told it anything yet
        assert await leases.take(CARS, 1) == []
        assert await leases.give_back(*taken) == 0
        await tell(index, CARS, *ladder("a", 2))
        assert videos(await leases.take(CARS, 1)) == ["a0"]
    await leases.close()
    await leases.close()
    await index.close()


async def test_a_redis_that_says_nothing_is_waited_for_no_longer_than_it_may_take() -> None:
    with EmbeddedRedis() as server:
        leases = Leases(server.url, timeout_s=0.5)
        with server.paused():
            async with asyncio.timeout(PATIENCE_S):
                with pytest.raises(Unreachable):
                    await leases.take(CARS, 1)
        assert await leases.take(CARS, 1) == []
        await leases.close()


class HalfAway(MemoryServingIndex):
    """An index one of whose slices can be looked at, and not leased from."""

    async def lease(self, slice_id: str, *words: Any, **more: Any) -> Sequence[Lease]:
        if slice_id == FOOD:
            raise Retry("Redis cannot do this now")
        return await super().lease(slice_id, *words, **more)


async def test_what_one_slice_gave_goes_back_when_another_one_fails() -> None:
    index = HalfAway()
    await tell(index, CARS, *ladder("a", 2))
    await tell(index, FOOD, *ladder("c", 2))
    with pytest.raises(Retry):
        await Leases(index).take([CARS, FOOD], 4)
    assert {one.left for one in await index.top(CARS, 9)} == {60}


# For threads


@pytest.mark.real
def test_threads_take_what_no_other_one_takes(fresh_redis_url: str) -> None:
    async def begin() -> None:
        index = RedisServingIndex(fresh_redis_url)
        await tell(index, CARS, *ladder("a", 20, allowance=5))
        await index.close()

    asyncio.run(begin())
    with BlockingLeases(fresh_redis_url) as leases, ThreadPoolExecutor(8) as threads:
        pages = threads.map(lambda _: leases.take(CARS, 5), range(20))
        taken = [one for page in pages for one in page]
        assert Counter(videos(taken)) == {f"a{number}": 5 for number in range(20)}
        assert leases.give_back(*taken[:30]) == 30
        viewer = {"a0", "a1"}
        page = leases.take([CARS, FOOD], 9, seen=viewer.intersection)
        assert page
        assert not viewer.intersection(videos(page))
    with pytest.raises(RuntimeError, match="closed"):
        leases.take(CARS, 1)


def test_the_blocking_leases_raise_what_the_others_do() -> None:
    with BlockingLeases("redis://127.0.0.1:1/0") as leases:
        with pytest.raises(Unreachable, match="Redis does not answer"):
            leases.take(CARS, 1)
        with pytest.raises(ValueError, match="no slice"):
            leases.take("cars", 1)
        with pytest.raises(RuntimeError, match="no publisher"):
            leases.shown(Leased(CARS, "v1", 1, 0, "rank", 1, 0, 1.0), "u-1")
    leases.close()
    with pytest.raises(RuntimeError, match="not started"):
        BlockingLeases("redis://127.0.0.1:1/0").take(CARS, 1)


def test_the_blocking_leases_report_to_the_blocking_publisher() -> None:
    events: list[Any] = []

    class Publisher:
        def put(self, *some: Any) -> None:
            events.extend(some)

    publisher: Any = Publisher()
    with BlockingLeases("redis://127.0.0.1:1/0", publisher) as leases:
        event = leases.shown(Leased(FANS, "v1", 1, 0, "rank", 1, 7, 1.0), "u-1", event_id="e-1")
    assert events == [event] == [Impression("e-1", "v1", "u-1", FANS, event.ts, "rank", 7)]


# What an application loads


def loaded_by(source: str) -> set[str]:
    """Return the packages that a program has loaded at its end."""
    command = [sys.executable, "-c", f"{source}; import sys; print(*sys.modules)"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stdout.split()}


def test_a_feed_server_loads_neither_the_control_plane_nor_the_command_line() -> None:
    heavy = {"faust", "mode", "rich", "click", "uvloop", "confluent_kafka", "aiohttp"}
    heavy |= {"prometheus_client", "orjson", "zstandard", "numpy"}
    packages = loaded_by("from streams.client import BlockingLeases, Leases")
    assert not heavy & packages
    assert "redis" in packages


def test_without_a_client_of_redis_the_extra_that_brings_it_is_named() -> None:
    source = "import sys; sys.modules['redis'] = None; from streams.client import *; Publisher"
    assert "streams" in loaded_by(source)
    with pytest.raises(subprocess.CalledProcessError) as failed:
        loaded_by(f"{source}; from streams.client import Leases")
    assert "ImportError: Leases needs the extra [feed]: " in failed.value.stderr


def test_what_the_library_does_not_have_it_says() -> None:
    assert get_type_hints(client.Leases.take)["return"] == list[Leased]
    assert client.BlockingLeases is BlockingLeases
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        _ = client.Nonsense

"""The contract of the port `ServingIndex`, for memory and for Redis."""

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence

import msgspec
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.core.receipts import ACTIONS, Action, Receipt
from streams.embedded import EmbeddedRedis
from streams.embedded.redis import bundled_redis_server
from streams.runtime.memory.serving import MemoryServingIndex
from streams.runtime.ports import Candidate, ServingIndex
from streams.runtime.redis.serving import RedisServingIndex

BUNDLED = bundled_redis_server()
CARS, FANS = "discover:cars", "following:fans"
DRIVERS = ["memory", "redis 6.2", pytest.param("redis", marks=pytest.mark.real)]


@pytest.fixture(scope="module")
def oldest_redis_url() -> Iterator[str]:
    with EmbeddedRedis(executable=BUNDLED) as server:
        yield server.url


def emptied(request: pytest.FixtureRequest) -> str:
    name = "redis_url" if request.param == "redis" else "oldest_redis_url"
    url: str = request.getfixturevalue(name)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


@pytest.fixture(params=DRIVERS)
async def index(request: pytest.FixtureRequest) -> AsyncIterator[ServingIndex]:
    if request.param == "memory":
        yield MemoryServingIndex()
        return
    driver = RedisServingIndex(emptied(request))
    yield driver
    await driver.close()


def receipt(
    n: int, action: Action, *, video: str = "v1", slice_id: str = CARS, value: int = 0
) -> Receipt:
    """A decision whose index is `value` and whose allowance is 100 + n."""
    numbers = {
        name: 0
        for name in Receipt.__struct_fields__
        if name not in {"id", "n", "video", "slice", "action", "reason", "cause", "policy"}
    }
    said = numbers | {"index": value, "allowance": 100 + n}
    words = {"reason": "first_crowd", "cause": "e1", "policy": "p1"}
    return Receipt(
        id=f"{video}.{n}", n=n, video=video, slice=slice_id, action=action, **words, **said
    )


async def test_an_unknown_slice_has_no_candidates(index: ServingIndex) -> None:
    assert list(await index.top(CARS, 10)) == []
    assert await index.apply([]) == 0


async def test_a_started_video_is_a_candidate_with_its_allowance(index: ServingIndex) -> None:
    assert await index.apply([receipt(1, "start", value=350_000)]) == 1
    assert list(await index.top(CARS, 10)) == [Candidate("v1", 350_000, 101)]
    assert list(await index.top(FANS, 10)) == []


async def test_widen_and_keep_move_rank_and_allowance(index: ServingIndex) -> None:
    story = [receipt(1, "start", value=5), receipt(2, "widen", value=-7), receipt(3, "keep")]
    assert await index.apply(story[:2]) == 2
    assert list(await index.top(CARS, 1)) == [Candidate("v1", -7, 102)]
    assert await index.apply(story[2:]) == 1
    assert list(await index.top(CARS, 1)) == [Candidate("v1", 0, 103)]


async def test_a_stopped_video_is_gone_and_may_come_back(index: ServingIndex) -> None:
    await index.apply([receipt(1, "start"), receipt(2, "stop")])
    assert list(await index.top(CARS, 10)) == []
    await index.apply([receipt(3, "start", value=9)])
    assert list(await index.top(CARS, 10)) == [Candidate("v1", 9, 103)]


async def test_repeated_receipts_change_nothing(index: ServingIndex) -> None:
    story = [receipt(1, "start", value=5), receipt(2, "stop")]
    assert await index.apply(story) == 2
    assert await index.apply(story) == 0
    assert await index.apply([*story, *story]) == 0
    assert list(await index.top(CARS, 10)) == []


async def test_ten_decisions_come_after_nine(index: ServingIndex) -> None:
    await index.apply([receipt(n, "keep", value=n) for n in range(1, 12)])
    assert list(await index.top(CARS, 10)) == [Candidate("v1", 11, 111)]


async def test_a_stopped_video_takes_no_place_among_the_best(index: ServingIndex) -> None:
    await index.apply([receipt(1, "start", value=9), receipt(1, "start", video="v2", value=5)])
    await index.apply([receipt(2, "stop")])
    assert [one.video for one in await index.top(CARS, 1)] == ["v2"]


async def test_slices_of_a_video_stand_alone(index: ServingIndex) -> None:
    stop_of_another = receipt(5, "stop", slice_id=FANS)
    assert await index.apply([stop_of_another, receipt(4, "start"), receipt(4, "start")]) == 2
    assert [one.video for one in await index.top(CARS, 10)] == ["v1"]


async def test_the_best_come_first_and_equals_in_one_order(index: ServingIndex) -> None:
    ranks = {"a": 10, "b": -10, "c": 10, "Z": 10, "d": 2_000_000_000_000}
    await index.apply([receipt(1, "start", video=name, value=rank) for name, rank in ranks.items()])
    assert [one.video for one in await index.top(CARS, 10)] == ["d", "c", "a", "Z", "b"]
    assert [one.video for one in await index.top(CARS, 2)] == ["d", "c"]
    assert list(await index.top(CARS, 0)) == []
    assert list(await index.top(CARS, -1)) == []


async def test_ranks_are_exact_to_the_micro_unit(index: ServingIndex) -> None:
    best = (1 << 53) - 1
    videos = {"a": best, "b": best - 1, "c": -best}
    await index.apply([receipt(1, "start", video=name, value=at) for name, at in videos.items()])
    assert {one.video: one.index for one in await index.top(CARS, 3)} == videos


receipts = st.builds(
    lambda n, action, video, slice_id, value: receipt(
        n, action, video=video, slice_id=slice_id, value=value
    ),
    st.integers(1, 12),
    st.sampled_from(ACTIONS),
    st.sampled_from(["v1", "v2", "v3"]),
    st.sampled_from([CARS, FANS]),
    st.integers(-(10**9), 10**9),
)


examples = itertools.count()


@given(st.lists(st.lists(receipts, max_size=6), max_size=4))
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_receipts_leave_what_they_leave_in_memory(
    index: ServingIndex, batches: Sequence[Sequence[Receipt]]
) -> None:
    suffix = f"_{next(examples)}"  # slices that no other example has
    model = MemoryServingIndex()
    for batch in batches:
        own = [msgspec.structs.replace(one, slice=one.slice + suffix) for one in batch]
        assert await index.apply(own) == await model.apply(own)
    for slice_id in (CARS + suffix, FANS + suffix):
        assert list(await index.top(slice_id, 10)) == list(await model.top(slice_id, 10))

"""The contract of the port `Store`, for memory and for the oldest and the current Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.redises import client_of, url_of

from streams.core.counters import Slice, decode_slice, encode_slice
from streams.core.state import FRESH, Archived, Changes, Meta
from streams.embedded import EmbeddedRedis
from streams.embedded.redis import bundled_redis_server
from streams.errors import Halt
from streams.runtime.labels import Labelled, LabelStore
from streams.runtime.memory.store import MemoryStore
from streams.runtime.part_store import PartGuard, PartsChange, StoredPart
from streams.runtime.ports import Conflict, HaltNote, Loaded, Stored
from streams.runtime.redis import RedisStore
from streams.runtime.whole import PointingStore

BUNDLED = bundled_redis_server()
META = Meta(
    1_700_000_000_000,
    "0123456789abcdef" * 2,
    '{"version":"p1","title":"短视频"}'.encode(),
    "41:1700000000000:0a1b2c3d",
    b'{"installation":"0123","keys":[],"upgraded":true,"seq":1}',
    b"[0,28333333,[1700000000000],[]]",
    b"[[0,100],[300,500]]",
)
NS = "cluster/topic/8/1"
REAL = [pytest.param(name, marks=pytest.mark.real) for name in ("redis", "redis cluster")]
STORES = ["memory", "redis 6.2", *REAL]


class World(NamedTuple):
    """A store to judge, a second one on the same data, and what only an accident can do to it."""

    store: PointingStore
    rival: PointingStore
    lose_meta: Callable[[int], None]
    plant_string: Callable[[str], None]


@pytest.fixture(scope="module")
def oldest_redis_url() -> Iterator[str]:
    with EmbeddedRedis(executable=BUNDLED) as server:
        yield server.url


@pytest.fixture(params=STORES)
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    if request.param == "memory":
        yield memory_world()
        return
    url = url_of(request, request.param)
    with client_of(url) as client:
        client.flushdb()
        store, rival = RedisStore(url), RedisStore(url)
        yield World(
            store,
            rival,
            lambda partition: client.delete(f"s:{{{partition}}}:meta"),
            lambda key: client.set(key, "not a hash"),
        )
        await store.close()
        await rival.close()


def memory_world() -> World:
    store = MemoryStore()

    def lose_meta(partition: int) -> None:
        stored = store.partitions[partition]
        stored.namespace, stored.watermark, stored.meta = None, -1, FRESH

    def plant_string(key: str) -> None:
        raise NotImplementedError(key)

    return World(store, store, lose_meta, plant_string)


def changes(rows: dict[str, dict[str, bytes]] | None = None, meta: Meta = META) -> Changes:
    return Changes(0, {"v1": {"video": b"[1]"}} if rows is None else rows, meta)


async def test_it_can_be_trusted(world: World) -> None:
    await world.store.check()


async def test_a_partition_never_flushed_has_nothing(world: World) -> None:
    assert await world.store.meta(0, NS) is None
    assert await world.store.watermark(0) is None
    assert await world.store.scan(0) == {}
    assert (await world.store.load(0, ["v1"])).videos == {"v1": {}}
    assert (await world.store.load(0, [])).videos == {}


async def test_what_was_flushed_is_read_back_byte_by_byte(world: World) -> None:
    rows = {
        "v1": {"video": '["public","名"]'.encode(), "discover:cars": b"[1,2]"},
        "v-_9": {"following:fans": b"[]"},
    }
    assert await world.store.flush(3, NS, -1, 41, changes(rows)) == "ok"
    assert await world.store.meta(3, NS) == (41, META)
    assert await world.store.watermark(3) == 41
    assert (await world.store.load(3, ["v-_9", "other", "v1"])).videos == {**rows, "other": {}}
    assert await world.store.scan(3) == rows


async def test_of_a_scan_only_the_wanted_videos_are_read(world: World) -> None:
    rows = {f"v{number}": {"video": b"[%d]" % number} for number in range(2_345)}
    await world.store.flush(0, NS, -1, 0, changes(rows))
    wanted = {"v7", "v2000"}
    assert await world.store.scan(0, wanted.__contains__) == {name: rows[name] for name in wanted}
    assert await world.store.scan(0, lambda _: False) == {}


async def test_big_integers_survive(world: World) -> None:
    row = Slice(watch_ms=(1 << 63) + 1, likes=-(1 << 62) - 1, ratio_sq=1 << 100)
    raw = encode_slice(row)
    await world.store.flush(0, NS, -1, 0, changes({"v1": {"discover:x": raw}}))
    stored = (await world.store.load(0, ["v1"])).videos["v1"]["discover:x"]
    assert stored == raw
    assert decode_slice(stored) == row


async def test_more_fields_than_lua_unpacks_at_once_are_stored(world: World) -> None:
    rows = {"v1": {f"discover:g{number}": b"[%d]" % number for number in range(9_001)}}
    assert await world.store.flush(0, NS, -1, 0, changes(rows)) == "ok"
    assert await world.store.scan(0) == rows


async def test_more_videos_than_one_round_trip_takes_are_read(world: World) -> None:
    rows = {f"v{number}": {"video": b"[%d]" % number} for number in range(2_345)}
    await world.store.flush(0, NS, -1, 0, changes(rows))
    assert (await world.store.load(0, list(rows))).videos == rows
    assert await world.store.scan(0) == rows


async def test_a_flush_changes_only_the_fields_it_names(world: World) -> None:
    await world.store.flush(0, NS, -1, 9, changes({"v1": {"video": b"[1]", "discover:a": b"[1]"}}))
    await world.store.flush(0, NS, 9, 19, changes({"v1": {"discover:a": b"[2]"}}))
    assert await world.store.scan(0) == {"v1": {"video": b"[1]", "discover:a": b"[2]"}}


async def test_a_flush_without_rows_moves_watermark_and_meta(world: World) -> None:
    later = META._replace(event_time=META.event_time + 1, policy=b"")
    await world.store.flush(0, NS, -1, 9, changes())
    assert await world.store.flush(0, NS, 9, 19, changes({}, later)) == "ok"
    assert await world.store.meta(0, NS) == (19, later)


async def test_the_same_flush_twice_writes_once(world: World) -> None:
    await world.store.flush(0, NS, -1, 9, changes())
    assert await world.store.flush(0, NS, -1, 9, changes()) == "noop"
    assert await world.store.scan(0) == {"v1": {"video": b"[1]"}}
    assert await world.store.meta(0, NS) == (9, META)


async def test_another_state_at_the_same_watermark_is_a_conflict(world: World) -> None:
    await world.store.flush(0, NS, -1, 9, changes())
    wrong = changes({"v1": {"video": b"[2]"}}, FRESH)
    assert await world.store.flush(0, NS, -1, 9, wrong) == Conflict(9)
    assert await world.store.scan(0) == {"v1": {"video": b"[1]"}}


async def test_rows_come_with_the_watermark_they_belong_to(world: World) -> None:
    assert (await world.store.load(0, ["v1"])).watermark is None
    await world.store.flush(0, NS, -1, 9, changes())
    assert (await world.store.load(0, ["v1"])).watermark == 9


async def test_the_watermark_never_goes_down(world: World) -> None:
    await world.store.flush(0, NS, -1, 9, changes())
    lower = changes({"v2": {"video": b"[2]"}}, FRESH)
    assert await world.store.flush(0, NS, 9, 5, lower) == Conflict(9)
    assert await world.store.flush(0, NS, 9, 9, lower) == Conflict(9)
    assert await world.store.meta(0, NS) == (9, META)
    assert await world.store.scan(0) == {"v1": {"video": b"[1]"}}


@pytest.mark.parametrize("expected", [-1, 8, 10])
async def test_a_stale_expectation_is_a_conflict_and_writes_nothing(
    world: World, expected: int
) -> None:
    await world.store.flush(0, NS, -1, 9, changes())
    stale = changes({"v1": {"video": b"[2]"}, "v2": {"video": b"[3]"}}, FRESH)
    assert await world.store.flush(0, NS, expected, 19, stale) == Conflict(9)
    assert await world.store.scan(0) == {"v1": {"video": b"[1]"}}
    assert await world.store.meta(0, NS) == (9, META)


async def test_a_store_that_lost_everything_is_a_conflict(world: World) -> None:
    await world.store.flush(0, NS, -1, 9, changes())
    await world.store.erase(0)
    assert await world.store.flush(0, NS, 9, 19, changes()) == Conflict(-1)
    assert await world.store.scan(0) == {}
    assert await world.store.watermark(0) is None


async def test_watermarks_are_compared_exactly_up_to_two_to_the_53(world: World) -> None:
    last = (1 << 53) - 2
    await world.store.flush(0, NS, -1, last, changes())
    assert await world.store.flush(0, NS, last - 1, last + 1, changes()) == Conflict(last)
    assert await world.store.flush(0, NS, last, last + 1, changes()) == "ok"
    assert await world.store.watermark(0) == last + 1


async def test_another_namespace_halts_and_touches_nothing(world: World) -> None:
    await world.store.flush(4, NS, -1, 9, changes())
    with pytest.raises(Halt) as halted:
        await world.store.flush(4, "another", 9, 19, changes({"v2": {"video": b"[2]"}}))
    assert (halted.value.code, halted.value.partition) == ("namespace", 4)
    with pytest.raises(Halt) as halted:
        await world.store.meta(4, "another")
    assert (halted.value.code, halted.value.partition) == ("namespace", 4)
    assert await world.store.meta(4, NS) == (9, META)
    assert await world.store.scan(4) == {"v1": {"video": b"[1]"}}


async def test_another_namespace_halts_even_a_repeated_flush(world: World) -> None:
    await world.store.flush(0, NS, -1, 9, changes())
    with pytest.raises(Halt, match="another"):
        await world.store.flush(0, "another", -1, 9, changes())


async def test_counters_without_a_watermark_halt_and_are_not_taken_for_fresh(
    world: World,
) -> None:
    await world.store.flush(7, NS, -1, 9, changes())
    world.lose_meta(7)
    with pytest.raises(Halt) as halted:
        await world.store.meta(7, NS)
    assert (halted.value.code, halted.value.partition) == ("watermark_missing", 7)
    assert await world.store.watermark(7) is None


async def test_who_asks_while_another_flushes_first_does_not_take_its_rows_for_lost(
    world: World,
) -> None:
    for partition in range(100):
        answer, flushed = await asyncio.gather(
            world.store.meta(partition, NS), world.rival.flush(partition, NS, -1, 9, changes())
        )
        assert flushed == "ok"
        assert answer in (None, (9, META))


async def test_whosever_counters_they_are_is_told(world: World) -> None:
    assert await world.store.labelled(1) is None
    await world.store.flush(1, NS, -1, 5, changes({"v1": {"video": b"[]"}}))
    assert await world.store.labelled(1) == Labelled(NS, Stored(5, META))


async def test_other_counters_take_the_place_of_those_that_are_named(world: World) -> None:
    rows = {"v1": {"video": b"[]"}}
    await world.store.flush(1, NS, -1, 5, changes(rows))
    before = Labelled(NS, Stored(5, META))
    after = Labelled("other/8", Stored(5, META._replace(digest="ab" * 16, keys=b"{}")))
    for _ in range(2):  # the second time as after a lost reply
        assert await world.store.relabel(1, before, after)
        assert await world.rival.labelled(1) == after
    assert await world.store.scan(1) == rows
    with pytest.raises(Halt) as halted:
        await world.rival.flush(1, NS, 5, 9, changes({}))
    assert halted.value.code == "namespace"
    assert await world.store.flush(1, "other/8", 5, 9, changes({})) == "ok"


@pytest.mark.parametrize(
    "stored",
    [
        Labelled("other", Stored(5, META)),
        Labelled(NS, Stored(6, META)),
        Labelled(NS, Stored(5, META._replace(digest="cd" * 16))),
    ],
)
async def test_counters_that_changed_meanwhile_keep_their_name(
    world: World, stored: Labelled
) -> None:
    flushed = Changes(0, {}, stored.stored.meta)
    await world.store.flush(1, stored.namespace, -1, stored.stored.watermark, flushed)
    before = Labelled(NS, Stored(5, META))
    assert not await world.store.relabel(1, before, Labelled("new", Stored(5, META)))
    assert await world.store.labelled(1) == stored
    assert not await world.store.relabel(2, before, Labelled("new", Stored(5, META)))
    assert await world.store.labelled(2) is None


async def test_partitions_do_not_see_each_other(world: World) -> None:
    for partition in (1, 11, 111):
        await world.store.flush(partition, NS, -1, partition, changes())
    assert await world.store.erase(1) == 2
    assert await world.store.meta(1, NS) is None
    assert await world.store.watermark(11) == 11
    assert await world.store.scan(111) == {"v1": {"video": b"[1]"}}


async def test_a_partition_begun_again_is_at_nothing_and_takes_the_first_flush(
    world: World,
) -> None:
    await world.store.flush(0, NS, -1, 9, changes())
    await world.store.erase(0)
    await world.store.begin(0, NS)
    assert await world.store.meta(0, NS) == (-1, FRESH)
    with pytest.raises(Halt):
        await world.store.meta(0, "another")
    assert await world.store.flush(0, NS, -1, 5, changes()) == "ok"
    assert await world.store.meta(0, NS) == (5, META)


async def test_what_is_restored_is_there_as_if_it_had_been_flushed(world: World) -> None:
    rows = {f"v{number}": {"video": b"[2]", "discover:a": b"[3]"} for number in range(1_200)}
    await world.store.restore(0, NS, Stored(7, META), rows)
    assert await world.store.meta(0, NS) == (7, META)
    assert await world.store.scan(0) == rows
    with pytest.raises(Halt):
        await world.store.meta(0, "another")
    assert await world.store.flush(0, NS, 7, 9, changes()) == "ok"


async def test_erasing_tells_how_many_keys_there_were(world: World) -> None:
    rows = {f"v{number}": {"video": b"[]"} for number in range(1_500)}
    await world.store.flush(0, NS, -1, 9, changes(rows))
    assert await world.store.erase(0) == 1_501
    assert await world.store.erase(0) == 0
    assert await world.store.flush(0, NS, -1, 5, changes()) == "ok"


async def test_of_two_racing_writers_exactly_one_wins(world: World) -> None:
    watermark = -1
    for lap in range(50):
        rows = [{"v1": {"video": b"[%d]" % (2 * lap + who)}} for who in (0, 1)]
        results = await asyncio.gather(
            world.store.flush(0, NS, watermark, watermark + 10, changes(rows[0])),
            world.rival.flush(0, NS, watermark, watermark + 12, changes(rows[1])),
        )
        assert sorted(result == "ok" for result in results) == [False, True]
        winner = results.index("ok")
        watermark += (10, 12)[winner]
        assert results[1 - winner] == Conflict(watermark)
        assert await world.store.scan(0) == rows[winner]
        assert await world.store.watermark(0) == watermark


async def test_a_row_of_another_type_halts_before_anything_is_written(
    world: World, request: pytest.FixtureRequest
) -> None:
    if isinstance(world.store, MemoryStore):
        reason = "rows in memory have one type: nobody else can write there"
        request.applymarker(
            pytest.mark.xfail(raises=NotImplementedError, strict=True, reason=reason)
        )
    await world.store.flush(0, NS, -1, 9, changes())
    world.plant_string("s:{0}:v:v3")
    rows = {f"v{number}": {"video": b"[2]"} for number in range(1, 6)}
    with pytest.raises(Halt) as halted:
        await world.store.flush(0, NS, 9, 19, changes(rows, FRESH))
    assert (halted.value.code, halted.value.partition) == ("store_corrupt", 0)
    assert (await world.store.load(0, ["v1", "v2", "v4"])).videos == {
        "v1": {"video": b"[1]"},
        "v2": {},
        "v4": {},
    }
    assert await world.store.meta(0, NS) == (9, META)
    with pytest.raises(Halt) as halted:
        await world.store.load(0, ["v3"])
    assert halted.value.code == "store_corrupt"


async def test_closing_twice_is_once(world: World) -> None:
    await world.store.watermark(0)
    await world.store.close()
    await world.store.close()


names = st.text("ab_-0", min_size=1, max_size=2)
values = st.text(max_size=6).map(str.encode)
row_sets = st.dictionaries(names, st.dictionaries(names, values, max_size=3), max_size=4)
metas = st.builds(
    Meta,
    st.integers(0, 1 << 52),
    st.text("0123456789abcdef", min_size=32, max_size=32),
    values,
    st.text("0123456789:abcdef", max_size=6),
)
flushes = st.lists(
    st.tuples(
        st.integers(0, 1),  # partition
        st.sampled_from([NS, NS, NS, "another"]),
        st.integers(-1, 4),  # expected watermark
        st.integers(0, 5),  # new watermark
        row_sets,
        metas,
    ),
    max_size=8,
)


@given(flushes)
@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
async def test_any_sequence_of_flushes_leaves_what_it_leaves_in_memory(
    world: World, sequence: list[tuple[int, str, int, int, dict[str, dict[str, bytes]], Meta]]
) -> None:
    model = MemoryStore()
    for partition in (0, 1):
        await world.store.erase(partition)
    for partition, namespace, expected, new, rows, meta in sequence:
        arguments = (partition, namespace, expected, new, changes(rows, meta))
        results = [await outcome(store, *arguments) for store in (world.store, model)]
        assert results[0] == results[1]
    for partition in (0, 1):
        stored = {
            video: fields for video, fields in (await model.scan(partition)).items() if fields
        }
        assert await world.store.watermark(partition) == await model.watermark(partition)
        assert (await world.store.load(partition, list(stored))).videos == stored
        if (held := model.partitions.get(partition)) and held.namespace is not None:
            assert await world.store.meta(partition, held.namespace) == (held.watermark, held.meta)


async def outcome(
    store: LabelStore, partition: int, namespace: str, expected: int, new: int, what: Changes
) -> object:
    try:
        return await store.flush(partition, namespace, expected, new, what)
    except Halt as halt:
        return halt.code, halt.partition


async def test_a_halt_is_noted_until_it_is_taken_back(world: World) -> None:
    notes = {
        1: HaltNote("data_loss", "offsets 4 to 9: 没有了", 1_700),
        3: HaltNote("corrupt", "", 2),
    }
    for partition, note in notes.items():
        await world.store.note_halt(partition, note)
    assert await world.rival.halts(range(4)) == notes
    await world.store.note_halt(1, None)
    await world.store.note_halt(2, None)
    assert await world.rival.halts(range(4)) == {3: notes[3]}
    assert await world.rival.halts([]) == {}


async def test_a_noted_halt_is_none_of_the_counters(world: World) -> None:
    await world.store.note_halt(0, HaltNote("corrupt", "", 1))
    assert await world.store.meta(0, NS) is None
    assert await world.store.scan(0) == {}
    await world.store.erase(0)
    assert await world.store.halts([0]) == {}


# ------------------------------------------------------------------ the archive


ROWS = {"v1": {"video": b"[1]", "discover:a": b"[2]"}, "v2": {"video": b"[3]"}}
HELD = Archived(b"v1@19.x", ROWS["v1"])
FAR = (1 << 62) + 1
"""A pointer that no double holds."""


def leaving(pointers: dict[str, int], rows: dict[str, dict[str, bytes]] | None = None) -> Changes:
    return changes(rows or {})._replace(departed=pointers)


def returning(*videos: str, rows: dict[str, dict[str, bytes]]) -> Changes:
    return changes(rows)._replace(returned=dict.fromkeys(videos, HELD))


async def left(world: World) -> None:
    await world.store.flush(0, NS, -1, 9, changes(ROWS))
    assert await world.store.flush(0, NS, 9, 19, leaving({"v1": FAR})) == "ok"


async def paged(store: PointingStore, partition: int = 0) -> dict[str, Mapping[str, bytes]]:
    return {
        v: rows for page in [p async for p in store.pages(partition)] for v, rows in page.items()
    }


async def test_of_a_video_that_left_a_pointer_is_stored_in_the_place_of_its_rows(
    world: World,
) -> None:
    await left(world)
    loaded = await world.store.load(0, ["v1", "v2", "v3"])
    assert loaded == (19, {"v1": {}, "v2": ROWS["v2"], "v3": {}}, {"v1": FAR}, {})
    assert await world.store.scan(0) == await paged(world.store) == {"v2": ROWS["v2"]}
    assert await world.rival.pointers(0) == {"v1": FAR}
    assert await world.store.pointers(1) == {}


async def test_of_a_video_that_returned_the_rows_are_stored_and_no_pointer(world: World) -> None:
    await left(world)
    rows = {"v1": {**ROWS["v1"], "discover:a": b"[7]"}}
    assert await world.store.flush(0, NS, 19, 29, returning("v1", rows=rows)) == "ok"
    assert await world.store.load(0, ["v1", "v2"]) == Loaded(29, {**rows, "v2": ROWS["v2"]}, {}, {})
    assert await world.store.pointers(0) == {}


async def test_some_leave_while_others_return_and_change(world: World) -> None:
    await left(world)
    rows = {"v1": {"video": b"[9]"}, "v3": {"video": b"[4]"}}
    both = returning("v1", rows=rows)._replace(departed={"v2": 5})
    assert await world.store.flush(0, NS, 19, 29, both) == "ok"
    assert await world.store.scan(0) == rows
    assert await world.store.pointers(0) == {"v2": 5}


@pytest.mark.parametrize("expected", [-1, 8, 10])
async def test_nobody_leaves_or_returns_with_a_flush_that_comes_too_late(
    world: World, expected: int
) -> None:
    await world.store.flush(0, NS, -1, 9, changes(ROWS))
    assert await world.store.flush(0, NS, expected, 19, leaving({"v1": 7})) == Conflict(9)
    assert await world.store.scan(0) == ROWS
    assert await world.store.pointers(0) == {}
    await world.store.flush(0, NS, 9, 19, leaving({"v1": 7}))
    late = returning("v1", rows={"v1": {"video": b"[8]"}})
    assert await world.store.flush(0, NS, expected, 29, late) == Conflict(19)
    assert await world.store.pointers(0) == {"v1": 7}


async def test_the_same_leaving_twice_is_once(world: World) -> None:
    await left(world)
    assert await world.store.flush(0, NS, 9, 19, leaving({"v1": FAR})) == "noop"
    assert await world.store.pointers(0) == {"v1": FAR}


@pytest.mark.parametrize("ours", [{}, {"v1": FAR + 1}, {"v2": FAR}])
async def test_who_else_had_somebody_leave_up_to_the_same_offset_is_no_repeat_of_ours(
    world: World, ours: dict[str, int]
) -> None:
    """It has the same watermark and digest, and rows that left are not where we think."""
    await left(world)
    assert await world.rival.flush(0, NS, 9, 19, leaving(ours)) == Conflict(19)
    assert await world.store.pointers(0) == {"v1": FAR}


async def test_who_had_nobody_leave_up_to_the_same_offset_is_no_repeat_of_ours(
    world: World,
) -> None:
    await world.store.flush(0, NS, -1, 9, changes(ROWS))
    await world.store.flush(0, NS, 9, 19, changes({}))
    assert await world.rival.flush(0, NS, 9, 19, leaving({"v1": 7})) == Conflict(19)
    assert await world.store.scan(0) == ROWS


async def test_erasing_takes_the_pointers_too(world: World) -> None:
    await left(world)
    assert await world.store.erase(0) == 3
    assert await world.store.pointers(0) == {}
    await world.store.flush(0, NS, -1, 9, changes(ROWS))
    assert await world.store.load(0, ["v1"]) == Loaded(9, {"v1": ROWS["v1"]}, {}, {})


async def test_many_leave_at_once_and_are_found(world: World) -> None:
    rows = {f"v{number}": {"video": b"[1]"} for number in range(2_345)}
    await world.store.flush(0, NS, -1, 9, changes(rows))
    pointers = {name: number for number, name in enumerate(rows)}
    assert await world.store.flush(0, NS, 9, 19, leaving(pointers)) == "ok"
    assert await world.store.scan(0) == {}
    assert await world.store.pointers(0) == pointers
    assert (await world.store.load(0, list(rows))).pointers == pointers


# ------------------------------------------------------------------ parts of the window


FIRST = StoredPart(b"entry \x00", b"ids \xff")
SECOND = StoredPart(b"another", b"")
OURS = PartGuard(NS, 41, META.digest)


async def test_parts_of_the_window_are_read_back_byte_by_byte(world: World) -> None:
    await world.store.flush(3, NS, -1, 41, changes())
    assert await world.store.parts(3) == []
    assert await world.store.load_part(3, 0) is None
    kept = {100_000: FIRST, 20: SECOND, 3_000: FIRST}
    assert await world.store.change_parts(3, OURS, PartsChange(kept))
    assert await world.rival.parts(3) == [20, 3_000, 100_000]
    assert {start: await world.rival.load_part(3, start) for start in kept} == kept
    assert await world.store.parts(2) == []


async def test_parts_go_with_their_ids_and_some_lose_the_ids_alone(world: World) -> None:
    await world.store.flush(0, NS, -1, 41, changes())
    await world.store.change_parts(0, OURS, PartsChange({1: FIRST, 2: FIRST, 3: FIRST}))
    change = PartsChange({4: FIRST}, bare=[2, 9], dropped=[1, 8])
    assert await world.store.change_parts(0, OURS, change)
    assert await world.store.change_parts(0, OURS, change)  # a reply was lost
    assert await world.store.parts(0) == [2, 3, 4]
    assert await world.store.load_part(0, 2) == FIRST._replace(ids=b"")
    assert await world.store.load_part(0, 3) == FIRST
    assert await world.store.change_parts(0, OURS, PartsChange({3: SECOND}))
    assert await world.store.load_part(0, 3) == SECOND


@pytest.mark.parametrize(
    "guard",
    [
        OURS._replace(watermark=40),
        OURS._replace(watermark=-1),
        OURS._replace(digest="0" * 32),
        OURS._replace(namespace="cluster/topic/12/1"),
    ],
)
async def test_who_does_not_own_the_partition_changes_no_part(
    world: World, guard: PartGuard
) -> None:
    await world.store.flush(0, NS, -1, 41, changes())
    await world.store.change_parts(0, OURS, PartsChange({1: FIRST}))
    change = PartsChange({2: FIRST}, bare=[1], dropped=[1])
    assert not await world.rival.change_parts(0, guard, change)
    assert await world.store.parts(0) == [1]
    assert await world.store.load_part(0, 1) == FIRST


async def test_parts_may_come_before_the_first_flush_and_are_no_counters(world: World) -> None:
    guard = PartGuard(NS, -1, FRESH.digest)
    assert await world.store.change_parts(0, guard, PartsChange({0: FIRST}))
    assert await world.store.meta(0, NS) is None
    assert await world.store.scan(0) == {}
    assert not await world.store.change_parts(1, OURS, PartsChange({0: FIRST}))
    assert await world.store.flush(0, NS, -1, 41, changes()) == "ok"
    assert not await world.store.change_parts(0, guard, PartsChange({1: FIRST}))
    assert await world.store.parts(0) == [0]


async def test_parts_are_erased_with_the_counters(world: World) -> None:
    await world.store.flush(0, NS, -1, 41, changes({"v1": {"video": b"[1]"}}))
    await world.store.change_parts(0, OURS, PartsChange({1: FIRST, 2: SECOND, 3: FIRST}))
    assert await world.store.erase(0) == 5  # meta, one video, entries, the ids of two
    assert await world.store.parts(0) == []
    assert await world.store.load_part(0, 1) is None
    await world.store.begin(0, NS)
    assert await world.store.change_parts(
        0, PartGuard(NS, -1, FRESH.digest), PartsChange({1: FIRST})
    )

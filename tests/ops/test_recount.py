"""The recount: a second, plain implementation that agrees with the fold and sees what differs."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.events import (
    COOKING,
    FIXED,
    FOOTBALL,
    HOUR_MS,
    MUSIC,
    NOW,
    Logged,
    admit,
    clear,
    end,
    impression,
    interaction_record,
    like,
    policy,
    records_of,
    signed_record,
    slice_policy,
    synthetic_log,
    takedown,
    unlike,
    view,
)
from kit.patience import PATIENCE_S
from kit.twins import LOG, World, counted

from streams.core.counters import decode_slice, decode_video, encode_slice, encode_video
from streams.core.events import (
    Comment,
    Follow,
    Gift,
    Hide,
    InteractionRecord,
    LogRecord,
    Order,
    Report,
    Stay,
    Weightless,
    Weights,
)
from streams.core.units import SLICES_PER_VIDEO
from streams.errors import Halt
from streams.ops.compared import Verification


async def world_of(records: Sequence[Logged], **changes: object) -> World:
    world = World(**changes)  # type: ignore[arg-type]
    world.put(records)
    return await counted(world, batch=50)


async def verified(records: Sequence[Logged], **changes: object) -> Verification:
    return await (await world_of(records, **changes)).verified()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("generation", [25, 100_000])
async def test_it_agrees_with_the_fold_on_everything_a_log_holds(
    seed: int, generation: int
) -> None:
    found = await verified(synthetic_log(seed, events=600), generation_records=generation)
    assert (found.differences, found.partitions) == (0, 1)
    assert found.checked > 200


@pytest.mark.parametrize("partitions", [2, 3])
async def test_it_checks_every_partition(partitions: int) -> None:
    logs = [synthetic_log(1, 8, 300, p, partitions) for p in range(partitions)]
    found = await verified([one for log in logs for one in log], partitions=partitions)
    assert (found.differences, found.partitions) == (0, partitions)
    assert found.records == sum(map(len, logs))


OTHERS = Weightless.__args__
STATES = st.lists(
    st.tuples(
        st.sampled_from([like, like, unlike, Follow, Hide, Comment, Order, impression, *OTHERS]),
        st.sampled_from(["u1", "u2"]),
        st.sampled_from([FOOTBALL, MUSIC, COOKING]),
        st.integers(0, 30),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=60)
@given(STATES, st.integers(1, 8))
def test_it_agrees_on_likes_taken_back_across_generations(
    acts: list[tuple[type, str, str, int]], generation: int
) -> None:
    events: list[InteractionRecord] = []
    for kind, viewer, slice_id, number in acts:
        if kind in (Follow, Hide, Comment, Order, *OTHERS):
            more = {"amount": 7} if kind is Gift else {"stay_ms": 900} if kind is Stay else {}
            events.append(kind(f"e{number}", "v1", viewer, slice_id, NOW, **more))
        else:
            events.append(kind(f"e{number}", viewer=viewer, slice_id=slice_id))
    events.append(impression("last"))
    found = asyncio.run(verified(records_of(events), generation_records=generation))
    assert found.differences == 0, found.examples


async def test_it_agrees_on_who_was_shown_it_and_on_money() -> None:
    log = [
        impression("e1", via="bid", follower=True, amount=300),
        impression("e2", amount=4),
        Order("e3", "v1", "u1", FOOTBALL, NOW, amount=9_900),
        Gift("e4", "v1", "u1", FOOTBALL, NOW, amount=50),
        Stay("e5", "v1", "u1", FOOTBALL, NOW, stay_ms=45_000),
    ]
    world = await world_of(records_of(log))
    assert (await world.verified()).differences == 0
    row = decode_slice(world.rows()[0]["v1"][FOOTBALL])
    assert (row.follower_impressions, row.spend, row.order_amount) == (1, 304, 9_900)
    assert (row.gift_amount, row.stays, row.stay_ms) == (50, 1, 45_000)


REPORTS = st.lists(
    st.tuples(
        st.sampled_from([impression, impression, Report, Report, Comment, clear, takedown]),
        st.sampled_from(["u1", "u2", "u3", "u4"]),
        st.sampled_from([FOOTBALL, MUSIC]),
        st.integers(0, 40),
    ),
    max_size=80,
)


@settings(deadline=None, max_examples=60)
@given(REPORTS, st.integers(1, 8))
def test_it_agrees_on_how_reports_add_up(
    acts: list[tuple[Any, str, str, int]], generation: int
) -> None:
    events: list[LogRecord] = [policy(report_drain=90_000, report_bar=1_500_000), admit()]
    for kind, viewer, slice_id, number in acts:
        if kind is clear:
            events.append(clear(f"c{number}", seq=number + 2, looked=NOW + number % 7))
        elif kind is takedown:
            events += [takedown(f"t{number}", seq=number + 2)] * (number == 40)
        elif kind is impression:
            events.append(impression(f"e{number}", viewer=viewer, slice_id=slice_id))
        else:
            events.append(kind(f"e{number}", "v1", viewer, slice_id, NOW))
    events.append(impression("last"))
    found = asyncio.run(verified(records_of(events), generation_records=generation))
    assert found.differences == 0, found.examples


async def test_it_sees_reports_that_add_up_to_something_else() -> None:
    log = records_of(
        [FIXED, admit(), impression(viewer="u1"), Report("r1", "v1", "u1", FOOTBALL, NOW)]
    )
    world = await world_of(log)
    fields = dict(world.store.partitions[0].rows["v1"])
    own = decode_video(fields["video"])
    assert own.reported is not None
    own.reported.sum += 1
    world.store.partitions[0].rows["v1"] = {**fields, "video": encode_video(own)}
    found = await world.verified()
    (example,) = found.examples
    assert (example.counter, example.stored, example.recounted) == ("sum", 1_000_001, 1_000_000)


async def test_an_unlike_takes_back_its_own_like_and_never_another_viewers() -> None:
    """Alice likes in one slice and again in another one; Bob and Carol like there too."""
    events: list[InteractionRecord] = [
        like("e1", viewer="alice", slice_id=FOOTBALL),
        like("e2", viewer="alice", slice_id=MUSIC),
        like("e3", viewer="bob", slice_id=MUSIC),
        like("e4", viewer="carol", slice_id=MUSIC),
        unlike("e5", viewer="alice", slice_id=MUSIC),
    ]
    offsets = (0, 10, 11, 12, 20)
    log = [interaction_record(*one) for one in zip(events, offsets, strict=True)]
    world = await world_of(log, generation_records=10)
    assert (await world.verified()).differences == 0
    rows = {name: decode_slice(raw) for name, raw in world.rows()[0]["v1"].items() if ":" in name}
    assert {name: row.likes for name, row in rows.items()} == {FOOTBALL: 0, MUSIC: 2}


ROOM_ACTS = st.lists(
    st.tuples(
        st.sampled_from([impression, view, view, like, unlike, Hide, Comment, Report, Stay]),
        st.sampled_from(["u1", "u2", "u3"]),
        st.sampled_from([FOOTBALL, MUSIC, "discover:elsewhere"]),
        st.sampled_from([0, 0, 0, 1, 4, 6, 30]),
    ),
    max_size=50,
)


def room_log(acts: Sequence[tuple[Any, str, str, int]], begins: int = 0) -> list[Logged]:
    """Acts in a live room, admitted before one of them, so many minutes apart: a crowd elsewhere
    moves the clock.
    """
    log, ts = [signed_record(FIXED)], NOW

    def add(event: LogRecord) -> None:
        if isinstance(event, InteractionRecord):
            log.append(interaction_record(event, len(log), ts))
        else:
            log.append(signed_record(event, len(log), ts))

    for at, (kind, viewer, slice_id, minutes) in enumerate(acts):
        if at == begins:
            add(admit(format="live"))
        ts += minutes * 60_000
        for extra in range(31 if minutes or not at else 0):
            add(impression(f"c{at}-{extra}", video="v2", ts=ts))
        if kind in (Hide, Comment, Report, Stay):
            more = {"stay_ms": 60_000} if kind is Stay else {}
            add(kind(f"e{at}", "v1", viewer, slice_id, ts, **more))
        else:
            add(kind(f"e{at}", viewer=viewer, slice_id=slice_id, ts=ts))
    return log


@settings(deadline=None, max_examples=40)
@given(ROOM_ACTS, st.integers(0, 4))
def test_it_agrees_on_what_live_rooms_fade_to(
    acts: list[tuple[Any, str, str, int]], begins: int
) -> None:
    found = asyncio.run(verified(room_log(acts, begins)))
    assert found.differences == 0, found.examples


async def test_it_agrees_on_a_room_that_ended() -> None:
    log = room_log([(view, "u1", FOOTBALL, 6)] * 20)
    ended = [signed_record(end(seq=2), len(log)), signed_record(takedown(seq=3), len(log) + 1)]
    reported = interaction_record(Report("late", "v1", "u1", FOOTBALL, NOW), len(log) + 2)
    assert (await verified([*log, *ended, reported])).differences == 0


async def test_it_agrees_when_the_weights_change_between_a_like_and_its_end() -> None:
    heavier = Weights(*[weight * 2 for weight in vars_of(FIXED.weights)])
    log = records_of(
        [
            FIXED,
            like("e1"),
            view("e2"),
            policy(seq=2, id="p2", version="p2", weights=heavier),
            unlike("e3"),
            view("e4", viewer="u2"),
            policy(seq=1, id="p3", version="p3"),  # stale: not in force
            view("e5", viewer="u3"),
        ]
    )
    assert (await verified(log)).differences == 0


def vars_of(weights: Weights) -> list[int]:
    return [getattr(weights, name) for name in weights.__struct_fields__]


async def test_it_agrees_on_late_events() -> None:
    late = [view("e1", ts=NOW), view("e2", ts=NOW - 3 * HOUR_MS, viewer="u2")]
    assert (await verified(records_of([FIXED, *late]))).differences == 0


async def test_it_agrees_on_a_video_with_every_slice_it_may_have() -> None:
    crowds = {f"discover:g{n}": slice_policy() for n in range(SLICES_PER_VIDEO)}
    log = records_of(
        [
            policy(slices=crowds),
            admit(),
            *[
                impression(f"e{n}", slice_id=f"discover:x{n}", viewer=f"u{n}")
                for n in range(SLICES_PER_VIDEO + 5)
            ],
        ]
    )
    assert (await verified(log)).differences == 0


# ---------------------------------------------------------------- it sees what is wrong


@pytest.mark.parametrize("counter", ["impressions", "views", "likes", "ratio_sum", "ratio_sq"])
@pytest.mark.parametrize("by", [-1, 1])
async def test_it_sees_one_counter_that_is_off_by_one(counter: str, by: int) -> None:
    world = await world_of(records_of([impression("e1"), view("e2"), like("e3")]))
    fields = world.store.partitions[0].rows["v1"]
    row = decode_slice(fields[FOOTBALL])
    setattr(row, counter, getattr(row, counter) + by)
    fields[FOOTBALL] = encode_slice(row)
    found = await world.verified()
    assert found.differences == 1
    (example,) = found.examples
    assert (example.video, example.slice, example.counter) == ("v1", FOOTBALL, counter)
    assert (example.stored or 0) - (example.recounted or 0) == by


async def test_it_sees_that_a_room_faded_to_something_else() -> None:
    world = await world_of(room_log([(view, "u1", FOOTBALL, 0)] * 40 + [(like, "u1", MUSIC, 11)]))
    fields = world.store.partitions[0].rows["v1"]
    row = decode_slice(fields[FOOTBALL])
    assert row.faded is not None
    row.faded[1] += 1
    fields[FOOTBALL] = encode_slice(row)
    found = await world.verified()
    (example,) = found.examples
    assert (example.slice, example.counter) == (FOOTBALL, "faded views")
    assert (example.stored or 0) - (example.recounted or 0) == 1


async def test_it_sees_a_video_that_was_never_stored() -> None:
    world = await world_of(records_of([impression("e1"), impression("e2", video="v2")]))
    del world.store.partitions[0].rows["v2"]
    assert {one.video for one in (await world.verified()).examples} == {"v2"}


async def test_it_sees_a_video_that_nobody_talked_about() -> None:
    world = await world_of(records_of([impression("e1")]))
    rows = world.store.partitions[0].rows
    rows["v9"] = dict(rows["v1"])
    assert {one.video for one in (await world.verified()).examples} == {"v9"}


async def test_it_does_not_take_nothing_for_everything() -> None:
    world = await world_of(records_of([impression("e1")]))
    await world.store.erase(0)
    with pytest.raises(Halt):
        await world.verified()


async def test_it_compares_up_to_the_watermark_and_no_further() -> None:
    world = await world_of(records_of([impression("e1")]))
    world.put([interaction_record(impression("e2"), 1)])
    found = await world.verified()
    assert (found.differences, found.records) == (0, 1)


async def test_it_refuses_a_log_whose_beginning_is_gone() -> None:
    world = await world_of(synthetic_log(events=200))
    world.log.forget(LOG, 0, 3)
    found = await world.verified()
    assert "log begins at 3" in found.unproved[0]
    assert (found.partitions, found.checked) == (0, 0)


async def test_it_refuses_a_log_that_ends_below_the_watermark() -> None:
    world = await world_of(synthetic_log(events=200))
    world.store.partitions[0].watermark += 50
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Halt):
            await world.verified()


async def test_it_refuses_counters_of_another_namespace() -> None:
    world = await world_of([signed_record(FIXED)])
    world.store.partitions[0].namespace = "other"
    with pytest.raises(Halt) as halted:
        await world.verified()
    assert halted.value.code == "namespace"

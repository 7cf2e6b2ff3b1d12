"""What a creator is told, and what never, on the twins."""

import pytest
from kit.events import (
    FANS,
    FIXED,
    FOOTBALL,
    MUSIC,
    NOW,
    admit,
    end,
    hold,
    impression,
    like,
    revise,
    takedown,
    videos_of,
    view,
)
from kit.folding import Folding, placed

from streams.core.counters import ACTIVE, STOPPED, encode_slice
from streams.core.events import Hide, LogRecord
from streams.errors import Halt
from streams.ops.creator import CROWD_LEAST, OTHERS_LEAST, VideoFacts, creator_facts
from streams.ops.creator_text import as_fields, help_for, in_words
from streams.runtime.memory import MemoryStore

PARTITIONS = 2
OWN, *OTHERS = videos_of(0, PARTITIONS, 9)
SECOND = videos_of(1, PARTITIONS, 1)[0]


def seen(
    video: str, slice_id: str, viewers: int, watch_ms: int = 5_000, likes: int = 0, hides: int = 0
) -> list[LogRecord]:
    """Return so many viewers, each of whom watched so much of ten seconds."""
    names = [f"{video}{slice_id[-3:]}{n}" for n in range(viewers)]
    where = {"video": video, "slice_id": slice_id}
    return [
        *(impression(f"i{n}", viewer=n, **where) for n in names),
        *(view(f"w{n}", viewer=n, watch_ms=watch_ms, **where) for n in names),
        *(like(f"l{n}", viewer=n, **where) for n in names[:likes]),
        *(Hide(f"h{n}", video, n, slice_id, NOW) for n in names[:hides]),
    ]


def others(watch_ms: int = 5_000, count: int = OTHERS_LEAST, likes: int = 2) -> list[LogRecord]:
    """Return videos of so many other creators, seen by the football crowd."""
    return [
        event
        for n, video in enumerate(OTHERS[:count])
        for event in (
            admit(f"a-{video}", video=video, creator=f"other-{n}"),
            *seen(video, FOOTBALL, 20, watch_ms, likes),
        )
    ]


def folded(*events: LogRecord, partition: int = 0) -> Folding:
    return Folding(partition=partition, partitions=PARTITIONS).fold(placed([FIXED, *events]))


async def facts(*events: LogRecord, second: list[LogRecord] | None = None) -> list[VideoFacts]:
    """Return what creator `me` is told; `second` are events of another partition."""
    store = MemoryStore()
    for partition, some in enumerate((list(events), second or [])):
        changes = folded(*some, partition=partition).state.take_changes()
        await store.flush(partition, "ns", -1, 10, changes)
    return await creator_facts(store, "ns", PARTITIONS, "me")


def mine(video: str = OWN, **more: object) -> LogRecord:
    named: dict[str, object] = {"creator": "me", "band": 1, "guarantee": 60}
    return admit(f"a-{video}", video=video, **(named | more))  # type: ignore[arg-type]


def text(told: list[VideoFacts]) -> str:
    return "\n\n".join(in_words("me", told))


async def test_a_creator_reads_when_it_was_approved_and_what_was_guaranteed() -> None:
    told = await facts(mine(), *seen(OWN, FOOTBALL, 12), *seen(OWN, MUSIC, 5))
    (only,) = told
    assert (only.approved, only.guaranteed, only.shown) == (NOW, 60, 17)
    assert only.until == NOW + FIXED.guarantee_ms
    assert "Creator me: 1 approved video." in text(told)
    assert "17 of 60 guaranteed public impressions given, until 2023-11-15 22:13 UTC." in text(told)


async def test_a_guarantee_that_is_given_has_no_end_and_is_not_exceeded() -> None:
    told = await facts(mine(guarantee=10), *seen(OWN, FOOTBALL, 12))
    assert "10 of 10 guaranteed public impressions given." in text(told)


async def test_each_crowd_stands_beside_what_is_usual_there() -> None:
    told = await facts(mine(), *others(), *seen(OWN, FOOTBALL, 20, 8_000, likes=1))
    (crowd,) = told[0].crowds
    assert crowd.usual is not None
    assert (crowd.taste.watched, crowd.usual.watched) == (800_000, 500_000)
    line = "football (discover): they watch 80 % of it (usual there: 50 %), 5.0 of 100 respond "
    assert line + "(usual: 10.0). It is shown there." in text(told)


async def test_a_crowd_below_ten_viewers_is_never_told_of() -> None:
    for viewers in range(1, CROWD_LEAST):
        told = await facts(mine(), *others(), *seen(OWN, FOOTBALL, viewers, 8_000))
        assert (told[0].crowds, told[0].hidden) == ((), 1)
        assert "football" not in text(told)
        assert "Crowds that are too small to tell of: 1." in text(told)


async def test_what_is_usual_is_told_only_where_several_others_make_it() -> None:
    told = await facts(mine(), *others(count=OTHERS_LEAST - 1), *seen(OWN, FOOTBALL, 20))
    assert told[0].crowds[0].usual is None
    assert "usual" not in text(told)
    assert help_for(told[0]) is None


async def test_ones_own_videos_make_nothing_usual() -> None:
    several = [e for name in OTHERS[-3:] for e in (mine(name), *seen(name, FOOTBALL, 20))]
    nearly = others(count=OTHERS_LEAST - 1)
    told = await facts(mine(), *several, *nearly, *seen(OWN, FOOTBALL, 20))
    assert len(told) == 4
    assert all(crowd.usual is None for each in told for crowd in each.crowds)


async def test_no_other_creator_no_viewer_and_no_price_is_told_of() -> None:
    told = await facts(mine(), *others(), *seen(OWN, FOOTBALL, 20), *seen(OWN, FANS, 15))
    spoken = text(told) + repr(as_fields("me", told))
    assert not any(name in spoken for name in ("other-", *OTHERS, f"{OWN}all0", "price", "score"))


async def test_followers_reached_stand_beside_those_of_ones_other_videos() -> None:
    there = [mine(SECOND), *seen(SECOND, FANS, 30)]
    told = await facts(mine(), *seen(OWN, FANS, 12), second=there)
    assert [(each.fans, each.fans_usual) for each in sorted(told, key=lambda f: f.fans or 0)] == [
        (12, 30),
        (30, 12),
    ]
    assert "Followers were shown it 12 times; your other videos 30 times." in text(told)


async def test_few_followers_are_not_counted_out() -> None:
    told = await facts(mine(), *seen(OWN, FANS, CROWD_LEAST - 1))
    assert told[0].fans is None
    assert "Too few followers were shown it to tell more." in text(told)


@pytest.mark.parametrize(
    ("watch_ms", "likes", "hides", "most"),
    [
        (4_000, 20, 0, "beginning"),
        (5_000, 2, 5, "title"),
        (5_000, 0, 0, "respond"),
        (9_000, 9, 0, ""),
    ],
)
async def test_what_would_help_most_is_what_lies_furthest_below_the_usual(
    watch_ms: int, likes: int, hides: int, most: str
) -> None:
    told = await facts(mine(), *others(), *seen(OWN, FOOTBALL, 20, watch_ms, likes, hides))
    assert help_for(told[0]) == most
    assert "What would help: " in text(told)


@pytest.mark.parametrize(
    ("status", "cause", "returns", "words"),
    [
        (ACTIVE, 0, 0, "It is shown there."),
        (ACTIVE, 0, 1, "It is back there: it had stopped, and has turned out better since."),
        (STOPPED, 1, 0, "It is not shown there now: this crowd likes other videos more."),
        (STOPPED, 2, 0, "Everyone there has seen it."),
        (STOPPED, 3, 0, "It has had all the public impressions that one video can have."),
    ],
)
async def test_why_it_stopped_or_is_back_is_told(
    status: int, cause: int, returns: int, words: str
) -> None:
    folding = folded(mine(), *seen(OWN, FOOTBALL, 20))
    row = folding.state.videos[OWN].slices[FOOTBALL]
    row.status, row.cause, row.returns = status, cause, returns
    changes = folding.state.take_changes()
    changes.rows[OWN][FOOTBALL] = encode_slice(row)
    store = MemoryStore()
    await store.flush(0, "ns", -1, 10, changes)
    assert words in text(await creator_facts(store, "ns", PARTITIONS, "me"))


async def test_what_moderation_did_is_told() -> None:
    paused = await facts(mine(), *seen(OWN, FOOTBALL, 20), hold(video=OWN))
    assert "paused by moderation" in text(paused)
    assert "Moderation pauses it." in text(paused)
    gone = await facts(mine(), *seen(OWN, FOOTBALL, 20), takedown(video=OWN))
    assert "removed by moderation" in text(gone)
    assert "Moderation ended it there." in text(gone)
    private = await facts(mine(limited=True), *seen(OWN, FANS, 20))
    assert "followers only" in text(private)
    assert "No public impressions were guaranteed." in text(private)


async def test_a_live_room_that_is_over_was_ended_by_nobody() -> None:
    room = mine(format="live")
    assert "a live room, public." in text(await facts(room, *seen(OWN, FOOTBALL, 20)))
    over = text(await facts(room, *seen(OWN, FOOTBALL, 20), end(video=OWN)))
    assert "a live room, over." in over
    assert "20 of 60 guaranteed public impressions given." in over
    assert "The room is over." in over
    assert "oderation" not in over


async def test_a_creator_without_a_video_is_named() -> None:
    with pytest.raises(Halt, match="no video of creator me"):
        await facts(*others())


async def test_who_is_above_the_ceiling_reads_so_and_no_number_of_it() -> None:
    lowered = revise("h1", video=OWN, handicap=23_456, note="its creator has 7.31 % of the day")
    told = await facts(mine(), lowered, *seen(OWN, FOOTBALL, 12))
    assert "a larger part of what the public is shown in a day than one creator shall" in text(told)
    assert "Your followers are shown them as before" in text(told)
    whole = text(told) + str(as_fields("me", told))
    assert not any(number in whole for number in ("23456", "23_456", "0.023", "7.31", "23,456"))
    assert "larger part" not in text(await facts(mine()))

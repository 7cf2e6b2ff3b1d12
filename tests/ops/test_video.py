"""What is counted of one video, by name, and which crowds are open to it."""

import pytest
from kit.events import FIXED, FOOTBALL, MUSIC, admit, impression, policy, view
from kit.folding import Folding, placed

from streams.core.counters import Trial, VideoState
from streams.core.events import LogRecord
from streams.core.outlook import Outlook
from streams.core.partitioner import partition_of
from streams.errors import Halt
from streams.ops.video import (
    ROW_FIELDS,
    counted_video,
    in_short,
    open_crowds,
    outlook_in_force,
    slice_tables,
)
from streams.runtime.memory import MemoryStore

PARTITION = partition_of(b"v1", 8)


def watched(slice_id: str, count: int, watch_ms: int) -> list[LogRecord]:
    return [
        event
        for n in range(count)
        for event in (
            impression(f"i{n}", viewer=f"u{n}", slice_id=slice_id),
            view(f"w{n}", viewer=f"u{n}", slice_id=slice_id, watch_ms=watch_ms),
        )
    ]


def folded(*events: LogRecord) -> Folding:
    return Folding(partition=PARTITION, partitions=8).fold(placed([FIXED, *events]))


def video_of(folding: Folding) -> VideoState:
    return folding.state.videos["v1"]


async def stored(folding: Folding) -> MemoryStore:
    store = MemoryStore()
    await store.flush(PARTITION, "ns", -1, 10, folding.state.take_changes())
    return store


async def test_counters_have_names_in_each_slice() -> None:
    store = await stored(folded(admit(guarantee=30), *watched(FOOTBALL, 4, 9_000)))
    counted = await counted_video(store, "ns", "v1", 8)
    assert {name: counted[name] for name in ("partition", "policy", "stage", "guarantee")} == {
        "partition": PARTITION,
        "policy": "fixed-1",
        "stage": "public",
        "guarantee": 30,
    }
    football = counted["slices"][FOOTBALL]
    assert {name: football[name] for name in ("impressions", "views", "status", "allowance")} == {
        "impressions": 4,
        "views": 4,
        "status": "active",
        "allowance": 20,
    }
    assert FOOTBALL in [crowd["slice"] for crowd in counted["open"]]


async def test_a_checkpoint_that_never_comes_is_none() -> None:
    store = await stored(folded(admit(), *watched(FOOTBALL, 30, 100)))
    football = (await counted_video(store, "ns", "v1", 8))["slices"][FOOTBALL]
    assert (football["status"], football["check_views"]) == ("stopped", None)


async def test_before_any_policy_nothing_is_open() -> None:
    store = await stored(Folding(partition=PARTITION, partitions=8).fold(placed([view("e1")])))
    assert await outlook_in_force(store, "ns", PARTITION, 8) is None
    counted = await counted_video(store, "ns", "v1", 8)
    assert (counted["policy"], counted["open"]) == (None, [])


async def test_a_video_nobody_saw_is_told_with_its_partition() -> None:
    with pytest.raises(Halt, match=f"video v1 in partition {PARTITION} of 8"):
        await counted_video(MemoryStore(), "ns", "v1", 8)


def test_open_crowds_are_listed_by_score_stored_or_not() -> None:
    video = video_of(folded(admit(), *watched(FOOTBALL, 6, 9_500)))
    opened = open_crowds(Outlook(FIXED), video)
    assert {crowd.slice: crowd.stored for crowd in opened} == {
        name: name == FOOTBALL for name in FIXED.slices if name.startswith("discover:")
    }
    assert [crowd.score for crowd in opened] == sorted(
        (each.score for each in opened), reverse=True
    )
    for crowd in opened:
        assert crowd.net == crowd.score - crowd.price
        assert crowd.left == crowd.allowance - crowd.impressions
        assert crowd.status == ("active" if crowd.stored else "idle")
    football = next(crowd for crowd in opened if crowd.slice == FOOTBALL)
    assert (football.allowance, football.impressions, football.left) == (20, 6, 14)


def test_a_crowd_that_stopped_is_not_open() -> None:
    video = video_of(folded(admit(), *watched(MUSIC, 30, 100)))
    assert MUSIC not in [crowd.slice for crowd in open_crowds(Outlook(FIXED), video)]


def test_what_chance_drew_is_owed_there() -> None:
    video = video_of(folded(admit(guarantee=30)))
    owed = {crowd.slice: crowd.owed for crowd in open_crowds(Outlook(FIXED), video)}
    drawn = min(owed, key=lambda name: owed[name])
    video.row.trials[drawn] = Trial(20, 350_000)
    after = {crowd.slice: crowd.owed for crowd in open_crowds(Outlook(FIXED), video)}
    assert after == owed | {drawn: 20}


def test_what_is_owed_of_the_guarantee_stands_with_the_best_predicted_crowds() -> None:
    best = Outlook(FIXED).prospects(video_of(folded(admit())).row)
    owed = {best[0].slice: 10, best[1].slice: 10, best[2].slice: 10}
    opened = open_crowds(Outlook(FIXED), video_of(folded(admit(guarantee=30))))
    assert {crowd.slice: crowd.owed for crowd in opened if crowd.owed} == owed


def test_another_price_moves_net_but_no_score() -> None:
    video = video_of(folded(admit(), *watched(FOOTBALL, 6, 9_500)))
    cheaper = Outlook(policy(terms={}))
    plain = {crowd.slice: crowd for crowd in open_crowds(Outlook(FIXED), video)}
    for crowd in open_crowds(cheaper, video):
        assert crowd.score == plain[crowd.slice].score


def test_tables_hold_no_more_slices_than_fit_a_terminal() -> None:
    row = dict.fromkeys(ROW_FIELDS, 1_234_567) | {"status": "active", "check_views": None}
    tables = list(slice_tables({f"discover:s{n}": row for n in range(7)}))
    assert [len(heads) for heads, _ in tables] == [6, 3]
    cells = {str(name): first for name, first, *_ in tables[0][1]}
    assert (cells["views"], cells["ratio sum"], cells["check views"]) == (
        "1,234,567",
        "1.234567",
        "-",
    )


def test_fits_are_told_in_decimals_and_only_where_there_are_some() -> None:
    fits = {"b": 500_000, "a": 250_000, "c": 0}
    short = in_short({"video": "v1", "fits": fits, "slices": {}, "open": []})
    assert (short["fits"], short["reported"]) == ("a 0.25, b 0.5", None)
    reported = {"sum": 1_500_000, "reporters": 2}
    short = in_short({"video": "v1", "fits": {}, "reported": reported})
    assert short["reported"] == "sum 1,500,000, reporters 2"


def test_of_a_live_room_is_told_what_its_evidence_faded_to() -> None:
    room = {"video": "v1", "fits": {}, "format": "live", "halved": 5_666_666}
    assert in_short(room)["faded_to"] == "2023-11-14T22:10:00.000Z"
    assert in_short(room | {"halved": 0}).keys() & {"halved", "faded_to"} == set()


def test_what_chance_drew_moments_and_a_verdict_are_told_in_words() -> None:
    told = in_short(
        {
            "video": "v1",
            "fits": {},
            "admitted": 1_700_000_000_000,
            "promised": 0,
            "trials": {"discover:cars": Trial(upto=1_020, hoped=391_248)},
            "verdict": {"verdict": "limit", "by": "ada", "note": "a\x1bjoke"},
        }
    )
    assert told["trials"] == "discover:cars up to 1,020 impressions, 0.391248 expected"
    assert (told["admitted"], told["promised"]) == ("2023-11-14T22:13:20.000Z", None)
    assert told["verdict"] == "limit by ada: a\\u001bjoke"
    assert (
        in_short({"fits": {}, "verdict": {"verdict": "limit", "by": "ada", "note": ""}})["verdict"]
        == "limit by ada"
    )


def test_a_handicap_is_told_in_decimals_while_there_is_one() -> None:
    lowered = {"video": "v1", "fits": {}, "handicap": 20_000, "handicapped": 1_700_000_000_000}
    assert in_short(lowered)["handicap"] == "0.02 since 2023-11-14T22:13:20.000Z"
    assert in_short(lowered | {"handicap": 0}).keys() & {"handicap", "handicapped"} == set()

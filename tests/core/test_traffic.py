"""What a minute of traffic holds, and how it is spelled."""

import json

import pytest
from kit.events import FOOTBALL, WEIGHTS, impression, like, unlike, view
from kit.folding import folded, placed
from kit.rows import value_of

from streams.core.ticks import read_stored
from streams.core.traffic import GAP_MICROS, GAPS, ClassSums, Tick, decode, encode, note_served


def test_a_record_names_what_it_counts_and_leaves_out_what_is_nothing() -> None:
    tick = Tick("3.7", 3, 7, (ClassSums(FOOTBALL, "2c", impressions=4, via={"rank": 1}),))
    assert json.loads(encode(tick)) == {
        "type": "traffic",
        "id": "3.7",
        "partition": 3,
        "tick": 7,
        "sums": [{"slice": FOOTBALL, "kind": "2c", "impressions": 4, "via": {"rank": 1}}],
    }
    assert decode(encode(tick)) == tick


def test_its_bytes_do_not_depend_on_what_came_first() -> None:
    spelled = [
        encode(Tick("0.1", 0, 1, (ClassSums(FOOTBALL, "0", via=via),)))
        for via in ({"rank": 1, "fresh": 2}, {"fresh": 2, "rank": 1})
    ]
    assert spelled[0] == spelled[1]


def test_sums_add_up_field_by_field() -> None:
    both = ClassSums(FOOTBALL, "0", impressions=2, via={"rank": 2})
    both.add(ClassSums(FOOTBALL, "0", impressions=3, likes=-1, via={"rank": 1, "bid": 1}))
    assert (both.impressions, both.likes, both.via) == (5, -1, {"rank": 3, "bid": 1})
    assert both.gaps == []


def test_a_minute_is_worth_what_the_row_of_the_same_feedback_is() -> None:
    done = folded([view("e1", watch_ms=9_900), view("e2", viewer="u2"), like("e3"), unlike("e4")])
    done.fold(placed([like("e5", viewer="u2")], 10))
    (sums,) = read_stored(done.flush().meta.traffic).sums
    assert value_of(sums, WEIGHTS) == value_of(done.row(FOOTBALL), WEIGHTS) > 0


def test_buckets_add_up_place_by_place() -> None:
    both, ones = ClassSums(FOOTBALL, "0"), [1] * GAPS
    for gaps in (ones, [], ones):
        both.add(ClassSums(FOOTBALL, "0", gaps=gaps))
    assert both.gaps == [2] * GAPS
    assert ones == [1] * GAPS


@pytest.mark.parametrize(
    ("above", "bucket"),
    [
        (-10 * GAP_MICROS, 0),
        (-3 * GAP_MICROS - 1, 0),
        (-3 * GAP_MICROS, 1),
        (-1, 3),
        (0, 4),
        (GAP_MICROS - 1, 4),
        (GAP_MICROS, 5),
        (11 * GAP_MICROS - 1, 14),
        (11 * GAP_MICROS, 15),
        (10**12, 15),
    ],
)
def test_a_bucket_begins_where_the_one_before_ends(above: int, bucket: int) -> None:
    sums = ClassSums(FOOTBALL, "0")
    note_served(sums, impression(score=330_000 + above), price=330_000, tick=0)
    assert sums.gaps.index(1) == bucket
    assert sum(sums.gaps) == 1

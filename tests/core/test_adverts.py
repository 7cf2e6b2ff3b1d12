import dataclasses
from math import log2, sqrt
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kit.events import (
    BASKETBALL,
    COOKING,
    FIXED,
    FOOTBALL,
    MUSIC,
    NOW,
    admit,
    impression,
    policy,
    slice_policy,
    view,
)
from kit.folding import Folding, placed
from kit.rows import honest
from msgspec.structs import replace

from streams.core.adverts import (
    FACTOR_LEAST,
    FACTOR_MOST,
    RANK_MOST,
    advert_worth,
    bid_factor,
    rank_move,
    without_orders,
)
from streams.core.counters import EVIDENCE, Slice, Video, VideoState
from streams.core.events import LogRecord, Order
from streams.core.posterior import solve, sum_factors
from streams.core.rule import estimate_in
from streams.core.serving import STEP, Entry
from streams.core.units import MICROS

PUBLIC = (FOOTBALL, BASKETBALL, COOKING, MUSIC)
FREE = policy(terms={})
"""A policy under which adverts pay what everybody pays."""


def advert(slices: dict[str, Slice]) -> VideoState:
    video = VideoState()
    video.row = Video(stage="public", commercial=True, admitted=NOW)
    video.slices = slices
    return video


def liked(views: int, likes: int, **more: int) -> Slice:
    watched = {"ratio_sum": views * 500_000, "ratio_sq": views * 300_000}
    return honest(views=views, likes=likes, **watched, **more)


def order(number: int, slice_id: str = FOOTBALL) -> Order:
    viewer = f"u-i-{slice_id.replace(':', '_')}-{number}"
    return Order(f"o-{slice_id[-3:]}-{number}", "v1", viewer, slice_id, NOW, 9_900)


def seen(count: int, watch_ms: int, slice_id: str = FOOTBALL) -> list[LogRecord]:
    name = slice_id.replace(":", "_")
    return [
        event
        for number in range(count)
        for event in (
            impression(f"i-{name}-{number}", slice_id=slice_id),
            view(f"w-{name}-{number}", slice_id=slice_id, watch_ms=watch_ms),
        )
    ]


class Told:
    """A folded log, and the latest entries that feeds know."""

    def __init__(self, *events: LogRecord) -> None:
        self.done = Folding()
        self.known: dict[str, Entry] = {}
        self.latest: set[str] = set()
        self.fold(*events)

    def fold(self, *events: LogRecord) -> "Told":
        self.done.fold(placed(events, self.done.offset + 1)).flush()
        self.latest = set(self.done.entries)
        for name, (entry,) in self.done.entries.items():
            self.known[name] = entry
        return self


# ---------------------------------------------------------------- what q is made of


def test_an_advert_as_good_as_the_organic_traffic_counts_once() -> None:
    before = advert_worth(FIXED, advert({}), PUBLIC)
    assert {each.factor for each in before.values()} == {MICROS}
    higher = policy(organic={FOOTBALL: 420_000})
    worth = advert_worth(higher, advert({}), [FOOTBALL])[FOOTBALL]
    assert (worth.mean, worth.usual) == (350_000, 420_000)
    assert worth.factor < MICROS


def test_q_is_one_and_half_the_deviation_in_standard_deviations_of_true_means() -> None:
    spec = slice_policy(loadings=(110_000, 20_000, 0))
    spread = sqrt(spec.own_variance * MICROS + 110_000**2 + 20_000**2)
    for above in range(-400_000, 400_001, 12_345):
        wanted = min(max(1 + above / spread / 2, 0.5), 2)
        assert bid_factor(above, spec) / MICROS == pytest.approx(wanted, abs=5e-6)


@given(st.integers(-(1 << 60), 1 << 60), st.integers(1, (1 << 40) - 1))
def test_q_lies_between_a_half_and_two_and_moves_a_rank_by_a_bounded_value(
    above: int, variance: int
) -> None:
    factor = bid_factor(above, replace(slice_policy(), own_variance=variance))
    assert FACTOR_LEAST <= factor <= FACTOR_MOST
    assert abs(rank_move(factor)) <= RANK_MOST == 50_000
    assert rank_move(factor) == pytest.approx(RANK_MOST * log2(factor / MICROS), abs=2)


def test_an_advert_is_worth_what_the_posterior_says_of_it() -> None:
    video = advert({FOOTBALL: liked(200, 30), COOKING: liked(50, 0)})
    tastes = solve(sum_factors(FIXED, video))
    for name, worth in advert_worth(FIXED, video, PUBLIC).items():
        assert worth.mean == estimate_in(FIXED, video, name, tastes).mean


# ---------------------------------------------------------------- orders


buttons = st.integers(0, 40)
rows = st.builds(
    liked,
    st.integers(1, 400),
    likes=buttons,
    comments=buttons,
    shares=buttons,
    hides=buttons,
)


@given(st.dictionaries(st.sampled_from(PUBLIC), rows), st.lists(st.integers(0, 400), max_size=9))
def test_an_advert_can_not_buy_itself_by_orders(
    slices: dict[str, Slice], bought: list[int]
) -> None:
    sold = {
        name: dataclasses.replace(row, orders=count, buyers=count, order_amount=100 * count)
        for (name, row), count in zip(slices.items(), bought * 9, strict=False)
    }
    assert advert_worth(FIXED, advert({**slices, **sold}), PUBLIC) == advert_worth(
        FIXED, advert(slices), PUBLIC
    )


def test_orders_raise_the_score_and_widen_as_everybody_s_do_and_leave_q_where_it_is() -> None:
    ad = admit(commercial=True)
    shown = seen(19, 6_000)
    plain = Told(FREE, ad, *shown, view("last", slice_id=FOOTBALL, watch_ms=6_000))
    bought = Told(FREE, ad, *shown, *(order(number) for number in range(15)))
    bought.fold(view("last", slice_id=FOOTBALL, watch_ms=6_000))
    both = (plain.done.video(), bought.done.video())
    scores = [
        estimate_in(FREE, each, FOOTBALL, solve(sum_factors(FREE, each))).score for each in both
    ]
    assert scores[1] > scores[0] + 100_000
    factors = [advert_worth(FREE, each, [FOOTBALL])[FOOTBALL].factor for each in both]
    assert factors[1] == factors[0]
    assert {entry.factor for entry in bought.known.values()} != {MICROS}


def test_nothing_of_a_video_changes_by_looking_at_it_without_its_orders() -> None:
    video = advert({FOOTBALL: liked(200, 30, orders=20), COOKING: liked(50, 0)})
    before = sum_factors(FIXED, video)
    advert_worth(FIXED, video, PUBLIC)
    assert without_orders(video) is not video
    assert video.slices[FOOTBALL].buyers == 20
    assert sum_factors(FIXED, video) == before
    assert without_orders(advert({COOKING: liked(50, 0)})).slices[COOKING].views == 50


def test_no_other_evidence_is_left_out() -> None:
    row = liked(200, 30, comments=9, orders=20)
    bare = without_orders(advert({FOOTBALL: row})).slices[FOOTBALL]
    kept = [name for name in EVIDENCE if getattr(bare, name) == getattr(row, name)]
    assert set(EVIDENCE) - set(kept) == {"buyers"}


# ---------------------------------------------------------------- what feeds are told


def test_organic_videos_are_told_as_ever_and_count_once() -> None:
    told = Told(FREE, admit(), *seen(30, 9_000))
    assert {entry.factor for entry in told.known.values()} == {MICROS}
    row = told.known[FOOTBALL]
    video = told.done.video()
    tastes = solve(sum_factors(FREE, video))
    assert row.score == pytest.approx(estimate_in(FREE, video, FOOTBALL, tastes).score, abs=STEP)


@pytest.mark.parametrize(("watch_ms", "rises"), [(9_500, True), (3_200, False)])
def test_q_moves_the_score_of_an_advert_and_nothing_else_does(watch_ms: int, rises: bool) -> None:
    told = Told(policy(terms={}, stop_viewers=100), admit(commercial=True), *seen(70, watch_ms))
    video = told.done.video()
    tastes = solve(sum_factors(FREE, video))
    for name, entry in told.known.items():
        assert entry.score is not None
        index = estimate_in(FREE, video, name, tastes).score
        assert entry.score == pytest.approx(index + rank_move(entry.factor), abs=STEP)
    assert (told.known[FOOTBALL].factor > MICROS) == rises


def test_q_is_told_with_the_judgement_that_changes_it_and_stands_until_the_next() -> None:
    told = Told(FREE, admit(commercial=True)).fold(*seen(9, 9_500))
    assert told.known[FOOTBALL].factor == MICROS
    told.fold(view("tenth", slice_id=FOOTBALL, watch_ms=9_500))
    judged = told.known[FOOTBALL].factor
    assert judged > MICROS
    told.fold(impression("next"))
    assert told.latest == {FOOTBALL}
    assert told.known[FOOTBALL].factor == judged


def test_a_forgotten_advert_is_told_with_what_its_rows_make_of_q() -> None:
    told = Told(FREE, admit(commercial=True), *seen(70, 9_500))
    told.done.evict()
    told.fold(impression("again"))
    worth = advert_worth(FREE, told.done.video(), [FOOTBALL])
    assert told.known[FOOTBALL].factor == worth[FOOTBALL].factor


def test_a_policy_that_knows_the_organic_traffic_better_moves_q() -> None:
    told = Told(FREE, admit(commercial=True), *seen(70, 9_500))
    before = told.known[FOOTBALL].factor
    richer = replace(FREE, seq=2, organic={FOOTBALL: 500_000})
    told.fold(richer, *[impression(f"more-{n}") for n in range(2)])
    assert told.known[FOOTBALL].factor < before


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(PUBLIC), st.integers(100, 9_900)), max_size=8))
def test_adverts_are_widened_and_stopped_as_everybody_is(crowds: list[tuple[str, int]]) -> None:
    receipts = []
    for commercial in (False, True):
        events: list[LogRecord] = [FREE, admit(commercial=commercial)]
        for number, (name, watch_ms) in enumerate(crowds):
            events += [
                replace_ids(event, f"{number}-") for event in seen(9, watch_ms, slice_id=name)
            ]
        told = Folding().fold(placed(events)).receipts
        receipts.append([replace(each, commercial=False) for each in told])
    assert receipts[0] == receipts[1]


def replace_ids(event: Any, prefix: str) -> Any:
    return msgspec.structs.replace(event, id=prefix + event.id, viewer=prefix + event.viewer)

import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import BASKETBALL, COOKING, FANS, FIXED, FOOTBALL, MUSIC, SHENYANG, WEIGHTS, policy
from kit.rows import honest

from streams.core.counters import ACTIVE, HELD, IDLE, STOPPED, Slice, Trial, Video, VideoState
from streams.core.events import Policy
from streams.core.outlook import Outlook
from streams.core.rule import (
    Assessment,
    Ruling,
    allowance_of,
    assess,
    is_decidable,
    look_again,
    open_slices,
    rule,
    set_checkpoints,
)
from streams.core.units import MICROS, NEVER

SPEC = FIXED.slices[FOOTBALL]
STOP = Ruling("stop", "index_below_price", 0)
WELL_KNOWN = Video(stage="public", band=5, fits={FANS: MICROS, SHENYANG: 100_000})


def row(views: int, value: int, impressions: int, **changes: int) -> Slice:
    """An active row at its first tranche of 20, each view worth about `value`."""
    watch, liked = (value, 0) if value <= 600_000 else (value - 500_000, views)
    ratio = max(watch, 0) * MICROS // WEIGHTS.watch
    start = honest(
        impressions=impressions,
        views=views,
        ratio_sum=views * ratio,
        ratio_sq=views * (ratio * ratio // MICROS),
        likes=liked,
        hides=views if value < 0 else 0,
        status=ACTIVE,
        allowance=max(20, changes.pop("allowance", 20)),
        tranche=20,
    )
    return dataclasses.replace(start, **changes)


def state(video: Video = WELL_KNOWN, **rows: Slice) -> VideoState:
    state = VideoState()
    state.row = video
    state.slices.update({f"discover:{group}": seen for group, seen in rows.items()})
    return state


def assessed(
    seen: Slice, slice_id: str = FOOTBALL, in_force: Policy = FIXED, video: Video = WELL_KNOWN
) -> Assessment:
    return assess(Outlook(in_force), one_row(seen, slice_id, video), slice_id, seen)


def one_row(seen: Slice, slice_id: str, video: Video) -> VideoState:
    alone = state(video)
    alone.slices[slice_id] = seen
    return alone


def ruled(
    seen: Slice, slice_id: str = FOOTBALL, in_force: Policy = FIXED, video: Video = WELL_KNOWN
) -> Ruling | None:
    return rule(in_force, slice_id, video, seen, assessed(seen, slice_id, in_force, video))


def changed(**numbers: Any) -> Policy:
    """The fixed policy, football's numbers changed."""
    return policy(slices={FOOTBALL: msgspec.structs.replace(SPEC, **numbers)})


# ---------------------------------------------------------------- stop, widen, keep


def test_a_slice_stops_when_its_index_is_below_the_price() -> None:
    assert ruled(row(200, 100_000, 400)) == STOP


def test_the_index_decides_the_stop_and_not_the_mean() -> None:
    doubtful = row(10, 250_000, 12)
    seen = assessed(doubtful)
    assert seen.estimate.mean < seen.price < seen.estimate.score
    assert ruled(doubtful) is None


def test_a_bad_slice_stops_sooner_the_shorter_learning_pays() -> None:
    doubtful = row(12, 260_000, 15)
    assert ruled(doubtful) is None
    assert ruled(doubtful, in_force=changed(horizon=1)) == STOP


@given(st.integers(0, 2_000), st.integers(-1_000_000, 1_000_000), st.integers(0, 10_000))
def test_evidence_never_stops_followers_delivery(views: int, value: int, impressions: int) -> None:
    ruling = ruled(row(views, value, impressions, allowance=400), FANS)
    assert ruling is None or ruling.action in {"widen", "keep"}


def test_too_few_different_viewers_stop_nothing() -> None:
    guarded = policy(stop_viewers=15)
    assert ruled(row(15, 0, 16, viewers=(1 << 14) - 1), in_force=guarded) is None
    assert ruled(row(15, 0, 16, viewers=(1 << 15) - 1), in_force=guarded) == STOP


def test_a_slice_widens_when_its_mean_beats_the_price_for_sure() -> None:
    assert ruled(row(10, 700_000, 10)) == Ruling("widen", "mean_beats_price", 60)


def test_it_widens_only_after_its_share_of_the_tranche_was_shown() -> None:
    assert ruled(row(10, 700_000, 9)) is None
    assert ruled(row(10, 700_000, 9), in_force=policy(widen_used=450_000)) is not None


def test_it_widens_only_above_the_bar() -> None:
    seen = row(10, 700_000, 10)
    z = assessed(seen).z
    assert ruled(seen, in_force=policy(widen_z=z)) == Ruling("widen", "mean_beats_price", 60)
    assert ruled(seen, in_force=policy(widen_z=z + 1)) is None


def test_it_widens_no_further_than_the_top_stage() -> None:
    top = row(16, 700_000, 16, stage=FIXED.top_stage)
    assert ruled(top) == Ruling("keep", "allowance_nearly_used", 20 * 3**3)


@given(
    st.sampled_from([FOOTBALL, FANS]),
    st.fixed_dictionaries(
        {
            "impressions": st.integers(0, 120),
            "granted_views": st.integers(0, 60),
            "allowance": st.integers(20, 120),
            "stage": st.integers(0, 6),
            "viewers": st.integers(0, 40).map(lambda count: (1 << count) - 1),
        }
    ),
    st.booleans(),
    st.integers(60, 400),
    st.sampled_from([-2 * MICROS, 2 * MICROS]),
)
def test_where_nothing_can_be_decided_no_evidence_asks_for_anything(
    slice_id: str, numbers: dict[str, int], tried: bool, reach: int, above: int
) -> None:
    guarded = policy(
        slices={slice_id: msgspec.structs.replace(FIXED.slices[slice_id], reach=reach)},
        widen_viewers=(30,),
        stop_viewers=15,
    )
    trials = {slice_id: Trial(40, 0)} if tried else {}
    video = msgspec.structs.replace(WELL_KNOWN, trials=trials)
    seen = row(50, 400_000, **numbers)
    said = assessed(seen, slice_id, guarded, video)
    score = said.estimate._replace(score=said.price + above)
    said = said._replace(z=10 * above, estimate=score)
    if not is_decidable(guarded, slice_id, video, seen):
        assert rule(guarded, slice_id, video, seen, said) is None


@pytest.mark.parametrize(
    ("slice_id", "numbers", "decidable"),
    [
        (FOOTBALL, {"viewers": (1 << 14) - 1}, False),  # as at most first checkpoints
        (FOOTBALL, {"viewers": (1 << 15) - 1}, True),  # may be stopped
        (FANS, {"viewers": (1 << 29) - 1}, False),
        (FANS, {"viewers": (1 << 30) - 1}, True),  # may be widened
        (FANS, {"viewers": (1 << 30) - 1, "stage": FIXED.top_stage}, False),
        (FANS, {"viewers": 1, "impressions": 16}, True),  # nearly used
    ],
)
def test_what_is_left_to_be_decided_by_few_viewers(
    slice_id: str, numbers: dict[str, int], decidable: bool
) -> None:
    guarded = policy(widen_viewers=(30,), stop_viewers=15, widen_used=500_000)
    seen = row(10, 400_000, **{"impressions": 11, **numbers})
    assert is_decidable(guarded, slice_id, WELL_KNOWN, seen) is decidable


@pytest.mark.parametrize(("stage", "tranche"), [(0, 60), (1, 180), (2, 540)])
def test_each_stage_grants_a_tranche_that_much_larger(stage: int, tranche: int) -> None:
    assert ruled(row(16, 700_000, 16, stage=stage)) == Ruling("widen", "mean_beats_price", tranche)


def test_it_keeps_when_the_tranche_is_nearly_used_and_there_is_new_evidence() -> None:
    assert ruled(row(5, 350_000, 16)) == Ruling("keep", "allowance_nearly_used", 20)
    assert ruled(row(5, 350_000, 15)) is None
    assert ruled(row(5, 350_000, 16, granted_views=5)) is None


def test_a_grant_never_exceeds_the_reach() -> None:
    seen = row(16, 700_000, 16)
    assert ruled(seen, in_force=changed(reach=27)) == Ruling("widen", "mean_beats_price", 7)


def test_a_grant_never_exceeds_the_budget_of_the_video() -> None:
    seen = row(16, 700_000, 16)
    spending = msgspec.structs.replace(WELL_KNOWN, granted=FIXED.budget - 5)
    assert ruled(seen, video=spending) == Ruling("widen", "mean_beats_price", 5)
    following = Ruling("widen", "mean_beats_price", 60)
    assert ruled(seen, FANS, video=spending) == following  # followers are no budget's matter


def test_it_stops_when_everyone_reachable_was_reached() -> None:
    tight = changed(reach=20)
    assert ruled(row(16, 700_000, 20), in_force=tight) == Ruling("stop", "reach_used", 0)
    assert ruled(row(16, 700_000, 19), in_force=tight) is None


def test_it_stops_when_the_budget_is_spent() -> None:
    spent = msgspec.structs.replace(WELL_KNOWN, granted=FIXED.budget)
    assert ruled(row(16, 700_000, 20), video=spent) == Ruling("stop", "budget_spent", 0)
    assert ruled(row(16, 700_000, 19), video=spent) is None


# ---------------------------------------------------------------- what it rests on


def test_an_assessment_rests_on_all_crowds_and_says_so_in_its_sums() -> None:
    mine = row(10, 350_000, 12)
    alone = assess(Outlook(FIXED), state(football=mine), FOOTBALL, mine)
    liked = assess(
        Outlook(FIXED), state(football=mine, basketball=row(200, 700_000, 300)), FOOTBALL, mine
    )
    assert liked.estimate.mean > alone.estimate.mean
    assert liked.sums != alone.sums
    assert (liked.base, liked.value) == (alone.base, alone.value)


def test_another_crowds_praise_saves_what_would_stop_alone() -> None:
    mine = row(10, 130_000, 16)
    praised = state(football=mine, basketball=row(300, 900_000, 400))
    said = assess(Outlook(FIXED), praised, FOOTBALL, mine)
    assert ruled(mine) == STOP
    assert rule(FIXED, FOOTBALL, WELL_KNOWN, mine, said) != Ruling("stop", "index_below_price", 0)


@pytest.mark.parametrize(("band", "commercial"), [(0, False), (5, False), (3, True), (5, True)])
def test_the_price_is_that_of_the_videos_class(band: int, commercial: bool) -> None:
    video = msgspec.structs.replace(WELL_KNOWN, band=band, commercial=commercial)
    outlook = Outlook(FIXED)
    assert assessed(row(10, 350_000, 12), video=video).price == outlook.price(FOOTBALL, video)


# ---------------------------------------------------------------- what is open, and how far


def test_what_was_stopped_is_not_open_and_what_was_never_shown_is() -> None:
    video = state(football=row(100, 0, 160, status=STOPPED))
    opened = open_slices(Outlook(FIXED), video)
    assert FOOTBALL not in opened
    assert {BASKETBALL, COOKING, MUSIC, FANS, SHENYANG} == set(opened)


def test_an_active_slice_stays_open_where_nobody_would_begin_at_todays_price() -> None:
    loved = row(2_000, 900_000, 3_000)
    dear = Outlook(changed(price=700_000))
    assert dear.prospect(FOOTBALL, WELL_KNOWN) is None
    assert open_slices(dear, state(football=loved)) == [FOOTBALL]
    assert open_slices(dear, state(football=dataclasses.replace(loved, status=IDLE))) == []
    hidden = msgspec.structs.replace(WELL_KNOWN, stage="limited")
    assert open_slices(dear, state(hidden, football=loved)) == []


def test_an_open_slice_has_the_first_tranche_before_any_row() -> None:
    assert allowance_of(FIXED, state(), FOOTBALL) == FIXED.tranche
    assert allowance_of(FIXED, state(football=Slice(impressions=7)), FOOTBALL) == 27
    assert allowance_of(FIXED, state(football=row(5, 0, 9)), FOOTBALL) == 20


def test_the_first_tranche_ends_at_reach_and_budget() -> None:
    spent = msgspec.structs.replace(WELL_KNOWN, granted=FIXED.budget - 3)
    assert allowance_of(FIXED, state(spent), FOOTBALL) == 3
    assert allowance_of(FIXED, state(music=Slice(impressions=195)), MUSIC) == 200


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize(
    ("views", "due"), [(0, 10), (10, 25), (25, 40), (60, 75), (64, 80), (400, 500)]
)
def test_views_are_judged_at_ten_then_with_fifteen_or_a_quarter_more(views: int, due: int) -> None:
    seen = row(views, 0, 0, granted_views=-1)
    set_checkpoints(FIXED, seen)
    assert seen.check_views == due


@pytest.mark.parametrize(("impressions", "due"), [(0, 16), (15, 16), (16, 20), (20, NEVER)])
def test_impressions_are_judged_when_nearly_used_and_when_used(impressions: int, due: int) -> None:
    seen = row(3, 0, impressions)
    set_checkpoints(FIXED, seen)
    assert seen.check_impressions == due


def test_a_used_tranche_without_new_evidence_is_judged_at_the_next_view() -> None:
    seen = row(3, 0, 20, granted_views=3)
    set_checkpoints(FIXED, seen)
    assert seen.check_views == 4


@given(
    st.integers(0, 500),
    st.integers(0, 500),
    st.integers(1, 500),
    st.integers(0, 500),
    st.integers(0, MICROS),
)
def test_a_checkpoint_always_lies_ahead(
    views: int, impressions: int, tranche: int, before: int, nearly: int
) -> None:
    seen = row(views, 0, impressions, tranche=tranche, allowance=before + tranche)
    set_checkpoints(policy(nearly_used=nearly), seen)
    assert seen.check_views > seen.views
    assert seen.check_impressions > seen.impressions


@pytest.mark.parametrize(("count", "due"), [(0, 10), (100, 125), (1_000, 1_250)])
def test_an_idle_slice_is_looked_at_again(count: int, due: int) -> None:
    seen = row(count, 0, count, status=HELD)
    look_again(seen)
    assert (seen.check_views, seen.check_impressions) == (due, due)

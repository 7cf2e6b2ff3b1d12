import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import BASKETBALL, COOKING, FANS, FIXED, FOOTBALL, MUSIC, SHENYANG, policy

from streams.core.counters import ACTIVE, STOPPED, Slice, Video, VideoState
from streams.core.events import Policy
from streams.core.rule import (
    Ruling,
    assess,
    next_slice,
    predicted_mean,
    price_of,
    rule,
    set_checkpoints,
)
from streams.core.units import MICROS, NEVER

SPEC = FIXED.slices[FOOTBALL]
ESTABLISHED = Video(stage="public", tier="established")


def row(views: int, value: int, impressions: int, **changes: int) -> Slice:
    """An active row at its first tranche of 20, each view worth `value`."""
    start = Slice(
        impressions=impressions,
        views=views,
        value_sum=views * value,
        value_sq=views * (value * value // MICROS),
        status=ACTIVE,
        allowance=20,
        tranche=20,
        prior_mean=350_000,
    )
    return msgspec.structs.replace(start, **changes)


def ruled(
    seen: Slice, slice_id: str = FOOTBALL, in_force: Policy = FIXED, video: Video = ESTABLISHED
) -> Ruling | None:
    spec = in_force.slices[slice_id]
    return rule(in_force, spec, slice_id, video, seen, assess(in_force, spec, video, seen))


def test_a_slice_stops_when_its_index_is_below_the_price() -> None:
    assert ruled(row(200, 100_000, 400)) == Ruling("stop", "index_below_price", 0)


def test_the_index_decides_the_stop_and_not_the_mean() -> None:
    doubtful = row(10, 250_000, 12)
    said = assess(FIXED, SPEC, ESTABLISHED, doubtful)
    assert said.estimate.mean < said.price < said.estimate.index
    assert ruled(doubtful) is None


@given(st.integers(0, 2_000), st.integers(-1_000_000, 1_000_000), st.integers(0, 10_000))
def test_evidence_never_stops_followers_delivery(views: int, value: int, impressions: int) -> None:
    said = ruled(row(views, value, impressions, allowance=400), FANS)
    assert said is None or said.action in {"widen", "keep"}


def test_a_slice_widens_when_its_mean_beats_the_price_for_sure() -> None:
    assert ruled(row(10, 700_000, 10)) == Ruling("widen", "mean_beats_price", 60)


def test_it_widens_only_after_its_share_of_the_tranche_was_shown() -> None:
    assert ruled(row(10, 700_000, 9)) is None
    assert ruled(row(10, 700_000, 9), in_force=policy(widen_used=450_000)) is not None


def test_it_widens_only_above_the_bar() -> None:
    seen = row(10, 700_000, 10)
    z = assess(FIXED, SPEC, ESTABLISHED, seen).z
    assert ruled(seen, in_force=policy(widen_z=z)) == Ruling("widen", "mean_beats_price", 60)
    assert ruled(seen, in_force=policy(widen_z=z + 1)) is None


def test_it_widens_no_further_than_the_top_stage() -> None:
    top = row(16, 700_000, 16, stage=FIXED.top_stage)
    assert ruled(top) == Ruling("keep", "allowance_nearly_used", 20 * 3**3)


@pytest.mark.parametrize(("stage", "tranche"), [(0, 60), (1, 180), (2, 540)])
def test_each_stage_grants_a_tranche_that_much_larger(stage: int, tranche: int) -> None:
    assert ruled(row(16, 700_000, 16, stage=stage)) == Ruling("widen", "mean_beats_price", tranche)


def test_it_keeps_when_the_tranche_is_nearly_used_and_there_is_new_evidence() -> None:
    assert ruled(row(5, 350_000, 16)) == Ruling("keep", "allowance_nearly_used", 20)
    assert ruled(row(5, 350_000, 15)) is None
    assert ruled(row(5, 350_000, 16, granted_views=5)) is None


def test_a_grant_never_exceeds_the_reach() -> None:
    seen = row(16, 700_000, 16)
    tight = policy(slices={FOOTBALL: msgspec.structs.replace(SPEC, reach=27)})
    assert ruled(seen, in_force=tight) == Ruling("widen", "mean_beats_price", 7)


def test_a_grant_never_exceeds_the_budget_of_the_video() -> None:
    seen = row(16, 700_000, 16)
    spending = Video(stage="public", tier="established", granted=FIXED.budget - 5)
    assert ruled(seen, video=spending) == Ruling("widen", "mean_beats_price", 5)
    following = Ruling("widen", "mean_beats_price", 60)
    assert ruled(seen, FANS, video=spending) == following  # followers are no budget's matter


def test_it_stops_when_everyone_reachable_was_reached() -> None:
    tight = policy(slices={FOOTBALL: msgspec.structs.replace(SPEC, reach=20)})
    assert ruled(row(16, 700_000, 20), in_force=tight) == Ruling("stop", "reach_used", 0)
    assert ruled(row(16, 700_000, 19), in_force=tight) is None


def test_it_stops_when_the_budget_is_spent() -> None:
    spent = Video(stage="public", tier="established", granted=FIXED.budget)
    assert ruled(row(16, 700_000, 20), video=spent) == Ruling("stop", "budget_spent", 0)
    assert ruled(row(16, 700_000, 19), video=spent) is None


# ---------------------------------------------------------------- price


def test_ordinary_creators_pay_less_and_advertisers_more() -> None:
    assert price_of(FIXED, SPEC, Video(tier="established")) == 330_000
    assert price_of(FIXED, SPEC, Video(tier="ordinary")) == 320_000
    assert price_of(FIXED, SPEC, Video(tier="established", commercial=True)) == 495_000
    assert price_of(FIXED, SPEC, Video(tier="ordinary", commercial=True)) == 480_000


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize(("views", "due"), [(0, 10), (10, 20), (190, 200), (200, 210), (400, 420)])
def test_views_are_judged_every_ten_and_then_every_five_percent(views: int, due: int) -> None:
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


# ---------------------------------------------------------------- where to go next


def state(**rows: Slice) -> VideoState:
    video = VideoState()
    video.row = Video(stage="public", tier="established", fits={SHENYANG: 100_000})
    video.slices.update({f"discover:{group}": seen for group, seen in rows.items()})
    return video


def test_a_slice_unlike_all_others_expects_its_prior_and_the_fit() -> None:
    video = state()
    video.row.fits = {FOOTBALL: 500_000}
    assert predicted_mean(FIXED, video, FOOTBALL) == 350_000 + 25_000


def test_a_success_raises_what_its_neighbours_expect() -> None:
    good, bad = row(100, 800_000, 160), row(100, 50_000, 160)
    calm = predicted_mean(FIXED, state(), BASKETBALL)
    assert predicted_mean(FIXED, state(football=good), BASKETBALL) > calm
    assert predicted_mean(FIXED, state(football=bad), BASKETBALL) < calm
    assert predicted_mean(FIXED, state(football=bad), COOKING) == calm  # no neighbour


def test_a_neighbour_moves_the_expectation_by_no_more_than_its_affinity() -> None:
    seen = row(10_000, 800_000, 16_000)
    moved = predicted_mean(FIXED, state(football=seen), BASKETBALL) - 350_000
    assert moved == pytest.approx(0.6 * 450_000, rel=0.01)


def test_the_next_slice_has_the_best_expected_gain_over_its_price() -> None:
    liked = row(100, 800_000, 160)
    assert next_slice(FIXED, state(football=liked)) == BASKETBALL
    assert next_slice(FIXED, state()) == SHENYANG  # the cheapest


def test_a_nearby_slice_is_reachable_only_if_the_admission_named_it() -> None:
    video = state()
    video.row.fits = {}
    assert next_slice(FIXED, video) != SHENYANG


def test_followers_are_never_a_next_crowd() -> None:
    cheap = msgspec.structs.replace(FIXED.slices[FANS], price=0)
    assert next_slice(policy(slices={FANS: cheap}), state()) is None


@pytest.mark.parametrize("stage", ["unknown", "limited", "held_public", "held_limited", "removed"])
def test_only_a_public_video_goes_on_to_another_crowd(stage: str) -> None:
    video = state()
    video.row = msgspec.structs.replace(video.row, stage=stage)
    assert next_slice(FIXED, video) is None


def test_a_slice_is_tried_once() -> None:
    done = {
        name: msgspec.structs.replace(row(100, 350_000, 160), status=status)
        for name, status in [("football", STOPPED), ("basketball", ACTIVE), ("music", STOPPED)]
    }
    video = state(**done)
    video.row.fits = {}
    assert next_slice(FIXED, video) == COOKING


def test_a_slice_not_worth_learning_about_is_left_out() -> None:
    dear = {name: msgspec.structs.replace(SPEC, price=2_000_000) for name in FIXED.slices}
    assert next_slice(policy(slices=dear), state()) is None


def test_a_spent_budget_leaves_no_next_slice() -> None:
    video = state()
    video.row.granted = FIXED.budget
    assert next_slice(FIXED, video) is None


def test_of_equal_gains_the_first_name_wins() -> None:
    alike = {name: msgspec.structs.replace(SPEC, neighbours={}) for name in (MUSIC, COOKING)}
    assert next_slice(policy(slices=alike), state()) == COOKING

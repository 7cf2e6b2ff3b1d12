from collections.abc import Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import (
    BASKETBALL,
    COOKING,
    FANS,
    FIXED,
    FOOTBALL,
    MUSIC,
    SHENYANG,
    policy,
    slice_policy,
)

from streams.core import outlook as outlook_module
from streams.core.counters import Video, VideoState
from streams.core.exploration import drawable
from streams.core.outlook import Outlook, Prospect
from streams.core.posterior import Sums, estimate, solve
from streams.core.rule import open_slices
from streams.core.units import MICROS

PUBLIC = Video(stage="public", band=5, fits={FANS: MICROS, SHENYANG: 200_000})
FIXED_OUTLOOK = Outlook(FIXED)


def video(**changes: object) -> Video:
    return msgspec.structs.replace(PUBLIC, **changes)


def names(prospects: Sequence[Prospect]) -> list[str]:
    return [each.slice for each in prospects]


# ---------------------------------------------------------------- what is open


def test_every_public_crowd_is_open_and_the_slices_that_the_admission_named() -> None:
    assert set(names(FIXED_OUTLOOK.prospects(PUBLIC))) == set(FIXED.slices)
    assert FANS not in names(FIXED_OUTLOOK.prospects(video(fits={})))
    assert SHENYANG not in names(FIXED_OUTLOOK.prospects(video(fits={})))


def test_the_best_expected_gain_over_the_price_comes_first() -> None:
    gains = [each.gain for each in FIXED_OUTLOOK.prospects(PUBLIC)]
    assert gains == sorted(gains, reverse=True)
    assert names(FIXED_OUTLOOK.prospects(PUBLIC))[:2] == [FANS, SHENYANG]  # a fit, a low price
    loved = video(fits={COOKING: MICROS})
    assert names(FIXED_OUTLOOK.prospects(loved))[0] == COOKING


def test_of_equal_gains_the_first_name_wins() -> None:
    alike = {name: slice_policy() for name in (MUSIC, COOKING, FOOTBALL, BASKETBALL)}
    expected = sorted(alike)
    assert names(Outlook(policy(slices=alike)).prospects(PUBLIC)) == expected


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_than_so_many_are_open(most: int) -> None:
    narrow = Outlook(policy(open_max=most))
    opened = names(FIXED_OUTLOOK.prospects(PUBLIC))
    assert names(narrow.prospects(PUBLIC)) == opened[:most]
    for name in FIXED.slices:
        assert (narrow.prospect(name, PUBLIC) is not None) == (name in opened[:most])


def test_a_crowd_not_worth_learning_about_is_not_open() -> None:
    dear = {
        name: msgspec.structs.replace(spec, price=900_000) for name, spec in FIXED.slices.items()
    }
    assert names(Outlook(policy(slices=dear)).prospects(PUBLIC)) == [FANS]


def test_followers_are_refused_no_video() -> None:
    dear = {FANS: slice_policy(price=5_000_000)}
    outlook = Outlook(policy(slices=dear))
    assert names(outlook.prospects(PUBLIC)) == [FANS]
    assert outlook.prospect(FANS, PUBLIC) is not None


def test_a_crowd_that_learning_may_pay_for_is_open_though_it_loses_by_its_mean() -> None:
    spec = slice_policy(price=400_000)
    near, far = (
        Outlook(policy(slices={MUSIC: msgspec.structs.replace(spec, horizon=horizon)}))
        for horizon in (1, 400)
    )
    assert near.prospect(MUSIC, PUBLIC) is None
    assert far.prospect(MUSIC, PUBLIC) is not None


@pytest.mark.parametrize("stage", ["unknown", "held_public", "held_limited", "removed"])
def test_nothing_is_open_to_a_video_that_is_not_shown(stage: str) -> None:
    assert not FIXED_OUTLOOK.prospects(video(stage=stage))


def test_a_limited_video_reaches_followers_only() -> None:
    assert names(FIXED_OUTLOOK.prospects(video(stage="limited"))) == [FANS]


def test_a_slice_outside_the_policy_is_not_open() -> None:
    assert FIXED_OUTLOOK.prospect("discover:gone", PUBLIC) is None
    assert not FIXED_OUTLOOK.reaches("discover:gone", PUBLIC)


@given(
    st.sampled_from(["unknown", "public", "limited", "held_public", "held_limited", "removed"]),
    st.dictionaries(st.sampled_from([*FIXED.slices, "discover:gone"]), st.integers(0, MICROS)),
    st.integers(0, 5),
    st.booleans(),
    st.integers(1, 8),
)
def test_one_prospect_is_the_same_as_among_all(
    stage: str, fits: dict[str, int], band: int, commercial: bool, most: int
) -> None:
    outlook = Outlook(policy(open_max=most))
    row = video(stage=stage, fits=fits, band=band, commercial=commercial)
    every = {each.slice: each for each in outlook.prospects(row)}
    for name in [*FIXED.slices, "discover:gone"]:
        assert outlook.prospect(name, row) == every.get(name)


def test_what_was_kept_of_other_videos_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outlook_module, "OUTSETS_KEPT", 5)
    every = [
        video(stage=stage, fits=fits, band=band, commercial=commercial)
        for stage in ("public", "limited", "held_public")
        for fits in ({}, {FANS: MICROS}, {MUSIC: 200_000}, {MUSIC: 300_000})
        for band in (0, 5)
        for commercial in (False, True)
    ]
    for row in [*every, *reversed(every)]:
        assert FIXED_OUTLOOK.outset(row) == Outlook(FIXED).outset(row)


def test_chance_may_draw_of_a_new_video_what_is_kept_for_its_class() -> None:
    for stage in ("public", "limited"):
        state = VideoState()
        state.row = video(stage=stage, fits={FANS: MICROS, MUSIC: 200_000})
        among = drawable(state, open_slices(FIXED_OUTLOOK, state))
        assert list(FIXED_OUTLOOK.outset(state.row).drawable) == among


# ---------------------------------------------------------------- what it expects, and the price


def test_a_fit_raises_what_is_expected_by_its_share_of_the_policys_value() -> None:
    fitting = FIXED_OUTLOOK.prospect(FOOTBALL, video(fits={FOOTBALL: 500_000}))
    plain = FIXED_OUTLOOK.prospect(FOOTBALL, PUBLIC)
    assert fitting is not None
    assert plain is not None
    assert (plain.mean, fitting.mean) == (350_000, 375_000)
    assert fitting.score - plain.score == 25_000


@pytest.mark.parametrize("name", sorted(FIXED.slices))
def test_the_score_is_the_index_of_a_video_without_a_view(name: str) -> None:
    found = FIXED_OUTLOOK.prospect(name, video(fits={name: 300_000}))
    assert found is not None
    plain = estimate(FIXED.slices[name], found.mean, None, solve(Sums()))
    assert found.score == plain.score
    assert found.gain == found.score - FIXED_OUTLOOK.price(name, PUBLIC)


def test_the_price_of_a_class_is_that_of_the_slice_and_its_term() -> None:
    prices = {
        (band, commercial): FIXED_OUTLOOK.price(FOOTBALL, video(band=band, commercial=commercial))
        for band in (0, 4, 5)
        for commercial in (False, True)
    }
    assert prices == {
        (0, False): 320_000,
        (0, True): 485_000,
        (4, False): 320_000,
        (4, True): 485_000,
        (5, False): 330_000,
        (5, True): 495_000,
    }


def test_a_class_without_a_term_pays_the_price_of_the_slice() -> None:
    assert Outlook(policy(terms={})).price(FOOTBALL, video(band=0, commercial=True)) == 330_000
    assert FIXED_OUTLOOK.price(FANS, video(band=0, commercial=True)) == 330_000


def test_what_holding_the_shares_comes_to_is_taken_off_the_price_of_a_class() -> None:
    leaning = Outlook(policy(terms={"discover:0": 10_000}, leans={"discover:0": 40_000}))
    assert leaning.price(FOOTBALL, video(band=0)) == 330_000 + 10_000 - 40_000
    assert leaning.price(FOOTBALL, video(band=1)) == 330_000

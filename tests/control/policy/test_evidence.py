"""Rows as the learning sees them: what the fold would weigh, keyed draws, pooled noise."""

import pytest
from kit.events import FOOTBALL, MUSIC, policy
from kit.evidence import KEY, row_of, video_of
from kit.rows import honest
from msgspec.structs import replace

from streams.control.policy.evidence import held_out, is_drawn, noises_in, seen_in
from streams.core.counters import Slice
from streams.core.posterior import weigh
from streams.core.units import MICROS

NAMES = [f"v{number}" for number in range(4_000)]


def test_means_and_errors_are_what_the_fold_weighs() -> None:
    row, fits = row_of(0.4, views=30), {FOOTBALL: 500_000}
    seen = seen_in(policy(), {"v1": video_of({FOOTBALL: row}, fits)})
    place = [*policy().slices].index(FOOTBALL)
    weighed = weigh(policy(), policy().slices[FOOTBALL], row, 500_000)
    assert seen.pairs == 1
    assert seen.means[0, place] == pytest.approx(0.4 - 0.025, abs=1e-5)
    assert seen.errors[0, place] == pytest.approx(weighed.noise / 30 / MICROS)


def test_rows_without_views_and_slices_that_left_the_policy_are_unseen() -> None:
    rows = {FOOTBALL: Slice(impressions=9), "discover:gone": row_of(0.4)}
    assert seen_in(policy(), {"v1": video_of(rows)}).pairs == 0


def test_a_pair_worth_more_than_anything_can_be_is_unseen() -> None:
    rows = {FOOTBALL: honest(views=1, ratio_sum=10**15), MUSIC: row_of(0.3)}
    assert seen_in(policy(), {"v1": video_of(rows)}).pairs == 1


def test_draws_depend_on_the_key_and_the_purpose_and_on_nothing_else() -> None:
    drawn = {name for name in NAMES if is_drawn(KEY, b"sample", name, 0.2)}
    assert 650 < len(drawn) < 950
    assert drawn == {name for name in reversed(NAMES) if is_drawn(KEY, b"sample", name, 0.2)}
    for other in ((b"another", b"sample"), (KEY, b"held out")):
        both = drawn & {name for name in NAMES if is_drawn(*other, name, 0.2)}
        assert 80 < len(both) < 250


def test_a_larger_share_draws_all_of_a_smaller_one() -> None:
    for name in NAMES:
        assert is_drawn(KEY, b"sample", name, 0.3) or not is_drawn(KEY, b"sample", name, 0.1)


def test_a_fifth_of_the_pairs_is_held_out_whatever_else_is_there() -> None:
    slices = [*policy().slices]
    held = held_out(KEY, NAMES, slices)
    assert 0.18 < held.mean() < 0.22
    assert (held_out(KEY, NAMES[7:8], slices[2:]) == held[7:8, 2:]).all()


def test_noise_is_pooled_within_pairs_and_stays_near_that_in_force_without_many() -> None:
    shares = (0.2, 0.4)  # half of the views each: a spread of 0.6 x 0.1 around the mean
    row = honest(
        views=1_000,
        ratio_sum=round(sum(shares) / 2 * MICROS) * 1_000,
        ratio_sq=round(sum(each * each for each in shares) / 2 * MICROS) * 1_000,
    )
    place = [*policy().slices].index(FOOTBALL)
    bare = replace(policy(), noise_floor=1)
    few, many = (
        noises_in(bare, {f"v{n}": video_of({FOOTBALL: row}) for n in range(count)}, 2_000.0)[place]
        for count in (1, 400)
    )
    assert many == pytest.approx(0.0036, rel=0.2)
    assert few == pytest.approx((2 * 0.1 + 0.0036) / 3, rel=0.05)

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Mapping
from random import Random

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.events import (
    BASKETBALL,
    COOKING,
    FIXED,
    FOOTBALL,
    MUSIC,
    WEIGHTS,
    admit,
    impression,
    like,
    policy,
    slice_policy,
    view,
)
from kit.folding import Folding, placed
from kit.rows import honest, value_of

from streams.core.boundary import psi
from streams.core.counters import Slice, VideoState, Weighed
from streams.core.events import LogRecord, Policy, SlicePolicy, Weights
from streams.core.outlook import Outlook
from streams.core.posterior import (
    UNIT,
    Estimate,
    Sums,
    estimate,
    expected,
    solve,
    sum_factors,
    weigh,
)
from streams.core.rule import assess, estimate_in
from streams.core.units import MICROS
from streams.lab.viewers import BUTTONS, draw_buttons, draw_watch, rates_at

Floats = npt.NDArray[np.float64]
NOTHING = solve(Sums())
counts = st.integers(0, 1_000)
rows = st.builds(
    lambda views, ratio, spread, pressed, talked: honest(
        views=views,
        ratio_sum=views * ratio,
        ratio_sq=views * max(ratio * ratio // MICROS, spread * ratio // MICROS),
        completes=views // 5,
        likes=min(pressed, views),
        comments=min(talked, views),
        hides=min(talked, views),
    ),
    st.integers(1, 2_000),
    st.integers(0, MICROS),
    st.integers(0, MICROS),
    counts,
    st.integers(0, 30),
)
specs = st.builds(
    SlicePolicy,
    reach=st.just(10_000),
    horizon=st.integers(1, 10**7),
    prior_mean=st.integers(-500_000, 1_000_000),
    own_variance=st.integers(1, 200_000),
    noise_variance=st.integers(1_000, 500_000),
    price=st.just(350_000),
)


def seen(views: int, mean: int) -> Slice:
    """A row whose views were worth `mean` each, by watching and follows alone."""
    follows = views * max(mean - 300_000, 0) // WEIGHTS.follow
    watched = (views * mean - follows * WEIGHTS.follow) * MICROS // WEIGHTS.watch
    return honest(views=views, ratio_sum=watched, ratio_sq=watched // 2, follows=follows)


def video_of(slices: Mapping[str, Slice], fits: dict[str, int] | None = None) -> VideoState:
    video = VideoState()
    video.slices.update(slices)
    video.row.fits = fits or {}
    return video


def judged(slices: dict[str, Slice], slice_id: str = FOOTBALL, by: Policy = FIXED) -> Estimate:
    video = video_of(slices)
    return estimate_in(by, video, slice_id, solve(sum_factors(by, video)))


# ---------------------------------------------------------------- a plain reference


def random_world(seed: int) -> tuple[Policy, dict[str, Slice], dict[str, int]]:
    """A policy of up to 33 slices, what was seen of a video in some of them, and its fits."""
    chance = Random(seed)
    crowds = [f"discover:c{number}" for number in range(chance.randint(1, 33))]
    slices = {name: slice_policy(prior_mean=chance.randint(200_000, 600_000)) for name in crowds}
    for name, spec in slices.items():
        loadings = tuple(int(chance.gauss(0, 80_000)) for _ in range(3))
        own, noise = chance.randint(500, 40_000), chance.randint(20_000, 300_000)
        slices[name] = msgspec.structs.replace(
            spec, loadings=loadings, own_variance=own, noise_variance=noise
        )
    tried = chance.sample(crowds, chance.randint(0, len(crowds)))
    met = {
        name: seen(int(10 ** chance.uniform(0, 6)), chance.randint(50_000, 900_000))
        for name in tried
    }
    fits = {name: chance.randint(0, MICROS) for name in chance.sample(crowds, len(crowds) // 2)}
    return policy(slices=slices), met, fits


def kriged(by: Policy, met: dict[str, Slice], fits: dict[str, int]) -> tuple[Floats, Floats]:
    """Means and standard deviations of all slices by the dense formulas, in micro-units."""
    names = list(by.slices)
    loadings = np.array([by.slices[name].loadings for name in names], dtype=np.float64)
    own = np.array([by.slices[name].own_variance for name in names], dtype=np.float64) * MICROS
    before = np.array([expected(by, spec, fits.get(name, 0)) for name, spec in by.slices.items()])
    covariance = loadings @ loadings.T + np.diag(own)
    tried = [names.index(name) for name in met]
    views = np.array([row.views for row in met.values()])
    values = np.array([value_of(row, by.weights) / row.views for row in met.values()])
    noise = [weigh(by, by.slices[name], row, fits.get(name, 0)).noise for name, row in met.items()]
    within = covariance[np.ix_(tried, tried)] + np.diag(np.array(noise) * MICROS / views)
    gain = np.linalg.solve(within, covariance[tried]).T if tried else np.zeros((len(names), 0))
    mean = before + gain @ (values - before[tried])
    return mean, np.sqrt(np.diag(covariance - gain @ covariance[tried]))


@pytest.mark.parametrize("hundred", range(10))
def test_it_is_dense_kriging_in_a_thousand_worlds(hundred: int) -> None:
    for seed in range(100 * hundred, 100 * hundred + 100):
        by, met, fits = random_world(seed)
        mean, sd = kriged(by, met, fits)
        video = video_of(met, fits)
        tastes = solve(sum_factors(by, video))
        of_slices = [estimate_in(by, video, name, tastes) for name in by.slices]
        assert [each.mean for each in of_slices] == pytest.approx(mean, abs=2), seed
        assert [each.sd for each in of_slices] == pytest.approx(sd, abs=2), seed


@given(specs, rows)
def test_one_slice_without_loadings_is_the_conjugate_normal(spec: SlicePolicy, row: Slice) -> None:
    by = policy(slices={FOOTBALL: spec})
    posterior = judged({FOOTBALL: row}, by=by)
    noise, spread = posterior.noise / MICROS, spec.own_variance / MICROS
    precision = 1 / spread + row.views / noise
    total = value_of(row, by.weights) / MICROS
    mean = (spec.prior_mean / MICROS / spread + total / noise) / precision
    assert posterior.mean == pytest.approx(mean * MICROS, abs=2)
    assert posterior.sd == pytest.approx(math.sqrt(1 / precision) * MICROS, abs=2)


@given(st.integers(0, 999), st.randoms(use_true_random=False))
def test_the_order_of_slices_does_not_matter(seed: int, chance: Random) -> None:
    by, met, fits = random_world(seed)
    names = list(met)
    chance.shuffle(names)
    again = {name: met[name] for name in names}
    assert sum_factors(by, video_of(again, fits)) == sum_factors(by, video_of(met, fits))


@given(st.integers(0, 999), st.randoms(use_true_random=False))
def test_sums_that_follow_changes_are_those_from_the_beginning(seed: int, chance: Random) -> None:
    by, met, fits = random_world(seed)
    other, video = msgspec.structs.replace(by, noise_views=by.noise_views + 1), video_of(met, fits)
    for _ in range(5):
        used = chance.choice([by, other])
        for row in chance.sample(list(met.values()), len(met) // 2):
            row.views, row.likes, row.weighed = row.views + 1, row.likes + 1, None
        copies = {name: dataclasses.replace(row, weighed=None) for name, row in met.items()}
        assert sum_factors(used, video) == sum_factors(used, video_of(copies, fits))


# ---------------------------------------------------------------- what one crowd says of another


def test_without_a_view_the_posterior_is_what_was_expected() -> None:
    posterior = judged({})
    assert posterior.mean == 350_000
    assert posterior.sd == pytest.approx(math.sqrt(0.02) * MICROS, abs=2)


def test_a_success_raises_what_is_expected_of_crowds_of_the_same_taste() -> None:
    good, bad = {FOOTBALL: seen(100, 800_000)}, {FOOTBALL: seen(100, 50_000)}
    calm = judged({}, BASKETBALL).mean
    assert judged(bad, BASKETBALL).mean < calm < judged(good, BASKETBALL).mean
    assert judged(bad, "nearby:shenyang").mean == judged({}, "nearby:shenyang").mean


def test_a_video_that_does_as_expected_teaches_the_other_crowds_no_shift() -> None:
    fits = {FOOTBALL: 400_000}
    row = seen(1_000, 350_000 + 20_000)
    sums = sum_factors(FIXED, video_of({FOOTBALL: row}, fits))
    assert sums.b1 == pytest.approx(0, abs=1e-6 * UNIT)


def test_one_crowd_of_the_same_taste_leaves_less_doubt_about_the_other() -> None:
    assert judged({FOOTBALL: seen(100, 350_000)}, BASKETBALL).sd < judged({}, BASKETBALL).sd


def test_views_of_a_slice_outside_the_policy_say_nothing() -> None:
    assert sum_factors(FIXED, video_of({"discover:gone": seen(100, 800_000)})) == Sums()


def test_impressions_alone_say_nothing() -> None:
    assert sum_factors(FIXED, video_of({FOOTBALL: Slice(impressions=500)})) == Sums()


@given(rows, st.integers(1, 10**6))
def test_more_views_of_the_same_worth_leave_less_doubt(row: Slice, times: int) -> None:
    many = dataclasses.replace(
        row,
        **{
            name: getattr(row, name) * times
            for name in (
                *("views", "impressions", "allowance", "ratio_sum", "ratio_sq"),
                *("completes", "likes", "hides", "commenters"),
            )
        },
    )
    loud = policy(noise_floor=1 << 30)  # the noise may not differ
    assert judged({FOOTBALL: many}, by=loud).sd <= judged({FOOTBALL: row}, by=loud).sd


# ---------------------------------------------------------------- the index


@given(specs, rows)
def test_the_index_is_the_mean_and_the_worth_of_learning(spec: SlicePolicy, row: Slice) -> None:
    posterior = judged({FOOTBALL: row}, by=policy(slices={FOOTBALL: spec}))
    s = posterior.sd**2 * spec.horizon // posterior.noise
    pieces = (200_000, 1_000_000, 5_000_000, 15_000_000)
    if not any(abs(s - piece) < piece * 0.05 for piece in pieces):
        worth = posterior.sd * psi(s) / MICROS
        assert posterior.score - posterior.mean == pytest.approx(worth, abs=3, rel=5e-3)


@given(specs, rows)
def test_the_index_is_never_below_the_mean(spec: SlicePolicy, row: Slice) -> None:
    posterior = judged({FOOTBALL: row}, by=policy(slices={FOOTBALL: spec}))
    assert posterior.score >= posterior.mean


@given(rows, st.integers(1, 10**6), st.integers(1, 1_000))
def test_a_longer_horizon_makes_learning_worth_more(row: Slice, horizon: int, more: int) -> None:
    near, far = (
        msgspec.structs.replace(FIXED.slices[MUSIC], horizon=each)
        for each in (horizon, horizon * (1 + more))
    )
    once = judged({MUSIC: row}, MUSIC, policy(slices={MUSIC: near}))
    again = judged({MUSIC: row}, MUSIC, policy(slices={MUSIC: far}))
    assert again.mean == once.mean
    assert again.score >= once.score - 10_000  # psi falls a little between two of its pieces


# ---------------------------------------------------------------- value and its noise


def test_the_value_of_a_row_is_what_the_weights_say() -> None:
    row = honest(views=4, ratio_sum=2_500_000, completes=1, likes=2, hides=1, orders=1)
    assert value_of(row, WEIGHTS) == 1_500_000 + 100_000 + 1_000_000 - 1_000_000 + 1_000_000


def per_view(appeal: float, seed: int, views: int, weights: Weights) -> tuple[Slice, list[float]]:
    """Views of one video as simulated viewers watch it: the row, and what each was worth."""
    chance, rates = Random(seed), rates_at(appeal)
    counted: Counter[str] = Counter(views=views)
    worth = []
    for _ in range(views):
        watched, skipped = draw_watch(chance, rates)
        ratio = int(watched * MICROS)
        complete = watched >= 0.95
        counted.update(ratio_sum=ratio, ratio_sq=ratio * ratio // MICROS, completes=complete)
        value = weights.watch * ratio / MICROS + weights.complete * complete
        for name in draw_buttons(chance, rates, skipped=skipped):
            counted[f"{name}s"] += 1
            value += getattr(weights, name)
        worth.append(value)
    assert set(BUTTONS) >= {"like", "order"}
    return honest(**counted), worth


@pytest.mark.parametrize("appeal", [0.25, 0.5, 0.7, 0.85, 0.92])
def test_the_noise_is_that_of_simulated_viewers_within_a_tenth(appeal: float) -> None:
    row, worth = per_view(appeal, seed=7, views=20_000, weights=WEIGHTS)
    assert 0.15 < statistics.fmean(worth) / MICROS < 0.65
    sure = policy(noise_views=1)
    noise = weigh(sure, sure.slices[FOOTBALL], row, 0).noise
    assert math.sqrt(noise / MICROS) == pytest.approx(statistics.pstdev(worth) / MICROS, rel=0.1)


def test_who_watches_on_also_presses() -> None:
    row, _ = per_view(0.6, seed=7, views=1_000, weights=WEIGHTS)
    apart, together = (
        weigh(policy(noise_cross=cross), FIXED.slices[FOOTBALL], row, 0).noise
        for cross in (0, 150_000)
    )
    mean = value_of(row, WEIGHTS) / row.views / MICROS
    watched = 0.6 * row.ratio_sum / row.views / MICROS
    covered = 2 * 0.15 * watched * (mean - watched) * MICROS * row.views / (10 + row.views)
    assert together - apart == pytest.approx(covered, abs=5)


@given(rows)
def test_the_noise_is_shrunk_towards_the_slices_own(row: Slice) -> None:
    spec = FIXED.slices[FOOTBALL]
    noises = [weigh(policy(noise_views=views), spec, row, 0).noise for views in (1, 100, 10_000)]
    away = [abs(noise - spec.noise_variance) for noise in noises]
    assert away == sorted(away, reverse=True)


def test_more_comments_than_views_leave_no_less_doubt() -> None:
    spec = FIXED.slices[FOOTBALL]
    row = honest(views=20, ratio_sum=10_000_000, ratio_sq=6_000_000, comments=20)
    flooded = dataclasses.replace(row, commenters=400)
    free = policy(noise_cross=0)
    assert weigh(free, spec, flooded, 0).noise == weigh(free, spec, row, 0).noise


def test_the_noise_never_falls_below_its_floor() -> None:
    quiet = honest(views=10**6, ratio_sum=10**6 * 500_000, ratio_sq=10**6 * 250_000)
    assert weigh(policy(noise_floor=7_000), FIXED.slices[FOOTBALL], quiet, 0).noise == 7_000


# ---------------------------------------------------------------- receipts and revaluation


def watched(count: int, slice_id: str, watch_ms: int, first: int = 0) -> list[LogRecord]:
    group = slice_id.replace(":", "_")
    events: list[LogRecord] = []
    for number in range(first, first + count):
        events.append(impression(f"i-{group}-{number}", slice_id=slice_id))
        events.append(view(f"w-{group}-{number}", slice_id=slice_id, watch_ms=watch_ms))
        if number % 4 == 0:
            events.append(
                like(f"l-{group}-{number}", viewer=f"u-i-{group}-{number}", slice_id=slice_id)
            )
    return events


SHOWN: list[LogRecord] = [
    FIXED,
    admit(fits={BASKETBALL: 300_000}, band=2),
    *watched(60, BASKETBALL, 8_000),
    *watched(40, MUSIC, 1_000),
    *watched(80, FOOTBALL, 3_500),
    *watched(40, COOKING, 300),
]


def test_mean_deviation_score_and_z_follow_from_the_receipt_alone() -> None:
    done = Folding().fold(placed(SHOWN))
    of_slices = [each for each in done.receipts if each.slice]
    assert {each.action for each in of_slices} == {"widen", "keep", "stop"}
    for each in of_slices:
        noise = each.noise_variance
        first, second, third = each.loadings
        spec = SlicePolicy(
            prior_mean=0,
            own_variance=each.own_variance,
            noise_variance=noise,
            loadings=(first, second, third),
            horizon=each.horizon,
            reach=1,
            price=0,
        )
        scale = noise + each.views * each.own_variance
        own = Weighed(FIXED, each.views, each.value, noise, scale, 0, 0)
        again = estimate(spec, each.base, own, solve(Sums(*each.sums)))
        assert (again.mean, again.sd, again.score) == (each.mean, each.sd, each.score)
        assert each.z == (each.mean - each.price) * MICROS // max(each.sd, 1)


def test_a_receipt_gives_mean_and_deviation_to_whoever_takes_the_printed_formulas() -> None:
    done = Folding().fold(placed(SHOWN))
    for each in [one for one in done.receipts if one.slice]:
        a11, a12, a13, a22, a23, a33, *b = each.sums
        covariance = np.linalg.inv(np.array([[a11, a12, a13], [a12, a22, a23], [a13, a23, a33]]))
        loadings = np.array(each.loadings, dtype=np.float64)
        before = each.base + loadings @ covariance @ np.array(b)
        own, noise = each.own_variance / MICROS, each.noise_variance / MICROS
        h = each.views * own / (noise + each.views * own)
        mean = before + h * (each.value / each.views - before)
        common = loadings @ covariance @ loadings * UNIT / MICROS**2
        assert each.mean == pytest.approx(mean, abs=3)
        variance = own * (1 - h) + (1 - h) ** 2 * common
        assert each.sd == pytest.approx(math.sqrt(variance) * MICROS, abs=2)


@given(st.integers(1, 5), st.integers(-5, 5))
def test_a_policy_with_other_weights_revalues_old_evidence_exactly(watch: int, like_: int) -> None:
    done = Folding().fold(placed(SHOWN))
    other = msgspec.structs.replace(WEIGHTS, watch=watch * 100_000, like=like_ * 100_000)
    later = policy(seq=2, version="revalued", weights=other)
    done.fold(placed([later], 5_000))
    video = done.video()
    again = Folding(rows=done.flush().rows).video()  # as it comes back from its bytes
    for name, row in video.slices.items():
        outlook = Outlook(later)
        assert assess(outlook, video, name, row) == assess(outlook, again, name, again.slices[name])
        worth = value_of(row, other)
        assert worth == watch * row.ratio_sum // 10 + sum(
            (
                other.complete * row.completes,
                like_ * 100_000 * row.likes,
            )
        )


def test_the_policy_in_force_values_evidence_of_before() -> None:
    plain = Folding().fold(placed([*SHOWN, *watched(150, FOOTBALL, 6_000, 80)]))
    free = policy(seq=2, version="free", weights=msgspec.structs.replace(WEIGHTS, like=-1))
    revalued = Folding().fold(placed([*SHOWN, free, *watched(150, FOOTBALL, 6_000, 80)]))
    assert revalued.receipts[-1].policy == "free"
    assert revalued.receipts[-1].value < plain.receipts[-1].value

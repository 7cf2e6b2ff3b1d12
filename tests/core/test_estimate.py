import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.core.estimate import Estimate, Evidence, Prior, estimate, ln, noise_variance, psi
from streams.core.units import MICROS

PRIOR = Prior(mean=350_000, variance=20_000, noise_variance=100_000)
values = st.lists(st.integers(-1_000_000, 1_500_000), min_size=1, max_size=60)
priors = st.builds(
    Prior, st.integers(-500_000, 1_000_000), st.integers(100, 200_000), st.integers(1_000, 500_000)
)


def evidence_of(values: list[int]) -> Evidence:
    return Evidence(len(values), sum(values), sum(value * value // MICROS for value in values))


def judge(prior: Prior, evidence: Evidence, reach: int = 10_000) -> Estimate:
    return estimate(prior, evidence, reach, 10, 1_000)


def psi_in_floats(s: float) -> float:
    """The closed form as Brezzi and Lai print it."""
    if s <= 0.2:
        return math.sqrt(s / 2)
    if s <= 1:
        return 0.49 - 0.11 / math.sqrt(s)
    if s <= 5:
        return 0.63 - 0.26 / math.sqrt(s)
    if s <= 15:
        return 0.77 - 0.58 / math.sqrt(s)
    return math.sqrt(2 * math.log(s) - math.log(math.log(s)) - math.log(16 * math.pi))


@given(st.integers(1, 10**30))
def test_ln_is_the_natural_logarithm(x: int) -> None:
    assert ln(x) == pytest.approx(math.log(x / MICROS) * MICROS, abs=1.5)


@given(st.integers(0, 10**20))
def test_psi_is_the_published_boundary(s: int) -> None:
    assert psi(s) == pytest.approx(psi_in_floats(s / MICROS) * MICROS, abs=20)


@pytest.mark.parametrize(
    "piece",
    [(1, 200_000), (200_001, 1_000_000), (1_000_001, 5_000_000), (5_000_001, 15_000_000)],
)
def test_psi_rises_within_each_piece_of_its_closed_form(piece: tuple[int, int]) -> None:
    low, high = piece
    boundary = [psi(s) for s in range(low, high, (high - low) // 500)]
    assert boundary == sorted(boundary)


@given(st.integers(15_000_001, 10**18), st.integers(0, 10**18))
def test_psi_rises_beyond_its_last_piece(s: int, more: int) -> None:
    assert psi(s + more) >= psi(s) - 1


@given(priors, values)
def test_the_posterior_is_the_conjugate_normal(prior: Prior, given_values: list[int]) -> None:
    said = judge(prior, evidence_of(given_values))
    noise, spread = said.noise_variance / MICROS, prior.variance / MICROS
    count, total = len(given_values), sum(given_values) / MICROS
    precision = 1 / spread + count / noise
    mean = (prior.mean / MICROS / spread + total / noise) / precision
    assert said.mean == pytest.approx(mean * MICROS, abs=2)
    assert said.sd == pytest.approx(math.sqrt(1 / precision) * MICROS, abs=10, rel=1e-3)


@given(priors, values)
def test_the_index_is_the_mean_and_the_worth_of_learning(prior: Prior, seen: list[int]) -> None:
    said = judge(prior, evidence_of(seen), 5_000)
    s = (said.sd / MICROS) ** 2 * 5_000 / (said.noise_variance / MICROS)
    near_a_jump = any(abs(s - jump) < jump * 0.02 for jump in (0.2, 1, 5, 15))
    if not near_a_jump:
        expected = said.mean + said.sd * psi_in_floats(s)
        assert said.index == pytest.approx(expected, abs=20, rel=5e-3)


@given(priors, values, st.integers(-5, 10**9))
def test_the_index_is_never_below_the_mean(prior: Prior, seen: list[int], reach: int) -> None:
    said = judge(prior, evidence_of(seen), reach)
    assert said.index >= said.mean


@given(priors, values, st.integers(-10, 0))
def test_nothing_is_left_to_learn_once_the_reach_is_used(
    prior: Prior, seen: list[int], reach: int
) -> None:
    said = judge(prior, evidence_of(seen), reach)
    assert said.index == said.mean


@given(priors)
def test_without_a_view_the_posterior_is_the_prior(prior: Prior) -> None:
    said = judge(prior, Evidence(0, 0, 0))
    assert said.mean == prior.mean
    assert said.sd == pytest.approx(math.sqrt(prior.variance / MICROS) * MICROS, abs=1)


def test_many_views_leave_the_prior_behind() -> None:
    views = 10**7
    said = judge(PRIOR, Evidence(views, views * 200_000, views * 90_000))
    assert said.mean == pytest.approx(200_000, abs=2)
    assert said.sd < 100


@given(st.integers(1, 1_000), st.integers(0, 10**9), st.integers(0, 10**9))
def test_more_value_is_never_a_lower_mean(views: int, value: int, more: int) -> None:
    prior = PRIOR._replace(noise_variance=100_000)
    # value_sq fixed above both: the noise may only differ through the sum
    less_value = estimate(prior, Evidence(views, value, 0), 10, 10, 200_000)
    more_value = estimate(prior, Evidence(views, value + more, 0), 10, 10, 200_000)
    assert more_value.mean >= less_value.mean


@given(st.integers(1, 10**6), st.integers(1, 10**6))
def test_more_views_of_the_same_worth_leave_less_doubt(views: int, more: int) -> None:
    few = judge(PRIOR, Evidence(views, views * 350_000, views * 222_500))
    many = judge(PRIOR, Evidence(views + more, (views + more) * 350_000, (views + more) * 222_500))
    assert many.sd <= few.sd


@given(values)
def test_the_noise_is_the_sample_variance_shrunk_to_the_prior(seen: list[int]) -> None:
    noise = noise_variance(PRIOR, evidence_of(seen), 10, 1)
    spread = statistics.pvariance([value / MICROS for value in seen]) * len(seen) * MICROS
    expected = (10 * PRIOR.noise_variance + spread) / (10 + len(seen))
    assert noise == pytest.approx(expected, abs=5)


def test_the_noise_never_falls_below_its_floor() -> None:
    quiet = Evidence(10**6, 10**6 * 500_000, 10**6 * 250_000)
    assert noise_variance(PRIOR, quiet, 10, 7_000) == 7_000
    assert noise_variance(PRIOR._replace(noise_variance=1), Evidence(0, 0, 0), 10, 7_000) == 7_000


@given(
    st.builds(
        Prior,
        st.integers(-(1 << 53), 1 << 53),
        st.integers(1, 1 << 40),
        st.integers(1, 1 << 40),
    ),
    st.integers(0, 1 << 40),
    st.integers(-(1 << 60), 1 << 60),
    st.integers(-(1 << 60), 1 << 70),
    st.integers(0, 1 << 40),
)
def test_no_numbers_within_the_schema_break_the_arithmetic(
    prior: Prior, views: int, value_sum: int, value_sq: int, reach: int
) -> None:
    said = estimate(prior, Evidence(views, value_sum, value_sq), reach, 1, 1)
    assert said.index >= said.mean
    assert said.sd >= 0
    assert said.noise_variance >= 1

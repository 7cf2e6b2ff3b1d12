"""Expectation maximisation of the factor model: it climbs, finds the truth, and adds up."""

from itertools import pairwise

import numpy as np
import pytest

from streams.control.policy.factors import FACTORS
from streams.control.policy.learning import (
    Expected,
    FactorModel,
    Floats,
    Moments,
    Seen,
    learn,
    turned_onto,
)

SLICES = 8


def a_model(seed: int) -> FactorModel:
    rng = np.random.default_rng(seed)
    loadings = 0.1 * rng.standard_normal((SLICES, FACTORS))
    return FactorModel(
        0.35 + 0.05 * rng.standard_normal(SLICES), loadings, rng.uniform(2e-3, 8e-3, SLICES)
    )


def flat_model() -> FactorModel:
    return FactorModel(np.full(SLICES, 0.3), np.zeros((SLICES, FACTORS)), np.full(SLICES, 0.02))


def true_means(model: FactorModel, videos: int, rng: np.random.Generator) -> Floats:
    tastes = rng.standard_normal((videos, FACTORS))
    own = np.sqrt(model.own) * rng.standard_normal((videos, SLICES))
    return np.asarray(model.means + tastes @ model.loadings.T + own)


def all_seen(model: FactorModel, videos: int, seed: int, views: int = 40) -> Seen:
    rng = np.random.default_rng(seed)
    errors = np.full((videos, SLICES), 0.1 / views)
    noise = np.sqrt(errors) * rng.standard_normal(errors.shape)
    return Seen(true_means(model, videos, rng) + noise, errors)


def covariance(model: FactorModel) -> Floats:
    return np.asarray(model.loadings @ model.loadings.T + np.diag(model.own))


def likelihood(model: FactorModel, seen: Seen) -> float:
    """The log density of what was seen, straight from the normal distribution."""
    total = 0.0
    for means, errors in zip(seen.means, seen.errors, strict=True):
        known = np.isfinite(errors)
        spread = covariance(model)[np.ix_(known, known)] + np.diag(errors[known])
        apart = means[known] - model.means[known]
        _, log_det = np.linalg.slogdet(2 * np.pi * spread)
        total -= (log_det + apart @ np.linalg.solve(spread, apart)) / 2
    return total


def holes(seen: Seen, share: float, seed: int) -> Seen:
    return seen.only(np.random.default_rng(seed).random(seen.means.shape) >= share)


@pytest.mark.parametrize("seed", range(5))
def test_no_step_loses_likelihood(seed: int) -> None:
    seen = holes(all_seen(a_model(seed), 60, seed), 0.4, seed)
    start, nothing = a_model(seed + 100), 1e-9
    reached = []
    for _ in range(15):
        reached.append(likelihood(start, seen))
        start = Moments(start).update(seen).with_tastes(start, nothing)
        reached.append(likelihood(start, seen))
        start = Moments(start).update(seen).with_own(start, nothing)
    assert all(after >= before - 1e-6 for before, after in pairwise(reached))


def test_what_made_the_values_is_found_again_from_a_flat_start() -> None:
    truth = a_model(3)
    model = learn(flat_model(), all_seen(truth, 4_000, 3), weight=1.0)
    assert np.abs(model.means - truth.means).max() < 0.01
    assert np.abs(covariance(model) - covariance(truth)).max() < 0.006


def test_selection_by_what_was_seen_moves_no_mean() -> None:
    """What did badly in the first slice is seen nowhere else: a moment of the others is biased."""
    truth = a_model(5)
    seen = all_seen(truth, 6_000, 5)
    good = seen.means[:, :1] > truth.means[0]
    first = np.arange(SLICES)[None, :] == 0
    shown = seen.only(good | first)
    model = learn(flat_model(), shown, weight=1.0)
    known = np.isfinite(shown.errors[:, 1:])
    averages = np.where(known, shown.means[:, 1:], 0).sum(axis=0) / known.sum(axis=0)
    assert np.abs(averages - truth.means[1:]).max() > 0.04
    assert np.abs(model.means - truth.means).max() < 0.015


def test_moments_of_two_halves_are_those_of_the_whole() -> None:
    model, seen = a_model(1), holes(all_seen(a_model(2), 50, 2), 0.3, 2)
    whole = Moments(model).update(seen)
    parts = [Seen(seen.means[cut], seen.errors[cut]) for cut in (slice(0, 20), slice(20, 50))]
    merged = Moments(model).update(parts[0]).merge(Moments(model).update(parts[1]))
    for one, other in ((whole, merged), (Moments(model).update(parts[0]).update(parts[1]), whole)):
        assert one.with_tastes(model, 2.0).farthest(other.with_tastes(model, 2.0)) < 1e-12
        assert one.with_own(model, 2.0).farthest(other.with_own(model, 2.0)) < 1e-12


def test_predictions_are_those_of_the_dense_normal_distribution() -> None:
    model, seen = a_model(7), holes(all_seen(a_model(7), 20, 7), 0.5, 7)
    means, variances = Expected(model, seen).predicted(model)
    for video in range(len(seen.means)):
        known = np.isfinite(seen.errors[video])
        common = model.loadings @ model.loadings.T
        spread = covariance(model)[np.ix_(known, known)] + np.diag(seen.errors[video][known])
        gain = common[:, known] @ np.linalg.inv(spread)
        apart = seen.means[video][known] - model.means[known]
        left = common - gain @ common[known]
        assert means[video] == pytest.approx(model.means + gain @ apart, abs=1e-9)
        assert variances[video] == pytest.approx(np.diag(left) + model.own, abs=1e-9)


def test_nothing_seen_leaves_the_prior_as_it_is() -> None:
    prior = a_model(4)
    nothing = Seen(np.zeros((5, SLICES)), np.full((5, SLICES), np.inf))
    model = learn(prior, nothing, weight=20.0)
    assert model.farthest(prior) < 1e-4


def test_a_slice_that_nobody_saw_keeps_its_numbers() -> None:
    prior = a_model(4)
    seen = all_seen(a_model(6), 300, 6).only(np.arange(SLICES)[None, :] != 2)
    model = learn(prior, seen, weight=20.0)
    assert model.means[2] == pytest.approx(prior.means[2], abs=1e-3)
    assert model.own[2] == pytest.approx(prior.own[2])


def test_the_same_tastes_written_otherwise_are_no_change() -> None:
    loadings = a_model(9).loadings
    turn, _ = np.linalg.qr(np.random.default_rng(9).standard_normal((FACTORS, FACTORS)))
    assert turned_onto(loadings @ turn, loadings) == pytest.approx(loadings)


def test_constant_values_give_finite_numbers() -> None:
    seen = Seen(np.full((40, SLICES), 0.5), np.full((40, SLICES), 1e-3))
    model = learn(flat_model(), seen, weight=20.0)
    assert model.is_finite()
    assert (model.own > 0).all()

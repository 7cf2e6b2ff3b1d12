"""What the keeper proposes: on evidence, if it predicts better, and never a number that is none."""

from typing import Any

import pytest
from kit.events import FOOTBALL, MUSIC, policy
from kit.evidence import KEY, other_tastes, row_of, video_of, videos_of
from kit.rows import honest
from msgspec.structs import replace

from streams.control.policy.evidence import Evidence, model_of
from streams.control.policy.judging import Gain
from streams.control.policy.keeper import Proposal
from streams.control.policy.proposing import (
    propose,
    propose_horizons,
    propose_tastes,
    slices_of,
)
from streams.core.counters import Slice, VideoState
from streams.core.units import MICROS


def evidence(videos: dict[str, VideoState], **more: Any) -> Evidence:
    return Evidence(videos, KEY, **more)


def test_other_tastes_are_learned_and_the_proposal_says_on_what_it_stands() -> None:
    truth = other_tastes()
    proposal = propose_tastes(policy(), evidence(videos_of(truth, 900)))
    for name, spec in proposal.slices.items():
        assert spec.prior_mean == pytest.approx(truth.slices[name].prior_mean, abs=20_000)
        assert (spec.reach, spec.horizon, spec.price) == (
            truth.slices[name].reach,
            truth.slices[name].horizon,
            truth.slices[name].price,
        )
    one, other = (proposal.slices[name].loadings for name in (FOOTBALL, MUSIC))
    together = sum(a * b for a, b in zip(one, other, strict=True)) / MICROS
    assert together == pytest.approx(6_400, abs=2_000)
    assert set(proposal.slices) == set(truth.slices)
    assert proposal.evidence["videos"] == 900
    assert 3_000 < proposal.evidence["pairs"] < 3_500
    assert 550 < proposal.evidence["pairs_held_out"] < 750
    assert "predicted better by" in proposal.why
    assert "standard error" in proposal.why


def test_a_policy_that_expects_the_truth_stays() -> None:
    proposal = propose_tastes(policy(), evidence(videos_of(policy(), 300, seed=4)))
    assert not proposal.slices
    assert proposal.why.startswith("tastes stay: ")


def test_what_was_learned_is_not_learned_again() -> None:
    known = evidence(videos_of(other_tastes(), 300))
    moved = policy()
    for _ in range(5):
        proposal = propose_tastes(moved, known)
        moved = replace(moved, slices={**moved.slices, **proposal.slices})
    assert not propose_tastes(moved, known).slices


def test_the_same_evidence_gives_the_same_proposal() -> None:
    videos = videos_of(other_tastes(), 100)
    assert propose(policy(), evidence(videos)) == propose(policy(), evidence(dict(videos)))


def alone() -> dict[str, VideoState]:
    return {"v0": video_of({name: row_of(0.3) for name in policy().slices})}


def in_one_slice() -> dict[str, VideoState]:
    return {f"v{n}": video_of({FOOTBALL: row_of(0.2 + n / 500)}) for n in range(100)}


def constant() -> dict[str, VideoState]:
    rows = {name: honest(views=20) for name in policy().slices}
    return {f"v{n}": video_of(dict(rows)) for n in range(20)}


@pytest.mark.parametrize(
    ("videos", "reason"),
    [
        ({}, "0 videos in the sample, 10 are needed"),
        (alone(), "1 videos in the sample, 10 are needed"),
        ({f"v{n}": video_of({}) for n in range(50)}, "none of the videos in the sample was seen"),
        (dict(list(in_one_slice().items())[:20]), "pairs to predict, 30 are needed"),
    ],
)
def test_too_little_moves_nothing_and_says_why(videos: dict[str, VideoState], reason: str) -> None:
    proposal = propose_tastes(policy(), evidence(videos))
    assert not proposal.slices
    assert reason in proposal.why


def test_a_policy_of_one_slice_has_nothing_to_learn() -> None:
    lone = policy(slices={FOOTBALL: policy().slices[FOOTBALL]})
    proposal = propose_tastes(lone, evidence(in_one_slice()))
    assert not proposal.slices
    assert "one slice says nothing of another" in proposal.why


@pytest.mark.parametrize("videos", [in_one_slice(), constant()])
def test_what_is_odd_gives_numbers_that_a_policy_may_have_or_none(
    videos: dict[str, VideoState],
) -> None:
    proposal = propose_tastes(policy(), evidence(videos))
    for spec in proposal.slices.values():
        assert spec.own_variance >= 1
        assert spec.noise_variance >= 1


@pytest.mark.parametrize(
    "damaged", [honest(views=10**15, ratio_sum=1), honest(views=1, likes=10**30)]
)
def test_a_damaged_row_proposes_nothing_impossible(damaged: Slice) -> None:
    videos = videos_of(other_tastes(), 100) | {"bad": video_of({FOOTBALL: damaged})}
    proposal = propose_tastes(policy(), evidence(videos))
    assert all(abs(spec.prior_mean) < 1_000_000 for spec in proposal.slices.values())


def test_no_number_is_no_policy() -> None:
    model = model_of(policy())
    model.means[0] = float("nan")
    assert slices_of(policy(), model, model.own) is None
    model.means[0] = 1e12
    assert slices_of(policy(), model, model.own) is None


def test_horizons_without_counted_slots_stay_and_say_so() -> None:
    proposal = propose_horizons(policy(), evidence(videos_of(policy(), 20)))
    assert proposal == Proposal("horizons stay: no slots were counted")


def test_a_horizon_goes_to_what_a_pair_of_the_whole_platform_can_expect() -> None:
    videos = videos_of(policy(), 50, seen=1.0)
    known = evidence(videos, one_in=100, slots={FOOTBALL: 5_000_000.0})
    proposal = propose_horizons(policy(), known)
    assert proposal.slices == {FOOTBALL: replace(policy().slices[FOOTBALL], horizon=500)}
    assert proposal.why == "horizons: 1 rise, 0 fall"
    assert proposal.evidence["open_pairs"] > 50


def test_a_proposal_has_tastes_and_horizons_and_both_reasons() -> None:
    slots = {FOOTBALL: 5_000_000.0}
    proposal = propose(policy(), evidence(videos_of(other_tastes(), 300), slots=slots))
    assert proposal.slices[FOOTBALL].horizon != policy().slices[FOOTBALL].horizon
    assert proposal.slices[FOOTBALL].prior_mean != policy().slices[FOOTBALL].prior_mean
    assert proposal.slices[MUSIC].horizon == policy().slices[MUSIC].horizon
    assert "tastes: " in proposal.why
    assert "horizons: " in proposal.why
    assert proposal.evidence.keys() >= {"videos", "pairs", "pairs_held_out", "slots_a_day"}


def test_a_gain_that_chance_explains_is_none() -> None:
    assert Gain(0.01, 0.006, 100).surely < 0 < Gain(0.01, 0.004, 100).surely

"""What the keeper would change in a policy, and why: a pure function of policy and evidence.

A change of tastes is proposed only if it predicts pairs better that it did not learn from.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np
from msgspec.structs import replace

from streams.control.policy.evidence import (
    MOST_VALUE,
    Evidence,
    Videos,
    held_out,
    is_drawn,
    model_of,
    noises_in,
    seen_in,
)
from streams.control.policy.horizon import next_horizons, open_pairs
from streams.control.policy.judging import Gain, gain_between, scores
from streams.control.policy.keeper import Proposal
from streams.control.policy.learning import Bools, FactorModel, Floats, Seen, learn
from streams.core.events import Policy, SlicePolicy
from streams.core.units import MICROS

LEAST_VIDEOS: Final = 10
MOST_VIDEOS: Final = 20_000
"""More teach little, and take their time."""
LEAST_HELD_OUT: Final = 30
"""With fewer pairs held out nothing can be said of a prediction."""
LEAST_GAIN: Final = 0.002
"""A smaller gain, in log score a pair, is not worth a record."""
TRUST: Final = (600.0, 200.0, 60.0, 20.0)
"""Videos that the numbers in force may weigh: which of these predicts best is measured."""
NOISE_WEIGHT: Final = 2_000.0
"""Views that the noise in force weighs beside those of the sample."""

SlicePolicies = dict[str, SlicePolicy]
_decode: Final = msgspec.json.Decoder(SlicePolicies).decode


def propose(policy: Policy, evidence: Evidence) -> Proposal:
    """Return what tastes and horizons should be by what is known, or why they stay."""
    tastes = propose_tastes(policy, evidence)
    learned = replace(policy, slices={**policy.slices, **tastes.slices})
    horizons = propose_horizons(learned, evidence)
    return Proposal(
        f"{tastes.why}; {horizons.why}",
        {**tastes.evidence, **horizons.evidence},
        {**tastes.slices, **horizons.slices},
    )


def propose_tastes(policy: Policy, evidence: Evidence) -> Proposal:
    """Learn means, loadings, own variances and noises from all pairs but those held out."""
    videos = _not_too_many(evidence)
    seen = seen_in(policy, videos)
    counts = {"videos": len(videos), "pairs": seen.pairs}
    if reason := _too_little(policy, videos, seen.pairs):
        return Proposal(f"tastes: {reason}", counts)
    held = held_out(evidence.key, [*videos], [*policy.slices])
    known = int((held & np.isfinite(seen.errors)).sum())
    counts |= {"pairs_held_out": known}
    if known < LEAST_HELD_OUT:
        return Proposal(f"tastes: {known} pairs to predict, {LEAST_HELD_OUT} are needed", counts)
    best = _best(policy, videos, held, seen)
    if best is None:
        return Proposal("tastes stay: what is learned is no number, a row is damaged", counts)
    slices, gain = best
    if gain.surely <= 0 or gain.mean < LEAST_GAIN:
        return Proposal(f"tastes stay: {gain}", counts)
    return Proposal(f"tastes: {_moves(policy, slices)}; {gain}", counts, slices)


def propose_horizons(policy: Policy, evidence: Evidence) -> Proposal:
    """Move each horizon towards what a pair can expect there by the slots that were asked for."""
    if not evidence.slots:
        return Proposal("horizons stay: no slots were counted")
    sampled = open_pairs(policy, evidence.videos.values())
    pairs = {name: max(count, 1) * evidence.one_in for name, count in sampled.items()}
    moved = next_horizons(policy, evidence.slots, pairs)
    counts = {
        "slots_a_day": round(sum(evidence.slots.values())),
        "open_pairs": sum(sampled.values()),
    }
    if not moved:
        return Proposal("horizons stay: they are what a pair can expect", counts)
    slices = {name: replace(policy.slices[name], horizon=each) for name, each in moved.items()}
    ups = sum(each > policy.slices[name].horizon for name, each in moved.items())
    return Proposal(f"horizons: {ups} rise, {len(moved) - ups} fall", counts, slices)


def slices_of(policy: Policy, model: FactorModel, noises: Floats) -> SlicePolicies | None:
    """Return a model as the integers of a policy; None if one of them cannot be one."""
    parts = (model.means, model.loadings, model.own, noises)
    if not all((np.abs(part) < MOST_VALUE).all() for part in parts):  # NaN is not either
        return None
    means, loadings, own, noise = (np.rint(part * MICROS).astype(int).tolist() for part in parts)
    moved = {
        name: replace(
            spec,
            prior_mean=means[place],
            loadings=tuple(loadings[place]),
            own_variance=max(own[place], 1),
            noise_variance=max(noise[place], 1),
        )
        for place, (name, spec) in enumerate(policy.slices.items())
    }
    try:
        return _decode(msgspec.json.encode(moved))
    except msgspec.ValidationError:
        return None


def _best(
    policy: Policy, videos: Videos, held: Bools, seen: Seen
) -> tuple[SlicePolicies, Gain] | None:
    """Return the candidate whose gain is surely largest; None if one of them is no number.

    Candidates differ in how much the numbers in force weigh, each learned from where the last one,
    nearer to those, came to.
    """
    in_force, noises = model_of(policy), noises_in(policy, videos, NOISE_WEIGHT)
    before = scores(in_force, seen, held)
    weighed: Seen | None = None
    model, candidates = None, []
    for trust in TRUST:
        model = learn(in_force, seen.only(~held), trust, model)
        slices = slices_of(policy, model, noises)
        if slices is None:
            return None
        moved = replace(policy, slices=slices)
        weighed = weighed or seen_in(moved, videos)  # by the new noises, which all have
        after = scores(model_of(moved), weighed, held)
        candidates.append((slices, gain_between(before, after)))
    return max(candidates, key=lambda candidate: candidate[1].surely)


def _moves(policy: Policy, slices: SlicePolicies) -> str:
    """Return in words what a candidate changes most."""
    apart = {
        name: spec.prior_mean - policy.slices[name].prior_mean for name, spec in slices.items()
    }
    name = max(apart, key=lambda each: abs(apart[each]))
    means = (policy.slices[name].prior_mean, slices[name].prior_mean)
    shares = (_common(policy.slices), _common(slices))
    return (
        f"the mean of {name} moves most, {means[0] / MICROS:.3f} -> {means[1] / MICROS:.3f}; "
        f"crowds share {shares[0]:.0%} -> {shares[1]:.0%} of the variance"
    )


def _common(slices: Mapping[str, SlicePolicy]) -> float:
    """Return the share of the variance that is common to several slices, of all together."""
    common = sum(load * load / MICROS for spec in slices.values() for load in spec.loadings)
    return common / (common + sum(spec.own_variance for spec in slices.values()))


def _not_too_many(evidence: Evidence) -> Videos:
    """Return the videos, or `MOST_VIDEOS` of them, about, always the same by their key."""
    share = MOST_VIDEOS / max(len(evidence.videos), 1)
    if share >= 1:
        return evidence.videos
    return {
        video: state
        for video, state in evidence.videos.items()
        if is_drawn(evidence.key, b"learned from", video, share)
    }


def _too_little(policy: Policy, videos: Videos, pairs: int) -> str:
    """Return why nothing can be learned, "" if something can."""
    if len(videos) < LEAST_VIDEOS:
        return f"{len(videos)} videos in the sample, {LEAST_VIDEOS} are needed"
    if len(policy.slices) < 2:
        return "one slice says nothing of another"
    return "" if pairs else "none of the videos in the sample was seen"

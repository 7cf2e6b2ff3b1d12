"""What the keeper has to learn from: rows of a keyed sample of videos, and what feeds leased."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import numpy as np
from msgspec.structs import replace

from streams.control.policy.learning import Bools, FactorModel, Floats, Seen
from streams.core.counters import VideoState
from streams.core.distinct import weighing_views
from streams.core.events import Policy
from streams.core.posterior import expected, weigh
from streams.core.units import MICROS

HELD_OUT: Final = 0.2
"""This share of the pairs is not learned from: what was learned must predict them."""
MOST_VALUE: Final = 100
"""No view is worth more: the policy's files know no greater value."""
_HASHES: Final = 1 << 64

Videos = Mapping[str, VideoState]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known when a policy is looked at.

    Each of `videos` stands for `one_in` videos. `slots` are those that leases asked for in a day,
    of the slices where they were counted. `key` decides which videos are sampled and which pairs
    are held out: nobody who chooses an id may know it.
    """

    videos: Videos
    key: bytes
    one_in: float = 1.0
    slots: Mapping[str, float] = field(default_factory=dict)


def is_drawn(key: bytes, purpose: bytes, name: str, share: float) -> bool:
    """Tell whether a name is among the `share` of names that a key draws for a purpose.

    >>> drawn = [is_drawn(b"k", b"sample", f"v{n}", 0.01) for n in range(10_000)]
    >>> 60 < sum(drawn) < 140
    True
    """
    digest = blake2b(name.encode(), digest_size=8, key=key, person=purpose).digest()
    return int.from_bytes(digest, "big") < share * _HASHES


def seen_in(policy: Policy, videos: Videos) -> Seen:
    """Return what was seen of videos in the slices of a policy, in the order of both.

    Means and errors are those that the fold itself would weigh under this policy. A pair of which
    nothing weighs, or that is worth more than anything can be, is taken as unseen.
    """
    slices = {name: place for place, name in enumerate(policy.slices)}
    means = np.zeros((len(videos), len(slices)))
    errors = np.full(means.shape, np.inf)
    for video, state in enumerate(videos.values()):
        for name, row in state.slices.items():
            if name not in slices or not row.views:
                continue
            spec, fit = policy.slices[name], state.row.fits.get(name, 0)
            weighed = weigh(policy, spec, row, fit)
            if not weighed.views:
                continue  # nothing of it weighs
            tagged = expected(policy, spec, fit) - spec.prior_mean
            mean = (weighed.value / weighed.views - tagged) / MICROS
            if abs(mean) < MOST_VALUE:
                means[video, slices[name]] = mean
                errors[video, slices[name]] = weighed.noise / weighed.views / MICROS
    return Seen(means, errors)


def model_of(policy: Policy) -> FactorModel:
    """Return what a policy expects, in value."""
    specs = policy.slices.values()
    return FactorModel(
        np.array([spec.prior_mean for spec in specs]) / MICROS,
        np.array([spec.loadings for spec in specs]) / MICROS,
        np.array([spec.own_variance for spec in specs]) / MICROS,
    )


def held_out(
    key: bytes, videos: Sequence[str], slices: Sequence[str], share: float = HELD_OUT
) -> Bools:
    """Return which pairs are held out: by the key alone, so always the same ones."""
    drawn = [is_drawn(key, b"held out", f"{v} {s}", share) for v in videos for s in slices]
    return np.array(drawn, np.bool_).reshape(len(videos), len(slices))


def noises_in(policy: Policy, videos: Videos, weight: float) -> Floats:
    """Return the variance of one view's value by slice, the policy's weighing `weight` views.

    Pooled within pairs: sum of squares around each pair's mean, over its views less one.
    """
    alone = replace(policy, noise_views=0)  # a pair's own spread, unmixed with the slice's
    slices = {name: place for place, name in enumerate(policy.slices)}
    squares = (
        np.array([spec.noise_variance for spec in policy.slices.values()], np.float64) * weight
    )
    freedom = np.full(len(slices), weight)
    for state in videos.values():
        for name, row in state.slices.items():
            if name in slices and row.views > 1 and weighing_views(row):
                noise = weigh(alone, policy.slices[name], row, 0).noise
                squares[slices[name]] += row.views * noise
                freedom[slices[name]] += row.views - 1
    return np.asarray(squares / freedom / MICROS)

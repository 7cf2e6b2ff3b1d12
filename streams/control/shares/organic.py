"""What a view of organic traffic is worth in each slice: the measure that adverts are held to."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from streams.control.shares.steering import Sums, worth_of
from streams.core.events import Policy, Weights
from streams.core.shares import is_commercial
from streams.core.traffic import UNKNOWN

MEAN_TICKS: Final = 240
"""Means are of about so many minutes: a day's rhythm is in them, a minute's chance is not."""
LEAST_VIEWS: Final = 1_000
"""Nothing is said of a slice that had fewer views within them."""
MEAN_STEP: Final = 10_000
"""The policy follows a mean in steps of so much value, micro-units."""


class OrganicMeans:
    """Means of the value of a view, without orders and adverts, that forget minute by minute."""

    def __init__(self) -> None:
        self._seen: Final[dict[str, tuple[int, int]]] = {}  # value and views by slice

    def take(self, weights: Weights, sums: Sums) -> None:
        """Take what happened in one minute more."""
        bare = replace(weights, order=0)
        for name, (value, views) in self._seen.items():
            self._seen[name] = value - value // MEAN_TICKS, views - views // MEAN_TICKS
        for (name, kind), each in sums.items():
            if kind != UNKNOWN and not is_commercial(kind):
                value, views = self._seen.get(name, (0, 0))
                more = worth_of(bare, {(name, kind): each})
                self._seen[name] = value + more, views + each.views

    def moved(self, policy: Policy) -> Mapping[str, int]:
        """Return the means that a policy should have: what it has, and those that are a step off.

        Where it has none, those are measured against what it expects of a video.
        """
        means = dict(policy.organic)
        for name, spec in policy.slices.items():
            value, views = self._seen.get(name, (0, 0))
            known = means.get(name, spec.prior_mean)
            if views >= LEAST_VIEWS and abs(value // views - known) >= MEAN_STEP:
                means[name] = value // views
        return means

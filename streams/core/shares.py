"""The promises about shares of the traffic: which impressions each one is of, and which it wants.

Precedence is moderation, private, ordinary, guarantee, ceiling, adverts: what moderation ends has
no row that a tilt could raise; the guarantee is filled before any ranking, from a bounded share of
the slots; adverts get what is left below their ceiling.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from streams.core.fields import BANDS
from streams.core.traffic import ClassSums
from streams.core.units import MICROS, surface_of

PromiseName = Literal["private", "ordinary", "commercial"]
MARGIN: Final = 10_000
"""A loop aims at a point above its floor, or below its ceiling (micro-units of share)."""
ORDINARY: Final = frozenset(str(band) for band in range(BANDS - 1))
"""Classes of ordinary people: creators below 100,000 followers, without adverts."""


def is_commercial(kind: str) -> bool:
    """Tell whether a class is one of adverts, whoever made them."""
    return kind.endswith("c")


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise: at least `bound` of some impressions are of its class, or at most.

    A bound of 0 for a floor, and of all for a ceiling, promises nothing.

    >>> Bar("ordinary", 700_000).target, Bar("commercial", 150_000).target
    (710000, 140000)
    """

    name: PromiseName
    bound: int  # micro-units of share

    @property
    def ceiling(self) -> bool:
        """Whether its class may have at most so much."""
        return self.name == "commercial"

    @property
    def is_on(self) -> bool:
        """Whether it promises anything."""
        return self.bound < MICROS if self.ceiling else self.bound > 0

    @property
    def target(self) -> int:
        """The share that the loop aims at."""
        aim = self.bound - MARGIN if self.ceiling else self.bound + MARGIN
        return min(max(aim, 0), MICROS)

    def is_of(self, slice_id: str) -> bool:
        """Tell whether impressions in a slice are among those that the share is of."""
        return self.name == "private" or surface_of(slice_id) != "following"

    def has(self, slice_id: str, kind: str) -> bool:
        """Tell whether impressions of a class in a slice are those that are promised."""
        if self.name == "private":
            return surface_of(slice_id) == "following"
        return self.is_of(slice_id) and (is_commercial(kind) if self.ceiling else kind in ORDINARY)

    def raises(self, kind: str) -> bool:
        """Tell whether more impressions of a class help it, where they are of the right surface."""
        if self.name == "private":
            return True
        return not is_commercial(kind) if self.ceiling else kind in ORDINARY

    def off(self, share: int) -> int:
        """Return how far a share is on the wrong side of the target, negative on the right one."""
        return share - self.target if self.ceiling else self.target - share

    def count(self, sums: Mapping[tuple[str, str], ClassSums]) -> tuple[int, int]:
        """Return the impressions of its class, and all that the share is of."""
        own = of = 0
        for (slice_id, kind), each in sums.items():
            if self.is_of(slice_id):
                of += each.impressions
                own += each.impressions if self.has(slice_id, kind) else 0
        return own, of

    def share(self, sums: Mapping[tuple[str, str], ClassSums]) -> int | None:
        """Return the share, micro-units; None of nothing."""
        own, of = self.count(sums)
        return own * MICROS // of if of else None

"""One minute's slots: what each class has to offer, by score, and what the best of it is."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.fields import BANDS
from streams.core.traffic import GAP_MICROS, GAPS, GAPS_BELOW
from streams.core.units import MICROS
from streams.lab.shares.worlds import SLOTS, ShareWorld

Floats = NDArray[np.float64]
ClassName = tuple[str, str]
"""Slice and class."""

PUBLIC: Final = "discover:all"
FANS: Final = "following:fans"
ORDINARY, FAMOUS = "1", str(BANDS - 1)
CLASSES: Final[tuple[ClassName, ...]] = (
    (FANS, ORDINARY),
    (PUBLIC, ORDINARY),
    (PUBLIC, FAMOUS),
    (PUBLIC, f"{ORDINARY}c"),
    (PUBLIC, f"{FAMOUS}c"),
)
MEANS: Final = np.array([0.42, 0.35, 0.36, 0.33, 0.33])
"""Of the scores of each class: followers like it best, adverts please less."""
POOL: Final = 8.0
"""Impressions that public videos could have, in slots of a mean minute."""
CHUNK: Final = 10
"""Impressions that one video has to offer at a time: so many go together."""
PRICE: Final = 0.4
WIDTH: Final = 0.004
EDGES: Final = np.arange(-0.2, 1.2 + WIDTH / 2, WIDTH)
"""Of the buckets of scores."""
MIDDLES: Final = EDGES[:-1] + WIDTH / 2
ROOM_LIFT: Final = 0.1
"""What a live room is liked more than its class."""
ROOM_PARTS: Final = np.array([0.5, 0.0, 0.5, 0.0, 0.0])
"""Fans have half of what rooms offer; the rest is public, and of famous people."""
WANDER_MINUTES: Final = 120
"""The taste for a class is one of about so many minutes."""


class FilledSlots(NamedTuple):
    """What a minute's slots were filled with: impressions by class, their scores, their worth."""

    impressions: Mapping[ClassName, int]
    gaps: Mapping[ClassName, list[int]]
    worth: float


class Market:
    """Draws what there is to show, minute by minute; the same for the same `chance`."""

    def __init__(self, world: ShareWorld, chance: np.random.Generator) -> None:
        self._world: Final = world
        self._chance: Final = chance
        self._wandered = np.zeros(len(CLASSES))
        self._offered = np.zeros((len(CLASSES), len(EDGES)))

    def next_minute(self, minute: int) -> None:
        """Draw the offers of a minute."""
        world, chance = self._world, self._chance
        stays = 1 - 1 / WANDER_MINUTES
        moved = chance.normal(0, world.wander * np.sqrt(1 - stays**2), len(CLASSES))
        self._wandered = stays * self._wandered + moved
        ordinary, adverts = world.ordinary_at(minute), world.adverts
        public = POOL * np.array([ordinary, 1 - ordinary])
        sizes = SLOTS * np.array([world.fans, *public * (1 - adverts), *public * adverts])
        centre = MEANS + self._wandered
        expected = _spread(sizes, centre, world.spread)
        if rooms := world.rooms_at(minute):
            expected += _spread(SLOTS * rooms * ROOM_PARTS, centre + ROOM_LIFT, world.spread)
        offers = chance.poisson(expected / CHUNK) * float(CHUNK)
        self._offered[:, :-1] = offers[:, ::-1].cumsum(axis=1)[:, ::-1]

    def fill(self, slots: int, tilts: Floats, leans: Floats) -> FilledSlots:
        """Fill slots with the best offers; none whose score, lifted, lies below the price.

        Both lift the classes; `leans` are the part of it that stands in the prices.
        """
        if self._world.feeds == "blend":
            cuts = self._cut(slots, slice(None), tilts + leans)
        else:
            cuts = self._cut(slots // 5, slice(0, 1), tilts + leans)
            cuts = np.append(cuts, self._cut(slots - slots // 5, slice(1, None), tilts + leans))
        counts, gaps, worth = {}, {}, 0.0
        for at, name in enumerate(CLASSES):
            above_cut = np.interp(cuts[at], EDGES, self._offered[at])
            counts[name] = int(above_cut)
            within = np.minimum(self._offered[at], above_cut)
            shown = within[:-1] - within[1:]
            worth += float(shown @ MIDDLES)
            gaps[name] = _gaps(shown, leans[at])
        return FilledSlots(counts, gaps, worth)

    def _cut(self, slots: int, classes: slice, lifts: Floats) -> Floats:
        """Return the score from which on each of some classes is shown."""
        offered, lifts = self._offered[classes], lifts[classes]
        lifted = sum(
            np.interp(EDGES - lift, EDGES, own) for own, lift in zip(offered, lifts, strict=True)
        )
        cut = float(np.interp(-slots, -np.asarray(lifted), EDGES))
        return max(cut, PRICE) - lifts


def _spread(sizes: Floats, centres: Floats, sd: float) -> Floats:
    """Return so many impressions of each class by score, around a centre."""
    density = np.exp(-0.5 * ((MIDDLES - centres[:, None]) / sd) ** 2)
    return np.asarray(sizes[:, None] * density / density.sum(axis=1, keepdims=True))


def _gaps(shown: Floats, lean: float) -> list[int]:
    """Return impressions by score less price, in the buckets of `traffic`."""
    place = np.floor((MIDDLES - PRICE + lean) * MICROS / GAP_MICROS).astype(int) + GAPS_BELOW
    buckets = np.bincount(np.clip(place, 0, GAPS - 1), weights=shown, minlength=GAPS)
    return [int(count) for count in buckets]

"""The promises about shares: what they are of, in which order they count, and the file's numbers.

Precedence is moderation, private, ordinary, guarantee, ceiling, adverts: what moderation ends has
no row that a tilt could raise; the guarantee is filled before any ranking and takes at most
`DUE_MOST` of the slots; adverts get what is left below their ceiling.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from msgspec import Struct

from streams.control.figures import micros, ratio_micros
from streams.control.policy.catalogue import Catalogue
from streams.core.fields import BANDS
from streams.core.traffic import ClassSums
from streams.core.units import MICROS, surface_of
from streams.errors import Misconfigured
from streams.runtime.leases import CLASSES
from streams.runtime.mixes import PromiseName

MARGIN: Final = 10_000
"""A loop aims at a point above its floor, or below its ceiling (micro-units of share)."""
DUE_MOST: Final = 50_000
"""At most this share of a slice's slots is for newcomers, in millionths."""
ORDINARY: Final = frozenset(str(band) for band in range(BANDS - 1))
"""Classes of ordinary people: creators below 100,000 followers, without adverts."""
COMMERCIAL: Final = frozenset(kind for kind in CLASSES if kind.endswith("c"))
Feeds = Literal["blend", "tabs"]


@dataclass(frozen=True, slots=True)
class Bar:
    """One promise: at least `bound` of some impressions are of its class, or at most.

    A bound of 0 for a floor, and of all for a ceiling, promises nothing.
    """

    name: PromiseName
    bound: int  # micro-units of share
    ceiling: bool = False

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
        return self.is_of(slice_id) and kind in (COMMERCIAL if self.ceiling else ORDINARY)

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


@dataclass(frozen=True, slots=True)
class ShareRules:
    """What the platform promised, in the order in which it counts, and what it may cost.

    A promise raises or lowers its class by at most `tilt_max` micro-units of value; what it comes
    to over hours, by at most `term_max`, becomes a part of the prices.
    """

    bars: tuple[Bar, ...]
    tilt_max: int
    term_max: int
    gain: int  # micro-units of share that a tilt of one value moves, before it is measured
    feeds: Feeds


class SharesTable(Struct, frozen=True, forbid_unknown_fields=True):
    """The table `[shares]` of `policy.toml`."""

    private: Decimal
    ordinary: Decimal
    commercial: Decimal
    tilt_max: Decimal
    term_max: Decimal
    gain: Decimal
    feeds: Feeds


def share_rules(table: SharesTable, catalogue: Catalogue, where: str) -> ShareRules:
    """Return the rules of a file; `Misconfigured` where they could not be held by anything."""
    private = ratio_micros(table.private, f"{where}.private")
    ordinary = ratio_micros(table.ordinary, f"{where}.ordinary")
    ceiling = ratio_micros(table.commercial, f"{where}.commercial")
    if private + ordinary > MICROS:
        raise Misconfigured(
            f"{where}: the floors private and ordinary sum to {table.private + table.ordinary}: "
            "lower them until they are at most 1 together"
        )
    if private and not any(spec.surface == "following" for spec in catalogue.slices.values()):
        raise Misconfigured(
            f"{where}.private: no following slice in slices.toml could hold it: add one, or use 0"
        )
    if ceiling and ceiling <= MARGIN:
        raise Misconfigured(f"{where}.commercial: {table.commercial} leaves no room: above 0.01")
    return ShareRules(
        (
            Bar("private", private),
            Bar("ordinary", ordinary),
            Bar("commercial", ceiling, ceiling=True),
        ),
        _bound(table.tilt_max, f"{where}.tilt_max"),
        _bound(table.term_max, f"{where}.term_max"),
        _bound(table.gain, f"{where}.gain", most=1_000),
        table.feeds,
    )


def _bound(value: Decimal, where: str, most: int = 1) -> int:
    """Return a number above 0: with a bound of 0 nothing could be moved, and nothing held."""
    if value.is_finite() and 0 < value <= most:
        return micros(value, where)
    raise Misconfigured(f"{where}: {value} is out of range: use more than 0, at most {most}")

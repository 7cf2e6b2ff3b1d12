"""Traffic: what each crowd was shown and what came of it, by minutes, for whoever steers.

`core.ticks` counts it while events are folded, `core.traffic_view` reads it.
"""

from operator import attrgetter
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from streams.core.events import Impression
from streams.core.fields import BANDS, Amount, Count
from streams.core.units import MICROS

GAPS: Final = 16
GAP_MICROS: Final = 20_000
"""Width of a bucket of score less price; the first and the last bucket are open to their side."""
GAPS_BELOW: Final = 4
"""Buckets below a score that equals the price."""
UNKNOWN: Final = "unknown"
"""The class of videos that nobody admitted yet."""
MIX_TICKS: Final = 5
"""A `mix` is of a minute: what is further from the open tick is an old one, or none."""

Change = Annotated[int, Meta(description="a count, less what was taken back")]
Granted = Annotated[int, Meta(description="impressions")]
Ratios = Annotated[int, Meta(description="watched share of each view, summed, micro-units")]
Value = Annotated[int, Meta(description="micro-units of value, apart: squared")]
Gaps = Annotated[
    list[Count],
    Meta(
        description=f"impressions by score less price, micro-units, in {GAPS} buckets of "
        f"{GAP_MICROS} from {-GAPS_BELOW * GAP_MICROS} on; empty if none carried a score"
    ),
]


class ClassSums(Struct, gc=False, omit_defaults=True):
    """What happened in one slice to the videos of one class; what is 0 is left out.

    `kind` is the class: the fan band, and `c` behind it for a commercial video, or `unknown`.
    A slice without a group (`discover:`) sums those that the policy in force does not have.
    `granted` impressions were allowed, `returned` of earlier ones given back; `via` counts the
    impressions that say why they were shown, `steered` those that went by a `mix` of the latest
    minutes. Of so many `trials`, tranches that chance drew and that were shown, `hoped` was
    expected of a view and `found`, summed, and squared `apart`.
    """

    slice: str
    kind: str
    impressions: Count = 0
    views: Count = 0
    ratio_sum: Ratios = 0
    completes: Count = 0
    likes: Change = 0
    comments: Count = 0
    shares: Count = 0
    follows: Count = 0
    hides: Count = 0
    reports: Count = 0
    orders: Count = 0
    granted: Granted = 0
    returned: Granted = 0
    via: dict[str, Count] = {}
    gaps: Gaps = []
    profiles: Count = 0
    unfollows: Count = 0
    gifts: Count = 0
    stays: Count = 0
    stay_ms: Count = 0
    follower_impressions: Count = 0
    order_amount: Amount = 0
    gift_amount: Amount = 0
    spend: Amount = 0
    trials: Count = 0
    hoped: Value = 0
    found: Value = 0
    apart: Value = 0
    steered: Count = 0

    def note_trial(self, hoped: int, found: int) -> None:
        """Note what was expected of a view in a drawn tranche, and what its views were worth."""
        self.trials += 1
        self.hoped += hoped
        self.found += found
        self.apart += (found - hoped) ** 2 // MICROS

    def is_empty(self) -> bool:
        """Tell whether nothing is counted."""
        return not any(_numbers(self))

    def take(self) -> "ClassSums":
        """Return what is counted so far, and count from nothing."""
        taken = replace(self)
        for name in SUMS:
            setattr(self, name, 0)
        self.via, self.gaps = {}, []
        return taken

    def add(self, other: "ClassSums") -> None:
        """Add what another one sums."""
        for name in SUMS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for via, count in other.via.items():
            self.via[via] = self.via.get(via, 0) + count
        if other.gaps:
            both = zip(self.gaps or [0] * GAPS, other.gaps, strict=True)
            self.gaps = [one + more for one, more in both]


SUMS: Final = tuple(name for name in ClassSums.__struct_fields__[2:] if name not in {"via", "gaps"})
"""The fields that are one number."""
HOT: Final = ("impressions", "views", "ratio_sum", "completes")
"""Of those, the ones that nearly every event moves: counted in a list, which costs a fifth of a
field of a struct, and added now and then."""
_numbers: Final = attrgetter(*SUMS)
_KINDS: Final = tuple(f"{band}{mark}" for band in range(BANDS) for mark in ("", "c"))


class Tick(Struct, frozen=True, tag_field="type", tag="traffic"):
    """One minute of one partition: a record of the topic `traffic`, keyed by the partition.

    `id` is `<partition>.<tick>`: it depends on the log alone, and readers drop repeats by it.
    """

    id: str
    partition: Annotated[int, Meta(ge=0, description="of the log")]
    tick: Annotated[int, Meta(ge=0, description="minutes since 1970")]
    sums: tuple[ClassSums, ...]


encode: Final = msgspec.json.Encoder(order="deterministic").encode
"""Tick to bytes: the one spelling that goes on the topic `traffic`."""
decode: Final = msgspec.json.Decoder(Tick).decode


def kind_of(band: int, commercial: bool, admitted: int) -> str:
    """Return the class of a video, admitted at a time in ms (0: not yet).

    >>> kind_of(3, True, 1_700_000_000_000), kind_of(0, False, 0)
    ('3c', 'unknown')
    """
    return _KINDS[2 * band + commercial] if admitted else UNKNOWN


def note_served(sums: ClassSums, event: Impression, price: int | None, tick: int) -> None:
    """Note why an impression was shown, to whom, for how much, and how far above its price.

    `tick` is the open one.

    >>> sums = ClassSums("discover:cars", "0")
    >>> event = Impression("e1", "v1", "u1", "discover:cars", 1_700_000_000_000, "rank", 390_000, 9)
    >>> note_served(sums, event, price=330_000, tick=12)
    >>> sums.via, sums.gaps.index(1), sums.steered
    ({'rank': 1}, 7, 1)
    """
    sums.follower_impressions += event.follower
    sums.spend += event.amount
    if event.mix is not None and abs(tick - event.mix) <= MIX_TICKS:
        sums.steered += 1
    if event.via is not None:
        sums.via[event.via] = sums.via.get(event.via, 0) + 1
    if event.score is not None and price is not None:
        gap = (event.score - price) // GAP_MICROS + GAPS_BELOW
        sums.gaps = sums.gaps or [0] * GAPS
        sums.gaps[min(max(gap, 0), GAPS - 1)] += 1

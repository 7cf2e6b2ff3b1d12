"""The serving index as a port, and its words: classes of videos, leases, and their bounds."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from secrets import token_hex
from types import MappingProxyType
from typing import Final, Literal, NamedTuple, Protocol

from streams.core.counters import Video
from streams.core.fields import BANDS
from streams.core.outlook import Outlook
from streams.core.serving import Entry
from streams.core.units import MICROS

Via = Literal["rank", "fresh", "explore"]
"""Why a video is shown: among the best of its slice, owed a first audience, or drawn by chance."""
PolicyOrder = tuple[int, int]
"""Which of two policies is the later one: term, then number."""

CLASSES: Final = tuple(f"{band}{mark}" for band in range(BANDS) for mark in ("", "c"))
"""Every class: the fan band of the creator, and `c` behind it for a commercial video."""
LEASE_MOST: Final = 500
"""Slots that one lease may fill: what asks for more gets so many."""
LEASE_LONGEST_S: Final = 60
"""A lease stands no longer, so nothing is lost for longer with who leased it."""
NEWCOMERS_MOST: Final = 200
"""Of so many newcomers of a slice at most it is told what they are owed."""
MINUTES: Final = 1_440
"""Minutes whose slots are kept: a day."""


class Lease(NamedTuple):
    """Impressions of one video that a feed server may show.

    `net` is the `score` less price and tilt. What is not counted by `until` (s since 1970) goes
    back to the video. The bid of an advert counts `factor` times (millionths).
    """

    video: str
    impressions: int
    net: int
    via: Via
    until: int
    score: int
    factor: int = MICROS


class Candidate(NamedTuple):
    """A video that a slice could show now: its score less price and tilt, and what may be shown."""

    video: str
    net: int
    left: int  # allowance less what was counted and what is leased
    allowance: int
    kind: str  # its class


class Newcomers(NamedTuple):
    """How many pairs are owed a first audience in a slice; of some of them, by when and how much.

    `dues` are deadlines (ms since 1970) and impressions, the earliest first.
    """

    pairs: int
    dues: Sequence[tuple[int, int]] = ()


class Footing(NamedTuple):
    """What a policy says of a whole slice: the share of newcomers, and whether it is frozen.

    `fresh_share` (micro-units) of the slots are for newcomers where a lease brings no share of its
    own. Of a slice that a person froze nothing is leased; slots asked for are counted.
    """

    fresh_share: int = 0
    frozen: bool = False


OPEN: Final = Footing()


class Applied(NamedTuple):
    """What became of entries: how many were newer, and each partition's position before, if any."""

    written: int
    before: Mapping[int, int]


class Slots(NamedTuple):
    """Slots of one minute (of Redis' clock, since 1970): asked for, and filled."""

    minute: int
    asked: int
    rank: int
    fresh: int


@dataclass(frozen=True)
class IndexBounds:
    """How long the index remembers and how much it holds.

    A lease that is not settled comes back after `lease_s`, `LEASE_LONGEST_S` at most; a removed
    pair keeps its offset for `removed_s`; `ranked` pairs of a slice and class stand in its list,
    and as many in `fresh`. `key` decides between equal scores, for a slice without such a key.
    """

    lease_s: int = LEASE_LONGEST_S
    removed_s: int = 3_600
    ranked: int = 10_000
    key: str = ""

    def new_key(self) -> str:
        """Return the key for a slice that has none: nobody who chooses an id may know it."""
        return self.key or token_hex(8)


def class_of(entry: Entry) -> str:
    """Return an entry's class.

    >>> class_of(Entry("v1", 7, 350_000, band=3, commercial=True))
    '3c'
    """
    return f"{entry.band}{'c' if entry.commercial else ''}"


def prices_of(outlook: Outlook) -> dict[str, dict[str, int]]:
    """Return what an impression must be worth under a policy, by slice and class."""
    classes = {
        f"{band}{'c' if commercial else ''}": Video(band=band, commercial=commercial)
        for band in range(BANDS)
        for commercial in (False, True)
    }
    return {
        slice_id: {kind: outlook.price(slice_id, video) for kind, video in classes.items()}
        for slice_id in outlook.policy.slices
    }


def slots_of(count: int) -> int:
    """Return how many slots a lease of `count` is about: none for less than one, never too many."""
    return min(max(count, 0), LEASE_MOST)


def share_of(fresh_share: int) -> int:
    """Return a share in micro-units as one between nothing and all."""
    return min(max(fresh_share, 0), MICROS)


def require_classes(numbers: Mapping[str, int]) -> None:
    """Raise `ValueError` if something else than a class has a number."""
    if unknown := sorted(numbers.keys() - set(CLASSES)):
        raise ValueError(f"{unknown[0]} is no class: a fan band 0 to {BANDS - 1}, c if commercial")


class ServingIndex(Protocol):
    """What each slice may show now, told by workers and leased by feed servers; a view of the rows.

    Each call is about one slice. It raises `Retry` if the index fails for now and repeats nothing:
    a lease whose reply was lost comes back by itself.
    """

    async def apply(
        self, slice_id: str, partitions_at: Mapping[int, int], entries: Sequence[Entry]
    ) -> Applied:
        """Put entries in, then note up to which offset each partition has told everything.

        An entry replaces one of a lower offset, or the pair's removal at its own, and settles as
        many of the pair's oldest leased impressions as more are counted; another one has its pair
        ranked again as it is known. Positions only rise. May be repeated.
        """

    async def set_prices(
        self, slice_id: str, order: PolicyOrder, prices: Mapping[str, int], footing: Footing = OPEN
    ) -> bool:
        """Put a price a class (0 without) and a footing in force; False if a later order has."""

    async def is_frozen(self, slice_id: str) -> bool:
        """Tell whether the slice is frozen, by the policy whose prices are in force."""

    async def lease(
        self,
        slice_id: str,
        count: int,
        most_each: int,
        fresh_share: int | None = 0,
        tilts: Mapping[str, int] = MappingProxyType({}),
        without: Collection[str] = (),
    ) -> Sequence[Lease]:
        """Take impressions for up to `count` slots, at most `most_each` of a video.

        First, for `fresh_share` (micro-units; None: that of the policy) of the slots asked, of
        pairs that are owed some, drawn ones and then by deadline; then by score less price plus the
        class's tilt, as long as that is not negative. None of the videos `without`. Fewer, or none,
        where less is left; `count` is cut to `LEASE_MOST`.
        """

    async def give_back(self, slice_id: str, leases: Sequence[Lease]) -> int:
        """Return impressions that were not shown; how many of them were still leased."""

    async def top(
        self, slice_id: str, count: int, tilts: Mapping[str, int] = MappingProxyType({})
    ) -> Sequence[Candidate]:
        """Return the `count` best candidates as a lease with these tilts takes them by rank."""

    async def newcomers(self, slice_id: str) -> Newcomers:
        """Return what is owed to newcomers here; of those whose time is over it may tell too."""

    async def positions(self, slice_id: str) -> Mapping[int, int]:
        """Return up to which offset each partition has told the slice everything."""

    def pairs(self, slice_id: str) -> AsyncIterator[Sequence[tuple[str, int]]]:
        """Yield pages of the videos that are not removed, with the offset of each one's entry.

        What changes meanwhile may be missing or come twice, what does not comes once.
        """

    async def slots(self, slice_id: str, minutes: int) -> Sequence[Slots]:
        """Return the slots of the latest minutes in which any were asked for, oldest first."""

    async def clear(self, slice_id: str) -> None:
        """Forget all of a slice: those who told it notice, and tell it again."""

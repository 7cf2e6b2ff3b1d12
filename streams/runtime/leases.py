"""The words of the serving index: classes of videos, leases of impressions, and their bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from secrets import token_hex
from typing import Final, Literal, NamedTuple

from streams.core.counters import Video
from streams.core.outlook import Outlook
from streams.core.serving import Entry
from streams.core.units import MICROS

Via = Literal["rank", "fresh"]
"""Why a video is shown: among the best of its slice, or owed a first audience."""
PolicyOrder = tuple[int, int]
"""Which of two policies is the later one: term, then number."""

BANDS: Final = 6
CLASSES: Final = tuple(f"{band}{mark}" for band in range(BANDS) for mark in ("", "c"))
"""Every class: the fan band of the creator, and `c` behind it for a commercial video."""
LEASE_MOST: Final = 500
"""Slots that one lease may fill: what asks for more gets so many."""
LEASE_LONGEST_S: Final = 60
"""A lease stands no longer, so nothing is lost for longer with who leased it."""
MINUTES: Final = 1_440
"""Minutes whose slots are kept: a day."""


class Lease(NamedTuple):
    """Impressions of one video that a feed server may show.

    `net` is the score less price and tilt. What is not counted by `until` (s since 1970) goes back
    to the video.
    """

    video: str
    impressions: int
    net: int
    via: Via
    until: int


class Candidate(NamedTuple):
    """A video that a slice could show now: its score less the price, and what may be shown."""

    video: str
    net: int
    left: int  # allowance less what was counted and what is leased
    allowance: int
    kind: str  # its class


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

"""What to lease for one page: the best of several slices, by score net of price. Pure."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from streams.runtime.leases import Candidate


class Portion(NamedTuple):
    """How many slots of a page one slice is to fill, and with which videos it is not to."""

    slots: int
    without: frozenset[str]


def usable(candidates: Sequence[Candidate], most_each: int, left_out: Collection[str] = ()) -> int:
    """Return how many slots these candidates can fill."""
    return sum(min(one.left, most_each) for one in candidates if one.video not in left_out)


def portions(
    tops: Mapping[str, Sequence[Candidate]],
    slots: int,
    most_each: int,
    left_out: Collection[str] = (),
) -> dict[str, Portion]:
    """Share the slots of a page out among slices: the best of all candidates fill them.

    A video that several slices could show is shown in the one where it is worth most; of equals
    the slice named first comes first. Slots that nothing is left for are asked of the first slice:
    somebody wanted them filled.

    >>> cars = [Candidate("a", 500, 9, 60, "0"), Candidate("b", 100, 9, 60, "0")]
    >>> food = [Candidate("a", 400, 9, 60, "0"), Candidate("c", 300, 9, 60, "0")]
    >>> tops = {"discover:cars": cars, "discover:food": food}
    >>> {name: portion.slots for name, portion in portions(tops, 2, 1).items()}
    {'discover:cars': 1, 'discover:food': 1}
    """
    ranked = sorted(
        (-one.net, place, one.video, min(one.left, most_each))
        for place, candidates in enumerate(tops.values())
        for one in candidates
        if one.video not in left_out
    )
    chosen: list[dict[str, int]] = [{} for _ in tops]
    homes: dict[str, int] = {}
    open_slots = slots
    for _, place, video, count in ranked:
        if open_slots and count and video not in homes:
            homes[video] = place
            chosen[place][video] = min(count, open_slots)
            open_slots -= chosen[place][video]
    return {
        name: Portion(
            sum(chosen[place].values()) + (0 if place else open_slots),
            frozenset(left_out).union(video for video, at in homes.items() if at != place),
        )
        for place, name in enumerate(tops)
    }

"""Which slices a video may reach, what it may expect there before any view, and at what price.

What follows from a policy alone is computed once, when it comes into force.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

from streams.core.counters import Video
from streams.core.events import Policy, SlicePolicy
from streams.core.fields import BANDS
from streams.core.posterior import Sums, estimate, expected, solve
from streams.core.units import surface_of


class Prospect(NamedTuple):
    """A slice that is open to a video, before any view there; micro-units of value per view."""

    slice: str
    mean: int
    score: int  # the index
    gain: int  # of the score over the price of the video's class


class Outlook:
    """A policy, and what follows from it for every slice."""

    def __init__(self, policy: Policy) -> None:
        self.policy: Final = policy
        nothing = solve(Sums())
        self._hopes: Final = {
            name: estimate(spec, 0, None, nothing).score for name, spec in policy.slices.items()
        }
        self._prices: Final = {
            name: _prices(policy, name, spec) for name, spec in policy.slices.items()
        }
        self._public: Final = [
            name
            for name, spec in policy.slices.items()
            if surface_of(name) == "discover" and not spec.is_shut
        ]

    def price(self, slice_id: str, video: Video) -> int:
        """Return what an impression of this video must be worth in a slice of the policy.

        The slice's price, and the term of the video's class there.
        """
        return self._prices[slice_id][2 * video.band + video.commercial]

    def reaches(self, slice_id: str, video: Video) -> bool:
        """Tell whether a video may be shown in a slice at all: where its stage and place let it.

        Nothing may be where a person froze the slice.
        """
        spec = self.policy.slices.get(slice_id)
        if spec is None or spec.is_shut:
            return False
        surface = surface_of(slice_id)
        if surface == "following":
            return video.stage in {"public", "limited"} and slice_id in video.fits
        return video.stage == "public" and (surface == "discover" or slice_id in video.fits)

    def prospect(self, slice_id: str, video: Video) -> Prospect | None:
        """Return what a video may expect in a slice, None if the slice is not open to it.

        Open is what it may reach, where the index before any view beats the price (followers are
        never refused), the `open_max` best of them.
        """
        if not self.reaches(slice_id, video):
            return None
        if len(self.policy.slices) > self.policy.open_max:
            return next((each for each in self.prospects(video) if each.slice == slice_id), None)
        found = self.before_any_view(slice_id, video)
        return found if _is_worth_it(found) else None

    def prospects(self, video: Video) -> list[Prospect]:
        """Return all slices that are open to a video, best first."""
        within = [self.before_any_view(slice_id, video) for slice_id in self._reachable(video)]
        opened = sorted(filter(_is_worth_it, within), key=_best_first)
        return opened[: self.policy.open_max]

    def hope(self, slice_id: str, video: Video) -> int:
        """Return the index of a video in a slice before any view, anywhere."""
        spec = self.policy.slices[slice_id]
        return expected(self.policy, spec, video.fits.get(slice_id, 0)) + self._hopes[slice_id]

    def before_any_view(self, slice_id: str, video: Video) -> Prospect:
        """Return what a video may expect in a slice of the policy, open to it or not."""
        score = self.hope(slice_id, video)
        mean = score - self._hopes[slice_id]
        return Prospect(slice_id, mean, score, score - self.price(slice_id, video))

    def _reachable(self, video: Video) -> Iterator[str]:
        if video.stage == "public":
            yield from self._public
        for slice_id in video.fits:
            if surface_of(slice_id) != "discover" and self.reaches(slice_id, video):
                yield slice_id


def term_name(surface: str, band: int, commercial: bool) -> str:
    """Return how a policy's `terms` name the class of a video on a surface.

    >>> term_name("discover", 3, False), term_name("nearby", 0, True)
    ('discover:3', 'nearby:0c')
    """
    return f"{surface}:{band}{'c' if commercial else ''}"


def _prices(policy: Policy, slice_id: str, spec: SlicePolicy) -> tuple[int, ...]:
    surface = surface_of(slice_id)
    names = [term_name(surface, band, each) for band in range(BANDS) for each in (False, True)]
    return tuple(
        spec.price + policy.terms.get(name, 0) - policy.leans.get(name, 0) for name in names
    )


def _is_worth_it(prospect: Prospect) -> bool:
    return prospect.gain >= 0 or surface_of(prospect.slice) == "following"


def _best_first(prospect: Prospect) -> tuple[int, str]:
    return -prospect.gain, prospect.slice

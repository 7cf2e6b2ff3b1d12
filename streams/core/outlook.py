"""Which slices a video may reach, what it may expect there before any view, and at what price.

What follows from a policy alone is computed once, when it comes into force; what follows from it
and from what moderation and admission said of a video is kept for the next video of which they say
the same. So nothing that is kept changes a result.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from streams.core.counters import Video
from streams.core.events import Policy, SlicePolicy, first_tranche
from streams.core.fields import BANDS
from streams.core.posterior import Sums, estimate, expected, solve
from streams.core.receipts import Crowd
from streams.core.units import surface_of

OUTSETS_KEPT: Final = 1_000
_Said = tuple[str, int, bool, tuple[tuple[str, int], ...]]  # stage, band, commercial, fits


class Prospect(NamedTuple):
    """A slice that is open to a video, before any view there; micro-units of value per view."""

    slice: str
    mean: int
    score: int  # the index
    gain: int  # of the score over the price of the video's class


class Outset(NamedTuple):
    """What is open to a video that nobody was shown yet, best first, and what a receipt says then.

    The crowds have a whole first tranche each; `scores` are by slice, `drawable` those that chance
    may draw then, by name.
    """

    prospects: tuple[Prospect, ...] = ()
    slices: tuple[str, ...] = ()
    crowds: tuple[Crowd, ...] = ()
    scores: Mapping[str, int] = MappingProxyType({})
    drawable: tuple[str, ...] = ()


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
        public = [
            name
            for name, spec in policy.slices.items()
            if surface_of(name) == "discover" and not spec.is_shut
        ]
        classes = [Video(band=at // 2, commercial=at % 2 == 1) for at in range(2 * BANDS)]
        # what is open to a video whose tags fit nothing, by class
        self._public: Final = [
            {each.slice: each for each in self._best(public, video)} for video in classes
        ]
        self._outsets: Final[dict[_Said, Outset]] = {}
        first = first_tranche(policy)
        # impressions of a first grant, within the budget of the video
        self.firsts: Final = {name: min(first, spec.reach) for name, spec in policy.slices.items()}

    def affords_first(self, video: Video) -> bool:
        """Tell whether a whole first tranche is left of the budget of a video."""
        return first_tranche(self.policy) <= self.policy.budget - video.granted

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
        if len(self.policy.slices) > self.policy.open_max:
            return next((each for each in self.prospects(video) if each.slice == slice_id), None)
        if video.stage == "public" and slice_id not in video.fits:
            return self._public[2 * video.band + video.commercial].get(slice_id)
        if not self.reaches(slice_id, video):
            return None
        found = self.before_any_view(slice_id, video)
        return found if _is_worth_it(found) else None

    def prospects(self, video: Video) -> tuple[Prospect, ...]:
        """Return all slices that are open to a video, best first."""
        return self.outset(video).prospects

    def outset(self, video: Video) -> Outset:
        """Return what is open to a video before any impression."""
        said = (video.stage, video.band, video.commercial, tuple(video.fits.items()))
        known = self._outsets.get(said)
        if known is None:
            if len(self._outsets) >= OUTSETS_KEPT:
                self._outsets.clear()
            known = self._outsets[said] = self._outset(video)
        return known

    def hope(self, slice_id: str, video: Video) -> int:
        """Return the index of a video in a slice before any view, anywhere."""
        spec = self.policy.slices[slice_id]
        return expected(self.policy, spec, video.fits.get(slice_id, 0)) + self._hopes[slice_id]

    def before_any_view(self, slice_id: str, video: Video) -> Prospect:
        """Return what a video may expect in a slice of the policy, open to it or not."""
        score = self.hope(slice_id, video)
        mean = score - self._hopes[slice_id]
        return Prospect(slice_id, mean, score, score - self.price(slice_id, video))

    def _outset(self, video: Video) -> Outset:
        fits = video.fits
        plain = self._public[2 * video.band + video.commercial] if video.stage == "public" else {}
        found = [each for each in plain.values() if each.slice not in fits]
        fitting = [name for name in fits if self.reaches(name, video)]
        if fitting:
            found = sorted([*found, *self._best(fitting, video)], key=_best_first)
        opened = tuple(found[: self.policy.open_max])
        scores = {each.slice: each.score for each in opened}
        public = sorted(name for name in scores if surface_of(name) != "following")
        return Outset(opened, tuple(scores), tuple(map(self._crowd, opened)), scores, tuple(public))

    def _best(self, slice_ids: Iterable[str], video: Video) -> list[Prospect]:
        """Return what is worth it to a video of slices that it may reach, best first."""
        within = [self.before_any_view(slice_id, video) for slice_id in slice_ids]
        return sorted(filter(_is_worth_it, within), key=_best_first)

    def _crowd(self, prospect: Prospect) -> Crowd:
        first = self.firsts[prospect.slice]
        return Crowd(prospect.slice, prospect.mean, prospect.score, first)


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

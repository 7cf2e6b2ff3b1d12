"""A closed loop of creators, viewers and a moderator, who see only what is leased to their feed.

Feed servers take impressions of the serving index, slice by slice, and show nothing else; what
viewers do follows from a taste that nobody else knows (`taste`). So a decision changes what is
shown next, as in life, and bad decisions cost views. Life is faster here: a view follows its
impression within seconds, however long the video is.
"""

import asyncio
import heapq
import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import Final, NamedTuple

from msgspec.structs import replace

from streams.client.mixes import MixInForce
from streams.core.events import (
    Impression,
    InteractionRecord,
    Policy,
    Recognition,
    Tag,
    Unlike,
    Upload,
    View,
)
from streams.core.fields import VerdictWord, band_of
from streams.core.traffic import kind_of
from streams.core.units import SURFACES, surface_of
from streams.core.words import Review
from streams.lab.taste import Alike, Fortune, draw_appeals, draw_fortune
from streams.lab.uploads import DARING, DOUBTFUL, FORBIDDEN, SUBJECTS, draw_upload
from streams.lab.viewers import BUTTONS, Rates, draw_buttons, draw_watch, rates_at, worth
from streams.runtime.leases import Lease, ServingIndex

CrowdEvent = Upload | Recognition | Review | InteractionRecord

SURFACE_SHARE: Final = {"following": 0.4, "nearby": 0.1, "discover": 0.5}
"""Share of each surface in the impressions, as far as it has something to show."""
LEASED_FOR_MS: Final = 1_000
"""A feed server leases what it expects to show in so long."""
REFRESH_MS: Final = 400
"""It asks the index about a slice at most this often."""
MOST_EACH: Final = {"following": 30, "nearby": 10, "discover": 10}
"""Impressions that one lease takes of a video at most: viewers want variety, fans their creator."""
SCROLL: Final = 0.85
"""Chance of a viewer to scroll past one candidate."""
VIEWERS_PER_SLICE: Final = 20_000
EVENTS_PER_EXPOSURE: Final = 2.2
VIEW_LOST: Final = 0.03
"""Share of impressions whose view never arrives: apps are closed, networks fail."""
SENT_TWICE: Final = 0.02
"""Share of events that their producer delivers twice."""
UNLIKED: Final = 0.05


class TrueVideo(NamedTuple):
    """One uploaded video and the truth about it."""

    upload: Upload
    home: str
    fortune: Fortune
    rates: dict[str, Rates[float]]  # by slice
    kind: str  # its class


@dataclass(slots=True)
class _Shelf:
    """What a feed server may show of one slice: leases as they were ranked, and what is left."""

    wanted: int  # impressions at a time
    refreshed_ms: int = 0
    leases: list[Lease] = field(default_factory=list)

    def is_due(self, now_ms: int) -> bool:
        """Tell whether to lease more."""
        left = sum(lease.impressions for lease in self.leases)
        return left * 2 < self.wanted and now_ms - self.refreshed_ms >= REFRESH_MS

    def take(self, rank: int) -> Lease:
        """Return a lease, of which one impression is shown now."""
        lease = self.leases[rank]
        if lease.impressions > 1:
            self.leases[rank] = lease._replace(impressions=lease.impressions - 1)
        else:
            del self.leases[rank]
        return lease

    def drop_late(self, now_ms: int) -> None:
        """Forget leases that went back to their videos."""
        self.leases = [lease for lease in self.leases if lease.until * 1000 > now_ms]


class People:
    """Everybody outside the pipeline; private to one run, the same for the same `chance`.

    `policy` names the slices and the weights of a view's value, `alike` says how far slices share
    a taste. `rate` is the aim in events a second; there are fewer when the index has too little.
    `videos` holds the truth, `shown` counts the impressions of each (video, slice), `by_class` of
    each (slice, class). `mix` tells what their feed servers go by.
    """

    def __init__(
        self,
        chance: Random,
        policy: Policy,
        alike: Alike,
        index: ServingIndex,
        rate: int,
        mix: Callable[[], MixInForce] = MixInForce,
    ) -> None:
        self.policy: Final = policy
        self.videos: Final[dict[str, TrueVideo]] = {}
        self.shown: Final[Counter[tuple[str, str]]] = Counter()
        self.by_class: Final[Counter[tuple[str, str]]] = Counter()
        self._chance = chance
        self._alike = alike
        self._index = index
        self._rate = rate
        self._mix = mix
        self._cities = [
            name.partition(":")[2] for name in sorted(policy.slices) if surface_of(name) == "nearby"
        ]
        self._weights = _slice_weights(policy)
        a_lease = rate / EVENTS_PER_EXPOSURE * LEASED_FOR_MS / 1000
        self._shelves = {
            name: _Shelf(math.ceil(a_lease * weight)) for name, weight in self._weights.items()
        }
        self._due: list[tuple[int, int, CrowdEvent]] = []
        self._number = 0  # of events and due entries
        self._last_ms: int | None = None
        self._next_upload_ms = 0
        self._exposures = 0.0  # owed

    async def step(self, now_ms: int) -> list[CrowdEvent]:
        """Return what happened since the last call, in the order of sending.

        `now_ms` (since 1970) never falls; no event is later than it.
        """
        elapsed = 0 if self._last_ms is None else min(now_ms - self._last_ms, 1_000)
        self._publish(now_ms)
        await self._lease(now_ms)
        self._exposures += self._rate * elapsed / 1000 / EVENTS_PER_EXPOSURE
        happened = self._watch(now_ms)
        while self._due and self._due[0][0] <= now_ms:
            happened.append(heapq.heappop(self._due)[2])
        for event in happened:
            if self._chance.random() < SENT_TWICE:
                self._later(now_ms + self._chance.randrange(100, 2_000), event)
        self._last_ms = now_ms
        return happened

    def true_value(self, video: str, slice_id: str) -> float:
        """Return what a view of this video in this slice is worth on average, in micro-units."""
        return worth(self.videos[video].rates[slice_id], self.policy.weights)

    # ------------------------------------------------------------------ creators and moderators

    def _publish(self, now_ms: int) -> None:
        """Upload what is due: a stock at first, then one video after the other."""
        every_ms = 6_000_000 // self._rate
        if self._last_ms is None:
            for _ in range(max(self._rate // 200, 8)):
                self._upload(now_ms)
            self._next_upload_ms = now_ms + every_ms
        self._next_upload_ms = max(self._next_upload_ms, now_ms - 1_000)  # as after a pause
        while self._next_upload_ms <= now_ms:
            self._upload(now_ms)
            self._next_upload_ms += every_ms

    def _upload(self, now_ms: int) -> None:
        number = len(self.videos) + 1
        chance = self._chance
        subjects = [name for name in SUBJECTS if f"discover:{name}" in self.policy.slices]
        subject = chance.choice(subjects)
        city = chance.choice(self._cities) if self._cities else ""
        upload = draw_upload(chance, number, subject, city, now_ms)
        upload = self._special(number, upload, now_ms)
        video = self._draw_video(upload, f"discover:{subject}")
        self.videos[upload.video] = video
        self._later(now_ms, upload)
        if number % 10 == 3:
            self._recognise_late(video, now_ms)

    def _special(self, number: int, upload: Upload, now_ms: int) -> Upload:
        """Make every fifth video or so one that moderation has to do with, and some adverts."""
        soon, later = now_ms + 3_000, now_ms + self._chance.randrange(8_000, 12_000)
        match number % 20:
            case 4:
                self._review(upload.video, soon, "approve")
                return replace(upload, title=DOUBTFUL)
            case 7:
                self._review(upload.video, later, "reject")
            case 9:
                self._review(upload.video, later, "approve")
                return replace(upload, title=DARING + upload.title)
            case 14:
                return replace(upload, title=FORBIDDEN)
            case 1 | 11 | 16:
                self._review(upload.video, soon, "approve")  # some adverts wait for it
                return replace(upload, commercial=True)
            case _:
                pass
        return upload

    def _draw_video(self, upload: Upload, home: str) -> TrueVideo:
        fortune = draw_fortune(self._chance)
        appeals = draw_appeals(self._chance, home, fortune, self.policy, self._alike)
        rates = {
            name: rates_at(appeal, commercial=upload.commercial) for name, appeal in appeals.items()
        }
        kind = kind_of(band_of(upload.followers), upload.commercial, upload.ts)
        return TrueVideo(upload, home, fortune, rates, kind)

    def _review(self, video: str, at_ms: int, verdict: VerdictWord) -> None:
        self._later(at_ms, Review(self._id("review"), video, at_ms, verdict, "moderator-1"))

    def _recognise_late(self, video: TrueVideo, now_ms: int) -> None:
        """Let a slow recogniser see what the video is truly good for."""
        public = [name for name in video.rates if surface_of(name) == "discover"]
        best = max(public, key=lambda name: (video.rates[name].watched, name))
        interest = best.partition(":")[2]
        if interest in SUBJECTS:
            at_ms = now_ms + 5_000
            tags = (Tag("interest", interest, 800_000),)
            name, source = video.upload.video, "slow-eye"
            self._later(at_ms, Recognition(self._id("seen"), name, at_ms, source, tags))

    # ------------------------------------------------------------------ viewers

    async def _lease(self, now_ms: int) -> None:
        """Take impressions of every slice that runs out of them."""
        due = {name: shelf for name, shelf in self._shelves.items() if shelf.is_due(now_ms)}
        taken = await asyncio.gather(*(self._ask(name, due[name].wanted) for name in due))
        for shelf, leases in zip(due.values(), taken, strict=True):
            shelf.refreshed_ms = now_ms
            shelf.leases += [lease for lease in leases if lease.video in self.videos]

    async def _ask(self, slice_id: str, wanted: int) -> Sequence[Lease]:
        mix = self._mix()
        share = mix.due(slice_id)
        fresh = self.policy.fresh_share if share is None else share
        most = MOST_EACH[surface_of(slice_id)]
        return await self._index.lease(slice_id, wanted, most, fresh, mix.tilts(slice_id))

    def _watch(self, now_ms: int) -> list[CrowdEvent]:
        """Show videos to the viewers that are due; return the impressions."""
        for shelf in self._shelves.values():
            shelf.drop_late(now_ms)
        choices = _choices(self._weights, self._shelves)
        impressions: list[CrowdEvent] = []
        while self._exposures >= 1 and choices:
            self._exposures -= 1
            names, cumulated = choices
            slice_id = self._chance.choices(names, cum_weights=cumulated)[0]
            shelf = self._shelves[slice_id]
            depth = int(math.log(1 - self._chance.random()) / math.log(SCROLL))
            lease = shelf.take(depth % len(shelf.leases))
            impressions.append(self._show(lease, slice_id, now_ms))
            if not shelf.leases:
                choices = _choices(self._weights, self._shelves)
        self._exposures = min(self._exposures, 1.0)  # who found nothing does not come back at once
        return impressions

    def _show(self, lease: Lease, slice_id: str, now_ms: int) -> Impression:
        """Show a video to one viewer: the impression now, what follows from it later."""
        video = lease.video
        self.shown[video, slice_id] += 1
        self.by_class[slice_id, self.videos[video].kind] += 1
        chance = self._chance
        group = slice_id.partition(":")[2]
        viewer = f"{group}-{chance.randrange(VIEWERS_PER_SLICE)}"
        if chance.random() >= VIEW_LOST:
            self._view(video, viewer, slice_id, now_ms + chance.randrange(200, 1_500))
        why = lease.via, lease.score, self._mix().seq
        return Impression(self._id("i"), video, viewer, slice_id, now_ms, *why)

    def _view(self, video: str, viewer: str, slice_id: str, ts: int) -> None:
        truth = self.videos[video]
        rates, duration_ms = truth.rates[slice_id], truth.upload.duration_ms
        share, skipped = draw_watch(self._chance, rates)
        about = (video, viewer, slice_id, ts)
        self._later(ts, View(self._id("v"), *about, int(share * duration_ms), duration_ms))
        for name in draw_buttons(self._chance, rates, skipped=skipped):
            self._later(ts, BUTTONS[name](self._id("b"), *about))
            if name == "like" and self._chance.random() < UNLIKED:
                regret = ts + self._chance.randrange(500, 3_000)
                self._later(regret, Unlike(self._id("b"), video, viewer, slice_id, regret))

    # ------------------------------------------------------------------ all

    def _later(self, at_ms: int, event: CrowdEvent) -> None:
        self._number += 1
        heapq.heappush(self._due, (at_ms, self._number, event))

    def _id(self, kind: str) -> str:
        self._number += 1
        return f"{kind}{self._number}"


def _slice_weights(policy: Policy) -> dict[str, float]:
    """Return each slice's share of the traffic: by reach, within its surface's share."""
    reach = {
        surface: sum(s.reach for name, s in policy.slices.items() if surface_of(name) == surface)
        for surface in SURFACES
    }
    return {
        name: SURFACE_SHARE[surface_of(name)] * spec.reach / reach[surface_of(name)]
        for name, spec in policy.slices.items()
    }


def _choices(
    weights: dict[str, float], shelves: dict[str, _Shelf]
) -> tuple[list[str], list[float]] | None:
    """Return the slices that have something to show, with their cumulated weights."""
    names = [name for name, shelf in shelves.items() if shelf.leases]
    return (names, list(accumulate(weights[name] for name in names))) if names else None

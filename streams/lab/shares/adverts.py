"""Worlds with adverts, video by video: the real fold, index, lease and ceiling; viewers are drawn.

A bad advert is worth 0.10 less to viewers than its class pays for an impression, in every crowd; a
neutral one what the policy expects of any video; a good one 0.10 more than that. Orders come on top
of it. What organic videos are worth is drawn from what the policy expects.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from msgspec.structs import replace

from streams.control.shares.due import MINUTE_MS, due_share
from streams.control.shares.mixing import LEAN_S
from streams.control.shares.organic import OrganicMeans
from streams.control.shares.rules import ShareRules
from streams.core.events import (
    Admit,
    Impression,
    LogRecord,
    Policy,
    View,
    order_of,
)
from streams.core.fold import fold
from streams.core.outlook import term_name
from streams.core.state import PartitionState
from streams.core.traffic import Tick
from streams.core.units import MICROS
from streams.lab.shares.course import CACHED, Steering
from streams.lab.viewers import BUTTONS, Rates, appeal_for, draw_buttons, draw_watch, rates_at
from streams.runtime.leases import Footing, IndexBounds, Lease, prices_of
from streams.runtime.memory import MemoryServingIndex
from streams.runtime.mixes import Mix, remains, tilts_on

UPLOAD_MINUTES: Final = 5
"""One upload in so many: so first audiences take one slot in twenty."""
FIRST_AUDIENCE: Final = 60
GUARANTEE_MS: Final = 3_600_000
PAGES: Final = 8
"""That each crowd asks for in a minute, and slots of each."""
PAGE: Final = 10
CROWDS: Final = 3
DURATION_MS: Final = 15_000
START: Final = 28_333_333
"""The first minute, since 1970."""
FAMOUS: Final = 0.2
"""Of creators are no ordinary people."""
BETTER: Final = 100_000
KINDS: Final = ("bad", "neutral", "good")
ONE_GENERATION: Final = 1 << 60


class AdvertWorld(NamedTuple):
    """A world in which so many of the uploads are adverts, a third of them of each kind.

    Adverts are counted that were up for at least `grown` minutes.
    """

    name: str
    adverts: float
    minutes: int = 500
    grown: int = 120


ADVERT_WORLDS: Final = tuple(
    AdvertWorld(f"adverts-{percent}", percent / 100) for percent in (5, 10, 20)
)


class ShownAdvert(NamedTuple):
    """An advert that was up long enough: its kind, its impressions, and whether it is still up."""

    kind: str
    impressions: int
    is_up: bool


class AdvertCourse(NamedTuple):
    """A world as it went; of the impressions by minute, those of adverts and all."""

    world: AdvertWorld
    adverts: Sequence[ShownAdvert]
    minutes: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class _Video:
    kind: str  # empty if it is no advert
    minute: int
    rates: Mapping[str, Rates[float]]


def play_adverts(world: AdvertWorld, policy: Policy, rules: ShareRules, seed: int) -> AdvertCourse:
    """Play a world to its end, under the best known crowds of a policy."""
    names = [name for name in sorted(policy.slices) if name.startswith("discover:")][:CROWDS]
    small = replace(
        policy,
        slices={name: policy.slices[name] for name in names},
        guarantee_ms=GUARANTEE_MS,
        explore_key="k",
    )
    return asyncio.run(_Platform(world, small, rules, seed).play())


class _Platform:
    """One partition, its index, its leader, and the viewers of its crowds."""

    def __init__(self, world: AdvertWorld, policy: Policy, rules: ShareRules, seed: int) -> None:
        self._world: Final = world
        self._policy = policy
        self._chance: Final = Random(f"{world.name} {seed}")  # noqa: S311 - a repeatable world
        self._state: Final = PartitionState(0, 1, ONE_GENERATION)
        self._now_ms = START * MINUTE_MS
        bounds = IndexBounds(key="k")
        self._index: Final = MemoryServingIndex(lambda: self._now_ms / 1_000, bounds)
        self._leader: Final = Steering(rules, 1)
        self._organic: Final = OrganicMeans()
        self._told: Final[deque[tuple[int, Mix]]] = deque()
        self._mix: Mix | None = None
        self._videos: Final[dict[str, _Video]] = {}
        self._impressions: Final = Counter[str]()
        self._up: Final[dict[str, set[str]]] = {}
        self._offset = self._events = 0

    async def play(self) -> AdvertCourse:
        """Let all minutes pass."""
        await self._put_in_force(self._policy)
        minutes = []
        for minute in range(START, START + self._world.minutes):
            while self._told and self._told[0][0] <= minute:
                self._mix = self._told.popleft()[1]
            if minute % UPLOAD_MINUTES == 0:
                await self._fold([self._upload(minute)])
            minutes.append(await self._minute(minute))
            if (minute + 1 - START) % (LEAN_S // 60) == 0:
                await self._learn()
        return AdvertCourse(self._world, list(self._grown()), minutes)

    def _grown(self) -> Iterator[ShownAdvert]:
        last = START + self._world.minutes - self._world.grown
        for name, video in self._videos.items():
            if video.kind and video.minute < last:
                yield ShownAdvert(video.kind, self._impressions[name], bool(self._up.get(name)))

    def _upload(self, minute: int) -> Admit:
        number = len(self._videos)
        before, now = (int(count * self._world.adverts) for count in (number, number + 1))
        kind = KINDS[now % len(KINDS)] if now > before else ""
        band = 5 if self._chance.random() < FAMOUS else 2
        name = f"v{number}"
        self._videos[name] = _Video(kind, minute, self._rates(kind, band))
        where = (f"a-{name}", name, minute * MINUTE_MS, 1)
        return Admit(
            *where,
            commercial=bool(kind),
            limited=False,
            fits={},
            band=band,
            creator=name,
            guarantee=FIRST_AUDIENCE,
        )

    def _rates(self, kind: str, band: int) -> Mapping[str, Rates[float]]:
        policy, tastes = self._policy, [self._chance.gauss(0, 1) for _ in range(3)]
        term = policy.terms.get(term_name("discover", band, commercial=True), 0)
        rates = {}
        for name, spec in policy.slices.items():
            own = self._chance.gauss(0, (spec.own_variance * MICROS) ** 0.5)
            common = sum(load * taste for load, taste in zip(spec.loadings, tastes, strict=True))
            drawn = {
                "": spec.prior_mean + common + own,
                "bad": spec.price + term - BETTER,
                "neutral": spec.prior_mean,
                "good": spec.prior_mean + BETTER,
            }
            appeal = appeal_for(drawn[kind], policy.weights)
            rates[name] = rates_at(appeal, commercial=bool(kind))
        return rates

    async def _minute(self, minute: int) -> tuple[int, int]:
        """Show what is leased; return the impressions of adverts, and all."""
        shown = Counter[bool]()
        due = {name: await self._due(name) for name in self._policy.slices}
        for page in range(PAGES):
            self._now_ms = minute * MINUTE_MS + page * MINUTE_MS // PAGES
            events: list[LogRecord] = []
            for name in self._policy.slices:
                for lease in await self._index.lease(name, PAGE, 1, due[name], self._tilts(name)):
                    shown[bool(self._videos[lease.video].kind)] += 1
                    self._impressions[lease.video] += 1
                    events += self._watched(name, lease)
            await self._fold(events)
        if (mix := self._leader.step()) is not None:
            self._told.append((minute + 1 + CACHED, mix))
        return shown[True], shown.total()

    async def _due(self, slice_id: str) -> int:
        newcomers = await self._index.newcomers(slice_id)
        return due_share(newcomers, PAGES * PAGE, self._now_ms, GUARANTEE_MS).share

    def _tilts(self, slice_id: str) -> Mapping[str, int]:
        if self._mix is None:
            return {}
        surface = slice_id.partition(":")[0]
        return tilts_on(self._mix, surface, remains(self._now_ms - self._mix.ts))

    def _watched(self, slice_id: str, lease: Lease) -> Iterator[LogRecord]:
        """Yield what one viewer, whom nobody saw before, does with a video."""
        self._events += 1
        viewer, video = f"u{self._events}", lease.video
        rates, chance = self._videos[video].rates[slice_id], self._chance
        where = (video, viewer, slice_id, self._now_ms)
        yield Impression(f"i{viewer}", *where, lease.via, lease.score)
        share, skipped = draw_watch(chance, rates)
        yield View(f"w{viewer}", *where, round(share * DURATION_MS), DURATION_MS)
        for button in draw_buttons(chance, rates, skipped=skipped):
            yield BUTTONS[button](f"{button}-{viewer}", *where)

    async def _fold(self, events: Sequence[LogRecord]) -> None:
        """Count events, and tell the index and the leader what comes of them."""
        for video in self._state.missing(events):
            self._state.load(video, {})
        offsets = range(self._offset, self._offset + len(events))
        self._offset += len(events)
        effects = fold(self._state, events, offsets, [0] * len(events))
        assert not effects.rejected
        for tick in effects.ticks:
            self._hear(tick)
        changes = self._state.take_changes(self._offset)
        self._state.stored(changes.epoch)
        prices = prices_of(self._state.outlook) if self._state.outlook else {}
        for name, entries in changes.entries.items():
            await self._index.apply(name, {0: self._offset}, entries)
            for entry in entries:
                if entry.commercial or entry.score is None:
                    up = self._up.setdefault(entry.video, set())
                    price = prices[name][f"{entry.band}c"]
                    is_up = entry.score is not None and (entry.score >= price or entry.due > 0)
                    (up.add if is_up else up.discard)(name)

    def _hear(self, tick: Tick) -> None:
        self._leader.traffic.add(tick)
        sums = {(each.slice, each.kind): each for each in tick.sums}
        self._organic.take(self._policy.weights, sums)

    async def _learn(self) -> None:
        """Have the policy follow what organic traffic is worth, as the leader does."""
        organic = dict(self._organic.moved(self._policy))
        leaning = replace(self._policy, organic=organic, leans=self._leader.leans)
        if leaning != self._policy:
            await self._put_in_force(replace(leaning, seq=self._policy.seq + 1))

    async def _put_in_force(self, policy: Policy) -> None:
        self._policy = policy
        await self._fold([policy])
        assert self._state.outlook is not None
        footing = Footing(policy.fresh_share)
        for name, prices in prices_of(self._state.outlook).items():
            await self._index.set_prices(name, order_of(policy), prices, footing)

"""The minutes of a world, steered: what was shown and read, what was owed, what feeds went by."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as with_fields
from typing import Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from streams.control.shares import steering
from streams.control.shares.due import MINUTE_MS
from streams.control.shares.mixing import LEAN_S, OWED_TICKS
from streams.control.shares.rules import ShareRules
from streams.control.shares.traffic import NewTraffic
from streams.core.shares import PromiseName
from streams.core.traffic import ClassSums, Tick
from streams.core.units import MICROS, surface_of
from streams.lab.shares.guarantee import Owing
from streams.lab.shares.market import CLASSES, ClassName, FilledSlots, Floats, Market
from streams.lab.shares.worlds import STEP_AT, ShareWorld
from streams.runtime.mixes import Mix, Promise, remains, tilts_on

FIRST: Final = 1
"""The number of the first minute: 0 is none."""
CACHED: Final = 2
"""A mix is written in the minute after the one it is made from, and reaches feeds in so many; so do
the prices that lean with it."""
MOST_LATE: Final = 3
"""Minutes that a record of traffic may be late by."""
LEAN_MINUTES: Final = int(LEAN_S) // 60


class Minute(NamedTuple):
    """What one minute was like: impressions, and how the promises stood after it.

    `worth` is the value of what was shown, `unforced` that of what would have been without tilts.
    """

    impressions: Mapping[ClassName, int]
    promises: Mapping[PromiseName, Promise]
    worth: float
    unforced: Mapping[ClassName, int]
    unforced_worth: float
    fresh: int
    is_tilted: bool


class SharesCourse(NamedTuple):
    """A world as it went: its minutes, and first audiences that were due and missed."""

    world: ShareWorld
    seed: int
    rules: ShareRules
    minutes: Sequence[Minute]
    due: int
    missed: int


@dataclass
class Steering:
    """The leader: reads traffic, writes mixes. `due` is the newcomers' share that it knows."""

    rules: ShareRules
    partitions: int
    promises: steering.Promises = ()
    leans: dict[str, int] = field(default_factory=dict)
    mix: Mix | None = None
    traffic: NewTraffic = field(init=False)
    _gain_tick: int = 0
    _lean_tick: int = 0

    def __post_init__(self) -> None:
        self.traffic = NewTraffic(self.partitions)

    def step(self) -> Mix | None:
        """Return the mix of a minute that most partitions know, if there is a new one."""
        tick, behind = self.traffic.now, self.mix.seq if self.mix else 0
        if tick <= behind:
            return None
        sums = self.traffic.take(max(tick - OWED_TICKS, behind))
        promises = steering.begin(self.rules, self.promises)
        promises = steering.take_tick(self.rules, promises, sums)
        if tick - self._gain_tick >= steering.GAIN_TICKS:
            self._gain_tick = tick
            window = self.traffic.view.window(steering.GAIN_TICKS)
            promises = steering.take_gains(self.rules, promises, window.sums)
        unmeasured = self.traffic.view.unmeasured(OWED_TICKS)
        measured = 2 * len(unmeasured) <= self.partitions
        self.promises = steering.judged(self.rules, promises, {}, measured=measured)
        if tick - self._lean_tick >= LEAN_MINUTES:
            self._lean_tick = tick
            self.leans = steering.leans_of(self.promises, self.leans)
        tilts = steering.tilts_of(self.promises, self.leans)
        self.mix = Mix(1, tick, MINUTE_MS * (tick + 1), tilts=tilts, promises=self.promises)
        return self.mix


class Wire:
    """Carries the minutes of partitions to the leader, in the order of each; some late or never."""

    def __init__(self, world: ShareWorld, chance: np.random.Generator) -> None:
        self._world: Final = world
        self._chance: Final = chance
        self._under_way: Final[tuple[deque[tuple[int, Tick]], ...]] = tuple(
            deque() for _ in range(world.partitions)
        )

    def carry(
        self, minute: int, filled: FilledSlots, fresh: Mapping[ClassName, int]
    ) -> Sequence[Tick]:
        """Return what arrives by the end of a minute in which so much was shown."""
        arrived = []
        for partition, under_way in enumerate(self._under_way):
            if self._chance.random() >= self._world.lost:
                late = self._chance.random() < self._world.late
                due = minute + (int(self._chance.integers(1, MOST_LATE + 1)) if late else 0)
                under_way.append(
                    (due, _tick((partition, self._world.partitions), minute, filled, fresh))
                )
            while under_way and under_way[0][0] <= minute:
                arrived.append(under_way.popleft()[1])
        return arrived


def play(world: ShareWorld, rules: ShareRules, seed: int) -> SharesCourse:
    """Play a world to its end."""
    chance = np.random.default_rng([seed, *world.name.encode()])
    rules = with_fields(rules, feeds=world.feeds)
    market, owing, leader = Market(world, chance), Owing(world), Steering(rules, world.partitions)
    told: deque[tuple[int, Mix, Mapping[str, int]]] = deque()
    wire = Wire(world, chance)
    in_force: Mix | None = None
    leaning: Mapping[str, int] = {}
    minutes: list[Minute] = []
    for minute in range(FIRST, world.minutes + FIRST):
        while told and told[0][0] <= minute:
            _, in_force, leaning = told.popleft()
        market.next_minute(minute)
        tilts, leans = _lifts(in_force, minute), _leans(leaning)
        slots = world.slots_at(minute)
        fresh = owing.serve(minute, slots, world.ordinary_at(minute))
        filled = market.fill(slots - sum(fresh.values()), tilts, leans)
        lifted = bool((tilts + leans).any())
        free = market.fill(slots - sum(fresh.values()), 0 * tilts, leans * 0) if lifted else filled
        for tick in wire.carry(minute, filled, fresh):
            leader.traffic.add(tick)
        if world.gain is not None and minute == STEP_AT:
            leader.promises = _misjudged(leader.promises, world.gain)
        if world.is_led(minute) and (mix := leader.step()) is not None:
            told.append((minute + 1 + CACHED, mix, leader.leans))
        minutes.append(_minute(filled, free, fresh, leader, lifted=lifted))
    return SharesCourse(world, seed, rules, minutes, owing.due, owing.missed)


def _lifts(mix: Mix | None, minute: int) -> Floats:
    """Return what the mix in force still adds to the score of each class."""
    if mix is None:
        return np.zeros(len(CLASSES))
    left = remains(minute * MINUTE_MS - mix.ts)
    by_surface = {s: tilts_on(mix, s, left) for s in ("discover", "following")}
    return np.array([by_surface[surface_of(name)].get(kind, 0) for name, kind in CLASSES]) / MICROS


def _leans(leans: Mapping[str, int]) -> Floats:
    """Return what the prices of each class lean by."""
    names = [f"{surface_of(name)}:{kind}" for name, kind in CLASSES]
    return np.array([leans.get(name, 0) for name in names]) / MICROS


def _tick(
    place: tuple[int, int], minute: int, filled: FilledSlots, fresh: Mapping[ClassName, int]
) -> Tick:
    """Return one partition's record of a minute: an equal part, by its `place` among all."""
    partition, of = place
    sums = tuple(
        ClassSums(
            *name,
            impressions=(filled.impressions[name] + fresh.get(name, 0) + partition) // of,
            gaps=[(count + partition) // of for count in filled.gaps[name]],
        )
        for name in CLASSES
    )
    return Tick(f"{partition}.{minute}", partition, minute, sums)


def _misjudged(promises: steering.Promises, times: float) -> steering.Promises:
    """Return promises whose gains are so many times what they were; no tilt moves by it."""
    return tuple(
        replace(each, gain=max(round(each.gain * times), 1), owed=round(each.owed * times))
        for each in promises
    )


def _minute(
    filled: FilledSlots,
    free: FilledSlots,
    fresh: Mapping[ClassName, int],
    leader: Steering,
    *,
    lifted: bool,
) -> Minute:
    def with_fresh(counts: Mapping[ClassName, int]) -> dict[ClassName, int]:
        return {name: count + fresh.get(name, 0) for name, count in counts.items()}

    return Minute(
        with_fresh(filled.impressions),
        {each.name: each for each in leader.promises},
        filled.worth,
        with_fresh(free.impressions),
        free.worth,
        sum(fresh.values()),
        lifted,
    )

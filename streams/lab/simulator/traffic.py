"""What follows from showing videos: impressions, views and buttons, each when the log gets it."""

from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np

from streams.core.events import EVENT_TYPES, Impression, InteractionRecord, View
from streams.lab.simulator.admission import START_MS
from streams.lab.simulator.arrays import Bools, Floats, Ints
from streams.lab.simulator.world import TICK_MS, Fakes, World
from streams.lab.viewers import ANNOYED, BUTTONS, LONGEST_PARTIAL, PLEASED, SKIPPED, Button, bend_of

KINDS: Final = (Impression, View, *BUTTONS.values())
"""The kind of an event is its place here."""
NAMES: Final = tuple(EVENT_TYPES[kind] for kind in KINDS)
IMPRESSION, VIEW, LIKE = range(3)
_PLAIN: Final[dict[int, type[Impression] | type[Button]]] = {
    IMPRESSION: Impression,
    **dict(enumerate(BUTTONS.values(), LIKE)),
}
SHARE, REPORT = NAMES.index("share"), NAMES.index("report")
LATE_TICKS: Final = 5
_PLEASED: Final = np.array([NAMES.index(name) for name in PLEASED])
_ANNOYED: Final = np.array([NAMES.index(name) for name in ANNOYED])


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Events as columns; `when` is the time of arrival in the log, ms since the start."""

    pair: Ints
    kind: Ints
    watch_ms: Ints  # of views
    when: Ints
    serial: Ints  # of the exposure, or of the fake

    def __len__(self) -> int:
        return len(self.pair)

    def take(self, places: Ints | Bools) -> Self:
        """Return the events at `places`, or where a mask says so."""
        columns = (self.pair, self.kind, self.watch_ms, self.when, self.serial)
        return type(self)(*(column[places] for column in columns))

    def in_order(self, tick: int) -> Self:
        """Return the events of one tick by pair, then time, then as they were made.

        The three are packed into one number each, because numbers sort faster than rows.
        """
        bits = max(len(self), 1).bit_length()
        keys = self.pair * TICK_MS + self.when - tick * TICK_MS
        packed = np.sort(keys << bits | np.arange(len(self)))
        return self.take(packed & ((1 << bits) - 1))

    @classmethod
    def joined(cls, batches: list[Self]) -> Self:
        """Return all events of several batches, one batch after the other."""
        names = ("pair", "kind", "watch_ms", "when", "serial")
        return cls(*(np.concatenate([getattr(b, name) for b in batches]) for name in names))


class Odds:
    """What viewers of each phase and pair do, ready to be drawn from; a row each.

    One draw decides about all buttons: from below those of the pleased, from above those of the
    annoyed. So nobody presses two, and every rate is exact.
    """

    def __init__(self, world: World) -> None:
        rates = {name: rate.ravel() for name, rate in world.rates._asdict().items()}
        stayed = 1 - rates["skip"]  # who skips is never pleased
        pleased = [rates[name] / stayed for name in PLEASED]
        annoyed = [rates[name] for name in ANNOYED]
        self._pleased = np.cumsum(pleased, axis=0).T.copy()
        self._annoyed = np.cumsum(annoyed, axis=0).T.copy()
        bend = bend_of(rates["partial"])
        last = (self._pleased[:, -1], self._annoyed[:, -1])
        self._table = np.column_stack((rates["skip"], rates["complete"], bend, *last))
        self._size = int(np.prod(world.shape))

    def of(self, phases: Ints, pairs: Ints) -> "ViewOdds":
        """Return the odds of one view each."""
        flat = phases * self._size + pairs
        return ViewOdds(flat, *self._table[flat].T)

    def pleased_kind(self, flat: Ints, luck: Floats) -> Ints:
        """Return the button of each pleased viewer, by the draw that made them press one."""
        return np.asarray(_PLEASED[(luck[:, None] >= self._pleased[flat]).sum(axis=1)])

    def annoyed_kind(self, flat: Ints, luck: Floats) -> Ints:
        """Return the button of each annoyed viewer."""
        return np.asarray(_ANNOYED[(luck[:, None] >= self._annoyed[flat]).sum(axis=1)])


class ViewOdds(NamedTuple):
    """Columns of `Odds` for some views, and the rows that they came from."""

    flat: Ints
    skip: Floats
    complete: Floats
    bend: Floats  # of the share that others watch: a uniform draw to this power
    pleased: Floats
    annoyed: Floats


class Traffic:
    """Viewers of one world; private to one run. `exposed` counts what was shown."""

    def __init__(self, world: World, seed: int) -> None:
        self.exposed = 0
        self._world = world
        self._rng = np.random.default_rng([seed, 2])
        self._odds = Odds(world)
        self._pending: list[EventBatch] = []
        self._fakes = 1 << 40  # serial of the next fake

    def expose(self, counts: Ints, tick: int) -> None:
        """Show each pair to so many viewers, each of whom sees a video once."""
        world, rng, habits = self._world, self._rng, self._world.tastes.habits
        pairs = np.repeat(np.arange(counts.size), counts.ravel())
        serials = np.arange(self.exposed, self.exposed + len(pairs))
        self.exposed += len(pairs)
        shown = tick * TICK_MS + rng.integers(0, TICK_MS, len(pairs))
        seen = shown + rng.integers(10, TICK_MS // 4, len(pairs))
        luck = rng.random(len(pairs))
        late = luck < habits.late
        seen[late] += rng.integers(TICK_MS, LATE_TICKS * TICK_MS, int(late.sum()))
        overtaken = luck > 1 - habits.overtaking
        shown[overtaken] = seen[overtaken] + rng.integers(1, TICK_MS // 2, int(overtaken.sum()))
        self._add(pairs, IMPRESSION, 0, shown, serials)
        arrives = rng.random(len(pairs)) >= habits.lost
        self._view(pairs[arrives], seen[arrives], serials[arrives], tick)
        if world.tastes.fakes is not None:
            self._fake(world.tastes.fakes, tick)

    def due(self, tick: int) -> EventBatch:
        """Return what the log gets in this tick, in no order."""
        batch = EventBatch.joined(self._pending)
        now = batch.when < (tick + 1) * TICK_MS
        self._pending = [batch.take(~now)]
        return batch.take(now)

    def _view(self, pairs: Ints, when: Ints, serials: Ints, tick: int) -> None:
        world, rng = self._world, self._rng
        videos = pairs % len(world.videos)
        odds = self._odds.of(world.phases(tick)[videos], pairs)
        luck = rng.random(len(pairs))
        skipped, completed = luck < odds.skip, luck > 1 - odds.complete
        luck = rng.random(len(pairs))
        share = np.where(skipped, SKIPPED * luck, LONGEST_PARTIAL * luck**odds.bend)
        durations = world.durations_ms[videos]
        # rounded by chance, so that the mean is exact
        watch = np.floor(share * durations + rng.random(len(pairs))).astype(np.int64)
        self._add(pairs, VIEW, np.where(completed, durations, watch), when, serials)
        luck = rng.random(len(pairs))
        pleased = np.flatnonzero(~skipped & (luck < odds.pleased))
        annoyed = np.flatnonzero(luck > 1 - odds.annoyed)
        for pressed, kinds in (
            (pleased, self._odds.pleased_kind(odds.flat[pleased], luck[pleased])),
            (annoyed, self._odds.annoyed_kind(odds.flat[annoyed], 1 - luck[annoyed])),
        ):
            delay = self._button_delays(len(pressed))
            self._add(pairs[pressed], kinds, 0, when[pressed] + delay, serials[pressed])

    def _button_delays(self, count: int) -> Ints:
        habits, rng = self._world.tastes.habits, self._rng
        delay = 1 + TICK_MS * habits.button_ticks + rng.integers(0, 20, count)
        slow = rng.random(count) < habits.late_buttons
        delay[slow] += rng.integers(TICK_MS, 10 * TICK_MS, int(slow.sum()))
        return delay

    def _fake(self, fakes: Fakes, tick: int) -> None:
        for pairs, kinds in ((fakes.praised, (VIEW, LIKE, SHARE)), (fakes.reported, (REPORT,))):
            age = tick - self._world.arrivals[pairs % len(self._world.videos)]
            targets = np.repeat(pairs[(age >= 0) & (age < fakes.ticks)], fakes.each)
            serials = np.arange(self._fakes, self._fakes + len(targets))
            self._fakes += len(targets)
            when = tick * TICK_MS + self._rng.integers(0, TICK_MS - 10, len(targets))
            watch = self._world.durations_ms[targets % len(self._world.videos)]
            for place, kind in enumerate(kinds):
                seen = watch if kind == VIEW else 0
                self._add(targets, kind, seen, when + place, serials)

    def _add(
        self, pairs: Ints, kind: Ints | int, watch: Ints | int, when: Ints, serials: Ints
    ) -> None:
        kinds, watches = (np.broadcast_to(each, len(pairs)) for each in (kind, watch))
        self._pending.append(EventBatch(pairs, kinds, watches, when, serials))


def viewer_of(serial: int) -> str:
    """Return the viewer of an exposure, or the bot of a fake."""
    return f"u{serial}"


def record_at(world: World, batch: EventBatch, at: int) -> InteractionRecord:
    """Return one event of a batch as the log holds it."""
    place, video = divmod(int(batch.pair[at]), len(world.videos))
    kind, serial = int(batch.kind[at]), int(batch.serial[at])
    names = f"{kind}-{serial}", world.videos[video], viewer_of(serial), world.slices[place]
    ts = START_MS + int(batch.when[at])
    if kind == VIEW:
        return View(*names, ts, int(batch.watch_ms[at]), int(world.durations_ms[video]))
    return _PLAIN[kind](*names, ts)

"""What the draws alone say of all crowds, beside the truth that only a simulator knows.

Wherever the rule draws, the receipt says among how many crowds. What all of those would think of a
first tranche is estimated from the drawn ones, each weighing the inverse of its propensity; the
truth is the mean over all that could have been drawn.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from dataclasses import replace as with_fields
from math import sqrt
from typing import Any, Final, NamedTuple

import numpy as np
from msgspec.structs import replace

from streams.core.counters import COMPLETE_PERCENT
from streams.core.events import Weights
from streams.core.exploration import drawable
from streams.core.receipts import Draw, Receipt
from streams.core.rule import open_slices
from streams.core.units import MICROS
from streams.lab.simulator.admission import load_platform
from streams.lab.simulator.arrays import Floats, Ints
from streams.lab.simulator.building import build_world
from streams.lab.simulator.folded import FoldedRule
from streams.lab.simulator.lineup import SERVERS
from streams.lab.simulator.names import Cell
from streams.lab.simulator.serving import Question, Servers
from streams.lab.simulator.traffic import IMPRESSION, NAMES, VIEW, EventBatch, Traffic
from streams.lab.simulator.world import World

OFTEN: Final = 500_000
"""Chance draws as often as a policy may let it: a run is short."""
SIZE: Final = 0.1
"""Share of the full size's videos, unless another is asked for: 200."""
SHOWN_TICKS: Final = 40
DRAINED_TICKS: Final = 16
"""Feedback comes so long after the last impression."""
PER_VIDEO: Final = 200
"""Impressions of a video, all slices together, about."""
NORMAL_95: Final = 1.96
NORMAL_999: Final = 3.2905
"""Two-sided quantiles of the normal distribution."""


class Sampled(NamedTuple):
    """A drawn tranche: among how many crowds it was drawn, and what a view of it was worth."""

    among: int
    value: float


class Estimated(NamedTuple):
    """One run: the truth, the estimate with half the width of its 95 % interval, and the draws.

    `shown` is what goes into an average of all that was shown: what the rule chose.
    """

    world: str
    seed: int
    truth: float
    estimate: float
    half_width_95: float
    covered: bool
    shown: float  # what the impressions of this run were worth in the mean, by the truth
    receipts: int  # that drew among any
    drawn: int
    probability: float  # by the policy


@dataclass(frozen=True, slots=True)
class Occasion:
    """Where chance could draw: the pairs among which, and the drawn one (-1: none)."""

    among: Ints
    drawn: int
    upto: int


class ExploringRule(FoldedRule):
    """The rule, which remembers among which pairs it drew."""

    def __init__(self, world: World, servers: Servers) -> None:
        self.occasions: list[Occasion] = []
        super().__init__(world, servers)

    def _apply(self, receipt: Receipt) -> None:
        super()._apply(receipt)
        if isinstance(receipt.draw, Draw) and receipt.draw.among:
            self._remember(receipt, receipt.draw)

    def _remember(self, receipt: Receipt, draw: Draw) -> None:
        outlook, state = self._state.outlook, self._state.videos[receipt.video]
        assert outlook is not None
        names = {*drawable(state, open_slices(outlook, state)), draw.slice} - {""}
        assert len(names) == draw.among, "the receipt says among how many"
        upto = state.row.trials[draw.slice].upto if draw.slice else 0
        drawn = self._pair(receipt.video, draw.slice) if draw.slice else -1
        among = np.array([self._pair(receipt.video, name) for name in sorted(names)], np.int64)
        self.occasions.append(Occasion(among, drawn, upto))

    def _pair(self, video: str, slice_id: str) -> int:
        return self._slices[slice_id] * len(self._world.videos) + self._videos[video]


def estimated(samples: Sequence[Sampled]) -> tuple[float, float]:
    """Return the mean over all that could have been drawn, and half of its 95 % interval.

    The ratio estimator for draws of unequal probability (Hájek 1971; Särndal, Swensson & Wretman
    1992, Model Assisted Survey Sampling, 5.7): a draw among twice as many speaks for twice as many.
    There are as many degrees of freedom as equal draws would have that say as much (Kish 1965,
    Survey Sampling, 11.7), less one; Student's quantile by Abramowitz & Stegun 26.7.5.

    >>> round(estimated([Sampled(1, 0.2), Sampled(3, 0.4)])[0], 6)
    0.35
    """
    weights = np.array([each.among for each in samples], np.float64)
    values = np.array([each.value for each in samples], np.float64)
    mean = float((weights * values).sum() / weights.sum())
    error = sqrt(float(((weights * (values - mean)) ** 2).sum())) / float(weights.sum())
    equal = float(weights.sum() ** 2 / (weights**2).sum())
    freedom = max(equal - 1, 1.0)
    quantile = NORMAL_95 + (NORMAL_95**3 + NORMAL_95) / (4 * freedom)
    return mean, quantile * error * sqrt(equal / freedom)


def explore(cell: Cell) -> Estimated:
    """Play one short run, and return what its draws say beside the truth."""
    world = _short(
        build_world(load_platform(cell.folder), cell.world, "scarce", cell.size, cell.seed)
    )
    rule = ExploringRule(world, SERVERS[cell.servers]())
    shown, events = _play(world, rule, cell.seed)
    truth = np.concatenate([world.means[0].ravel()[each.among] for each in rule.occasions])
    drawn = [each for each in rule.occasions if each.drawn >= 0]
    samples = list(_samples(world, drawn, events))
    mean, half = estimated(samples)
    covered = abs(mean - truth.mean()) <= half
    average = float((shown * world.means[0]).sum() / shown.sum())
    counts = (len(rule.occasions), len(drawn), world.policy.explore_probability / MICROS)
    found = (float(truth.mean()), mean, half, bool(covered), average)
    return Estimated(cell.world, cell.seed, *found, *counts)


def as_fields(run: Estimated) -> dict[str, Any]:
    """Return a run's fields for people and JSON: values rounded."""
    return {name: round(v, 4) if type(v) is float else v for name, v in run._asdict().items()}


def in_words(runs: Sequence[Estimated]) -> str:
    """Return in how many runs the truth was covered, and whether chance drew as often as it should.

    That is: within the 99.9 % interval of a binomial count, by its normal approximation.
    """
    tries, drawn = (sum(getattr(run, name) for run in runs) for name in ("receipts", "drawn"))
    probability = runs[0].probability
    around = NORMAL_999 * sqrt(tries * probability * (1 - probability))
    within = "within" if abs(drawn - tries * probability) <= around else "outside"
    return (
        f"the truth was covered in {sum(run.covered for run in runs)} of {len(runs)} runs; chance "
        f"drew {drawn:,} times of {tries:,}, {within} {tries * probability:,.0f} ± {around:,.0f}"
    )


def _short(world: World) -> World:
    """Return a world in which every video is there at once, and chance draws often."""
    policy = replace(world.policy, explore_probability=OFTEN, fresh_share=OFTEN)
    videos = len(world.videos)
    slots = world.slots * (PER_VIDEO * videos) // int(world.slots.sum())
    arrivals = np.arange(videos) * (SHOWN_TICKS // 2) // videos
    return with_fields(world, policy=policy, slots=slots, arrivals=arrivals, ticks=SHOWN_TICKS)


def _play(world: World, rule: ExploringRule, seed: int) -> tuple[Ints, EventBatch]:
    """Return the impressions of each pair, and all that the log got."""
    traffic, batches = Traffic(world, seed), []
    shown = np.zeros(world.shape, np.int64)
    arrivals = world.arrivals.tolist()
    for tick in range(SHOWN_TICKS + DRAINED_TICKS):
        for video in (place for place, at in enumerate(arrivals) if at == tick):
            rule.admit(video)
        if tick < SHOWN_TICKS:
            room = np.where(world.live(tick), world.audience - shown, 0)
            counts = rule.choose(Question(tick, world.slots_at(tick), room, shown))
            shown = shown + counts
            traffic.expose(counts, tick)
        batches.append(traffic.due(tick).in_order(tick))
        rule.learn(batches[-1], tick)
    return shown, EventBatch.joined(batches)


def _samples(world: World, drawn: Iterable[Occasion], events: EventBatch) -> Iterable[Sampled]:
    """Yield what the views of each drawn tranche were worth, if it was shown by now."""
    values = _values(world, events)
    for each in drawn:
        mine = np.flatnonzero(events.pair == each.drawn)
        kinds, serials = events.kind[mine], events.serial[mine]
        tranche = np.isin(serials, serials[kinds == IMPRESSION][: each.upto])
        views = int((kinds[tranche] == VIEW).sum())
        if views:
            yield Sampled(len(each.among), float(values[mine][tranche].sum()) / views)


def _values(world: World, events: EventBatch) -> Floats:
    """Return what each event is worth."""
    weights: Weights = world.policy.weights
    durations = world.durations_ms[events.pair % len(world.videos)]
    watched = np.minimum(events.watch_ms, durations) / durations * weights.watch
    watched += (events.watch_ms * 100 >= durations * COMPLETE_PERCENT) * weights.complete
    buttons = np.array([getattr(weights, name, 0) for name in NAMES])
    return np.asarray(np.where(events.kind == VIEW, watched, buttons[events.kind]) / MICROS)

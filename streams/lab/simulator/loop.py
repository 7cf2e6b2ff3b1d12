"""The closed loop: ask, show, watch, learn, tick after tick."""

from dataclasses import dataclass

import numpy as np

from streams.lab.simulator.arrays import Bools, Floats, Ints
from streams.lab.simulator.contenders import Contender, StoppedPair
from streams.lab.simulator.serving import Question
from streams.lab.simulator.traffic import Traffic
from streams.lab.simulator.world import World


@dataclass(frozen=True, slots=True)
class Course:
    """What a run came to: impressions and worth of every pair, and what was decided."""

    shown: Ints
    value: Floats  # sum of true mean minus price over the impressions
    wasted: Ints  # impressions below the price
    last: Ints  # impressions of each pair in the last tick
    overdrawn: int  # impressions beyond the allowance
    stops: tuple[StoppedPair, ...]
    stopped: Bools
    decisions: int


def run(world: World, contender: Contender, seed: int) -> Course:
    """Run a contender through a world from the first tick to the last."""
    traffic = Traffic(world, seed)
    shown = np.zeros(world.shape, np.int64)
    value = np.zeros(world.shape)
    wasted = np.zeros(world.shape, np.int64)
    arrivals = world.arrivals.tolist()
    counts = np.zeros(world.shape, np.int64)
    next_video = 0
    for tick in range(world.ticks):
        while next_video < len(arrivals) and arrivals[next_video] <= tick:
            contender.admit(next_video)
            next_video += 1
        room = np.where(world.live(tick), world.audience - shown, 0)
        counts = contender.choose(Question(tick, world.slots_at(tick), room, shown))
        shown = shown + counts
        gain = world.means_at(tick) - world.prices[:, None]
        value += counts * gain
        wasted += np.where(gain < 0, counts, 0)
        traffic.expose(counts, tick)
        contender.learn(traffic.due(tick), tick)
    return Course(
        shown=shown,
        value=value,
        wasted=wasted,
        last=counts,
        overdrawn=contender.overdrawn,
        stops=tuple(contender.stops),
        stopped=contender.stopped(),
        decisions=contender.decisions,
    )

"""What prices that move are worth beside frozen ones, step by step: so the keeper moves none."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from streams.lab.simulator.admission import load_platform
from streams.lab.simulator.building import build_world
from streams.lab.simulator.comparing import REFERENCES, Interval, interval
from streams.lab.simulator.lineup import CONTENDERS, SERVERS
from streams.lab.simulator.loop import run
from streams.lab.simulator.measures import measure
from streams.lab.simulator.names import Cell
from streams.lab.simulator.pricing import PricedRule
from streams.lab.simulator.tables import percent

STEPS: Final = (0, 1_000, 2_000, 5_000, 10_000)
"""Steps that are compared, micro-units of value; 0 is frozen."""
WORLDS: Final = ("correlated", "hidden", "rare-hits", "drift")
"""Two worlds that the rule expects, and two that it does not."""


class PriceRun(NamedTuple):
    """One run under a keeper that moves prices by so much at most in one record (0: frozen)."""

    cell: Cell
    step: int
    value_share: float  # of the oracle's value
    good_stopped: float  # share of the clearly good pairs that stand stopped at the end


class PricePoint(NamedTuple):
    """One step in one world and regime, over the seeds; half widths are of 95 % intervals.

    `gain` is what the step gains over frozen prices, seed by seed, in shares of the oracle's value.
    """

    world: str
    regime: str
    step: int
    value_share: Interval
    gain: Interval
    good_stopped: Interval


def sample(cell: Cell) -> list[PriceRun]:
    """Run the kept rule through one world with prices that move by every step."""
    world = build_world(load_platform(cell.folder), cell.world, cell.regime, cell.size, cell.seed)
    serving = SERVERS[cell.servers]
    oracle, ladder = (
        run(world, CONTENDERS[name](world, serving(), cell.seed), cell.seed) for name in REFERENCES
    )
    runs = []
    for step in STEPS:
        course = run(world, PricedRule(world, serving(), step), cell.seed)
        measures = measure(world, course, oracle, ladder)
        runs.append(PriceRun(cell, step, measures.value_share, measures.good_stopped))
    return runs


def points(runs: Sequence[PriceRun]) -> list[PricePoint]:
    """Return means and intervals over the seeds, in the order of worlds and steps."""
    frozen = {each.cell: each.value_share for each in runs if not each.step}
    groups: dict[tuple[str, str, int], list[PriceRun]] = {}
    for each in runs:
        groups.setdefault((each.cell.world, each.cell.regime, each.step), []).append(each)
    return [
        PricePoint(
            *place,
            interval([each.value_share for each in own]),
            interval([each.value_share - frozen[each.cell] for each in own]),
            interval([each.good_stopped for each in own]),
        )
        for place, own in groups.items()
    ]


def as_fields(point: PricePoint) -> dict[str, Any]:
    """Return a point with its shares in percent, as rows and JSON have them."""
    named = {"world": point.world, "regime": point.regime, "step": point.step}
    return named | {
        name: number
        for field in ("value_share", "gain", "good_stopped")
        for name, number in percent(field, getattr(point, field)).items()
    }

"""Curves: what the rule is worth over each of the policy's own numbers, all others as shipped."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace as with_fields
from typing import Final, NamedTuple

from msgspec.structs import replace

from streams.core.events import Policy
from streams.core.units import MICROS
from streams.lab.simulator.admission import load_platform
from streams.lab.simulator.building import build_world
from streams.lab.simulator.comparing import Interval, interval
from streams.lab.simulator.folded import FoldedRule
from streams.lab.simulator.lineup import CONTENDERS, SERVERS
from streams.lab.simulator.loop import run
from streams.lab.simulator.measures import measure
from streams.lab.simulator.names import Cell
from streams.lab.simulator.world import World

NUMBERS: Final[Mapping[str, Sequence[float]]] = {
    "first": (5, 10, 15, 20, 30, 60),
    "tranche": (15, 30, 60, 120, 240),
    "growth": (2, 3, 5),
    "top_stage": (2, 3, 5, 8),
    "widen_used": (0.0, 0.25, 0.5, 0.75, 1.0),
    "horizon": (100, 200, 400, 800, 1_600),
    "open_max": (2, 4, 8, 16, 32, 64),
}
"""The policy's numbers, and the values that a curve goes through."""


class CurvePoint(NamedTuple):
    """One value of one number: the share of the oracle's value in one world and regime."""

    world: str
    regime: str
    number: str
    value: float
    shipped: bool
    value_share: Interval
    false_stops: Interval


class CurveRun(NamedTuple):
    """One run: a number of the policy set to a value."""

    cell: Cell
    number: str
    value: float
    value_share: float
    false_stops: float


def changed(policy: Policy, number: str, value: float) -> Policy:
    """Return the policy with one number set; a share is given as a fraction."""
    if number == "horizon":
        slices = {name: replace(spec, horizon=int(value)) for name, spec in policy.slices.items()}
        return replace(policy, slices=slices)
    whole = round(value * MICROS) if number == "widen_used" else int(value)
    return replace(policy, **{number: whole})


def shipped(policy: Policy, number: str) -> float:
    """Return a number as the shipped policy has it; of slices, that of the first."""
    if number == "horizon":
        return next(iter(policy.slices.values())).horizon
    value: int = getattr(policy, number)
    return value / MICROS if number == "widen_used" else value


def sample(cell: Cell) -> list[CurveRun]:
    """Run the rule through one world for every value of every number."""
    world = build_world(load_platform(cell.folder), cell.world, cell.regime, cell.size, cell.seed)
    oracle, ladder = (
        run(world, CONTENDERS[name](world, SERVERS[cell.servers](), cell.seed), cell.seed)
        for name in ("oracle", "ladder")
    )

    def play(changing: World) -> tuple[float, float]:
        contender = FoldedRule(changing, SERVERS[cell.servers]())
        measures = measure(world, run(changing, contender, cell.seed), oracle, ladder)
        return measures.value_share, measures.false_stops

    return list(_samples(cell, world, play))


def _samples(
    cell: Cell, world: World, play: Callable[[World], tuple[float, float]]
) -> Iterator[CurveRun]:
    as_shipped = play(world)
    for number, values in NUMBERS.items():
        for value in values:
            if value == shipped(world.policy, number):
                results = as_shipped
            else:
                policy = changed(world.policy, number, value)
                results = play(with_fields(world, policy=policy))
            yield CurveRun(cell, number, value, *results)


def points(samples: Sequence[CurveRun], policy: Policy) -> list[CurvePoint]:
    """Return means and intervals over the seeds."""
    groups: dict[tuple[str, str, str, float], list[CurveRun]] = {}
    for one in samples:
        key = (one.cell.world, one.cell.regime, one.number, one.value)
        groups.setdefault(key, []).append(one)
    return [
        CurvePoint(
            *key,
            shipped=key[3] == shipped(policy, key[2]),
            value_share=interval([one.value_share for one in group]),
            false_stops=interval([one.false_stops for one in group]),
        )
        for key, group in groups.items()
    ]

"""Horizons: how many impressions a video can still expect in a slice, from what feeds ask for.

Learning about a video pays for as long as what was learned can be used. In a slice a pair can
expect its share of the slots: those asked for while a video lives, over the pairs that compete for
them. A horizon moves towards that number by a quarter of the way, at most by `STEP` a record: so
neither a burst of requests nor the chance of a small sample makes it swing.
"""

from collections.abc import Iterable, Mapping
from math import exp, log
from typing import Final

from streams.core.counters import ACTIVE, IDLE, Slice, VideoState
from streams.core.events import Policy
from streams.core.outlook import Outlook
from streams.core.rule import allowance_of, open_slices

LIFE_DAYS: Final = 3.0
"""How long a video is shown, about. Measured: ten times as long wins 1.3 points of the oracle's
value where slots are scarce and loses 3.5 where many videos compete."""
STEP: Final = 1.25
"""A horizon is at most multiplied, or divided, by this in one record."""
PART: Final = 4
"""Of the way to what a pair can expect, one record goes one part."""
STILL: Final = 1.05
"""What is nearer than this stays as it is: a difference that small is chance."""


def open_pairs(policy: Policy, videos: Iterable[VideoState]) -> dict[str, int]:
    """Return how many of these videos compete in each slice: open there, with allowance left."""
    outlook, counts = Outlook(policy), dict.fromkeys(policy.slices, 0)
    for state in videos:
        for name in open_slices(outlook, state):
            row = state.slices.get(name) or Slice()
            shown = row.status in {IDLE, ACTIVE}
            if name in counts and shown and allowance_of(policy, state, name) > row.impressions:
                counts[name] += 1
    return counts


def share_of_slots(slots_a_day: float, pairs: float, life_days: float = LIFE_DAYS) -> float:
    """Return the impressions that one of `pairs` can expect in its life.

    >>> share_of_slots(60_000, 450)
    400.0
    """
    return slots_a_day * life_days / pairs


def next_horizon(horizon: int, expected: float, least: int, most: int) -> int:
    """Return the horizon of the next record, `expected` being what a pair can expect by now.

    >>> next_horizon(400, 10_000, least=60, most=5_000), next_horizon(400, 5, least=60, most=5_000)
    (500, 320)
    >>> next_horizon(400, 600, least=60, most=5_000), next_horizon(400, 410, least=60, most=5_000)
    (443, 400)
    """
    way = log(max(min(expected, most), least) / horizon)
    if abs(way) < log(STILL):
        return horizon
    step = max(min(way / PART, log(STEP)), -log(STEP))
    moved = round(horizon * exp(step))
    if moved == horizon:  # part of the way is less than one impression
        moved += 1 if way > 0 else -1
    return moved


def next_horizons(
    policy: Policy, slots_a_day: Mapping[str, float], pairs: Mapping[str, float]
) -> dict[str, int]:
    """Return the horizons that move, by slice.

    One without a count of its slots stays: that nobody told is not that nobody asked.
    """
    moved = {}
    for name, slots in slots_a_day.items():
        spec = policy.slices.get(name)
        if spec is None:
            continue
        expected = share_of_slots(slots, max(pairs.get(name, 0.0), 1.0))
        horizon = next_horizon(spec.horizon, expected, min(policy.tranche, spec.reach), spec.reach)
        if horizon != spec.horizon:
            moved[name] = horizon
    return moved

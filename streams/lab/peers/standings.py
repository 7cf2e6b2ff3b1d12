"""What rounds come to: medians, and ratios to ours."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import NamedTuple

from streams.lab.peers.field import OURS
from streams.lab.timed import Timed


class PeerRow(NamedTuple):
    """One peer's medians over the rounds; ratios are to ours, None of one that cannot run here.

    `differences` are events that its counters lack or have too many, of all rounds together.
    """

    peer: str
    events_per_second: int | None
    ratio: float | None
    slowest: int | None
    fastest: int | None
    events_per_cpu_second: int | None
    cpu_ratio: float | None
    differences: int | None
    without: str
    missing: str


def row_of(
    name: str, rounds: Mapping[str, Sequence[Timed]], without: str, missing: str = ""
) -> PeerRow:
    """Return the row of a peer, of which there are no rounds if something is `missing`.

    >>> ours = [Timed(100, 1.0, 0.5)]
    >>> row_of("slow", {"streams": ours, "slow": [Timed(100, 4.0, 1.0)]}, "")[1:7]
    (25, 0.25, 25, 25, 100, 0.5)
    """
    if name not in rounds:
        return PeerRow(name, None, None, None, None, None, None, None, without, missing)
    laps, ours = rounds[name], rounds[OURS]
    rates = [lap.per_second for lap in laps]
    cpu_rate = median(lap.per_cpu_second for lap in laps)
    return PeerRow(
        name,
        round(median(rates)),
        round(median(rates) / median(lap.per_second for lap in ours), 3),
        round(min(rates)),
        round(max(rates)),
        round(cpu_rate),
        round(cpu_rate / median(lap.per_cpu_second for lap in ours), 3),
        sum(lap.differences for lap in laps),
        without,
        missing,
    )

"""When a partition stores what is folded: at once, unless there is more to do.

A flush costs about as much however little it stores, and a row that changes again before it is
stored is stored once. So a partition has one flush at a time, a worker begins only so many a
second, and where the log has more to fold a partition flushes every `flush_interval_ms`. Of a log
that is folded to its end nothing waits: a flush has what came while the last one was under way.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from streams.runtime.owned import Owned

GAP_S: Final = 0.005
"""From one flush of a partition to the next; as many times as long as there are to be flushed."""


class Gaps(NamedTuple):
    """Seconds from one flush of a partition to its next one: with more to fold, and without."""

    behind_s: float
    folded_s: float

    def over(self, owned: Owned, now: float) -> bool:
        """Tell whether a partition may begin a flush by now."""
        return now - owned.flushed_at >= (self.behind_s if owned.backlog else self.folded_s)


def gaps_of(owned: Collection[Owned], interval_s: float, *, behind: bool) -> Gaps:
    """Return the gaps of a worker's partitions; `behind` if more could have been read of them."""
    gap_s = min(GAP_S * storing(owned), interval_s)
    return Gaps(interval_s, interval_s if behind else gap_s)


def storing(owned: Collection[Owned]) -> int:
    """Return how many partitions have something to store, and a store that answers."""
    return sum(one.unstored and not one.trouble for one in owned)

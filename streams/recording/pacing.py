"""When a record is due: by the original gaps over all partitions together, or by a rate."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Pace:
    """How fast to replay. `speed` None is as fast as possible, 10 is ten times the original.

    `rate` is the most records a second; `max_gap_ms` the longest original gap that is waited out.
    """

    speed: float | None = 1.0
    rate: float | None = None
    max_gap_ms: int | None = None


class Pacer:
    """Tells when records are due, in seconds after the first.

    Time moves with the greatest timestamp so far: a record whose timestamp lies before it is due
    at once, and the gap to the next one counts from the greatest.

    >>> pacer = Pacer(Pace(speed=10, max_gap_ms=5_000))
    >>> [pacer.due(timestamp) for timestamp in (1_000, 2_000, 1_500, 3_000, 60_000)]
    [0.0, 0.1, 0.1, 0.2, 0.7]
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._greatest: int | None = None
        self._passed_ms = 0  # of original time, long gaps shortened
        self._records = 0

    def due(self, timestamp: int) -> float:
        """Return when the next record is due; call it once for each in their merged order."""
        due = 0.0
        if self._pace.speed is not None:
            self._move(timestamp)
            due = self._passed_ms / 1000 / self._pace.speed
        if self._pace.rate is not None:
            due = max(due, self._records / self._pace.rate)
        self._records += 1
        return due

    def _move(self, timestamp: int) -> None:
        if self._greatest is None:
            self._greatest = timestamp
        elif timestamp > self._greatest:
            gap = timestamp - self._greatest
            if self._pace.max_gap_ms is not None:
                gap = min(gap, self._pace.max_gap_ms)
            self._passed_ms += gap
            self._greatest = timestamp

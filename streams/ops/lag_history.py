"""The lag of a day at falling resolution, kept in the memory of the process that collects it.

The last ten looks as they were, the worst of every minute for an hour, the worst of every quarter
of an hour for a day: a spike stays visible, and a group's partition costs some twenty kilobytes.
"""

from collections import deque
from collections.abc import Sequence
from typing import Final, NamedTuple

from streams.ops.lag_status import WINDOW, Sample

MINUTE_MS: Final = 60_000
DAY_MS: Final = 24 * 60 * MINUTE_MS
_BARS: Final = "▁▂▃▄▅▆▇█"


class Resolution(NamedTuple):
    """One point for each step, so many of them."""

    step_ms: int
    points: int


RESOLUTIONS: Final = (Resolution(MINUTE_MS, 60), Resolution(15 * MINUTE_MS, 96))
"""The finer one first."""


class Point(NamedTuple):
    """The lag at one moment."""

    at_ms: int
    lag: int


class History:
    """What was seen of one group in one partition; `window` are the last looks."""

    def __init__(self) -> None:
        self.window: Final[deque[Sample]] = deque(maxlen=WINDOW)
        self._kept: Final = [deque[Point](maxlen=one.points) for one in RESOLUTIONS]

    def add(self, sample: Sample) -> None:
        """Take the next look; of each step the worst one is kept."""
        self.window.append(sample)
        point = Point(sample.at_ms, sample.lag)
        for resolution, kept in zip(RESOLUTIONS, self._kept, strict=True):
            if kept and kept[-1].at_ms // resolution.step_ms == point.at_ms // resolution.step_ms:
                kept[-1] = max(kept[-1], point, key=lambda one: one.lag)
            else:
                kept.append(point)

    def points(self) -> list[Point]:
        """Return the day in order of time: coarse up to where the finer points begin."""
        fine, coarse = self._kept
        begin = fine[0].at_ms if fine else 0
        return [*(point for point in coarse if point.at_ms < begin), *fine]


def sparkline(points: Sequence[Point], now_ms: int, span_ms: int, width: int = 24) -> str:
    """Return the lag of the last while as bars, each the worst of its part; blank: nothing known.

    >>> sparkline([Point(10, 0), Point(50, 4), Point(90, 8)], 100, 100, 10)
    ' ▁   ▄   █'
    """
    parts: list[int | None] = [None] * width
    for at_ms, lag in points:
        part = (at_ms - now_ms + span_ms) * width // span_ms
        if 0 <= part <= width:
            part = min(part, width - 1)
            parts[part] = max(parts[part] or 0, lag)
    most = max((lag for lag in parts if lag), default=1)
    return "".join(" " if lag is None else _BARS[lag * 7 // most] for lag in parts)

"""The leader's look at creators: how unequal their audiences are, how fans' feeds change by day.

Every hour, and when a day of the log's time begins, the rows of all videos are summed by creator.
What they came to when a day began is kept, so that whole days can be told apart.
"""

import logging
import time
from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Gauge

from streams.control.handicaps import CreatorsSeen, Handicaps
from streams.core.creators import (
    DAY_MINUTES,
    CreatorTotals,
    DayStart,
    gini_micros,
    private_lost,
    top_micros,
)
from streams.core.units import MICROS
from streams.runtime.creators import creator_totals
from streams.runtime.mixes import Ceiling, Mix
from streams.runtime.ports import Clock, Dossiers, Store

log: Final = logging.getLogger("streams.control")

LOOK_S: Final = 3_600.0
AGAIN_S: Final = 60.0
"""After a look that failed."""


class CreatorMetrics:
    """Set by the leader with each look; while another one leads, there are no series.

    `streams_creators_gini_ratio{of}`, `streams_creators_top_share_ratio{of}`,
    `streams_creators_private_lost_ratio{of}`, `streams_creators_ceiling_ratio{of}`,
    `streams_creators_above{of}`, `streams_creators_lowered{of}`.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._gini: Final = Gauge(
            "streams_creators_gini_ratio",
            "How unequal creators' public impressions are: 0 all equal, towards 1 one has all.",
            ["of"],
            registry=registry,
        )
        self._top: Final = Gauge(
            "streams_creators_top_share_ratio",
            "Share of the public impressions that one creator in a hundred has.",
            ["of"],
            registry=registry,
        )
        self._lost: Final = Gauge(
            "streams_creators_private_lost_ratio",
            "Share of the private impressions of the day before yesterday that yesterday lacked.",
            ["of"],
            registry=registry,
        )
        self._ceiling: Final = Gauge(
            "streams_creators_ceiling_ratio",
            "Share of a day's public impressions that one creator may have; none: not known.",
            ["of"],
            registry=registry,
        )
        self._above: Final = Gauge(
            "streams_creators_above",
            "Creators who have more than that.",
            ["of"],
            registry=registry,
        )
        self._lowered: Final = Gauge(
            "streams_creators_lowered",
            "Creators whose videos are ranked less on public surfaces because they had.",
            ["of"],
            registry=registry,
        )

    def show(self, totals: Mapping[str, CreatorTotals], lost: int | None) -> None:
        """Show what was found at a look; what is not known has no series."""
        self.clear()
        public = [each.public for each in totals.values()]
        known = (
            (self._gini, gini_micros(public)),
            (self._top, top_micros(public)),
            (self._lost, lost),
        )
        for gauge, micros in known:
            if micros is not None:
                gauge.labels("all").set(micros / MICROS)

    def show_ceiling(self, standing: Ceiling | None) -> None:
        """Show how creators stand to the ceiling."""
        if standing is None:
            return
        if standing.share is not None:
            self._ceiling.labels("all").set(standing.share / MICROS)
        self._above.labels("all").set(standing.above)
        self._lowered.labels("all").set(standing.lowered)

    def clear(self) -> None:
        """Show nothing any more."""
        shares = (self._gini, self._top, self._lost)
        for gauge in (*shares, self._ceiling, self._above, self._lowered):
            gauge.clear()


class CreatorsLook:
    """Looks at all creators while this control plane leads; `step` is called every second."""

    def __init__(
        self,
        store: Store,
        dossiers: Dossiers,
        place: tuple[str, int],
        metrics: CreatorMetrics,
        handicaps: Handicaps,
        clock: Clock = time.monotonic,
    ) -> None:
        self._store: Final = store
        self._dossiers: Final = dossiers
        self._place: Final = place  # namespace and partitions
        self._metrics: Final = metrics
        self._handicaps: Final = handicaps
        self._clock: Final = clock
        self._day = -1
        self._next_at = float("-inf")

    async def step(self, minute: int, term: int = 0, mix: Mix | None = None) -> None:
        """Look if an hour is over or a day has begun; `minute` is by which most partitions go.

        `term` is the leader's, `mix` the last that it wrote. `Retry` if not all rows can be read:
        then nothing is kept, and it is done again.
        """
        day, now = minute // DAY_MINUTES, self._clock()
        if now < self._next_at and day == self._day:
            return
        self._day, self._next_at = day, now + AGAIN_S
        totals = await creator_totals(self._store, *self._place)
        sums = {creator: (each.public, each.private) for creator, each in totals.items()}
        await self._dossiers.keep_day(day, DayStart(minute, sums))
        days = await self._dossiers.days(range(day - 2, day + 1))
        self._metrics.show(totals, private_lost(day - 1, days))
        try:
            await self._handicaps.follow(CreatorsSeen(minute, totals, days), term, mix)
        finally:
            self._metrics.show_ceiling(self._handicaps.standing)
        self._next_at = self._clock() + LOOK_S

    def rest(self) -> None:
        """Forget everything: another control plane leads."""
        if self._day >= 0:
            self._day, self._next_at = -1, float("-inf")
            self._handicaps.rest()
            self._metrics.clear()

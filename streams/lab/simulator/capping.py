"""The rule under the ceiling of one creator, as the leader holds it: its own pure functions.

A tick stands for the part of a day that it is of a video's life, so for about three quarters of an
hour: creators are looked at every other tick, and when a day begins.
"""

from collections.abc import Mapping
from typing import Final

from streams.control.policy.horizon import LIFE_DAYS
from streams.control.shares.ceiling import (
    CeilingRules,
    CeilingTable,
    ceiling_rules,
    handicaps,
    public_of_day,
)
from streams.control.shares.due import MINUTE_MS
from streams.core.creators import DAY_MINUTES, CreatorTotals, DayStart, add_videos
from streams.core.events import Revise
from streams.lab.simulator.admission import START_MS
from streams.lab.simulator.folded import FoldedRule
from streams.lab.simulator.keeping import LIFE_TICKS
from streams.lab.simulator.serving import Servers
from streams.lab.simulator.traffic import EventBatch
from streams.lab.simulator.world import World

TICK_MINUTES: Final = DAY_MINUTES * LIFE_DAYS / LIFE_TICKS
FIRST_DAY: Final = START_MS // MINUTE_MS // DAY_MINUTES
EVERY_TICKS: Final = 2
SHIPPED: Final = ceiling_rules(CeilingTable(), "ceiling")


class CappedRule(FoldedRule):
    """The rule, whose videos have the handicaps that their creators' shares of a day ask for."""

    def __init__(self, world: World, servers: Servers, rules: CeilingRules = SHIPPED) -> None:
        super().__init__(world, servers)
        self._rules = rules
        self._days: dict[int, DayStart] = {}

    def learn(self, batch: EventBatch, tick: int) -> None:
        """Fold what the log got; now and then the leader looks at creators."""
        super().learn(batch, tick)
        minute = FIRST_DAY * DAY_MINUTES + round(tick * TICK_MINUTES)
        day = minute // DAY_MINUTES
        if tick % EVERY_TICKS == 0 or day not in self._days:
            totals: dict[str, CreatorTotals] = {}
            add_videos(totals, self._state.videos.values())
            starts = {creator: (each.public, each.private) for creator, each in totals.items()}
            self._days.setdefault(day, DayStart(minute, starts))
            self._hold(minute, totals)

    def _hold(self, minute: int, totals: Mapping[str, CreatorTotals]) -> None:
        public = public_of_day(minute, self._days, totals)
        wanted = handicaps(self._rules, totals, public, minute, ordinary_first=False)
        for name, state in self._state.videos.items():
            own = state.row
            above = wanted.get(own.creator)
            if above is not None and above.handicap != own.handicap:
                named = f"handicap-{minute}", name, minute * MINUTE_MS, own.seq + 1
                self._fold([Revise(*named, handicap=above.handicap)])
                self._offer({self._videos[name]: []})

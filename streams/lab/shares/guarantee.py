"""First audiences in a world of shares: what newcomers are owed, and when it was shown."""

from collections import deque
from collections.abc import Mapping
from typing import Final

from streams.control.policy.file import USUAL_BOUND
from streams.control.shares.due import MINUTE_MS, due_share
from streams.core.units import MICROS
from streams.lab.shares.market import FAMOUS, ORDINARY, PUBLIC, ClassName
from streams.lab.shares.worlds import DAY, SLOTS, ShareWorld
from streams.runtime.leases import Newcomers

FULL: Final = 60
OWED: Final = 0.009
"""Of the slots: 15 million uploads a day, each owed 60 of 100 billion impressions."""
GATHERED: Final = 10
"""Uploads of so many minutes go together."""


class Owing:
    """What newcomers are owed, by deadline; `due` and `missed` count those whose time is over.

    What is uploaded above the usual is of a handful of creators, who have had their full guarantees
    of the day at once: `beyond` is owed to each of it.
    """

    def __init__(self, world: ShareWorld, beyond: int = USUAL_BOUND.beyond) -> None:
        self.due = 0
        self.missed = 0
        self._world: Final = world
        self._beyond: Final = beyond
        self._cohorts: Final[deque[list[int]]] = deque()  # deadline in minutes, left, whole

    def serve(self, minute: int, slots: int, ordinary: float) -> Mapping[ClassName, int]:
        """Return the impressions that newcomers get in a minute, the earliest deadline first."""
        self._upload(minute)
        self._end(minute)
        public = slots * 3 // 4
        dues = [(deadline * MINUTE_MS, left) for deadline, left, _ in self._cohorts if left]
        newcomers = Newcomers(len(dues), dues)
        share = due_share(newcomers, public, minute * MINUTE_MS, DAY * MINUTE_MS).share
        room = public * share // MICROS
        shown = 0
        for cohort in self._cohorts:
            taken = min(cohort[1], room - shown)
            cohort[1] -= taken
            shown += taken
        own = round(shown * ordinary)
        return {(PUBLIC, ORDINARY): own, (PUBLIC, FAMOUS): shown - own}

    def _upload(self, minute: int) -> None:
        spam = self._world.uploads_at(minute) - 1
        owed = round(SLOTS * OWED * (1 + spam * self._beyond / FULL))
        if not self._cohorts or minute % GATHERED == 0:
            self._cohorts.append([minute + DAY, 0, 0])
        self._cohorts[-1][1] += owed
        self._cohorts[-1][2] += owed

    def _end(self, minute: int) -> None:
        while self._cohorts and self._cohorts[0][0] <= minute:
            _, left, whole = self._cohorts.popleft()
            self.due += whole
            self.missed += left

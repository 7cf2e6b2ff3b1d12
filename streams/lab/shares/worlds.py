"""What happens in a world of shares: who uploads, how many slots there are, what goes wrong."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from streams.control.shares.rules import Feeds
from streams.control.shares.steering import DAY_TICKS

DAY: Final = DAY_TICKS
"""Minutes."""
SLOTS: Final = 100_000
"""Impressions a minute in the mean."""
NIGHTS: Final = 1_920
"""Long enough for first audiences of some hours to be due."""
STEP_AT: Final = 120
"""What changes, or fails, does so at this minute."""
ROOMS_LAST: Final = 60
"""Minutes that live rooms are open for."""
SWING: Final = 2 / 3
"""Of the slots, between night and day: five times as many at noon."""


@dataclass(frozen=True, slots=True)
class ShareWorld:
    """One world, fixed before its first minute.

    `ordinary` and `after` are the share of ordinary people among the uploads that are no adverts,
    before and from `STEP_AT` on, until `until`; `adverts` that of adverts among all. The leader
    begins with the gain that scores tell, times `gain`. Of a minute's records of partitions `lost`
    never come and `late` come up to three minutes later.
    """

    name: str
    minutes: int = DAY
    ordinary: float = 0.85
    after: float | None = None
    until: int | None = None
    adverts: float = 0.1
    feeds: Feeds = "blend"
    swing: float = 0.0
    spam: float = 1.0  # uploads, in parts of the usual ones, for 4 hours
    gain: float | None = None
    dead: int = 0  # minutes without any leader
    lost: float = 0.0
    late: float = 0.0
    partitions: int = 2  # of the log
    spread: float = 0.08  # sd of scores in a class
    wander: float = 0.004  # sd of what the taste for a class wanders by
    fans: float = 0.75  # impressions that followers could have, in slots of a mean minute
    rooms: float = 0.0  # impressions that famous people's live rooms have to offer, for an hour

    @property
    def about(self) -> str:
        """What it is like, in words: who uploads, and what is unusual."""
        words = {
            f", {self.after or 0:.0%} from minute {STEP_AT} on": self.after is not None,
            f", gain thought {self.gain or 1:.2g} times what it is": self.gain not in {None, 1.0},
            ", tastes stand still": not self.wander,
            f", nobody leads for {self.dead} minutes": self.dead,
            ", five times as many slots by day as by night": self.swing,
        }
        unusual = "".join(text for text, applies in words.items() if applies)
        return f"{self.ordinary:.0%} of the uploads are of ordinary people{unusual}"

    def ordinary_at(self, minute: int) -> float:
        """Return the share of ordinary people among the uploads by then."""
        if self.after is None or minute < STEP_AT or minute >= (self.until or math.inf):
            return self.ordinary
        return self.after

    def slots_at(self, minute: int) -> int:
        """Return the impressions that viewers ask for in a minute."""
        return round(SLOTS * (1 + self.swing * math.sin(2 * math.pi * minute / DAY)))

    def uploads_at(self, minute: int) -> float:
        """Return how many times the usual uploads come in a minute."""
        return self.spam if STEP_AT <= minute < STEP_AT + 240 else 1.0

    def rooms_at(self, minute: int) -> float:
        """Return what live rooms have to offer in a minute, in slots of a mean one."""
        return self.rooms if STEP_AT <= minute < STEP_AT + ROOMS_LAST else 0.0

    def is_led(self, minute: int) -> bool:
        """Tell whether anybody steers in a minute."""
        return not STEP_AT <= minute < STEP_AT + self.dead


_WORLDS: Final = (
    ShareWorld("even"),
    ShareWorld("few-ordinary", ordinary=0.55),
    ShareWorld("all-ordinary", ordinary=0.95, adverts=0.0, fans=1.8),
    ShareWorld("adverts", adverts=0.2),
    ShareWorld("tabs", ordinary=0.55, feeds="tabs"),
    ShareWorld("night", NIGHTS, ordinary=0.55, swing=SWING),
    ShareWorld("rooms", ordinary=0.55, rooms=0.6),
    ShareWorld("spam", NIGHTS, ordinary=0.55, spam=8.0),
    ShareWorld("step", 360, after=0.4, adverts=0.05, gain=1.0),
    ShareWorld("gain-above", 360, after=0.4, adverts=0.05, gain=1.2),
    ShareWorld("gain-below", 360, after=0.4, adverts=0.05, gain=1 / 1.2),
    ShareWorld("still", 360, after=0.4, adverts=0.05, gain=1.0, wander=0.0),
    ShareWorld("still-above", 360, after=0.4, adverts=0.05, gain=1.2, wander=0.0),
    ShareWorld("still-below", 360, after=0.4, adverts=0.05, gain=1 / 1.2, wander=0.0),
    ShareWorld("gain-4x", 360, after=0.4, adverts=0.05, gain=4.0),
    ShareWorld("gain-quarter", 360, after=0.4, adverts=0.05, gain=1 / 4),
    ShareWorld("dead", 360, ordinary=0.55, dead=10),
    ShareWorld("gaps", 360, ordinary=0.55, lost=0.1, late=0.3, partitions=8),
    ShareWorld("none-left", 360, after=0.02, until=240),
    ShareWorld("wide", 360, after=0.4, adverts=0.05, spread=0.14),
)
SHARE_WORLDS: Final[Mapping[str, ShareWorld]] = {world.name: world for world in _WORLDS}
"""Every world by its name."""

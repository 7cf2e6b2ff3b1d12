"""What an attacker pays: events until the rule widens a bad video, or stops a good one.

One video in one crowd, folded event by event. Beside honest viewers, the attacker comes first, with
the row's first view and right after each widening, and then they see the video up to its allowance.
Alone, nobody else ever sees it: then an act more is a viewer more, wherever each is another one's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Final, Literal, NamedTuple

from streams.core.events import (
    Admit,
    Impression,
    InteractionRecord,
    LogRecord,
    Policy,
    View,
)
from streams.core.fold import fold
from streams.core.receipts import Receipt
from streams.core.state import PartitionState
from streams.lab.simulator.admission import START_MS
from streams.lab.viewers import (
    BUTTONS,
    Rates,
    appeal_for,
    draw_buttons,
    draw_watch,
    rates_at,
)

SLICE: Final = "discover:cooking"
DURATION_MS: Final = 20_000
FROM_PRICE: Final = 100_000
"""The bad video is worth so much less than the price, the good one so much more; micro-units."""
GENERATION: Final = 1 << 20
"""Offsets of one generation of duplicates: who waits lets two pass between acts."""
MOST: Final = 400
"""An attack that needs more events is not tried further."""
WIDENINGS: Final = 3
NEXT_VIEWS: Final = 60
"""Honest views after an attack by which it must have worked: a first tranche."""
SEEDS: Final = (1, 2, 3)


Viewers = Literal["one", "one that waits", "many"]


@dataclass(frozen=True, slots=True)
class Attack:
    """What each act of the attacker sends: `parts` in order, a view as the share watched."""

    name: str
    viewers: Viewers
    parts: tuple[str, ...]


WIDENING: Final = (
    Attack("order", "one", ("order",)),
    Attack("share", "one", ("share",)),
    Attack("comment", "one", ("comment",)),
    Attack("follow", "many", ("follow",)),
    Attack("like", "many", ("like",)),
    Attack("full view", "one", ("view",)),
    Attack("full view and like", "many", ("view", "like")),
    Attack("impression and full view", "one", ("impression", "view")),
    Attack("impression, full view and order", "one that waits", ("impression", "view", "order")),
    Attack("impression, full view and like", "many", ("impression", "view", "like")),
    Attack("impression, full view and share", "many", ("impression", "view", "share")),
)
STOPPING: Final = (
    Attack("report", "one", ("report",)),
    Attack("hide", "many", ("hide",)),
    Attack("empty view", "one", ("empty",)),
    Attack("impression and empty view", "one", ("impression", "empty")),
    Attack("impression, empty view and hide", "one that waits", ("impression", "empty", "hide")),
    Attack("impression and empty view", "many", ("impression", "empty")),
    Attack("impression, empty view and hide", "many", ("impression", "empty", "hide")),
)


class Cost(NamedTuple):
    """Median acts over seeds that an attack takes; None beyond `MOST`, or where it has no aim."""

    attack: str
    viewers: str
    beside: str  # "honest" viewers or "nobody"
    first_widening: int | None
    second_widening: int | None
    third_widening: int | None
    stop: int | None


def cost_of(policy: Policy, attack: Attack, *, alone: bool = False) -> Cost:
    """Return what an attack pays for three widenings of a bad video, or for a good one's stop."""
    named = attack.name, attack.viewers, "nobody" if alone else "honest"
    if attack in STOPPING:
        sieges = (Siege(policy, attack, seed, FROM_PRICE, alone=alone) for seed in SEEDS)
        stop = _median([_least(siege, [], "stop") for siege in sieges])
        return Cost(*named, None, None, None, stop)
    paid = [_widenings(Siege(policy, attack, seed, -FROM_PRICE, alone=alone)) for seed in SEEDS]
    first, second, third = (_median(stage) for stage in zip(*paid, strict=True))
    return Cost(*named, first, second, third, None)


def _widenings(siege: "Siege") -> list[int | None]:
    paid: list[int] = []
    for _ in range(WIDENINGS):
        least = _least(siege, paid, "widen")
        if least is None:
            break
        paid.append(least)
    return [*paid, *[None] * (WIDENINGS - len(paid))]


def _least(siege: "Siege", paid: Sequence[int], action: str) -> int | None:
    """Return the fewest acts after those `paid` that lead to one more of `action`, by bisection."""
    low, high = 0, 1
    while not siege.succeeds([*paid, high], action):
        low, high = high, high * 2
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        if siege.succeeds([*paid, middle], action):
            high = middle
        else:
            low = middle
    return high


def _median(values: Sequence[int | None]) -> int | None:
    known = [MOST * 2 if value is None else value for value in values]
    middle = round(median(known))
    return None if middle > MOST else middle


class Siege:
    """One video under one attack, as often as asked, each time from its admission."""

    def __init__(
        self, policy: Policy, attack: Attack, seed: int, from_price: int, *, alone: bool = False
    ) -> None:
        self._policy = policy
        self._attack = attack
        self._alone = alone
        self._seed = seed
        value = policy.slices[SLICE].price + from_price
        self._rates: Rates[float] = rates_at(appeal_for(value, policy.weights))

    def succeeds(self, acts: Sequence[int], action: str) -> bool:
        """Tell whether so many acts, in one wave a stage, bring as many receipts of `action`."""
        self._begin()
        return all(self._wave(count, action, wave) for wave, count in enumerate(acts, 1))

    def _begin(self) -> None:
        self._chance = Random(self._seed)  # noqa: S311 - repeatable viewers
        self._state = PartitionState(0, 1, GENERATION)
        self._state.load("v", {})
        self._sent = self._offset = 0
        self._receipts: list[Receipt] = []
        admit = Admit("a", "v", START_MS, 1, commercial=False, limited=False, fits={SLICE: 0})
        self._send([self._policy, admit])
        self._honest()  # the row begins

    def _wave(self, acts: int, action: str, wanted: int) -> bool:
        """Attack at once, and let honest viewers come until the tranche is used."""
        for _ in range(acts):
            self._act()
        for _ in range(NEXT_VIEWS):
            if self._count(action) >= wanted:
                return True
            self._honest()
        return self._count(action) >= wanted

    def _count(self, action: str) -> int:
        return sum(r.action == action and r.slice == SLICE for r in self._receipts)

    def _honest(self) -> None:
        if self._alone:
            return
        about = self._about("honest")
        share, skipped = draw_watch(self._chance, self._rates)
        view = View(self._id(), *about, int(share * DURATION_MS), DURATION_MS)
        pressed = draw_buttons(self._chance, self._rates, skipped=skipped)
        buttons = [BUTTONS[name](self._id(), *about) for name in pressed]
        self._send([Impression(self._id(), *about), view, *buttons])

    def _act(self) -> None:
        about = self._about("bot")
        made: list[InteractionRecord] = []
        for part in self._attack.parts:
            if part == "impression":
                made.append(Impression(self._id(), *about))
            elif part in ("view", "empty"):
                watched = DURATION_MS if part == "view" else 0
                made.append(View(self._id(), *about, watched, DURATION_MS))
            else:
                made.append(BUTTONS[part](self._id(), *about))
        self._send(made)
        if self._attack.viewers == "one that waits":
            self._offset += 2 * GENERATION

    def _about(self, who: str) -> tuple[str, str, str, int]:
        """Return video, viewer, slice and time of what one viewer does next."""
        same = who == "bot" and self._attack.viewers != "many"
        return "v", who if same else f"{who}-{self._sent}", SLICE, START_MS + self._sent

    def _id(self) -> str:
        self._sent += 1
        return f"e{self._sent}"

    def _send(self, events: Sequence[LogRecord]) -> None:
        self._offset += 1
        effects = fold(self._state, events, [self._offset] * len(events), [0] * len(events))
        self._receipts += effects.receipts

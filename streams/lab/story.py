"""What a run of receipts comes to: what was widened, what was stopped, who got it next."""

from collections import Counter, deque
from typing import Final, NamedTuple

from streams.core.receipts import Action, Reason, Receipt

KEPT: Final = 500
"""Receipts and switches that are kept; counts know of all."""
TALES_KEPT: Final = 100
"""Videos whose whole life is kept."""


class Switch(NamedTuple):
    """A crowd that did not like a video, and the one that got it next."""

    stop: Receipt
    start: Receipt


class Tale(NamedTuple):
    """One video's life so far: its receipts in order, and the latest one of each crowd."""

    video: str
    receipts: tuple[Receipt, ...]

    def crowds(self) -> dict[str, Receipt]:
        """Return the latest receipt of each slice, in the order in which they began."""
        return {receipt.slice: receipt for receipt in self.receipts}

    def worth_telling(self) -> tuple[int, ...]:
        """Return how much happened: a stop with a next crowd and a spread first of all."""
        reasons = Counter(receipt.reason for receipt in self.receipts)
        handed_on, widened = reasons["next_after_stop"], reasons["mean_beats_price"]
        return (bool(handed_on) + bool(widened), min(handed_on, 3), min(widened, 3))


class Story:
    """Receipts as they are read; repeats count nothing.

    `latest` has the newest first. `widened` holds the last widening of each (video, slice),
    the newest last.
    """

    def __init__(self) -> None:
        self.actions: Final[Counter[Action]] = Counter()
        self.reasons: Final[Counter[Reason]] = Counter()
        self.latest: Final[deque[Receipt]] = deque(maxlen=KEPT)
        self.switches: Final[deque[Switch]] = deque(maxlen=KEPT)
        self.stopped: Final[deque[Receipt]] = deque(maxlen=KEPT)
        self.widened: Final[dict[tuple[str, str], Receipt]] = {}
        self._last: Final[dict[str, Receipt]] = {}  # by video
        self._tales: Final[dict[str, list[Receipt]]] = {}  # of the latest videos

    def add(self, receipt: Receipt) -> None:
        """Take one receipt; those of one video come in order."""
        last = self._last.get(receipt.video)
        if last is not None and receipt.n <= last.n:
            return
        self._last[receipt.video] = receipt
        self._tell(receipt)
        self.actions[receipt.action] += 1
        self.reasons[receipt.reason] += 1
        self.latest.appendleft(receipt)
        if receipt.action == "stop":
            self.stopped.append(receipt)
        elif receipt.action == "widen":
            self._widen(receipt)
        elif receipt.reason == "next_after_stop" and last is not None and last.action == "stop":
            self.switches.append(Switch(last, receipt))

    @property
    def switched(self) -> int:
        """How often a stop handed a video to another crowd."""
        return self.reasons["next_after_stop"]

    def widest(self, count: int) -> list[Receipt]:
        """Return the widenings that went furthest, the furthest first."""
        by_reach = sorted(
            self.widened.values(), key=lambda r: (-r.stage, -r.allowance, r.video, r.slice)
        )
        return by_reach[:count]

    def tale(self, video: str) -> Tale:
        """Return a video's life as far as it is known."""
        return Tale(video, tuple(self._tales.get(video, ())))

    def best_tale(self, besides: str = "") -> Tale | None:
        """Return the tale in which most happened, the newest of equals; not that of `besides`."""
        tales = [self.tale(video) for video in self._tales if video != besides]
        return max(reversed(tales), key=Tale.worth_telling, default=None)

    def rescued(self) -> list[Switch]:
        """Return the switches whose new crowd then widened the video, the latest first."""
        return [
            switch
            for switch in reversed(self.switches)
            if (switch.start.video, switch.start.slice) in self.widened
        ]

    def _tell(self, receipt: Receipt) -> None:
        tale = self._tales.pop(receipt.video, [])
        self._tales[receipt.video] = tale  # the newest last
        tale.append(receipt)
        while len(self._tales) > TALES_KEPT:
            del self._tales[next(iter(self._tales))]

    def _widen(self, receipt: Receipt) -> None:
        key = (receipt.video, receipt.slice)
        self.widened.pop(key, None)
        self.widened[key] = receipt
        while len(self.widened) > KEPT:
            del self.widened[next(iter(self.widened))]

"""What a run of receipts comes to: which crowds opened, what was widened, what was stopped."""

from collections import Counter, deque
from collections.abc import Iterable
from typing import Final, NamedTuple

from streams.core.receipts import Action, Crowd, Reason, Receipt

KEPT: Final = 500
"""Receipts that are kept; counts know of all."""
TALES_KEPT: Final = 100
"""Videos whose whole life is kept."""


class Standing(NamedTuple):
    """How a video stands in one crowd: what was said of it last.

    `crowd` is its line in a receipt about the whole video, None if the receipt is about it alone.
    """

    slice: str
    receipt: Receipt
    crowd: Crowd | None

    @property
    def action(self) -> Action:
        """What was decided last."""
        return self.receipt.action

    @property
    def allowance(self) -> int:
        """Impressions allowed there so far."""
        return self.receipt.allowance if self.crowd is None else self.crowd.allowance


class Split(NamedTuple):
    """Two crowds that think differently of a video: one stopped it, the other widened it."""

    stop: Receipt
    widen: Receipt


class Tale(NamedTuple):
    """One video's life so far: its receipts in order."""

    video: str
    receipts: tuple[Receipt, ...]

    def crowds(self) -> dict[str, Standing]:
        """Return how it stands in every crowd that was opened or judged, best predicted first."""
        crowds: dict[str, Standing] = {}
        for receipt in self.receipts:
            if receipt.slice:
                crowds[receipt.slice] = Standing(receipt.slice, receipt, None)
            for crowd in receipt.crowds:
                crowds[crowd.slice] = Standing(crowd.slice, receipt, crowd)
        return crowds

    def judged(self, action: Action) -> list[Receipt]:
        """Return the receipts of crowds in which this was decided last, the latest first."""
        latest = [s.receipt for s in self.crowds().values() if s.crowd is None]
        return sorted((r for r in latest if r.action == action), key=lambda r: -r.n)

    def worth_telling(self) -> tuple[int, ...]:
        """Return how much happened: a stop and a widening first of all."""
        judged = Counter(receipt.action for receipt in self.receipts if receipt.slice)
        stopped, widened = judged["stop"], judged["widen"]
        return (bool(stopped) + bool(widened), min(stopped, 3), min(widened, 3))


class Story:
    """Receipts as they are read; repeats count nothing.

    `latest` has the newest first. `widened` holds the last widening of each (video, slice), the
    newest last, `stopped` the stops for lack of worth. `opened` counts crowds.
    """

    def __init__(self) -> None:
        self.actions: Final[Counter[Action]] = Counter()
        self.reasons: Final[Counter[Reason]] = Counter()
        self.opened = 0
        self.latest: Final[deque[Receipt]] = deque(maxlen=KEPT)
        self.stopped: Final[deque[Receipt]] = deque(maxlen=KEPT)
        self.widened: Final[dict[tuple[str, str], Receipt]] = {}
        self._last: Final[dict[str, int]] = {}  # number of the latest receipt, by video
        self._tales: Final[dict[str, list[Receipt]]] = {}  # of the latest videos

    def add(self, receipt: Receipt) -> None:
        """Take one receipt; those of one video come in order."""
        if receipt.n <= self._last.get(receipt.video, 0):
            return
        self._last[receipt.video] = receipt.n
        self._tell(receipt)
        self.actions[receipt.action] += 1
        self.reasons[receipt.reason] += 1
        self.latest.appendleft(receipt)
        if receipt.action == "open":  # one that came back names no crowds
            self.opened += len(receipt.crowds)
        elif receipt.reason == "index_below_price":
            self.stopped.append(receipt)
        elif receipt.action == "widen":
            self._widen(receipt)

    def widest(self, count: int) -> list[Receipt]:
        """Return the widenings that went furthest, one of each video, the furthest first."""
        furthest = _furthest(self.widened.values()).values()
        return sorted(furthest, key=lambda r: (-r.stage, -r.allowance, r.video))[:count]

    def tale(self, video: str) -> Tale:
        """Return a video's life as far as it is known."""
        return Tale(video, tuple(self._tales.get(video, ())))

    def best_tale(self, besides: str = "") -> Tale | None:
        """Return the tale in which most happened, the newest of equals; not that of `besides`."""
        tales = [self.tale(video) for video in self._tales if video != besides]
        return max(reversed(tales), key=Tale.worth_telling, default=None)

    def splits(self) -> list[Split]:
        """Return videos that one crowd stopped and another widened, each once, the latest first.

        Told by their latest stop and their furthest widening.
        """
        widened = _furthest(self.widened.values())
        splits: dict[str, Split] = {}
        for stop in reversed(self.stopped):
            widen = widened.get(stop.video)
            if widen is not None and widen.slice != stop.slice:
                splits.setdefault(stop.video, Split(stop, widen))
        return list(splits.values())

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


def _furthest(widened: Iterable[Receipt]) -> dict[str, Receipt]:
    """Return the furthest widening of each video."""
    furthest: dict[str, Receipt] = {}
    for receipt in widened:
        known = furthest.get(receipt.video)
        if known is None or (receipt.stage, receipt.mean) > (known.stage, known.mean):
            furthest[receipt.video] = receipt
    return furthest

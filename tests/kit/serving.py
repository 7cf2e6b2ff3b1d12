"""Entries of the serving index, and a crowd of feed servers that lease from it."""

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from streams.core.serving import Entry
from streams.runtime.leases import Lease, ServingIndex

CARS: Final = "discover:cars"
FANS: Final = "following:fans"
FAR: Final = 4_000_000_000_000
"""A deadline that no test reaches."""


def entry(video: str = "v1", offset: int = 1, score: int | None = 350_000, **more: Any) -> Entry:
    """Return an entry with an allowance of 60."""
    return Entry(video, offset, score, **({"allowance": 60} | more))


@dataclass
class Feeds:
    """Feed servers that lease and show, and a worker that hears of it `delay` steps later.

    Of a hundred servers that lease, one dies at once with what it leased. A video's allowance
    doubles up to `most` when four fifths of it are counted.
    """

    index: ServingIndex
    servers: int
    videos: int
    chance: Random
    delay: int = 10
    most: int = 240
    shown: Counter[str] = field(default_factory=Counter)
    beyond: int = 0
    counted: Counter[str] = field(default_factory=Counter)
    allowances: dict[str, int] = field(default_factory=dict)
    stock: list[deque[Lease]] = field(default_factory=list)
    late: deque[Counter[str]] = field(default_factory=deque)
    offset: int = 0
    asks_at: Counter[int] = field(default_factory=Counter)  # second, by server that got nothing

    async def start(self) -> None:
        """Tell the index of every video."""
        self.allowances = {f"v{number}": 60 for number in range(self.videos)}
        self.stock = [deque() for _ in range(self.servers)]
        self.late = deque(Counter() for _ in range(self.delay))
        await self.tell(self.allowances)

    async def tell(self, videos: Iterable[str]) -> None:
        """Tell the index what is counted."""
        self.offset += 1
        now = [
            entry(
                video,
                self.offset,
                300_000 + self.chance.randrange(100_000),
                allowance=self.allowances[video],
                impressions=self.counted[video],
            )
            for video in videos
        ]
        await self.index.apply(CARS, {0: self.offset}, now)

    async def step(self, now_s: float) -> None:
        """Let a fifth of a second pass: each server shows one video."""
        heard = Counter[str]()
        for number, stock in enumerate(self.stock):
            if not stock and self.asks_at[number] <= self.offset:
                stock.extend(await self.index.lease(CARS, 10, 2))
                if not stock:
                    self.asks_at[number] = self.offset + 2
                if self.chance.random() < 0.01:
                    self.stock[number] = deque()
                    continue
            if stock:
                self.show(stock, now_s, heard)
        self.late.append(heard)

    def show(self, stock: deque[Lease], now_s: float, heard: Counter[str]) -> None:
        """Show one impression of a lease."""
        lease = stock.popleft()
        if lease.until <= now_s:
            return
        if lease.impressions > 1:
            stock.appendleft(lease._replace(impressions=lease.impressions - 1))
        self.shown[lease.video] += 1
        self.beyond += self.shown[lease.video] > self.allowances[lease.video]
        heard[lease.video] += 1

    async def hear(self) -> None:
        """Count what was shown a while ago, grant what is due, and tell the index."""
        heard = sum((self.late.popleft() for _ in range(len(self.late) - self.delay)), Counter())
        self.counted += heard
        for video in heard:
            if (
                5 * self.counted[video] >= 4 * self.allowances[video]
                and self.allowances[video] < self.most
            ):
                self.allowances[video] *= 2
        await self.tell(heard)

    async def run(self, seconds: int, now_s: Callable[[float], float]) -> None:
        """Run for so many seconds; `now_s` has that much pass and tells the time."""
        await self.start()
        for _ in range(seconds):
            for _ in range(5):
                await self.step(now_s(0.2))
            await self.hear()

    def report(self) -> str:
        """Return how much was shown, and how much of it beyond the allowances."""
        granted = sum(self.allowances.values())
        shown = self.shown.total()
        return (
            f"{self.servers} feed servers: {granted} impressions granted, {shown} shown, "
            f"{self.beyond} beyond ({100 * self.beyond / granted:.2f} %)"
        )

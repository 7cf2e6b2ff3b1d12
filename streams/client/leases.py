"""The library for feed servers on asyncio: impressions are taken before they are shown."""

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Final, NamedTuple, Self

from streams.client.leases_plan import Portion, portions, usable
from streams.client.mixes import Mixes, MixInForce
from streams.client.publisher import Publisher
from streams.core.events import Impression
from streams.core.units import MICROS, is_slice
from streams.errors import StreamsError
from streams.runtime.leases import LEASE_LONGEST_S, Candidate, Lease, ServingIndex, Via, slots_of
from streams.runtime.ports import Clock
from streams.runtime.redis.serving import TOP_MOST, RedisServingIndex

Seen = Callable[[Sequence[str]], Awaitable[Collection[str]]]
"""Returns those of some videos that a viewer is not to be shown, as a rule what they saw."""

DEEPER: Final = 4
"""Where a viewer saw too much of the best, so many times as many are looked at."""


class Leased(NamedTuple):
    """Impressions of one video that may be shown to members of one slice.

    `net` is its `score` there less the price and plus the tilt (micro-units), `via` why it is
    shown, `mix` the number of what it was ranked by: an impression says these. `until` names the
    lease when it is given back (s since 1970, by Redis' clock), `over_at` is when it is over by the
    clock of this process that nobody sets: what was not shown by then may be leased to others.
    The bid of an advert counts by its `factor`, millionths between a half and two: an ad system
    ranks adverts by bid x action rate x factor. Of all other videos it is one.
    """

    slice: str
    video: str
    impressions: int
    net: int
    via: Via
    until: int
    score: int
    over_at: float
    mix: int | None = None
    factor: int = MICROS

    def stands(self, clock: Clock = time.monotonic) -> bool:
        """Tell whether it may still be shown."""
        return clock() < self.over_at


class Leases:
    """Takes impressions of what slices show best, from one event loop.

    `redis` is an address, as the workers have it; `publisher` writes what is reported as shown,
    `mixes` says what classes are raised by, so that the platform's shares hold: the caller starts
    both. A server without `mixes` serves by the prices alone, and its impressions say so.
    No call is repeated here: `Unreachable` says that Redis did not answer within `timeout_s`,
    `Retry` that it cannot do it now, `Halt` that it refuses; the next call finds it again when it
    is back. What was taken and neither counted nor given back, by a server that died or because a
    reply was lost, comes back to its video within a minute. The context manager closes it.
    """

    def __init__(
        self,
        redis: str | ServingIndex,
        publisher: Publisher | None = None,
        mixes: Mixes | None = None,
        *,
        timeout_s: float = 1.0,
        clock: Clock = time.monotonic,
    ) -> None:
        self._mixes = mixes
        self._own: RedisServingIndex | None = None
        self._index: ServingIndex
        if isinstance(redis, str):
            self._index = self._own = RedisServingIndex(redis, timeout_s=timeout_s)
        else:
            self._index = redis
        self._publisher = publisher
        self._clock = clock

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def take(
        self,
        slices: str | Iterable[str],
        count: int,
        *,
        most_each: int = 1,
        seen: Seen | None = None,
    ) -> list[Leased]:
        """Take impressions for up to `count` slots (at most 500), at most `most_each` of a video.

        Of several slices the best by score net of price and tilt, each video in one of them. What
        `seen` says is left out. What chance drew and newcomers that are owed their first audience
        come first, then the best; fewer, or none, where less is left or a slice is unknown.
        `ValueError` for a name that no slice can have.
        """
        names = _names(slices)
        slots = slots_of(count)
        if not names or not slots or most_each < 1:
            return []
        viewer = _Viewer(seen)
        mix = MixInForce() if self._mixes is None else self._mixes.in_force
        if len(names) == 1 and seen is None:
            wanted = {names[0]: Portion(slots, frozenset())}
        else:
            tops = await self._tops(names, slots, most_each, (viewer, mix))
            wanted = portions(tops, slots, most_each, viewer.left_out)
        taken = await self._lease(wanted, most_each, mix)
        return await self._kept(taken, viewer)

    async def shown(self, leased: Leased, viewer: str, *, event_id: str = "") -> Impression:
        """Report that a viewer was shown one impression; return the event that says so.

        It is put to the publisher, and raises as that does. Report it also if it was late.
        """
        if self._publisher is None:
            raise RuntimeError("nothing can be reported: Leases was given no publisher")
        event = impression(leased, viewer, event_id)
        await self._publisher.put(event)
        return event

    async def give_back(self, *leased: Leased) -> int:
        """Return impressions that were not shown; how many of them were still leased."""
        by_slice: defaultdict[str, list[Lease]] = defaultdict(list)
        for one in leased:
            by_slice[one.slice].append(
                Lease(one.video, one.impressions, one.net, one.via, one.until, one.score)
            )
        given = [self._index.give_back(name, some) for name, some in by_slice.items()]
        return sum(await asyncio.gather(*given))

    async def close(self) -> None:
        """Disconnect; gives nothing back. Idempotent."""
        if self._own is not None:
            await self._own.close()

    async def _tops(
        self, names: Sequence[str], slots: int, most_each: int, whom: tuple["_Viewer", MixInForce]
    ) -> Mapping[str, Sequence[Candidate]]:
        """Return the best of each slice: enough to fill all slots, or all that there is."""
        viewer, mix = whom
        depth = slots
        shallow, tops = list(names), dict[str, Sequence[Candidate]](dict.fromkeys(names, ()))
        while shallow:
            found = await asyncio.gather(
                *(self._index.top(name, depth, mix.tilts(name)) for name in shallow)
            )
            tops.update(zip(shallow, found, strict=True))
            await viewer.look_at(one.video for some in found for one in some)
            shallow = [
                name
                for name, some in zip(shallow, found, strict=True)
                if len(some) >= depth and usable(some, most_each, viewer.left_out) < slots
            ]
            if depth >= TOP_MOST:
                break
            depth = min(depth * DEEPER, TOP_MOST)
        return tops

    async def _lease(
        self, wanted: Mapping[str, Portion], most_each: int, mix: MixInForce
    ) -> list[Leased]:
        """Lease what is wanted of each slice; if one fails, the others get theirs back."""
        asked = {name: portion for name, portion in wanted.items() if portion.slots}
        over_at = self._clock() + LEASE_LONGEST_S
        results = await asyncio.gather(
            *(
                self._index.lease(name, slots, most_each, mix.due(name), mix.tilts(name), without)
                for name, (slots, without) in asked.items()
            ),
            return_exceptions=True,
        )
        taken: list[Leased] = []
        failed: list[BaseException] = []
        for name, result in zip(asked, results, strict=True):
            if isinstance(result, BaseException):
                failed.append(result)
            else:
                taken += [
                    Leased(name, *lease[:-1], over_at, mix.seq, lease.factor) for lease in result
                ]
        if failed:
            with suppress(StreamsError):
                await self.give_back(*taken)
            raise failed[0]
        return sorted(taken, key=_newcomers_first)

    async def _kept(self, taken: Sequence[Leased], viewer: "_Viewer") -> list[Leased]:
        """Give back what the viewer saw, and a video's further slices; return the rest."""
        try:
            await viewer.look_at(one.video for one in taken)
        except Exception:
            await self.give_back(*taken)
            raise
        homes: dict[str, str] = {}
        kept: list[Leased] = []
        others: list[Leased] = []
        for one in taken:
            at_home = homes.setdefault(one.video, one.slice) == one.slice
            (kept if at_home and one.video not in viewer.left_out else others).append(one)
        if others:
            await self.give_back(*others)
        return kept


def impression(leased: Leased, viewer: str, event_id: str = "") -> Impression:
    """Return the event of one impression shown now."""
    name = event_id or f"i-{secrets.token_hex(12)}"
    now_ms = time.time_ns() // 1_000_000
    why = leased.via, leased.score, leased.mix
    return Impression(name, leased.video, viewer, leased.slice, now_ms, *why)


class _Viewer:
    """What one viewer is not to be shown, as far as the hook was asked."""

    def __init__(self, seen: Seen | None) -> None:
        self.left_out: set[str] = set()
        self._looked_at: set[str] = set()
        self._seen = seen

    async def look_at(self, videos: Iterable[str]) -> None:
        new = [video for video in dict.fromkeys(videos) if video not in self._looked_at]
        if self._seen is not None and new:
            self.left_out.update(await self._seen(new))
            self._looked_at.update(new)


def _names(slices: str | Iterable[str]) -> list[str]:
    names = [slices] if isinstance(slices, str) else list(dict.fromkeys(slices))
    for name in names:
        if not is_slice(name):
            raise ValueError(f"{name!r} is no slice: surface:group, such as discover:cars")
    return names


def _newcomers_first(leased: Leased) -> tuple[bool, int]:
    return leased.via == "rank", -leased.net

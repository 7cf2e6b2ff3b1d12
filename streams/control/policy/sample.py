"""Brings the keeper's evidence together: rows of a keyed share of the videos, and what feeds lease.

The key decides about each video, alone and for good: nobody who chooses an id knows whether it will
be learned from, and what is counted of the sample now can be compared with what was counted before.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from streams.control.policy.evidence import Evidence, is_drawn
from streams.core.counters import VideoState, load_video
from streams.core.events import Policy
from streams.errors import Retry
from streams.runtime.leases import MINUTES, ServingIndex, Slots
from streams.runtime.ports import Store

ONE_IN: Final = 100
"""The sample has one video in so many; fewer on a platform so small that this is a handful."""
LEAST_MINUTES: Final = 60
"""Slots of a shorter time say nothing of a day."""


class Sampling:
    """Reads evidence through the ports of store and serving index, a partition at a time.

    What does not answer is left out: the sample stands for more videos then, and slices whose slots
    are not known keep their horizons.
    """

    def __init__(
        self,
        store: Store,
        index: ServingIndex,
        namespace: str,
        partitions: int,
        key: bytes,
        one_in: int = ONE_IN,
    ) -> None:
        self._store: Final = store
        self._index: Final = index
        self._namespace: Final = namespace
        self._partitions: Final = partitions
        self._key: Final = key
        self._one_in: Final = one_in

    async def __call__(self, policy: Policy) -> Evidence:
        """Return what is known beside the policy in force; `Retry` if no partition answers."""
        videos: dict[str, VideoState] = {}
        answered, error = 0, None
        for partition in range(self._partitions):
            try:
                videos |= await self._drawn(partition)
                answered += 1
            except Retry as failure:
                error = failure
        if error is not None and not answered:
            raise error
        one_in = self._one_in * self._partitions / answered
        return Evidence(videos, self._key, one_in, await self._slots(policy.slices))

    async def _drawn(self, partition: int) -> Mapping[str, VideoState]:
        """Return the videos of a partition that are in the sample; damaged rows are not.

        Nor are live rooms: what one is worth changes while it lasts.
        """
        if await self._store.meta(partition, self._namespace) is None:
            return {}
        drawn = {}
        for video, fields in (await self._store.scan(partition, self._is_drawn)).items():
            try:
                known = load_video(video, fields)
            except ValueError:  # this halts the fold, which says so
                continue
            if known.row.format != "live":
                drawn[video] = known
        return drawn

    def _is_drawn(self, video: str) -> bool:
        return is_drawn(self._key, b"sample", video, 1 / self._one_in)

    async def _slots(self, slices: Iterable[str]) -> dict[str, float]:
        counts = {}
        for name in slices:
            try:
                minutes = await self._index.slots(name, MINUTES)
            except Retry:
                continue
            if (count := slots_a_day(minutes)) is not None:
                counts[name] = count
        return counts


def slots_a_day(minutes: Sequence[Slots]) -> float | None:
    """Return the slots asked for in a day, from the minutes in which any were; None of too few.

    >>> slots_a_day([Slots(0, 10, 4, 1), Slots(119, 50, 30, 5)])
    720.0
    """
    if not minutes or (span := minutes[-1].minute - minutes[0].minute + 1) < LEAST_MINUTES:
        return None
    return sum(each.asked for each in minutes) * MINUTES / span

"""The full parts of a partition's window: stored as they fill, loaded by whoever takes over.

A part is stored before the flush that passes its end, so a watermark behind it says that it is
there, whatever point Redis falls back to. Whoever opens a partition loads those that end at or
before the part of the watermark's record, and reads the log from there; where one is missing or is
not what it should be, it reads all from the log, and the parts are stored anew. What it did not
load it drops before it counts anything: another history may have left it.
"""

import logging
from collections.abc import Collection
from typing import Final, NamedTuple

from streams.core.state import PartitionState
from streams.core.window import REPLAYED_GENERATIONS, FrozenWindow, Part
from streams.runtime.part_store import PartGuard, PartsChange, PartStore
from streams.runtime.window_store import read_part, write_part

ID_GENERATIONS: Final = 1
"""Whole generations before the current one whose ids matter."""
log: Final = logging.getLogger("streams.worker")


class KeptParts(NamedTuple):
    """The parts in the store that are this owner's: by their first offset, and what is to go."""

    parts: Collection[int] = ()
    stale: Collection[int] = ()


class LoadedWindow(NamedTuple):
    """From where the log is still to be read, None for the whole window, and what is stored.

    `whole_from` is the first offset that is not lost with what lies before it.
    """

    position: int | None
    kept: KeptParts
    whole_from: int = 0


class _Unfit(ValueError):
    pass


async def load_window(
    store: PartStore, state: PartitionState, namespace: str, watermark: int, begins: int
) -> LoadedWindow:
    """Bring the full parts before the watermark's into a window that knows nothing yet.

    What ends before the log `begins`, and is not stored, nobody can tell any more. `Retry` if the
    store fails. Says which way it was.
    """
    partition = state.partition
    stored = await store.parts(partition)
    needed = _needed(state, watermark) if watermark >= 0 else []
    wanted = [part for part in needed if part.end > begins or part.start in stored]
    try:
        for part in wanted:
            await _load(store, state, namespace, part, watermark)
    except ValueError as error:
        log.info("partition %d: the window is read from the log: %s", partition, error)
        state.window.thaw(FrozenWindow())
        return LoadedWindow(None, KeptParts((), stored))
    if not wanted:
        return LoadedWindow(None, KeptParts((), stored))
    at = wanted[-1].end
    state.window.turn(at)  # or the last of them would be taken for one that fills
    log.info(
        "partition %d: the window is loaded up to offset %d: %d parts",
        *(partition, at - 1, len(wanted)),
    )
    starts = {part.start for part in wanted}
    kept = KeptParts(starts, [start for start in stored if start not in starts])
    whole_from = max((part.end for part in needed if part not in wanted), default=0)
    return LoadedWindow(at, kept, whole_from)


def _needed(state: PartitionState, watermark: int) -> list[Part]:
    """Return bounds of the parts that a window needs, without the one of the watermark's record."""
    generations = state.window.generations
    at, _ = generations.part(watermark)
    first = generations.back(watermark, REPLAYED_GENERATIONS)
    needed = []
    while first < at:
        start, first = generations.part(first)
        needed.append(Part(start, first))
    return needed


async def _load(
    store: PartStore, state: PartitionState, namespace: str, expected: Part, watermark: int
) -> None:
    """Load one part; `ValueError` if it is not there or not what it should be."""
    stored = await store.load_part(state.partition, expected.start)
    if stored is None:
        raise _Unfit(f"the part of offset {expected.start} is not stored")
    needs_ids = expected.start >= state.window.generations.back(watermark, ID_GENERATIONS)
    place = (namespace, state.partition)
    try:
        state.window.load(read_part(stored, expected, place, ids=needs_ids))
    except ValueError as error:
        raise _Unfit(f"the part of offset {expected.start}: {error}") from None


class PartKeeper:
    """Stores what fills of one partition's window, and drops what no longer matters."""

    def __init__(
        self, store: PartStore, state: PartitionState, namespace: str, kept: KeptParts
    ) -> None:
        self._store: Final = store
        self._state: Final = state
        self._namespace: Final = namespace
        self._kept: Final = set(kept.parts)  # in the store
        self._bare: Final[set[int]] = set()  # of those: without ids
        self._stale: Final = set(kept.stale)
        self._filled: Final = state.window.filled or []
        state.window.filled = self._filled

    async def keep(self, watermark: int, digest: str) -> None:
        """Store what filled, before the flush that passes it; `watermark` is what is stored.

        Where the guard does not hold, nothing: the flush that follows will be refused too.
        """
        while self._filled or self._stale:
            parts = self._filled[:1]
            change = self._change(parts, watermark)
            guard = PartGuard(self._namespace, watermark, digest)
            if not await self._store.change_parts(self._state.partition, guard, change):
                return
            del self._filled[: len(parts)]
            self._kept.update(change.kept)
            self._kept.difference_update(change.dropped)
            self._bare.update(change.bare)
            self._bare.intersection_update(self._kept)
            self._stale.clear()

    def _change(self, parts: Collection[Part], watermark: int) -> PartsChange:
        """Return what is to be stored of these, and what goes.

        Others may have counted so far meanwhile that a part that filled here is needed no more.
        """
        generations, partition = self._state.window.generations, self._state.partition
        at = max(watermark, 0)
        needed_from = generations.back(at, REPLAYED_GENERATIONS)
        needed = [part for part in parts if part.start >= needed_from]
        kept = {part.start: write_part(part, self._namespace, partition) for part in needed}
        ids_from = generations.back(at, ID_GENERATIONS)
        there = self._kept - self._bare
        return PartsChange(
            kept,
            [start for start in sorted(there) if needed_from <= start < ids_from],
            sorted(
                {start for start in self._kept if start < needed_from} | (self._stale - kept.keys())
            ),
        )

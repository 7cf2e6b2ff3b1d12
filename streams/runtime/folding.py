"""One step of a fold, whoever takes it: decode records, bring their videos into memory, fold.

The worker, a recording's fold and a backtest share it, so they cannot differ in it. The recount
(`ops/recount.py`) stays apart on purpose: it judges this very step, and shares only how bytes
become events.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from streams.core.fold import fold
from streams.core.receipts import Effects
from streams.core.state import PartitionState
from streams.runtime.codec import Decoded, Spelling, decode_log
from streams.runtime.namespace import corrupt, video_key
from streams.runtime.ports import Record

LOAD_VIDEOS: Final = 500
"""Videos that are loaded with one call."""

Rows = Mapping[str, Mapping[str, bytes]]
"""Stored rows by video and field."""


class RowSource(Protocol):
    """Where the rows of one partition are stored."""

    async def load(self, videos: Sequence[str]) -> Rows:
        """Return the stored rows of videos; one that is not stored may be left out."""

    async def scan(self) -> Rows:
        """Return all that is stored."""


async def prepare(
    state: PartitionState, records: Sequence[Record], spelling: Spelling, source: RowSource
) -> Decoded:
    """Decode records that follow on a state, and bring the videos that they are about into memory.

    All videos, if the partition's upgrade is among the records. `Halt` if what is stored of one
    cannot be read.
    """
    decoded = decode_log(records, state.trust, spelling)
    if decoded.trust.upgraded and not state.trust.upgraded:
        stored = await source.scan()
        _load(state, stored, sorted(stored.keys() - state.videos.keys()))
    missing = state.missing(decoded.events)
    for at in range(0, len(missing), LOAD_VIDEOS):
        videos = missing[at : at + LOAD_VIDEOS]
        _load(state, await source.load(videos), videos)
    return decoded


def _load(state: PartitionState, rows: Rows, videos: Sequence[str]) -> None:
    for video in videos:
        try:
            state.load(video, rows.get(video, {}))
        except ValueError as error:
            key = video_key(state.partition, video)
            raise corrupt(state.partition, key, str(error)) from None


def fold_run(state: PartitionState, decoded: Decoded, start: int, end: int) -> Effects:
    """Fold the events from place `start` to before `end` of what was prepared."""
    events, offsets, elements = decoded.events, decoded.offsets, decoded.elements
    if end - start < len(events):
        events, offsets, elements = (
            events[start:end],
            offsets[start:end],
            elements[start:end],
        )
    return fold(state, events, offsets, elements)


def cuts(decoded: Decoded, most: int) -> list[int]:
    """Return where runs of about `most` events end, only where a record does; the end is last."""
    offsets = decoded.offsets
    cuts: list[int] = []
    size = 0
    if len(offsets) > most:
        for at in range(1, len(offsets)):
            size += 1
            if size >= most and offsets[at] != offsets[at - 1]:
                cuts.append(at)
                size = 0
    return [*cuts, len(offsets)]

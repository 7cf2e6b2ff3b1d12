"""What is stored of some videos, compared with a recount in both directions."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar
from zlib import crc32

from msgspec import Struct

from streams.core.counters import VIDEO_ROW, Reported, decode_slice, decode_video
from streams.core.first_rows import decode_first_slice
from streams.ops.recount import Recount
from streams.ops.recount_live import spelled
from streams.ops.recount_reports import ADDED_UP
from streams.ops.ticks_kept import TickDifference
from streams.runtime.folding import Rows
from streams.runtime.namespace import corrupt, video_key

Row = TypeVar("Row")
EXAMPLES: Final = 20


class CounterDifference(Struct, frozen=True):
    """One counter that the store and the log tell differently; None: there is none at all.

    Of a minute of traffic `video` is the id of its record, and `slice` slice and class. A row that
    differs in what no recount tells is `row`, and the numbers are checksums of it.
    """

    partition: int
    video: str
    slice: str
    counter: str
    stored: int | None
    recounted: int | None


class Verification(Struct):
    """What was compared and what differed; `examples` holds the first few differences.

    `ticks` are the minutes of traffic among it. `unanswered` are the partitions that no leader
    answers for: nothing is known of them. `proved_from` is where the proof of a partition begins,
    if not with its log; `unproved` says why there is none at all, by partition; `refused` are the
    snapshots that are not gone on from, and why.
    """

    partitions: int = 0
    records: int = 0
    ticks: int = 0
    checked: int = 0
    differences: int = 0
    unanswered: list[int] = []
    examples: list[CounterDifference] = []
    proved_from: dict[int, int] = {}
    unproved: dict[int, str] = {}
    refused: list[str] = []

    def add(self, difference: CounterDifference) -> None:
        """Count a difference; it is an example as long as there are few."""
        self.differences += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(difference)

    def note(self, partition: int, differing: Iterable[TickDifference]) -> None:
        """Count differences of minutes of traffic."""
        for each in differing:
            where = (f"{partition}.{each.tick}", f"{each.slice} {each.kind}", each.name)
            self.add(CounterDifference(partition, *where, each.stored, each.recounted))


def compare_videos(
    videos: Iterable[str], stored: Rows, recount: Recount, result: Verification
) -> None:
    """Compare what is stored of some videos with the recount; `Halt` if a row cannot be read."""
    decode = decode_first_slice if recount.first else decode_slice
    for video in sorted(videos):
        fields = stored.get(video, {})
        found = {
            slice_id: _readable(decode, recount.partition, video, raw)
            for slice_id, raw in fields.items()
            if slice_id != VIDEO_ROW
        }
        for slice_id in sorted(found.keys() | recount.slices.get(video, set())):
            _compare_slice((video, slice_id), found.get(slice_id), recount, result)
        if not recount.first:
            _compare_reports(video, fields, recount, result)


def _compare_slice(
    key: tuple[str, str], row: object, recount: Recount, result: Verification
) -> None:
    ours: dict[str, int] = {}
    if row is not None:
        counters = {name: getattr(row, name) for name in recount.names}
        ours = counters | spelled(getattr(row, "faded", None) or ())
    theirs = recount.counts.get(key, {}) | recount.rooms.faded(key)
    for name in dict.fromkeys((*recount.names, *ours, *theirs)):
        result.checked += 1
        have, want = ours.get(name), theirs.get(name)
        if have != want and (have or want or row is None):
            result.add(CounterDifference(recount.partition, *key, name, have, want))


def _compare_reports(
    video: str, fields: Mapping[str, bytes], recount: Recount, result: Verification
) -> None:
    """Compare how reports of a video add up."""
    theirs = recount.reports.numbers(video)
    ours = Reported()
    if VIDEO_ROW in fields:
        own = _readable(decode_video, recount.partition, video, fields[VIDEO_ROW])
        ours = own.reported or ours
    for name in ADDED_UP if theirs or VIDEO_ROW in fields else ():
        result.checked += 1
        have, want = getattr(ours, name), theirs.get(name, 0)
        if have != want:
            result.add(CounterDifference(recount.partition, video, "", name, have, want))


def _readable(decode: Callable[[bytes], Row], partition: int, video: str, raw: bytes) -> Row:
    try:
        return decode(raw)
    except ValueError as error:
        raise corrupt(partition, video_key(partition, video), str(error)) from None


def compare_rows(
    videos: Iterable[str], stored: Rows, folded: Rows, partition: int, result: Verification
) -> None:
    """Compare rows byte by byte with those of a fold: also what no recount tells."""
    for video in videos:
        ours, theirs = stored.get(video, {}), folded.get(video, {})
        for field in sorted(ours.keys() | theirs.keys()):
            result.checked += 1
            have, want = ours.get(field), theirs.get(field)
            if have != want:
                sums = (None if raw is None else crc32(raw) for raw in (have, want))
                result.add(CounterDifference(partition, video, field, "row", *sums))

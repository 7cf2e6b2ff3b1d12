"""What a replay has in its target, kept so that a resume repeats nothing and leaves nothing out.

The checkpoint says how far each target partition was filled when it was written. A replay that
died may have left more there: the beginning of its next batch, which a resume sends first. What is
found behind the checkpoint is compared with that and not sent again. This is exact as long as
nobody else writes to the target, and whoever does is noticed, because their records differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from streams.errors import Halt
from streams.recording.checkpoint import Checkpoint, save_checkpoint
from streams.runtime.answers import require_all
from streams.runtime.ports import LogReader, Offsets, Outgoing, Place, Record
from streams.runtime.reading import batches_of


class Arrived(NamedTuple):
    """What a target partition holds behind an offset; what retention took already is absent."""

    end: int
    records: Mapping[int, Record]  # by offset


class TargetLog:
    """Reads what a replay's target holds; `timestamps` False: they are not those that were sent."""

    def __init__(self, reader: LogReader, *, timestamps: bool) -> None:
        self._reader = reader
        self.timestamps: Final = timestamps

    async def ends(self, counts: Mapping[str, int]) -> dict[Place, int]:
        """Return the next offset of every partition of these topics."""
        return {
            (topic, number): bounds.end
            for topic, count in counts.items()
            for number, bounds in (await self._bounds(topic, range(count))).items()
        }

    async def beyond(self, places: Mapping[Place, int], limit: int) -> dict[Place, Arrived]:
        """Return what partitions hold from these offsets on, where they hold anything.

        `Halt` if there is less than before, or more than `limit` records: that is not ours.
        """
        spans: dict[Place, Offsets] = {}
        for topic in {topic for topic, _ in places}:
            numbers = [number for name, number in places if name == topic]
            for number, bounds in (await self._bounds(topic, numbers)).items():
                place, known = (topic, number), places[topic, number]
                _require_extent(place, known, bounds.end, limit)
                spans[place] = Offsets(max(known, bounds.start), bounds.end)
        found: dict[Place, dict[int, Record]] = {place: {} for place in spans}
        async for records in batches_of(self._reader, spans):
            place = (records[0].topic, records[0].partition)
            found[place].update((record.offset, record) for record in records)
        return {
            place: Arrived(span.end, found[place])
            for place, span in spans.items()
            if span.end > places[place]
        }

    async def _bounds(self, topic: str, numbers: Sequence[int]) -> Mapping[int, Offsets]:
        return require_all(topic, numbers, await self._reader.offsets(topic, numbers))


class Ledger:
    """Keeps the checkpoint of one replay, in `file` too if there is one, and checks the target.

    Without a `log` nothing is known of the target, and nothing is checked.
    """

    def __init__(
        self, checkpoint: Checkpoint, file: Path | None = None, log: TargetLog | None = None
    ) -> None:
        self.checkpoint: Final = checkpoint
        self._file = file
        self._log = log
        self._ends = checkpoint.ends()
        self._arrived: dict[Place, Arrived] = {}

    async def open(self, counts: Mapping[str, int], limit: int) -> None:
        """Note how far the target is filled; of a resumed replay, see what it left there.

        `counts` are the target topics' partition counts, `limit` the most that a batch holds.
        `Halt` if the target has less than the checkpoint says.
        """
        if self._log is not None:
            if self._ends:
                self._arrived = await self._log.beyond(self._ends, limit)
            for place, end in (await self._log.ends(counts)).items():
                if place not in self._ends:
                    self._note(place, end)
        self.save()

    def save(self) -> None:
        """Write the checkpoint's file."""
        if self._file is not None:
            save_checkpoint(self._file, self.checkpoint)

    def unsent(self, outgoing: Mapping[Place, Sequence[Outgoing]]) -> dict[Place, list[Outgoing]]:
        """Return what of a batch is not in the target yet; `Halt` if there is something else."""
        out: dict[Place, list[Outgoing]] = {}
        for place, records in outgoing.items():
            arrived = self._arrived.get(place)
            rest = records if arrived is None else self._behind(place, records, arrived)
            if rest:
                out[place] = list(rest)
        return out

    async def look_again(
        self, outgoing: Mapping[Place, Sequence[Outgoing]], failed: Iterable[Place]
    ) -> dict[Place, list[Outgoing]]:
        """Return what of a batch is to be sent again to partitions where writing it failed."""
        again = {place: outgoing[place] for place in failed}
        if self._log is not None and self._ends:
            limit = max(len(records) for records in again.values())
            places = {place: self._ends[place] for place in again}
            self._arrived |= await self._log.beyond(places, limit)
        return self.unsent(again)

    def landed(
        self, count: int, positions: Mapping[Place, int], sent: Mapping[Place, Sequence[Outgoing]]
    ) -> None:
        """Note that a batch of `count` records is durable, and where in the recording that is."""
        for (topic, number), offset in positions.items():
            self.checkpoint.positions.setdefault(topic, {})[number] = offset
        for place, records in sent.items():
            if place in self._ends:
                self._note(place, self._ends[place] + len(records))
        self.checkpoint.sent += count
        self.save()

    def close(self) -> None:
        """Raise `Halt` if the target holds more than the whole replay brought there."""
        for place, arrived in self._arrived.items():
            if arrived.end > self._ends[place]:
                raise _not_alone(place, self._ends[place])

    def _behind(
        self, place: Place, records: Sequence[Outgoing], arrived: Arrived
    ) -> Sequence[Outgoing]:
        first = self._ends[place]
        there = max(min(len(records), arrived.end - first), 0)
        for at, ours in enumerate(records[:there], first):
            theirs = arrived.records.get(at)
            if theirs is not None and not self._same(ours, theirs):
                raise _not_alone(place, at)
        return records[there:]

    def _same(self, ours: Outgoing, theirs: Record) -> bool:
        if self._log is not None and self._log.timestamps and ours.timestamp != theirs.timestamp:
            return False
        return (ours.key, ours.value) == (theirs.key, theirs.value) and [
            tuple(header) for header in ours.headers
        ] == [tuple(header) for header in theirs.headers]

    def _note(self, place: Place, end: int) -> None:
        topic, number = place
        self._ends[place] = end
        if topic in self.checkpoint.targets:
            self.checkpoint.targets[topic].ends[number] = end


def _require_extent(place: Place, known: int, end: int, limit: int) -> None:
    if end < known:
        raise Halt(
            f"{place[0]}[{place[1]}] ends at offset {end}, {known} when the checkpoint was "
            "written: it was emptied or lost records; replay from the start into a fresh topic",
            code="data_loss",
        )
    if end - known > limit:
        raise _not_alone(place, known)


def _not_alone(place: Place, offset: int) -> Halt:
    return Halt(
        f"{place[0]}[{place[1]}]: what stands from offset {offset} on is not what this replay sent "
        "there: somebody else writes to it, so a resume can't tell what is missing; replay from "
        "the start into a topic of its own",
        code="not_alone",
    )

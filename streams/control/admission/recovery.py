"""Dossiers that were lost are made again from their copies and the topics that they came from.

Redis may be emptied, restored from an older dump or failed over to a replica that was behind, and
another log or installation may take the place of the one that was told. Then what `copies` has is
put back and everything that the topics still hold is learned, in silence, and only with all facts
known is said what the log lacks: half of the facts would show a video to people from whom the other
half keeps it.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

from streams.control.admission.copies import Copies
from streams.control.admission.register import TOPICS, Register
from streams.control.log import ControlLog, Ports
from streams.control.metrics import ControlMetrics
from streams.core.partitioner import partition_of
from streams.core.units import NEVER
from streams.errors import Retry, Unreachable
from streams.runtime.codec import ControlTopic
from streams.runtime.documents import CLAIMS, TOPIC
from streams.runtime.ports import Offsets, Place
from streams.runtime.reading import batches_of
from streams.settings import Settings

log: Final = logging.getLogger("streams.control")

BATCH: Final = 200
"""Videos and records that are taken at once."""
COORDINATOR_TRIES: Final = 20
COORDINATOR_PAUSE_S: Final = 0.5


class Recovery:
    """Finds partitions whose dossiers hold less than was read of their topics, and mends them."""

    def __init__(
        self,
        settings: Settings,
        control_log: ControlLog,
        ports: Ports,
        register: Register,
        copies: Copies,
        metrics: ControlMetrics,
    ) -> None:
        self._settings = settings
        self._log = control_log
        self._ports = ports
        self._register = register
        self._copies = copies
        self._metrics = metrics
        self._handled: Final[dict[Place, int]] = {}
        self._behind: set[int] = set()
        self._restored: set[str] = set()

    async def look(self) -> bool:
        """Find out what has to be read again; tell whether that is anything.

        Behind is a partition of which the dossiers hold less than this process or its group had
        read, or hold nothing while its topics are not empty. `Retry` if Kafka or Redis do not
        answer.
        """
        committed = await self._committed()
        known, positions = self._register.known, await self._positions()
        ends = await self._bounds(self._log.topic)
        self._note_again(ends)
        fresh: dict[Place, int] = {}
        for topic in TOPICS:
            name = self._settings.topic(topic)
            for partition, bounds in (await self._bounds(name)).items():
                place = (name, partition)
                held = positions.get(place)
                handled = max(committed.get(place, 0), known.get(place, 0))
                self._handled[place] = handled if handled <= bounds.end else 0
                if held is None or held > bounds.end:  # never held, or the topic was made again
                    fresh[place] = bounds.start
                if self._is_behind(place, held, bounds):
                    self._note(partition, ends.get(partition))
        copies, empty = self._settings.topic(TOPIC), list[int]()
        for partition, bounds in (await self._bounds(copies)).items():
            held = positions.get((copies, partition))
            if held is None or held > bounds.end:
                if bounds.start < bounds.end:
                    self._note(partition, ends.get(partition))
                else:
                    empty.append(partition)
        self._note_lost_claims(positions, ends)
        await self._copies.compare(empty)
        for (name, partition), start in fresh.items():
            await self._ports.dossiers.hold(partition, self._log.name, {name: start})
        known.clear()
        known.update(
            {place: at for place, at in {**positions, **fresh}.items() if place[0] != copies}
        )
        if self._behind:
            again = any(self._handled.values())
            level, how = (logging.WARNING, "again") if again else (logging.INFO, "a first time")
            behind = sorted(self._behind)
            log.log(level, "reading the control topics %s: partitions %s", how, behind)
        return bool(self._behind)

    async def compare(self) -> None:
        """Compare all dossiers with their copies, and say what the log lacks of those put back."""
        self._restored |= await self._copies.compare(range(self._log.partitions))
        await self._register.speak(self._restored)
        self._restored.clear()

    async def _positions(self) -> dict[Place, int]:
        """Return how far the dossiers hold each topic, that of their copies among them."""
        positions: dict[Place, int] = {}
        for partition in range(self._log.partitions):
            kept = await self._ports.dossiers.read(partition, self._log.name, ())
            positions.update(((name, partition), at) for name, at in kept.positions.items())
        return positions

    def _note(self, partition: int, bounds: Offsets | None) -> None:
        """Note that a partition is behind, and the end of its log now: its rows must cover that.

        Once noted it stays: with an end that moves on, a log in use would never be counted.
        """
        counted = self._log.counted
        if partition not in self._behind or counted[partition] == NEVER:
            counted[partition] = NEVER if bounds is None else bounds.end - 1
        self._behind.add(partition)

    def _note_lost_claims(
        self, positions: Mapping[Place, int], ends: Mapping[int, Offsets]
    ) -> None:
        """Note partitions that took fewer claims than this process knows of.

        Their dossiers may hold all of their topics: whose guarantees are counted there are creators
        of videos that have theirs elsewhere.
        """
        for partition in range(self._log.partitions):
            place = (CLAIMS, partition)
            if positions.get(place, 0) < self._register.known.get(place, 0):
                self._note(partition, ends.get(partition))

    def _note_again(self, ends: Mapping[int, Offsets]) -> None:
        """Note anew what is behind: its log may not have answered before."""
        for partition in self._behind:
            self._note(partition, ends.get(partition))

    async def run(self) -> None:
        """Read again what `look` found; `Retry` if it must go on later: nothing is lost then."""
        self._metrics.recovering.set(1)
        self._restored |= await self._copies.compare(sorted(self._behind))
        await self._copies.claim_again(self._behind)
        videos = 0
        for partition in sorted(self._behind):
            videos += await self._mend(partition)
            self._behind.discard(partition)
        self._metrics.recovering.set(0)
        log.info("the control topics are read again: %d videos known", videos)

    async def _mend(self, partition: int) -> int:
        """Learn what the topics hold of one partition, then say what its log lacks."""
        count = self._log.partitions
        mine = {
            video for video in self._restored if partition_of(video.encode(), count) == partition
        }
        videos, ends = set(mine), dict[str, int]()
        for topic in TOPICS:
            name = self._settings.topic(topic)
            bounds = (await self._bounds(name)).get(partition)
            if bounds is None:
                raise Retry(f"{name}[{partition}] does not answer")
            ends[name] = bounds.end
            videos |= await self._learn(topic, partition, bounds)
        ordered = sorted(videos)
        for first in range(0, len(ordered), BATCH):
            await self._register.speak(ordered[first : first + BATCH])
        await self._register.vouch_again()
        await self._register.hold(partition, ends)
        self._restored -= mine
        return len(videos)

    async def _learn(self, topic: ControlTopic, partition: int, bounds: Offsets) -> set[str]:
        """Take in the facts of one topic's partition; return the videos that they are about."""
        name, videos = self._settings.topic(topic), set[str]()
        kept = await self._ports.dossiers.read(partition, self._log.name, ())
        held = kept.positions.get(name, 0)
        start = held if bounds.start <= held <= bounds.end else bounds.start
        span = {(name, partition): bounds._replace(start=start)}
        async with self._ports.turn:
            async for records in batches_of(self._ports.reader, span):
                for first in range(0, len(records), BATCH):
                    some = records[first : first + BATCH]
                    videos |= set(await self._register.learn(topic, some, self._handled))
        return videos

    def _is_behind(self, place: Place, held: int | None, bounds: Offsets) -> bool:
        """Tell whether there is something to learn again; say what cannot be any more."""
        if held is None or held > bounds.end:
            return bounds.start < bounds.end
        if held < bounds.start:
            log.error(
                "%s[%d]: offsets %d to %d are no longer in the topic (retention): what they said "
                "and no dossier holds is lost",
                *place,
                held,
                bounds.start - 1,
            )
        return held < self._handled[place]

    async def _committed(self) -> Mapping[Place, int]:
        """Ask for the group's positions until its coordinator, just started maybe, knows them."""
        for _ in range(COORDINATOR_TRIES):
            try:
                return await self._ports.cluster.committed(self._log.group)
            except Unreachable:
                raise
            except Retry:
                await asyncio.sleep(COORDINATOR_PAUSE_S)
        return await self._ports.cluster.committed(self._log.group)

    async def _bounds(self, topic: str) -> Mapping[int, Offsets]:
        partitions: Sequence[int] = range(self._log.partitions)
        bounds = await self._ports.reader.offsets(topic, partitions)
        if missing := sorted(set(partitions) - bounds.keys()):
            log.warning("partitions %s of %s do not answer: not compared", missing, topic)
        return bounds

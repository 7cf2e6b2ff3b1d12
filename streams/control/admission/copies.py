"""Every dossier has a copy in the compacted topic `dossiers`, so none lives in Redis alone.

What is to be said of a video is copied before it is said, at the revision that Redis has it at. A
control plane that was paused may write a lesser revision behind a greater one, and compaction would
keep the lesser: so the topic is compared with Redis all the time, from where that was done last.

- A copy that is greater than what Redis holds shows that Redis lost something: it is put back.
- A copy that is lesser, with none as great behind it, is followed by the greater one again, once it
  is sure that this is not just on its way.
- Where Redis does not know how far it was compared, the topic is read from its beginning, and what
  it lacks is written to it.

Of a video that was written in two ways from one revision, as after a failover that nobody noticed
yet, the facts of both are kept.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from msgspec.structs import replace

from streams.control.admission import dossier
from streams.control.admission.dossier import Dossier, Tools
from streams.control.admission.granting import regranted
from streams.control.log import ControlLog, Ports
from streams.control.metrics import ControlMetrics
from streams.core.partitioner import partition_of
from streams.errors import Retry
from streams.runtime.documents import TOPIC, UNREADABLE, copy_of, read_copy
from streams.runtime.ports import Document, DossierChange, Record
from streams.settings import Settings

log: Final = logging.getLogger("streams.control")

BATCH: Final = 1_000
"""Copies that are read at once."""
FETCH_MS: Final = 500
SILENT_TRIES: Final = 20


@dataclass(slots=True)
class _Look:
    """One partition of the topic while it is compared, from `next` to `end`.

    `held` is how far it was compared before. `seen` are the videos that have a copy, where all of
    the topic is read. `late` has the offset of each video's last copy, where that is a lesser one.
    """

    held: int | None
    next: int
    end: int
    seen: set[str] | None
    late: dict[str, int] = field(default_factory=dict)


class Copies:
    """Writes copies of dossiers, and compares the topic with Redis."""

    def __init__(
        self,
        settings: Settings,
        control_log: ControlLog,
        ports: Ports,
        tools: Callable[[], Tools],
        metrics: ControlMetrics,
    ) -> None:
        self._settings: Final = settings
        self._topic: Final = settings.topic(TOPIC)
        self._log: Final = control_log
        self._ports: Final = ports
        self._tools: Final = tools
        self._metrics: Final = metrics
        self._late: Final[dict[int, dict[str, int]]] = {}
        self._turn: Final = asyncio.Lock()

    async def write(self, partition: int, documents: Mapping[str, Document]) -> None:
        """Write copies of documents by video; returns when they are durable."""
        acks = [
            await self._ports.producer.send(copy_of(self._settings, partition, *one))
            for one in documents.items()
        ]
        await asyncio.gather(*acks)

    async def compare(self, partitions: Iterable[int]) -> set[str]:
        """Compare the topic with Redis and put right what differs; return what Redis had lost.

        Partitions that do not answer are passed over. `Retry` if it must be done again.
        """
        async with self._turn:
            looks = await self._looks(partitions)
            restored: set[str] = set()
            async for partition, records in self._read(looks):
                restored |= await self._put_back(partition, looks[partition], records)
            ended = {partition: look for partition, look in looks.items() if look.next >= look.end}
            await self._write_missing(ended)
            for partition, look in ended.items():
                await self._end(partition, look)
        if restored:
            self._metrics.restored.inc(len(restored))
            log.warning("%d dossiers are back from topic %s", len(restored), self._topic)
        return restored

    async def claim_again(self, lost: Collection[int]) -> None:
        """Have the counts in these partitions know the full guarantees that any dossier bears."""
        async for documents in self._ports.dossiers.scan():
            known = _readable(documents)
            await regranted(self._ports.dossiers, self._log.name, self._log.partitions, known, lost)

    # ------------------------------------------------------------------ reading

    async def _looks(self, partitions: Iterable[int]) -> dict[int, _Look]:
        looks: dict[int, _Look] = {}
        bounds = await self._ports.reader.offsets(self._topic, list(partitions))
        for partition, (start, end) in bounds.items():
            kept = await self._ports.dossiers.read(partition, self._log.name, ())
            held = kept.positions.get(self._topic)
            if held is None or not start <= held <= end:  # never compared, or the topic is another
                looks[partition] = _Look(held, start, end, set())
            else:
                looks[partition] = _Look(held, held, end, None)
        return looks

    async def _read(
        self, looks: Mapping[int, _Look]
    ) -> AsyncIterator[tuple[int, Sequence[Record]]]:
        """Yield the records up to where each partition ended, those of one partition at a time."""
        reader, silent = self._ports.reader, 0
        while silent <= SILENT_TRIES:
            left = {
                (self._topic, p): look.next for p, look in looks.items() if look.next < look.end
            }
            if not left:
                return
            async with self._ports.turn:
                reader.assign(left)
                batches = await reader.fetch(FETCH_MS, BATCH)
                after = {place: await reader.position(*place) for place in left}
                reader.assign({})
            silent = silent + 1 if after == left else 0
            for place, records in batches.items():
                yield place[1], records
            for (_, partition), position in after.items():
                looks[partition].next = position

    # ------------------------------------------------------------------ what Redis lost

    async def _put_back(self, partition: int, look: _Look, records: Sequence[Record]) -> set[str]:
        """Put back whatever copies know more of than Redis; return the videos.

        A copy may be in another partition than its video's: the topic had fewer of them once.
        """
        copies: defaultdict[str, list[Document]] = defaultdict(list)
        last: dict[str, int] = {}
        for record in records:
            copy = read_copy(record)
            if copy is not None:
                copies[copy[0]].append(copy[1])
                last[copy[0]] = record.offset
        homes: defaultdict[int, list[str]] = defaultdict(list)
        for video in copies:
            homes[partition_of(video.encode(), self._log.partitions)].append(video)
        restored: set[str] = set()
        for home, videos in homes.items():
            now, changed = await self._merge(home, {video: copies[video] for video in videos})
            restored |= changed
            if home == partition:
                for video in videos:
                    look.late.pop(video, None)
                    if copies[video][-1].revision < now[video].revision:
                        look.late[video] = last[video]
                if look.seen is not None:
                    look.seen.update(videos)
        return restored

    async def _merge(
        self, partition: int, copies: Mapping[str, Sequence[Document]]
    ) -> tuple[dict[str, Document], set[str]]:
        """Have Redis know all that copies say; return the documents, and which are changed."""
        kept = await self._ports.dossiers.read(partition, self._log.name, list(copies))
        now: dict[str, Document] = {}
        for video, some in copies.items():
            known = kept.documents.get(video)
            for copy in some:
                known = copy if known is None else self._of_both(known, copy)
            assert known is not None
            now[video] = known
        changed = {video: one for video, one in now.items() if one != kept.documents.get(video)}
        changes = [
            DossierChange(video, before.revision if before else 0, one)
            for video, one in changed.items()
            for before in [kept.documents.get(video)]
        ]
        if changes:
            await regranted(
                self._ports.dossiers, self._log.name, self._log.partitions, _readable(changed)
            )
            answer = await self._ports.dossiers.put(partition, self._log.name, changes, {})
            if answer != "ok":
                raise Retry("another control plane wrote one of these dossiers")
        await self.write(partition, {v: one for v, one in changed.items() if one not in copies[v]})
        return now, set(changed)

    def _of_both(self, known: Document, copy: Document) -> Document:
        """Return the greater of two documents; a greater one still if both have facts of their own.

        Bytes that cannot be read have none.
        """
        greater, lesser = (copy, known) if copy.revision > known.revision else (known, copy)
        if lesser.revision == UNREADABLE or greater.text == lesser.text:
            return greater
        try:
            one, other = dossier.decode(greater.text), dossier.decode(lesser.text)
        except ValueError:
            return greater
        joined = dossier.with_facts_of(one, other, self._tools())
        if joined is one and one.uncopied and known.revision == copy.revision:
            return Document(known.revision, dossier.encode(replace(one, uncopied=False)))
        if joined is one:
            return greater
        return Document(greater.revision + 1, dossier.encode(joined))

    # ------------------------------------------------------------------ what the topic lacks

    async def _write_missing(self, looks: Mapping[int, _Look]) -> None:
        """Write what the topic has no copy of, where all of it was read."""
        unseen = {
            partition: look.seen for partition, look in looks.items() if look.seen is not None
        }
        if not unseen:
            return
        async for documents in self._ports.dossiers.scan():
            missing: defaultdict[int, dict[str, Document]] = defaultdict(dict)
            for video, document in documents.items():
                home = partition_of(video.encode(), self._log.partitions)
                if home in unseen and video not in unseen[home] and document.revision > 0:
                    missing[home][video] = document
            for home, some in missing.items():
                await self.write(home, some)

    async def _end(self, partition: int, look: _Look) -> None:
        """Write again what lesser copies followed at two looks; note up to where all is well."""
        before = self._late.get(partition, {})
        again = [video for video, offset in look.late.items() if before.get(video) == offset]
        if again:
            kept = await self._ports.dossiers.read(partition, self._log.name, again)
            await self.write(partition, kept.documents)
            self._metrics.repeated.inc(len(again))
            log.warning("%d copies in %s[%d] were lesser ones", len(again), self._topic, partition)
        self._late[partition] = look.late
        held = min(look.late.values(), default=look.end)
        if held != look.held:
            await self._ports.dossiers.hold(partition, self._log.name, {self._topic: held})


def _readable(documents: Mapping[str, Document]) -> dict[str, Dossier]:
    """Return the dossiers of documents, without those that cannot be read."""
    known = {}
    for video, document in documents.items():
        with suppress(ValueError):
            known[video] = dossier.decode(document.text)
    return known

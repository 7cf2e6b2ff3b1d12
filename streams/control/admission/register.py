"""Dossiers in step with the log: events in, control records out, a batch at a time.

Per batch and partition: one read, one guarded write and a copy in the topic `dossiers` before
anything is said, and one write after all of it is acknowledged; the last one also stores up to
which offset the dossiers hold each topic. Every write names the revision that it was made from, so
of two control planes with the same video one reads it again.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from msgspec.structs import replace

from streams.control.admission import dossier
from streams.control.admission.acknowledged import Acknowledged, FellBack, require_held
from streams.control.admission.copies import Copies
from streams.control.admission.dossier import Dossier, Event, Logged, Tools
from streams.control.admission.granting import granted
from streams.control.log import ControlLog, now_ms
from streams.control.metrics import ControlMetrics
from streams.core.counters import Video
from streams.core.events import Revise
from streams.core.partitioner import partition_of
from streams.core.words import Review, SliceReview
from streams.errors import DeadLetter, Retry
from streams.runtime.codec import FUTURE_MS, ControlTopic, decode_one, decode_review
from streams.runtime.documents import CLAIMS, DOCUMENT_RECORDS
from streams.runtime.headers import require_names
from streams.runtime.ports import (
    Claim,
    Document,
    DossierChange,
    Dossiers,
    Kept,
    Move,
    Place,
    Record,
)
from streams.settings import Settings

log: Final = logging.getLogger("streams.control")

TOPICS: Final[tuple[ControlTopic, ...]] = ("uploads", "recognitions", "reviews")
Outcome = Literal["handled", "refused", "retried"]
AT_ONCE: Final = 16
"""So many partitions are worked on side by side: below the store's connections."""
_NONE: Final = Document(0, b"")


@dataclass(slots=True)
class _Batch:
    """Events of one topic's partition in order, words on slices apart, and what became of them.

    `stored` are documents as they were read and `before` the dossiers in them, `logged` is what
    the log knows, `dossiers` what they become; `failure` is that of an event which must come
    again, though the others are done.
    """

    partition: int
    events: list[tuple[Event, Record]] = field(default_factory=list)
    words: list[SliceReview] = field(default_factory=list)
    refused: list[tuple[Record, DeadLetter]] = field(default_factory=list)
    stored: Mapping[str, Document] = field(default_factory=dict)
    before: dict[str, Dossier | None] = field(default_factory=dict)
    logged: dict[str, Logged] = field(default_factory=dict)
    dossiers: dict[str, Dossier] = field(default_factory=dict)
    failure: Exception | None = None

    def videos(self) -> list[str]:
        return sorted({event.video for event, _ in self.events})

    def known(self, video: str) -> Dossier | None:
        return self.dossiers.get(video, self.before[video])

    def changed(self) -> dict[str, Dossier]:
        return {v: now for v, now in self.dossiers.items() if now is not self.before[v]}

    def revision(self, video: str) -> int:
        return self.stored.get(video, _NONE).revision


class Register:
    """Handles events of the control topics; one batch after the other, whatever the topic.

    `tools` gives the rules in force, `known` what this process knows the store to hold.
    """

    def __init__(
        self,
        settings: Settings,
        control_log: ControlLog,
        dossiers: Dossiers,
        copies: Copies,
        tools: Callable[[], Tools],
        metrics: ControlMetrics,
    ) -> None:
        self.outcomes: Final[Counter[tuple[str, Outcome]]] = Counter()
        self.known: Final = Acknowledged()
        self._settings = settings
        self._log = control_log
        self._dossiers = dossiers
        self._copies = copies
        self._tools = tools
        self._metrics = metrics
        self._learned: Final[dict[str, SliceReview]] = {}
        self._turn = asyncio.Lock()

    async def positions(self) -> Mapping[Place, int]:
        """Return from where each topic is to be read; `FellBack` if they went back."""
        names = [*(self._settings.topic(topic) for topic in TOPICS), CLAIMS]
        positions: dict[Place, int] = {}

        async def read(partition: int) -> None:
            kept = await self._kept(partition, ())
            held = {(name, partition): kept.positions.get(name) for name in names}
            positions.update((place, at) for place, at in held.items() if at is not None)

        await _side_by_side(read(partition) for partition in range(self._log.partitions))
        for place, position in positions.items():
            self.known.note(place, position)
        return {place: at for place, at in positions.items() if place[0] != CLAIMS}

    async def handle(self, topic: ControlTopic, records: Sequence[Record]) -> None:
        """Handle records of a topic until their consequences are durable.

        `Retry` if that must be tried again, `FellBack` if dossiers were lost; both change nothing
        that repeating it does not put right. A partition that fails keeps no other one back.
        """
        parts: defaultdict[int, list[Record]] = defaultdict(list)
        for record in records:
            parts[record.partition].append(record)
        done: list[_Batch] = []

        async def work(partition: int) -> None:
            done.append(await self._handle(topic, partition, parts[partition]))

        async with self._turn:
            await _side_by_side(work(partition) for partition in parts)
        for batch in done:
            self.count(topic, "handled", len(batch.events) + len(batch.words))
            self._tell(topic, batch)

    async def learn(
        self, topic: ControlTopic, records: Sequence[Record], lettered: Mapping[Place, int]
    ) -> Collection[str]:
        """Take in the facts of a partition's records that are read again, and return their videos.

        Nothing is said. A record below `lettered` is in the dead letters already. The last words on
        slices are kept for `vouch_again`.
        """
        if not records:
            return ()
        batch = await self._read(topic, records[0].partition, records, whole=False)
        self._learned.update((word.slice, word) for word in batch.words)
        for event, record in batch.events:
            try:
                known = batch.known(event.video)
                logged = dossier.as_logged(known, event.video, batch.logged[event.video])
                after = dossier.learn(logged, event, self._tools())
                self._require_room(event, after)
                batch.dossiers[event.video] = after
            except DeadLetter as letter:
                batch.refused.append((record, letter))
        batch.refused = [
            one
            for one in batch.refused
            if one[0].offset >= lettered.get((one[0].topic, one[0].partition), 0)
        ]
        await self._refuse(batch)
        await self._store(batch, {}, listing=False)
        self.count(topic, "handled", len(batch.events))
        self._tell(topic, batch)
        return batch.dossiers.keys()

    async def vouch_again(self) -> None:
        """Write the last word on each slice that was learned to the table: one may not be there."""
        for word in self._learned.values():
            await self._log.vouch(word)
        self._learned.clear()

    async def speak(self, videos: Iterable[str]) -> None:
        """Say whatever the log lacks of these videos, whose facts are known again."""
        async with self._turn:
            await _side_by_side(self._speak(*home) for home in self._homes(videos))

    async def revise(self, revisions: Mapping[str, Revise]) -> None:
        """Say one record each of videos that have a dossier, numbered behind all that was said.

        `Retry` if that must be tried again; what was said meanwhile is in the rows.
        """
        async with self._turn:
            await _side_by_side(self._revise(*home, revisions) for home in self._homes(revisions))

    def _homes(self, videos: Iterable[str]) -> Iterable[tuple[int, Sequence[str]]]:
        """Return the partitions of videos, each with its own, sorted."""
        homes: defaultdict[int, list[str]] = defaultdict(list)
        for video in sorted(videos):
            homes[partition_of(video.encode(), self._log.partitions)].append(video)
        return homes.items()

    async def hold(self, partition: int, ends: Mapping[str, int]) -> None:
        """Store that the dossiers hold all of a partition's topics up to these offsets."""
        await self._put(partition, (), {topic: Move(0, end) for topic, end in ends.items()})

    async def list_all(self) -> None:
        """Write what waits to the topic `waiting` if nothing ever stood there.

        It is new then, or was made again, and the dossiers are older.
        """
        if await self._log.has_listed():
            return
        async for documents in self._dossiers.scan():
            known = {video: dossier.decode(each.text) for video, each in documents.items()}
            waiting = {video: now.waiting for video, now in known.items()}
            await self._log.list_waiting({video: one for video, one in waiting.items() if one})
        await self._log.note_listed()

    def count(self, topic: str, outcome: Outcome, number: int = 1) -> None:
        """Note what became of so many records of a topic."""
        self.outcomes[topic, outcome] += number
        self._metrics.events.labels(topic, outcome).inc(number)

    def tell_refused(self, topic: str, record: Record, letter: DeadLetter) -> None:
        """Note and log that a record went to the dead letters."""
        self.count(topic, "refused")
        self._metrics.letters.labels(topic, letter.reason).inc()
        place = f"{record.topic}[{record.partition}]@{record.offset}"
        log.warning("%s refused: %s: %s", place, letter.reason, letter)

    # ------------------------------------------------------------------ one batch

    async def _handle(
        self, topic: ControlTopic, partition: int, records: Sequence[Record]
    ) -> _Batch:
        batch = await self._read(topic, partition, records)
        self._advance(batch)
        await self._grant(batch)
        if batch.failure is not None:
            await self._store(batch, {})
            raise batch.failure
        await self._refuse(batch)
        for word in batch.words:
            await self._log.vouch(word)
        await self._store(batch, self._moves(records))
        return batch

    async def _speak(self, partition: int, videos: Sequence[str]) -> None:
        batch = _Batch(partition)
        for video, known in (await self._logged(batch, videos)).items():
            cause, latest = dossier.latest(known)
            after = dossier.speak(known, cause, min(latest, now_ms()), self._tools())
            batch.dossiers[video] = after if after.owes else known
        await self._grant(batch)
        await self._store(batch, {})

    async def _revise(
        self, partition: int, videos: Sequence[str], revisions: Mapping[str, Revise]
    ) -> None:
        batch = _Batch(partition)
        for video, known in (await self._logged(batch, videos)).items():
            batch.dossiers[video] = dossier.revised(known, revisions[video])
        await self._store(batch, {}, listing=False)

    async def _logged(self, batch: _Batch, videos: Sequence[str]) -> dict[str, Dossier]:
        """Bring stored dossiers of videos into a batch; return them as the log knows them."""
        batch.stored = (await self._kept(batch.partition, videos)).documents
        self._open(batch, videos)
        rows = await self._log.rows(list(batch.before))
        return {
            video: dossier.as_logged(
                before, video, Logged(self._log.name, rows.get(video, Video()))
            )
            for video, before in batch.before.items()
            if before is not None
        }

    async def _read(
        self,
        topic: ControlTopic,
        partition: int,
        records: Sequence[Record],
        *,
        whole: bool = True,
    ) -> _Batch:
        """Decode records and read their dossiers, those that are behind as the log knows them.

        Of a `whole` store only what is not there, or another log's, can be behind.
        """
        batch = _Batch(partition)
        for record in records:
            try:
                event = self._decode(topic, record)
                if isinstance(event, SliceReview):
                    batch.words.append(event)
                else:
                    batch.events.append((event, record))
            except DeadLetter as letter:
                batch.refused.append((record, letter))
        videos = batch.videos()
        batch.stored = (await self._kept(partition, videos)).documents
        self._open(batch, videos)
        batch.events = [one for one in batch.events if one[0].video in batch.before]
        doubtful = [
            video
            for video, known in batch.before.items()
            if not whole or known is None or known.log != self._log.name
        ]
        rows = await self._log.rows(doubtful)
        for video in batch.before:
            batch.logged[video] = Logged(self._log.name, rows.get(video, Video()))
        return batch

    def _open(self, batch: _Batch, videos: Iterable[str]) -> None:
        """Decode the stored documents; events of one that cannot be read must come again."""
        for video in videos:
            document = batch.stored.get(video)
            try:
                batch.before[video] = None if document is None else dossier.decode(document.text)
            except ValueError as error:
                batch.failure = ValueError(f"the dossier of {video} cannot be read: {error}")

    def _decode(self, topic: ControlTopic, record: Record) -> Event | SliceReview:
        require_names(record.headers)
        limit, tools = self._settings.record_bytes, self._tools()
        event: Event | SliceReview
        if topic == "reviews":
            event = decode_review(record.value, limit)
            _check_place(event, record, self._log.partitions)
            tools.gate.reviewers.require(event, record, self._log.installation.id)
        else:
            event = decode_one(topic, record.value, limit)
            _check_place(event, record, self._log.partitions)
        if isinstance(event, SliceReview) and event.slice not in tools.catalogue.slices:
            raise DeadLetter("slice", "slice: the catalogue of slices.toml has no such slice")
        return event

    def _advance(self, batch: _Batch) -> None:
        tools = self._tools()
        done = []
        for event, record in batch.events:
            known, logged = batch.known(event.video), batch.logged[event.video]
            ts = min(record.timestamp, now_ms())
            try:
                after = dossier.advance(known, event, ts, tools, logged)
                self._require_room(event, after)
            except DeadLetter as letter:
                batch.refused.append((record, letter))
                continue
            if isinstance(event, Review) and after.state == "unknown" and after is not known:
                self._tell_early(event)
            batch.dossiers[event.video] = after
            done.append((event, record))
        batch.events = done

    async def _grant(self, batch: _Batch) -> None:
        """Decide which of the batch's admissions are owed a full guarantee."""
        tools, count = self._tools(), self._log.partitions
        batch.dossiers |= await granted(self._claim, count, tools, batch.changed())

    async def _claim(self, claims: Sequence[Claim], most: int) -> Sequence[bool]:
        """Tell which claims are taken; `FellBack` where fewer were taken before than are known."""
        asked = [
            each._replace(known=self.known.get((CLAIMS, each.partition), 0)) for each in claims
        ]
        taken = await self._dossiers.claim(self._log.name, asked, most)
        for each, count in zip(asked, taken, strict=True):
            if count is not None and count < 0:
                require_held((CLAIMS, each.partition), each.known, -1 - count)
            elif count:
                self.known.note((CLAIMS, each.partition), count)
        return [count is not None for count in taken]

    async def _store(
        self, batch: _Batch, moves: Mapping[str, Move], *, listing: bool = True
    ) -> None:
        """Store and copy what is to be said, say it, store that it was said and how far all is.

        What is stored and not yet copied is marked as such, and so is copied by whoever finds it.
        """
        partition, changed = batch.partition, batch.changed()
        begun = {video: now for video, now in changed.items() if now.uncopied}
        revisions = {video: batch.revision(video) for video in changed}
        if begun:
            still = {topic: move._replace(now=move.known) for topic, move in moves.items()}
            await self._put(partition, _changes(begun, revisions, 1), still)
            revisions.update((video, revisions[video] + 1) for video in begun)
            copies = {v: replace(now, uncopied=False) for v, now in begun.items()}
            await self._copies.write(partition, _documents(copies, revisions))
            await self._log.say(now.unsent for now in begun.values())
            if listing:
                waiting = {video: now.waiting for video, now in begun.items() if now.relists}
                await self._log.list_waiting(waiting)
        settled = {
            video: dossier.settled(now, listed=listing and video in begun)
            for video, now in changed.items()
        }
        await self._put(partition, _changes(settled, revisions, 0), moves)

    async def _put(
        self, partition: int, changes: Sequence[DossierChange], moves: Mapping[str, Move]
    ) -> None:
        if not changes and not moves:
            return
        result = await self._dossiers.put(partition, self._log.name, changes, moves)
        if result == "behind":
            raise FellBack("Redis holds less than it had acknowledged")
        if result == "conflict":
            self._metrics.conflicts.inc()
            raise Retry("another control plane wrote one of these dossiers")
        for topic, move in moves.items():
            self.known.note((topic, partition), move.now)

    def _moves(self, records: Iterable[Record]) -> dict[str, Move]:
        ends: dict[Place, int] = {}
        for record in records:
            place = (record.topic, record.partition)
            ends[place] = max(record.offset + 1, ends.get(place, 0))
        return {place[0]: Move(self.known.get(place, 0), end) for place, end in ends.items()}

    async def _kept(self, partition: int, videos: Sequence[str]) -> Kept:
        """Return documents and positions; `FellBack` if a position is below one acknowledged.

        Acknowledged before it was asked for: meanwhile others go on.
        """
        acknowledged = [(topic, at) for (topic, p), at in self.known.items() if p == partition]
        kept = await self._dossiers.read(partition, self._log.name, videos)
        for topic, known in acknowledged:
            require_held((topic, partition), known, kept.positions.get(topic, 0))
        return kept

    def _require_room(self, event: Event, after: Dossier) -> None:
        """Refuse what would make a dossier too large for its copy; never what a person said."""
        most = DOCUMENT_RECORDS * self._settings.record_bytes
        if not isinstance(event, Review) and len(dossier.encode(after)) > most:
            raise DeadLetter("too_large", f"all that is known of the video: {most} bytes allowed")

    async def _refuse(self, batch: _Batch) -> None:
        for refused in batch.refused:
            await self._log.refuse(*refused)

    def _tell(self, topic: str, batch: _Batch) -> None:
        for refused in batch.refused:
            self.tell_refused(topic, *refused)

    def _tell_early(self, review: Review) -> None:
        self._metrics.early_verdicts.inc()
        log.warning(
            "verdict %s on %s, whose upload is not known: kept, in force when the upload comes",
            review.verdict,
            review.video,
        )


def _changes(
    dossiers: Mapping[str, Dossier], revisions: Mapping[str, int], step: int
) -> list[DossierChange]:
    """Return the changes from these revisions, each to one that is `step` greater."""
    after = _documents(dossiers, {video: revision + step for video, revision in revisions.items()})
    return [DossierChange(video, revisions[video], now) for video, now in after.items()]


def _documents(
    dossiers: Mapping[str, Dossier], revisions: Mapping[str, int]
) -> dict[str, Document]:
    return {v: Document(revisions[v], dossier.encode(now)) for v, now in dossiers.items()}


async def _side_by_side(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do works, some at once, all of them; raise the worst that one raised: `FellBack`, or any."""
    turns = asyncio.Semaphore(AT_ONCE)

    async def work(one: Coroutine[Any, Any, None]) -> None:
        async with turns:
            await one

    results = await asyncio.gather(*map(work, works), return_exceptions=True)
    errors = [one for one in results if isinstance(one, BaseException)]
    for error in sorted(errors, key=lambda one: not isinstance(one, FellBack)):
        raise error


def _check_place(event: Event | SliceReview, record: Record, partitions: int) -> None:
    """Refuse an event that another control plane might handle too, or one from the future."""
    about = event.slice if isinstance(event, SliceReview) else event.video
    if record.key != about.encode():
        raise DeadLetter("misrouted", "the record's key is not its video")
    home = partition_of(record.key, partitions)
    if record.partition != home:
        raise DeadLetter(
            "misrouted",
            f"its video belongs to partition {home}: the client must set "
            "partitioner=murmur2_random (librdkafka) or use Kafka's own murmur2 of the key",
        )
    if event.ts > record.timestamp + FUTURE_MS:
        ahead = f"ts is more than {FUTURE_MS // 1000} s ahead of the record's timestamp"
        raise DeadLetter("future", ahead)

"""Takes the counters of a log along when it is kept in another topic, or on another cluster.

The other topic holds the same records at the same offsets: a mirror that keeps offsets does, or a
cluster restored from its disks. Only a signed `move` record of that very log moves the counters;
without one, a topic with another id halts the workers.
"""

from collections.abc import Callable
from typing import Final, Literal, NamedTuple

from streams.core.generations import read_generations
from streams.core.keys import read_trust
from streams.core.partition_control import TopicMove
from streams.errors import Halt
from streams.runtime.answers import require_all
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.installation import put_everywhere
from streams.runtime.labels import Labelled, LabelStore, take_over
from streams.runtime.namespace import namespace_of, other_namespace, parts_of
from streams.runtime.opening import is_of, mark_of, rewritten, start_of
from streams.runtime.ports import (
    LogReader,
    Offsets,
    Producer,
    Stored,
    TopicIdentity,
)
from streams.runtime.reading import batches_of, record_at
from streams.runtime.signing import Signer


class PartitionMove(NamedTuple):
    """One partition of a log that moved: what is stored of it, and under which topic id."""

    partition: int
    counters: Literal["elsewhere", "here", "none"]
    topic_id: str
    watermark: int


class Mover:
    """Moves the counters of an installation to one topic."""

    def __init__(
        self,
        store: LabelStore,
        reader: LogReader,
        identity: TopicIdentity,
        installation: str,
        spelling: Spelling,
    ) -> None:
        self._store: Final = store
        self._reader: Final = reader
        self._identity: Final = identity
        self._namespace: Final = namespace_of(identity, installation)
        self._spelling: Final = spelling

    async def plan(self) -> list[PartitionMove]:
        """Return what is stored of each partition; `Halt` if this topic cannot go on with it."""
        topic, partitions = self._identity.topic, range(self._identity.partitions)
        bounds = require_all(topic, partitions, await self._reader.offsets(topic, partitions))
        plan = []
        for partition in partitions:
            labelled = await self._store.labelled(partition)
            if labelled is None:
                plan.append(PartitionMove(partition, "none", "", -1))
                continue
            here = labelled.namespace == self._namespace
            if not here:
                self._require_kin(partition, labelled.namespace)
                await self._require_same(partition, labelled.stored, bounds[partition])
            topic_id = parts_of(labelled.namespace)["id"]
            watermark = labelled.stored.watermark
            counters: Literal["here", "elsewhere"] = "here" if here else "elsewhere"
            plan.append(PartitionMove(partition, counters, topic_id, watermark))
        return plan

    async def move(
        self, producer: Producer, signer: Signer, record_of: Callable[[str, str], TopicMove]
    ) -> int:
        """Move every partition that is elsewhere; return how many. No worker may run.

        `record_of` makes the record from the ids of the topic before and of this one. `Halt` or
        `Retry` if it cannot be ended now: the same call ends it.
        """
        moved = 0
        for partition in range(self._identity.partitions):
            before = await self._store.labelled(partition)
            if before is None or before.namespace == self._namespace:
                continue
            old, new = parts_of(before.namespace)["id"], self._identity.topic_id
            if not await self._has_word(partition, before.stored, old):
                record = record_of(old, new)
                await put_everywhere(producer, self._identity.topic, [partition], record, signer)
                await self._require_word(partition, before.stored, old)
            after = Labelled(self._namespace, before.stored)
            await take_over(self._store, partition, before, after, "every worker")
            moved += 1
        return moved

    def _require_kin(self, partition: int, stored: str) -> None:
        """Raise `Halt` unless only the topic's id is another one."""
        then, now = parts_of(stored), parts_of(self._namespace)
        if {**then, "id": ""} != {**now, "id": ""}:
            raise other_namespace(partition, stored, self._namespace)

    async def _require_same(self, partition: int, stored: Stored, bounds: Offsets) -> None:
        """Raise `Halt` unless this topic holds what was counted, and what comes behind it."""
        generations = read_generations(stored.meta.generations, 1)
        start_of(partition, stored.watermark, bounds, generations)
        if stored.watermark < 0 or not is_of(stored.meta.mark, stored.watermark):
            return
        place = (self._identity.topic, partition)
        record = await record_at(self._reader, place, stored.watermark)
        if record is None:
            raise Halt(
                f"partition {partition}: nothing stands at offset {stored.watermark}, which was "
                "counted: this topic does not hold the log at its own offsets",
                code="log_rewritten",
                partition=partition,
            )
        if mark_of(record) != stored.meta.mark:
            raise rewritten(partition, stored.meta.mark, record)

    async def _require_word(self, partition: int, stored: Stored, before: str) -> None:
        if not await self._has_word(partition, stored, before):
            raise Halt(
                f"partition {partition}: its log holds no `move` record that counts there: sign it "
                "with a key that is in force (`streams keys show`)",
                code="signing_key",
                partition=partition,
            )

    async def _has_word(self, partition: int, stored: Stored, before: str) -> bool:
        """Tell whether somebody in force said, behind the watermark, that the log moved here."""
        topic = self._identity.topic
        answer = await self._reader.offsets(topic, [partition])
        end = require_all(topic, [partition], answer)[partition].end
        trust = read_trust(stored.meta.keys)
        span = {(topic, partition): Offsets(stored.watermark + 1, end)}
        async for records in batches_of(self._reader, span):
            decoded = decode_log(records, trust, self._spelling)
            trust = decoded.trust
            moves = [event for event in decoded.events if isinstance(event, TopicMove)]
            if (before, self._identity.topic_id) in [(move.before, move.after) for move in moves]:
                return True
        return False

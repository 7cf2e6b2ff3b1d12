"""The log as the control plane sees it: where its records go, and what the folds made of them."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Final

from streams.control.agents import Background, group_of
from streams.core.counters import VIDEO_ROW, Video, load_video
from streams.core.events import (
    ControlRecord,
    PartitionControl,
    Policy,
    VideoControl,
)
from streams.core.first_rows import are_first
from streams.core.partitioner import partition_of
from streams.core.receipts import Refusal
from streams.core.waiting import Waiting
from streams.core.words import SliceReview
from streams.errors import DeadLetter, Retry
from streams.runtime.installation import Installation, settle_keys
from streams.runtime.leases import ServingIndex
from streams.runtime.letters import letter_of
from streams.runtime.mixes import Mix, mix_record
from streams.runtime.namespace import log_name, namespace_of
from streams.runtime.policies import forgetting_record, policy_record, word_record
from streams.runtime.ports import (
    Clock,
    Cluster,
    Dossiers,
    Loaded,
    LogConsumer,
    LogReader,
    Outgoing,
    Producer,
    Record,
    Store,
    TopicIdentity,
)
from streams.runtime.signing import Signer, control_record
from streams.runtime.waiting import TOPIC as WAITING
from streams.runtime.waiting import waiting_record
from streams.settings import Settings

_AT_ONCE: Final = 16
"""So many partitions are asked for rows side by side: below the store's connections."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the control plane works with, all started and stopped by whoever made them.

    `reader` is used by the control plane alone: it has one position a partition, and what assigns
    it takes its `turn`. `member` makes a member of the keeper's group. `clock` paces policies and
    mixes.
    """

    producer: Producer
    dossiers: Dossiers
    store: Store
    index: ServingIndex
    reader: LogReader
    cluster: Cluster
    background: Background
    member: Callable[[], LogConsumer]
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    clock: Clock = time.monotonic


class ControlLog:
    """Writes signed records and dead letters, and reads videos' rows.

    `name` tells this log, in this installation, from any other one: what another was told this one
    does not know. `counted` is the least watermark of each partition at which its rows may be
    relied on; -1 where it does not matter.
    """

    def __init__(
        self,
        settings: Settings,
        signer: Signer,
        ports: Ports,
        identity: TopicIdentity,
        installation: Installation,
    ) -> None:
        self.installation: Final = installation
        self.partitions: Final = identity.partitions
        self.topic: Final = identity.topic
        self.namespace: Final = namespace_of(identity, signer.installation)
        self.name: Final = log_name(identity, signer.installation)
        self.group: Final = group_of(settings)
        self.counted: Final[dict[int, int]] = {}
        self._settings = settings
        self._signer = signer
        self._ports = ports

    async def say(self, runs: Iterable[Sequence[VideoControl]]) -> None:
        """Write records of many videos, one run a video; returns when all are acknowledged.

        The runs go side by side, within one a record follows the acknowledgement of the one
        before: what makes an audience smaller is there before what lets it see again.
        """
        for step in zip_longest(*runs):
            acks = [
                await self._ports.producer.send(self._signed(record))
                for record in step
                if record is not None
            ]
            await asyncio.gather(*acks)

    async def list_waiting(self, entries: Mapping[str, Waiting | None]) -> None:
        """Write which videos wait for the gate's sake, and (None) which do not."""
        records = [
            waiting_record(
                self._settings, partition_of(video.encode(), self.partitions), "gate", video, entry
            )
            for video, entry in entries.items()
        ]
        acks = [await self._ports.producer.send(record) for record in records]
        await asyncio.gather(*acks)

    async def has_listed(self) -> bool:
        """Tell whether anything ever stood in the topic `waiting`; `Retry` without an answer."""
        topic = self._settings.topic(WAITING)
        bounds = await self._ports.reader.offsets(topic, range(self.partitions))
        if len(bounds) < self.partitions:
            raise Retry(f"{topic} does not answer")
        return any(each.end for each in bounds.values())

    async def note_listed(self) -> None:
        """Write to the topic `waiting` that all that waits stands there."""
        await self._write(waiting_record(self._settings, 0, "gate", "", None))

    async def say_each(self, runs: Mapping[int, Sequence[PartitionControl]]) -> Mapping[int, Retry]:
        """Write records to partitions, side by side; return those that did not take all, and why.

        Within a partition a record follows the acknowledgement of the one before.
        """

        async def write(partition: int, run: Sequence[PartitionControl]) -> Retry | None:
            try:
                for record in run:
                    await self._write(self._signed(record, partition))
            except Retry as error:
                return error
            return None

        errors = await asyncio.gather(*(write(*each) for each in runs.items()))
        return {place: error for place, error in zip(runs, errors, strict=True) if error}

    @property
    def public(self) -> str:
        """The public half of the key that signs here."""
        return self._signer.key.public

    async def announce(self, policy: Policy) -> None:
        """Write a policy to the table; returns when it is durable there."""
        await self._write(policy_record(self._settings, policy, self._signer))

    async def publish_mix(self, mix: Mix) -> None:
        """Write what feeds are to go by; returns when it is durable."""
        await self._write(mix_record(self._settings, mix, self._signer))

    async def vouch(self, word: SliceReview) -> None:
        """Write what a person said of a slice to the table, where the leader finds it."""
        await self._write(word_record(self._settings, word, self._signer))

    async def end_key_change(self, begun: Installation) -> Installation:
        """End a change of keys that was cut short; `Retry` if a partition does not take it."""
        producer, settings = self._ports.producer, self._settings
        return await settle_keys(producer, settings, self.partitions, self._signer, begun)

    async def forget(self, number: str) -> None:
        """Take a policy out of the table."""
        await self._write(forgetting_record(self._settings, number))

    async def refuse(self, record: Record, letter: DeadLetter) -> None:
        """Write a record to the dead letters; returns when they have it."""
        refusal = Refusal(record.offset, 0, letter.reason, str(letter))
        limit = self._settings.record_bytes
        await self._write(letter_of(record, [refusal], "control", self.group, limit))

    async def rows(self, videos: Sequence[str]) -> Mapping[str, Video]:
        """Return each video's own row; `Retry` while a partition's rows cannot be relied on."""
        by_partition: defaultdict[int, list[str]] = defaultdict(list)
        for video in videos:
            by_partition[partition_of(video.encode(), self.partitions)].append(video)
        wanted = sorted(by_partition.items())
        rows: dict[str, Video] = {}
        for first in range(0, len(wanted), _AT_ONCE):
            some = wanted[first : first + _AT_ONCE]
            loads = [self._ports.store.load(partition, names) for partition, names in some]
            for (partition, _), loaded in zip(some, await asyncio.gather(*loads), strict=True):
                rows |= self._rows_of(partition, loaded)
        return rows

    def _rows_of(self, partition: int, loaded: Loaded) -> dict[str, Video]:
        watermark = -1 if loaded.watermark is None else loaded.watermark
        needed = self.counted.get(partition, -1)
        if watermark < needed:
            raise Retry(
                f"partition {partition} is counted up to offset {watermark} and was told of videos "
                f"up to {needed}: waiting for a worker to count it"
            )
        own = {video: fields.get(VIDEO_ROW) for video, fields in loaded.videos.items()}
        if are_first(raw for raw in own.values() if raw is not None):
            raise Retry(
                f"partition {partition} still holds rows of 0.1.0: waiting for a worker to fold "
                "its upgrade record"
            )
        return {
            video: load_video(video, {} if raw is None else {VIDEO_ROW: raw}).row
            for video, raw in own.items()
        }

    def _signed(self, record: ControlRecord, partition: int | None = None) -> Outgoing:
        """Return a record ready to be sent.

        It says when what it follows from was said. This host's clock may be behind that, and a
        record that is ahead of its own timestamp is refused by whoever counts.
        """
        signed = control_record(self.topic, record, self._signer, partition)
        return replace(signed, timestamp=record.ts) if record.ts > now_ms() else signed

    async def _write(self, record: Outgoing) -> None:
        await (await self._ports.producer.send(record))


def now_ms() -> int:
    """Return this host's clock; nothing may depend on it but how a record's time is shown."""
    return time.time_ns() // 1_000_000

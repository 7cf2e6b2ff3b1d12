"""The log as the control plane sees it: where its records go, and what the folds made of them."""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import zip_longest
from typing import Final

from streams.control.agents import Background, group_of
from streams.core.counters import VIDEO_ROW, Video, load_video
from streams.core.events import Policy, VideoControl
from streams.core.first_rows import are_first
from streams.core.partitioner import partition_of
from streams.core.receipts import Refusal
from streams.errors import DeadLetter, Retry
from streams.runtime.letters import letter_of
from streams.runtime.namespace import namespace_of
from streams.runtime.ports import (
    Cluster,
    Dossiers,
    Loaded,
    LogReader,
    Outgoing,
    Producer,
    Record,
    Store,
    TopicIdentity,
)
from streams.runtime.signing import Signer, control_record
from streams.settings import Settings

_AT_ONCE: Final = 16
"""So many partitions are asked for rows side by side: below the store's connections."""


@dataclass(frozen=True, slots=True)
class Ports:
    """What the control plane works with, all started and stopped by whoever made them.

    `reader` is used by the control plane alone: it has one position a partition.
    """

    producer: Producer
    dossiers: Dossiers
    store: Store
    reader: LogReader
    cluster: Cluster
    background: Background


class ControlLog:
    """Writes signed records and dead letters, and reads videos' rows.

    `name` tells this log, in this installation, from any other one: what another was told this one
    does not know. `counted` is the least watermark of each partition at which its rows may be
    relied on; -1 where it does not matter.
    """

    def __init__(
        self, settings: Settings, signer: Signer, ports: Ports, identity: TopicIdentity
    ) -> None:
        self.partitions: Final = identity.partitions
        self.topic: Final = identity.topic
        self.namespace: Final = namespace_of(identity, signer.installation)
        self.name: Final = _name(identity, signer.installation)
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
                await self._ports.producer.send(control_record(self.topic, record, self._signer))
                for record in step
                if record is not None
            ]
            await asyncio.gather(*acks)

    async def say_policy(self, record: Policy, partitions: Iterable[int]) -> dict[int, Retry]:
        """Write a policy to partitions, side by side; return why some did not take it."""

        async def write(partition: int) -> Retry | None:
            signed = control_record(self.topic, record, self._signer, partition)
            try:
                await self._write(signed)
            except Retry as error:
                return error
            return None

        places = list(partitions)
        errors = await asyncio.gather(*map(write, places))
        return {place: error for place, error in zip(places, errors, strict=True) if error}

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

    async def _write(self, record: Outgoing) -> None:
        await (await self._ports.producer.send(record))


def now_ms() -> int:
    """Return this host's clock; nothing may depend on it but how a record's time is shown."""
    return time.time_ns() // 1_000_000


def _name(identity: TopicIdentity, installation: str) -> str:
    parts = (*map(str, identity), installation)
    return sha256("\0".join(parts).encode()).hexdigest()[:16]

"""Takes the counters of 0.1.0 over: none is lost, and none is counted again.

First each partition's meta gets the name and the keys of today, which refuses whoever still writes
as 0.1.0, a worker that wakes up late too; its rows and its watermark stay. Then each partition's
log gets the signed `upgrade` record. The workers of today go on from the watermark as 0.1.0 did and
turn every row at that record, as `core.first` says. Whatever was cut short, the same call ends.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from streams.core.counters import DIGEST_MODULUS, rows_digest
from streams.core.first_rows import load_first
from streams.core.generations import Generations
from streams.core.keys import encode
from streams.core.partition_control import Upgrade
from streams.errors import Halt
from streams.ops.installation import write_installation
from streams.runtime.installation import Installation, put_everywhere
from streams.runtime.labels import Labelled, LabelStore, take_over
from streams.runtime.namespace import (
    corrupt,
    first_namespace,
    meta_key,
    namespace_of,
    other_namespace,
    parts_of,
    video_key,
)
from streams.runtime.ports import (
    Cluster,
    Producer,
    Stored,
    TopicIdentity,
)
from streams.runtime.signing import Signer
from streams.settings import Settings

VIDEOS_MOST: Final = 1_000_000
"""Videos of a partition whose rows can turn at its record: Redis takes no longer command."""
Rows = Mapping[str, Mapping[str, bytes]]


class Takeover(Struct, frozen=True):
    """One partition of an installation of 0.1.0: what is stored of it, and as whose."""

    partition: int
    counters: Literal["0.1.0", "taken", "none"]
    watermark: int
    videos: int
    rows: int


class Migration:
    """Takes the counters of one log over into an installation."""

    def __init__(
        self,
        store: LabelStore,
        settings: Settings,
        identity: TopicIdentity,
        installation: Installation,
    ) -> None:
        self.installation = installation
        self._store: Final = store
        self._settings: Final = settings
        self._identity: Final = identity
        self._namespace: Final = namespace_of(identity, installation.id)

    async def plan(self, secret: bytes) -> list[Takeover]:
        """Return what is stored of each partition; `Halt` if that is no counters of this log.

        `secret` is that of 0.1.0. Every row is read, and its digest compared.
        """
        if self.installation.fresh:
            raise Halt(f"installation {self.installation.id} never knew 0.1.0: nothing to migrate")
        plan = []
        for partition in range(self._identity.partitions):
            labelled = await self._store.labelled(partition)
            if labelled is None:
                plan.append(Takeover(partition, "none", -1, 0, 0))
                continue
            stored = labelled.stored
            if labelled.namespace == self._namespace:
                plan.append(Takeover(partition, "taken", stored.watermark, 0, 0))
                continue
            self._require_first(partition, labelled.namespace, secret)
            rows = await self._store.scan(partition)
            _require_whole(partition, rows, stored.meta.digest)
            fields = sum(map(len, rows.values()))
            plan.append(Takeover(partition, "0.1.0", stored.watermark, len(rows), fields))
        return plan

    async def take(
        self, producer: Producer, signer: Signer, upgrade: Upgrade, tell: Callable[[int], None]
    ) -> None:
        """Do what was planned; `Halt` or `Retry` if it cannot be ended now.

        No worker of 0.1.0 may run. `tell` hears how many partitions are taken over.
        """
        partitions = range(self._identity.partitions)
        for partition in partitions:
            await self._take_over(partition, producer)
            tell(partition + 1)
        if not self.installation.upgraded:
            topic = self._settings.topic("interactions")
            await put_everywhere(producer, topic, partitions, upgrade, signer)
            await self._write(producer, replace(self.installation, upgraded=True))

    async def _take_over(self, partition: int, producer: Producer) -> None:
        before = await self._store.labelled(partition)
        if before is None or before.namespace == self._namespace:
            return
        records = _generation(before)
        if self.installation.generation != records:
            known = replace(self.installation, generation=records, lengthened=records)
            await self._write(producer, known)
        rows = await self._store.scan(partition)
        meta = before.stored.meta._replace(
            digest=f"{_digest(rows):032x}",
            keys=encode(self.installation.trust()),
            generations=Generations.of(records).encode(),
        )
        after = Labelled(self._namespace, Stored(before.stored.watermark, meta))
        await take_over(self._store, partition, before, after, "every worker of 0.1.0")

    def _require_first(self, partition: int, stored: str, secret: bytes) -> None:
        """Raise `Halt` unless a partition is one that 0.1.0 counted of this log."""
        records = parts_of(stored).get("generation", "")
        expected = first_namespace(self._identity, int(records) if records.isdigit() else 0, secret)
        if stored != expected:
            raise other_namespace(partition, stored, expected)
        if self.installation.upgraded:
            raise Halt(
                f"partition {partition} holds counters of 0.1.0, and its log was upgraded already: "
                "an old copy of Redis is back; restore a later one, or count the log again with "
                f"`streams counters rebuild --partition {partition} --yes`",
                code="namespace",
                partition=partition,
            )

    async def _write(self, producer: Producer, installation: Installation) -> None:
        await write_installation(producer, self._settings, installation)
        self.installation = installation


async def require_alone(cluster: Cluster, groups: Sequence[str]) -> None:
    """Raise `Halt` if any of these groups has members."""
    known = await cluster.groups()
    for group in (each for each in groups if each in known):
        members = await cluster.members(group)
        if members:
            hosts = ", ".join(sorted({member.host for member in members}))
            raise Halt(
                f"group {group} has members ({hosts}): stop every worker and control plane first",
                code="busy",
            )


def _generation(labelled: Labelled) -> int:
    return int(parts_of(labelled.namespace)["generation"])


def _require_whole(partition: int, rows: Rows, digest: str) -> None:
    """Raise `Halt` unless these are rows of 0.1.0, and all that it wrote."""
    if len(rows) > VIDEOS_MOST:
        raise Halt(
            f"partition {partition} has {len(rows):,} videos, and at most {VIDEOS_MOST:,} turn at "
            "once: count its log again in an empty Redis database",
            partition=partition,
        )
    total = 0
    for video, fields in rows.items():
        try:
            load_first(video, fields)
        except ValueError as error:
            raise corrupt(partition, video_key(partition, video), str(error)) from None
        total += sum(_first_digest(video, field, raw) for field, raw in fields.items())
    if f"{total % (1 << 128):032x}" != digest:
        raise corrupt(partition, meta_key(partition), "its digest is not that of the rows")


def _first_digest(video: str, field: str, raw: bytes) -> int:
    """Return the digest that 0.1.0 made of one stored row."""
    text = f"{video} {field} ".encode() + raw
    return int.from_bytes(blake2b(text, digest_size=16).digest(), "big")


def _digest(rows: Rows) -> int:
    """Return the digest of stored rows, of either release, as it is made today."""
    return rows_digest(rows) % DIGEST_MODULUS

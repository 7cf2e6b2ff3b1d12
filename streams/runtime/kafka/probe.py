"""The ends of many partitions, and the first record of spans of them, in few requests.

Two clients, because a client's isolation level is fixed: one sees where readers of committed
records wait, the other one the end of the log.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from streams.errors import Retry
from streams.runtime.kafka import unpacking
from streams.runtime.kafka.asking import last_offsets, log_bounds
from streams.runtime.kafka.background import begin, end, lost_task, successor
from streams.runtime.kafka.causes import reaching
from streams.runtime.kafka.connection import address_of, aiokafka_options
from streams.runtime.kafka.errors import PASSING
from streams.runtime.ports import Offsets, Place
from streams.runtime.probing import Ends
from streams.security import KafkaAddress

unpacking.install()

COMMITTED: Final = "read_committed"
WRITTEN: Final = "read_uncommitted"
SPAN_BYTES: Final = 64 << 10
"""Most bytes fetched of one partition: its first record is in them, unless it is larger alone."""
READ_S: Final = 20.0
WAIT_MS: Final = 100
"""A fetch that brings no record in this time may have passed markers only."""


class KafkaProbe:
    """Port `LogProbe` on a real (or embedded) Kafka."""

    def __init__(self, brokers: KafkaAddress | str, client_id: str = "streams-probe") -> None:
        self._address = address_of(brokers)
        self._makers = {
            isolation: partial(_client, self._address, client_id, isolation)
            for isolation in (COMMITTED, WRITTEN)
        }
        self._clients = {isolation: new() for isolation, new in self._makers.items()}

    async def start(self) -> None:
        """Connect; `Unreachable` if no broker answers."""
        async with reaching("connecting", self._address):
            for client in self._clients.values():
                await begin(client)

    async def stop(self) -> None:
        """Disconnect, within a few seconds. Idempotent."""
        await asyncio.gather(*map(end, self._clients.values()))

    async def ends(self, places: Collection[Place]) -> Mapping[Place, Ends]:
        """Return the bounds of the partitions that answer."""
        at = [TopicPartition(*place) for place in sorted(places)]
        try:
            # the end last: records come meanwhile, and the stable end is not above it
            bounds = await log_bounds(await self._sound(COMMITTED), at)
            ends = await last_offsets(await self._sound(WRITTEN), at)
        except Retry:
            return {}
        return {
            (one.topic, one.partition): Ends(stable.start, stable.end, ends[one])
            for one, stable in bounds.items()
            if one in ends
        }

    async def first_times(
        self, spans: Mapping[Place, Offsets], *, committed: bool = True
    ) -> Mapping[Place, int | None]:
        """Return the timestamp of the first record in each span; see the port."""
        try:
            client = await self._sound(COMMITTED if committed else WRITTEN)
        except Retry:
            return {}
        waiting = {TopicPartition(*place): span for place, span in spans.items()}
        client.assign(list(waiting))
        for at, span in waiting.items():
            client.seek(at, span.start)
        times = await _read_firsts(client, waiting)
        client.unsubscribe()
        return {(at.topic, at.partition): first for at, first in times.items()}

    async def _sound(self, isolation: str) -> AIOKafkaConsumer:
        """Return a client that runs; `Retry` if the last one does not, and no new one connects."""
        if lost_task(self._clients[isolation]) is not None:
            new = self._makers[isolation]
            self._clients[isolation] = await successor(self._clients[isolation], new, self._address)
        return self._clients[isolation]


async def _read_firsts(
    client: AIOKafkaConsumer, waiting: dict[TopicPartition, Offsets]
) -> dict[TopicPartition, int | None]:
    """Read one record of each span; a partition that is done is paused, its buffer dropped."""
    times: dict[TopicPartition, int | None] = {}
    deadline = time.monotonic() + READ_S
    while waiting and time.monotonic() < deadline:
        first = await _fetch_one(client, waiting)
        if first is None:
            times |= dict.fromkeys(await _passed(client, waiting))
        else:
            at, record = first
            inside = record.offset < waiting[at].end
            times[at] = record.timestamp if inside else None
        for at in waiting.keys() & times.keys():
            client.pause(at)
            del waiting[at]
    return times


async def _fetch_one(
    client: AIOKafkaConsumer, waiting: dict[TopicPartition, Offsets]
) -> tuple[TopicPartition, Any] | None:
    """Return the next record of any partition, None if none came; what is gone waits no more."""
    try:
        batches = await client.getmany(timeout_ms=WAIT_MS, max_records=1)
    except OffsetOutOfRangeError as error:
        for at in error.args[0]:
            waiting.pop(at, None)
        return None
    except PASSING:
        await asyncio.sleep(WAIT_MS / 1000)
        return None
    return next(((at, records[0]) for at, records in batches.items()), None)


async def _passed(
    client: AIOKafkaConsumer, waiting: Mapping[TopicPartition, Offsets]
) -> list[TopicPartition]:
    """Return those whose span was read to its end: no record is in it."""
    return [at for at, span in waiting.items() if await client.position(at) >= span.end]


def _client(address: KafkaAddress, client_id: str, isolation_level: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        **aiokafka_options(address),
        client_id=client_id,
        enable_auto_commit=False,
        auto_offset_reset="none",
        isolation_level=isolation_level,
        max_partition_fetch_bytes=SPAN_BYTES,
        fetch_max_wait_ms=WAIT_MS,
    )

"""The library for producers on asyncio: typed events in, written once and in order."""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from streams.client.destination import writable
from streams.client.intake import PublicEvent, Taken, check_event, take_event
from streams.client.outbox import Limits, Outbox, Parcel
from streams.client.producers import require_name
from streams.errors import Retry
from streams.runtime.headers import PRODUCER
from streams.runtime.kafka.producer import KafkaProducer
from streams.security import KafkaAddress, given_security
from streams.settings import SHIPPED, load_settings

_LATEST_MS: Final = 1 << 62  # an event that was taken once is not ahead of its time any more


class NotPublished(Retry):
    """Events that were given up: they may be missing, and `events` may be put again.

    Told once, by the next call of any kind. If that is a `put`, what it was given is among them.
    """

    def __init__(self, values: Sequence[bytes], why: str) -> None:
        super().__init__(f"{len(values):,} events were not written: {why}")
        self._values: Final = values

    @property
    def events(self) -> list[PublicEvent]:
        """The events, in the order of their partitions' logs."""
        return [take_event(value, _LATEST_MS, len(value)).event for value in self._values]


class Publisher:
    """Publishes events from one event loop; `name` tells operators who wrote a record.

    Every event is checked as the pipeline will check it, placed by its video, packed with others
    of its partition, and written once, through restarts of brokers too. Memory is bounded: while
    brokers are slow, `put` waits. The context manager starts and closes it. `security` is how to
    get in, in librdkafka's names, as in the table `[kafka]`, with `sasl.password` in it.
    """

    def __init__(
        self,
        brokers: str,
        name: str,
        *,
        topic_prefix: str = "",
        limits: Limits | None = None,
        security: Mapping[str, str] | None = None,
    ) -> None:
        require_name(name)
        overrides = {"brokers": brokers, "topic_prefix": topic_prefix}
        self._settings = load_settings(SHIPPED, overrides, {})
        self._address = KafkaAddress(brokers, given_security(security or {}))
        self._name = name
        self._limits = limits or Limits()
        self._given_up: deque[tuple[Parcel, Retry]] = deque()
        self._outbox: Outbox | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def start(self) -> None:
        """Connect; `Unreachable` if no broker answers, `Halt` if there is no topic."""
        patience_ms = round(self._limits.patience_s * 1_000)
        producer = KafkaProducer(self._address, self._name, patience_ms=patience_ms)
        try:
            await producer.start()
            topics = writable(await producer.describe(), self._settings)
        except BaseException:
            await producer.stop()
            raise
        headers = [(PRODUCER, self._name.encode())]
        self._outbox = Outbox(
            *(producer, self._settings, topics, self._limits),
            headers=headers,
            lost=lambda parcel, why: self._given_up.append((parcel, why)),
        )

    async def put(self, *events: PublicEvent) -> None:
        """Take events to be written; wait while there is no room for them.

        None is taken if it raises: `EventRefused` if the pipeline would refuse one, `Halt` if the
        topic of one is not there, `NotPublished` if earlier ones were given up.
        """
        checked = [self.check(event) for event in events]
        self.tell_lost(checked)
        for taken in checked:
            await self.accept(taken)

    async def flush(self) -> None:
        """Return when every event that was put is written; `NotPublished` if one was given up."""
        await self._running.flush()
        self.tell_lost()

    async def close(self) -> None:
        """Flush and disconnect; `NotPublished` as in `flush`. Idempotent."""
        if self._outbox is None:
            return
        outbox, self._outbox = self._outbox, None
        try:
            await outbox.flush()
        finally:
            await outbox.stop()
        self.tell_lost()

    def check(self, event: PublicEvent) -> Taken:
        """Return an event as `accept` takes it, or raise as `put` does. From any thread."""
        taken = check_event(event, time.time_ns() // 1_000_000, self._settings.record_bytes)
        self._running.require(taken)
        return taken

    async def accept(self, taken: Taken) -> None:
        """Take an event that was checked; wait while there is no room for it."""
        await self._running.room()
        self._running.add(taken)

    def tell_lost(self, given: Sequence[Taken] = ()) -> None:
        """Raise `NotPublished` if events were given up, these too then. From any thread."""
        values: list[bytes] = []
        why = ""
        while self._given_up:
            parcel, error = self._given_up.popleft()
            values += parcel.array.values
            why = str(error)
        if values:
            raise NotPublished([*values, *(taken.value for taken in given)], why)

    @property
    def _running(self) -> Outbox:
        if self._outbox is None:
            raise RuntimeError("the publisher is not started, or closed")
        return self._outbox

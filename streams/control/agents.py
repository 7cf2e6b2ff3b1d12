"""Faust's part of the control plane: it reads, hands over in batches, and commits what is done.

Some of what Faust offers loses events or leaves its thread behind; what is changed here says why.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple, Protocol, cast

import faust
from faust.app import BootStrategy
from faust.streams import Stream
from faust.tables.manager import TableManager
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, EventT, Message, StreamT

from streams.runtime.ports import Headers, Place, Record
from streams.security import KafkaSecurity
from streams.settings import Settings

BATCH: Final = 200
"""Records of one topic that are handed over at once."""
BATCH_WITHIN_S: Final = 0.02
"""Longest time that a record waits for company."""
LAST_COMMIT_S: Final = 2.0
"""Longest time that the last commit may take."""
LEAVE_S: Final = 3.0
"""Longest time that leaving the consumer group may take."""
NOT_YET: Final = "it does not read yet"

Handler = Callable[[Sequence[Record]], Awaitable[bool]]
"""Handles records of one topic in order; False: not done, do not commit and read no further."""


Positions = Callable[[], Awaitable[Mapping[Place, int]]]
"""Says from where to read each topic; what it does not name begins where the group committed."""


class Background(Protocol):
    """What runs behind the Kafka client that Faust reads with: only a driver knows its tasks."""

    def lost_task(self, client: Any) -> str | None:  # the client ships no types
        """Return which task of a started client is gone, and why; None if all are well."""

    async def end(self, client: Any) -> None:
        """Stop a client within a few seconds, and whatever its own stop leaves running."""


def new_app(
    settings: Settings,
    handlers: Mapping[str, Handler],
    positions: Positions,
    background: Background,
) -> "FaustApp":
    """Return a Faust app with one agent per topic; `await app.start()` begins reading.

    Everything a handler has not returned True for is read again after the next start. What it
    committed serves lag tools only.
    """
    app = _configured(settings)
    app.positions = positions
    app.background = background
    for name, handler in handlers.items():
        _add_agent(app, settings.topic(name), handler)
    return app


def group_of(settings: Settings) -> str:
    """Return the control plane's consumer group."""
    return settings.control_group


def _add_agent(app: "FaustApp", name: str, handler: Handler) -> None:
    async def agent(stream: StreamT[bytes]) -> None:
        # Batches without acknowledgement. `noack` too: when `noack_take` ends it turns Faust's own
        # acknowledgement on again while a last event may still be on its way.
        unacknowledged = cast(Stream[EventT[bytes]], cast(Stream[bytes], stream).noack())
        async for batch in unacknowledged.noack_take(BATCH, within=BATCH_WITHIN_S):
            messages = [event.message for event in batch]
            if not await handler([_received(message) for message in messages]):
                return
            for message in messages:
                cast(_Consumer, app.consumer).handled(message)

    topic = app.topic(
        name, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw"
    )
    app.agent(topic, name=f"control-{name}", concurrency=1)(agent)


def _configured(settings: Settings) -> "FaustApp":
    session_s = settings.session_timeout_ms / 1000
    return FaustApp(
        group_of(settings),
        broker=[f"aiokafka://{server}" for server in settings.brokers.servers],
        broker_credentials=_credentials(settings.brokers.security),
        broker_client_id=settings.client("control"),
        autodiscover=False,
        web_enabled=False,
        # topics are made by `streams topics apply`, never on the way
        topic_allow_declare=False,
        topic_disable_leader=True,
        # an event in work is not committed, so there is nothing to wait for
        stream_wait_empty=False,
        broker_commit_interval=1.0,
        broker_session_timeout=session_s,
        broker_heartbeat_interval=session_s / 3,
        consumer_auto_offset_reset="earliest",
        TableManager=_Tables,
    )


def _credentials(security: KafkaSecurity) -> faust.auth.Credentials | None:
    context = security.context()
    if security.has_login:
        return faust.SASLCredentials(
            username=security.username,
            password=security.password.reveal,
            mechanism=security.mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


class _Consumer(driver.Consumer):
    """Commits what was `handled`; what Faust wants acknowledged on its own account stays."""

    def ack(self, message: Message) -> bool:  # noqa: ARG002 - Faust's signature
        return False

    def handled(self, message: Message) -> None:
        super().ack(message)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Read from where the dossiers hold the topics: commits may be ahead of a Redis.

        What they hold beyond the commits was read apart from the group: committed now, as lag tools
        would otherwise wait for it until the next record.
        """
        committed: Mapping[TP, int] = await super().seek_to_committed()
        positions = await cast(FaustApp, self.app).positions()
        held = {
            tp: positions[tp.topic, tp.partition]
            for tp in committed
            if (tp.topic, tp.partition) in positions
        }
        await self._thread.seek_wait(held)
        beyond = {tp: end for tp, end in held.items() if end > (committed[tp] or 0)}
        if beyond:
            await self._thread.commit(beyond)
        return {**committed, **held}

    @property
    def thread_loop(self) -> asyncio.AbstractEventLoop:
        return self._thread.thread_loop

    def lost_task(self) -> str | None:
        """Return which task of the client is gone, and why; None if all are well."""
        client = self._thread._consumer  # noqa: SLF001 - Faust has no other way to it
        return None if client is None else cast(FaustApp, self.app).background.lost_task(client)

    async def on_stop(self) -> None:
        # aiokafka repeats a commit until a broker answers; what is not committed comes again
        with suppress(TimeoutError):
            await asyncio.wait_for(super().on_stop(), LAST_COMMIT_S)

    def _new_consumer_thread(self) -> "_Thread":
        return _Thread(self, loop=self.loop, beacon=self.beacon)


class _Thread(driver.AIOKafkaConsumerThread):
    """Reads only what is committed, and ends also while brokers are down."""

    def _create_worker_consumer(self, transport: driver.Transport) -> Any:
        consumer: Any = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # noqa: SLF001 - Faust has no setting
        return consumer

    async def stop(self) -> None:
        """Stop, also where a start was cancelled before this thread began to run.

        Faust's own takes that for a thread that was never started; it would begin, and never end.
        """
        if self._thread is None or self._started.is_set():
            await super().stop()
        else:
            self._stopped_set()
            await asyncio.to_thread(self._thread.stop)

    def close(self) -> None:
        """Leave it to `on_thread_stop`; Faust asks for it when the group rebalances at a stop.

        Its own would close the client in the loop of another thread, which fails, and count it as
        closed: what stops it in its own thread then leaves its connections open.
        """

    async def on_thread_stop(self) -> None:
        try:
            await asyncio.wait_for(super().on_thread_stop(), LEAVE_S)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - whatever a task failed with
            # Without a broker aiokafka waits for an answer, or lets out the cancellation of its
            # own fetch, and at a task that failed it stops halfway; each would leave this thread
            # and the process behind.
            if self._consumer is not None:
                await cast(FaustApp, self.app).background.end(self._consumer)


class _Transport(driver.Transport):
    Consumer = _Consumer


class _Tables(TableManager):
    """There are none, so no second is spent waiting for them to be added."""

    async def on_start(self) -> None:
        await self._update_channels()
        await self.recovery.start()


class _Boot(BootStrategy):
    """Writes nothing: records go through the port `Producer`."""

    enable_kafka_producer = False


class FaustApp(faust.App):
    """A Faust app without tables, so without a folder of its own."""

    BootStrategy = _Boot
    positions: Positions
    background: Background
    _reads = False

    @property
    def ended(self) -> str | None:
        """Why nothing is read, or not yet; None while Faust reads."""
        if not self._reads:
            return NOT_YET
        if self.crashed:
            return f"Faust gave up: {self.crash_reason}"
        lost = None if self._consumer is None else cast(_Consumer, self._consumer).lost_task()
        return None if lost is None else f"Faust reads no more: {lost}"

    def _create_directories(self) -> None:
        pass

    async def start(self) -> None:
        """Start all that reads and return when it does."""
        await super().start()
        self._reads = True

    async def stop(self) -> None:
        """Stop, and close the event loop of a consumer thread that never came to run."""
        await super().stop()
        if self._consumer is not None:
            loop = cast(_Consumer, self._consumer).thread_loop
            if not (loop.is_running() or loop.is_closed()):
                loop.close()

    def _new_transport(self) -> _Transport:
        return _Transport(self.conf.broker_consumer, self, loop=self.loop)


class Received(NamedTuple):
    """A record as Faust brought it, in the shape of the port `Record`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def _received(message: Message) -> Received:
    return Received(
        message.topic,
        message.partition,
        message.offset,
        round(message.timestamp * 1000),  # Faust has seconds
        message.key,
        message.value,
        tuple(cast(Headers, message.headers or ())),
    )

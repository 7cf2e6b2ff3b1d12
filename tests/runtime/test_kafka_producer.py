"""What the producer asks of the brokers for each record, and what becomes of a lost batch."""

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import InvalidTimestampError

from streams.errors import Retry
from streams.runtime.ending import end
from streams.runtime.kafka import KafkaProducer, producer
from streams.runtime.ports import Outgoing


class Library:
    """One client of aiokafka's, whose acknowledgements are the test's to give."""

    def __init__(self) -> None:
        self.sent: list[tuple[Outgoing, asyncio.Future[object]]] = []
        self.stopped = False

    async def start(self) -> None: ...

    async def send(self, record: Outgoing) -> asyncio.Future[object]:
        self.sent.append((record, asyncio.get_running_loop().create_future()))
        return self.sent[-1][1]


class Connecting:
    """What a client waits for before it has connected."""

    def __init__(self) -> None:
        self.begun, self.may = asyncio.Event(), asyncio.Event()

    async def start(self) -> None:
        self.begun.set()
        await self.may.wait()


@pytest.fixture
async def libraries(monkeypatch: pytest.MonkeyPatch) -> Sequence[Library]:
    """Every client that a producer makes, in their order."""
    made: list[Library] = []

    class Client(producer._Client):
        def __init__(self, *_: object) -> None:
            self.spent = False
            self._pending = set()
            self.library = Library()
            made.append(self.library)

        async def start(self) -> None:
            await self.library.start()

        async def stop(self) -> None:
            self.library.stopped = True
            self.fail_pending("closed")

        async def send(self, record: Outgoing) -> asyncio.Future[object]:
            return await self.library.send(record)

    monkeypatch.setattr(producer, "_Client", Client)
    return made


async def test_a_record_is_acknowledged_by_all_replicas_in_sync_and_written_once() -> None:
    made = KafkaProducer("127.0.0.1:1")
    client = made._client._client
    assert client._sender._acks == -1
    assert client._txn_manager is not None
    await made.stop()


async def test_a_batch_is_tried_with_the_same_numbers_for_as_long_as_its_patience() -> None:
    for made, seconds in ((KafkaProducer("unused"), 30), (patient(), 120)):
        client = made._client._client
        assert client._message_accumulator._batch_ttl == seconds
        assert client._sender._request_timeout_ms == 30_000
        builder = client._message_accumulator.create_builder()
        place = TopicPartition("t", 0)
        assert client._message_accumulator._append_batch(builder, place)._ttl == seconds
        await made.stop()


def patient() -> KafkaProducer:
    return KafkaProducer("unused", patience_ms=120_000)


async def test_a_renewal_fails_what_was_sent_behind_a_loss_before_anything_new_is_sent(
    libraries: Sequence[Library],
) -> None:
    made = KafkaProducer("unused")
    assert not await made.renew()
    lost = await made.send(Outgoing("t", b"1"))
    waiting = await made.send(Outgoing("t", b"2"))
    libraries[0].sent[0][1].set_exception(TimeoutError("no leader"))
    with pytest.raises(Retry, match="no leader"):
        await lost
    assert await asyncio.gather(made.renew(), made.renew()) == [True, True]
    assert len(libraries) == 2
    with pytest.raises(Retry, match="closed"):
        await waiting
    assert not libraries[1].sent
    assert not await made.renew()


async def test_after_a_lost_batch_the_next_record_goes_through_a_new_client(
    libraries: Sequence[Library],
) -> None:
    made = KafkaProducer("unused")
    lost = await made.send(Outgoing("t", b"1"))
    waiting = await made.send(Outgoing("t", b"2"))
    libraries[0].sent[0][1].set_exception(TimeoutError("no leader"))
    with pytest.raises(Retry, match="no leader"):
        await lost
    again = await made.send(Outgoing("t", b"1"))
    assert libraries[0].stopped
    with pytest.raises(Retry, match="closed"):
        await waiting
    libraries[1].sent[0][1].set_result(None)
    await again
    assert [record.value for record, _ in libraries[1].sent] == [b"1"]


async def test_senders_at_once_share_the_one_new_client(libraries: Sequence[Library]) -> None:
    made = KafkaProducer("unused")
    lost = await made.send(Outgoing("t", b"0"))
    libraries[0].sent[0][1].cancel()
    with pytest.raises(Retry, match="cancelled"):
        await lost
    await asyncio.gather(*(made.send(Outgoing("t", b"%d" % number)) for number in range(9)))
    assert len(libraries) == 2
    assert [record.value for record, _ in libraries[1].sent] == [b"%d" % n for n in range(9)]


async def test_a_clock_that_is_too_far_off_is_named(libraries: Sequence[Library]) -> None:
    made = KafkaProducer("unused")
    refused = await made.send(Outgoing("t", b"1"))
    libraries[0].sent[0][1].set_exception(InvalidTimestampError())
    with pytest.raises(Retry, match="set the clock of this host"):
        await refused


@pytest.fixture
def connecting(libraries: Sequence[Library], monkeypatch: pytest.MonkeyPatch) -> Connecting:
    """A client that connects when the test lets it."""
    made = Connecting()
    monkeypatch.setattr(Library, "start", lambda _: made.start())
    return made


async def renewing(
    libraries: Sequence[Library], connecting: Connecting
) -> tuple[KafkaProducer, asyncio.Task[bool]]:
    """Return a producer whose client is spent, and its task while it connects another one."""
    made = KafkaProducer("unused")
    lost = await made.send(Outgoing("t", b"1"))
    libraries[0].sent[0][1].set_exception(TimeoutError("no leader"))
    with pytest.raises(Retry, match="no leader"):
        await lost
    task = asyncio.create_task(made.renew())
    await connecting.begun.wait()
    return made, task


async def test_whoever_is_cancelled_while_a_new_client_connects_leaves_none_behind(
    libraries: Sequence[Library], connecting: Connecting
) -> None:
    _, connects = await renewing(libraries, connecting)
    await end(connects)
    assert [one.stopped for one in libraries] == [True, True]


async def test_a_new_client_that_connects_after_the_stop_is_stopped_too(
    libraries: Sequence[Library], connecting: Connecting
) -> None:
    made, connects = await renewing(libraries, connecting)
    await made.stop()
    connecting.may.set()
    await connects
    assert [one.stopped for one in libraries] == [True, True]

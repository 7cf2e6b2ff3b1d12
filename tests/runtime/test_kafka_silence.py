"""Brokers that keep connections open and answer nothing, or little by little."""

import asyncio
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest
from aiokafka.protocol.group import JoinGroupRequest
from aiokafka.structs import BrokerMetadata
from kit.patience import PATIENCE_S

from streams.runtime.kafka import silence

JOINING = (JoinGroupRequest.API_KEY, 0, 2)
VERSIONS = struct.pack(">hihhh", 0, 1, *JOINING)
"""What a broker says that can do nothing but groups."""
Answer = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(silence, "LOOK_S", 0.05)
    monkeypatch.setattr(silence, "LOOKS", 4)
    monkeypatch.setattr(silence, "CONNECT_S", 0.3)


async def at_once(writer: asyncio.StreamWriter, answer: bytes) -> None:
    writer.write(answer)


async def never(_writer: asyncio.StreamWriter, _answer: bytes) -> None:
    pass


async def byte_by_byte(writer: asyncio.StreamWriter, answer: bytes) -> None:
    for number in range(len(answer)):
        writer.write(answer[number : number + 1])
        await asyncio.sleep(0.05)


@asynccontextmanager
async def broker(*answers: Answer) -> AsyncIterator[int]:
    """Answer each question of a connection in its own way; yield the port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            number = (await reader.readexactly(size))[4:8]
            await answer(writer, struct.pack(">i", 4 + len(VERSIONS)) + number + VERSIONS)
        await reader.read()
        writer.close()
        gone.set()

    gone = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()[1]
        await gone.wait()
    finally:
        server.close()


@asynccontextmanager
async def watched(*answers: Answer) -> AsyncIterator[AIOKafkaConnection]:
    """Connect to a broker, as a client does whose silent connections are cut."""
    async with broker(at_once, *answers) as port:
        client = AIOKafkaClient()
        client._sync_task = asyncio.create_task(asyncio.sleep(60))
        connection = await create_conn("127.0.0.1", port)
        client._conns[1, 0] = connection
        silence.cut_silent(client)
        try:
            yield connection
        finally:
            client._sync_task.cancel()
            connection.close()


async def test_what_a_silent_broker_owes_is_not_waited_for() -> None:
    async with watched(never) as connection:
        with pytest.raises(KafkaConnectionError, match="closed"):
            async with asyncio.timeout(PATIENCE_S):
                await connection.send(ApiVersionRequest())


async def test_an_answer_that_comes_byte_by_byte_is_waited_for() -> None:
    async with watched(byte_by_byte) as connection:
        answer = await connection.send(ApiVersionRequest())
        assert answer.api_versions == [JOINING]


async def test_whoever_joins_a_group_waits_for_the_others() -> None:
    async with watched(never) as connection:
        joining = JoinGroupRequest("group", 3_000, 30_000, "", "", "consumer", [])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await connection.send(joining)
        assert connection.connected()


async def test_a_connection_that_owes_nothing_is_kept() -> None:
    async with watched(at_once) as connection:
        await asyncio.sleep(0.6)
        assert (await connection.send(ApiVersionRequest())).api_versions == [JOINING]


async def test_nobody_waits_long_to_connect_to_a_broker_that_says_nothing() -> None:
    async with broker(never) as port, asyncio.timeout(PATIENCE_S):
        client = AIOKafkaClient()
        client._sync_task = asyncio.create_task(asyncio.sleep(60))
        client.cluster._brokers[1] = BrokerMetadata(1, "127.0.0.1", port, None)
        silence.cut_silent(client)
        assert not await client.ready(1)
        client._sync_task.cancel()

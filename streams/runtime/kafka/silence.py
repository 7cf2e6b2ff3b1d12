"""Brokers that stand still: whoever waits for one is let go within seconds.

A broker that is frozen keeps its connections open and answers nothing; its host still accepts new
ones. aiokafka waits for an answer as long as the longest may take, 30 to 40 s, asks the next broker
for metadata only then, and connects to one broker at a time: so what one broker does not answer,
the partitions of all others wait for. Hence a connection that owes an answer while nothing moves on
it is cut, and what waited for it is asked anew, of whoever leads by then.

An answer that comes in pieces moves, however thin the link. Whoever joins a group is answered when
all members have come.
"""

import asyncio
from typing import Any, Final

from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.protocol.group import JoinGroupRequest, SyncGroupRequest

LOOK_S: Final = 0.5
LOOKS: Final = 8
"""So many looks in a row without movement are silence: one whose own process was frozen in between
has looked once in all that time."""
CONNECT_S: Final = 3.0
"""Longest time that connecting to one broker may take: others wait to be connected to."""
_PATIENT: Final = (JoinGroupRequest.API_KEY, SyncGroupRequest.API_KEY)


def cut_silent(client: AIOKafkaClient) -> None:
    """Have a started client wait for no broker that stands still; it ends with the client."""
    _bound_connecting(client)
    watching = asyncio.create_task(_watch(client), name="silence")
    client._sync_task.add_done_callback(lambda _task: watching.cancel())  # noqa: SLF001 - it lives as long


async def _watch(client: AIOKafkaClient) -> None:
    still: dict[AIOKafkaConnection, tuple[Any, int]] = {}
    while True:
        await asyncio.sleep(LOOK_S)
        before, still = still, {}
        for connection in list(client._conns.values()):  # noqa: SLF001 - there is no public way
            if (owes := _owed(connection)) is None:
                continue
            known, looks = before.get(connection, (None, 0))
            still[connection] = owes, looks + 1 if owes == known else 0
            if still[connection][1] >= LOOKS:
                connection.close(reason=CloseReason.CONNECTION_TIMEOUT)


def _owed(connection: AIOKafkaConnection) -> tuple[int, int, int] | None:
    """Return the answer that is owed and how much of question and answer is there, or None."""
    if not connection._requests or connection._reader is None:  # noqa: SLF001 - no public way
        return None
    number, request, _ = connection._requests[0]  # noqa: SLF001
    if getattr(request, "API_KEY", None) in _PATIENT:
        return None
    came = len(connection._reader._buffer)  # noqa: SLF001 - asyncio counts it nowhere else
    return number, came, connection._writer.transport.get_write_buffer_size()  # noqa: SLF001


def _bound_connecting(client: AIOKafkaClient) -> None:
    connect = client._get_conn  # noqa: SLF001 - there is no public way

    async def bounded(node: Any, **more: Any) -> AIOKafkaConnection | None:
        try:
            async with asyncio.timeout(CONNECT_S):
                return await connect(node, **more)
        except TimeoutError:
            client.force_metadata_update()  # as aiokafka does where it cannot connect
            return None

    client._get_conn = bounded  # noqa: SLF001

"""What runs behind an aiokafka consumer, and may end there without a word.

A request that fails with anything but a `KafkaError` (see `errors.PASSING`) ends the task that
made it: the one that keeps the metadata, fetches, beats the heart or keeps the place in the group.
The client never starts that task again: from then on it learns of no new leader, reads nothing, or
is dropped by its group, in silence. So whoever holds a client asks for a `lost_task` before each
use, and puts a `successor` in its place.
"""

import asyncio
from collections.abc import Callable
from traceback import walk_tb
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.conn import AIOKafkaConnection
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.protocol.group import LeaveGroupRequest

from streams.runtime.kafka.causes import reaching
from streams.runtime.kafka.errors import RECONNECT_S, within_stop
from streams.security import KafkaAddress

_METADATA: Final = "_sync_task"
_ENDING: Final = ("_heartbeat_task", "_commit_refresh_task")
"""These end in good order when the group rebalances, and begin anew after it."""


def lost_task(client: AIOKafkaConsumer) -> str | None:
    """Return which task of a client once started is gone, and why; None if all are well."""
    tasks = _tasks(client)
    if _METADATA not in tasks:
        return "all tasks were stopped"
    for name, task in tasks.items():
        if task.done():
            error = error_of(task)
            if error is not None or name not in _ENDING:
                return f"the {name.strip('_').replace('_', ' ')} ended: {error!r}"
    return None


async def begin(client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient) -> None:
    """Start a client; where that is cancelled, leave no connection open.

    aiokafka forgets the one by which it first asks for metadata if nobody waits for the answer.
    """
    try:
        await client.start()
    except BaseException as error:
        for frame, _ in walk_tb(error.__traceback__):
            asked = frame.f_locals.get("bootstrap_conn")
            if isinstance(asked, AIOKafkaConnection):
                asked.close()
        raise


async def end(client: AIOKafkaConsumer) -> None:
    """Stop a client within a few seconds, and whatever its own stop leaves running.

    That one ends halfway where a task has failed or hangs; and a heart that goes on beating for
    nobody would keep partitions from all other members.
    """
    await within_stop(_leave(client))
    await within_stop(client.stop())
    for task in _tasks(client).values():
        task.cancel()
    await disconnect(client._client)  # noqa: SLF001 - there is no public way


async def _leave(client: AIOKafkaConsumer) -> None:
    """Have the group know at once that its member goes; one with a name of its own comes back.

    aiokafka's own stop first waits for others to join, and for longer than a stop may take. And on
    the connection by which it asked to join, brokers read nothing more until they have answered
    that; whoever has not left by then is waited for by all, a session long.
    """
    group = client._coordinator  # noqa: SLF001 - there is no public way
    if not isinstance(group, GroupCoordinator):
        return
    group._coordination_task.cancel()  # noqa: SLF001
    await asyncio.wait([group._coordination_task])  # noqa: SLF001
    if group.member_id and group._group_instance_id is None:  # noqa: SLF001
        request = LeaveGroupRequest(group.group_id, group.member_id)
        await client._client.send(group.coordinator_id, request)  # noqa: SLF001
        group.reset_generation()  # nothing is left to be told


async def disconnect(client: AIOKafkaClient) -> None:
    """Close the connections of a client also where its own `close` stops: at a failed task."""
    for connection in client._conns.values():  # noqa: SLF001
        connection.close()
    await within_stop(client.close())


async def successor(
    lost: AIOKafkaConsumer, new: Callable[[], AIOKafkaConsumer], address: KafkaAddress
) -> AIOKafkaConsumer:
    """End a client that lost a task and return a new one, started; `Retry` while none connects.

    It may be called again with the same lost one.
    """
    await end(lost)
    fresh = new()
    try:
        async with reaching("connecting again", address):
            async with asyncio.timeout(RECONNECT_S):
                await begin(fresh)
    except BaseException:
        await end(fresh)
        raise
    return fresh


def error_of(task: "asyncio.Task[Any]") -> BaseException | None:
    """Return what ended a task: what aiokafka wrapped, if it wrapped it."""
    if task.cancelled():
        return asyncio.CancelledError()
    error = task.exception()
    return error if error is None else error.__cause__ or error


def _tasks(client: AIOKafkaConsumer) -> dict[str, "asyncio.Task[Any]"]:
    """Return the tasks of a client by the names that aiokafka gives them."""
    holders = (client._client, client._fetcher, client._coordinator)  # noqa: SLF001 - no other way
    return {
        name: task
        for holder in holders
        if holder is not None
        for name, task in vars(holder).items()
        if isinstance(task, asyncio.Task)
    }

"""How a member of a group keeps its partitions: an assignor that moves few, a name of its own."""

import time
from collections.abc import Callable
from typing import Any

from aiokafka import AIOKafkaConsumer
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor


def sticky_assignor() -> Any:  # a class of aiokafka's, which ships no types
    """Return an assignor of its own for one member: aiokafka's remembers in its class.

    On the wire it bears the name of the one that it took the place of: in one group there may be
    members that know only that one, and whichever leads deals for all. Two assignors would not do:
    aiokafka joins a group once for each.
    """
    return type("Sticky", (StickyPartitionAssignor,), {"name": RoundRobinPartitionAssignor.name})


def watch_name(client: AIOKafkaConsumer, session_s: float, taken: Callable[[], object]) -> None:
    """Call `taken`, once, when another member joins under the name of a started client.

    Brokers only say then that they know the member no more. If they heard from it less than a
    session ago, somebody else is it now; joining again would take the name back, and so on for
    ever. So the client joins no more.
    """
    coordinator = client._coordinator  # noqa: SLF001 - there is no public way
    beat, heard_at = coordinator._do_heartbeat, time.monotonic()  # noqa: SLF001

    async def watched() -> bool:
        nonlocal heard_at
        is_known: bool = await beat()
        if is_known:
            heard_at = time.monotonic()
        elif not coordinator.member_id and time.monotonic() - heard_at < session_s:
            coordinator._coordination_task.cancel()  # noqa: SLF001
            taken()
        return is_known

    coordinator._do_heartbeat = watched  # noqa: SLF001

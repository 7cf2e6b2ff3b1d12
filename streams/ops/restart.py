"""Count one partition anew and leave the others as they are."""

from streams.errors import Halt
from streams.runtime.ports import Store


async def restart_partition(store: Store, partition: int, partitions: int, namespace: str) -> int:
    """Drop the counters of one partition; return how many keys that were.

    Its next owner counts its log from the beginning. No worker may own it meanwhile. `Halt` if
    there is no such partition.
    """
    if not 0 <= partition < partitions:
        raise Halt(f"there is no partition {partition}: the log has 0 to {partitions - 1}")
    keys = await store.erase(partition)
    await store.begin(partition, namespace)
    return keys

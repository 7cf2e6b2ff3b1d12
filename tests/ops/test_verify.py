"""Verification on the twins: what it reads, and whether it says how far it is."""

from kit.events import synthetic_log
from kit.keys import INSTALLATION, SPELLING
from kit.twins import LOG, World, counted

from streams.ops.verify import Verifier, log_size, verify
from streams.runtime.memory import MemoryReader


async def test_it_tells_how_many_records_it_has_read() -> None:
    world = World(partitions=2)
    logs = [synthetic_log(1, 8, 300, partition, 2) for partition in range(2)]
    world.put([one for log in logs for one in log])
    await counted(world)
    reader, identity = MemoryReader(world.log), world.log.identity(LOG)
    heard: list[int] = []
    verifier = Verifier(world.settings, INSTALLATION, SPELLING)
    await verify(reader, world.store, identity, world.namespace, verifier, heard.append)
    assert heard == sorted(heard)
    assert heard[-1] == sum(map(len, logs))


async def test_the_size_of_a_log_is_what_is_still_there() -> None:
    world = World(partitions=2)
    world.put(synthetic_log(1, 8, 300, 0, 2))
    whole = world.end() + 1
    world.log.forget(LOG, 0, 5)
    assert await log_size(MemoryReader(world.log), world.log.identity(LOG)) == whole - 5


async def test_a_partition_without_a_leader_costs_its_own_comparison_only() -> None:
    world = World(partitions=2)
    world.put([one for p in range(2) for one in synthetic_log(1, 8, 300, p, 2)])
    await counted(world)
    world.log.leaderless.add((LOG, 1))
    reader, identity = MemoryReader(world.log), world.log.identity(LOG)
    verifier = Verifier(world.settings, INSTALLATION, SPELLING)
    result = await verify(reader, world.store, identity, world.namespace, verifier)
    assert (result.partitions, result.differences, result.unanswered) == (1, 0, [1])
    assert result.checked > 0

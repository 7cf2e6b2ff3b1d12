"""A partition that leaves or halts: it takes nothing more, and the others go on."""

from kit.events import synthetic_log
from kit.twins import LOG, Life, World


async def test_what_was_revoked_takes_no_more_records() -> None:
    world = World()
    world.put(synthetic_log(seed=3, videos=4, events=200))
    life = await Life(world).start()
    await life.until(lambda: bool(life.worker.positions()))
    owned = life.worker._owned[0]
    await life.worker.on_revoked([0])
    folded, end = owned.folded, world.end()
    owned.backlog.clear()
    more = synthetic_log(seed=4, videos=4, events=20)
    owned.add([one._replace(offset=end + 1 + n) for n, one in enumerate(more)])
    await owned.work()
    assert owned.released
    assert owned.folded == folded
    assert life.worker.positions() == {}
    await life.stop()


async def test_a_position_that_left_the_log_halts_its_partition_and_the_others_go_on() -> None:
    world = World(partitions=2)
    logs = [
        synthetic_log(seed=5 + p, videos=4, events=100, partition=p, partitions=2) for p in (0, 1)
    ]
    for records in logs:
        world.put(records[:50])
    life = await Life(world).start()
    await life.until(world.caught_up)
    world.log.forget(LOG, 0, world.end(0) + 10)
    world.put(logs[1][50:])
    await life.until(lambda: bool(life.worker.halted) and world.watermark(1) == world.end(1))
    assert [*life.worker.halted] == [0]
    assert world.watermark(1) == world.end(1)
    await life.stop()

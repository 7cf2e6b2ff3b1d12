"""For how long a log has to keep records: two intervals between snapshots, and the window."""

from pathlib import Path

from kit.events import synthetic_log
from kit.twins import LOG, World, counted

from streams.ops.provable import Reach, ReachProbe, check_kept, check_provable, check_reach
from streams.runtime.memory import MemoryCluster, MemoryReader

HOUR = 3_600_000


def probe_of(world: World, folder: Path) -> ReachProbe:
    """Return what tells how far a world's log reaches back."""
    snapshots = world.counted_log(folder).tools.snapshots
    assert snapshots is not None
    cluster, reader = MemoryCluster(world.log), MemoryReader(world.log)
    return ReachProbe(cluster, reader, snapshots, world.log.identity(LOG), 40)


async def test_what_is_needed_are_two_intervals_and_the_window(tmp_path: Path) -> None:
    world = World()
    log = synthetic_log(events=600)
    world.put(log)
    await counted(world)
    world.log.configs(LOG)["retention.ms"] = str(100 * HOUR)
    now = log[-1].timestamp
    probe = probe_of(world, tmp_path)
    assert (await check_provable(probe, now)).message.startswith("none was made yet")
    await world.snapshot(tmp_path, at_ms=now - 30 * HOUR)
    assert (await probe.look(now)).interval_ms == 0, "nothing came since"
    world.put([log[-1]._replace(offset=log[-1].offset + 1)])
    reach = await probe.look(now)
    first = next(one for one in log if one.offset >= (log[-1].offset + 2) // 40 * 40 - 120)
    assert reach == Reach(30 * HOUR, now - first.timestamp, 100 * HOUR)
    assert (await check_provable(probe, now)).status == "ok"
    late = await check_provable(probe, now + 25 * HOUR)
    assert late.status == "warn"
    assert "2 intervals of 55 h" in late.message


async def test_without_a_snapshot_the_interval_is_as_long_as_the_log(tmp_path: Path) -> None:
    world = World()
    log = synthetic_log(events=300)
    world.put(log)
    await counted(world)
    reach = await probe_of(world, tmp_path).look(log[0].timestamp + HOUR)
    assert (reach.interval_ms, reach.kept_ms, reach.ratio) == (HOUR, None, 0.0)


def test_a_log_that_keeps_all_needs_nothing_more() -> None:
    assert check_reach(Reach(HOUR, HOUR, None), made=True).status == "ok"
    assert check_reach(Reach(HOUR, 0, 2 * HOUR), made=True).status == "ok"
    assert check_reach(Reach(HOUR, 1, 2 * HOUR), made=True).status == "warn"


def test_a_log_that_loses_its_beginning_without_snapshots_is_a_warning() -> None:
    (check,) = check_kept({"retention.ms": str(168 * HOUR)})
    assert (check.status, "behind 168 h" in check.message) == ("warn", True)
    assert not check_kept({"retention.ms": "-1"})

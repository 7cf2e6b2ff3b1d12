from kit.lagging import LaggingGroup, looked
from prometheus_client.core import Sample

from streams.ops.lag_metrics import LagMetrics
from streams.ops.lag_status import WINDOW
from streams.runtime.ports import HaltNote

ZERO = {"cluster_name": "c", "group": "g", "topic": "t", "partition": "0"}
ONE = ZERO | {"partition": "1"}


async def shown(bench: LaggingGroup) -> list[Sample]:
    metrics = LagMetrics("c")
    metrics.show(await bench.look())
    return [sample for family in metrics.registry.collect() for sample in family.samples]


def series(samples: list[Sample], name: str) -> list[tuple[dict[str, str], float]]:
    return [(sample.labels, sample.value) for sample in samples if sample.name == name]


async def test_the_de_facto_names_tell_offsets_lag_and_seconds() -> None:
    bench = LaggingGroup()
    bench.write(4)
    bench.now_ms += 6_000
    bench.write(3, partition=1)
    bench.commit(1)
    samples = await shown(bench)
    assert series(samples, "kafka_consumergroup_group_offset") == [(ZERO, 1), (ONE, 0)]
    assert series(samples, "kafka_consumergroup_group_lag") == [(ZERO, 3), (ONE, 3)]
    assert series(samples, "kafka_consumergroup_group_lag_seconds") == [(ZERO, 7), (ONE, 1)]
    group = {"cluster_name": "c", "group": "g"}
    assert series(samples, "kafka_consumergroup_group_max_lag") == [(group, 3)]
    assert series(samples, "kafka_consumergroup_group_max_lag_seconds") == [(group, 7)]
    topic = group | {"topic": "t"}
    assert series(samples, "kafka_consumergroup_group_topic_sum_lag") == [(topic, 6)]
    log = {"cluster_name": "c", "topic": "t", "partition": "0"}
    assert series(samples, "kafka_partition_latest_offset")[0] == (log, 4)
    assert series(samples, "kafka_partition_earliest_offset")[0] == (log, 0)


async def test_each_partition_has_one_status() -> None:
    bench = LaggingGroup()
    bench.write(9)
    await bench.store.note_halt(1, HaltNote("data_loss", "gone", 1))
    await looked(bench, range(WINDOW), writing=2)
    assert series(await shown(bench), "streams_consumer_lag_status") == [
        (ZERO | {"status": "WARN"}, 1),
        (ONE | {"status": "HALTED"}, 1),
    ]


async def test_what_is_not_known_has_no_series() -> None:
    bench = LaggingGroup()
    bench.write(2)
    bench.log.leaderless.add(("t", 1))
    samples = await shown(bench)
    assert series(samples, "kafka_consumergroup_group_lag") == [(ZERO, 2)]
    assert series(samples, "streams_consumer_lag_catchup_seconds") == []
    assert series(samples, "streams_leaderless_partitions") == [({"cluster_name": "c"}, 1)]


async def test_what_is_gone_is_not_shown_any_more() -> None:
    bench = LaggingGroup()
    bench.write(2)
    assert series(await shown(bench), "kafka_consumergroup_group_lag")
    bench.log.forget_group("g")
    assert series(await shown(bench), "kafka_consumergroup_group_lag") == []


def test_before_the_first_look_nothing_is_told() -> None:
    families = list(LagMetrics("c").registry.collect())
    assert {sample.value for family in families for sample in family.samples} == {0.0}

"""Every exported alert fires on the state that it is for, and on no healthy one."""

from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy

import pytest
import yaml
from kit.command import streams
from kit.control import NOW, RULES, Office, Process
from kit.events import impression, record, synthetic_log
from kit.keys import SIGNER
from kit.lagging import LaggingGroup, looked
from kit.twins import LOG, Life, World
from msgspec.structs import replace
from prometheus_client import CollectorRegistry
from prometheus_client.core import Sample

from streams.control.creators import CreatorMetrics
from streams.control.metrics import ControlMetrics
from streams.control.shares.gauges import ShareMetrics
from streams.core.creators import CreatorTotals
from streams.errors import Halt, Retry
from streams.ops.alerts import ALERTS, Alert
from streams.ops.lag_metrics import LagMetrics
from streams.ops.lag_status import WINDOW
from streams.ops.provable import Reach
from streams.runtime.dependencies import Dependency
from streams.runtime.memory import MemoryCluster, MemoryStore
from streams.runtime.metrics import Metrics
from streams.runtime.mixes import Mix, Promise, Shortness
from streams.runtime.ports import HaltNote, Place
from streams.runtime.signing import control_record, encode

EVENTS = synthetic_log(seed=11, videos=8, events=300)
Scrape = Sequence[Sample]
State = Callable[..., Awaitable[tuple[Scrape, Scrape]]]
"""Brings a state about; returns what a scrape before it told and what one tells in it."""


def scraped(registry: CollectorRegistry) -> Scrape:
    return [sample for family in registry.collect() for sample in family.samples]


def fires(alert: Alert, before: Scrape, now: Scrape) -> bool:
    """Evaluate an alert's expression as Prometheus does, its `for` left out."""

    def chosen(scrape: Scrape) -> dict[tuple[tuple[str, str], ...], float]:
        return {
            tuple(sorted(sample.labels.items())): sample.value
            for sample in scrape
            if sample.name == alert.metric and alert.labels.items() <= sample.labels.items()
        }

    values = chosen(now)
    if alert.absent:
        return not values
    if alert.over is not None:
        earlier = chosen(before)
        values = {key: value - earlier.get(key, 0) for key, value in values.items()}
    if alert.compares == ">":
        return any(value > alert.bound for value in values.values())
    return any(value == alert.bound for value in values.values())


async def look(bench: LaggingGroup) -> tuple[Scrape, Scrape]:
    metrics = LagMetrics("c")
    before = scraped(metrics.registry)
    metrics.show(await bench.look())
    return before, scraped(metrics.registry)


async def halted() -> tuple[Scrape, Scrape]:
    bench = LaggingGroup()
    await bench.store.note_halt(0, HaltNote("data_loss", "gone", 1))
    return await look(bench)


async def stopped() -> tuple[Scrape, Scrape]:
    bench = LaggingGroup()
    bench.write(5)
    await looked(bench, [1] * WINDOW)
    return await look(bench)


async def stalled() -> tuple[Scrape, Scrape]:
    bench = LaggingGroup()
    await bench.join()
    bench.write(5)
    await looked(bench, [1] * WINDOW)
    return await look(bench)


async def rewound() -> tuple[Scrape, Scrape]:
    bench = LaggingGroup()
    bench.write(50)
    await looked(bench, range(20, 20 + WINDOW))
    bench.commit(3)
    return await look(bench)


async def slow() -> tuple[Scrape, Scrape]:
    bench = LaggingGroup()
    bench.write(50)
    await looked(bench, range(WINDOW), writing=2)
    return await look(bench)


async def late() -> tuple[Scrape, Scrape]:
    bench = LaggingGroup()
    bench.write(1)
    bench.now_ms += 61_000
    return await look(bench)


async def near_retention() -> tuple[Scrape, Scrape]:
    bench = LaggingGroup()
    bench.log.configs("t")["retention.ms"] = "60000"
    bench.write(1)
    bench.now_ms += 31_000
    return await look(bench)


async def lost() -> tuple[Scrape, Scrape]:
    bench = LaggingGroup()
    bench.write(9)
    bench.log.forget("t", 0, 4)
    return await look(bench)


async def held() -> tuple[Scrape, Scrape]:
    bench = LaggingGroup()
    bench.write(9)
    bench.log.transactions["t", 0] = 4
    bench.now_ms += 61_000
    return await look(bench)


async def leaderless() -> tuple[Scrape, Scrape]:
    bench = LaggingGroup()
    bench.log.leaderless.add(("t", 1))
    return await look(bench)


async def silent(monkeypatch: pytest.MonkeyPatch) -> tuple[Scrape, Scrape]:
    async def committed(_: MemoryCluster, group: str) -> dict[Place, int]:
        raise Retry(f"no coordinator of {group}")

    monkeypatch.setattr(MemoryCluster, "committed", committed)
    return await look(LaggingGroup())


async def uncollected() -> tuple[Scrape, Scrape]:
    return [], scraped(Metrics().registry)


async def running(world: World, holds: Callable[[Life], bool], **life: object) -> Life:
    worker = await Life(world, batch=30, **life).start()  # type: ignore[arg-type]
    await worker.until(lambda: holds(worker))
    return worker


async def worker_halted() -> tuple[Scrape, Scrape]:
    world = World()
    world.put(EVENTS[:100])
    worker = await running(world, lambda _: world.caught_up())
    before = scraped(worker.metrics.registry)
    await worker.stop()
    world.put(EVENTS[100:])
    world.log.forget(LOG, 0, world.watermark() + 5)
    worker = await running(world, lambda life: bool(life.worker.halted))
    now = scraped(worker.metrics.registry)
    await worker.stop()
    return before, now


async def dependency_down() -> tuple[Scrape, Scrape]:
    metrics, redis = Metrics(), Dependency("Redis")
    redis.watched = True
    redis.observers.append(metrics.show_dependency)
    metrics.show_dependency("Redis", up=True)
    before = scraped(metrics.registry)
    redis.failed("connection refused")
    return before, scraped(metrics.registry)


async def rolled_back() -> tuple[Scrape, Scrape]:
    world = World()
    world.put(EVENTS[:100])
    worker = await running(world, lambda _: world.caught_up())
    earlier = deepcopy(world.store.partitions[0])
    world.put(EVENTS[100:])
    await worker.until(world.caught_up)
    before = scraped(worker.metrics.registry)
    world.store.partitions[0] = earlier
    await worker.until(world.caught_up)
    await worker.stop()
    return before, scraped(worker.metrics.registry)


class Evicting(MemoryStore):
    """A store whose settings are changed after the start."""

    asked_before = False

    async def check(self) -> None:
        if self.asked_before:
            raise Halt("Redis may evict counters", code="redis_evicts")
        self.asked_before = True


async def redis_unsafe() -> tuple[Scrape, Scrape]:
    before = scraped(Metrics().registry)
    worker = await running(
        World(), lambda life: value(life, "streams_store_alarms_total") > 0, store=Evicting()
    )
    await worker.stop()
    return before, scraped(worker.metrics.registry)


async def some_bad() -> tuple[Scrape, Scrape]:
    two_percent = encode([impression(f"e{n}") for n in range(49)])[:-1] + b',{"type":"view"}]'
    return await counting([two_percent] * 600, lambda world, _: world.caught_up())


async def many_bad() -> tuple[Scrape, Scrape]:
    return await counting(
        [b"no json"] * 600, lambda _, life: value(life, "streams_paused_partitions") > 0
    )


async def counting(
    values: Sequence[bytes], holds: Callable[[World, Life], bool]
) -> tuple[Scrape, Scrape]:
    world = World()
    worker = await running(world, lambda life: bool(life.worker.positions()))
    before = scraped(worker.metrics.registry)
    world.put(record(value, offset) for offset, value in enumerate(values))
    await worker.until(lambda: holds(world, worker))
    now = scraped(worker.metrics.registry)
    await worker.stop()
    return before, now


async def other_policy_of_its_number() -> tuple[Scrape, Scrape]:
    office = Office()
    process = await Process(office).start()
    await process.step()
    conflicts = process.metrics.policy_conflicts
    before = [sample for family in conflicts.collect() for sample in family.samples]
    forged = replace(RULES.policy.draft, term=1, seq=2, tranche=7, explore_key="k")
    office.world.log.append(control_record(LOG, forged, SIGNER, 1))
    await process.leader.put_files(replace(RULES.policy.draft, tranche=8))
    await process.step()
    return before, [sample for family in conflicts.collect() for sample in family.samples]


def mixed(age_s: float = 60.0, unsteered: int = 0, short: Shortness = "") -> Scrape:
    """Return what a leader tells whose last mix is so old."""
    registry = CollectorRegistry()
    promise = Promise("ordinary", 700_000, short=short)
    metrics = ShareMetrics(registry, lambda: next(clock))
    clock = iter([0.0, age_s])
    metrics.show(Mix(1, 1, NOW, by="host-1", promises=(promise,)), {}, unsteered)
    return scraped(registry)


async def short() -> tuple[Scrape, Scrape]:
    return mixed(), mixed(short="bound")


async def ignored() -> tuple[Scrape, Scrape]:
    return mixed(unsteered=90_000), mixed(unsteered=110_000)


async def old() -> tuple[Scrape, Scrape]:
    return mixed(), mixed(age_s=301)


async def unsteered() -> tuple[Scrape, Scrape]:
    return mixed(), scraped(Metrics().registry)


def value(life: Life, name: str) -> float:
    scrape = scraped(life.metrics.registry)
    return sum(sample.value for sample in scrape if sample.name == name)


async def proof_at_risk() -> tuple[Scrape, Scrape]:
    metrics = LagMetrics("c")
    metrics.show_reach(Reach(interval_ms=40, window_ms=20, kept_ms=100))
    before = scraped(metrics.registry)
    metrics.show_reach(Reach(interval_ms=41, window_ms=20, kept_ms=100))
    return before, scraped(metrics.registry)


async def fans_shown_less() -> tuple[Scrape, Scrape]:
    registry = CollectorRegistry()
    metrics = CreatorMetrics(registry)
    totals = {"c1": CreatorTotals(public=3)}
    metrics.show(totals, 490_000)
    before = scraped(registry)
    metrics.show(totals, 510_000)
    return before, scraped(registry)


STATES: dict[str, State] = {
    "StreamsProofAtRisk": proof_at_risk,
    "StreamsConsumerHalted": halted,
    "StreamsConsumerStopped": stopped,
    "StreamsConsumerStalled": stalled,
    "StreamsConsumerRewound": rewound,
    "StreamsConsumerFallsBehind": slow,
    "StreamsConsumerLate": late,
    "StreamsRetentionNear": near_retention,
    "StreamsRecordsLost": lost,
    "StreamsTransactionOpen": held,
    "StreamsPartitionLeaderless": leaderless,
    "StreamsGroupSilent": silent,
    "StreamsLagUnknown": uncollected,
    "StreamsPartitionsHalted": worker_halted,
    "StreamsDependencyDown": dependency_down,
    "StreamsRedisRolledBack": rolled_back,
    "StreamsRedisUnsafe": redis_unsafe,
    "StreamsBadInput": some_bad,
    "StreamsPartitionsPaused": many_bad,
    "StreamsPolicyConflict": other_policy_of_its_number,
    "StreamsShareShort": short,
    "StreamsPrivateFell": fans_shown_less,
    "StreamsMixIgnored": ignored,
    "StreamsMixOld": old,
    "StreamsSharesUnsteered": unsteered,
}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
async def test_an_alert_fires_on_the_state_it_is_for(
    alert: Alert, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = STATES[alert.name]
    before, now = await (state(monkeypatch) if state is silent else state())
    assert fires(alert, before, now)
    if not alert.absent:
        assert not fires(alert, before, before)


def test_every_state_has_its_alert() -> None:
    assert sorted(STATES) == sorted(alert.name for alert in ALERTS)


async def test_no_alert_fires_while_all_is_well() -> None:
    bench = LaggingGroup()
    member = await bench.join()
    bench.write(30)
    await looked(bench, range(20, 31), writing=0)
    _, lag = await look(bench)
    await member.stop()
    world = World()
    world.put([one for one in EVENTS if one.value])
    worker = await running(world, lambda _: world.caught_up())
    worker.metrics.show_dependency("Redis", up=True)
    before = scraped(worker.metrics.registry)
    await worker.stop()
    now = [*scraped(worker.metrics.registry), *lag, *mixed()]
    assert [alert.name for alert in ALERTS if fires(alert, before, now)] == []


def test_every_metric_of_an_alert_exists_with_the_labels_that_it_names() -> None:
    metrics = Metrics()
    ControlMetrics(metrics.registry)
    families = [*metrics.registry.collect(), *LagMetrics("c").registry.collect()]
    names = {family.name for family in families}
    assert {alert.metric.removesuffix("_total") for alert in ALERTS} <= names


def test_the_rules_are_exported_as_prometheus_reads_them() -> None:
    [group] = yaml.safe_load(streams("alerts", "export").stdout)["groups"]
    assert [rule["alert"] for rule in group["rules"]] == [alert.name for alert in ALERTS]
    first = group["rules"][0]
    assert set(first) == {"alert", "expr", "for", "labels", "annotations"}
    assert first["expr"] == 'streams_consumer_lag_status{status="HALTED"} == 1'
    assert {rule["labels"]["severity"] for rule in group["rules"]} == {"page", "ticket"}

"""Series whose labels are known are there at 0 before anything happens."""

from itertools import product

from kit.events import synthetic_log
from kit.twins import LOG, Life, World

from streams.control.metrics import ControlMetrics
from streams.core.events import EVENT_TYPES
from streams.core.receipts import ACTIONS
from streams.errors import REJECT_REASONS
from streams.runtime.metrics import Metrics


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(f"streams_{name}_total", labels)


async def test_a_worker_shows_what_may_come_of_records_at_0() -> None:
    metrics = Life(World()).metrics
    for kind, outcome in product(("view", "like", "gift"), ("applied", "duplicate", "late")):
        shown = value(metrics, "events_processed", topic=LOG, event_type=kind, outcome=outcome)
        assert shown == 0
    for reason in REJECT_REASONS:
        assert value(metrics, "dlq_events", topic=LOG, reason=reason) == 0
    for outcome in ("same", "differs", "not_comparable"):
        assert value(metrics, "watermark_checks", outcome=outcome) == 0
    assert value(metrics, "events_unknown_fields", topic=LOG) == 0


async def test_what_a_worker_counts_is_among_what_it_showed_at_0() -> None:
    world = World()
    life = Life(world)
    before = series(life.metrics)
    assert {one["event_type"] for one in before if "event_type" in one} > {*EVENT_TYPES.values()}
    world.put(synthetic_log(seed=3, videos=8, events=600))
    await life.start()
    await life.until(world.caught_up)
    await life.stop()
    added = [one for one in series(life.metrics) if one not in before]
    assert [one for one in added if "surface" not in one and "partition" not in one] == []


async def test_an_open_partition_shows_its_alarms_and_its_policys_surfaces_at_0() -> None:
    world = World()
    world.put(synthetic_log(seed=3, videos=8, events=600))
    first = await Life(world).start()
    await first.until(world.caught_up)
    await first.stop()
    life = await Life(world).start()
    await life.until(lambda: bool(life.worker.positions()))
    assert value(life.metrics, "bad_input_alarms", topic=LOG, partition="0") == 0
    for action in ACTIONS:
        assert value(life.metrics, "decisions", surface="discover", action=action) == 0
    await life.stop()


def test_the_control_plane_shows_what_may_come_of_its_records_at_0() -> None:
    metrics = Metrics()
    ControlMetrics(metrics.registry).expect(["uploads"])
    for outcome in ("handled", "refused", "retried"):
        assert value(metrics, "control_events", topic="uploads", outcome=outcome) == 0
    for reason in REJECT_REASONS:
        assert value(metrics, "control_letters", topic="uploads", reason=reason) == 0


def series(metrics: Metrics) -> list[dict[str, str]]:
    """Return the labels of every labelled counter."""
    return [
        {"metric": sample.name, **sample.labels}
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.labels and sample.name.endswith("_total")
    ]

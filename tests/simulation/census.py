"""What occurs in lives: counted, so that nothing is thought to be tried that never happens."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry
from simulation.judges import events_of
from simulation.life import Life

from streams.core.events import Impression

ABSENT: Final[Mapping[str, str]] = {
    "move is applied": "an operator's act on a log that rests, killed at each step in tests/ops",
    "repartition is applied": "in the log that a life goes over to, and that is counted apart",
    "upgrade is applied": "lives begin under the rule of today",
    "refused: header": "the twin's producers write no such header",
    "refused: depth": "a decoder's own: see tests/test_bytes.py",
    "refused: too_large": "a decoder's own: see tests/test_bytes.py",
    "refused: slice_limit": "it takes more slices than a life has videos for",
    "refused: illegal_move": "control planes say nothing that the life cycle does not allow",
    "control_policy_conflicts": "nobody writes in a leader's name",
    "events_unknown_fields": "everybody writes by the schemas of today",
    "short_windows": "retention leaves what windows need",
    "index_refills sweep": "it takes a Redis that falls back within a filling: one life in dozens",
    "store_alarms": "Redis is set as it should be",
    "watermark_checks differs": "no log is written anew",
    "watermark_checks not_comparable": "no older release counted before",
    "record in decisions.dlq": "nobody reads them",
    "record in traffic.dlq": "nobody refuses them",
}
"""What need not occur in lives, and why."""


def occurrences(life: Life) -> Counter[str]:
    """Return how often each thing happened in a life; what can happen and did not is there at 0."""
    counted = Counter[str]()
    for name, count in _all(life):
        counted[name] += count
    return counted


def never(counted: Mapping[str, int]) -> set[str]:
    """Return what never happened and should have."""
    return {name for name, count in counted.items() if not count} - ABSENT.keys()


def _all(life: Life) -> Iterator[tuple[str, int]]:
    for registry in (life.metrics.registry, life.control_registry):
        yield from _counters(registry)
    yield from life.watch.counts.items()
    yield from life.redis.store.counts.items()
    yield "counted anew by an operator", life.restarts
    yield from life.counts.items()
    yield "gone over to another partition count", int(life.moves_to > 0)
    yield "record that retention took", sum(map(len, life.log.gone.values()))
    for topic, partitions in life.log.topics().items():
        records = [len(life.log.records(topic, partition)) for partition in range(partitions)]
        yield f"record in {topic}", sum(records)
    for event in events_of(life):
        if isinstance(event, Impression):
            yield f"shown via {event.via or 'nothing'}", 1


def _counters(registry: CollectorRegistry) -> Iterator[tuple[str, int]]:
    for family in registry.collect():
        for sample in family.samples if family.type == "counter" else ():
            if sample.name.endswith("_total"):
                name = family.name.removeprefix("streams_")
                yield _name(name, *sample.labels.values()), int(sample.value)


def _name(metric: str, *labels: str) -> str:
    """Return what is counted of a metric: neither by partition nor by surface."""
    match metric, labels:
        case "events_processed", (_, kind, outcome):
            return f"{kind} is applied" if outcome == "applied" else f"something is {outcome}"
        case (("dlq_events" | "control_letters"), (_, reason)):
            return f"refused: {reason}"
        case "decisions", (_, action):
            return f"decision to {action}"
        case (("bad_input_alarms" | "misrouted_alarms" | "events_unknown_fields"), _):
            return metric
        case _:
            return " ".join((metric, *labels))

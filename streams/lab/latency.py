"""The time from an event to its counter: on an idle machine, and under shares of the full load.

It counts from the moment an event was due, so a sender that falls behind shows.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from streams.lab.load import Batch
from streams.lab.phases import Timeline, counted_by
from streams.runtime.ports import BatchSink

IDLE_PER_SECOND: Final = 7.0
"""A few events, at no round times: they meet what a worker does by the clock at all its moments."""
PERCENTS: Final = (50, 70, 90)
"""Shares of what a worker does at most while events come."""
TICK_S: Final = 0.02
POLL_S: Final = 0.005
IDLE_POLL_S: Final = 0.001


class Beat(NamedTuple):
    """How events come: so many at once, so many seconds apart.

    >>> Beat.of(7.0).events, Beat.of(50_000.0)
    (1, Beat(events=1000, apart_s=0.02))
    """

    events: int
    apart_s: float

    @classmethod
    def of(cls, per_second: float) -> "Beat":
        """Return the beat at which about so many events come a second."""
        events = max(round(per_second * TICK_S), 1)
        return cls(events, events / per_second)

    @property
    def poll_s(self) -> float:
        """How often counters are looked at: to look costs a loaded machine what it has to do."""
        return POLL_S if self.apart_s <= TICK_S else IDLE_POLL_S


class Sent(NamedTuple):
    """A batch that was sent: when it was due, and the place of its last record."""

    due: float
    partition: int
    offset: int
    events: int


def loads(most_per_second: float) -> Iterator[tuple[str, float]]:
    """Yield the loads that are measured, by name, in events a second.

    >>> dict(loads(60_000))["at_70_percent"]
    42000.0
    """
    yield "idle", IDLE_PER_SECOND
    for percent in PERCENTS:
        yield f"at_{percent}_percent", most_per_second * percent / 100


async def send_paced(
    sink: BatchSink, topic: str, batches: Sequence[Sequence[Batch]], apart_s: float, ends: list[int]
) -> tuple[list[Sent], float]:
    """Send batches when they are due; return them, and how late the latest was in seconds.

    `ends` are where the partitions end; nobody else writes there.
    """
    sent, acks = [], []
    behind = 0.0
    began = time.perf_counter()
    for number, together in enumerate(batches):
        due = began + number * apart_s
        await asyncio.sleep(max(due - time.perf_counter(), 0))
        behind = max(behind, time.perf_counter() - due)
        for partition, records, events in together:
            acks.append(await sink.send_batch(topic, partition, records))
            ends[partition] += len(records)
            sent.append(Sent(due, partition, ends[partition] - 1, events))
    for ack in acks:
        await ack
    return sent, behind


def counted_while_sent(sent: Sequence[Sent], counted: Timeline) -> float:
    """Return how many records a second were counted from the first batch to the last one.

    >>> seen = {0: [(-1, 0.9), (7, 2.9), (14, 4.0)]}
    >>> counted_while_sent([Sent(1.0, 0, 4, 5), Sent(3.0, 0, 14, 10)], seen)
    4.0
    """
    began, ended = sent[0].due, sent[-1].due
    before, after = counted_by(counted, began), counted_by(counted, ended)
    return (sum(after.values()) - sum(before.values())) / (ended - began)


def waited(sent: Sequence[Sent], counted: Timeline, behind_s: float) -> Mapping[str, Any]:
    """Return how long events took to reach their counters, in ms.

    >>> waited([Sent(1.0, 0, 4, 98), Sent(1.0, 0, 9, 2)], {0: [(7, 1.01), (9, 1.25)]}, 0.001)
    {'p50': 10.0, 'p99': 250.0, 'sender_behind_at_most_ms': 1.0}
    """
    waits = sorted((_counted_at(counted[p], offset) - due, n) for due, p, offset, n in sent)
    return {
        "p50": _percentile(waits, 0.50),
        "p99": _percentile(waits, 0.99),
        "sender_behind_at_most_ms": round(behind_s * 1000, 1),
    }


def _counted_at(marks: Sequence[tuple[int, float]], offset: int) -> float:
    """Return when a partition's watermark was first seen at an offset or beyond."""
    return marks[bisect_left(marks, (offset, 0.0))][1]


def _percentile(waits: Sequence[tuple[float, int]], share: float) -> float:
    """Return the wait in ms that `share` of the events do not exceed; they are sorted."""
    left = share * sum(count for _, count in waits)
    for wait, count in waits:
        left -= count
        if left <= 0:
            return round(wait * 1000, 1)
    return float("nan")

"""What is stored of partitions, dealt out to another partition count. Pure.

A row is its video's alone and moves as it is. What a partition has for all of its videos follows
from the ones that they come from: who may sign and which policy is in force are the same in each,
times are the latest of them. The open minute's sums are of slices, not of videos, and no minute is
lost as long as each goes to one partition: so they do.
"""

from collections.abc import Collection, Iterable, Mapping
from math import gcd
from typing import Final, NamedTuple

from streams.core.counters import DIGEST_MODULUS, row_digest, rows_digest
from streams.core.generations import Generations, read_generations
from streams.core.keys import read_trust
from streams.core.partitioner import partition_of
from streams.core.state import TRAFFIC_SALT, Meta
from streams.core.ticks import OpenTraffic, StoredTraffic, read_stored
from streams.core.traffic import ClassSums
from streams.errors import Halt
from streams.runtime.namespace import corrupt, meta_key
from streams.runtime.ports import Stored

Rows = Mapping[str, Mapping[str, bytes]]
_SHARED: Final = ("keys", "policy")


class Family(NamedTuple):
    """Partitions of before, and those that their videos go to: to these and no others."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def families(before: int, after: int) -> list[Family]:
    """Return the families of two partition counts.

    A video's two partitions are remainders of one hash, so they leave the same one by what divides
    both counts.

    >>> families(2, 4)
    [Family(before=(0,), after=(0, 2)), Family(before=(1,), after=(1, 3))]
    """
    common = gcd(before, after)
    return [
        Family(tuple(range(rest, before, common)), tuple(range(rest, after, common)))
        for rest in range(common)
    ]


def require_settled(ends: Mapping[int, Stored]) -> None:
    """Raise `Halt` unless all partitions have the same policy and keys in force, of today's rule.

    What is said to all of them reaches one after another.
    """
    first, *others = ends.values()
    if not read_trust(first.meta.keys).upgraded:
        raise Halt("these counters are of 0.1.0: `streams counters migrate` comes first")
    for name in _SHARED:
        if any(getattr(one.meta, name) != getattr(first.meta, name) for one in others):
            raise _unsettled(name)
    if len({_spans(one).records for one in ends.values()}) > 1:
        raise _unsettled("generations")


def generation_length(stored: Stored, before: int, after: int, latest: Iterable[int]) -> int:
    """Return how long generations are from now on.

    A fraction of the partitions gets so many times the records each, and nothing is forgotten
    sooner for that. `latest` are how many records each has of the current generation already.
    """
    records = _spans(stored).records
    return max(records, -(-records * before // after), *(length + 1 for length in latest))


def require_whole(partition: int, stored: Stored, rows: Rows) -> None:
    """Raise `Halt` unless these are the rows that a partition stored, all and undamaged."""
    if digest_of(rows, stored.meta.traffic) != stored.meta.digest:
        raise corrupt(partition, meta_key(partition), "its digest is not that of the rows")


def digest_of(rows: Rows, traffic: bytes) -> str:
    """Return the digest of a partition's rows and of its open minute."""
    total = row_digest(TRAFFIC_SALT, traffic) + rows_digest(rows)
    return f"{total % DIGEST_MODULUS:032x}"


def deal_rows(
    rows: Iterable[Rows], family: Family, count: int
) -> dict[int, dict[str, Mapping[str, bytes]]]:
    """Return the rows of a family's partitions by those of `count` that they go to."""
    dealt: dict[int, dict[str, Mapping[str, bytes]]] = {each: {} for each in family.after}
    for some in rows:
        for video, fields in some.items():
            dealt[partition_of(video.encode(), count)][video] = fields
    return dealt


def deal_traffic(
    stored: Mapping[int, Stored], family: Family, count: int, since: Mapping[int, int]
) -> dict[int, bytes]:
    """Return the open minutes of a family's partitions of after, each counting from `since` on.

    All go on from the latest clock of before. No event stands at `since`: what was granted up to
    there is no minute's of this log. The sums of partition p go to the one of `count`
    that is its remainder.
    """
    kept = {p: read_stored(stored[p].meta.traffic) for p in family.before if p in stored}
    clock = max(kept.values(), key=lambda one: one.tick, default=StoredTraffic())
    sums: dict[int, dict[tuple[str, str], ClassSums]] = {each: {} for each in family.after}
    for partition, traffic in kept.items():
        dealt = sums[partition % count]
        for each in traffic.sums:
            dealt.setdefault((each.slice, each.kind), ClassSums(each.slice, each.kind)).add(each)
    return {
        each: OpenTraffic(
            each, None, StoredTraffic(since[each], clock.tick, clock.times, [*sums[each].values()])
        ).stored()
        for each in family.after
    }


def meta_of(
    stored: Collection[Stored], generations: Generations, traffic: bytes, rows: Rows
) -> Meta:
    """Return the meta of a partition of after, but for its mark."""
    first, *_ = stored
    return Meta(
        max(one.meta.event_time for one in stored),
        digest_of(rows, traffic),
        first.meta.policy,
        keys=first.meta.keys,
        traffic=traffic,
        generations=generations.encode(),
    )


def _spans(stored: Stored) -> Generations:
    return read_generations(stored.meta.generations, 1)


def _unsettled(what: str) -> Halt:
    return Halt(
        f"the partitions differ in {what}: something that is said to all of them was cut short; "
        "start workers and a control plane once more, and stop them when nothing is behind",
        code="unsettled",
    )

"""Control records about no video: who may sign, who leads, how a partition counts from there on.

They have no key, and each partition has its own copy.
"""

from typing import Annotated

from msgspec import Meta, Struct

from streams.core.fields import Id, Millis, PublicKey, Sequence


class Key(Struct, frozen=True, tag_field="type", tag="key"):
    """From its place in the log on exactly these keys may sign; broadcast to every partition.

    It counts if a key that was in force before signed it. `seq` must rise.
    """

    id: Id
    ts: Millis
    seq: Sequence
    keys: Annotated[tuple[PublicKey, ...], Meta(min_length=1, max_length=8)]


class Upgrade(Struct, frozen=True, tag_field="type", tag="upgrade"):
    """Ends the time of 0.1.0 in a partition: see `core.first`.

    From its place in the log on no HMAC counts, and rows and rule are those of today.
    """

    id: Id
    ts: Millis


class Lead(Struct, frozen=True, tag_field="type", tag="lead"):
    """From its place in the log on no policy of an earlier term comes into force.

    A leader takes a term with it: in partition 0, where the first of a term is the only one that
    counts. Then it stands in every other partition, before any policy of that term.
    """

    id: Id
    ts: Millis
    term: Annotated[int, Meta(ge=1, lt=1 << 53, description="above the greatest term so far")]
    by: Id


class Generation(Struct, frozen=True, tag_field="type", tag="generation"):
    """From the generation of duplicates that is current at its place on, each is so long.

    Only ever longer: what was forgotten is not met again.
    """

    id: Id
    ts: Millis
    records: Annotated[int, Meta(ge=1, lt=1 << 53)]


TopicId = Annotated[str, Meta(min_length=1, max_length=64)]


class TopicMove(Struct, frozen=True, tag_field="type", tag="move"):
    """The log is kept in another topic from now on, with the same records at the same offsets.

    Changes nothing that is counted; `streams counters move` finds its word in the log before it
    takes the counters over.
    """

    id: Id
    ts: Millis
    before: TopicId
    after: TopicId


class Repartition(Struct, frozen=True, tag_field="type", tag="repartition"):
    """Ends the beginning of a log that goes on with the counters of another one.

    That one, the topic `before`, has another partition count and was counted up to `watermarks`, a
    partition each. What stands before this record is of its window of duplicates, and is counted
    already. Changes nothing that is counted.
    """

    id: Id
    ts: Millis
    before: TopicId
    watermarks: Annotated[
        tuple[Annotated[int, Meta(ge=-1, lt=1 << 62)], ...], Meta(min_length=1, max_length=10_000)
    ]

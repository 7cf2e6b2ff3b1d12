"""Where two recordings part, record by record: what one has and the other lacks.

Records are matched by what they are (key, value, headers, timestamp) within their partition, not
by offset: a replayed topic has offsets of its own.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import zip_longest
from typing import Any, NamedTuple

from streams.recording.damage import RecordsDigest, content_of
from streams.recording.lines import Recorded
from streams.recording.reader import Recording
from streams.runtime.ports import Place

Lone = dict[bytes, list[int]]
"""Content of a record that has no counterpart so far -> its offsets."""


class PartitionDifference(NamedTuple):
    """One partition of two recordings, side by side; offsets are each recording's own."""

    topic: str
    partition: int
    one: int  # records
    other: int
    only_one: int  # records that the other recording lacks
    only_other: int
    first_only_one: int | None  # least offset of them
    first_only_other: int | None
    reordered: bool  # the same records in another order

    @property
    def is_equal(self) -> bool:
        """Whether nothing differs."""
        return not (self.only_one or self.only_other or self.reordered)

    def as_words(self) -> dict[str, Any]:
        """Return the fields as a table shows them."""
        return {
            "place": f"{self.topic}[{self.partition}]",
            "one": self.one,
            "other": self.other,
            "only one": _from(self.only_one, self.first_only_one),
            "only other": _from(self.only_other, self.first_only_other),
            "reordered": "yes" if self.reordered else "",
        }


def compare_records(
    one: Recording, other: Recording, tell: Callable[[int], None] = lambda _: None
) -> list[PartitionDifference]:
    """Return every partition that one of them has; `tell` hears of records as they are compared.

    Topics are paired by name; two recordings of one topic each by that. Raises `Damaged`.
    """
    renamed = _pairing(one, other)
    ours, theirs = set(one.places()), {(renamed[t], n): (t, n) for t, n in other.places()}
    rows = []
    for place in sorted(ours | theirs.keys()):
        records = one.chunks(place) if place in ours else iter(())
        others = other.chunks(theirs[place]) if place in theirs else iter(())
        rows.append(_compare(place, _each(records, tell), _each(others, tell)))
    return rows


def _pairing(one: Recording, other: Recording) -> dict[str, str]:
    """Return what the other recording's topics are called in the first one."""
    ours, theirs = list(one.manifest.topics), list(other.manifest.topics)
    if len(ours) == len(theirs) == 1:
        return {theirs[0]: ours[0]}
    return {topic: topic for topic in theirs}


def _each(chunks: Iterator[list[Recorded]], tell: Callable[[int], None]) -> Iterator[Recorded]:
    for chunk in chunks:
        yield from chunk
        tell(len(chunk))


def _compare(
    place: Place, ours: Iterator[Recorded], theirs: Iterator[Recorded]
) -> PartitionDifference:
    """Compare in step: what waits for its counterpart is as much as one runs behind the other."""
    counts: Counter[str] = Counter()
    lone_ours: Lone = {}
    lone_theirs: Lone = {}
    digest, other_digest = RecordsDigest(), RecordsDigest()
    for our, their in zip_longest(ours, theirs):
        if our is not None:
            counts["one"] += 1
            digest.add(our)
            _meet(our, lone_ours, lone_theirs)
        if their is not None:
            counts["other"] += 1
            other_digest.add(their)
            _meet(their, lone_theirs, lone_ours)
    only, other_only = _offsets(lone_ours), _offsets(lone_theirs)
    return PartitionDifference(
        *place,
        counts["one"],
        counts["other"],
        len(only),
        len(other_only),
        min(only, default=None),
        min(other_only, default=None),
        not only and not other_only and digest.text != other_digest.text,
    )


def _meet(record: Recorded, own: Lone, others: Lone) -> None:
    """Let a record meet its counterpart, or wait for it."""
    content = blake2b(content_of(record), digest_size=16).digest()
    waiting = others.get(content)
    if waiting is None:
        own.setdefault(content, []).append(record.offset)
        return
    waiting.pop(0)
    if not waiting:
        del others[content]


def _offsets(lone: Lone) -> list[int]:
    return [offset for offsets in lone.values() for offset in offsets]


def _from(count: int, offset: int | None) -> str:
    return f"{count} from {offset} on" if count else "0"

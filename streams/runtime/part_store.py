"""Where full parts of the window of duplicates are stored: a port.

A part has an entry, which tells what it is and holds its likes, and its ids. Both are written by
the partition's owner alone, under the guard of its watermark, and what it holds never changes.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple, Protocol


class PartGuard(NamedTuple):
    """What must be stored of a partition for its owner to be the one that writes."""

    namespace: str
    watermark: int  # -1 before any flush
    digest: str


class StoredPart(NamedTuple):
    """A part as it is stored; without `ids` where those no longer matter."""

    entry: bytes
    ids: bytes


class PartsChange(NamedTuple):
    """Parts by their first offset: those to be stored, to be stripped of their ids, to be dropped.

    May be repeated. What is dropped, or stripped, need not be there.
    """

    kept: Mapping[int, StoredPart] = {}
    bare: Collection[int] = ()
    dropped: Collection[int] = ()


class PartStore(Protocol):
    """Keeps the full parts of partitions' windows."""

    async def parts(self, partition: int) -> Sequence[int]:
        """Return the first offsets of the parts that are stored, sorted."""

    async def load_part(self, partition: int, start: int) -> StoredPart | None:
        """Return a part, None if it is not stored; without ids if it was stripped of them."""

    async def change_parts(self, partition: int, guard: PartGuard, change: PartsChange) -> bool:
        """Store and drop parts, all or nothing; False, and nothing done, unless the guard holds."""

"""The ids of one generation as a recount remembers them: their digests, in many byte strings.

An answer is wrong only where two keys have the same 128 bits; `core.packed` says how unlikely that
is. Of a long window the fold has the same digests and would be wrong too: the same events count.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from streams.core.packed import DIGEST_BYTES, digest_of, digests_in

SHELVES: Final = 1 << 16
"""So many at most, each where a digest's own hash says, which differs from process to process:
nobody can fill one on purpose."""


class MetIds:
    """Digests that were met.

    >>> ids = MetIds()
    >>> [ids.meet(digest_of(key)) for key in ("e1", "e2", "e1")]
    [False, False, True]
    """

    def __init__(self) -> None:
        self._shelves: Final[defaultdict[int, bytearray]] = defaultdict(bytearray)
        self._count = 0

    def __contains__(self, digest: bytes) -> bool:
        """Tell whether a digest was met."""
        return _stands(digest, self._shelves.get(hash(digest) % SHELVES, b""))

    def meet(self, digest: bytes) -> bool:
        """Remember a digest; tell whether it was met before."""
        shelf = self._shelves[hash(digest) % SHELVES]
        met = _stands(digest, shelf)
        if not met:
            shelf += digest
            self._count += 1
        return met

    def agrees(self, ids: Iterable[str], digests: bytes) -> bool:
        """Tell whether these were met alone: ids, and sorted digests of the same or more."""
        left = set(map(digest_of, ids))
        before = b""
        for digest in digests_in(digests):
            if digest <= before or digest not in self:
                return False
            before = digest
            left.discard(digest)
        known = len(digests) // DIGEST_BYTES + len(left)
        return known == self._count and all(digest in self for digest in left)


def _stands(digest: bytes, shelf: bytes | bytearray) -> bool:
    """Tell whether a digest is on a shelf, and not across two others."""
    at = shelf.find(digest)
    while at % DIGEST_BYTES and at > 0:
        at = shelf.find(digest, at + 1)
    return at >= 0

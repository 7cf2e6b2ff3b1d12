"""What a long window remembers: ids and likes in bytes, not in Python's sets.

An id is kept as a digest of 16 bytes, 25 bytes with all that it costs; as a string in a set
it would be 130. An answer is wrong only where two keys have the same 128 bits: a window of 66
million ids has such a pair with a probability of 1e-23, and somebody who looks for one must compute
2^64 digests to have an event of his own taken for a repeat, which repeating it does too. All folds
of a log have the same digests, so even then they give the same answer. Of likes, far fewer, the
words themselves are kept.

Entries lie in small buckets; with linear hashing (Litwin 1980, Linear hashing: a new tool for file
and table addressing) one bucket is split now and then, so nothing ever pauses to grow. Which bucket
an entry is in goes by Python's own keyed hash: nobody can fill one on purpose, and nothing that
leaves a process goes by it.
"""

from collections.abc import Iterator
from hashlib import blake2s
from typing import Final

DIGEST_BYTES: Final = 16
ROOM: Final = 16
"""Entries of a bucket, on average at most: a lookup reads them all."""
_SHELVES: Final = 256
"""By the first byte."""
_MET: Final = 1
_ACTED: Final = 2
_AFTER_UNLIKE: Final = 4

Pair = tuple[str, str]
"""Viewer and video."""
LikeState = tuple[str, bool]
"""Slice of the first like since the latest unlike ("" after an unlike), and whether there was an
unlike before."""


def digest_of(key: str) -> bytes:
    """Return what a key is remembered by."""
    return blake2s(key.encode(), digest_size=DIGEST_BYTES).digest()


def digests_in(text: bytes) -> Iterator[bytes]:
    """Yield the digests that stand one behind the other."""
    for at in range(0, len(text), DIGEST_BYTES):
        yield text[at : at + DIGEST_BYTES]


class _Buckets:
    """Entries in buckets by their keys; the number of buckets grows with that of the entries."""

    __slots__ = ("_buckets", "_count", "_whole")

    def __init__(self) -> None:
        self._buckets = [b""]
        self._whole = 1  # buckets when this round of splits began, a power of two
        self._count = 0

    def _entries(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield key and entry of all that is in a bucket."""
        raise NotImplementedError

    def _place(self, key: bytes) -> int:
        place = hash(key) & (2 * self._whole - 1)
        return place if place < len(self._buckets) else place - self._whole

    def _put(self, key: bytes, entry: bytes) -> None:
        self._buckets[self._place(key)] += entry
        self._count += 1
        if self._count > ROOM * len(self._buckets):
            self._split()

    def _split(self) -> None:
        """Move half of the next bucket of the round into a new one."""
        at = len(self._buckets) - self._whole
        halves = {at: bytearray(), len(self._buckets): bytearray()}
        for key, entry in self._entries(self._buckets[at]):
            halves[hash(key) & (2 * self._whole - 1)] += entry
        staying, leaving = map(bytes, halves.values())
        self._buckets[at] = staying
        self._buckets.append(leaving)
        if len(self._buckets) == 2 * self._whole:
            self._whole = len(self._buckets)


class PackedIds(_Buckets):
    """Ids by their digests.

    >>> ids = PackedIds()
    >>> ids.add(digest_of("e1"))
    >>> digest_of("e1") in ids, digest_of("e2") in ids
    (True, False)
    """

    __slots__ = ()

    def __contains__(self, digest: bytes) -> bool:
        """Tell whether an id with this digest was added."""
        bucket = self._buckets[self._place(digest)]
        at = bucket.find(digest)
        while at > 0 and at % DIGEST_BYTES:  # across two of them
            at = bucket.find(digest, at + 1)
        return at >= 0

    def meet(self, digest: bytes) -> bool:
        """Tell whether an id with this digest was added, and add it if not."""
        met = digest in self
        if not met:
            self._put(digest, digest)
        return met

    def add(self, digests: bytes) -> None:
        """Remember ids, by their digests one behind the other."""
        put = self._put
        for digest in digests_in(digests):
            put(digest, digest)

    def digests(self) -> bytes:
        """Return all digests, in one spelling whatever their order.

        Sorted some at a time: as objects, all of them would take seven times what they take here.
        """
        shelves = [bytearray() for _ in range(_SHELVES)]
        for bucket in self._buckets:
            for digest in digests_in(bucket):
                shelves[digest[0]] += digest
        some = (sorted(set(digests_in(bytes(shelves.pop(0))))) for _ in range(_SHELVES))
        return b"".join([b"".join(digests) for digests in some])

    def _entries(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        return ((digest, digest) for digest in digests_in(bucket))


class PackedLikes(_Buckets):
    r"""What viewers did with their likes, as lines `\nviewer video slice flags`.

    >>> likes = PackedLikes()
    >>> likes.put(("u1", "v1"), ("discover:cars", False), met=True)
    >>> likes.state(("u1", "v1")), likes.is_met(("u1", "v1")), likes.state(("u", "v1"))
    (('discover:cars', False), True, None)
    """

    __slots__ = ()

    def state(self, pair: Pair) -> LikeState | None:
        """Return what is known of a pair, None if it neither liked nor unliked."""
        return self._known(pair)[0]

    def is_met(self, pair: Pair) -> bool:
        """Tell whether there was any like, duplicates included."""
        return self._known(pair)[1]

    def put(self, pair: Pair, state: LikeState | None, *, met: bool) -> None:
        """Add what became of a pair; None leaves its state as it was."""
        key = _key(pair)
        before, was_met = self._take(key)
        state = state or before
        slice_id, after_unlike = state or ("", False)
        flags = _MET * (met or was_met) + _ACTED * (state is not None)
        flags += _AFTER_UNLIKE * after_unlike
        self._put(key, key + f"{slice_id} {flags}".encode())

    def items(self) -> Iterator[tuple[Pair, LikeState | None, bool]]:
        """Yield each pair, its state, and whether there was any like."""
        for bucket in self._buckets:
            for key, entry in self._entries(bucket):
                viewer, video, _ = key[1:].decode().split(" ")
                yield (viewer, video), *_value(entry[len(key) :])

    def _known(self, pair: Pair) -> tuple[LikeState | None, bool]:
        key = _key(pair)
        _, met, behind = self._buckets[self._place(key)].partition(key)
        return _value(behind.partition(b"\n")[0]) if met else (None, False)

    def _take(self, key: bytes) -> tuple[LikeState | None, bool]:
        """Return what is known under a key, and forget it."""
        place = self._place(key)
        before, met, behind = self._buckets[place].partition(key)
        if not met:
            return None, False
        value, line_break, others = behind.partition(b"\n")
        self._buckets[place] = before + line_break + others
        self._count -= 1
        return _value(value)

    def _entries(self, bucket: bytes) -> Iterator[tuple[bytes, bytes]]:
        for line in bucket.split(b"\n")[1:]:
            viewer, video, _ = line.split(b" ", 2)
            yield b"\n%b %b " % (viewer, video), b"\n" + line


def _key(pair: Pair) -> bytes:
    return f"\n{pair[0]} {pair[1]} ".encode()


def _value(text: bytes) -> tuple[LikeState | None, bool]:
    slice_id, _, flags = text.decode().rpartition(" ")
    known = int(flags)
    state = (slice_id, bool(known & _AFTER_UNLIKE)) if known & _ACTED else None
    return state, bool(known & _MET)

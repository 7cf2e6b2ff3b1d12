"""How full parts of the window of duplicates are spelled where they are stored."""

from hashlib import blake2s
from typing import Final

import msgspec
import zstandard

from streams.core.packed import DIGEST_BYTES, LikeState, Pair
from streams.core.window import Part
from streams.errors import UNREADABLE
from streams.runtime.part_store import StoredPart

LEVEL: Final = 1
MOST_BYTES: Final = 1 << 30
"""What is unpacked is never longer."""


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    namespace: str
    partition: int
    start: int
    end: int
    packed: bool  # the ids are digests
    checksum: bytes  # of the ids as they are stored
    states: list[tuple[str, str, str, bool]]  # viewer, video, slice, after an unlike
    met: list[Pair]


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Entry).decode


def write_part(part: Part, namespace: str, partition: int) -> StoredPart:
    """Return a part as it is stored."""
    ids = part.digests or (_packed("\n".join(part.ids).encode()) if part.ids else b"")
    entry = _Entry(
        namespace,
        partition,
        part.start,
        part.end,
        bool(part.digests),
        _checksum(ids),
        [(*pair, *state) for pair, state in part.states.items()],
        list(part.met),
    )
    return StoredPart(_packed(_encode(entry)), ids)


def read_part(stored: StoredPart, expected: Part, place: tuple[str, int], *, ids: bool) -> Part:
    """Return the part that is to be `expected` in namespace and partition; `ValueError` if not.

    Without its ids unless those are wanted.
    """
    try:
        entry = _decode(_unpacked(stored.entry))
        if (entry.namespace, entry.partition) != place:
            raise ValueError("it is of other counters")
        if (entry.start, entry.end) != (expected.start, expected.end):
            raise ValueError(f"it ends at {entry.end}")
        states: dict[Pair, LikeState] = {
            (viewer, video): (slice_id, after_unlike)
            for viewer, video, slice_id, after_unlike in entry.states
        }
        part = expected._replace(states=states, met=entry.met)
        return _with_ids(part, entry, stored.ids) if ids else part
    except (*UNREADABLE, zstandard.ZstdError) as error:
        raise ValueError(f"it cannot be read: {error}") from None


def _with_ids(part: Part, entry: _Entry, ids: bytes) -> Part:
    if _checksum(ids) != entry.checksum:
        raise ValueError("its ids are gone, or damaged")
    if not entry.packed:
        return part._replace(ids=_unpacked(ids).decode().split("\n") if ids else ())
    if len(ids) % DIGEST_BYTES:
        raise ValueError("its ids are cut short")
    return part._replace(digests=ids)


def _checksum(text: bytes) -> bytes:
    return blake2s(text, digest_size=DIGEST_BYTES).digest()


def _packed(text: bytes) -> bytes:
    packed: bytes = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compress(text)
    return packed


def _unpacked(text: bytes) -> bytes:
    unpacked: bytes = zstandard.ZstdDecompressor().decompress(text, max_output_size=MOST_BYTES)
    return unpacked

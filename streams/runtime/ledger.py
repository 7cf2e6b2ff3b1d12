"""The ledger: places of the log that nobody can read, and who had them skipped.

A compacted topic of one partition, a record a place, its key `<partition>.<offset>`, signed as a
control record is. Whoever reads the log reads it first, so that all skip the same.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Struct

from streams.core.fields import Millis
from streams.core.keys import Trust
from streams.errors import UNREADABLE, DeadLetter, Halt
from streams.runtime.installation import Installation, records_of_table
from streams.runtime.ports import LogReader, Outgoing, Record
from streams.runtime.signing import Signer, encode, require_signature
from streams.settings import Settings

TOPIC: Final = "ledger"
_WHY: Final = "it is not known what of the log is skipped"
_Offset = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]


class Skip(Struct, frozen=True):
    """A place that is skipped: from `offset` on, as far as the first that can be read again.

    `by` and `why` are what a person said; `ts` is when.
    """

    partition: _Offset
    offset: _Offset
    following: _Offset
    by: str
    why: str
    ts: Millis

    @property
    def key(self) -> bytes:
        """The key of its record."""
        return b"%d.%d" % (self.partition, self.offset)


_decode: Final = msgspec.json.Decoder(Skip).decode
_decode_kept: Final = msgspec.json.Decoder(list[Skip]).decode


class Skips:
    """What is skipped of one log, by partition in the order of offsets.

    >>> ledger = Skips([Skip(3, 10, 14, "ada", "disk", 1_700_000_000_000)])
    >>> [ledger.following(3, offset) for offset in (9, 10, 13, 14)], ledger.following(2, 10)
    ([9, 14, 14, 14], 10)
    """

    def __init__(self, skips: Iterable[Skip] = ()) -> None:
        self._skips: Final[dict[int, list[Skip]]] = {}
        for skip in sorted(skips, key=lambda one: (one.partition, one.offset)):
            self._skips.setdefault(skip.partition, []).append(skip)

    def of(self, partition: int) -> Sequence[Skip]:
        """Return what is skipped of a partition."""
        return self._skips.get(partition, ())

    def all(self) -> list[Skip]:
        """Return what is skipped of all partitions."""
        return [skip for skips in self._skips.values() for skip in skips]

    def following(self, partition: int, position: int) -> int:
        """Return where to read on from a position: the same, unless it is skipped."""
        for skip in self.of(partition):
            if skip.offset <= position < skip.following:
                position = skip.following
        return position

    def joined(self, kept: bytes) -> "Skips":
        """Return this with what a partition's meta holds: that was judged when it was passed.

        `ValueError` if it cannot be read.
        """
        try:
            skips = _decode_kept(kept) if kept else []
        except UNREADABLE as error:
            raise ValueError(f"skips: {error}") from None
        known = {skip.key for skip in self.all()}
        return Skips([*self.all(), *(skip for skip in skips if skip.key not in known)])

    def kept(self, partition: int, upto: int) -> bytes:
        """Return what is skipped up to an offset as a meta holds it, b"" if nothing is."""
        skips = [skip for skip in self.of(partition) if skip.offset <= upto]
        return encode(skips) if skips else b""


async def nothing_skipped() -> Skips:
    """Return the ledger of a log of which all can be read."""
    return Skips()


def skip_record(settings: Settings, skip: Skip, signer: Signer) -> Outgoing:
    """Return the record that has a place skipped."""
    value = encode(skip)
    return Outgoing(
        settings.topic(TOPIC), value, skip.key, [signer.header(skip.key, value)], partition=0
    )


async def read_ledger(reader: LogReader, settings: Settings, installation: Installation) -> Skips:
    """Return what is skipped; a record that nobody in force signed has nothing skipped.

    `Retry` if the topic does not answer, `Halt` if a record that is signed cannot be read.
    """
    trust = Trust(installation.id, installation.keys, upgraded=True)
    latest: dict[bytes, Skip] = {}
    async for record in records_of_table(reader, settings.topic(TOPIC), why=_WHY):
        if (skip := _skip_of(record, trust)) is not None:
            latest[skip.key] = skip
    return Skips(latest.values())


def _skip_of(record: Record, trust: Trust) -> Skip | None:
    """Return what a record has skipped, None if nobody vouches for it."""
    try:
        require_signature(record, trust, None)
    except DeadLetter:
        return None
    try:
        skip = _decode(record.value or b"")
    except UNREADABLE as error:
        raise Halt(f"{record.topic}: a record cannot be read ({error})", code="ledger") from None
    return skip if skip.key == record.key else None

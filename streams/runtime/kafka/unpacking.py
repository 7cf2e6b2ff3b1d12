"""Taking apart what a broker sent, where aiokafka stops at one record or takes all at once.

Of what was sent before a batch that is damaged aiokafka hands out nothing: here it is handed out,
and the batch fails the fetch that begins with it.

A header whose name is not UTF-8 fails its whole partition in every aiokafka consumer of this
process, Faust's too: so the hook is in aiokafka's own place. Only a batch that failed is read once
more, in Python, from its bytes; bytes that are not UTF-8 become lone surrogates (PEP 383), as in
the port `Record`. And a few kilobytes may unpack to gigabytes: behind `UNPACKED_BYTES` the rest
of what was sent is dropped, and fetched again.

aiokafka's own object for a record costs more than all else in reading it: a consumer made with
`as_sent` gets another one of less. Where this hook is not asked, it gets aiokafka's, which does
as well.
"""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy

UNPACKED_BYTES: Final = 64 << 20
"""So much of one partition is handed out of what was sent at once, and one record more."""
_MemoryRecords: Final = fetcher.MemoryRecords
_PartitionRecords: Any = fetcher.PartitionRecords


class Fetched(msgspec.Struct, frozen=True, gc=False):
    """One record: the port `Record`, and no more."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


def as_sent(value: bytes | None) -> bytes | None:
    """Return a value as it is; the `value_deserializer` of a consumer that wants `Fetched`."""
    return value


def install() -> None:
    """Let every aiokafka consumer of this process take records apart so. Idempotent."""
    fetcher.MemoryRecords = _KeptRecords
    fetcher.PartitionRecords = _BoundedRecords


class _KeptRecords:
    """What a broker sent of one partition, batch by batch, and still its bytes."""

    def __init__(self, sent: bytes) -> None:
        self.sent: Final = sent
        self.taken = 0
        self._records = _MemoryRecords(sent)
        self.size_in_bytes = self._records.size_in_bytes
        self.has_next = self._records.has_next

    def next_batch(self) -> Any:
        self.taken += 1
        return self._records.next_batch()


class _BoundedRecords(_PartitionRecords):  # type: ignore[misc] # aiokafka ships no types for it
    """The records of one partition; a batch that cannot be decoded strictly is read once more."""

    next_fetch_offset: int
    _records_iterator: Iterator[Any]

    def __init__(self, *sent: Any) -> None:
        super().__init__(*sent)
        if self._value_deserializer is as_sent:
            self._consumer_record = _fetched

    def __iter__(self) -> Iterator[Any]:
        return self._records_iterator  # itself: it need not be asked for each record

    def _unpack_records(self) -> Iterator[Any]:
        unpacked, begun = 0, False
        try:
            for record in self._whole_records():
                yield record
                begun = True
                unpacked += len(record.value or b"")
                if unpacked > UNPACKED_BYTES:
                    return
        except CorruptRecordException:
            if not begun:
                raise

    def _whole_records(self) -> Iterator[Any]:
        while True:
            try:
                yield from super()._unpack_records()  # goes on behind the batch that failed
            except UnicodeDecodeError:
                yield from self._unpack_leniently()
            else:
                return

    def _unpack_leniently(self) -> Iterator[Any]:
        """Yield the records of the batch that failed, those before the position left out."""
        batches = _MemoryRecordsPy(self._records.sent)
        for _ in range(self._records.taken - 1):
            batches.next_batch()
        batch = _LenientBatch(batches._next_slice)  # noqa: SLF001 - as it came, not decompressed
        for record in batch:
            if record.offset >= self.next_fetch_offset:
                self.next_fetch_offset = record.offset + 1
                yield self._consumer_record(self._tp, record)
        self.next_fetch_offset = batch.next_offset


def _fetched(at: TopicPartition, record: Any) -> Fetched:
    headers = tuple(record.headers)
    return Fetched(
        at.topic, at.partition, record.offset, record.timestamp, record.key, record.value, headers
    )


class _LenientBatch(_DefaultRecordBatchPy):  # type: ignore[misc] # aiokafka ships no types for it
    """A batch whose header names may be any bytes."""

    _buffer: bytearray

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer = _LenientBytes(self._buffer)


class _LenientBytes(bytearray):
    """Bytes that are decoded without loss, whatever they are."""

    def __getitem__(self, at: Any) -> Any:  # an index or a slice, as of bytearray
        piece = super().__getitem__(at)
        return _LenientBytes(piece) if isinstance(at, slice) else piece

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)

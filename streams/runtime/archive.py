"""The topic `archive`: all rows of a video that left Redis, in one record of its own.

Its key is `<video>@<watermark>.<mark>`, the mark drawn by whoever wrote it: no two records share
one, so compaction takes nothing away that is pointed to. What nobody points to any more gets a
tombstone, once that is stored. A pointer is one number, the offset and 24 bits of a digest of the
record: ten bytes in Redis. It tells another record that stands there one day.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from typing import Final, NamedTuple

import msgspec

from streams.core.state import Archived
from streams.errors import Halt, Retry, StreamsError
from streams.runtime.ending import heard
from streams.runtime.namespace import rebuild_of
from streams.runtime.ports import LogReader, Outgoing, Place, Producer, Record

TOPIC: Final = "archive"
DIGEST_BITS: Final = 24
FETCH_MS: Final = 200
FETCH_RECORDS: Final = 500
NEAR: Final = 2_000
"""Offsets that are read over; what is further off is sought."""
SILENT_TRIES: Final = 10
WRITTEN_S: Final = 2.0
"""What is not durable by then is not pointed to."""
_NOWHERE: Final = -NEAR
log: Final = logging.getLogger("streams.worker")

_encode: Final = msgspec.json.Encoder().encode


class _Rows(msgspec.Struct):
    video: str
    watermark: int
    rows: dict[str, str]


_decode: Final = msgspec.json.Decoder(_Rows).decode


class Stowed(NamedTuple):
    """What was written of a video, and the pointer to it."""

    pointer: int
    archived: Archived


class ArchiveWriter:
    """Writes what leaves one partition's store; its mark is in every key."""

    def __init__(self, producer: Producer, topic: str, partition: int) -> None:
        self._producer: Final = producer
        self._topic: Final = topic
        self._partition: Final = partition
        self._mark: Final = secrets.token_hex(4)

    def record_of(self, video: str, watermark: int, rows: Mapping[str, bytes]) -> Outgoing:
        """Return the record of a video whose rows are these at a watermark."""
        key = f"{video}@{watermark}.{self._mark}".encode()
        texts = {field: raw.decode() for field, raw in rows.items()}
        value = _encode(_Rows(video, watermark, texts))
        return Outgoing(self._topic, value, key, (), self._partition)

    def tombstone_of(self, archived: Archived) -> Outgoing:
        """Return the record that has another one go."""
        return Outgoing(self._topic, None, archived.key, (), self._partition)

    async def write(
        self, videos: Mapping[str, Mapping[str, bytes]], records: Mapping[str, Outgoing]
    ) -> dict[str, Stowed]:
        """Write records of videos; return those that are known to be durable, and where.

        Of a record that comes later nobody will know.
        """
        sent = {video: asyncio.create_task(self._send(one)) for video, one in records.items()}
        if sent:
            await asyncio.wait(sent.values(), timeout=WRITTEN_S)
        kept = {}
        for video, sending in sent.items():
            offset = sending.result() if sending.done() else None
            if offset is not None:
                record = records[video]
                archived = Archived(record.key or b"", videos[video])
                kept[video] = Stowed(pointer_of(offset, record), archived)
        return kept

    async def _send(self, record: Outgoing) -> int | None:
        """Return the offset of a record that is durable, None if that is not known."""
        try:
            offset = await (await self._producer.send(record))
        except Retry as error:
            log.warning("%s[%d]: nothing leaves for it: %s", self._topic, self._partition, error)
            return None
        return None if offset is None or offset < 0 else offset


class Archive:
    """Reads archived rows, one seek a record, with a reader of its own for each partition.

    They connect when they are first needed, and wait for nobody else's partition.
    """

    def __init__(self, topic: str, new_reader: Callable[[], LogReader]) -> None:
        self._topic: Final = topic
        self._new_reader: Final = new_reader
        self._readers: Final[dict[int, LogReader]] = {}
        self._turns: Final[dict[int, asyncio.Lock]] = {}
        self._reading: Final[set[asyncio.Task[dict[str, Archived]]]] = set()

    async def read(self, partition: int, pointers: Mapping[str, int]) -> Mapping[str, Archived]:
        """Return what left a partition's store, by video.

        `Retry` if the topic does not answer, `Halt` (`archive_lost`) if it has no longer what is
        pointed to. Whoever awaits this may be cancelled: reading ends by itself.
        """
        if not pointers:
            return {}
        task = asyncio.create_task(self._read_all(partition, pointers))
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)
        task.add_done_callback(heard)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Let reading end, then disconnect. Idempotent."""
        await asyncio.gather(*self._reading, return_exceptions=True)
        for partition in list(self._readers):
            await self._readers.pop(partition).stop()

    async def _read_all(self, partition: int, pointers: Mapping[str, int]) -> dict[str, Archived]:
        async with self._turns.setdefault(partition, asyncio.Lock()):
            reader = await self._reader_of(partition)
            wanted = sorted({pointer >> DIGEST_BITS for pointer in pointers.values()})
            records = await self._records(reader, (self._topic, partition), wanted)
        return {
            video: self._archived(partition, video, pointer, records)
            for video, pointer in pointers.items()
        }

    async def _reader_of(self, partition: int) -> LogReader:
        if (reader := self._readers.get(partition)) is None:
            reader = self._new_reader()
            try:
                await reader.start()
            except StreamsError:
                await reader.stop()
                raise
            self._readers[partition] = reader
        return reader

    async def _records(
        self, reader: LogReader, place: Place, wanted: Sequence[int]
    ) -> dict[int, Record]:
        """Return the records at these rising offsets, without those that are gone."""
        records: dict[int, Record] = {}
        left, following, silent = list(wanted), _NOWHERE, 0
        while left:
            if not following <= left[0] < following + NEAR:
                reader.assign({place: left[0]})
                following = left[0]
            try:
                batch = (await reader.fetch(FETCH_MS, FETCH_RECORDS)).get(place, ())
            except Halt as halt:
                if halt.code != "data_loss":
                    raise
                left, following = left[1:], _NOWHERE
                continue
            silent = 0 if batch else silent + 1
            if silent > SILENT_TRIES:
                await self._require_end(reader, place, left[0])
                left, following, silent = left[1:], _NOWHERE, 0
            for record in batch:
                following = record.offset + 1
                records[record.offset] = record
            left = [offset for offset in left if offset >= following] if batch else left
        return records

    async def _require_end(self, reader: LogReader, place: Place, offset: int) -> None:
        """Raise `Retry` unless the topic says that it has nothing at an offset."""
        topic, partition = place
        bounds = (await reader.offsets(topic, [partition])).get(partition)
        if bounds is None or bounds.start <= offset < bounds.end:
            raise Retry(f"{topic}[{partition}] does not answer: archived rows wait for it")

    def _archived(
        self, partition: int, video: str, pointer: int, records: Mapping[int, Record]
    ) -> Archived:
        """Return what a pointer is about; `Halt` if that is not there."""
        offset = pointer >> DIGEST_BITS
        record = records.get(offset)
        why = "where nothing stands any more"
        if record is not None:
            key, value = record.key or b"", record.value or b""
            if key.startswith(f"{video}@".encode()) and pointer == _pointer(offset, key, value):
                rows = _decode(value).rows
                return Archived(key, {field: text.encode() for field, text in rows.items()})
            why = "where another record stands"
        raise Halt(
            f"partition {partition}: the rows of {video} left Redis for offset {offset} of "
            f"{self._topic}[{partition}], {why}: bring that topic back as it was, or count the "
            f"partition again with {rebuild_of(partition)}",
            code="archive_lost",
            partition=partition,
        )


def unread(partition: int, count: int) -> Halt:
    """Return the halt of a partition whose archived videos its reader has no way to."""
    return Halt(
        f"partition {partition}: {count} videos are in the archive, which is not read here",
        code="archive_lost",
        partition=partition,
    )


def pointer_of(offset: int, record: Outgoing) -> int:
    """Return the pointer to a record that was written at an offset."""
    return _pointer(offset, record.key or b"", record.value or b"")


def _pointer(offset: int, key: bytes, value: bytes) -> int:
    digest = blake2b(value, digest_size=DIGEST_BITS // 8, key=blake2b(key).digest()).digest()
    return offset << DIGEST_BITS | int.from_bytes(digest, "big")

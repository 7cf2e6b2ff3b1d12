"""Events as they stand in their topics: one row each, also those that share a record."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from streams.ops.masking import MASK, ShownRecord
from streams.runtime.ports import Record

Row = Mapping[str, Any]
"""What goes to JSON: topic, partition, offset, element, timestamp, key, event."""


async def read_events(
    records: AsyncIterator[Record],
    kind: str | None = None,
    video: str | None = None,
    *,
    reveal: bool = False,
) -> AsyncIterator[Row]:
    """Yield the events of records, of one type or one video where that is named.

    Viewers are masked unless `reveal`.
    """
    async for record in records:
        for row in events_of(record, reveal=reveal):
            event = row["event"] if isinstance(row["event"], dict) else {}
            if kind in (None, event.get("type")) and video in (None, event.get("video")):
                yield row


def events_of(record: Record, *, reveal: bool = False) -> Iterator[Row]:
    """Yield a row for the record, or for each element of its array; what is not JSON is text."""
    shown, key = ShownRecord(record.value, reveal=reveal), record.key
    event = shown.value
    place = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "element": 0,
        "timestamp": record.timestamp,
        "key": None if key is None else MASK if shown.hides(key) else key.decode(errors="replace"),
    }
    if not isinstance(event, list):
        yield {**place, "event": event}
        return
    for element, one in enumerate(event):
        yield {**place, "element": element, "event": one}

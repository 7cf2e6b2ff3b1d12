"""Events as they stand in their topics: one row each, also those that share a record."""

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import msgspec

from streams.runtime.ports import Record

Row = Mapping[str, Any]
"""What goes to JSON: topic, partition, offset, element, timestamp, key, event."""


async def read_events(
    records: AsyncIterator[Record], kind: str | None = None, video: str | None = None
) -> AsyncIterator[Row]:
    """Yield the events of records, of one type or one video where that is named."""
    async for record in records:
        for row in events_of(record):
            event = row["event"] if isinstance(row["event"], dict) else {}
            if kind in (None, event.get("type")) and video in (None, event.get("video")):
                yield row


def events_of(record: Record) -> Iterator[Row]:
    """Yield a row for the record, or for each element of its array; what is not JSON is text."""
    event: Any  # whatever JSON holds
    try:
        event = msgspec.json.decode(record.value or b"null")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        event = (record.value or b"").decode(errors="replace")
    place = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "element": 0,
        "timestamp": record.timestamp,
        "key": None if record.key is None else record.key.decode(errors="replace"),
    }
    if not isinstance(event, list):
        yield {**place, "event": event}
        return
    for element, one in enumerate(event):
        yield {**place, "element": element, "event": one}

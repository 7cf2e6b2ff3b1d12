"""The topic `waiting` as a table: the last record of a cause and video says whether it waits.

It has the log's partitions, and a video the same one in both. Who writes a cause of it is the only
one: the control plane that of the gate, a partition's worker that of reports.
"""

from collections.abc import Mapping
from typing import Final

from streams.core.waiting import Cause, Waiting, decode, encode, key_of
from streams.errors import UNREADABLE, Halt, Retry
from streams.runtime.ports import LogReader, Outgoing
from streams.runtime.reading import batches_of
from streams.settings import Settings

TOPIC: Final = "waiting"


def waiting_record(
    settings: Settings, partition: int, cause: Cause, video: str, waiting: Waiting | None
) -> Outgoing:
    """Return the record that says that a video waits, or (None) that it does no more."""
    value = None if waiting is None else encode(waiting)
    return Outgoing(settings.topic(TOPIC), value, key_of(cause, video), (), partition)


async def read_waiting(reader: LogReader, settings: Settings) -> list[Waiting]:
    """Return all that waits, the longest first.

    `Retry` if a partition does not answer, `Halt` if somebody else wrote there.
    """
    topic = settings.topic(TOPIC)
    known = await reader.offsets(topic, range(settings.partitions))
    if missing := sorted(set(range(settings.partitions)) - known.keys()):
        raise Retry(f"partitions {missing} of {topic} do not answer: what waits is not known")
    last: dict[bytes, bytes] = {}
    async for records in batches_of(reader, {(topic, p): both for p, both in known.items()}):
        last.update((record.key or b"", record.value or b"") for record in records)
    return sorted(_decoded(topic, last), key=lambda one: (one.since, one.video, one.cause))


def _decoded(topic: str, last: Mapping[bytes, bytes]) -> list[Waiting]:
    try:
        return [decode(value) for value in last.values() if value]
    except UNREADABLE as error:
        raise Halt(f"{topic}: a record cannot be read ({error}): somebody else wrote it") from None

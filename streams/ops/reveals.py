"""Who had viewers shown, what and why: one record each, in the topic of the interactions' letters.

It is acknowledged before anything is shown: whoever may not write there sees nobody. Beside the
letters it is kept as long as they are, and every host sees it.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from streams.ops.explain import moment
from streams.ops.tail import Start, Tail, partitions_of, read_tail
from streams.runtime.ports import Cluster, LogReader, Outgoing, Producer
from streams.runtime.reasons import PARSER_ERRORS
from streams.settings import Settings

HEADER: Final = "__streams.revealed"
LOG: Final = "interactions"


class Reveal(msgspec.Struct, frozen=True):
    """A person's word: who wants to see viewers, why, and what they are shown."""

    by: str
    note: str
    what: str


_decode: Final = msgspec.json.Decoder(Reveal).decode


async def keep_reveal(producer: Producer, settings: Settings, reveal: Reveal) -> None:
    """Write down that somebody is about to see viewers; returns when that is durable."""
    headers = [(HEADER, reveal.by.encode())]
    value = msgspec.json.encode(reveal)
    topic = settings.dead_letters(LOG)
    await (await producer.send(Outgoing(topic, value, None, headers, partition=0)))


async def read_reveals(
    reader: LogReader, cluster: Cluster, settings: Settings, start: Start
) -> list[Mapping[str, Any]]:
    """Return a row for each time that viewers were shown, the oldest first."""
    topic = settings.dead_letters(LOG)
    await partitions_of(cluster, topic, None)  # that there is such a topic
    rows: list[Mapping[str, Any]] = []
    async for record in read_tail(reader, Tail(topic, start, None, follow=False), [0]):
        if not any(name == HEADER for name, _ in record.headers):
            continue
        try:
            reveal = _decode(record.value or b"")
        except PARSER_ERRORS:
            continue
        rows.append({"at": moment(record.timestamp), **msgspec.to_builtins(reveal)})
    return rows

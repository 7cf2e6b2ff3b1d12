"""Dead letters in memory: topics, refused records, and what is read of them."""

from collections.abc import Sequence
from typing import Any, Final

from kit.events import NOW, record
from kit.keys import SPELLING, TRUST
from kit.twins import settings_of
from streams.core.partitioner import partition_of
from streams.core.receipts import Refusal
from streams.ops.dead_letters import KeptLetter, LetterFilter, read_letters
from streams.runtime.codec import decode_log
from streams.runtime.letters import by_place, letter_of
from streams.runtime.memory import MemoryCluster, MemoryLog, MemoryProducer, MemoryReader
from streams.runtime.ports import Headers, Record
from streams.settings import TOPICS

LATER: Final = NOW + 60_000
"""Milliseconds: when letters are read and sent again."""
LIMIT: Final = 1 << 20
HOME: Final = partition_of(b"v1", 4)
"""Partition of the video v1."""


class Post:
    """Every topic with its letters, in memory; the clock of its brokers stands at `LATER`."""

    def __init__(self) -> None:
        self.settings: Final = settings_of(partitions=4, record_bytes=LIMIT)
        self.log: Final = MemoryLog(now_ms=lambda: LATER)
        self.cluster: Final = MemoryCluster(self.log)
        self.producer: Final = MemoryProducer(self.log)
        for topic in TOPICS:
            self.log.create(topic, 4)
            self.log.create(f"{topic}.dlq", 4)

    @property
    def reader(self) -> MemoryReader:
        """Another reader of everything."""
        return MemoryReader(self.log)

    def refuse(
        self,
        value: bytes | None,
        refusals: Sequence[Refusal] = (),
        *,
        topic: str = "interactions",
        partition: int = HOME,
        key: bytes | None = b"v1",
        headers: Headers = (),
        by: bool = False,
    ) -> Record:
        """Write a record and its letter, with `by` one that names its place; return the letter.

        Without `refusals` the codec refuses it.
        """
        at = self.log.offsets(topic, partition).end
        bad = record(value, at, key=key, headers=headers, partition=partition, topic=topic)
        self.log.restore([bad])
        found = refusals or decode_log([bad], TRUST, SPELLING).refusals
        letter = letter_of(bad, found, "decode", "g", LIMIT)
        return self.log.append(by_place(letter) if by else letter)

    async def letters(self, **wanted: Any) -> list[KeptLetter]:
        """Return the letters of a filter."""
        chosen = LetterFilter(**wanted)
        letters = read_letters(self.reader, self.cluster, self.settings, chosen)
        return [kept async for kept in letters]

    def sent(self, topic: str = "interactions") -> list[Record]:
        """Return what was sent again to a topic, partition by partition."""
        return [
            one
            for partition in range(4)
            for one in self.log.records(topic, partition)
            if "x-redrive-count" in dict(one.headers)
        ]

"""What the leader knows of the topic `policies`: read once, then only what is new."""

from dataclasses import dataclass, field

from streams.control.policy.succession import NO_ORDERS
from streams.core.events import (
    Policy,
    number_of,
    order_of,
)
from streams.core.keys import Trust
from streams.core.words import SliceReview
from streams.runtime.installation import (
    RECORD_KEY,
    Installation,
    decode_installation,
    table_records,
)
from streams.runtime.policies import KEPT_MS, KeptPolicy, Orders, read_entry
from streams.runtime.ports import LogReader, Record
from streams.settings import Settings


@dataclass(slots=True)
class PolicyTable:
    """The greatest policy, what people want, the policy that they pinned, and when each came.

    `installation` is the one of the records read so far: its keys tell what is genuine.
    """

    settings: Settings
    installation: Installation
    greatest: Policy | None = None
    orders: Orders = NO_ORDERS
    pinned: Policy | None = None
    words: dict[str, SliceReview] = field(default_factory=dict)  # people's last ones, by slice
    written: dict[str, int] = field(default_factory=dict)  # policy's number -> ms
    position: int = 0

    async def read(self, reader: LogReader) -> None:
        """Take what was written since the last call; `Retry` if the topic does not answer."""
        async for record in table_records(reader, self.settings, self.position):
            self._take(record)
        wanted = self.orders.pinned
        if self.pinned is not None and number_of(self.pinned) != wanted:
            self.pinned = None
        if wanted in self.written and self.pinned is None:
            await self._find_pinned(reader, wanted)

    def outlived(self) -> list[str]:
        """Return the numbers of policies that need not be kept any longer, by the table's time."""
        newest = max(self.written.values(), default=0)
        kept = {self.orders.pinned, *([number_of(self.greatest)] if self.greatest else ())}
        return [
            number
            for number, written_ms in self.written.items()
            if newest - written_ms > KEPT_MS and number not in kept
        ]

    def _take(self, record: Record) -> None:
        self.position = record.offset + 1
        if record.key == RECORD_KEY and record.value is not None:
            self.installation = decode_installation(self.settings, record.value)
            return
        if record.value is None:
            self.written.pop((record.key or b"").decode(errors="replace"), None)
            return
        entry = read_entry(record, self._trust())
        if isinstance(entry, Orders):
            self.orders = entry
        elif isinstance(entry, SliceReview):
            self.words[entry.slice] = entry
        elif entry is not None:
            self.written[number_of(entry.policy)] = entry.written_ms
            if self.greatest is None or order_of(entry.policy) >= order_of(self.greatest):
                self.greatest = entry.policy

    async def _find_pinned(self, reader: LogReader, number: str) -> None:
        trust = self._trust()
        async for record in table_records(reader, self.settings):
            entry = read_entry(record, trust) if record.key == number.encode() else None
            if isinstance(entry, KeptPolicy):
                self.pinned = entry.policy

    def _trust(self) -> Trust:
        return self.installation.trust(whole=False)

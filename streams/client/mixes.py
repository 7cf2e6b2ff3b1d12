"""The mix that feeds go by: read as the leader writes it, kept while it is good, faded after.

Nothing that goes wrong here keeps a feed from serving: without a mix, scores are what the prices
alone make of them.
"""

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Final, NamedTuple, Self

from streams.core.keys import NOBODY
from streams.core.units import MICROS, surface_of
from streams.errors import Halt, Retry, Unreachable
from streams.runtime.installation import read_installation
from streams.runtime.kafka.reader import KafkaReader
from streams.runtime.mixes import (
    BEGIN,
    FADED_MS,
    KEPT_MS,
    Mix,
    latest_mix,
    mix_records,
    read_mix,
    remains,
    tilts_on,
)
from streams.runtime.ports import Clock, LogReader, Record
from streams.security import KafkaAddress, given_security
from streams.settings import SHIPPED, load_settings

EVERY_S: Final = 1.0
"""So often the topic is looked at."""
TRUST_S: Final = 60.0
"""At most so often it is asked anew whose keys count: a new leader may have another one."""
log: Final = logging.getLogger("streams.feed")


class MixInForce(NamedTuple):
    """What a feed goes by now: a mix, None before any, and how much of its tilts is left."""

    mix: Mix | None = None
    left: int = 0  # millionths

    @property
    def seq(self) -> int | None:
        """The number that impressions name."""
        return None if self.mix is None else self.mix.seq

    def tilts(self, slice_id: str) -> Mapping[str, int]:
        """Return what is added to the score of each class in a slice."""
        return {} if self.mix is None else tilts_on(self.mix, surface_of(slice_id), self.left)

    def due(self, slice_id: str) -> int | None:
        """Return the share of a slice's slots for newcomers, None for that of the policy.

        Newcomers come without a leader too: a mix that fades tells nothing of them.
        """
        return None if self.mix is None or self.left < MICROS else self.mix.due.get(slice_id)


class Mixes:
    """Follows the mix from one event loop; the context manager starts and closes it.

    `security` is how to get into the Kafka at `brokers`, as a `Publisher` takes it.

    `private_slots` of ten should be of creators that the viewer follows, where an application shows
    its surfaces apart: that share is not for `Leases` to move.
    """

    def __init__(
        self,
        brokers: str | LogReader,
        name: str = "feed",
        *,
        topic_prefix: str = "",
        security: Mapping[str, str] | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._settings = load_settings(SHIPPED, {"topic_prefix": topic_prefix}, {})
        self._source = (
            KafkaAddress(brokers, given_security(security or {}))
            if isinstance(brokers, str)
            else brokers
        )
        self._name = name
        self._clock = clock
        self._reader: LogReader | None = None
        self._own: KafkaReader | None = None
        self._mix: Mix | None = None
        self._since = 0.0  # when the mix in force was as good as new
        self._next = BEGIN
        self._trust = NOBODY
        self._trusted_at = float("-inf")
        self._state = ""
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def in_force(self) -> MixInForce:
        """What to go by now."""
        if self._mix is None:
            return MixInForce()
        return MixInForce(self._mix, remains(round(self.age_s * 1_000)))

    @property
    def age_s(self) -> float:
        """Seconds since the mix in force was new; without any, since this was started."""
        return self._clock() - self._since

    @property
    def private_slots(self) -> int:
        """How many of ten slots should be of creators that the viewer follows; 0 if unknown."""
        known = self.in_force
        return known.mix.private_slots if known.mix is not None and known.left else 0

    async def start(self) -> None:
        """Connect and read the mix in force; `Unreachable` if no broker answers."""
        if isinstance(self._source, KafkaAddress):
            self._own = KafkaReader(self._source, self._name)
            try:
                await self._own.start()
            except BaseException:
                await self._own.stop()
                raise
            self._reader = self._own
        else:
            self._reader = self._source
        self._since = self._clock()
        await self.look()
        self._task = asyncio.create_task(self._follow(), name="mixes")

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        own, self._own, self._reader = self._own, None, None
        if own is not None:
            await own.stop()

    async def look(self) -> None:
        """Take what was written since the last look, and tell what a feed should know."""
        assert self._reader is not None
        why = ""
        try:
            records, self._next = await mix_records(self._reader, self._settings, self._next)
            await self._take(self._reader, records)
        except (Retry, Unreachable) as error:
            why = str(error)
        except Halt as error:  # what was read is gone: the latest is read again
            self._next, why = BEGIN, str(error)
        self._tell(why)

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(EVERY_S)
            await self.look()

    async def _take(self, reader: LogReader, records: Sequence[Record]) -> None:
        """Put the greatest genuine mix in force; one that nobody in force signed is told of."""
        first = self._mix is None
        if any(read_mix(record, self._trust) is None for record in records):
            await self._renew_trust(reader)
        forged = sum(read_mix(record, self._trust) is None for record in records)
        if forged:
            log.warning("%d records of the topic mix are nobody's whose key counts", forged)
        mix = latest_mix(records, self._trust, self._mix)
        if mix is None or mix == self._mix:
            return
        self._mix, self._since = mix, self._clock()
        if first:
            self._since -= min(max(now_ms() - mix.ts, 0), KEPT_MS + FADED_MS) / 1_000

    async def _renew_trust(self, reader: LogReader) -> None:
        if self._clock() - self._trusted_at < TRUST_S:
            return
        self._trusted_at = self._clock()
        installation = await read_installation(reader, self._settings)
        if installation is not None:
            self._trust = installation.trust(whole=False)

    def _tell(self, why: str) -> None:
        """Log how the mix stands, once as long as it stands so."""
        known = self.in_force
        if known.mix is None:
            state = "there is no mix: the policy's prices alone decide"
        elif known.left == MICROS:
            state = ""
        elif known.left:
            state = "no mix follows the one in force: its tilts fade"
        else:
            state = "the mix in force is too old: the policy's prices alone decide"
        if state != self._state:
            told = f"{state} ({why})" if why and state else state
            log.warning("%s", told or "a mix is in force")
            self._state = state


def now_ms() -> int:
    """Return this host's clock."""
    return time.time_ns() // 1_000_000

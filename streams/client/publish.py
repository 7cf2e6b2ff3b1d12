"""Publishing lines of events: routed, packed, acknowledged, and able to go on where it stopped."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from streams.client.intake import Taken, events_in, take_event
from streams.client.lines import InputLine
from streams.client.packing import EventArray, Packer
from streams.errors import DeadLetter, Retry, StreamsError
from streams.runtime.ports import Clock, Outgoing, Producer
from streams.settings import Settings

LINGER_S: Final = 0.2
"""Longest wait of an event in an unfinished array when no further line comes."""
_PENDING_MAX: Final = 20_000


class InvalidLine(StreamsError):
    """A line that the pipeline would refuse; everything before it is on its way."""

    def __init__(self, line: int, reason: str, message: str) -> None:
        super().__init__(f"line {line}: {reason}: {message}")
        self.line: Final = line


class NotSent(StreamsError):
    """Records could not be written; `line` is the first whose event may be missing."""

    def __init__(self, line: int, cause: Retry) -> None:
        super().__init__(f"{cause}; go on with --from-line {line}")
        self.line: Final = line


@dataclass(frozen=True)
class PublishOptions:
    """How lines become records.

    `batch` events at most share a record, `rate` is events a second (None: unbounded),
    `oldest_ms` refuses events that the broker's retention would delete at once, with `event_time`.
    """

    batch: int = 1
    event_time: bool = False
    skip_invalid: bool = False
    rate: float | None = None
    oldest_ms: int = 0


class LinePublisher:
    """Sends lines in order; private to one run.

    `partitions` is the partition count of the interactions topic, `now` the time in ms since
    1970. `events` and `records` count what was handed to the producer, by topic without prefix.
    """

    def __init__(
        self,
        producer: Producer,
        settings: Settings,
        partitions: int,
        options: PublishOptions,
        now: Callable[[], int],
    ) -> None:
        self._producer = producer
        self._settings = settings
        self._options = options
        self._now = now
        self._packer = Packer(partitions, options.batch)
        self._pending: deque[tuple[int, Awaitable[object]]] = deque()
        self.last_line = 0
        self.invalid: list[InvalidLine] = []
        self.skipped = 0
        self.events: Counter[str] = Counter()
        self.records: Counter[str] = Counter()

    async def put(self, line: InputLine) -> int:
        """Send the events of one line, or keep them for their arrays; return how many they are.

        `InvalidLine` if the pipeline would refuse one (unless invalid events are skipped): then
        nothing of the line is sent. `NotSent` if the brokers fail.
        """
        events = self._take(line)
        for taken in events:
            await self._put(line.number, taken)
        self.last_line = line.number
        return len(events)

    async def send_arrays(self) -> None:
        """Send the arrays as they stand."""
        for array in self._packer.take_all():
            await self._send_array(array)

    async def finish(self) -> None:
        """Send what is kept and wait for all acknowledgements; `NotSent` if one does not come."""
        await self.send_arrays()
        await self._settle(0)

    def _take(self, line: InputLine) -> list[Taken]:
        limit = self._settings.record_bytes
        events: list[Taken] = []
        try:
            values = events_in(line.text, limit)
        except DeadLetter as letter:
            self._refuse(InvalidLine(line.number, letter.reason, str(letter)))
            return events
        for element, value in enumerate(values):
            try:
                taken = take_event(value, self._now(), limit)
                self._refuse_aged(taken)
                events.append(taken)
            except DeadLetter as letter:
                place = f"element {element}: " if len(values) > 1 else ""
                self._refuse(InvalidLine(line.number, letter.reason, f"{place}{letter}"))
        return events

    async def _put(self, line: int, taken: Taken) -> None:
        self.events[taken.topic] += 1
        if taken.topic == "interactions" and self._options.batch > 1:
            for array in self._packer.add(taken, line).full:
                await self._send_array(array)
            return
        key = taken.event.video.encode()
        ts = taken.event.ts if self._options.event_time else None
        topic = self._settings.topic(taken.topic)
        await self._send(taken.topic, line, Outgoing(topic, taken.value, key, (), None, ts))

    def _refuse(self, invalid: InvalidLine) -> None:
        if not self._options.skip_invalid:
            raise invalid
        self.skipped += 1
        if len(self.invalid) < 10:
            self.invalid.append(invalid)

    def _refuse_aged(self, taken: Taken) -> None:
        if self._options.event_time and taken.event.ts < self._options.oldest_ms:
            raise DeadLetter(
                "ts",
                "older than the topic keeps records, the broker would delete it: "
                "publish with --timestamps now",
            )

    async def _send_array(self, array: EventArray) -> None:
        ts = array.ts if self._options.event_time else None
        topic = self._settings.topic("interactions")
        record = Outgoing(topic, array.value, array.key, (), array.partition, ts)
        await self._send("interactions", array.mark, record)

    async def _send(self, topic: str, line: int, record: Outgoing) -> None:
        try:
            self._pending.append((line, await self._producer.send(record)))
        except Retry as error:
            raise await self._failed(line, error) from error
        self.records[topic] += 1
        if len(self._pending) > _PENDING_MAX:
            await self._settle(_PENDING_MAX // 2)

    async def _settle(self, keep: int) -> None:
        """Wait for acknowledgements, the oldest first, until `keep` are outstanding."""
        while len(self._pending) > keep:
            line, acknowledged = self._pending.popleft()
            try:
                await acknowledged
            except Retry as error:
                raise await self._failed(line, error) from error

    async def _failed(self, line: int, error: Retry) -> NotSent:
        """Return the failure with the first line that may be missing, everything considered."""
        lines = [line, *self._packer.marks]
        for number, acknowledged in self._pending:
            try:
                await acknowledged
            except Retry:
                lines.append(number)
        return NotSent(min(lines), error)


class EventPace:
    """Keeps a run to `rate` events a second; without a rate it never waits."""

    def __init__(self, rate: float | None, clock: Clock) -> None:
        self._rate = rate
        self._clock = clock
        self._start = clock()
        self._events = 0

    async def wait(self) -> None:
        """Return when the next event is due; naps shorter than 10 ms are saved up."""
        if self._rate is None:
            return
        ahead = self._start + self._events / self._rate - self._clock()
        if ahead > 0.01:
            await asyncio.sleep(ahead)

    def add(self, events: int) -> None:
        """Count what was sent."""
        self._events += events


async def publish_lines(
    publisher: LinePublisher,
    chunks: AsyncIterator[list[InputLine]],
    pace: EventPace,
    stop: asyncio.Event,
    *,
    from_line: int = 1,
    tell: Callable[[int], None] = lambda _events: None,
) -> None:
    """Put every line from `from_line` on, until the input ends or `stop` is set; then finish.

    What was read is acknowledged when this returns or raises `InvalidLine`. `tell` hears after
    every line how many events were sent.
    """
    try:
        async for lines in _lingering(chunks, publisher, stop):
            for line in lines:
                if line.number >= from_line:
                    await pace.wait()
                    if stop.is_set():
                        break
                    pace.add(await publisher.put(line))
                    tell(publisher.events.total())
    except InvalidLine:
        await publisher.finish()
        raise
    await publisher.finish()


async def _lingering(
    chunks: AsyncIterator[list[InputLine]], publisher: LinePublisher, stop: asyncio.Event
) -> AsyncIterator[list[InputLine]]:
    """Yield the chunks until `stop`; when none comes for a while, send the arrays as they are."""
    stopped = asyncio.ensure_future(stop.wait())
    try:
        while not stop.is_set():
            chunk = asyncio.ensure_future(_next(chunks))
            await asyncio.wait({chunk, stopped}, timeout=LINGER_S, return_when="FIRST_COMPLETED")
            if not chunk.done():
                await publisher.send_arrays()
                await asyncio.wait({chunk, stopped}, return_when="FIRST_COMPLETED")
            if not chunk.done():
                chunk.cancel()
                with suppress(asyncio.CancelledError):
                    await chunk
                return
            if (lines := chunk.result()) is None:
                return
            yield lines
    finally:
        stopped.cancel()


async def _next(chunks: AsyncIterator[list[InputLine]]) -> list[InputLine] | None:
    return await anext(chunks, None)

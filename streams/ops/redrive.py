"""Sends what was refused again, or discards it: counted first, done a run of letters at a time.

Each run is marked once all of it is acknowledged, so that the same command goes on where it was
stopped, and a second one sends nothing. What was sent and not yet marked when a process died is
sent twice: its ids make the second one a duplicate while the log remembers them.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Literal, NamedTuple

from streams.errors import Retry
from streams.ops.dead_letters import KeptLetter, LetterName
from streams.ops.mending import Mended, Mending
from streams.ops.settled import Element, Fate, marks
from streams.ops.tail import TailSpan, read_span
from streams.runtime.letters import HeldRecord, Listed, held
from streams.runtime.ports import LogReader, Outgoing, Producer
from streams.settings import Settings

RUN_LETTERS: Final = 500
RUN_BYTES: Final = 8 << 20

Settling = tuple[KeptLetter, Listed]
"""A refusal to be marked, with its letter."""


class OutcomeKey(NamedTuple):
    """What was refused why, and what becomes of it: valid, sent, discarded, or why not."""

    topic: str
    reason: str
    outcome: str


class Outcomes:
    """Counts what becomes of refusals, with the words of the first of each kind.

    `done` is the word for what is done, `valid` where it would be done and `acting` is False.
    """

    def __init__(self, done: Literal["sent", "discarded"], *, acting: bool) -> None:
        self.acting: Final = acting
        self._done: Final = done
        self._counts: Final[Counter[OutcomeKey]] = Counter()
        self._why: Final[dict[OutcomeKey, str]] = {}

    def add(self, kept: KeptLetter, refusal: Listed, outcome: str, why: str = "") -> None:
        """Count one refusal."""
        key = OutcomeKey(kept.name.topic, refusal.reason, outcome)
        self._counts[key] += 1
        self._why.setdefault(key, why)

    def add_done(self, kept: KeptLetter, refusal: Listed) -> None:
        """Count one refusal about which something is done, or would be."""
        self.add(kept, refusal, self._done if self.acting else "valid")

    def total(self, outcome: str = "") -> int:
        """Return how many refusals there were, of one outcome where that is named."""
        return sum(n for key, n in self._counts.items() if outcome in ("", key.outcome))

    def summary(self) -> str:
        """Return all of it in one line."""
        if self.acting:
            return f"{self.total(self._done):,} of {self.total():,} events {self._done}"
        some = f"{self.total('valid'):,} of {self.total():,} events"
        return f"{some} would be {self._done}, nothing was: act with --yes"

    def rows(self) -> list[dict[str, Any]]:
        """Return the counts, the largest first."""
        ordered = sorted(self._counts.items(), key=lambda one: (-one[1], one[0]))
        return [
            {**key._asdict(), "events": count, "why": self._why[key] or None}
            for key, count in ordered
        ]


class Redrive:
    """Mends letters and sends them, or only counts what would be sent.

    `log` reads the records of which a letter holds the place alone, and is used for nothing else.
    """

    def __init__(
        self,
        settings: Settings,
        mending: Mending,
        log: LogReader,
        producer: Producer,
        now_ms: Callable[[], int],
    ) -> None:
        self._settings = settings
        self._mending = mending
        self._log = log
        self._producer = producer
        self._now_ms = now_ms

    async def run(
        self,
        letters: AsyncIterator[KeptLetter],
        outcomes: Outcomes,
        stop: Callable[[], bool] = lambda: False,
        tell: Callable[[int], None] = lambda _events: None,
    ) -> bool:
        """Take all letters; False if stopped before. `Retry` if the brokers fail for now.

        `tell` hears after every run how many events there were so far.
        """
        async for run in runs_of(letters):
            if stop():
                return False
            records = await self._records(run)
            jobs: list[tuple[KeptLetter, Mended]] = []
            for kept in run:
                mended = self._mending(kept, records.get(kept.name), self._now_ms())
                jobs += [(kept, one) for one in mended.sent]
                for one in mended.spared:
                    outcomes.add(kept, *one)
            await self._send(jobs, outcomes)
            tell(outcomes.total())
        return True

    async def _send(self, jobs: Sequence[tuple[KeptLetter, Mended]], outcomes: Outcomes) -> None:
        """Write and mark records, in order; what fails stays open."""
        failures: list[Retry | None] = [None] * len(jobs)
        if outcomes.acting:
            failures = await _write(self._producer, [job.record for _, job in jobs])
        done: list[Settling] = [
            (kept, refusal)
            for (kept, job), failure in zip(jobs, failures, strict=True)
            for refusal in job.refusals
            if failure is None
        ]
        if outcomes.acting:
            await settle(self._producer, self._settings, "redriven", done)
        for one in done:
            outcomes.add_done(*one)
        for failure in filter(None, failures):
            raise Retry(f"{failure}; what was sent is marked: the same command goes on")

    async def _records(self, run: Sequence[KeptLetter]) -> dict[LetterName, HeldRecord]:
        """Return the records of letters, from the log where a letter holds less than its record."""
        records = {kept.name: kept.held for kept in run if kept.held is not None}
        missing: defaultdict[str, dict[tuple[int, int], LetterName]] = defaultdict(dict)
        for kept in run:
            if kept.held is None:
                missing[kept.letter.topic][kept.letter.partition, kept.letter.offset] = kept.name
        for topic, names in missing.items():
            span = await self._span(topic, names)
            async for record in read_span(self._log, span, follow=False):
                if name := names.get((record.partition, record.offset)):
                    records[name] = held(record)
        return records

    async def _span(self, topic: str, places: Iterable[tuple[int, int]]) -> TailSpan:
        """Return from the first to the last of some places, as far as the log still holds them."""
        offsets: defaultdict[int, list[int]] = defaultdict(list)
        for partition, offset in places:
            offsets[partition].append(offset)
        bounds = await self._log.offsets(topic, list(offsets))
        start = {p: max(min(offsets[p]), both.start) for p, both in bounds.items()}
        end = {p: min(max(offsets[p]) + 1, both.end) for p, both in bounds.items()}
        return TailSpan(topic, start, end)


async def discard(
    letters: AsyncIterator[KeptLetter], settings: Settings, producer: Producer, outcomes: Outcomes
) -> None:
    """Mark the refusals of letters as discarded, or only count them."""
    async for run in runs_of(letters):
        done = [(kept, refusal) for kept in run for refusal in kept.refusals]
        if outcomes.acting:
            await settle(producer, settings, "discarded", done)
        for one in done:
            outcomes.add_done(*one)


async def settle(
    producer: Producer, settings: Settings, fate: Fate, settled: Iterable[Settling]
) -> None:
    """Mark refusals; returns when the marks are durable."""
    by_topic: defaultdict[str, list[tuple[int, Element]]] = defaultdict(list)
    for kept, refusal in settled:
        by_topic[kept.name.topic].append((kept.written.partition, kept.element(refusal)))
    for topic, elements in by_topic.items():
        for mark in marks(settings.dead_letters(topic), fate, elements):
            await (await producer.send(mark))


async def runs_of(letters: AsyncIterator[KeptLetter]) -> AsyncIterator[list[KeptLetter]]:
    """Yield letters in runs, neither long nor large."""
    run: list[KeptLetter] = []
    size = 0
    async for kept in letters:
        run.append(kept)
        size += len(kept.written.value or b"")
        if len(run) >= RUN_LETTERS or size >= RUN_BYTES:
            yield run
            run, size = [], 0
    if run:
        yield run


async def _write(producer: Producer, records: Sequence[Outgoing]) -> list[Retry | None]:
    """Write records in order, none behind one that was not taken; return each one's failure."""
    acks: list[Awaitable[object]] = []
    stopped: Retry | None = None
    for record in records:
        try:
            acks.append(await producer.send(record))
        except Retry as error:
            stopped = error
            break
    failures: list[Retry | None] = []
    for result in await asyncio.gather(*acks, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, Retry):
            raise result
        failures.append(result if isinstance(result, Retry) else None)
    return failures + [stopped] * (len(records) - len(failures))

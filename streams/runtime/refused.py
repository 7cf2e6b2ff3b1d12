"""What is refused of a partition's records: letters, alarms, and a slower pace while it is much."""

import logging
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Final, NamedTuple

from streams.core.receipts import Refusal
from streams.core.units import MICROS
from streams.runtime.bad_input import PAUSE_PERCENT, TRICKLE_RECORDS, BadInput, Rest
from streams.runtime.codec import Decoded
from streams.runtime.letters import by_place, letter_of
from streams.runtime.metrics import Metrics
from streams.runtime.ports import Outgoing, Record
from streams.settings import Settings

log: Final = logging.getLogger("streams.worker")


class RefusedRecord(NamedTuple):
    """A record with all its refusals; `stage` is the first part of the pipeline that refused."""

    record: Record
    refusals: Sequence[Refusal]
    stage: str

    @property
    def misrouted(self) -> bool:
        """Whether all of it is another partition's."""
        return all(refusal.reason == "misrouted" for refusal in self.refusals)


class Refused:
    """What was refused of a chunk and has no letter yet, by offset.

    `bad_micros` and `misrouted_micros` say how much of the chunk's records that is: a record counts
    by the share of its elements that were refused. What is only in the wrong partition is not bad.
    """

    def __init__(self, decoded: Decoded) -> None:
        self.bad_micros = 0
        self.misrouted_micros = 0
        self._offsets = decoded.offsets
        self._decoding: defaultdict[int, int] = defaultdict(int)
        self._by_offset: defaultdict[int, list[Refusal]] = defaultdict(list)
        for refusal in decoded.refusals:
            self._decoding[refusal.offset] += 1
        self.add(decoded.refusals)

    def add(self, refusals: Sequence[Refusal]) -> None:
        """Take what the fold refused of the next events."""
        for refusal in refusals:
            self._by_offset[refusal.offset].append(refusal)

    def take(self, chunk: Sequence[Record], upto: int) -> Iterator[RefusedRecord]:
        """Yield the refused records up to an offset, and count how bad they are."""
        if not self._by_offset:
            return
        for record in chunk:
            if record.offset <= upto and (refusals := self._by_offset.pop(record.offset, None)):
                self._weigh(record.offset, refusals)
                refusals.sort(key=attrgetter("element"))
                stage = "decode" if record.offset in self._decoding else "fold"
                yield RefusedRecord(record, refusals, stage)

    def _weigh(self, offset: int, refusals: Sequence[Refusal]) -> None:
        decoded = bisect_right(self._offsets, offset) - bisect_left(self._offsets, offset)
        elements = decoded + self._decoding.get(offset, 0)
        misrouted = sum(refusal.reason == "misrouted" for refusal in refusals)
        self.misrouted_micros += misrouted * MICROS // elements
        self.bad_micros += (len(refusals) - misrouted) * MICROS // elements


class Intake:
    """What one partition does about bad records: a letter each, alarms, and rest.

    Records of another partition (a producer with another partitioner) are alarmed for, and never a
    reason to rest; while they are many, their letters hold place and reason only.
    """

    def __init__(self, partition: int, settings: Settings, metrics: Metrics) -> None:
        self._partition: Final = partition
        self._settings: Final = settings
        self._metrics: Final = metrics
        self._topic: Final = settings.topic("interactions")
        self._letters: Final = settings.dead_letters("interactions")
        self._bad = BadInput()
        self._misrouted: Final = BadInput(pauses=False)
        self._rest: Final = Rest()

    @property
    def resting(self) -> bool:
        """Whether it is paused, or reads a few records at a time."""
        return self._rest.resting

    @property
    def most(self) -> int:
        """How many records to take at once."""
        return TRICKLE_RECORDS if self._rest.resting else 1 << 30

    def ready(self, now: float) -> bool:
        """Tell whether records may be taken now."""
        return now >= self._rest.until

    def letters(self, chunk: Sequence[Record], refused: Refused, upto: int) -> Iterator[Outgoing]:
        """Yield the letters of what was refused up to an offset."""
        group, limit = self._settings.group, self._settings.record_bytes
        for one in refused.take(chunk, upto):
            for reason, count in Counter(refusal.reason for refusal in one.refusals).items():
                self._metrics.dead_letters.labels(self._topic, reason).inc(count)
            letter = letter_of(one.record, one.refusals, one.stage, group, limit)
            yield by_place(letter) if one.misrouted and self._has_many_misrouted() else letter

    def judge(self, now: float, records: int, refused: Refused) -> None:
        """Note how bad a chunk was: warn, begin to rest, or go on with all."""
        self._judge_misrouted(now, records, refused.misrouted_micros)
        if self._rest.resting:
            if self._rest.note(now, records, refused.bad_micros):
                self._bad = BadInput()
                log.warning("partition %d goes on: its records are good again", self._partition)
            return
        match self._bad.note(now, records, refused.bad_micros):
            case "notice":
                self._warn(f"bad records; see {self._letters}")
            case "alarm":
                self._metrics.bad_input.labels(self._topic, str(self._partition)).inc()
                self._warn(f"more than 1 % of this minute's records are bad; see {self._letters}")
            case "pause":
                self._rest.begin(now)
                self._warn(
                    f"PAUSED: more than {PAUSE_PERCENT} % of this minute's records are bad; mend "
                    f"their producer (see {self._letters}); it goes on by itself, a few records "
                    "at a time, then all"
                )
            case "fine":
                pass

    def _judge_misrouted(self, now: float, records: int, misrouted_micros: int) -> None:
        judgement = self._misrouted.note(now, records, misrouted_micros)
        if judgement == "alarm":
            self._metrics.misrouted.labels(self._topic, str(self._partition)).inc()
        if judgement in {"alarm", "notice"}:
            self._warn(
                "records of videos of other partitions (misrouted); their producer must use "
                "Kafka's Java partitioner: in librdkafka set partitioner=murmur2_random; see "
                + self._letters
            )

    def _has_many_misrouted(self) -> bool:
        return self._misrouted.is_above(PAUSE_PERCENT)

    def _warn(self, text: str) -> None:
        log.warning("partition %d: %s", self._partition, text)

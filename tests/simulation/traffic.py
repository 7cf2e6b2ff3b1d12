"""What people and their applications write: each step brings its records at once, in order."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from kit.events import FANS, FOOTBALL, SHENYANG
from kit.twins import LOG
from simulation.plan import Step
from simulation.processes import PARTITIONS, SLICES

from streams.core.events import (
    Impression,
    InteractionRecord,
    Like,
    Recognition,
    Report,
    Tag,
    Upload,
    View,
)
from streams.core.partitioner import partition_of
from streams.core.words import Review, SecondLook, SliceReview
from streams.errors import Retry
from streams.runtime.memory import MemoryLog
from streams.runtime.ports import Outgoing
from streams.runtime.signing import encode

TITLES: Final = (
    "周末足球赛 #football",
    "周末足球赛 #football",
    "红烧肉 cooking",
    "online casino gambling",
    "qqq",
)
BAD: Final[Sequence[bytes | None]] = (
    None,
    b"",
    b"{",
    b'"text"',
    b"[]",
    b'{"type":"view"}',
    b"\xff",
)


class Traffic:
    """Writes what steps bring; what a partition without a leader refuses is written later."""

    def __init__(self, log: MemoryLog, now_ms: Callable[[], int]) -> None:
        self._log: Final = log
        self._now_ms: Final = now_ms
        self._late: list[Outgoing] = []

    def bring(self, step: Step) -> None:
        """Write what a step brings."""
        records: Sequence[Outgoing] = getattr(self, f"_{step.kind}")(step, Random(step.number))
        self._late += records
        self.bring_late()

    def bring_late(self) -> None:
        """Write what was refused before, as producers do."""
        late, self._late = self._late, []
        for record in late:
            try:
                self._log.append(record)
            except Retry:
                self._late.append(record)

    # ------------------------------------------------------------------ the control plane's topics

    def _upload(self, step: Step, random: Random) -> list[Outgoing]:
        video, about = step.who, {"metadata": {}}
        event = Upload(
            f"u-{video}-{random.randrange(3)}",
            video,
            f"c{random.randrange(3)}",
            self._now_ms(),
            15_000,
            title=random.choice(TITLES),
            city=random.choice(["", "shenyang"]),
            followers=random.choice([0, 500, 2_000_000]),
            commercial=random.random() < 0.2,
            advertiser="",
            **about,
        )
        return [_keyed("uploads", video, event)]

    def _tags(self, step: Step, random: Random) -> list[Outgoing]:
        name = random.choice(["football", "cooking", "music"])
        tag = Tag("interest", name, random.randrange(1_000_001))
        source = f"s{random.randrange(2)}"
        event = Recognition(f"r-{step.number}", step.who, self._now_ms(), source, (tag,))
        return [_keyed("recognitions", step.who, event)]

    def _verdict(self, step: Step, random: Random) -> list[Outgoing]:
        verdict: Any = random.choice(["approve", "limit", "reject"])
        ts = self._now_ms() - random.choice([0, 0, 0, 60_000])
        event = Review(f"m-{step.number}", step.who, ts, verdict, "moderator")
        return [_keyed("reviews", step.who, event)]

    def _look(self, step: Step, _random: Random) -> list[Outgoing]:
        event = SecondLook(f"l-{step.number}", step.who, self._now_ms(), "moderator")
        return [_keyed("reviews", step.who, event)]

    def _word(self, step: Step, random: Random) -> list[Outgoing]:
        frozen = random.random() < 0.5
        event = SliceReview(f"w-{step.number}", step.who, self._now_ms(), frozen, "moderator")
        return [_keyed("reviews", step.who, event)]

    # ------------------------------------------------------------------ the log

    def _crowd(self, step: Step, random: Random) -> list[Outgoing]:
        events: list[InteractionRecord] = []
        for number in range(step.number):
            name = f"o-{step.who}-{int(step.at * 1000)}-{number}"
            slice_id = random.choice([FOOTBALL, FOOTBALL, SHENYANG, FANS, *SLICES])
            late = random.choice([0, 0, 0, 0, 7_200_000])
            about = (step.who, f"u{random.randrange(30)}", slice_id, self._now_ms() - late)
            events.append(Impression(name, *about))
            if random.random() < 0.7:
                events.append(View(f"{name}-v", *about, random.randrange(12_000), 12_000))
            if random.random() < 0.2:
                events.append(Like(f"{name}-l", *about))
            if random.random() < 0.05:
                events.append(Report(f"{name}-r", *about))
        return [_keyed(LOG, step.who, event) for event in events]

    def _again(self, step: Step, _random: Random) -> list[Outgoing]:
        partition = int(step.who)
        records = [
            record
            for record in self._log.records(LOG, partition)[-4 * step.number :]
            if not record.headers
        ]
        return [
            Outgoing(LOG, record.value, record.key, record.headers, partition)
            for record in records[-step.number :]
        ]

    def _astray(self, step: Step, _random: Random) -> list[Outgoing]:
        home = partition_of(step.who.encode(), PARTITIONS)
        events = [
            Impression(
                f"a-{step.at}-{n}".replace(".", "_"), step.who, "u1", FOOTBALL, self._now_ms()
            )
            for n in range(step.number)
        ]
        records = [_keyed(LOG, step.who, event, (home + 1) % PARTITIONS) for event in events]
        verdict = Review(f"a-{int(step.at)}", step.who, self._now_ms(), "reject", "moderator")
        return [*records, _keyed("reviews", step.who, verdict, (home + 1) % PARTITIONS)]

    def _bad(self, step: Step, _random: Random) -> list[Outgoing]:
        key, place = step.who.encode(), int(step.at * 1000)
        records = [Outgoing(LOG, BAD[(place + n) % len(BAD)], key) for n in range(step.number)]
        return [*records, Outgoing("uploads", b"{", key)]


def _keyed(topic: str, about: str, event: Any, partition: int | None = None) -> Outgoing:
    return Outgoing(topic, encode(event), about.encode(), (), partition)

"""What people and their applications write: each step brings its records at once, in order."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from kit.events import FANS, FOOTBALL, SHENYANG
from kit.keys import KEY, NEXT_KEY, SIGNER
from kit.twins import LOG
from simulation.plan import Step
from simulation.processes import PARTITIONS, SLICES
from simulation.viewers import deeds

from streams.control.admission.register import TOPICS
from streams.core.events import (
    Ended,
    Impression,
    InteractionRecord,
    PartitionControl,
    Recognition,
    Tag,
    Upload,
)
from streams.core.partition_control import Generation, Key
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
ROOMS: Final = ("v1", "v4")
"""Videos that are live rooms."""
BAD: Final[Sequence[bytes | None]] = (
    None,
    b"",
    b"{",
    b'"text"',
    b"[]",
    b'{"type":"view"}',
    b"\xff",
    b'{"type":"glance"}',
    b'{"type":"hold","id":"h1","video":"v1","ts":1,"seq":1}',
    *(
        b'{"type":"like","id":%b,"video":"v1","viewer":"u1","slice":%b,"ts":%b}' % texts
        for texts in (
            (b'"a.b"', b'"discover:x"', b"1700000000000"),
            (b'"a"', b'"discover"', b"1700000000000"),
            (b'"a"', b'"discover:x"', b"1700000000"),
            (b'"a"', b'"discover:x"', b"1700003600000"),
            (b'"a"', b"7", b"1700000000000"),
            (b'"\xff"', b'"discover:x"', b"1700000000000"),
        )
    ),
)


def creator_of(video: str) -> str:
    """Return who made a video: two of them all there is."""
    return f"c{int(video[1:]) % 2}"


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
        is_room = video in ROOMS
        event = Upload(
            f"u-{video}-{random.randrange(3)}",
            video,
            creator_of(video),
            self._now_ms(),
            30_000 if is_room else 15_000,
            title=random.choice(TITLES),
            city=random.choice(["", "shenyang"]),
            followers=random.choice([0, 500, 2_000_000]),
            commercial=random.random() < 0.2,
            advertiser=random.choice(["", "a1"]),
            format="live" if is_room else "video",
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

    def _over(self, step: Step, _random: Random) -> list[Outgoing]:
        return [_keyed("uploads", step.who, Ended(f"e-{step.number}", step.who, self._now_ms()))]

    # ------------------------------------------------------------------ the log

    def _longer(self, step: Step, _random: Random) -> list[Outgoing]:
        name = f"generation-{step.number}"
        return _everywhere(Generation(name, self._now_ms(), step.number))

    def _keys(self, step: Step, _random: Random) -> list[Outgoing]:
        keys = (KEY.public, NEXT_KEY.public)
        return _everywhere(Key(f"keys-{step.number}", self._now_ms(), step.number, keys))

    def _crowd(self, step: Step, random: Random) -> list[Outgoing]:
        events: list[InteractionRecord] = []
        for number in range(step.number):
            name = f"o-{step.who}-{int(step.at * 1000)}-{number}"
            slice_id = random.choice([FOOTBALL, FOOTBALL, SHENYANG, FANS, *SLICES])
            late = random.choice([0, 0, 0, 0, 7_200_000])
            about = (step.who, f"u{random.randrange(30)}", slice_id, self._now_ms() - late)
            shown = Impression(name, *about)
            events += [shown, *deeds(random, shown, name)]
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
        records = [Outgoing(LOG, _bad(place + n), key) for n in range(step.number)]
        return [*records, *(Outgoing(topic, _bad(place), key) for topic in TOPICS)]


def _bad(number: int) -> bytes | None:
    return BAD[number % len(BAD)]


def _everywhere(event: PartitionControl) -> list[Outgoing]:
    """Return a control record about no video: each partition has its own copy."""
    value = encode(event)
    headers = (SIGNER.header(None, value),)
    return [Outgoing(LOG, value, None, headers, partition) for partition in range(PARTITIONS)]


def _keyed(topic: str, about: str, event: Any, partition: int | None = None) -> Outgoing:
    return Outgoing(topic, encode(event), about.encode(), (), partition)

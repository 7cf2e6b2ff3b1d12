"""Dead letters as they are kept: chosen, read once each.

A letter is named by the place of the record that it holds, `interactions:3:821122`. Workers write
letters at least once; repeats are read as one.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, Self

import msgspec

from streams.core.keys import NOBODY
from streams.core.partitioner import partition_of
from streams.errors import Halt, Misconfigured, RejectReason
from streams.ops.settled import Element, Fate, Settled, read_settled
from streams.ops.tail import Start, Tail, partitions_of, read_tail
from streams.runtime.codec import Spelling, decode_log
from streams.runtime.headers import PRODUCER
from streams.runtime.letters import HeldRecord, Letter, Listed, read_letter, record_in
from streams.runtime.ports import Cluster, Headers, LogReader, Record
from streams.settings import TOPICS, Settings

ROUNDS: Final = "x-redrive-count"
"""Header of a record that was sent again: how many times."""

State = Literal["open"] | Fate


class LetterName(NamedTuple):
    """A letter by the place of its record; the topic is without prefix.

    >>> str(LetterName("interactions", 3, 821122))
    'interactions:3:821122'
    """

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return ":".join(map(str, self))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return what a person names; `Misconfigured` if it is no letter's name.

        >>> LetterName.parse("uploads:0:7")
        LetterName(topic='uploads', partition=0, offset=7)
        """
        topic, *numbers = text.split(":")
        if topic not in TOPICS or len(numbers) != 2 or not all(map(_is_number, numbers)):
            raise Misconfigured(f"{text!r} names no letter: write interactions:3:821122")
        return cls(topic, *map(int, numbers))


class KeptLetter(NamedTuple):
    """A letter with those of its refusals that are wanted, and what became of each.

    `written` is the letter's own record; `held` is None if it holds less than the record.
    """

    name: LetterName
    letter: Letter
    written: Record
    held: HeldRecord | None
    refusals: tuple[Listed, ...]
    states: tuple[State, ...]

    @property
    def producer(self) -> str:
        """Who wrote the record, else its partition."""
        headers = self.held.headers if self.held else ()
        named = [text for name, text in headers if name == PRODUCER and text]
        return printable(named[0]) if named else f"partition {self.letter.partition}"

    @property
    def rounds(self) -> int:
        """How many times the record was sent again before, so far as the letter says."""
        return rounds_of(self.held.headers if self.held else ())

    def element(self, refusal: Listed) -> Element:
        """Return the place of a refusal."""
        return self.letter.partition, self.letter.offset, refusal.element


@dataclass(frozen=True)
class LetterFilter:
    """Which letters are wanted; what is empty wants all.

    `partitions` are those of the refused records, `start` and `until` (ms) bound when the letters
    were written. Refusals that were settled are left out, unless `settled`.
    """

    topics: Sequence[str] = ()
    reasons: Collection[str] = ()
    producers: Collection[str] = ()
    partitions: Collection[int] = ()
    names: Collection[LetterName] = ()
    start: Start = "earliest"
    until: int | None = None
    settled: bool = False

    def takes(self, kept: KeptLetter) -> bool:
        """Tell whether a letter is wanted."""
        return (
            (not self.names or kept.name in self.names)
            and (not self.partitions or kept.letter.partition in self.partitions)
            and (not self.producers or kept.producer in self.producers)
            and (self.until is None or kept.written.timestamp < self.until)
            and bool(kept.refusals)
        )


async def read_letters(
    reader: LogReader, cluster: Cluster, settings: Settings, wanted: LetterFilter
) -> AsyncGenerator[KeptLetter, None]:
    """Yield the letters that are wanted, topic by topic, each once."""
    for name in wanted.topics or TOPICS:
        if wanted.names and name not in {one.topic for one in wanted.names}:
            continue
        topic = settings.dead_letters(name)
        partitions = await partitions_of(cluster, topic, None)
        settled = await read_settled(reader, topic, partitions)
        unpack = _Unpacking(name, settings, len(partitions), settled, wanted)
        met: defaultdict[int, set[int]] = defaultdict(set)
        tail = Tail(topic, wanted.start, None, follow=False)
        async for record in read_tail(reader, tail, partitions):
            letter = read_letter(record)
            if letter is None or letter.topic != settings.topic(name):
                continue
            if letter.offset in met[letter.partition]:
                continue
            met[letter.partition].add(letter.offset)
            kept = unpack(letter, record)
            if wanted.takes(kept):
                yield kept


async def one_letter(letters: AsyncIterator[KeptLetter], name: LetterName) -> KeptLetter:
    """Return the first letter; `Halt` if there is none of this name."""
    async for kept in letters:
        return kept
    raise Halt(f"there is no letter {name}: `streams dlq list --all` lists those that there are")


def rounds_of(headers: Headers) -> int:
    """Return how many times a record with these headers was sent again."""
    counts = [text.decode(errors="replace") for name, text in headers if name == ROUNDS and text]
    return int(counts[-1]) if counts and _is_number(counts[-1]) else 0


def printable(text: bytes) -> str:
    r"""Return text that a terminal can be given: strangers write control characters.

    >>> printable("卡".encode()), printable(b"\x1b[2J\xff")
    ('卡', '\\u001b[2J\\\\xff')
    """
    spelled = text.decode("utf-8", "backslashreplace")
    return spelled if spelled.isprintable() else msgspec.json.encode(spelled).decode()[1:-1]


class _Unpacking(NamedTuple):
    """What makes a kept letter of one topic out of a record."""

    name: str
    settings: Settings
    partitions: int
    settled: Settled
    wanted: LetterFilter

    def __call__(self, letter: Letter, record: Record) -> KeptLetter:
        name = LetterName(self.name, letter.partition, letter.offset)
        held = record_in(letter, record)
        chosen: list[Listed] = []
        states: list[State] = []
        for refusal in self._refusals(letter, held):
            element = (letter.partition, letter.offset, refusal.element)
            state: State = self.settled.fate(element) or "open"
            if state != "open" and not self.wanted.settled:
                continue
            if not self.wanted.reasons or refusal.reason in self.wanted.reasons:
                chosen.append(refusal)
                states.append(state)
        return KeptLetter(name, letter, record, held, tuple(chosen), tuple(states))

    def _refusals(self, letter: Letter, held: HeldRecord | None) -> Sequence[Listed]:
        """Return all refusals of a letter, those that its list had no room for found again."""
        listed = letter.refusals
        if held is None or not listed or letter.refused <= len(listed):
            return listed
        last = listed[-1].element
        more = _refused_again(held, self.partitions, self.settings.record_bytes)
        rest = sorted((one for one in more if one.element > last), key=lambda one: one.element)
        return (*listed, *rest)


def _refused_again(held: HeldRecord, partitions: int, limit: int) -> Iterator[Listed]:
    """Yield what codec and partitioner refuse of a record, whenever they are asked."""
    decoded = decode_log([held._replace(headers=())], NOBODY, Spelling(limit))
    for refusal in decoded.refusals:
        yield Listed(refusal.element, refusal.reason, refusal.message)
    misrouted: RejectReason = "misrouted"
    for event, element in zip(decoded.events, decoded.elements, strict=True):
        video = getattr(event, "video", "")
        if partition_of(video.encode(), partitions) != held.partition:
            yield Listed(element, misrouted, "belongs to another partition")


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20

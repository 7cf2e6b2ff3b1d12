"""What is sent again of a dead letter: its refused elements, patched, rerouted, and judged first.

The judge is the codec itself, with the partition that the record will go to and the time that it
will have: what would be refused again is not sent.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from streams.core.keys import NOBODY
from streams.core.partitioner import partition_of
from streams.errors import DeadLetter, Misconfigured
from streams.ops.dead_letters import ROUNDS, KeptLetter, LetterFilter, rounds_of
from streams.ops.merge_patch import Patch, is_object, merge
from streams.runtime.codec import (
    ARRAY_MAX,
    FUTURE_MS,
    ControlTopic,
    Spelling,
    decode_log,
    decode_one,
)
from streams.runtime.letters import ORIGIN, PREFIX, HeldRecord, Listed
from streams.runtime.ports import Headers, Outgoing
from streams.runtime.reasons import PARSER_ERRORS, split_array
from streams.runtime.signing import SIGNATURE

MOST_ROUNDS: Final = 3
"""A record that was refused so often again needs another cure."""
_CONTROL: Final[dict[str, ControlTopic]] = {
    "uploads": "uploads",
    "recognitions": "recognitions",
    "reviews": "reviews",
}
REDRIVEN: Final = ("interactions", *_CONTROL)
"""Topics whose records can be sent again, without prefix; receipts are written by workers alone."""
_ORIGINS: Final = ("partition", "offset", "timestamp")


class Unit(NamedTuple):
    """One thing that was refused: an element of an array, or a whole value."""

    refusal: Listed
    value: bytes


class Spared(NamedTuple):
    """A refusal that is not sent again, in one word and in many."""

    refusal: Listed
    outcome: str
    why: str


class Mended(NamedTuple):
    """A record to be sent, and the refusals that it settles."""

    record: Outgoing
    refusals: tuple[Listed, ...]


class MendedLetter(NamedTuple):
    """What is sent again of one letter, and what is not."""

    sent: list[Mended]
    spared: list[Spared]


class _Good(NamedTuple):
    unit: Unit
    video: str


@dataclass(frozen=True)
class Mending:
    """How letters are mended: a patch for each element, and whether key and partition are made new.

    `partitions` is the partition count of every topic, `limit` the largest value in bytes.
    """

    partitions: int
    limit: int
    patch: Patch | None = None
    rekey: bool = False

    def __call__(self, kept: KeptLetter, held: HeldRecord | None, now_ms: int) -> MendedLetter:
        """Return what of a letter is to be sent at a time, and why the rest is not.

        `held` is the record, also where the letter holds less than it; None if it is gone.
        """
        if held is None:
            gone = "the letter holds less than the record, and the log holds it no more"
            return _spare(kept, "gone", gone)
        if (bar := _bar(kept, held)) is not None:
            return _spare(kept, *bar)
        if self.patch and "id" in self.patch and len(kept.refusals) > 1:
            return _spare(kept, "id", "a patch gives all events of this letter the same id")
        good: list[_Good] = []
        spared: list[Spared] = []
        for unit in units_of(held, kept.refusals, self.limit):
            try:
                good.append(self._judge(kept, held, self._patched(unit), now_ms))
            except DeadLetter as letter:
                spared.append(Spared(unit.refusal, letter.reason, str(letter)))
        return MendedLetter(list(self._records(held, good)), spared)

    def _patched(self, unit: Unit) -> Unit:
        if self.patch is None:
            return unit
        elements = split_array(unit.value)
        if elements is None:
            return unit._replace(value=_patched(unit.value, self.patch))
        merged = b",".join(_patched(element, self.patch) for element in elements)
        return unit._replace(value=b"[" + merged + b"]")

    def _judge(self, kept: KeptLetter, held: HeldRecord, unit: Unit, now_ms: int) -> _Good:
        """Return the unit with its video; raise `DeadLetter` if it would count nothing."""
        if unit.refusal.reason == "slice_limit" and "id" not in (self.patch or {}):
            raise DeadLetter("slice_limit", "the log remembers its id: a repeat counts nothing")
        again = held._replace(value=unit.value, timestamp=now_ms, headers=())
        topic = _CONTROL.get(kept.name.topic)
        videos = self._control(topic, again) if topic else self._interactions(again)
        homes = {partition_of(video.encode(), self.partitions) for video in videos}
        if len(homes) > 1 or (not self.rekey and homes != {held.partition}):
            raise DeadLetter("misrouted", "its video belongs to another partition: use --rekey")
        return _Good(unit, videos[0])

    def _interactions(self, again: HeldRecord) -> list[str]:
        decoded = decode_log([again], NOBODY, Spelling(self.limit))
        for refusal in decoded.refusals:
            raise DeadLetter(refusal.reason, refusal.message)
        return [getattr(event, "video", "") for event in decoded.events]

    def _control(self, topic: ControlTopic, again: HeldRecord) -> list[str]:
        event = decode_one(topic, again.value, self.limit)
        if event.ts > again.timestamp + FUTURE_MS:
            raise DeadLetter("future", f"ts is more than {FUTURE_MS // 1000} s ahead of now")
        if not self.rekey and again.key != event.video.encode():
            raise DeadLetter("misrouted", "the record's key is not its video: use --rekey")
        return [event.video]

    def _records(self, held: HeldRecord, good: Sequence[_Good]) -> Iterator[Mended]:
        """Yield the records of what is good, one a partition, more where one would be too large."""
        by_partition: defaultdict[int, list[_Good]] = defaultdict(list)
        for one in good:
            by_partition[partition_of(one.video.encode(), self.partitions)].append(one)
        for partition, group in by_partition.items():
            for some in self._fitting(group):
                key = some[0].video.encode() if self.rekey else held.key
                record = Outgoing(held.topic, _joined(some), key, _headers(held), partition)
                yield Mended(record, tuple(one.unit.refusal for one in some))

    def _fitting(self, group: list[_Good]) -> list[list[_Good]]:
        size = sum(len(one.unit.value) + 1 for one in group)
        return [group] if size < self.limit else [[one] for one in group]


def require_own_ids(patch: Patch | None, wanted: LetterFilter) -> None:
    """Raise `Misconfigured` if a patch would give the events of many letters one id."""
    if patch and "id" in patch and len(wanted.names) != 1:
        raise Misconfigured(
            "--patch sets id, and all events but the first would be duplicates: name one letter "
            "with --id"
        )


def units_of(held: HeldRecord, refusals: Sequence[Listed], limit: int) -> list[Unit]:
    """Return what was refused of a record: elements of its array, or its whole value."""
    value = held.value or b""
    elements = (split_array(value) or []) if len(value) <= limit else []
    whole = not 0 < len(elements) <= ARRAY_MAX
    return [
        Unit(one, value if whole or one.reason == "header" else elements[one.element])
        for one in refusals
        if whole or one.element < len(elements)
    ]


def _patched(value: bytes, patch: Patch) -> bytes:
    """Return an object patched; what is none, or no JSON, stays as it is for the judge."""
    if not is_object(value):
        return value
    try:
        return merge(value, patch)
    except PARSER_ERRORS:
        return value


def _spare(kept: KeptLetter, outcome: str, why: str) -> MendedLetter:
    return MendedLetter([], [Spared(one, outcome, why) for one in kept.refusals])


def _bar(kept: KeptLetter, held: HeldRecord) -> tuple[str, str] | None:
    """Return why nothing of a letter may be sent, None if it may."""
    if kept.name.topic not in REDRIVEN:
        return "receipt", "receipts are written by the workers alone"
    if kept.name.topic not in _CONTROL and any(name == SIGNATURE for name, _ in held.headers):
        return "control", "the control plane says its own records again"
    if (rounds := rounds_of(held.headers)) >= MOST_ROUNDS:
        return "rounds", f"it was sent again {rounds} times already"
    if held.value is None:
        return "tombstone", "the record has no value"
    return None


def _joined(some: Sequence[_Good]) -> bytes:
    values = [one.unit.value for one in some]
    return values[0] if len(values) == 1 else b"[" + b",".join(values) + b"]"


def _headers(held: HeldRecord) -> Headers:
    """Return a record's own headers, where it comes from, and which round this is."""
    origin = {f"x-original-{name}": getattr(held, name) for name in _ORIGINS}
    ours = {ORIGIN: held.topic, **origin, ROUNDS: rounds_of(held.headers) + 1}
    kept = [
        (name, text)
        for name, text in held.headers
        if name not in ours and not name.startswith(PREFIX)
    ]
    return [*kept, *((name, str(value).encode()) for name, value in ours.items())]

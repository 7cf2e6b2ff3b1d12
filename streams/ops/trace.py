"""What happened to an event: each place where its id stands, and what became of it there."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from streams.ops.dead_letters import KeptLetter, LetterFilter, printable, read_letters
from streams.ops.explain import moment
from streams.ops.retelling import Fortune, Retelling, Spot
from streams.ops.tail import Start, TailSpan, locate, partitions_of, read_span
from streams.runtime.ports import Cluster, LogReader, Record, Store
from streams.runtime.reasons import PARSER_ERRORS, split_array
from streams.runtime.signing import SIGNATURE
from streams.settings import Settings

LOG: Final = "interactions"
WHOLE: Final = frozenset(("header", "too_large"))
"""Reasons that refuse all of a record, also of an array, and are listed with its first element."""
LOST: Final = Fortune("refused", "it cannot be used; its letter is not there (any more)")


class _Tagged(msgspec.Struct):
    id: Any = None  # whatever JSON holds
    type: Any = None
    video: Any = None
    viewer: Any = None


_decode_tag: Final = msgspec.json.Decoder(_Tagged).decode


class TraceQuery(NamedTuple):
    """Which event is looked for: its id, from when on, and its video where that is known."""

    event_id: str
    start: Start = "earliest"
    video: str | None = None


class Sighting(NamedTuple):
    """A place where the id stands: when its record was written, and what can be read there."""

    timestamp: int
    tag: _Tagged


async def trace(
    reader: LogReader, store: Store, cluster: Cluster, settings: Settings, query: TraceQuery
) -> list[dict[str, Any]]:
    """Return a row for each place of an event, in the log or in a letter that outlived it."""
    topic = settings.topic(LOG)
    partitions = await partitions_of(cluster, topic, query.video)
    letters = await _letters(reader, cluster, settings, query)
    span = await locate(reader, topic, partitions, query.start)
    seen = {
        spot: sighting
        async for record in read_span(reader, span, follow=False)
        for spot, sighting in sightings(record, query.event_id)
    }
    count = (await cluster.identity(topic)).partitions
    fortunes: dict[Spot, Fortune] = {}
    for partition in sorted({spot[0] for spot in seen}):
        here = {spot: one.tag for spot, one in seen.items() if spot[0] == partition}
        pairs = {(tag.viewer, tag.video) for tag in here.values()}
        retelling = Retelling(query.event_id, pairs, count, settings)
        async for record in read_span(reader, _only(span, partition), follow=False):
            retelling.take(record, refused=(partition, record.offset) in letters)
        told = dict.fromkeys(here, LOST) | retelling.fortunes
        fortunes |= _so_far(told, await store.watermark(partition))
    for kept in letters.values():
        for spot, sighting in sightings(kept.held, query.event_id) if kept.held else ():
            seen.setdefault(spot, sighting)
    return [
        _row(spot, sighting, letters.get(spot[:2]), fortunes.get(spot, LOST))
        for spot, sighting in sorted(seen.items())
    ]


def sightings(record: Record, event_id: str) -> Iterator[tuple[Spot, Sighting]]:
    """Yield where an id stands in a record, also in one that is no JSON but spells it."""
    value, quoted = record.value or b"", f'"{event_id}"'.encode()
    if quoted not in value and b"\\u" not in value:
        return
    for element, spelled in enumerate(split_array(value) or [value]):
        try:
            tag = _decode_tag(spelled)
        except PARSER_ERRORS:
            tag = _Tagged(event_id if quoted in spelled else None)
        if tag.id == event_id:
            yield (record.partition, record.offset, element), Sighting(record.timestamp, tag)


async def _letters(
    reader: LogReader, cluster: Cluster, settings: Settings, query: TraceQuery
) -> dict[tuple[int, int], KeptLetter]:
    """Return the letters that may tell of the event or of a policy, by the place of the record."""
    wanted = LetterFilter((LOG,), start=query.start, settled=True)
    return {
        (kept.name.partition, kept.name.offset): kept
        async for kept in read_letters(reader, cluster, settings, wanted)
        if kept.held is None
        or any(name == SIGNATURE for name, _ in kept.held.headers)
        or any(True for _ in sightings(kept.held, query.event_id))
    }


def _only(span: TailSpan, partition: int) -> TailSpan:
    start, end = span.start[partition], span.end[partition]
    return TailSpan(span.topic, {partition: start}, {partition: end})


def _so_far(fortunes: Mapping[Spot, Fortune], watermark: int | None) -> dict[Spot, Fortune]:
    """Return what became of an event, as far as its partition is counted."""
    upto = "not counted yet" if watermark is None else f"counted up to offset {watermark}"
    waiting = Fortune("waiting", f"its partition is {upto}")
    end = -1 if watermark is None else watermark
    return {spot: waiting if spot[1] > end else one for spot, one in fortunes.items()}


def _row(
    spot: Spot, sighting: Sighting, kept: KeptLetter | None, fortune: Fortune
) -> dict[str, Any]:
    partition, offset, element = spot
    letter = state = None
    for refusal, became in zip(kept.refusals, kept.states, strict=True) if kept else ():
        if refusal.element == element or refusal.reason in WHOLE:
            fortune = Fortune("refused", f"{refusal.reason}: {refusal.message}")
            letter, state = str(kept.name) if kept else None, became
    return {
        "partition": partition,
        "offset": offset,
        "element": element,
        "written": moment(sighting.timestamp),
        "type": _text(sighting.tag.type),
        "video": _text(sighting.tag.video),
        **fortune._asdict(),
        "letter": letter,
        "letter_state": state,
    }


def _text(field: Any) -> str | None:
    """Return what a stranger wrote into a field, as a terminal can be given it."""
    return printable(field.encode()) if isinstance(field, str) else None

"""Bytes to events and back: typed decode of the log, signatures.

The hot path is `decode_log`: one parse per record by msgspec, ids and slices of a whole batch
checked in one pass. Whatever cannot be used comes back as a `Refusal` with place and reason; a bad
element of an array does not lose its neighbours.
"""

from collections import Counter
from collections.abc import Sequence
from itertools import chain, repeat
from operator import attrgetter
from typing import Any, Final, Literal, NamedTuple

import msgspec

from streams.core.events import (
    RULE,
    ControlRecord,
    Ended,
    FirstRecord,
    Impression,
    InteractionRecord,
    LogRecord,
    Order,
    PartitionControl,
    Policy,
    Recognition,
    Upload,
    number_of,
)
from streams.core.keys import NOBODY, Trust
from streams.core.partition_control import Generation, Key, Lead, Repartition, TopicMove, Upgrade
from streams.core.receipts import Refusal
from streams.core.units import ID_ALPHABET, is_slice
from streams.core.words import Review, SecondLook, SliceReview
from streams.errors import DeadLetter, Halt, RejectReason
from streams.runtime.first_format import decode_control
from streams.runtime.headers import require_names
from streams.runtime.lenient import decode_leniently
from streams.runtime.ports import Headers, Record
from streams.runtime.reasons import (
    PARSER_ERRORS,
    classify,
    require_ids,
    split_array,
    unknown_fields,
)
from streams.runtime.signing import SIGNATURE, require_signature
from streams.settings import Settings, given_secret

FUTURE_MS: Final = 300_000
"""An event may be this much ahead of its record's timestamp: clocks differ, prophets lie."""
ARRAY_MAX: Final = 10_000
COUNTED: Final = "streams-counted"
"""Header of what another log counted already, and is in this one for its window's sake alone."""

ControlTopic = Literal["uploads", "recognitions", "reviews"]

_log_decoder: Final[msgspec.json.Decoder[Any]] = msgspec.json.Decoder(
    InteractionRecord | list[InteractionRecord]
)
_decode_log: Final = _log_decoder.decode
_decode_lines: Final = _log_decoder.decode_lines
_decode_element: Final = msgspec.json.Decoder(InteractionRecord).decode
_control_decoder: Final[msgspec.json.Decoder[ControlRecord]] = msgspec.json.Decoder(ControlRecord)
_DECODERS: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "uploads": msgspec.json.Decoder(Upload),
    "recognitions": msgspec.json.Decoder(Recognition),
    "reviews": msgspec.json.Decoder(Review),
}
_ended_decoder: Final = msgspec.json.Decoder(Ended)
_word_decoders: Final[dict[str, msgspec.json.Decoder[SliceReview | SecondLook]]] = {
    str(kind.__struct_config__.tag): msgspec.json.Decoder(kind)
    for kind in (SliceReview, SecondLook)
}


class _Tagged(msgspec.Struct):
    type: str = ""


_tag_decoder: Final = msgspec.json.Decoder(_Tagged)
_NUMBERS: Final = frozenset(("ts", "watch_ms", "duration_ms", "stay_ms", "amount"))
_ED25519_ONLY: Final = (Generation, Key, Lead, Repartition, TopicMove, Upgrade)
_QUOTES: Final = {
    kind: 4
    + sum(2 if one.name in _NUMBERS else 4 for one in msgspec.structs.fields(kind) if one.required)
    for kind in InteractionRecord.__args__
}
"""Quotation marks in an interaction's JSON, those of optional fields apart; a field more has more,
however it is laid out."""
_headers: Final = attrgetter("headers")
_APART: Final = tuple((set(first), set(last)) for first, last in ((b"{", b"}"), (b"[", b"]")))
"""First and last bytes of values that may be parsed as one text: see `_parsed_apart`."""
_FUTURE: Final[tuple[RejectReason, str]] = (
    "future",
    f"ts is more than {FUTURE_MS // 1000} s ahead of the record's timestamp",
)


class Decoded(NamedTuple):
    """Events of a run of records in log order; `offsets` and `elements` say where they stood."""

    events: list[LogRecord]
    offsets: list[int]
    elements: list[int]
    refusals: list[Refusal]
    unknown_fields: int  # fields that no schema has; read over, counted
    trust: Trust  # who may sign behind these records


class Spelling(NamedTuple):
    """How bytes become events, whatever the partition.

    `limit` is the largest value in bytes that is parsed, `secret` that of 0.1.0 (None: not given).
    """

    limit: int
    secret: bytes | None = None


def spelling_of(settings: Settings) -> Spelling:
    """Return how these settings, and the secret of 0.1.0 where one is given, spell events."""
    secret = given_secret()
    return Spelling(settings.record_bytes, secret.reveal if secret else None)


def decode_log(records: Sequence[Record], trust: Trust | None, spelling: Spelling) -> Decoded:
    """Decode records of one partition of the log; refuses, whatever the bytes.

    Raises but one thing, `Halt` at a policy whose rule this release does not know: another release
    has to go on from here. `trust` says who may sign at the first of them; what they change of it
    counts from their place on. None: signatures are not looked at, for whoever needs no control
    records, and what another log counted is decoded too.
    """
    limit = spelling.limit
    plain = _decode_plain(records, trust or NOBODY, limit)
    if plain is not None:
        return plain
    out = Decoded([], [], [], [], 0, NOBODY)
    add_event, add_offset = out.events.append, out.offsets.append
    add_element = out.elements.append
    quotes_of = _QUOTES.get
    unknown = 0
    decoded: Any
    for record in records:
        value: Any = record.value
        try:
            if record.headers and _is_signed(record.headers, trust):
                decoded, trust = _open_control(record, trust, spelling)
            else:
                if len(value) > limit:
                    raise _too_large(len(value), limit)
                decoded = _decode_log(value)
        except DeadLetter as letter:
            out.refusals.append(Refusal(record.offset, 0, letter.reason, str(letter)))
            continue
        except PARSER_ERRORS as error:
            unknown += _sort_out(out, record, error)
            continue
        kind = type(decoded)
        if kind is list:
            unknown += _add_array(out, record, decoded)
        elif decoded.ts > record.timestamp + FUTURE_MS:
            out.refusals.append(Refusal(record.offset, 0, *_FUTURE))
        else:
            add_event(decoded)
            add_offset(record.offset)
            add_element(0)
            quotes = value.count(b'"')
            if (
                quotes != quotes_of(kind)
                and kind in _QUOTES
                and quotes != _QUOTES[kind] + _optional_quotes([decoded])
            ):
                unknown += _read_over(out, record, kind)
    return _checked(out)._replace(unknown_fields=unknown, trust=trust or NOBODY)


def decode_one(
    topic: ControlTopic, value: bytes | None, limit: int
) -> Upload | Ended | Recognition | Review:
    """Decode one record of a control-plane topic; `DeadLetter` if it cannot be used.

    Null in an optional field is as good as no field.
    """
    if value is None:
        raise DeadLetter("tombstone", "the record has no value")
    if len(value) > limit:
        raise _too_large(len(value), limit)
    ends = topic == "uploads" and _type_of(value) == "ended"
    decoder: msgspec.json.Decoder[Any] = _ended_decoder if ends else _DECODERS[topic]
    try:
        event: Upload | Ended | Recognition | Review = decode_leniently(decoder, value)
    except PARSER_ERRORS as error:
        raise classify(error, value) from None
    require_ids(event)
    return event


def decode_review(value: bytes | None, limit: int) -> Review | SliceReview | SecondLook:
    """Decode one record of `reviews`: a verdict on a video, or another word of a person.

    `DeadLetter` if it is neither.
    """
    if value is not None and len(value) <= limit and (tag := _type_of(value)) in _word_decoders:
        try:
            word: SliceReview | SecondLook = decode_leniently(_word_decoders[tag], value)
        except PARSER_ERRORS as error:
            raise classify(error, value) from None
        require_ids(word)
        return word
    review = decode_one("reviews", value, limit)
    assert isinstance(review, Review), "what else the topic holds is decoded above"
    return review


def _type_of(value: bytes) -> str:
    try:
        return _tag_decoder.decode(value).type
    except PARSER_ERRORS:
        return ""  # the full decode will say what is wrong with it


def decode_interaction(value: bytes) -> InteractionRecord:
    """Decode one interaction by itself; `DeadLetter` if the log could not use it."""
    try:
        event: InteractionRecord = _decode_element(value)
    except PARSER_ERRORS as error:
        raise classify(error, value) from None
    unknown_fields(value, type(event))
    require_ids(event)
    return event


def _decode_plain(records: Sequence[Record], trust: Trust, limit: int) -> Decoded | None:
    """Decode records without headers that hold good events only; None if one is anything else.

    What nearly every batch is, at half the cost: one parse of all values, and checks of the whole
    batch in place of a look at each record.
    """
    values: list[Any] = [record.value for record in records]
    try:
        if any(map(_headers, records)) or max(map(len, values)) > limit:
            return None
        text = b"\n".join(values)
        events = _parsed_apart(text, values)
        offsets, elements = [record.offset for record in records], [0] * len(values)
        if events and type(events[0]) is list:
            events, offsets, elements = _flattened(events, offsets)
        quotes = sum([_QUOTES[kind] * count for kind, count in Counter(map(type, events)).items()])
    except (*PARSER_ERRORS, LookupError, ValueError):  # something mixed in; no records at all
        return None
    latest = min([record.timestamp for record in records]) + FUTURE_MS
    if (
        max([event.ts for event in events]) > latest
        or not _is_all_known(text.count(b'"'), quotes, events)
        or not _all_valid(events)
    ):
        return None
    return Decoded(events, offsets, elements, [], 0, trust)


def _parsed_apart(text: bytes, values: Sequence[bytes]) -> list[Any]:
    """Return what each value holds, of `text` that is all of them, a line break between.

    `ValueError` if one may hold anything else than one object each, or one array each. The parser
    reads on over line breaks, so two halves would make one, and one value could hold two. But no
    JSON has `}` and `{`, or `]` and `[`, next to each other, nor a line break in a string: so where
    all values begin and end like this, each holds one at least, and as many as there are hold one.
    """
    ends = {value[0] for value in values}, {value[-1] for value in values}
    if ends in _APART and len(parsed := _decode_lines(text)) == len(values):
        return parsed
    raise ValueError


def _flattened(
    arrays: Sequence[list[Any]], offsets: Sequence[int]
) -> tuple[list[Any], list[int], list[int]]:
    """Return the events of arrays, their offsets and places; `ValueError` for a bad length."""
    sizes = [len(array) for array in arrays]
    if min(sizes) == 0 or max(sizes) > ARRAY_MAX:
        raise ValueError
    return (
        list(chain.from_iterable(arrays)),
        list(chain.from_iterable(map(repeat, offsets, sizes))),
        list(chain.from_iterable(map(range, sizes))),
    )


def _add_array(out: Decoded, record: Record, events: list[InteractionRecord]) -> int:
    """Add the events of an array that parsed; return its fields that no schema has."""
    value: Any = record.value
    if not events:
        message = "an array without events"
        out.refusals.append(Refusal(record.offset, 0, "not_object", message))
        return 0
    if len(events) > ARRAY_MAX:
        return _refuse_length(out, record, len(events))
    latest = max([event.ts for event in events])
    quotes = sum([_QUOTES[type(event)] for event in events])
    if latest > record.timestamp + FUTURE_MS or not _is_all_known(
        value.count(b'"'), quotes, events
    ):
        return _add_elements(out, record, split_array(value) or [])
    out.events.extend(events)
    out.offsets.extend([record.offset] * len(events))
    out.elements.extend(range(len(events)))
    return 0


def _is_all_known(there: int, quotes: int, events: Sequence[Any]) -> bool:
    """Tell whether so many quotation marks are those of what was decoded and nothing more."""
    return there == quotes or there == quotes + _optional_quotes(events)


def _optional_quotes(events: Sequence[Any]) -> int:
    """Return the quotation marks of optional fields, each spelled once unless it is the default."""
    names = 0
    for event in events:
        kind = type(event)
        if kind is Impression:
            names += 2 * (event.via is not None) + (event.score is not None)
            names += (event.mix is not None) + event.follower + (event.amount > 0)
        elif kind is Order:
            names += event.amount > 0
    return 2 * names


def _read_over(out: Decoded, record: Record, kind: type) -> int:
    """Return how many fields of the event just added no schema has, or take it back as refused."""
    value: Any = record.value
    try:
        return unknown_fields(value, kind)
    except DeadLetter as letter:
        for kept in out[:3]:
            kept.pop()
        out.refusals.append(Refusal(record.offset, 0, letter.reason, str(letter)))
        return 0


def _sort_out(out: Decoded, record: Record, error: Exception) -> int:
    """Take a record that did not parse: an array element by element, or refuse all of it."""
    value = record.value
    elements = None if value is None else split_array(value)
    if elements is None:
        letter = classify(error, value)
        out.refusals.append(Refusal(record.offset, 0, letter.reason, str(letter)))
        return 0
    if len(elements) > ARRAY_MAX:
        return _refuse_length(out, record, len(elements))
    return _add_elements(out, record, elements)


def _add_elements(out: Decoded, record: Record, elements: Sequence[bytes]) -> int:
    """Add or refuse each element of an array by itself; return the fields that no schema has."""
    unknown = 0
    for element, value in enumerate(elements):
        try:
            event = decode_interaction(value)
            if event.ts > record.timestamp + FUTURE_MS:
                raise DeadLetter(*_FUTURE)
            unknown += unknown_fields(value, type(event))
        except DeadLetter as letter:
            out.refusals.append(Refusal(record.offset, element, letter.reason, str(letter)))
        else:
            out.events.append(event)
            out.offsets.append(record.offset)
            out.elements.append(element)
    return unknown


def _refuse_length(out: Decoded, record: Record, length: int) -> int:
    message = f"an array of {length} events, {ARRAY_MAX} allowed"
    out.refusals.append(Refusal(record.offset, 0, "too_large", message))
    return 0


def _checked(out: Decoded) -> Decoded:
    """Refuse events with bad ids or slices: one pass over all, a second one if there are any."""
    if _all_valid(out.events):
        return out
    kept = Decoded([], [], [], out.refusals, 0, NOBODY)
    for event, offset, element in zip(out.events, out.offsets, out.elements, strict=True):
        try:
            require_ids(event)
        except DeadLetter as letter:
            kept.refusals.append(Refusal(offset, element, letter.reason, str(letter)))
        else:
            kept.events.append(event)
            kept.offsets.append(offset)
            kept.elements.append(element)
    return kept


def _all_valid(events: Sequence[Any]) -> bool:
    try:
        names = [event.id for event in events]
        names += [event.video for event in events]
        names += [event.viewer for event in events]
        slices = {event.slice for event in events}
    except AttributeError:  # control records among them, whose ids are checked one by one
        return _all_valid([event for event in events if type(event) in _QUOTES])
    return not "".join(names).encode().translate(None, ID_ALPHABET) and all(map(is_slice, slices))


def _is_signed(headers: Headers, trust: Trust | None) -> bool:
    """Tell whether it is a control record; `DeadLetter` for one that another log counted."""
    require_names(headers)
    names = [name for name, _ in headers]
    if COUNTED in names and trust is not None:
        raise DeadLetter("stale", "the log of another partition count counted it already")
    return SIGNATURE in names


def _open_control(
    record: Record, trust: Trust | None, spelling: Spelling
) -> tuple[ControlRecord | FirstRecord, Trust | None]:
    """Return a control record that somebody in force signed, and who may sign behind it.

    Whatever can be wrong with its bytes is found here, before it changes that.
    """
    value = record.value
    if value is None:
        raise DeadLetter("tombstone", "the record has no value")
    if len(value) > spelling.limit:
        raise _too_large(len(value), spelling.limit)
    scheme = None if trust is None else require_signature(record, trust, spelling.secret)
    upgraded = trust is None or trust.upgraded
    event = decode_control(_control_decoder, value, upgraded=upgraded)
    if scheme == "hmac" and isinstance(event, _ED25519_ONLY):
        raise DeadLetter(
            "signature", "an HMAC changes no keys, takes no term and lengthens nothing"
        )
    require_ids(event)
    if event.ts > record.timestamp + FUTURE_MS:
        raise DeadLetter(*_FUTURE)
    if trust is not None and isinstance(event, Policy) and event.rule > RULE:
        raise Halt(
            f"{record.topic}[{record.partition}]: policy {number_of(event)} decides by rule "
            f"{event.rule}, this release knows rules up to {RULE}: upgrade it",
            code="rule",
            partition=record.partition,
        )
    if trust is not None and isinstance(event, PartitionControl):
        trust = trust.after(event)
    return event, trust


def _too_large(size: int, limit: int) -> DeadLetter:
    return DeadLetter("too_large", f"{size} bytes, {limit} allowed")

import time
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from kit.events import (
    COOKING,
    FIXED,
    FOOTBALL,
    NOW,
    Logged,
    admit,
    hold,
    impression,
    interaction_record,
    like,
    policy,
    record,
    records_of,
    signed_record,
    synthetic_log,
    takedown,
    view,
)
from kit.keys import INSTALLATION, SIGNER, STRANGER, TRUST

from streams.core.events import Gift, LogRecord, Order, Stay, View
from streams.errors import REJECT_REASONS, DeadLetter, Halt, RejectReason
from streams.runtime.codec import (
    ARRAY_MAX,
    COUNTED,
    FUTURE_MS,
    ControlTopic,
    Decoded,
    Spelling,
    decode_interaction,
    decode_log,
    decode_one,
)
from streams.runtime.ports import Headers
from streams.runtime.signing import SIGNATURE, Signer, control_record, encode

LIMIT = 1 << 20
GOOD = encode(view("good"))
FIELDS: dict[str, Any] = msgspec.json.decode(GOOD)


def decode(*records: Logged) -> Decoded:
    return decode_log(records, TRUST, Spelling(LIMIT))


def spelled(**changes: Any) -> bytes:
    """A view with some fields changed; None leaves a field out."""
    fields = {**FIELDS, **changes}
    return msgspec.json.encode({name: text for name, text in fields.items() if text is not None})


def raw(name: str, text: bytes) -> bytes:
    """A view with the JSON of one field replaced by `text`."""
    return GOOD.replace(
        b'"%s":%s' % (name.encode(), msgspec.json.encode(FIELDS[name])),
        b'"%s":%s' % (name.encode(), text),
    )


def unheard(text: bytes) -> bytes:
    """A view with one field more, of this JSON."""
    return GOOD[:-1] + b',"colour":' + text + b"}"


MINUTE = 60_000
BAD: dict[str, tuple[bytes | None, RejectReason]] = {
    "tombstone": (None, "tombstone"),
    "nothing": (b"", "empty"),
    "white_space": (b" \t\r\n ", "empty"),
    "null": (b"null", "not_object"),
    "empty_array": (b"[]", "not_object"),
    "text": (b'"x"', "not_object"),
    "number": (b"1", "not_object"),
    "truncated": (GOOD[:-9], "json"),
    "trailing_garbage": (GOOD + b"x", "json"),
    "two_documents": (GOOD + GOOD, "json"),
    "byte_order_mark": (b"\xef\xbb\xbf" + GOOD, "json"),
    "utf16": (GOOD.decode().encode("utf-16"), "json"),
    "not_utf8": (raw("id", b'"\xff"'), "utf8"),
    "not_utf8_unknown_field": (GOOD[:-1] + b',"\xff":1}', "utf8"),
    "lone_surrogate": (raw("id", b'"\\ud800"'), "json"),
    "nul_in_id": (raw("id", b'"a\\u0000"'), "id"),
    "line_break_in_id": (spelled(id="a\r\nFLUSHALL"), "id"),
    "final_line_break_in_id": (spelled(id="a\n"), "id"),
    "hash_tag_in_id": (spelled(id="{b1}"), "id"),
    "separator_in_id": (spelled(id="a:b:c"), "id"),
    "separator_in_video": (spelled(video="a:b"), "id"),
    "separator_in_viewer": (spelled(viewer="a:b"), "id"),
    "empty_id": (spelled(id=""), "id"),
    "id_of_65": (spelled(id="a" * 65), "id"),
    "id_of_1_MB": (spelled(id="a" * 1_000_000), "id"),
    "cyrillic_id": (spelled(id="аbc"), "id"),
    "no_id": (spelled(id=None), "missing"),
    "no_viewer": (spelled(viewer=None), "missing"),
    "no_type": (spelled(type=None), "missing"),
    "empty_object": (b"{}", "missing"),
    "float_for_int": (raw("watch_ms", b"2.5"), "type"),
    "exponent_for_int": (raw("watch_ms", b"5.5e0"), "type"),
    "text_for_int": (raw("watch_ms", b'"2"'), "type"),
    "true_for_id": (spelled(id=True), "type"),
    "null_for_id": (raw("id", b"null"), "type"),
    "object_for_id": (spelled(id={"$gt": 0}), "type"),
    "number_for_id": (spelled(id=7), "type"),
    "below_range": (spelled(watch_ms=-5), "range"),
    "above_range": (spelled(watch_ms=86_400_001), "range"),
    "two_to_53": (spelled(watch_ms=1 << 53), "range"),
    "two_to_63": (spelled(watch_ms=1 << 63), "range"),
    "no_duration": (spelled(duration_ms=0), "range"),
    "400_digits": (raw("watch_ms", b"9" * 400), "range"),
    "5000_digits": (raw("watch_ms", b"9" * 5_000), "range"),
    "leading_zero": (raw("watch_ms", b"02"), "json"),
    "nan": (raw("watch_ms", b"NaN"), "json"),
    "infinity": (raw("watch_ms", b"Infinity"), "json"),
    "type_in_capitals": (spelled(type="VIEW"), "type_unknown"),
    "type_of_another_topic": (spelled(type="upload"), "type_unknown"),
    "type_array": (spelled(type=["view"]), "type"),
    "type_number": (spelled(type=1), "type"),
    "type_array_not_utf8": (raw("type", b'["\xff"]'), "type"),
    "type_object_not_utf8": (raw("type", b'{"\xff":1}'), "type"),
    "type_beyond_float": (raw("type", b"1e999"), "type"),
    "type_of_5000_digits": (raw("type", b"9" * 5_000), "type"),
    "type_like_a_message": (spelled(type="x - at `$.id`, got SECRET"), "type_unknown"),
    "slice_without_group": (spelled(slice="discover:"), "slice"),
    "slice_on_mars": (spelled(slice="mars:people"), "slice"),
    "slice_in_capitals": (spelled(slice="discover:Football"), "slice"),
    "slice_too_long": (spelled(slice="discover:" + "a" * 60), "slice"),
    "slice_empty": (spelled(slice=""), "slice"),
    "ts_in_seconds": (spelled(ts=NOW // 1_000), "ts"),
    "ts_in_microseconds": (spelled(ts=NOW * 1_000), "ts"),
    "ts_zero": (spelled(ts=0), "ts"),
    "ts_negative": (spelled(ts=-NOW), "ts"),
    "ts_2101": (spelled(ts=4_133_980_800_000), "ts"),
    "ts_text": (spelled(ts="yesterday"), "type"),
    "future": (spelled(ts=NOW + 10 * MINUTE), "future"),
    "single_quotes": (b"{'type':'view'}", "json"),
    "comment": (b"/* */" + GOOD, "json"),
    "trailing_comma": (GOOD[:-1] + b",}", "json"),
    "100_000_arrays": (unheard(b"[" * 100_000 + b"]" * 100_000), "depth"),
    "100_000_objects": (unheard(b'{"a":' * 100_000 + b"1" + b"}" * 100_000), "depth"),
    "gzip": (b"\x1f\x8b\x08\x00rest", "json"),
    "avro": (b"\x00\x00\x00\x00\x01abc", "json"),
    "protobuf": (b"\x0a\x02v1\x10\x05", "json"),
    "too_large": (unheard(b'"' + b"a" * LIMIT + b'"'), "too_large"),
    "long_array": (b"[" + b",".join([b"1"] * (ARRAY_MAX + 1)) + b"]", "too_large"),
    "unsigned_takedown": (encode(takedown()), "signature"),
    "unsigned_policy": (encode(FIXED), "signature"),
}
ALONE_ONLY = {
    # what spoils the JSON or its depth takes the whole array with it
    *("tombstone", "nothing", "white_space", "lone_surrogate", "too_large", "long_array"),
    *("100_000_arrays", "100_000_objects"),
    *(name for name, (_, reason) in BAD.items() if reason == "json"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_its_reason(name: str) -> None:
    value, reason = BAD[name]
    out = decode(record(value))
    assert [(said.reason, said.element) for said in out.refusals] == [(reason, 0)]
    assert not out.events


@pytest.mark.parametrize("name", [name for name in BAD if name not in ALONE_ONLY])
def test_a_bad_element_of_an_array_does_not_lose_its_neighbours(name: str) -> None:
    value, reason = BAD[name]
    array = b"[" + b" , ".join([GOOD, value or b"", encode(like("other"))]) + b"]"
    out = decode(record(array, 7))
    assert [event.id for event in out.events] == ["good", "other"]
    assert (out.offsets, out.elements) == ([7, 7], [0, 2])
    assert [(said.reason, said.element) for said in out.refusals] == [(reason, 1)]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_does_not_lose_the_next(name: str) -> None:
    out = decode(record(GOOD, 0), record(BAD[name][0], 1), record(encode(like("next")), 2))
    assert [event.id for event in out.events] == ["good", "next"]
    assert out.offsets == [0, 2]
    assert len(out.refusals) == 1


@pytest.mark.parametrize(
    "value",
    [
        raw("type", b'"\\u0076iew"'),
        GOOD.replace(b'"id":', b'"id" : '),
        b"\n" + GOOD + b"\n",
        b"[" + GOOD + b"]",
    ],
    ids=["escaped_type", "blanks", "line_breaks", "array_of_one"],
)
def test_another_spelling_of_the_same_event_counts(value: bytes) -> None:
    out = decode(record(value))
    assert out.events == [view("good")]
    assert out.unknown_fields == 0
    assert not out.refusals


@pytest.mark.parametrize(("ahead", "refused"), [(FUTURE_MS, False), (FUTURE_MS + 1, True)])
def test_an_event_may_be_five_minutes_ahead_of_its_record(ahead: int, refused: bool) -> None:
    for events in (view("e1", ts=NOW + ahead), [view("e1", ts=NOW + ahead)]):
        assert bool(decode(interaction_record(events)).refusals) is refused


def test_a_small_refusal_of_a_large_array_costs_little() -> None:
    started = time.process_time()
    for event in (view("e1", ts=NOW + 10 * MINUTE), view("a b"), view("e1", slice_id="mars:x")):
        out = decode_log([interaction_record([event] * 8_000)], TRUST, Spelling(LIMIT * 2))
        assert len(out.refusals) == 8_000
    assert time.process_time() - started < 2  # 20 s where each element parses the array again


# ---------------------------------------------------------------- unknown fields


@pytest.mark.parametrize(
    ("value", "count"),
    [
        (unheard(b'"red"'), 1),
        (unheard(b'{"a":{"b":1}}'), 1),
        (unheard(b"1").replace(b'"id":', b'"id" : '), 1),
        (GOOD[:-1] + b',"id":"good"}', 0),
        (b"[" + unheard(b"1") + b"," + GOOD + b"," + unheard(b'"\\"x\\":"') + b"]", 2),
        (b"[" + unheard(b"1") + b",{}]", 1),
    ],
    ids=["one", "nested", "blanks", "a_field_twice", "array", "beside_a_bad_element"],
)
def test_unknown_fields_are_read_over_and_counted(value: bytes, count: int) -> None:
    out = decode(record(value))
    assert out.unknown_fields == count
    assert out.events


@given(
    st.dictionaries(
        st.text(max_size=12).filter(lambda name: name not in FIELDS),
        st.recursive(st.integers() | st.text() | st.none(), st.lists, max_leaves=3),
        max_size=4,
    )
)
def test_every_unknown_field_is_counted_once(unknown: dict[str, Any]) -> None:
    out = decode(record(msgspec.json.encode({**FIELDS, **unknown})))
    assert out.unknown_fields == len(unknown)
    assert out.events == [view("good")]


# ---------------------------------------------------------------- optional fields


def served(event_id: str, **fields: Any) -> bytes:
    """An impression with these fields beside those that it must have."""
    return encode(impression(event_id))[:-1] + b"," + msgspec.json.encode(fields)[1:]


@pytest.mark.parametrize("headers", [[], [("trace", b"1")]], ids=["plain", "with a header"])
@pytest.mark.parametrize("array", [False, True])
def test_why_and_by_what_score_an_impression_was_shown_may_be_said(
    headers: Headers, array: bool
) -> None:
    values = [served("a", via="rank", score=-5), served("b", via="push"), served("c", score=7)]
    values += [served("d", score=7, mix=9), served("e", mix=9)]
    values.append(encode(impression("f")))
    if array:
        values = [b"[" + b",".join(values) + b"]"]
    out = decode(*(record(value, n, headers=headers) for n, value in enumerate(values)))
    assert out.events == [
        impression("a", via="rank", score=-5),
        impression("b", via="push"),
        impression("c", score=7),
        impression("d", score=7, mix=9),
        impression("e", mix=9),
        impression("f"),
    ]
    assert (out.refusals, out.unknown_fields) == ([], 0)


@pytest.mark.parametrize("array", [False, True])
def test_to_whom_and_for_how_much_may_be_said(array: bool) -> None:
    events = [
        impression("a", via="bid", follower=True, amount=300),
        impression("b", amount=1),
        Order("c", "v1", "u1", FOOTBALL, NOW, amount=9_900),
        Order("d", "v1", "u1", FOOTBALL, NOW),
        Gift("e", "v1", "u1", FOOTBALL, NOW, amount=0),
        Stay("f", "v1", "u1", FOOTBALL, NOW, stay_ms=30_000),
    ]
    values = [encode(event) for event in events]
    if array:
        values = [b"[" + b",".join(values) + b"]"]
    out = decode(*(record(value, n) for n, value in enumerate(values)))
    assert (out.events, out.refusals, out.unknown_fields) == (events, [], 0)
    spelled = decode(record(served("a", follower=False, amount=0, colour="red")))
    assert (spelled.events, spelled.unknown_fields) == ([impression("a")], 1)


def test_null_says_nothing_and_a_field_more_is_found_beside_optional_ones() -> None:
    out = decode(record(served("a", via=None, score=None)))
    assert (out.events, out.unknown_fields) == ([impression("a")], 0)
    out = decode(record(served("a", via="rank", colour="red")))
    assert (out.events, out.unknown_fields) == ([impression("a", via="rank")], 1)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"via": "luck"}, "range"),
        ({"score": "7"}, "type"),
        ({"score": 1 << 53}, "range"),
        ({"mix": 0}, "range"),
    ],
)
def test_what_no_feed_can_mean_is_refused(fields: dict[str, Any], reason: RejectReason) -> None:
    assert [said.reason for said in decode(record(served("a", **fields))).refusals] == [reason]


# ---------------------------------------------------------------- signatures


@pytest.mark.parametrize("event", [FIXED, admit(), hold(), takedown()], ids=lambda event: event.id)
def test_a_signed_control_record_comes_back_as_it_was(event: Any) -> None:
    out = decode(signed_record(event, 4))
    assert (out.events, out.offsets, out.elements) == ([event], [4], [0])


GENUINE = signed_record(takedown(), 4)


def tampered(**changes: Any) -> Logged:
    return GENUINE._replace(**changes)


@pytest.mark.parametrize(
    "forged",
    [
        signed_record(takedown(), 4, signer=Signer(INSTALLATION.id, STRANGER)),
        tampered(value=encode(takedown(video="v2"))),
        tampered(value=(GENUINE.value or b"") + b" "),
        tampered(key=b"v2"),
        tampered(key=None),
        tampered(headers=()),
        tampered(headers=[(SIGNATURE, b"")]),
        tampered(headers=[(SIGNATURE, None)]),
        tampered(headers=[(SIGNATURE, b"\xff" * 64)]),
        tampered(headers=[*GENUINE.headers, *GENUINE.headers]),
        tampered(headers=[*GENUINE.headers, (SIGNATURE, b"other")]),
        tampered(headers=[("Streams-Signature", GENUINE.headers[0][1])]),
    ],
)
def test_a_control_record_without_its_one_valid_signature_is_refused(forged: Logged) -> None:
    out = decode(forged)
    assert [said.reason for said in out.refusals] == ["signature"]
    assert not out.events


def test_a_signature_makes_no_control_record_of_an_interaction() -> None:
    headers = [SIGNER.header(b"v1", GOOD)]
    out = decode(record(GOOD, headers=headers))
    assert [said.reason for said in out.refusals] == ["type_unknown"]


def test_a_control_record_hides_in_no_array_of_interactions() -> None:
    out = decode(record(b"[" + GOOD + b"," + encode(takedown()) + b"]"))
    assert [event.id for event in out.events] == ["good"]
    assert [said.reason for said in out.refusals] == ["signature"]


def test_other_headers_are_no_matter() -> None:
    assert decode(record(GOOD, headers=[("trace", b"1"), ("ce_id", b"2")])).events


def test_a_policy_has_no_key_and_names_its_partition() -> None:
    out = control_record("interactions", FIXED, SIGNER, 3)
    assert (out.key, out.partition) == (None, 3)
    assert control_record("interactions", admit(), SIGNER).key == b"v1"


# ---------------------------------------------------------------- whatever the bytes


def judge_all(records: list[Logged]) -> Decoded:
    """Decode, and check that every record is in events or refusals, each element once."""
    out = decode_log(records, TRUST, Spelling(LIMIT))
    places = [*zip(out.offsets, out.elements, strict=True)]
    places += [(said.offset, said.element) for said in out.refusals]
    assert max(Counter(places).values(), default=0) <= 1
    assert {offset for offset, _ in places} == {each.offset for each in records}
    assert len(out.events) == len(out.offsets) == len(out.elements)
    assert out.offsets == sorted(out.offsets)
    assert {said.reason for said in out.refusals} <= set(REJECT_REASONS)
    return out


JSON_LIKE = st.lists(
    st.sampled_from(
        [
            *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b" ", b"\xff", b"\\ud800", b"null"),
            *(b'"type"', b'"view"', b'"takedown"', b'"id"', b'"colour"', b"1e999", b"9" * 30),
            *(GOOD, GOOD[:-1], encode(like()), encode(takedown()), b'{"type":"view"}'),
        ]
    ),
    max_size=12,
).map(b"".join)


OTHER: bytes = encode(like("other"))
CUT = len(GOOD) // 2
PIECES = [
    GOOD,
    OTHER,
    b"[%b]" % OTHER,
    b"[%b,%b]" % (GOOD, OTHER),
    GOOD[:CUT],
    GOOD[CUT:],
    GOOD[: GOOD.index(b",") + 1],
    GOOD[GOOD.index(b",") + 1 :],
    b"%b %b" % (OTHER, GOOD),
    b"[%b] [%b]" % (GOOD, OTHER),
    b"[%b," % GOOD,
    b"%b]" % OTHER,
    b"%b\n%b" % (GOOD, OTHER),
    GOOD.replace(b",", b",\n"),
    GOOD + b"\n",
    b"[]",
    b"",
    b"\n",
]


@given(st.lists(st.sampled_from(PIECES), min_size=2, max_size=5))
@example([OTHER + GOOD, GOOD[:CUT], GOOD[CUT:]])
@example([b"%b %b" % (OTHER, GOOD), GOOD[:CUT], GOOD[CUT:]])
@example([b"[%b] [%b]" % (GOOD, OTHER), b"[%b," % GOOD, b"%b]" % OTHER])
def test_what_records_hold_does_not_depend_on_their_neighbours(values: list[bytes]) -> None:
    records = [record(value, offset) for offset, value in enumerate(values)]
    alone = [decode(each) for each in records]
    together = decode(*records)
    assert together.events == [event for each in alone for event in each.events]
    assert together.offsets == [offset for each in alone for offset in each.offsets]
    assert together.elements == [element for each in alone for element in each.elements]
    assert [(each.offset, each.element, each.reason) for each in together.refusals] == [
        (each.offset, each.element, each.reason) for one in alone for each in one.refusals
    ]


@given(st.lists(st.none() | st.binary(max_size=60) | JSON_LIKE, max_size=5))
def test_no_bytes_raise_and_every_record_is_accounted_for(values: list[bytes | None]) -> None:
    judge_all([record(value, offset) for offset, value in enumerate(values)])


@given(st.data())
def test_no_change_of_some_bytes_raises(data: st.DataObject) -> None:
    value = bytearray(b"[" + GOOD + b"," + unheard(b'{"a":"b"}') + b"]")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(value) - 1))
        value[at] = data.draw(st.integers(0, 255))
    judge_all([record(bytes(value)), record(GOOD, 1)])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(FIELDS)), JSON, st.booleans())
def test_no_json_in_any_field_raises(name: str, text: Any, array: bool) -> None:
    value = msgspec.json.encode({**FIELDS, name: text})
    judge_all([record(b"[" + GOOD + b"," + value + b"]" if array else value)])


@pytest.mark.parametrize("seed", range(5))
def test_a_whole_log_is_accounted_for(seed: int) -> None:
    assert judge_all(synthetic_log(seed, events=2_000)).refusals


SECRETS = st.sampled_from(
    ["{}", "{} - at {}", ", got {}", " of length {}", "Object missing {}", "` - at `$.{}`"]
).map(lambda form: form.replace("{}", "PAYLOAD"))
TOPICS: dict[ControlTopic, dict[str, Any]] = {
    "uploads": {"type": "upload", "creator": "c", "duration_ms": 1, "city": "", "music": {}},
    "recognitions": {
        "type": "recognition",
        "source": "s",
        "tags": [{"dimension": "age", "name": "x", "confidence_micros": 1}],
    },
    "reviews": {"type": "review", "verdict": "approve", "by": "m", "note": ""},
}


@given(st.sampled_from(sorted(FIELDS)), SECRETS, st.sampled_from(["text", "array", "object"]))
def test_no_message_repeats_payload(name: str, secret: str, shape: str) -> None:
    text: Any = {"text": secret, "array": [secret], "object": {secret: secret}}[shape]
    value = msgspec.json.encode({**FIELDS, name: text})
    for said in decode(record(value), record(b"[" + value + b"]", 1)).refusals:
        assert "PAYLOAD" not in said.message


@given(st.sampled_from(sorted(TOPICS)), st.data(), SECRETS)
def test_no_message_about_a_control_topic_repeats_payload(
    topic: ControlTopic, data: st.DataObject, secret: str
) -> None:
    fields = {"id": "a", "video": "v1", "ts": NOW, **TOPICS[topic]}
    name = data.draw(st.sampled_from(sorted(fields)))
    tag = {"dimension": secret, "name": "x", "confidence_micros": 1}
    text = data.draw(st.sampled_from([secret, [secret], {secret: secret}, [tag]]))
    assert "PAYLOAD" not in said_of(topic, msgspec.json.encode({**fields, name: text}))


def said_of(topic: ControlTopic, value: bytes) -> str:
    """The message of a refusal, "" where there is none."""
    try:
        decode_one(topic, value, LIMIT)
    except DeadLetter as letter:
        return str(letter)
    return ""


# ---------------------------------------------------------------- one at a time


@pytest.mark.parametrize("topic", TOPICS)
def test_a_record_of_a_control_topic_decodes(topic: ControlTopic) -> None:
    fields = {"id": "a", "video": "v1", "ts": NOW, **TOPICS[topic]}
    assert decode_one(topic, msgspec.json.encode(fields), LIMIT).video == "v1"


ONE_BAD: list[tuple[bytes | None, RejectReason]] = [
    (None, "tombstone"),
    (b" ", "empty"),
    (b"[]", "not_object"),
    (b"{", "json"),
    (b"a" * (LIMIT + 1), "too_large"),
    (b'{"type":"view"}', "type_unknown"),
    (
        b'{"type":"review","id":"a b","video":"v","ts":1700000000000,"verdict":"limit","by":"m"}',
        "id",
    ),
    (b'{"type":"review","id":"a","video":"v","ts":1700000000000,"verdict":"limit"}', "missing"),
    (b'{"type":"review","id":"a","video":"v","ts":17,"verdict":"limit","by":"m"}', "ts"),
]


@pytest.mark.parametrize(("value", "reason"), ONE_BAD)
def test_a_bad_record_of_a_control_topic_is_a_dead_letter(
    value: bytes | None, reason: RejectReason
) -> None:
    with pytest.raises(DeadLetter) as caught:
        decode_one("reviews", value, LIMIT)
    assert caught.value.reason == reason


ONE_BY_ONE = [
    (value, reason)
    for name, (value, reason) in BAD.items()
    if value is not None
    and reason not in {"future", "too_large"}  # a record's matter
    and name != "not_utf8_unknown_field"  # read over
]


@pytest.mark.parametrize(("value", "reason"), ONE_BY_ONE)
def test_a_bad_interaction_is_a_dead_letter(value: bytes, reason: RejectReason) -> None:
    with pytest.raises(DeadLetter) as caught:
        decode_interaction(value)
    assert caught.value.reason == reason


def test_one_interaction_decodes_by_itself() -> None:
    assert decode_interaction(GOOD) == view("good")


@given(
    st.builds(
        View,
        *[st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")] * 3,
        st.sampled_from([FOOTBALL, COOKING]),
        st.integers(1_000_000_000_000, NOW),
        st.integers(0, 86_400_000),
        st.integers(1, 86_400_000),
    )
)
def test_what_is_encoded_decodes_to_the_same(event: View) -> None:
    assert decode(interaction_record(event)).events == [event]


def test_a_log_of_every_type_decodes_in_its_order() -> None:
    events: list[LogRecord] = [FIXED, admit(), view("e1"), like("e2"), hold()]
    out = decode(*records_of(events))
    assert out.events == events
    assert out.offsets == [0, 1, 2, 3, 4]


# ---------------------------------------------------------------- a later release


def test_a_policy_of_a_rule_that_this_release_does_not_know_halts() -> None:
    later = signed_record(policy(rule=3), 7)
    with pytest.raises(Halt, match="rule 3, this release knows rules up to 2: upgrade it") as halt:
        decode(interaction_record(view()), later)
    assert (halt.value.code, halt.value.partition) == ("rule", 0)


def test_one_that_nobody_in_force_signed_halts_nobody() -> None:
    stranger = Signer(INSTALLATION.id, STRANGER)
    (refusal,) = decode(signed_record(policy(rule=3), signer=stranger)).refusals
    assert refusal.reason == "signature"
    record = signed_record(policy(rule=3))
    assert decode_log([record], None, Spelling(LIMIT)).refusals == []


def test_what_another_log_counted_is_refused_and_remembered_all_the_same() -> None:
    one = record(GOOD, headers=[(COUNTED, b"")])
    refused = decode(one, record(encode(view("next")), 1))
    assert [(each.offset, each.reason) for each in refused.refusals] == [(0, "stale")]
    assert [event.id for event in refused.events] == ["next"]
    remembered = decode_log([one], None, Spelling(LIMIT))
    assert [event.id for event in remembered.events] == ["good"]

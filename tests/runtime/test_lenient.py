"""What producers write loosely is taken: null for absent, any JSON as metadata."""

import json
from typing import Any

import msgspec
import pytest

from streams.core.events import (
    Music,
    Upload,
)
from streams.core.words import Review
from streams.errors import DeadLetter
from streams.runtime.codec import ControlTopic, decode_one

LIMIT = 100_000
UPLOAD = {
    "type": "upload",
    "id": "u1",
    "video": "v1",
    "creator": "c1",
    "ts": 1_714_557_600_000,
    "duration_ms": 15_000,
}
REVIEW = {
    "type": "review",
    "id": "r1",
    "video": "v1",
    "ts": 1_714_557_600_000,
    "verdict": "approve",
    "by": "m",
}


def upload(**fields: object) -> Upload:
    event = decode_one("uploads", json.dumps(UPLOAD | fields).encode(), LIMIT)
    assert isinstance(event, Upload)
    return event


@pytest.mark.parametrize(
    "field", [f.name for f in msgspec.structs.fields(Upload) if not f.required]
)
def test_null_in_an_optional_field_of_an_upload_is_no_field(field: str) -> None:
    assert upload(**{field: None}) == upload()


def test_many_nulls_are_as_good_as_one() -> None:
    nulls = dict.fromkeys(("title", "hashtags", "followers", "commercial", "metadata"))
    assert upload(**nulls, scene="sea") == upload(scene="sea")


def test_null_inside_the_music_is_no_field() -> None:
    assert upload(music={"title": None, "artist": "a"}).music == Music(artist="a")


def test_null_in_the_note_of_a_review_is_no_note() -> None:
    event = decode_one("reviews", json.dumps(REVIEW | {"note": None}).encode(), LIMIT)
    assert isinstance(event, Review)
    assert event.note == ""


@pytest.mark.parametrize("field", ["id", "video", "creator", "ts", "duration_ms"])
def test_null_in_a_required_field_is_refused_by_its_name(field: str) -> None:
    with pytest.raises(DeadLetter, match=field):
        upload(**{field: None}, title=None)


def test_another_fault_beside_a_null_is_told() -> None:
    with pytest.raises(DeadLetter, match="followers"):
        upload(title=None, followers=-1)


@pytest.mark.parametrize(
    "value",
    [0.5, -1e300, None, True, "text", 10**30, [1, [2.5, None]], {"lat": 41.8, "tags": ["a"]}],
)
def test_any_json_is_metadata(value: object) -> None:
    taken = upload(metadata={"camera": "phone", "x": value}).metadata
    assert taken == {"camera": "phone", "x": value}
    assert msgspec.json.decode(msgspec.json.encode(taken)) == taken


@pytest.mark.parametrize("value", [[1, 2], "text", 3.5, False])
def test_metadata_that_is_no_object_stands_under_a_name(value: object) -> None:
    assert upload(metadata=value).metadata == {"value": value}


def test_a_number_that_nothing_can_hold_is_kept_as_its_text() -> None:
    line = json.dumps(UPLOAD | {"metadata": {"x": "?", "y": 1}}).replace('"?"', "1e999")
    event: Any = decode_one("uploads", line.encode(), LIMIT)
    assert event.metadata == {"x": "1e999", "y": 1}


def test_more_metadata_than_anybody_needs_is_taken() -> None:
    many = {f"{number}" * 700: number for number in range(1_000, 1_020)} | dict.fromkeys("abc", 1.5)
    assert upload(metadata=many).metadata == many


@pytest.mark.parametrize("topic", ["uploads", "recognitions", "reviews"])
@pytest.mark.parametrize("value", [b"null", b"[null]", b'{"title":null}', b"{", b"", b"\xff"])
def test_what_is_no_event_stays_refused(topic: ControlTopic, value: bytes) -> None:
    with pytest.raises(DeadLetter):
        decode_one(topic, value, LIMIT)

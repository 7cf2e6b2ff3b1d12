"""The schemas for other languages: valid themselves, and of one mind with the decoder."""

import copy
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft7Validator, Draft202012Validator
from kit.evolution import breaks

from streams.cli import cli
from streams.client.examples import EXAMPLES
from streams.client.intake import take_event, topic_of
from streams.client.schemas import asyncapi, json_schema
from streams.errors import DeadLetter
from streams.runtime.signing import encode
from streams.settings import PUBLISHED, SHIPPED, load_settings

DATA = Path(__file__).parents[1] / "data"
NOW_MS = 1_800_000_000_000
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
ASYNCAPI = asyncapi(load_settings(SHIPPED, {"topic_prefix": "eu."}, {}))
RELEASE = max(
    (DATA / "schemas").glob("*.json"), key=lambda path: [int(part) for part in path.stem.split(".")]
)
Event = dict[str, Any]


def example(kind: str) -> Event:
    found: Event = json.loads(next(encode(e) for e in EXAMPLES if type(e).__name__ == kind))
    return found


def is_taken(event: Any) -> bool:
    try:
        take_event(json.dumps(event).encode(), NOW_MS, 1 << 20)
    except DeadLetter:
        return False
    return True


def test_the_json_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)


def test_it_takes_every_example_alone_and_interactions_in_arrays() -> None:
    for event in EXAMPLES:
        VALIDATOR.validate(json.loads(encode(event)))
        topic = Draft202012Validator(
            {**SCHEMA, "anyOf": [{"$ref": f"#/$defs/{topic_of(type(event))}"}]}
        )
        topic.validate(json.loads(encode(event)))
    VALIDATOR.validate([example("Like"), example("View")])
    assert not VALIDATOR.is_valid([])
    assert not VALIDATOR.is_valid([example("Upload")])


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("View", {"watch_ms": -1}),
    ("View", {"watch_ms": 1.5}),
    ("View", {"watch_ms": "1"}),
    ("View", {"duration_ms": 86_400_001}),
    ("View", {"ts": 1_714_557_600}),
    ("View", {"id": "a b"}),
    ("View", {"id": "x" * 65}),
    ("View", {"slice": "mars:x"}),
    ("View", {"slice": f"nearby:{'x' * 33}"}),
    ("View", {"type": "glance"}),
    ("View", {"type": "hold"}),
    ("View", {"video": None}),
    ("View", {"unknown": {"a": [1]}}),
    ("Upload", {"hashtags": ["x"] * 51}),
    ("Upload", {"metadata": {"x": [1.5, None]}}),
    ("Upload", {"title": "x" * 2_001}),
    ("Upload", {"music": None}),
    ("Recognition", {"tags": [{"dimension": "smell", "name": "x", "confidence_micros": 1}]}),
    ("Review", {"verdict": "perhaps"}),
]


@pytest.mark.parametrize(("kind", "change"), CHANGES, ids=str)
def test_it_refuses_what_the_pipeline_refuses_and_nothing_else(
    kind: str, change: dict[str, Any]
) -> None:
    event = example(kind) | change
    assert VALIDATOR.is_valid(event) == is_taken(event)


@pytest.mark.parametrize("kind", sorted({type(event).__name__ for event in EXAMPLES}))
def test_a_field_is_required_where_the_pipeline_requires_it(kind: str) -> None:
    for name in example(kind):
        event = {field: value for field, value in example(kind).items() if field != name}
        assert VALIDATOR.is_valid(event) == is_taken(event), name


def numbers(schema: Any, place: str) -> Iterator[tuple[str, Event]]:
    """Return every integer of a schema with its place."""
    if isinstance(schema, dict):
        if schema.get("type") == "integer":
            yield place, schema
        for name, part in schema.items():
            yield from numbers(part, f"{place}/{name}")
    if isinstance(schema, list):
        for part in schema:
            yield from numbers(part, place)


def test_every_number_says_its_unit() -> None:
    found = list(numbers(SCHEMA, ""))
    assert len(found) > 10
    assert not [place for place, schema in found if not schema.get("description")]


def test_every_number_of_traffic_says_its_unit() -> None:
    schemas = ASYNCAPI["components"]["schemas"]
    found = [one for name in ("Tick", "ClassSums") for one in numbers(schemas[name], name)]
    assert len(found) > 15
    assert not [place for place, schema in found if not schema.get("description")]


def test_the_asyncapi_document_is_one() -> None:
    schema = json.loads(gzip.decompress((DATA / "asyncapi/3.0.0.json.gz").read_bytes()))
    Draft7Validator(schema).validate(ASYNCAPI)
    broken = copy.deepcopy(ASYNCAPI)
    broken["operations"]["uploads"]["action"] = "eat"
    assert not Draft7Validator(schema).is_valid(broken)


def test_every_topic_is_a_channel_with_its_prefix_and_every_reference_leads_somewhere() -> None:
    assert ASYNCAPI["channels"].keys() == {*PUBLISHED, "decisions", "traffic", "waiting"}
    assert ASYNCAPI["channels"]["uploads"]["address"] == "eu.uploads"
    for reference in references(ASYNCAPI):
        target: Any = ASYNCAPI
        for step in reference.removeprefix("#/").split("/"):
            target = target[step]
    payload = ASYNCAPI["components"]["messages"]["interactions"]["payload"]
    Draft202012Validator({**ASYNCAPI, **payload}).validate(example("Like"))


def references(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for each in part.values():
            yield from references(each)
    if isinstance(part, list):
        for each in part:
            yield from references(each)


def test_what_was_valid_in_the_last_release_is_valid() -> None:
    assert breaks(json.loads(RELEASE.read_text("utf-8")), SCHEMA) == []


def change(path: str, value: Any) -> Callable[[Event], None]:
    """Return what sets a place of a schema, or deletes it for None."""

    def apply(schema: Event) -> None:
        *way, last = path.split("/")
        part: Any = schema["$defs"]
        for step in way:
            part = part[step]
        if value is None:
            del part[last]
        else:
            part[last] = value

    return apply


BREAKING: list[tuple[Callable[[Event], None], str]] = [
    (change("Hide", None), "Hide: gone"),
    (change("Upload/properties/scene", None), "Upload.scene: gone"),
    (change("Upload/required", ["id", "scene"]), "Upload.scene: required now"),
    (change("View/properties/watch_ms/maximum", 10), "View.watch_ms: maximum was 86400000, is 10"),
    (change("View/properties/watch_ms/minimum", 1), "View.watch_ms: minimum was 0, is 1"),
    (change("Upload/properties/title/minLength", 1), "Upload.title: minLength was None, is 1"),
    (change("View/properties/id/type", "integer"), "View.id: type was string, is integer"),
    (change("View/properties/slice/pattern", "^x$"), "View.slice: pattern was"),
    (change("Review/properties/verdict/enum", ["limit"]), "Review.verdict: no longer approve"),
    (change("Upload/properties/hashtags/items/maxLength", 9), "Upload.hashtags[]: maxLength was"),
    (change("Upload/properties/music", {"type": "null"}), "Upload.music: type was None, is null"),
    (change("uploads", {"anyOf": [{"$ref": "#/$defs/View"}]}), "uploads: no longer #/$defs/Upload"),
]


@pytest.mark.parametrize(("apply", "line"), BREAKING, ids=[line for _, line in BREAKING])
def test_a_breaking_difference_is_named(apply: Callable[[Event], None], line: str) -> None:
    changed = copy.deepcopy(SCHEMA)
    apply(changed)
    assert any(one.startswith(line) for one in breaks(SCHEMA, changed)), breaks(SCHEMA, changed)


ADDITIONS = [
    change("Upload/properties/format", {"enum": ["video", "live"], "default": "video"}),
    change("Applause", {"type": "object"}),
    change("Review/properties/verdict/enum", ["approve", "limit", "reject", "later"]),
    change("View/properties/watch_ms/maximum", 10**9),
    change("Upload/required", ["type", "id", "video"]),
    change("View/description", "said otherwise"),
]


@pytest.mark.parametrize("apply", ADDITIONS)
def test_an_addition_breaks_nothing(apply: Callable[[Event], None]) -> None:
    changed = copy.deepcopy(SCHEMA)
    apply(changed)
    assert breaks(SCHEMA, changed) == []


@pytest.mark.parametrize(
    ("words", "key"), [((), "$schema"), (("--format", "asyncapi"), "asyncapi")]
)
def test_the_verb_prints_a_document(words: tuple[str, ...], key: str) -> None:
    done = CliRunner().invoke(cli, ["schema", "export", *words])
    assert done.exit_code == 0, done.output
    assert key in json.loads(done.stdout)

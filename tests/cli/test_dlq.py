"""Dead letters from the command line, on a real broker."""

import json
from typing import Any

import pytest
from confluent_kafka import Producer
from kit.command import Done, Where, streams
from kit.events import NOW, record, view
from kit.keys import SPELLING, TRUST
from kit.patience import PATIENCE_S
from kit.servers import create_topics

from streams.core.partitioner import partition_of
from streams.runtime.codec import decode_log
from streams.runtime.letters import letter_of
from streams.runtime.signing import encode
from streams.settings import TOPICS

pytestmark = pytest.mark.real

PARTITIONS = 2
HOME = partition_of(b"v1", PARTITIONS)
STRANGE = encode(view("e2", viewer="alice", slice_id="mars:x"))


@pytest.fixture
def where(brokers: str, unique: str) -> Where:
    names = [f"{unique}.{name}{end}" for name in TOPICS for end in ("", ".dlq")]
    create_topics(brokers, {name: {} for name in names}, PARTITIONS)
    producer = Producer({"bootstrap.servers": brokers})
    for offset, value in enumerate([b"[" + encode(view("e1")) + b"," + STRANGE + b"]", b"{"]):
        headers = [("x-producer", b"android")]
        bad = record(value, offset, headers=headers, partition=HOME, topic=f"{unique}.interactions")
        letter = letter_of(bad, decode_log([bad], TRUST, SPELLING).refusals, "decode", "g", 1 << 20)
        written = list(letter.headers)
        producer.produce(letter.topic, value, key=b"v1", partition=HOME, headers=written)
    assert producer.flush(PATIENCE_S) == 0
    return {"brokers": brokers, "topic_prefix": f"{unique}.", "partitions": PARTITIONS}


def rows(done: Done) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_from_the_count_to_the_cure(where: Where) -> None:
    counts = rows(streams("dlq", "stats", "--output", "ndjson", **where))
    assert [(row["reason"], row["producer"], row["refusals"]) for row in counts] == [
        ("json", "android", 1),
        ("slice", "android", 1),
    ]
    listed = rows(streams("dlq", "list", "--reason", "slice", "--output", "ndjson", **where))
    assert [row["letter"] for row in listed] == [f"interactions:{HOME}:0"]
    shown = streams("dlq", "show", listed[0]["letter"], **where).stdout
    assert "alice" not in shown
    assert "***" in shown

    redrive = ("dlq", "redrive", "--reason", "slice", "--patch", '{"slice":"discover:cars"}')
    planned = streams(*redrive, **where)
    assert "1 of 1 events would be sent, nothing was: act with --yes" in planned.stderr
    done = streams(*redrive, "--yes", "--output", "ndjson", **where)
    assert [(row["outcome"], row["events"]) for row in rows(done)] == [("sent", 1)]
    again = streams(*redrive, "--yes", **where)
    assert (again.returncode, "no open letter is chosen" in again.stderr) == (3, True)

    tail = ("events", "tail", "--from", "earliest", "--no-follow", "--output", "ndjson")
    [sent] = rows(streams(*tail, **where))
    wanted = {**json.loads(STRANGE), "slice": "discover:cars", "viewer": "***"}
    assert (sent["partition"], sent["event"]) == (HOME, wanted)
    assert sent["timestamp"] > NOW

    streams("dlq", "discard", "--reason", "json", "--yes", **where)
    assert streams("dlq", "list", **where).stdout == ""
    states = [
        row["state"] for row in rows(streams("dlq", "list", "--all", "--output", "ndjson", **where))
    ]
    assert sorted(states) == ["discarded", "redriven"]


def test_who_has_viewers_shown_is_kept_before_they_are(where: Where) -> None:
    letter = f"interactions:{HOME}:0"
    said = ("--by", "carol", "--note", "ticket 7")
    assert "alice" in streams("dlq", "show", letter, "--reveal", *said, **where).stdout
    assert streams("events", "sample", "--reveal", *said, **where).returncode == 0
    shown = rows(streams("dlq", "reveals", "--output", "ndjson", **where))
    assert [(row["by"], row["note"], row["what"]) for row in shown] == [
        ("carol", "ticket 7", f"dlq show {letter}"),
        ("carol", "ticket 7", "events sample --topic interactions --count 10"),
    ]
    assert len(rows(streams("dlq", "list", "--output", "ndjson", **where))) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("show", "interactions:0:0", "--reveal"), "say who wants it and why (--by, --note)"),
        (("show", "interactions:0:0", "--by", "a", "--note", "b"), "go with --reveal"),
        (("show", "interactions"), "names no letter: write interactions:3:821122"),
        (("redrive", "--patch", "[]"), "--patch is no JSON object"),
        (("redrive", "--patch", '{"id":"x"}'), "name one letter with --id"),
        (("list", "--reason", "jason"), "'jason' is not one of"),
    ],
)
def test_what_cannot_be_meant_is_said_in_one_line(
    where: Where, arguments: tuple[str, ...], words: str
) -> None:
    done = streams("dlq", *arguments, **where)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr

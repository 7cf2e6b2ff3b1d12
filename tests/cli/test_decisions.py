import json

import pytest
from confluent_kafka import Producer
from kit.command import Where, streams
from kit.servers import create_topic
from kit.stories import receipt

from streams.core.receipts import encode

PARTITIONS = 2
OPEN = receipt("open")
STOP = receipt(
    "stop", n=2, slice="discover:football", impressions=55, views=50, value=5_000_000,
    mean=111_000, sd=30_000, score=123_000, price=340_000, z=-7_633_333,
)  # fmt: skip


@pytest.fixture
def where(brokers: str, unique: str) -> Where:
    create_topic(brokers, f"{unique}.decisions", PARTITIONS)
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
    other = encode(OPEN).replace(b"v1", b"v2")
    values = [encode(OPEN), encode(STOP), encode(OPEN), b"not a receipt", encode(STOP), other]
    for value in values:
        producer.produce(f"{unique}.decisions", value, key=b"v2" if value is other else b"v1")
    assert producer.flush(30) == 0
    return {"brokers": brokers, "topic_prefix": f"{unique}.", "partitions": PARTITIONS}


TAIL = ("decisions", "tail", "--from", "beginning", "--no-follow")


@pytest.mark.real
def test_repeats_are_dropped_by_id_and_what_is_no_receipt_is_told(where: Where) -> None:
    done = streams(*TAIL, "--output", "ndjson", **where)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(row["id"] for row in rows) == ["v1.1", "v1.2", "v2.1"]
    assert json.loads(encode(STOP)) in rows
    assert "is not a receipt: passed over" in done.stderr


@pytest.mark.real
@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (("--action", "stop"), ["v1.2"]),
        (("--video", "v2"), ["v2.1"]),
        (("--slice", "nearby:shenyang"), []),
        (("--limit", "0"), []),
    ],
)
def test_filters_leave_what_was_asked_for(
    where: Where, filters: tuple[str, ...], ids: list[str]
) -> None:
    done = streams(*TAIL, *filters, "--output", "json", **where)
    assert [row["id"] for row in json.loads(done.stdout or "[]")] == ids


@pytest.mark.real
def test_a_line_or_words_for_people(where: Where) -> None:
    line = streams(*TAIL, "--action", "stop", **where).stdout
    assert "stop   discover:football" in line
    assert "mean 0.111±0.03" in line
    words = streams(*TAIL, "--action", "stop", "--explain", **where).stdout
    assert words.startswith("v1 #2 stop discover:football: not worth another impression")


@pytest.mark.real
def test_a_video_is_explained_in_the_order_of_its_decisions(where: Where) -> None:
    done = streams("video", "explain", "v1", redis="redis://127.0.0.1:1", **where)
    heads = [line for line in done.stdout.splitlines() if line.startswith("#")]
    assert [head.split(":")[0] for head in heads] == ["#1 open 2 crowds", "#2 stop discover"]
    assert "what crowds taught each other is left out" in done.stderr
    assert "to come, < the price 0.34; its mean lies 7.633333 deviations below" in done.stdout
    listed = streams("video", "explain", "v1", "--output", "json", **where)
    assert json.loads(listed.stdout) == [json.loads(encode(OPEN)), json.loads(encode(STOP))]


@pytest.mark.real
def test_a_video_nobody_decided_about_is_told(where: Where) -> None:
    done = streams("video", "explain", "v9", **where)
    assert (done.returncode, "no decision about video v9" in done.stderr) == (1, True)

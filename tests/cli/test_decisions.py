import json

import pytest
from confluent_kafka import Producer
from kit.command import Where, streams
from kit.servers import create_topic

from streams.core.receipts import Receipt, encode

PARTITIONS = 2
RECEIPT = Receipt(
    id="v1.1", n=1, video="v1", slice="discover:football", action="start", reason="first_crowd",
    cause="e-1", ts=1_714_557_600_250, policy="p4", stage=0, tranche=60, allowance=60,
    impressions=0, views=0, value_sum=0, value_sq=0, prior_mean=380_000, prior_variance=20_000,
    noise_variance=100_000, mean=380_000, sd=141_421, index=901_000, price=340_000, z=282_843,
    reach_left=2_400_000,
)  # fmt: skip
STOP = Receipt(
    id="v1.2", n=2, video="v1", slice="discover:football", action="stop",
    reason="index_below_price", cause="e-77", ts=1_714_557_900_000, policy="p4", stage=0,
    tranche=0, allowance=60, impressions=55, views=50, value_sum=5_000_000, value_sq=1_100_000,
    prior_mean=380_000, prior_variance=20_000, noise_variance=100_000, mean=111_000, sd=30_000,
    index=123_000, price=340_000, z=-7_633_333, reach_left=2_399_945,
)  # fmt: skip


@pytest.fixture
def where(brokers: str, unique: str) -> Where:
    create_topic(brokers, f"{unique}.decisions", PARTITIONS)
    producer = Producer({"bootstrap.servers": brokers, "partitioner": "murmur2_random"})
    other = encode(RECEIPT).replace(b"v1", b"v2")
    values = [encode(RECEIPT), encode(STOP), encode(RECEIPT), b"not a receipt", encode(STOP), other]
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
    done = streams("video", "explain", "v1", **where)
    heads = [line for line in done.stdout.splitlines() if line.startswith("#")]
    assert [head.split(":")[0] for head in heads] == ["#1 start discover", "#2 stop discover"]
    assert (
        "Its index 0.123 < the price 0.34; its mean lies 7.633333 deviations below" in done.stdout
    )
    listed = streams("video", "explain", "v1", "--output", "json", **where)
    assert json.loads(listed.stdout) == [json.loads(encode(RECEIPT)), json.loads(encode(STOP))]


@pytest.mark.real
def test_a_video_nobody_decided_about_is_told(where: Where) -> None:
    done = streams("video", "explain", "v9", **where)
    assert (done.returncode, "no decision about video v9" in done.stderr) == (1, True)

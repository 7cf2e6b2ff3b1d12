import json

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kit.command import streams
from kit.servers import create_topic


def commit(brokers: str, group: str, topic: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


@pytest.mark.real
def test_lag_is_counted_in_records_and_in_seconds_since_the_first_unread_one(
    brokers: str, unique: str
) -> None:
    create_topic(brokers, unique, 1)
    producer = Producer({"bootstrap.servers": brokers})
    for number in range(5):
        producer.produce(unique, b"x", timestamp=1_714_557_600_000 + number * 1_000)
    assert producer.flush(30) == 0
    commit(brokers, f"{unique}-behind", unique, 2)
    commit(brokers, f"{unique}-done", unique, 5)

    groups = ("--group", f"{unique}-behind", "--group", f"{unique}-done")
    done = streams("lag", "list", *groups, "--output", "json", brokers=brokers)
    behind, there = json.loads(done.stdout)
    assert {name: behind[name] for name in ("committed", "log_start", "end", "lag", "lost")} == {
        "committed": 2,
        "log_start": 0,
        "end": 5,
        "lag": 3,
        "lost": 0,
    }
    assert behind["lag_seconds"] > 86_400  # the records say 2024
    assert (there["group"], there["lag"], there["lag_seconds"]) == (f"{unique}-done", 0, 0.0)

    listed = streams(
        "lag", "list", "--all", "--topic", unique, "--output", "ndjson", brokers=brokers
    )
    assert len(listed.stdout.splitlines()) == 2


@pytest.mark.real
def test_a_group_that_does_not_exist_is_told(brokers: str) -> None:
    done = streams("lag", "list", "--group", "nobody", brokers=brokers)
    assert (done.returncode, "no consumer group nobody" in done.stderr) == (1, True)


def test_a_broker_that_does_not_answer_ends_with_4() -> None:
    assert streams("lag", "list", brokers="127.0.0.1:1").returncode == 4


@pytest.mark.real
def test_the_own_groups_are_shown_unless_the_whole_cluster_is_wanted(
    brokers: str, unique: str
) -> None:
    topic = f"{unique}.interactions"
    create_topic(brokers, topic, 2)
    own = {"brokers": brokers, "topic_prefix": f"{unique}.", "group": f"{unique}-own"}
    commit(brokers, f"{unique}-own", topic, 0)
    commit(brokers, f"{unique}-other", topic, 0)
    rows = json.loads(streams("lag", "list", "--output", "json", **own).stdout)
    assert [(row["group"], row["partition"], row["committed"]) for row in rows] == [
        (f"{unique}-own", 0, 0),
        (f"{unique}-own", 1, None),
    ]
    whole = streams("lag", "list", "--all", "--topic", "interactions", "--output", "json", **own)
    groups = {row["group"] for row in json.loads(whole.stdout)}
    assert groups == {f"{unique}-own", f"{unique}-other"}

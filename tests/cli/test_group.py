"""Groups as a person asks for them, on real brokers."""

import json

import pytest
from confluent_kafka import Consumer, TopicPartition
from kit.command import streams
from kit.servers import create_topic


@pytest.mark.real
def test_a_group_is_listed_shown_and_kept(brokers: str, unique: str) -> None:
    topic = f"{unique}.interactions"
    create_topic(brokers, topic, 2)
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": f"{unique}.streams"})
    consumer.commit(offsets=[TopicPartition(topic, 1, 5)], asynchronous=False)
    consumer.close()
    own = {"brokers": brokers, "topic_prefix": f"{unique}."}
    [row] = json.loads(streams("group", "list", "--output", "json", **own).stdout)
    assert (row["group"], row["partitions"], row["committed"]) == (f"{unique}.streams", 2, 1)
    [shown] = json.loads(
        streams("group", "show", f"{unique}.streams", "--output", "json", **own).stdout
    )
    assert (shown["member"], shown["topic"], shown["partitions"]) == (None, topic, "0-1")
    kept = streams("group", "snapshot", f"{unique}.streams", **own)
    assert kept.stdout == f"{topic},1,5\n"


def test_the_own_group_is_not_moved(unique: str) -> None:
    done = streams("group", "seek", f"{unique}.streams", topic_prefix=f"{unique}.")
    assert (done.returncode, "`streams counters rebuild`" in done.stderr) == (1, True)

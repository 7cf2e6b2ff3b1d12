import json
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from kit.command import Where, environment, streams
from kit.patience import PATIENCE_S
from kit.servers import create_topic, lasting_ports
from prometheus_client.parser import text_string_to_metric_families


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
    assert producer.flush(PATIENCE_S) == 0
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


@pytest.mark.real
def test_a_group_beyond_a_limit_ends_with_3_and_one_within_with_0(
    brokers: str, redis_url: str, unique: str
) -> None:
    create_topic(brokers, unique, 1)
    producer = Producer({"bootstrap.servers": brokers})
    written_s = time.time() - 90
    producer.produce(unique, b"x", timestamp=int(written_s * 1000))
    assert producer.flush(PATIENCE_S) == 0
    commit(brokers, unique, unique, 0)
    where: Where = {"brokers": brokers, "redis": redis_url}
    asked = ("lag", "status", "--group", unique, "--interval", "50ms", "--output", "json")
    done = streams(*asked, "--max-seconds", 60, **where)
    [row] = json.loads(done.stdout)
    assert (done.returncode, row["status"], row["lag"], row["members"]) == (3, "STOP", 1, 0)
    assert 89 < row["max_lag_seconds"] < time.time() - written_s + 1
    assert f"more than 60 s behind: {unique}" in done.stderr
    stopped = streams(*asked, "--max-seconds", 600, **where)
    assert (stopped.returncode, f"{unique} STOP" in stopped.stderr) == (3, True)
    commit(brokers, unique, unique, 1)
    assert streams(*asked, "--max-seconds", 60, **where).returncode == 0


@pytest.mark.real
def test_the_status_of_groups_that_never_committed_is_no_good_news(
    brokers: str, redis_url: str, unique: str
) -> None:
    done = streams("lag", "status", brokers=brokers, redis=redis_url, group=unique)
    assert (done.returncode, f"no committed offset of {unique}" in done.stderr) == (3, True)


@pytest.mark.real
def test_a_watch_shows_look_after_look_and_serves_the_last_one_as_gauges(
    brokers: str, redis_url: str, unique: str
) -> None:
    create_topic(brokers, unique, 1)
    commit(brokers, unique, unique, 0)
    [port] = lasting_ports(1)
    where: Where = {"brokers": brokers, "redis": redis_url}
    asked = ("lag", "watch", "--group", unique, "--interval", "100ms")
    done = streams(*asked, "--limit", 3, "--output", "ndjson", **where)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["status"], row["lag"], row["history"][-1]) for row in rows] == [("OK", 0, "▁")] * 3
    assert (done.returncode, done.stderr) == (0, "")

    command = [sys.executable, "-m", "streams", *asked, "--metrics-port", str(port)]
    with subprocess.Popen(
        command, env=environment(where), stdout=subprocess.PIPE, text=True
    ) as watch:
        assert watch.stdout is not None
        assert f"OK      {unique} {unique}[0]: 0 behind" in watch.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            told = answer.read().decode()
        watch.send_signal(signal.SIGINT)
        assert watch.wait(PATIENCE_S) == 130
    samples = {
        sample.name: (sample.labels, sample.value)
        for family in text_string_to_metric_families(told)
        for sample in family.samples
    }
    place = {"cluster_name": brokers, "group": unique, "topic": unique, "partition": "0"}
    assert samples["kafka_consumergroup_group_lag"] == (place, 0.0)
    assert samples["streams_consumer_lag_status"] == (place | {"status": "OK"}, 1.0)

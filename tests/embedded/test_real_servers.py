"""The real servers of the test session are what the tests take them for."""

from collections.abc import Iterator

import pytest
import redis
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, ConfigResource
from kit.patience import PATIENCE_S
from kit.patience import wait_until as until
from kit.servers import KafkaCluster, create_topic, delete_topic, kafka_cluster, kafka_server

pytestmark = pytest.mark.real


def test_a_topic_has_the_partitions_and_settings_that_were_asked_for(
    brokers: str, unique: str
) -> None:
    create_topic(brokers, unique, 5, {"retention.ms": "60000"})
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    resource = ConfigResource("topic", unique)
    settings = admin.describe_configs([resource])[resource].result(PATIENCE_S)
    assert settings["retention.ms"].value == "60000"
    assert len(admin.list_topics(unique, timeout=PATIENCE_S).topics[unique].partitions) == 5
    delete_topic(brokers, unique)


def test_a_fresh_redis_is_empty_and_never_evicts(fresh_redis_url: str) -> None:
    with redis.Redis.from_url(fresh_redis_url, decode_responses=True) as client:
        assert client.dbsize() == 0
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert int(client.info("server")["redis_version"].split(".")[0]) >= 7


def test_a_broker_keeps_its_topics_over_a_stop_and_a_kill() -> None:
    with kafka_server() as server:
        create_topic(server.bootstrap, "kept", 2)
        for end in (server.stop, server.kill):
            end()
            server.start()
            admin = AdminClient({"bootstrap.servers": server.bootstrap, "log_level": 0})
            assert len(admin.list_topics(timeout=PATIENCE_S).topics["kept"].partitions) == 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[KafkaCluster]:
    with kafka_cluster(nodes=3) as running:
        yield running


def write(cluster: KafkaCluster, topic: str, partition: int) -> None:
    """Write a record that all copies in sync acknowledge."""
    refused: list[object] = []
    producer = Producer({"bootstrap.servers": cluster.bootstrap, "acks": "all", "log_level": 0})
    producer.produce(topic, b"1", partition=partition, on_delivery=lambda no, _: refused.append(no))
    assert producer.flush(PATIENCE_S) == 0
    assert refused == [None]


@pytest.mark.parametrize("end", ["kill", pytest.param("stop", marks=pytest.mark.slow)])
def test_when_a_node_dies_leaders_move_and_what_it_held_alone_waits_for_it(
    cluster: KafkaCluster, unique: str, end: str
) -> None:
    shared, alone = f"{unique}.shared", f"{unique}.alone"
    create_topic(cluster.bootstrap, shared, copies=[[1, 2, 3], [2, 3, 1]])
    create_topic(cluster.bootstrap, alone, config={"min.insync.replicas": "1"}, copies=[[1], [2]])
    dead = cluster.leader(shared, 0)
    assert dead is cluster.nodes[1]
    getattr(dead, end)()
    until(lambda: cluster.leaders(shared)[0] in {2, 3})
    until(lambda: cluster.leaders(alone) == {0: None, 1: 2})
    write(cluster, shared, 0)
    write(cluster, alone, 1)
    dead.start()
    until(lambda: cluster.leaders(alone) == {0: 1, 1: 2})
    write(cluster, alone, 0)


@pytest.mark.slow
def test_leaders_move_from_a_frozen_node_too(cluster: KafkaCluster, unique: str) -> None:
    create_topic(cluster.bootstrap, unique, copies=[[3, 1, 2]])
    frozen = cluster.leader(unique, 0)
    assert frozen is cluster.nodes[3]
    with frozen.paused():
        until(lambda: cluster.leaders(unique)[0] in {1, 2})
    write(cluster, unique, 0)


@pytest.mark.slow
def test_a_group_gets_another_coordinator_when_its_own_dies(
    cluster: KafkaCluster, unique: str
) -> None:
    create_topic(cluster.bootstrap, unique)
    settings = {"bootstrap.servers": cluster.bootstrap, "group.id": unique, "log_level": 0}
    member = Consumer(settings)
    member.subscribe([unique])
    until(lambda: member.poll(0.1) is None and bool(member.assignment()))
    first = cluster.coordinator(unique)
    assert first is not None
    first.kill()
    until(lambda: cluster.coordinator(unique) not in {None, first})
    first.start()
    member.close()

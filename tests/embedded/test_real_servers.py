"""The real servers of the test session are what the tests take them for."""

import pytest
import redis
from confluent_kafka.admin import AdminClient, ConfigResource
from kit.servers import create_topic, delete_topic, kafka_server

pytestmark = pytest.mark.real


def test_a_topic_has_the_partitions_and_settings_that_were_asked_for(
    brokers: str, unique: str
) -> None:
    create_topic(brokers, unique, 5, {"retention.ms": "60000"})
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    resource = ConfigResource("topic", unique)
    settings = admin.describe_configs([resource])[resource].result(10)
    assert settings["retention.ms"].value == "60000"
    assert len(admin.list_topics(unique, timeout=10).topics[unique].partitions) == 5
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
            assert len(admin.list_topics(timeout=10).topics["kept"].partitions) == 2

"""The real servers that tests run against: one-node Apache Kafka 4.1 and the system's Redis."""

import base64
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from kit.jars import LOG4J, kafka_jars, run_tool
from streams.embedded import EmbeddedRedis
from streams.embedded.child import Child, TemporaryFolder, free_ports
from streams.embedded.redis import redis_version

START_TIMEOUT_S = 90.0


def missing_for_redis() -> str | None:
    """Say what to install before Redis can run here; None when nothing is missing."""
    executable = shutil.which("redis-server")
    if executable is None or redis_version(Path(executable)) < (7, 0):
        return "install Redis 7 or later (redis-server)"
    return None


class KafkaServer:
    """A one-node Kafka with data of its own, which may be stopped, killed and started again.

    `settings` override single lines of its server.properties. The port stays the same over
    restarts.
    """

    def __init__(self, settings: Mapping[str, str] | None = None) -> None:
        self._jars = kafka_jars()
        self._folder = TemporaryFolder("streams-kafka-")
        broker, controller = free_ports(2)
        self.bootstrap = f"127.0.0.1:{broker}"
        self._properties = self._folder.path / "server.properties"
        data = self._folder.path / "data"
        lines = _properties(broker, controller, data) | dict(settings or {})
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        (self._folder.path / "log4j2.properties").write_text(LOG4J)
        self._format()
        self.child: Child | None = None

    def start(self) -> None:
        """Start the broker on its data and return when it answers."""
        self.child = Child(
            [*self._java(), "kafka.Kafka", str(self._properties)], folder=self._folder.path
        )
        self.child.wait_until(self._answers, what="Kafka", timeout_s=START_TIMEOUT_S)

    def stop(self) -> None:
        """Stop the broker as a rolling restart does; its data stays."""
        if self.child is not None:
            self.child.stop(grace_s=20)
            self.child = None

    def kill(self) -> None:
        """Kill the broker as a fault (SIGKILL); its data stays."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    def remove(self) -> None:
        """End the broker for good and remove its data."""
        self.kill()
        self._folder.remove()

    def _java(self) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._folder.path / 'log4j2.properties'}"
        memory = ["-Xms256m", "-Xmx512m", "-XX:+UseSerialGC", "-Xshare:auto"]
        return ["java", *memory, logging, "-cp", f"{self._jars}/*"]

    def _format(self) -> None:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        cluster = f"A{text[1:]}"  # a leading dash would read as an option
        arguments = ["format", "-t", cluster, "-c", str(self._properties)]
        tool = [*self._java(), "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool"]
        run_tool([*tool, *arguments], "formatting Kafka's storage", 120)

    def _answers(self) -> bool:
        client = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
        try:
            return bool(client.list_topics(timeout=1).brokers)
        except KafkaException:
            return False


def _properties(broker: int, controller: int, data: Path) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@127.0.0.1:{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "2000",
        # Tests write events of years ago; what expires is for each of them to say.
        "log.retention.ms": "-1",
        "log.initial.task.delay.ms": "86400000",
    }


@contextmanager
def kafka_server(settings: Mapping[str, str] | None = None) -> Iterator[KafkaServer]:
    """Run a Kafka of one's own for the time of the block; `settings` as in KafkaServer."""
    server = KafkaServer(settings)
    try:
        server.start()
        yield server
    finally:
        server.remove()


@contextmanager
def redis_server(*arguments: str) -> Iterator[EmbeddedRedis]:
    """Run the system's Redis for the time of the block, with further redis-server arguments."""
    executable = shutil.which("redis-server")
    assert executable is not None, missing_for_redis()
    with EmbeddedRedis(arguments, executable=Path(executable)) as server:
        yield server


def create_topic(
    brokers: str, topic: str, partitions: int = 1, config: Mapping[str, str] | None = None
) -> None:
    """Create a topic and return when a producer can use it (all partitions have a leader)."""
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    new = NewTopic(topic, partitions, 1, config=dict(config or {}))
    admin.create_topics([new], operation_timeout=30)[topic].result(40)
    while not _has_leaders(admin, topic, partitions):
        pass


def delete_topic(brokers: str, topic: str) -> None:
    """Delete a topic and return when the broker has done it."""
    admin = AdminClient({"bootstrap.servers": brokers, "log_level": 0})
    admin.delete_topics([topic], operation_timeout=30)[topic].result(40)


def _has_leaders(admin: AdminClient, topic: str, partitions: int) -> bool:
    found = admin.list_topics(topic, timeout=10).topics[topic].partitions
    return len(found) == partitions and all(one.leader >= 0 for one in found.values())

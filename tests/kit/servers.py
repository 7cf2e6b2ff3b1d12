"""The real servers that tests run against: Apache Kafka 4.1 of one node or several, and Redis.

Each node may be stopped, killed, frozen and started again; its address stays the same.
"""

import base64
import contextlib
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import Final, Self

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, NewTopic

from kit.jars import LOG4J, class_archive, kafka_jars, run_tool
from kit.patience import PATIENCE_S, wait_until
from streams.embedded import EmbeddedRedis
from streams.embedded.child import Child, TemporaryFolder
from streams.embedded.redis import redis_version

LASTING_PORTS = range(20_000, 32_000)
"""Below those that systems give to clients, so that nobody sits on a dead server's port."""
PROCESSES: Final = 16
"""So many may share the tests."""
SHARED: Final = {
    "broker.session.timeout.ms": "600000",
    "broker.heartbeat.interval.ms": "5000",
    "log.initial.task.delay.ms": "1000",
    "log.retention.check.interval.ms": "86400000",
    "log.segment.delete.delay.ms": "1000",
}
"""For a broker that many tests share. On a busy machine it may say nothing for seconds and yet lead
all that it led, so it says seldom that it lives; one that is killed could not start again for so
long: it would be there twice. And what they delete it forgets, while nothing expires.
"""


def missing_for_redis() -> str | None:
    """Say what to install before Redis can run here; None when nothing is missing."""
    executable = shutil.which("redis-server")
    if executable is None or redis_version(Path(executable)) < (7, 0):
        return "install Redis 7 or later (redis-server)"
    return None


@dataclass(frozen=True)
class Quorum:
    """What the nodes of one Kafka know of each other: its id, and two ports of each by number."""

    cluster_id: str
    ports: Mapping[int, tuple[int, int]]

    @classmethod
    def of(cls, nodes: int) -> Self:
        """Return a new Kafka of so many nodes, numbered from 1."""
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        ports = lasting_ports(2 * nodes)
        pairs = zip(ports[::2], ports[1::2], strict=True)
        # a leading dash would read as an option
        return cls(f"A{text[1:]}", dict(enumerate(pairs, start=1)))

    @property
    def voters(self) -> str:
        """Spell the nodes as Kafka's settings do."""
        return ",".join(f"{n}@127.0.0.1:{controller}" for n, (_, controller) in self.ports.items())


NodeSettings = Callable[[int, Quorum], Mapping[str, str]]


class KafkaServer:
    """A Kafka node with data of its own: a Kafka by itself, or one node of a `KafkaCluster`.

    It may be stopped, killed, frozen and started again; its ports stay the same. `settings`
    override single lines of its server.properties; `classes` is Java's option for where they are.
    """

    def __init__(
        self,
        settings: Mapping[str, str] | None = None,
        quorum: Quorum | None = None,
        number: int = 1,
        classes: str | None = None,
    ) -> None:
        self.number = number
        self.child: Child | None = None
        self.classes = classes or f"-XX:SharedArchiveFile={class_archive(_write_classes)}"
        self._frozen = False
        self._jars = kafka_jars()
        self._folder = TemporaryFolder("streams-kafka-")
        self._properties = self._folder.path / "server.properties"
        quorum = quorum or Quorum.of(1)
        self.bootstrap = f"127.0.0.1:{quorum.ports[number][0]}"
        lines = _properties(quorum, number, self._folder.path / "data") | dict(settings or {})
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))
        (self._folder.path / "log4j2.properties").write_text(LOG4J)
        self._format(quorum.cluster_id)

    @property
    def answers(self) -> bool:
        """Whether the node runs and is not frozen."""
        return self.child is not None and not self._frozen

    @property
    def data(self) -> Path:
        """The folder in which it keeps its logs."""
        return self._folder.path / "data"

    def start(self) -> None:
        """Start the node on its data and return when it serves clients."""
        self.launch()
        self.wait()

    def launch(self) -> None:
        """Start the node; it serves clients only once most nodes of its cluster run."""
        command = [*self._java(), "kafka.Kafka", str(self._properties)]
        self.child = Child(command, folder=self._folder.path)

    def wait(self) -> None:
        """Return when a launched node serves clients."""
        assert self.child is not None
        self.child.wait_until(self._serves, what="Kafka", timeout_s=PATIENCE_S)

    def stop(self) -> None:
        """Stop the node as a rolling restart does; its data stays."""
        if self.child is not None:
            self.child.stop(grace_s=20)
            self.child = None

    def kill(self) -> None:
        """Kill the node as a fault (SIGKILL); its data stays."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Freeze the node for the time of the block: it keeps connections and says nothing."""
        assert self.child is not None
        frozen = self.child
        frozen.pause()
        self._frozen = True
        try:
            yield
        finally:
            self._frozen = False
            frozen.resume()

    def remove(self) -> None:
        """End the node for good and remove its data."""
        self.kill()
        self._folder.remove()

    def _java(self) -> list[str]:
        logging = f"-Dlog4j2.configurationFile={self._folder.path / 'log4j2.properties'}"
        memory = ["-Xms64m", "-Xmx320m", "-XX:+UseSerialGC", "-Xshare:auto", self.classes]
        # The optimising compiler costs a short life more than it gives.
        return ["java", *memory, "-XX:TieredStopAtLevel=1", logging, "-cp", f"{self._jars}/*"]

    def _format(self, cluster_id: str) -> None:
        arguments = ["format", "-t", cluster_id, "-c", str(self._properties)]
        tool = [*self._java(), "kafka.tools.StorageTool"]
        run_tool([*tool, *arguments], "formatting Kafka's storage", 120)

    def _serves(self) -> bool:
        try:
            return self.number in _admin(self.bootstrap).list_topics(timeout=1).brokers
        except KafkaException:
            return False


def _write_classes(file: Path) -> None:
    """Have a broker write the classes of its life to a file."""
    server = KafkaServer(classes="-Xlog:cds=off")
    server.classes = f"-XX:ArchiveClassesAtExit={file}"
    server.start()
    server.stop()
    server.remove()


def _properties(quorum: Quorum, number: int, data: Path) -> dict[str, str]:
    broker, controller = quorum.ports[number]
    copies = min(3, len(quorum.ports))
    in_sync = str(max(1, copies - 1))
    return {
        "process.roles": "broker,controller",
        "node.id": str(number),
        "controller.quorum.voters": quorum.voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{broker}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "PLAINTEXT",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "default.replication.factor": str(copies),
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": str(copies),
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": str(copies),
        "transaction.state.log.min.isr": in_sync,
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "2000",
        # A record every half second that says nothing is a fifth of a core in a young broker.
        "metadata.max.idle.interval.ms": "0",
        # Tests write events of years ago; what expires is for each of them to say.
        "log.retention.ms": "-1",
        "log.initial.task.delay.ms": "86400000",
    }


class KafkaCluster:
    """Nodes that are broker and controller each; topics have three copies, two of them in sync.

    `settings_of` says which lines of its server.properties a node overrides. It serves while most
    nodes run. A partition has no leader while all of its copies are away:
    give it one copy, `create_topic(…, copies=[[2], [3]])`, and kill that node.
    """

    def __init__(self, nodes: int = 3, settings_of: NodeSettings | None = None) -> None:
        quorum = Quorum.of(nodes)

        def make(number: int) -> KafkaServer:
            settings = settings_of(number, quorum) if settings_of else None
            return KafkaServer(settings, quorum, number)

        with ThreadPoolExecutor() as beside:  # each waits for a Java to format its storage
            made = list(beside.map(make, quorum.ports))
        self.nodes = {node.number: node for node in made}
        self.bootstrap = ",".join(node.bootstrap for node in self.nodes.values())

    def start(self) -> None:
        """Start every node that does not run and return when all serve clients."""
        for node in self.nodes.values():
            if node.child is None:
                node.launch()
        for node in self.nodes.values():
            node.wait()

    def leaders(self, topic: str) -> dict[int, int | None]:
        """Return the number of the node that leads each partition, None where none does."""
        return leaders(self._answering(), topic)

    def leader(self, topic: str, partition: int) -> KafkaServer | None:
        """Return the node that leads a partition."""
        number = self.leaders(topic)[partition]
        return None if number is None else self.nodes[number]

    def coordinator(self, group: str) -> KafkaServer | None:
        """Return the node that coordinates a consumer group, None while none does."""
        admin = _admin(self._answering())
        described = admin.describe_consumer_groups([group], request_timeout=5)[group]
        try:
            return self.nodes[described.result(10).coordinator.id]
        except KafkaException:
            return None

    def remove(self) -> None:
        """End every node for good and remove their data."""
        for node in self.nodes.values():
            node.remove()

    def _answering(self) -> str:
        return ",".join(node.bootstrap for node in self.nodes.values() if node.answers)


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
def kafka_cluster(
    nodes: int = 3, settings_of: NodeSettings | None = None
) -> Iterator[KafkaCluster]:
    """Run a Kafka of several nodes for the time of the block; `settings_of` as in KafkaCluster."""
    cluster = KafkaCluster(nodes, settings_of)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.remove()


@contextmanager
def redis_server(*arguments: str) -> Iterator[EmbeddedRedis]:
    """Run the system's Redis for the time of the block, with further redis-server arguments."""
    executable = shutil.which("redis-server")
    assert executable is not None, missing_for_redis()
    with EmbeddedRedis(arguments, executable=Path(executable)) as server:
        yield server


def create_topic(
    brokers: str,
    topic: str,
    partitions: int = 1,
    config: Mapping[str, str] | None = None,
    copies: Sequence[Sequence[int]] | None = None,
) -> None:
    """Create a topic and return when a producer can use it (all partitions have a leader).

    `copies` are the nodes that hold each partition, as many for each; its length is then the
    number of partitions.
    """
    new = NewTopic(
        topic,
        len(copies) if copies else partitions,
        **({"replica_assignment": copies} if copies else {}),
        config=dict(config or {}),
    )
    _make(brokers, [new])


def create_topics(
    brokers: str, topics: Mapping[str, Mapping[str, str]], partitions: int = 1
) -> None:
    """Create topics with their configs, as `create_topic` does, all at once."""
    _make(brokers, [NewTopic(name, partitions, config=dict(topics[name])) for name in topics])


def delete_topic(brokers: str, topic: str) -> None:
    """Delete a topic and return when the broker has done it."""
    _delete(_admin(brokers), [topic])


def delete_topics(brokers: str, prefix: str) -> None:
    """Delete the topics whose names begin so: a broker of thousands has little room for more."""
    admin = _admin(brokers)
    topics = admin.list_topics(timeout=PATIENCE_S).topics
    _delete(admin, [name for name in topics if name.startswith(prefix)])


def leaders(brokers: str, topic: str) -> dict[int, int | None]:
    """Return the number of the node that leads each partition, None where none does."""
    partitions = _admin(brokers).list_topics(topic, timeout=PATIENCE_S).topics[topic].partitions
    return {number: one.leader if one.leader >= 0 else None for number, one in partitions.items()}


def process_number() -> int:
    """Return which of the processes that share the tests this is, from 0."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


def lasting_ports(count: int) -> list[int]:
    """Return different ports of loopback, free now, that a server may leave and come back to.

    A server takes seconds to take its port, so processes that share the tests share none, and
    each of them gives one a second time only when it has given all.
    """
    return list(islice(_free_ports(), count))


def _free_ports() -> Iterator[int]:
    for port in _our_ports():
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            yield port


@cache
def _our_ports() -> Iterator[int]:
    """Return the ports of this process for ever, each in its turn."""
    ours = LASTING_PORTS[process_number() % PROCESSES :: PROCESSES]
    return cycle(Random().sample(ours, len(ours)))


def _admin(brokers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": brokers, "log_level": 0})


def _delete(admin: AdminClient, topics: Sequence[str]) -> None:
    if topics:
        for deleted in admin.delete_topics(topics, operation_timeout=PATIENCE_S).values():
            deleted.result(2 * PATIENCE_S)


def _make(brokers: str, topics: Sequence[NewTopic]) -> None:
    admin = _admin(brokers)
    wait_until(lambda: _made(admin, topics), "so many nodes are not there")
    while not _usable(admin, topics):
        pass


def _made(admin: AdminClient, topics: Sequence[NewTopic]) -> bool:
    """Tell whether all are made; not while busy nodes were late to tell that they live."""
    for created in admin.create_topics(list(topics), operation_timeout=PATIENCE_S).values():
        try:
            created.result(2 * PATIENCE_S)
        except KafkaException as error:
            code = error.args[0].code()
            if code == KafkaError.INVALID_REPLICATION_FACTOR:
                return False
            if code != KafkaError.TOPIC_ALREADY_EXISTS:  # asked again, its answer was lost
                raise
    return True


def _usable(admin: AdminClient, topics: Sequence[NewTopic]) -> bool:
    """Tell whether all have their leaders; of them alone: a session makes thousands of others."""
    names = TopicCollection([new.topic for new in topics])
    told = admin.describe_topics(names, request_timeout=PATIENCE_S)
    try:
        known = {name: one.result().partitions for name, one in told.items()}
    except KafkaException:
        return False
    return all(
        len(known[new.topic]) == new.num_partitions
        and all(one.leader is not None and one.leader.id >= 0 for one in known[new.topic])
        for new in topics
    )

"""A Kafka broker inside this process: the mock cluster of librdkafka, reached over loopback."""

import ctypes
import time
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Self

from streams.errors import Halt, Unreachable

_PRODUCER = 0  # RD_KAFKA_PRODUCER
_ERROR_BYTES = 512
_BREATH_S = 0.002
"""librdkafka misses a request that comes right upon another and then answers it a second late."""


class EmbeddedBroker:
    """One broker that speaks Kafka's protocol to any client and keeps its records in memory.

    `topics` maps each topic to its number of partitions; another topic that a client asks for
    comes into being with 4. Limits, all of librdkafka's mock cluster:

    - Each partition keeps its last 5 MiB of record batches as sent (compressed size counts) or
      its last 100,000 batches; older ones vanish and the log start moves up. Send compressed
      and in large batches.
    - A group holds one member: a second one of a client like aiokafka fails to join.
    - No transactions (their markers carry a wrong checksum), no offsets by time, no topic
      administration and no topic settings over the protocol.
    - Nothing survives `stop`; every start is a new cluster with new topic ids.
    """

    def __init__(self, topics: Mapping[str, int] | None = None) -> None:
        self._topics = dict(topics or {})
        self._library: _Library | None = None
        self._client: int | None = None
        self._cluster: int | None = None
        self._bootstrap = ""

    @property
    def bootstrap(self) -> str:
        """Address for clients, `127.0.0.1:PORT`; raises `Halt` unless started."""
        if self._cluster is None:
            raise Halt("the embedded broker is not started: call start() first")
        return self._bootstrap

    def start(self) -> None:
        """Start the broker with its topics and return when it listens.

        Raises `Halt` when the installed confluent-kafka has no mock cluster, `Unreachable` when
        the cluster cannot be made.
        """
        if self._cluster is not None:
            return
        library = self._library = _Library()
        self._client = library.new_client()
        cluster = library.cluster_new(self._client, 1)
        if not cluster:
            self.stop()
            raise Unreachable("the embedded broker could not open a port on 127.0.0.1")
        self._cluster = cluster
        self._bootstrap = library.bootstraps(cluster).decode()
        library.set_controller(cluster, 1)  # without one, every admin request waits for it
        library.set_join_delay_ms(cluster, 0)
        for topic, partitions in self._topics.items():
            self.create_topic(topic, partitions)

    def create_topic(self, topic: str, partitions: int) -> None:
        """Make a topic; raises `Halt` if it exists already or the broker is not started."""
        if self._cluster is None or self._library is None:
            raise Halt("the embedded broker is not started: call start() first")
        time.sleep(_BREATH_S)
        if self._library.topic_create(self._cluster, topic.encode(), partitions, 1):
            raise Halt(f"the embedded broker has the topic {topic} already")

    def stop(self) -> None:
        """End the broker; its records are gone. May be called twice."""
        if self._library is None:
            return
        if self._cluster is not None:
            time.sleep(_BREATH_S)
            self._library.cluster_destroy(self._cluster)
            self._cluster = None
        if self._client is not None:
            self._library.destroy(self._client)
            self._client = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class _Library:
    """The few functions of librdkafka's C interface that confluent-kafka does not wrap."""

    def __init__(self) -> None:
        try:
            library = ctypes.CDLL(import_module("confluent_kafka.cimpl").__file__)
            handle, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
            self._conf_new = _function(library, "conf_new", handle)
            self._conf_set = _function(
                library, "conf_set", number, handle, text, text, text, ctypes.c_size_t
            )
            self._new = _function(library, "new", handle, number, handle, text, ctypes.c_size_t)
            self.destroy = _function(library, "destroy", None, handle)
            self.cluster_new = _function(library, "mock_cluster_new", handle, handle, number)
            self.cluster_destroy = _function(library, "mock_cluster_destroy", None, handle)
            self.bootstraps = _function(library, "mock_cluster_bootstraps", text, handle)
            self.topic_create = _function(
                library, "mock_topic_create", number, handle, text, number, number
            )
            self.set_controller = _function(
                library, "mock_set_controller_id", number, handle, ctypes.c_int32
            )
            self.set_join_delay_ms = _function(
                library, "mock_group_initial_rebalance_delay_ms", None, handle, ctypes.c_int32
            )
        except (ImportError, OSError, AttributeError) as error:
            raise Halt(
                "the embedded broker needs confluent-kafka 2.15.1 or later with its bundled "
                f"librdkafka: {error}"
            ) from error

    def new_client(self) -> int:
        """Return the client instance that owns the cluster's thread."""
        error = ctypes.create_string_buffer(_ERROR_BYTES)
        conf = self._conf_new()
        self._conf_set(conf, b"log_level", b"0", error, _ERROR_BYTES)
        client: int | None = self._new(_PRODUCER, conf, error, _ERROR_BYTES)
        if not client:
            raise Unreachable(f"the embedded broker did not start: {error.value.decode()}")
        return client


def _function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    """Bind one function; ctypes has no narrower types for its type objects than Any."""
    function = library[f"rd_kafka_{name}"]
    function.restype, function.argtypes = result, arguments
    return function

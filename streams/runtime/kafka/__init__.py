"""Kafka: the real drivers of the log's ports, over aiokafka; topics and groups over librdkafka.

Each is imported when it is asked for: an application that only publishes needs no librdkafka, and
its own aiokafka consumers take records apart as ever. Importing the consumer or the reader changes
that for the whole process: `unpacking`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from streams.runtime.kafka.cluster import KafkaCluster
    from streams.runtime.kafka.consumer import KafkaConsumer
    from streams.runtime.kafka.probe import KafkaProbe
    from streams.runtime.kafka.producer import KafkaProducer
    from streams.runtime.kafka.reader import KafkaReader

__all__ = ["KafkaCluster", "KafkaConsumer", "KafkaProbe", "KafkaProducer", "KafkaReader"]

_HOMES: Final = {name: name.removeprefix("Kafka").lower() for name in __all__}


def __getattr__(name: str) -> Any:  # one of the classes above, or nothing of ours
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)

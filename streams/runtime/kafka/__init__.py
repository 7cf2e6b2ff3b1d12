"""Kafka: the real drivers of the log's ports, over aiokafka; topics and groups over librdkafka.

Importing it changes how every aiokafka consumer of the process takes records apart: `unpacking`.
"""

from streams.runtime.kafka import unpacking
from streams.runtime.kafka.cluster import KafkaCluster
from streams.runtime.kafka.consumer import KafkaConsumer
from streams.runtime.kafka.probe import KafkaProbe
from streams.runtime.kafka.producer import KafkaProducer
from streams.runtime.kafka.reader import KafkaReader

__all__ = ["KafkaCluster", "KafkaConsumer", "KafkaProbe", "KafkaProducer", "KafkaReader"]

unpacking.install()

"""Kafka: the real drivers of the log's ports, over aiokafka; topics and groups over librdkafka.

Importing it lets every aiokafka consumer of the process read header names that are not UTF-8.
"""

from streams.runtime.kafka import lenient
from streams.runtime.kafka.cluster import KafkaCluster
from streams.runtime.kafka.consumer import KafkaConsumer
from streams.runtime.kafka.producer import KafkaProducer
from streams.runtime.kafka.reader import KafkaReader

__all__ = ["KafkaCluster", "KafkaConsumer", "KafkaProducer", "KafkaReader"]

lenient.install()

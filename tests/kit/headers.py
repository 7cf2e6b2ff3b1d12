"""Records that only a careless client writes: with a header whose name is not UTF-8."""

from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c_py

RAW_NAME: Final = b"\xff\xfecaf\xe9"
"""A header's name as such a client writes it."""
ESCAPED_NAME: Final = RAW_NAME.decode("utf-8", "surrogateescape")
"""The same name as our drivers hand it out."""
_PLACEHOLDER: Final = "N" * len(RAW_NAME)


async def send_with_raw_name(
    brokers: str, topic: str, partition: int, key: bytes, values: Sequence[bytes]
) -> None:
    """Write one batch: of its records the second one has a header of `RAW_NAME`."""
    producer = AIOKafkaProducer(bootstrap_servers=brokers)
    await producer.start()
    try:
        batch = producer.create_batch()
        for number, value in enumerate(values):
            headers = [(_PLACEHOLDER, b"1")] if number == 1 else []
            batch.append(timestamp=None, key=key, value=value, headers=headers)
        batch.close()
        raw = bytearray(bytes(batch._build()).replace(_PLACEHOLDER.encode(), RAW_NAME))
        raw[17:21] = calc_crc32c_py(raw[21:]).to_bytes(4, "big")
        batch._buffer = raw
        await (await producer.send_batch(batch, topic, partition=partition))
    finally:
        await producer.stop()

"""Which partition of the log a video lives in: the hash of Kafka's Java client."""

from typing import Final

_SEED: Final = 0x9747B28C
_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition that Kafka's default Java partitioner gives `key`.

    Source: org.apache.kafka.common.utils.Utils.murmur2 (MurmurHash2, Appleby) and
    `toPositive(murmur2(key)) % numPartitions`. Clients on librdkafka default to CRC32 and
    need `partitioner=murmur2_random` to agree.

    >>> [partition_of(key, 12) for key in (b"v1", b"v2", b"kuaishou")]
    [7, 6, 4]
    """
    return (murmur2(key) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """Return MurmurHash2 of `data` as an unsigned 32-bit integer.

    The vectors are those of Kafka's own UtilsTest.

    >>> [murmur2(text) - (1 << 32) * (murmur2(text) >> 31) for text in (b"21", b"foobar")]
    [-973932308, -790332482]
    """
    length = len(data)
    h = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        k = int.from_bytes(data[at : at + 4], "little") * _M & _MASK
        k = (k ^ k >> 24) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < length:
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15

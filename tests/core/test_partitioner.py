from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from streams.core.partitioner import murmur2, partition_of


@given(st.binary(max_size=80))
def test_the_hash_is_that_of_another_implementation(key: bytes) -> None:
    assert murmur2(key) == aiokafka_murmur2(key) & 0xFFFFFFFF


@given(st.binary(max_size=80), st.integers(1, 1_000))
def test_the_partition_is_that_of_the_java_client(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (aiokafka_murmur2(key) & 0x7FFFFFFF) % partitions


def test_videos_spread_over_the_partitions() -> None:
    counts = [0] * 8
    for number in range(8_000):
        counts[partition_of(f"video-{number}".encode(), 8)] += 1
    assert min(counts) > 900
    assert max(counts) < 1_100

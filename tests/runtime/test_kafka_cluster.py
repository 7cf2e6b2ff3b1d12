"""What a group has committed, asked of a broker that has only just started."""

import asyncio
import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import Consumer, TopicPartition
from kit.garbage import without_collector
from kit.patience import PATIENCE_S
from kit.servers import create_topic, kafka_server

from streams.embedded import EmbeddedBroker
from streams.errors import Retry, Unreachable
from streams.runtime.kafka import KafkaCluster
from streams.runtime.kafka import cluster as cluster_module

ANSWERS: Final = 30
ASKING: Final = f"""
import asyncio, sys
from streams.errors import Retry
from streams.runtime.kafka import KafkaCluster
from streams.runtime.kafka import cluster as cluster_module

async def ask():
    cluster, answers = KafkaCluster(sys.argv[1]), 0
    while answers < {ANSWERS}:
        try:
            print(list((await cluster.committed(sys.argv[2])).values()), flush=True)
            answers += 1
        except Retry as error:
            print('"retry"', flush=True)

asyncio.run(ask())
"""
"""Asks until it has so many answers; a process of its own, for it must not take this one along."""


@pytest.mark.real
def test_from_its_first_second_on_a_broker_gives_the_offsets_or_is_asked_again(unique: str) -> None:
    with kafka_server() as server:
        create_topic(server.bootstrap, unique)
        member = Consumer({"bootstrap.servers": server.bootstrap, "group.id": unique})
        member.commit(offsets=[TopicPartition(unique, 0, 5)], asynchronous=False)
        member.close()
        server.stop()
        with subprocess.Popen(
            [sys.executable, "-c", ASKING, server.bootstrap, unique], stdout=subprocess.PIPE
        ) as asking:
            server.start()
            out, _ = asking.communicate(timeout=PATIENCE_S)
    told = [json.loads(line) for line in out.splitlines()]
    assert asking.returncode == 0
    assert [one for one in told if one != "retry"] == [[5]] * ANSWERS


@pytest.mark.real
@pytest.mark.parametrize("code", [14, 15, 16], ids=["loading", "not available", "not here"])
async def test_a_refusal_of_the_coordinator_is_not_taken_for_none_committed(
    brokers: str, unique: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    answers(monkeypatch, SimpleNamespace(error_code=code, topics=[]))
    with pytest.raises(Retry, match=unique):
        await KafkaCluster(brokers).committed(unique)


@pytest.mark.real
async def test_a_refusal_of_one_partition_is_not_taken_for_none_committed_there(
    brokers: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    partitions = [(0, 5, "", 0), (1, -1, "", 3), (2, 7, "", 0)]
    answers(monkeypatch, SimpleNamespace(error_code=0, topics=[("t", partitions)]))
    with pytest.raises(Retry, match=f"group {unique}, partition 1 of t"):
        await KafkaCluster(brokers).committed(unique)


@pytest.mark.real
async def test_a_partition_without_a_commit_is_left_out_and_the_others_are_told(
    brokers: str, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    partitions = [(0, 5, "", 0), (1, -1, "", 0)]
    answers(monkeypatch, SimpleNamespace(error_code=0, topics=[("t", partitions)]))
    assert await KafkaCluster(brokers).committed(unique) == {("t", 0): 5}


def answers(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    """Let the coordinator of every group give this answer."""

    async def sent(_: object, request: object, __: object = None) -> Any:
        return answer

    async def coordinator(*_: object) -> int:
        return 1

    monkeypatch.setattr(AIOKafkaAdminClient, "find_coordinator", coordinator)
    monkeypatch.setattr(AIOKafkaAdminClient, "_send_request", sent)


async def test_the_embedded_broker_tells_no_offsets_and_no_members_and_fails_nobody(
    unique: str,
) -> None:
    with EmbeddedBroker({unique: 1}) as broker:
        cluster = KafkaCluster(broker.bootstrap)
        assert await cluster.committed(unique) == {}
        assert await cluster.members(unique) == []


def threads_of_librdkafka() -> int:
    count = 0
    for each in Path("/proc/self/task").iterdir():
        with suppress(OSError):  # it ended meanwhile
            count += (each / "comm").read_text().startswith("rdk:")
    return count


async def threads_fall_to(before: int) -> None:
    """Return when so many threads are left: they end by themselves."""
    async with asyncio.timeout(PATIENCE_S):
        while threads_of_librdkafka() > before:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_client_that_nobody_answered_leaves_no_threads_to_the_collector(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_module, "QUESTION_S", (0.1, 0.1))
    monkeypatch.setattr(cluster_module, "REACHED_S", 0.1)
    cluster, before = KafkaCluster("127.0.0.1:1"), threads_of_librdkafka()
    with without_collector():
        for _ in range(2):
            with pytest.raises(Unreachable):
                await cluster.identity("topic")
        await threads_fall_to(before)


async def test_a_cluster_that_nobody_has_any_more_leaves_no_threads_to_the_collector() -> None:
    cluster, before = KafkaCluster("127.0.0.1:1"), threads_of_librdkafka()
    with without_collector():
        cluster._client()
        assert threads_of_librdkafka() > before
        del cluster
        await threads_fall_to(before)


async def test_where_all_brokers_refuse_nobody_is_asked_a_second_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cluster_module, "QUESTION_S", (0.5, 2 * PATIENCE_S))
    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unreachable, match="connection refused"):
            await KafkaCluster("127.0.0.1:1").describe()

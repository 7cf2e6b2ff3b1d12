"""What a group has committed, asked of a broker that has only just started."""

import json
import subprocess
import sys
from types import SimpleNamespace
from typing import Any, Final

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from confluent_kafka import Consumer, TopicPartition
from kit.servers import create_topic, kafka_server

from streams.embedded import EmbeddedBroker
from streams.errors import Retry
from streams.runtime.kafka import KafkaCluster

ANSWERS: Final = 30
ASKING: Final = f"""
import asyncio, sys
from streams.errors import Retry
from streams.runtime.kafka import KafkaCluster

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
            out, _ = asking.communicate(timeout=90)
    told = [json.loads(line) for line in out.splitlines()]
    assert asking.returncode == 0
    assert [one for one in told if one != "retry"] == [[5]] * ANSWERS
    assert "retry" in told


@pytest.mark.real
@pytest.mark.parametrize("code", [14, 15, 16], ids=["loading", "not available", "not here"])
async def test_a_refusal_of_the_coordinator_is_not_taken_for_none_committed(
    brokers: str, unique: str, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    async def refuse(_: object, request: object, __: object = None) -> Any:
        return SimpleNamespace(error_code=code, topics=[])

    async def found(*_: object) -> int:
        return 1

    monkeypatch.setattr(AIOKafkaAdminClient, "find_coordinator", found)
    monkeypatch.setattr(AIOKafkaAdminClient, "_send_request", refuse)
    with pytest.raises(Retry, match=unique):
        await KafkaCluster(brokers).committed(unique)


async def test_the_embedded_broker_tells_no_offsets_and_no_members_and_fails_nobody(
    unique: str,
) -> None:
    with EmbeddedBroker({unique: 1}) as broker:
        cluster = KafkaCluster(broker.bootstrap)
        assert await cluster.committed(unique) == {}
        assert await cluster.members(unique) == []

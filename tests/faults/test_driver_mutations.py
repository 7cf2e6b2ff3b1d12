"""The rules of the Kafka driver, and of a worker towards its partitions, have tests too.

pytest tests/faults/test_driver_mutations.py
"""

from pathlib import Path

import pytest
from kit.mutations import Mutation, copy_of_project, passes, turns_red

pytestmark = pytest.mark.slow

CONSUMER = "tests/runtime/test_kafka_consumer.py"
INDEXING = "tests/runtime/test_serving.py"
MEMBERSHIP = "tests/runtime/test_kafka_membership.py"
PARKED = "tests/runtime/test_parked.py"
PARTITIONS = "tests/runtime/test_worker_partitions.py"
PRODUCER = "tests/runtime/test_kafka_producer.py"
REDIS = "tests/runtime/test_redis.py"
SILENCE = "tests/runtime/test_kafka_silence.py"

PURE = [
    Mutation(
        "what a flush raised does not keep a lost partition in memory",
        "runtime/owned.py",
        "                self.flushing.result()\n",
        "                done = self.flushing\n                done.result()\n",
        PARKED,
        "without_the_collector",
    ),
    Mutation(
        "memory of what a worker let go is given back",
        "runtime/worker.py",
        "            self._heap.give_back_soon()\n",
        "            pass\n",
        PARKED,
        "given_back",
    ),
    Mutation(
        "what Redis refused is freed at once",
        "runtime/redis/connection.py",
        "        _let_go(error)\n        raise _sort(error, partition) from error\n",
        "        raise _sort(error, partition) from error\n",
        REDIS,
        "without_the_collector",
    ),
    Mutation(
        "a script that was not there is forgotten at once",
        "runtime/redis/connection.py",
        "    except exceptions.NoScriptError as error:\n        _let_go(error)\n",
        "    except exceptions.NoScriptError:\n        pass\n",
        REDIS,
        "without_the_collector",
    ),
    Mutation(
        "a partition that is released while it is filled is freed at once",
        "runtime/serving.py",
        "owned.filling = None  # they",
        "pass  # they",
        INDEXING,
        "without_the_collector",
    ),
    Mutation(
        "what a failed read had taken of other partitions is read again",
        "runtime/kafka/consumer.py",
        "self.seek(dict(self._next))",
        "pass",
        CONSUMER,
        "test",
    ),
    Mutation(
        "records before the sought position are dropped",
        "runtime/kafka/consumer.py",
        "if records[0].offset < position:",
        "if False:",
        CONSUMER,
        "test",
    ),
    Mutation(
        "records of a partition without a position are dropped",
        "runtime/kafka/consumer.py",
        "            if position is None:\n                continue\n",
        "            position = position or 0\n",
        CONSUMER,
        "test",
    ),
    Mutation(
        "a corrupt batch halts its partition",
        "runtime/kafka/consumer.py",
        "if self._corrupt[partition] >= CORRUPT_TRIES:",
        "if False:",
        CONSUMER,
        "test",
    ),
    Mutation(
        "a group knows of a member that leaves while others are waited for",
        "runtime/kafka/background.py",
        "    await within_stop(_leave(client))\n",
        "",
        MEMBERSHIP,
        "also_while",
    ),
    Mutation(
        "a paused partition is not asked for",
        "runtime/kafka/consumer.py",
        "            if partition not in self._paused\n",
        "",
        CONSUMER,
        "test",
    ),
    Mutation(
        "what was revoked is released",
        "runtime/worker.py",
        "        for owned in leaving:\n            owned.release()\n",
        "        for owned in leaving:\n            pass\n",
        PARTITIONS,
        "test",
    ),
    Mutation(
        "a halted partition is paused",
        "runtime/worker.py",
        "        self._consumer.pause([partition])\n        self._halts",
        "        self._halts",
        PARTITIONS,
        "test",
    ),
    Mutation(
        "a record is durable on all replicas in sync before it is acknowledged",
        "runtime/kafka/producer.py",
        'acks="all",\n            enable_idempotence=True',
        "acks=1,\n            enable_idempotence=False",
        PRODUCER,
        "test",
    ),
    Mutation(
        "a client that lost a batch is replaced",
        "runtime/kafka/producer.py",
        "                self.spent = True\n                _fail",
        "                _fail",
        PRODUCER,
        "test",
    ),
    Mutation(
        "a broker that owes an answer and stands still is not waited for",
        "runtime/kafka/silence.py",
        "            if still[connection][1] >= LOOKS:\n",
        "            if False:\n",
        SILENCE,
        "owes_is_not",
    ),
    Mutation(
        "an answer that comes in pieces is waited for",
        "runtime/kafka/silence.py",
        "return number, came, connection",
        "return number, 0, connection",
        SILENCE,
        "byte_by_byte",
    ),
    Mutation(
        "whoever joins a group waits for the others",
        "runtime/kafka/silence.py",
        "in _PATIENT:",
        "in ():",
        SILENCE,
        "waits_for_the_others",
    ),
    Mutation(
        "connecting to one broker keeps no other waiting",
        "runtime/kafka/silence.py",
        "asyncio.timeout(CONNECT_S)",
        "asyncio.timeout(None)",
        SILENCE,
        "waits_long",
    ),
]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the project in which anything may be changed."""
    return copy_of_project(tmp_path_factory.mktemp("mutated"))


@pytest.mark.parametrize("tests", sorted({m.tests for m in PURE}))
def test_without_a_mutation_the_copy_is_green(copied: Path, tests: str) -> None:
    assert passes(copied, tests, "test", {})


@pytest.mark.parametrize("mutation", PURE, ids=lambda mutation: mutation.rule)
def test_a_rule_taken_out_turns_the_suite_red(copied: Path, mutation: Mutation) -> None:
    assert turns_red(copied, mutation)

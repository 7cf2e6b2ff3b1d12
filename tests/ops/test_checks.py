from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from streams.core.state import FRESH, Changes
from streams.errors import Halt, Unreachable
from streams.ops.checks import (
    Check,
    attempt,
    check_counters,
    check_kafka,
    check_python,
    check_store,
    check_topics,
    conclude,
)
from streams.ops.topics import Action, TopicStep, WantedTopic, wanted_topics
from streams.runtime.memory import MemoryCluster, MemoryLog, MemoryStore
from streams.settings import load_settings

CONFIG = Path(__file__).parents[2] / "config"
SETTINGS = load_settings(CONFIG, {"brokers": "kafka:9092"}, {})


def broken(error: Exception) -> Callable[..., None]:
    def action(*_: object) -> None:
        raise error

    return action


def test_this_python_is_new_enough() -> None:
    assert check_python().status == "ok"


def test_what_raises_fails_with_its_message_and_what_does_not_answer_says_so() -> None:
    assert attempt("x", broken(Halt("set it")), "") == ("fail", "x", "set it")
    assert attempt("x", broken(Unreachable("away")), "") == ("unreachable", "x", "away")
    assert attempt("x", lambda: None, "fine") == ("ok", "x", "fine")


def step(action: Action, why: str = "") -> TopicStep:
    return TopicStep(WantedTopic("t", 1, 1, {}), action, {}, why)


def test_topics_fail_when_missing_or_in_conflict_and_warn_when_they_differ() -> None:
    checks = check_topics([step("ok"), step("create"), step("conflict", "c"), step("change", "d")])
    assert [check.status for check in checks] == ["fail", "fail", "warn"]
    assert "streams topics apply --yes" in checks[0].message


def test_topics_that_are_well_are_one_line() -> None:
    assert [check.status for check in check_topics([step("ok"), step("ok")])] == ["ok"]


async def test_a_cluster_is_checked_with_its_topics() -> None:
    cluster = MemoryCluster(MemoryLog())
    reached, *missing = await check_kafka(cluster, SETTINGS)
    assert reached == ("ok", "kafka", "answers at kafka:9092 (PLAINTEXT)")
    assert [check.status for check in missing] == ["fail"] * len(wanted_topics(SETTINGS))
    for topic in wanted_topics(SETTINGS):
        await cluster.create(topic.name, topic.partitions, 1, topic.configs)
    assert [check.check for check in await check_kafka(cluster, SETTINGS)] == ["kafka", "topics"]


async def test_a_password_that_anybody_can_read_is_a_warning() -> None:
    login = {"sasl_mechanisms": "PLAIN", "sasl_username": "a", "password": "hunter2"}
    statuses = {}
    for protocol in ("SASL_PLAINTEXT", "SASL_SSL"):
        named = {"security_protocol": protocol, **login}
        environment = {f"STREAMS_KAFKA_{name.upper()}": text for name, text in named.items()}
        settings = load_settings(CONFIG, {}, environment)
        reached, second, *_ = await check_kafka(MemoryCluster(MemoryLog()), settings)
        assert reached.message == f"answers at 127.0.0.1:9092 ({protocol}, PLAIN as a)"
        statuses[protocol] = second.status
    assert statuses == {"SASL_PLAINTEXT": "warn", "SASL_SSL": "fail"}


class AwayCluster(MemoryCluster):
    """A cluster that does not answer."""

    async def describe(self) -> Mapping[str, int]:
        raise Unreachable("no broker")


async def test_topics_are_not_asked_for_where_no_broker_answers() -> None:
    checks = await check_kafka(AwayCluster(MemoryLog()), SETTINGS)
    assert checks == [("unreachable", "kafka", "no broker")]


class Store:
    """A store as Redis might be set."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault

    async def check(self) -> None:
        if self.fault is not None:
            raise self.fault

    async def warnings(self) -> Sequence[str]:
        return ["rows cost three times the memory"]


async def test_a_store_is_checked_with_its_settings() -> None:
    assert [check.status for check in await check_store(Store())] == ["ok", "warn"]
    assert [check.status for check in await check_store(Store(Halt("evicts")))] == ["fail"]


def test_the_end_says_what_did_not_answer_before_what_is_wrong() -> None:
    well, wrong = Check("ok", "a", ""), Check("fail", "b", "")
    conclude([well, Check("warn", "w", "")])
    with pytest.raises(Halt, match=r"5 of 5 checks failed: b, b, b and 2 more$"):
        conclude([wrong] * 5)
    with pytest.raises(Halt, match="1 of 2 checks failed: b"):
        conclude([well, wrong])
    with pytest.raises(Unreachable, match="no answer: c"):
        conclude([wrong, Check("unreachable", "c", "")])


async def test_counters_of_another_installation_fail_and_name_what_differs() -> None:
    store = MemoryStore()
    assert (await check_counters(store, "installation=a", 2)).status == "ok"
    await store.flush(1, "installation=b", -1, 0, Changes(0, {}, FRESH))
    assert (await check_counters(store, "installation=b", 2)).status == "ok"
    check = await check_counters(store, "installation=a", 2)
    assert check.status == "fail"
    assert "partition 1: its counters differ in installation (stored b, now a)" in check.message

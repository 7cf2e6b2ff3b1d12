"""Which rights a role has: enough, no more, and in the words of Kafka's own tool."""

import shlex
from collections import defaultdict
from collections.abc import Collection

import pytest

from streams.ops.rights import ROLES, Role, commands, rights_of
from streams.ops.topics import wanted_topics
from streams.settings import SHIPPED, load_settings

SETTINGS = load_settings(SHIPPED, {"topic_prefix": "p."}, {})
TOPICS = {topic.name for topic in wanted_topics(SETTINGS)}


def held(role: Role, operation: str, resource: str = "topic") -> Collection[str]:
    names: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for right in rights_of(role, SETTINGS):
        for each in right.operations:
            names[each, right.resource] += right.names or [""]
    return names[operation, resource]


def test_a_producer_writes_events_and_reads_nothing() -> None:
    assert set(held("producer", "Write")) == {"p.uploads", "p.recognitions", "p.interactions"}
    assert not held("producer", "Read")
    assert not held("producer", "Read", "group")


@pytest.mark.parametrize("role", ROLES)
def test_only_workers_write_what_was_decided(role: Role) -> None:
    written = set(held(role, "Write"))
    assert ({"p.decisions", "p.traffic"} <= written) == (role == "worker")
    assert ("p.policies" in written) == (role in ("control", "operator"))
    assert ("p.reviews" in written) == (role == "operator")


def test_an_analyst_reads_everything_and_changes_nothing() -> None:
    assert set(held("analyst", "Read")) == TOPICS
    changing = ("Write", "Create", "AlterConfigs", "Delete", "Alter", "All")
    assert not any(held("analyst", operation) for operation in changing)
    assert not held("analyst", "Read", "group")


@pytest.mark.parametrize("role", ["worker", "control", "operator", "analyst"])
def test_whoever_runs_here_may_look_at_every_topic(role: Role) -> None:
    assert set(held(role, "Describe")) == set(held(role, "DescribeConfigs")) == TOPICS


def test_groups_are_joined_by_those_who_run_in_them() -> None:
    assert held("worker", "Read", "group") == ["p.streams"]
    assert held("control", "Read", "group") == ["p.streams-control", "p.streams-keeper"]


def test_a_right_is_one_command_of_kafkas_own_tool() -> None:
    lines = list(commands(rights_of("worker", SETTINGS), "User:the worker", "k:9093"))
    words = shlex.split(lines[-1])
    assert words == [
        *("kafka-acls.sh", "--bootstrap-server", "k:9093", "--command-config"),
        *("admin.properties", "--add", "--allow-principal", "User:the worker"),
        *("--operation", "Read", "--group", "p.streams"),
    ]
    (cluster,) = [
        line
        for line in commands(rights_of("operator", SETTINGS), "User:o", "k:9093")
        if "--cluster" in line
    ]
    assert cluster.endswith("--operation Describe --operation DescribeConfigs --cluster")

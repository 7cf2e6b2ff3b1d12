import json

import pytest
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource
from kit.command import Done, Where, streams
from kit.servers import create_topic


def actions(done: Done) -> dict[str, str]:
    return {row["topic"]: row["action"] for row in json.loads(done.stdout)}


@pytest.fixture
def where(brokers: str, unique: str) -> Where:
    return {"brokers": brokers, "topic_prefix": f"{unique}.", "partitions": 2}


@pytest.mark.real
def test_a_plan_changes_nothing_and_apply_acts_with_yes_only(where: Where) -> None:
    plan = ("topics", "plan", "--output", "json")
    for command in (plan, ("topics", "apply", "--output", "json"), plan):
        done = streams(*command, **where)
        assert (done.returncode, set(actions(done).values())) == (0, {"create"})
    assert streams("topics", "apply", "--yes", **where).returncode == 0
    done = streams(*plan, **where)
    assert (len(actions(done)), set(actions(done).values())) == (18, {"ok"})
    assert "nothing to do" in streams("topics", "apply", "--yes", **where).stderr


@pytest.mark.real
def test_a_changed_setting_is_applied_to_the_entries_that_differ(where: Where) -> None:
    streams("topics", "apply", "--yes", **where)
    longer = where | {"retention_hours": 200}
    planned = actions(streams("topics", "plan", "--output", "json", **longer))
    prefix = where["topic_prefix"]
    changed = {name for name, action in planned.items() if action == "change"}
    logs = ("uploads", "recognitions", "reviews", "interactions")
    assert changed == {f"{prefix}{name}" for name in logs}
    assert streams("topics", "apply", "--yes", **longer).returncode == 0
    done = streams("topics", "plan", "--output", "json", **longer)
    assert set(actions(done).values()) == {"ok"}


@pytest.mark.real
def test_a_hand_set_retention_is_marked_and_left_alone_unless_deleting_is_allowed(
    where: Where,
) -> None:
    streams("topics", "apply", "--yes", **where)
    topic = f"{where['topic_prefix']}interactions"
    admin = AdminClient({"bootstrap.servers": where["brokers"]})
    entry = ConfigEntry("retention.ms", "-1", incremental_operation=AlterConfigOpType.SET)
    by_hand = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])
    admin.incremental_alter_configs([by_hand])[by_hand].result(30)

    planned = streams("topics", "plan", "--output", "json", **where)
    marked = [row["topic"] for row in json.loads(planned.stdout) if row["deletes"]]
    assert marked == [topic]
    kept = streams("topics", "apply", "--yes", **where)
    assert kept.returncode == 0
    assert f"left alone: {topic} retention.ms -1 -> 604800000 (deletes records" in kept.stderr
    assert actions(streams("topics", "plan", "--output", "json", **where))[topic] == "change"
    allowed = streams("topics", "apply", "--yes", "--allow-deleting", **where)
    assert "1 topics created or changed" in allowed.stderr
    assert actions(streams("topics", "plan", "--output", "json", **where))[topic] == "ok"


@pytest.mark.real
def test_another_partition_count_is_a_conflict_and_nothing_is_done(where: Where) -> None:
    create_topic(where["brokers"], f"{where['topic_prefix']}interactions", 3)
    done = streams("topics", "apply", "--yes", "--output", "json", **where)
    assert done.returncode == 1
    assert actions(done)[f"{where['topic_prefix']}interactions"] == "conflict"
    assert "has 3 partitions, the settings say 2: set partitions to 3" in done.stderr
    after = actions(streams("topics", "plan", "--output", "json", **where))
    assert after[f"{where['topic_prefix']}uploads"] == "create"


@pytest.mark.real
def test_a_compacted_topic_is_a_conflict(where: Where) -> None:
    topic = f"{where['topic_prefix']}interactions"
    create_topic(where["brokers"], topic, 2, {"cleanup.policy": "compact"})
    done = streams("topics", "plan", **where)
    assert done.returncode == 1
    assert f"topic {topic} cleanup.policy is compact" in done.stderr


def test_a_broker_that_does_not_answer_ends_with_4() -> None:
    assert streams("topics", "plan", brokers="127.0.0.1:1").returncode == 4


def test_rights_are_listed_or_spelled_as_commands_and_nothing_is_asked() -> None:
    listed = streams("topics", "acls", "--role", "worker", "--output", "json", topic_prefix="p.")
    rows = json.loads(listed.stdout)
    assert {
        "role": "worker",
        "resource": "group",
        "name": "p.streams",
        "operations": "Read",
    } in rows
    spelled = streams("topics", "acls", "--role", "producer", "--principal", "User:app")
    first, *_ = spelled.stdout.splitlines()
    assert first.startswith("kafka-acls.sh --bootstrap-server 127.0.0.1:9092 --command-config")
    assert "--allow-principal User:app --operation Describe" in first

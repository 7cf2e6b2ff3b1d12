from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from streams.errors import Denied, Halt, Retry
from streams.ops import topics
from streams.ops.topics import (
    TopicStep,
    WantedTopic,
    apply_steps,
    compare_topics,
    make_topics,
    plan_topics,
    wanted_topics,
)
from streams.runtime.memory import MemoryCluster, MemoryLog, MemoryReader
from streams.runtime.ports import TopicIdentity
from streams.settings import Settings, load_settings

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def settings() -> Settings:
    return load_settings(CONFIG, {"topic_prefix": "p.", "partitions": 6, "replication": 3}, {})


class Guarded(MemoryCluster):
    """A cluster that shows us no topic."""

    async def identity(self, topic: str) -> TopicIdentity:
        raise Denied(f"{topic} is not for you")


async def test_a_topic_that_is_not_ours_to_see_is_not_taken_for_missing(
    settings: Settings,
) -> None:
    missing = await compare_topics(MemoryCluster(MemoryLog()), settings)
    assert {step.action for step in missing} == {"create"}
    with pytest.raises(Denied, match=r"p\.uploads is not for you"):
        await compare_topics(Guarded(MemoryLog()), settings)


Plan = tuple[list[WantedTopic], dict[str, int], dict[str, dict[str, str]]]


def as_wanted(settings: Settings) -> Plan:
    wanted = wanted_topics(settings)
    partitions = {topic.name: topic.partitions for topic in wanted}
    return wanted, partitions, {topic.name: dict(topic.configs) for topic in wanted}


def actions(
    wanted: Sequence[WantedTopic],
    partitions: Mapping[str, int],
    configs: Mapping[str, Mapping[str, str]],
) -> dict[str, str]:
    return {step.topic.name: step.action for step in plan_topics(wanted, partitions, configs)}


def test_every_topic_has_its_dead_letters_and_none_is_compacted(settings: Settings) -> None:
    wanted = wanted_topics(settings)[:-5]
    names = ["uploads", "recognitions", "reviews", "interactions", "decisions", "traffic"]
    assert [topic.name for topic in wanted] == [
        f"p.{name}{suffix}" for name in names for suffix in ("", ".dlq")
    ]
    assert {topic.configs["cleanup.policy"] for topic in wanted} == {"delete"}
    assert {topic.partitions for topic in wanted} == {6}


def test_a_table_of_what_waits_has_the_partitions_of_the_log(settings: Settings) -> None:
    *_, table, _ = wanted_topics(settings)
    assert (table.name, table.partitions) == ("p.waiting", 6)
    assert table.configs["cleanup.policy"] == "compact"
    assert "retention.ms" not in table.configs


def test_tables_say_which_installation_this_is_what_feeds_go_by_and_what_is_skipped(
    settings: Settings,
) -> None:
    *_, policies, mix, ledger, _, _ = wanted_topics(settings)
    assert [t.name for t in (policies, mix, ledger)] == ["p.policies", "p.mix", "p.ledger"]
    for table in (policies, mix, ledger):
        assert table.partitions == 1
        assert table.configs["cleanup.policy"] == "compact"
        assert "retention.ms" not in table.configs
    assert mix.configs["segment.ms"] == "3600000"  # one record a minute: compacted every hour


def test_copies_of_dossiers_are_a_table_whose_lesser_ones_stay_for_a_day(
    settings: Settings,
) -> None:
    *_, table = wanted_topics(settings)
    assert (table.name, table.partitions) == ("p.dossiers", 6)
    assert table.configs["cleanup.policy"] == "compact"
    assert table.configs["min.compaction.lag.ms"] == "86400000"
    assert int(table.configs["max.message.bytes"]) > 2 * settings.record_bytes
    assert "retention.ms" not in table.configs


def test_a_table_that_is_a_log_is_made_a_table(settings: Settings) -> None:
    wanted, partitions, configs = as_wanted(settings)
    configs["p.policies"]["cleanup.policy"] = "delete"
    [step] = [s for s in plan_topics(wanted, partitions, configs) if s.action != "ok"]
    assert (step.action, step.configs) == ("change", {"cleanup.policy": "compact"})


def test_a_record_of_the_largest_size_fits_its_topic(settings: Settings) -> None:
    for topic in wanted_topics(settings):
        assert int(topic.configs["max.message.bytes"]) > settings.record_bytes


def test_one_of_three_replicas_may_be_away(settings: Settings) -> None:
    assert {t.configs["min.insync.replicas"] for t in wanted_topics(settings)} == {"2"}


def test_receipts_and_traffic_are_kept_longer_than_the_log(settings: Settings) -> None:
    kept = {t.name: int(t.configs["retention.ms"]) for t in wanted_topics(settings)[:-5]}
    assert kept["p.traffic"] == kept["p.decisions"]
    assert kept["p.decisions"] > kept["p.interactions"] == settings.retention_hours * 3_600_000


def test_letters_are_kept_fourteen_days_however_long_the_log_is(settings: Settings) -> None:
    for hours in (settings.retention_hours, 10_000):
        wanted = wanted_topics(replace(settings, retention_hours=hours))
        letters = [topic.configs for topic in wanted if topic.name.endswith(".dlq")]
        assert {one["retention.ms"] for one in letters} == {str(14 * 86_400_000)}
        assert {one["segment.ms"] for one in letters} == {"86400000"}  # at most a day longer


def test_letters_that_are_kept_for_ever_are_a_change_that_deletes(settings: Settings) -> None:
    wanted, partitions, configs = as_wanted(settings)
    configs["p.uploads.dlq"]["retention.ms"] = "-1"
    [step] = [s for s in plan_topics(wanted, partitions, configs) if s.action != "ok"]
    assert (step.action, step.topic.name) == ("change", "p.uploads.dlq")
    assert (step.deleting, step.keeping()) == ({"retention.ms"}, {})


def test_topics_that_do_not_exist_are_created(settings: Settings) -> None:
    assert set(actions(wanted_topics(settings), {}, {}).values()) == {"create"}


def test_topics_that_are_as_wanted_are_left_alone(settings: Settings) -> None:
    assert set(actions(*as_wanted(settings)).values()) == {"ok"}


def test_another_partition_count_is_a_conflict_that_says_what_to_do(settings: Settings) -> None:
    wanted, partitions, configs = as_wanted(settings)
    partitions["p.interactions"] = 4
    [step] = [s for s in plan_topics(wanted, partitions, configs) if s.action != "ok"]
    assert step.action == "conflict"
    assert "has 4 partitions, the settings say 6" in step.why


@pytest.mark.parametrize("policy", ["compact", "compact,delete", "delete,compact"])
def test_a_compacted_topic_is_a_conflict_and_never_altered(settings: Settings, policy: str) -> None:
    wanted, partitions, configs = as_wanted(settings)
    configs["p.interactions"]["cleanup.policy"] = policy
    [step] = [s for s in plan_topics(wanted, partitions, configs) if s.action != "ok"]
    assert (step.action, step.configs) == ("conflict", {})


def test_only_the_entries_that_differ_are_changed(settings: Settings) -> None:
    wanted, partitions, configs = as_wanted(settings)
    configs["p.uploads"]["retention.ms"] = "1"
    [step] = [s for s in plan_topics(wanted, partitions, configs) if s.action != "ok"]
    assert (step.action, step.configs) == ("change", {"retention.ms": "604800000"})
    assert step.why == "retention.ms 1 -> 604800000"


def test_what_the_broker_does_not_tell_is_left_alone(settings: Settings) -> None:
    wanted, partitions, _ = as_wanted(settings)
    assert set(actions(wanted, partitions, {}).values()) == {"ok"}


LOG_MS = 168 * 3_600_000


@pytest.mark.parametrize(
    ("kept", "deletes"),
    [("-1", True), (str(LOG_MS + 1), True), (str(LOG_MS - 1), False), ("0", False)],
)
def test_a_shorter_retention_is_marked_because_it_deletes_records(
    settings: Settings, kept: str, deletes: bool
) -> None:
    wanted, partitions, configs = as_wanted(settings)
    configs["p.uploads"]["retention.ms"] = kept
    [step] = [s for s in plan_topics(wanted, partitions, configs) if s.action != "ok"]
    assert step.deleting == (frozenset({"retention.ms"}) if deletes else frozenset())
    assert ("deletes records" in step.why) is deletes


@pytest.fixture
async def cluster(settings: Settings) -> MemoryCluster:
    """Give a cluster with the topics of the settings."""
    made = MemoryCluster(MemoryLog())
    for topic in wanted_topics(settings):
        await made.create(topic.name, topic.partitions, topic.replication, topic.configs)
    return made


async def changes(cluster: MemoryCluster, settings: Settings) -> list[TopicStep]:
    return [step for step in await compare_topics(cluster, settings) if step.action != "ok"]


async def test_an_empty_cluster_gets_every_topic_and_progress_is_told(settings: Settings) -> None:
    cluster, heard = MemoryCluster(MemoryLog()), list[int]()
    steps = await changes(cluster, settings)
    assert await apply_steps(cluster, steps, allow_deleting=False, tell=heard.append) == 17
    assert await changes(cluster, settings) == []
    assert heard == list(range(1, 18))


async def test_a_hand_set_retention_is_left_alone_and_the_rest_is_set(
    cluster: MemoryCluster, settings: Settings
) -> None:
    by_hand = {"retention.ms": "-1", "max.message.bytes": "1"}
    await cluster.set_configs("p.interactions", by_hand)
    await cluster.set_configs("p.uploads", {"retention.ms": "-1"})
    steps = await changes(cluster, settings)
    assert await apply_steps(cluster, steps, allow_deleting=False, tell=lambda _: None) == 1
    kept = await cluster.configs("p.interactions")
    assert (kept["retention.ms"], kept["max.message.bytes"] != "1") == ("-1", True)
    assert (await cluster.configs("p.uploads"))["retention.ms"] == "-1"


async def test_records_are_deleted_where_that_is_allowed(
    cluster: MemoryCluster, settings: Settings
) -> None:
    await cluster.set_configs("p.uploads", {"retention.ms": "-1"})
    steps = await changes(cluster, settings)
    assert await apply_steps(cluster, steps, allow_deleting=True, tell=lambda _: None) == 1
    assert (await cluster.configs("p.uploads"))["retention.ms"] == str(LOG_MS)


async def test_topics_are_made_once_and_those_of_another_shape_are_left(
    settings: Settings,
) -> None:
    log = MemoryLog()
    reader = MemoryReader(log)
    await make_topics(MemoryCluster(log), reader, settings)
    made = log.topics()
    assert made == {topic.name: topic.partitions for topic in wanted_topics(settings)}
    await make_topics(MemoryCluster(log), reader, settings)
    assert log.topics() == made
    with pytest.raises(Halt, match=r"has 6 partitions, the settings say 7"):
        await make_topics(MemoryCluster(log), reader, replace(settings, partitions=7))


async def test_topics_that_do_not_answer_are_not_taken_for_made(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topics, "AGAIN_S", 0)
    log = MemoryLog()
    log.leaderless.add(("p.uploads", 3))
    with pytest.raises(Retry):
        await make_topics(MemoryCluster(log), MemoryReader(log), settings)

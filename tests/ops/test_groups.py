import re

import pytest
from kit.twins import CONFIG

from streams.errors import Halt, Retry
from streams.ops.groups import (
    GroupPlaces,
    LagQuery,
    group_rows,
    member_rows,
    places_of,
    refuse_seek,
    require_groups,
    require_known,
    snapshot,
    survey_groups,
)
from streams.runtime.memory import MemoryCluster
from streams.runtime.memory.log import MemoryLog
from streams.runtime.ports import GroupMember, Place
from streams.settings import load_settings


class Stuck(MemoryCluster):
    """A cluster on which no coordinator answers for the group `a-group`."""

    async def committed(self, group: str) -> dict[Place, int]:
        if group == "a-group":
            raise Retry("the coordinator is away")
        return dict(await super().committed(group))


class Joined(MemoryCluster):
    """A cluster on which a member of `b-group` has just got partition 1 of `t`."""

    async def members(self, group: str) -> list[GroupMember]:
        member = GroupMember("worker", "10.0.0.7", frozenset({("t", 1)}))
        return [member] if group == "b-group" else []


async def positions(cluster: MemoryCluster, query: LagQuery) -> dict[str, object]:
    survey = await survey_groups(cluster, query)
    return {group: one.positions for group, one in survey.groups.items()}


@pytest.fixture
def filled(log: MemoryLog) -> MemoryLog:
    """A log that two installations each have a group on; `t` is nobody's."""
    for topic in ("a.one", "b.one"):
        log.create(topic, 2)
        log.group(f"{topic[0]}-group", topic).positions[1] = 7
    log.group("a-group", "t").positions[0] = 3
    log.group("a-group", "gone").positions[0] = 3
    return log


@pytest.fixture
def shared(filled: MemoryLog) -> MemoryCluster:
    return MemoryCluster(filled)


async def test_the_own_groups_are_shown_on_the_own_topics(shared: MemoryCluster) -> None:
    found = await positions(shared, LagQuery(("a-group", "a-control"), "a."))
    assert found == {"a-group": {("a.one", 0): None, ("a.one", 1): 7}}


async def test_every_group_is_shown_where_the_whole_cluster_is_wanted(
    shared: MemoryCluster,
) -> None:
    found = await positions(shared, LagQuery())
    assert set(found) == {"a-group", "b-group"}
    a_group = found["a-group"]
    assert isinstance(a_group, dict)
    assert {topic for topic, _ in a_group} == {"a.one", "t"}  # not the one that is gone


async def test_one_topic_can_be_wanted_alone(shared: MemoryCluster) -> None:
    found = await positions(shared, LagQuery(topic="t"))
    assert found == {"a-group": {("t", 0): 3, ("t", 1): None, ("t", 2): None}, "b-group": {}}


async def test_a_group_that_does_not_exist_is_told_with_those_that_do(
    shared: MemoryCluster,
) -> None:
    await require_groups(shared, ["a-group"])
    with pytest.raises(Halt, match="no consumer group nobody; there are: a-group, b-group"):
        await require_groups(shared, ["a-group", "nobody"])


async def test_a_topic_that_does_not_exist_is_told_with_those_that_do(
    shared: MemoryCluster,
) -> None:
    await require_known(shared, LagQuery(topic="t"))
    with pytest.raises(Halt, match=r"topic nope does not exist; there are: .*\bt\b"):
        await require_known(shared, LagQuery(topic="nope"))


async def test_a_group_that_does_not_answer_costs_itself_only(filled: MemoryLog) -> None:
    survey = await survey_groups(Stuck(filled), LagQuery())
    assert survey.silent == {"a-group": "the coordinator is away"}
    assert set(survey.groups) == {"b-group"}


async def test_a_topic_that_a_member_reads_is_shown_before_its_first_commit(
    filled: MemoryLog,
) -> None:
    survey = await survey_groups(Joined(filled), LagQuery(("b-group",), topic="t"))
    b_group = survey.groups["b-group"]
    assert b_group.positions == {("t", partition): None for partition in range(3)}
    assert (b_group.owner(("t", 1)), b_group.owner(("t", 0))) == ("worker@10.0.0.7", None)


def test_a_group_without_a_member_owns_nothing() -> None:
    assert GroupPlaces({("t", 0): 3}).owner(("t", 0)) is None


async def test_a_row_tells_of_each_group_who_is_in_it_and_where_it_committed(
    filled: MemoryLog,
) -> None:
    rows = group_rows(await survey_groups(Joined(filled), LagQuery()))
    assert [(row["group"], row["members"], row["hosts"]) for row in rows] == [
        ("a-group", 0, ""),
        ("b-group", 1, "10.0.0.7"),
    ]
    assert [(row["topics"], row["partitions"], row["committed"]) for row in rows] == [
        ("a.one, t", 5, 2),
        ("b.one, t", 5, 1),
    ]


async def test_the_members_of_a_group_are_shown_and_what_nobody_has(filled: MemoryLog) -> None:
    rows = member_rows(await places_of(Joined(filled), "b-group"))
    assert [tuple(row.values()) for row in rows] == [
        ("worker", "10.0.0.7", "t", "1"),
        (None, None, "b.one", "0-1"),
        (None, None, "t", "0, 2"),
    ]


def test_a_member_without_partitions_is_shown_too() -> None:
    [row] = member_rows(GroupPlaces({}, [GroupMember("idle", "h", frozenset())]))
    assert (row["member"], row["partitions"]) == ("idle", "")


async def test_a_snapshot_has_a_line_for_each_committed_position(shared: MemoryCluster) -> None:
    assert snapshot(await places_of(shared, "a-group")) == "a.one,1,7\nt,0,3\n"


async def test_a_group_that_does_not_exist_is_not_shown_as_an_empty_one(
    shared: MemoryCluster,
) -> None:
    with pytest.raises(Halt, match="no consumer group nobody"):
        await places_of(shared, "nobody")


@pytest.mark.parametrize(
    ("group", "way"),
    [
        ("p.streams", "`streams counters rebuild`"),
        ("p.streams-control", "reads again by itself"),
        ("billing", "--group billing --reset-offsets --from-file"),
    ],
)
def test_no_group_is_moved_and_what_does_it_is_told(group: str, way: str) -> None:
    settings = load_settings(CONFIG, {"topic_prefix": "p."}, {})
    with pytest.raises(Halt, match=re.escape(way)):
        refuse_seek(settings, group)

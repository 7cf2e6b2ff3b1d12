"""Consumer groups: where they are in each partition, and who their members are."""

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final, NamedTuple, NoReturn

from streams.errors import Halt, Retry
from streams.ops.tail import require_topic
from streams.runtime.ports import Cluster, GroupMember, Place
from streams.settings import Settings

AT_ONCE: Final = 8
"""Groups that are asked for at the same time: each costs a connection."""


class LagQuery(NamedTuple):
    """Whose lag is wanted: these groups (None: all), on topics of this prefix or this one alone.

    `named` are groups that must exist.
    """

    groups: Collection[str] | None = None
    prefix: str = ""
    topic: str | None = None
    named: Collection[str] = ()

    @classmethod
    def of(
        cls, settings: Settings, named: Collection[str], topic: str | None, *, whole: bool
    ) -> "LagQuery":
        """Return what is wanted: the own groups, or these, or the whole cluster."""
        own = () if whole or named else (settings.group, settings.control_group)
        prefix = settings.topic_prefix if own else ""
        return cls(named or own or None, prefix, topic and settings.full_name(topic), named)

    @property
    def words(self) -> str:
        """Whose lag it is, as people read it."""
        if self.groups is None:
            return "any group"
        return " and ".join(self.groups) + ("" if self.named else "; --all shows every group")

    def takes(self, topic: str) -> bool:
        """Tell whether a topic is wanted."""
        return topic.startswith(self.prefix) and self.topic in (None, topic)


class GroupPlaces(NamedTuple):
    """A group's committed position by partition, None where it committed none, and its members."""

    positions: Mapping[Place, int | None]
    members: Sequence[GroupMember] = ()

    def owner(self, place: Place) -> str | None:
        """Return the member that owns a partition, as `client@host`."""
        owners = (f"{one.client_id}@{one.host}" for one in self.members if place in one.places)
        return next(owners, None)


class Survey(NamedTuple):
    """The groups that answered, and why others did not."""

    groups: Mapping[str, GroupPlaces]
    silent: Mapping[str, str]


async def survey_groups(cluster: Cluster, query: LagQuery) -> Survey:
    """Return where groups are in each partition of the topics that they read.

    That are those that they committed to and those that members were given; all partitions of
    them. Groups that do not exist have nothing; one whose coordinator is away costs itself only.
    """
    topics = await cluster.describe()
    partitions = {topic: count for topic, count in topics.items() if query.takes(topic)}
    known = await cluster.groups()
    wanted = known if query.groups is None else [one for one in known if one in query.groups]
    turns = asyncio.Semaphore(AT_ONCE)

    async def ask(group: str) -> GroupPlaces | str:
        async with turns:
            try:
                return await _places_of(cluster, group, partitions)
            except (Retry, Halt) as error:
                return str(error)

    answers = dict(zip(wanted, await asyncio.gather(*map(ask, wanted)), strict=True))
    return Survey(
        {group: one for group, one in answers.items() if isinstance(one, GroupPlaces)},
        {group: why for group, why in answers.items() if isinstance(why, str)},
    )


async def require_known(cluster: Cluster, query: LagQuery) -> None:
    """Raise `Halt` with what there is if a group that is named, or the topic, does not exist."""
    if query.topic:
        await require_topic(cluster, query.topic)
    await require_groups(cluster, query.named)


async def require_groups(cluster: Cluster, groups: Collection[str]) -> None:
    """Raise `Halt` with what there is if one of these groups does not exist."""
    known = await cluster.groups() if groups else []
    if unknown := sorted(set(groups) - set(known)):
        raise Halt(f"no consumer group {', '.join(unknown)}; there are: {', '.join(known) or '-'}")


async def places_of(cluster: Cluster, group: str) -> GroupPlaces:
    """Return where one group is, in whatever topics; `Halt` if it does not exist."""
    await require_groups(cluster, [group])
    return await _places_of(cluster, group, await cluster.describe())


def group_rows(survey: Survey) -> list[dict[str, Any]]:
    """Return one row for each group that answered."""
    return [
        {
            "group": group,
            "members": len(one.members),
            "hosts": ", ".join(sorted({member.host for member in one.members})),
            "topics": ", ".join(sorted({topic for topic, _ in one.positions})),
            "partitions": len(one.positions),
            "committed": sum(position is not None for position in one.positions.values()),
        }
        for group, one in sorted(survey.groups.items())
    ]


def member_rows(places: GroupPlaces) -> list[dict[str, Any]]:
    """Return what each member has of each topic, and at the end what nobody has."""
    rows = [
        _member_row(member.client_id, member.host, topic, partitions)
        for member in sorted(places.members, key=lambda one: (one.host, one.client_id))
        for topic, partitions in (_by_topic(member.places) or {"": []}).items()
    ]
    owned = {place for member in places.members for place in member.places}
    left = _by_topic(place for place in places.positions if place not in owned)
    return rows + [_member_row(None, None, topic, its) for topic, its in left.items()]


def snapshot(places: GroupPlaces) -> str:
    """Return a line `topic,partition,offset` for each committed position, as Kafka's tool reads."""
    return "".join(
        f"{topic},{partition},{position}\n"
        for (topic, partition), position in sorted(places.positions.items())
        if position is not None
    )


def refuse_seek(settings: Settings, group: str) -> NoReturn:
    """Raise `Halt`: say why a group is not moved from here, and what does it."""
    if group == settings.group:
        raise Halt(
            f"{group} counts on from its watermarks in Redis, whatever the group committed: to "
            "count again from the log's beginning use `streams counters rebuild`"
        )
    if group == settings.control_group:
        raise Halt(
            f"{group} reads on from where its dossiers hold its topics, whatever the group "
            "committed, and reads again by itself what Redis lost"
        )
    raise Halt(
        f"{group} is not ours to move: stop its members, then `kafka-consumer-groups.sh "
        f"--bootstrap-server {settings.brokers} --group {group} --reset-offsets --from-file FILE "
        "--execute`, with a FILE as `streams group snapshot` prints it"
    )


def in_runs(numbers: Iterable[int]) -> str:
    """Return numbers for people, those that follow one another as a run.

    >>> in_runs([7, 0, 1, 2, 9]), in_runs([])
    ('0-2, 7, 9', '')
    """
    ordered = enumerate(sorted(numbers))
    runs = [[n for _, n in run] for _, run in groupby(ordered, lambda one: one[1] - one[0])]
    return ", ".join(f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def _member_row(
    member: str | None, host: str | None, topic: str, partitions: Sequence[int]
) -> dict[str, Any]:
    return {"member": member, "host": host, "topic": topic, "partitions": in_runs(partitions)}


def _by_topic(places: Iterable[Place]) -> dict[str, list[int]]:
    topics: defaultdict[str, list[int]] = defaultdict(list)
    for topic, partition in sorted(places):
        topics[topic].append(partition)
    return topics


async def _places_of(cluster: Cluster, group: str, partitions: Mapping[str, int]) -> GroupPlaces:
    committed, members = await asyncio.gather(cluster.committed(group), cluster.members(group))
    places = {*committed, *(place for member in members for place in member.places)}
    topics = sorted({topic for topic, _ in places if topic in partitions})
    return GroupPlaces(
        {
            (topic, partition): committed.get((topic, partition))
            for topic in topics
            for partition in range(partitions[topic])
        },
        members,
    )

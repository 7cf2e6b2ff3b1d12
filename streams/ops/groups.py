"""Consumer groups: where they are in each partition, and who their members are."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from streams.errors import Halt, Retry
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


async def require_groups(cluster: Cluster, groups: Collection[str]) -> None:
    """Raise `Halt` with what there is if one of these groups does not exist."""
    known = await cluster.groups()
    if unknown := sorted(set(groups) - set(known)):
        raise Halt(f"no consumer group {', '.join(unknown)}; there are: {', '.join(known) or '-'}")


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

"""What each role needs of a Kafka that asks for rights, and no more than that."""

import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, Literal, NamedTuple, get_args

from streams.ops.topics import wanted_topics
from streams.runtime.archive import TOPIC as ARCHIVE
from streams.runtime.documents import TOPIC as DOSSIERS
from streams.runtime.installation import TOPIC as TABLE
from streams.runtime.ledger import TOPIC as LEDGER
from streams.runtime.mixes import TOPIC as MIX
from streams.runtime.waiting import TOPIC as WAITING
from streams.settings import PUBLISHED, Settings

Role = Literal["producer", "feed", "worker", "control", "operator", "analyst"]
"""Whoever has rights: `worker` and `control` are the halves of `streams worker`."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)
Resource = Literal["topic", "group", "cluster"]
_LOOK: Final = ("Describe", "DescribeConfigs")
_HANDLED: Final = ("uploads", "recognitions", "reviews")
"""What the control plane reads; what it cannot use goes to the dead letters."""
_TABLES: Final = (TABLE, MIX, DOSSIERS)
"""What it writes and reads again."""
_WORKERS: Final = ("decisions", "traffic", WAITING, ARCHIVE)


class Right(NamedTuple):
    """What a role may do with some topics, some groups, or the cluster (which has no name)."""

    role: Role
    operations: Sequence[str]
    resource: Resource
    names: Sequence[str]


def rights_of(role: Role, settings: Settings) -> Iterator[Right]:
    """Yield everything that a role needs, for its verbs and its processes."""
    for operations, resource, names in _RIGHTS[role](settings):
        yield Right(role, operations, resource, names)


def commands(rights: Iterable[Right], principal: str, brokers: str) -> Iterator[str]:
    """Yield a command of Kafka's own tool for each right."""
    for right in rights:
        words = ["kafka-acls.sh", "--bootstrap-server", brokers]
        words += ["--command-config", "admin.properties", "--add", "--allow-principal", principal]
        for operation in right.operations:
            words += ["--operation", operation]
        for name in right.names:
            words += [f"--{right.resource}", name]
        yield shlex.join(words if right.names else [*words, "--cluster"])


_Grant = tuple[Sequence[str], Resource, Sequence[str]]


def _producer(settings: Settings) -> Iterator[_Grant]:
    """Verdicts are for people, so reviews are looked at only."""
    topics = [settings.topic(name) for name in PUBLISHED]
    yield _LOOK, "topic", topics
    yield ("Write",), "topic", [topic for topic in topics if topic != settings.topic("reviews")]


def _feed(settings: Settings) -> Iterator[_Grant]:
    """Yield a producer's, and those to go by the mix, whose keys stand in the table of policies."""
    yield from _producer(settings)
    tables = [settings.topic(name) for name in (TABLE, MIX)]
    yield (*_LOOK, "Read"), "topic", tables


def _worker(settings: Settings) -> Iterator[_Grant]:
    yield _LOOK, "topic", _all_topics(settings)
    read = ("interactions", TABLE, LEDGER, ARCHIVE)
    yield ("Read",), "topic", [settings.topic(name) for name in read]
    written = [settings.topic(name) for name in _WORKERS]
    yield ("Write",), "topic", [*written, settings.dead_letters("interactions")]
    yield ("Read",), "group", [settings.group]


def _control(settings: Settings) -> Iterator[_Grant]:
    yield _LOOK, "topic", _all_topics(settings)
    read = (*_HANDLED, "interactions", "traffic", ARCHIVE, *_TABLES)
    yield ("Read",), "topic", [settings.topic(name) for name in read]
    written = [settings.topic(name) for name in ("interactions", WAITING, *_TABLES)]
    yield ("Write",), "topic", [*written, *map(settings.dead_letters, _HANDLED)]
    yield ("Read",), "group", [settings.control_group, settings.keeper_group]


def _operator(settings: Settings) -> Iterator[_Grant]:
    """Nobody but workers and control planes writes what workers do, and what waits for people."""
    topics = _all_topics(settings)
    yield (*_LOOK, "Create", "AlterConfigs", "Read"), "topic", topics
    workers = {settings.topic(name) for name in _WORKERS}
    yield ("Write",), "topic", [topic for topic in topics if topic not in workers]
    yield ("Describe", "Delete"), "group", _groups(settings)
    yield _LOOK, "cluster", ()


def _analyst(settings: Settings) -> Iterator[_Grant]:
    yield (*_LOOK, "Read"), "topic", _all_topics(settings)
    yield ("Describe",), "group", _groups(settings)


def _all_topics(settings: Settings) -> list[str]:
    return [topic.name for topic in wanted_topics(settings)]


def _groups(settings: Settings) -> list[str]:
    return [settings.group, settings.control_group, settings.keeper_group]


_RIGHTS: Final = {
    "producer": _producer,
    "feed": _feed,
    "worker": _worker,
    "control": _control,
    "operator": _operator,
    "analyst": _analyst,
}

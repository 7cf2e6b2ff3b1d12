"""Checks of an installation: each says what it found and what to do about it."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal, NamedTuple, Protocol

from streams.errors import Halt, StreamsError, Unreachable
from streams.ops.topics import TopicStep, compare_topics
from streams.runtime.ports import Cluster, Store
from streams.settings import Settings, shown

Status = Literal["ok", "warn", "fail", "unreachable"]
PYTHON_NEEDED = (3, 11)


class Check(NamedTuple):
    """One line of the report."""

    status: Status
    check: str
    message: str


class WarningStore(Protocol):
    """What a check needs of a store."""

    async def check(self) -> None:
        """Raise `Halt` unless the store can be trusted, `Unreachable` if it does not answer."""

    async def warnings(self) -> Sequence[str]:
        """Return one line for each of its settings that costs memory or safety."""


def check_python(version: Sequence[int] = sys.version_info[:3]) -> Check:
    """Check the interpreter's version.

    >>> check_python((3, 10, 4)).status
    'fail'
    """
    text = ".".join(map(str, version))
    if tuple(version[:2]) < PYTHON_NEEDED:
        return Check("fail", "python", f"{text}: 3.11 or later is needed")
    return Check("ok", "python", text)


def attempt(name: str, action: Callable[[], object], well: str) -> Check:
    """Run a check that raises when something is wrong; `well` is said when it does not."""
    try:
        action()
    except StreamsError as error:
        return failed(name, error)
    return Check("ok", name, well)


async def attempt_async(name: str, action: Callable[[], Awaitable[object]], well: str) -> Check:
    """Await a check that raises when something is wrong."""
    try:
        await action()
    except StreamsError as error:
        return failed(name, error)
    return Check("ok", name, well)


def failed(name: str, error: StreamsError) -> Check:
    """Return the line for what a check raised."""
    return Check("unreachable" if isinstance(error, Unreachable) else "fail", name, str(error))


async def check_kafka(cluster: Cluster, settings: Settings) -> list[Check]:
    """Check that a broker answers, and each topic of these settings."""
    where = shown(settings.brokers)
    reached = await attempt_async("kafka", cluster.describe, f"answers at {where}")
    if reached.status != "ok":
        return [reached]
    try:
        return [reached, *check_topics(await compare_topics(cluster, settings))]
    except StreamsError as error:
        return [reached, failed("topics", error)]


async def check_store(store: WarningStore) -> list[Check]:
    """Check that the store answers and can be trusted, and how it is set."""
    reached = await attempt_async("redis", store.check, "answers, and never evicts")
    if reached.status != "ok":
        return [reached]
    try:
        return [reached, *(Check("warn", "redis", line) for line in await store.warnings())]
    except StreamsError as error:
        return [failed("redis", error)]


def conclude(checks: Sequence[Check]) -> None:
    """Raise `Unreachable` if something did not answer, `Halt` if something else is wrong."""
    silent = [check.check for check in checks if check.status == "unreachable"]
    if silent:
        raise Unreachable(f"no answer: {', '.join(silent)}")
    wrong = [check.check for check in checks if check.status == "fail"]
    if wrong:
        raise Halt(f"{len(wrong)} of {len(checks)} checks failed: {', '.join(wrong)}")


async def check_counters(store: Store, namespace: str, partitions: int) -> Check:
    """Check that every partition's counters are of this log, under this secret."""

    async def read_all() -> None:
        for partition in range(partitions):
            await store.meta(partition, namespace)

    return await attempt_async("counters", read_all, "are of this log and this secret")


def check_topics(steps: Iterable[TopicStep]) -> list[Check]:
    """Return one line per topic that is not as the settings say, or one that all are."""
    steps = list(steps)
    checks = [_topic(step) for step in steps if step.action != "ok"]
    return checks or [Check("ok", "topics", f"all {len(steps)} are as the settings say")]


def _topic(step: TopicStep) -> Check:
    name = f"topic {step.topic.name}"
    if step.action == "conflict":
        return Check("fail", name, step.why)
    if step.action == "create":
        return Check("fail", name, "does not exist: run `streams topics apply --yes`")
    return Check("warn", name, f"{step.why}: see `streams topics plan`")


async def require_topics(cluster: Cluster, settings: Settings) -> None:
    """Raise `Halt` unless every topic is there as the settings say."""
    for step in await compare_topics(cluster, settings):
        if step.action == "create":
            raise Halt(
                f"topic {step.topic.name} does not exist at {settings.brokers}: "
                "run `streams topics apply --yes`",
                code="topic_missing",
            )
        if step.action == "conflict":
            raise Halt(f"topic {step.topic.name} {step.why}", code="topic_conflict")


async def require_session_timeout(cluster: Cluster, settings: Settings) -> None:
    """Raise `Halt` unless the brokers take the session timeout: they would refuse every join."""
    bounds = await cluster.session_timeouts()
    if bounds is not None and not bounds[0] <= settings.session_timeout_ms <= bounds[1]:
        raise Halt(
            f"session_timeout_ms is {settings.session_timeout_ms}, but {settings.brokers} takes "
            f"{bounds[0]} to {bounds[1]}: change it (STREAMS_SESSION_TIMEOUT_MS), or the brokers' "
            "group.min.session.timeout.ms and group.max.session.timeout.ms"
        )

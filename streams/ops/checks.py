"""Checks of an installation: each says what it found and what to do about it."""

import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from streams.errors import StreamsError, Unreachable
from streams.ops.topics import Step
from streams.runtime.ports import Store

Status = Literal["ok", "warn", "fail", "unreachable"]
PYTHON_NEEDED = (3, 11)


class Check(NamedTuple):
    """One line of the report."""

    status: Status
    check: str
    message: str


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


async def check_counters(store: Store, namespace: str, partitions: int) -> Check:
    """Check that every partition's counters are of this log, under this secret."""

    async def read_all() -> None:
        for partition in range(partitions):
            await store.meta(partition, namespace)

    return await attempt_async("counters", read_all, "are of this log and this secret")


def check_topics(steps: Iterable[Step]) -> list[Check]:
    """Return one line per topic that is not as the settings say, or one that all are."""
    steps = list(steps)
    checks = [_topic(step) for step in steps if step.action != "ok"]
    return checks or [Check("ok", "topics", f"all {len(steps)} are as the settings say")]


def _topic(step: Step) -> Check:
    name = f"topic {step.topic.name}"
    if step.action == "conflict":
        return Check("fail", name, step.why)
    if step.action == "create":
        return Check("fail", name, "does not exist: run `streams topics apply --yes`")
    return Check("warn", name, f"{step.why}: see `streams topics plan`")

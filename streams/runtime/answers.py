"""What did not answer, said by name: for callers who need the answer of every partition."""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from streams.errors import Retry

Answer = TypeVar("Answer")


def silent(partitions: Iterable[int], answers: Mapping[int, object]) -> list[int]:
    """Return the partitions without an answer, sorted.

    >>> silent([2, 0, 1], {1: "here"})
    [0, 2]
    """
    return sorted(set(partitions) - answers.keys())


def require_all(
    topic: str, partitions: Iterable[int], answers: Mapping[int, Answer]
) -> Mapping[int, Answer]:
    """Return the answers; `Retry` that names the partitions without one.

    >>> require_all("log", [0, 1, 2], {1: "here"})
    Traceback (most recent call last):
    streams.errors.Retry: no leader answers for log[0], log[2]
    """
    if missing := silent(partitions, answers):
        names = ", ".join(f"{topic}[{partition}]" for partition in missing)
        raise Retry(f"no leader answers for {names}")
    return answers

"""`streams counters repartition` refuses what cannot be meant, before it connects to anything."""

import pytest
from kit.command import streams

ELSEWHERE = ("--to-prefix", "wide.", "--to-redis", "redis://127.0.0.1:1/0")


@pytest.mark.parametrize(
    ("options", "changes", "why"),
    [
        (ELSEWHERE, {}, "snapshots names no folder"),
        (ELSEWHERE, {"topic_prefix": "wide."}, "--to-prefix is the one in use"),
        ((*ELSEWHERE[:3], "there"), {}, "--to-redis"),
    ],
)
def test_what_cannot_be_meant_is_exit_code_2(
    options: tuple[str, ...], changes: dict[str, str], why: str
) -> None:
    done = streams("counters", "repartition", "--partitions", 8, *options, **changes)
    assert (done.returncode, why in done.stderr) == (2, True), done.stderr

"""What a peer is given, and the two lines by which the bench times it."""

import json
import sys
from typing import NamedTuple, Self

import orjson


class Task(NamedTuple):
    """What to count: all `records` of a topic, in a group that is new, with an empty folder."""

    brokers: str
    topic: str
    group: str
    records: int
    folder: str
    redis: str

    @classmethod
    def given(cls) -> Self:
        """Return the task that the bench wrote to standard input."""
        return cls(**json.loads(sys.stdin.readline()))


class Lap:
    """Counts down the records of a task, and tells the bench of the first."""

    def __init__(self, task: Task) -> None:
        self.left = task.records
        self._begun = False

    def passed(self, records: int = 1) -> bool:
        """Note processed records; return whether all are."""
        if not self._begun:
            self._begun = True
            print("first", flush=True)  # noqa: T201 - the bench reads it
        self.left -= records
        return self.left <= 0


def counter_of(value: bytes) -> str | None:
    """Return which counter a record of the log is about, None for a control record.

    >>> counter_of(b'{"type":"like","video":"v-1","slice":"discover:food"}')
    'v-1|discover:food|like'
    >>> counter_of(b'{"type":"admit","video":"v-1"}')
    """
    event = orjson.loads(value)
    if "slice" not in event:
        return None
    return f"{event['video']}|{event['slice']}|{event['type']}"


def finish(counted: int) -> None:
    """Tell that all is stored, and of how many feedback events."""
    print("last", counted, flush=True)  # noqa: T201 - the bench reads it

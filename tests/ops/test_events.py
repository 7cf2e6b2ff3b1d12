"""Events as they stand in their topics."""

from collections.abc import AsyncIterator
from dataclasses import replace

from streams.ops.events import events_of, read_events
from streams.runtime.memory import MemoryLog
from streams.runtime.ports import Outgoing, Record


def record(log: MemoryLog, value: bytes | None) -> Record:
    return log.append(Outgoing("t", value, b"k", partition=1, timestamp=5))


def test_an_event_has_its_place(log: MemoryLog) -> None:
    [row] = events_of(record(log, b'{"type":"like"}'))
    assert row == {
        "topic": "t",
        "partition": 1,
        "offset": 0,
        "element": 0,
        "timestamp": 5,
        "key": "k",
        "event": {"type": "like"},
    }


def test_the_elements_of_an_array_are_rows(log: MemoryLog) -> None:
    rows = list(events_of(record(log, b'[{"type":"like"},3]')))
    assert [(row["element"], row["event"]) for row in rows] == [(0, {"type": "like"}), (1, 3)]


def test_what_is_not_json_is_text(log: MemoryLog) -> None:
    values = (b"gar\xffbage", None, b"[" * 100_000)
    rows = [row for value in values for row in events_of(record(log, value), reveal=True)]
    assert [row["event"] for row in rows] == ["gar�bage", None, "[" * 100_000]


def test_viewers_are_masked_also_in_the_key_and_in_what_is_not_json(log: MemoryLog) -> None:
    keyed = Outgoing("t", b'[{"viewer":"alice"},{"type":"view"}]', b"alice", partition=1)
    rows = list(events_of(log.append(keyed)))
    assert [(row["key"], row["event"]) for row in rows] == [
        ("***", {"viewer": "***"}),
        ("***", {"type": "view"}),
    ]
    [row] = events_of(record(log, b'{"viewer":"alice"'))
    assert row["event"] == "17 bytes, no JSON: see --reveal"
    [row] = events_of(log.append(replace(keyed, value=b'{"viewer":"alice"}')), reveal=True)
    assert (row["key"], row["event"]) == ("alice", {"viewer": "alice"})


async def test_one_type_or_one_video_can_be_wanted(log: MemoryLog) -> None:
    values = [b'[{"type":"like","video":"a"},{"type":"view","video":"b"}]', b"7", b'{"video":"a"}']

    async def records() -> AsyncIterator[Record]:
        for value in values:
            yield record(log, value)

    async def found(**wanted: str) -> list[tuple[int, int]]:
        rows = read_events(records(), **wanted)
        return [(row["offset"] % 3, row["element"]) async for row in rows]

    assert await found() == [(0, 0), (0, 1), (1, 0), (2, 0)]
    assert await found(video="a") == [(0, 0), (2, 0)]
    assert await found(kind="view") == [(0, 1)]
    assert await found(kind="view", video="a") == []

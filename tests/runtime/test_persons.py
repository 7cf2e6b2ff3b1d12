"""Viewers leave the log for the letters of what was refused, and for nothing else."""

import logging
from collections.abc import Sequence

import pytest
from kit.events import Logged, record, synthetic_log
from kit.twins import World, counted

PERSON = "person-of-this-test-"


def with_persons(records: Sequence[Logged]) -> list[Logged]:
    """Name every viewer so that nothing else can look like one."""
    spelled = b'"viewer":"' + PERSON.encode()
    return [
        one._replace(value=one.value and one.value.replace(b'"viewer":"', spelled))
        for one in records
    ]


@pytest.fixture
def log() -> list[Logged]:
    counted_ones = with_persons(synthetic_log(seed=11, videos=8, events=420))
    refused = [
        f'{{"type":"like","id":"e","video":"v1","viewer":"{PERSON}0"'.encode(),
        f'{{"type":"like","id":"e","video":"v1","viewer":"{PERSON}@x","slice":"a:b"}}'.encode(),
        f'{{"type":"{PERSON}1","viewer":7}}'.encode(),
        f'{{"type":"view","id":"{PERSON}!","viewer":["{PERSON}1"]}}'.encode(),
    ]
    end = counted_ones[-1].offset + 1
    bad = [record(value, end + n, key=PERSON.encode()) for n, value in enumerate(refused)]
    return [*counted_ones, *bad]


async def test_no_counter_receipt_minute_or_log_line_names_a_viewer(
    log: list[Logged], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world = World()
    world.put(log)
    await counted(world)
    assert world.receipts()
    assert world.ticks()
    assert "bad records" in caplog.text
    stored = [(one.meta, one.rows) for one in world.store.partitions.values()]
    said = [
        (one.key, one.value)
        for topic in ("decisions", "traffic", "waiting")
        for one in world.sent(topic)
    ]
    for place in (stored, said, caplog.text):
        assert PERSON not in str(place)


async def test_a_letter_holds_the_viewer_in_its_record_and_in_no_header_of_ours(
    log: list[Logged],
) -> None:
    world = World()
    world.put(log)
    await counted(world)
    letters = world.sent("interactions.dlq")
    assert sum(PERSON.encode() in (letter.value or b"") for letter in letters) >= 4
    assert PERSON not in str([letter.headers for letter in letters])

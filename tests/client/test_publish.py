import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.patience import PATIENCE_S

from streams.client.examples import EXAMPLES
from streams.client.lines import InputLine
from streams.client.publish import (
    EventPace,
    InvalidLine,
    LinePublisher,
    NotSent,
    PublishOptions,
    publish_lines,
)
from streams.core.partitioner import partition_of
from streams.errors import Retry
from streams.runtime.memory.log import MemoryLog
from streams.runtime.memory.producer import MemoryProducer
from streams.runtime.ports import Record
from streams.runtime.signing import encode
from streams.settings import TOPICS, load_settings

SETTINGS = load_settings(Path(__file__).parents[2] / "config", {"topic_prefix": "p."}, {})
NOW_MS = 1_800_000_000_000
PARTITIONS = 4


def like(number: int, video: str = "v", ts: int = 1_714_557_600_000) -> bytes:
    return (
        f'{{"type":"like","id":"e{number}","video":"{video}","viewer":"u{number}",'
        f'"slice":"discover:football","ts":{ts}}}'
    ).encode()


class Run:
    """One publisher writing to an in-memory log."""

    def __init__(self, **options: object) -> None:
        self.log = MemoryLog(now_ms=lambda: NOW_MS)
        for topic in TOPICS:
            self.log.create(f"p.{topic}", PARTITIONS)
        self.producer = MemoryProducer(self.log)
        options = PublishOptions(**options)
        self.publisher = LinePublisher(self.producer, SETTINGS, PARTITIONS, options, lambda: NOW_MS)

    async def put(self, texts: Iterable[bytes]) -> None:
        for number, text in enumerate(texts, start=1):
            await self.publisher.put(InputLine(number, text))
        await self.publisher.finish()

    def records(self, topic: str) -> list[Record]:
        return [r for p in range(PARTITIONS) for r in self.log.records(f"p.{topic}", p)]

    def ids(self) -> list[str]:
        found = [json.loads(record.value) for record in self.records("interactions")]
        events = [one for value in found for one in (value if isinstance(value, list) else [value])]
        return [event["id"] for event in events]


async def test_every_event_goes_to_its_topic_with_its_own_bytes_and_its_video_as_key() -> None:
    run = Run()
    await run.put([encode(event) for event in EXAMPLES])
    assert [len(run.records(topic)) for topic in TOPICS] == [2, 1, 1, 14, 0, 0]
    for topic in TOPICS:
        for record in run.records(topic):
            assert record.key in {b"example-video", b"example-room"}
            assert record.value in [encode(event) for event in EXAMPLES]
            assert record.partition == partition_of(record.key, PARTITIONS)


async def test_records_are_of_now_or_of_their_events() -> None:
    now, then = Run(), Run(event_time=True)
    await now.put([like(1)])
    await then.put([like(1)])
    assert [record.timestamp for record in now.records("interactions")] == [NOW_MS]
    assert [record.timestamp for record in then.records("interactions")] == [1_714_557_600_000]


async def test_an_invalid_line_stops_with_its_number_and_what_stood_before_is_sent() -> None:
    run = Run(batch=100)

    async def chunks() -> AsyncIterator[list[InputLine]]:
        yield [
            InputLine(1, like(1)),
            InputLine(2, like(2)),
            InputLine(3, b"{"),
            InputLine(4, like(4)),
        ]

    with pytest.raises(InvalidLine, match=r"^line 3: json") as refused:
        await publish_lines(run.publisher, chunks(), EventPace(None, lambda: 0.0), asyncio.Event())
    assert refused.value.line == 3
    assert run.ids() == ["e1", "e2"]


async def test_invalid_lines_can_be_passed_over_and_are_counted() -> None:
    run = Run(skip_invalid=True)
    await run.put([like(1), b"{", b"[]", like(4)])
    assert run.ids() == ["e1", "e4"]
    assert (run.publisher.skipped, [bad.line for bad in run.publisher.invalid]) == (2, [2, 3])


async def test_an_event_that_retention_would_delete_at_once_is_refused() -> None:
    run = Run(event_time=True, oldest_ms=NOW_MS - 1_000)
    with pytest.raises(InvalidLine, match="the broker would delete it"):
        await run.put([like(1)])
    await Run(oldest_ms=NOW_MS - 1_000).put([like(1)])


@given(
    videos=st.lists(st.sampled_from([f"v{n}" for n in range(20)]), max_size=60),
    batch=st.integers(1, 7),
)
def test_arrays_hold_one_partition_each_in_order_and_lose_nothing(
    videos: list[str], batch: int
) -> None:
    run = Run(batch=batch)
    asyncio.run(run.put([like(number, video) for number, video in enumerate(videos)]))
    assert sorted(run.ids()) == sorted(f"e{number}" for number in range(len(videos)))
    for record in run.records("interactions"):
        value = json.loads(record.value)
        events = value if isinstance(value, list) else [value]
        assert len(events) <= batch
        assert {partition_of(e["video"].encode(), PARTITIONS) for e in events} == {record.partition}
    for partition in range(PARTITIONS):
        expected = [
            f"e{number}"
            for number, video in enumerate(videos)
            if partition_of(video.encode(), PARTITIONS) == partition
        ]
        records = run.log.records("p.interactions", partition)
        values = [json.loads(record.value) for record in records]
        flat = [e for value in values for e in (value if isinstance(value, list) else [value])]
        assert [event["id"] for event in flat] == expected


async def test_an_array_is_as_late_as_its_latest_event() -> None:
    run = Run(batch=3, event_time=True)
    await run.put([like(n, ts=1_714_557_600_000 + step) for n, step in enumerate((5, 9, 7))])
    assert [record.timestamp for record in run.records("interactions")] == [1_714_557_600_009]


async def test_a_large_array_is_sent_before_it_outgrows_a_record() -> None:
    run = Run(batch=10_000)
    await run.put([like(number) for number in range(8_000)])
    sizes = [len(record.value) for record in run.records("interactions")]
    assert len(sizes) > 1
    assert max(sizes) <= 512 << 10
    assert len(run.ids()) == 8_000


async def test_a_record_that_is_not_written_names_the_first_line_to_send_again() -> None:
    run = Run()
    await run.publisher.put(InputLine(1, like(1)))
    run.producer.fail_next(Retry("no leader"))
    await run.publisher.put(InputLine(2, like(2)))
    await run.publisher.put(InputLine(3, like(3)))
    with pytest.raises(NotSent, match="no leader; go on with --from-line 2"):
        await run.publisher.finish()


async def test_an_unfinished_array_is_sent_when_the_input_falls_silent() -> None:
    run, stop = Run(batch=100), asyncio.Event()
    silent = asyncio.Event()

    async def chunks() -> AsyncIterator[list[InputLine]]:
        yield [InputLine(1, like(1))]
        await silent.wait()

    task = asyncio.ensure_future(
        publish_lines(run.publisher, chunks(), EventPace(None, lambda: 0.0), stop)
    )
    async with asyncio.timeout(PATIENCE_S):
        while run.ids() != ["e1"]:  # noqa: ASYNC110 - the log tells nobody when it grows
            await asyncio.sleep(0.01)
    stop.set()
    await task


async def test_a_stop_finishes_what_was_read_though_the_input_never_ends() -> None:
    run, stop = Run(batch=100), asyncio.Event()

    async def chunks() -> AsyncIterator[list[InputLine]]:
        yield [InputLine(1, like(1))]
        stop.set()
        await asyncio.Event().wait()

    await publish_lines(run.publisher, chunks(), EventPace(None, lambda: 0.0), stop)
    assert (run.ids(), run.publisher.last_line) == (["e1"], 1)


async def test_lines_before_the_first_wanted_are_left_out() -> None:
    run = Run()

    async def chunks() -> AsyncIterator[list[InputLine]]:
        yield [InputLine(number, like(number)) for number in range(1, 6)]

    stop = asyncio.Event()
    await publish_lines(run.publisher, chunks(), EventPace(None, lambda: 0.0), stop, from_line=4)
    assert run.ids() == ["e4", "e5"]


async def test_a_pace_keeps_the_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    time = [0.0]

    async def nap(seconds: float) -> None:
        time[0] += seconds

    monkeypatch.setattr(asyncio, "sleep", nap)
    pace = EventPace(50.0, lambda: time[0])
    for _ in itertools.repeat(None, 101):
        await pace.wait()
        pace.add(1)
    assert time[0] == pytest.approx(2.0, abs=0.02)


async def test_the_events_of_an_array_in_a_line_are_sent_one_by_one_or_packed() -> None:
    line = b"[" + like(1, "a") + b", " + like(2, "b") + b"," + encode(EXAMPLES[0]) + b"]"
    single, packed = Run(), Run(batch=10)
    await single.put([line])
    await packed.put([line, like(3, "a")])
    assert sorted(single.ids()) == ["e1", "e2"]
    assert sorted(packed.ids()) == ["e1", "e2", "e3"]
    assert len(single.records("uploads")) == len(packed.records("uploads")) == 1
    for record in single.records("interactions"):
        video = json.loads(record.value)["video"]
        assert record.partition == partition_of(video.encode(), PARTITIONS)


async def test_of_an_array_with_an_invalid_element_nothing_is_sent_and_it_is_named() -> None:
    run = Run()
    await run.put([like(1)])
    with pytest.raises(InvalidLine, match="line 1: slice: element 1: "):
        await run.put([b"[" + like(2) + b"," + like(3).replace(b"football", b"Foot") + b"]"])
    assert run.ids() == ["e1"]


async def test_valid_elements_are_sent_when_invalid_ones_are_skipped() -> None:
    run = Run(skip_invalid=True)
    await run.put([b"[" + like(1) + b",1," + like(2) + b"]", b"[]"])
    assert (sorted(run.ids()), run.publisher.skipped) == (["e1", "e2"], 2)


async def test_a_rate_counts_the_events_of_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)

    async def chunks() -> AsyncIterator[list[InputLine]]:
        array = b"[" + b",".join(like(number) for number in range(100)) + b"]"
        yield [InputLine(1, array), InputLine(2, like(100))]

    run = Run()
    monkeypatch.setattr("streams.client.publish.asyncio.sleep", nap)
    await publish_lines(run.publisher, chunks(), EventPace(50.0, lambda: 0.0), asyncio.Event())
    assert naps == [2.0]


async def test_progress_hears_how_many_events_were_sent() -> None:
    async def chunks() -> AsyncIterator[list[InputLine]]:
        yield [InputLine(1, like(1)), InputLine(2, b"[" + like(2) + b"," + like(3) + b"]")]

    run, heard = Run(), list[int]()
    pace = EventPace(None, lambda: 0.0)
    await publish_lines(run.publisher, chunks(), pace, asyncio.Event(), tell=heard.append)
    assert heard == [1, 3]

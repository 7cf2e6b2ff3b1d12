"""What the control plane writes to the log, and what it may rely on there."""

from collections.abc import Awaitable
from typing import Any

import pytest
from kit.control import Office, Process, upload
from kit.events import hold, release

from streams.errors import Retry
from streams.runtime.ports import Outgoing


class Slow:
    """A producer that notes how many acknowledgements were awaited before each record."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes | None, int]] = []
        self.dated: list[int | None] = []
        self.acknowledged = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def send(self, record: Outgoing) -> Awaitable[None]:
        self.sent.append((record.key, self.acknowledged))
        self.dated.append(record.timestamp)
        return self._acknowledge()

    async def _acknowledge(self) -> None:
        self.acknowledged += 1


async def test_records_of_a_video_follow_one_another_and_videos_go_side_by_side() -> None:
    slow = Slow()
    process = Process(Office(), producer=slow)
    await process.log.say([[hold(), release()], [hold(video="v2")]])
    assert slow.sent == [(b"v1", 0), (b"v2", 0), (b"v1", 2)]


async def test_a_record_is_not_ahead_of_its_time_though_the_clock_is_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An hour back: whoever counts would refuse what is five minutes ahead."""
    slow, record = Slow(), hold()
    process = Process(Office(), producer=slow)
    for clock_ms in (record.ts + 1, record.ts - 3_600_000):
        monkeypatch.setattr("streams.control.log.now_ms", lambda now=clock_ms: now)
        await process.log.say([[record]])
    assert slow.dated == [None, record.ts]


async def test_rows_that_are_not_counted_far_enough_are_not_relied_on() -> None:
    office = Office(partitions=1)
    process = await Process(office).start()
    await process.take(upload())
    process.log.counted[0] = office.world.end()
    with pytest.raises(Retry, match="waiting for a worker"):
        await process.log.rows(["v1"])
    await office.count()
    rows: Any = await process.log.rows(["v1", "v2"])
    assert [rows[video].stage for video in ("v1", "v2")] == ["public", "unknown"]

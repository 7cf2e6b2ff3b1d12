"""What waits for a person, as rows: why, since when, and for how long."""

from typing import Any

from streams.runtime.ports import LogReader
from streams.runtime.waiting import read_waiting
from streams.settings import Settings


async def waiting_rows(reader: LogReader, settings: Settings, now_ms: int) -> list[dict[str, Any]]:
    """Return a row for each video and cause that wait, the longest first."""
    return [
        {
            "video": one.video,
            "cause": one.cause,
            "state": "waiting",
            "since": one.since,
            "waited_s": (now_ms - one.since) // 1000,
            "creator": one.creator or None,
            "title": one.title or None,
            "rule": one.rule or None,
            "why": one.why,
        }
        for one in await read_waiting(reader, settings)
    ]

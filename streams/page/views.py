"""What each view shows: the answers of the verbs, as JSON for the browser."""

import asyncio
import heapq
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple

from streams.core.events import Policy
from streams.core.partitioner import partition_of
from streams.core.receipts import Receipt
from streams.errors import Halt, StreamsError
from streams.ops.dead_letters import KeptLetter, LetterFilter, read_letters
from streams.ops.evidence import evidence
from streams.ops.explain import WORDS, explain
from streams.ops.flow import FlowMeter
from streams.ops.lag_history import MINUTE_MS
from streams.ops.lag_text import worst_first
from streams.ops.learned import Learned, read_learned
from streams.ops.lessons import lessons
from streams.ops.letters_shown import as_row, letter_stats
from streams.ops.slice import any_outlook, slice_rows, slice_shown
from streams.ops.status import (
    SECTIONS,
    StatusSources,
    flowing,
    halts_section,
    lag_section,
    skips_section,
    workers_section,
)
from streams.ops.video import counted_video, outlook_in_force
from streams.page.desk import Desk
from streams.page.following import Latest, Whole, follow
from streams.page.inquiries import Ask, Inquiry, all_known, asking
from streams.runtime.ending import beside

FLOW_MINUTES: Final = 30
LETTERS_SHOWN: Final = 50
LETTERS_MS: Final = 24 * 60 * MINUTE_MS
CANDIDATES: Final = 25
SLOW: Final[Mapping[str, float]] = {
    "guarantee": 60.0,
    "waiting": 30.0,
    "letters": 15.0,
    "shares": 30.0,
    "learned": 60.0,
}
"""Seconds between two readings of what reads much; the other sections are read every five."""

FIRST_S: Final = 3.0
"""So long the first answer waits for what is quickly read."""

View = Callable[[Desk, str], AbstractAsyncContextManager[Ask]]
"""Begins to show something, of a video or a slice; its background work ends with the block."""


class ViewKind(NamedTuple):
    """A view, the commands that show the same, and what it is of: `{of}` stands for it."""

    view: View
    commands: tuple[str, ...]
    of: str | None = None


@asynccontextmanager
async def _status(desk: Desk, _: str) -> AsyncIterator[Ask]:
    inquiries = {
        name: Inquiry(partial(read, desk.sources.status), SLOW.get(name, 5.0))
        for name, read in SECTIONS.items()
    }

    async def read() -> dict[str, Any]:
        unknown = {name: one.why for name, one in inquiries.items() if one.why is not None}
        shown = {name: one.value for name, one in inquiries.items() if one.why is None}
        return {**shown, **_lag_sections(desk, unknown), "unknown": unknown}

    async with asking(inquiries.values()):
        await all_known(inquiries.values(), FIRST_S)
        yield read


def _lag_sections(desk: Desk, unknown: dict[str, str]) -> dict[str, Any]:
    try:
        report = desk.report()
    except Halt as halt:
        unknown["lag"] = str(halt)
        return {}
    if report.gaps:
        unknown["lag"] = "; ".join(report.gaps)
    settings = desk.sources.status.settings
    return {"lag": lag_section(report), "workers": workers_section(report, settings)}


@asynccontextmanager
async def _lag(desk: Desk, _: str) -> AsyncIterator[Ask]:
    async def read() -> dict[str, Any]:
        report, collector = desk.report(), desk.sources.status.collector
        rows = [
            {**row.as_row(), "points": collector.points(row)}
            for row in sorted(report.rows, key=worst_first)
        ]
        return {"groups": lag_section(report), "rows": rows, "gaps": report.gaps}

    yield read


@asynccontextmanager
async def _halts(desk: Desk, _: str) -> AsyncIterator[Ask]:
    gaps: list[str] = []
    skips: Any = []
    try:
        skips = await skips_section(desk.sources.status)
    except StreamsError as error:
        gaps.append(f"what is skipped is not known: {error}")

    async def read() -> dict[str, Any]:
        halts = await halts_section(desk.sources.status)
        return {"halts": halts, "skips": skips, "gaps": [*desk.report().gaps, *gaps]}

    yield read


class _Flow:
    """The records of each of the latest whole minutes, asked for once a minute."""

    def __init__(self, sources: StatusSources) -> None:
        self._sources: Final = sources
        self._meter: FlowMeter | None = None
        self._minutes: tuple[int, dict[str, list[int]]] = (-1, {})

    async def minutes(self) -> dict[str, list[int]]:
        """Return the records by topic, the newest minute last."""
        now_ms = self._sources.now_ms()
        if self._minutes[0] != now_ms // MINUTE_MS:
            if self._meter is None:
                self._meter = FlowMeter(await flowing(self._sources), FLOW_MINUTES)
            async with self._sources.reading() as reader:
                counted = await self._meter.look(reader, now_ms)
            self._minutes = now_ms // MINUTE_MS, counted
        return self._minutes[1]


@asynccontextmanager
async def _flow(desk: Desk, _: str) -> AsyncIterator[Ask]:
    sources, latest, flow = desk.sources.status, Latest(), _Flow(desk.sources.status)
    since = sources.now_ms() - FLOW_MINUTES * MINUTE_MS

    async def read() -> dict[str, Any]:
        minutes = await flow.minutes()
        receipts = latest.newest_first()
        titles = await desk.titles({receipt.video for receipt in receipts})
        return {
            "minutes": minutes,
            "actions": latest.actions,
            "latest": [_decision(receipt, titles) for receipt in receipts],
        }

    async with beside(follow(sources, since, None, latest, asyncio.Event())):
        yield read


@asynccontextmanager
async def _video(desk: Desk, video: str) -> AsyncIterator[Ask]:
    whole = Whole()

    async def read() -> dict[str, Any]:
        status, receipts = desk.sources.status, whole.in_order()
        case = await desk.dossier(video)
        settings, store, name = status.settings, status.store, await status.namespace()
        partition = partition_of(video.encode(), settings.partitions)
        outlook = await outlook_in_force(store, name, partition, settings.partitions)
        counted: dict[str, Any] = {"open": [], "slices": {}}
        with suppress(Halt):  # nothing is counted yet
            counted = await counted_video(store, name, video, settings.partitions)
        return {
            "video": video,
            "title": case.upload.title if case and case.upload else None,
            "state": case.state if case else None,
            "counted": {k: v for k, v in counted.items() if k not in ("open", "slices")},
            "crowds": evidence(counted, receipts),
            "whole": reached.is_set(),
            "timeline": _timeline(receipts, [] if outlook is None else [outlook.policy]),
        }

    reached = asyncio.Event()
    async with beside(follow(desk.sources.status, "earliest", video, whole, reached)):
        with suppress(TimeoutError):
            async with asyncio.timeout(FIRST_S):
                await reached.wait()
        yield read


@asynccontextmanager
async def _slices(desk: Desk, _: str) -> AsyncIterator[Ask]:
    async def read() -> dict[str, Any]:
        status = desk.sources.status
        outlook = await any_outlook(status.store, await status.namespace(), status.settings)
        return {"policy": outlook.policy.version, "slices": slice_rows(outlook)}

    yield read


@asynccontextmanager
async def _slice(desk: Desk, slice_id: str) -> AsyncIterator[Ask]:
    status = desk.sources.status

    async def learn() -> Learned | None:
        async with status.reading() as reader:
            return await read_learned(reader, status.settings, slice_id)

    learned = Inquiry(learn, SLOW["learned"])

    async def read() -> dict[str, Any]:
        outlook = await any_outlook(status.store, await status.namespace(), status.settings)
        shown = await slice_shown(desk.sources.index, outlook, slice_id, CANDIDATES)
        titles = await desk.titles(one["video"] for one in shown["candidates"])
        for one in shown["candidates"]:
            one["title"] = titles.get(one["video"])
        return {**shown, "learned": learned.value.as_object() if learned.value else None}

    async with asking([learned]):
        await all_known([learned], FIRST_S)
        yield read


@asynccontextmanager
async def _letters(desk: Desk, _: str) -> AsyncIterator[Ask]:
    async def read() -> dict[str, Any]:
        status = desk.sources.status
        wanted = LetterFilter(start=status.now_ms() - LETTERS_MS)
        newest: list[tuple[int, str, dict[str, Any]]] = []

        async def noting(letters: AsyncIterator[KeptLetter]) -> AsyncIterator[KeptLetter]:
            async for kept in letters:
                heapq.heappush(newest, (kept.written.timestamp, str(kept.name), as_row(kept)))
                if len(newest) > LETTERS_SHOWN:
                    heapq.heappop(newest)
                yield kept

        async with (
            status.reading() as reader,
            aclosing(read_letters(reader, status.cluster, status.settings, wanted)) as letters,
        ):
            stats = await letter_stats(noting(letters))
        return {"stats": stats, "latest": [row for _, _, row in sorted(newest, reverse=True)]}

    yield read


VIEWS: Final[Mapping[str, ViewKind]] = {
    "status": ViewKind(_status, ("streams status",)),
    "lag": ViewKind(_lag, ("streams lag watch", "streams lag status")),
    "flow": ViewKind(_flow, ("streams decisions tail --from -30m",)),
    "slices": ViewKind(_slices, ("streams slice list",)),
    "letters": ViewKind(_letters, ("streams dlq stats --from -1d", "streams dlq list --from -1d")),
    "halts": ViewKind(_halts, ("streams status", "streams lag list")),
    "video": ViewKind(
        _video, ("streams video explain {of}", "streams video show {of}"), of="video"
    ),
    "slice": ViewKind(_slice, ("streams slice show {of}",), of="slice"),
}
"""Every view by the first part of its path."""


def _decision(receipt: Receipt, titles: Mapping[str, str]) -> dict[str, Any]:
    fields = ("id", "video", "slice", "action", "ts", "views", "mean", "score", "price", "tranche")
    return {
        **{name: getattr(receipt, name) for name in fields},
        "title": titles.get(receipt.video),
        "crowds": len(receipt.crowds),
        "why": WORDS[receipt.reason],
    }


def _timeline(receipts: list[Receipt], policies: list[Policy]) -> list[dict[str, Any]]:
    """Return the receipts in words, the newest first: a headline, and lines behind it."""
    told = []
    for receipt, lesson in zip(receipts, lessons(receipts, policies), strict=True):
        head, *lines = explain(receipt, lesson).splitlines()
        row = {"n": receipt.n, "ts": receipt.ts, "action": receipt.action}
        told.append({**row, "head": head, "lines": [line.strip() for line in lines]})
    return told[::-1]

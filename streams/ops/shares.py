"""The shares of the traffic as they are measured, beside what was promised and how it stands."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, get_args

import msgspec

from streams.core.shares import Bar, PromiseName, is_commercial
from streams.core.traffic import UNKNOWN, ClassSums, Tick
from streams.core.traffic_view import TrafficView
from streams.core.units import MICROS, surface_of
from streams.errors import Retry
from streams.ops.tail import locate, read_ticks_in
from streams.runtime.installation import read_installation, require_made
from streams.runtime.mixes import Mix, Promise, latest_mix, mix_records
from streams.runtime.ports import LogReader
from streams.settings import Settings

WINDOW: Final = 5
"""Minutes over which a share is judged."""
DAY: Final = 1_440
TOLERATED: Final = 10_000
"""A share may lie so far on the wrong side of what was promised (micro-units)."""
MINUTE_MS: Final = 60_000

Minutes = Mapping[tuple[str, str], int]
"""Impressions by surface and class."""


class ShareCounts:
    """Impressions by minute, surface and class, of so many partitions."""

    def __init__(self, partitions: int) -> None:
        self._view: Final = TrafficView(partitions, WINDOW)
        self._minutes: Final[defaultdict[int, Counter[tuple[str, str]]]] = defaultdict(Counter)
        self._steered: Final = Counter[int]()

    @property
    def now(self) -> int:
        """The minute by which most partitions go, 0 before any."""
        return self._view.now

    @property
    def unmeasured(self) -> tuple[int, ...]:
        """Partitions that told nothing in the latest minutes."""
        return self._view.window(WINDOW).unmeasured

    def take(self, tick: Tick) -> None:
        """Take a record of the topic; one that comes again counts once."""
        if not self._view.take(tick):
            return
        for each in tick.sums:
            self._minutes[tick.tick][surface_of(each.slice), each.kind] += each.impressions
            self._steered[tick.tick] += each.steered

    def within(self, minutes: int, before: int = 0) -> Minutes:
        """Return the impressions of the latest minutes, or of as many that ended `before`."""
        last = self.now - before
        total = Counter[tuple[str, str]]()
        for minute in range(last - minutes + 1, last + 1):
            total.update(self._minutes.get(minute, {}))
        return total

    def unsteered(self) -> int | None:
        """Return the share of the latest impressions that went by no mix, micro-units."""
        shown = sum(self.within(WINDOW).values())
        steered = sum(self._steered[self.now - ago] for ago in range(WINDOW))
        return (shown - steered) * MICROS // shown if shown else None


class SharesReport(NamedTuple):
    """What `streams shares` shows; shares are micro-units, `age_ms` is that of the mix."""

    minute: int  # since 1970, by which most partitions go
    mix: Mix | None
    age_ms: int | None
    why: str  # there is no mix
    unsteered: int | None
    unmeasured: Sequence[int]
    promises: Sequence[Mapping[str, Any]]
    classes: Sequence[Mapping[str, Any]]

    @property
    def missed(self) -> list[str]:
        """What is promised and was not held in the latest minutes, by more than a point."""
        return [row["promise"] for row in self.promises if row["held"] is False]


async def read_shares(
    reader: LogReader, settings: Settings, since_ms: int, now_ms: int
) -> SharesReport:
    """Return the shares of the traffic that was written since, and the mix in force.

    Partitions that do not answer are unmeasured, `Retry` if none does; without a mix it says why
    there is none.
    """
    mix, why = None, ""
    try:
        installation = require_made(await read_installation(reader, settings), settings)
        records, _ = await mix_records(reader, settings)
        mix = latest_mix(records, installation.trust(whole=False))
        why = "" if mix else "no leader wrote one"
    except Retry as error:
        why = str(error)
    counts = ShareCounts(settings.partitions)
    topic = settings.topic("traffic")
    answering = sorted(await reader.offsets(topic, range(settings.partitions)))
    if not answering:
        raise Retry(f"{topic} does not answer")
    span = await locate(reader, topic, answering, since_ms)
    async for tick in read_ticks_in(reader, span):
        counts.take(tick)
    age_ms = None if mix is None else max(now_ms - mix.ts, 0)
    return SharesReport(
        counts.now,
        mix,
        age_ms,
        why,
        counts.unsteered(),
        counts.unmeasured,
        promise_rows(counts, mix),
        class_rows(counts),
    )


def as_fields(report: SharesReport) -> dict[str, Any]:
    """Return a report for JSON; shares, tilts and values are micro-units."""
    fields = report._asdict()
    fields["mix"] = None if report.mix is None else msgspec.to_builtins(report.mix)
    return fields


def promise_rows(counts: ShareCounts, mix: Mix | None) -> list[dict[str, Any]]:
    """Return one row a promise: its share now and over time, and how it stands by the mix."""
    known = {} if mix is None else {each.name: each for each in mix.promises}
    spans = (counts.within(1), counts.within(WINDOW), counts.within(DAY))
    before = counts.within(WINDOW, before=WINDOW)
    return [
        _row(name, known.get(name), spans, before, mix.worth if mix else 0)
        for name in get_args(PromiseName)
    ]


def class_rows(counts: ShareCounts) -> list[dict[str, Any]]:
    """Return one row for each surface, band and commercial: impressions, and their share."""
    minute, window, day = (counts.within(each) for each in (1, WINDOW, DAY))
    whole = sum(window.values())
    return [
        {
            "surface": surface,
            "band": None if kind == UNKNOWN else int(kind[0]),
            "commercial": is_commercial(kind),
            "minute": minute.get((surface, kind), 0),
            "window": window.get((surface, kind), 0),
            "day": count,
            "share": window.get((surface, kind), 0) * MICROS // whole if whole else None,
        }
        for (surface, kind), count in sorted(day.items())
        if count
    ]


def _row(
    name: PromiseName,
    promise: Promise | None,
    spans: Iterable[Minutes],
    before: Minutes,
    worth: int,
) -> dict[str, Any]:
    bar = Bar(name, promise.bound if promise else 0)
    minute, window, day, earlier = (_share(bar, each) for each in (*spans, before))
    held = None
    if promise is not None and window is not None:
        wrong = window - bar.bound if bar.ceiling else bar.bound - window
        held = wrong <= TOLERATED
    return {
        "promise": name,
        "bound": promise.bound if promise else None,
        "minute": minute,
        "window": window,
        "day": day,
        "trend": None if window is None or earlier is None else window - earlier,
        "held": held,
        "owed": promise.owed if promise else None,
        "tilt": promise.tilt if promise else None,
        "slow": promise.slow if promise else None,
        "short": promise.short if promise else "",
        "cost": promise.cost * MICROS // worth if promise and worth else None,
    }


def _share(bar: Bar, counts: Minutes) -> int | None:
    sums = {
        (f"{surface}:", kind): ClassSums(f"{surface}:", kind, impressions=count)
        for (surface, kind), count in counts.items()
    }
    return bar.share(sums)

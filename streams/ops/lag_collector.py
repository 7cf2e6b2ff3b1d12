"""A collector of lag, apart from the workers: looks again and again, and judges what it saw."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from streams.errors import StreamsError
from streams.ops.groups import LagQuery, Survey, survey_groups
from streams.ops.lag import Lag, measure_lag, with_halts, with_retention
from streams.ops.lag_history import History, Point
from streams.ops.lag_status import (
    WINDOW,
    Status,
    catchup_seconds,
    change_per_second,
    evaluate,
    worst,
)
from streams.runtime.ports import Cluster, HaltNote, Place, Store
from streams.runtime.probing import LogProbe


@dataclass(frozen=True)
class LagSources:
    """What a collector asks; the store is of the workers of `group`, that read `topic`."""

    cluster: Cluster
    probe: LogProbe
    store: Store
    group: str
    topic: str


class LagReport(NamedTuple):
    """One look, judged; `silent` are groups that did not answer and why.

    `blind` tells why halts are not known, None if they are.
    """

    rows: Sequence[Lag]
    survey: Survey
    blind: str | None

    @property
    def silent(self) -> Mapping[str, str]:
        """Groups that did not answer, and why."""
        return self.survey.silent

    @property
    def leaderless(self) -> list[str]:
        """Partitions that no leader answers for."""
        return sorted({row.named for row in self.rows if row.end is None})

    @property
    def gaps(self) -> list[str]:
        """One line for each thing that is not known."""
        lines = [f"no leader answers for {', '.join(self.leaderless)}"] if self.leaderless else []
        lines += [f"group {group} does not answer: {why}" for group, why in self.silent.items()]
        return lines if self.blind is None else [*lines, f"halts are not known: {self.blind}"]

    @property
    def settled(self) -> bool:
        """Whether further looks would not tell more: nothing lags, but for what is halted."""
        return all(row.lag in (0, None) or row.status == "HALTED" for row in self.rows)


class GroupLag(NamedTuple):
    """One group over all of its partitions; `slowest` is the one that is most behind."""

    group: str
    status: Status
    members: int | None
    hosts: str
    partitions: int
    lag: int
    max_lag: int | None
    max_lag_seconds: float | None
    slowest: str | None
    reason: str | None

    def as_row(self) -> dict[str, Any]:  # what goes to JSON
        """Return the stable fields of the output."""
        return self._asdict()


class LagCollector:
    """Keeps the history of a day in memory, one for each group and partition."""

    def __init__(self, sources: LagSources, query: LagQuery) -> None:
        self._sources: Final = sources
        self._query: Final = query
        self._histories: dict[tuple[str, Place], History] = {}

    async def look(self, now_ms: int) -> LagReport:
        """Measure once and judge each row by the looks before; raises what the whole lacks."""
        sources = self._sources
        survey = await survey_groups(sources.cluster, self._query)
        rows = await measure_lag(sources.probe, survey.groups, now_ms)
        rows = await with_retention(sources.cluster, rows)
        halts, blind = await self._halts(rows)
        rows = with_halts(rows, sources.group, halts)
        self._forget_beyond(survey)
        return LagReport([self._judged(row, now_ms) for row in rows], survey, blind)

    def points(self, row: Lag) -> list[Point]:
        """Return the history of a row's group and partition, oldest first."""
        return self._history(row).points()

    def _forget_beyond(self, survey: Survey) -> None:
        """Drop the history of what is gone; a silent group keeps its own."""
        known = {(group, place) for group, one in survey.groups.items() for place in one.positions}
        self._histories = {
            key: history
            for key, history in self._histories.items()
            if key in known or key[0] in survey.silent
        }

    def _history(self, row: Lag) -> History:
        return self._histories.setdefault((row.group, row.place), History())

    async def _halts(self, rows: Sequence[Lag]) -> tuple[Mapping[Place, HaltNote], str | None]:
        """Ask the workers' store; without it lag is known all the same."""
        topic, group = self._sources.topic, self._sources.group
        own = [row.partition for row in rows if (row.topic, row.group) == (topic, group)]
        if not own:
            return {}, None
        try:
            notes = await self._sources.store.halts(own)
        except StreamsError as error:
            return {}, str(error)
        return {(topic, partition): note for partition, note in notes.items()}, None

    def _judged(self, row: Lag, now_ms: int) -> Lag:
        """Return a row with what the window tells; a look without a leader is not part of it."""
        history = self._history(row)
        if (sample := row.sample(now_ms)) is None or row.lag is None:
            return row
        history.add(sample)
        window = list(history.window)
        change = change_per_second(window)
        return row._replace(
            status=evaluate(window, halted=row.status == "HALTED"),
            change_per_second=change,
            catchup_seconds=catchup_seconds(row.lag, change),
        )


async def look_for_a_window(
    collector: LagCollector, interval_s: float, now_ms: Callable[[], int]
) -> LagReport:
    """Look until a whole window is judged, or until more looks would tell no more."""
    report = await collector.look(now_ms())
    for _ in range(WINDOW - 1):
        if report.settled:
            break
        await asyncio.sleep(interval_s)
        report = await collector.look(now_ms())
    return report


def by_group(report: LagReport) -> list[GroupLag]:
    """Return one row for each group, those that did not answer too."""
    rows: dict[str, list[Lag]] = {group: [] for group in report.survey.groups}
    for row in report.rows:
        rows[row.group].append(row)
    answered = [_group_lag(report.survey, group, its) for group, its in rows.items()]
    silent = [
        GroupLag(group, "UNKNOWN", None, "", 0, 0, None, None, None, why)
        for group, why in report.silent.items()
    ]
    return sorted(answered + silent, key=lambda one: one.group)


def _group_lag(survey: Survey, group: str, rows: Sequence[Lag]) -> GroupLag:
    members = survey.groups[group].members
    status = worst([row.status for row in rows])
    behind = [row for row in rows if row.lag]
    ages = [row.lag_seconds for row in behind]
    slowest = max(behind, key=lambda row: row.lag_seconds or 0, default=None)
    return GroupLag(
        group,
        status,
        len(members),
        ", ".join(sorted({member.host for member in members})),
        len(rows),
        sum(row.lag or 0 for row in rows),
        max((row.lag or 0 for row in rows), default=0),
        None if None in ages else max((age for age in ages if age is not None), default=0.0),
        slowest and slowest.named,
        next((f"{row.named} {row.reason}" for row in rows if row.reason), None),
    )


def beyond(groups: Sequence[GroupLag], max_seconds: float) -> list[str]:
    """Return the groups that are further behind than this, or of which that is not known."""
    return [
        one.group
        for one in groups
        if one.max_lag_seconds is None or one.max_lag_seconds > max_seconds
    ]

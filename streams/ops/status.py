"""The one screen: how everything stands now, a section for each question.

What does not answer costs its own section: the others are told, and that one says why it is not
known.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Any, Final

from streams.errors import StreamsError
from streams.ops.dead_letters import LetterFilter, read_letters
from streams.ops.flow import FlowMeter
from streams.ops.groups import member_rows
from streams.ops.guarantee import report_guarantee
from streams.ops.lag_collector import LagCollector, LagReport, by_group, look_for_a_window
from streams.ops.lag_history import MINUTE_MS
from streams.ops.lag_status import BAD, WINDOW
from streams.ops.letters_shown import letter_stats
from streams.ops.shares import as_fields, read_shares
from streams.ops.skip import skip_rows
from streams.ops.video import outlook_in_force
from streams.ops.waiting import waiting_rows
from streams.runtime.ports import Cluster, HaltNote, LogReader, Store
from streams.settings import TOPICS, Settings

LETTERS_MINUTES: Final = 10
"""Dead letters a minute are the mean of so many."""
SHARES_MS: Final = 15 * MINUTE_MS
"""Of the traffic the latest minutes are read."""
LOOK_S: Final = 1.0
"""Between two looks at the lag, ten of them where there is any: some members commit seldom."""

Section = Any
"""What goes to JSON: rows or an object."""


@dataclass(frozen=True)
class StatusSources:
    """What is asked; `now_ms` tells the time.

    Each reader that `reading` gives has positions of its own. `namespace` names the counters.
    """

    settings: Settings
    cluster: Cluster
    store: Store
    collector: LagCollector
    reading: Callable[[], AbstractAsyncContextManager[LogReader]]
    namespace: Callable[[], Awaitable[str]]
    now_ms: Callable[[], int]


async def read_status(sources: StatusSources, patience_s: float) -> dict[str, Section]:
    """Return every section, in the order of the screen; `unknown` tells why some are missing."""
    unknown: dict[str, str] = {}

    async def lag() -> dict[str, Section]:
        report = await look_for_a_window(sources.collector, LOOK_S, sources.now_ms)
        unknown.update({"lag": "; ".join(report.gaps)} if report.gaps else {})
        return {"lag": lag_section(report), "workers": workers_section(report, sources.settings)}

    async def section(name: str, read: Awaitable[Section]) -> dict[str, Section]:
        looking_s = WINDOW * LOOK_S if name == "lag" else 0
        try:
            async with asyncio.timeout(patience_s + looking_s):
                return {name: await read}
        except TimeoutError:
            unknown[name] = f"not read within {patience_s:g} s"
        except StreamsError as error:
            unknown[name] = str(error)
        return {}

    reads: dict[str, Awaitable[Section]] = {
        "lag": lag(),
        **{name: read(sources) for name, read in SECTIONS.items()},
    }
    parts = await asyncio.gather(*(section(name, read) for name, read in reads.items()))
    known = {name: value for part in parts for name, value in part.items()}
    return {"at": sources.now_ms(), **known.pop("lag", {}), **known, "unknown": unknown}


def is_well(status: Mapping[str, Section]) -> bool:
    """Tell whether all is known, nothing is halted and everybody moves on."""
    standing = [row for row in status.get("lag", []) if row["status"] in BAD]
    return not (standing or status.get("halts") or status["unknown"])


def lag_section(report: LagReport) -> Section:
    """Return one row a group."""
    return [row.as_row() for row in by_group(report)]


def workers_section(report: LagReport, settings: Settings) -> Section:
    """Return the members of the workers' groups, and what they have of each topic."""
    return [
        {"group": group, **row}
        for group in (settings.group, settings.control_group)
        if (places := report.survey.groups.get(group)) is not None
        for row in member_rows(places)
        if row["member"] is not None
    ]


async def halts_section(sources: StatusSources) -> Section:
    """Return the halted partitions of the log, since when, and what to do."""
    notes = await sources.store.halts(range(sources.settings.partitions))
    return [_halt_row(partition, note) for partition, note in sorted(notes.items())]


async def skips_section(sources: StatusSources) -> Section:
    """Return what of the log is skipped because nobody can read it, who decided that, and why."""
    async with sources.reading() as reader:
        return await skip_rows(sources.cluster, reader, sources.settings)


async def flow_section(sources: StatusSources) -> Section:
    """Return the records of the last whole minute by topic."""
    async with sources.reading() as reader:
        meter = FlowMeter(await flowing(sources), 1)
        minutes = await meter.look(reader, sources.now_ms())
    return {topic: last for topic, (last,) in minutes.items()}


async def flowing(sources: StatusSources) -> dict[str, int]:
    """Return the topics of the pipeline that there are, with their partitions."""
    topics = await sources.cluster.describe()
    wanted = map(sources.settings.topic, TOPICS)
    return {topic: topics[topic] for topic in wanted if topic in topics}


async def letters_section(sources: StatusSources) -> Section:
    """Return how many events a minute became dead letters of late, by reason."""
    since = sources.now_ms() - LETTERS_MINUTES * MINUTE_MS
    wanted = LetterFilter(start=since, settled=True)
    async with (
        sources.reading() as reader,
        aclosing(read_letters(reader, sources.cluster, sources.settings, wanted)) as letters,
    ):
        stats = await letter_stats(letters)
    reasons = Counter[str]()
    for row in stats:
        reasons[row["reason"]] += row["refusals"]
    return {
        "minutes": LETTERS_MINUTES,
        "a_minute": reasons.total() / LETTERS_MINUTES,
        "reasons": dict(reasons.most_common()),
    }


async def policy_section(sources: StatusSources) -> Section:
    """Return the policies in force, each with its number and in how many partitions it is."""
    store, count = sources.store, sources.settings.partitions
    name = await sources.namespace()
    kept: dict[str, dict[str, Any]] = {}
    for partition in range(count):
        outlook = await outlook_in_force(store, name, partition, count)
        policy = None if outlook is None else outlook.policy
        version = "none" if policy is None else policy.version
        number = None if policy is None else policy.seq
        row = {"version": version, "number": number, "partitions": 0, "of": count}
        kept.setdefault(version, row)["partitions"] += 1
    return sorted(kept.values(), key=lambda row: -row["partitions"])


async def guarantee_section(sources: StatusSources) -> Section:
    """Return how many videos were given their first audience, are being, or missed it, and why."""
    settings, name = sources.settings, await sources.namespace()
    report = await report_guarantee(sources.store, name, settings.partitions, sources.now_ms())
    counts = {"kept": report.kept, "running": report.running, "missed": len(report.misses)}
    return {**counts, "causes": dict(report.missed)}


async def shares_section(sources: StatusSources) -> Section:
    """Return how each promise about shares stands, and the mix that feeds go by."""
    now_ms = sources.now_ms()
    async with sources.reading() as reader:
        report = await read_shares(reader, sources.settings, now_ms - SHARES_MS, now_ms)
    fields = as_fields(report)
    return {name: fields[name] for name in ("promises", "age_ms", "why", "unsteered", "unmeasured")}


async def waiting_section(sources: StatusSources) -> Section:
    """Return how many videos wait for a person, why, and the one that waits longest."""
    async with sources.reading() as reader:
        rows = await waiting_rows(reader, sources.settings, sources.now_ms())
    causes = Counter(row["cause"] for row in rows)
    videos = len({row["video"] for row in rows})
    return {"videos": videos, "causes": dict(causes), "longest": rows[0] if rows else None}


SECTIONS: Final[Mapping[str, Callable[[StatusSources], Awaitable[Section]]]] = {
    "halts": halts_section,
    "skips": skips_section,
    "flow": flow_section,
    "letters": letters_section,
    "policy": policy_section,
    "guarantee": guarantee_section,
    "shares": shares_section,
    "waiting": waiting_section,
}
"""Every section but those of the lag, by the name of its field."""


def _halt_row(partition: int, note: HaltNote) -> dict[str, Any]:
    return {"partition": partition, "code": note.code, "since": note.at_ms, "what": note.text}

"""What is counted of one video, and what it is worth in each crowd that is open to it."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from streams.core.counters import (
    COUNTERS,
    DISTRIBUTION,
    SLICE_STAGES,
    STOP_CAUSES,
    VIDEO_FIELDS,
    Reported,
    Slice,
    VideoState,
    load_video,
)
from streams.core.exploration import tried
from streams.core.fading import HALF_LIFE_TICKS, views_left
from streams.core.first_rows import are_first
from streams.core.outlook import Outlook
from streams.core.partitioner import partition_of
from streams.core.posterior import solve, sum_factors
from streams.core.rule import allowance_of, estimate_in
from streams.core.serving import owed
from streams.core.state import PartitionState
from streams.core.ticks import TICK_MS
from streams.core.units import NEVER
from streams.errors import Halt
from streams.ops.dead_letters import printable
from streams.ops.explain import decimal, moment
from streams.runtime.ports import Store

_KEPT: Final = (*COUNTERS, *DISTRIBUTION)
ROW_FIELDS = (*_KEPT, "views_left")
"""What is shown of a slice's row; the views left are those that still weigh."""
_REPORTED: Final = ("sum", "reporters", "impressions", "since", "looked", "verdicts")
SLICES_ACROSS: Final = 5
"""Columns of one table."""
_MICROS: Final = frozenset(("ratio_sum", "ratio_sq", "score", "price", "net", "mean", "sd"))


class OpenCrowd(NamedTuple):
    """A slice that is open to a video; values are micro-units a view, the others impressions."""

    slice: str
    status: str
    stored: bool  # somebody was shown it there
    score: int  # the posterior's index, by which feeds rank; on public surfaces less its handicap
    price: int  # of the video's class there
    net: int  # score over price
    mean: int
    sd: int
    allowance: int  # granted so far
    impressions: int
    left: int  # of the allowance
    owed: int  # of the guarantee, or of what chance drew


async def outlook_in_force(
    store: Store, namespace: str, partition: int, partitions: int
) -> Outlook | None:
    """Return the policy in force in a partition, as stored; None before any."""
    stored = await store.meta(partition, namespace)
    if stored is None:
        return None
    return PartitionState(partition, partitions, 1, stored.meta).outlook


async def counted_video(
    store: Store, namespace: str, video: str, partitions: int
) -> dict[str, Any]:
    """Return a video's counters in each slice and its open crowds; `Halt` without any."""
    partition = partition_of(video.encode(), partitions)
    outlook = await outlook_in_force(store, namespace, partition, partitions)
    fields = (await store.load(partition, [video])).videos[video]
    if not fields:
        raise Halt(
            f"nothing is counted for video {video} in partition {partition} of "
            f"{partitions}: nobody has seen it, or no worker runs (`streams lag list`)"
        )
    if are_first(fields.values()):
        raise Halt(
            f"partition {partition} still holds rows of 0.1.0: they turn when a worker has folded "
            "its upgrade record (`streams counters migrate` writes it)"
        )
    state = load_video(video, fields)
    opened = [] if outlook is None else open_crowds(outlook, state)
    return {
        "video": video,
        "partition": partition,
        "policy": None if outlook is None else outlook.policy.version,
        **{field: getattr(state.row, field) for field in VIDEO_FIELDS},
        "reported": _reported(state.row.reported),
        "open": [crowd._asdict() for crowd in opened],
        "slices": {name: _as_object(row) for name, row in sorted(state.slices.items())},
    }


def open_crowds(outlook: Outlook, state: VideoState) -> list[OpenCrowd]:
    """Return the slices that are open to a video, stored or not, by score."""
    policy, row = outlook.policy, state.row
    tastes = solve(sum_factors(policy, state))
    due = owed(outlook, state) | dict(tried(state))
    opened = []
    for slice_id in _open_slices(outlook, state):
        counted = state.slices.get(slice_id)
        shown = counted or Slice()
        estimate = estimate_in(policy, state, slice_id, tastes)
        price = outlook.price(slice_id, row)
        allowance = allowance_of(policy, state, slice_id)
        opened.append(
            OpenCrowd(
                slice_id,
                SLICE_STAGES[shown.status],
                counted is not None,
                estimate.score,
                price,
                estimate.score - price,
                estimate.mean,
                estimate.sd,
                allowance,
                shown.impressions,
                max(allowance - shown.impressions, 0),
                due.get(slice_id, 0),
            )
        )
    return sorted(opened, key=lambda crowd: (-crowd.score, crowd.slice))


def in_short(counted: Mapping[str, Any]) -> dict[str, Any]:
    """Return a video's own fields for people: values as decimals, without its slices."""
    fits = sorted(counted["fits"].items())
    words = ", ".join(f"{name} {decimal(fit)}" for name, fit in fits if fit)
    drawn = ", ".join(
        f"{name} up to {trial.upto:,} impressions, {decimal(trial.hoped)} expected"
        for name, trial in sorted(counted.get("trials", {}).items())
    )
    tables = ("slices", "open", "verdict", "trials")
    reported = counted.get("reported") or {}
    sums = ", ".join(f"{name} {value:,}" for name, value in reported.items())
    short = {name: value for name, value in counted.items() if name not in tables}
    handicap, since_ms = short.pop("handicap", 0), short.pop("handicapped", 0)
    if handicap:
        short["handicap"] = f"{decimal(handicap)} since {moment(since_ms)}"
    halved_ms = short.pop("halved", 0) * HALF_LIFE_TICKS * TICK_MS
    if halved_ms:
        short["faded_to"] = moment(halved_ms)
    for name in ("admitted", "promised"):
        if name in short:
            short[name] = moment(short[name]) if short[name] else None
    verdict = counted.get("verdict")
    return short | {
        "fits": words or None,
        "trials": drawn or None,
        "reported": sums or None,
        "verdict": _in_words(verdict) if verdict else None,
    }


def _in_words(verdict: Mapping[str, str]) -> str:
    note = printable(verdict["note"].encode())
    return f"{verdict['verdict']} by {verdict['by']}" + (f": {note}" if note else "")


def open_table(opened: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield open crowds for people, values as decimals."""
    for row in opened:
        yield {name: _cell(name, value) for name, value in row.items()}


def slice_tables(
    slices: Mapping[str, Mapping[str, Any]],
) -> Iterator[tuple[list[str], list[list[object]]]]:
    """Yield heads and rows for people, a column a slice, no more of them than fit a terminal."""
    names = list(slices)
    for first in range(0, len(names), SLICES_ACROSS):
        some = names[first : first + SLICES_ACROSS]
        yield (
            ["slice", *some],
            [
                [field.replace("_", " "), *(_cell(field, slices[name][field]) for name in some)]
                for field in ROW_FIELDS
            ],
        )


def _cell(field: str, value: int | str | None) -> int | str:
    if isinstance(value, int) and not isinstance(value, bool):
        return decimal(value) if field in _MICROS else f"{value:,}"
    return "-" if value is None else value


def _open_slices(outlook: Outlook, state: VideoState) -> Iterable[str]:
    """Return what feeds may show: what the policy opens, and has not been held or stopped."""
    rows, shown = state.slices, {"idle", "active"}
    for prospect in outlook.prospects(state.row):
        row = rows.get(prospect.slice)
        if row is None or SLICE_STAGES[row.status] in shown:
            yield prospect.slice


def _reported(reported: Reported | None) -> dict[str, int | None] | None:
    """Return how reports add up (`sum` in micro-reports), by about how many viewers."""
    if reported is None:
        return None
    numbers: dict[str, int] = {name: getattr(reported, name) for name in _REPORTED}
    return {**numbers, "reporters": reported.reporters.bit_count()}


def _as_object(row: Slice) -> dict[str, int | str | None]:
    known = {field: _plain(field, getattr(row, field)) for field in _KEPT}
    return known | {"views_left": views_left(row)}


def _plain(field: str, value: int) -> int | str | None:
    if field == "status":
        return SLICE_STAGES[value]
    if field == "cause":
        return STOP_CAUSES[value] or None
    return None if value == NEVER else value

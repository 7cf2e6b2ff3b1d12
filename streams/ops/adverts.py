"""Adverts: what they are worth to their viewers beside what they bring in, and what they displace.

From the rows as they are stored: spend is what impressions said that was paid for them (`amount`),
amounts are those of orders. All of it since an advert was admitted.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import StatisticsError, correlation
from typing import Any, Final, NamedTuple

from streams.core.adverts import FORMULA, AdvertWorth, advert_worth
from streams.core.counters import STOPPED, Slice, VideoState, read_video
from streams.core.events import Policy
from streams.core.units import MICROS, surface_of
from streams.ops.guarantee import shown_publicly
from streams.ops.video import outlook_in_force
from streams.runtime.ports import Store

LEAST_ADVERTS: Final = 3
"""Of fewer adverts no ranks are compared."""


class AdvertRow(NamedTuple):
    """One advert; values and ratios are micro-units, money is in the currency's smallest unit.

    `worth` is u, the mean over its impressions, `usual` that of the organic traffic beside them,
    `factor` q. None where nobody was shown it, or nothing was spent.
    """

    video: str
    creator: str
    stage: str
    stopped: int  # public slices
    impressions: int
    public: int  # of those
    worth: int | None
    usual: int | None
    factor: int | None
    orders: int
    amount: int
    spend: int
    roi: int | None


class AdvertReport(NamedTuple):
    """All adverts together, and each of them, the most shown first.

    `share` of the public impressions were theirs: as many of organic videos were not shown, and
    `forgone` is the value that viewers would have had of those, less what they had of the adverts.
    `correlation` is that of the ranks of `worth` and `roi`, over `measured` adverts.
    """

    formula: int
    adverts: int
    impressions: int
    displaced: int
    share: int | None
    forgone: int
    orders: int
    amount: int
    spend: int
    roi: int | None
    measured: int
    correlation: int | None
    rows: Sequence[AdvertRow]


async def report_adverts(store: Store, namespace: str, partitions: int) -> AdvertReport:
    """Look at every stored video; the policy in force of each partition says what is usual."""
    rows: list[AdvertRow] = []
    public = forgone = 0
    for partition in range(partitions):
        outlook = await outlook_in_force(store, namespace, partition, partitions)
        if outlook is None:
            continue
        for video, fields in (await store.scan(partition)).items():
            state = read_video(fields)
            public += shown_publicly(state)
            if state.row.commercial:
                worth = _worth_where_shown(outlook.policy, state)
                forgone += _forgone(state, worth)
                rows.append(_row(video, state, worth))
    rows.sort(key=lambda row: (-row.impressions, row.video))
    return _report(rows, public, forgone)


def as_fields(report: AdvertReport, limit: int) -> dict[str, Any]:
    """Return a report for JSON, with so many adverts."""
    rows = [row._asdict() for row in report.rows[:limit]]
    return {**report._asdict(), "rows": rows}


def rank_correlation(pairs: Sequence[tuple[int, int]]) -> int | None:
    """Return how well the ranks of two numbers agree (Spearman), micro-units; None of too few.

    >>> rank_correlation([(1, 10), (2, 20), (3, 15), (4, 90)])
    800000
    """
    if len(pairs) < LEAST_ADVERTS:
        return None
    one, other = (_ranks(numbers) for numbers in zip(*pairs, strict=True))
    try:
        return round(correlation(one, other) * MICROS)
    except StatisticsError:  # all are equal
        return None


def _ranks(numbers: Iterable[int]) -> list[float]:
    """Return the rank of each number; equal ones share theirs."""
    listed = list(numbers)
    ranks: dict[int, float] = {}
    ahead = 0
    for number, count in sorted(Counter(listed).items()):
        ranks[number] = ahead + (count + 1) / 2
        ahead += count
    return [ranks[number] for number in listed]


def _report(rows: Sequence[AdvertRow], public: int, forgone: int) -> AdvertReport:
    pairs = [(r.worth, r.roi) for r in rows if r.worth is not None and r.roi is not None]
    displaced = sum(row.public for row in rows)
    amount, spend = sum(row.amount for row in rows), sum(row.spend for row in rows)
    return AdvertReport(
        formula=FORMULA,
        adverts=len(rows),
        impressions=sum(row.impressions for row in rows),
        displaced=displaced,
        share=displaced * MICROS // public if public else None,
        forgone=forgone,
        orders=sum(row.orders for row in rows),
        amount=amount,
        spend=spend,
        roi=_ratio(amount, spend),
        measured=len(pairs),
        correlation=rank_correlation(pairs),
        rows=rows,
    )


def _row(video: str, state: VideoState, worth: Mapping[str, AdvertWorth]) -> AdvertRow:
    slices, own = state.slices.values(), state.row
    amount, spend = sum(row.order_amount for row in slices), sum(row.spend for row in slices)
    weights = {name: state.slices[name].impressions for name in worth}
    return AdvertRow(
        video,
        own.creator,
        own.stage,
        sum(row.status == STOPPED for row in _public_rows(state)),
        sum(row.impressions for row in slices),
        shown_publicly(state),
        _mean(weights, worth, "mean"),
        _mean(weights, worth, "usual"),
        _mean(weights, worth, "factor"),
        sum(row.orders for row in slices),
        amount,
        spend,
        _ratio(amount, spend),
    )


def _worth_where_shown(policy: Policy, state: VideoState) -> Mapping[str, AdvertWorth]:
    shown = [name for name, row in state.slices.items() if row.impressions]
    return advert_worth(policy, state, [name for name in shown if name in policy.slices])


def _forgone(state: VideoState, worth: Mapping[str, AdvertWorth]) -> int:
    return sum(
        state.slices[name].impressions * (each.usual - each.mean)
        for name, each in worth.items()
        if surface_of(name) != "following"
    )


def _public_rows(state: VideoState) -> list[Slice]:
    return [row for name, row in state.slices.items() if surface_of(name) != "following"]


def _mean(weights: Mapping[str, int], worth: Mapping[str, AdvertWorth], field: str) -> int | None:
    """Return the mean of a number of the slices that an advert was shown in."""
    whole = sum(weights.values())
    total = sum(weights[name] * int(getattr(each, field)) for name, each in worth.items())
    return total // whole if whole else None


def _ratio(amount: int, spend: int) -> int | None:
    return amount * MICROS // spend if spend else None

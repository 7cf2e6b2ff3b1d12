"""A receipt in words, with every number it holds."""

from datetime import UTC, datetime, timedelta
from typing import Final

from streams.core.receipts import Reason, Receipt
from streams.core.units import MICROS

WORDS: Final[dict[Reason, str]] = {
    "first_crowd": "one of the first crowds that its admission names",
    "next_after_stop": "the next crowd, after one that did not like it",
    "next_after_top": "the next crowd, after one where it reached the top stage",
    "next_after_reach": "the next crowd, after one that has seen it all",
    "audience_widened": "the public again, after it was for followers only",
    "released": "moderation ended its hold, it goes on where it was",
    "mean_beats_price": "the crowd's own feedback makes it worth its place",
    "allowance_nearly_used": "worth going on, not yet sure enough to widen",
    "index_below_price": "not worth another impression here, even for what it would teach",
    "reach_used": "everyone in reach has seen it",
    "budget_spent": "its impressions for the public are spent",
    "slice_gone": "the policy in force no longer has this slice",
    "limited": "moderation limits it to followers from now on",
    "held": "moderation paused it",
    "takedown": "moderation took it down",
}


def explain(receipt: Receipt) -> str:
    """Return the decision as a headline and three lines; every number of it appears, exactly.

    >>> print(explain(Receipt(id="v1.3", n=3, video="v1", slice="discover:football",
    ...     action="stop", reason="index_below_price", cause="e-77", ts=1714557600250, policy="p4",
    ...     stage=1, tranche=0, allowance=500, impressions=150, views=120, value_sum=33_720_000,
    ...     value_sq=12_100_000, prior_mean=380_000, prior_variance=20_000, noise_variance=100_000,
    ...     mean=281_000, sd=12_000, index=301_000, price=340_000, z=-4_916_666,
    ...     reach_left=2_399_850)))
    #3 stop discover:football: not worth another impression here, even for what it would teach.
       After 120 views (150 impressions, value 33.72, squares 12.1) its mean is 0.281 ± 0.012; \
prior 0.38, variance 0.02, noise 0.1.
       Its index 0.301 < the price 0.34; its mean lies 4.916666 deviations below the price.
       Stage 1: 0 impressions granted now, 500 so far, 2,399,850 within reach. \
[v1.3 by e-77 at 2024-05-01T10:00:00.250Z, policy p4]
    """
    lines = (_headline(receipt), _belief(receipt), _comparison(receipt), _grant(receipt))
    return "\n   ".join(lines)


def _headline(r: Receipt) -> str:
    return f"#{r.n:,} {r.action} {r.slice}: {WORDS[r.reason]}."


def _belief(r: Receipt) -> str:
    return (
        f"After {_count(r.views, 'view')} ({_count(r.impressions, 'impression')}, value "
        f"{decimal(r.value_sum)}, squares {decimal(r.value_sq)}) its mean is {decimal(r.mean)} ± "
        f"{decimal(r.sd)}; prior {decimal(r.prior_mean)}, variance {decimal(r.prior_variance)}, "
        f"noise {decimal(r.noise_variance)}."
    )


def _comparison(r: Receipt) -> str:
    relation = "<" if r.index < r.price else "=" if r.index == r.price else ">"
    return (
        f"Its index {decimal(r.index)} {relation} the price {decimal(r.price)}; its mean lies "
        f"{decimal(abs(r.z))} deviations {'below' if r.z < 0 else 'above'} the price."
    )


def _grant(r: Receipt) -> str:
    return (
        f"Stage {r.stage:,}: {_count(r.tranche, 'impression')} granted now, {r.allowance:,} so "
        f"far, {r.reach_left:,} within reach. "
        f"[{r.id} by {r.cause} at {moment(r.ts)}, policy {r.policy}]"
    )


def decimal(micros: int) -> str:
    """Return micro-units as a decimal number, exactly.

    >>> [decimal(n) for n in (281_000, -1_500_000, 0, 3_000_000_000, 1)]
    ['0.281', '-1.5', '0', '3,000', '0.000001']
    """
    whole, part = divmod(abs(micros), MICROS)
    text = f"{whole:,}.{part:06d}".rstrip("0").rstrip(".")
    return f"-{text}" if micros < 0 else text


def moment(ts: int) -> str:
    """Return a time in milliseconds as ISO 8601 in UTC; as it is where no calendar goes that far.

    >>> moment(1714557600250), moment(253_402_300_800_000)
    ('2024-05-01T10:00:00.250Z', '253402300800000 ms')
    """
    try:
        at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ts)
    except OverflowError:
        return f"{ts} ms"
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

"""A receipt in words, with every number it holds but its factor sums and loadings."""

from datetime import UTC, datetime, timedelta
from typing import Final

from streams.core.fading import HALF_LIFE_TICKS
from streams.core.live import VIEW_MS
from streams.core.receipts import Crowd, Draw, Reason, Receipt, ReportSum
from streams.core.units import MICROS
from streams.ops.dead_letters import printable
from streams.ops.lessons import Lesson

WORDS: Final[dict[Reason, str]] = {
    "admitted": "every crowd that may see it and that it may be worth the price for",
    "audience_widened": "the public again, after it was for followers only",
    "released": "moderation ended its hold, it goes on where it was",
    "reconsidered": "evidence had stopped it here, and speaks for it now",
    "mean_beats_price": "surely enough worth its place, it gets more of it",
    "allowance_nearly_used": "worth going on, not yet sure enough to widen",
    "index_below_price": "not worth another impression here, even for what it would teach",
    "reach_used": "everyone in reach has seen it",
    "budget_spent": "its impressions for the public are spent",
    "slice_gone": "the policy in force no longer has this slice",
    "slice_frozen": "a person froze this slice, nothing is shown in it for now",
    "limited": "moderation limits it to followers from now on",
    "held": "moderation paused it",
    "takedown": "moderation took it down",
    "ended": "the live room is over; nobody took it down",
    "reported": "viewers report it too often: a person shall look at it again; nothing is stopped",
    "let_through": "a person looked at it and lets it be shown; next time it takes twice as much",
    "look_again": "what evidence stopped is looked at again",
    "ceiling": "where feeds rank it on public surfaces moves; followers, stops and grants do not",
}

ROOM: Final = (
    f"It is a live room: every {HALF_LIFE_TICKS} minutes what was seen of it weighs half as much, "
    f"and a view of it is what is watched of the first {VIEW_MS // 1000} seconds."
)


def explain(receipt: Receipt, lesson: Lesson | None = None) -> str:
    """Return the decision as a headline and some lines; its numbers appear exactly.

    Values are per view. What the `lesson` says comes with those of one crowd.

    >>> stop = Receipt(id="v1.3", n=3, video="v1", slice="discover:football",
    ...     action="stop", reason="index_below_price", cause="e-77", ts=1714557600250, policy="p4",
    ...     rule=2, creator="c8", band=3, commercial=False, format="video",
    ...     stage=1, returned=350, allowance=150, impressions=150, views=120, weighed=120,
    ...     viewers=88, value=33_720_000,
    ...     base=380_000, noise_variance=100_000, mean=281_000, sd=12_000, score=301_000,
    ...     price=340_000, z=-4_916_666, sums=(1, 0, 0, 1, 0, 1, 0, 0, 0),
    ...     loadings=(60_000, 0, 0), own_variance=8_000, horizon=400)
    >>> print(explain(stop, Lesson(380_000, 412_000, "discover:dance", -48_000)))
    #3 stop discover:football: not worth another impression here, even for what it would teach.
       After 120 views (150 impressions), worth 33.72 in all, its mean is 0.281 ± 0.012; before \
any view 0.38 was expected; the noise variance of a view is 0.1, that of this crowd's own taste \
0.008.
       What other crowds think of it moved the expectation here from 0.38 to 0.412.
       Its score 0.301, which counts on 400 impressions to come, < the price 0.34; its mean \
lies 4.916666 deviations below the price. A mean of 0.32 would have kept it.
       What this crowd thinks of it moves the expectation in discover:dance most: by -0.048.
       Stage 1: 0 impressions granted now, 350 given back, 150 allowed so far; at least 88 \
different viewers.
       [v1.3 by e-77 at 2024-05-01T10:00:00.250Z, policy p4, rule 2; video of c8, fan band 3]
    """
    if receipt.slice:
        lines = [_headline(receipt), *_judgement(receipt, lesson), _grant(receipt)]
    else:
        crowds = " " + count_of(len(receipt.crowds), "crowd") if receipt.crowds else ""
        lines = [f"#{receipt.n:,} {receipt.action}{crowds}: {WORDS[receipt.reason]}."]
        lines += map(_crowd, receipt.crowds)
        lines += _reports(receipt)
    if isinstance(receipt.handicap, int):
        lines.append(_ranked_less(receipt, receipt.handicap))
    if isinstance(receipt.draw, Draw):
        lines.append(_chance(receipt.draw))
    if receipt.by:
        lines.append(f"{receipt.by} said so{_because(receipt.note)}.")
    return "\n   ".join([*lines, _origin(receipt)])


def _ranked_less(r: Receipt, handicap: int) -> str:
    because = _because(r.note) if r.reason == "ceiling" else ""
    if not handicap:
        return f"Nothing is taken off its scores on public surfaces any more{because}."
    off = f"{decimal(handicap)} is taken off its scores on public surfaces"
    return f"{off}, down to the price at most{because}."


def _reports(r: Receipt) -> list[str]:
    if not isinstance(r.reports, ReportSum):
        return []
    shown = f"After {count_of(r.impressions, _shown(r))} ({count_of(r.views, 'view')})"
    reporters, total, bar = r.reports.reporters, r.reports.sum, r.reports.bar
    words = (
        f"{shown} at least {count_of(reporters, 'viewer')} who were shown it reported it; less "
        f"what impressions explain that is {decimal(total)}, and a person is asked at "
        f"{decimal(bar)}."
    )
    return [words]


def _headline(r: Receipt) -> str:
    return f"#{r.n:,} {r.action} {r.slice}: {WORDS[r.reason]}."


def _judgement(r: Receipt, lesson: Lesson | None) -> list[str]:
    counted = f"After {count_of(r.views, 'view')} ({count_of(r.impressions, _shown(r))})"
    if not r.sums:
        return [f"{counted} it was not judged."]
    if r.weighed < r.views:
        counted += f", of which {count_of(r.weighed, 'view')} weigh"
    belief = (
        f"{counted}, worth {decimal(r.value)} in all, its mean is {decimal(r.mean)} ± "
        f"{decimal(r.sd)}; before any view {decimal(r.base)} was expected; the noise variance of "
        f"a view is {decimal(r.noise_variance)}, that of this crowd's own taste "
        f"{decimal(r.own_variance)}."
    )
    lines = [belief]
    if r.format == "live":
        lines.append(ROOM)
    if r.hoped:
        lines.append(
            f"{decimal(r.hoped)} of that worth is hoped for: buttons come later than views; "
            "it widens nothing."
        )
    if lesson is not None and lesson.after != lesson.before:
        lines.append(
            "What other crowds think of it moved the expectation here from "
            f"{decimal(lesson.before)} to {decimal(lesson.after)}."
        )
    lines.append(_comparison(r))
    if lesson is not None and lesson.moved:
        lines.append(
            f"What this crowd thinks of it moves the expectation in {lesson.elsewhere} most: "
            f"by {decimal(lesson.moved)}."
        )
    return lines


def _shown(r: Receipt) -> str:
    """Return what one time that a video was shown is called."""
    return "visit" if r.format == "live" else "impression"


def _comparison(r: Receipt) -> str:
    relation = "<" if r.score < r.price else "=" if r.score == r.price else ">"
    text = (
        f"Its score {decimal(r.score)}, which counts on {count_of(r.horizon, 'impression')} to "
        f"come, {relation} the price {decimal(r.price)}; its mean lies {decimal(abs(r.z))} "
        f"deviations {'below' if r.z < 0 else 'above'} the price."
    )
    if r.reason == "index_below_price":
        text += f" A mean of {decimal(kept_at(r))} would have kept it."
    return text


def kept_at(receipt: Receipt) -> int:
    """Return the least mean whose index would have reached the price, all else equal."""
    return receipt.mean + receipt.price - receipt.score


def _grant(r: Receipt) -> str:
    return (
        f"Stage {r.stage:,}: {count_of(r.tranche, 'impression')} granted now, {r.returned:,} given "
        f"back, {r.allowance:,} allowed so far; at least {count_of(r.viewers, 'different viewer')}."
    )


def _crowd(crowd: Crowd) -> str:
    return (
        f"{crowd.slice}: expected {decimal(crowd.mean)}, score {decimal(crowd.score)}, "
        f"{count_of(crowd.allowance, 'impression')} allowed."
    )


def _chance(draw: Draw) -> str:
    """Return in words what chance said.

    >>> print(_chance(Draw(50_000, 8, "discover:dance")))
    Chance drew discover:dance, one of 8 crowds that nobody was shown it in, each by 0.00625: its \
first tranche there comes first, and is shown to its end.
    """
    if not draw.among:
        return "Chance had no crowd to draw: there is none left that nobody was shown it in."
    crowds = f"{count_of(draw.among, 'crowd')} that nobody was shown it in"
    if not draw.slice:
        return f"Chance drew none of {crowds}: by {decimal(draw.probability)} it would have."
    each = decimal(draw.probability // draw.among)
    return (
        f"Chance drew {draw.slice}, one of {crowds}, each by {each}: its first tranche there comes "
        "first, and is shown to its end."
    )


def _because(note: str) -> str:
    return f": {printable(note.encode())}" if note else ""


def _origin(r: Receipt) -> str:
    kind = f"commercial {r.format}" if r.commercial else r.format
    creator = f" of {r.creator}" if r.creator else ""
    return (
        f"[{r.id} by {r.cause} at {moment(r.ts)}, policy {r.policy}, rule {r.rule:,}; "
        f"{kind}{creator}, fan band {r.band:,}]"
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


def count_of(number: int, noun: str) -> str:
    """Return a count in words: `1 crowd`, `1,200 crowds`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"

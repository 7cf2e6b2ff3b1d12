"""The promised shares of what the demo's viewers were shown, each against its bar."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from rich.text import Text

from streams.core.shares import Bar, PromiseName
from streams.core.traffic import ClassSums
from streams.core.units import MICROS

WORDS: Final[Mapping[PromiseName, str]] = {
    "private": "private",
    "ordinary": "ordinary people",
    "commercial": "adverts",
}


class ShownShare(NamedTuple):
    """One share beside what was promised, micro-units; the share of nothing is None."""

    name: PromiseName
    share: int | None
    bound: int
    held: bool | None


def shown_shares(bars: Iterable[Bar], shown: Mapping[tuple[str, str], int]) -> list[ShownShare]:
    """Return the share of each promise in the impressions `shown` by slice and class.

    >>> shown_shares([Bar("private", 300_000)], {("following:fans", "0"): 1, ("nearby:x", "0"): 3})
    [ShownShare(name='private', share=250000, bound=300000, held=False)]
    """
    sums = {key: ClassSums(*key, impressions=count) for key, count in shown.items()}
    return [_beside(bar, bar.share(sums)) for bar in bars if bar.is_on]


def share_fields(shares: Iterable[ShownShare]) -> dict[str, dict[str, float | bool | None]]:
    """Return shares for JSON, as fractions."""
    return {
        each.name: {
            "share": None if each.share is None else each.share / MICROS,
            "promised": each.bound / MICROS,
            "held": each.held,
        }
        for each in shares
    }


def shares_line(shares: Iterable[ShownShare]) -> Text:
    """Return all of them in a line, those that are not held in red."""
    parts: list[str | tuple[str, str]] = ["shown:"]
    for each in shares:
        if each.share is not None:
            sign = "≥" if each.share >= each.bound else "<"
            if each.name == "commercial":
                sign = "≤" if each.share <= each.bound else ">"
            text = f"{_percent(each.share)} {sign} {_percent(each.bound)} %"
            parts += [f"  {WORDS[each.name]} ", (text, "green" if each.held else "bold red")]
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _beside(bar: Bar, share: int | None) -> ShownShare:
    held = None
    if share is not None:
        held = share <= bar.bound if bar.ceiling else share >= bar.bound
    return ShownShare(bar.name, share, bar.bound, held)


def _percent(share: int) -> str:
    return f"{100 * share / MICROS:.3g}"

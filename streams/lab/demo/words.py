"""Words, colours and numbers that the demo's screen and its summary share."""

from collections.abc import Mapping
from typing import Final

from rich.text import Text

from streams.core.receipts import ACTIONS, Action, Reason, Receipt
from streams.core.units import MICROS
from streams.lab.glosses import gloss
from streams.lab.story import Story, Switch

STYLES: Final[Mapping[Action, str]] = {
    "start": "cyan",
    "widen": "bold green",
    "keep": "yellow",
    "stop": "bold red",
}
SWITCHED: Final = "stopped › next crowd (✓ widened it)"
WHY: Final[Mapping[Reason, str]] = {
    "first_crowd": "first crowd",
    "next_after_stop": "next crowd after a stop",
    "next_after_top": "next crowd after the top",
    "next_after_reach": "next crowd, all reached",
    "audience_widened": "public again",
    "released": "hold ended",
    "mean_beats_price": "its value beats the price",
    "allowance_nearly_used": "goes on, not yet sure",
    "index_below_price": "not worth another look",
    "reach_used": "everyone has seen it",
    "budget_spent": "its budget is spent",
    "slice_gone": "the crowd is gone",
    "limited": "followers only",
    "held": "paused by moderation",
    "takedown": "taken down",
}


def actions(story: Story) -> Text:
    """Return how often each decision was taken."""
    parts: list[str | tuple[str, str]] = []
    for action in ACTIONS:
        parts += [(f"{action} {story.actions[action]:,}", STYLES[action]), "   "]
    parts.append((f"{story.switched:,} handed to another crowd", "magenta"))
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def heading(text: str, style: str = "") -> Text:
    """Return a heading."""
    return Text(text, style=f"bold {style}", no_wrap=True, overflow="ellipsis")


def crowd(name: str, *, short: bool = False) -> Text:
    """Return a slice's name, its surface dimmed or, in short, left out."""
    surface, _, group = name.partition(":")
    return Text(group) if short else Text.assemble((f"{surface}:", "dim"), group)


def title_of(title: str) -> Text:
    """Return a title, and what it says in English."""
    english = gloss(title)
    return Text.assemble(title, (f"  {english}", "dim italic") if english else "")


def number(receipt: Receipt) -> str:
    """Return the one comparison that led to a receipt, exact enough to show which side won."""
    r = receipt
    if r.reason == "index_below_price":
        return f"index {compared(r.index, 'price', r.price)}"
    if r.reason == "mean_beats_price":
        return f"value {compared(r.mean, 'price', r.price)}"
    if r.reason == "allowance_nearly_used":
        return f"at {r.impressions:,} of {r.allowance - r.tranche:,} shown"
    if r.action == "start":
        return f"expected {decimal(r.mean)}"
    return f"{r.impressions:,} shown"


def compared(left: int, name: str, right: int) -> str:
    """Return a micro-unit number beside a named one; more digits where two look alike.

    >>> compared(310_000, "price", 350_000), compared(350_400, "price", 350_100)
    ('0.31 < price 0.35', '0.3504 > price 0.3501')
    """
    sign = "<" if left < right else ">" if left > right else "="
    for digits in range(2, 7):
        texts = f"{left / MICROS:.{digits}f}", f"{right / MICROS:.{digits}f}"
        if texts[0] != texts[1] or sign == "=":
            return f"{texts[0]} {sign} {name} {texts[1]}"
    raise AssertionError  # six digits tell micro-units apart


def decimal(micros: int) -> str:
    """Return micro-units with two digits."""
    return f"{micros / MICROS:.2f}"


def clock(seconds: float) -> str:
    """Return minutes and seconds.

    >>> clock(75.4)
    '1:15'
    """
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def switch_text(switch: Switch, story: Story) -> Text:
    """Return the crowd that did not like a video and the next one."""
    stop, start = switch
    widened = (start.video, start.slice) in story.widened
    return Text.assemble(
        (stop.slice.partition(":")[2], "red"),
        " › ",
        (start.slice.partition(":")[2], "green" if widened else "cyan"),
        (" ✓" if widened else "", "bold green"),
    )

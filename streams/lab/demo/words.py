"""Words, colours and numbers that the demo's screen and its summary share."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.text import Text

from streams.core.receipts import ACTIONS, Action, Crowd, Reason, Receipt
from streams.core.units import MICROS
from streams.lab.glosses import gloss
from streams.lab.story import Split, Story
from streams.ops.lessons import Lesson

STYLES: Final[Mapping[Action, str]] = {
    "open": "cyan",
    "widen": "bold green",
    "keep": "yellow",
    "stop": "bold red",
    "review": "bold magenta",
}
SPLIT: Final = "one crowd stopped it, another widened it"
WHY: Final[Mapping[Reason, str]] = {
    "admitted": "all crowds that may like it",
    "audience_widened": "public again",
    "released": "hold ended",
    "mean_beats_price": "surely worth its place",
    "allowance_nearly_used": "goes on, not yet sure",
    "index_below_price": "not worth another look",
    "reach_used": "everyone has seen it",
    "budget_spent": "its budget is spent",
    "reconsidered": "a second chance",
    "slice_gone": "the crowd is gone",
    "slice_frozen": "the crowd is frozen",
    "limited": "followers only",
    "held": "paused by moderation",
    "takedown": "taken down",
    "ended": "over",
    "reported": "reported too often, people asked",
    "let_through": "people let it through",
    "look_again": "people had it looked at again",
    "ceiling": "its creator has much of the day",
}


def actions(story: Story) -> Text:
    """Return how often each decision was taken."""
    parts: list[str | tuple[str, str]] = []
    for action in ACTIONS:
        parts += [(f"{action} {story.actions[action]:,}", STYLES[action]), "   "]
    parts.append((f"{story.opened:,} crowds opened", "magenta"))
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def heading(text: str, style: str = "") -> Text:
    """Return a heading."""
    return Text(text, style=f"bold {style}", no_wrap=True, overflow="ellipsis")


def crowd(name: str, *, short: bool = False) -> Text:
    """Return a slice's name, its surface dimmed or, in short, left out."""
    surface, _, group = name.partition(":")
    return Text(group) if short else Text.assemble((f"{surface}:", "dim"), group)


def about(receipt: Receipt) -> Text:
    """Return which crowd, or how many, a receipt is about."""
    return crowd(receipt.slice) if receipt.slice else Text(f"{len(receipt.crowds)} crowds", "cyan")


def title_of(title: str) -> Text:
    """Return a title, and what it says in English."""
    english = gloss(title)
    return Text.assemble(title, (f"  {english}", "dim italic") if english else "")


def number(receipt: Receipt) -> str:
    """Return the one comparison that led to a receipt, exact enough to show which side won."""
    r = receipt
    if r.reason == "index_below_price":
        return f"score {compared(r.score, 'price', r.price)}"
    if r.reason == "mean_beats_price":
        return f"mean {compared(r.mean, 'price', r.price)}"
    if r.reason == "allowance_nearly_used":
        return f"at {r.impressions:,} of {r.allowance - r.tranche:,} shown"
    if r.crowds:
        return f"scores {scores(r.crowds)}"
    return f"{r.impressions:,} shown"


def scores(crowds: Sequence[Crowd]) -> str:
    """Return the span of some crowds' scores, the best first.

    >>> scores([Crowd("discover:a", 0, 400_000, 60), Crowd("discover:b", 0, 520_000, 60)])
    '0.52 to 0.40'
    """
    indices = [each.score for each in crowds]
    return f"{decimal(max(indices))} to {decimal(min(indices))}"


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


def split_text(split: Split) -> Text:
    """Return the crowd that did not like a video and the one that did."""
    stopped, widened = split.stop.slice.partition(":")[2], split.widen.slice.partition(":")[2]
    return Text.assemble((stopped, "red"), " ✗   ", (widened, "green"), " ✓")


def taught(receipt: Receipt, lesson: Lesson) -> Text:
    """Return in a few words what a judged crowd learned from the others and taught them."""
    name = receipt.slice.partition(":")[2]
    parts: list[str | tuple[str, str]] = ["learned: "]
    if lesson.moved:
        elsewhere = lesson.elsewhere.partition(":")[2]
        style = "red" if lesson.moved < 0 else "green"
        parts += [f"{name} moves {elsewhere} by ", (f"{lesson.moved / MICROS:+.3f}", style), "  "]
    if lesson.after != lesson.before:
        before, after = f"{lesson.before / MICROS:.3f}", f"{lesson.after / MICROS:.3f}"
        parts.append(f"others moved {name} from {before} to {after}")
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")

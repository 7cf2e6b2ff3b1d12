"""A busy story for the demo's screens, and what rich makes of them."""

import io

from rich.console import Console, RenderableType

from streams.core.receipts import Action, Reason, Receipt
from streams.lab.story import Story

TITLES = {f"square-dance-{n}": "周末足球赛,最后一分钟点球:我们舞队的新广场舞" for n in range(60)}
REASONS: dict[Action, Reason] = {
    "start": "next_after_stop",
    "widen": "mean_beats_price",
    "keep": "allowance_nearly_used",
    "stop": "index_below_price",
}


def busy_story() -> Story:
    story = Story()
    order: tuple[Action, ...] = ("keep", "widen", "stop", "start", "widen")
    for place in range(60):
        for n, action in enumerate(order, start=1):
            numbers = dict.fromkeys(Receipt.__struct_fields__, 0)
            said = {
                "n": n,
                "video": f"square-dance-{place}",
                "slice": "discover:photography" if n > 3 else "discover:square-dance",
                "action": action,
                "reason": REASONS[action],
                "views": 12_345,
                "allowance": 123_456,
                "stage": 3,
                "mean": 410_000,
                "index": 320_000,
                "price": 350_000,
            }
            story.add(Receipt(**{**numbers, **said}))
    return story


def rendered(what: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=100, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get().rstrip("\n").split("\n")

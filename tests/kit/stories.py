"""A busy story for the demo's screens, and what rich makes of them."""

import io
from typing import Any

from rich.console import Console, RenderableType

from streams.core.events import RULE
from streams.core.receipts import Action, Crowd, Reason, Receipt, ReportSum
from streams.lab.story import Story

TITLES = {f"square-dance-{n}": "周末足球赛,最后一分钟点球:我们舞队的新广场舞" for n in range(60)}
REASONS: dict[Action, Reason] = {
    "open": "admitted",
    "widen": "mean_beats_price",
    "keep": "allowance_nearly_used",
    "stop": "index_below_price",
    "review": "reported",
}
DANCE, PHOTOGRAPHY = "discover:square-dance", "discover:photography"
CROWDS = (Crowd(DANCE, 410_000, 520_000, 60), Crowd(PHOTOGRAPHY, 380_000, 500_000, 60))


def receipt(action: Action = "widen", **changes: Any) -> Receipt:
    """Return the receipt of a decision about one slice, or, if it is `open`, about a video."""
    numbers: dict[str, Any] = {
        "n": 1,
        "video": "v1",
        "slice": DANCE,
        "action": action,
        "reason": REASONS[action],
        "cause": "e1",
        "ts": 1_700_000_000_000,
        "policy": "fixed-1",
        "rule": RULE,
        "creator": "c1",
        "band": 3,
        "commercial": False,
        "format": "video",
    }
    if action == "review":
        numbers |= {
            "slice": "",
            "impressions": 4_000,
            "reports": ReportSum(9, 7_100_000, 7_000_000),
        }
    elif action == "open":
        numbers |= {"slice": "", "crowds": CROWDS}
    else:
        numbers |= {
            "stage": 3,
            "allowance": 123_456,
            "impressions": 20_000,
            "views": 12_345,
            "value": 12_345 * 410_000,
            "base": 390_000,
            "noise_variance": 100_000,
            "mean": 410_000,
            "sd": 2_800,
            "score": 320_000,
            "price": 350_000,
            "z": 21_428_571,
            "sums": (10**12, 0, 0, 10**12, 0, 10**12, 0, 0, 0),
        }
    numbers |= changes
    return Receipt(id=f"{numbers['video']}.{numbers['n']}", **numbers)


def busy_story() -> Story:
    """Return many videos that dancers like and photographers do not."""
    story = Story()
    order: tuple[Action, ...] = ("open", "keep", "widen", "stop")
    for place in range(60):
        for n, action in enumerate(order, start=1):
            here = {"stop": {"slice": PHOTOGRAPHY}}.get(action, {})
            story.add(receipt(action, n=n, video=f"square-dance-{place}", **here))
    return story


def rendered(what: RenderableType, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, height=100, color_system=None)
    with console.capture() as capture:
        console.print(what)
    return capture.get().rstrip("\n").split("\n")

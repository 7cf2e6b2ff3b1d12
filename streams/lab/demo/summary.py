"""What is left on the terminal when `streams demo` has ended."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.core.receipts import Receipt
from streams.lab.demo.words import (
    SWITCHED,
    actions,
    crowd,
    heading,
    number,
    switch_text,
    title_of,
)
from streams.lab.story import Story, Switch

TOLD: Final = 5
"""Spreads and switches that are told."""
_WIDE: Final = 110


def summary(
    report: Mapping[str, Any], story: Story, titles: Mapping[str, str], width: int
) -> Group:
    """Return what to remember of a run; `report` is its JSON."""
    parts: list[RenderableType] = [
        Text.assemble(
            (f"{report['events']:,} events", "bold"),
            f" about {report['videos']} videos in {report['seconds']:.0f} s, "
            f"{report['duplicates']:,} of them repeats; lag {report['lag']}",
        ),
        actions(story),
        Text(),
        heading("widened furthest", "green"),
        _widest(story.widest(TOLD), titles if width >= _WIDE else {}),
        Text(),
        heading(SWITCHED, "red"),
        _switches(_best_switches(story), story),
        Text(),
        _verdict(report["counters"]),
        Text(),
        Text("Nothing of this is kept. Next:"),
        Text(f"  streams demo --seed {report['seed'] + 1:<5} viewers of other tastes"),
        Text("  streams doctor            is your own Kafka and Redis ready for it?"),
        Text("  streams topics plan       what it needs there; then start `streams worker`"),
    ]
    return Group(*parts)


def _widest(receipts: Sequence[Receipt], titles: Mapping[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(5):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    if not receipts:
        grid.add_row(Text("  nothing yet", "dim"))
    for r in receipts:
        granted = f"{r.allowance:,} granted"
        title = title_of(titles.get(r.video, ""))
        grid.add_row(f"  {r.video}", crowd(r.slice), granted, number(r), title)
    return grid


def _switches(switches: Sequence[Switch], story: Story) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(4):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    if not switches:
        grid.add_row(Text("  nothing yet", "dim"))
    for switch in switches:
        stop = switch.stop
        views = f"{stop.views} views"
        grid.add_row(f"  {stop.video}", switch_text(switch, story), views, number(stop))
    return grid


def _best_switches(story: Story) -> list[Switch]:
    """Return switches to tell of: those that found a better crowd first, each video once."""
    by_video: dict[str, Switch] = {}
    for switch in (*story.rescued(), *reversed(story.switches)):
        by_video.setdefault(switch.stop.video, switch)
    return list(by_video.values())[:TOLD]


def _verdict(counters: Mapping[str, Any]) -> Text:
    if counters["differences"] is None:
        return Text(f"Counters not compared: {counters['why']}", style="yellow")
    if counters["differences"]:
        text = f"{counters['differences']} of {counters['checked']:,} counters differ from the log"
        return Text(text, style="bold red")
    text = f"{counters['checked']:,} counters compared with a second count of the log: all equal"
    return Text(text, style="bold green")

"""What is left on the terminal when `streams demo` has ended."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.core.receipts import Receipt
from streams.lab.demo.promised import ShownShare, shares_line
from streams.lab.demo.words import (
    SPLIT,
    actions,
    crowd,
    heading,
    number,
    split_text,
    title_of,
)
from streams.lab.story import Split, Story

TOLD: Final = 5
"""Spreads and splits that are told."""
_WIDE: Final = 110


def summary(
    report: Mapping[str, Any],
    story: Story,
    titles: Mapping[str, str],
    shares: Sequence[ShownShare],
    width: int,
) -> Group:
    """Return what to remember of a run; `report` is its JSON, `shares` what was promised in it."""
    parts: list[RenderableType] = [
        Text.assemble(
            (f"{report['events']:,} events", "bold"),
            f" about {report['videos']} videos in {report['seconds']:.0f} s, "
            f"{report['duplicates']:,} of them repeats; lag {report['lag']}",
        ),
        actions(story),
        shares_line(shares),
        Text(),
        heading("widened furthest", "green"),
        _widest(story.widest(TOLD), titles if width >= _WIDE else {}),
        Text(),
        heading(SPLIT, "red"),
        _splits(story.splits()[:TOLD], wide=width >= _WIDE),
        Text(),
        *_room(report.get("room")),
        _verdict(report["counters"]),
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
        allowed = f"{r.allowance:,} allowed"
        title = title_of(titles.get(r.video, ""))
        grid.add_row(f"  {r.video}", crowd(r.slice), allowed, number(r), title)
    return grid


def _splits(splits: Sequence[Split], *, wide: bool) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(4):
        grid.add_column(no_wrap=True, overflow="ellipsis")
    if not splits:
        grid.add_row(Text("  nothing yet", "dim"))
    for split in splits:
        numbers = [number(split.stop), *([number(split.widen)] if wide else [])]
        grid.add_row(f"  {split.stop.video}", split_text(split), *numbers)
    return grid


def _room(room: Mapping[str, Any] | None) -> list[RenderableType]:
    """Return what to remember of the live room, if there was one."""
    if room is None:
        return []
    lag, others, off = room["lag_s"], room["others_lag_s"], room["off_index_s"]
    gone = (
        "it did not leave the index" if off is None else f"off the index {off:.2f} s after it ended"
    )
    lines = (
        (
            f"{room['viewers']:,} viewers came in {room['arrived_in_s']:.0f} s: "
            f"{room['visits_per_second']:,} visits, {room['events_per_second']:,} events a second"
        ),
        (
            f"its partition {room['partition']} lagged by {lag['median']:.2f} s in the median, "
            f"{lag['most']:.2f} s at most"
        ),
        f"the other ones by {others['median']:.2f} s in the median, {others['most']:.2f} s at most",
        (
            f"{room['counted_visits']:,} visits counted, {room['caught_up_after_s']:.1f} s "
            "after all had left"
        ),
        gone,
    )
    return [heading("the live room", "magenta"), *(Text(f"  {each}") for each in lines), Text()]


def _verdict(counters: Mapping[str, Any]) -> Text:
    if counters["differences"] is None:
        return Text(f"Counters not compared: {counters['why']}", style="yellow")
    if counters["differences"]:
        text = f"{counters['differences']} of {counters['checked']:,} counters differ from the log"
        return Text(text, style="bold red")
    text = f"{counters['checked']:,} counters compared with a second count of the log: all equal"
    return Text(text, style="bold green")

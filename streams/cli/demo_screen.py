"""What `streams demo` shows: a screen that fits any terminal from 80x24 on, and the summary."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from streams.core.receipts import ACTIONS, Action, Receipt
from streams.core.units import MICROS
from streams.lab.demo import Moment
from streams.lab.story import Story, Switch

STYLES: Final[Mapping[Action, str]] = {
    "start": "cyan",
    "widen": "bold green",
    "keep": "yellow",
    "stop": "bold red",
}
WIDE: Final = 110
"""From this width on the screen also shows the numbers that led to a receipt."""
_AROUND: Final = 10  # lines that are neither receipts nor outcomes
_TITLE: Final = "streams demo"
_SWITCHED: Final = "stopped › next crowd (✓ widened it)"


def screen(now: Moment, story: Story, titles: Mapping[str, str], height: int, width: int) -> Group:
    """Return the whole screen; `titles` names videos for people."""
    free = max(height - _AROUND, 8)
    outcomes = max(free // 3, 3)
    return Group(
        _headline(now, width),
        _numbers(now),
        _decisions(story),
        Text(),
        _latest(story, titles, free - outcomes, width),
        Text(),
        _outcomes(story, outcomes, width),
        _footer(now, width),
    )


def line(now: Moment, story: Story) -> str:
    """Return the state in one plain line."""
    actions = ", ".join(f"{story.actions[action]} {action}" for action in ACTIONS)
    lag = "unknown" if now.lag is None else f"{now.lag}"
    return (
        f"{now.elapsed_s:.0f} s: {now.events:,} events ({now.events_per_second:,.0f}/s), "
        f"lag {lag}, {now.videos} videos; {actions}; {story.switched} switched"
    )


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
        _decisions(story),
        Text(),
        _heading("widened furthest", "green"),
        _widest(story.widest(5), titles if width >= WIDE else {}),
        Text(),
        _heading(_SWITCHED, "red"),
        _switches(_best_switches(story, 5), story),
        Text(),
        _verdict(report["counters"]),
        Text(),
        Text("Nothing of this is kept. Next:"),
        Text(f"  streams demo --seed {report['seed'] + 1:<5} viewers of other tastes"),
        Text("  streams doctor            is your own Kafka and Redis ready for it?"),
        Text("  streams topics plan       what it needs there; then start `streams worker`"),
    ]
    return Group(*parts)


def _headline(now: Moment, width: int) -> Table:
    grid = Table.grid(expand=True)
    grid.add_column()
    grid.add_column(justify="right")
    of = f" of {_clock(now.seconds)}" if now.seconds else ""
    left = Text.assemble((_TITLE, "bold"), f"  {_clock(now.elapsed_s)}{of}")
    where = f"Kafka {now.brokers}  {now.redis}" if width >= 80 else ""
    grid.add_row(left, Text(where, style="dim", no_wrap=True))
    return grid


def _numbers(now: Moment) -> Text:
    lag = "–" if now.lag is None else f"{now.lag:,}"
    return Text.assemble(
        (f"{now.events_per_second:,.0f}", "bold"),
        " events/s   lag ",
        (lag, "bold"),
        f"   {now.events:,} events   {now.duplicates:,} duplicates dropped   ",
        (f"{now.videos}", "bold"),
        " videos",
        no_wrap=True,
        overflow="ellipsis",
    )


def _decisions(story: Story) -> Text:
    parts: list[str | tuple[str, str]] = []
    for action in ACTIONS:
        parts += [(f"{action} {story.actions[action]:,}", STYLES[action]), "   "]
    parts.append((f"{story.switched:,} handed to another crowd", "magenta"))
    return Text.assemble(*parts, no_wrap=True, overflow="ellipsis")


def _latest(story: Story, titles: Mapping[str, str], rows: int, width: int) -> Table:
    wide = width >= WIDE
    table = Table(box=None, expand=True, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("", width=5, no_wrap=True)
    table.add_column("video", width=15, no_wrap=True)
    if wide:
        table.add_column("title", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("crowd", width=21, no_wrap=True)
    table.add_column("views", justify="right", width=6, no_wrap=True)
    table.add_column("value/price", width=11, no_wrap=True)
    if wide:
        table.add_column("granted", justify="right", width=7, no_wrap=True)
    if wide:
        table.add_column("reason", width=22, no_wrap=True)
    else:
        table.add_column("reason", ratio=1, no_wrap=True, overflow="ellipsis")
    for receipt, _ in zip(story.latest, range(rows), strict=False):
        table.add_row(*_receipt_cells(receipt, titles, wide=wide))
    for _ in range(rows - len(story.latest)):
        table.add_row("")
    return table


def _receipt_cells(r: Receipt, titles: Mapping[str, str], *, wide: bool) -> list[Text]:
    style = STYLES[r.action]
    cells = [Text(r.action, style), Text(r.video)]
    if wide:
        cells.append(Text(titles.get(r.video, ""), "dim"))
    cells += [_slice(r.slice), Text(f"{r.views:,}"), Text(_against_price(r))]
    if wide:
        cells.append(Text(f"{r.allowance:,}"))
    return [*cells, Text(r.reason.replace("_", " "), style)]


def _outcomes(story: Story, rows: int, width: int) -> Table:
    """Return what went furthest beside who got what was stopped."""
    grid = Table.grid(expand=True, padding=(0, 1, 0, 0))
    grid.add_column(ratio=5, no_wrap=True)
    grid.add_column(ratio=6, no_wrap=True)
    grid.add_row(_heading("widened furthest", "green"), _heading(_SWITCHED, "red"))
    widest = story.widest(rows)
    switches = list(story.switches)[-rows:][::-1]
    for place in range(rows):
        left, right = Text(), Text()
        if place < len(widest):
            r = widest[place]
            where = _slice(r.slice, short=width < WIDE)
            left = Text.assemble(f"{r.video} ", where, f" {r.allowance:,}")
        if place < len(switches):
            switch = switches[place]
            right = Text.assemble(f"{switch.stop.video} ", _switch_text(switch, story))
        grid.add_row(left, right)
    return grid


def _footer(now: Moment, width: int) -> Text:
    if now.note:
        return Text(now.note, style="bold red", no_wrap=True, overflow="ellipsis")
    tip = f"elsewhere: streams decisions tail --brokers {now.brokers}" if width >= 80 else ""
    return Text.assemble(
        "Ctrl-C ends it   ", (tip, "dim"), no_wrap=True, overflow="ellipsis", style="bold"
    )


def _widest(receipts: Sequence[Receipt], titles: Mapping[str, str]) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(5):
        grid.add_column(no_wrap=True)
    if not receipts:
        grid.add_row(Text("  nothing yet", "dim"))
    for r in receipts:
        granted = f"{r.allowance:,} granted"
        title = Text(titles.get(r.video, ""), "dim")
        grid.add_row(f"  {r.video}", _slice(r.slice), granted, _against_price(r), title)
    return grid


def _switches(switches: Sequence[Switch], story: Story) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    if not switches:
        grid.add_row(Text("  nothing yet", "dim"))
    for switch in switches:
        stop = switch.stop
        grid.add_row(
            f"  {stop.video}",
            _switch_text(switch, story),
            f"{stop.views} views",
            Text(_against_price(stop)),
        )
    return grid


def _switch_text(switch: Switch, story: Story) -> Text:
    stop, start = switch
    widened = (start.video, start.slice) in story.widened
    return Text.assemble(
        (stop.slice.partition(":")[2], "red"),
        " › ",
        (start.slice.partition(":")[2], "green" if widened else "cyan"),
        (" ✓" if widened else "", "bold green"),
    )


def _best_switches(story: Story, count: int) -> list[Switch]:
    """Return switches to tell of: those that found a better crowd first, each video once."""
    by_video: dict[str, Switch] = {}
    for switch in (*story.rescued(), *reversed(story.switches)):
        by_video.setdefault(switch.stop.video, switch)
    return list(by_video.values())[:count]


def _verdict(counters: Mapping[str, Any]) -> Text:
    if counters["differences"] is None:
        return Text(f"Counters not compared: {counters['why']}", style="yellow")
    if counters["differences"]:
        text = f"{counters['differences']} of {counters['checked']:,} counters differ from the log"
        return Text(text, style="bold red")
    text = f"{counters['checked']:,} counters compared with a second count of the log: all equal"
    return Text(text, style="bold green")


def _heading(text: str, style: str) -> Text:
    return Text(text, style=f"bold {style}")


def _slice(name: str, *, short: bool = False) -> Text:
    surface, _, group = name.partition(":")
    return Text(group) if short else Text.assemble((f"{surface}:", "dim"), group)


def _against_price(r: Receipt) -> str:
    """Return mean value and price as they compare; stops compare the index."""
    said = r.index if r.reason == "index_below_price" else r.mean
    sign = "<" if said < r.price else ">"
    return f"{_decimal(said)} {sign} {_decimal(r.price)}"


def _decimal(micros: int) -> str:
    return f"{micros / MICROS:.2f}"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
